use certificate::{Boundary, Direction, Interval, Verdict};
use proptest::prelude::*;
use rand::RngExt;

use super::*;
use crate::{Control, Engine, Options, verify_network};

const UP: Direction = Direction::Increasing;
const DOWN: Direction = Direction::Decreasing;
const FREE: Direction = Direction::Free;

fn random_block(rng: &mut ChaCha8Rng, (inputs, hidden, outputs): (usize, usize, usize)) -> Block {
    let mut numbers = |count: usize| (0..count).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
    let first = Affine::new(inputs, numbers(inputs * hidden), numbers(hidden)).unwrap();
    Block::new(first, Activation::Relu, Affine::new(hidden, numbers(hidden * outputs), numbers(outputs)).unwrap())
        .unwrap()
}

/// Two blocks; the first one's last output is free, and what would link it to monotone inputs is cut.
fn random_network(rng: &mut ChaCha8Rng, features: &[Direction], activation: Activation) -> Network {
    let (inputs, hidden) = (features.len(), 6);
    let block = random_block(rng, (inputs, hidden, 3));
    let mut second = block.second().weight().to_vec();
    let mut first = block.first().weight().to_vec();
    for i in 0..hidden {
        if i < 4 {
            second[2 * hidden + i] = 0.0;
        } else {
            (0..inputs).filter(|&j| features[j] != FREE).for_each(|j| first[i * inputs + j] = 0.0);
        }
    }
    let first = Affine::new(inputs, first, block.first().bias().to_vec()).unwrap();
    let second = Affine::new(hidden, second, block.second().bias().to_vec()).unwrap();
    let blocks = vec![Block::new(first, Activation::Relu, second).unwrap(), random_block(rng, (3, 6, 1))];
    Network::new(blocks, vec![Boundary { activation, monotone: vec![true, true, false] }]).unwrap()
}

fn certified(network: &Network, domain: &Domain, features: &MonotoneFeatures) -> bool {
    let engine = Engine::BranchAndBound;
    let report =
        verify_network(network, domain, &features.clone().into(), engine, &Options::default(), Control::default())
            .unwrap();
    report.verdict.is_certified()
}

fn rows(rng: &mut ChaCha8Rng, inputs: usize) -> Vec<Vec<f64>> {
    (0..30).map(|_| (0..inputs).map(|_| rng.random()).collect()).collect()
}

fn run(network: &Network, domain: &Domain, features: &MonotoneFeatures, options: &RepairOptions) -> Repaired {
    let rows = rows(&mut ChaCha8Rng::seed_from_u64(9), network.inputs());
    repair(network, domain, features, &rows, &[], options, None).unwrap()
}

