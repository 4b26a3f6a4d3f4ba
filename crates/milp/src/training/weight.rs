//! The weights of the layers as columns, with their gates, penalties and symmetry breaking.

use certificate::Interval;

use super::encoder::{Encoder, Expression};
use super::layout::Slot;
use super::loss::Curve;
use super::{Parameters, WeightDomain};
use crate::{Error, Result};

const INF: f64 = f64::INFINITY;

/// One weight or bias.
pub(super) struct Weight {
    pub name: String,
    pub value: Expression,
    /// Smallest value and step of its grid.
    grid: Option<Grid>,
    /// What further columns say about the value; made when first needed.
    selectors: Vec<(usize, f64)>,
    digits: Vec<(usize, f64)>,
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy)]
struct Grid {
    lower: f64,
    step: f64,
    steps: u32,
}

/// A piece of a real weight's range: the share of the weight in it, and whether it is there.
#[derive(Clone)]
pub(super) struct Piece {
    pub on: Expression,
    pub weight: Expression,
    pub side: Interval,
}

impl Weight {
    fn new(encoder: &mut Encoder, name: String, domain: &WeightDomain, k: usize) -> Self {
        let mut grid = None;
        let value = match domain {
            WeightDomain::Fixed(values) => Expression::constant(values[k]),
            WeightDomain::Real { lower, upper } => encoder.continuous(&name, (*lower, *upper), 0.0),
            &WeightDomain::Grid { lower, step: _, steps: 0 } => Expression::constant(lower),
            &WeightDomain::Grid { lower, step, steps } => {
                grid = Some(Grid { lower, step, steps });
                let k = encoder.programme.integer(&name, (0.0, f64::from(steps)), 0.0);
                Expression { terms: vec![(k, step)], constant: lower }
            }
        };
        Self { name, value, grid, selectors: Vec::new(), digits: Vec::new(), pieces: Vec::new() }
    }

    pub fn is_on_grid(&self) -> bool {
        self.grid.is_some()
    }

    /// The value that a solution means, on its grid or within its bounds.
    pub fn read(&self, encoder: &Encoder, values: &[f64]) -> f64 {
        let [(column, a)] = self.value.terms[..] else { return self.value.constant };
        let bounds = &encoder.programme.columns[column];
        let value = if self.is_on_grid() { values[column].round() } else { values[column] };
        self.value.constant + a * value.clamp(bounds.lower, bounds.upper)
    }

    /// One binary for each value, exactly one of which is 1.
    pub fn selectors(&mut self, encoder: &mut Encoder) -> &[(usize, f64)] {
        let grid = self.grid.expect("only weights of a grid are asked for their values");
        if self.selectors.is_empty() {
            let name = &self.name;
            let value = |k: u32| grid.lower + grid.step * f64::from(k);
            let selector = |k| (encoder.programme.integer(format!("{name}_is{k}"), (0.0, 1.0), 0.0), value(k));
            self.selectors = (0..=grid.steps).map(selector).collect();
            let one = self.selectors.iter().map(|(t, _)| (*t, 1.0));
            encoder.programme.row(format!("{name}_one"), one, (1.0, 1.0));
            let terms = self.selectors.clone();
            let chosen = Expression { terms, constant: 0.0 };
            encoder.row(format!("{name}_chosen"), &self.value.minus(&chosen), (0.0, 0.0));
        }
        &self.selectors
    }

    /// The smallest value, and one binary for each digit with what it adds.
    pub fn digits(&mut self, encoder: &mut Encoder) -> (f64, &[(usize, f64)]) {
        let grid = self.grid.expect("only weights of a grid are asked for their digits");
        if self.digits.is_empty() {
            let name = &self.name;
            let count = u32::BITS - grid.steps.leading_zeros();
            let mut digit = |t: u32| {
                let q = encoder.programme.integer(format!("{name}_q{t}"), (0.0, 1.0), 0.0);
                (q, grid.step * f64::from(t).exp2())
            };
            self.digits = (0..count).map(&mut digit).collect();
            let sum = Expression { terms: self.digits.clone(), constant: grid.lower };
            encoder.row(format!("{name}_digits"), &self.value.minus(&sum), (0.0, 0.0));
        }
        (grid.lower, &self.digits)
    }

