//! A part of the domain: what has been decided about discrete inputs and neurons, and the bounds that follow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use certificate::exact::{approximate, rational};
use num_rational::BigRational;

use super::relaxation::{Hyperplanes, Slopes, dot};
use crate::big_m::grid_value;
use crate::derivative::{DirectedDerivative, Phase};

/// Multipliers of a tightening are multiples of `2^EXPONENT`.
pub(super) const EXPONENT: i32 = -24;
/// A bound has to move by this part of its interval to be worth a line in the proof.
const WORTHWHILE: f64 = 1e-3;
/// Coordinates that the compiler can put side by side.
const STRANDS: usize = 4;
/// Cutting-plane steps for one bound; it is valid after any number of them.
const STEPS: usize = 8;

/// What has been decided about the discrete inputs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Discrete {
    /// For each one-hot group the position of the member that is 1, if decided.
    pub members: Vec<Option<usize>>,
    /// For each integer feature the grid indices left.
    pub grid: Vec<(u64, u64)>,
}

/// The query over one choice of the discrete inputs, in the coordinates of the relaxation: inputs that can move, and all
/// members but the last of the groups that are not decided.
#[derive(Debug)]
pub(super) struct Slice {
    pub discrete: Discrete,
    /// The neurons of the query, then one row per undecided group for its last member, which must not be negative.
    pub planes: Hyperplanes,
    /// For each coordinate the input it stands for.
    pub inputs: Vec<usize>,
    /// Undecided groups as ranges of coordinates.
    groups: Vec<std::ops::Range<usize>>,
    /// Least and largest values of all inputs of the block.
    pub sides: Vec<(f64, f64)>,
    /// `|b_i| + sum_j |w_ij| max |x_j|`, for rounding errors.
    magnitude: Vec<f64>,
    /// Weights over the coordinates, filled up with zeros to a multiple of [`STRANDS`].
    rows: Vec<f64>,
    bias: Vec<f64>,
    /// Middles and half widths of the coordinates, 0 for those of groups; filled up likewise.
    middle: Vec<f64>,
    half: Vec<f64>,
}

/// Where a bound of a pre-activation comes from: the level of the path and the position there.
pub(super) type Source = (usize, usize);

/// One end of the interval of a pre-activation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub value: f64,
    /// `None` for the bounds over the whole domain.
    pub source: Option<Source>,
}

/// A sharper bound than before.
#[derive(Debug)]
pub(super) struct Tightened {
    pub unit: usize,
    pub upper: bool,
    pub value: f64,
    /// The half-space that sharpens it and its multiplier in units of `2^EXPONENT`; none if the box alone does.
    pub from: Option<(usize, i64)>,
    /// Where the bound before came from.
    pub previous: Option<Source>,
    /// Whether a leaf needs it.
    pub used: AtomicBool,
}

/// What was tightened after one decision.
pub(super) type Level = Vec<Tightened>;

/// What is known about a neuron in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Decided by a branching; `true` if active.
    Decided(bool),
    /// Its bounds leave no choice.
    Implied(bool),
    Unstable,
}

/// A part of the domain.
#[derive(Debug, Clone)]
pub(super) struct Region {
    pub slice: Arc<Slice>,
    pub states: Vec<State>,
    pub lower: Vec<Bound>,
    pub upper: Vec<Bound>,
    pub levels: Vec<Arc<Level>>,
}

fn strands(values: &[f64]) -> &[[f64; STRANDS]] {
    values.as_chunks().0
}

