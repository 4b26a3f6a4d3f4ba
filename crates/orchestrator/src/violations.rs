//! How bad a violation is: the command `violations`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use certificate::exact::approximate;
use certificate::{Model, Verdict};
use clap::{Args, ValueEnum};
use milp::{Control, Engine, Individual, Mode, NetworkReport, Options, Partner, individual, verify_network};
use num_rational::BigRational;
use rayon::prelude::*;
use serde::Serialize;
use train::data::Part;

use crate::config::Config;
use crate::error::{Error, Result, exit_code};
use crate::progress::Progress;
use crate::report;

/// What `violations` takes.
#[derive(Args)]
pub struct ViolationsArgs {
    /// Folder of a finished run.
    run: PathBuf,
    /// Which rows are asked for a violating partner: a row with nothing changed but monotone features, all against their
    /// directions, and a larger output.
    #[arg(long, value_enum)]
    data: Option<Rows>,
    /// Only this row of them (of the test rows, if none are named), counted from 1.
    #[arg(long)]
    row: Option<usize>,
    /// Seconds for each query and for each row.
    #[arg(long, default_value_t = 60.0)]
    time_limit: f64,
    /// One JSON object on standard output and nothing else.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rows {
    Fit,
    Validation,
    Test,
}

/// What was found.
#[derive(Serialize)]
struct Findings {
    verdict: &'static str,
    /// Per block and input the least derivative, proven and met; from `violations` without rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    derivatives: Vec<Derivative>,
    /// Two inputs that differ in one feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    worst_pair: Option<Pair>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<RowFindings>,
}

#[derive(Serialize)]
struct Derivative {
    block: usize,
    input: String,
    proven_lower_bound: f64,
    least_met: Option<f64>,
}

#[derive(Serialize)]
struct Pair {
    feature: String,
    drop: f64,
    lower: Vec<f64>,
    upper: Vec<f64>,
}

#[derive(Serialize)]
struct RowFindings {
    asked: usize,
    violated: usize,
    undecided: usize,
    largest_rise: f64,
    worst: Option<RowPartner>,
}

/// The row with the largest rise, in raw units.
#[derive(Serialize)]
struct RowPartner {
    row: usize,
    rise: f64,
    features: Vec<Moved>,
}

#[derive(Serialize)]
struct Moved {
    name: String,
    row: f64,
    partner: f64,
}

/// Runs the command and gives its exit status: 0 if nothing was found and nothing left open, 1 if a violation was found,
/// 3 if neither.
///
/// # Errors
/// If the run cannot be read.
pub fn violations(args: &ViolationsArgs) -> Result<u8> {
    let model = Model::load(&args.run.join("model.safetensors"))?;
    let progress = Progress::new(args.json);
    let mut findings = Findings { verdict: "undecided", derivatives: Vec::new(), worst_pair: None, rows: None };
    let status = if args.data.is_some() || args.row.is_some() {
        rows(args, &model, &progress, &mut findings)?
    } else {
        derivatives(args, &model, &mut findings)?
    };
    if args.json {
        println!("{}", serde_json::to_string(&findings).expect("findings are plain data"));
    } else {
        print!("{}", text(&findings));
    }
    Ok(status)
}

/// The least derivative of every block in every monotone input.
fn derivatives(args: &ViolationsArgs, model: &Model, findings: &mut Findings) -> Result<u8> {
    let options = Options { mode: Mode::Minimum, query_time_limit_s: args.time_limit, ..Options::default() };
    let (network, domain, specification) = (&model.network, &model.domain, model.specification());
    let report = verify_network(network, domain, &specification, Engine::BranchAndBound, &options, Control::default())?;
    findings.verdict = report.verdict.word();
    findings.derivatives = table(model, &report);
    Ok(match &report.verdict {
        Verdict::Certified { .. } => exit_code::CERTIFIED,
        Verdict::Refuted(pair) => {
            let raw = |x: &[BigRational]| x.iter().enumerate().map(|(j, x)| raw(model, j, x)).collect();
            findings.worst_pair = Some(Pair {
                feature: model.features[pair.input].name.clone(),
                drop: approximate(&pair.drop),
                lower: raw(&pair.lower),
                upper: raw(&pair.upper),
            });
            exit_code::REFUTED
        }
        Verdict::Undecided { .. } => exit_code::UNDECIDED,
    })
}

fn table(model: &Model, report: &NetworkReport) -> Vec<Derivative> {
    let mut rows = Vec::new();
    for (k, queries) in report.queries.iter().enumerate() {
        let mut inputs: Vec<usize> = queries.iter().map(|q| q.query.input).collect();
        inputs.dedup();
        for input in inputs {
            let of_input = || queries.iter().filter(|q| q.query.input == input);
            let met = of_input().filter_map(|q| q.incumbent).fold(f64::INFINITY, f64::min);
            rows.push(Derivative {
                block: k + 1,
                input: report::input_name(model, k, input),
                proven_lower_bound: of_input().map(|q| q.lower_bound).fold(f64::INFINITY, f64::min),
                least_met: met.is_finite().then_some(met),
            });
        }
    }
    rows
}

