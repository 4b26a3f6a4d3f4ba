//! What is switched off is what costs more than it is worth: against enumeration over the gates, on planted networks.

use certificate::{Direction, Window};
use milp::training::{Constraint, End, Gate, Gates};

use super::*;

const UNIT: f64 = 0.25;

/// Samples of `max(0, x1 - x2) - 1`, a network of one unit that never reads the third feature.
fn planted() -> (Vec<Vec<f64>>, Targets) {
    let samples: Vec<Vec<f64>> =
        [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [2.0, 0.0, 1.0], [0.0, 0.0, 0.0], [3.0, 1.0, 0.0]].map(Vec::from).to_vec();
    let y = samples.iter().map(|x| vec![(x[0] - x[1]).max(0.0) - 1.0]).collect();
    (samples, Targets::Values(y))
}

fn with_gates(hidden: usize, gates: Gates) -> Problem {
    let (samples, targets) = planted();
    let mut problem = Problem { samples, targets, ..dense(3, &[hidden], &WeightDomain::integers(-1, 1)) };
    let Layer::Dense(first) = &mut problem.layers[0] else { unreachable!() };
    first.gates = gates;
    problem
}

#[test]
fn redundant_units_and_features_are_left_out() {
    let trained = solve(&with_gates(3, Gates { units: Some(UNIT), inputs: Some(0.125), weights: None }));
    assert_eq!(trained.optimum.end, End::Optimal);
    let fitted = trained.fitted.unwrap();
    assert!((fitted.objective() - (UNIT + 2.0 * 0.125)).abs() < 1e-6 && fitted.loss == 0.0, "{fitted:?}");
    let [first, second] = &fitted.weights[..] else { panic!("{fitted:?}") };
    // Used units come first.
    assert_eq!(first.weights, [1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!((&first.biases[1..], &second.weights[..]), (&[0.0, 0.0][..], &[1.0, 0.0, 0.0][..]));
}

/// The unit that is used has a negative bias, so it would come last if unused ones did not come after all.
#[test]
fn unused_units_do_not_disturb_the_order() {
    let mut problem = dense(1, &[2], &WeightDomain::integers(-1, 1));
    let Layer::Dense(first) = &mut problem.layers[0] else { unreachable!() };
    first.gates.units = Some(UNIT);
    problem.samples = [0.0, 1.0, 2.0, 3.0].map(|x| vec![x]).to_vec();
    problem.targets = Targets::Values([0.0, 0.0, 1.0, 2.0].map(|y| vec![y]).to_vec());
    let fitted = solve(&problem).fitted.unwrap();
    assert_eq!((fitted.objective(), &fitted.weights[0].biases[..]), (UNIT, &[-1.0, 0.0][..]));
}

#[test]
fn the_objective_is_that_of_enumeration_over_gates() {
    // The loss of the best network of each width, every width a problem of its own without gates.
    let (samples, _) = planted();
    // Two units pay for themselves, three do not.
    let y = samples.iter().map(|x| vec![(x[0] - x[1]).abs()]).collect();
    let targets = Targets::Values(y);
    let width = |hidden| {
        let problem = Problem {
            samples: samples.clone(),
            targets: targets.clone(),
            ..dense(3, &[hidden], &WeightDomain::integers(-1, 1))
        };
        solve(&problem).optimum.objective.unwrap() + UNIT * hidden as f64
    };
    let nothing: f64 = {
        // Without units only the bias is left.
        let Targets::Values(y) = &targets else { unreachable!() };
        let loss = |c: f64| y.iter().map(|y| (y[0] - c).abs()).sum::<f64>();
        [-1.0, 0.0, 1.0].map(loss).into_iter().fold(f64::INFINITY, f64::min)
    };
    let expected = nothing.min(width(1)).min(width(2)).min(2.0 * UNIT + UNIT);
    let gates = Gates { units: Some(UNIT), ..Gates::default() };
    let gated = solve(&Problem { targets: targets.clone(), ..with_gates(3, gates) });
    assert!((gated.optimum.objective.unwrap() - expected).abs() < 1e-6, "{expected} {gated:?}");
    assert_eq!(gated.fitted.unwrap().structure, 2.0 * UNIT);
}

/// `v` times a ReLU of two inputs, then a layer that changes nothing: the optional layer goes.
#[test]
fn a_redundant_layer_is_left_out() {
    let (samples, targets) = planted();
    let mut problem = Problem { samples, targets, ..dense(3, &[1], &WeightDomain::integers(-1, 1)) };
    let inner = Parameters::new(1, WeightDomain::integers(-1, 1), WeightDomain::integers(0, 0));
    let optional = Layer::Optional { cost: 0.5, layers: vec![Layer::Dense(inner), Layer::Relu] };
    problem.layers.splice(2..2, [optional.clone(), optional]);
    let trained = solve(&problem);
    let fitted = trained.fitted.unwrap();
    assert_eq!((trained.optimum.end, fitted.objective(), fitted.kept), (End::Optimal, 0.0, vec![false, false]));
    assert_eq!(fitted.network.layers().len(), 3);
    // One that has to stay is paid for.
    problem.constraints = vec![Constraint::Clause(vec![(Gate::Optional(0), true), (Gate::Optional(1), true)])];
    let fitted = solve(&problem).fitted.unwrap();
    assert_eq!((fitted.objective(), fitted.kept.iter().filter(|kept| **kept).count()), (0.5, 1));
    // Also the one that would not be chosen.
    problem.constraints =
        [(0, false), (1, true)].map(|(k, on)| Constraint::Clause(vec![(Gate::Optional(k), on)])).to_vec();
    assert_eq!(solve(&problem).fitted.unwrap().kept, [false, true]);
}

/// The second filter finds nothing that the first does not.
#[test]
fn a_redundant_filter_is_left_out() {
    let window = Window { height: 1, width: 2, stride: 1, padding: 0 };
    let integers = |largest: i32| WeightDomain::integers(-largest, largest);
    let filters = Parameters {
        gates: Gates { units: Some(UNIT), ..Gates::default() },
        ..Parameters::new(2, integers(1), integers(0))
    };
    let samples: Vec<Vec<f64>> =
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [2.0, 0.0, 0.0]].map(Vec::from).to_vec();
    // The largest fall between neighbours.
    let y = samples.iter().map(|x| vec![(x[0] - x[1]).max(x[1] - x[2]).max(0.0)]).collect();
    let problem = Problem {
        input: Shape { channels: 1, height: 1, width: 3 },
        layers: vec![
            Layer::Convolution(window, filters),
            Layer::Relu,
            Layer::MaxPool(window),
            Layer::Flatten,
            Layer::Dense(Parameters::new(1, integers(1), integers(0))),
        ],
        samples,
        targets: Targets::Values(y),
        ..dense(3, &[1], &integers(1))
    };
    let trained = solve(&problem);
    let fitted = trained.fitted.unwrap();
    assert_eq!((trained.optimum.end, fitted.loss, fitted.structure), (End::Optimal, 0.0, UNIT));
    assert_eq!(fitted.weights[0].weights, [1.0, -1.0, 0.0, 0.0]);
    assert_eq!(fitted.weights[1].weights, [1.0, 0.0]);
}

#[test]
fn activation_gates_and_supports_count_what_is_used() {
    let mut problem = with_gates(2, Gates { weights: Some(0.0625), ..Gates::default() });
    problem.layers.insert(2, Layer::Gate(UNIT));
    let fitted = solve(&problem).fitted.unwrap();
    // One unit with two weights.
    assert_eq!(fitted.objective(), UNIT + 2.0 * 0.0625);
    assert_eq!(fitted.open[0].iter().filter(|open| **open).count(), 1);
}

#[test]
fn logic_between_gates_and_feature_limits_hold() {
    let mut problem = with_gates(1, Gates { inputs: Some(0.0), units: Some(0.0), weights: None });
    let input = |input| Gate::Input { layer: 0, input };
    problem.constraints = vec![Constraint::AtMost { gates: (0..3).map(input).collect(), count: 1 }];
    let one = solve(&problem).fitted.unwrap();
    let columns = (0..3).filter(|j| one.weights[0].weights.chunks(3).any(|row| row[*j] != 0.0)).count();
    assert!(columns <= 1 && one.loss > 0.0, "{one:?}");
    // Not the first two together, and the third is no substitute.
    problem.constraints = vec![Constraint::Clause(vec![(input(0), false), (input(1), false)])];
    let fitted = solve(&problem).fitted.unwrap();
    let reads = |j: usize| fitted.weights[0].weights.chunks(3).any(|row| row[j] != 0.0);
    assert!(!(reads(0) && reads(1)) && fitted.loss > 0.0, "{fitted:?}");
}

/// With signs the fit is worse than without, and the network is monotone.
#[test]
fn the_sign_form_makes_a_network_monotone() {
    let mut problem = with_gates(1, Gates::default());
    // Falls in the second feature, whatever the first.
    problem.samples = [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]].map(Vec::from).to_vec();
    problem.targets = Targets::Values([0.0, -1.0, 0.0, -1.0].map(|y| vec![y]).to_vec());
    let free = solve(&problem).optimum.objective.unwrap();
    problem.constraints = vec![Constraint::Monotone { input: 1, direction: Direction::Increasing }];
    let trained = solve(&problem);
    let fitted = trained.fitted.unwrap();
    assert_eq!((free, fitted.objective()), (0.0, 2.0));
    assert!(fitted.weights[0].weights[1] * fitted.weights[1].weights[0] >= 0.0, "{fitted:?}");
    // Anchored at the samples the network may do anything elsewhere, so it fits at least as well.
    let anchored =
        |point: &Vec<f64>| Constraint::Anchored { point: point.clone(), input: 1, direction: Direction::Increasing };
    problem.constraints = problem.samples[..1].iter().map(anchored).collect();
    let objective = solve(&problem).optimum.objective.unwrap();
    assert!(free <= objective + 1e-9 && objective <= fitted.objective() + 1e-9, "{free} {objective}");
}
