//! Where random numbers come from: streams with seeds of their own, and draws that no update of a library changes.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use sha2::{Digest, Sha256};

/// What a stream of random numbers is for. Each has its own seed, derived from the run's, so that changing how one is
/// used leaves the others as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Initial parameters.
    Initialisation,
    /// Order of the rows in an epoch.
    Batches,
    /// Points at which the gradient penalty is evaluated.
    Samples,
    /// Rows and columns that a boosted tree sees.
    Trees,
    /// Configurations tried and folds drawn when boosted trees are tuned.
    Tuning,
    /// Initial points of a smooth programme.
    Starts,
}

impl Stream {
    /// The generator for one round (and attempt) and epoch of a run. Generators are made anew for every epoch, so a
    /// resumed run needs no stored random state.
    pub fn generator(self, seed: u64, round: u32, epoch: u32) -> ChaCha8Rng {
        let mut hash = Sha256::new();
        hash.update(match self {
            Self::Initialisation => b"initialisation".as_slice(),
            Self::Batches => b"batches".as_slice(),
            Self::Samples => b"samples".as_slice(),
            Self::Trees => b"trees".as_slice(),
            Self::Tuning => b"tuning".as_slice(),
            Self::Starts => b"starts".as_slice(),
        });
        hash.update(seed.to_le_bytes());
        hash.update(round.to_le_bytes());
        hash.update(epoch.to_le_bytes());
        ChaCha8Rng::from_seed(hash.finalize().into())
    }
}

/// A number below `n`, uniform up to a bias of `n / 2^64`.
///
/// Written here, although `rand` has one, so that its next version cannot change a published table.
pub(crate) fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

/// A number in `[0, 1)`; written here for the same reason.
pub(crate) fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Puts the first `count` places of a shuffle of `items` in order: a sample without replacement.
pub fn shuffle(rng: &mut ChaCha8Rng, items: &mut [usize], count: usize) {
    for place in 0..count.min(items.len()) {
        let other = place + below(rng, items.len() - place);
        items.swap(place, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    /// A dependency update that moves these numbers would silently change every published table.
    #[test]
    fn streams_are_pinned() {
        let first = |stream: Stream| stream.generator(7, 1, 2).random::<u32>();
        let found = [Stream::Initialisation, Stream::Batches, Stream::Samples].map(first);
        assert_eq!(found, [1_380_035_420, 3_091_821_989, 2_305_847_953]);
    }

    #[test]
    fn samples_without_replacement_are_pinned() {
        let mut items: Vec<usize> = (0..10).collect();
        shuffle(&mut Stream::Trees.generator(7, 0, 0), &mut items, 4);
        assert_eq!(items[..4], [5, 4, 6, 7]);
        items.sort_unstable();
        assert_eq!(items, (0..10).collect::<Vec<_>>());
    }
}
