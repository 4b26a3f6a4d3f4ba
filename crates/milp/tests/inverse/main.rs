//! Inverse problems: encodings of every layer, extreme inputs, nearest inputs of another class.

mod encodings;
mod generated_weights;
mod nearest;
mod patients;
mod patterns;
mod regressions;

use certificate::{Affine, Domain, Interval, Layer, Layered, Shape};
use milp::solver::{Limits, Outcome, Solver};
use milp::{Inverse, Programme, Tightening};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn dense(rng: &mut ChaCha8Rng, inputs: usize, outputs: usize) -> Affine {
    let mut numbers = |count: usize| (0..count).map(|_| rng.random_range(-1.0..1.0_f32)).collect::<Vec<_>>();
    Affine::new(inputs, numbers(inputs * outputs), numbers(outputs)).unwrap()
}

/// A dense ReLU network, with a ReLU after the last layer or without.
fn network(rng: &mut ChaCha8Rng, widths: &[usize], relu_output: bool) -> Layered {
    let mut layers = Vec::new();
    for pair in widths.windows(2) {
        layers.extend([Layer::Dense(dense(rng, pair[0], pair[1])), Layer::Relu]);
    }
    if !relu_output {
        layers.pop();
    }
    Layered::new(Shape::list(widths[0]), layers).unwrap()
}

fn cube(inputs: usize, side: f64) -> Domain {
    Domain::from_box(vec![Interval::new(-side, side); inputs]).unwrap()
}

fn names(inputs: usize) -> Vec<String> {
    (0..inputs).map(|j| format!("a{j}")).collect()
}

fn inverse<'a>(network: &'a Layered, domain: &'a Domain) -> Inverse<'a> {
    Inverse::new(network, domain, &names(network.inputs()), Tightening::Interval, MINUTE).unwrap()
}

fn solve(programme: &Programme, solver: &dyn Solver) -> Outcome {
    solver.solve(programme, &Limits::time(MINUTE))
}
