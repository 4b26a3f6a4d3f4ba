//! Between solutions and networks.

use super::encode::Encoded;
use super::layout::network;
use super::weight::Place;
use super::{Fitted, LayerWeights, WeightDomain};
use crate::{Error, Programme, Result};

/// What is said of weights that are not those of the layers.
pub(super) const UNFIT: &str = "the weights to start from do not fit the layers";

impl Encoded<'_> {
    /// The network that a solution means.
    pub fn read(&self, values: &[f64]) -> Result<Fitted> {
        let on = |column: &usize| values[*column] > 0.5;
        let mut weights: Vec<_> = self.layers.iter().map(|layer| layer.read(&self.encoder, values)).collect();
        let kept: Vec<bool> = self.groups.iter().map(on).collect();
        for (layer, slot) in weights.iter_mut().zip(&self.layout.slots) {
            if slot.group.is_some_and(|group| !kept[group]) {
                layer.weights.fill(0.0);
                layer.biases.fill(0.0);
            }
        }
        let open: Vec<Vec<bool>> = self.open.iter().map(|layer| layer.iter().map(on).collect()).collect();
        let gates =
            self.layers.iter().flat_map(|layer| layer.units.iter().chain(&layer.input_gates).chain(&layer.supports));
        let gates = gates.chain(&self.groups).chain(self.open.iter().flatten());
        let structure = gates.filter(|gate| on(gate)).map(|gate| self.encoder.programme.columns[*gate].objective);
        let structure = structure.fold(0.0, |sum, cost| sum + cost);
        let network = network(self.problem, &self.layout, &weights, &kept, &open)?;
        let loss = self.problem.loss_of(&network);
        let penalty = self.problem.penalty(&self.layout, &weights);
        Ok(Fitted { network, weights, kept, open, loss, penalty, structure })
    }

    /// The same network with its units in the order that the programme asks for.
    pub fn ordered(&self, weights: &[LayerWeights]) -> Vec<LayerWeights> {
        let mut weights = weights.to_vec();
        for (k, may_swap) in &self.ordered {
            let (inputs, next) = (self.layout.slots[*k].inputs, &self.layout.slots[k + 1]);
            let key = self.layers[*k].key();
            // Used units first, then by key: exchanges of neighbours until there is nothing left to exchange.
            let rank = |layer: &LayerWeights, unit: usize| {
                let row = &layer.weights[unit * inputs..][..inputs];
                let used = layer.biases[unit] != 0.0 || row.iter().any(|w| *w != 0.0);
                let value = |place: Place| match place {
                    Place::Bias => layer.biases[unit],
                    Place::Weight(k) => row[k],
                };
                let key: f64 = key.iter().map(|(factor, place)| factor * value(*place)).sum();
                (!self.layers[*k].units.is_empty() && used, key)
            };
            while let Some(unit) = (0..may_swap.len())
                .find(|unit| may_swap[*unit] && rank(&weights[*k], *unit) < rank(&weights[*k], unit + 1))
            {
                let layer = &mut weights[*k];
                layer.biases.swap(unit, unit + 1);
                (0..inputs).for_each(|j| layer.weights.swap(unit * inputs + j, (unit + 1) * inputs + j));
                for row in weights[k + 1].weights.chunks_mut(next.inputs) {
                    let values = next.values_per_unit;
                    (0..values).for_each(|j| row.swap(unit * values + j, (unit + 1) * values + j));
                }
            }
        }
        weights
    }

    /// Fixes the weights; everything else is then decided but for ties.
    pub fn fix(&self, weights: &[LayerWeights]) -> Result<Programme> {
        let mut fixed = self.encoder.programme.clone();
        let fits = weights.len() == self.layers.len()
            && weights.iter().zip(&self.layers).all(|(given, layer)| {
                given.weights.len() == layer.weights.len() && given.biases.len() == layer.biases.len()
            });
        if !fits {
            return Err(Error::Training(UNFIT.into()));
        }
        for (given, layer) in weights.iter().zip(&self.layers) {
            let pairs = given.weights.iter().zip(&layer.weights).chain(given.biases.iter().zip(&layer.biases));
            for (number, weight) in pairs {
                if let [(column, a)] = weight.value.terms[..] {
                    let bounds = &mut fixed.columns[column];
                    let mut value = (number - weight.value.constant) / a;
                    if weight.is_on_grid() {
                        value = value.round();
                    }
                    let value = value.clamp(bounds.lower, bounds.upper);
                    (bounds.lower, bounds.upper) = (value, value);
                }
            }
        }
        Ok(fixed)
    }

    /// Trained weights with the sides of their boxes where they sit on one.
    pub fn active_sides(&self, weights: &[LayerWeights]) -> Vec<String> {
        let mut active = Vec::new();
        for (given, layer) in weights.iter().zip(&self.layers) {
            let parameters = layer.parameters;
            let all = given.weights.iter().zip(&layer.weights).map(|pair| (pair, &parameters.weights));
            for ((value, weight), domain) in
                all.chain(given.biases.iter().zip(&layer.biases).map(|pair| (pair, &parameters.biases)))
            {
                let &WeightDomain::Real { lower, upper } = domain else { continue };
                // A side at 0 is there to give a sign. Weights are rounded to 32 bits.
                let rounding = |side: f64| side.abs() * f64::from(f32::EPSILON);
                let at = |side: f64| side != 0.0 && (value - side).abs() <= 1e-6 * (upper - lower) + rounding(side);
                if at(lower) || at(upper) {
                    active.push(format!("{} = {value}", weight.name));
                }
            }
        }
        active
    }
}
