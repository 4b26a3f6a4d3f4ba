//! Points of a domain, and a cheap search for a negative derivative among them.

use certificate::exact::rational;
use certificate::{Domain, contains};
use num_rational::BigRational;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::big_m::grid_value;
use crate::derivative::DirectedDerivative;

/// Descents from the best sampled points.
const DESCENTS: usize = 5;
/// Sweeps over all coordinates; a descent nearly always ends by itself before.
const SWEEPS: usize = 20;
/// Integer inputs with more values than this keep the value they were sampled with.
const SCANNED_STEPS: u32 = 64;

/// A point with the derivative there, in `f64`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub value: f64,
    pub point: Vec<f64>,
}

/// The nearest point of the domain; input `moving`, if given, counts as continuous.
pub(crate) fn snap(domain: &Domain, moving: Option<usize>, point: &mut [f64]) {
    for (x, side) in point.iter_mut().zip(domain.input_box()) {
        *x = x.clamp(side.lower, side.upper);
    }
    for group in domain.one_hot() {
        let largest = group.iter().copied().max_by(|&a, &b| point[a].total_cmp(&point[b]));
        group.iter().for_each(|&j| point[j] = if Some(j) == largest { 1.0 } else { 0.0 });
    }
    for feature in domain.integer().iter().filter(|feature| Some(feature.input) != moving) {
        let side = domain.input_box()[feature.input];
        let width = side.upper - side.lower;
        if width > 0.0 {
            let k = ((point[feature.input] - side.lower) / width * f64::from(feature.steps)).round();
            point[feature.input] = side.lower + width * k / f64::from(feature.steps);
        }
    }
}

/// A random point of the domain: uniform, or a corner.
pub(crate) fn random_point(domain: &Domain, moving: Option<usize>, corner: bool, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut coordinate = |side: &certificate::Interval| {
        let share: f64 = rng.random();
        let share = if corner { share.round() } else { share };
        side.lower + share * (side.upper - side.lower)
    };
    let mut point: Vec<f64> = domain.input_box().iter().map(&mut coordinate).collect();
    if corner {
        // All members of a group may be 0 or 1 now; one of them is to win at random.
        domain.one_hot().iter().for_each(|group| point[group[rng.random_range(0..group.len())]] = 2.0);
    }
    snap(domain, moving, &mut point);
    point
}

/// The point that `x` stands for: the same numbers, but grid values of integer inputs without rounding.
pub(crate) fn exact_point(derivative: &DirectedDerivative, x: &[f64]) -> Vec<BigRational> {
    let domain = derivative.domain;
    let mut point: Vec<_> = x.iter().map(|x| rational(*x)).collect();
    for feature in domain.integer().iter().filter(|feature| feature.input != derivative.query.input) {
        let side = domain.input_box()[feature.input];
        let width = side.upper - side.lower;
        let share = if width > 0.0 { (x[feature.input] - side.lower) / width } else { 0.0 };
        let k = (share * f64::from(feature.steps)).round() as u64;
        point[feature.input] = grid_value(derivative, feature.input, feature.steps, k);
    }
    point
}

/// The least derivative among witnesses, corners and uniform points, improved by descent. Deterministic in `seed`.
pub(crate) fn least_sample(
    derivative: &DirectedDerivative,
    witnesses: &[Vec<f64>],
    samples: usize,
    seed: u64,
) -> Option<Sample> {
    let (domain, input) = (derivative.domain, derivative.query.input);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(((derivative.query.row as u64) << 32) | input as u64);
    let given = witnesses.iter().filter(|w| w.len() == domain.inputs() && w.iter().all(|x| x.is_finite()));
    let mut points: Vec<_> = given.cloned().collect();
    points.iter_mut().for_each(|point| snap(domain, Some(input), point));
    points.extend((0..samples).map(|k| random_point(domain, Some(input), k % 2 == 0, &mut rng)));
    let sample = |point: Vec<f64>| Sample { value: derivative.evaluate(&point), point };
    let mut best: Vec<_> = points.into_iter().map(sample).collect();
    best.sort_by(|a, b| a.value.total_cmp(&b.value));
    best.truncate(DESCENTS);
    best.into_iter().map(|start| descend(derivative, start)).min_by(|a, b| a.value.total_cmp(&b.value))
}

