use std::time::{Duration, Instant};

use certificate::{Interval, Limit, exact};
use num_rational::BigRational;

use super::encoding::{Complementarity, Encoding, approximately};
use super::graph::Bounds;
use super::question::{Condition, Posed, Question};
use super::{Inverse, LARGEST_BIG_M};
use crate::Result;
use crate::programme::{Kind, Programme};
use crate::proven::prove;
use crate::solver::{Cbc, Limits, Microlp, Solver, Status};
use crate::tighten::bounds;

/// What was found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The best input that was found; evaluated exactly.
    pub witness: Option<Witness>,
    /// How far that is settled.
    pub outcome: Outcome,
    /// What is proved of everything that satisfies the question: no distance is smaller, no output larger. `inf` (`-inf` for
    /// an output) if there is nothing. Trusts no solver.
    pub bound: f64,
    /// Wall-clock time.
    pub seconds: f64,
}

/// An input that is what was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Witness {
    /// The input, in the network's units.
    pub point: Vec<BigRational>,
    /// The network's outputs there.
    pub outputs: Vec<BigRational>,
    /// The distance, or the output that was to be large.
    pub value: BigRational,
}

/// How far a question is settled.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The witness is the best there is, up to a millionth.
    Optimal(Proof),
    /// There is nothing. With the conditions that already exclude each other; without any of these there would be something.
    Infeasible(Proof, Vec<Condition>),
    /// Neither was shown.
    Undecided(Limit),
}

/// Why there is nothing better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Proved by a search that trusts no solver.
    Own {
        /// Linear programmes that it took.
        nodes: u64,
    },
    /// Said by two solvers that share no code.
    SecondSolver,
}

/// What is added to a margin, in parts of the outputs' range, until a solver's point satisfies it in exact arithmetic.
const SLACKS: [f64; 4] = [0.0, 1e-8, 1e-6, 1e-4];

/// Parts of the best distance known, for a bound where it could not be proved itself.
const SHARES: [f64; 3] = [0.75, 0.5, 0.25];

/// The bounds that were made last, and for where: several classes ask about the same region.
struct Within {
    region: Vec<Interval>,
    bounds: Bounds,
}

/// How a search for one class ended.
struct Search {
    witness: Option<Witness>,
    /// Whether the solver says that there is nothing better.
    settled: bool,
    /// Why it is not.
    reason: Limit,
}

/// Result for one class.
struct Found {
    witness: Option<Witness>,
    /// Of the objective that is minimised.
    bound: f64,
    proof: std::result::Result<Proof, Limit>,
}

