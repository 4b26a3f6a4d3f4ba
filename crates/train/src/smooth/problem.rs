use certificate::{Affine, Interval, Network};
use serde::{Deserialize, Serialize};

use super::layers::{Layers, OutputActivation, Shape};
use super::loss::Loss;
use crate::data::{DataSet, Part, Task};
use crate::{Error, Result};

/// The programme and how it is attacked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What is summed over the fitting rows.
    pub loss: Loss,
    /// In which units the inputs enter.
    #[serde(default)]
    pub inputs: Inputs,
    /// The small number in the hyperbolic form of ReLU.
    #[serde(default = "default_epsilon")]
    pub epsilon: f64,
    /// What the sum of squares of all weights and biases is multiplied with.
    #[serde(default = "default_weight_decay")]
    pub weight_decay: f64,
    /// Number of random initial points.
    #[serde(default = "default_starts")]
    pub starts: u32,
    /// Largest number of iterations from each of them.
    #[serde(default = "default_iterations")]
    pub iterations: u64,
}

fn default_epsilon() -> f64 {
    1e-3
}

fn default_weight_decay() -> f64 {
    0.01
}

fn default_starts() -> u32 {
    30
}

fn default_iterations() -> u64 {
    10_000
}

/// In which units the inputs enter. It matters because weight decay does: the smaller an input's numbers, the larger and
/// dearer the weights that make something of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inputs {
    /// Those of the table, as in the thesis.
    #[default]
    Raw,
    /// Mean 0 and standard deviation 1 over the fitting rows: for columns of very different sizes, on which the raw programme
    /// is badly conditioned.
    Standardised,
}

/// Which network is meant: both have the same weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relu {
    /// The one that is optimised, with the hyperbolic form of ReLU.
    Smooth,
    /// The one that is delivered, with `max(0, t)`.
    Exact,
}

/// How good a network is on some rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// Share of rows whose class has the largest output, and larger than any other: a tie is wrong.
    Accuracy(f64),
    /// `|output - y| / |y|` over the rows, in raw units.
    RelativeError {
        /// Mean.
        mean: f64,
        /// Middle value.
        median: f64,
        /// Largest value.
        largest: f64,
    },
}

/// Minimise `sum_i loss_i + weight_decay (||W||^2 + ||b||^2)` over all weights and biases of a dense network, with the
/// hyperbolic form of ReLU (thesis, chapter 3; the penalty is counted once).
///
/// The sum runs over the fitting rows. There is one output for a number and one for each of two classes.
#[derive(Debug)]
pub struct Problem<'a> {
    data: &'a DataSet,
    settings: &'a Settings,
    layers: Layers,
    /// What an input of the data set, from 0 to 1, is multiplied with, and what is added.
    scaling: Vec<(f64, f64)>,
    /// The raw values that the targets 0 and 1 stand for; those of classes are their numbers.
    target: Interval,
    fit: Rows,
}

/// Inputs and targets in the units of the programme.
#[derive(Debug)]
struct Rows {
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
}