/// The largest fall of the output between two random points of the domain that differ in monotone inputs.
fn worst_fall(network: &Network, domain: &Domain, features: &MonotoneFeatures, rng: &mut ChaCha8Rng) -> f64 {
    let mut worst = f64::NEG_INFINITY;
    for k in 0..300 {
        let mut lower = random_point(domain, None, k % 3 == 0, rng);
        let other = random_point(domain, None, k % 2 == 0, rng);
        let mut upper = lower.clone();
        for (j, direction) in features.0.iter().enumerate() {
            let (least, most) = (lower[j].min(other[j]), lower[j].max(other[j]));
            (lower[j], upper[j]) = match *direction {
                UP => (least, most),
                DOWN => (most, least),
                FREE => (lower[j], lower[j]),
            };
        }
        let exact = |x: &[f64]| {
            let x: Vec<_> = x.iter().map(|x| certificate::exact::rational(*x)).collect();
            certificate::exact::network(network, &x).unwrap().swap_remove(0)
        };
        worst = worst.max(approximate(&(exact(&lower) - exact(&upper))));
    }
    worst
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// All methods, both activations between blocks, all directions: what is repaired certifies and never falls; what
    /// is repaired again stays; links that are cut stay cut; the mean output stays.
    #[test]
    fn a_repaired_network_certifies(seed in any::<u64>(), method in 0..4, clamp in any::<bool>(), low in any::<bool>()) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let directions = [[UP, FREE, FREE], [UP, DOWN, FREE], [DOWN, FREE, UP]][rng.random_range(0..3)];
        let activation = if clamp { Activation::Clamp } else { Activation::Relu };
        let network = random_network(&mut rng, &directions, activation);
        let features = MonotoneFeatures(directions.to_vec());
        let domain = Domain::from_box(vec![Interval::new(if low { -1.5 } else { 0.0 }, 1.0); 3]).unwrap();
        let lift = method == 1;
        let method = match method {
            0 => RepairMethod::Project,
            1 => RepairMethod::Lift,
            n => {
                let loss = if n == 2 { Loss::CrossEntropy } else { Loss::Squares };
                RepairMethod::Refit { loss, targets: (0..30).map(|k| f64::from(k % 2)).collect() }
            }
        };
        let options = RepairOptions { method, points: 200, samples: 100, ..RepairOptions::default() };
        let repaired = run(&network, &domain, &features, &options);
        prop_assert_eq!(&repaired.end, &RepairEnd::Certified);
        prop_assert!(certified(&repaired.network, &domain, &features));
        let fall = worst_fall(&repaired.network, &domain, &features, &mut rng);
        prop_assert!(fall <= 0.0, "{fall}");

        let again = run(&repaired.network, &domain, &features, &options);
        prop_assert_eq!(&again.network, &repaired.network);
        prop_assert!(again.blocks.iter().all(|block| block.cuts == 0 && block.rows_moved == 0));

        for (before, after) in network.blocks().iter().zip(repaired.network.blocks()) {
            let layer = before.first().weight();
            prop_assert_eq!(layer, &after.first().weight()[..layer.len()]);
            for r in 0..before.outputs() {
                let (old, new) = (before.second().row(r), after.second().row(r));
                for (i, (old, new)) in old.iter().zip(new).enumerate() {
                    prop_assert!(*old != 0.0 || *new == 0.0, "neuron {i} of row {r} was linked");
                    prop_assert!(!lift || old == new, "neuron {i} of row {r} was moved");
                }
            }
        }
        let mean = |network: &Network| {
            let rows = rows(&mut ChaCha8Rng::seed_from_u64(9), 3);
            rows.iter().map(|x| network.blocks()[0].evaluate(x)[0]).sum::<f64>() / rows.len() as f64
        };
        prop_assert!((mean(&network) - mean(&repaired.network)).abs() < 1e-4);
    }
}

/// A cut is about the first layer alone: after the repair every witness, of this run or of one with other second layers,
/// has a derivative of at least the level, and the witnesses help the next run.
#[test]
fn witnesses_hold_for_other_second_layers() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let features = MonotoneFeatures(vec![UP, DOWN, FREE]);
    let domain = Domain::unit_cube(3);
    let (mut with, mut without, mut found) = (0, 0, 0);
    for _ in 0..40 {
        let block = random_block(&mut rng, (3, 9, 2));
        let other = random_block(&mut rng, (3, 9, 2)).second().clone();
        let other = Block::new(block.first().clone(), Activation::Relu, other).unwrap();
        let [one, other] = [block, other].map(|block| Network::new(vec![block], vec![]).unwrap());
        // Nothing but what the witnesses bring is known beforehand.
        let options = RepairOptions { points: 0, samples: 50, ..RepairOptions::default() };
        let first = repair(&one, &domain, &features, &[], &[], &options, None).unwrap();
        found += first.witnesses[0].len();
        let alone = repair(&other, &domain, &features, &[], &[], &options, None).unwrap();
        let helped = repair(&other, &domain, &features, &[], &first.witnesses, &options, None).unwrap();
        assert_eq!((&alone.end, &helped.end), (&RepairEnd::Certified, &RepairEnd::Certified));
        with += helped.blocks[0].searches;
        without += alone.blocks[0].searches;
        for repaired in [&first, &helped] {
            let block = &repaired.network.blocks()[0];
            for query in &Specification::from(features.clone()).queries(&repaired.network).unwrap()[0] {
                let derivative = DirectedDerivative::new(block, &Rows::OUTPUTS, &domain, *query).unwrap();
                for witness in &first.witnesses[0] {
                    assert!(domain.input_box().iter().zip(witness).all(|(side, x)| side.contains(*x)));
                    assert!(derivative.evaluate(witness) >= 0.0);
                }
            }
        }
    }
    assert!(found > 100 && with < without, "{found} witnesses, {with} searches with them and {without} without");
}

