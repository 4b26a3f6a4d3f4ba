use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::problem::{Problem, Relu, Score};
use crate::Stream;
use crate::lbfgs::{Descent, End, Limits, minimise};
use crate::seeds::unit;

/// What became of one initial point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Counted from 0; with the run's seed it gives the initial point.
    pub number: u32,
    /// Why it ended.
    pub end: End,
    /// Steps made.
    pub iterations: u64,
    /// Where it ended; none if it failed.
    pub minimum: Option<Minimum>,
}

/// The point that a start ended in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minimum {
    /// The objective.
    pub objective: f64,
    /// Euclidean norm of its gradient.
    pub gradient_norm: f64,
    /// Whether all rows get the same answer; see [`Problem::is_plateau`].
    pub plateau: bool,
    /// The network that was optimised.
    pub smooth: Scores,
    /// The network with exact ReLU and the same weights.
    pub relu: Scores,
    /// Weights and biases.
    #[serde(skip)]
    pub parameters: Vec<f64>,
}

/// The scores of a network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// On the fitting rows.
    pub train: Score,
    /// On the test rows. Nothing is chosen with them.
    pub test: Score,
}

/// What all starts say together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// The number of the start with the smallest objective, the first of equals.
    pub best: u32,
    /// The smallest objective.
    pub best_objective: f64,
    /// The middle one of those that did not fail, the upper of two.
    pub median_objective: f64,
    /// How many end within 1 % of the smallest objective.
    pub within_one_percent: usize,
    /// How many end on a plateau.
    pub plateau: usize,
    /// How many failed.
    pub failed: usize,
    /// How many there were.
    pub starts: usize,
}

impl Summary {
    /// Sums up; `None` if no start has a minimum.
    pub fn of(starts: &[Start]) -> Option<Self> {
        let minima = || starts.iter().filter_map(|start| Some((start.number, start.minimum.as_ref()?)));
        let (best, minimum) = minima().min_by(|(_, a), (_, b)| a.objective.total_cmp(&b.objective))?;
        let best_objective = minimum.objective;
        let mut objectives: Vec<f64> = minima().map(|(_, minimum)| minimum.objective).collect();
        objectives.sort_unstable_by(f64::total_cmp);
        let near = |objective: &&f64| **objective - best_objective <= 0.01 * best_objective.abs();
        Some(Self {
            best,
            best_objective,
            median_objective: objectives[objectives.len() / 2],
            within_one_percent: objectives.iter().filter(near).count(),
            plateau: minima().filter(|(_, minimum)| minimum.plateau).count(),
            failed: starts.len() - objectives.len(),
            starts: starts.len(),
        })
    }
}

/// Runs L-BFGS from as many random points as the settings say, in parallel, and gives the starts in their order. Start `k` is
/// the same on any number of threads and however many starts there are. `finished` is told of each; once `stop` is set, those
/// that have not finished are left out.
pub fn multistart(problem: &Problem, seed: u64, stop: &AtomicBool, finished: &(dyn Fn(&Start) + Sync)) -> Vec<Start> {
    let one = |number: u32| {
        let start = start(problem, seed, number, stop)?;
        finished(&start);
        Some(start)
    };
    (0..problem.settings().starts).into_par_iter().with_max_len(1).filter_map(one).collect()
}

fn start(problem: &Problem, seed: u64, number: u32, stop: &AtomicBool) -> Option<Start> {
    let stopped = || stop.load(Ordering::Relaxed);
    if stopped() {
        return None;
    }
    let objective = |parameters: &[f64], gradient: &mut [f64]| problem.value_and_gradient(parameters, gradient);
    let limits = Limits { gradient_norm: GRADIENT_TOLERANCE, iterations: problem.settings().iterations };
    let point = initial_point(problem, seed, number);
    let Descent { end, iterations, parameters } = minimise(&objective, point, limits, stop);
    if stopped() {
        return None;
    }
    let minimum = (end != End::Failed).then(|| minimum(problem, parameters));
    Some(Start { number, end, iterations, minimum })
}

/// Weights uniform in `+-sqrt(6 / (inputs + outputs))` (Glorot and Bengio 2010).
fn initial_point(problem: &Problem, seed: u64, number: u32) -> Vec<f64> {
    let mut rng = Stream::Starts.generator(seed, number, 0);
    let mut point = Vec::with_capacity(problem.parameters());
    for (inputs, outputs) in problem.layers().sizes() {
        let bound = (6.0 / (inputs + outputs) as f64).sqrt();
        point.extend((0..inputs * outputs).map(|_| bound * (2.0 * unit(&mut rng) - 1.0)));
        point.extend((0..outputs).map(|_| bound * (2.0 * unit(&mut rng) - 1.0)));
    }
    point
}

/// A gradient shorter than this counts as 0.
const GRADIENT_TOLERANCE: f64 = 1e-5;

fn minimum(problem: &Problem, parameters: Vec<f64>) -> Minimum {
    let mut gradient = vec![0.0; parameters.len()];
    let objective = problem.value_and_gradient(&parameters, &mut gradient);
    let scores = |relu| {
        let score = |part| problem.score(&parameters, relu, part);
        Scores { train: score(&problem.data().fit), test: score(&problem.data().test) }
    };
    Minimum {
        objective,
        gradient_norm: gradient.iter().map(|slope| slope * slope).sum::<f64>().sqrt(),
        plateau: problem.is_plateau(&parameters),
        smooth: scores(Relu::Smooth),
        relu: scores(Relu::Exact),
        parameters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataSet;
    use crate::smooth::{Inputs, Loss, OutputActivation, Settings, Shape};

    /// A change of these numbers would silently change every published table.
    #[test]
    fn initial_points_are_pinned() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/wbc/manifest.toml");
        let data = DataSet::load(manifest.as_ref(), None, None).unwrap();
        let settings = Settings {
            loss: Loss::CrossEntropy,
            inputs: Inputs::Raw,
            epsilon: 1e-3,
            weight_decay: 0.01,
            starts: 1,
            iterations: 1,
        };
        let shape = Shape { hidden: vec![3], output: OutputActivation::Relu };
        let problem = Problem::new(&data, &shape, &settings).unwrap();
        let point = initial_point(&problem, 7, 2);
        assert_eq!(point.len(), 38);
        assert!(point[..30].iter().all(|w| w.abs() <= 0.5_f64.sqrt()));
        assert!(point[30..].iter().all(|w| w.abs() <= 1.2_f64.sqrt()));
        assert_eq!([point[0], point[37]].map(|w| (1e6 * w).round()), [448_747.0, 897_439.0]);
    }
}
