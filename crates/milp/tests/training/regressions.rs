//! Problems whose structure tells units or layers apart, or leaves out what other layers stand on.

use certificate::{Direction, Window};
use milp::training::{Constraint, End, Gate, Gates, train_certified};

use super::*;

fn fixed(values: &[f64]) -> WeightDomain {
    WeightDomain::Fixed(values.to_vec())
}

fn bare(inputs: usize, layers: Vec<Layer>, samples: &[f64], targets: &[f64]) -> Problem {
    Problem {
        input: Shape::list(inputs),
        layers,
        samples: samples.chunks(inputs).map(<[f64]>::to_vec).collect(),
        targets: Targets::Values(targets.iter().map(|y| vec![*y]).collect()),
        loss: Loss::L1,
        products: Products::OneHot,
        constraints: vec![],
    }
}

/// Two filters over two places, flattened; the weights that read the filters are fixed and differ in the second place.
#[test]
fn filters_behind_a_flattened_array_are_told_apart() {
    let window = Window { height: 1, width: 1, stride: 1, padding: 0 };
    let filters = Parameters::new(2, WeightDomain::integers(0, 0), WeightDomain::integers(0, 1));
    let layers = |flat: bool| {
        let mut layers = vec![Layer::Convolution(window, filters.clone()), Layer::Relu];
        if flat {
            layers.push(Layer::Flatten);
        }
        layers.push(Layer::Dense(Parameters::new(1, fixed(&[1.0, 1.0, 1.0, 2.0]), fixed(&[0.0]))));
        layers
    };
    for flat in [false, true] {
        let problem =
            Problem { input: Shape { channels: 1, height: 1, width: 2 }, ..bare(2, layers(flat), &[0.0, 0.0], &[3.0]) };
        let optimum = solve(&problem).optimum;
        assert_eq!((optimum.end, optimum.objective), (End::Optimal, Some(0.0)), "{flat}");
        let mut gated = problem.clone();
        let Layer::Convolution(_, parameters) = &mut gated.layers[0] else { unreachable!() };
        parameters.gates.units = Some(0.25);
        assert_eq!(solve(&gated).optimum.objective, Some(0.25), "{flat}");
    }
}

fn absorbed(hidden: Parameters, constraints: Vec<Constraint>) -> Problem {
    let output = Parameters::new(1, WeightDomain::real(1.0), fixed(&[0.0]));
    let layers = vec![Layer::Dense(hidden), Layer::Relu, Layer::Dense(output)];
    // relu(-x) - relu(x)
    let problem = bare(1, layers, &[-1.0, 0.0, 1.0], &[1.0, 0.0, -1.0]);
    Problem { products: Products::Absorbed, constraints, ..problem }
}

/// The first unit has to rise, so it is the one that counts downwards.
#[test]
fn absorbed_signs_and_constraints_on_units() {
    let hidden = Parameters::new(2, WeightDomain::real(1.0), fixed(&[0.0, 0.0]));
    let rises = Constraint::Weight { layer: 0, unit: 0, input: 0, lower: 0.5, upper: 1.0 };
    let optimum = solve(&absorbed(hidden, vec![rises])).optimum;
    assert!(optimum.bound.unwrap() <= 1e-6 && optimum.objective.unwrap() <= 1e-4, "{optimum:?}");
}

#[test]
fn absorbed_signs_and_constraints_on_output_weights() {
    let hidden = Parameters::new(2, WeightDomain::real(1.0), fixed(&[0.0, 0.0]));
    let falls = Constraint::Weight { layer: 1, unit: 0, input: 0, lower: -1.0, upper: 0.0 };
    let rises = Constraint::Weight { layer: 1, unit: 0, input: 1, lower: 0.0, upper: 1.0 };
    let optimum = solve(&absorbed(hidden, vec![falls, rises])).optimum;
    assert!(optimum.bound.unwrap() <= 1e-6 && optimum.objective.unwrap() <= 1e-4, "{optimum:?}");
}

