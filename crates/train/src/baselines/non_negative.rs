//! A network with non-negative weights: every weight on a path from a monotone input to the output has the sign that makes the
//! path go the right way.
//!
//! Weights of free inputs in the first layer, and the whole free branch, may have any sign. It is the oldest way to a monotone
//! network (Archer and Wang 1993), and the paper's baseline "non-negative". Every block certifies at once, but there is a price:
//! with ReLU everywhere the network is convex in its monotone inputs.
//!
//! Trained by projected Adam: after each step weights of the wrong sign become 0. Of the two usual ways this one adds nothing
//! to what is compared, because the optimiser and its step size mean what they mean for the other networks. A weight that
//! should be 0 gets there; as `exp(w)` or `w^2` it never would, and the latter's gradient vanishes on the way.

use burn::tensor::{Device, Tensor};
use certificate::Network;

use super::{Constrained, ConstrainedTrainer};
use crate::architecture::BlockShape;
use crate::data::{DataSet, Part};
use crate::model::{Chain, Parameters, indicator, matrix};
use crate::{Result, Stream, Training};

/// A chain of blocks whose weights on monotone paths have the right signs.
pub struct NonNegative {
    chain: Chain,
    /// Per block and layer the signs that weights need, as the weights are laid out; 0 where any will do.
    signs: Vec<[Tensor<2>; 2]>,
    initial: Network,
}

/// A trainer of a network of the settings' architecture. It begins with the absolute values of the weights that the same seed
/// gives a penalised network.
///
/// # Errors
/// If the architecture cannot be built for the data or the backend is not compiled in.
pub fn trainer(settings: Training, data: &DataSet) -> Result<ConstrainedTrainer<'_, NonNegative>> {
    let device = settings.backend.device()?;
    let shape = settings.architecture.shape(&data.directions().0)?;
    let mut rng = Stream::Initialisation.generator(settings.seed, settings.round, 0);
    let chain = Chain::init(shape, &mut rng, &device);
    let signs = chain.shape().blocks.iter().map(|block| signs(block, &device.clone().inner())).collect();
    let initial = chain.to_network().expect("initial weights are finite");
    let mut model = NonNegative { chain, signs, initial };
    model.map_signed(Tensor::abs);
    Ok(ConstrainedTrainer::new(model, settings, data, device))
}

/// In each layer of a block the signs that weights need.
fn signs(block: &BlockShape, device: &Device) -> [Tensor<2>; 2] {
    let (hidden, outputs) = (block.hidden.iter().sum(), block.outputs.iter().sum());
    let of_input = block.inputs.iter().flat_map(|direction| vec![direction.sign() as f32; hidden]);
    [
        matrix(of_input.collect(), [block.inputs.len(), hidden], device),
        indicator([hidden, outputs], device, |h, _| h < block.hidden[0]),
    ]
}

impl NonNegative {
    /// Puts `f(sign * weight)` in the place of `sign * weight` wherever a sign is needed.
    fn map_signed(&mut self, f: impl Fn(Tensor<2>) -> Tensor<2>) {
        let Self { chain, signs, .. } = self;
        chain.map_weights(|block, layer, weight| {
            let sign = signs[block][layer].clone();
            let free = sign.clone().abs().neg() + 1.0;
            weight.clone() * free + sign.clone() * f(weight * sign)
        });
    }
}

impl Constrained for NonNegative {
    type Parameters = Parameters;
    type Network = Network;

    fn parameters(&mut self) -> &mut Parameters {
        &mut self.chain.parameters
    }

    fn project(&mut self) {
        self.map_signed(|weight| weight.clamp_min(0.0));
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.chain.forward(&self.chain.weights(), x)
    }

    fn numbers(&self) -> Option<Vec<f32>> {
        Some(self.chain.to_network()?.to_flat())
    }

    fn network(&self, numbers: &[f32]) -> Option<Network> {
        self.initial.with_flat(numbers).ok()
    }

    fn outputs(network: &Network, part: &Part) -> Vec<f64> {
        let row = |x: &[f32]| network.evaluate(&x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>())[0];
        part.x.chunks(network.inputs()).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use certificate::{Block, Direction};
    use proptest::prelude::*;

    use super::*;
    use crate::Architecture;
    use crate::baselines::testing::{directions, example, training};

    fn architectures() -> impl Strategy<Value = Architecture> {
        let reduce_free = || prop::option::of(1_usize..3);
        let paper = (1_usize..5, 1_usize..4, reduce_free());
        prop_oneof![
            paper.prop_map(|(depth, half, reduce_free)| Architecture::Paper { depth, width: 2 * half, reduce_free }),
            (1_usize..6, 1_usize..4, reduce_free()).prop_map(|(hidden, bottleneck, reduce_free)| {
                Architecture::TwoBranch { hidden, bottleneck, reduce_free }
            }),
        ]
    }

    /// Every product along a path through a block, after the input's sign. Free inputs go through weights of any sign.
    fn wrong_paths(block: &Block, inputs: &[Direction]) -> usize {
        let paths = (0..block.outputs()).flat_map(|o| (0..block.hidden()).map(move |h| (o, h)));
        let wrong = |(o, h): (usize, usize)| {
            let sign = |i: usize| inputs[i].sign() * block.path_weight(o, h, i);
            (0..inputs.len()).filter(|i| sign(*i) < 0.0).count()
        };
        paths.map(wrong).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// After every epoch, and with weights averaged over the last of them.
        #[test]
        fn weights_on_monotone_paths_have_the_right_signs(
            architecture in architectures(), directions in directions(), seed in any::<u64>()
        ) {
            let data = example(&directions);
            let settings = Training { architecture, seed, learning_rate: 0.1, ..training(3) };
            let mut trainer = trainer(settings, &data).unwrap();
            while trainer.run_epoch().is_some() && !trainer.is_finished() {}
            let (_, network) = trainer.best().unwrap();
            let mut inputs = directions;
            for (k, block) in network.blocks().iter().enumerate() {
                prop_assert_eq!(wrong_paths(block, &inputs), 0, "block {}", k);
                let channel = |monotone: &bool| if *monotone { Direction::Increasing } else { Direction::Free };
                inputs = network.boundaries().get(k).map_or(Vec::new(), |b| b.monotone.iter().map(channel).collect());
            }
        }
    }

    /// A projection of everything would pass the test above, too.
    #[test]
    fn it_learns_and_free_weights_have_both_signs() {
        use Direction::{Decreasing, Free, Increasing};
        let data = example(&[Increasing, Decreasing, Free, Free, Free]);
        let mut trainer = trainer(training(20), &data).unwrap();
        while trainer.run_epoch().is_some() && !trainer.is_finished() {}
        let (epoch, network) = trainer.best().unwrap();
        assert!(epoch.validation.loss < 0.3 * crate::constant_loss(&data), "{epoch:?}");
        let first = network.blocks()[0].first();
        let free = || (0..first.outputs()).flat_map(|h| first.row(h)[2..].to_vec());
        assert!(free().any(|w| w > 0.0) && free().any(|w| w < 0.0));
    }

    #[test]
    fn the_same_seed_gives_the_same_network_and_another_seed_another() {
        let data =
            example(&[Direction::Increasing, Direction::Decreasing, Direction::Free, Direction::Free, Direction::Free]);
        let run = |seed| {
            let mut trainer = trainer(Training { seed, ..training(4) }, &data).unwrap();
            let epochs: Vec<_> = (0..4).map(|_| trainer.run_epoch().unwrap()).collect();
            (epochs, trainer.best().unwrap().clone())
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3).1.1, run(4).1.1);
    }
}
