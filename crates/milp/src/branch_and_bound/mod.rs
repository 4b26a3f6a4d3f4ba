//! Exact branch and bound over activation phases, whose result is a proof that anyone can check.
//!
//! A node is a [`Region`] of the domain. Its bound comes from the linear [`relaxation`] in the space of the inputs; if
//! that is not enough, a neuron is chosen by strong branching and the region is cut along its hyperplane, after which
//! the bounds of all other pre-activations are sharpened by the new half-space. One-hot groups are branched on where the
//! relaxation mixes several members, integer inputs only where everything else is decided.
//!
//! All of this is done in `f64`, and none of it is believed: a leaf counts only when its multipliers, rounded to few
//! digits, prove the bound with a margin for rounding errors or in exact arithmetic ([`leaf`]), and a region whose
//! relaxation is tight is settled by the exact test for an open cell ([`crate::interior`]).
//!
//! The two sides of a branching may run on different threads. The result does not depend on their timing: what one side
//! finds never changes what the other does, except that a side is dropped once its elder sibling has found a violation.

mod leaf;
mod region;
mod relaxation;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use certificate::exact::{approximate, rational};
use certificate::{Interval, Limit, Split, Step, Tighten};
use num_rational::BigRational;
use num_traits::ToPrimitive;

use crate::derivative::{ActivationPattern, DirectedDerivative, Neuron, round_down};
use crate::interior::{Interior, interior};
use crate::sampling::{Sample, descend, exact_point, inside, snap};
use crate::verify::Occurring;
use region::{EXPONENT, Level, Region, Slice, State};
use relaxation::{Minimum, Scratch, Slopes, Vertex};

/// Neurons tried by strong branching, and with how many unstable ones twice as many are tried.
const CANDIDATES: usize = 16;
const MANY: usize = 150;
/// Settled phases after which the other candidates wait for the next relaxation.
const ENOUGH: usize = 2;
/// One-hot groups are branched on before neurons if they have at most this many combinations.
const COMBINATIONS: usize = 64;
/// Depth to which the two sides of a branching may run on different threads.
const PARALLEL_DEPTH: usize = 20;
/// Penalties of violated decisions, as multiples of `sum_i |c_i|`; a larger one is tried only if it matters.
const PENALTIES: [f64; 3] = [1e2, 1e5, 1e8];
/// Points are rounded to multiples of its inverse where that is fine enough.
const SHORT: f64 = (1u64 << 32) as f64;
/// Values closer than this part of `sum_i |c_i|` are not told apart by the relaxation.
const CLOSE: f64 = 1e-9;

/// What is searched, and for how long.
pub(crate) struct Search<'a> {
    pub derivative: &'a DirectedDerivative<'a>,
    /// Regions in which the derivative is at least this are done; a point where it is less ends the search.
    pub at_least: f64,
    pub deadline: Instant,
    pub node_limit: u64,
    pub interrupt: Option<&'a AtomicBool>,
}

/// How a search, or its part below a node, ended.
pub(crate) enum Outcome {
    /// The derivative is at least what was asked, by this proof.
    Proved(Proof),
    /// It is less somewhere.
    Found(Occurring),
    /// A limit was reached; the derivative is at least `bound`.
    Open { bound: f64, limit: Limit },
}

/// A running search.
struct Run<'a> {
    search: &'a Search<'a>,
    derivative: &'a DirectedDerivative<'a>,
    scale: f64,
    parallel: bool,
    nodes: AtomicU64,
}

/// A node of the tree.
#[derive(Clone)]
struct Node {
    region: Region,
    vertex: Vertex,
    /// A lower bound that is known before the node is looked at.
    bound: f64,
    depth: usize,
}

/// Set when what a subtree finds no longer matters.
struct Cancel<'p> {
    flag: AtomicBool,
    parent: Option<&'p Cancel<'p>>,
}

impl Cancel<'_> {
    fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed) || self.parent.is_some_and(Cancel::is_set)
    }
}

