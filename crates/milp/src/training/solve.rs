//! From a problem to its optimum.

use std::time::{Duration, Instant};

use super::encode::Encoded;
use super::read::UNFIT;
use super::{
    Constraint, End, Fitted, Gate, Layer, LayerWeights, Loss, Mode, Optimum, Problem, Products, Size, Start, Targets,
    Trained, WeightDomain,
};
use crate::programme::{Kind, Programme};
use crate::proven::prove;
use crate::solver::{FEASIBILITY_TOL, Limits, Solver, Status};
use crate::verify::seconds;
use crate::{Error, Result};

/// Tangents are added at most so often.
const ROUNDS: usize = 50;

/// Settings of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Wall-clock time for all programmes together; 60 by default.
    pub time_limit_s: f64,
    /// A network whose objective is within this of the bound counts as optimal; 1e-4 by default, because its weights are
    /// rounded to 32 bits and solvers have tolerances of 1e-6.
    pub gap_tol: f64,
    /// Weights to start from, one per layer, by gradient training for instance: only better networks are looked for.
    pub start: Option<Vec<LayerWeights>>,
    /// Time for a proof of the bound that trusts no solver; 0, the default, for none.
    pub proof_time_limit_s: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { time_limit_s: 60.0, gap_tol: 1e-4, start: None, proof_time_limit_s: 0.0 }
    }
}

/// How far a training has come, told after every programme.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The best network so far; in certified training none, because it need not be monotone.
    pub best: Option<Fitted>,
    /// No network of the problem has a smaller objective.
    pub bound: Option<f64>,
    /// What the bound is about.
    pub mode: Mode,
}

/// Is told how far a training has come.
pub type Watch<'a> = &'a dyn Fn(Standing);

impl Problem {
    /// The programme, for export. With absorbed output weights that of one of all cases of signs; where units can change places,
    /// of half of them, rounded up, counting upwards.
    ///
    /// # Errors
    /// If the problem makes no sense.
    pub fn programme(&self) -> Result<Programme> {
        self.check()?;
        let cases = self.cases();
        Ok(Encoded::new(&cases[cases.len() / 2])?.encoder.programme)
    }

    /// How large the programme is, before it is solved.
    ///
    /// # Errors
    /// If the problem makes no sense.
    pub fn size(&self) -> Result<Size> {
        self.check()?;
        let sizes = self.cases().iter().map(|case| Ok(size(&Encoded::new(case)?))).collect::<Result<Vec<_>>>()?;
        Ok(sizes.into_iter().max_by_key(|size| size.integers).expect("there is at least one case"))
    }

    /// The programmes that together are the problem: one, or one for all signs of the output weights. Of units that can change
    /// places only the number that count upwards matters.
    fn cases(&self) -> Vec<Problem> {
        let (Products::Absorbed, [hidden @ Layer::Dense(parameters), Layer::Relu, Layer::Dense(output)]) =
            (self.products, &self.layers[..])
        else {
            return vec![self.clone()];
        };
        let units = parameters.outputs;
        let with_signs = |up: &dyn Fn(usize) -> bool| {
            let signs = (0..units).map(|j| if up(j) { 1.0 } else { -1.0 }).collect();
            let output = super::Parameters { weights: WeightDomain::Fixed(signs), ..output.clone() };
            Problem { layers: vec![hidden.clone(), Layer::Relu, Layer::Dense(output)], ..self.clone() }
        };
        if self.units_differ() {
            return (0..1_usize << units).map(|code| with_signs(&|j| code >> j & 1 == 1)).collect();
        }
        (0..=units).map(|up| with_signs(&|j| j < up)).collect()
    }

    /// Whether hidden units cannot change places, because a constraint or their biases tell them apart.
    pub(super) fn units_differ(&self) -> bool {
        let Some(Layer::Dense(hidden)) = self.layers.first() else { return false };
        // A limit on all of them tells none apart.
        let on_all = |constraint: &Constraint| {
            let Constraint::AtMost { gates, .. } = constraint else { return false };
            let shared = |gate: &Gate| matches!(gate, Gate::Unit { layer: 0, .. } | Gate::Input { layer: 0, .. });
            let mut units = (0..hidden.outputs).map(|unit| Gate::Unit { layer: 0, unit });
            gates.iter().all(shared) && units.all(|unit| gates.contains(&unit))
        };
        let tells_apart = |constraint: &Constraint| constraint.tells_apart(false) && !on_all(constraint);
        matches!(hidden.biases, WeightDomain::Fixed(_)) || self.constraints.iter().any(tells_apart)
    }

