//! One conformance suite for every solver.

use std::time::{Duration, Instant};

use milp::Programme;
use milp::solver::{Cbc, Limits, Microlp, Outcome, Solver, Status};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const INF: f64 = f64::INFINITY;

fn solve(solver: &dyn Solver, programme: &Programme) -> Outcome {
    solver.solve(programme, &Limits::time(Duration::from_secs(20)))
}

fn below(solver: &dyn Solver, programme: &Programme, cutoff: f64) -> Outcome {
    solver.solve(programme, &Limits { time_limit: Duration::from_secs(20), cutoff: Some(cutoff) })
}

/// The optimum, checked in every way an outcome allows.
fn optimum(solver: &dyn Solver, programme: &Programme) -> f64 {
    let outcome = solve(solver, programme);
    assert_eq!(outcome.status, Status::Optimal, "{} on {}", solver.name(), programme.name);
    let incumbent = outcome.incumbent.expect("an optimum has a solution");
    assert!(programme.violation(&incumbent.values) < 1e-6);
    assert!((programme.objective(&incumbent.values) - incumbent.objective).abs() < 1e-9);
    assert!((outcome.bound - incumbent.objective).abs() < 1e-6, "{}: bound {}", solver.name(), outcome.bound);
    incumbent.objective
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-7, "{a} is not {b}");
}

/// A knapsack-like programme that no solver finishes in a moment.
fn hard(size: usize, seed: u64) -> Programme {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut programme = Programme::new("hard");
    for j in 0..size {
        programme.integer(format!("y{j}"), (0.0, 1.0), -rng.random_range(1.0..2.0));
    }
    for i in 0..size / 2 {
        let terms: Vec<_> = (0..size).map(|j| (j, rng.random_range(0.5..1.5))).collect();
        programme.row(format!("r{i}"), terms, (-INF, size as f64 / 4.0));
    }
    programme
}

/// What every solver has to do.
fn conformance(solver: &dyn Solver) {
    optima(solver);
    programmes_without_optimum(solver);
    cutoffs(solver);
    limits(solver);
}

fn optima(solver: &dyn Solver) {
    let mut lp = Programme::new("lp");
    let x = lp.continuous("x", (0.0, 4.0), -1.0);
    let y = lp.continuous("y", (-3.0, INF), -2.0);
    let free = lp.continuous("free", (-INF, INF), 1.0);
    lp.objective_constant = 10.0;
    lp.row("sum", [(x, 1.0), (y, 1.0)], (-INF, 5.0));
    lp.row("link", [(free, 1.0), (y, -1.0)], (0.5, 0.5));
    lp.row("range", [(free, 1.0)], (-1.0, 8.0));
    // y = 5, x = 0, free = 5.5 gives 10 - 10 + 5.5; with x = 4, y = 1: 10 - 4 - 2 + 1.5 = 5.5 too; both are optimal.
    close(optimum(solver, &lp), 5.5);
    assert_eq!(below(solver, &lp, 5.4).status, Status::Infeasible, "{}", solver.name());
    assert_eq!(below(solver, &lp, 5.6).status, Status::Optimal, "{}", solver.name());

    let mut negative = Programme::new("negative_bounds");
    let x = negative.continuous("x", (-5.0, -2.0), 1.0);
    let k = negative.integer("k", (-3.0, 3.0), 1.0);
    negative.row("sum", [(x, 1.0), (k, 1.0)], (-6.5, INF));
    close(optimum(solver, &negative), -6.5);

    let mut rounding = Programme::new("integer_rounding");
    let k = rounding.integer("k", (0.0, 10.0), -1.0);
    let m = rounding.integer("m", (0.0, 10.0), -1.0);
    rounding.row("r", [(k, 2.0), (m, 2.0)], (-INF, 7.0));
    close(optimum(solver, &rounding), -3.0);
    let outcome = solve(solver, &rounding);
    assert!(outcome.incumbent.unwrap().values.iter().all(|v| (v - v.round()).abs() < 1e-6));
    rounding.row("odd", [(k, 2.0), (m, -2.0)], (0.5, 1.5));
    assert_eq!(solve(solver, &rounding).status, Status::Infeasible, "{}", solver.name());
}

fn programmes_without_optimum(solver: &dyn Solver) {
    for integer in [false, true] {
        let mut empty = Programme::new("infeasible");
        let x = empty.continuous("x", (0.0, 1.0), 1.0);
        if integer {
            empty.integer("k", (0.0, 1.0), 1.0);
        }
        empty.row("more", [(x, 1.0)], (2.0, INF));
        assert_eq!(solve(solver, &empty).status, Status::Infeasible, "{}", solver.name());

        let mut nothing = Programme::new("empty_row");
        nothing.continuous("x", (0.0, 1.0), 1.0);
        if integer {
            nothing.integer("k", (0.0, 1.0), 1.0);
        }
        nothing.row("impossible", [], (1.0, INF));
        assert_eq!(solve(solver, &nothing).status, Status::Infeasible, "{}", solver.name());

        let mut endless = Programme::new("unbounded");
        let x = endless.continuous("x", (0.0, INF), -1.0);
        let y = if integer { endless.integer("k", (0.0, 1.0), 1.0) } else { endless.continuous("y", (0.0, 1.0), 1.0) };
        endless.row("r", [(x, 1.0), (y, 1.0)], (0.5, INF));
        assert_eq!(solve(solver, &endless).status, Status::Unbounded, "{} {integer}", solver.name());

        let mut rowless = Programme::new("no_rows");
        rowless.continuous("x", (-2.0, 1.0), 1.0);
        if integer {
            rowless.integer("k", (0.0, 3.0), -1.0);
        }
        close(optimum(solver, &rowless), if integer { -5.0 } else { -2.0 });
    }

    let mut wrong = Programme::new("wrong");
    wrong.continuous("x", (0.0, 1.0), f64::NAN);
    assert!(matches!(solve(solver, &wrong).status, Status::Failed(_)));
}

