//! Decides whether blocks and networks are monotone, with mixed-integer programmes.
//!
//! One [`certificate::Query`] asks whether an output of a two-layer ReLU block follows an input over a domain. It is
//! decided by signs, by sampled points, or by the big-M programme of Liu et al. 2020 ([`big_m`]), solved by a
//! [`solver::Solver`]: CBC by default, the pure-Rust microlp as an independent second, HiGHS with the feature `highs`.
//! [`verify_network`] does so for all queries of a network in parallel.
//!
//! A violation that a solver reports is never believed: the activation pattern has to have an open cell, which is
//! decided in exact arithmetic ([`interior`]), and two inputs in it have to show the violation in exact arithmetic.
//!
//! Branch and bound, the default, gives a proof with its answer. A network that is not monotone can be made so by
//! [`repair()`], which moves the second layers of its blocks as little as needed.
//!
//! Small networks are trained by a mixed-integer programme in [`training`], with a proven optimum.
//!
//! This crate knows nothing about gradient training; it sees networks only as [`certificate`] types.
//!
//! ```
//! use certificate::{Activation, Affine, Block, Direction, Domain, Query};
//! use milp::{Engine, Options, verify_query};
//!
//! // f(x) = 3 max(0, x0 + x1 - 0.5) - 2 max(0, x0 - x1), whose slope in x0 is 1 where both are active
//! // and -2 where only the second is: nowhere on the unit square? At x0 = 0.4, x1 = 0.
//! let first = Affine::new(2, vec![1.0, 1.0, 1.0, -1.0], vec![-0.5, 0.0])?;
//! let second = Affine::new(2, vec![3.0, -2.0], vec![0.0])?;
//! let block = Block::new(first, Activation::Relu, second)?;
//!
//! let query = Query { row: 0, input: 0, direction: Direction::Increasing };
//! let report = verify_query(&block, &Domain::unit_cube(2), query, Engine::BranchAndBound, &Options::default())?;
//! assert!(report.verdict.is_refuted());
//!
//! let query = Query { row: 0, input: 1, direction: Direction::Increasing };
//! let report = verify_query(&block, &Domain::unit_cube(2), query, Engine::BranchAndBound, &Options::default())?;
//! assert!(report.verdict.is_certified());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod big_m;
mod branch_and_bound;
mod counterexample;
mod derivative;
mod error;
mod export;
mod individual;
pub mod interior;
mod inverse;
mod misclassification;
mod network;
pub mod programme;
mod proven;
mod repair;
mod sampling;
pub mod solver;
mod tighten;
pub mod training;
mod verify;

pub use derivative::{ActivationPattern, DirectedDerivative, Neuron, Phase};
pub use error::{Error, Result};
pub use individual::{Individual, Partner, individual};
pub use inverse::{
    Answer, Complementarity, Condition, Distance, Extreme, Inverse, Margin, Nearest, Outcome, Proof, Question, Witness,
};
pub use misclassification::{Counted, LastLayer};
pub use network::{Control, NetworkReport, Progress, Suspect, suspects, verify_network};
pub use programme::{Column, Kind, Programme, Row};
pub use repair::{BlockRepair, Loss, RepairEnd, RepairMethod, RepairOptions, Repaired, repair};
pub use tighten::{Tightening, block_domains};
pub use verify::{Engine, Method, Mode, Options, QueryReport, QueryVerifier, verify_query};
