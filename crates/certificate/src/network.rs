use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// An affine map `y = W x + b` with `f32` parameters, taken as exact dyadic rationals.
///
/// # Shapes
/// `weight` is row-major `[outputs, inputs]`, `bias` is `[outputs]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    inputs: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Affine {
    /// An affine map from its row-major weight matrix and its bias.
    ///
    /// # Errors
    /// If the weights do not fill `bias.len()` rows of `inputs` entries, a width is zero, or a number is not finite.
    pub fn new(inputs: usize, weight: Vec<f32>, bias: Vec<f32>) -> Result<Self> {
        if inputs == 0 || bias.is_empty() {
            return Err(Error::Structure("an affine map needs at least one input and one output".into()));
        }
        let expected = inputs * bias.len();
        if weight.len() != expected {
            return Err(Error::Shape { what: "weight".into(), expected, found: weight.len() });
        }
        if let Some(value) = weight.iter().chain(&bias).find(|value| !value.is_finite()) {
            return Err(Error::NotFinite { what: "weight or bias".into(), value: f64::from(*value) });
        }
        Ok(Self { inputs, weight, bias })
    }

    /// The identity on `width` numbers.
    ///
    /// # Panics
    /// If `width` is zero.
    pub fn identity(width: usize) -> Self {
        assert!(width > 0, "an identity layer needs a width");
        let weight = (0..width * width).map(|k| if k / width == k % width { 1.0 } else { 0.0 }).collect();
        Self { inputs: width, weight, bias: vec![0.0; width] }
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// The weights of output `i`, one per input.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.weight[i * self.inputs..(i + 1) * self.inputs]
    }

    /// The whole weight matrix, row-major `[outputs, inputs]`.
    pub fn weight(&self) -> &[f32] {
        &self.weight
    }

    /// The bias, one number per output.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// `W x + b` in `f64`.
    ///
    /// # Panics
    /// If `x` does not have one entry per input.
    pub fn evaluate(&self, x: &[f64]) -> Vec<f64> {
        assert_eq!(x.len(), self.inputs);
        let dot = |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>();
        (0..self.outputs()).map(|i| dot(self.row(i)) + f64::from(self.bias[i])).collect()
    }
}

/// A non-decreasing activation function, applied to every entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(0, t)`
    Relu,
    /// `min(1, max(0, t))`
    Clamp,
    /// `tanh t`
    Tanh,
    /// `1 / (1 + exp(-t))`
    Sigmoid,
    /// `ln(1 + exp t)`
    Softplus,
}

impl Activation {
    /// The word used for it in configurations and model files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Clamp => "clamp",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Softplus => "softplus",
        }
    }

    /// The value at `t` in `f64`.
    pub fn evaluate(self, t: f64) -> f64 {
        match self {
            Self::Relu => t.max(0.0),
            Self::Clamp => t.clamp(0.0, 1.0),
            Self::Tanh => t.tanh(),
            Self::Sigmoid => 1.0 / (1.0 + (-t).exp()),
            Self::Softplus => t.max(0.0) + (-t.abs()).exp().ln_1p(),
        }
    }
}

/// Two affine layers with an activation between them: the unit that is verified alone.
///
/// `f(x) = W2 act(W1 x + b1) + b2` with `first = (W1, b1)` and `second = (W2, b2)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    first: Affine,
    activation: Activation,
    second: Affine,
}

impl Block {
    /// A block from its two layers.
    ///
    /// # Errors
    /// If `second` does not take what `first` gives.
    pub fn new(first: Affine, activation: Activation, second: Affine) -> Result<Self> {
        if first.outputs() != second.inputs() {
            return Err(Error::Width {
                what: "second layer of a block".into(),
                expected: first.outputs(),
                found: second.inputs(),
            });
        }
        Ok(Self { first, activation, second })
    }

    /// The layer that gives the pre-activations.
    pub fn first(&self) -> &Affine {
        &self.first
    }

    /// The activation between the two layers.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The layer that gives the outputs.
    pub fn second(&self) -> &Affine {
        &self.second
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.first.inputs()
    }

    /// Number of hidden neurons.
    pub fn hidden(&self) -> usize {
        self.first.outputs()
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.second.outputs()
    }

    /// What hidden neuron `i` adds to the derivative of output `row` in input `input` while it is active:
    /// `W2[row, i] * W1[i, input]`, exact because a product of two `f32` fits in an `f64`.
    pub fn path_weight(&self, row: usize, i: usize, input: usize) -> f64 {
        f64::from(self.second.row(row)[i]) * f64::from(self.first.row(i)[input])
    }

    /// Whether some path of non-zero weights leads from `input` to `row`.
    pub fn depends_on(&self, row: usize, input: usize) -> bool {
        (0..self.hidden()).any(|i| self.path_weight(row, i, input) != 0.0)
    }

    /// The outputs at `x` in `f64`.
    pub fn evaluate(&self, x: &[f64]) -> Vec<f64> {
        let mut hidden = self.first.evaluate(x);
        hidden.iter_mut().for_each(|t| *t = self.activation.evaluate(*t));
        self.second.evaluate(&hidden)
    }
}