impl Slice {
    pub fn new(derivative: &DirectedDerivative, discrete: Discrete) -> Self {
        let domain = derivative.domain;
        let mut sides: Vec<_> = domain.input_box().iter().map(|side| (side.lower, side.upper)).collect();
        for (feature, &(first, last)) in domain.integer().iter().zip(&discrete.grid) {
            // The nearest f64 is good enough for a search; proofs use the exact values.
            let value = |k| approximate(&grid_value(derivative, feature.input, feature.steps, k));
            sides[feature.input] = (value(first), value(last));
        }
        let mut grouped = vec![false; sides.len()];
        for (group, member) in domain.one_hot().iter().zip(&discrete.members) {
            for (position, &j) in group.iter().enumerate() {
                grouped[j] = true;
                sides[j] = match member {
                    Some(member) if *member == position => (1.0, 1.0),
                    Some(_) => (0.0, 0.0),
                    None => (0.0, 1.0),
                };
            }
        }
        let mut inputs: Vec<usize> = (0..sides.len()).filter(|&j| !grouped[j] && sides[j].0 < sides[j].1).collect();
        let (mut groups, mut last_members) = (Vec::new(), Vec::new());
        for (group, member) in domain.one_hot().iter().zip(&discrete.members) {
            if member.is_none() {
                let (last, others) = group.split_last().expect("a group has members");
                groups.push(inputs.len()..inputs.len() + others.len());
                inputs.extend(others);
                last_members.push(*last);
            }
        }

        let layer = derivative.block.first();
        let weight = |i: usize, j: usize| f64::from(layer.row(i)[j]);
        let (mut rows, mut bias, mut magnitude) = (Vec::new(), Vec::new(), Vec::new());
        for neuron in &derivative.neurons {
            let i = neuron.index;
            let base = rows.len();
            rows.extend(inputs.iter().map(|&j| weight(i, j)));
            let mut b = f64::from(layer.bias()[i]);
            for j in (0..sides.len()).filter(|&j| sides[j].0 == sides[j].1) {
                b += weight(i, j) * sides[j].0;
            }
            for (range, &last) in groups.iter().zip(&last_members) {
                b += weight(i, last);
                rows[base + range.start..base + range.end].iter_mut().for_each(|w| *w -= weight(i, last));
            }
            bias.push(b);
            let size = (0..sides.len()).map(|j| weight(i, j).abs() * sides[j].0.abs().max(sides[j].1.abs()));
            magnitude.push(f64::from(layer.bias()[i]).abs() + size.sum::<f64>());
        }
        let lower: Vec<_> = inputs.iter().map(|&j| sides[j].0).collect();
        let upper: Vec<_> = inputs.iter().map(|&j| sides[j].1).collect();
        let (mut all_rows, mut all_bias) = (rows.clone(), bias.clone());
        for range in &groups {
            all_rows.extend((0..inputs.len()).map(|k| if range.contains(&k) { -1.0 } else { 0.0 }));
            all_bias.push(1.0);
        }
        let boxed = groups.first().map_or(inputs.len(), |range| range.start);
        let padded = |values: &[f64], count: usize| {
            let zeros = inputs.len().next_multiple_of(STRANDS) - count;
            values[..count].iter().copied().chain(std::iter::repeat_n(0.0, zeros)).collect::<Vec<_>>()
        };
        let rows = (0..bias.len()).flat_map(|i| padded(&rows[i * inputs.len()..], inputs.len())).collect();
        let halves = |sign: f64| lower.iter().zip(&upper).map(move |(a, b)| 0.5 * (b + sign * a)).collect::<Vec<_>>();
        let (middle, half) = (padded(&halves(1.0), boxed), padded(&halves(-1.0), boxed));
        let planes = Hyperplanes::new(all_rows, all_bias, lower, upper);
        Self { discrete, planes, inputs, groups, sides, magnitude, rows, bias, middle, half }
    }

    fn row(&self, i: usize) -> &[f64] {
        let length = self.middle.len();
        &self.rows[i * length..(i + 1) * length]
    }

