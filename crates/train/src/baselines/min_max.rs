//! The min-max network: planes in groups, the largest plane of each group, and of these the smallest.
//!
//! `f(x) = min_k max_j (w_kj . x + b_kj)` (Sill 1998). The weight of a monotone input is `exp(v)`, or `-exp(v)` for a decreasing
//! one, with a free parameter `v`, as there; the weights of the other inputs have no constraint, which makes the network partially
//! monotone (Daniels and Velikova 2010). Minimum and maximum are the hard ones, as in both papers and hence in what the paper
//! compares with: one plane answers for a row and alone gets the row's gradient, so planes that answer for no row stay where
//! they were drawn. (The soft ones of Igel 2024 are another method.) With enough planes it comes close to every continuous
//! function that is monotone in its monotone inputs.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{Constrained, ConstrainedTrainer};
use crate::data::{DataSet, Part};
use crate::model::{floats, matrix};
use crate::{Result, Stream, Training};

/// How many planes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Size {
    /// Number of groups.
    pub groups: usize,
    /// Number of planes in each group.
    pub planes: usize,
}

impl Default for Size {
    /// Ten groups of ten planes.
    fn default() -> Self {
        Self { groups: 10, planes: 10 }
    }
}

/// A min-max network in plain numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct MinMax {
    size: Size,
    inputs: usize,
    /// One row of `inputs` weights per plane, group after group.
    weights: Vec<f32>,
    biases: Vec<f32>,
}

impl MinMax {
    /// The output at a point, a logit or the scaled target, in `f64`. Monotone also as computed: of two points every rounded
    /// operation keeps the order.
    ///
    /// # Panics
    /// If `x` does not have one number per input.
    pub fn evaluate(&self, x: &[f64]) -> f64 {
        assert_eq!(x.len(), self.inputs);
        let plane = |(w, b): (&[f32], &f32)| w.iter().zip(x).fold(f64::from(*b), |sum, (w, x)| sum + f64::from(*w) * x);
        let values: Vec<f64> = self.weights.chunks(self.inputs).zip(&self.biases).map(plane).collect();
        let largest = |group: &[f64]| group.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        values.chunks(self.size.planes).map(largest).fold(f64::INFINITY, f64::min)
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> usize {
        self.weights.len() + self.biases.len()
    }
}

/// What Adam moves.
#[derive(Module, Debug)]
pub struct Planes {
    /// `[inputs, planes]`; for a monotone input the logarithm of the weight's size.
    weight: Param<Tensor<2>>,
    /// `[planes]`
    bias: Param<Tensor<1>>,
}

/// A min-max network with trainable parameters.
pub struct Trainable {
    planes: Planes,
    size: Size,
    /// `[inputs, 1]`: the sign of a monotone input's weights, 0 for a free one.
    signs: Tensor<2>,
}

/// A trainer of a min-max network. Weights, by their size, and biases begin uniform in `+-1/sqrt(inputs)`, as in the other networks.
///
/// # Errors
/// If the backend is not compiled in.
///
/// # Panics
/// If there is no group or no plane in a group.
pub fn trainer(size: Size, settings: Training, data: &DataSet) -> Result<ConstrainedTrainer<'_, Trainable>> {
    assert!(size.groups > 0 && size.planes > 0, "a min-max network needs planes");
    let device = settings.backend.device()?;
    let signs: Vec<f32> = data.features.iter().map(|feature| feature.direction.sign() as f32).collect();
    let (inputs, count) = (signs.len(), size.groups * size.planes);
    let mut rng = Stream::Initialisation.generator(settings.seed, settings.round, 0);
    let limit = 1.0 / (inputs as f32).sqrt();
    let mut draw = |sign: f32| match sign {
        0.0 => limit * (2.0 * rng.random::<f32>() - 1.0),
        // One minus a number below 1 has a logarithm.
        _ => (limit * (1.0 - rng.random::<f32>())).ln(),
    };
    let weight = signs.iter().flat_map(|sign| (0..count).map(|_| draw(*sign)).collect::<Vec<_>>()).collect();
    let bias: Vec<f32> = (0..count).map(|_| draw(0.0)).collect();
    let planes = Planes {
        weight: Param::from_tensor(matrix(weight, [inputs, count], &device)),
        bias: Param::from_tensor(Tensor::from_data(TensorData::new(bias, [count]), &device)),
    };
    let signs = matrix(signs, [inputs, 1], &device.clone().inner());
    Ok(ConstrainedTrainer::new(Trainable { planes, size, signs }, settings, data, device))
}

impl Trainable {
    /// The weights as they act, `[inputs, planes]`.
    fn weight(&self) -> Tensor<2> {
        let parameters = self.planes.weight.val();
        let signs = self.signs.clone();
        let constrained = signs.clone().abs();
        let free = constrained.clone().neg() + 1.0;
        // Free weights are kept from the exponential: infinity times 0 is no number.
        parameters.clone() * free + (parameters * constrained).exp() * signs
    }
}

impl Constrained for Trainable {
    type Parameters = Planes;
    type Network = MinMax;

