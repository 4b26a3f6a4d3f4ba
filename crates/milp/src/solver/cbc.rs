// Links the bundled C++ sources; `coin_cbc` itself only declares the functions.
extern crate cbc_src as _;

use std::ffi::{CStr, CString};
use std::time::Instant;

use coin_cbc::raw::{Model, SOSConstraintType, SecondaryStatus, Sense, Status as Finish};

use super::{Incumbent, Limits, Outcome, Solver, Status};
use crate::programme::{Kind, Programme};

/// CBC 2.10 of the COIN-OR project, built from source with this crate.
///
/// While its Clp solves, Clp's handler of SIGINT is in place of any other, and ends the linear programme. A program that wants
/// its Ctrl-C has the signal blocked in all threads and one thread wait for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cbc;

impl Solver for Cbc {
    fn name(&self) -> &'static str {
        "cbc"
    }

    fn version(&self) -> String {
        Model::version().into()
    }

    fn solve(&self, programme: &Programme, limits: &Limits) -> Outcome {
        if let Err(error) = programme.validate() {
            return Outcome::failed(error.to_string());
        }
        // CBC does not know a range without a value.
        let mut ranges = programme.columns.iter().map(|c| (c.lower, c.upper));
        if ranges.any(|(l, u)| l > u) || programme.rows.iter().any(|row| row.lower > row.upper) {
            return Outcome::without_solution(Status::Infeasible);
        }
        let outcome = if programme.is_linear() {
            linear(programme, limits)
        } else if programme.columns.iter().any(|column| column.kind == Kind::Integer) {
            integer(programme, limits)
        } else {
            // Without an integer column the C interface stops at the linear relaxation, whatever sets there are.
            let mut with_integer = programme.clone();
            with_integer.integer("any_integer", (0.0, 1.0), 0.0);
            let mut outcome = integer(&with_integer, limits);
            if let Some(incumbent) = &mut outcome.incumbent {
                incumbent.values.pop();
            }
            outcome
        };
        outcome.checked(programme, limits)
    }
}

/// The programme as CBC's column-wise model.
fn load(programme: &Programme, objective: &[f64]) -> Model {
    let mut by_column = vec![Vec::new(); programme.columns.len()];
    for (i, row) in programme.rows.iter().enumerate() {
        row.terms.iter().for_each(|(j, a)| by_column[*j].push((i as i32, *a)));
    }
    let mut start = vec![0];
    start.extend(by_column.iter().scan(0, |sum, column| {
        *sum += column.len() as i32;
        Some(*sum)
    }));
    let (index, value): (Vec<_>, Vec<_>) = by_column.into_iter().flatten().unzip();
    let columns = |side: fn(&crate::Column) -> f64| programme.columns.iter().map(side).collect::<Vec<_>>();
    let rows = |side: fn(&crate::Row) -> f64| programme.rows.iter().map(side).collect::<Vec<_>>();
    let mut model = Model::new();
    model.set_log_level(0);
    model.load_problem(
        programme.columns.len(),
        programme.rows.len(),
        &start,
        &index,
        &value,
        Some(&columns(|c| c.lower)),
        Some(&columns(|c| c.upper)),
        Some(objective),
        Some(&rows(|r| r.lower)),
        Some(&rows(|r| r.upper)),
    );
    model.set_obj_sense(Sense::Minimize);
    if !programme.sos1.is_empty() {
        let starts: Vec<i32> = (0..=programme.sos1.len() as i32).map(|k| 2 * k).collect();
        let columns: Vec<i32> = programme.sos1.iter().flatten().map(|j| *j as i32).collect();
        let weights = [1.0, 2.0].repeat(programme.sos1.len());
        model.add_sos(&starts, &columns, &weights, SOSConstraintType::Type1);
    }
    for (j, column) in programme.columns.iter().enumerate() {
        if column.kind == Kind::Integer {
            model.set_integer(j);
        }
    }
    model
}

fn costs(programme: &Programme) -> Vec<f64> {
    programme.columns.iter().map(|column| column.objective).collect()
}

fn set(model: &mut Model, name: &CStr, value: impl ToString) {
    let value = CString::new(value.to_string()).expect("a number or a word has no zero byte");
    model.set_parameter(name, &value);
}

/// CBC does not know the constant of the objective, so its value is taken from here and not from CBC.
fn incumbent(model: &Model, programme: &Programme) -> Incumbent {
    let values = model.col_solution().to_vec();
    Incumbent { objective: programme.objective(&values), values }
}

