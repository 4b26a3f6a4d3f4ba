//! Forward-mode derivatives as ordinary tensor operations.
//!
//! A [`Dual`] carries a value and its derivatives along a few input directions through a network. Because every step
//! is an ordinary Burn operation, one reverse pass through the result differentiates the derivatives once more, with
//! respect to the weights: exact second-order gradients without nested autodiff. A layer takes part as soon as it has
//! a rule here.

use burn::tensor::{Tensor, activation};
use certificate::Activation;

/// Derivatives of an intermediate value along `m` input directions, in the cheapest form that still holds them all.
///
/// Shapes: `n` samples, `c` channels.
// One or two exist at a time; boxing tensors, which are handles, would gain nothing.
#[allow(clippy::large_enum_variant)]
pub enum Tangent {
    /// `[m, c]`: the same at every sample, as long as only affine layers were passed.
    Uniform(Tensor<2>),
    /// `gate[n, c] * directions[m, c]`: after the first activation. The next affine layer contracts it with one matrix
    /// product instead of `m`.
    Gated {
        /// Derivative of the activation, `[n, c]`.
        gate: Tensor<2>,
        /// Derivatives before the activation, `[m, c]`.
        directions: Tensor<2>,
    },
    /// `[n, m, c]`: the general case.
    PerSample(Tensor<3>),
}

impl Tangent {
    /// Passes an affine layer with weights `[c, outputs]`; a bias has no derivative.
    pub fn affine(self, weight: Tensor<2>) -> Self {
        let [channels, outputs] = weight.dims();
        match self {
            Self::Uniform(directions) => Self::Uniform(directions.matmul(weight)),
            Self::Gated { gate, directions } => {
                let [samples, _] = gate.dims();
                let [m, _] = directions.dims();
                // [c, m, 1] * [c, 1, outputs]: what each channel passes on while its gate is 1.
                let paths = directions.transpose().unsqueeze_dim::<3>(2) * weight.unsqueeze_dim::<3>(1);
                let product = gate.matmul(paths.reshape([channels, m * outputs]));
                Self::PerSample(product.reshape([samples, m, outputs]))
            }
            Self::PerSample(tangent) => {
                let [samples, m, _] = tangent.dims();
                let product = tangent.reshape([samples * m, channels]).matmul(weight);
                Self::PerSample(product.reshape([samples, m, outputs]))
            }
        }
    }

    /// Passes an activation whose derivative at the samples is `gate`, `[n, c]`.
    pub fn gate(self, gate: Tensor<2>) -> Self {
        match self {
            Self::Uniform(directions) => Self::Gated { gate, directions },
            Self::Gated { gate: before, directions } => Self::Gated { gate: gate * before, directions },
            Self::PerSample(tangent) => Self::PerSample(tangent * gate.unsqueeze_dim::<3>(1)),
        }
    }

    /// The derivatives at every one of `samples` samples, `[n, m, c]`.
    pub fn per_sample(self, samples: usize) -> Tensor<3> {
        match self {
            Self::Uniform(directions) => directions.unsqueeze_dim::<3>(0).repeat_dim(0, samples),
            Self::Gated { gate, directions } => gate.unsqueeze_dim::<3>(1) * directions.unsqueeze_dim::<3>(0),
            Self::PerSample(tangent) => tangent,
        }
    }
}

/// A value `[n, c]` and its derivatives.
pub struct Dual {
    /// The value, `[n, c]`.
    pub value: Tensor<2>,
    /// Its derivatives along the chosen directions.
    pub tangent: Tangent,
}

impl Dual {
    /// The inputs `x` `[n, d]` and the directions `[m, d]` along which to differentiate.
    pub fn input(x: Tensor<2>, directions: Tensor<2>) -> Self {
        Self { value: x, tangent: Tangent::Uniform(directions) }
    }

