//! Deciding one query.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use certificate::exact::{approximate, rational};
use certificate::{Block, Counterexample, Domain, Limit, Multipliers, Query, Rows, Step, Verdict};
use num_rational::BigRational;
use num_traits::Signed;
use serde::{Deserialize, Serialize};

use crate::big_m::{BigM, Candidate};
use crate::branch_and_bound::{Outcome, Search};
use crate::derivative::{ActivationPattern, DirectedDerivative, round_down};
use crate::interior::{Interior, interior};
use crate::sampling::{Sample, exact_point, inside, least_sample};
use crate::solver::{Limits, Solver, Status};
use crate::tighten::Tightening;
use crate::{Error, Result, counterexample};

/// What is asked about the worst-case derivative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Only whether it is negative; several times cheaper.
    Sign,
    /// Its value.
    Minimum,
}

/// What decides the queries that signs and samples leave open.
#[derive(Clone, Copy)]
pub enum Engine<'a> {
    /// The search of this crate, which gives a proof ([`QueryReport::proof`]).
    BranchAndBound,
    /// The big-M programme, with the solver's word for what it excludes.
    Milp(&'a dyn Solver),
}

impl Engine<'_> {
    /// The word used for it in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BranchAndBound => "branch_and_bound",
            Self::Milp(solver) => solver.name(),
        }
    }
}

/// Settings of a verification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Sign or value; `sign` by default.
    pub mode: Mode,
    /// Wall-clock time for one query; 60 by default.
    pub query_time_limit_s: f64,
    /// Nodes of branch and bound for one query; unlimited by default. Unlike a time limit it makes a search that gives
    /// up repeatable.
    pub node_limit: u64,
    /// Wall-clock time for all queries of a network together; 3600 by default.
    pub total_time_limit_s: f64,
    /// A solver has to exclude all patterns whose value, as a part of the largest path weight, is below this, so that
    /// its tolerances cannot hide a slightly negative one; 1e-6 by default.
    pub certify_tol: f64,
    /// Points that are tried before a solver is asked; 1000 by default.
    pub samples: usize,
    /// Seed of these points.
    pub seed: u64,
    /// How the boxes of later blocks are found.
    pub tightening: Tightening,
    /// Whether a network's other queries are dropped once one is refuted. Which of several refuted queries is then
    /// reported depends on the timing.
    pub stop_at_first_refutation: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Sign,
            query_time_limit_s: 60.0,
            node_limit: u64::MAX,
            total_time_limit_s: 3600.0,
            certify_tol: 1e-6,
            samples: 1000,
            seed: 0,
            tightening: Tightening::Interval,
            stop_at_first_refutation: false,
        }
    }
}

/// How a query was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// From the signs of the weights and the stable neurons alone.
    Signs,
    /// A sampled point showed a negative derivative.
    Falsifier,
    /// By the mixed-integer programme.
    Milp,
    /// By branch and bound.
    BranchAndBound,
}

/// What was found out about one query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryReport {
    /// The query.
    pub query: Query,
    /// The answer.
    pub verdict: Verdict,
    /// Proven lower bound on the worst-case derivative; always finite.
    pub lower_bound: f64,
    /// The least derivative that is known to occur.
    pub incumbent: Option<f64>,
    /// How it was decided, or what was tried last.
    pub method: Method,
    /// Name of the engine: `branch_and_bound`, or the solver of the programme.
    pub engine: String,
    /// Nodes of branch and bound.
    pub nodes: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Number of unstable neurons, which is that of the binaries.
    pub unstable: usize,
    /// A point where the derivative is `incumbent`.
    pub witness: Option<Vec<f64>>,
    /// The steps that prove the lower bound, if it is not negative and branch and bound or signs found it; kept in the
    /// certificate, not in records.
    #[serde(skip)]
    pub proof: Option<Vec<Step>>,
}

