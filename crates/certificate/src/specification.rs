use serde::{Deserialize, Serialize};

use crate::{Error, Network, Result};

/// How the outputs have to follow one input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The outputs must not fall when the input grows.
    Increasing,
    /// The outputs must not grow when the input grows.
    Decreasing,
    /// Nothing is asked.
    Free,
}

impl Direction {
    /// `+1`, `-1` or `0`: the sign that the derivative is multiplied with before it is asked to be `>= 0`.
    pub fn sign(self) -> f64 {
        match self {
            Self::Increasing => 1.0,
            Self::Decreasing => -1.0,
            Self::Free => 0.0,
        }
    }
}

/// The monotone features of a network, one direction per input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MonotoneFeatures(pub Vec<Direction>);

/// What of a network's outputs has to follow the inputs: by default every output by itself, otherwise linear
/// combinations of the outputs, such as the difference of two logits.
///
/// The coefficients are exact dyadic rationals, as the weights are, and so are the combinations.
///
/// # Shapes
/// One list of coefficients per combination, each with one coefficient per output.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<f32>>")]
pub struct Rows(Option<Vec<Vec<f32>>>);

/// Most combinations of one specification: the differences of a hundred outputs, pair by pair.
const MOST_ROWS: usize = 10_000;

impl TryFrom<Vec<Vec<f32>>> for Rows {
    type Error = Error;

    fn try_from(combinations: Vec<Vec<f32>>) -> Result<Self> {
        Self::combinations(combinations)
    }
}

impl Rows {
    /// Every output by itself.
    pub const OUTPUTS: Self = Self(None);

    /// These combinations of the outputs. Whether they fit a network is asked where they meet one.
    ///
    /// # Errors
    /// If there is none or more than ten thousand, a coefficient is not finite, or a combination has no coefficient
    /// but zero.
    pub fn combinations(combinations: Vec<Vec<f32>>) -> Result<Self> {
        if combinations.is_empty() {
            let reason = "expected at least one combination of the outputs; leave them out to ask about every output";
            return Err(Error::Rows(reason.into()));
        }
        if combinations.len() > MOST_ROWS {
            return Err(Error::Rows(format!("expected at most {MOST_ROWS}, found {}", combinations.len())));
        }
        for (r, row) in combinations.iter().enumerate() {
            if let Some(value) = row.iter().find(|c| !c.is_finite()) {
                return Err(Error::Rows(format!("row {r}: expected finite 32-bit numbers, found {value}")));
            }
            if row.iter().all(|c| *c == 0.0) {
                return Err(Error::Rows(format!(
                    "row {r} is empty: without a coefficient other than 0 it says nothing"
                )));
            }
        }
        Ok(Self(Some(combinations)))
    }

    /// The combinations, unless every output stands for itself.
    pub fn as_combinations(&self) -> Option<&[Vec<f32>]> {
        self.0.as_deref()
    }

    /// Whether every output stands for itself.
    pub fn are_outputs(&self) -> bool {
        self.0.is_none()
    }

    /// Number of rows where there are so many outputs.
    pub fn count(&self, outputs: usize) -> usize {
        self.0.as_ref().map_or(outputs, Vec::len)
    }

    /// The rows from the outputs, in `f64`.
    ///
    /// # Panics
    /// If there are fewer outputs than coefficients.
    pub fn evaluate(&self, outputs: Vec<f64>) -> Vec<f64> {
        let combine = |row: &Vec<f32>| row.iter().enumerate().map(|(k, c)| f64::from(*c) * outputs[k]).sum();
        match &self.0 {
            None => outputs,
            Some(rows) => rows.iter().map(combine).collect(),
        }
    }

    /// A row in words: `output 1`, or `output 1 - 0.5 output 3`. As in everything for people, outputs are counted from
    /// 1.
    pub fn describe(&self, row: usize) -> String {
        let Some(combination) = self.0.as_ref().and_then(|rows| rows.get(row)) else {
            return format!("output {}", row + 1);
        };
        let mut text = String::new();
        for (k, c) in combination.iter().enumerate().filter(|(_, c)| **c != 0.0) {
            text += match (text.is_empty(), *c < 0.0) {
                (true, false) => "",
                (true, true) => "-",
                (false, false) => " + ",
                (false, true) => " - ",
            };
            if c.abs() != 1.0 {
                text += &format!("{} ", c.abs());
            }
            text += &format!("output {}", k + 1);
        }
        text
    }

