//! Repair: a trained network is made monotone by moving the second layer of each block as little as possible.
//!
//! With the first layer fixed, output `a` of a block follows input `l` iff
//!
//! ```text
//! s_l sum_i a_i W1[i, l] z_i >= 0   for every activation pattern z that has an open cell,
//! ```
//!
//! which is one linear condition on `a` per pattern and input. There are too many to list, so they are found as they are
//! violated: by evaluation at known patterns, by sampling, and at last by branch and bound, which either proves that none
//! is violated or finds one. Every violated one becomes a cut, asked to hold with [`RepairOptions::level`] to spare, and
//! no cut is ever dropped; as there are finitely many patterns, this ends. Before the first cut an *always-on* neuron
//! `max(0, s_l x_l + b)`, whose pre-activation is positive on the whole domain, is appended for every monotone input. Its
//! weight adds to every derivative in `x_l`, so that all cuts can be satisfied together.
//!
//! Among the rows that satisfy the cuts the nearest one is taken ([`projection`]), or, for the output of the network, the one
//! with the least loss on the training rows ([`regression`]).

mod patterns;
mod projection;
mod regression;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use certificate::exact::approximate;
use certificate::{
    Activation, Affine, Block, Domain, Limit, MonotoneFeatures, Network, Query, Rows, Specification, interval,
};
use num_traits::Signed;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::branch_and_bound::{Outcome, Search};
use crate::derivative::DirectedDerivative;
use crate::sampling::{least_sample, random_point, snap};
use crate::verify::seconds;
use crate::{Error, Result};
use patterns::{Patterns, pattern_at};
use projection::{Cut, NoProjection, project};
pub use regression::Loss;
use regression::Regression;

/// Violated cuts that one look at the known patterns adds per row and input.
const WORST: usize = 8;
/// Projections after which the known patterns are given up on for this round; the next one goes on.
const PROJECTIONS: usize = 60;
/// A derivative counts as negative at a known pattern if it is below this part of its terms, which rounding cannot reach.
/// What lies between is left to the exact search.
const CLEARLY: f64 = 1e-12;

/// How the second layer is moved.
#[derive(Debug, Clone, PartialEq)]
pub enum RepairMethod {
    /// The nearest weights that satisfy all cuts.
    Project,
    /// Only the weights of the always-on neurons grow.
    Lift,
    /// As `Project`, but the last block's first output gets its bias, and its weights of all neurons that see a monotone
    /// input, by regression on the rows under the cuts, with a mild pull towards the weights before.
    Refit {
        /// What is minimised.
        loss: Loss,
        /// One per row.
        targets: Vec<f64>,
    },
}

/// Settings of a repair.
#[derive(Debug, Clone, PartialEq)]
pub struct RepairOptions {
    /// What may move.
    pub method: RepairMethod,
    /// The derivative that a cut asks for. Well above zero, because the cells around a repaired one are nearly as bad.
    pub level: f64,
    /// Uniform and corner points whose patterns are known from the start.
    pub points: usize,
    /// Samples per query and round before branch and bound is asked.
    pub samples: usize,
    /// Seed of points and samples.
    pub seed: u64,
    /// Rounds of cuts and searches per block.
    pub round_limit: u32,
    /// Nodes of branch and bound per query; unlike the time it makes a repair that gives up repeatable.
    pub node_limit: u64,
    /// Wall-clock time for the whole network.
    pub time_limit_s: f64,
}

impl Default for RepairOptions {
    fn default() -> Self {
        Self {
            method: RepairMethod::Project,
            level: 0.1,
            points: 6000,
            samples: 1000,
            seed: 0,
            round_limit: 300,
            node_limit: 1_000_000,
            time_limit_s: 600.0,
        }
    }
}

