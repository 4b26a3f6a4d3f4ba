//! What published tables set beside a certified network: models that are monotone by construction, and a linear one that is
//! not.
//!
//! The two networks are trained as ours is by [`Trainer`](crate::Trainer): the same rows, order of rows, loss, Adam, epochs and
//! averaging of the last of them, and the epoch with the best validation score is kept. What they lack is the penalty, because
//! no step can make them violate anything. Monotone boosted trees are in [`trees`](crate::trees).
//!
//! ```
//! use train::baselines::min_max::{self, Size};
//! use train::data::DataSet;
//! # use train::penalty::{GradientPenalty, Pooling};
//! # use train::{Architecture, Backend, Training};
//!
//! let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/example/manifest.toml");
//! let data = DataSet::load(manifest.as_ref(), None, None)?;
//! # let architecture = Architecture::TwoBranch { hidden: 4, bottleneck: 2, reduce_free: None };
//! # let penalty = GradientPenalty { margin: 0.2, pooling: Pooling::Mean };
//! # let training = Training {
//! #     architecture, backend: Backend::Cpu, seed: 0, round: 0, lambda: 0.0, penalty, samples: 1, epochs: 3,
//! #     batch_size: 32, learning_rate: 5e-3, average_last: 0.3, candidates: 1,
//! # };
//! let mut trainer = min_max::trainer(Size { groups: 4, planes: 3 }, training, &data)?;
//! while !trainer.is_finished() && trainer.run_epoch().is_some() {}
//! let (_, network) = trainer.best().expect("one epoch at least was finite");
//! assert!(network.evaluate(&[1.0, 0.5, 0.0, 1.0, 0.0]) >= network.evaluate(&[0.5, 0.5, 0.0, 1.0, 0.0]));
//! # Ok::<(), train::Error>(())
//! ```

mod constrained;
pub mod linear;
pub mod min_max;
pub mod non_negative;

pub use constrained::{Constrained, ConstrainedTrainer};

#[cfg(test)]
mod testing {
    //! Data and settings that the tests of both networks use.

    use certificate::Direction;
    use proptest::prelude::*;

    use crate::data::DataSet;
    use crate::penalty::{GradientPenalty, Pooling};
    use crate::{Architecture, Backend, Training};

    /// Directions of the example's five features, at least one of them monotone.
    pub fn directions() -> impl Strategy<Value = Vec<Direction>> {
        let one = prop::sample::select(vec![Direction::Increasing, Direction::Decreasing, Direction::Free]);
        prop::collection::vec(one, 5).prop_filter("something is monotone", |d| d.iter().any(|d| *d != Direction::Free))
    }

    /// The example with these directions, whatever its rows say.
    pub fn example(directions: &[Direction]) -> DataSet {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/example/manifest.toml");
        let mut data = DataSet::load(manifest.as_ref(), None, None).unwrap();
        data.features.iter_mut().zip(directions).for_each(|(feature, direction)| feature.direction = *direction);
        data
    }

    pub fn training(epochs: u32) -> Training {
        Training {
            architecture: Architecture::TwoBranch { hidden: 6, bottleneck: 3, reduce_free: None },
            backend: Backend::Cpu,
            seed: 3,
            round: 0,
            lambda: 0.0,
            penalty: GradientPenalty { margin: 0.2, pooling: Pooling::Mean },
            samples: 1,
            epochs,
            batch_size: 32,
            learning_rate: 0.01,
            average_last: 0.5,
            candidates: 1,
        }
    }
}
