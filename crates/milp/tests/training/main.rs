//! Training as a mixed-integer programme: its optimum against brute force, known answers and other ways to the same number.

use certificate::Shape;
use milp::solver::Cbc;
use milp::training::{Layer, Loss, Options, Parameters, Problem, Products, Targets, Trained, WeightDomain, train};

mod bad_input;
mod breast_cancer;
mod brute_force;
mod certified;
mod convex;
mod enumeration;
mod random_problems;
mod regressions;
mod structure;
mod xor;

/// Dense ReLU layers of these widths and a linear layer with one output, all weights of one domain.
pub fn dense(inputs: usize, hidden: &[usize], domain: &WeightDomain) -> Problem {
    let layer = |outputs| Layer::Dense(Parameters::new(outputs, domain.clone(), domain.clone()));
    let mut layers: Vec<Layer> = hidden.iter().flat_map(|width| [layer(*width), Layer::Relu]).collect();
    layers.push(layer(1));
    Problem {
        input: Shape::list(inputs),
        layers,
        samples: vec![],
        targets: Targets::Values(vec![]),
        loss: Loss::L1,
        products: Products::OneHot,
        constraints: vec![],
    }
}

/// Trains with CBC and checks what every record has to satisfy.
pub fn solve(problem: &Problem) -> Trained {
    let trained = train(problem, &Cbc, &Options::default(), &|_| ()).unwrap();
    let optimum = &trained.optimum;
    if let (Some(objective), Some(bound), Some(gap)) = (optimum.objective, optimum.bound, optimum.gap) {
        assert!(objective >= bound - 1e-4 && (gap - (objective - bound).max(0.0)).abs() < 1e-12, "{optimum:?}");
    }
    trained
}
