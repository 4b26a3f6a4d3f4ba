//! The mean of several networks as one network.

use crate::{Activation, Affine, Block, Boundary, Domain, Error, Model, Network, Result, interval};

impl Model {
    /// The model whose outputs are the means of those of `members`.
    ///
    /// # Soundness
    /// It is one chain of blocks whose weights are block-diagonal, so it is certified like any other. Nothing has to be
    /// proved about the members together: a query about a channel of one member has only that member's neurons in it, the
    /// queries between different members are about paths that do not exist, and the last block, which takes the mean, has
    /// positive weights only. So the certificate of the mean holds the members' proofs and nothing else that took a search.
    ///
    /// # Errors
    /// If there is no member, or two differ in their features, scalings, domain, target, or in the number of their blocks
    /// or an activation.
    pub fn mean(members: &[Self]) -> Result<Self> {
        let first = members.first().ok_or_else(|| Error::Structure("an ensemble needs a member".into()))?;
        for (k, member) in members.iter().enumerate() {
            let parts = [
                ("features or scalings", member.features == first.features),
                ("domain", member.domain == first.domain),
                ("target", member.target == first.target),
            ];
            if let Some((what, _)) = parts.iter().find(|(_, same)| !same) {
                let message = format!("member {} of an ensemble differs from member 1 in its {what}", k + 1);
                return Err(Error::Structure(message));
            }
        }
        let networks: Vec<_> = members.iter().map(|member| &member.network).collect();
        Ok(Self { network: mean(&networks, &first.domain)?, ..first.clone() })
    }
}

/// The chain that computes the mean: the members side by side, then a block that adds their outputs.
fn mean(members: &[&Network], domain: &Domain) -> Result<Network> {
    let first = members[0];
    let same = |network: &&Network| {
        let activations = |network: &Network| {
            let inside: Vec<_> = network.blocks().iter().map(Block::activation).collect();
            let between: Vec<_> = network.boundaries().iter().map(|boundary| boundary.activation).collect();
            (inside, between)
        };
        activations(network) == activations(first) && network.outputs() == first.outputs()
    };
    if let Some(k) = members.iter().position(|network| !same(network)) {
        let message =
            format!("member {} of an ensemble differs from member 1 in its blocks, activations or outputs", k + 1);
        return Err(Error::Structure(message));
    }
    if members.len() == 1 {
        return Ok(first.clone());
    }
    let (mut blocks, mut boundaries) = (Vec::new(), Vec::new());
    for (k, block) in first.blocks().iter().enumerate() {
        let layers = |pick: fn(&Block) -> &Affine| members.iter().map(move |network| pick(&network.blocks()[k]));
        let side_by_side = if k == 0 { stacked(layers(Block::first))? } else { diagonal(layers(Block::first))? };
        blocks.push(Block::new(side_by_side, block.activation(), diagonal(layers(Block::second))?)?);
        if let Some(boundary) = first.boundaries().get(k) {
            let monotone = members.iter().flat_map(|network| network.boundaries()[k].monotone.clone());
            boundaries.push(Boundary { activation: boundary.activation, monotone: monotone.collect() });
        }
    }

    // The activation before the last block is a ReLU; outputs are lifted above zero before it and lowered after it.
    let last = blocks.pop().expect("a network has a block");
    let chain = [blocks.clone(), vec![last.clone()]].concat();
    let side_by_side = Network::new(chain, boundaries.clone())?;
    let domains = interval::block_domains(&side_by_side, domain);
    let least = interval::block_bounds(&last, &domains[domains.len() - 1]);
    let lifts: Vec<f32> = least.iter().map(|side| if side.lower < 0.0 { above(-side.lower) } else { 0.0 }).collect();
    let lifted = last.second().bias().iter().zip(&lifts).map(|(bias, lift)| bias + lift).collect();
    let second = Affine::new(last.hidden(), last.second().weight().to_vec(), lifted)?;
    blocks.push(Block::new(last.first().clone(), last.activation(), second)?);
    boundaries.push(Boundary { activation: Activation::Relu, monotone: vec![true; lifts.len()] });

    let (outputs, share) = (first.outputs(), 1.0 / members.len() as f32);
    let picks = |row: usize| (0..lifts.len()).map(move |k| if k % outputs == row { share } else { 0.0 });
    let lowered = (0..outputs).map(|row| -lifts.iter().zip(picks(row)).map(|(lift, share)| lift * share).sum::<f32>());
    let second = Affine::new(lifts.len(), (0..outputs).flat_map(picks).collect(), lowered.collect())?;
    blocks.push(Block::new(Affine::identity(lifts.len()), Activation::Relu, second)?);
    Network::new(blocks, boundaries)
}

/// A power of two that is at least `value`: adding it to a bias rounds little, and multiplying it not at all.
fn above(value: f64) -> f32 {
    value.log2().ceil().exp2() as f32 * if value.log2().ceil().exp2() < value { 2.0 } else { 1.0 }
}

/// All outputs, from the same inputs.
fn stacked<'a>(layers: impl Iterator<Item = &'a Affine> + Clone) -> Result<Affine> {
    let inputs = layers.clone().next().map_or(0, Affine::inputs);
    let weight = layers.clone().flat_map(Affine::weight).copied().collect();
    Affine::new(inputs, weight, layers.flat_map(Affine::bias).copied().collect())
}