/// A value of a feature in its own unit.
fn raw(model: &Model, j: usize, x: &BigRational) -> f64 {
    model.features[j].raw(approximate(x))
}

/// Violating partners of single rows.
fn rows(args: &ViolationsArgs, model: &Model, progress: &Progress, findings: &mut Findings) -> Result<u8> {
    let config = Config::load(&args.run.join("config.toml"), &[])?;
    let data = config.data.load()?;
    let part = match args.data.unwrap_or(Rows::Test) {
        Rows::Fit => &data.fit,
        Rows::Validation => &data.validation,
        Rows::Test => &data.test,
    };
    let chosen = chosen(args, part, &args.run)?;
    let features = model.monotone_features();
    let bar = progress.start_queries(0, 1, chosen.len());
    let limit = Duration::from_secs_f64(args.time_limit.clamp(0.0, 1e9));
    let width = model.network.inputs();
    let done = AtomicUsize::new(0);
    let ask = |&k: &usize| {
        let x: Vec<f64> = part.x[k * width..(k + 1) * width].iter().map(|x| f64::from(*x)).collect();
        let found = individual(&model.network, &model.domain, &features, &x, &milp::solver::Cbc, limit)?;
        bar.inc(1);
        done.fetch_add(1, Ordering::Relaxed);
        Ok((k, found))
    };
    let found: Vec<(usize, Individual)> = chosen.par_iter().map(ask).collect::<Result<_>>()?;
    progress.end_queries();
    let violated: Vec<(usize, &Partner)> = found
        .iter()
        .filter_map(|(k, found)| match found {
            Individual::Violated(partner) => Some((*k, partner)),
            _ => None,
        })
        .collect();
    let undecided = found.iter().filter(|(_, found)| matches!(found, Individual::Undecided(_))).count();
    let worst = violated.iter().max_by(|a, b| a.1.rise.cmp(&b.1.rise));
    findings.verdict = if !violated.is_empty() {
        "violated"
    } else if undecided > 0 {
        "undecided"
    } else {
        "monotone"
    };
    findings.rows = Some(RowFindings {
        asked: chosen.len(),
        violated: violated.len(),
        undecided,
        largest_rise: worst.map_or(0.0, |(_, partner)| approximate(&partner.rise)),
        worst: worst.map(|(k, partner)| RowPartner {
            row: k + 1,
            rise: approximate(&partner.rise),
            features: (0..width)
                .filter(|&j| partner.row[j] != partner.point[j])
                .map(|j| Moved {
                    name: model.features[j].name.clone(),
                    row: raw(model, j, &partner.row[j]),
                    partner: raw(model, j, &partner.point[j]),
                })
                .collect(),
        }),
    });
    Ok(match findings.verdict {
        "violated" => exit_code::REFUTED,
        "monotone" => exit_code::CERTIFIED,
        _ => exit_code::UNDECIDED,
    })
}

fn chosen(args: &ViolationsArgs, part: &Part, run: &Path) -> Result<Vec<usize>> {
    match args.row {
        None => Ok((0..part.len()).collect()),
        Some(row) if (1..=part.len()).contains(&row) => Ok(vec![row - 1]),
        Some(row) => Err(Error::Config {
            place: run.display().to_string(),
            message: format!("--row {row}: there are rows 1 to {}", part.len()),
        }),
    }
}

fn text(findings: &Findings) -> String {
    let mut text = format!("verdict     {}\n", findings.verdict);
    let mut line = |line: String| text += &(line + "\n");
    if !findings.derivatives.is_empty() {
        line("least derivative in each input, in scaled units and in its direction: proven, met".into());
    }
    for Derivative { block, input, proven_lower_bound, least_met } in &findings.derivatives {
        let met = least_met.map_or("-".into(), |met| format!("{met:.6}"));
        line(format!("  block {block}  {input:<24} {proven_lower_bound:>12.6} {met:>12}"));
    }
    if let Some(pair) = &findings.worst_pair {
        line(format!("the output falls by {:.3e} when nothing but {} moves in its direction", pair.drop, pair.feature));
        line(format!("  from {:?}", pair.lower));
        line(format!("  to   {:?}", pair.upper));
    }
    if let Some(rows) = &findings.rows {
        let share = 100.0 * rows.violated as f64 / rows.asked as f64;
        line(format!(
            "rows        {} asked, {} violated ({share:.1} %), {} undecided",
            rows.asked, rows.violated, rows.undecided
        ));
        if let Some(worst) = &rows.worst {
            line(format!("largest     row {}: the output rises by {:.3e} at its partner", worst.row, worst.rise));
            for Moved { name, row, partner } in &worst.features {
                line(format!("              {name}: {row} -> {partner}"));
            }
        }
    }
    text
}