    /// Asks for one coefficient per output.
    ///
    /// # Errors
    /// If a combination has more or fewer.
    pub fn require_width(&self, outputs: usize) -> Result<()> {
        let rows = self.0.iter().flatten().enumerate();
        match rows.map(|(r, row)| (r, row.len())).find(|(_, found)| *found != outputs) {
            Some((r, found)) => Err(Error::Rows(format!(
                "row {r}: expected {outputs} coefficients, one per output of the network, found {found}"
            ))),
            None => Ok(()),
        }
    }
}

/// What is asked of a network: that its rows follow its monotone features.
#[derive(Debug, Clone, PartialEq)]
pub struct Specification {
    /// The direction in which all rows follow each input.
    pub directions: MonotoneFeatures,
    /// What has to follow.
    pub rows: Rows,
}

/// Every output by itself.
impl From<MonotoneFeatures> for Specification {
    fn from(directions: MonotoneFeatures) -> Self {
        Self { directions, rows: Rows::OUTPUTS }
    }
}

/// One thing to prove about a block: row `row` is non-decreasing in `direction` of `input` over the block's box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Output of the block; of the last block, the row of the specification.
    pub row: usize,
    /// Input of the block.
    pub input: usize,
    /// `Increasing` or `Decreasing`; later blocks have only increasing inputs.
    pub direction: Direction,
}

impl Specification {
    /// What the rows of queries about block `k` are: outputs for all but the last.
    pub fn rows_of(&self, network: &Network, k: usize) -> &Rows {
        if k + 1 == network.blocks().len() { &self.rows } else { &Rows::OUTPUTS }
    }

    /// What has to be proved about each block so that the whole network is monotone (DESIGN: block condition (b)).
    ///
    /// # Soundness
    /// Checks block condition (a) on the weights: an output that is no monotone channel has no path of non-zero
    /// weights from a monotone input. If every returned query holds on a box that contains what the previous block
    /// can produce, the network is monotone: along one monotone feature the monotone channels of every boundary move
    /// up together while the others stand still, and the activations between blocks are non-decreasing.
    ///
    /// # Errors
    /// If the widths do not fit or a link is not cut.
    pub fn queries(&self, network: &Network) -> Result<Vec<Vec<Query>>> {
        let MonotoneFeatures(directions) = &self.directions;
        if directions.len() != network.inputs() {
            return Err(Error::Width {
                what: "monotone features".into(),
                expected: network.inputs(),
                found: directions.len(),
            });
        }
        self.rows.require_width(network.outputs())?;
        if directions.iter().all(|direction| *direction == Direction::Free) {
            // Nothing is asked of the network, whatever its channels are called.
            return Ok(vec![Vec::new(); network.blocks().len()]);
        }
        let increasing = |monotone: &Vec<bool>| {
            let direction = |m: &bool| if *m { Direction::Increasing } else { Direction::Free };
            monotone.iter().map(direction).collect::<Vec<_>>()
        };
        let mut per_block = Vec::new();
        let mut inputs = directions.clone();
        for (k, block) in network.blocks().iter().enumerate() {
            let outputs = match network.boundaries().get(k) {
                Some(boundary) => increasing(&boundary.monotone),
                None => vec![Direction::Increasing; self.rows.count(block.outputs())],
            };
            let mut queries = Vec::new();
            for (input, &direction) in inputs.iter().enumerate().filter(|(_, d)| **d != Direction::Free) {
                for (row, output) in outputs.iter().enumerate() {
                    if *output != Direction::Free {
                        queries.push(Query { row, input, direction });
                    } else if block.depends_on(row, input) {
                        return Err(Error::UncutLink { block: k, output: row, input });
                    }
                }
            }
            per_block.push(queries);
            inputs = outputs;
        }
        Ok(per_block)
    }
}