/// How a repair ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairEnd {
    /// Branch and bound proved every query of the repaired network.
    Certified,
    /// No second layer satisfies all cuts.
    Infeasible {
        /// Index of the block.
        block: usize,
        /// Its output.
        row: usize,
        /// An input whose cuts contradict others.
        input: usize,
    },
    /// A limit was reached first.
    Undecided {
        /// Block and query of what was not proved.
        queries: Vec<(usize, Query)>,
        /// What stopped it.
        limit: Limit,
    },
}

/// What was done to one block.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockRepair {
    /// Violated activation patterns that were cut off, over all rows and inputs.
    pub cuts: usize,
    /// Queries put to samples and branch and bound.
    pub searches: usize,
    /// Rounds of cuts and searches.
    pub rounds: u32,
    /// Outputs whose weights were moved.
    pub rows_moved: usize,
    /// `|W2 - W2 before| / |W2 before|` in the Euclidean norm, always-on neurons included.
    pub relative_change: f64,
}

/// A repaired network.
#[derive(Debug, Clone, PartialEq)]
pub struct Repaired {
    /// The network; certified only if `end` says so.
    pub network: Network,
    /// How it ended.
    pub end: RepairEnd,
    /// For each block that was looked at.
    pub blocks: Vec<BlockRepair>,
    /// For each block points in the cells that were cut off: good places to look at first when a similar network is
    /// repaired.
    pub witnesses: Vec<Vec<Vec<f64>>>,
    /// Wall-clock time.
    pub seconds: f64,
}

/// Moves the second layers of a network as little as needed for every query to certify.
///
/// `rows` are inputs of the network as they occur; their patterns are tried first, and the biases of what was moved are
/// set so that the mean output over them stays. `witnesses` has points for each block, or nothing.
///
/// Deterministic for a number of threads, unless the time limit or an interrupt stops it. A network that certifies comes
/// back unchanged.
///
/// # Soundness
/// [`RepairEnd::Certified`] rests on branch and bound for the `f32` weights of the returned network; a certificate is
/// made, and checked, from the network itself.
///
/// # Errors
/// If the widths do not fit, a link is not cut, a block is no ReLU block, or a query makes no sense.
///
/// # Panics
/// If there are targets, but not one for each row.
pub fn repair(
    network: &Network,
    domain: &Domain,
    features: &MonotoneFeatures,
    rows: &[Vec<f64>],
    witnesses: &[Vec<Vec<f64>>],
    options: &RepairOptions,
    interrupt: Option<&AtomicBool>,
) -> Result<Repaired> {
    let start = Instant::now();
    let per_block = Specification::from(features.clone()).queries(network)?;
    let mut repaired = Repaired {
        network: network.clone(),
        end: RepairEnd::Certified,
        blocks: Vec::new(),
        witnesses: vec![Vec::new(); network.blocks().len()],
        seconds: 0.0,
    };
    let mut inputs = rows.to_vec();
    for (k, queries) in per_block.iter().enumerate() {
        let domains = interval::block_domains(&repaired.network, domain);
        let mut task = Task {
            domain: &domains[k],
            options,
            last: k + 1 == per_block.len(),
            deadline: start + seconds(options.time_limit_s),
            interrupt,
            block: network.blocks()[k].clone(),
            witnesses: Vec::new(),
            record: BlockRepair::default(),
        };
        let end = task.run(queries, &inputs, witnesses.get(k).map_or(&[], Vec::as_slice))?;
        let Task { mut block, mut record, witnesses, .. } = task;
        (record.rows_moved, record.relative_change) = change(&network.blocks()[k], &block);
        if record.rows_moved > 0 {
            block = with_mean_of(&network.blocks()[k], &block, &inputs)?;
        }
        let mut blocks = repaired.network.blocks().to_vec();
        blocks[k] = block;
        repaired.network = Network::new(blocks, network.boundaries().to_vec())?;
        repaired.blocks.push(record);
        repaired.witnesses[k] = witnesses;
        match end {
            End::Certified => {}
            End::Infeasible { row, input } => repaired.end = RepairEnd::Infeasible { block: k, row, input },
            End::Open { queries, limit } => {
                let later = (k + 1..per_block.len()).flat_map(|k| per_block[k].iter().map(move |q| (k, *q)));
                let queries = queries.into_iter().map(|q| (k, q)).chain(later).collect();
                repaired.end = RepairEnd::Undecided { queries, limit };
            }
        }
        if repaired.end != RepairEnd::Certified {
            break;
        }
        if let Some(boundary) = network.boundaries().get(k) {
            let block = &repaired.network.blocks()[k];
            for x in &mut inputs {
                *x = block.evaluate(x).into_iter().map(|t| boundary.activation.evaluate(t)).collect();
            }
        }
    }
    repaired.seconds = start.elapsed().as_secs_f64();
    Ok(repaired)
}