    /// Weights to start from in the form that the cases have, and for which of them.
    fn start_of(&self, weights: &[LayerWeights]) -> (usize, Vec<LayerWeights>) {
        let (Products::Absorbed, [hidden, output]) = (self.products, weights) else { return (0, weights.to_vec()) };
        let inputs = self.input.size();
        let mut units: Vec<_> = hidden.weights.chunks(inputs).zip(&hidden.biases).zip(&output.weights).collect();
        if !self.units_differ() {
            units.sort_by_key(|(_, v)| **v < 0.0);
        }
        let size = |v: f64| v.abs();
        let hidden = LayerWeights {
            weights: units.iter().flat_map(|((row, _), v)| row.iter().map(|w| w * size(**v))).collect(),
            biases: units.iter().map(|((_, b), v)| **b * size(**v)).collect(),
        };
        let signs: Vec<f64> = units.iter().map(|(_, v)| if **v < 0.0 { -1.0 } else { 1.0 }).collect();
        let up = signs.iter().enumerate().filter(|(_, sign)| **sign > 0.0);
        let case = if self.units_differ() {
            up.fold(0, |code, (j, _)| code + 1_usize.checked_shl(j as u32).unwrap_or(0))
        } else {
            up.count()
        };
        (case, vec![hidden, LayerWeights { weights: signs, biases: output.biases.clone() }])
    }
}

fn size(encoded: &Encoded) -> Size {
    let programme = &encoded.encoder.programme;
    Size {
        columns: programme.columns.len(),
        integers: programme.columns.iter().filter(|column| column.kind == Kind::Integer).count(),
        activations: encoded.encoder.activations,
        rows: programme.rows.len(),
    }
}

/// What became of one programme.
struct Case<'a> {
    encoded: Encoded<'a>,
    best: Option<(Fitted, Option<f64>)>,
    bound: f64,
    end: End,
    programmes: usize,
    start: Start,
}

impl<'a> Case<'a> {
    fn new(problem: &'a Problem) -> Result<Self> {
        let encoded = Encoded::new(problem)?;
        // What the signs of the costs say already.
        let bound = encoded.encoder.programme.dual_bound(&[]);
        Ok(Self { encoded, best: None, bound, end: End::TimeLimit, programmes: 0, start: Start::None })
    }

    fn objective(&self) -> f64 {
        self.best.as_ref().map_or(f64::INFINITY, |(fitted, _)| fitted.objective())
    }
}

fn least(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.fold(f64::INFINITY, f64::min)
}

/// Index of the case with the best network.
fn winner(cases: &[Case]) -> usize {
    let by_objective = |a: &usize, b: &usize| cases[*a].objective().total_cmp(&cases[*b].objective());
    (0..cases.len()).min_by(by_objective).expect("there is at least one case")
}

/// A network that is better than a solver's bound, by its tolerance or by that of a margin, is the better bound.
fn bound(cases: &[Case]) -> f64 {
    least(cases.iter().flat_map(|case| [case.bound, case.objective()]))
}

fn standing(cases: &[Case]) -> Standing {
    let bound = bound(cases);
    Standing {
        best: cases[winner(cases)].best.as_ref().map(|(fitted, _)| fitted.clone()),
        bound: bound.is_finite().then_some(bound),
        mode: mode(cases),
    }
}

fn mode(cases: &[Case]) -> Mode {
    if cases.iter().any(|case| case.encoded.encoder.relaxed) { Mode::Relaxation } else { Mode::Exact }
}

