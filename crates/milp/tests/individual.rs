//! Partners of single rows.

use std::time::Duration;

use certificate::{
    Activation, Affine, Block, Boundary, Direction, Domain, IntegerFeature, Interval, MonotoneFeatures, Network,
    Verdict, exact,
};
use milp::solver::{Cbc, Microlp, Solver};
use milp::{Control, Engine, Individual, Options, individual, verify_network};
use num_traits::{Signed, ToPrimitive};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SECONDS: Duration = Duration::from_secs(20);

fn network(rng: &mut ChaCha8Rng, activation: Activation) -> Network {
    let mut block = |inputs: usize, hidden: usize, outputs: usize| {
        let mut numbers = |n: usize| (0..n).map(|_| rng.random_range(-0.6..1.5_f32)).collect::<Vec<_>>();
        let first = Affine::new(inputs, numbers(inputs * hidden), numbers(hidden)).unwrap();
        let second = Affine::new(hidden, numbers(hidden * outputs), numbers(outputs)).unwrap();
        Block::new(first, Activation::Relu, second).unwrap()
    };
    let blocks = vec![block(3, 5, 2), block(2, 4, 1)];
    Network::new(blocks, vec![Boundary { activation, monotone: vec![true; 2] }]).unwrap()
}

/// Against a fine grid of partners; what is found is evaluated, what is not found must not be on the grid.
#[test]
fn a_partner_is_found_where_a_grid_shows_one() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let features = MonotoneFeatures(vec![Direction::Increasing, Direction::Decreasing, Direction::Free]);
    let sides = vec![Interval::new(-1.0, 1.0); 3];
    let integer = Domain::new(sides.clone(), vec![], vec![IntegerFeature { input: 1, steps: 8 }]).unwrap();
    let (mut violated, mut monotone) = (0, 0);
    for case in 0..40 {
        let network = network(&mut rng, if case % 2 == 0 { Activation::Relu } else { Activation::Clamp });
        let domain = if case % 4 < 2 { &integer } else { &Domain::from_box(sides.clone()).unwrap() };
        let x: Vec<f64> = (0..3).map(|_| f64::from(rng.random_range(-4..=4)) / 4.0).collect();
        let here = network.evaluate(&x)[0];
        let mut rise = f64::NEG_INFINITY;
        for a in 0..=8 {
            for b in 0..=8 {
                let partner = [-1.0 + f64::from(a) / 4.0, -1.0 + f64::from(b) / 4.0, x[2]];
                if partner[0] <= x[0] && partner[1] >= x[1] {
                    rise = rise.max(network.evaluate(&partner)[0] - here);
                }
            }
        }
        for solver in [&Cbc as &dyn Solver, &Microlp] {
            match individual(&network, domain, &features, &x, solver, SECONDS).unwrap() {
                Individual::Violated(partner) => {
                    violated += 1;
                    assert!(certificate::contains(domain, &partner.point));
                    assert!(partner.point[0] <= partner.row[0] && partner.point[1] >= partner.row[1]);
                    assert_eq!(partner.point[2], partner.row[2]);
                    let value = |x: &[_]| exact::network(&network, x).unwrap().swap_remove(partner.output);
                    assert_eq!(value(&partner.point) - value(&partner.row), partner.rise);
                    assert!(partner.rise.is_positive());
                }
                Individual::Monotone => {
                    monotone += 1;
                    assert!(rise < 1e-3, "{case} {}: the grid has a rise of {rise}", solver.name());
                }
                Individual::Undecided(limit) => panic!("{case} {}: {limit:?}", solver.name()),
            }
        }
    }
    assert!(violated > 15 && monotone > 15, "{violated} {monotone}");
}

/// A certified network has no row with a partner; the upper end of a counterexample has one.
#[test]
fn rows_agree_with_the_verdict_of_the_network() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let features = MonotoneFeatures(vec![Direction::Increasing, Direction::Free, Direction::Free]);
    let domain = Domain::unit_cube(3);
    let (mut certified, mut refuted) = (0, 0);
    for _ in 0..150 {
        let network = network(&mut rng, Activation::Clamp);
        let verify = |engine| {
            let specification = features.clone().into();
            verify_network(&network, &domain, &specification, engine, &Options::default(), Control::default()).unwrap()
        };
        let row = |x: &[f64]| individual(&network, &domain, &features, x, &Cbc, SECONDS).unwrap();
        match verify(Engine::BranchAndBound).verdict {
            Verdict::Certified { .. } => {
                certified += 1;
                for _ in 0..5 {
                    let x: Vec<f64> = (0..3).map(|_| rng.random()).collect();
                    assert_eq!(row(&x), Individual::Monotone);
                }
            }
            Verdict::Refuted(pair) if pair.drop.to_f64().unwrap() > 1e-2 => {
                refuted += 1;
                let x: Vec<f64> = pair.upper.iter().map(|x| x.to_f64().unwrap()).collect();
                assert!(matches!(row(&x), Individual::Violated(_)));
            }
            _ => {}
        }
    }
    assert!(certified > 5 && refuted > 5, "{certified} {refuted}");
}
