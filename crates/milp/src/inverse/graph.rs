//! A layered network as single operations on numbers, each with bounds: what every encoding is written from.

use std::collections::HashSet;
use std::ops::Range;

use certificate::{Convolution, Interval, Layer, Layered, Shape};

/// `sum of weight * value + constant`, divided by `divisor`.
///
/// Weights are exact; the constant is an interval, because the difference of two `f32` may not be a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// Value and weight; a value occurs once.
    pub terms: Vec<(usize, f64)>,
    /// Contains the constant.
    pub constant: Interval,
    /// Number of terms of a mean, otherwise 1.
    pub divisor: f64,
}

impl Form {
    fn value(index: usize) -> Self {
        Self { terms: vec![(index, 1.0)], constant: Interval::new(0.0, 0.0), divisor: 1.0 }
    }

    fn minus(&self, number: f32) -> Self {
        let number = f64::from(number);
        let constant = if self.constant == Interval::new(0.0, 0.0) || number == 0.0 {
            Interval::new(self.constant.lower - number, self.constant.upper - number)
        } else {
            Interval::new((self.constant.lower - number).next_down(), (self.constant.upper - number).next_up())
        };
        Self { constant, ..self.clone() }
    }

    /// Bounds of the form for values within theirs, rounded outwards.
    pub fn bounds(&self, values: &[Interval]) -> Interval {
        let Interval { mut lower, mut upper } = self.constant;
        for &(k, w) in self.terms.iter().filter(|(_, w)| *w != 0.0) {
            let side = values[k];
            let (low, high) = if w > 0.0 { (side.lower, side.upper) } else { (side.upper, side.lower) };
            lower = add(lower, times(w, low, f64::next_down), f64::next_down);
            upper = add(upper, times(w, high, f64::next_up), f64::next_up);
        }
        if self.divisor == 1.0 {
            return Interval::new(lower, upper);
        }
        Interval::new((lower / self.divisor).next_down(), (upper / self.divisor).next_up())
    }
}

pub(crate) fn times(w: f64, x: f64, outward: fn(f64) -> f64) -> f64 {
    if x == 0.0 || w.abs() == 1.0 { w * x } else { outward(w * x) }
}

pub(crate) fn add(a: f64, b: f64, outward: fn(f64) -> f64) -> f64 {
    if a == 0.0 || b == 0.0 { a + b } else { outward(a + b) }
}

/// How a number comes about.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// The form itself.
    Affine(Form),
    /// `max(0, t) - slope max(0, -t)` of the form `t`.
    Relu {
        /// What is rectified.
        form: Form,
        /// 0, or that of a leaky ReLU.
        slope: f64,
    },
    /// The largest of these values.
    Max(Vec<usize>),
}

/// A number of the network: the inputs come first, then one for each operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Number of inputs.
    pub inputs: usize,
    /// How each other number is made of earlier ones.
    pub operations: Vec<Operation>,
    /// For each operation a name that says where it stands, `l2_n5`.
    pub names: Vec<String>,
    /// The operations in groups, of which none depends on another one of its group.
    pub steps: Vec<Range<usize>>,
    /// Where the outputs are.
    pub outputs: Vec<usize>,
}

impl Graph {
    /// The graph of a network.
    pub fn new(network: &Layered) -> Self {
        let graph = Self {
            inputs: network.inputs(),
            operations: Vec::new(),
            names: Vec::new(),
            steps: Vec::new(),
            outputs: Vec::new(),
        };
        let mut builder = Builder { graph, layer: 0 };
        let mut forms: Vec<Form> = (0..network.inputs()).map(Form::value).collect();
        for (k, layer) in network.layers().iter().enumerate() {
            builder.layer = k + 1;
            forms = builder.apply(layer, forms, network.shape(k), network.shape(k + 1));
        }
        builder.graph.outputs = builder.values(forms, "out");
        builder.graph
    }

