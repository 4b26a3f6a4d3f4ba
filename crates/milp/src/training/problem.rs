//! A training problem as plain data.

use certificate::{Interval, Shape, Window};
use serde::{Deserialize, Serialize};

use super::constraint::Constraint;

/// What the weights of a layer may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WeightDomain {
    /// Every real number of a box. An optimum is one within the box only; a side that is active at it is reported.
    Real {
        /// Smallest value.
        lower: f64,
        /// Largest value.
        upper: f64,
    },
    /// `steps + 1` evenly spaced values, all of them `f32` numbers.
    Grid {
        /// Smallest value.
        lower: f64,
        /// Distance between neighbours.
        step: f64,
        /// Number of steps from the smallest to the largest value.
        steps: u32,
    },
    /// These numbers, one per weight; nothing is trained.
    Fixed(Vec<f64>),
}

impl WeightDomain {
    /// Every real number up to `largest` in absolute value.
    pub fn real(largest: f64) -> Self {
        Self::Real { lower: -largest, upper: largest }
    }

    /// The whole numbers from `lower` to `upper`.
    ///
    /// # Panics
    /// If `lower > upper`.
    pub fn integers(lower: i32, upper: i32) -> Self {
        assert!(lower <= upper, "a range of whole numbers begins with the smaller one");
        Self::Grid { lower: f64::from(lower), step: 1.0, steps: lower.abs_diff(upper) }
    }

    /// Between which numbers weight `k` lies.
    pub(super) fn side(&self, k: usize) -> Interval {
        match self {
            Self::Real { lower, upper } => Interval::new(*lower, *upper),
            Self::Grid { lower, step, steps } => Interval::new(*lower, lower + step * f64::from(*steps)),
            Self::Fixed(values) => Interval::new(values[k], values[k]),
        }
    }

    /// Whether weight `k` can be 0, on a grid up to the rounding of its numbers.
    pub(super) fn can_be_zero(&self, k: usize) -> bool {
        let on_grid = match self {
            Self::Grid { lower, step, .. } => {
                let steps = -lower / step;
                (steps - steps.round()).abs() <= 1e-6
            }
            _ => true,
        };
        on_grid && self.side(k).contains(0.0)
    }
}

/// Binaries that decide what of a layer is used, each with its cost in the objective; `None` for no binary.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gates {
    /// One per unit, or filter: without it the unit's weights, in and out, and its bias are 0.
    pub units: Option<f64>,
    /// One per input of a dense layer, per input channel of a convolution: without it all weights on it are 0. In the first
    /// layer this says which features are used.
    pub inputs: Option<f64>,
    /// One per weight: without it the weight is 0 (the support of the weights, L0).
    pub weights: Option<f64>,
}

/// The trained part of a dense layer or of a convolution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Number of units, or of filters.
    pub outputs: usize,
    /// What its weights may be.
    pub weights: WeightDomain,
    /// What its biases may be.
    pub biases: WeightDomain,
    /// Cost of each weight's absolute value; biases are free.
    #[serde(default)]
    pub l1: f64,
    /// Cost of each weight's square; biases are free.
    #[serde(default)]
    pub l2: f64,
    /// What may be switched off.
    #[serde(default)]
    pub gates: Gates,
}

impl Parameters {
    /// Without penalties and gates.
    pub fn new(outputs: usize, weights: WeightDomain, biases: WeightDomain) -> Self {
        Self { outputs, weights, biases, l1: 0.0, l2: 0.0, gates: Gates::default() }
    }
}

/// One layer of the network to be trained.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// `W x + b`
    Dense(Parameters),
    /// The same over a sliding window, with the same weights at every position.
    Convolution(Window, Parameters),
    /// The largest number under the window.
    MaxPool(Window),
    /// The mean of the numbers under the window; without padding.
    AveragePool(Window),
    /// The array as a list.
    Flatten,
    /// `max(0, t)`
    Relu,
    /// 1 where `t >= 0`, 0 where `t <= -margin`. Weights for which a sample lies in between are excluded; there the trained
    /// network goes up linearly, as a clamp of `t / margin + 1` to `[0, 1]`.
    Step {
        /// A power of two, so that dividing by it changes no weight's digits.
        margin: f64,
    },
    /// Each channel times a binary, which costs this much where it is 1 (activation gating).
    Gate(f64),
    /// Layers between arrays of one shape that are left out as a whole (identity skip), or kept at a cost. Left out, all their
    /// weights and gates are 0.
    Optional {
        /// Of keeping them.
        cost: f64,
        /// The layers.
        layers: Vec<Layer>,
    },
}

/// What the network should give for each sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// One number per output.
    Values(Vec<Vec<f64>>),
    /// A class, counted from 0. A network with one output has two: a positive output means class 1.
    Classes(Vec<usize>),
}

impl Targets {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Values(values) => values.len(),
            Self::Classes(classes) => classes.len(),
        }
    }
}

/// What is summed over the samples. With `m_k = f_class - f_k` for the other classes `k`, or `m = +-f` with one output:
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// `sum over outputs of |f - y|`
    L1,
    /// `sum over outputs of (f - y)^2`, from below by tangents.
    Squared,
    /// `max(0, 1 - least m)`
    Hinge,
    /// 1 where the least `m` is below `margin`. A bound is about networks that keep it exactly; a stored network may miss it by 1e-5
    /// and counts as right.
    ZeroOne {
        /// At least 0.001, so that no tolerance decides.
        margin: f64,
    },
    /// `ln(1 + sum of exp(-m_k))`, from below by tangents.
    CrossEntropy,
}

impl Loss {
    /// Whether the loss compares outputs with numbers, not with classes.
    pub(super) fn is_regression(self) -> bool {
        matches!(self, Self::L1 | Self::Squared)
    }
}

/// How the product of a weight and an activation is written; the first layer has none. Where the activation is a step, the
/// product is exact for all weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Products {
    /// Weights of a grid by one binary per value. Exact, the hull of each product.
    OneHot,
    /// Weights of a grid by the binary digits of their number on it. Exact, with fewer columns and a weaker relaxation.
    BinaryExpansion,
    /// Real weights by McCormick's envelopes on this many pieces of their range. **A relaxation**: the optimum of the programme
    /// is only a lower bound on the objective. Weights of a grid are one-hot.
    McCormick {
        /// Number of pieces; with 1 there is no binary.
        pieces: usize,
    },
    /// One hidden ReLU layer and one output: the output weights are taken into the hidden units, and only their signs are left,
    /// which are enumerated. Exact for real weights; box and penalties are those of the hidden weights times the absolute
    /// value of the output weight, and the domain of the output weights says nothing.
    Absorbed,
}

/// Which network to train, on what, and what it has to satisfy.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Shape of a sample.
    pub input: Shape,
    /// First to last.
    pub layers: Vec<Layer>,
    /// Each stored as the input shape says.
    pub samples: Vec<Vec<f64>>,
    /// One per sample.
    pub targets: Targets,
    /// Summed over the samples.
    pub loss: Loss,
    /// How products are written.
    pub products: Products,
    /// Domain knowledge.
    pub constraints: Vec<Constraint>,
}

/// Weights and biases of one dense layer or convolution, in the layout of [`certificate::Affine`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerWeights {
    /// Row by row, one row per unit.
    pub weights: Vec<f64>,
    /// One per unit.
    pub biases: Vec<f64>,
}
