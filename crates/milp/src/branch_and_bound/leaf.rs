//! Leaves of a proof: multipliers with few digits, and the certainty that they prove what they should.

use std::collections::BTreeSet;

use certificate::exact::rational;
use certificate::{ExactMultipliers, Multipliers, Step};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;

use super::Proof;
use super::region::{Region, State};
use crate::derivative::{DirectedDerivative, Neuron};

/// Binary digits of the multipliers, relative to the steepest piece of an unstable neuron; as few as will do.
const DIGITS: [i32; 6] = [5, 8, 12, 18, 26, 48];

/// A leaf that proves that the derivative is at least `at_least` in the region, made from the multipliers of its
/// relaxation; marks the tightenings that it needs. `None` if rounding does not allow it.
///
/// # Soundness
/// `sum_i s_i t_i` plus the constant is bounded from below in `f64` with a margin for all rounding errors; if that does
/// not decide, in exact arithmetic.
pub(super) fn certify(
    derivative: &DirectedDerivative,
    region: &Region,
    multipliers: &[f64],
    at_least: f64,
) -> Option<Proof> {
    let steepest = (0..region.states.len())
        .filter(|&i| region.states[i] == State::Unstable)
        .map(|i| multipliers[i].abs())
        .fold(0.0, f64::max);
    let largest = multipliers[..region.states.len()].iter().map(|s| s.abs()).fold(0.0, f64::max);
    let reference = if steepest > 0.0 { steepest } else { largest };
    if reference == 0.0 {
        let leaf = Leaf { exponent: 0, units: vec![0; region.states.len()], states: region.states.clone() };
        let slack = leaf.slack(derivative, region, at_least)?;
        return Some(leaf.into_proof(derivative, region, at_least, slack));
    }
    let top = reference.log2().ceil() as i32;
    for digits in DIGITS {
        let exponent = top - digits;
        if exponent < -1000 || largest.log2() - f64::from(exponent) > 52.0 {
            continue;
        }
        let units = |i: usize| {
            let exact = multipliers[i] * f64::exp2(f64::from(-exponent));
            // Towards zero stays within the slopes of an unstable neuron.
            (if region.states[i] == State::Unstable { exact.trunc() } else { exact.round() }) as i64
        };
        let units = (0..region.states.len()).map(units).collect();
        let leaf = Leaf { exponent, units, states: region.states.clone() };
        if let Some(slack) = leaf.slack(derivative, region, at_least) {
            return Some(leaf.into_proof(derivative, region, at_least, slack));
        }
    }
    None
}

/// The leaf that shows that a region has no open cell, from neurons with phases and multipliers of a conflict.
pub(super) fn empty(derivative: &DirectedDerivative, conflict: impl Iterator<Item = (usize, bool, BigInt)>) -> Proof {
    // sum_i lambda_i sigma_i t_i <= 0 everywhere, and the terms of an active neuron must not be positive.
    let mut needs = BTreeSet::new();
    let term = |(i, active, lambda): (usize, bool, BigInt)| {
        needs.insert(i);
        (derivative.neurons[i].index, if active { -lambda } else { lambda })
    };
    let multipliers = conflict.map(term).collect();
    Proof { steps: vec![Step::Empty(ExactMultipliers { multipliers })], needs }
}

/// `s_i = units_i * 2^exponent`.
struct Leaf {
    exponent: i32,
    units: Vec<i64>,
    /// What is used of the neurons' states in the region; less is better.
    states: Vec<State>,
}

impl Leaf {
    fn multiplier(&self, i: usize) -> f64 {
        self.units[i] as f64 * f64::exp2(f64::from(self.exponent))
    }

    /// What neuron `i` adds whatever its phase: its `c` if it is known to be active, or unstable and negative.
    fn constant(&self, derivative: &DirectedDerivative, region: &Region, i: usize) -> f64 {
        region.pieces(derivative.neurons[i].coefficient, i, self.states[i], 0.0).2
    }

    /// By how much the bound that is proved is above `at_least`, rounded down; `None` if it is below.
    fn slack(&self, derivative: &DirectedDerivative, region: &Region, at_least: f64) -> Option<f64> {
        let layer = derivative.block.first();
        let sides = &region.slice.sides;
        let mut weight = vec![0.0; sides.len()];
        let mut size = vec![0.0; sides.len()];
        let (mut sum, mut sum_size) = (0.0, 0.0);
        for (i, neuron) in derivative.neurons.iter().enumerate() {
            let constant = self.constant(derivative, region, i);
            sum += constant;
            sum_size += constant.abs();
            if self.units[i] == 0 {
                continue;
            }
            let s = self.multiplier(i);
            let b = s * f64::from(layer.bias()[neuron.index]);
            sum += b;
            sum_size += b.abs();
            for ((weight, size), w) in weight.iter_mut().zip(&mut size).zip(layer.row(neuron.index)) {
                let product = s * f64::from(*w);
                *weight += product;
                *size += product.abs();
            }
        }
        let mut grouped = vec![false; sides.len()];
        for (group, member) in derivative.domain.one_hot().iter().zip(&region.slice.discrete.members) {
            group.iter().for_each(|&j| grouped[j] = true);
            sum += match member {
                Some(member) => weight[group[*member]],
                None => group.iter().map(|&j| weight[j]).fold(f64::INFINITY, f64::min),
            };
            sum_size += group.iter().map(|&j| size[j]).fold(0.0, f64::max);
        }
        for j in (0..sides.len()).filter(|&j| !grouped[j]) {
            sum += (weight[j] * sides[j].0).min(weight[j] * sides[j].1);
            sum_size += size[j] * sides[j].0.abs().max(sides[j].1.abs());
        }
        let margin = 4.0 * (derivative.neurons.len() + sides.len() + 8) as f64 * f64::EPSILON * sum_size;
        if sum - margin >= at_least {
            Some(sum - margin - at_least)
        } else if sum + margin < at_least {
            None
        } else {
            self.proves_exactly(derivative, region, at_least).then_some(0.0)
        }
    }