/// Decides one query about an output of a block; [`verify_network`](crate::verify_network) also takes combinations.
///
/// # Soundness
/// *Refuted* is confirmed in exact arithmetic. *Certified* by [`Method::Signs`] is exact; by [`Method::Milp`] it rests
/// on the solver having excluded every pattern with a value below [`Options::certify_tol`], and on exact proofs for the
/// patterns that were excluded beforehand.
///
/// # Errors
/// If the block is no ReLU block or the query makes no sense; see [`DirectedDerivative::new`].
pub fn verify_query(
    block: &Block,
    domain: &Domain,
    query: Query,
    engine: Engine,
    options: &Options,
) -> Result<QueryReport> {
    let mut verifier = QueryVerifier::new(block, &Rows::OUTPUTS, domain, query, engine, options)?;
    match verifier.screen(&[])? {
        Some(report) => Ok(report),
        None => verifier.decide(Instant::now() + seconds(options.total_time_limit_s), None),
    }
}

/// A duration from a setting; absurdly long ones are cut to what a clock can add.
pub(crate) fn seconds(limit: f64) -> Duration {
    Duration::try_from_secs_f64(limit.clamp(0.0, 1e9)).unwrap_or_default()
}

/// One query on its way to a verdict: first [`screen`](Self::screen), then [`decide`](Self::decide).
pub struct QueryVerifier<'a> {
    derivative: DirectedDerivative<'a>,
    engine: Engine<'a>,
    options: &'a Options,
    sampled: Option<Sample>,
    spent: Duration,
}

/// A pattern that occurs, with an inner point of its cell.
pub(crate) struct Occurring {
    pub value: BigRational,
    pub pattern: ActivationPattern,
    pub point: Vec<BigRational>,
}

impl<'a> QueryVerifier<'a> {
    /// Prepares a query about one of the `rows` of a block.
    ///
    /// # Errors
    /// If the tolerance is not above zero; also see [`DirectedDerivative::new`].
    pub fn new(
        block: &'a Block,
        rows: &'a Rows,
        domain: &'a Domain,
        query: Query,
        engine: Engine<'a>,
        options: &'a Options,
    ) -> Result<Self> {
        let tol = options.certify_tol;
        if !(tol.is_finite() && tol > 0.0) {
            return Err(Error::Tolerance(tol));
        }
        let derivative = DirectedDerivative::new(block, rows, domain, query)?;
        Ok(Self { derivative, engine, options, sampled: None, spent: Duration::ZERO })
    }

    /// The least derivative that sampling found.
    pub fn sampled(&self) -> Option<f64> {
        self.sampled.as_ref().map(|sample| sample.value)
    }

    /// The programme that decides the query, for export.
    pub fn programme(&self) -> crate::Programme {
        BigM::new(&self.derivative).programme
    }

    /// Everything that needs no solver: signs, then sampled points with the caller's `witnesses` among them.
    ///
    /// # Errors
    /// If the exact evaluation fails.
    pub fn screen(&mut self, witnesses: &[Vec<f64>]) -> Result<Option<QueryReport>> {
        let start = Instant::now();
        let report = self.screen_untimed(witnesses);
        self.spent += start.elapsed();
        Ok(report?.map(|report| QueryReport { seconds: self.spent.as_secs_f64(), ..report }))
    }

    fn screen_untimed(&mut self, witnesses: &[Vec<f64>]) -> Result<Option<QueryReport>> {
        if !self.derivative.input_moves() || self.derivative.neurons.is_empty() {
            return Ok(Some(QueryReport { proof: Some(vec![trivial_leaf()]), ..self.certified(0.0, Method::Signs) }));
        }
        let bound = self.derivative.sign_bound();
        let exact = self.derivative.unstable().next().is_none();
        if !bound.is_negative() && (self.options.mode == Mode::Sign || exact) {
            let mut report = self.certified(round_down(&bound), Method::Signs);
            report.proof = Some(vec![trivial_leaf()]);
            report.incumbent = exact.then(|| approximate(&bound));
            return Ok(Some(report));
        }
        self.sampled = least_sample(&self.derivative, witnesses, self.options.samples, self.options.seed);
        match &self.sampled {
            Some(sample) if sample.value < 0.0 && self.options.mode == Mode::Sign => self.falsified(&sample.point),
            _ => Ok(None),
        }
    }

    /// Judges a sampled point in exact arithmetic.
    fn falsified(&self, point: &[f64]) -> Result<Option<QueryReport>> {
        let Some(occurring) = self.occurring(point).filter(|occurring| occurring.value.is_negative()) else {
            return Ok(None);
        };
        Ok(self.refuted(&occurring)?.map(|pair| self.refutation(pair, &occurring, Method::Falsifier)))
    }

