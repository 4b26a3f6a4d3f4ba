//! A point's way through a network whose weights are columns.

use certificate::Shape;

use super::encode::Encoded;
use super::encoder::Expression;
use super::layout::{Sums, shape_after, sums, under};
use super::{Layer, WeightDomain};
use crate::Result;

/// Numbers on their way through the network, and their derivatives in one input where these are wanted.
pub(super) struct Signal {
    pub values: Vec<Expression>,
    pub tangents: Option<Vec<Expression>>,
}

/// How many of everything lie behind.
#[derive(Default)]
struct Position {
    layer: usize,
    slot: usize,
    group: usize,
    gate: usize,
}

impl<'a> Encoded<'a> {
    /// A point's way through the network; with an input and a sign also the derivatives in it, times the sign.
    pub fn forward(&mut self, x: &[f64], along: Option<(usize, f64)>, name: &str) -> Result<Signal> {
        let direction = |(input, sign): (usize, f64)| {
            (0..x.len()).map(|j| Expression::constant(if j == input { sign } else { 0.0 })).collect()
        };
        let values = x.iter().map(|x| Expression::constant(*x)).collect();
        let signal = Signal { values, tangents: along.map(direction) };
        let (problem, mut position) = (self.problem, Position::default());
        Ok(self.layers(&problem.layers, problem.input, signal, &mut position, name)?.1)
    }

    fn layers(
        &mut self,
        layers: &'a [Layer],
        mut shape: Shape,
        mut signal: Signal,
        at: &mut Position,
        name: &str,
    ) -> Result<(Shape, Signal)> {
        for layer in layers {
            at.layer += 1;
            let after = shape_after(layer, shape)?;
            signal = self.layer(layer, (shape, after), signal, at, &format!("{name}_l{}", at.layer))?;
            shape = after;
        }
        Ok((shape, signal))
    }

    fn layer(
        &mut self,
        layer: &'a Layer,
        (shape, after): (Shape, Shape),
        signal: Signal,
        at: &mut Position,
        name: &str,
    ) -> Result<Signal> {
        match layer {
            Layer::Flatten => Ok(signal),
            Layer::Dense(_) | Layer::Convolution(..) => {
                at.slot += 1;
                self.affine(at.slot - 1, signal, sums(layer, shape, after), name)
            }
            Layer::AveragePool(window) => {
                let windows = under(window, shape, after);
                let share = 1.0 / (window.height * window.width) as f64;
                let pooled = |of: &[Expression]| {
                    let mean = |under: &Vec<usize>| Expression::sum(under.iter().map(|index| (share, &of[*index])));
                    windows.iter().map(mean).collect()
                };
                Ok(Signal { values: pooled(&signal.values), tangents: signal.tangents.as_deref().map(pooled) })
            }
            Layer::MaxPool(window) => self.max_pool(&under(window, shape, after), signal, name),
            Layer::Relu => {
                let (mut values, mut phases) = (Vec::new(), Vec::new());
                let derived = signal.tangents.is_some();
                for (j, t) in signal.values.iter().enumerate() {
                    let (h, z) = self.encoder.relu(t, derived, &format!("{name}_h{}", j + 1))?;
                    values.push(h);
                    phases.push(z);
                }
                let tangents = self.gated_each(&phases, signal.tangents, name)?;
                Ok(Signal { values, tangents })
            }
            Layer::Step { margin } => {
                let step = |(j, t)| self.encoder.step(t, *margin, &format!("{name}_h{}", j + 1));
                let values = signal.values.iter().enumerate().map(step).collect::<Result<_>>()?;
                Ok(Signal { values, tangents: None })
            }
            Layer::Gate(_) => {
                at.gate += 1;
                // Also behind a layer that has flattened the array.
                let per_channel = shape.size() / self.open[at.gate - 1].len();
                let gates: Vec<_> =
                    (0..shape.size()).map(|k| Expression::column(self.open[at.gate - 1][k / per_channel])).collect();
                let values = self.gated_each(&gates, Some(signal.values), &format!("{name}_v"))?;
                let tangents = self.gated_each(&gates, signal.tangents, name)?;
                Ok(Signal { values: values.unwrap_or_default(), tangents })
            }
            Layer::Optional { layers, .. } => {
                at.group += 1;
                let gate = Expression::column(self.groups[at.group - 1]);
                let before = Signal { values: signal.values.clone(), tangents: signal.tangents.clone() };
                let (_, inside) = self.layers(layers, shape, signal, at, name)?;
                let values = self.mixed(&gate, before.values, inside.values, &format!("{name}_skip"))?;
                let pair = before.tangents.zip(inside.tangents);
                let mix = |(before, inside)| self.mixed(&gate, before, inside, &format!("{name}_dskip"));
                Ok(Signal { values, tangents: pair.map(mix).transpose()? })
            }
        }
    }

