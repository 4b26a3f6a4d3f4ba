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

/// The monotone features of a network, one direction per input. Every output has to follow them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MonotoneFeatures(pub Vec<Direction>);

/// One thing to prove about a block: output `row` is non-decreasing in `direction` of `input` over the block's box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Output of the block.
    pub row: usize,
    /// Input of the block.
    pub input: usize,
    /// `Increasing` or `Decreasing`; later blocks have only increasing inputs.
    pub direction: Direction,
}

impl MonotoneFeatures {
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
        if self.0.len() != network.inputs() {
            return Err(Error::Width {
                what: "monotone features".into(),
                expected: network.inputs(),
                found: self.0.len(),
            });
        }
        if self.0.iter().all(|direction| *direction == Direction::Free) {
            // Nothing is asked of the network, whatever its channels are called.
            return Ok(vec![Vec::new(); network.blocks().len()]);
        }
        let increasing = |monotone: &Vec<bool>| {
            let direction = |m: &bool| if *m { Direction::Increasing } else { Direction::Free };
            monotone.iter().map(direction).collect::<Vec<_>>()
        };
        let mut per_block = Vec::new();
        let mut inputs = self.0.clone();
        for (k, block) in network.blocks().iter().enumerate() {
            let outputs = match network.boundaries().get(k) {
                Some(boundary) => increasing(&boundary.monotone),
                None => vec![Direction::Increasing; block.outputs()],
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
