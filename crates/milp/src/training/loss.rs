//! Losses: their rows and, for given outputs, their values.

use super::encoder::{Encoder, Expression};
use super::{Loss, Targets};
use crate::Result;

const INF: f64 = f64::INFINITY;

/// Where the outputs of a solution are rounded to 32 bits or a solver is off by its tolerance, a margin may be missed by this
/// much without counting as an error.
const MARGIN_TOL: f64 = 1e-5;

/// A convex function of expressions that a column lies above, known to the programme by some of its tangents.
pub(super) struct Curve {
    column: usize,
    function: Function,
    arguments: Vec<Expression>,
    name: String,
    tangents: usize,
}

#[derive(Clone, Copy)]
enum Function {
    /// `t^2`
    Square,
    /// `ln(1 + sum of exp t_k)`
    LogSumExp,
}

impl Function {
    fn value(self, at: &[f64]) -> f64 {
        match self {
            Self::Square => at[0] * at[0],
            Self::LogSumExp => {
                let largest = at.iter().fold(0.0, |a: f64, b| a.max(*b));
                largest + (at.iter().map(|t| (t - largest).exp()).sum::<f64>() + (-largest).exp()).ln()
            }
        }
    }

    fn gradient(self, at: &[f64]) -> Vec<f64> {
        match self {
            Self::Square => vec![2.0 * at[0]],
            Self::LogSumExp => {
                let log = self.value(at);
                at.iter().map(|t| (t - log).exp()).collect()
            }
        }
    }
}

impl Curve {
    /// `cost t^2`
    pub fn square(encoder: &mut Encoder, name: &str, t: &Expression, cost: f64) -> Self {
        let side = encoder.range(t);
        let reach = side.upper.max(-side.lower);
        // Finer towards 0, where good networks are.
        let shares = (0..6).flat_map(|k| [-1.0, 1.0].map(|sign| sign * f64::from(-k).exp2())).chain([0.0]);
        let starts: Vec<_> = shares.map(|share| vec![share * reach]).collect();
        Self::new(encoder, format!("{name}_sq"), Function::Square, vec![t.clone()], (reach * reach, cost), &starts)
    }

    fn log_sum_exp(encoder: &mut Encoder, name: &str, arguments: Vec<Expression>) -> Self {
        let most =
            arguments.iter().map(|t| encoder.range(t).upper).fold(0.0, f64::max) + (arguments.len() as f64 + 1.0).ln();
        let starts: Vec<Vec<f64>> = [-4.0, -1.0, 0.0, 1.0, 4.0].iter().map(|t| vec![*t; arguments.len()]).collect();
        Self::new(encoder, format!("{name}_ce"), Function::LogSumExp, arguments, (most, 1.0), &starts)
    }

    fn new(
        encoder: &mut Encoder,
        name: String,
        function: Function,
        arguments: Vec<Expression>,
        (most, cost): (f64, f64),
        starts: &[Vec<f64>],
    ) -> Self {
        let column = encoder.programme.continuous(&name, (0.0, most.next_up()), cost);
        let mut curve = Self { column, function, arguments, name, tangents: 0 };
        starts.iter().for_each(|at| curve.touch(encoder, at));
        curve
    }

    /// One more tangent.
    ///
    /// # Soundness
    /// It is lowered by more than rounding can lift it, so no network is cut off.
    fn touch(&mut self, encoder: &mut Encoder, at: &[f64]) {
        let (value, gradient) = (self.function.value(at), self.function.gradient(at));
        let plane = gradient.iter().zip(&self.arguments).map(|(slope, t)| (-slope, t));
        let column = Expression::column(self.column);
        let above = Expression::sum(plane.chain([(1.0, &column)]));
        let size: f64 = gradient.iter().zip(at).map(|(slope, t)| (slope * t).abs()).sum::<f64>() + value.abs() + 1.0;
        let least = value - gradient.iter().zip(at).map(|(slope, t)| slope * t).sum::<f64>();
        encoder.row(format!("{}_{}", self.name, self.tangents), &above, (least - 1e-12 * size, INF));
        self.tangents += 1;
    }

