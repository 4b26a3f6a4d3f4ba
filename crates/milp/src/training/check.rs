//! What a problem has to satisfy before anything is written down, and the true objective of a network.

use std::collections::HashMap;

use certificate::Layered;

use super::layout::Layout;
use super::{Constraint, Layer, LayerWeights, Loss, Problem, Products, Targets, WeightDomain, loss};
use crate::{Error, Result};

/// All signs of so many units are tried, one programme for each.
const MOST_SIGNS: usize = 10;

fn wrong<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Training(what.into()))
}

fn is_cost(cost: f64) -> bool {
    cost.is_finite() && cost >= 0.0
}

impl WeightDomain {
    fn check(&self, name: &str, count: usize) -> Result<()> {
        let is_f32 = |x: f64| x.is_finite() && f64::from(x as f32) == x;
        match self {
            Self::Real { lower, upper } if !(lower.is_finite() && upper.is_finite()) => wrong(format!(
                "{name} need finite bounds, found [{lower}, {upper}]; without them there is no big-M constant and no optimum"
            )),
            Self::Real { lower, upper } if lower > upper => {
                wrong(format!("{name}: no number is in [{lower}, {upper}]"))
            }
            Self::Grid { lower, step, steps } => {
                let all = [*lower, *step, lower + step * f64::from(*steps)].into_iter().all(is_f32);
                let exact = f64::from(*steps) < 16_777_216.0;
                if all && exact && *step > 0.0 {
                    return Ok(());
                }
                wrong(format!(
                    "{name}: expected a grid of 32-bit numbers with a positive step, found {lower} + {step} k up to k = {steps}"
                ))
            }
            Self::Fixed(values) if values.len() != count => {
                wrong(format!("{name}: expected {count} fixed numbers, found {}", values.len()))
            }
            Self::Fixed(values) => match values.iter().find(|value| !is_f32(**value)) {
                Some(value) => wrong(format!("{name}: expected 32-bit numbers, found {value}")),
                None => Ok(()),
            },
            Self::Real { .. } => Ok(()),
        }
    }
}

impl Problem {
    /// Checks samples, targets and settings; what is only suspicious is returned in words.
    pub(super) fn check(&self) -> Result<Vec<String>> {
        let layout = Layout::new(self)?;
        for (k, slot) in layout.slots.iter().enumerate() {
            let parameters = slot.parameters;
            let name = |what: &str| format!("layer {}: {what}", k + 1);
            parameters.weights.check(&name("weights"), slot.inputs * parameters.outputs)?;
            parameters.biases.check(&name("biases"), parameters.outputs)?;
            let gates = parameters.gates;
            let costs = [gates.units, gates.inputs, gates.weights].map(|gate| gate.unwrap_or(0.0));
            if !costs.into_iter().chain([parameters.l1, parameters.l2]).all(is_cost) {
                return wrong(name("penalties and costs of gates have to be finite numbers from 0 on"));
            }
        }
        if !layout.groups.iter().copied().chain(layout.gates.iter().map(|gate| gate.cost)).all(is_cost) {
            return wrong("costs of gates and optional layers have to be finite numbers from 0 on");
        }
        match self.products {
            Products::McCormick { pieces: 0 } => return wrong("McCormick's relaxation needs at least one piece"),
            Products::Absorbed => self.check_absorbed()?,
            _ => {}
        }
        self.check_samples(layout.outputs)?;
        self.check_constraints()?;
        Ok(self.contradicting_samples())
    }

    fn check_absorbed(&self) -> Result<()> {
        let [Layer::Dense(hidden), Layer::Relu, Layer::Dense(output)] = &self.layers[..] else {
            return wrong("output weights can be absorbed in networks of one hidden relu layer only");
        };
        if output.outputs != 1 || !matches!(hidden.weights, WeightDomain::Real { .. }) {
            return wrong("output weights can be absorbed where there is one output and hidden weights are real");
        }
        if hidden.outputs > MOST_SIGNS && self.units_differ() {
            return wrong(format!(
                "output weights can be absorbed for at most {MOST_SIGNS} units that constraints or fixed biases tell apart"
            ));
        }
        if output.l1 > 0.0 || output.l2 > 0.0 || output.gates != super::Gates::default() {
            return wrong("absorbed output weights have no penalty or gate of their own; put it on the hidden layer");
        }
        Ok(())
    }

