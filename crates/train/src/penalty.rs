//! The gradient penalty: what pushes a network towards being monotone while it is trained.

use burn::tensor::{Device, Tensor, TensorData};
use certificate::Direction;
use serde::{Deserialize, Serialize};

use crate::model::BlockWeights;
use crate::tangent::Dual;

/// How the penalties of samples, inputs and outputs become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Mean over the samples of the sum over inputs and outputs, blocks added up: the paper.
    Mean,
    /// The largest over samples, inputs, outputs and blocks: the original repository.
    Max,
}

/// The regulariser that makes a block monotone on sampled points:
/// `max(0, margin - s_l df_k/dx_l)^2` for every monotone input `l` with sign `s_l` and every monotone output `k`.
///
/// The paper prints `max(b, -df/dx)^2`, which has no gradient once `df/dx > -b` and would tolerate slightly negative
/// derivatives; this is the shifted hinge that its original code uses, which pushes every derivative above `margin`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GradientPenalty {
    /// The derivative below which a point is penalised; the paper's `b`.
    pub margin: f64,
    /// How points, inputs and outputs are pooled.
    pub pooling: Pooling,
}

impl GradientPenalty {
    /// The penalty of one block at the points `x`.
    ///
    /// # Shapes
    /// `x` is `[n, inputs]`; `inputs` has one direction per input of the block, and the first `outputs` outputs of the
    /// block are the monotone ones. The result has one element; it is tracked by autodiff if the weights are.
    pub fn of_block(&self, block: &BlockWeights, x: Tensor<2>, inputs: &[Direction], outputs: usize) -> Tensor<1> {
        let [samples, _] = x.dims();
        let directions = unit_directions(inputs, &x.device());
        let [_, second_outputs] = block.second.weight.dims();
        let mut second = block.second.weight.clone();
        let mut first = block.first.clone();
        // Only the neurons of the monotone branch can pass a derivative on, and only to the monotone outputs.
        let neurons = block.monotone_hidden;
        if neurons < first.bias.dims()[0] {
            first.weight = first.weight.slice([0..inputs.len(), 0..neurons]);
            first.bias = first.bias.narrow(0, 0, neurons);
        }
        if neurons < second.dims()[0] || outputs < second_outputs {
            second = second.slice([0..neurons, 0..outputs]);
        }
        let hidden = Dual::input(x, directions).affine(first.weight, first.bias).activate(block.activation);
        let derivatives = hidden.tangent.affine(second).per_sample(samples);
        let shortfall = (derivatives.neg() + self.margin).clamp_min(0.0);
        match self.pooling {
            Pooling::Mean => shortfall.square().sum() / samples as f64,
            Pooling::Max => shortfall.max().square(),
        }
    }

    /// The penalty of a network from those of its blocks.
    pub fn pool_blocks(&self, blocks: Vec<Tensor<1>>) -> Tensor<1> {
        match self.pooling {
            Pooling::Mean => blocks.into_iter().reduce(|a, b| a + b).expect("a network has a block"),
            Pooling::Max => Tensor::cat(blocks, 0).max(),
        }
    }
}

/// One row per monotone input: its unit vector times its sign, `[m, inputs]`.
fn unit_directions(inputs: &[Direction], device: &Device) -> Tensor<2> {
    let mut rows = Vec::new();
    for (l, direction) in inputs.iter().enumerate().filter(|(_, d)| **d != Direction::Free) {
        rows.extend((0..inputs.len()).map(|j| if j == l { direction.sign() as f32 } else { 0.0 }));
    }
    let m = rows.len() / inputs.len();
    Tensor::from_data(TensorData::new(rows, [m, inputs.len()]), device)
}

#[cfg(test)]
mod tests;