/// How the repair of a block ended.
enum End {
    Certified,
    Infeasible { row: usize, input: usize },
    Open { queries: Vec<Query>, limit: Limit },
}

/// The repair of one block.
struct Task<'a> {
    domain: &'a Domain,
    options: &'a RepairOptions,
    /// Whether its outputs are the network's.
    last: bool,
    deadline: Instant,
    interrupt: Option<&'a AtomicBool>,
    /// With the weights so far.
    block: Block,
    witnesses: Vec<Vec<f64>>,
    record: BlockRepair,
}

/// An output of the block whose weights have to follow some inputs.
struct Row {
    row: usize,
    queries: Vec<Query>,
    /// Hidden neurons whose weights may move.
    movable: Vec<usize>,
    /// For each of them the input whose derivative it lifts everywhere, if it is always on.
    lifting: Vec<Option<usize>>,
    /// Weights of all hidden neurons, before and now.
    from: Vec<f32>,
    weights: Vec<f32>,
    bias: f32,
    /// What is minimised instead of the distance.
    regression: Option<Regression>,
    cuts: Vec<Cut>,
    proved: bool,
}

/// What a search for a violation came to.
enum Answer {
    Proved,
    /// A point in a cell where the derivative is negative, and the pattern there.
    Violated(Vec<f64>, Vec<bool>),
    Open(Limit),
}