/// What stands between two blocks: a monotone activation, and which channels may carry monotone features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boundary {
    /// Applied to every output of the block before it becomes an input of the next. Monotone, so it needs no proof.
    pub activation: Activation,
    /// For each channel whether it is a *monotone channel*: non-decreasing in every monotone feature (after its
    /// sign), and the next block must be non-decreasing in it. The other channels must not depend on monotone features.
    pub monotone: Vec<bool>,
}

/// A chain of blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    blocks: Vec<Block>,
    boundaries: Vec<Boundary>,
}

impl Network {
    /// A network from its blocks and what stands between them.
    ///
    /// # Errors
    /// If there is no block, or the widths do not fit.
    pub fn new(blocks: Vec<Block>, boundaries: Vec<Boundary>) -> Result<Self> {
        if blocks.is_empty() || boundaries.len() + 1 != blocks.len() {
            return Err(Error::Structure(format!(
                "a chain of n >= 1 blocks has n - 1 boundaries, found {} blocks and {} boundaries",
                blocks.len(),
                boundaries.len()
            )));
        }
        for (k, boundary) in boundaries.iter().enumerate() {
            let width = boundary.monotone.len();
            for (what, found) in [("outputs", blocks[k].outputs()), ("next inputs", blocks[k + 1].inputs())] {
                if width != found {
                    return Err(Error::Width { what: format!("boundary {k}, {what}"), expected: width, found });
                }
            }
        }
        Ok(Self { blocks, boundaries })
    }

    /// A dense ReLU network, with a ReLU after the last layer or without, as a chain of blocks. Identity layers fill it up to
    /// pairs; behind a ReLU one more ReLU does nothing.
    ///
    /// Every channel between blocks may carry monotone features.
    ///
    /// # Errors
    /// If there is no layer or the widths do not fit.
    pub fn from_layers(mut layers: Vec<Affine>, relu_output: bool) -> Result<Self> {
        let Some(last) = layers.last().map(Affine::outputs) else {
            return Err(Error::Structure("a dense network needs at least one layer".into()));
        };
        if relu_output {
            layers.push(Affine::identity(last));
        }
        if layers.len() == 1 {
            return Err(Error::Structure(
                "one affine layer without a relu is no network of blocks; add a hidden layer or a relu output".into(),
            ));
        }
        if layers.len() % 2 == 1 {
            let width = layers[layers.len() - 1].inputs();
            layers.insert(layers.len() - 1, Affine::identity(width));
        }
        let mut blocks = Vec::new();
        let mut layers = layers.into_iter();
        while let (Some(first), Some(second)) = (layers.next(), layers.next()) {
            blocks.push(Block::new(first, Activation::Relu, second)?);
        }
        let boundary = |block: &Block| Boundary { activation: Activation::Relu, monotone: vec![true; block.outputs()] };
        let boundaries = blocks[..blocks.len() - 1].iter().map(boundary).collect();
        Self::new(blocks, boundaries)
    }

    /// The blocks, first to last.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// What stands between block `k` and block `k + 1`.
    pub fn boundaries(&self) -> &[Boundary] {
        &self.boundaries
    }

    /// Number of inputs of the first block.
    pub fn inputs(&self) -> usize {
        self.blocks[0].inputs()
    }

    /// Number of outputs of the last block.
    pub fn outputs(&self) -> usize {
        self.blocks[self.blocks.len() - 1].outputs()
    }

    /// Number of parameters, those fixed at zero by cut links not counted.
    pub fn parameters(&self) -> usize {
        let weights = |layer: &Affine| layer.weight().iter().filter(|w| **w != 0.0).count() + layer.outputs();
        self.blocks.iter().map(|block| weights(block.first()) + weights(block.second())).sum()
    }

    /// The outputs at `x` in `f64`.
    pub fn evaluate(&self, x: &[f64]) -> Vec<f64> {
        let mut value = self.blocks[0].evaluate(x);
        for (block, boundary) in self.blocks[1..].iter().zip(&self.boundaries) {
            value.iter_mut().for_each(|t| *t = boundary.activation.evaluate(*t));
            value = block.evaluate(&value);
        }
        value
    }

    /// Every weight and bias in one row: per block the first layer's weights and bias, then the second's.
    pub fn to_flat(&self) -> Vec<f32> {
        let layers = self.blocks.iter().flat_map(|block| [block.first(), block.second()]);
        layers.flat_map(|layer| layer.weight().iter().chain(layer.bias())).copied().collect()
    }

    /// A network of the same shape with the numbers of [`to_flat`](Self::to_flat).
    ///
    /// # Errors
    /// If there are too few or too many numbers, or one is not finite.
    pub fn with_flat(&self, mut flat: &[f32]) -> Result<Self> {
        let expected = self.to_flat().len();
        if flat.len() != expected {
            return Err(Error::Shape { what: "network".into(), expected, found: flat.len() });
        }
        let mut take = |layer: &Affine| {
            let (weight, rest) = flat.split_at(layer.weight().len());
            let (bias, rest) = rest.split_at(layer.outputs());
            flat = rest;
            Affine::new(layer.inputs(), weight.to_vec(), bias.to_vec())
        };
        let blocks = self.blocks.iter().map(|b| Block::new(take(b.first())?, b.activation(), take(b.second())?));
        Self::new(blocks.collect::<Result<_>>()?, self.boundaries.clone())
    }
}
