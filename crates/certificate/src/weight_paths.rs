//! Signs of the weight paths of a network.

use num_bigint::BigUint;
use num_traits::{ToPrimitive, Zero};

use crate::{Affine, Direction, MonotoneFeatures, Network};

/// Weight paths from the monotone inputs of a network to its outputs, counted by sign.
///
/// A path takes one link `w` in every layer; its weight is `s * w_1 * w_2 * ... * w_L` with the sign `s` of its input's
/// [`Direction`]. Links of weight 0, as cut ones are, make no path. Without a negative path a network is monotone, because
/// every activation is; a certified network usually has many, which is what the paper's Table 5 shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightPaths {
    /// Those with a positive weight.
    pub positive: BigUint,
    /// Those with a negative weight.
    pub negative: BigUint,
}

impl WeightPaths {
    /// Counts the paths of a network exactly, layer by layer: the positive paths up to a neuron are the positive ones up to
    /// its predecessors over positive links and the negative ones over negative links.
    ///
    /// # Panics
    /// If there is not one direction per input.
    pub fn of(network: &Network, features: &MonotoneFeatures) -> Self {
        assert_eq!(features.0.len(), network.inputs(), "one direction per input");
        let inputs = features.0.iter().map(|direction| match direction {
            Direction::Increasing => Self { positive: 1_u8.into(), negative: BigUint::ZERO },
            Direction::Decreasing => Self { positive: BigUint::ZERO, negative: 1_u8.into() },
            Direction::Free => Self::none(),
        });
        let layers = network.blocks().iter().flat_map(|block| [block.first(), block.second()]);
        let outputs = layers.fold(inputs.collect::<Vec<_>>(), |paths, layer| through(layer, &paths));
        outputs.into_iter().fold(Self::none(), |sum, paths| Self {
            positive: sum.positive + paths.positive,
            negative: sum.negative + paths.negative,
        })
    }

    /// Negative paths over all paths, from 0 to 1; `None` if there is no path.
    pub fn negative_share(&self) -> Option<f64> {
        let all = &self.positive + &self.negative;
        // A hundred bits are enough and never too many for `f64`.
        let spare = all.bits().saturating_sub(100);
        let number = |count: &BigUint| (count >> spare).to_f64().expect("a hundred bits are in the range of f64");
        (!all.is_zero()).then(|| number(&self.negative) / number(&all))
    }

    fn none() -> Self {
        Self { positive: BigUint::ZERO, negative: BigUint::ZERO }
    }
}

/// The paths up to the outputs of a layer, from those up to its inputs.
fn through(layer: &Affine, paths: &[WeightPaths]) -> Vec<WeightPaths> {
    let neuron = |i: usize| {
        let mut sum = WeightPaths::none();
        for (w, paths) in layer.row(i).iter().zip(paths) {
            if *w > 0.0 {
                sum.positive += &paths.positive;
                sum.negative += &paths.negative;
            } else if *w < 0.0 {
                sum.positive += &paths.negative;
                sum.negative += &paths.positive;
            }
        }
        sum
    };
    (0..layer.outputs()).map(neuron).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Activation, Block, Boundary};

    fn network(layers: Vec<Affine>) -> Network {
        let pairs: Vec<_> = layers.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let blocks = pairs.into_iter().map(|(first, second)| Block::new(first, Activation::Relu, second).unwrap());
        let blocks: Vec<_> = blocks.collect();
        let boundary = |block: &Block| Boundary { activation: Activation::Relu, monotone: vec![true; block.outputs()] };
        let boundaries = blocks[..blocks.len() - 1].iter().map(boundary).collect();
        Network::new(blocks, boundaries).unwrap()
    }

    /// Every path one by one, by its product of weights; `weight` is that of the part up to `input`.
    fn enumerate(layers: &[&Affine], input: usize, weight: f64, found: &mut [u64; 2]) {
        match layers.split_first() {
            None if weight > 0.0 => found[0] += 1,
            None if weight < 0.0 => found[1] += 1,
            None => {}
            Some((layer, rest)) => {
                (0..layer.outputs()).for_each(|i| enumerate(rest, i, weight * f64::from(layer.row(i)[input]), found))
            }
        }
    }

    fn layers() -> impl Strategy<Value = Vec<Affine>> {
        let weight = || prop::sample::select(vec![-1.5_f32, -1e-30, -0.0, 0.0, 1e-30, 2.0]);
        (prop::collection::vec(1..5_usize, 5), 1..3_usize).prop_flat_map(move |(widths, blocks)| {
            let layer = |inputs: usize, outputs: usize| {
                let weights = prop::collection::vec(weight(), inputs * outputs);
                weights.prop_map(move |weights| Affine::new(inputs, weights, vec![0.5; outputs]).unwrap())
            };
            (0..2 * blocks).map(|k| layer(widths[k], widths[k + 1])).collect::<Vec<_>>()
        })
    }

    proptest! {
        #[test]
        fn counts_are_those_of_an_enumeration(layers in layers(), signs in prop::collection::vec(-1..=1_i8, 5)) {
            let network = network(layers);
            let directions = signs[..network.inputs()].iter().map(|sign| match sign {
                1 => Direction::Increasing,
                -1 => Direction::Decreasing,
                _ => Direction::Free,
            });
            let features = MonotoneFeatures(directions.collect());
            let mut found = [0, 0];
            let chain: Vec<&Affine> = network.blocks().iter().flat_map(|b| [b.first(), b.second()]).collect();
            for (input, direction) in features.0.iter().enumerate() {
                enumerate(&chain, input, direction.sign(), &mut found);
            }
            let paths = WeightPaths::of(&network, &features);
            prop_assert_eq!(&paths, &WeightPaths { positive: found[0].into(), negative: found[1].into() });
            let share = (found[0] + found[1] > 0).then(|| found[1] as f64 / (found[0] + found[1]) as f64);
            prop_assert_eq!(paths.negative_share(), share);
        }
    }

    #[test]
    fn counts_too_large_for_a_float_have_a_share() {
        let half = |width: usize| {
            let weights = (0..width * width).map(|k| if k % 4 == 0 { -1.0 } else { 1.0 }).collect();
            Affine::new(width, weights, vec![0.0; width]).unwrap()
        };
        // More than 4^600 paths, a quarter of the links negative: the share of negative paths goes to one half.
        let network = network(vec![half(4); 600]);
        let share = WeightPaths::of(&network, &MonotoneFeatures(vec![Direction::Increasing; 4])).negative_share();
        assert!((share.unwrap() - 0.5).abs() < 1e-9, "{share:?}");
    }
}