impl Task<'_> {
    fn run(&mut self, queries: &[Query], rows: &[Vec<f64>], witnesses: &[Vec<f64>]) -> Result<End> {
        if self.block.activation() != Activation::Relu {
            return Err(Error::Activation(self.block.activation().name()));
        }
        // About an input that cannot move nothing has to hold.
        let queries: Vec<Query> = queries.iter().copied().filter(|q| moves(self.domain, q.input)).collect();
        let mut answers = self.search(&queries)?;
        if answers.iter().all(|(_, answer)| matches!(answer, Answer::Proved)) {
            // Not even a neuron is added.
            return Ok(End::Certified);
        }
        self.block = with_always_on(&self.block, self.domain, &queries)?;
        let mut patterns = self.known_patterns(rows, witnesses);
        let mut states = Row::all(&self.block, self.domain, &queries);
        if let (RepairMethod::Refit { loss, targets }, true) = (&self.options.method, self.last) {
            let first_output = states.iter_mut().filter(|state| state.row == 0);
            first_output.for_each(|state| state.regression = Some(state.regression(&self.block, rows, *loss, targets)));
        }
        loop {
            self.record.rounds += 1;
            if let Some(end) = self.take_in(answers, &mut states, &mut patterns) {
                return Ok(end);
            }
            let first = self.block.first();
            let settle =
                |state: &mut Row| if state.proved { Ok(()) } else { state.settle(first, &patterns, self.options) };
            let settled: Vec<_> = states.par_iter_mut().map(|state| (state.row, settle(state))).collect();
            self.record.cuts = states.iter().map(|state| state.cuts.len()).sum();
            self.block = with_weights(&self.block, &states)?;
            if let Some((row, Err(why))) = settled.into_iter().find(|(_, settled)| settled.is_err()) {
                return Ok(match why {
                    NoProjection::Infeasible { input } => End::Infeasible { row, input },
                    NoProjection::Numerical(reason) => {
                        End::Open { queries: open(&states), limit: Limit::Numerical(format!("projection: {reason}")) }
                    }
                });
            }
            if self.record.rounds >= self.options.round_limit {
                return Ok(End::Open { queries: open(&states), limit: Limit::Numerical("repair: rounds".into()) });
            }
            answers = self.search(&open(&states))?;
        }
    }

    /// Patterns at the rows, at earlier witnesses and at points of the domain.
    fn known_patterns(&self, rows: &[Vec<f64>], witnesses: &[Vec<f64>]) -> Patterns {
        let first = self.block.first();
        let mut patterns = Patterns::new(self.block.hidden());
        let mut rng = ChaCha8Rng::seed_from_u64(self.options.seed);
        let fits = |x: &&Vec<f64>| x.len() == self.domain.inputs() && x.iter().all(|x| x.is_finite());
        for x in rows.iter().chain(witnesses).filter(fits) {
            // Outside the domain a pattern would be a cut that nothing asks for.
            let mut x = x.clone();
            snap(self.domain, None, &mut x);
            patterns.insert(&pattern_at(first, &x));
        }
        for k in 0..self.options.points {
            patterns.insert(&pattern_at(first, &random_point(self.domain, None, k % 2 == 0, &mut rng)));
        }
        patterns
    }

    /// Puts every query to samples and then to branch and bound.
    fn search(&mut self, queries: &[Query]) -> Result<Vec<(Query, Answer)>> {
        self.record.searches += queries.len();
        let seed = self.options.seed.wrapping_add(u64::from(self.record.rounds));
        let answer = |query: &Query| Ok((*query, self.answer(*query, seed)?));
        let answers: Vec<Result<_>> = queries.par_iter().map(answer).collect();
        answers.into_iter().collect()
    }

    fn answer(&self, query: Query, seed: u64) -> Result<Answer> {
        let derivative = DirectedDerivative::new(&self.block, &Rows::OUTPUTS, self.domain, query)?;
        if !derivative.input_moves() || !derivative.sign_bound().is_negative() {
            return Ok(Answer::Proved);
        }
        let first = self.block.first();
        if let Some(sample) = least_sample(&derivative, &[], self.options.samples, seed)
            && sample.value < 0.0
        {
            let pattern = pattern_at(first, &sample.point);
            return Ok(Answer::Violated(sample.point, pattern));
        }
        let (deadline, node_limit) = (self.deadline, self.options.node_limit);
        let search = Search { derivative: &derivative, at_least: 0.0, deadline, node_limit, interrupt: self.interrupt };
        Ok(match search.run().0 {
            Outcome::Proved(_) => Answer::Proved,
            Outcome::Open { limit, .. } => Answer::Open(limit),
            Outcome::Found(found) => {
                let point: Vec<f64> = found.point.iter().map(approximate).collect();
                // The pattern is the search's own: signs at the rounded point may be others.
                let mut pattern = pattern_at(first, &point);
                let signs = derivative.neurons.iter().zip(&found.pattern);
                signs.for_each(|(neuron, active)| pattern[neuron.index] = *active);
                Answer::Violated(point, pattern)
            }
        })
    }

    /// Makes cuts of all violations. The end, if there is none or a search gave up.
    fn take_in(&mut self, answers: Vec<(Query, Answer)>, states: &mut [Row], patterns: &mut Patterns) -> Option<End> {
        let mut given_up = None;
        states.iter_mut().for_each(|state| state.proved = true);
        for (query, answer) in answers {
            let state = states.iter_mut().find(|state| state.row == query.row).expect("every query has a row");
            match answer {
                Answer::Proved => {}
                Answer::Open(limit) => {
                    state.proved = false;
                    given_up = given_up.or(Some(limit));
                }
                Answer::Violated(point, mut pattern) => {
                    state.proved = false;
                    // Neurons that were added since are always on.
                    pattern.resize(self.block.hidden(), true);
                    let z: Vec<f64> = pattern.iter().map(|active| f64::from(u8::from(*active))).collect();
                    state.cuts.push(state.cut(self.block.first(), query, &z));
                    patterns.insert(&pattern);
                    self.witnesses.push(point);
                }
            }
        }
        match given_up {
            Some(limit) => Some(End::Open { queries: open(states), limit }),
            None => states.iter().all(|state| state.proved).then_some(End::Certified),
        }
    }
}

