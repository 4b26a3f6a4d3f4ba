//! Minimises a function of many numbers with `argmin`'s L-BFGS and the line search of More and Thuente.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use argmin::core::{CostFunction, Executor, Gradient, State, TerminationReason, TerminationStatus};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use serde::{Deserialize, Serialize};

/// Why a descent ended.
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

/// When a descent ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// A gradient shorter than this counts as 0.
    pub gradient_norm: f64,
    /// Largest number of iterations.
    pub iterations: u64,
}

/// Where a descent ended.
pub(crate) struct Descent {
    pub end: End,
    pub iterations: u64,
    pub parameters: Vec<f64>,
}

/// Gives the objective at some parameters; its gradient replaces what the second argument holds.
pub(crate) type Objective<'a> = &'a dyn Fn(&[f64], &mut [f64]) -> f64;

/// Pairs of steps and gradient changes that L-BFGS remembers: so many that for most networks meant here it is nearly BFGS. With 20
/// none of 30 starts of `configs/energy.toml` converged within 10,000 iterations; with 100 most do, in half as many.
const MEMORY: usize = 100;

/// Goes down from some parameters. Once `stop` is set it ends as [`End::Failed`].
pub(crate) fn minimise(objective: Objective, mut parameters: Vec<f64>, limits: Limits, stop: &AtomicBool) -> Descent {
    let mut iterations = 0;
    let end = loop {
        let solver = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY)
            .with_tolerance_grad(limits.gradient_norm)
            .and_then(|solver| solver.with_tolerance_cost(0.0))
            .expect("tolerances that are not negative");
        let from = parameters.clone();
        let run = Executor::new(Remembered { objective, stop, last: RefCell::default() }, solver)
            .configure(|state| state.param(from).max_iters(limits.iterations - iterations))
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
            _ if iterations >= limits.iterations => break End::IterationLimit,
            // Without its memory L-BFGS begins with the gradient again, which often helps.
            _ if progress && !stop.load(Ordering::Relaxed) => {}
            _ => break End::NoProgress,
        }
    };
    Descent { end, iterations, parameters }
}

/// The objective as `argmin` asks for it: value and gradient one by one, though they are found together.
struct Remembered<'a> {
    objective: Objective<'a>,
    stop: &'a AtomicBool,
    last: RefCell<Evaluation>,
}

#[derive(Default)]
struct Evaluation {
    parameters: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

impl Remembered<'_> {
    fn at<T>(&self, parameters: &[f64], pick: impl FnOnce(&Evaluation) -> T) -> Result<T, argmin::core::Error> {
        let mut last = self.last.borrow_mut();
        if last.parameters != parameters {
            last.parameters = parameters.to_vec();
            last.gradient.resize(parameters.len(), 0.0);
            last.value = (self.objective)(parameters, &mut last.gradient);
        }
        // An error is the only way out of a line search, which would go on forever with NaN.
        if !last.value.is_finite() || self.stop.load(Ordering::Relaxed) {
            return Err(argmin::core::Error::msg("not finite, or stopped"));
        }
        Ok(pick(&last))
    }
}

impl CostFunction for Remembered<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, parameters: &Vec<f64>) -> Result<f64, argmin::core::Error> {
        self.at(parameters, |found| found.value)
    }
}

impl Gradient for Remembered<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, parameters: &Vec<f64>) -> Result<Vec<f64>, argmin::core::Error> {
        self.at(parameters, |found| found.gradient.clone())
    }
}