    /// Asks the solver until there is a verdict or a limit is reached.
    ///
    /// # Errors
    /// If the exact evaluation fails.
    pub fn decide(&mut self, deadline: Instant, interrupt: Option<&AtomicBool>) -> Result<QueryReport> {
        let start = Instant::now();
        let left = seconds(self.options.query_time_limit_s).saturating_sub(self.spent);
        let deadline = deadline.min(start + left);
        let report = match self.engine {
            Engine::BranchAndBound => self.search(deadline, interrupt)?,
            Engine::Milp(solver) => self.solve(solver, deadline, interrupt)?,
        };
        self.spent += start.elapsed();
        Ok(QueryReport { seconds: self.spent.as_secs_f64(), ..report })
    }

    /// Branch and bound: the sign, or the minimum as the last of a series of questions whether it is lower still.
    fn search(&self, deadline: Instant, interrupt: Option<&AtomicBool>) -> Result<QueryReport> {
        let derivative = &self.derivative;
        let node_limit = self.options.node_limit;
        let mut best = None;
        let mut at_least = 0.0;
        if self.options.mode == Mode::Minimum {
            best = self.sampled.as_ref().and_then(|sample| self.occurring(&sample.point));
            at_least = best.as_ref().map_or(f64::MAX, |best| self.just_below(best));
        }
        let mut nodes = 0;
        loop {
            let (outcome, looked_at) = Search { derivative, at_least, deadline, node_limit, interrupt }.run();
            nodes += looked_at;
            match outcome {
                Outcome::Found(lower) if self.options.mode == Mode::Minimum => {
                    at_least = self.just_below(&lower);
                    best = Some(lower);
                }
                Outcome::Found(occurring) => {
                    let bound = round_down(&derivative.sign_bound());
                    return Ok(QueryReport { nodes, ..self.below_zero(occurring, bound)? });
                }
                Outcome::Open { bound, limit } => {
                    let bound = bound.min(at_least);
                    return Ok(QueryReport { nodes, ..self.undecided(bound, &best, limit) });
                }
                Outcome::Proved(proof) => {
                    let report = match best {
                        Some(best) if best.value.is_negative() => self.below_zero(best, at_least)?,
                        best => QueryReport {
                            incumbent: best.as_ref().map(|best| approximate(&best.value)).or(self.sampled()),
                            proof: Some(proof.steps),
                            ..self.certified(at_least, self.method())
                        },
                    };
                    return Ok(QueryReport { nodes, ..report });
                }
            }
        }
    }

    /// A bound that is as good as the value of `best`, but for a part in a thousand million of what could matter.
    fn just_below(&self, best: &Occurring) -> f64 {
        let scale: f64 = self.derivative.neurons.iter().map(|n| n.coefficient.abs()).sum();
        let below = round_down(&best.value) - 1e-9 * scale;
        if best.value.is_negative() { below } else { below.max(0.0) }
    }

    /// The pattern at a sampled point, if the point lies in the domain and on no hyperplane.
    fn occurring(&self, point: &[f64]) -> Option<Occurring> {
        let point = exact_point(&self.derivative, point);
        let pattern = self.derivative.pattern_at(&point).filter(|_| inside(&self.derivative, &point))?;
        Some(Occurring { value: self.derivative.value(&pattern), pattern, point })
    }

    fn method(&self) -> Method {
        match self.engine {
            Engine::BranchAndBound => Method::BranchAndBound,
            Engine::Milp(_) => Method::Milp,
        }
    }