    /// A tangent at a solution that lies below the curve; whether there was need for one.
    pub fn refine(&mut self, encoder: &mut Encoder, values: &[f64], tolerance: f64) -> bool {
        let at: Vec<f64> = self.arguments.iter().map(|t| t.value(values)).collect();
        let below = self.function.value(&at) > values[self.column] + tolerance;
        if below {
            self.touch(encoder, &at);
        }
        below
    }
}

/// The margins of a class over the others.
fn margins(outputs: &[Expression], class: usize) -> Vec<Expression> {
    match outputs {
        [only] => vec![only.scaled(if class == 1 { 1.0 } else { -1.0 })],
        _ => (0..outputs.len()).filter(|k| *k != class).map(|k| outputs[class].minus(&outputs[k])).collect(),
    }
}

/// Adds the loss of one sample to the objective.
pub(super) fn encode(
    encoder: &mut Encoder,
    curves: &mut Vec<Curve>,
    loss: Loss,
    outputs: &[Expression],
    (targets, sample): (&Targets, usize),
) -> Result<()> {
    let name = format!("loss{}", sample + 1);
    match targets {
        Targets::Values(values) => {
            for (k, (output, y)) in outputs.iter().zip(&values[sample]).enumerate() {
                let name = format!("{name}_{}", k + 1);
                let error = output.minus(&Expression::constant(*y));
                if loss == Loss::Squared {
                    curves.push(Curve::square(encoder, &name, &error, 1.0));
                    continue;
                }
                let side = encoder.range(&error);
                let size = encoder.continuous(&name, (0.0, side.upper.max(-side.lower).max(0.0)), 1.0);
                encoder.row(format!("{name}_over"), &size.minus(&error), (0.0, INF));
                encoder.row(format!("{name}_under"), &Expression::sum([(1.0, &size), (1.0, &error)]), (0.0, INF));
            }
        }
        Targets::Classes(classes) => {
            let margins = margins(outputs, classes[sample]);
            let least = margins.iter().map(|m| encoder.range(m).lower).fold(INF, f64::min);
            match loss {
                Loss::Hinge => {
                    let slack = encoder.continuous(&name, (0.0, (1.0 - least).next_up().max(0.0)), 1.0);
                    for (k, m) in margins.iter().enumerate() {
                        encoder.row(format!("{name}_m{k}"), &Expression::sum([(1.0, &slack), (1.0, m)]), (1.0, INF));
                    }
                }
                Loss::ZeroOne { margin } => {
                    let wrong = encoder.binary(&name, 1.0);
                    let gap = (margin - least).next_up().max(0.0);
                    for (k, m) in margins.iter().enumerate() {
                        let right = Expression::sum([(1.0, m), (gap, &wrong)]);
                        encoder.row(format!("{name}_m{k}"), &right, (margin, INF));
                    }
                }
                Loss::CrossEntropy | Loss::L1 | Loss::Squared => {
                    let arguments = margins.iter().map(|m| m.scaled(-1.0)).collect();
                    curves.push(Curve::log_sum_exp(encoder, &name, arguments));
                }
            }
        }
    }
    Ok(())
}

/// The loss of one sample from its outputs.
pub(super) fn value(loss: Loss, outputs: &[f64], targets: &Targets, sample: usize) -> f64 {
    match targets {
        Targets::Values(values) => {
            let errors = outputs.iter().zip(&values[sample]).map(|(f, y)| f - y);
            if loss == Loss::L1 { errors.map(f64::abs).sum() } else { errors.map(|e| e * e).sum() }
        }
        Targets::Classes(classes) => {
            let outputs: Vec<_> = outputs.iter().map(|f| Expression::constant(*f)).collect();
            let margins: Vec<f64> = margins(&outputs, classes[sample]).iter().map(|m| m.constant).collect();
            let least = margins.iter().copied().fold(INF, f64::min);
            match loss {
                Loss::Hinge => (1.0 - least).max(0.0),
                Loss::ZeroOne { margin } => f64::from(least < margin - MARGIN_TOL),
                Loss::CrossEntropy | Loss::L1 | Loss::Squared => {
                    Function::LogSumExp.value(&margins.iter().map(|m| -m).collect::<Vec<_>>())
                }
            }
        }
    }
}