    /// The pieces of its range.
    pub fn pieces(&mut self, encoder: &mut Encoder, count: usize) -> &[Piece] {
        if self.pieces.is_empty() {
            let side = encoder.range(&self.value);
            let end = |k: usize| side.lower + (side.upper - side.lower) * k as f64 / count as f64;
            for p in 0..count {
                let part = Interval::new(end(p), if p + 1 == count { side.upper } else { end(p + 1) });
                self.pieces.push(if count == 1 {
                    Piece { on: Expression::constant(1.0), weight: self.value.clone(), side: part }
                } else {
                    let name = format!("{}_piece{p}", self.name);
                    let on = encoder.binary(format!("{name}_on"), 0.0);
                    let weight = encoder.continuous(&name, (part.lower.min(0.0), part.upper.max(0.0)), 0.0);
                    within(encoder, &name, &weight, part, &on);
                    Piece { on, weight, side: part }
                });
            }
            if count > 1 {
                let on = Expression::sum(self.pieces.iter().map(|piece| (1.0, &piece.on)));
                encoder.row(format!("{}_one_piece", self.name), &on, (1.0, 1.0));
                let sum = Expression::sum(self.pieces.iter().map(|piece| (1.0, &piece.weight)));
                encoder.row(format!("{}_pieces", self.name), &self.value.minus(&sum), (0.0, 0.0));
            }
        }
        &self.pieces
    }
}

/// `lower on <= expression <= upper on`
fn within(encoder: &mut Encoder, name: &str, expression: &Expression, side: Interval, on: &Expression) {
    encoder.row(format!("{name}_if_u"), &Expression::sum([(1.0, expression), (-side.upper, on)]), (-INF, 0.0));
    encoder.row(format!("{name}_if_l"), &Expression::sum([(1.0, expression), (-side.lower, on)]), (0.0, INF));
}

/// A number of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Bias,
    Weight(usize),
}

/// The columns of one dense layer or convolution.
pub(super) struct LayerColumns<'a> {
    pub parameters: &'a Parameters,
    /// Weights per unit.
    pub inputs: usize,
    /// Row by row.
    pub weights: Vec<Weight>,
    pub biases: Vec<Weight>,
    /// Columns of the gates; empty where there are none.
    pub units: Vec<usize>,
    pub input_gates: Vec<usize>,
    pub supports: Vec<usize>,
}

impl<'a> LayerColumns<'a> {
    /// Columns and rows of a layer, the `index`th with weights. `group` is the gate of the optional layers that it is one of.
    pub fn new(
        encoder: &mut Encoder,
        curves: &mut Vec<Curve>,
        slot: &Slot<'a>,
        index: usize,
        group: Option<usize>,
    ) -> Result<Self> {
        let (parameters, l) = (slot.parameters, index + 1);
        let (outputs, inputs) = (parameters.outputs, slot.inputs);
        let weight = |k: usize| format!("w{l}_{}_{}", k / inputs + 1, k % inputs + 1);
        let make = |encoder: &mut Encoder, name, domain, k| Weight::new(encoder, name, domain, k);
        let mut layer = Self {
            parameters,
            inputs,
            weights: (0..outputs * inputs).map(|k| make(encoder, weight(k), &parameters.weights, k)).collect(),
            biases: (0..outputs).map(|k| make(encoder, format!("b{l}_{}", k + 1), &parameters.biases, k)).collect(),
            units: Vec::new(),
            input_gates: Vec::new(),
            supports: Vec::new(),
        };
        let gates = parameters.gates;
        let mut binaries = |cost: Option<f64>, what: &str, count: usize| -> Vec<usize> {
            let binary = |cost| (0..count).map(move |k| (k, cost));
            let binaries = cost.map(binary).into_iter().flatten();
            binaries
                .map(|(k, cost)| encoder.programme.integer(format!("{what}{l}_{}", k + 1), (0.0, 1.0), cost))
                .collect()
        };
        layer.units = binaries(gates.units, "unit", outputs);
        layer.input_gates = binaries(gates.inputs, "input", inputs / slot.places);
        layer.supports = binaries(gates.weights, "support", outputs * inputs);
        layer.close(encoder, slot, group)?;
        layer.penalise(encoder, curves);
        Ok(layer)
    }