/// Looks for the network with the least objective, and for a proof that it is.
///
/// # Errors
/// If the problem makes no sense, its products cannot be written in the way that it asks for, or its constraints contradict
/// each other.
pub fn train(problem: &Problem, solver: &dyn Solver, options: &Options, watch: Watch) -> Result<Trained> {
    let begin = Instant::now();
    let deadline = begin + seconds(options.time_limit_s);
    let mut warnings = problem.check()?;
    let problems = problem.cases();
    let mut cases = problems.iter().map(Case::new).collect::<Result<Vec<_>>>()?;
    if let Some(weights) = &options.start {
        let (case, weights) = problem.start_of(weights);
        let case = cases.get_mut(case).ok_or_else(|| Error::Training(UNFIT.into()))?;
        begin_with(case, &weights, solver, deadline)?;
        watch(standing(&cases));
    }
    for k in 0..cases.len() {
        // What is left is shared by those that are still to come.
        let left = deadline.saturating_duration_since(Instant::now()) / (cases.len() - k) as u32;
        solve(&mut cases, k, solver, Instant::now() + left, options.gap_tol, watch)?;
    }
    if cases.iter().all(|case| case.bound == f64::INFINITY) {
        return Err(contradiction(problem, solver, seconds(options.time_limit_s)));
    }
    let winner = &cases[winner(&cases)];
    let least = winner.objective();
    let bound = bound(&cases);
    let own_bound = (options.proof_time_limit_s > 0.0).then(|| {
        let until = Instant::now() + seconds(options.proof_time_limit_s);
        let prove =
            |case: &Case| prove(&case.encoded.encoder.programme, least - options.gap_tol, until, u64::MAX).bound;
        cases.iter().map(prove).fold(least, f64::min)
    });
    let end = if least - bound <= options.gap_tol {
        End::Optimal
    } else {
        let unfinished = cases.iter().filter(|case| least - case.bound > options.gap_tol);
        unfinished.map(|case| case.end.clone()).find(|end| *end != End::Optimal).unwrap_or(End::TimeLimit)
    };
    let sizes = cases.iter().map(|case| size(&case.encoded));
    let size = sizes.max_by_key(|size| size.integers).expect("there is at least one case");
    warnings.extend(size.warning());
    let starts = cases.iter().map(|case| case.start).find(|start| *start != Start::None);
    let fitted = winner.best.as_ref().map(|(fitted, _)| fitted);
    let finite = |x: f64| x.is_finite().then_some(x);
    let layers = winner.encoded.layers.iter();
    let optimum = Optimum {
        mode: mode(&cases),
        products: problem.products,
        domains: layers.map(|l| [l.parameters.weights.clone(), l.parameters.biases.clone()]).collect(),
        objective: fitted.map(Fitted::objective),
        loss: fitted.map(|fitted| fitted.loss),
        solver_objective: winner.best.as_ref().and_then(|(_, said)| *said),
        bound: finite(bound),
        own_bound: own_bound.and_then(finite),
        gap: finite((least - bound).max(0.0)),
        end,
        solver: solver.name().into(),
        solver_version: solver.version(),
        gap_tol: options.gap_tol,
        feasibility_tol: FEASIBILITY_TOL,
        start: starts.unwrap_or(Start::None),
        active_sides: fitted.map(|fitted| winner.encoded.active_sides(&fitted.weights)).unwrap_or_default(),
        warnings,
        size,
        programmes: cases.iter().map(|case| case.programmes).sum(),
        seconds: begin.elapsed().as_secs_f64(),
    };
    Ok(Trained { fitted: fitted.cloned(), optimum })
}

/// Makes given weights the best known network of a case, if they are one.
fn begin_with(case: &mut Case, weights: &[LayerWeights], solver: &dyn Solver, deadline: Instant) -> Result<()> {
    case.start = Start::Unusable;
    if let Some(values) = complete(&case.encoded, weights, solver, deadline)? {
        let fitted = case.encoded.read(&values)?;
        case.start = Start::Given { objective: fitted.objective() };
        case.best = Some((fitted, None));
    }
    Ok(())
}

/// Solves one programme, with more and more tangents where it has curves. Only networks better than those of all cases matter.
fn solve(
    cases: &mut [Case],
    k: usize,
    solver: &dyn Solver,
    deadline: Instant,
    gap_tol: f64,
    watch: Watch,
) -> Result<()> {
    for _ in 0..ROUNDS {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        // What is known is a row. A start solution made CBC 2.10 return points that violate their rows (measured), and with a
        // cutoff its bound is wrong.
        let goal = least(cases.iter().map(Case::objective)) - 0.5 * gap_tol;
        let solved = solve_once(&mut cases[k], solver, deadline, goal, gap_tol)?;
        watch(standing(cases));
        if solved {
            break;
        }
    }
    Ok(())
}

