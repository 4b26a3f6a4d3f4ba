use serde::{Deserialize, Serialize};

/// The shape of a dense network between inputs and outputs that the data fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Width of each hidden layer, first to last.
    pub hidden: Vec<usize>,
    /// What follows the last layer.
    #[serde(default)]
    pub output: OutputActivation,
}

/// What follows the last layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputActivation {
    /// The activation of the hidden layers, as in the thesis.
    #[default]
    Relu,
    /// Nothing.
    Linear,
}

/// The hyperbolic form of ReLU, `h(t) = (t + sqrt(t^2 + epsilon)) / 2` (thesis, 3.10 to 3.12).
///
/// It is above `max(0, t)` by at most `sqrt(epsilon) / 2`, which it reaches at 0; with `epsilon = 0` it is `max(0, t)`.
fn hyperbolic(t: f64, epsilon: f64) -> f64 {
    let root = (t * t + epsilon).sqrt();
    // For t < 0 the sum above loses its digits to cancellation; this is the same number.
    if t < 0.0 { epsilon / (2.0 * (root - t)) } else { (t + root) / 2.0 }
}

/// `h'(t) = h(t) / sqrt(t^2 + epsilon)`.
fn hyperbolic_slope(t: f64, epsilon: f64) -> f64 {
    hyperbolic(t, epsilon) / (t * t + epsilon).sqrt()
}

/// Dense layers whose parameters stand in one row: per layer the weights, row-major `[outputs, inputs]`, then the biases.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    widths: Vec<usize>,
    output: OutputActivation,
}

/// The parameters of one layer.
pub(super) struct Layer<'a> {
    /// Row-major `[outputs, inputs]`.
    pub weights: &'a [f64],
    /// `[outputs]`
    pub biases: &'a [f64],
}

/// What a forward pass leaves for the backward pass, per layer.
pub(super) struct Trace {
    /// The input first, then the activations of each layer.
    activations: Vec<Vec<f64>>,
    pre_activations: Vec<Vec<f64>>,
    /// Derivatives of the loss by the pre-activations.
    deltas: Vec<Vec<f64>>,
}

impl Trace {
    pub fn outputs(&self) -> &[f64] {
        self.activations.last().expect("the input at least")
    }
}

impl Layers {
    pub fn new(inputs: usize, shape: &Shape, outputs: usize) -> Self {
        let widths = [&[inputs][..], &shape.hidden, &[outputs]].concat();
        Self { widths, output: shape.output }
    }

    /// Number of inputs and outputs of each layer.
    pub fn sizes(&self) -> impl DoubleEndedIterator<Item = (usize, usize)> + ExactSizeIterator {
        self.widths.windows(2).map(|pair| (pair[0], pair[1]))
    }