    /// Weights are 0 without their gates.
    fn close(&mut self, encoder: &mut Encoder, slot: &Slot, group: Option<usize>) -> Result<()> {
        let all = self.weights.iter().map(|w| (w, &self.parameters.weights)).enumerate();
        let biases = self.biases.iter().map(|b| (b, &self.parameters.biases)).enumerate();
        let mut rules: Vec<(&Weight, (Interval, bool), usize, &str)> = Vec::new();
        for (k, (weight, domain)) in all {
            let side = (domain.side(k), domain.can_be_zero(k));
            let mut rule = |gate: Option<&usize>, what| rules.extend(gate.map(|gate| (weight, side, *gate, what)));
            rule(self.units.get(k / self.inputs), "u");
            rule(self.input_gates.get(k % self.inputs / slot.places), "v");
            rule(self.supports.get(k), "t");
            rule(group.as_ref(), "g");
        }
        for (k, (bias, domain)) in biases {
            let side = (domain.side(k), domain.can_be_zero(k));
            let mut rule = |gate: Option<&usize>, what| rules.extend(gate.map(|gate| (bias, side, *gate, what)));
            rule(self.units.get(k), "u");
            rule(group.as_ref(), "g");
        }
        for (weight, (side, can_be_zero), gate, what) in rules {
            if !can_be_zero {
                return Err(Error::Training(format!(
                    "{} lies in [{}, {}] without 0 and cannot be switched off by a gate; let its domain contain 0",
                    weight.name, side.lower, side.upper
                )));
            }
            within(encoder, &format!("{}_{what}", weight.name), &weight.value, side, &Expression::column(gate));
        }
        if let Some(group) = group {
            for (k, &gate) in self.units.iter().chain(&self.input_gates).chain(&self.supports).enumerate() {
                encoder.programme.row(
                    format!("{}_in_group{k}", self.biases[0].name),
                    [(gate, 1.0), (group, -1.0)],
                    (-INF, 0.0),
                );
            }
        }
        Ok(())
    }

    /// Nothing reads a unit whose gate in the layer before is 0.
    pub fn unread(&self, encoder: &mut Encoder, slot: &Slot, before: &[usize]) {
        if before.is_empty() || matches!(self.parameters.weights, WeightDomain::Fixed(_)) {
            return;
        }
        for (k, weight) in self.weights.iter().enumerate() {
            let gate = Expression::column(before[k % self.inputs / slot.values_per_unit]);
            if self.parameters.weights.can_be_zero(k) {
                let side = self.parameters.weights.side(k);
                within(encoder, &format!("{}_read", weight.name), &weight.value, side, &gate);
            }
        }
    }

    fn penalise(&mut self, encoder: &mut Encoder, curves: &mut Vec<Curve>) {
        let Parameters { l1, l2, .. } = *self.parameters;
        for weight in &mut self.weights {
            if let Some(value) = weight.value.as_constant() {
                encoder.programme.objective_constant += l1 * value.abs() + l2 * value * value;
                continue;
            }
            let side = encoder.range(&weight.value);
            if l1 > 0.0 {
                let size = encoder.continuous(format!("{}_abs", weight.name), (0.0, side.upper.max(-side.lower)), l1);
                let name = &weight.name;
                encoder.row(format!("{name}_pos"), &size.minus(&weight.value), (0.0, INF));
                encoder.row(format!("{name}_neg"), &Expression::sum([(1.0, &size), (1.0, &weight.value)]), (0.0, INF));
            }
            if let (true, Some(grid)) = (l2 > 0.0, weight.grid) {
                // The chords between neighbours on the grid are exact there, and need no binary.
                let square = encoder.continuous(format!("{}_sq", weight.name), (0.0, INF), l2);
                for k in 0..grid.steps {
                    let [a, b] = [k, k + 1].map(|k| grid.lower + grid.step * f64::from(k));
                    let above = Expression::sum([(1.0, &square), (-a - b, &weight.value)]);
                    encoder.row(format!("{}_sq{k}", weight.name), &above, (-a * b, INF));
                }
            } else if l2 > 0.0 {
                curves.push(Curve::square(encoder, &weight.name, &weight.value, l2));
            }
        }
    }