/// Whether nothing is left to be done for the programme.
fn solve_once(case: &mut Case, solver: &dyn Solver, deadline: Instant, goal: f64, gap_tol: f64) -> Result<bool> {
    let left = || deadline.saturating_duration_since(Instant::now());
    let programme = &case.encoded.encoder.programme;
    let mut outcome = solver.solve(&below(programme, goal), &Limits::time(left()));
    case.programmes += 1;
    if matches!(outcome.status, Status::Failed(_)) && goal.is_finite() && !left().is_zero() {
        // CBC has more trouble with that row than without.
        outcome = solver.solve(programme, &Limits::time(left()));
        case.programmes += 1;
    }
    case.bound = case.bound.max(outcome.bound.min(goal));
    match outcome.status {
        Status::Failed(reason) => {
            case.end = End::Numerical(reason);
            return Ok(true);
        }
        Status::Infeasible => {
            case.end = End::Optimal;
            return Ok(true);
        }
        _ => {}
    }
    let Some(incumbent) = outcome.incumbent else { return Ok(true) };
    let fitted = case.encoded.read(&incumbent.values)?;
    let (objective, better) = (fitted.objective(), fitted.objective() < case.objective());
    if better {
        case.best = Some((fitted, Some(incumbent.objective)));
    }
    // With a margin a network counts as right a little below it; everywhere else such a bound is wrong.
    if objective < case.bound - gap_tol && !matches!(case.encoded.problem.loss, Loss::ZeroOne { .. }) {
        case.end = End::Numerical(format!("a network of {objective} is below the solver's bound of {}", case.bound));
        case.bound = case.encoded.encoder.programme.dual_bound(&[]);
        return Ok(true);
    }
    if outcome.status != Status::Optimal {
        return Ok(true);
    }
    let least = case.objective();
    if least - case.bound <= gap_tol {
        case.end = End::Optimal;
        return Ok(true);
    }
    let relaxed = case.encoded.encoder.relaxed;
    let tolerance = 0.1 * gap_tol / case.encoded.curves.len().max(1) as f64;
    let Encoded { curves, encoder, .. } = &mut case.encoded;
    let refined =
        curves.iter_mut().filter_map(|curve| curve.refine(encoder, &incumbent.values, tolerance).then_some(()));
    // CBC may call a solution optimal with a bound far below it; that nothing is better, it can still say.
    if refined.count() > 0 || better && !relaxed {
        return Ok(false);
    }
    case.end = if relaxed {
        End::Relaxed
    } else {
        End::Numerical(format!("the solver's optimum {} is {least} by the network itself", incumbent.objective))
    };
    Ok(true)
}

/// The same programme for solutions with an objective of at most `goal`.
fn below(programme: &Programme, goal: f64) -> Programme {
    let mut programme = programme.clone();
    if goal.is_finite() {
        let costs = programme.columns.iter().enumerate().map(|(j, column)| (j, column.objective)).collect::<Vec<_>>();
        programme.row("better", costs, (f64::NEG_INFINITY, goal - programme.objective_constant));
        programme.make_names_unique();
    }
    programme
}

/// The solution that given weights mean, if they are one.
fn complete(
    encoded: &Encoded,
    weights: &[LayerWeights],
    solver: &dyn Solver,
    deadline: Instant,
) -> Result<Option<Vec<f64>>> {
    let fixed = encoded.fix(&encoded.ordered(weights))?;
    let left = deadline.saturating_duration_since(Instant::now());
    Ok(solver.solve(&fixed, &Limits::time(left)).incumbent.map(|incumbent| incumbent.values))
}

/// The constraints of a problem without a solution of which none can be spared: a deletion filter.
fn contradiction(problem: &Problem, solver: &dyn Solver, time_limit: Duration) -> Error {
    let without = |left_out: &[usize], samples: bool| {
        let all = problem.constraints.iter().enumerate();
        let constraints = all.filter(|(k, _)| !left_out.contains(k)).map(|(_, c)| c.clone()).collect();
        let mut problem = Problem { constraints, ..problem.clone() };
        if !samples {
            problem.samples.clear();
            problem.targets = Targets::Values(Vec::new());
        }
        problem
    };
    let impossible = |problem: &Problem| {
        let case = |case: &Problem| {
            let encoded = Encoded::new(case).ok()?;
            Some(solver.solve(&encoded.encoder.programme, &Limits::time(time_limit)).status == Status::Infeasible)
        };
        problem.cases().iter().all(|problem| case(problem) == Some(true))
    };
    // Samples matter only where a step function excludes weights.
    let samples = !impossible(&without(&[], false));
    let mut left_out = Vec::new();
    for k in 0..problem.constraints.len() {
        left_out.push(k);
        if !impossible(&without(&left_out, samples)) {
            left_out.pop();
        }
    }
    let kept = without(&left_out, samples).constraints;
    let margins = samples.then(|| "the margins of the steps on these samples".to_owned());
    Error::Contradictory(kept.iter().map(Constraint::to_string).chain(margins).collect())
}