/// Unlike biases tell the units apart, too: `relu(-x + 1) - relu(x)`, minus and plus.
#[test]
fn absorbed_signs_and_fixed_biases() {
    for biases in [[0.0, 1.0], [1.0, 0.0]] {
        let hidden = Parameters::new(2, WeightDomain::real(1.0), fixed(&biases));
        let mut problem = absorbed(hidden, vec![]);
        let f = |x: f64| (1.0 - x).max(0.0) - x.max(0.0);
        problem.samples = [-1.0, 0.0, 0.5, 1.0].map(|x| vec![x]).to_vec();
        problem.targets = Targets::Values([-1.0, 0.0, 0.5, 1.0].map(|x| vec![f(x)]).to_vec());
        let optimum = solve(&problem).optimum;
        assert!(optimum.bound.unwrap() <= 1e-6 && optimum.objective.unwrap() <= 1e-4, "{biases:?} {optimum:?}");
    }
}

/// An output that cannot count a unit downwards need not count it at all.
#[test]
fn the_sign_form_allows_units_that_fall_where_nothing_counts_them() {
    let hidden = Parameters::new(2, fixed(&[-1.0, 1.0]), fixed(&[0.0, 0.0]));
    let output = Parameters::new(1, WeightDomain::integers(0, 1), fixed(&[0.0]));
    let layers = vec![Layer::Dense(hidden), Layer::Relu, Layer::Dense(output)];
    let monotone = Constraint::Monotone { input: 0, direction: Direction::Increasing };
    let problem = Problem { constraints: vec![monotone], ..bare(1, layers, &[-1.0, 1.0], &[0.0, 1.0]) };
    let optimum = solve(&problem).optimum;
    assert_eq!((optimum.end, optimum.objective), (End::Optimal, Some(0.0)));
}

/// A feature limit in the first of two optional layers that are alike otherwise.
#[test]
fn inputs_of_optional_layers_tell_them_apart() {
    let gates = Gates { inputs: Some(0.0), ..Gates::default() };
    let inner = Parameters { gates, ..Parameters::new(1, WeightDomain::integers(0, 2), fixed(&[0.0])) };
    let optional = Layer::Optional { cost: 0.25, layers: vec![Layer::Dense(inner)] };
    let last = Layer::Dense(Parameters::new(1, fixed(&[1.0]), fixed(&[0.0])));
    let mut problem = bare(1, vec![optional.clone(), optional, last], &[1.0, 2.0], &[2.0, 4.0]);
    problem.constraints = vec![Constraint::Clause(vec![(Gate::Input { layer: 0, input: 0 }, false)])];
    let optimum = solve(&problem).optimum;
    assert_eq!((optimum.end, optimum.objective), (End::Optimal, Some(0.25)));
}

/// A gate or step that opens optional layers would change the layer before them where they are left out.
#[test]
fn optional_layers_change_nothing_before_them() {
    let before = Layer::Dense(Parameters::new(1, fixed(&[1.0]), fixed(&[0.0])));
    let inner = Layer::Dense(Parameters::new(1, fixed(&[0.0]), fixed(&[0.0])));
    let last = Layer::Dense(Parameters::new(1, fixed(&[1.0]), fixed(&[0.0])));
    for first in [Layer::Gate(0.25), Layer::Step { margin: 0.25 }] {
        let optional = Layer::Optional { cost: 0.25, layers: vec![first.clone(), inner.clone()] };
        let problem = bare(1, vec![before.clone(), optional, last.clone()], &[1.0, 2.0], &[1.0, 2.0]);
        match train(&problem, &Cbc, &Options::default(), &|_| ()) {
            Err(error) => assert!(
                error.to_string().contains("before it a dense layer")
                    || error.to_string().contains("needs a dense layer"),
                "{error}"
            ),
            Ok(trained) => {
                assert_eq!((trained.optimum.end, trained.optimum.objective), (End::Optimal, Some(0.0)), "{first:?}")
            }
        }
    }
}

