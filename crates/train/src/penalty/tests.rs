//! The penalty's gradient against two independent ways: autodiff nested in autodiff, and central differences in `f64`.

use burn_autodiff::Autodiff;
use burn_backend::ops::{ActivationOps, FloatTensorOps};
use burn_backend::{AutodiffBackend, Slice, TensorData as Data};
use burn_flex::Flex;
use certificate::Activation;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Backend;
use crate::model::{LayerWeights, floats};

const ACTIVATIONS: [Activation; 5] =
    [Activation::Relu, Activation::Clamp, Activation::Tanh, Activation::Sigmoid, Activation::Softplus];

/// A block of numbers: the four parameter tensors, the points, and which inputs and outputs are monotone.
#[derive(Clone)]
struct Case {
    /// `W1 [d, h]`, `b1 [h]`, `W2 [h, o]`, `b2 [o]`, row-major.
    parameters: [Vec<f32>; 4],
    points: Vec<f32>,
    inputs: Vec<Direction>,
    hidden: usize,
    outputs: usize,
}

const SAMPLES: usize = 40;

impl Case {
    fn random(rng: &mut ChaCha8Rng, d: usize, h: usize, o: usize) -> Self {
        let mut draw = |n: usize, scale: f32| (0..n).map(|_| scale * (rng.random::<f32>() - 0.5)).collect::<Vec<_>>();
        let parameters = [draw(d * h, 2.0), draw(h, 1.0), draw(h * o, 2.0), draw(o, 1.0)];
        let points = draw(SAMPLES * d, 1.0).iter().map(|x| x + 0.5).collect();
        let directions = [Direction::Increasing, Direction::Decreasing, Direction::Free];
        Self { parameters, points, inputs: (0..d).map(|j| directions[j % 3]).collect(), hidden: h, outputs: o }
    }

    fn shapes(&self) -> [Vec<usize>; 4] {
        let (d, h, o) = (self.inputs.len(), self.hidden, self.outputs);
        [vec![d, h], vec![h], vec![h, o], vec![o]]
    }

    fn monotone(&self) -> impl Iterator<Item = (usize, f64)> {
        self.inputs.iter().enumerate().filter(|(_, d)| **d != Direction::Free).map(|(l, d)| (l, d.sign()))
    }
}

fn cases(blocks: usize, seed: u64) -> Vec<Case> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    [(5, 7, 3), (3, 6, 1), (4, 9, 2)][..blocks].iter().map(|&(d, h, o)| Case::random(&mut rng, d, h, o)).collect()
}

/// The penalty of this crate and its gradient in every parameter tensor of every block.
fn penalty_and_gradients(
    penalty: &GradientPenalty,
    activation: Activation,
    cases: &[Case],
    backend: Backend,
) -> (f64, Vec<[Option<Vec<f32>>; 4]>) {
    let device = backend.device().unwrap();
    let blocks: Vec<BlockWeights> = cases
        .iter()
        .map(|case| {
            let shapes = case.shapes();
            let matrix = |k: usize| {
                let data = TensorData::new(case.parameters[k].clone(), shapes[k].clone());
                Tensor::<2>::from_data(data, &device).require_grad()
            };
            let vector = |k: usize| {
                let data = TensorData::new(case.parameters[k].clone(), shapes[k].clone());
                Tensor::<1>::from_data(data, &device).require_grad()
            };
            BlockWeights {
                first: LayerWeights { weight: matrix(0), bias: vector(1) },
                activation,
                second: LayerWeights { weight: matrix(2), bias: vector(3) },
                monotone_hidden: case.hidden,
            }
        })
        .collect();
    let of_blocks = blocks.iter().zip(cases).map(|(block, case)| {
        let points = TensorData::new(case.points.clone(), [SAMPLES, case.inputs.len()]);
        penalty.of_block(block, Tensor::from_data(points, &device), &case.inputs, case.outputs)
    });
    let value = penalty.pool_blocks(of_blocks.collect());
    assert!(value.is_tracked());
    let gradients = value.backward();
    let per_block = blocks.iter().map(|block| {
        [
            block.first.weight.grad(&gradients).map(floats),
            block.first.bias.grad(&gradients).map(floats),
            block.second.weight.grad(&gradients).map(floats),
            block.second.bias.grad(&gradients).map(floats),
        ]
    });
    (f64::from(value.clone().into_scalar::<f32>()), per_block.collect())
}

