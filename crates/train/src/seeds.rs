use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
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
        });
        hash.update(seed.to_le_bytes());
        hash.update(round.to_le_bytes());
        hash.update(epoch.to_le_bytes());
        ChaCha8Rng::from_seed(hash.finalize().into())
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
}
