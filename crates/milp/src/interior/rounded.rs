//! The slack programme in `f64`, with answers that are confirmed exactly.
//!
//! Rounding can hardly be wrong about a cell that is clearly there, or clearly not: then a point with a few binary digits
//! satisfies all half-spaces, or rounded factors still show that they have no common point. What is closer than that is
//! left to the exact simplex method.

use std::time::Duration;

use certificate::exact::{approximate, rational};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{FromPrimitive, Signed, Zero};

use super::{Halfspace, Interior, reduced};
use crate::programme::Programme;
use crate::solver::{Limits, Microlp, Solver};

/// Points and factors are multiples of its inverse.
const DIGITS: f64 = (1u64 << 40) as f64;
/// Factors below this are rounding errors.
const NONE: f64 = 1e-9;
/// More than either programme takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The answer, if rounding finds one that exact arithmetic confirms.
pub(super) fn interior(halfspaces: &[Halfspace], sides: &[(BigRational, BigRational)]) -> Option<Interior> {
    let slack = Slack::new(halfspaces, sides);
    let point: Vec<BigRational> = slack.point()?.into_iter().zip(sides).map(|(x, side)| short(x, side)).collect();
    if halfspaces.iter().all(|halfspace| value(halfspace, &point).is_positive()) {
        return Some(Interior::Point(point));
    }
    let conflict = slack.conflict()?;
    // No half-space at all would show nothing.
    let shown = !conflict.is_empty() && !largest(halfspaces, sides, &conflict).is_positive();
    shown.then_some(Interior::Empty { conflict })
}

/// The half-spaces in `f64`, each divided by a bound of its size in the box, so that slacks are at most 1.
struct Slack {
    weight: Vec<Vec<f64>>,
    bias: Vec<f64>,
    /// What they were divided by.
    size: Vec<f64>,
    sides: Vec<(f64, f64)>,
}

impl Slack {
    fn new(halfspaces: &[Halfspace], sides: &[(BigRational, BigRational)]) -> Self {
        let sides: Vec<_> = sides.iter().map(|(lower, upper)| (approximate(lower), approximate(upper))).collect();
        let mut slack = Self { weight: Vec::new(), bias: Vec::new(), size: Vec::new(), sides };
        for halfspace in halfspaces {
            let weight: Vec<f64> = halfspace.weight.iter().map(approximate).collect();
            let bias = approximate(&halfspace.bias);
            let reach = |(w, side): (&f64, &(f64, f64))| w.abs() * side.0.abs().max(side.1.abs());
            let size = bias.abs() + weight.iter().zip(&slack.sides).map(reach).sum::<f64>();
            let size = if size > 0.0 { size } else { 1.0 };
            slack.weight.push(weight.iter().map(|w| w / size).collect());
            slack.bias.push(bias / size);
            slack.size.push(size);
        }
        slack
    }

    /// Where the least slack is largest.
    fn point(&self) -> Option<Vec<f64>> {
        let mut programme = Programme::new("slack");
        let x: Vec<usize> = numbered(&self.sides, |j, side| programme.continuous(format!("x{j}"), *side, 0.0));
        let slack = programme.continuous("slack", (-2.0, 2.0), -1.0);
        for (i, (weight, bias)) in self.weight.iter().zip(&self.bias).enumerate() {
            let terms = x.iter().copied().zip(weight.iter().copied()).chain([(slack, -1.0)]);
            programme.row(format!("halfspace{i}"), terms, (-bias, f64::INFINITY));
        }
        let mut values = solved(&programme)?;
        values.truncate(x.len());
        Some(values)
    }

