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
pub(crate) fn descend(derivative: &DirectedDerivative, start: Sample) -> Sample {
    let mut descent = Descent::new(derivative, start);
    for _ in 0..SWEEPS {
        let before = descent.sample.value;
        (0..derivative.domain.inputs()).for_each(|j| descent.along(j));
        if descent.sample.value >= before {
            break;
        }
    }
    descent.sample
}

/// A point on its way down, with the pre-activations there.
struct Descent<'a> {
    derivative: &'a DirectedDerivative<'a>,
    pre_activations: Vec<f64>,
    sample: Sample,
    crossings: Vec<(f64, f64)>,
}

impl<'a> Descent<'a> {
    fn new(derivative: &'a DirectedDerivative<'a>, sample: Sample) -> Self {
        let pre_activations = derivative.pre_activations(&sample.point);
        Self { derivative, pre_activations, sample, crossings: Vec::new() }
    }

    /// The derivative after `point[j] += by` for all given changes.
    fn value_after(&self, changes: &[(usize, f64)]) -> f64 {
        let mut t = self.pre_activations.clone();
        for (j, by) in changes {
            t.iter_mut().zip(self.derivative.column(*j)).for_each(|(t, w)| *t += w * by);
        }
        self.derivative.value_at(&t)
    }

    /// Moves if that lowers the derivative.
    fn propose(&mut self, changes: &[(usize, f64)]) {
        let value = self.value_after(changes);
        if value < self.sample.value {
            self.sample.value = value;
            changes.iter().for_each(|(j, by)| self.sample.point[*j] += by);
            self.pre_activations = self.derivative.pre_activations(&self.sample.point);
        }
    }

    fn along(&mut self, j: usize) {
        let domain = self.derivative.domain;
        let side = domain.input_box()[j];
        let at = |point: &[f64], x: f64| x - point[j];
        if let Some(group) = domain.one_hot().iter().find(|group| group.contains(&j)) {
            let to = |k: usize, point: &[f64]| (k, if k == j { 1.0 } else { 0.0 } - point[k]);
            let changes: Vec<_> = group.iter().map(|&k| to(k, &self.sample.point)).collect();
            self.propose(&changes);
            return;
        }
        let moving = j == self.derivative.query.input;
        if let Some(feature) = domain.integer().iter().find(|feature| feature.input == j && !moving) {
            let step = (side.upper - side.lower) / f64::from(feature.steps);
            let scanned = if feature.steps <= SCANNED_STEPS { feature.steps + 1 } else { 0 };
            for k in 0..scanned {
                let by = at(&self.sample.point, side.lower + step * f64::from(k));
                self.propose(&[(j, by)]);
            }
            return;
        }
        if let Some(x) = self.lowest_step(j) {
            let by = at(&self.sample.point, x);
            self.propose(&[(j, by)]);
        }
    }

    /// The middle of the lowest step along coordinate `j`.
    fn lowest_step(&mut self, j: usize) -> Option<f64> {
        let side = self.derivative.domain.input_box()[j];
        let here = self.sample.point[j];
        let mut value = 0.0;
        let mut crossings = std::mem::take(&mut self.crossings);
        crossings.clear();
        // As in `value_at` no branch on what is inside.
        crossings.resize(self.pre_activations.len(), (0.0, 0.0));
        let mut inside = 0;
        for ((t, w), neuron) in self.pre_activations.iter().zip(self.derivative.column(j)).zip(&self.derivative.neurons)
        {
            let c = neuron.coefficient;
            value += if t + w * (side.lower - here) >= 0.0 { c } else { 0.0 };
            let crossing = here - t / w;
            crossings[inside] = (crossing, if *w > 0.0 { c } else { -c });
            inside += usize::from(side.lower < crossing) & usize::from(crossing < side.upper);
        }
        crossings.truncate(inside);
        crossings.push((side.upper, 0.0));
        crossings.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (mut best, mut from) = (None, side.lower);
        for &(end, change) in &crossings {
            if end > from && best.is_none_or(|(least, _)| value < least) {
                best = Some((value, 0.5 * (from + end)));
            }
            value += change;
            from = end;
        }
        self.crossings = crossings;
        best.map(|(_, x)| x)
    }
}

/// Whether the exact point lies in the domain with the queried input taken as continuous.
pub(crate) fn inside(derivative: &DirectedDerivative, x: &[BigRational]) -> bool {
    let domain = derivative.domain;
    let integer = domain.integer().iter().filter(|feature| feature.input != derivative.query.input).copied();
    let relaxed = Domain::new(domain.input_box().to_vec(), domain.one_hot().to_vec(), integer.collect());
    contains(&relaxed.expect("a valid domain stays valid with an integer feature less"), x)
}
