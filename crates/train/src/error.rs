use crate::data::DataError;

/// Everything that can go wrong in preparing or running a training.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An architecture that cannot be built.
    #[error("architecture: {0}")]
    Architecture(String),
    /// A smooth programme that cannot be stated, or whose network cannot be stored.
    #[error("smooth programme: {0}")]
    Smooth(String),
    /// A backend that is not in this build.
    #[error("backend {0:?} is not compiled in; build with --features {0}")]
    BackendNotCompiledIn(&'static str),
    /// A checkpoint that could not be read or does not belong here.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
