//! One query of a 13-n-1 block that certifies, and the exact test of one pattern.

use certificate::exact::rational;
use certificate::{Activation, Affine, Block, Direction, Domain, Query, Rows};
use milp::interior::interior;
use milp::solver::{Cbc, Microlp};
use milp::{DirectedDerivative, Engine, Options, verify_query};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const INPUTS: usize = 13;
const QUERY: Query = Query { row: 0, input: 0, direction: Direction::Increasing };

fn main() {
    divan::main();
}

/// A random block in which every third neuron is a negative path that is on only where the neuron before it, a stronger
/// positive path, is on too: it certifies, but neither signs nor the linear relaxation say so.
fn block(hidden: usize) -> Block {
    let mut rng = ChaCha8Rng::seed_from_u64(hidden as u64);
    let (mut rows, mut bias, mut second) = (Vec::<Vec<f32>>::new(), Vec::new(), Vec::new());
    for i in 0..hidden {
        if i % 3 == 2 {
            // The perturbation moves a pre-activation by at most 13 * 0.02, less than the bias.
            rows.push(rows[i - 1].iter().map(|w| w + rng.random_range(-0.02..0.02_f32)).collect());
            bias.push(bias[i - 1] - 0.3);
            second.push(-0.5 * second[i - 1]);
        } else {
            let row: Vec<f32> = (0..INPUTS).map(|_| rng.random_range(-1.0..1.0)).collect();
            bias.push(-0.5 * row.iter().sum::<f32>() + rng.random_range(-0.5..0.5));
            // Away from zero, so that the perturbation cannot turn the sign of the path or double it.
            let slope = row[0].signum() * (0.2 + row[0].abs());
            second.push(slope.signum() * rng.random_range(0.5..1.0_f32));
            rows.push(std::iter::once(slope).chain(row[1..].iter().copied()).collect());
        }
    }
    let first = Affine::new(INPUTS, rows.concat(), bias).expect("finite");
    Block::new(first, Activation::Relu, Affine::new(hidden, second, vec![0.0]).expect("finite")).expect("widths fit")
}

fn sign(bencher: divan::Bencher, engine: Engine, hidden: usize) {
    let (block, domain) = (block(hidden), Domain::unit_cube(INPUTS));
    let options = Options { samples: 0, query_time_limit_s: 120.0, ..Options::default() };
    bencher.bench_local(|| {
        let report = verify_query(&block, &domain, QUERY, engine, &options).expect("a valid query");
        assert!(report.verdict.is_certified(), "{report:?}");
    });
}

#[divan::bench(args = [20, 40, 100], sample_count = 1, sample_size = 1)]
fn cbc(bencher: divan::Bencher, hidden: usize) {
    sign(bencher, Engine::Milp(&Cbc), hidden);
}

#[divan::bench(args = [20, 40], sample_count = 1, sample_size = 1)]
fn microlp(bencher: divan::Bencher, hidden: usize) {
    sign(bencher, Engine::Milp(&Microlp), hidden);
}

/// The pattern of the centre of the cube (an interior exists) and its complement (none).
#[divan::bench(args = [20, 100], consts = [0, 1], sample_count = 20, sample_size = 1)]
fn exact_interior<const FLIPPED: usize>(bencher: divan::Bencher, hidden: usize) {
    let (block, domain) = (block(hidden), Domain::unit_cube(INPUTS));
    let derivative = DirectedDerivative::new(&block, &Rows::OUTPUTS, &domain, QUERY).expect("a valid query");
    let centre = vec![rational(0.5); INPUTS];
    let mut pattern = derivative.pattern_at(&centre).expect("the centre lies on no hyperplane");
    pattern.iter_mut().step_by(3).for_each(|active| *active ^= FLIPPED == 1);
    let halfspaces = derivative.halfspaces(&pattern);
    let sides = vec![(rational(0.0), rational(1.0)); INPUTS];
    bencher.bench_local(|| interior(&halfspaces, &sides));
}
