//! Solver libraries, each one file behind [`Solver`].

mod cbc;
#[cfg(feature = "highs")]
mod highs;
mod microlp;

use std::time::Duration;

pub use cbc::Cbc;
pub(crate) use cbc::{Relaxation, Relaxed};
#[cfg(feature = "highs")]
pub use highs::Highs;
pub use microlp::Microlp;

use crate::Programme;

/// A solution that misses a row or an integer by more than this is no solution. Solvers promise 1e-6 or better per
/// row after their own scaling; ten times that is still far below anything that matters here, because every pattern is
/// judged again in exact arithmetic.
pub(crate) const FEASIBILITY_TOL: f64 = 1e-5;

/// What ends a solve before its optimum.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Wall-clock time.
    pub time_limit: Duration,
    /// Turns the solve into the question "is there a solution with an objective below this?": the first one found is
    /// returned, and [`Status::Infeasible`] means that there is none.
    pub cutoff: Option<f64>,
}

impl Limits {
    /// No limit but time.
    pub fn time(time_limit: Duration) -> Self {
        Self { time_limit, cutoff: None }
    }
}

/// How a solve ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The incumbent is optimal. With a cutoff: it is below it.
    Optimal,
    /// There is no solution. With a cutoff: none below it.
    Infeasible,
    /// The objective can fall without end.
    Unbounded,
    /// A limit was reached; incumbent and bound are what is known by then.
    LimitReached,
    /// The solver gave up, or its answer makes no sense.
    Failed(String),
}

/// The best solution found.
#[derive(Debug, Clone, PartialEq)]
pub struct Incumbent {
    /// Its objective.
    pub objective: f64,
    /// One value per column.
    pub values: Vec<f64>,
}

/// Result of one solve.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How the solve ended.
    pub status: Status,
    /// The best solution found.
    pub incumbent: Option<Incumbent>,
    /// The solver's proven lower bound on the objective; `-inf` if there is none, and always `-inf` with a cutoff,
    /// because CBC's bound is then wrong (measured).
    pub bound: f64,
}

impl Outcome {
    fn without_solution(status: Status) -> Self {
        let bound = if status == Status::Infeasible { f64::INFINITY } else { f64::NEG_INFINITY };
        Self { status, incumbent: None, bound }
    }

    fn failed(reason: impl Into<String>) -> Self {
        Self::without_solution(Status::Failed(reason.into()))
    }

    /// Turns an answer that makes no sense into [`Status::Failed`]; the last step of every solver.
    fn checked(mut self, programme: &Programme, limits: &Limits) -> Self {
        if let Some(incumbent) = &mut self.incumbent {
            let finite = incumbent.values.iter().all(|value| value.is_finite());
            if incumbent.values.len() != programme.columns.len() || !finite {
                return Self::failed("a solution contains a value that is not finite");
            }
            let violation = programme.violation(&incumbent.values);
            if violation > FEASIBILITY_TOL {
                return Self::failed(format!("a solution violates its programme by {violation:e}"));
            }
            incumbent.objective = programme.objective(&incumbent.values);
        }
        if self.bound.is_nan() || (self.status == Status::Optimal && self.incumbent.is_none()) {
            return Self::failed("an optimum without a solution");
        }
        // CBC has values like 1e50 for "none yet"; and nothing is proven beyond what was found.
        if self.status != Status::Infeasible && self.bound >= 1e30 {
            self.bound = f64::NEG_INFINITY;
        }
        if let Some(incumbent) = &self.incumbent {
            self.bound = self.bound.min(incumbent.objective);
        }
        if limits.cutoff.is_some() && self.status != Status::Infeasible {
            self.bound = f64::NEG_INFINITY;
        }
        self
    }
}

/// A library that solves a [`Programme`].
pub trait Solver: Sync {
    /// Name for reports.
    fn name(&self) -> &'static str;

    /// Its version, for records.
    fn version(&self) -> String;

    /// Solves `programme` within `limits`, on the calling thread, without output.
    ///
    /// # Soundness
    /// [`Outcome::bound`] and [`Status::Infeasible`] are the word of a floating-point solver: true up to its
    /// tolerances, and no proof.
    fn solve(&self, programme: &Programme, limits: &Limits) -> Outcome;
}