    /// What follows the last layer.
    pub fn output(&self) -> OutputActivation {
        self.output
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> usize {
        self.sizes().map(|(inputs, outputs)| (inputs + 1) * outputs).sum()
    }

    /// Cuts the row of parameters into layers.
    pub fn split<'a>(&self, mut parameters: &'a [f64]) -> Vec<Layer<'a>> {
        let mut take = |n: usize| {
            let (taken, rest) = parameters.split_at(n);
            parameters = rest;
            taken
        };
        self.sizes().map(|(inputs, outputs)| Layer { weights: take(inputs * outputs), biases: take(outputs) }).collect()
    }

    pub fn trace(&self) -> Trace {
        let zeros = |widths: &[usize]| widths.iter().map(|n| vec![0.0; *n]).collect::<Vec<_>>();
        let layers = &self.widths[1..];
        Trace { activations: zeros(&self.widths), pre_activations: zeros(layers), deltas: zeros(layers) }
    }

    /// Carries one input through the layers, with the hyperbolic form of ReLU.
    pub fn forward(&self, layers: &[Layer], epsilon: f64, x: &[f64], trace: &mut Trace) {
        trace.activations[0].copy_from_slice(x);
        for (k, layer) in layers.iter().enumerate() {
            let (before, after) = trace.activations.split_at_mut(k + 1);
            let rows = layer.weights.chunks_exact(self.widths[k]).zip(layer.biases);
            for (i, (row, bias)) in rows.enumerate() {
                let t = bias + row.iter().zip(&before[k]).map(|(w, x)| w * x).sum::<f64>();
                trace.pre_activations[k][i] = t;
                after[0][i] = if self.is_linear(k) { t } else { hyperbolic(t, epsilon) };
            }
        }
    }

    /// Adds the derivatives by all parameters to `gradient`, from those by the outputs at the point of the last forward pass.
    pub fn backward(&self, layers: &[Layer], epsilon: f64, by_output: &[f64], trace: &mut Trace, gradient: &mut [f64]) {
        let Trace { activations, pre_activations, deltas } = trace;
        deltas[layers.len() - 1].copy_from_slice(by_output);
        let mut end = gradient.len();
        for (k, layer) in layers.iter().enumerate().rev() {
            let (before, here) = deltas.split_at_mut(k);
            if !self.is_linear(k) {
                let slopes = pre_activations[k].iter().map(|t| hyperbolic_slope(*t, epsilon));
                here[0].iter_mut().zip(slopes).for_each(|(delta, slope)| *delta *= slope);
            }
            let start = end - layer.weights.len() - layer.biases.len();
            let (by_weight, by_bias) = gradient[start..end].split_at_mut(layer.weights.len());
            end = start;
            let x = &activations[k];
            for ((row, bias), delta) in by_weight.chunks_exact_mut(x.len()).zip(by_bias).zip(&here[0]) {
                *bias += delta;
                row.iter_mut().zip(x).for_each(|(w, x)| *w += delta * x);
            }
            if let Some(by_input) = before.last_mut() {
                by_input.fill(0.0);
                for (row, delta) in layer.weights.chunks_exact(x.len()).zip(&here[0]) {
                    by_input.iter_mut().zip(row).for_each(|(sum, w)| *sum += delta * w);
                }
            }
        }
    }

    fn is_linear(&self, k: usize) -> bool {
        k + 2 == self.widths.len() && self.output == OutputActivation::Linear
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hyperbolic_form_is_above_relu_by_at_most_its_bound() {
        for epsilon in [1e-3, 1e-6, 0.5] {
            for k in -4000..=4000 {
                let t = f64::from(k) / 100.0;
                let above = hyperbolic(t, epsilon) - t.max(0.0);
                assert!(above > 0.0 && above <= epsilon.sqrt() / 2.0 + 1e-15, "{t}: {above}");
            }
            assert!((hyperbolic(0.0, epsilon) - epsilon.sqrt() / 2.0).abs() < 1e-15);
        }
        assert_eq!([-3.0, -0.0, 0.0, 0.1, 2.0].map(|t| hyperbolic(t, 0.0)), [0.0, 0.0, 0.0, 0.1, 2.0]);
    }

    /// Far on the inactive side the printed formula has three digits left; this form has them all.
    #[test]
    fn the_inactive_side_keeps_its_digits() {
        // h(-1e6) for epsilon = 1e-3 is epsilon / (4e6) up to a relative 1e-15.
        assert!((hyperbolic(-1e6, 1e-3) / 2.5e-10 - 1.0).abs() < 1e-12);
        assert!((hyperbolic_slope(-1e6, 1e-3) / 2.5e-16 - 1.0).abs() < 1e-12);
    }

    /// By hand: one hidden neuron, exact ReLU.
    #[test]
    fn one_neuron_by_hand() {
        let shape = Shape { hidden: vec![1], output: OutputActivation::Linear };
        let layers = Layers::new(2, &shape, 1);
        assert_eq!(layers.parameters(), 5);
        let mut trace = layers.trace();
        // 3 max(0, 2 x0 - x1 + 0.5) - 1
        let parameters = [2.0, -1.0, 0.5, 3.0, -1.0];
        layers.forward(&layers.split(&parameters), 0.0, &[1.0, 0.5], &mut trace);
        assert_eq!(trace.outputs(), [5.0]);
        layers.forward(&layers.split(&parameters), 0.0, &[0.0, 0.75], &mut trace);
        assert_eq!(trace.outputs(), [-1.0]);
        let relu = Layers::new(2, &Shape { output: OutputActivation::Relu, ..shape }, 1);
        relu.forward(&relu.split(&parameters), 0.0, &[0.0, 0.75], &mut trace);
        assert_eq!(trace.outputs(), [0.0]);
    }
}
