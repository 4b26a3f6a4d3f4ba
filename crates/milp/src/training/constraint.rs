//! Domain knowledge as constraints on the trained network.

use std::fmt;

use certificate::Direction;

/// A binary of the programme that says whether something is used. Layers are counted from 0 among those with weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// A unit or filter ([`Gates::units`](super::Gates)).
    Unit {
        /// Its layer.
        layer: usize,
        /// Which of the layer.
        unit: usize,
    },
    /// An input or input channel ([`Gates::inputs`](super::Gates)).
    Input {
        /// The layer that reads it.
        layer: usize,
        /// Which of the layer.
        input: usize,
    },
    /// A weight ([`Gates::weights`](super::Gates)).
    Weight {
        /// Its layer.
        layer: usize,
        /// Its row.
        unit: usize,
        /// Its place in the row.
        input: usize,
    },
    /// A channel of a [`Layer::Gate`](super::Layer::Gate).
    Activation {
        /// Which of these layers, counted from 0.
        layer: usize,
        /// Which channel.
        channel: usize,
    },
    /// A [`Layer::Optional`](super::Layer::Optional), counted from 0.
    Optional(usize),
}

/// What the network has to satisfy beside fitting the samples.
#[derive(Debug, Clone, PartialEq)]
pub enum Constraint {
    /// A weight lies between two numbers; its sign, for instance.
    Weight {
        /// Counted from 0 among the layers with weights.
        layer: usize,
        /// Row of the weight.
        unit: usize,
        /// Place in the row.
        input: usize,
        /// Smallest value.
        lower: f64,
        /// Largest value.
        upper: f64,
    },
    /// Every output follows an input because every path of one hidden ReLU layer does: sufficient, not necessary.
    Monotone {
        /// The input.
        input: usize,
        /// Where the outputs have to go when it grows.
        direction: Direction,
    },
    /// Every output follows an input at one point: the derivative of a cell at the point has the right sign. Necessary for a
    /// monotone network.
    Anchored {
        /// Where.
        point: Vec<f64>,
        /// The input.
        input: usize,
        /// Where the outputs have to go when it grows.
        direction: Direction,
    },
    /// An output at one point lies between two numbers.
    Output {
        /// Where.
        point: Vec<f64>,
        /// The output.
        output: usize,
        /// Smallest value.
        lower: f64,
        /// Largest value.
        upper: f64,
    },
    /// At least one gate is as it is said here; `a` implies `b` is `(a, false), (b, true)`.
    Clause(Vec<(Gate, bool)>),
    /// At most so many of the gates are 1.
    AtMost {
        /// Of these.
        gates: Vec<Gate>,
        /// How many.
        count: usize,
    },
}

impl Constraint {
    /// Whether units of a layer or optional layers are told apart, so that they must not be put into an order. Inputs of the
    /// first layer with weights do not, unless it `is_optional`.
    pub(super) fn tells_apart(&self, is_optional: bool) -> bool {
        let shared = |gate: &Gate| !is_optional && matches!(gate, Gate::Input { layer: 0, .. });
        match self {
            Self::Weight { .. } => true,
            Self::Clause(literals) => !literals.iter().all(|(gate, _)| shared(gate)),
            Self::AtMost { gates, .. } => !gates.iter().all(shared),
            Self::Monotone { .. } | Self::Anchored { .. } | Self::Output { .. } => false,
        }
    }
}

/// For messages; as in everything for people, things are counted from 1.
impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Weight { layer, unit, input, lower, upper } => {
                write!(f, "weight {} of unit {} in layer {} in [{lower}, {upper}]", input + 1, unit + 1, layer + 1)
            }
            Self::Monotone { input, direction } => write!(f, "{} in input {}", word(*direction), input + 1),
            Self::Anchored { point, input, direction } => {
                write!(f, "{} in input {} at {point:?}", word(*direction), input + 1)
            }
            Self::Output { point, output, lower, upper } => {
                write!(f, "output {} at {point:?} in [{lower}, {upper}]", output + 1)
            }
            Self::Clause(literals) => {
                let literal = |(gate, on): &(Gate, bool)| format!("{}{gate}", if *on { "" } else { "not " });
                write!(f, "{}", literals.iter().map(literal).collect::<Vec<_>>().join(" or "))
            }
            Self::AtMost { gates, count } => {
                let gates: Vec<_> = gates.iter().map(Gate::to_string).collect();
                write!(f, "at most {count} of {}", gates.join(", "))
            }
        }
    }
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Increasing => "increasing",
        Direction::Decreasing => "decreasing",
        Direction::Free => "free",
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Unit { layer, unit } => write!(f, "unit {} of layer {}", unit + 1, layer + 1),
            Self::Input { layer, input } => write!(f, "input {} of layer {}", input + 1, layer + 1),
            Self::Weight { layer, unit, input } => {
                write!(f, "weight {} of unit {} of layer {}", input + 1, unit + 1, layer + 1)
            }
            Self::Activation { layer, channel } => write!(f, "channel {} of gate layer {}", channel + 1, layer + 1),
            Self::Optional(group) => write!(f, "optional layers {}", group + 1),
        }
    }
}
