//! Training as a smooth programme, the direct problem of the thesis (chapter 3): minimise the sum of a loss over the rows plus
//! weight decay, over all weights and biases of a small dense ReLU network at once, with the hyperbolic form of ReLU.
//!
//! The programme is not convex, and it has a plateau where the outputs are dead and everybody gets the same answer. So L-BFGS
//! runs from many random points, and all of them are reported: what the best one is worth shows in how often it was reached.
//! The best is chosen by the objective alone, that is by the fitting rows.
//!
//! The network that is delivered has exact ReLU and the same weights. The two are not the same function, so both are scored.
//!
//! L-BFGS with the line search of More and Thuente comes from the crate `argmin`.
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//!
//! use train::data::DataSet;
//! use train::smooth::{Inputs, Loss, OutputActivation, Problem, Settings, Shape, Summary, multistart};
//!
//! let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/example/manifest.toml");
//! let data = DataSet::load(manifest.as_ref(), None, None)?;
//! let shape = Shape { hidden: vec![3], output: OutputActivation::Linear };
//! let settings = Settings {
//!     loss: Loss::LeastSquares,
//!     inputs: Inputs::Standardised,
//!     epsilon: 1e-3,
//!     weight_decay: 0.01,
//!     starts: 2,
//!     iterations: 50,
//! };
//! let problem = Problem::new(&data, &shape, &settings)?;
//! let starts = multistart(&problem, 0, &AtomicBool::new(false), &|_| ());
//! let summary = Summary::of(&starts).expect("at least one start is finite");
//! let best = starts[summary.best as usize].minimum.as_ref().expect("the best is one of them");
//! assert_eq!(problem.network(&best.parameters)?.inputs(), data.features.len());
//! # Ok::<(), train::Error>(())
//! ```

mod error_tree;
mod layers;
mod loss;
mod multistart;
mod problem;
#[cfg(test)]
mod tests;

pub use crate::lbfgs::End;
pub use error_tree::{ErrorSplit, ErrorTree};
pub use layers::{OutputActivation, Shape};
pub use loss::Loss;
pub use multistart::{Minimum, Scores, Start, Summary, multistart};
pub use problem::{Inputs, Problem, Relu, Score, Settings};
