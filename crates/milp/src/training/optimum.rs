//! The record of an optimum: what was solved, how well, and who says so.

use certificate::Layered;
use serde::{Deserialize, Serialize};

use super::{LayerWeights, Products, WeightDomain};

/// A trained network with what it costs, all from its own forward pass and its own weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// With 32-bit weights. Optional layers that were left out are not in it; units that were switched off have zero weights.
    pub network: Layered,
    /// One per layer with weights, as the problem counts them.
    pub weights: Vec<LayerWeights>,
    /// Which optional layers stay.
    pub kept: Vec<bool>,
    /// Which channels of the gate layers are open.
    pub open: Vec<Vec<bool>>,
    /// On the samples.
    pub loss: f64,
    /// Elastic net of the weights.
    pub penalty: f64,
    /// Cost of the gates that are on.
    pub structure: f64,
}

impl Fitted {
    /// What was minimised.
    pub fn objective(&self) -> f64 {
        self.loss + self.penalty + self.structure
    }
}

/// What the bound of an [`Optimum`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every network of the problem, and nothing else, is a solution of the programme.
    Exact,
    /// Products were relaxed: solutions need not be networks, and a gap may stay however long the search goes on.
    Relaxation,
}

/// How a training ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// No network of the problem has an objective that is smaller by more than the gap allowed.
    Optimal,
    /// The time was over.
    TimeLimit,
    /// The programme was solved, but it is a relaxation.
    Relaxed,
    /// Solver and forward pass do not agree, or the solver gave up; with what it said.
    Numerical(String),
}

/// How large a programme is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// All columns.
    pub columns: usize,
    /// Of these, integers.
    pub integers: usize,
    /// Of these, binaries of ReLUs and steps.
    pub activations: usize,
    /// All rows.
    pub rows: usize,
}

/// Measured: with more, hardly any problem is solved in minutes on two cores.
const MANY_ACTIVATIONS: usize = 128;

impl Size {
    /// Whether to expect a gap, in words.
    pub fn warning(&self) -> Option<String> {
        let many = self.activations > MANY_ACTIVATIONS;
        many.then(|| {
            format!(
                "{} binaries for activations (samples times unstable units) and {} integers in all: beyond {MANY_ACTIVATIONS} expect a gap at the time limit, not an optimum",
                self.activations, self.integers
            )
        })
    }
}

/// Where the search began.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Start {
    /// From nothing.
    None,
    /// From given weights with this objective.
    Given {
        /// By forward pass.
        objective: f64,
    },
    /// Weights were given, but they satisfy no programme of the problem.
    Unusable,
}

/// The record of a training.
///
/// # Soundness
/// [`objective`](Self::objective) is that of the network, by its own forward pass. [`bound`](Self::bound) is the solver's word
/// about a programme whose big-M constants are rounded outwards; [`own_bound`](Self::own_bound) trusts no solver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimum {
    /// What the bounds are about.
    pub mode: Mode,
    /// How products were written.
    pub products: Products,
    /// What weights and biases of each layer may be.
    pub domains: Vec<[WeightDomain; 2]>,
    /// Of the best network: loss, penalty and cost of gates. `None` if none was found.
    pub objective: Option<f64>,
    /// Its loss alone.
    pub loss: Option<f64>,
    /// What the solver called the objective of the same network.
    pub solver_objective: Option<f64>,
    /// No network of the problem is better, says the solver.
    pub bound: Option<f64>,
    /// No network of the problem is better, proved by a search that trusts no solver, as far as it got.
    pub own_bound: Option<f64>,
    /// `objective - bound`, at least 0.
    pub gap: Option<f64>,
    /// How it ended.
    pub end: End,
    /// Name of the solver.
    pub solver: String,
    /// Its version.
    pub solver_version: String,
    /// The gap at which a network counts as optimal.
    pub gap_tol: f64,
    /// How far a solution may miss a row or an integer.
    pub feasibility_tol: f64,
    /// Where the search began.
    pub start: Start,
    /// Weights on a side of their box: the optimum is one within the box only.
    pub active_sides: Vec<String>,
    /// What else to know.
    pub warnings: Vec<String>,
    /// Of the programme; of the largest where several were solved.
    pub size: Size,
    /// Programmes solved: sign patterns, and rounds of tangents.
    pub programmes: usize,
    /// Wall-clock time.
    pub seconds: f64,
}

/// A network and the record of how good it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The best network found.
    pub fitted: Option<Fitted>,
    /// How good it is.
    pub optimum: Optimum,
}