    /// What units are put into an order by: the bias, and as many weights of a grid as make a number that solvers can handle.
    pub fn key(&self) -> Vec<(f64, Place)> {
        const LARGEST: f64 = 1e3;
        let mut key: Vec<(f64, Place)> = vec![(1.0, Place::Bias)];
        let (WeightDomain::Grid { steps, step, .. }, WeightDomain::Grid { .. }) =
            (&self.parameters.weights, &self.parameters.biases)
        else {
            return key;
        };
        let base = f64::from(*steps) + 1.0;
        for k in (0..self.inputs).take_while(|k| base.powi(*k as i32 + 1) <= LARGEST) {
            key.iter_mut().for_each(|(factor, _)| *factor *= base);
            key.push((1.0, Place::Weight(k)));
        }
        let bias_step = if let WeightDomain::Grid { step, .. } = self.parameters.biases { step } else { *step };
        // In steps, so that no place can make up for one before it.
        key.iter_mut().for_each(|(factor, place)| *factor /= if *place == Place::Bias { bias_step } else { *step });
        key
    }

    /// Among units that could change places without any difference, used ones come first and keys do not grow.
    pub fn order(&self, encoder: &mut Encoder, may_swap: &[bool]) {
        let key = self.key();
        let of = |unit: usize| {
            let value = |place: Place| match place {
                Place::Bias => &self.biases[unit].value,
                Place::Weight(k) => &self.weights[unit * self.inputs + k].value,
            };
            Expression::sum(key.iter().map(|(factor, place)| (*factor, value(*place))))
        };
        for j in (0..may_swap.len()).filter(|j| may_swap[*j]) {
            let name = format!("order_{}", self.biases[j].name);
            let mut falls = of(j).minus(&of(j + 1));
            let mut least = 0.0;
            if let [here, next] = self.units.get(j..j + 2).unwrap_or_default() {
                encoder.programme.row(format!("{name}_used"), [(*here, 1.0), (*next, -1.0)], (0.0, INF));
                // Where the next one is not used its key says nothing.
                least = encoder.range(&falls).lower.min(0.0);
                falls = Expression::sum([(1.0, &falls), (least, &Expression::column(*next))]);
            }
            encoder.row(name, &falls, (least, INF));
        }
    }

    pub fn read(&self, encoder: &Encoder, values: &[f64]) -> super::LayerWeights {
        let on = |gate: Option<&usize>| gate.is_none_or(|gate| values[*gate] > 0.5);
        let places = self.inputs.checked_div(self.input_gates.len()).unwrap_or(1);
        let weight = |(k, weight): (usize, &Weight)| {
            let kept = on(self.units.get(k / self.inputs))
                && on(self.input_gates.get(k % self.inputs / places))
                && on(self.supports.get(k));
            if kept { weight.read(encoder, values) } else { 0.0 }
        };
        let bias = |(k, bias): (usize, &Weight)| if on(self.units.get(k)) { bias.read(encoder, values) } else { 0.0 };
        // As the network stores them.
        let stored = |w: f64| f64::from(w as f32);
        super::LayerWeights {
            weights: self.weights.iter().enumerate().map(weight).map(stored).collect(),
            biases: self.biases.iter().enumerate().map(bias).map(stored).collect(),
        }
    }
}