/// Memory that the nodes of a thread share.
#[derive(Default)]
struct Buffers {
    scratch: Scratch,
    slopes: Slopes,
    penalty: f64,
}

/// Steps in preorder, and what they rest on.
pub(crate) struct Proof {
    pub steps: Vec<Step>,
    /// The neurons whose decisions the steps need. A proof that does not need the last decision proves its node too.
    needs: BTreeSet<usize>,
}

/// A phase that is impossible or harmless, with the leaf that shows it.
struct Settled {
    unit: usize,
    active: bool,
    leaf: Proof,
}

/// What strong branching found out.
enum Branching {
    /// A violation near a vertex of a side.
    Found(Occurring),
    Settled(Vec<Settled>),
    /// The neuron whose two sides have the best bounds, and whether its active side has the lower one.
    Split(usize, bool),
}

impl Search<'_> {
    /// Runs the search; also gives the number of nodes.
    pub fn run(&self) -> (Outcome, u64) {
        let derivative = self.derivative;
        let run = Run {
            search: self,
            derivative,
            scale: derivative.neurons.iter().map(|n| n.coefficient.abs()).sum(),
            parallel: rayon::current_num_threads() > 1,
            nodes: AtomicU64::new(0),
        };
        let region = Region::root(derivative);
        let vertex = region.slice.planes.corner();
        let node = Node { region, vertex, bound: round_down(&derivative.sign_bound()), depth: 0 };
        let cancel = Cancel { flag: AtomicBool::new(false), parent: None };
        let outcome = run.explore(node, &mut Buffers::default(), &cancel);
        (outcome, run.nodes.into_inner())
    }
}