/// The queries of the rows that are not proved.
fn open(states: &[Row]) -> Vec<Query> {
    states.iter().filter(|state| !state.proved).flat_map(|state| state.queries.iter().copied()).collect()
}

impl Row {
    /// The rows that queries are about.
    fn all(block: &Block, domain: &Domain, queries: &[Query]) -> Vec<Self> {
        let mut rows: Vec<Self> = Vec::new();
        for &query in queries {
            match rows.iter_mut().find(|row| row.row == query.row) {
                Some(row) => row.queries.push(query),
                None => {
                    let weights = block.second().row(query.row).to_vec();
                    rows.push(Self {
                        row: query.row,
                        queries: vec![query],
                        movable: Vec::new(),
                        lifting: Vec::new(),
                        from: weights.clone(),
                        weights,
                        bias: block.second().bias()[query.row],
                        regression: None,
                        cuts: Vec::new(),
                        proved: false,
                    });
                }
            }
        }
        for row in &mut rows {
            // Links that are cut stay cut.
            let lifts = |i: usize| always_on(block.first(), domain, i);
            let used = |i: usize| row.from[i] != 0.0 || lifts(i).is_some();
            let matters = |i: usize| row.queries.iter().any(|q| block.first().row(i)[q.input] != 0.0);
            row.movable = (0..block.hidden()).filter(|&i| used(i) && matters(i)).collect();
            row.lifting = row.movable.iter().map(|&i| lifts(i)).collect();
        }
        rows
    }

    /// The regression of the block's output on the rows.
    fn regression(&self, block: &Block, rows: &[Vec<f64>], loss: Loss, targets: &[f64]) -> Regression {
        assert_eq!(rows.len(), targets.len(), "one target for each row");
        let (first, fixed) = (block.first(), |i: &usize| !self.movable.contains(i));
        let hidden = |x: &Vec<f64>, i: usize| {
            let t = first.row(i).iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>();
            (t + f64::from(first.bias()[i])).max(0.0)
        };
        let activations = rows.iter().map(|x| self.movable.iter().map(|&i| hidden(x, i)).chain([1.0]).collect());
        let others: Vec<usize> = (0..block.hidden()).filter(fixed).filter(|&i| self.from[i] != 0.0).collect();
        let offsets = rows.iter().map(|x| others.iter().map(|&i| f64::from(self.from[i]) * hidden(x, i)).sum());
        let from = self.movable.iter().map(|&i| self.from[i]).chain([self.bias]).map(f64::from).collect();
        let (activations, offsets) = (activations.collect(), offsets.collect());
        Regression { loss, activations, offsets, targets: targets.to_vec(), from }
    }

    fn cut(&self, first: &Affine, query: Query, z: &[f64]) -> Cut {
        let slope = |i: &usize| query.direction.sign() * f64::from(first.row(*i)[query.input]) * z[*i];
        Cut { normal: self.movable.iter().map(slope).collect(), input: query.input }
    }