    fn parameters(&mut self) -> &mut Planes {
        &mut self.planes
    }

    /// Nothing has to be done: every parameter is allowed.
    fn project(&mut self) {}

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [rows, _] = x.dims();
        let values = x.matmul(self.weight()) + self.planes.bias.val().unsqueeze();
        let groups = values.reshape([rows, self.size.groups, self.size.planes]);
        groups.max_dim(2).min_dim(1).reshape([rows, 1])
    }

    fn numbers(&self) -> Option<Vec<f32>> {
        let mut numbers = floats(self.weight().transpose());
        numbers.extend(floats(self.planes.bias.val()));
        numbers.iter().all(|w| w.is_finite()).then_some(numbers)
    }

    fn network(&self, numbers: &[f32]) -> Option<MinMax> {
        let [inputs, _] = self.signs.dims();
        let (weights, biases) = numbers.split_at(inputs * self.size.groups * self.size.planes);
        let finite = numbers.iter().all(|w| w.is_finite());
        finite.then(|| MinMax { size: self.size, inputs, weights: weights.to_vec(), biases: biases.to_vec() })
    }

    fn outputs(network: &MinMax, part: &Part) -> Vec<f64> {
        let row = |x: &[f32]| network.evaluate(&x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
        part.x.chunks(network.inputs).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use certificate::Direction;
    use proptest::prelude::*;

    use super::*;
    use crate::baselines::testing::{directions, example, training};

    const SIZE: Size = Size { groups: 3, planes: 4 };

    fn trained(directions: &[Direction], seed: u64, epochs: u32) -> (crate::Epoch, MinMax) {
        let data = example(directions);
        let settings = Training { seed, learning_rate: 0.05, ..training(epochs) };
        let mut trainer = trainer(SIZE, settings, &data).unwrap();
        while trainer.run_epoch().is_some() && !trainer.is_finished() {}
        trainer.best().unwrap().clone()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Without any tolerance, and far outside the data too.
        #[test]
        fn it_is_monotone_between_random_points(directions in directions(), seed in any::<u64>()) {
            let (_, network) = trained(&directions, seed, 2);
            let mut rng = Stream::Samples.generator(seed, 0, 0);
            for _ in 0..200 {
                let x: Vec<f64> = (0..5).map(|_| 20.0 * rng.random::<f64>() - 10.0).collect();
                let moved = |(x, d): (&f64, &Direction)| x + d.sign() * rng.random::<f64>().powi(4);
                let y: Vec<f64> = x.iter().zip(&directions).map(moved).collect();
                prop_assert!(network.evaluate(&y) >= network.evaluate(&x), "{:?} {:?}", x, y);
            }
        }
    }

    const DIRECTIONS: [Direction; 5] =
        [Direction::Increasing, Direction::Decreasing, Direction::Free, Direction::Free, Direction::Free];

    /// What is trained, in tensors, is what is delivered, in loops.
    #[test]
    fn tensors_and_loops_give_the_same_value() {
        let data = example(&DIRECTIONS);
        let mut trainer = trainer(SIZE, Training { average_last: 0.0, ..training(1) }, &data).unwrap();
        trainer.run_epoch().unwrap();
        let x = matrix(data.test.x.clone(), [data.test.len(), 5], &crate::Backend::Cpu.device().unwrap());
        let in_tensors = floats(trainer.model.forward(x));
        let in_loops = Trainable::outputs(&trainer.best().unwrap().1, &data.test);
        for (a, b) in in_tensors.iter().zip(&in_loops) {
            assert!((f64::from(*a) - b).abs() < 1e-5, "{a} {b}");
        }
        let distinct = in_loops.iter().filter(|b| **b != in_loops[0]).count();
        assert!(distinct > 0, "one value for all rows proves little");
    }

    #[test]
    fn a_value_by_hand() {
        let weights = vec![1.0, 0.0, 0.0, 2.0, -1.0, 0.0, 0.0, 0.0];
        let size = Size { groups: 2, planes: 2 };
        let network = MinMax { size, inputs: 2, weights, biases: vec![0.0, -1.0, 3.0, 0.5] };
        // Groups: max(x, 2 y - 1) and max(3 - x, 0.5).
        assert_eq!(network.evaluate(&[1.0, 2.0]), 2.0);
        assert_eq!(network.evaluate(&[1.0, 0.0]), 1.0);
        assert_eq!(network.evaluate(&[4.0, 0.0]), 0.5);
    }

    #[test]
    fn it_learns_and_the_same_seed_gives_the_same_network() {
        let (epoch, network) = trained(&DIRECTIONS, 3, 20);
        assert!(epoch.validation.loss < 0.3 * crate::constant_loss(&example(&DIRECTIONS)), "{epoch:?}");
        assert_eq!(trained(&DIRECTIONS, 3, 20), (epoch, network.clone()));
        assert_ne!(trained(&DIRECTIONS, 4, 20).1, network);
        assert_eq!(network.parameters(), 3 * 4 * 6);
    }
}
