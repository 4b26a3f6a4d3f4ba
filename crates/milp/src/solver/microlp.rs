use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOptions, SolveOutcome, TerminationReason};

use super::{Incumbent, Limits, Outcome, Solver, Status};
use crate::programme::{Kind, Programme};

/// microlp, a solver in pure Rust: slower than CBC on large programmes, independent of it, and without C++.
#[derive(Debug, Clone, Copy, Default)]
pub struct Microlp;

impl Solver for Microlp {
    fn name(&self) -> &'static str {
        "microlp"
    }

    /// The library does not tell; a test compares this with the lock file.
    fn version(&self) -> String {
        "0.7.0".into()
    }

    fn solve(&self, programme: &Programme, limits: &Limits) -> Outcome {
        match problem(programme, limits) {
            Err(reason) => Outcome::failed(reason),
            Ok((problem, columns)) => {
                let mut options = SolveOptions::default();
                options.time_limit = Some(limits.time_limit);
                if limits.cutoff.is_some() {
                    // The cutoff is a row, so any solution will do: a gap that every solution meets.
                    options.mip_gap = 1e30;
                }
                read(problem.solve_with(options), &columns, programme).checked(programme, limits)
            }
        }
    }
}

type Loaded = (Problem, Vec<microlp::Variable>);

fn problem(programme: &Programme, limits: &Limits) -> Result<Loaded, String> {
    programme.validate().map_err(|error| error.to_string())?;
    if !programme.sos1.is_empty() {
        return Err("microlp knows no special ordered sets".into());
    }
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let mut columns = Vec::new();
    for column in &programme.columns {
        let (lower, upper, cost) = (column.lower, column.upper, column.objective);
        columns.push(match column.kind {
            Kind::Continuous => problem.add_var(cost, (lower, upper)),
            // The casts saturate, and microlp reads the ends of i32 as no bound.
            Kind::Integer => problem.add_integer_var(cost, (lower.ceil() as i32, upper.floor() as i32)),
        });
    }
    let mut add = |terms: &[(usize, f64)], lower: f64, upper: f64| {
        let terms: Vec<_> = terms.iter().map(|(j, a)| (columns[*j], *a)).collect();
        if lower == upper {
            problem.add_constraint(&terms, ComparisonOp::Eq, lower);
            return;
        }
        if lower > f64::NEG_INFINITY {
            problem.add_constraint(&terms, ComparisonOp::Ge, lower);
        }
        if upper < f64::INFINITY {
            problem.add_constraint(&terms, ComparisonOp::Le, upper);
        }
    };
    programme.rows.iter().for_each(|row| add(&row.terms, row.lower, row.upper));
    if let Some(cutoff) = limits.cutoff {
        let objective: Vec<_> = programme.columns.iter().enumerate().map(|(j, c)| (j, c.objective)).collect();
        let objective: Vec<_> = objective.into_iter().filter(|(_, c)| *c != 0.0).collect();
        add(&objective, f64::NEG_INFINITY, cutoff - programme.objective_constant);
    }
    Ok((problem, columns))
}

fn read(
    outcome: Result<SolveOutcome, microlp::Error>,
    columns: &[microlp::Variable],
    programme: &Programme,
) -> Outcome {
    match outcome {
        Err(microlp::Error::Infeasible) => Outcome::without_solution(Status::Infeasible),
        Err(microlp::Error::Unbounded) => Outcome::without_solution(Status::Unbounded),
        Err(error) => Outcome::failed(error.to_string()),
        Ok(outcome) => {
            let status = match outcome.termination_reason() {
                TerminationReason::ProvenOptimal | TerminationReason::MipGap => Status::Optimal,
                _ => Status::LimitReached,
            };
            let incumbent = outcome.solution().map(|solution| Incumbent {
                objective: solution.objective() + programme.objective_constant,
                values: columns.iter().map(|column| solution.var_value(*column)).collect(),
            });
            // An LP has no tree and reports no bound; its optimum is one.
            let optimum = incumbent.as_ref().filter(|_| status == Status::Optimal).map(|i| i.objective);
            let tree = outcome.stats().best_bound.map(|bound| bound + programme.objective_constant);
            Outcome { status, bound: tree.or(optimum).unwrap_or(f64::NEG_INFINITY), incumbent }
        }
    }
}