/// A range that contains 0, but a grid that does not: a gate can switch off nothing, and is refused.
#[test]
fn a_grid_that_jumps_over_zero_cannot_be_switched_off() {
    let gates = Gates { units: Some(0.25), ..Gates::default() };
    let jumps = WeightDomain::Grid { lower: -0.5, step: 1.0, steps: 1 };
    let hidden = Parameters { gates, ..Parameters::new(1, jumps.clone(), WeightDomain::integers(0, 0)) };
    let output = Parameters::new(1, WeightDomain::integers(0, 1), fixed(&[0.0]));
    let problem = bare(1, vec![Layer::Dense(hidden), Layer::Relu, Layer::Dense(output)], &[1.0], &[0.0]);
    let error = train(&problem, &Cbc, &Options::default(), &|_| ()).map(|trained| trained.optimum).unwrap_err();
    assert!(error.to_string().contains("cannot be switched off"), "{error}");
    // Such weights that read a unit do not keep it on.
    let hidden = Parameters { gates, ..Parameters::new(1, WeightDomain::integers(0, 1), WeightDomain::integers(0, 0)) };
    let output = Parameters::new(1, jumps, fixed(&[0.0]));
    let problem = bare(1, vec![Layer::Dense(hidden), Layer::Relu, Layer::Dense(output)], &[1.0], &[0.0]);
    let optimum = solve(&problem).optimum;
    assert_eq!((optimum.end, optimum.objective), (End::Optimal, Some(0.0)));
}

/// One weight whose input has a gate.
fn one_gate() -> (Problem, Gate) {
    let gates = Gates { inputs: Some(0.0), ..Gates::default() };
    let layer = Parameters { gates, ..Parameters::new(1, WeightDomain::integers(0, 1), fixed(&[0.0])) };
    (bare(1, vec![Layer::Dense(layer)], &[1.0], &[1.0]), Gate::Input { layer: 0, input: 0 })
}

/// A gate that is named twice is one gate.
#[test]
fn a_limit_may_name_a_gate_twice() {
    let (mut problem, gate) = one_gate();
    problem.constraints = vec![Constraint::AtMost { gates: vec![gate, gate], count: 1 }];
    let optimum = solve(&problem).optimum;
    assert_eq!((optimum.end, optimum.objective), (End::Optimal, Some(0.0)));
}

/// A clause with both sides of a gate says nothing, one without literals cannot hold.
#[test]
fn clauses_without_columns() {
    let (mut problem, gate) = one_gate();
    problem.constraints = vec![Constraint::Clause(vec![(gate, true), (gate, false)])];
    let optimum = solve(&problem).optimum;
    assert_eq!((optimum.end, optimum.objective), (End::Optimal, Some(0.0)));
    problem.constraints = vec![Constraint::Clause(vec![])];
    assert!(matches!(train(&problem, &Cbc, &Options::default(), &|_| ()), Err(milp::Error::Contradictory(_))));
}

/// A margin that is missed by less than what the forward pass forgives.
#[test]
fn the_bound_of_the_zero_one_loss_is_about_the_same_loss_as_the_objective() {
    let w = f64::from(0.249_995_f32);
    let layer = Parameters::new(1, fixed(&[w]), fixed(&[0.0]));
    let mut problem = bare(1, vec![Layer::Dense(layer)], &[1.0, -1.0], &[0.0, 0.0]);
    problem.targets = Targets::Classes(vec![1, 0]);
    problem.loss = Loss::ZeroOne { margin: 0.25 };
    let optimum = train(&problem, &Cbc, &Options::default(), &|_| ()).unwrap().optimum;
    assert!(optimum.bound.unwrap() <= optimum.objective.unwrap() + 1e-6, "{optimum:?}");
}