    fn check_samples(&self, outputs: usize) -> Result<()> {
        if self.samples.len() != self.targets.len() {
            return wrong(format!("{} samples have {} targets", self.samples.len(), self.targets.len()));
        }
        for (i, sample) in self.samples.iter().enumerate() {
            if sample.len() != self.input.size() {
                let (expected, found) = (self.input.size(), sample.len());
                return wrong(format!("sample {}: expected {expected} numbers, found {found}", i + 1));
            }
            if let Some(x) = sample.iter().find(|x| !x.is_finite()) {
                return wrong(format!("sample {}: {x} is not a finite number", i + 1));
            }
        }
        if let Loss::ZeroOne { margin } = self.loss
            && !(margin.is_finite() && margin >= 1e-3)
        {
            return wrong(format!("the margin of the 0-1 loss has to be at least 0.001, found {margin}"));
        }
        match (&self.targets, self.loss.is_regression()) {
            (Targets::Values(values), true) => {
                for (i, y) in values.iter().enumerate() {
                    if y.len() != outputs || y.iter().any(|y| !y.is_finite()) {
                        return wrong(format!("target {}: expected {outputs} finite numbers, found {y:?}", i + 1));
                    }
                }
                Ok(())
            }
            (Targets::Classes(classes), false) => {
                let count = outputs.max(2);
                if let Some(i) = classes.iter().position(|class| *class >= count) {
                    let found = classes[i];
                    return wrong(format!("target {}: expected a class below {count}, found {found}", i + 1));
                }
                match classes.first() {
                    Some(first) if classes.iter().all(|class| class == first) => {
                        wrong(format!("all samples are of class {first}; a network without inputs has no loss on them"))
                    }
                    _ => Ok(()),
                }
            }
            (Targets::Classes(_), true) => wrong("this loss needs numbers as targets; use hinge, 0-1 or cross-entropy"),
            (Targets::Values(_), false) => wrong("this loss needs classes as targets; use L1 or squared"),
        }
    }

    fn check_constraints(&self) -> Result<()> {
        for constraint in &self.constraints {
            let (point, sides) = match constraint {
                Constraint::Anchored { point, .. } => (Some(point), None),
                Constraint::Output { point, lower, upper, .. } => (Some(point), Some((lower, upper))),
                Constraint::Weight { lower, upper, .. } => (None, Some((lower, upper))),
                _ => (None, None),
            };
            if point.is_some_and(|x| x.len() != self.input.size() || x.iter().any(|x| !x.is_finite())) {
                return wrong(format!("{constraint}: expected a point of {} finite numbers", self.input.size()));
            }
            if sides.is_some_and(|(lower, upper)| lower.is_nan() || upper.is_nan() || lower > upper) {
                return wrong(format!("{constraint}: no number is in this range"));
            }
        }
        Ok(())
    }

    /// Samples that are the same point with another target: allowed, but their loss cannot be 0.
    fn contradicting_samples(&self) -> Vec<String> {
        let same = |i: usize, k: usize| match &self.targets {
            Targets::Values(values) => values[i] == values[k],
            Targets::Classes(classes) => classes[i] == classes[k],
        };
        let mut first: HashMap<Vec<u64>, usize> = HashMap::new();
        let mut found = Vec::new();
        for (i, sample) in self.samples.iter().enumerate() {
            let key = sample.iter().map(|x| (x + 0.0).to_bits()).collect();
            let earlier = *first.entry(key).or_insert(i);
            if !same(earlier, i) {
                found.push(format!(
                    "samples {} and {} are the same point with different targets; no network fits both",
                    earlier + 1,
                    i + 1
                ));
            }
        }
        found
    }

    /// The loss of a network on the samples, by its own forward pass.
    pub(super) fn loss_of(&self, network: &Layered) -> f64 {
        let one = |(i, x): (usize, &Vec<f64>)| loss::value(self.loss, &network.evaluate(x), &self.targets, i);
        self.samples.iter().enumerate().map(one).sum()
    }

    /// The elastic net of weights.
    pub(super) fn penalty(&self, layout: &Layout, weights: &[LayerWeights]) -> f64 {
        let of_layer = |(slot, layer): (&super::layout::Slot, &LayerWeights)| {
            let (l1, l2) = (slot.parameters.l1, slot.parameters.l2);
            layer.weights.iter().map(|w| l1 * w.abs() + l2 * w * w).sum::<f64>()
        };
        layout.slots.iter().zip(weights).map(of_layer).sum()
    }
}