    /// Moves the weights until all cuts and all known patterns are satisfied.
    fn settle(
        &mut self,
        first: &Affine,
        patterns: &Patterns,
        options: &RepairOptions,
    ) -> std::result::Result<(), NoProjection> {
        for _ in 0..PROJECTIONS {
            self.satisfy(options)?;
            let before = self.cuts.len();
            for k in 0..self.queries.len() {
                self.cut_worst(first, self.queries[k], patterns);
            }
            if self.cuts.len() == before {
                break;
            }
        }
        Ok(())
    }

    /// Adds the most violated of the known patterns as cuts.
    fn cut_worst(&mut self, first: &Affine, query: Query, patterns: &Patterns) {
        let sign = query.direction.sign();
        let coefficient = |(i, w): (usize, &f32)| sign * f64::from(*w) * f64::from(first.row(i)[query.input]);
        let coefficients: Vec<f64> = self.weights.iter().enumerate().map(coefficient).collect();
        let clearly = -CLEARLY * coefficients.iter().map(|c| c.abs()).sum::<f64>();
        let mut violated: Vec<_> =
            patterns.values(&coefficients).into_iter().enumerate().filter(|(_, value)| *value < clearly).collect();
        violated.sort_by(|a, b| a.1.total_cmp(&b.1));
        for (k, _) in violated.into_iter().take(WORST) {
            self.cuts.push(self.cut(first, query, patterns.get(k)));
        }
    }

    fn satisfy(&mut self, options: &RepairOptions) -> std::result::Result<(), NoProjection> {
        let from: Vec<f64> = self.movable.iter().map(|&i| f64::from(self.from[i])).collect();
        let moved = match (&self.regression, &options.method) {
            (Some(regression), _) => {
                let now = self.movable.iter().map(|&i| self.weights[i]).chain([self.bias]);
                let mut found = regression.solve(now.map(f64::from).collect(), &self.cuts, options.level)?;
                self.bias = found.pop().expect("the bias is the last one") as f32;
                found
            }
            (None, RepairMethod::Lift) => self.lift(from, options.level),
            (None, RepairMethod::Project | RepairMethod::Refit { .. }) => project(&from, &self.cuts, options.level)?,
        };
        self.movable.iter().zip(&moved).for_each(|(&i, a)| self.weights[i] = *a as f32);
        // The stored weights have to satisfy them, not those of the solver.
        let weight = |(k, g): (usize, &f64)| g * f64::from(self.weights[self.movable[k]]);
        let value = |cut: &Cut| cut.normal.iter().enumerate().map(weight).sum::<f64>();
        match self.cuts.iter().all(|cut| value(cut) >= 0.5 * options.level) {
            true => Ok(()),
            false => Err(NoProjection::Numerical("the weights found do not satisfy the cuts")),
        }
    }

    /// The weights before with those of the always-on neurons as large as the cuts ask for.
    fn lift(&self, mut weights: Vec<f64>, level: f64) -> Vec<f64> {
        for cut in &self.cuts {
            let value = cut.value(&weights);
            let lifting = self.lifting.iter().position(|input| *input == Some(cut.input));
            let lifting = lifting.expect("there is one for every queried input");
            weights[lifting] += (level - value).max(0.0);
        }
        weights
    }
}

/// What the pre-activation of an always-on neuron is at least.
const ALWAYS: f64 = 1.0;

/// The input of an always-on neuron: it has the weight 1 or -1, all others 0, and the bias keeps it away from zero.
fn always_on(first: &Affine, domain: &Domain, i: usize) -> Option<usize> {
    let mut used = first.row(i).iter().enumerate().filter(|(_, w)| **w != 0.0);
    match (used.next(), used.next()) {
        (Some((input, w)), None) if w.abs() == 1.0 && moves(domain, input) => {
            (f64::from(first.bias()[i]) + least(domain, input, *w) >= 0.5 * ALWAYS).then_some(input)
        }
        _ => None,
    }
}

fn moves(domain: &Domain, input: usize) -> bool {
    let side = domain.input_box()[input];
    side.lower < side.upper
}