/// A pure LP goes straight to Clp, which knows no cutoff, so that one becomes a row.
fn linear(programme: &Programme, limits: &Limits) -> Outcome {
    if let Some(cutoff) = limits.cutoff {
        let outcome = linear(programme, &Limits::time(limits.time_limit));
        let below = outcome.incumbent.as_ref().is_some_and(|incumbent| incumbent.objective < cutoff);
        let decided = outcome.status == Status::Optimal;
        return if decided && !below { Outcome::without_solution(Status::Infeasible) } else { outcome };
    }
    let mut model = load(programme, &costs(programme));
    model.solve();
    if model.is_proven_optimal() {
        let bound = model.obj_value() + programme.objective_constant;
        return Outcome { status: Status::Optimal, incumbent: Some(incumbent(&model, programme)), bound };
    }
    if !model.is_proven_infeasible() {
        return Outcome::failed("clp gave up");
    }
    // For a pure LP the C interface calls primal and dual infeasible by the same name; without an objective only the
    // first is possible.
    let mut model = load(programme, &vec![0.0; programme.columns.len()]);
    model.solve();
    match (model.is_proven_optimal(), model.is_proven_infeasible()) {
        (true, _) => Outcome::without_solution(Status::Unbounded),
        (false, true) => Outcome::without_solution(Status::Infeasible),
        _ => Outcome::failed("clp gave up"),
    }
}

/// With preprocessing, and where its answer is doubtful once more without: CBC 2.10 then has called a solution optimal with a
/// bound far below it, which was not the optimum, and has returned points that miss rows or integers (measured).
fn integer(programme: &Programme, limits: &Limits) -> Outcome {
    let start = Instant::now();
    let outcome = branch_and_cut(programme, limits, true).checked(programme, limits);
    let short = |incumbent: &Incumbent| {
        let objective = incumbent.objective;
        limits.cutoff.is_none() && outcome.bound + 1e-6 * (1.0 + objective.abs()) < objective
    };
    let doubtful = match outcome.status {
        Status::Failed(_) => true,
        Status::Optimal => outcome.incumbent.as_ref().is_some_and(short),
        _ => false,
    };
    let left = limits.time_limit.saturating_sub(start.elapsed());
    if !doubtful || left.is_zero() {
        return outcome;
    }
    let again = branch_and_cut(programme, &Limits { time_limit: left, ..*limits }, false).checked(programme, limits);
    // What is not decided without preprocessing is not worth less than before.
    let decided = matches!(again.status, Status::Optimal | Status::Infeasible | Status::Unbounded);
    if decided || matches!(outcome.status, Status::Failed(_)) { again } else { outcome }
}

fn branch_and_cut(programme: &Programme, limits: &Limits, preprocess: bool) -> Outcome {
    let mut model = load(programme, &costs(programme));
    if !preprocess {
        set(&mut model, c"preprocess", "off");
    }
    let seconds = limits.time_limit.as_secs_f64().max(0.01);
    set(&mut model, c"seconds", seconds);
    set(&mut model, c"timeMode", "elapsed");
    // The defaults let CBC stop 1e-5 short of the optimum, and call that optimal.
    set(&mut model, c"increment", 1e-9);
    set(&mut model, c"allowableGap", 0);
    set(&mut model, c"ratioGap", 0);
    if let Some(cutoff) = limits.cutoff {
        // Never together with a start solution: CBC then called the start optimal (measured).
        set(&mut model, c"cutoff", cutoff - programme.objective_constant);
        set(&mut model, c"maxSolutions", 1);
    }
    let start = Instant::now();
    model.solve();
    // If its time ends in the middle of a linear programme, CBC calls the whole infeasible (measured: a refuted query
    // was "certified"). Its clock cannot be ahead of this one.
    let in_time = start.elapsed().as_secs_f64() < seconds;
    let found = model.obj_value().abs() < 1e30;
    if !in_time && model.status() == Finish::Finished {
        let incumbent = found.then(|| incumbent(&model, programme));
        let status = if limits.cutoff.is_some() && found { Status::Optimal } else { Status::LimitReached };
        return Outcome { status, incumbent, bound: f64::NEG_INFINITY };
    }
    if model.status() == Finish::Finished && model.is_proven_infeasible() {
        return Outcome::without_solution(Status::Infeasible);
    }
    let bound = model.best_possible_value() + programme.objective_constant;
    let outcome = |status| Outcome { status, incumbent: found.then(|| incumbent(&model, programme)), bound };
    match (model.status(), model.secondary_status()) {
        (_, SecondaryStatus::LinearRelaxationUnbounded) => Outcome::without_solution(Status::Unbounded),
        (Finish::Finished, _) if model.is_proven_optimal() && found => outcome(Status::Optimal),
        (Finish::Stopped, _) if limits.cutoff.is_some() && found => outcome(Status::Optimal),
        (Finish::Stopped, _) => {
            // Where it has found no solution in time, CBC may show its last relaxation as one (measured).
            let mut outcome = outcome(Status::LimitReached);
            outcome.incumbent = outcome.incumbent.filter(|i| programme.violation(&i.values) <= super::FEASIBILITY_TOL);
            outcome
        }
        (status, secondary) => Outcome::failed(format!("cbc stopped with {status:?}, {secondary:?}")),
    }
}