    /// How many multiplications it costs to evaluate.
    pub fn terms(&self) -> usize {
        let terms = |operation: &Operation| match operation {
            Operation::Affine(form) | Operation::Relu { form, .. } => form.terms.len(),
            Operation::Max(of) => of.len(),
        };
        self.operations.iter().map(terms).sum()
    }

    /// Bounds of every number from those of the inputs, by interval arithmetic rounded outwards.
    pub fn bounds(&self, inputs: &[Interval]) -> Bounds {
        let mut bounds = Bounds { values: inputs.to_vec(), forms: Vec::new() };
        for operation in &self.operations {
            let form = operation.form_bounds(&bounds.values);
            bounds.push(operation, form);
        }
        bounds
    }
}

/// What is known of the numbers of a graph, or of the first of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// Of the inputs and of what each operation gives.
    pub values: Vec<Interval>,
    /// Of what each operation is applied to: the pre-activation.
    pub forms: Vec<Interval>,
}

impl Bounds {
    /// Adds what is known of the next operation.
    pub fn push(&mut self, operation: &Operation, form: Interval) {
        self.forms.push(form);
        self.values.push(match operation {
            Operation::Relu { slope, .. } => rectified(form, *slope),
            Operation::Affine(_) | Operation::Max(_) => form,
        });
    }

    /// How many units may be on or off.
    pub fn unstable(&self, graph: &Graph) -> usize {
        let open = |(operation, side): (&Operation, &Interval)| {
            matches!(operation, Operation::Relu { .. }) && side.lower < 0.0 && side.upper > 0.0
        };
        graph.operations.iter().zip(&self.forms).filter(|pair| open(*pair)).count()
    }
}

impl Operation {
    /// Bounds of what is rectified, or of the result where nothing is, rounded outwards.
    pub fn form_bounds(&self, values: &[Interval]) -> Interval {
        match self {
            Self::Affine(form) | Self::Relu { form, .. } => form.bounds(values),
            Self::Max(of) => {
                let largest =
                    |side: fn(&Interval) -> f64| of.iter().map(|k| side(&values[*k])).fold(f64::MIN, f64::max);
                Interval::new(largest(|side| side.lower), largest(|side| side.upper))
            }
        }
    }
}

/// The image of an interval under a leaky ReLU.
fn rectified(side: Interval, slope: f64) -> Interval {
    let leak = |t: f64, outward: fn(f64) -> f64| {
        if t >= 0.0 {
            t
        } else if slope == 0.0 {
            0.0
        } else {
            outward(slope * t)
        }
    };
    Interval::new(leak(side.lower, f64::next_down), leak(side.upper, f64::next_up))
}

struct Builder {
    graph: Graph,
    layer: usize,
}

impl Builder {
    fn push(&mut self, operation: Operation, name: String) -> usize {
        let last = match &operation {
            Operation::Affine(form) | Operation::Relu { form, .. } => form.terms.iter().map(|(k, _)| *k).max(),
            Operation::Max(of) => of.iter().copied().max(),
        };
        let graph = &mut self.graph;
        let next = graph.operations.len();
        match graph.steps.last_mut() {
            Some(step) if last.is_none_or(|k| k < graph.inputs + step.start) => step.end = next + 1,
            _ => graph.steps.push(next..next + 1),
        }
        graph.operations.push(operation);
        graph.names.push(name);
        graph.inputs + next
    }

    /// The numbers that the forms describe, all different: operations of their own where they are not numbers already, or where
    /// one occurs twice.
    fn values(&mut self, forms: Vec<Form>, kind: &str) -> Vec<usize> {
        let layer = self.layer;
        let mut taken = HashSet::new();
        let value = |(i, form): (usize, Form)| match form.terms[..] {
            [(k, 1.0)] if form == Form::value(k) && taken.insert(k) => k,
            _ => self.push(Operation::Affine(form), format!("l{layer}_{kind}{i}")),
        };
        forms.into_iter().enumerate().map(value).collect()
    }