impl Inverse<'_> {
    /// Answers a question with CBC. `time_limit` is for each class that will do, once for the search and once for the proof.
    ///
    /// # Soundness
    /// A witness is exact. [`Outcome::Optimal`] and [`Outcome::Infeasible`] say who vouches for it; [`Answer::bound`] is
    /// proved whatever the outcome.
    ///
    /// # Errors
    /// If the question makes no sense for this network.
    pub fn answer(&self, question: &Question, time_limit: Duration) -> Result<Answer> {
        let start = Instant::now();
        let posed = Posed::new(self, question)?;
        let mut within = Within { region: self.domain.input_box().to_vec(), bounds: self.bounds.clone() };
        let mut best: Option<Witness> = None;
        let (mut bound, mut nodes, mut second, mut limit) = (f64::INFINITY, 0, false, None);
        for &target in &posed.targets {
            let found = self.of_class(&posed, target, best.as_ref(), &mut within, time_limit)?;
            bound = bound.min(found.bound);
            match found.proof {
                Ok(Proof::Own { nodes: more }) => nodes += more,
                Ok(Proof::SecondSolver) => second = true,
                Err(reason) => limit = Some(reason),
            }
            best = found.witness.or(best);
        }
        let proof = if second { Proof::SecondSolver } else { Proof::Own { nodes } };
        let outcome = match (&best, limit) {
            (_, Some(limit)) => Outcome::Undecided(limit),
            (Some(_), None) => Outcome::Optimal(proof),
            (None, None) => Outcome::Infeasible(proof, self.conflict(&posed, time_limit)),
        };
        let largest = matches!(question, Question::Extreme(_));
        if let Some(best) = &mut best
            && largest
        {
            best.value = -best.value.clone();
        }
        let bound = if largest { -bound } else { bound };
        Ok(Answer { witness: best, outcome, bound, seconds: start.elapsed().as_secs_f64() })
    }

    /// Looks for a witness of one class that is better than `best`, and proves that there is no better one.
    fn of_class(
        &self,
        posed: &Posed,
        target: usize,
        best: Option<&Witness>,
        within: &mut Within,
        time_limit: Duration,
    ) -> Result<Found> {
        let deadline = Instant::now() + time_limit;
        let sampled = if time_limit.is_zero() { None } else { self.sample(posed, target) };
        let better = |found: Option<Witness>, than: Option<&Witness>| {
            found.filter(|found| than.is_none_or(|than| found.value < than.value))
        };
        let mut witness = better(sampled, best);
        let search = self.search(posed, target, witness.as_ref().or(best), within, deadline)?;
        witness = better(search.witness, witness.as_ref().or(best)).or(witness);
        // What has to be shown: that nothing is better than the best that is known, or that there is nothing at all.
        let known = witness.as_ref().or(best).map(|witness| approximately(&witness.value));
        let goal = known.map_or(f64::INFINITY, |value| value - posed.indifference(value));
        let deadline = Instant::now() + time_limit;
        let encoding = self.encode_within(posed, posed.reach(known), within, deadline)?;
        let asked = posed.programme(&encoding, target, 0.0, None);
        // A little more than the goal, for what is taken off again below.
        let proven = prove(&asked.programme, goal + 2e-12 * known.unwrap_or(0.0).abs(), deadline, u64::MAX);
        // Units of the distance were rounded once or twice on their way into the programme. Whatever lies beyond the region has
        // at least the objective that is known.
        let rounded = if proven.bound.is_finite() { 1e-12 * proven.bound.abs() } else { 0.0 };
        let bound = (proven.bound - rounded).min(known.unwrap_or(f64::INFINITY));
        let decided = bound >= goal;
        let bound = if decided { bound } else { bound.max(self.nearer(posed, target, known, within, time_limit)?) };
        // Where counts are minimised, more than one less is as good as the count.
        let bound = if decided && posed.counts() { bound.ceil() } else { bound };
        let proof = if decided {
            Ok(Proof::Own { nodes: proven.nodes })
        } else if search.settled && second_opinion(&asked.programme, goal, time_limit) {
            Ok(Proof::SecondSolver)
        } else if Instant::now() < deadline && known.is_some() {
            Err(Limit::Numerical("the bound stops short of the best input found, by rounding".into()))
        } else {
            Err(search.reason)
        };
        Ok(Found { witness, bound, proof })
    }

    /// A bound on the distance where that of the best input known was out of reach: that there is nothing in a smaller region is
    /// proved sooner.
    fn nearer(
        &self,
        posed: &Posed,
        target: usize,
        known: Option<f64>,
        within: &mut Within,
        time_limit: Duration,
    ) -> Result<f64> {
        // A count says nothing about how far anything may move.
        if posed.counts() {
            return Ok(f64::NEG_INFINITY);
        }
        let Some(known) = known.filter(|known| posed.reach(Some(*known)).is_some_and(|reach| reach >= *known)) else {
            return Ok(f64::NEG_INFINITY);
        };
        for share in SHARES {
            let goal = share * known;
            let deadline = Instant::now() + time_limit / SHARES.len() as u32;
            let encoding = self.encode_within(posed, Some(goal), within, deadline)?;
            let asked = posed.programme(&encoding, target, 0.0, None);
            if prove(&asked.programme, goal, deadline, u64::MAX).bound >= goal {
                return Ok(goal * (1.0 - 1e-12));
            }
        }
        Ok(f64::NEG_INFINITY)
    }

    /// The network for inputs within a reach of the point to start from.
    fn encode_within(
        &self,
        posed: &Posed,
        reach: Option<f64>,
        within: &mut Within,
        deadline: Instant,
    ) -> Result<Encoding> {
        let region = posed.region(reach);
        if region != within.region {
            within.bounds = bounds(&self.graph, self.domain, &region, self.tightening, deadline)?;
            within.region = region;
        }
        Ok(self.encode(&within.bounds, Complementarity::BigM))
    }

    /// Asks CBC for a witness that is better than the best one.
    fn search(
        &self,
        posed: &Posed,
        target: usize,
        best: Option<&Witness>,
        within: &mut Within,
        deadline: Instant,
    ) -> Result<Search> {
        let size = self.graph.outputs.iter().map(|k| self.bounds.values[*k]);
        let size = size.fold(1e-3, |size: f64, side| size.max(side.upper - side.lower)).min(LARGEST_BIG_M);
        let known = best.map(|witness| approximately(&witness.value));
        let encoding = self.encode_within(posed, posed.reach(known), within, deadline)?;
        let mut reason = Limit::Time;
        for slack in SLACKS {
            let mut asked = posed.programme(&encoding, target, slack * size, None);
            if let Some(known) = known {
                better(&mut asked.programme, known);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let solved = Cbc.solve(&asked.programme, &Limits::time(left));
            let settled = solved.status == Status::Optimal;
            match (solved.status, solved.incumbent) {
                (Status::Infeasible, _) => return Ok(Search { witness: None, settled: true, reason }),
                (Status::Failed(said), _) => reason = Limit::Numerical(said),
                (_, None) => break,
                (_, Some(incumbent)) => {
                    let polished = SLACKS.iter().filter(|more| **more >= slack).find_map(|more| {
                        let asked = posed.programme(&encoding, target, more * size, None);
                        let values = polish(&asked.programme, &incumbent.values)?;
                        self.witness(posed, target, posed.point(&encoding, &asked, &values))
                    });
                    if polished.is_some() {
                        return Ok(Search { witness: polished, settled, reason });
                    }
                    reason = Limit::Numerical("no point that the solver found holds in exact arithmetic".into());
                }
            }
        }
        Ok(Search { witness: None, settled: false, reason })
    }

    /// A point as an answer, if it holds in exact arithmetic.
    pub(super) fn witness(&self, posed: &Posed, target: usize, point: Vec<BigRational>) -> Option<Witness> {
        let outputs = self.network.evaluate_exactly(&point);
        let holds = posed.holds(target, &point, &outputs);
        let value = posed.objective(&point, &outputs);
        holds.then_some(Witness { point, outputs, value })
    }

    /// Conditions of a question without an answer of which none can be spared.
    fn conflict(&self, posed: &Posed, time_limit: Duration) -> Vec<Condition> {
        let encoding = self.encode(&self.bounds, Complementarity::BigM);
        let mut left_out = Vec::new();
        for condition in posed.conditions() {
            left_out.push(condition);
            let still = posed.targets.iter().all(|target| {
                let asked = posed.programme(&encoding, *target, 0.0, Some(&left_out));
                Cbc.solve(&asked.programme, &Limits::time(time_limit)).status == Status::Infeasible
            });
            if !still {
                left_out.pop();
            }
        }
        posed.conditions().into_iter().filter(|condition| !left_out.contains(condition)).collect()
    }
}

