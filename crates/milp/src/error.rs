/// Everything that can be wrong with a question to this crate. "Not certified" is a result, not an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A network, a domain or a specification that makes no sense.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
    /// An activation other than ReLU inside a block.
    #[error("the big-M programme needs relu inside a block, found {0}; use another engine for smooth activations")]
    Activation(&'static str),
    /// A query about a row or an input that the block does not have, or without a direction.
    #[error("query about row {row} and input {input}: {reason}")]
    Query {
        /// Row of the query.
        row: usize,
        /// Input of the query.
        input: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A tolerance that would let a solver's rounding decide.
    #[error("certify_tol must be a finite number above 0, found {0}")]
    Tolerance(f64),
    /// A programme with numbers or names that no solver should see.
    #[error("programme: {0}")]
    Programme(String),
    /// Two sound bounds that exclude each other.
    #[error("{0}: two sound bounds exclude each other; this is a fault of the program")]
    Contradiction(String),
    /// A training problem that makes no sense or cannot be written as a programme.
    #[error("training: {0}")]
    Training(String),
    /// Constraints on a network to be trained that no network satisfies; none of them can be spared.
    #[error("training: no network satisfies all of: {}", .0.join("; "))]
    Contradictory(Vec<String>),
    /// A question about a trained network that makes no sense.
    #[error("{0}")]
    Question(String),
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