impl<'a> Problem<'a> {
    /// The programme of a shape and some data.
    ///
    /// # Errors
    /// If a setting has a value that it cannot have, the loss does not suit the target, or a network of this shape cannot give
    /// the target.
    pub fn new(data: &'a DataSet, shape: &Shape, settings: &'a Settings) -> Result<Self> {
        check(shape, settings).map_err(Error::Smooth)?;
        if let (Inputs::Raw, Some(feature)) = (settings.inputs, data.features.iter().find(|f| !f.scale.is_linear())) {
            return Err(Error::Smooth(format!(
                "inputs = \"raw\" takes numbers as they are, but the manifest gives {} another scale: take inputs = \
                 \"standardised\", or data.scale = \"linear\"",
                feature.name
            )));
        }
        let target = target(data, shape, settings).map_err(Error::Smooth)?;
        let outputs = if settings.loss.of_classes() { 2 } else { 1 };
        let layers = Layers::new(data.features.len(), shape, outputs);
        let scaling = match settings.inputs {
            Inputs::Raw => data.features.iter().map(|feature| (width(feature.range), feature.range.lower)).collect(),
            Inputs::Standardised => standardising(&data.fit, data.features.len()),
        };
        let mut problem = Self { data, settings, layers, scaling, target, fit: Rows { x: Vec::new(), y: Vec::new() } };
        problem.fit = problem.rows(&data.fit);
        Ok(problem)
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> usize {
        self.layers.parameters()
    }

    /// The objective at some parameters; its gradient replaces what `gradient` holds.
    ///
    /// # Shapes
    /// Both are `[parameters]`: per layer the weights, row-major `[outputs, inputs]`, then the biases.
    pub fn value_and_gradient(&self, parameters: &[f64], gradient: &mut [f64]) -> f64 {
        let Settings { loss, epsilon, weight_decay, .. } = *self.settings;
        let mut value = weight_decay * parameters.iter().map(|w| w * w).sum::<f64>();
        gradient.iter_mut().zip(parameters).for_each(|(slope, w)| *slope = 2.0 * weight_decay * w);
        let layers = self.layers.split(parameters);
        let mut trace = self.layers.trace();
        let mut by_output = vec![0.0; trace.outputs().len()];
        for (x, y) in self.fit.x.iter().zip(&self.fit.y) {
            self.layers.forward(&layers, epsilon, x, &mut trace);
            value += loss.term(trace.outputs(), *y, &mut by_output);
            self.layers.backward(&layers, epsilon, &by_output, &mut trace, gradient);
        }
        value
    }

    /// `|output - y| / |y|` on each of some rows, in raw units, for a number.
    pub fn relative_errors(&self, parameters: &[f64], relu: Relu, part: &Part) -> Vec<f64> {
        let rows = self.rows(part);
        let outputs = self.outputs_at(parameters, relu, &rows.x);
        outputs.iter().zip(&rows.y).map(|(output, y)| ((output[0] - y) / y).abs()).collect()
    }

    /// The score on some rows.
    pub fn score(&self, parameters: &[f64], relu: Relu, part: &Part) -> Score {
        if !self.settings.loss.of_classes() {
            return Score::of_errors(self.relative_errors(parameters, relu, part));
        }
        let rows = self.rows(part);
        Score::accuracy(&self.outputs_at(parameters, relu, &rows.x), &rows.y)
    }

    /// Whether the smooth network says (nearly) the same of all fitting rows: one class for everybody, or outputs that differ
    /// by less than a hundredth of what the targets do. There the outputs are dead and the objective is flat.
    pub fn is_plateau(&self, parameters: &[f64]) -> bool {
        let outputs = self.outputs_at(parameters, Relu::Smooth, &self.fit.x);
        if self.settings.loss.of_classes() {
            return outputs.iter().all(|output| largest(output) == largest(&outputs[0]));
        }
        spread(outputs.iter().map(|output| output[0])) < 0.01 * spread(self.fit.y.iter().copied())
    }

    /// The network with exact ReLU, on inputs from 0 to 1 and for a number with an output in the target's scaled units: what
    /// the programme does to inputs and target before and after is folded into the first and the last layer.
    ///
    /// # Errors
    /// If a weight is too large for an `f32`.
    pub fn network(&self, parameters: &[f64]) -> Result<Network> {
        let layers = self.layers.split(parameters);
        let last = layers.len() - 1;
        let folded = self.layers.sizes().zip(layers).enumerate().map(|(k, ((inputs, _), layer))| {
            let (mut weights, mut biases) = (layer.weights.to_vec(), layer.biases.to_vec());
            if k == 0 {
                self.fold_inputs(&mut weights, &mut biases);
            }
            if k == last && !self.settings.loss.of_classes() {
                weights.iter_mut().for_each(|w| *w /= width(self.target));
                biases.iter_mut().for_each(|b| *b = (*b - self.target.lower) / width(self.target));
            }
            let rounded = |numbers: Vec<f64>| numbers.into_iter().map(|w| w as f32).collect();
            Affine::new(inputs, rounded(weights), rounded(biases))
        });
        let relu_output = self.layers.output() == OutputActivation::Relu;
        let layers = folded.collect::<certificate::Result<_>>();
        let network = layers.and_then(|layers| Network::from_layers(layers, relu_output));
        network.map_err(|error| Error::Smooth(format!("the network cannot be stored: {error}")))
    }

    /// `W (a x + c) + b` as `(W a) x + (b + W c)`.
    fn fold_inputs(&self, weights: &mut [f64], biases: &mut [f64]) {
        for (row, bias) in weights.chunks_exact_mut(self.scaling.len()).zip(biases) {
            for (w, (factor, shift)) in row.iter_mut().zip(&self.scaling) {
                *bias += *w * shift;
                *w *= factor;
            }
        }
    }

    /// The outputs of the smooth network on the fitting rows, as targets for tests.
    #[cfg(test)]
    pub(super) fn fitted(&self, parameters: &[f64]) -> Vec<f64> {
        self.outputs_at(parameters, Relu::Smooth, &self.fit.x).concat()
    }

    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }

    pub(super) fn settings(&self) -> &Settings {
        self.settings
    }

    pub(super) fn data(&self) -> &DataSet {
        self.data
    }