impl Run<'_> {
    fn limit(&self, cancel: &Cancel) -> Option<Limit> {
        let count = self.nodes.fetch_add(1, Ordering::Relaxed);
        if cancel.is_set() || self.search.interrupt.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Some(Limit::Interrupted);
        }
        if count >= self.search.node_limit {
            return Some(Limit::Nodes);
        }
        (Instant::now() >= self.search.deadline).then_some(Limit::Time)
    }

    fn explore(&self, mut node: Node, buffers: &mut Buffers, cancel: &Cancel) -> Outcome {
        if let Some(limit) = self.limit(cancel) {
            return Outcome::Open { bound: node.bound, limit };
        }
        let mut settled: Vec<(Settled, Arc<Level>)> = Vec::new();
        let outcome = loop {
            let minimum = self.relax(&node.region, &mut node.vertex, buffers);
            node.bound = node.bound.max(minimum.bound - CLOSE * self.scale);
            if let Some(leaf) = self.leaf(&node.region, &minimum) {
                break Outcome::Proved(leaf);
            }
            if let Some(found) = self.look_around(node.depth, self.near(&node.region.slice, &node.vertex)) {
                break Outcome::Found(found);
            }
            if let Some(leaf) = self.degenerate(&node) {
                break Outcome::Proved(leaf);
            }
            let candidates = self.candidates(&node, buffers);
            if let Some(group) = self.group_to_split(&node, candidates.is_empty()) {
                break self.split_group(node, group, buffers, cancel);
            }
            if candidates.is_empty() {
                break self.tight(node, buffers, cancel);
            }
            match self.strong_branching(&mut node, minimum.bound, &candidates, buffers) {
                Branching::Found(found) => break Outcome::Found(found),
                Branching::Split(unit, active_first) => break self.split(node, unit, active_first, buffers, cancel),
                Branching::Settled(phases) => {
                    for phase in phases {
                        // An earlier one may have settled it too.
                        if node.region.states[phase.unit] == State::Unstable {
                            node.region.decide(self.derivative, phase.unit, !phase.active);
                            let level = node.region.levels.last().expect("a decision makes a level").clone();
                            settled.push((phase, level));
                        }
                    }
                }
            }
        };
        let Outcome::Proved(mut proof) = outcome else { return outcome };
        for (Settled { unit, active, leaf }, level) in settled.into_iter().rev() {
            let other = self.with_tightening(&level, unit, proof);
            proof = match other.without(unit) {
                Ok(other) => other,
                Err(other) => {
                    let (first, second) = if active { (leaf, other) } else { (other, leaf) };
                    self.joined(unit, first, second)
                }
            };
        }
        Outcome::Proved(proof)
    }

    /// The proof of a node from those of the active and the inactive side of a neuron.
    fn joined(&self, unit: usize, active: Proof, inactive: Proof) -> Proof {
        let mut joined = Proof { steps: vec![self.neuron_split(unit)], needs: BTreeSet::new() };
        joined.add(active);
        joined.add(inactive);
        joined.needs.remove(&unit);
        joined
    }

    /// The minimum of the relaxation, with a penalty that is large enough to see an empty region.
    fn relax(&self, region: &Region, vertex: &mut Vertex, buffers: &mut Buffers) -> Minimum {
        let planes = &region.slice.planes;
        let steps = 50 * (planes.inputs + 2);
        let mut best: Option<Minimum> = None;
        for penalty in PENALTIES {
            buffers.penalty = penalty * self.scale;
            region.slopes(self.derivative, buffers.penalty, &mut buffers.slopes);
            planes.minimise(&buffers.slopes, vertex, &mut buffers.scratch, steps);
            let minimum = planes.bound(&buffers.slopes, vertex);
            let done = minimum.bound >= self.search.at_least || !self.violates(region, vertex);
            if best.as_ref().is_none_or(|best| minimum.bound > best.bound) {
                best = Some(minimum);
            }
            if done {
                break;
            }
        }
        best.expect("there is a penalty")
    }

    /// Whether a vertex lies on the wrong side of a decision.
    fn violates(&self, region: &Region, vertex: &Vertex) -> bool {
        let wrong = |(i, state): (usize, &State)| match state {
            State::Decided(true) => vertex.t[i] < -1e-9,
            State::Decided(false) => vertex.t[i] > 1e-9,
            _ => false,
        };
        let groups = vertex.t[region.states.len()..].iter().any(|slack| *slack < -1e-9);
        groups || region.states.iter().enumerate().any(wrong)
    }

    fn leaf(&self, region: &Region, minimum: &Minimum) -> Option<Proof> {
        let promising = minimum.bound >= self.search.at_least - CLOSE * self.scale;
        promising.then(|| leaf::certify(self.derivative, region, &minimum.multipliers, self.search.at_least)).flatten()
    }

    /// The better of two points of the domain near a vertex of the relaxation: off the hyperplanes that meet there,
    /// towards the centre of the domain.
    fn near(&self, slice: &Slice, vertex: &Vertex) -> Sample {
        let derivative = self.derivative;
        let vertex = slice.input_point(derivative, &vertex.x);
        let near = |share: f64| {
            let sides = derivative.domain.input_box().iter();
            let towards = |(x, side): (&f64, &Interval)| x + share * (0.5 * (side.lower + side.upper) - x);
            let mut point: Vec<f64> = vertex.iter().zip(sides).map(towards).collect();
            snap(derivative.domain, Some(derivative.query.input), &mut point);
            Sample { value: derivative.evaluate(&point), point }
        };
        let (close, farther) = (near(1e-6), near(1e-3));
        if farther.value < close.value { farther } else { close }
    }

    /// The least derivative of the cells that meet at a vertex, if all combinations of sides had one.
    fn least_around(&self, vertex: &Vertex) -> f64 {
        // Adds zeros instead of branching, as `DirectedDerivative::value_at` does.
        let term = |(neuron, t): (&Neuron, &f64)| {
            let c = neuron.coefficient;
            if *t > if c < 0.0 { -1e-9 } else { 1e-9 } { c } else { 0.0 }
        };
        self.derivative.neurons.iter().zip(&vertex.t).map(term).sum()
    }

    /// Looks for a point below `at_least`, from a point near a vertex of the relaxation on.
    fn look_around(&self, depth: usize, mut best: Sample) -> Option<Occurring> {
        let derivative = self.derivative;
        if best.value >= self.search.at_least && (depth < 8 || depth.is_multiple_of(4)) {
            best = descend(derivative, best);
        }
        if best.value >= self.search.at_least {
            return None;
        }
        let point = exact_point(derivative, &self.shortened(best));
        let pattern = derivative.pattern_at(&point).filter(|_| inside(derivative, &point))?;
        self.occurs(pattern, point)
    }

    /// A point below `at_least` with few enough binary digits for exact arithmetic in machine words, if rounding finds one.
    fn shortened(&self, Sample { point, .. }: Sample) -> Vec<f64> {
        let round = |(x, side): (&f64, &Interval)| ((x * SHORT).round() / SHORT).clamp(side.lower, side.upper);
        let short: Vec<f64> = point.iter().zip(self.derivative.domain.input_box()).map(round).collect();
        if self.derivative.evaluate(&short) < self.search.at_least { short } else { point }
    }

    /// The pattern at a point, if its value is too low.
    fn occurs(&self, pattern: ActivationPattern, point: Vec<BigRational>) -> Option<Occurring> {
        let value = self.derivative.value(&pattern);
        (value < rational(self.search.at_least)).then_some(Occurring { value, pattern, point })
    }

    /// A proof that the decisions leave no open cell, looked for where more of them meet at the vertex than is usual.
    fn degenerate(&self, node: &Node) -> Option<Proof> {
        let Region { slice, states, .. } = &node.region;
        let decided = |i: &usize| matches!(states[*i], State::Decided(_));
        let meets = |i: &usize| node.vertex.t[*i].abs() < 1e-7;
        let decided: Vec<usize> = (0..states.len()).filter(decided).collect();
        let met = decided.iter().filter(|i| meets(i)).count();
        let at_end = |(k, x): (usize, &f64)| {
            let (lower, upper) = slice.sides[slice.inputs[k]];
            *x - lower < 1e-9 || upper - *x < 1e-9
        };
        let ends = node.vertex.x.iter().enumerate().filter(|end| at_end(*end)).count();
        if met == 0 || met + ends <= slice.inputs.len() {
            return None;
        }
        let pattern: ActivationPattern = states.iter().map(|s| matches!(s, State::Decided(true))).collect();
        let halfspaces = self.derivative.halfspaces(&pattern);
        let halfspaces: Vec<_> = decided.iter().map(|&i| halfspaces[i].clone()).collect();
        match interior(&halfspaces, &slice.exact_sides(self.derivative)) {
            Interior::Point(_) => None,
            Interior::Empty { conflict } => {
                let multiplier = |(k, lambda)| (decided[k], pattern[decided[k]], lambda);
                Some(leaf::empty(self.derivative, conflict.into_iter().map(multiplier)))
            }
        }
    }

    /// Unstable neurons whose piece of the relaxation is below the step that it stands for, most promising first.
    fn candidates(&self, node: &Node, buffers: &Buffers) -> Vec<usize> {
        let Node { region, vertex, .. } = node;
        let gap = |i: usize| {
            let c = self.derivative.neurons[i].coefficient;
            let t = vertex.t[i];
            if c > 0.0 {
                if t > -1e-12 { c - buffers.slopes.right[i] * t.max(0.0) } else { 0.0 }
            } else if t < 1e-12 {
                -c - buffers.slopes.left[i] * t.min(0.0)
            } else {
                0.0
            }
        };
        let unstable = (0..region.states.len()).filter(|&i| region.states[i] == State::Unstable);
        let mut candidates: Vec<_> = unstable.map(|i| (gap(i), i)).collect();
        let number = if candidates.len() > MANY { 2 * CANDIDATES } else { CANDIDATES };
        candidates.retain(|(gap, _)| *gap > CLOSE * self.scale);
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        candidates.truncate(number);
        candidates.into_iter().map(|(_, i)| i).collect()
    }

    /// Solves the relaxation of both sides of every candidate.
    fn strong_branching(&self, node: &mut Node, bound: f64, candidates: &[usize], buffers: &mut Buffers) -> Branching {
        let Node { region, vertex, .. } = node;
        let mut settled = Vec::new();
        // No derivative is above `scale` or below `-scale`, whatever is asked.
        let most = (self.search.at_least - bound).clamp(CLOSE * self.scale, 2.0 * self.scale);
        let small = 1e-3 * most;
        let (mut best, mut best_score) = (Branching::Split(candidates[0], true), 0.0);
        let slice = region.slice.clone();
        let planes = &slice.planes;
        let mut child = vertex.clone();
        let (mut lowest, mut lowest_value) = (vertex.clone(), f64::INFINITY);
        let Buffers { scratch, slopes, penalty } = buffers;
        planes.steepness(slopes, vertex);
        let here = planes.value(slopes, vertex);
        let settling = self.search.at_least - CLOSE * self.scale;
        for &unit in candidates {
            if settled.len() >= ENOUGH {
                // With them decided the relaxation tells more about the other candidates.
                break;
            }
            let c = self.derivative.neurons[unit].coefficient;
            let kept = (slopes.left[unit], slopes.right[unit]);
            let piece = |(left, right): (f64, f64)| (vertex.t[unit] * right).max(vertex.t[unit] * left);
            let own = region.pieces(c, unit, State::Unstable, *penalty).2;
            let constant = slopes.constant;
            let mut gains = [most; 2];
            for active in [false, true] {
                let (left, right, own_constant) = region.pieces(c, unit, State::Decided(active), *penalty);
                child.copy_from(vertex);
                planes.bend(slopes, &mut child, unit, (left, right));
                slopes.constant = constant - own + own_constant;
                let from = here - piece(kept) - own + piece((left, right)) + own_constant;
                // A side that ends lower is neither settled nor part of the best pair.
                let other = gains[usize::from(!active)];
                let floor = (bound + best_score / other).min(settling) - CLOSE * self.scale;
                let enough = |fallen: f64| from - fallen < floor;
                let arrived = planes.walk_down(slopes, &mut child, scratch, 5 * (planes.inputs + 5), enough);
                let value = planes.value(slopes, &child);
                if arrived {
                    let optimistic = self.least_around(&child);
                    if optimistic < lowest_value {
                        lowest_value = optimistic;
                        lowest.copy_from(&child);
                    }
                }
                gains[usize::from(active)] = (value - bound).clamp(small, most);
                let leaf = (value >= settling).then(|| {
                    let multipliers = planes.bound(slopes, &child).multipliers;
                    region.states[unit] = State::Decided(active);
                    let leaf = leaf::certify(self.derivative, region, &multipliers, self.search.at_least);
                    region.states[unit] = State::Unstable;
                    leaf
                });
                (slopes.left[unit], slopes.right[unit], slopes.constant) = (kept.0, kept.1, constant);
                if let Some(leaf) = leaf.flatten() {
                    settled.push(Settled { unit, active, leaf });
                    break;
                }
            }
            let score = gains[0] * gains[1];
            if score > best_score {
                best_score = score;
                best = Branching::Split(unit, gains[1] <= gains[0]);
            }
        }
        let promising = lowest_value < self.search.at_least;
        let found = promising.then(|| self.look_around(node.depth, self.near(&slice, &lowest))).flatten();
        match found {
            Some(found) => Branching::Found(found),
            None if settled.is_empty() => best,
            None => Branching::Settled(settled),
        }
    }

    /// Both sides of a neuron.
    fn split(&self, node: Node, unit: usize, active_first: bool, buffers: &mut Buffers, cancel: &Cancel) -> Outcome {
        let child = |active: bool| {
            let mut child = node.clone();
            child.region.decide(self.derivative, unit, active);
            child.depth += 1;
            child
        };
        let search = |active: bool, buffers: &mut Buffers, cancel: &Cancel| {
            let child = child(active);
            let level = child.region.levels.last().expect("a decision makes a level").clone();
            self.explore(child, buffers, cancel).map(|proof| self.with_tightening(&level, unit, proof))
        };
        let (elder, younger) = self.both(&node, unit, buffers, cancel, |elder, buffers, cancel| {
            search(active_first == elder, buffers, cancel)
        });
        match (elder, younger) {
            (Outcome::Proved(elder), Outcome::Proved(younger)) => {
                let proof = elder.without(unit).or_else(|elder| match younger.without(unit) {
                    Ok(younger) => Ok(younger),
                    Err(younger) if active_first => Err((elder, younger)),
                    Err(younger) => Err((younger, elder)),
                });
                Outcome::Proved(proof.unwrap_or_else(|(active, inactive)| self.joined(unit, active, inactive)))
            }
            // One that does not need the decision does for both.
            (Outcome::Proved(proof), other) | (other, Outcome::Proved(proof)) => match proof.without(unit) {
                Ok(proof) => Outcome::Proved(proof),
                Err(_) => other,
            },
            (elder, younger) => merge(Vec::new(), vec![elder, younger]),
        }
    }

    /// Runs two sides of a branching, on two threads if there are some; `search(true)` is the elder. What the elder finds
    /// may make the younger superfluous.
    fn both(
        &self,
        node: &Node,
        unit: usize,
        buffers: &mut Buffers,
        cancel: &Cancel,
        search: impl Fn(bool, &mut Buffers, &Cancel) -> Outcome + Sync,
    ) -> (Outcome, Outcome) {
        let dropped = || Outcome::Open { bound: node.bound, limit: Limit::Interrupted };
        let settles = |elder: &Outcome| match elder {
            Outcome::Proved(proof) => !proof.needs.contains(&unit),
            Outcome::Found(_) => true,
            Outcome::Open { .. } => false,
        };
        if self.parallel && node.depth < PARALLEL_DEPTH {
            let younger = Cancel { flag: AtomicBool::new(false), parent: Some(cancel) };
            let elder = || {
                let outcome = search(true, buffers, cancel);
                if settles(&outcome) {
                    younger.flag.store(true, Ordering::Relaxed);
                }
                outcome
            };
            rayon::join(elder, || search(false, &mut Buffers::default(), &younger))
        } else {
            let first = search(true, buffers, cancel);
            let second = if settles(&first) { dropped() } else { search(false, buffers, cancel) };
            (first, second)
        }
    }

    /// An undecided one-hot group to branch on now, if any: one of which the relaxation mixes members, or any if there
    /// is nothing else to branch on.
    fn group_to_split(&self, node: &Node, any: bool) -> Option<usize> {
        let groups = self.derivative.domain.one_hot();
        let members = &node.region.slice.discrete.members;
        let open = || (0..groups.len()).filter(|&g| members[g].is_none());
        let combinations = open().fold(1usize, |product, g| product.saturating_mul(groups[g].len()));
        if !any && combinations > COMBINATIONS {
            return None;
        }
        let point = node.region.slice.input_point(self.derivative, &node.vertex.x);
        let mixed = |g: &usize| groups[*g].iter().any(|&j| point[j] > 1e-6 && point[j] < 1.0 - 1e-6);
        open().find(mixed).or_else(|| open().next().filter(|_| any))
    }

    fn split_group(&self, node: Node, group: usize, buffers: &mut Buffers, cancel: &Cancel) -> Outcome {
        let choices = (0..self.derivative.domain.one_hot()[group].len()).map(|member| {
            let mut discrete = node.region.slice.discrete.clone();
            discrete.members[group] = Some(member);
            discrete
        });
        let outcomes = self.choices(&node, choices, buffers, cancel);
        merge(vec![Step::Split(Split::Group(group))], outcomes)
    }

    /// Explores the node for each of several choices of its discrete inputs.
    fn choices(
        &self,
        node: &Node,
        choices: impl Iterator<Item = region::Discrete>,
        buffers: &mut Buffers,
        cancel: &Cancel,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for discrete in choices {
            if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Found(_))) {
                break;
            }
            let mut child = node.clone();
            child.region.choose(self.derivative, discrete);
            child.vertex = child.region.slice.planes.corner();
            child.depth += 1;
            let level = child.region.levels.last().expect("a decision makes a level").clone();
            let outcome = self.explore(child, buffers, cancel).map(|proof| self.with_region_tightening(&level, proof));
            outcomes.push(outcome);
        }
        outcomes
    }

    /// A node whose relaxation is tight at its vertex: either its pattern occurs, or its neurons leave no open cell, or
    /// an integer input lies between two values.
    fn tight(&self, node: Node, buffers: &mut Buffers, cancel: &Cancel) -> Outcome {
        let derivative = self.derivative;
        let Region { states, slice, .. } = &node.region;
        let phase = |(i, state): (usize, &State)| match state {
            State::Decided(active) | State::Implied(active) => *active,
            State::Unstable if node.vertex.t[i].abs() < 1e-12 => derivative.neurons[i].coefficient < 0.0,
            State::Unstable => node.vertex.t[i] > 0.0,
        };
        let pattern: ActivationPattern = states.iter().enumerate().map(phase).collect();
        let unstable = |i: &usize| states[*i] == State::Unstable;
        let stuck =
            || Outcome::Open { bound: node.bound, limit: Limit::Numerical("branch and bound: rounding".into()) };
        if derivative.value(&pattern) >= rational(self.search.at_least) {
            return match (0..states.len()).find(unstable) {
                Some(unit) => self.split(node, unit, true, buffers, cancel),
                None => leaf::certify(derivative, &node.region, &vec![0.0; states.len()], self.search.at_least)
                    .map_or_else(stuck, Outcome::Proved),
            };
        }
        match interior(&derivative.halfspaces(&pattern), &slice.exact_sides(derivative)) {
            Interior::Point(point) => {
                let between = |(f, feature): (usize, &certificate::IntegerFeature)| {
                    let (first, last) = slice.discrete.grid[f];
                    let (lower, upper) = slice.exact_sides(derivative)[feature.input].clone();
                    if feature.input == derivative.query.input || first == last {
                        return None;
                    }
                    let share = (&point[feature.input] - &lower) / (upper - lower);
                    let index = share * BigRational::from_integer((last - first).into());
                    let below = first + index.floor().to_integer().to_u64().unwrap_or(0);
                    (!index.is_integer()).then_some((f, below.clamp(first, last - 1)))
                };
                let mut integer = derivative.domain.integer().iter().enumerate();
                match integer.find_map(between) {
                    Some((feature, at)) => {
                        // A point on the grid may do as well.
                        let mut snapped: Vec<f64> = point.iter().map(approximate).collect();
                        snap(derivative.domain, Some(derivative.query.input), &mut snapped);
                        let snapped = exact_point(derivative, &snapped);
                        let there = derivative.pattern_at(&snapped).filter(|_| inside(derivative, &snapped));
                        match there.and_then(|pattern| self.occurs(pattern, snapped)) {
                            Some(found) => Outcome::Found(found),
                            None => self.split_integer(&node, feature, at, buffers, cancel),
                        }
                    }
                    None => self.occurs(pattern, point).map_or_else(stuck, Outcome::Found),
                }
            }
            Interior::Empty { conflict } => match conflict.iter().map(|(i, _)| *i).find(unstable) {
                Some(unit) => self.split(node, unit, pattern[unit], buffers, cancel),
                None => {
                    let implied = conflict.iter().filter(|(i, _)| matches!(states[*i], State::Implied(_)));
                    implied.for_each(|(i, _)| node.region.mark_phase(derivative, *i));
                    let multiplier = |(i, lambda)| (i, pattern[i], lambda);
                    Outcome::Proved(leaf::empty(derivative, conflict.into_iter().map(multiplier)))
                }
            },
        }
    }

    fn split_integer(&self, node: &Node, feature: usize, at: u64, buffers: &mut Buffers, cancel: &Cancel) -> Outcome {
        let input = self.derivative.domain.integer()[feature].input;
        let (first, last) = node.region.slice.discrete.grid[feature];
        let choices = [(first, at), (at + 1, last)].into_iter().map(|range| {
            let mut discrete = node.region.slice.discrete.clone();
            discrete.grid[feature] = range;
            discrete
        });
        let outcomes = self.choices(node, choices, buffers, cancel);
        merge(vec![Step::Split(Split::Integer { input, at })], outcomes)
    }

    fn neuron_split(&self, unit: usize) -> Step {
        Step::Split(Split::Neuron(self.derivative.neurons[unit].index))
    }

    /// The proof, after those tightenings by the half-space of `unit` that some of its steps need.
    fn with_tightening(&self, level: &Level, unit: usize, proof: Proof) -> Proof {
        let before = proof.steps.len();
        let mut proof = self.with_region_tightening(level, proof);
        if proof.steps.len() > before {
            proof.needs.insert(unit);
        }
        proof
    }

    /// The proof, after those tightenings of a level that some of its steps need.
    fn with_region_tightening(&self, level: &Level, mut proof: Proof) -> Proof {
        let index = |unit: usize| self.derivative.neurons[unit].index;
        let mut tighten = Tighten { exponent: EXPONENT, upper: Vec::new(), lower: Vec::new() };
        for bound in level.iter().filter(|bound| bound.used.load(Ordering::Relaxed)) {
            proof.needs.extend(bound.from.map(|(h, _)| h));
            let from = bound.from.map(|(h, units)| (index(h), units)).into_iter().collect();
            let side = if bound.upper { &mut tighten.upper } else { &mut tighten.lower };
            side.push((index(bound.unit), from));
        }
        if !(tighten.upper.is_empty() && tighten.lower.is_empty()) {
            proof.steps.insert(0, Step::Tighten(tighten));
        }
        proof
    }
}

