use std::path::PathBuf;

/// Everything that can be wrong with a network, a domain or a model file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A weight matrix or bias has the wrong number of entries.
    #[error("{what}: expected {expected} numbers, found {found}")]
    Shape {
        /// Which object.
        what: String,
        /// Number of entries that the shape asks for.
        expected: usize,
        /// Number of entries found.
        found: usize,
    },
    /// Two neighbouring parts of a network do not fit together.
    #[error("{what}: expected width {expected}, found {found}")]
    Width {
        /// Which boundary.
        what: String,
        /// Width on the left.
        expected: usize,
        /// Width on the right.
        found: usize,
    },
    /// NaN or infinity where a number is needed.
    #[error("{what}: {value} is not a finite number")]
    NotFinite {
        /// Which object.
        what: String,
        /// The value found.
        value: f64,
    },
    /// A box, a one-hot group or an integer feature that makes no sense.
    #[error("input domain: {0}")]
    Domain(String),
    /// Combinations of outputs that make no sense, or do not fit the network.
    #[error("rows: {0}")]
    Rows(String),
    /// An activation that has no exact evaluation over the rationals.
    #[error("the activation {0} has no exact value at a rational point; only relu and clamp do")]
    NotPiecewiseLinear(&'static str),
    /// A channel that should be free can be reached from a monotone input.
    #[error(
        "block {block}: output {output} is not a monotone channel but depends on monotone input {input}; cut the link or make the output a monotone channel"
    )]
    UncutLink {
        /// Index of the block.
        block: usize,
        /// Output of the block.
        output: usize,
        /// Input of the block.
        input: usize,
    },
    /// A network without blocks, or with the wrong number of boundaries.
    #[error("network: {0}")]
    Structure(String),
    /// A file that could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A model file with a wrong content.
    #[error("{path}: {reason}")]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what was expected.
        reason: String,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
