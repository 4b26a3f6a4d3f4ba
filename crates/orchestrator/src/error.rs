use std::path::PathBuf;

/// What stops the program, with exit status 2: all of it can be put right by the user. Not being certified is a result,
/// not an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file or an override.
    #[error("{place}: {message}")]
    Config {
        /// The file, or the override as it was typed.
        place: String,
        /// What is wrong, what was expected, what to do.
        message: String,
    },
    /// The run folder.
    #[error("{path}: {message}")]
    RunFolder {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// Data, architecture, backend or checkpoint.
    #[error(transparent)]
    Train(#[from] train::Error),
    /// A network, domain or file.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
    /// The verification.
    #[error(transparent)]
    Milp(#[from] milp::Error),
    /// A training that broke down at every learning rate.
    #[error(
        "training broke down at lambda {lambda} even with learning rate {learning_rate}: the loss is no longer finite; start with a smaller train.learning_rate"
    )]
    TrainingFailed {
        /// The weight of the penalty.
        lambda: f64,
        /// The last learning rate tried.
        learning_rate: f64,
    },
    /// A certificate that proves nothing.
    #[error("{path}: not a valid certificate of this model: {reason}")]
    Invalid {
        /// The certificate.
        path: PathBuf,
        /// Where and why it fails.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl From<train::data::DataError> for Error {
    fn from(error: train::data::DataError) -> Self {
        Self::Train(error.into())
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What the exit status means.
pub mod exit_code {
    /// Every block is certified.
    pub const CERTIFIED: u8 = 0;
    /// There is a counterexample, or lambda is exhausted.
    pub const REFUTED: u8 = 1;
    /// Bad usage, configuration or data; also a file that cannot be written.
    pub const USAGE: u8 = 2;
    /// Undecided because a limit was reached.
    pub const UNDECIDED: u8 = 3;
    /// An internal fault.
    pub const INTERNAL: u8 = 70;
    /// Stopped by the user; `--resume` goes on.
    pub const INTERRUPTED: u8 = 130;
}