    /// `x W + b` with `weight` `[c, outputs]`, `bias` `[outputs]`.
    pub fn affine(self, weight: Tensor<2>, bias: Tensor<1>) -> Self {
        let value = self.value.matmul(weight.clone()) + bias.unsqueeze();
        Self { value, tangent: self.tangent.affine(weight) }
    }

    /// An activation, entry by entry.
    pub fn activate(self, function: Activation) -> Self {
        let gate = derivative(function, self.value.clone());
        Self { value: activate(function, self.value), tangent: self.tangent.gate(gate) }
    }
}

/// The activation of a pre-activation.
pub fn activate<const D: usize>(function: Activation, t: Tensor<D>) -> Tensor<D> {
    match function {
        Activation::Relu => activation::relu(t),
        Activation::Clamp => t.clamp(0.0, 1.0),
        Activation::Tanh => t.tanh(),
        Activation::Sigmoid => activation::sigmoid(t),
        // ln(1 + exp t) = max(0, t) + ln(1 + exp(-|t|)) does not overflow.
        Activation::Softplus => activation::relu(t.clone()) + t.abs().neg().exp().log1p(),
    }
}

/// The derivative of an activation at a pre-activation.
///
/// Piecewise linear functions have a derivative that is constant almost everywhere, so theirs carries no graph; the
/// smooth ones are written with the graph, which is what makes the penalty's gradient second order.
fn derivative<const D: usize>(function: Activation, t: Tensor<D>) -> Tensor<D> {
    match function {
        Activation::Relu => t.inner().greater_elem(0.0).float(),
        Activation::Clamp => {
            let t = t.inner();
            t.clone().greater_elem(0.0).float() * t.lower_elem(1.0).float()
        }
        Activation::Tanh => t.tanh().square().neg() + 1.0,
        Activation::Sigmoid => {
            let s = activation::sigmoid(t);
            s.clone() * (s.neg() + 1.0)
        }
        Activation::Softplus => activation::sigmoid(t),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// The three forms of a tangent are one derivative: through three layers, against central differences.
    #[test]
    fn a_deep_chain_of_rules_gives_the_derivative() {
        let device = Device::flex();
        let tensor = |rows: usize, columns: usize, shift: f32| {
            let entry = |k: usize| ((k as f32 * 0.37 + shift).sin()) * 0.9;
            Tensor::<2>::from_data(
                TensorData::new((0..rows * columns).map(entry).collect::<Vec<_>>(), [rows, columns]),
                &device,
            )
        };
        let layers = [(3, 5), (5, 4), (4, 2)].map(|(i, o)| (tensor(i, o, i as f32), tensor(1, o, 0.5).squeeze_dim(0)));
        for function in
            [Activation::Relu, Activation::Clamp, Activation::Tanh, Activation::Sigmoid, Activation::Softplus]
        {
            let [first, second, third] = layers.clone();
            let network = |x: Tensor<2>| {
                let dual = Dual::input(x, Tensor::eye(3, &device)).affine(first.0.clone(), first.1.clone());
                let dual = dual.activate(function).affine(second.0.clone(), second.1.clone());
                dual.activate(function).affine(third.0.clone(), third.1.clone())
            };
            let x = tensor(6, 3, 2.0);
            let found = network(x.clone()).tangent.per_sample(6);
            for l in 0..3 {
                let step = Tensor::<2>::eye(3, &device).slice([l..l + 1, 0..3]) * 2e-3;
                let (up, down) = (network(x.clone() + step.clone()).value, network(x.clone() - step).value);
                let expected = (up - down) / 4e-3;
                let found = found.clone().slice([0..6, l..l + 1, 0..2]).squeeze_dim::<2>(1);
                let gaps = crate::model::floats((found - expected).abs());
                // A kink within the step spoils a difference, which the smooth rules do not have.
                let spoiled = gaps.iter().filter(|gap| **gap > 2e-3).count();
                let kinked = matches!(function, Activation::Relu | Activation::Clamp);
                assert!(spoiled <= if kinked { 2 } else { 0 }, "{function:?} input {l}: {gaps:?}");
            }
        }
    }
}
