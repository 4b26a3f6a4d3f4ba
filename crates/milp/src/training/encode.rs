//! From a problem to a programme: weights, constraints, and every sample's way through the network.

use super::encoder::{Encoder, Expression};
use super::layout::Layout;
use super::loss::{self, Curve};
use super::weight::LayerColumns;
use super::{Layer, Problem, WeightDomain};
use crate::Result;

/// The programme of a problem and how to read its solutions.
pub(super) struct Encoded<'a> {
    pub problem: &'a Problem,
    pub layout: Layout<'a>,
    pub encoder: Encoder,
    pub layers: Vec<LayerColumns<'a>>,
    /// Gates of optional layers.
    pub groups: Vec<usize>,
    /// Gates of the channels of gate layers.
    pub open: Vec<Vec<usize>>,
    /// What is approximated from below by tangents.
    pub curves: Vec<Curve>,
    /// Layers whose units are in an order, with which of them may change places with their next ones.
    pub ordered: Vec<(usize, Vec<bool>)>,
    /// Of each sample.
    pub outputs: Vec<Vec<Expression>>,
}

impl<'a> Encoded<'a> {
    /// # Errors
    /// If the problem makes no sense, or its products cannot be written in the way that it asks for.
    pub fn new(problem: &'a Problem) -> Result<Self> {
        let layout = Layout::new(problem)?;
        let mut encoder = Encoder::new("training", problem.products);
        let mut curves = Vec::new();
        let groups: Vec<usize> = (layout.groups.iter().enumerate())
            .map(|(k, cost)| encoder.programme.integer(format!("keep{}", k + 1), (0.0, 1.0), *cost))
            .collect();
        let mut open = Vec::new();
        for (k, gate) in layout.gates.iter().enumerate() {
            let mut channel = |c| encoder.programme.integer(format!("open{}_{}", k + 1, c + 1), (0.0, 1.0), gate.cost);
            open.push((0..gate.channels).map(&mut channel).collect::<Vec<_>>());
        }
        let mut layers: Vec<LayerColumns> = Vec::new();
        for (k, slot) in layout.slots.iter().enumerate() {
            let layer = LayerColumns::new(&mut encoder, &mut curves, slot, k, slot.group.map(|g| groups[g]))?;
            if let Some(source) = slot.source {
                layer.unread(&mut encoder, slot, &layers[source].units);
            }
            layers.push(layer);
        }
        let (ordered, outputs) = (Vec::new(), Vec::new());
        let mut encoded = Self { problem, layout, encoder, layers, groups, open, curves, ordered, outputs };
        encoded.break_symmetry();
        for (k, constraint) in problem.constraints.iter().enumerate() {
            encoded.constrain_weights(k, constraint)?;
        }
        for (k, constraint) in problem.constraints.iter().enumerate() {
            encoded.constrain_points(k, constraint)?;
        }
        for (i, sample) in problem.samples.iter().enumerate() {
            let outputs = encoded.forward(sample, None, &format!("s{}", i + 1))?.values;
            let targets = (&problem.targets, i);
            loss::encode(&mut encoded.encoder, &mut encoded.curves, problem.loss, &outputs, targets)?;
            encoded.outputs.push(outputs);
        }
        encoded.encoder.programme.make_names_unique();
        Ok(encoded)
    }

    /// Units that a later layer reads in the same way can be put into an order, unless something tells them apart; and of
    /// consecutive optional layers of the same kind the first ones are kept.
    fn break_symmetry(&mut self) {
        let slots = &self.layout.slots;
        let is_optional = slots[0].group.is_some();
        let told_apart = self.problem.constraints.iter().any(|constraint| constraint.tells_apart(is_optional));
        for (k, pair) in slots.windows(2).enumerate().filter(|_| !told_apart) {
            let (slot, next) = (&pair[0], &pair[1]);
            let trained = |domain: &WeightDomain| !matches!(domain, WeightDomain::Fixed(_));
            let own = trained(&slot.parameters.weights) && trained(&slot.parameters.biases);
            if next.source != Some(k) || slot.group.is_some() || next.group.is_some() || !own {
                continue;
            }
            let may_swap = |unit: usize| match &next.parameters.weights {
                WeightDomain::Fixed(values) => values.chunks(next.inputs).all(|row| {
                    let of = |unit: usize| &row[unit * next.values_per_unit..][..next.values_per_unit];
                    of(unit) == of(unit + 1)
                }),
                _ => true,
            };
            let may_swap: Vec<bool> = (1..slot.parameters.outputs).map(|unit| may_swap(unit - 1)).collect();
            self.layers[k].order(&mut self.encoder, &may_swap);
            self.ordered.push((k, may_swap));
        }
        let mut consecutive = Vec::new();
        for pair in self.problem.layers.windows(2) {
            if let [Layer::Optional { .. }, next @ Layer::Optional { .. }] = pair {
                consecutive.push(pair[0] == *next);
            } else if matches!(pair[1], Layer::Optional { .. }) {
                consecutive.push(false);
            }
        }
        // The first group has no pair of its own where it is the first layer.
        let skipped = self.groups.len() - consecutive.len();
        for (k, same) in consecutive.into_iter().enumerate().filter(|_| !told_apart) {
            if same {
                let (before, this) = (self.groups[k + skipped - 1], self.groups[k + skipped]);
                let name = format!("keep_before{}", k + skipped + 1);
                self.encoder.programme.row(name, [(before, 1.0), (this, -1.0)], (0.0, f64::INFINITY));
            }
        }
    }
}
