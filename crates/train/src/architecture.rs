use certificate::{Activation, Boundary, Direction};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which network to train. Both kinds are chains of two-layer blocks made of a *monotone branch*, which sees every
/// feature and is penalised and certified, and a *free branch*, which sees only the free features and so needs no proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Architecture {
    /// The paper's networks, decoded from its printed parameter counts: with `h = width / 2`, depth 1 is the sum of
    /// `M-h-1` and `q-h-1`, depth 3 of `M-h-10-h-1` and `q-h-h-h-1`; ReLU everywhere, also between blocks.
    Paper {
        /// Number of hidden layers.
        depth: usize,
        /// Neurons in an odd hidden layer, both branches together.
        width: usize,
        /// Replace the free features that the monotone branch sees by this many trained linear combinations.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reduce_free: Option<usize>,
    },
    /// The original repository's network: `M-hidden-bottleneck`, joined with `q-hidden-bottleneck`, then `-hidden-1` on
    /// the join, plus `-hidden-1` on the free half; the bottleneck is clamped to `[0, 1]`.
    TwoBranch {
        /// Neurons of a hidden layer of one branch.
        hidden: usize,
        /// Channels of one branch between the two blocks.
        bottleneck: usize,
        /// Replace the free features that the monotone branch sees by this many trained linear combinations.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reduce_free: Option<usize>,
    },
}

/// Widths of one block of a chain, the monotone branch's first everywhere.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockShape {
    /// Direction per input of the block.
    pub inputs: Vec<Direction>,
    /// Hidden neurons of the monotone and of the free branch.
    pub hidden: [usize; 2],
    /// Outputs of the monotone and of the free branch; in the last block both branches add up to the first kind.
    pub outputs: [usize; 2],
    /// Whether the monotone branch sees the free inputs, too.
    pub joined: bool,
    /// Whether the first layer is the fixed identity that fills up an odd number of layers.
    pub identity: bool,
    /// Number of linear combinations that stand for the free inputs in the monotone branch.
    pub reduce_free: Option<usize>,
    /// The activation inside the block.
    pub activation: Activation,
}

/// A chain of blocks before it has weights.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainShape {
    /// The blocks.
    pub blocks: Vec<BlockShape>,
    /// What stands between them.
    pub boundaries: Vec<Boundary>,
}

/// Monotone channels of an even hidden layer in the paper: half of its 20 neurons.
const PAPER_CHANNELS: usize = 10;

impl Architecture {
    /// The chain for inputs with the given directions and one output.
    ///
    /// # Errors
    /// If a width or the depth is zero, or no input is monotone.
    pub fn shape(&self, inputs: &[Direction]) -> Result<ChainShape> {
        let free = inputs.iter().filter(|d| **d == Direction::Free).count();
        if free == inputs.len() {
            return Err(Error::Architecture("no feature is monotone, so there is nothing to certify".into()));
        }
        let (widths, between, joined, reduce_free) = self.widths()?;
        let reduce_free = reduce_free.filter(|k| *k < free);
        let mut shape = ChainShape { blocks: Vec::new(), boundaries: Vec::new() };
        let mut directions = inputs.to_vec();
        let mut free_channels = free;
        // Two layers make a block; the one left over gets an identity layer in front.
        for (k, pair) in widths.chunks(2).enumerate() {
            let last = 2 * k + 2 >= widths.len();
            let drop_free = |[monotone, free]: [usize; 2]| [monotone, if free_channels == 0 { 0 } else { free }];
            let identity = pair.len() == 1;
            let monotone_channels = directions.len() - free_channels;
            let hidden = if identity { [monotone_channels, free_channels] } else { drop_free(pair[0]) };
            let outputs = drop_free(pair[pair.len() - 1]);
            shape.blocks.push(BlockShape {
                inputs: directions.clone(),
                hidden,
                outputs,
                joined: k == 0 || joined,
                identity,
                reduce_free: if k == 0 { reduce_free } else { None },
                activation: Activation::Relu,
            });
            if !last {
                let channel = |m: usize| if m < outputs[0] { Direction::Increasing } else { Direction::Free };
                directions = (0..outputs[0] + outputs[1]).map(channel).collect();
                let monotone = directions.iter().map(|d| *d == Direction::Increasing).collect();
                shape.boundaries.push(Boundary { activation: between, monotone });
                free_channels = outputs[1];
            }
        }
        Ok(shape)
    }

    /// Per affine layer the outputs of both branches, the activation between blocks, whether later blocks join the free
    /// channels to the monotone branch, and the reduction.
    #[allow(clippy::type_complexity)]
    fn widths(&self) -> Result<(Vec<[usize; 2]>, Activation, bool, Option<usize>)> {
        let positive = |what: &str, value: usize| {
            if value > 0 { Ok(()) } else { Err(Error::Architecture(format!("{what} must be at least 1, found 0"))) }
        };
        match *self {
            Self::Paper { depth, width, reduce_free } => {
                positive("depth", depth)?;
                positive("reduce_free", reduce_free.unwrap_or(1))?;
                if width < 2 || width % 2 != 0 {
                    let message = format!("width must be even and at least 2 (one half per branch), found {width}");
                    return Err(Error::Architecture(message));
                }
                let h = width / 2;
                let layer = |k: usize| if k % 2 == 1 { [PAPER_CHANNELS, h] } else { [h, h] };
                let widths = (0..depth).map(layer).chain([[1, 0]]).collect();
                Ok((widths, Activation::Relu, false, reduce_free))
            }
            Self::TwoBranch { hidden, bottleneck, reduce_free } => {
                positive("hidden", hidden)?;
                positive("bottleneck", bottleneck)?;
                positive("reduce_free", reduce_free.unwrap_or(1))?;
                let widths = vec![[hidden, hidden], [bottleneck, bottleneck], [hidden, hidden], [1, 0]];
                Ok((widths, Activation::Clamp, true, reduce_free))
            }
        }
    }
}