/// The penalty in plain `f64`, with the derivative of the block written out.
fn penalty_f64(penalty: &GradientPenalty, activation: Activation, cases: &[Case], parameters: &[[Vec<f64>; 4]]) -> f64 {
    let slope = |t: f64| match activation {
        Activation::Relu => f64::from(t > 0.0),
        Activation::Clamp => f64::from(t > 0.0 && t < 1.0),
        Activation::Tanh => 1.0 - t.tanh().powi(2),
        Activation::Sigmoid => (-t).exp() / (1.0 + (-t).exp()).powi(2),
        Activation::Softplus => 1.0 / (1.0 + (-t).exp()),
    };
    let (mut mean, mut max) = (0.0, 0.0_f64);
    for (case, [w1, b1, w2, _]) in cases.iter().zip(parameters) {
        let (d, h, o) = (case.inputs.len(), case.hidden, case.outputs);
        for x in case.points.chunks(d) {
            let t = |i: usize| b1[i] + (0..d).map(|j| f64::from(x[j]) * w1[j * h + i]).sum::<f64>();
            let slopes: Vec<f64> = (0..h).map(|i| slope(t(i))).collect();
            for (l, sign) in case.monotone() {
                for k in 0..o {
                    let derivative: f64 = (0..h).map(|i| w1[l * h + i] * slopes[i] * w2[i * o + k]).sum();
                    let shortfall = (penalty.margin - sign * derivative).max(0.0).powi(2);
                    mean += shortfall / SAMPLES as f64;
                    max = max.max(shortfall);
                }
            }
        }
    }
    match penalty.pooling {
        Pooling::Mean => mean,
        Pooling::Max => max,
    }
}

/// Central differences of [`penalty_f64`].
fn gradients_f64(penalty: &GradientPenalty, activation: Activation, cases: &[Case]) -> Vec<[Vec<f64>; 4]> {
    let wide = |p: &[Vec<f32>; 4]| p.clone().map(|v| v.into_iter().map(f64::from).collect::<Vec<_>>());
    let mut parameters: Vec<[Vec<f64>; 4]> = cases.iter().map(|case| wide(&case.parameters)).collect();
    let mut gradients = parameters.clone();
    let step = 1e-6;
    for block in 0..cases.len() {
        for k in 0..4 {
            for entry in 0..parameters[block][k].len() {
                let at = parameters[block][k][entry];
                let mut moved = |to: f64| {
                    parameters[block][k][entry] = to;
                    penalty_f64(penalty, activation, cases, &parameters)
                };
                let difference = moved(at + step) - moved(at - step);
                moved(at);
                gradients[block][k][entry] = difference / (2.0 * step);
            }
        }
    }
    gradients
}

type A1 = Autodiff<Flex>;
type A2 = Autodiff<A1>;

/// The gradients by differentiating a differentiated network: the outer autodiff gives the input derivative, the inner
/// one differentiates the penalty made of it.
fn gradients_nested(penalty: &GradientPenalty, activation: Activation, cases: &[Case]) -> Vec<[Option<Vec<f32>>; 4]> {
    type T1 = burn_backend::tensor::FloatTensor<A1>;
    type T2 = burn_backend::tensor::FloatTensor<A2>;
    let activate = |t: T2| -> T2 {
        match activation {
            Activation::Relu => A2::relu(t),
            Activation::Clamp => A2::float_clamp(t, 0.0.into(), 1.0.into()),
            Activation::Tanh => A2::float_tanh(t),
            Activation::Sigmoid => A2::sigmoid(t),
            Activation::Softplus => A2::float_log1p(A2::float_exp(t)),
        }
    };
    let device = Default::default();
    let leaf = |data: &[f32], shape: &[usize]| -> T1 {
        A1::float_set_require_grad(A1::float_from_data(Data::new(data.to_vec(), shape.to_vec()), &device), true)
    };
    let mut leaves = Vec::new();
    let mut shortfalls: Vec<T1> = Vec::new();
    for case in cases {
        let (d, h, o) = (case.inputs.len(), case.hidden, case.outputs);
        let shapes = [[d, h], [1, h], [h, o], [1, o]];
        let own: Vec<T1> = (0..4).map(|k| leaf(&case.parameters[k], &shapes[k])).collect();
        for k in 0..o {
            let lift = |k: usize| A2::from_inner(own[k].clone());
            let points = A1::float_from_data(Data::new(case.points.clone(), [SAMPLES, d]), &device);
            let x = A2::float_set_require_grad(A2::from_inner(points), true);
            let hidden = activate(A2::float_add(A2::float_matmul(x.clone(), lift(0)), lift(1)));
            let y = A2::float_add(A2::float_matmul(hidden, lift(2)), lift(3));
            let column = A2::float_slice(y, &[Slice::from(0..SAMPLES), Slice::from(k..k + 1)]);
            let gradients = A2::backward(A2::float_sum(column));
            let derivative: T1 = A2::grad(&x, &gradients).expect("the input is tracked");
            for (l, sign) in case.monotone() {
                let slope = A1::float_slice(derivative.clone(), &[Slice::from(0..SAMPLES), Slice::from(l..l + 1)]);
                let gap = A1::float_add_scalar(A1::float_mul_scalar(slope, (-sign).into()), penalty.margin.into());
                let hinge = A1::relu(gap);
                shortfalls.push(A1::float_mul(hinge.clone(), hinge));
            }
        }
        leaves.push(own);
    }
    let all = A1::float_cat(shortfalls, 0);
    let value = match penalty.pooling {
        Pooling::Mean => A1::float_mul_scalar(A1::float_sum(all), (1.0 / SAMPLES as f64).into()),
        Pooling::Max => A1::float_max(all),
    };
    let gradients = A1::backward(value);
    let numbers = |t: &T1| {
        let gradient = A1::grad(t, &gradients)?;
        let data = burn_backend::read_sync(Flex::float_into_data(gradient)).expect("the CPU gives its data");
        Some(data.try_into_vec().expect("tensors hold f32"))
    };
    leaves.iter().map(|own| [0, 1, 2, 3].map(|k| numbers(&own[k]))).collect()
}