    fn relu(&mut self, form: Form, slope: f64, name: String) -> usize {
        self.push(Operation::Relu { form, slope }, name)
    }

    fn apply(&mut self, layer: &Layer, forms: Vec<Form>, input: Shape, output: Shape) -> Vec<Form> {
        let k = self.layer;
        let exactly = |bias: f32| Interval::new(f64::from(bias), f64::from(bias));
        let positions = (0..output.channels)
            .flat_map(|channel| (0..output.height).flat_map(move |r| (0..output.width).map(move |c| (channel, r, c))));
        match layer {
            Layer::Flatten => forms,
            Layer::Dense(affine) => {
                let values = self.values(forms, "v");
                let form = |i: usize| Form {
                    terms: nonzero(values.iter().copied().zip(affine.row(i).iter().copied())),
                    constant: exactly(affine.bias()[i]),
                    divisor: 1.0,
                };
                (0..affine.outputs()).map(form).collect()
            }
            Layer::Convolution(Convolution { window, kernel }) => {
                let values = self.values(forms, "v");
                let form = |(o, r, c): (usize, usize, usize)| {
                    let terms = (0..input.channels).flat_map(|channel| {
                        let values = &values;
                        window.places(input, r, c).map(move |(place, row, column)| {
                            let weight = kernel.row(o)[channel * window.height * window.width + place];
                            (values[input.index(channel, row, column)], weight)
                        })
                    });
                    Form { terms: nonzero(terms), constant: exactly(kernel.bias()[o]), divisor: 1.0 }
                };
                positions.map(form).collect()
            }
            Layer::AveragePool(window) => {
                let values = self.values(forms, "v");
                let form = |(channel, r, c): (usize, usize, usize)| Form {
                    terms: window
                        .places(input, r, c)
                        .map(|(_, row, column)| (values[input.index(channel, row, column)], 1.0))
                        .collect(),
                    constant: exactly(0.0),
                    divisor: (window.height * window.width) as f64,
                };
                positions.map(form).collect()
            }
            Layer::MaxPool(window) => {
                let values = self.values(forms, "v");
                let under = |(channel, r, c): (usize, usize, usize)| -> Vec<usize> {
                    let places = window.places(input, r, c);
                    places.map(|(_, row, column)| values[input.index(channel, row, column)]).collect()
                };
                let windows: Vec<Vec<usize>> = positions.map(under).collect();
                let max = |(i, of)| Form::value(self.push(Operation::Max(of), format!("l{k}_max{i}")));
                windows.into_iter().enumerate().map(max).collect()
            }
            Layer::Relu | Layer::LeakyRelu(_) => {
                let slope = if let Layer::LeakyRelu(slope) = layer { f64::from(*slope) } else { 0.0 };
                let relu = |(i, form)| Form::value(self.relu(form, slope, format!("l{k}_n{i}")));
                forms.into_iter().enumerate().map(relu).collect()
            }
            // min(upper, max(lower, t)) = lower + max(0, t - lower) - max(0, t - upper)
            Layer::Clamp { lower, upper } => {
                // The divisor of a mean goes through a shift only as a number of its own.
                let forms = if forms.iter().any(|form| form.divisor != 1.0) {
                    self.values(forms, "v").into_iter().map(Form::value).collect()
                } else {
                    forms
                };
                let clamp = |(i, form): (usize, Form)| {
                    let above = self.relu(form.minus(*lower), 0.0, format!("l{k}_low{i}"));
                    let over = self.relu(form.minus(*upper), 0.0, format!("l{k}_high{i}"));
                    Form { terms: vec![(above, 1.0), (over, -1.0)], constant: exactly(*lower), divisor: 1.0 }
                };
                forms.into_iter().enumerate().map(clamp).collect()
            }
        }
    }
}

fn nonzero(terms: impl Iterator<Item = (usize, f32)>) -> Vec<(usize, f64)> {
    terms.filter(|(_, w)| *w != 0.0).map(|(k, w)| (k, f64::from(w))).collect()
}
