//! Training as a mixed-integer programme with a proven optimum.
//!
//! A [`Problem`] says as plain data which network is to be trained on which samples, what its weights may be, what may be left
//! out of it, and what it has to satisfy. [`train`] writes it as a programme, has that solved, reads the network off the
//! solution and scores it by its own forward pass; the [`Optimum`] says how far it can be from the best one.
//!
//! The first layer is linear in its weights, because samples are numbers. What makes deeper layers hard is the product of a
//! weight and an activation; [`Products`] says how it is written, and whether that is exact. Big-M constants come from the
//! bounds of weights and samples, rounded outwards.
//!
//! ```
//! use certificate::Shape;
//! use milp::solver::Cbc;
//! use milp::training::{Layer, Loss, Options, Parameters, Problem, Products, Targets, WeightDomain, train};
//!
//! // The exclusive or, with weights -1, 0 and 1.
//! let ternary = WeightDomain::integers(-1, 1);
//! let dense = |outputs| Layer::Dense(Parameters::new(outputs, ternary.clone(), ternary.clone()));
//! let problem = Problem {
//!     input: Shape::list(2),
//!     layers: vec![dense(2), Layer::Relu, dense(1)],
//!     samples: vec![vec![0.0, 0.0], vec![0.0, 1.0], vec![1.0, 0.0], vec![1.0, 1.0]],
//!     targets: Targets::Values(vec![vec![0.0], vec![1.0], vec![1.0], vec![0.0]]),
//!     loss: Loss::L1,
//!     products: Products::OneHot,
//!     constraints: vec![],
//! };
//! let trained = train(&problem, &Cbc, &Options::default(), &|_| ())?;
//! assert_eq!(trained.optimum.objective, Some(0.0));
//! # Ok::<(), milp::Error>(())
//! ```

mod certified;
mod check;
mod constraint;
mod constraint_rows;
mod convex;
mod descent;
mod encode;
mod encoder;
mod forward;
mod layout;
mod loss;
mod optimum;
mod problem;
mod read;
mod solve;
#[cfg(test)]
mod tests;
mod weight;

pub use certified::{Certified, Round, train_certified};
pub use constraint::{Constraint, Gate};
pub use convex::{TwoLayerOptimum, two_layer_optimum};
pub use descent::{Descents, descend};
pub use optimum::{End, Fitted, Mode, Optimum, Size, Start, Trained};
pub use problem::{Gates, Layer, LayerWeights, Loss, Parameters, Problem, Products, Targets, WeightDomain};
pub use solve::{Options, Standing, Watch, train};

use crate::inverse::LARGEST_BIG_M;