/// A side of a narrow box far from 0.
#[test]
fn sides_of_narrow_boxes_are_reported() {
    let layer = Parameters::new(1, WeightDomain::Real { lower: 99.99, upper: 100.01 }, fixed(&[0.0]));
    let problem = bare(1, vec![Layer::Dense(layer)], &[1.0], &[200.0]);
    let optimum = solve(&problem).optimum;
    assert_eq!(optimum.active_sides.len(), 1, "{optimum:?}");
}

/// All anchors hold for `relu(1 - x) / 2 + relu(x)`, which is not in sign form; the bound stays without a certificate.
#[test]
fn certified_training_outlives_a_sign_form_that_nothing_satisfies() {
    let hidden = Parameters::new(2, fixed(&[-1.0, 1.0]), fixed(&[1.0, 0.0]));
    let output = Parameters::new(1, WeightDomain::Grid { lower: 0.5, step: 0.5, steps: 1 }, fixed(&[0.0]));
    let layers = vec![Layer::Dense(hidden), Layer::Relu, Layer::Dense(output)];
    let problem = bare(1, layers, &[0.0, 1.0], &[1.0, 0.5]);
    let directions = certificate::MonotoneFeatures(vec![Direction::Increasing]);
    let domain = certificate::Domain::unit_cube(1);
    let certify = |rounds| train_certified(&problem, &domain, &directions, &Cbc, &Options::default(), rounds, &|_| ());
    let found = certify(5).unwrap();
    assert!(found.by_anchors && found.gap.unwrap() < 1e-3, "{:?}", found.rounds);
    assert_eq!(found.trained.unwrap().optimum.objective, Some(0.5));
    let found = certify(1).unwrap();
    assert!(found.trained.is_none() && !found.by_anchors && found.bound.unwrap() <= 0.5, "{:?}", found.rounds);
}

/// `max(-x, 0) - max(0, -x)` is constant, and at 0 it must not matter which of two equal numbers comes first.
#[test]
fn an_anchor_at_a_tie_of_pooled_numbers_excludes_no_monotone_network() {
    let window = Window { height: 2, width: 2, stride: 1, padding: 1 };
    // Over the only place and its padding: `-x` and 0 in the first row, 0 and `-x` in the second.
    let filter = Parameters::new(1, fixed(&[-1.0, 0.0, 0.0, -1.0]), fixed(&[0.0]));
    let layers = vec![
        Layer::Convolution(window, filter),
        Layer::MaxPool(Window { height: 1, padding: 0, ..window }),
        Layer::Flatten,
        Layer::Dense(Parameters::new(1, fixed(&[1.0, -1.0]), fixed(&[0.0]))),
    ];
    let mut problem = bare(1, layers, &[-1.0, 1.0], &[0.0, 0.0]);
    problem.input = Shape { channels: 1, height: 1, width: 1 };
    for direction in [Direction::Increasing, Direction::Decreasing] {
        problem.constraints = vec![Constraint::Anchored { point: vec![0.0], input: 0, direction }];
        assert_eq!(solve(&problem).optimum.objective, Some(0.0), "{direction:?}");
    }
}

/// Limits on all units leave one programme for every number of them that count upwards.
#[test]
fn a_limit_on_all_absorbed_units_tells_none_apart() {
    let gates = Gates { units: Some(0.0), ..Gates::default() };
    let hidden = Parameters { gates, ..Parameters::new(2, WeightDomain::real(1.0), WeightDomain::integers(0, 0)) };
    let units = |count| (0..count).map(|unit| Gate::Unit { layer: 0, unit }).collect();
    for (named, count, programmes, least) in [(2, 1, 3, 1.0), (1, 0, 4, 1.0), (2, 2, 3, 0.0)] {
        let limit = Constraint::AtMost { gates: units(named), count };
        let optimum = solve(&absorbed(hidden.clone(), vec![limit])).optimum;
        assert!(
            (optimum.objective.unwrap() - least).abs() < 1e-4 && optimum.bound.unwrap() <= least + 1e-6,
            "{optimum:?}"
        );
        assert!(optimum.programmes >= programmes, "{optimum:?}");
    }
}
