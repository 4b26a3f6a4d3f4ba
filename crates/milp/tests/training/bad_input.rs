//! What makes no sense is said before anything is solved, and what cannot be is said with the reason.

use milp::training::{Constraint, End, Gate};

use super::*;

fn message(problem: &Problem) -> String {
    train(problem, &Cbc, &Options::default(), &|_| ()).unwrap_err().to_string()
}

fn small(loss: Loss, targets: Targets) -> Problem {
    let samples = vec![vec![0.0], vec![1.0]];
    Problem { samples, targets, loss, ..dense(1, &[1], &WeightDomain::integers(-1, 1)) }
}

fn regression() -> Problem {
    small(Loss::L1, Targets::Values(vec![vec![0.0], vec![1.0]]))
}

fn with(change: impl FnOnce(&mut Problem)) -> String {
    let mut problem = regression();
    change(&mut problem);
    message(&problem)
}

fn first(problem: &mut Problem) -> &mut Parameters {
    let Layer::Dense(parameters) = &mut problem.layers[0] else { unreachable!() };
    parameters
}

#[test]
fn every_mistake_has_its_message() {
    let cases: [(String, &str); 14] = [
        (with(|p| first(p).weights = WeightDomain::real(f64::INFINITY)), "layer 1: weights need finite bounds"),
        (with(|p| first(p).biases = WeightDomain::Real { lower: 1.0, upper: 0.0 }), "no number is in [1, 0]"),
        (with(|p| first(p).weights = WeightDomain::Grid { lower: 0.1, step: 0.1, steps: 3 }), "grid of 32-bit numbers"),
        (with(|p| first(p).weights = WeightDomain::Fixed(vec![1.0; 3])), "expected 1 fixed numbers, found 3"),
        (with(|p| first(p).weights = WeightDomain::real(1e7)), "solvers give wrong answers"),
        (with(|p| first(p).l1 = f64::NAN), "penalties"),
        (with(|p| p.samples[1] = vec![f64::NAN]), "sample 2: NaN is not a finite number"),
        (with(|p| p.samples[1] = vec![1.0, 2.0]), "sample 2: expected 1 numbers, found 2"),
        (with(|p| p.samples.truncate(1)), "1 samples have 2 targets"),
        (with(|p| p.loss = Loss::Hinge), "needs classes as targets"),
        (with(|p| p.layers.insert(1, Layer::Step { margin: 0.3 })), "power of two"),
        (message(&small(Loss::Hinge, Targets::Classes(vec![1, 1]))), "all samples are of class 1"),
        (message(&small(Loss::Hinge, Targets::Classes(vec![1, 2]))), "expected a class below 2, found 2"),
        (message(&small(Loss::ZeroOne { margin: 0.0 }, Targets::Classes(vec![1, 0]))), "at least 0.001"),
    ];
    for (said, expected) in cases {
        assert!(said.contains(expected), "{said} does not say: {expected}");
    }
    let gate = Gate::Unit { layer: 0, unit: 0 };
    let said = with(|p| p.constraints = vec![Constraint::Clause(vec![(gate, true)])]);
    assert!(said.contains("unit 1 of layer 1, which has no gate"), "{said}");
}

#[test]
fn what_a_mode_cannot_express_is_refused() {
    let real = Problem { layers: dense(1, &[1], &WeightDomain::real(1.0)).layers, ..regression() };
    assert!(message(&real).contains("real weight and an activation cannot be written exactly"));
    let deep = dense(1, &[1, 1], &WeightDomain::real(1.0));
    let deep = Problem { layers: deep.layers, products: Products::Absorbed, ..regression() };
    assert!(message(&deep).contains("one hidden relu layer only"));
}

/// Of four constraints only the two that exclude each other are named.
#[test]
fn contradicting_constraints_are_named() {
    let output = |x: f64, lower, upper| Constraint::Output { point: vec![x], output: 0, lower, upper };
    let mut problem = regression();
    problem.constraints =
        vec![output(0.0, -1.0, 1.0), output(0.5, 2.0, 3.0), output(1.0, -1.0, 1.0), output(0.5, -1.0, 0.0)];
    let Err(milp::Error::Contradictory(named)) = train(&problem, &Cbc, &Options::default(), &|_| ()) else {
        panic!("no network is above 2 and below 0 at once")
    };
    assert_eq!(named, ["output 1 at [0.5] in [2, 3]", "output 1 at [0.5] in [-1, 0]"]);
    // One that no network of the box can satisfy is named alone.
    problem.constraints = vec![output(0.0, -1.0, 1.0), output(0.5, 90.0, 99.0)];
    assert!(message(&problem).ends_with("no network satisfies all of: output 1 at [0.5] in [90, 99]"));
}

/// The same point in both classes: no network fits both, but one of them.
#[test]
fn duplicates_with_different_labels_are_allowed_and_said() {
    let mut problem = small(Loss::ZeroOne { margin: 0.5 }, Targets::Classes(vec![0, 1, 0]));
    problem.samples = vec![vec![0.0], vec![1.0], vec![1.0]];
    let trained = solve(&problem);
    assert_eq!((trained.optimum.end, trained.optimum.objective), (End::Optimal, Some(1.0)));
    assert!(trained.optimum.warnings[0].contains("samples 2 and 3 are the same point"));
}

#[test]
fn what_is_too_much_is_said_before_it_is_solved() {
    let mut problem = dense(1, &[4], &WeightDomain::integers(-1, 1));
    problem.samples = (0..40).map(|k| vec![f64::from(k) - 20.5]).collect();
    problem.targets = Targets::Values(vec![vec![0.0]; 40]);
    let size = problem.size().unwrap();
    assert_eq!(size.activations, 160);
    assert!(size.warning().unwrap().contains("160 binaries"));
    problem.samples.truncate(8);
    problem.targets = Targets::Values(vec![vec![0.0]; 8]);
    assert_eq!(problem.size().unwrap().warning(), None);
}

/// Without time there is no network, and no bound but the obvious one; the record says so.
#[test]
fn a_limit_leaves_an_honest_record() {
    let problem = regression();
    let options = Options { time_limit_s: 0.0, ..Options::default() };
    let trained = train(&problem, &Cbc, &options, &|_| ()).unwrap();
    let optimum = &trained.optimum;
    assert_eq!((&optimum.end, optimum.objective, optimum.bound), (&End::TimeLimit, None, Some(0.0)));
    // The record survives its file.
    let text = serde_json::to_string(optimum).unwrap();
    assert_eq!(serde_json::from_str::<milp::training::Optimum>(&text).unwrap(), *optimum);
}