    /// `max` over the box of `a t_i + y b t_h`, and `b t_h` where it is attained.
    fn support(&self, (a, i): (f64, usize), y: f64, (b, h): (f64, usize)) -> (f64, f64) {
        let (row, other) = (self.row(i), self.row(h));
        let (mut values, mut slopes) = ([0.0; STRANDS], [0.0; STRANDS]);
        let sides = strands(&self.middle).iter().zip(strands(&self.half));
        for ((row, other), (middle, half)) in strands(row).iter().zip(strands(other)).zip(sides) {
            for k in 0..STRANDS {
                let w = a * row[k] + y * b * other[k];
                // Choosing an end by the sign of `w` would be a branch that the processor cannot foresee.
                let x = middle[k] + half[k].copysign(w);
                values[k] += w * x;
                slopes[k] += other[k] * x;
            }
        }
        let mut value = a * self.bias[i] + y * b * self.bias[h] + values.iter().sum::<f64>();
        let mut slope = b * (self.bias[h] + slopes.iter().sum::<f64>());
        for range in &self.groups {
            // The last member, which has no coordinate, has weight 0.
            let (mut best, mut best_slope) = (0.0, 0.0);
            for j in range.clone() {
                let w = a * row[j] + y * b * other[j];
                if w > best {
                    (best, best_slope) = (w, b * other[j]);
                }
            }
            value += best;
            slope += best_slope;
        }
        (value, slope)
    }

    /// An upper bound of `a t_i` over the part of the box where `b t_h >= 0`, with its multiplier in units of
    /// `2^EXPONENT`; `a` and `b` are signs, `far` is the line of slope `b t_h` at the point where that is largest. `None`
    /// if the bound would be above `target`.
    fn sharpen(&self, (a, i): (f64, usize), (b, h): (f64, usize), far: (f64, f64), target: f64) -> Option<(f64, i64)> {
        // min over y >= 0 of the convex, piecewise linear function max_x a t_i + y b t_h, by cutting planes from both
        // sides; the right one starts as the line that is active for y = infinity, attained at x with the largest b t_h.
        let (value, slope) = self.support((a, i), 0.0, (b, h));
        if slope >= 0.0 || far.1 <= 0.0 {
            return None;
        }
        let (mut left, mut right) = ((value, slope), far);
        let mut y = 0.0;
        for _ in 0..STEPS {
            let next = (left.0 - right.0) / (right.1 - left.1);
            if !next.is_finite() || next <= 0.0 || next == y {
                break;
            }
            y = next;
            let expected = left.0 + y * left.1;
            if expected > target {
                return None;
            }
            let (value, slope) = self.support((a, i), y, (b, h));
            if value <= expected + 1e-12 * self.magnitude[i] {
                break;
            }
            let line = (value - y * slope, slope);
            if slope < 0.0 {
                left = line;
            } else {
                right = line;
            }
        }
        let units = (y * f64::exp2(f64::from(-EXPONENT))).round();
        if !(1.0..1e15).contains(&units) {
            return None;
        }
        let y = units * f64::exp2(f64::from(EXPONENT));
        let (value, _) = self.support((a, i), y, (b, h));
        Some((value + self.rounding(i, Some((h, y))), units as i64))
    }

    /// The coordinates at which `b t_h` is largest, filled up with zeros.
    fn support_point(&self, (b, h): (f64, usize)) -> Vec<f64> {
        let end = |(j, w): (usize, &f64)| self.middle[j] + self.half[j].copysign(b * w);
        let mut x: Vec<f64> = self.row(h).iter().enumerate().map(end).collect();
        for range in &self.groups {
            let weight = |j: &usize| b * self.row(h)[*j];
            let best = range.clone().filter(|j| weight(j) > 0.0).max_by(|i, j| weight(i).total_cmp(&weight(j)));
            range.clone().for_each(|j| x[j] = if Some(j) == best { 1.0 } else { 0.0 });
        }
        x
    }

    /// More than what a bound from [`support`](Self::support) can be wrong by.
    fn rounding(&self, i: usize, other: Option<(usize, f64)>) -> f64 {
        let magnitude = self.magnitude[i] + other.map_or(0.0, |(h, y)| y * self.magnitude[h]);
        8.0 * (self.sides.len() + 4) as f64 * f64::EPSILON * magnitude
    }

