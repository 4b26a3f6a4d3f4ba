use crate::Query;
use crate::proof::{FORMAT, VERSION};

use super::lines::LONGEST_LINE;

/// Why a certificate is not valid.
#[derive(Debug, thiserror::Error)]
#[error("line {line}{}: {fault}", of(.query))]
pub struct CheckError {
    /// Counted from 1.
    pub line: u64,
    /// Block and query that were being proved.
    pub query: Option<(usize, Query)>,
    /// What is wrong.
    pub fault: Fault,
}

fn of(query: &Option<(usize, Query)>) -> String {
    let text = |(block, q): &(usize, Query)| format!(" (block {block}, output {}, input {})", q.row, q.input);
    query.as_ref().map(text).unwrap_or_default()
}

/// A text of the file in a message for a terminal, which it must neither fill nor control.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// What can be wrong with a certificate. Blocks, outputs, inputs, neurons and groups are counted from 0.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The file has no last line.
    #[error("the file ends here, before its last line; it was cut short")]
    CutShort,
    /// A line is too long.
    #[error("the line is longer than {LONGEST_LINE} bytes")]
    TooLong,
    /// A line is none that the format knows.
    #[error("not a line of a certificate: {0}")]
    Syntax(String),
    /// The format or its version is not this one.
    #[error("expected {FORMAT} version {VERSION}, found {} version {version}", printable(.format))]
    Version {
        /// What the file says it is.
        format: String,
        /// Its version.
        version: u32,
    },
    /// The certificate is about another model.
    #[error("the certificate is about the model {}, this one is {found}", printable(.expected))]
    OtherModel {
        /// Hash in the certificate.
        expected: String,
        /// Hash of the model.
        found: String,
    },
    /// The header does not fit the network.
    #[error("{what}: expected {expected}, found {found}")]
    Width {
        /// What does not fit.
        what: &'static str,
        /// What the network has.
        expected: usize,
        /// What the header has.
        found: usize,
    },
    /// A box in the header that makes no sense.
    #[error("box {index} of the header: {reason}")]
    Box {
        /// Position in the header.
        index: usize,
        /// What is wrong.
        reason: crate::Error,
    },
    /// A block can produce something outside the next one's box.
    #[error("block {block} can produce values outside [{lower}, {upper}], the box of input {input} of the next block")]
    BoxTooSmall {
        /// The producing block.
        block: usize,
        /// Its output, which is an input of the next block.
        input: usize,
        /// Least value in the header.
        lower: f64,
        /// Largest value in the header.
        upper: f64,
    },
    /// An activation about which nothing can be proved.
    #[error("block {block}: {activation} {place}; only {supported}")]
    Activation {
        /// The block with it, or before it.
        block: usize,
        /// Its name.
        activation: &'static str,
        /// Inside the block or after it.
        place: &'static str,
        /// What would be possible.
        supported: &'static str,
    },
    /// A member of a one-hot group cannot move alone.
    #[error("input {0} has a direction but belongs to a one-hot group")]
    DirectionInGroup(usize),
    /// A free channel depends on a monotone one.
    #[error("block {block}: output {row} is no monotone channel but depends on monotone input {input}")]
    UncutLink {
        /// The block.
        block: usize,
        /// Its output.
        row: usize,
        /// Its input.
        input: usize,
    },
    /// A line of a known kind at a wrong place.
    #[error("expected {expected}, found {found}")]
    Misplaced {
        /// What may stand here.
        expected: &'static str,
        /// What stands here.
        found: &'static str,
    },
    /// A query that the claim does not need.
    #[error("this query is not needed for the claim")]
    NotNeeded,
    /// A query that was proved before.
    #[error("this query was proved before")]
    Repeated,
    /// A query without proof.
    #[error("block {block}: no proof for output {row}, input {input}")]
    Missing {
        /// The block.
        block: usize,
        /// Its output.
        row: usize,
        /// Its input.
        input: usize,
    },
    /// A lower bound that does not show the claim.
    #[error("expected a lower bound of at least 0, found {0}")]
    AtLeast(f64),
    /// A neuron on which the derivative does not depend.
    #[error("neuron {0} does not exist or is none of the query's")]
    Neuron(usize),
    /// Neurons of a list that do not rise.
    #[error("neuron {0} is out of order")]
    Order(usize),
    /// An exponent that no producer needs.
    #[error("exponent {0} is out of range")]
    Exponent(i32),
    /// A neuron whose phase a split has fixed.
    #[error("neuron {0} was split before")]
    NeuronAgain(usize),
    /// A group that does not exist.
    #[error("one-hot group {0} does not exist")]
    Group(usize),
    /// A group that was split before.
    #[error("one-hot group {0} was split before")]
    GroupAgain(usize),
    /// An input that takes all values.
    #[error("input {0} is no integer feature")]
    NotInteger(usize),
    /// A grid index that leaves nothing on one side.
    #[error("grid index {at} does not cut {first}..={last}")]
    Grid {
        /// Where to split.
        at: u64,
        /// First index of the region.
        first: u64,
        /// Last index of the region.
        last: u64,
    },
    /// A split of the input along which the derivative is taken.
    #[error("input {0} is the query's own and must stay whole")]
    QueriedInput(usize),
    /// Two tightenings without a split between them.
    #[error("a second tightening in a row; one can hold all of them")]
    TightenedTwice,
    /// A multiplier outside its range, or of a neuron whose phase is not known where it has to be.
    #[error("the multiplier of neuron {0} is not allowed in this region")]
    Multiplier(usize),
    /// The multipliers prove less than claimed.
    #[error("the multipliers do not prove the bound: about {short:e} is missing")]
    NotProved {
        /// How much.
        short: f64,
    },
    /// The multipliers do not show that the region has no point that matters.
    #[error("the multipliers do not show that the region is empty")]
    NotEmpty,
    /// The pair of inputs is no counterexample.
    #[error("the counterexample does not hold: {0}")]
    NoCounterexample(&'static str),
    /// The number of lines is another.
    #[error("the last line counts {expected} lines, there are {found}")]
    Count {
        /// What the last line says.
        expected: u64,
        /// What was read.
        found: u64,
    },
    /// Something after the last line.
    #[error("there is something after the last line")]
    Trailing,
}

pub(super) type Result<T> = std::result::Result<T, Fault>;
