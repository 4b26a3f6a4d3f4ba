use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use argmin::core::{CostFunction, Executor, Gradient, State, TerminationReason, TerminationStatus};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::problem::{Problem, Relu, Score};
use crate::Stream;
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

/// Why a start ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The gradient is (nearly) 0.
    Converged,
    /// The line search found nothing better: the digits of an `f64` are used up.
    NoProgress,
    /// The largest number of iterations was reached.
    IterationLimit,
    /// The objective was not finite.
    Failed,
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
    let Descent { end, iterations, parameters } = descend(problem, initial_point(problem, seed, number), stop);
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

struct Descent {
    end: End,
    iterations: u64,
    parameters: Vec<f64>,
}

/// Pairs of steps and gradient changes that L-BFGS remembers: so many that for most networks meant here it is nearly BFGS. With 20
/// none of 30 starts of `configs/energy.toml` converged within 10,000 iterations; with 100 most do, in half as many.
const MEMORY: usize = 100;
/// A gradient shorter than this counts as 0.
const GRADIENT_TOLERANCE: f64 = 1e-5;

fn descend(problem: &Problem, mut parameters: Vec<f64>, stop: &AtomicBool) -> Descent {
    let limit = problem.settings().iterations;
    let mut iterations = 0;
    let end = loop {
        let solver = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY)
            .with_tolerance_grad(GRADIENT_TOLERANCE)
            .and_then(|solver| solver.with_tolerance_cost(0.0))
            .expect("tolerances that are not negative");
        let from = parameters.clone();
        let objective = Objective { problem, stop, last: RefCell::default() };
        let run = Executor::new(objective, solver)
            .configure(|state| state.param(from).max_iters(limit - iterations))
            .timer(false)
            .run();
        let Ok(found) = run else { break End::Failed };
        let state = found.state;
        iterations += state.get_iter();
        let best = state.get_best_param().expect("the initial point at least").clone();
        let progress = best != parameters;
        parameters = best;
        match state.get_termination_status() {
            TerminationStatus::Terminated(TerminationReason::SolverConverged) => break End::Converged,
            _ if iterations >= limit => break End::IterationLimit,
            // Without its memory L-BFGS begins with the gradient again, which often helps.
            _ if progress && !stop.load(Ordering::Relaxed) => {}
            _ => break End::NoProgress,
        }
    };
    Descent { end, iterations, parameters }
}

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

/// The programme as `argmin` asks for it: value and gradient one by one, though they are found together.
struct Objective<'a> {
    problem: &'a Problem<'a>,
    stop: &'a AtomicBool,
    last: RefCell<Evaluation>,
}

#[derive(Default)]
struct Evaluation {
    parameters: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

impl Objective<'_> {
    fn at<T>(&self, parameters: &[f64], pick: impl FnOnce(&Evaluation) -> T) -> Result<T, argmin::core::Error> {
        let mut last = self.last.borrow_mut();
        if last.parameters != parameters {
            last.parameters = parameters.to_vec();
            last.gradient.resize(parameters.len(), 0.0);
            last.value = self.problem.value_and_gradient(parameters, &mut last.gradient);
        }
        // An error is the only way out of a line search, which would go on forever with NaN.
        if !last.value.is_finite() || self.stop.load(Ordering::Relaxed) {
            return Err(argmin::core::Error::msg("not finite, or stopped"));
        }
        Ok(pick(&last))
    }
}

impl CostFunction for Objective<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, parameters: &Vec<f64>) -> Result<f64, argmin::core::Error> {
        self.at(parameters, |found| found.value)
    }
}

impl Gradient for Objective<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, parameters: &Vec<f64>) -> Result<Vec<f64>, argmin::core::Error> {
        self.at(parameters, |found| found.gradient.clone())
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