/// The least value of `sign * x`.
fn least(domain: &Domain, input: usize, sign: f32) -> f64 {
    let side = domain.input_box()[input];
    if sign > 0.0 { side.lower } else { -side.upper }
}

/// The block with a neuron `s_l x_l + b >= 1` of weight 0 for every queried input that has none yet.
fn with_always_on(block: &Block, domain: &Domain, queries: &[Query]) -> Result<Block> {
    let (first, second) = (block.first(), block.second());
    let (mut weight, mut bias) = (first.weight().to_vec(), first.bias().to_vec());
    let mut lifted: Vec<usize> = Vec::new();
    for query in queries {
        let sign = query.direction.sign() as f32;
        let lifts = |i: usize| always_on(first, domain, i) == Some(query.input) && first.row(i)[query.input] == sign;
        if !lifted.contains(&query.input) && !(0..block.hidden()).any(lifts) {
            let mut row = vec![0.0; block.inputs()];
            row[query.input] = sign;
            weight.extend(row);
            bias.push((ALWAYS - least(domain, query.input, sign)) as f32);
            lifted.push(query.input);
        }
    }
    let hidden = bias.len();
    let widened = (0..block.outputs()).flat_map(|r| {
        let mut row = second.row(r).to_vec();
        row.resize(hidden, 0.0);
        row
    });
    let second = Affine::new(hidden, widened.collect(), second.bias().to_vec())?;
    Ok(Block::new(Affine::new(block.inputs(), weight, bias)?, block.activation(), second)?)
}

/// The block with the weights of the rows.
fn with_weights(block: &Block, states: &[Row]) -> Result<Block> {
    let second = block.second();
    let (mut weight, mut bias) = (second.weight().to_vec(), second.bias().to_vec());
    for state in states {
        weight[state.row * block.hidden()..][..block.hidden()].copy_from_slice(&state.weights);
        bias[state.row] = state.bias;
    }
    let second = Affine::new(block.hidden(), weight, bias)?;
    Ok(Block::new(block.first().clone(), block.activation(), second)?)
}

/// `after` with biases that give the same mean outputs over `rows` as `before`; an output that got another bias keeps it.
fn with_mean_of(before: &Block, after: &Block, rows: &[Vec<f64>]) -> Result<Block> {
    let mut bias = after.second().bias().to_vec();
    let mut change = vec![0.0; after.outputs()];
    for x in rows {
        let outputs = before.evaluate(x).into_iter().zip(after.evaluate(x));
        change.iter_mut().zip(outputs).for_each(|(sum, (before, after))| *sum += before - after);
    }
    let kept = |(now, before): &(&mut f32, &f32)| now == before;
    for ((bias, _), change) in bias.iter_mut().zip(before.second().bias()).zip(change).filter(|(pair, _)| kept(pair)) {
        *bias += (change / rows.len().max(1) as f64) as f32;
    }
    let second = Affine::new(after.hidden(), after.second().weight().to_vec(), bias)?;
    Ok(Block::new(after.first().clone(), after.activation(), second)?)
}

/// How many outputs of a block were moved, and by how much all weights together.
fn change(before: &Block, after: &Block) -> (usize, f64) {
    let (mut moved, mut distance, mut size) = (0, 0.0, 0.0);
    for r in 0..before.outputs() {
        let (old, new) = (before.second().row(r), after.second().row(r));
        let old = old.iter().copied().chain(std::iter::repeat(0.0));
        let differences = new.iter().zip(old).map(|(new, old)| f64::from(new - old).powi(2)).sum::<f64>();
        moved += usize::from(differences > 0.0);
        distance += differences;
        size += before.second().row(r).iter().map(|w| f64::from(*w).powi(2)).sum::<f64>();
    }
    (moved, if size > 0.0 { (distance / size).sqrt() } else { 0.0 })
}

#[cfg(test)]
mod tests;