    /// The largest number under each window, and the derivative of the one that is taken for it.
    fn max_pool(&mut self, windows: &[Vec<usize>], signal: Signal, name: &str) -> Result<Signal> {
        let mut pooled = Signal { values: Vec::new(), tangents: signal.tangents.as_ref().map(|_| Vec::new()) };
        let derived = signal.tangents.is_some();
        for (k, under) in windows.iter().enumerate() {
            let name = format!("{name}_{}", k + 1);
            let of: Vec<_> = under.iter().map(|index| signal.values[*index].clone()).collect();
            let (value, largest) = self.encoder.max(&of, derived, &name)?;
            pooled.values.push(value);
            if let (Some(pooled), Some(tangents)) = (&mut pooled.tangents, &signal.tangents) {
                let mut sum = Expression::default();
                for (k, (z, index)) in largest.iter().zip(under).enumerate() {
                    let part = self.encoder.gated(z, &tangents[*index], &format!("{name}_d{k}"))?;
                    sum = Expression::sum([(1.0, &sum), (1.0, &part)]);
                }
                pooled.push(sum);
            }
        }
        Ok(pooled)
    }

    /// `h + g (r - h)` for what is before optional layers and what they make of it.
    fn mixed(
        &mut self,
        gate: &Expression,
        before: Vec<Expression>,
        inside: Vec<Expression>,
        name: &str,
    ) -> Result<Vec<Expression>> {
        let mix = |(j, (h, r)): (usize, (&Expression, &Expression))| {
            let change = self.encoder.gated(gate, &r.minus(h), &format!("{name}{}", j + 1))?;
            Ok(Expression::sum([(1.0, h), (1.0, &change)]))
        };
        before.iter().zip(&inside).enumerate().map(mix).collect()
    }

    fn gated_each(
        &mut self,
        gates: &[Expression],
        signal: Option<Vec<Expression>>,
        name: &str,
    ) -> Result<Option<Vec<Expression>>> {
        let Some(signal) = signal else { return Ok(None) };
        let gated = |(j, (z, e))| self.encoder.gated(z, e, &format!("{name}_d{}", j + 1));
        gates.iter().zip(&signal).enumerate().map(gated).collect::<Result<_>>().map(Some)
    }

    /// For each unit the weights, and the values that they are multiplied with.
    fn affine(&mut self, slot: usize, mut signal: Signal, units: Sums, name: &str) -> Result<Signal> {
        let Self { encoder, layers, .. } = self;
        let layer = &mut layers[slot];
        // Where every value meets several weights, one column for it keeps the rows short.
        if !matches!(layer.parameters.weights, WeightDomain::Fixed(_)) {
            for (j, value) in signal.values.iter_mut().enumerate() {
                *value = encoder.single(value, &format!("{name}_x{}", j + 1));
            }
            for (j, tangent) in signal.tangents.iter_mut().flatten().enumerate() {
                *tangent = encoder.single(tangent, &format!("{name}_dx{}", j + 1));
            }
        }
        let mut sums = |of: &[Expression], biased: bool, what: &str| -> Result<Vec<Expression>> {
            let mut outputs = Vec::new();
            for (k, (unit, terms)) in units.iter().enumerate() {
                let mut products = Vec::new();
                for (place, index) in terms {
                    let weight = &mut layer.weights[unit * layer.inputs + place];
                    products.push(encoder.product(
                        weight,
                        &of[*index],
                        &format!("{name}_{what}{}_{}", k + 1, place + 1),
                    )?);
                }
                let bias = biased.then(|| (1.0, &layer.biases[*unit].value));
                outputs.push(Expression::sum(products.iter().map(|p| (1.0, p)).chain(bias)));
            }
            Ok(outputs)
        };
        let values = sums(&signal.values, true, "p")?;
        let tangents = signal.tangents.map(|tangents| sums(&tangents, false, "dp")).transpose()?;
        Ok(Signal { values, tangents })
    }
}
