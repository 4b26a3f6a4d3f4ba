//! Plain types of the project: networks as chains of two-layer blocks, where and in which directions they have to be
//! monotone, what was found out about them, and the files that carry it.
//!
//! This crate depends on neither a training framework nor a solver. `train` produces its [`Network`]s, `milp` decides
//! its [`Query`]s, and the `orchestrator` carries one to the other.
//!
//! The claim: for all `x`, `x'` of a [`Domain`] that differ only in monotone features, moved in their [`Direction`],
//! `f(x) <= f(x')` for every output, or for every stated combination of outputs ([`Rows`]). It is a statement over the real numbers about the network whose `f32` parameters are taken as exact
//! dyadic rationals.
//!
//! ```
//! use certificate::{Activation, Affine, Block, Direction, MonotoneFeatures, Network, Specification};
//!
//! // f(x) = max(0, x0 - x1) - max(0, -x0), to be increasing in x0.
//! let first = Affine::new(2, vec![1.0, -1.0, -1.0, 0.0], vec![0.0, 0.0])?;
//! let second = Affine::new(2, vec![1.0, -1.0], vec![0.0])?;
//! let network = Network::new(vec![Block::new(first, Activation::Relu, second)?], vec![])?;
//! assert_eq!(network.evaluate(&[0.75, 0.25]), [0.5]);
//!
//! let specification = Specification::from(MonotoneFeatures(vec![Direction::Increasing, Direction::Free]));
//! let queries = specification.queries(&network)?;
//! assert_eq!(queries[0].len(), 1);
//! # Ok::<(), certificate::Error>(())
//! ```

mod atomic;
mod check;
mod domain;
mod ensemble;
mod error;
pub mod exact;
pub mod interval;
mod layers;
mod model_file;
mod network;
mod proof;
mod scale;
mod specification;
mod verdict;
mod weight_paths;

pub use atomic::write_atomically;
pub use check::{CheckError, Checked, Fault, Proved, check};
pub use domain::{Domain, IntegerFeature, Interval};
pub use error::{Error, Result};
pub use layers::{Convolution, Layer, Layered, Shape, Window};
pub use model_file::{Model, ModelFeature, Target};
pub use network::{Activation, Affine, Block, Boundary, Network};
pub use proof::{CertificateWriter, Conclusion, ExactMultipliers, Header, Multipliers, Proof, Split, Step, Tighten};
pub use scale::Scale;
pub use specification::{Direction, MonotoneFeatures, Query, Rows, Specification};
pub use verdict::{Counterexample, Limit, Verdict, contains};
pub use weight_paths::WeightPaths;
