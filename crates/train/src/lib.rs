//! Trains partially monotone networks: data sets by manifest, architectures as chains of two-layer blocks, the gradient
//! penalty, and a training loop that can be stopped and resumed bit for bit. Monotone boosted trees are there to compare
//! with.
//!
//! What leaves this crate are [`certificate::Network`]s; it knows nothing about how they are verified.

mod architecture;
mod backend;
pub mod baselines;
mod checkpoint;
pub mod data;
mod error;
mod lbfgs;
mod loss;
pub mod model;
pub mod penalty;
pub mod seeds;
pub mod smooth;
pub mod tangent;
mod training;
pub mod trees;

pub use architecture::{Architecture, BlockShape, ChainShape};
pub use backend::Backend;
pub use error::{Error, Result};
pub use loss::{Scores, loss};
pub use seeds::Stream;
pub use training::{Candidate, Epoch, Trainer, Training, constant_loss};
