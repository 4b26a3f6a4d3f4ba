//! Whole networks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use certificate::{
    Activation, Affine, Block, Boundary, Counterexample, Direction, Domain, Limit, MonotoneFeatures, Network,
    Specification, Verdict, exact, interval,
};
use milp::{Control, Engine, NetworkReport, Options, Tightening, block_domains, verify_network};
use num_traits::Signed;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const UP: Direction = Direction::Increasing;
const FREE: Direction = Direction::Free;

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn random_block(rng: &mut ChaCha8Rng, (inputs, hidden, outputs): (usize, usize, usize), positive: bool) -> Block {
    let least = if positive { 0.0 } else { -1.0 };
    let mut numbers = |count: usize, least: f32| (0..count).map(|_| rng.random_range(least..1.0)).collect::<Vec<f32>>();
    let first = Affine::new(inputs, numbers(inputs * hidden, least), numbers(hidden, -1.0)).unwrap();
    let second = Affine::new(hidden, numbers(hidden * outputs, least), numbers(outputs, -1.0)).unwrap();
    Block::new(first, Activation::Relu, second).unwrap()
}

fn chain(blocks: Vec<Block>, activation: Activation) -> Network {
    let boundary = |block: &Block| Boundary { activation, monotone: vec![true; block.outputs()] };
    let boundaries = blocks[..blocks.len() - 1].iter().map(boundary).collect();
    Network::new(blocks, boundaries).unwrap()
}

fn verify(network: &Network, features: &[Direction], options: &Options) -> NetworkReport {
    let domain = Domain::unit_cube(network.inputs());
    let features = MonotoneFeatures(features.to_vec()).into();
    verify_network(network, &domain, &features, Engine::BranchAndBound, options, Control::default()).unwrap()
}

fn survives(network: &Network, pair: &Counterexample) {
    let value = |x: &[_]| exact::network(network, x).unwrap().swap_remove(pair.row);
    assert!(pair.drop.is_positive() && value(&pair.lower) - value(&pair.upper) == pair.drop);
}

#[test]
fn positive_chains_certify_and_a_falling_last_block_is_refuted() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for activation in [Activation::Clamp, Activation::Relu] {
        let first = random_block(&mut rng, (3, 5, 2), true);
        let last = random_block(&mut rng, (2, 5, 1), true);
        let report =
            verify(&chain(vec![first.clone(), last.clone()], activation), &[UP, UP, FREE], &Options::default());
        assert!(report.verdict.is_certified());
        assert_eq!(report.queries.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2]);
        // An output that falls with everything.
        let second = Affine::new(5, last.second().weight().iter().map(|w| -w).collect(), vec![0.0]).unwrap();
        let first_layer = Affine::new(2, last.first().weight().to_vec(), vec![0.5; 5]).unwrap();
        let falling = Block::new(first_layer, Activation::Relu, second).unwrap();
        // The first block has to move between the clamps for that to show.
        let moving = Affine::new(5, first.second().weight().iter().map(|w| w * 0.1).collect(), vec![0.1; 2]).unwrap();
        let open = Affine::new(3, first.first().weight().to_vec(), vec![0.1; 5]).unwrap();
        let network = chain(vec![Block::new(open, Activation::Relu, moving).unwrap(), falling], activation);
        let report = verify(&network, &[UP, UP, FREE], &Options::default());
        let Verdict::Refuted(pair) = &report.verdict else { panic!("{:?}", report.verdict) };
        survives(&network, pair);
    }
}

#[test]
fn a_block_refuted_outside_the_range_leaves_the_network_undecided() {
    // The first block gives max(0, x) - max(0, x) = 0, but intervals say [-1, 1]; the second falls everywhere.
    let first = Affine::new(1, vec![1.0, 1.0], vec![0.0, 0.0]).unwrap();
    let zero = Block::new(first, Activation::Relu, Affine::new(2, vec![1.0, -1.0], vec![0.0]).unwrap()).unwrap();
    let first = Affine::new(1, vec![1.0], vec![1.0]).unwrap();
    let falling = Block::new(first, Activation::Relu, Affine::new(1, vec![-1.0], vec![0.0]).unwrap()).unwrap();
    let network = chain(vec![zero, falling], Activation::Relu);
    let report = verify(&network, &[UP], &Options::default());
    assert!(matches!(report.verdict, Verdict::Undecided { limit: Limit::Composition, .. }), "{:?}", report.verdict);
    assert!(report.queries[1][0].verdict.is_refuted());
    // The relaxation sees that both neurons are the same, so next to nothing is left of the box.
    let tight = block_domains(&network, &Domain::unit_cube(1), Tightening::Lp, later()).unwrap();
    assert!(tight[1].input_box()[0].upper < 1e-6);
}

#[test]
fn reports_are_deterministic_and_travel_as_json() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let network = chain(
        vec![random_block(&mut rng, (3, 6, 2), false), random_block(&mut rng, (2, 6, 1), false)],
        Activation::Clamp,
    );
    let run = || {
        let mut report = verify(&network, &[UP, Direction::Decreasing, FREE], &Options::default());
        report.seconds = 0.0;
        for query in report.queries.iter_mut().flatten() {
            // Of a dropped side of a branching more or less may have been looked at.
            (query.seconds, query.nodes) = (0.0, 0);
        }
        report
    };
    let mut report = run();
    assert_eq!(report, run());
    report.queries.iter_mut().flatten().for_each(|query| query.proof = None);
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<NetworkReport>(&text).unwrap(), report);
}

