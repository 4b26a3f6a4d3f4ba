use highs::{HighsModelStatus, RowProblem, Sense};

use super::{Incumbent, Limits, Outcome, Solver, Status};
use crate::programme::{Kind, Programme};

/// HiGHS, built from source; needs cmake and libclang.
#[derive(Debug, Clone, Copy, Default)]
pub struct Highs;

impl Solver for Highs {
    fn name(&self) -> &'static str {
        "highs"
    }

    /// That of the crate, which the library does not tell; a test compares this with the lock file.
    fn version(&self) -> String {
        "2.4.0".into()
    }

    fn solve(&self, programme: &Programme, limits: &Limits) -> Outcome {
        if let Err(error) = programme.validate() {
            return Outcome::failed(error.to_string());
        }
        if !programme.sos1.is_empty() {
            return Outcome::failed("highs knows no special ordered sets");
        }
        run(programme, limits).checked(programme, limits)
    }
}

fn problem(programme: &Programme, limits: &Limits) -> RowProblem {
    let mut problem = RowProblem::new();
    let mut columns = Vec::new();
    for column in &programme.columns {
        let integer = column.kind == Kind::Integer;
        columns.push(problem.add_column_with_integrality(column.objective, column.lower..=column.upper, integer));
    }
    for row in &programme.rows {
        let terms: Vec<_> = row.terms.iter().map(|(j, a)| (columns[*j], *a)).collect();
        problem.add_row(row.lower..=row.upper, terms);
    }
    if let Some(cutoff) = limits.cutoff {
        let costs = programme.columns.iter().zip(&columns).filter(|(c, _)| c.objective != 0.0);
        let terms: Vec<_> = costs.map(|(c, column)| (*column, c.objective)).collect();
        problem.add_row(..=cutoff - programme.objective_constant, terms);
    }
    problem
}

fn run(programme: &Programme, limits: &Limits) -> Outcome {
    let Ok(mut model) = problem(programme, limits).try_optimise(Sense::Minimise) else {
        return Outcome::failed("highs refuses the programme");
    };
    model.make_quiet();
    model.set_option("threads", 1);
    model.set_option("time_limit", limits.time_limit.as_secs_f64());
    model.set_option("mip_abs_gap", 0.0);
    // The cutoff is a row, so any solution will do.
    model.set_option("mip_rel_gap", if limits.cutoff.is_some() { f64::INFINITY } else { 0.0 });
    // "Unbounded or infeasible" is no answer.
    model.set_option("allow_unbounded_or_infeasible", false);
    let Ok(solved) = model.try_solve() else {
        return Outcome::failed("highs gave up");
    };
    let incumbent = || {
        let values = solved.get_solution().columns().to_vec();
        Incumbent { objective: programme.objective(&values), values }
    };
    let linear = programme.is_linear();
    let bound = if linear {
        solved.objective_value()
    } else {
        solved.double_info_value(c"mip_dual_bound").unwrap_or(f64::NEG_INFINITY)
    };
    let bound = bound + programme.objective_constant;
    match solved.status() {
        HighsModelStatus::Optimal => Outcome { status: Status::Optimal, incumbent: Some(incumbent()), bound },
        HighsModelStatus::Infeasible => Outcome::without_solution(Status::Infeasible),
        HighsModelStatus::Unbounded => Outcome::without_solution(Status::Unbounded),
        // Its presolve may still say so of programmes with integers. Without costs only one of the two is possible.
        HighsModelStatus::UnboundedOrInfeasible if programme.columns.iter().any(|column| column.objective != 0.0) => {
            let mut free = programme.clone();
            free.columns.iter_mut().for_each(|column| column.objective = 0.0);
            let outcome = run(&free, &Limits::time(limits.time_limit));
            if outcome.status == Status::Optimal { Outcome::without_solution(Status::Unbounded) } else { outcome }
        }
        HighsModelStatus::UnboundedOrInfeasible => Outcome::without_solution(Status::Infeasible),
        HighsModelStatus::ReachedTimeLimit => {
            let found = incumbent();
            let usable = !linear && programme.violation(&found.values) <= super::FEASIBILITY_TOL;
            let bound = if linear { f64::NEG_INFINITY } else { bound };
            Outcome { status: Status::LimitReached, incumbent: usable.then_some(found), bound }
        }
        status => Outcome::failed(format!("highs stopped with {status:?}")),
    }
}
