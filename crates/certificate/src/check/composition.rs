use std::collections::BTreeMap;

use super::block::FirstLayer;
use super::fault::{Fault, Result};
use super::number::Dyadic;
use crate::{Activation, Block, Boundary, Direction, Domain, Header, Interval, Network, Rows};

/// The blocks over the domain and the boxes of the header, each of which contains what comes out of the block before.
pub(super) fn first_layers(network: &Network, header: &Header) -> Result<Vec<FirstLayer>> {
    let boundaries = network.boundaries();
    if header.boxes.len() != boundaries.len() {
        return Err(Fault::Width { what: "boxes", expected: boundaries.len(), found: header.boxes.len() });
    }
    for (block, part) in network.blocks().iter().enumerate() {
        require_relu(block, part)?;
    }
    let mut layers = vec![FirstLayer::new(network.blocks()[0].first(), header.domain.clone())];
    for (k, (boundary, sides)) in boundaries.iter().zip(&header.boxes).enumerate() {
        let (block, next) = (&network.blocks()[k], &network.blocks()[k + 1]);
        if sides.len() != next.inputs() {
            return Err(Fault::Width { what: "sides of a box", expected: next.inputs(), found: sides.len() });
        }
        let sides = sides.iter().map(|&(lower, upper)| Interval::new(lower, upper)).collect();
        let stated = Domain::from_box(sides).map_err(|reason| Fault::Box { index: k, reason })?;
        require_containment(k, &layers[k], block, boundary, &stated)?;
        layers.push(FirstLayer::new(next.first(), stated));
    }
    Ok(layers)
}

fn require_relu(block: usize, part: &Block) -> Result<()> {
    match part.activation() {
        Activation::Relu => Ok(()),
        other => {
            let (place, supported) = ("inside a block", "relu is supported there");
            Err(Fault::Activation { block, activation: other.name(), place, supported })
        }
    }
}

fn require_containment(
    k: usize,
    first: &FirstLayer,
    block: &Block,
    boundary: &Boundary,
    stated: &Domain,
) -> Result<()> {
    let (zero, one) = (Dyadic::new(0, 0), first.one());
    let activate = |t: Dyadic| match boundary.activation {
        Activation::Relu => Ok(t.max(zero.clone())),
        Activation::Clamp => Ok(t.max(zero.clone()).min(one.clone())),
        other => {
            let (place, supported) = ("after a block", "relu and clamp are supported there");
            Err(Fault::Activation { block: k, activation: other.name(), place, supported })
        }
    };
    for (input, (range, side)) in first.outputs(block.second()).into_iter().zip(stated.input_box()).enumerate() {
        let (lower, upper) = (activate(range.lower)?, activate(range.upper)?);
        if lower < &Dyadic::exact(side.lower) * &one || upper > &Dyadic::exact(side.upper) * &one {
            return Err(Fault::BoxTooSmall { block: k, input, lower: side.lower, upper: side.upper });
        }
    }
    Ok(())
}

/// What a row has, from what the outputs have: that of one output, or the sum that the row stands for.
pub(super) fn combined(rows: &Rows, row: usize, of_output: impl Fn(usize) -> Dyadic) -> Dyadic {
    let Some(combinations) = rows.as_combinations() else { return of_output(row) };
    let terms = combinations[row].iter().enumerate().filter(|(_, c)| **c != 0.0);
    terms.fold(Dyadic::new(0, 0), |sum, (k, c)| &sum + &(&Dyadic::exact(*c) * &of_output(k)))
}

/// Block, row and input of a query.
pub(super) type Key = (usize, usize, usize);

/// The queries that together show that the network is monotone, and that the other channels are cut off.
pub(super) fn needed(network: &Network, header: &Header, layers: &[FirstLayer]) -> Result<BTreeMap<Key, Direction>> {
    let mut needed = BTreeMap::new();
    let mut inputs = header.directions.0.clone();
    if inputs.iter().all(|direction| *direction == Direction::Free) {
        // Nothing is asked, whatever the channels are called.
        return Ok(needed);
    }
    if let Some(&j) = layers[0].domain.one_hot().iter().flatten().find(|j| inputs[**j] != Direction::Free) {
        return Err(Fault::DirectionInGroup(j));
    }
    for (k, block) in network.blocks().iter().enumerate() {
        let outputs = match network.boundaries().get(k) {
            Some(boundary) => boundary.monotone.clone(),
            None => vec![true; header.rows.count(block.outputs())],
        };
        for (input, direction) in inputs.iter().enumerate().filter(|(_, direction)| **direction != Direction::Free) {
            let side = layers[k].domain.input_box()[input];
            let leads_to =
                |row: usize, i: usize| block.second().row(row)[i] != 0.0 && block.first().row(i)[input] != 0.0;
            for (row, monotone) in outputs.iter().enumerate() {
                if !monotone && (0..block.hidden()).any(|i| leads_to(row, i)) {
                    return Err(Fault::UncutLink { block: k, row, input });
                }
                // What cannot move needs no proof.
                if *monotone && side.lower < side.upper {
                    needed.insert((k, row, input), *direction);
                }
            }
        }
        let direction = |monotone: &bool| if *monotone { Direction::Increasing } else { Direction::Free };
        inputs = outputs.iter().map(direction).collect();
    }
    Ok(needed)
}