/// Of the weights that satisfy the cuts, regression takes better ones than projection does, measured by what it minimises.
#[test]
fn a_refit_has_less_loss_than_a_projection() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let features = MonotoneFeatures(vec![UP, DOWN, FREE]);
    let domain = Domain::unit_cube(3);
    let rows = rows(&mut rng, 3);
    let targets: Vec<f64> = rows.iter().map(|x| if x[0] + 0.5 * x[2] > x[1] + 0.2 { 1.0 } else { 0.0 }).collect();
    let mut better = 0;
    for _ in 0..10 {
        let network = random_network(&mut rng, &features.0, Activation::Clamp);
        let loss = |method: RepairMethod| {
            let options = RepairOptions { method, points: 500, ..RepairOptions::default() };
            let repaired = repair(&network, &domain, &features, &rows, &[], &options, None).unwrap();
            assert_eq!(repaired.end, RepairEnd::Certified);
            let outputs = rows.iter().map(|x| repaired.network.evaluate(x)[0]);
            let loss = |(z, y): (f64, &f64)| z.max(0.0) - z * y + (-z.abs()).exp().ln_1p();
            outputs.zip(&targets).map(loss).sum::<f64>() / 30.0
        };
        let refit = loss(RepairMethod::Refit { loss: Loss::CrossEntropy, targets: targets.clone() });
        let projected = loss(RepairMethod::Project);
        // Where the last block is monotone as it is, nothing is fitted.
        assert!(refit <= projected, "{refit} {projected}");
        better += usize::from(refit < projected - 0.01);
    }
    assert!(better >= 5, "{better} of 10");
}

#[test]
fn a_limit_leaves_the_queries_open() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let network = random_network(&mut rng, &[UP, UP, FREE], Activation::Clamp);
    let features = MonotoneFeatures(vec![UP, UP, FREE]);
    let domain = Domain::unit_cube(3);
    assert!(!certified(&network, &domain, &features));
    let none = RepairOptions { time_limit_s: 0.0, samples: 0, ..RepairOptions::default() };
    let RepairEnd::Undecided { queries, limit } = run(&network, &domain, &features, &none).end else {
        panic!("there was no time")
    };
    assert_eq!(limit, Limit::Time);
    assert!(queries.contains(&(1, Query { row: 0, input: 1, direction: UP })), "{queries:?}");
    let stop = AtomicBool::new(true);
    let options = RepairOptions { samples: 0, ..RepairOptions::default() };
    let stopped = repair(&network, &domain, &features, &[], &[], &options, Some(&stop)).unwrap();
    assert!(matches!(stopped.end, RepairEnd::Undecided { limit: Limit::Interrupted, .. }));
    let one_round = RepairOptions { round_limit: 1, points: 0, ..RepairOptions::default() };
    assert!(matches!(run(&network, &domain, &features, &one_round).end, RepairEnd::Undecided { .. }));
}

/// f = -max(0, x): only the neuron that is added can help, and it does.
#[test]
fn a_hand_computed_repair() {
    let first = Affine::new(1, vec![1.0], vec![0.0]).unwrap();
    let block = Block::new(first, Activation::Relu, Affine::new(1, vec![-1.0], vec![0.5]).unwrap()).unwrap();
    let network = Network::new(vec![block], vec![]).unwrap();
    let features = MonotoneFeatures(vec![UP]);
    let domain = Domain::from_box(vec![Interval::new(-1.0, 1.0)]).unwrap();
    let options = RepairOptions { method: RepairMethod::Lift, ..RepairOptions::default() };
    let lifted = repair(&network, &domain, &features, &[vec![0.5]], &[], &options, None).unwrap();
    // x + 2 is always on; its weight makes up for -1 and the level. At the row 0.5 the output stays 0.
    let block = &lifted.network.blocks()[0];
    assert_eq!((block.first().row(1), block.first().bias()[1]), (&[1.0][..], 2.0));
    assert!((block.second().row(0)[1] - 1.1).abs() < 1e-6);
    assert!(block.evaluate(&[0.5])[0].abs() < 1e-6);
    // The nearest point of a1 + a2 >= 0.1 (x > 0) and a2 >= 0 (x < 0) to (-1, 0) is (-0.45, 0.55).
    let projected = repair(&network, &domain, &features, &[], &[], &RepairOptions::default(), None).unwrap();
    let weights = projected.network.blocks()[0].second().row(0);
    assert!((weights[0] + 0.45).abs() < 1e-4 && (weights[1] - 0.55).abs() < 1e-4, "{weights:?}");
    let report = verify_network(
        &projected.network,
        &domain,
        &features.clone().into(),
        Engine::BranchAndBound,
        &Options::default(),
        Control::default(),
    );
    assert!(matches!(report.unwrap().verdict, Verdict::Certified { .. }));
}
