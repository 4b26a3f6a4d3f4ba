//! Trains a small dense network as a smooth programme from many starting points: the command `multistart`.

mod config;
mod count;
mod picture;
mod report;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use certificate::{Model, Target};
use clap::Args;
use serde::Serialize;
use train::data::{self, DataSet, DomainKind, Manifest};
use train::smooth::{self, Minimum, Problem, Scores, Start};

pub use config::{Config, is_meant_by};

use crate::error::{Result, exit_code};
use crate::picture_files;
use crate::progress::Progress;
use crate::run_folder::RunFolder;
use crate::run_options::{Format, RunOptions};
use crate::{RunRecord, SUMMARY, interrupt};

/// What `multistart` takes.
#[derive(Args)]
pub struct MultistartArgs {
    /// The configuration, a TOML file with a table `[smooth]`.
    config: PathBuf,
    #[command(flatten)]
    options: RunOptions,
}

/// What `--format json` prints, and `summary.json`.
#[derive(Serialize)]
struct Summary {
    run: PathBuf,
    status: &'static str,
    /// Weights and biases.
    parameters: usize,
    starts: smooth::Summary,
    gradient_norm: f64,
    /// The network that was optimised.
    smooth: Scores,
    /// The network that is delivered.
    relu: Scores,
    /// What exchanging the last layer did, in `counted.safetensors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<count::Counted>,
    seconds: f64,
}

/// What was found, as the report needs it.
struct Findings<'a> {
    config: &'a Config,
    data: &'a DataSet,
    problem: &'a Problem<'a>,
    best: &'a Minimum,
    summary: Summary,
}

/// Runs the command and gives its exit status. Ctrl-C keeps the starts that have finished and delivers the best of them.
///
/// # Errors
/// If the configuration or the data are wrong, the folder is not empty, or no start has a finite end.
pub fn multistart(args: &MultistartArgs) -> Result<u8> {
    let begun = Instant::now();
    let config = Config::load(&args.config, &args.options.overrides)?;
    let data = config.data.load()?;
    let problem = Problem::new(&data, &config.network, &config.smooth)?;
    let folder = RunFolder::create(&config.name, &config.to_toml(), args.options.out.as_deref())?;
    let record = |status| RunRecord::new(config.seed, &data, &args.options.overrides, status, None);
    folder.write_json("run.json", &record("running"))?;
    let progress = Progress::new(args.options.quiet);
    progress.say(&format!("run folder: {}", folder.path().display()));

    let interrupt = interrupt::flag();
    let starts = run_starts(&problem, &config, &progress, &interrupt);
    let status = if interrupt.load(Ordering::Relaxed) { "interrupted" } else { "finished" };
    folder.write_json("starts.json", &starts)?;
    folder.write_json("run.json", &record(status))?;
    let Some(summed_up) = smooth::Summary::of(&starts) else {
        return nothing_to_deliver(status, starts.len(), &progress);
    };
    let chosen = starts.iter().find(|start| start.number == summed_up.best);
    let best = chosen.and_then(|start| start.minimum.as_ref()).expect("the best start is one with a minimum");
    let model = model(&config, &data, &problem, best)?;
    model.save(&folder.path().join("model.safetensors"))?;
    let mut counted = None;
    if let Some(count) = config.count {
        progress.say(&format!("exchanging the last layer, at most {} s", count.time_limit_s));
        if let Some((exchanged, result)) = count.improve(&model, &data)? {
            exchanged.save(&folder.path().join("counted.safetensors"))?;
            counted = Some(result);
        }
    }
    let summary = Summary {
        run: folder.path().into(),
        status,
        parameters: problem.parameters(),
        starts: summed_up,
        gradient_norm: best.gradient_norm,
        smooth: best.smooth,
        relu: best.relu,
        counted,
        seconds: begun.elapsed().as_secs_f64(),
    };
    deliver(&Findings { config: &config, data: &data, problem: &problem, best, summary }, &folder, args.options.format)
}

fn run_starts(problem: &Problem, config: &Config, progress: &Progress, interrupt: &AtomicBool) -> Vec<Start> {
    let starts = config.smooth.starts;
    let bar = progress.start_starts(starts);
    let seen = Mutex::new((0, f64::INFINITY));
    let finished = |start: &Start| {
        let mut seen = seen.lock().expect("nobody panics with it");
        let (done, best) = *seen;
        let best = start.minimum.as_ref().map_or(best, |minimum| minimum.objective.min(best));
        *seen = (done + 1, best);
        bar.set_message(format!("best {best:.4}"));
        bar.inc(1);
        let quarter = (starts / 4).max(1);
        if bar.is_hidden() && (done + 1) % quarter == 0 {
            progress.say(&format!("  start {:>4}/{starts}  best {best:.4}", done + 1));
        }
    };
    let found = smooth::multistart(problem, config.seed, interrupt, &finished);
    bar.finish_and_clear();
    found
}

fn nothing_to_deliver(status: &str, starts: usize, progress: &Progress) -> Result<u8> {
    if status == "interrupted" {
        progress.say("interrupted before any start had finished");
        return Ok(exit_code::INTERRUPTED);
    }
    let message =
        format!("the objective of all {starts} starts became infinite; see whether the targets are of that size");
    Err(train::Error::Smooth(message).into())
}

/// The exact-ReLU network of a minimum with what is needed to use it. Integer inputs are integers: the claim is about them.
fn model(config: &Config, data: &DataSet, problem: &Problem, best: &Minimum) -> Result<Model> {
    let target = match Manifest::read(&config.data.manifest)?.target {
        data::Target::Binary { column, positive, negative, .. } => {
            Target::Classes { column, classes: vec![negative, positive] }
        }
        data::Target::Regression { .. } => data.target.clone(),
    };
    Ok(Model {
        network: problem.network(&best.parameters)?,
        features: data.features.iter().map(data::Feature::of_a_model).collect(),
        domain: data.domain(DomainKind::OneHotInteger),
        target,
    })
}

/// Writes report, pictures and summary, and prints the summary.
fn deliver(findings: &Findings, folder: &RunFolder, format: Format) -> Result<u8> {
    let errors = report::Errors::of(findings);
    for (name, picture) in errors.iter().flat_map(report::Errors::pictures) {
        picture_files::write(&folder.path().join(name), &picture)?;
    }
    folder.write("report.md", report::render(findings, errors.as_ref()).as_bytes())?;
    let summary = &findings.summary;
    let finished = summary.status == "finished";
    // As in every run folder: where it is, there is nothing left to do.
    if finished {
        folder.write_json(SUMMARY, summary)?;
    }
    match format {
        Format::Json => println!("{}", serde_json::to_string(summary).expect("a summary is plain data")),
        Format::Text => print!("{}", report::summary_text(summary, &folder.path().join("report.md"))),
    }
    Ok(if finished { exit_code::CERTIFIED } else { exit_code::INTERRUPTED })
}