/// The linear relaxation of a programme in Clp: integers may be fractions, special ordered sets are ignored. Solving it again
/// after a change starts from the last basis.
pub(crate) struct Relaxation {
    model: Model,
    columns: usize,
    /// Of these, how many have a cost that may be changed.
    priced: usize,
}

/// Clp's prices and values are good to 1e-7, whatever their size; larger numbers make better prices, and so better bounds.
const COST_SCALE: f64 = 1024.0;
const VALUE_SCALE: f64 = 1024.0;

/// What Clp calls an optimum. None of it is to be believed.
pub(crate) struct Relaxed {
    /// One value for each column.
    pub values: Vec<f64>,
    /// One price for each row, positive if it holds the objective up at its lower side.
    pub prices: Vec<f64>,
}

impl Relaxation {
    /// Every row `lower <= a x <= upper` becomes `a x - r = 0` with a column `r` between its sides: the C interface does not
    /// tell the prices of rows, but the reduced cost of `r` is one.
    pub fn new(programme: &Programme) -> Self {
        let continuous = |c: &crate::Column| crate::Column { kind: Kind::Continuous, ..c.clone() };
        let mut relaxation = Programme {
            columns: programme.columns.iter().map(continuous).collect(),
            sos1: Vec::new(),
            ..programme.clone()
        };
        for column in &mut relaxation.columns {
            (column.lower, column.upper) = (VALUE_SCALE * column.lower, VALUE_SCALE * column.upper);
        }
        for i in 0..relaxation.rows.len() {
            let (lower, upper) = (VALUE_SCALE * relaxation.rows[i].lower, VALUE_SCALE * relaxation.rows[i].upper);
            let side = relaxation.continuous("", (lower, upper), 0.0);
            let row = &mut relaxation.rows[i];
            row.terms.push((side, -1.0));
            (row.lower, row.upper) = (0.0, 0.0);
        }
        let costs: Vec<f64> = costs(&relaxation).into_iter().map(|cost| cost * COST_SCALE).collect();
        let columns = programme.columns.len();
        Self { model: load(&relaxation, &costs), columns, priced: columns }
    }

    /// The same for a programme of which only the first columns' costs will be changed.
    pub fn with_fixed_costs(programme: &Programme, priced: usize) -> Self {
        Self { priced, ..Self::new(programme) }
    }

    pub fn set_bounds(&mut self, column: usize, (lower, upper): (f64, f64)) {
        self.model.set_col_lower(column, VALUE_SCALE * lower);
        self.model.set_col_upper(column, VALUE_SCALE * upper);
    }

    pub fn set_objective(&mut self, costs: impl IntoIterator<Item = (usize, f64)>) {
        (0..self.priced).for_each(|column| self.model.set_obj_coeff(column, 0.0));
        costs.into_iter().for_each(|(column, cost)| self.model.set_obj_coeff(column, cost * COST_SCALE));
    }

    /// Nothing if there is no solution or Clp gave up.
    pub fn solve(&mut self) -> Option<Relaxed> {
        self.model.solve();
        if !self.model.is_proven_optimal() {
            return None;
        }
        let values = self.model.col_solution()[..self.columns].iter().map(|value| value / VALUE_SCALE).collect();
        let prices = self.model.reduced_cost()[self.columns..].iter().map(|price| price / COST_SCALE);
        Some(Relaxed { values, prices: prices.collect() })
    }
}