/// All outputs, each from its own inputs.
fn diagonal<'a>(layers: impl Iterator<Item = &'a Affine> + Clone) -> Result<Affine> {
    let inputs: usize = layers.clone().map(Affine::inputs).sum();
    let (mut weight, mut before) = (Vec::new(), 0);
    for layer in layers.clone() {
        for i in 0..layer.outputs() {
            let mut row = vec![0.0; inputs];
            row[before..before + layer.inputs()].copy_from_slice(layer.row(i));
            weight.extend(row);
        }
        before += layer.inputs();
    }
    Affine::new(inputs, weight, layers.flat_map(Affine::bias).copied().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Direction, Interval, ModelFeature, MonotoneFeatures, Specification, Target};

    /// Two blocks from numbers: one monotone and one free channel between them.
    fn member(numbers: &[f32], activation: Activation) -> Network {
        let mut numbers = numbers.iter().copied().cycle();
        let mut take = |count: usize| numbers.by_ref().take(count).collect::<Vec<f32>>();
        let first = Affine::new(2, take(6), take(3)).unwrap();
        let block = Block::new(first, Activation::Relu, Affine::new(3, take(6), take(2)).unwrap()).unwrap();
        let first = Affine::new(2, take(6), take(3)).unwrap();
        let last = Block::new(first, Activation::Relu, Affine::new(3, take(3), take(1)).unwrap()).unwrap();
        Network::new(vec![block, last], vec![Boundary { activation, monotone: vec![true, false] }]).unwrap()
    }

    fn model(network: Network) -> Model {
        let feature = |name: &str, direction| ModelFeature::linear(name, direction, 0.0, 1.0);
        let features = vec![feature("a", Direction::Increasing), feature("b", Direction::Free)];
        let target = Target::Regression { column: "y".into(), minimum: 0.0, maximum: 1.0 };
        Model { network, features, domain: Domain::unit_cube(2), target }
    }

    proptest! {
        #[test]
        fn the_mean_is_the_mean(
            numbers in prop::collection::vec(prop::collection::vec(-2.0f32..2.0, 37), 1..6),
            x in prop::collection::vec(0.0..1.0f64, 2),
            clamp in any::<bool>(),
        ) {
            let activation = if clamp { Activation::Clamp } else { Activation::Relu };
            let members: Vec<_> = numbers.iter().map(|numbers| model(member(numbers, activation))).collect();
            let mean = Model::mean(&members).unwrap();
            let expected = members.iter().map(|m| m.network.evaluate(&x)[0]).sum::<f64>() / members.len() as f64;
            let found = mean.network.evaluate(&x)[0];
            prop_assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{found} {expected}");
        }
    }

    /// One query per query of a member; all others are about paths that do not exist or are positive.
    #[test]
    fn no_query_is_about_two_members() {
        let numbers: Vec<f32> = (0..37).map(|k| ((k * 7) % 11) as f32 / 5.0 - 1.0).collect();
        let mut network = member(&numbers, Activation::Clamp);
        // The free channel must not depend on the monotone input.
        let block = &network.blocks()[0];
        let mut weight = block.first().weight().to_vec();
        weight[4] = 0.0;
        let mut second = block.second().weight().to_vec();
        (second[3], second[4]) = (0.0, 0.0);
        let first = Affine::new(2, weight, block.first().bias().to_vec()).unwrap();
        let second = Affine::new(3, second, block.second().bias().to_vec()).unwrap();
        let block = Block::new(first, Activation::Relu, second).unwrap();
        network = Network::new(vec![block, network.blocks()[1].clone()], network.boundaries().to_vec()).unwrap();

        let mean = Model::mean(&[model(network.clone()), model(network)]).unwrap().network;
        let features = MonotoneFeatures(vec![Direction::Increasing, Direction::Free]);
        let queries = Specification::from(features).queries(&mean).unwrap();
        assert_eq!(queries.iter().map(Vec::len).collect::<Vec<_>>(), [2, 4, 2]);
        let paths = |block: usize, row: usize, input: usize| mean.blocks()[block].depends_on(row, input);
        assert!(paths(1, 0, 0) && paths(1, 1, 2) && !paths(1, 0, 2) && !paths(1, 1, 0));
        let last = &mean.blocks()[2];
        assert!(queries[2].iter().all(|q| (0..2).all(|i| last.path_weight(q.row, i, q.input) >= 0.0)));
    }

    #[test]
    fn members_that_do_not_fit_are_named() {
        let network = member(&[0.5], Activation::Clamp);
        let first = model(network.clone());
        let message = |other: Model| Model::mean(&[first.clone(), other]).unwrap_err().to_string();
        let mut scaled = first.clone();
        scaled.features[1].maximum = 2.0;
        assert!(message(scaled).contains("member 2 of an ensemble differs from member 1 in its features or scalings"));
        let mut smaller = first.clone();
        smaller.domain = Domain::from_box(vec![Interval::new(0.0, 0.5); 2]).unwrap();
        assert!(message(smaller).contains("domain"));
        assert!(message(model(member(&[0.5], Activation::Relu))).contains("activations"));
        assert!(Model::mean(&[]).is_err());
        assert_eq!(Model::mean(std::slice::from_ref(&first)).unwrap(), first);
    }
}