/// Coordinate descent. Along one coordinate the derivative is a step function, which is scanned exactly; the middle of
/// a lowest step is taken, away from the hyperplanes.
fn descend(derivative: &DirectedDerivative, mut sample: Sample) -> Sample {
    for _ in 0..SWEEPS {
        let before = sample.value;
        for j in 0..derivative.domain.inputs() {
            for x in candidates(derivative, &sample.point, j) {
                let mut point = sample.point.clone();
                point[j] = x;
                if let Some(group) = derivative.domain.one_hot().iter().find(|group| group.contains(&j)) {
                    group.iter().for_each(|&k| point[k] = if k == j { 1.0 } else { 0.0 });
                }
                let value = derivative.evaluate(&point);
                if value < sample.value {
                    sample = Sample { value, point };
                }
            }
        }
        if sample.value >= before {
            break;
        }
    }
    sample
}

/// Values of coordinate `j` worth trying: one per step of the derivative along it.
fn candidates(derivative: &DirectedDerivative, point: &[f64], j: usize) -> Vec<f64> {
    let domain = derivative.domain;
    let side = domain.input_box()[j];
    if domain.one_hot().iter().any(|group| group.contains(&j)) {
        return vec![1.0];
    }
    let integer = domain.integer().iter().find(|feature| feature.input == j && j != derivative.query.input);
    if let Some(feature) = integer {
        let step = (side.upper - side.lower) / f64::from(feature.steps);
        let scanned = if feature.steps <= SCANNED_STEPS { feature.steps + 1 } else { 0 };
        return (0..scanned).map(|k| side.lower + step * f64::from(k)).collect();
    }
    let root = |neuron: &crate::Neuron| {
        let slope = f64::from(derivative.block.first().row(neuron.index)[j]);
        point[j] - derivative.pre_activation(neuron, point) / slope
    };
    let mut ends: Vec<f64> = derivative.neurons.iter().map(root).filter(|x| side.contains(*x)).collect();
    ends.extend([side.lower, side.upper]);
    ends.sort_by(f64::total_cmp);
    lowest_steps(derivative, point, j, &ends)
}

/// Evaluates every step between neighbouring `ends` by updating the derivative at each crossing.
fn lowest_steps(derivative: &DirectedDerivative, point: &[f64], j: usize, ends: &[f64]) -> Vec<f64> {
    let middles = ends.windows(2).filter(|pair| pair[0] < pair[1]).map(|pair| 0.5 * (pair[0] + pair[1]));
    let along: Vec<_> = derivative
        .neurons
        .iter()
        .map(|n| {
            (derivative.pre_activation(n, point), f64::from(derivative.block.first().row(n.index)[j]), n.coefficient)
        })
        .collect();
    let value = |x: f64| along.iter().filter(|(t, w, _)| t + w * (x - point[j]) >= 0.0).map(|(_, _, c)| c).sum::<f64>();
    middles.map(|x| (value(x), x)).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, x)| x).into_iter().collect()
}

/// Whether the exact point lies in the domain with the queried input taken as continuous.
pub(crate) fn inside(derivative: &DirectedDerivative, x: &[BigRational]) -> bool {
    let domain = derivative.domain;
    let integer = domain.integer().iter().filter(|feature| feature.input != derivative.query.input).copied();
    let relaxed = Domain::new(domain.input_box().to_vec(), domain.one_hot().to_vec(), integer.collect());
    contains(&relaxed.expect("a valid domain stays valid with an integer feature less"), x)
}