    /// Factors of which the sum of all half-spaces is smallest where it is largest: the dual.
    fn conflict(&self) -> Option<Vec<(usize, BigInt)>> {
        let mut programme = Programme::new("conflict");
        let factors = numbered(&self.bias, |i, bias| programme.continuous(format!("factor{i}"), (0.0, 1.0), *bias));
        programme.row("sum", factors.iter().map(|f| (*f, 1.0)), (1.0, 1.0));
        for (j, (lower, upper)) in self.sides.iter().enumerate() {
            let up = programme.continuous(format!("up{j}"), (0.0, 2.0), *upper);
            let down = programme.continuous(format!("down{j}"), (0.0, 2.0), -lower);
            let terms = factors.iter().zip(&self.weight).map(|(f, weight)| (*f, weight[j]));
            programme.row(format!("coordinate{j}"), terms.chain([(up, -1.0), (down, 1.0)]), (0.0, 0.0));
        }
        let mut factors = solved(&programme)?;
        factors.truncate(self.bias.len());
        self.thin_out(&mut factors);
        let factors = factors.iter().zip(&self.size).map(|(factor, size)| factor / size);
        let largest = factors.clone().fold(0.0, f64::max);
        let conflict = factors.enumerate().filter_map(|(i, factor)| {
            let factor = BigInt::from_f64((factor / largest * DIGITS).round())?;
            factor.is_positive().then_some((i, factor))
        });
        Some(reduced(conflict.collect()))
    }

    /// Leaves out what a conflict can do without, small factors first: the fewer half-spaces, the more it excludes.
    fn thin_out(&self, factors: &mut [f64]) {
        let mut order: Vec<usize> = (0..factors.len()).filter(|i| factors[*i] != 0.0).collect();
        order.sort_by(|a, b| factors[*a].total_cmp(&factors[*b]));
        for i in order {
            let factor = std::mem::take(&mut factors[i]);
            let superfluous = factor < NONE || self.largest(factors) < -NONE * factors.iter().sum::<f64>();
            if !superfluous {
                factors[i] = factor;
            }
        }
    }

    /// The largest value in the box of the half-spaces' sum.
    fn largest(&self, factors: &[f64]) -> f64 {
        let sum = |of: &dyn Fn(usize) -> f64| factors.iter().enumerate().map(|(i, factor)| factor * of(i)).sum::<f64>();
        let at_end = |(j, (lower, upper)): (usize, &(f64, f64))| {
            let weight = sum(&|i| self.weight[i][j]);
            (weight * lower).max(weight * upper)
        };
        self.sides.iter().enumerate().map(at_end).sum::<f64>() + sum(&|i| self.bias[i])
    }
}

fn numbered<T>(items: &[T], mut add: impl FnMut(usize, &T) -> usize) -> Vec<usize> {
    items.iter().enumerate().map(|(k, item)| add(k, item)).collect()
}

fn solved(programme: &Programme) -> Option<Vec<f64>> {
    let solution = Microlp.solve(programme, &Limits::time(PATIENCE)).incumbent?;
    solution.values.iter().all(|value| value.is_finite()).then_some(solution.values)
}

/// A number of few digits near `x` in a side of the box.
fn short(x: f64, (lower, upper): &(BigRational, BigRational)) -> BigRational {
    let short = rational((x * DIGITS).round() / DIGITS);
    short.max(lower.clone()).min(upper.clone())
}

/// `sigma (w x + b)` at a point.
fn value(halfspace: &Halfspace, point: &[BigRational]) -> BigRational {
    halfspace.weight.iter().zip(point).fold(halfspace.bias.clone(), |sum, (w, x)| sum + w * x)
}

/// The largest value in the box of a sum of half-spaces.
fn largest(
    halfspaces: &[Halfspace],
    sides: &[(BigRational, BigRational)],
    conflict: &[(usize, BigInt)],
) -> BigRational {
    let sum = |of: &dyn Fn(&Halfspace) -> BigRational| {
        conflict.iter().fold(BigRational::zero(), |sum, (i, factor)| sum + of(&halfspaces[*i]) * factor)
    };
    let at_end = |(j, (lower, upper)): (usize, &(BigRational, BigRational))| {
        let weight = sum(&|halfspace| halfspace.weight[j].clone());
        let end = if weight.is_negative() { lower } else { upper };
        weight * end
    };
    sides.iter().enumerate().map(at_end).fold(sum(&|halfspace| halfspace.bias.clone()), |sum, term| sum + term)
}