#[test]
fn single_blocks_agree_with_samples_in_both_directions() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut refuted = 0;
    for _ in 0..30 {
        let network = chain(vec![random_block(&mut rng, (2, 4, 2), false)], Activation::Relu);
        for direction in [UP, Direction::Decreasing] {
            let report = verify(&network, &[direction, FREE], &Options::default());
            match &report.verdict {
                Verdict::Refuted(pair) => {
                    refuted += 1;
                    survives(&network, pair);
                }
                verdict => {
                    assert!(verdict.is_certified());
                    for _ in 0..100 {
                        let (a, b): (f64, f64) = (rng.random(), rng.random());
                        let other: f64 = rng.random();
                        let (a, b) = if (a < b) == (direction == UP) { (a, b) } else { (b, a) };
                        let outputs = network.evaluate(&[a, other]).into_iter().zip(network.evaluate(&[b, other]));
                        assert!(outputs.into_iter().all(|(a, b)| a <= b + 1e-12));
                    }
                }
            }
        }
    }
    assert!((10..60).contains(&refuted), "{refuted}");
}

#[test]
fn tightening_never_loosens_and_contains_samples() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut tighter = 0;
    for case in 0..15 {
        let network = chain(
            vec![random_block(&mut rng, (3, 8, 2), false), random_block(&mut rng, (2, 3, 1), false)],
            Activation::Relu,
        );
        let cube = Domain::unit_cube(3);
        let domain = match case % 3 {
            0 => Domain::new(cube.input_box().to_vec(), vec![vec![0, 2]], vec![]).unwrap(),
            _ => cube,
        };
        let wide = interval::block_domains(&network, &domain);
        let bounds = [
            block_domains(&network, &domain, Tightening::Lp, later()).unwrap(),
            block_domains(&network, &domain, Tightening::Milp, later()).unwrap(),
        ];
        for tight in &bounds {
            for (t, w) in tight[1].input_box().iter().zip(wide[1].input_box()) {
                assert!(w.lower <= t.lower && t.upper <= w.upper);
                tighter += usize::from(t.upper - t.lower < 0.9 * (w.upper - w.lower));
            }
            for _ in 0..300 {
                let mut x: Vec<f64> = (0..3).map(|_| rng.random()).collect();
                if case % 3 == 0 {
                    x[0] = x[0].round();
                    x[2] = 1.0 - x[0];
                }
                let outputs = network.blocks()[0].evaluate(&x);
                for (y, side) in outputs.iter().zip(tight[1].input_box()) {
                    assert!(side.lower - 1e-12 <= y.max(0.0) && y.max(0.0) <= side.upper + 1e-12);
                }
            }
        }
        for (a, b) in bounds[0][1].input_box().iter().zip(bounds[1][1].input_box()) {
            assert!(b.upper <= a.upper + 1e-9, "binaries only tighten");
        }
    }
    assert!(tighter > 10, "{tighter}");
}

#[test]
fn a_caller_can_watch_and_stop() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let network = chain(vec![random_block(&mut rng, (4, 6, 2), true)], Activation::Relu);
    let (domain, features) = (Domain::unit_cube(4), Specification::from(MonotoneFeatures(vec![UP; 4])));
    let seen = Mutex::new(0);
    let progress = |_: usize, _: &_| *seen.lock().unwrap() += 1;
    let interrupt = AtomicBool::new(false);
    let control = Control { interrupt: Some(&interrupt), progress: Some(&progress) };
    let run =
        || verify_network(&network, &domain, &features, Engine::BranchAndBound, &Options::default(), control).unwrap();
    assert!(run().verdict.is_certified());
    assert_eq!(*seen.lock().unwrap(), 8);
    interrupt.store(true, Ordering::Relaxed);
    assert!(matches!(run().verdict, Verdict::Undecided { limit: Limit::Interrupted, .. }));
    let falling = chain(vec![random_block(&mut rng, (4, 6, 2), false)], Activation::Relu);
    let options = Options { stop_at_first_refutation: true, ..Options::default() };
    assert!(verify(&falling, &[UP; 4], &options).verdict.is_refuted());
}

/// Found in review: the attack on the whole network drew a monotone feature from none.
#[test]
fn a_network_of_which_nothing_is_asked_is_certified() {
    let first = Affine::new(1, vec![1.0], vec![0.0]).unwrap();
    let layer = |w: f32| Affine::new(1, vec![w], vec![0.0]).unwrap();
    let rising = Block::new(first.clone(), Activation::Relu, layer(1.0)).unwrap();
    let falling = Block::new(first, Activation::Relu, layer(-1.0)).unwrap();
    let report = verify(&chain(vec![rising, falling], Activation::Relu), &[FREE], &Options::default());
    assert!(report.verdict.is_certified(), "{:?}", report.verdict);
}