fn cutoffs(solver: &dyn Solver) {
    let small = hard(12, 1);
    let best = optimum(solver, &small);
    for margin in [1.0, 1e-3, 1e-5] {
        let none = below(solver, &small, best - margin);
        assert_eq!(none.status, Status::Infeasible, "{}: nothing below {best} - {margin}", solver.name());
        let some = below(solver, &small, best + margin);
        assert_eq!(some.status, Status::Optimal, "{}: something below {best} + {margin}", solver.name());
        assert!(some.incumbent.unwrap().objective < best + margin + 1e-6);
        assert_eq!(some.bound, -INF, "with a cutoff there is no bound");
    }
    let mut shifted = small.clone();
    shifted.objective_constant = 100.0;
    assert_eq!(below(solver, &shifted, best + 99.9).status, Status::Infeasible);
    assert_eq!(below(solver, &shifted, best + 100.1).status, Status::Optimal);
    close(optimum(solver, &shifted), best + 100.0);
}

fn limits(solver: &dyn Solver) {
    let start = Instant::now();
    let limited = solver.solve(&hard(80, 2), &Limits::time(Duration::from_millis(300)));
    assert_eq!(limited.status, Status::LimitReached, "{}", solver.name());
    assert!(start.elapsed() < Duration::from_secs(5), "{}", solver.name());
    assert!(limited.bound > -160.0, "{}: bound {}", solver.name(), limited.bound);
    if let Some(incumbent) = limited.incumbent {
        assert!(limited.bound <= incumbent.objective + 1e-6);
    }
}

#[test]
fn cbc_conforms() {
    conformance(&Cbc);
}

#[test]
fn microlp_conforms() {
    conformance(&Microlp);
}

#[cfg(feature = "highs")]
#[test]
fn highs_conforms() {
    conformance(&milp::solver::Highs);
}

#[test]
fn solvers_agree() {
    for seed in 0..5 {
        let programme = hard(12, seed);
        close(optimum(&Cbc, &programme), optimum(&Microlp, &programme));
    }
}

/// The records of results name versions that the libraries do not tell.
#[test]
fn versions_are_those_of_the_lock_file() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    assert!(lock.contains(&format!("name = \"microlp\"\nversion = \"{}\"", Microlp.version())));
    #[cfg(feature = "highs")]
    assert!(lock.contains(&format!("name = \"highs\"\nversion = \"{}\"", milp::solver::Highs.version())));
    assert!(Cbc.version().starts_with("2.10"), "{}", Cbc.version());
}

#[test]
fn cbc_reads_an_exported_programme() {
    use coin_cbc::raw::Model;
    let mut programme = hard(12, 3);
    programme.continuous("x", (-1.5, INF), 0.1);
    programme.row("range", [(12, 1.0), (0, 1.0)], (-0.25, 0.75));
    programme.row("equal", [(12, 1.0), (1, -2.0)], (0.5, 0.5));
    programme.objective_constant = 2.5;
    let file = tempfile::Builder::new().suffix(".mps").tempfile().unwrap();
    std::fs::write(file.path(), programme.to_mps()).unwrap();
    let path = std::ffi::CString::new(file.path().to_str().unwrap()).unwrap();
    let mut model = Model::new();
    model.set_log_level(0);
    model.read_mps(&path);
    assert_eq!((model.num_cols(), model.num_rows()), (programme.columns.len(), programme.rows.len()));
    model.solve();
    assert!(model.is_proven_optimal());
    close(model.obj_value(), optimum(&Cbc, &programme));
}

#[test]
fn the_lp_export_is_readable() {
    let mut programme = Programme::new("tiny");
    let x = programme.continuous("x3", (0.0, 1.0), 0.0);
    let z = programme.integer("z17", (0.0, 1.0), -0.5);
    programme.row("active17", [(x, 2.0), (z, -1.25)], (-INF, 0.5));
    let expected = "\\ tiny\nMinimize\n objective: -0.5 z17 +0.0\nSubject To\n active17: +2.0 x3 -1.25 z17 <= 0.5\nBounds\n \
                    0.0 <= x3 <= 1.0\n 0.0 <= z17 <= 1.0\nGeneral\n z17\nEnd\n";
    assert_eq!(programme.to_lp(), expected);
}

/// Found by the bench: with its time over in the middle of a linear programme, CBC called a feasible programme
/// infeasible, which would have been a certificate.
#[test]
fn a_solver_whose_time_is_over_does_not_say_infeasible() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut programme = Programme::new("feasible_at_zero");
    let columns: Vec<_> =
        (0..60).map(|j| programme.integer(format!("z{j}"), (0.0, 1.0), rng.random_range(-1.0..1.0))).collect();
    for i in 0..60 {
        let terms: Vec<_> = columns.iter().map(|&j| (j, rng.random_range(-1.0..1.0))).collect();
        programme.row(format!("r{i}"), terms, (-2.0, 2.0));
    }
    for solver in [&Cbc as &dyn Solver, &Microlp] {
        for milliseconds in [0, 1, 5, 10, 15, 20, 30, 50] {
            for cutoff in [None, Some(1e-3)] {
                let limits = Limits { time_limit: Duration::from_millis(milliseconds), cutoff };
                let outcome = solver.solve(&programme, &limits);
                assert_ne!(outcome.status, Status::Infeasible, "{} after {milliseconds} ms", solver.name());
            }
        }
    }
}