/// Relative error of a whole tensor, in the Euclidean norm; a missing gradient is zero.
fn relative_error(found: &Option<Vec<f32>>, expected: &[f64]) -> f64 {
    let zeros = vec![0.0; expected.len()];
    let found = found.as_ref().unwrap_or(&zeros);
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(expected).map(|(a, b)| f64::from(*a) - b));
    let scale = norm(&mut expected.iter().copied());
    if scale < 1e-9 { difference } else { difference / scale }
}

#[test]
fn the_gradient_equals_nested_autodiff_and_finite_differences() {
    for activation in ACTIVATIONS {
        for pooling in [Pooling::Mean, Pooling::Max] {
            for blocks in [1, 3] {
                let penalty = GradientPenalty { margin: 0.2, pooling };
                let cases = cases(blocks, 11);
                let (value, found) = penalty_and_gradients(&penalty, activation, &cases, Backend::Cpu);
                let nested = gradients_nested(&penalty, activation, &cases);
                let differences = gradients_f64(&penalty, activation, &cases);
                let wide = |p: &[Vec<f32>; 4]| p.clone().map(|v| v.into_iter().map(f64::from).collect::<Vec<_>>());
                let parameters: Vec<_> = cases.iter().map(|c| wide(&c.parameters)).collect();
                let exact = penalty_f64(&penalty, activation, &cases, &parameters);
                assert!((value - exact).abs() < 1e-5 * exact, "{activation:?} {pooling:?}: {value} {exact}");
                for (b, (found, (nested, differences))) in found.iter().zip(nested.iter().zip(&differences)).enumerate()
                {
                    for k in 0..4 {
                        let at = format!("{activation:?} {pooling:?} block {b} tensor {k}");
                        let error = relative_error(&found[k], &differences[k]);
                        assert!(error < 1e-4, "{at}: {error} against finite differences");
                        let nested = nested[k].clone().unwrap_or(vec![0.0; differences[k].len()]);
                        let nested: Vec<f64> = nested.into_iter().map(f64::from).collect();
                        let error = relative_error(&found[k], &nested);
                        assert!(error < 1e-4, "{at}: {error} against nested autodiff");
                    }
                }
            }
        }
    }
}

/// `b2` moves no derivative, and `b1` none of a piecewise linear block: their gradients are absent or zero, everything
/// else is not. Guards against a penalty whose graph was silently cut.
#[test]
fn every_parameter_that_matters_has_a_gradient() {
    let penalty = GradientPenalty { margin: 0.2, pooling: Pooling::Mean };
    let (_, relu) = penalty_and_gradients(&penalty, Activation::Relu, &cases(1, 3), Backend::Cpu);
    let (_, tanh) = penalty_and_gradients(&penalty, Activation::Tanh, &cases(1, 3), Backend::Cpu);
    let moves = |g: &Option<Vec<f32>>| g.as_ref().is_some_and(|v| v.iter().any(|x| *x != 0.0));
    assert_eq!([0, 1, 2, 3].map(|k| moves(&relu[0][k])), [true, false, true, false]);
    assert_eq!([0, 1, 2, 3].map(|k| moves(&tanh[0][k])), [true, true, true, false]);
}

#[test]
fn the_backends_agree() {
    let penalty = GradientPenalty { margin: 0.2, pooling: Pooling::Mean };
    let cases = cases(2, 5);
    let (a, of_a) = penalty_and_gradients(&penalty, Activation::Relu, &cases, Backend::Cpu);
    let (b, of_b) = penalty_and_gradients(&penalty, Activation::Relu, &cases, Backend::Ndarray);
    assert!((a - b).abs() < 1e-5 * a);
    for (a, b) in of_a.iter().flatten().zip(of_b.iter().flatten()) {
        let wide = |v: &Option<Vec<f32>>| v.iter().flatten().map(|x| f64::from(*x)).collect::<Vec<_>>();
        assert!(relative_error(a, &wide(b)) < 1e-5);
    }
}