    /// Puts a vertex of the relaxation in terms of the block's inputs.
    pub fn input_point(&self, derivative: &DirectedDerivative, x: &[f64]) -> Vec<f64> {
        let mut point: Vec<_> = self.sides.iter().map(|side| side.0).collect();
        self.inputs.iter().zip(x).for_each(|(&j, x)| point[j] = *x);
        let mut groups = self.groups.iter();
        for (group, member) in derivative.domain.one_hot().iter().zip(&self.discrete.members) {
            if member.is_none() {
                let range = groups.next().expect("one range per undecided group").clone();
                point[group[group.len() - 1]] = 1.0 - x[range].iter().sum::<f64>();
            }
        }
        point
    }

    /// Exact ends of all inputs.
    pub fn exact_sides(&self, derivative: &DirectedDerivative) -> Vec<(BigRational, BigRational)> {
        let mut sides: Vec<_> = self.sides.iter().map(|(a, b)| (rational(*a), rational(*b))).collect();
        for (feature, &(first, last)) in derivative.domain.integer().iter().zip(&self.discrete.grid) {
            let value = |k| grid_value(derivative, feature.input, feature.steps, k);
            sides[feature.input] = (value(first), value(last));
        }
        sides
    }
}

impl Region {
    /// The whole domain.
    pub fn root(derivative: &DirectedDerivative) -> Self {
        let domain = derivative.domain;
        let discrete = Discrete {
            members: vec![None; domain.one_hot().len()],
            grid: domain.integer().iter().map(|feature| (0, u64::from(feature.steps))).collect(),
        };
        let bound = |value| Bound { value, source: None };
        let state = |phase| match phase {
            Phase::Active => State::Implied(true),
            Phase::Inactive => State::Implied(false),
            Phase::Unstable => State::Unstable,
        };
        Self {
            slice: Arc::new(Slice::new(derivative, discrete)),
            states: derivative.neurons.iter().map(|n| state(n.phase)).collect(),
            lower: derivative.neurons.iter().map(|n| bound(n.bounds.lower)).collect(),
            upper: derivative.neurons.iter().map(|n| bound(n.bounds.upper)).collect(),
            levels: Vec::new(),
        }
    }

    /// The part where neuron `h` is active or not.
    pub fn decide(&mut self, derivative: &DirectedDerivative, h: usize, active: bool) {
        self.states[h] = State::Decided(active);
        let mut level = Level::new();
        self.tighten_by(derivative, h, active, &mut level);
        self.levels.push(Arc::new(level));
    }

    /// The part with these discrete inputs.
    pub fn choose(&mut self, derivative: &DirectedDerivative, discrete: Discrete) {
        self.slice = Arc::new(Slice::new(derivative, discrete));
        let mut level = Level::new();
        for i in 0..self.states.len() {
            for (sign, upper) in [(1.0, true), (-1.0, false)] {
                let value = self.slice.support((sign, i), 0.0, (1.0, i)).0 + self.slice.rounding(i, None);
                self.improve(i, upper, sign * value, None, &mut level);
            }
        }
        for h in 0..self.states.len() {
            if let State::Decided(active) = self.states[h] {
                self.tighten_by(derivative, h, active, &mut level);
            }
        }
        self.levels.push(Arc::new(level));
    }

    /// Sharpens all bounds by the half-space of neuron `h`: one linear programme with one constraint for each, solved in
    /// closed form.
    fn tighten_by(&mut self, derivative: &DirectedDerivative, h: usize, active: bool, level: &mut Level) {
        let slice = self.slice.clone();
        let b = if active { 1.0 } else { -1.0 };
        let far = slice.support((b, h), 0.0, (b, h));
        let at_far = slice.support_point((b, h));
        for i in 0..self.states.len() {
            if self.states[i] != State::Unstable || i == h {
                continue;
            }
            let t = slice.bias[i] + dot(slice.row(i), &at_far);
            let rising = derivative.neurons[i].coefficient > 0.0;
            let (lower, upper) = (self.lower[i].value, self.upper[i].value);
            let worthwhile = WORTHWHILE * (upper - lower);
            for (a, is_upper, current) in [(1.0, true, upper), (-1.0, false, -lower)] {
                // The other end matters only if it decides the phase.
                let target = if is_upper == rising { (current - worthwhile).max(0.0) } else { 0.0 };
                if let Some((value, units)) = slice.sharpen((a, i), (b, h), (a * t, far.1), target) {
                    self.improve(i, is_upper, a * value, Some((h, units)), level);
                }
            }
        }
    }