impl ChainShape {
    /// Number of trainable parameters; cut links and identity layers have none.
    pub fn parameters(&self) -> usize {
        self.blocks.iter().map(BlockShape::parameters).sum()
    }
}

impl BlockShape {
    fn parameters(&self) -> usize {
        let (inputs, hidden, outputs) = (self.inputs.len(), self.hidden.iter().sum(), self.outputs.iter().sum());
        let links = |rows: usize, columns: usize, link: &dyn Fn(usize, usize) -> bool| {
            (0..rows).map(|i| (0..columns).filter(|j| link(i, *j)).count()).sum::<usize>()
        };
        let first = links(inputs, hidden, &|i, h| self.first_link(i, h)) + hidden;
        let second = links(hidden, outputs, &|h, o| self.second_link(h, o)) + outputs;
        let free = self.inputs.iter().filter(|d| **d == Direction::Free).count();
        let reduction = self.reduce_free.map_or(0, |k| free * k + k + k * self.hidden[0]);
        second + reduction + if self.identity { 0 } else { first }
    }

    /// Whether a first-layer weight from `input` to `hidden` exists.
    pub fn first_link(&self, input: usize, hidden: usize) -> bool {
        let free_input = self.inputs[input] == Direction::Free;
        let free_neuron = hidden >= self.hidden[0];
        if self.identity {
            return input == hidden;
        }
        match (free_input, free_neuron) {
            (false, false) => true,
            (false, true) => false,
            (true, false) => self.joined && self.reduce_free.is_none(),
            (true, true) => true,
        }
    }

    /// Whether a second-layer weight from `hidden` to `output` exists.
    pub fn second_link(&self, hidden: usize, output: usize) -> bool {
        let last = self.outputs[1] == 0;
        last || (hidden >= self.hidden[0]) == (output >= self.outputs[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(monotone: usize, free: usize) -> Vec<Direction> {
        let mut inputs = vec![Direction::Increasing; monotone];
        inputs.extend(vec![Direction::Free; free]);
        inputs
    }

    /// The parameter counts printed in the paper's tables 7 to 9. The paper counts an output bias for each of the two
    /// networks that it adds up; a chain has one.
    #[test]
    fn the_papers_architectures_have_the_printed_sizes() {
        let sizes = |monotone, free, reduce_free, depth| {
            let size = move |width| {
                let architecture = Architecture::Paper { depth, width, reduce_free };
                architecture.shape(&inputs(monotone, free)).unwrap().parameters() + 1
            };
            [40, 100, 200].map(size)
        };
        assert_eq!(sizes(4, 9, None, 1), [522, 1_302, 2_602], "COMPAS");
        // Printed 23,112 for the last one; it is the only printed count that no decoding explains.
        assert_eq!(sizes(4, 9, None, 3), [1_792, 7_462, 24_912], "COMPAS");
        assert_eq!(sizes(8, 268, Some(10), 1), [8_492, 17_192, 31_692], "Blog Feedback");
        assert_eq!(sizes(8, 268, Some(10), 3), [9_762, 23_352, 54_002], "Blog Feedback");
        assert_eq!(sizes(5, 23, Some(10), 1), [1_082, 2_342, 4_442], "Loan Defaulter");
        assert_eq!(sizes(5, 23, Some(10), 3), [2_352, 8_502, 26_752], "Loan Defaulter");
    }

    #[test]
    fn the_repositorys_network_has_its_size() {
        let architecture = Architecture::TwoBranch { hidden: 100, bottleneck: 10, reduce_free: None };
        assert_eq!(architecture.shape(&inputs(4, 9)).unwrap().parameters() + 1, 7_822);
    }

    #[test]
    fn an_odd_number_of_layers_is_filled_up_with_an_identity() {
        let shape = Architecture::Paper { depth: 2, width: 8, reduce_free: None }.shape(&inputs(2, 3)).unwrap();
        assert_eq!(shape.blocks.iter().map(|b| b.identity).collect::<Vec<_>>(), [false, true]);
        assert_eq!(shape.blocks[1].hidden, shape.blocks[0].outputs);
    }

    #[test]
    fn without_free_features_there_is_no_free_branch() {
        for architecture in [
            Architecture::Paper { depth: 3, width: 8, reduce_free: None },
            Architecture::TwoBranch { hidden: 4, bottleneck: 2, reduce_free: None },
        ] {
            let shape = architecture.shape(&inputs(3, 0)).unwrap();
            assert!(shape.blocks.iter().all(|b| b.hidden[1] == 0 && b.outputs[1] == 0), "{shape:?}");
        }
    }

    #[test]
    fn what_cannot_be_built_is_refused() {
        let paper = |depth, width| Architecture::Paper { depth, width, reduce_free: None };
        let two_branch = |hidden, bottleneck| Architecture::TwoBranch { hidden, bottleneck, reduce_free: None };
        for (architecture, word) in [
            (paper(0, 8), "depth"),
            (paper(1, 7), "width"),
            (two_branch(0, 2), "hidden"),
            (two_branch(2, 0), "bottleneck"),
        ] {
            let message = architecture.shape(&inputs(1, 1)).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
        assert!(paper(1, 8).shape(&inputs(0, 4)).unwrap_err().to_string().contains("monotone"));
    }
}