impl Proof {
    /// Itself if it does not need the decision about `unit`.
    fn without(self, unit: usize) -> Result<Self, Self> {
        if self.needs.contains(&unit) { Err(self) } else { Ok(self) }
    }

    fn add(&mut self, part: Self) {
        self.steps.extend(part.steps);
        self.needs.extend(part.needs);
    }
}

impl Outcome {
    fn map(self, change: impl FnOnce(Proof) -> Proof) -> Self {
        match self {
            Self::Proved(proof) => Self::Proved(change(proof)),
            other => other,
        }
    }
}

/// The outcome of a node from those of its parts, in the order of the proof.
fn merge(steps: Vec<Step>, parts: Vec<Outcome>) -> Outcome {
    let mut proof = Proof { steps, needs: BTreeSet::new() };
    let mut open: Option<(f64, Limit)> = None;
    let mut found = None;
    for part in parts {
        match part {
            Outcome::Proved(part) => proof.add(part),
            Outcome::Found(occurring) => found = found.or(Some(occurring)),
            Outcome::Open { bound, limit } => {
                open = Some(match open {
                    Some((other, first)) => (other.min(bound), first),
                    None => (bound, limit),
                });
            }
        }
    }
    match (found, open) {
        (Some(occurring), _) => Outcome::Found(occurring),
        (None, Some((bound, limit))) => Outcome::Open { bound, limit },
        (None, None) => Outcome::Proved(proof),
    }
}