    fn improve(&mut self, unit: usize, upper: bool, value: f64, from: Option<(usize, i64)>, level: &mut Level) {
        let width = self.upper[unit].value - self.lower[unit].value;
        let bound = if upper { &mut self.upper[unit] } else { &mut self.lower[unit] };
        let gain = if upper { bound.value - value } else { value - bound.value };
        let decides = if upper { value <= 0.0 } else { value >= 0.0 };
        if gain <= WORTHWHILE * width && !(decides && gain > 0.0) {
            return;
        }
        let source = (self.levels.len(), level.len());
        let used = AtomicBool::new(false);
        level.push(Tightened { unit, upper, value, from, previous: bound.source, used });
        *bound = Bound { value, source: Some(source) };
        if self.states[unit] == State::Unstable && decides {
            self.states[unit] = State::Implied(!upper);
        }
    }

    /// Marks the first of the tightenings that led to a bound for which `enough` holds; nothing if the bound over the
    /// whole domain, which is `root`, does.
    pub fn mark(&self, bound: Bound, root: f64, enough: impl Fn(f64) -> bool) {
        if enough(root) {
            return;
        }
        let mut source = bound.source;
        let mut needed = None;
        while let Some((level, position)) = source {
            let tightened = &self.levels[level][position];
            if !enough(tightened.value) {
                break;
            }
            needed = Some(&tightened.used);
            source = tightened.previous;
        }
        if let Some(used) = needed {
            used.store(true, Ordering::Relaxed);
        }
    }

    /// Marks the tightening that leaves neuron `i` no choice of its phase.
    pub fn mark_phase(&self, derivative: &DirectedDerivative, i: usize) {
        let root = derivative.neurons[i].bounds;
        if self.states[i] == State::Implied(true) {
            self.mark(self.lower[i], root.lower, |l| l >= 0.0);
        } else {
            self.mark(self.upper[i], root.upper, |u| u <= 0.0);
        }
    }

    /// The pieces of the relaxation, with `penalty` as the steepness of violated decisions.
    pub fn slopes(&self, derivative: &DirectedDerivative, penalty: f64, slopes: &mut Slopes) {
        let units = self.slice.planes.units;
        slopes.constant = 0.0;
        slopes.left.clear();
        slopes.left.resize(units, 0.0);
        slopes.right.clear();
        slopes.right.resize(units, 0.0);
        for (i, neuron) in derivative.neurons.iter().enumerate() {
            let (left, right, constant) = self.pieces(neuron.coefficient, i, self.states[i], penalty);
            slopes.left[i] = left;
            slopes.right[i] = right;
            slopes.constant += constant;
        }
        for i in derivative.neurons.len()..units {
            slopes.left[i] = -penalty;
        }
    }

    /// Left slope, right slope and constant of a neuron with coefficient `c` in the given state. Slopes of unstable neurons
    /// stay below their limits by more than `c` and the quotient are rounded: the checker compares with the exact ones.
    pub fn pieces(&self, c: f64, i: usize, state: State, penalty: f64) -> (f64, f64, f64) {
        let steep = penalty / (self.upper[i].value - self.lower[i].value).max(1e-9 * self.slice.magnitude[i]);
        match state {
            State::Implied(active) => (0.0, 0.0, if active { c } else { 0.0 }),
            State::Decided(true) => (-steep, 0.0, c),
            State::Decided(false) => (0.0, steep, 0.0),
            // Any slope up to `c / u` is valid; one that is next to infinite would only spoil the arithmetic.
            State::Unstable if c > 0.0 => (0.0, (c / self.upper[i].value * (1.0 - 4.0 * f64::EPSILON)).min(steep), 0.0),
            State::Unstable => ((c / -self.lower[i].value * (1.0 - 4.0 * f64::EPSILON)).max(-steep), 0.0, c),
        }
    }
}