/// Only solutions with a smaller objective.
fn better(programme: &mut Programme, than: f64) {
    let costs: Vec<_> = programme.columns.iter().enumerate().map(|(j, column)| (j, column.objective)).collect();
    programme.row("better", costs, (f64::NEG_INFINITY, than - programme.objective_constant));
    programme.make_names_unique();
}

/// The best solution with the integers of one that a solver found. Its integers are integers only up to a tolerance, which a
/// constant multiplies, and its rows hold only up to another one.
fn polish(programme: &Programme, values: &[f64]) -> Option<Vec<f64>> {
    let mut fixed = programme.clone();
    for (column, value) in fixed.columns.iter_mut().zip(values).filter(|(column, _)| column.kind == Kind::Integer) {
        (column.lower, column.upper) = (value.round(), value.round());
        column.kind = Kind::Continuous;
    }
    let solved = Cbc.solve(&fixed, &Limits::time(Duration::from_secs(10)));
    solved.incumbent.filter(|_| solved.status == Status::Optimal).map(|incumbent| incumbent.values)
}

/// Whether a solver that shares no code with the first one says that there is nothing below `goal`.
fn second_opinion(programme: &Programme, goal: f64, time_limit: Duration) -> bool {
    let mut programme = programme.clone();
    if goal.is_finite() {
        better(&mut programme, goal);
    }
    Microlp.solve(&programme, &Limits::time(time_limit)).status == Status::Infeasible
}

impl Witness {
    /// The point in `f64`.
    pub fn approximate(&self) -> Vec<f64> {
        self.point.iter().map(exact::approximate).collect()
    }
}