    fn outputs_at(&self, parameters: &[f64], relu: Relu, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let epsilon = if relu == Relu::Smooth { self.settings.epsilon } else { 0.0 };
        let layers = self.layers.split(parameters);
        let mut trace = self.layers.trace();
        let at = |x: &Vec<f64>| {
            self.layers.forward(&layers, epsilon, x, &mut trace);
            trace.outputs().to_vec()
        };
        x.iter().map(at).collect()
    }

    fn rows(&self, part: &Part) -> Rows {
        let scaled = |x: &[f32]| {
            let pairs = x.iter().zip(&self.scaling);
            pairs.map(|(x, (factor, shift))| f64::from(*x) * factor + shift).collect()
        };
        let raw = |y: &f32| self.target.lower + f64::from(*y) * width(self.target);
        Rows { x: part.x.chunks_exact(self.scaling.len()).map(scaled).collect(), y: part.y.iter().map(raw).collect() }
    }
}

impl Score {
    fn accuracy(outputs: &[Vec<f64>], y: &[f64]) -> Self {
        let right = outputs.iter().zip(y).filter(|(output, y)| {
            let class = **y as usize;
            output.iter().enumerate().all(|(k, other)| k == class || *other < output[class])
        });
        Self::Accuracy(right.count() as f64 / y.len() as f64)
    }

    fn of_errors(mut errors: Vec<f64>) -> Self {
        errors.sort_unstable_by(f64::total_cmp);
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        Self::RelativeError { mean, median: errors[errors.len() / 2], largest: errors[errors.len() - 1] }
    }
}

/// The number of the largest output, the first of equals.
fn largest(outputs: &[f64]) -> usize {
    (1..outputs.len()).fold(0, |best, k| if outputs[k] > outputs[best] { k } else { best })
}

/// From the smallest to the largest.
fn spread(values: impl Iterator<Item = f64>) -> f64 {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    high - low
}

fn width(range: Interval) -> f64 {
    range.upper - range.lower
}

/// Factor and shift that give each input mean 0 and standard deviation 1. One that is constant only gets the mean.
fn standardising(part: &Part, inputs: usize) -> Vec<(f64, f64)> {
    let of_column = |j: usize| {
        let column = || part.x.iter().skip(j).step_by(inputs).map(|x| f64::from(*x));
        let mean = column().sum::<f64>() / part.len() as f64;
        let deviation = (column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / part.len() as f64).sqrt();
        let factor = if deviation > 0.0 { 1.0 / deviation } else { 1.0 };
        (factor, -mean * factor)
    };
    (0..inputs).map(of_column).collect()
}

fn check(shape: &Shape, settings: &Settings) -> std::result::Result<(), String> {
    let Settings { epsilon, weight_decay, starts, iterations, .. } = *settings;
    if shape.hidden.is_empty() || shape.hidden.contains(&0) {
        return Err(format!("hidden must list one width or more, each at least 1, found {:?}", shape.hidden));
    }
    if !(epsilon.is_finite() && epsilon > 0.0) {
        return Err(format!("epsilon must be a finite number above 0, found {epsilon}: with 0 nothing is smooth"));
    }
    if !(weight_decay.is_finite() && weight_decay >= 0.0) {
        return Err(format!("weight_decay must be a finite number, 0 or more, found {weight_decay}"));
    }
    if starts == 0 || iterations == 0 {
        return Err(format!("starts and iterations must be at least 1, found {starts} and {iterations}"));
    }
    Ok(())
}

/// The raw values that the targets 0 and 1 stand for.
fn target(data: &DataSet, shape: &Shape, settings: &Settings) -> std::result::Result<Interval, String> {
    match (data.task, settings.loss.of_classes()) {
        (Task::Binary, true) => Ok(Interval::new(0.0, 1.0)),
        (Task::Binary, false) => {
            Err("loss = \"least_squares\" is for a number, and the target is a class: take \"expected_correct\" or \
                 \"cross_entropy\""
                .into())
        }
        (Task::Regression { .. }, true) => {
            Err("this loss is for classes, and the target is a number: take loss = \"least_squares\"".into())
        }
        (Task::Regression { range }, false) => {
            if shape.output == OutputActivation::Relu && range.lower != 0.0 {
                return Err(format!(
                    "output = \"relu\" gives numbers from 0, and the target's range begins at {}: declare it from 0 in the \
                     manifest, or take output = \"linear\"",
                    range.lower
                ));
            }
            let parts = [&data.fit, &data.validation, &data.test];
            let zero = |y: &&f32| range.lower + f64::from(**y) * width(range) == 0.0;
            match parts.iter().flat_map(|part| &part.y).find(zero) {
                Some(_) => Err("a target is 0, where no error is a relative one: scores cannot be given".into()),
                None => Ok(range),
            }
        }
    }
}