    fn solve(&self, solver: &dyn Solver, deadline: Instant, interrupt: Option<&AtomicBool>) -> Result<QueryReport> {
        let mut big_m = BigM::new(&self.derivative);
        let mut seen = HashSet::new();
        let mut best: Option<Occurring> = None;
        let mut proven = round_down(&self.derivative.sign_bound());
        loop {
            if interrupt.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return Ok(self.undecided(proven, &best, Limit::Interrupted));
            }
            let time_limit = deadline.saturating_duration_since(Instant::now());
            if time_limit.is_zero() {
                return Ok(self.undecided(proven, &best, Limit::Time));
            }
            let outcome = solver.solve(&big_m.programme, &Limits { time_limit, cutoff: self.cutoff(big_m.scale) });
            match outcome.status {
                Status::Infeasible => {
                    let known = best.as_ref().map_or(proven, |best| round_down(&best.value));
                    return Ok(self.all_excluded(known, &best));
                }
                Status::Failed(reason) => return Ok(self.undecided(proven, &best, Limit::Numerical(reason))),
                Status::Unbounded => return Ok(self.contradiction(proven, &best, "a bounded programme is unbounded")),
                Status::Optimal | Status::LimitReached => {}
            }
            // Excluded patterns have no interior or at least the value of the best one.
            let known = best.as_ref().map_or(f64::INFINITY, |best| round_down(&best.value));
            let bound = outcome.bound / big_m.scale;
            let tol = self.options.certify_tol / big_m.scale;
            proven = proven.max(bound.min(known));
            if is_minimum(&best, bound, tol) {
                return Ok(self.all_excluded(proven, &best));
            }
            let Some(incumbent) = outcome.incumbent else {
                return Ok(self.undecided(proven, &best, Limit::Time));
            };
            let candidate = big_m.candidate(&self.derivative, &incumbent.values);
            if !seen.insert((candidate.pattern.clone(), candidate.discrete.clone())) {
                return Ok(self.contradiction(proven, &best, "an excluded pattern came back"));
            }
            let value = self.derivative.value(&candidate.pattern);
            if self.options.mode == Mode::Sign && !value.is_negative() {
                big_m.exclude_dominated(&self.derivative, &candidate);
                continue;
            }
            let Some(point) = self.inner_point(&mut big_m, &candidate) else { continue };
            big_m.exclude_dominated(&self.derivative, &candidate);
            let occurring = Occurring { value, pattern: candidate.pattern, point };
            if occurring.value.is_negative() {
                return self.below_zero(occurring, proven);
            }
            if best.as_ref().is_none_or(|best| occurring.value < best.value) {
                best = Some(occurring);
            }
            if is_minimum(&best, bound, tol) {
                return Ok(self.all_excluded(proven, &best));
            }
        }
    }

    /// Patterns with at least this value, times `scale`, need not be looked at.
    ///
    /// If all values are multiples of a number that is far above all tolerances, "negative" means "at most minus that
    /// number", and patterns of value zero, of which there can be very many, need not be excluded one by one.
    fn cutoff(&self, scale: f64) -> Option<f64> {
        let step = self.derivative.granularity() * scale;
        let coarse = step > 4.0 * self.options.certify_tol;
        let cutoff = if coarse { -0.5 * step } else { self.options.certify_tol };
        (self.options.mode == Mode::Sign).then_some(cutoff)
    }

    /// A point in the open cell of the candidate. If there is none, excludes what proves it.
    fn inner_point(&self, big_m: &mut BigM, candidate: &Candidate) -> Option<Vec<BigRational>> {
        let halfspaces = self.derivative.halfspaces(&candidate.pattern);
        let free: Vec<_> =
            self.derivative.domain.input_box().iter().map(|s| (rational(s.lower), rational(s.upper))).collect();
        let fixed: Vec<_> = free
            .iter()
            .zip(&candidate.discrete)
            .map(|(side, value)| value.as_ref().map_or_else(|| side.clone(), |v| (v.clone(), v.clone())))
            .collect();
        match interior(&halfspaces, &fixed) {
            Interior::Point(point) => Some(point),
            Interior::Empty { conflict } => {
                let neurons = |conflict: &[(usize, _)]| conflict.iter().map(|(i, _)| *i).collect::<Vec<_>>();
                // What is empty with all inputs free is so for every value of the discrete ones: a stronger cut.
                match interior(&halfspaces, &free) {
                    Interior::Empty { conflict } => big_m.exclude(candidate, &neurons(&conflict)),
                    Interior::Point(_) => big_m.exclude_with_assignment(candidate, &neurons(&conflict)),
                }
                None
            }
        }
    }

    fn refuted(&self, occurring: &Occurring) -> Result<Option<Counterexample>> {
        let domain = self.derivative.domain;
        let mut kept = vec![false; domain.inputs()];
        domain.one_hot().iter().flatten().for_each(|&j| kept[j] = true);
        domain.integer().iter().for_each(|feature| kept[feature.input] = true);
        counterexample::step(&self.derivative, &occurring.pattern, &occurring.point, &kept)
    }

    /// A negative pattern that occurs; the minimum, unless a limit was reached.
    fn below_zero(&self, occurring: Occurring, proven: f64) -> Result<QueryReport> {
        let proven = proven.min(round_down(&occurring.value));
        Ok(match self.refuted(&occurring)? {
            Some(pair) => QueryReport { lower_bound: proven, ..self.refutation(pair, &occurring, self.method()) },
            None => {
                let reason = "the output falls between two values of an integer input, but not from one to the next";
                self.undecided(proven, &Some(occurring), Limit::Numerical(reason.into()))
            }
        })
    }

    /// Nothing negative is left: what was excluded decides.
    fn all_excluded(&self, proven: f64, best: &Option<Occurring>) -> QueryReport {
        match (self.options.mode, best) {
            (Mode::Sign, _) => self.certified(0.0, Method::Milp),
            (Mode::Minimum, None) => self.contradiction(proven, best, "every pattern is infeasible"),
            (Mode::Minimum, Some(best)) => QueryReport {
                incumbent: Some(approximate(&best.value)),
                witness: Some(best.point.iter().map(approximate).collect()),
                ..self.certified(round_down(&best.value).min(proven.max(0.0)), Method::Milp)
            },
        }
    }

    fn contradiction(&self, proven: f64, best: &Option<Occurring>, reason: &str) -> QueryReport {
        self.undecided(proven, best, Limit::Numerical(format!("{}: {reason}", self.engine.name())))
    }

    fn report(&self, verdict: Verdict, lower_bound: f64, method: Method) -> QueryReport {
        QueryReport {
            query: self.derivative.query,
            verdict,
            lower_bound,
            incumbent: self.sampled(),
            method,
            engine: self.engine.name().into(),
            nodes: 0,
            seconds: 0.0,
            unstable: self.derivative.unstable().count(),
            witness: self.sampled.as_ref().map(|sample| sample.point.clone()),
            proof: None,
        }
    }

    fn certified(&self, lower_bound: f64, method: Method) -> QueryReport {
        self.report(Verdict::Certified { lower_bound }, lower_bound, method)
    }

    fn refutation(&self, pair: Counterexample, occurring: &Occurring, method: Method) -> QueryReport {
        let bound = round_down(&self.derivative.sign_bound());
        QueryReport {
            incumbent: Some(approximate(&occurring.value)),
            witness: Some(occurring.point.iter().map(approximate).collect()),
            ..self.report(Verdict::Refuted(pair), bound, method)
        }
    }

    fn undecided(&self, lower_bound: f64, best: &Option<Occurring>, limit: Limit) -> QueryReport {
        let mut report = self.report(Verdict::Undecided { lower_bound, limit }, lower_bound, self.method());
        if let Some(best) = best {
            report.incumbent = Some(approximate(&best.value));
            report.witness = Some(best.point.iter().map(approximate).collect());
        }
        report
    }
}

/// The proof of what signs and stable neurons show.
fn trivial_leaf() -> Step {
    Step::Bound(Multipliers { exponent: 0, multipliers: Vec::new() })
}

/// Whether no pattern can be negative, and none lower than `best` up to the tolerance, when what was not excluded has at
/// least the value `bound`.
fn is_minimum(best: &Option<Occurring>, bound: f64, tol: f64) -> bool {
    best.as_ref().is_some_and(|best| bound >= tol && bound >= approximate(&best.value) - tol)
}

impl QueryReport {
    /// The report of a query that was not looked at.
    pub(crate) fn skipped(derivative_bound: f64, query: Query, engine: Engine, limit: Limit) -> Self {
        Self {
            query,
            verdict: Verdict::Undecided { lower_bound: derivative_bound, limit },
            lower_bound: derivative_bound,
            incumbent: None,
            method: Method::Signs,
            engine: engine.name().into(),
            nodes: 0,
            seconds: 0.0,
            unstable: 0,
            witness: None,
            proof: None,
        }
    }
}
