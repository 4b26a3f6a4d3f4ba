use std::time::{Duration, Instant};

use certificate::{Limit, exact};
use num_rational::BigRational;

use super::encoding::{Complementarity, Encoding, approximately};
use super::question::{Asked, Condition, Posed, Question};
use super::{Inverse, LARGEST_BIG_M};
use crate::Result;
use crate::programme::{Kind, Programme};
use crate::proven::prove;
use crate::solver::{Cbc, Limits, Microlp, Solver, Status};

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

/// A witness counts as the best if nothing is better by more than this part.
const OPTIMALITY_TOL: f64 = 1e-6;
/// What is added to a margin, in parts of the outputs' range, until a solver's point satisfies it in exact arithmetic.
const SLACKS: [f64; 4] = [0.0, 1e-8, 1e-6, 1e-4];

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
        let encoding = self.encode(Complementarity::BigM);
        let mut best: Option<Witness> = None;
        let (mut bound, mut nodes, mut second, mut limit) = (f64::INFINITY, 0, false, None);
        for &target in &posed.targets {
            let found = self.of_class(&posed, &encoding, target, best.as_ref(), time_limit);
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
            (None, None) => Outcome::Infeasible(proof, self.conflict(&posed, &encoding, time_limit)),
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
        encoding: &Encoding,
        target: usize,
        best: Option<&Witness>,
        time_limit: Duration,
    ) -> Found {
        let size = self.graph.outputs.iter().map(|k| self.bounds.values[*k]);
        let size = size.fold(1e-3, |size: f64, side| size.max(side.upper - side.lower)).min(LARGEST_BIG_M);
        let deadline = Instant::now() + time_limit;
        let mut reason = Limit::Time;
        let mut witness = None;
        let mut nothing = false;
        for slack in SLACKS {
            let mut asked = posed.programme(encoding, target, slack * size, None);
            if let Some(best) = best {
                better(&mut asked.programme, approximately(&best.value));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let solved = Cbc.solve(&asked.programme, &Limits::time(left));
            match (solved.status, solved.incumbent) {
                (Status::Infeasible, _) => {
                    nothing = slack == 0.0;
                    break;
                }
                (Status::Failed(said), _) => reason = Limit::Numerical(said),
                (_, None) => break,
                (_, Some(incumbent)) => {
                    let polished = polish(&asked.programme, &incumbent.values);
                    let points = [polished.as_ref(), Some(&incumbent.values)].into_iter().flatten();
                    witness = points.filter_map(|values| self.witness(posed, encoding, &asked, target, values)).next();
                    reason = Limit::Numerical("no point that the solver found holds in exact arithmetic".into());
                }
            }
            if witness.is_some() {
                break;
            }
        }
        let better_than_best = |found: &Witness| best.is_none_or(|best| found.value < best.value);
        let witness = witness.filter(better_than_best);
        let known = witness.as_ref().or(best).map(|witness| approximately(&witness.value));
        if known.is_none() && !nothing {
            // Nothing to prove, so the time goes into a bound.
            let proven = self.prove(posed, encoding, target, f64::INFINITY, time_limit);
            if proven.0 == f64::INFINITY {
                return Found { witness: None, bound: proven.0, proof: Ok(Proof::Own { nodes: proven.1 }) };
            }
            return Found { witness: None, bound: proven.0, proof: Err(reason) };
        }
        let goal = known.map_or(f64::INFINITY, |value| value - OPTIMALITY_TOL * value.abs().max(1e-3));
        let (bound, nodes) = self.prove(posed, encoding, target, goal, time_limit);
        let proof = if bound >= goal {
            Ok(Proof::Own { nodes })
        } else if time_limit > Duration::ZERO && second_opinion(posed, encoding, target, goal, time_limit) {
            Ok(Proof::SecondSolver)
        } else {
            Err(Limit::Time)
        };
        Found { witness, bound, proof }
    }

    /// The proven bound of the objective for one class, and the linear programmes that it took.
    fn prove(&self, posed: &Posed, encoding: &Encoding, target: usize, goal: f64, time_limit: Duration) -> (f64, u64) {
        let asked = posed.programme(encoding, target, 0.0, None);
        let proven = prove(&asked.programme, goal, Instant::now() + time_limit, u64::MAX);
        // Units of the distance were rounded once or twice on their way into the programme.
        let rounded = if proven.bound.is_finite() { 1e-12 * proven.bound.abs() } else { 0.0 };
        (proven.bound - rounded, proven.nodes)
    }

    /// What a solution means, if it holds in exact arithmetic.
    fn witness(
        &self,
        posed: &Posed,
        encoding: &Encoding,
        asked: &Asked,
        target: usize,
        values: &[f64],
    ) -> Option<Witness> {
        let point = posed.point(encoding, asked, values);
        let outputs = self.network.evaluate_exactly(&point);
        let holds = posed.holds(target, &point, &outputs);
        let value = posed.objective(&point, &outputs);
        holds.then_some(Witness { point, outputs, value })
    }

    /// Conditions of a question without an answer of which none can be spared.
    fn conflict(&self, posed: &Posed, encoding: &Encoding, time_limit: Duration) -> Vec<Condition> {
        let mut left_out = Vec::new();
        for condition in posed.conditions() {
            left_out.push(condition);
            let still = posed.targets.iter().all(|target| {
                let asked = posed.programme(encoding, *target, 0.0, Some(&left_out));
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
}

/// The best solution with the integers of another one: a solver's integers are integers only up to a tolerance, which a
/// large constant multiplies.
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
fn second_opinion(posed: &Posed, encoding: &Encoding, target: usize, goal: f64, time_limit: Duration) -> bool {
    let mut asked = posed.programme(encoding, target, 0.0, None);
    if goal.is_finite() {
        better(&mut asked.programme, goal);
    }
    Microlp.solve(&asked.programme, &Limits::time(time_limit)).status == Status::Infeasible
}

impl Witness {
    /// The point in `f64`.
    pub fn approximate(&self) -> Vec<f64> {
        self.point.iter().map(exact::approximate).collect()
    }
}