    /// Gives up decisions that the bound can do without, so that it may hold for more than this region.
    fn economise(&mut self, derivative: &DirectedDerivative, region: &Region, at_least: f64, mut slack: f64) {
        let kept = self.states.clone();
        let cost = |i: &usize| derivative.neurons[*i].coefficient.abs();
        let decided = |i: &usize| matches!(kept[*i], State::Decided(active) if active == (derivative.neurons[*i].coefficient > 0.0));
        let mut candidates: Vec<usize> = (0..kept.len()).filter(|i| self.units[*i] == 0 && decided(i)).collect();
        candidates.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
        for i in candidates {
            slack -= cost(&i) * (1.0 + 1e-9);
            if slack < 0.0 {
                break;
            }
            self.states[i] = State::Unstable;
        }
        if self.slack(derivative, region, at_least).is_none() {
            self.states = kept;
        }
    }

    fn proves_exactly(&self, derivative: &DirectedDerivative, region: &Region, at_least: f64) -> bool {
        let layer = derivative.block.first();
        let sides = region.slice.exact_sides(derivative);
        let mut sum = BigRational::zero();
        let mut weight = vec![BigRational::zero(); sides.len()];
        for (i, neuron) in derivative.neurons.iter().enumerate() {
            if self.constant(derivative, region, i) != 0.0 {
                sum += neuron.exactly();
            }
            if self.units[i] != 0 {
                let s = rational(self.multiplier(i));
                sum += &s * rational(f64::from(layer.bias()[neuron.index]));
                for (weight, w) in weight.iter_mut().zip(layer.row(neuron.index)) {
                    *weight += &s * rational(f64::from(*w));
                }
            }
        }
        for (group, member) in derivative.domain.one_hot().iter().zip(&region.slice.discrete.members) {
            sum += match member {
                Some(member) => weight[group[*member]].clone(),
                None => group.iter().map(|&j| weight[j].clone()).min().expect("a group has members"),
            };
            group.iter().for_each(|&j| weight[j] = BigRational::zero());
        }
        for (weight, (lower, upper)) in weight.iter().zip(&sides) {
            sum += (weight * lower).min(weight * upper);
        }
        sum >= rational(at_least)
    }

    fn into_proof(mut self, derivative: &DirectedDerivative, region: &Region, at_least: f64, slack: f64) -> Proof {
        self.economise(derivative, region, at_least, slack);
        let mut needs = BTreeSet::new();
        for (i, neuron) in derivative.neurons.iter().enumerate() {
            let c = neuron.coefficient;
            match self.states[i] {
                State::Decided(active) => {
                    // Without the decision the slopes would end at c / u or c / |l|, and the constant be another.
                    let s = self.multiplier(i) * (1.0 + 4.0 * f64::EPSILON);
                    let needed = match active {
                        true => c > 0.0 || s * -region.lower[i].value < c,
                        false => c < 0.0 || s * region.upper[i].value > c,
                    };
                    if needed {
                        needs.insert(i);
                    } else if s != 0.0 {
                        self.mark_slope(region, neuron, i, s);
                    }
                }
                // A phase is needed only where it is better than not knowing it.
                State::Implied(active) => {
                    if active == (c > 0.0) {
                        region.mark_phase(derivative, i);
                    }
                }
                State::Unstable => {
                    let s = self.multiplier(i) * (1.0 + 4.0 * f64::EPSILON);
                    self.mark_slope(region, neuron, i, s);
                }
            }
        }
        let entry = |(i, units): (usize, &i64)| (derivative.neurons[i].index, *units);
        let multipliers = self.units.iter().enumerate().filter(|(_, units)| **units != 0).map(entry).collect();
        Proof { steps: vec![Step::Bound(Multipliers { exponent: self.exponent, multipliers })], needs }
    }

    /// Marks the tightening that allows a slope of `s`.
    fn mark_slope(&self, region: &Region, neuron: &Neuron, i: usize, s: f64) {
        let c = neuron.coefficient;
        if s > 0.0 {
            region.mark(region.upper[i], neuron.bounds.upper, |u| s * u <= c);
        } else if s < 0.0 {
            region.mark(region.lower[i], neuron.bounds.lower, |l| s * -l >= c);
        }
    }
}
