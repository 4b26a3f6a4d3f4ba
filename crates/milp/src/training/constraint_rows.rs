//! Constraints as rows.

use std::collections::BTreeSet;

use super::Layer;
use super::constraint::{Constraint, Gate};
use super::encode::Encoded;
use super::encoder::Expression;
use super::weight::LayerColumns;
use crate::{Error, Result};

impl Encoded<'_> {
    fn gate(&self, gate: &Gate) -> Result<usize> {
        let layer = |k: usize| self.layers.get(k);
        let column = match *gate {
            Gate::Unit { layer: k, unit } => layer(k).and_then(|layer| layer.units.get(unit)),
            Gate::Input { layer: k, input } => layer(k).and_then(|layer| layer.input_gates.get(input)),
            Gate::Weight { layer: k, unit, input } => {
                let place = |layer: &'_ LayerColumns| (input < layer.inputs).then_some(unit * layer.inputs + input);
                layer(k).and_then(|layer| layer.supports.get(place(layer)?))
            }
            Gate::Activation { layer: k, channel } => self.open.get(k).and_then(|layer| layer.get(channel)),
            Gate::Optional(group) => self.groups.get(group),
        };
        column.copied().ok_or_else(|| Error::Training(format!("a constraint names {gate}, which has no gate")))
    }

    /// Constraints that speak of weights and gates alone.
    pub fn constrain_weights(&mut self, k: usize, constraint: &Constraint) -> Result<()> {
        let name = format!("constraint{}", k + 1);
        match constraint {
            &Constraint::Weight { layer, unit, input, lower, upper } => {
                let columns = self.layers.get(layer).filter(|l| input < l.inputs && unit < l.biases.len());
                let Some(columns) = columns else {
                    return Err(Error::Training(format!("there is no such weight: {constraint}")));
                };
                let weight = columns.weights[unit * columns.inputs + input].value.clone();
                self.encoder.restrict(name, &weight, (lower, upper));
            }
            Constraint::Monotone { input, direction } => self.sign_form(&name, *input, direction.sign())?,
            Constraint::Clause(literals) => {
                let mut sum = Expression::default();
                for (gate, on) in literals {
                    let z = Expression::column(self.gate(gate)?);
                    let (sign, constant) = if *on { (1.0, 0.0) } else { (-1.0, 1.0) };
                    sum = Expression::sum([(1.0, &sum), (sign, &z), (constant, &Expression::constant(1.0))]);
                }
                self.encoder.row(name, &sum, (1.0, f64::INFINITY));
            }
            Constraint::AtMost { gates, count } => {
                let gates = gates.iter().map(|gate| self.gate(gate)).collect::<Result<BTreeSet<_>>>()?;
                let sides = (f64::NEG_INFINITY, *count as f64);
                self.encoder.programme.row(name, gates.into_iter().map(|gate| (gate, 1.0)), sides);
            }
            Constraint::Anchored { .. } | Constraint::Output { .. } => {}
        }
        Ok(())
    }

    /// `v w sign >= 0` for every weight `w` of the input and `v` of its unit.
    fn sign_form(&mut self, name: &str, input: usize, sign: f64) -> Result<()> {
        if !matches!(self.problem.layers[..], [Layer::Dense(_), Layer::Relu, Layer::Dense(_)]) {
            return Err(Error::Training(
                "the sign form of monotonicity is for one hidden relu layer; use anchored constraints".into(),
            ));
        }
        let [first, second] = &self.layers[..] else { unreachable!("two dense layers have two sets of weights") };
        if input >= first.inputs {
            return Err(Error::Training(format!("there is no input {} to be monotone in", input + 1)));
        }
        for unit in 0..first.biases.len() {
            for row in 0..second.biases.len() {
                let w = first.weights[unit * first.inputs + input].value.scaled(sign);
                let v = second.weights[row * second.inputs + unit].value.clone();
                let name = format!("{name}_{}_{}", unit + 1, row + 1);
                let (ws, vs) = (self.encoder.range(&w), self.encoder.range(&v));
                let positive = (0.0, f64::INFINITY);
                match (vs.lower, vs.upper) {
                    (0.0, 0.0) => {}
                    (lower, _) if lower > 0.0 => self.encoder.restrict(name, &w, positive),
                    (_, upper) if upper < 0.0 => self.encoder.restrict(name, &w.scaled(-1.0), positive),
                    _ => {
                        // Either both are at least 0, or both are at most 0: where nothing counts a unit it may do anything.
                        let p = self.encoder.binary(format!("{name}_p"), 0.0);
                        for (what, e, side) in [("w", &w, ws), ("v", &v, vs)] {
                            let (low, high) = (side.lower.min(0.0), side.upper.max(0.0));
                            let above = Expression::sum([(1.0, e), (low, &p)]);
                            self.encoder.row(format!("{name}_{what}l"), &above, (low, f64::INFINITY));
                            let below = Expression::sum([(1.0, e), (-high, &p)]);
                            self.encoder.row(format!("{name}_{what}u"), &below, (f64::NEG_INFINITY, 0.0));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Constraints on what the network does at a point.
    pub fn constrain_points(&mut self, k: usize, constraint: &Constraint) -> Result<()> {
        let name = format!("constraint{}", k + 1);
        match constraint {
            Constraint::Anchored { point, input, direction } => {
                if self.layout.steps {
                    return Err(Error::Training("a network of steps has no derivative to be anchored".into()));
                }
                if *input >= point.len() {
                    return Err(Error::Training(format!("there is no input {} to be monotone in", input + 1)));
                }
                let signal = self.forward(point, Some((*input, direction.sign())), &format!("c{}", k + 1))?;
                for (output, tangent) in signal.tangents.unwrap_or_default().iter().enumerate() {
                    self.encoder.restrict(format!("{name}_{}", output + 1), tangent, (0.0, f64::INFINITY));
                }
            }
            Constraint::Output { point, output, lower, upper } => {
                let outputs = self.forward(point, None, &format!("c{}", k + 1))?.values;
                let Some(value) = outputs.get(*output) else {
                    return Err(Error::Training(format!("there is no such output: {constraint}")));
                };
                self.encoder.row(name, value, (*lower, *upper));
            }
            _ => {}
        }
        Ok(())
    }
}
