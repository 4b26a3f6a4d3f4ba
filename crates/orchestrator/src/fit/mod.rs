//! Trains a small network as a mixed-integer programme with a proven optimum: the command `fit`.

mod config;
mod digits;
mod model;
mod picture;
mod report;
mod samples;
mod search;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use certificate::{Model, MonotoneFeatures};
use clap::Args;
use milp::Control;
use milp::training::{End, LayerWeights, Mode, Optimum, Problem, descend};
use serde::Serialize;
use train::Stream;

pub use config::{Config, is_meant_by};

use crate::error::{Error, Result, exit_code};
use crate::progress::Progress;
use crate::run_folder::RunFolder;
use crate::run_options::{Format, RunOptions};
use crate::{certification, picture_files};
use report::Score;
use samples::Samples;
use search::{Found, RoundRecord};

/// What `fit` takes.
#[derive(Args)]
pub struct FitArgs {
    /// The configuration, a TOML file with tables `[[layer]]`.
    config: PathBuf,
    #[command(flatten)]
    options: RunOptions,
}

/// `optimum.json`, and what `--format json` prints.
#[derive(Serialize)]
struct Record<'a> {
    format_version: u32,
    program: &'static str,
    commit: &'static str,
    overrides: &'a [String],
    run: PathBuf,
    /// `optimal`, `gap`, or `nothing_found`.
    status: &'static str,
    /// Whether it is about the problem or a relaxation of it.
    mode: Mode,
    /// Of the stored network, by its own forward pass.
    objective: Option<f64>,
    /// No network of the problem is better.
    bound: Option<f64>,
    gap: Option<f64>,
    loss: Option<f64>,
    penalty: Option<f64>,
    structure: Option<f64>,
    /// The last training in full. In certified training its bound counts the anchored constraints in; `bound` is that of
    /// all rounds.
    optimum: Option<&'a Optimum>,
    weights: Option<&'a [LayerWeights]>,
    /// Which optional layers stay.
    kept: Option<&'a [bool]>,
    /// Which channels of the gate layers are open.
    open: Option<&'a [Vec<bool>]>,
    /// Whether the bound is about monotone networks alone.
    #[serde(skip)]
    is_certified_training: bool,
    /// Of certified training.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rounds: &'a Vec<RoundRecord>,
    /// Whether constraints at points were enough for a certificate, without the sign form.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_anchors: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certification: Option<&'static str>,
    /// Why there is no model file.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_model: Option<String>,
    train: Option<Score>,
    test: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient: Option<GradientRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    path: Vec<PathPoint>,
    /// Whether it was stopped before its end.
    interrupted: bool,
    seconds: f64,
    exit_code: u8,
}

/// What gradient training came to.
#[derive(Serialize)]
struct GradientRecord {
    starts: usize,
    best: f64,
    median: f64,
    /// How many are within 1 % of the exact objective, or within the gap allowed; nothing where there are constraints, which
    /// were not imposed on them.
    reached: Option<usize>,
}

/// One training along the elastic-net path.
#[derive(Serialize)]
struct PathPoint {
    l1: f64,
    objective: Option<f64>,
    bound: Option<f64>,
    loss: Option<f64>,
    weights: Option<usize>,
    units: Option<usize>,
    train: Option<Score>,
    test: Option<Score>,
    end: Option<End>,
    seconds: f64,
}

/// Runs the command and gives its exit status: 0 proven optimal within the tolerance, and certified where that was asked for;
/// 3 if not; 130 if it was interrupted, with what was known by then in the folder.
///
/// # Errors
/// If the configuration or the data are wrong, the folder is not empty, the constraints contradict each other, or a file cannot
/// be written.
pub fn fit(args: &FitArgs) -> Result<u8> {
    let begun = Instant::now();
    let interrupt = crate::interrupt::flag();
    let config = Config::load(&args.config, &args.options.overrides)?;
    let samples = Samples::load(&config)?;
    let directions = directions(&config, &samples)?;
    let problem = problem(&config, &samples, directions.as_ref())?;
    // Says what is wrong with the problem before there is a folder.
    let size = problem.size()?;
    let folder = RunFolder::create(&config.name, &config.to_toml(), args.options.out.as_deref())?;
    let progress = Progress::new(args.options.quiet);
    progress.say(&format!("run folder: {}", folder.path().display()));
    progress.say(&format!(
        "{}: {} columns, {} of them integers ({} binaries of activations), {} rows; {} for at most {} s",
        samples.source,
        size.columns,
        size.integers,
        size.activations,
        size.rows,
        config.solver.name.get().expect("checked with the configuration").name(),
        config.solver.time_limit_s
    ));
    if let Some(warning) = size.warning() {
        progress.say(&format!("warning: {warning}"));
    }

    let generator = |start| Stream::Starts.generator(config.seed, start, 0);
    let descents = match &config.gradient {
        Some(gradient) => descend(&problem, gradient.starts, gradient.steps, generator)?,
        None => None,
    };
    if let Some(descents) = &descents {
        let count = descents.objectives.len();
        progress.say(&format!("gradient training: best objective {:.6} of {count} starts", descents.best()));
    }
    let warm = config.gradient.as_ref().is_some_and(|gradient| gradient.warm_start);
    let start = descents.as_ref().filter(|_| warm).map(|descents| descents.weights.clone());
    let search = search::Search {
        config: &config,
        samples: &samples,
        directions: directions.as_ref(),
        progress: &progress,
        interrupt: &interrupt,
    };
    let found = search.run(&problem, start)?;
    progress.say(&found.line());
    let path = path(&search, &problem)?;
    let interrupted = interrupt.load(Ordering::Relaxed);

    let mut record = Record::new(args, &found, &samples, begun);
    record.run = folder.path().into();
    record.is_certified_training = search.is_certified();
    record.path = path;
    record.gradient = descents.map(|descents| GradientRecord::new(descents.objectives, &found, &config));
    let certified = deliver(&folder, &samples, &found, directions.as_ref(), &mut record)?;
    let optimal = found.is_optimal(config.solver.gap_tol);
    record.status = match (&record.objective, optimal) {
        (None, _) => "nothing_found",
        (Some(_), true) => "optimal",
        (Some(_), false) => "gap",
    };
    record.interrupted = interrupted;
    record.exit_code = match optimal && certified {
        _ if interrupted => exit_code::INTERRUPTED,
        true => exit_code::CERTIFIED,
        false => exit_code::UNDECIDED,
    };
    record.seconds = begun.elapsed().as_secs_f64();
    folder.write("fit.md", report::render(&config, &samples, &record).as_bytes())?;
    folder.write_json("optimum.json", &record)?;
    match args.options.format {
        Format::Json => println!("{}", serde_json::to_string(&record).expect("a record is plain data")),
        Format::Text => print!("{}", report::summary_text(&record)),
    }
    Ok(record.exit_code)
}

/// The directions that are asked for.
fn directions(config: &Config, samples: &Samples) -> Result<Option<MonotoneFeatures>> {
    let Some(monotone) = &config.monotone else { return Ok(None) };
    let mut directions: Vec<_> = samples.features.iter().map(|feature| feature.direction).collect();
    if let Some(named) = &monotone.features {
        directions.fill(certificate::Direction::Free);
        for (name, direction) in named {
            directions[samples.feature(name)?] = *direction;
        }
    }
    if !directions.iter().any(model::moves) {
        let message = "no feature has a direction; name some, as in features = { age = \"increasing\" }".into();
        return Err(Error::Config { place: "[monotone]".into(), message });
    }
    Ok(Some(MonotoneFeatures(directions)))
}

fn problem(config: &Config, samples: &Samples, directions: Option<&MonotoneFeatures>) -> Result<Problem> {
    let wrong = |message| Error::Config { place: config.name.clone(), message };
    let mut constraints = config.constraints(samples.shape).map_err(wrong)?;
    if let (Some(config::Monotone { form: config::Form::Sign, .. }), Some(directions)) = (&config.monotone, directions)
    {
        let moving = directions.0.iter().enumerate().filter(|(_, direction)| model::moves(direction));
        let sign = |(input, direction): (usize, &certificate::Direction)| milp::training::Constraint::Monotone {
            input,
            direction: *direction,
        };
        constraints.extend(moving.map(sign));
    }
    let (inputs, targets) = samples.train.clone();
    Ok(Problem {
        input: samples.shape,
        layers: config.layers().map_err(wrong)?,
        samples: inputs,
        targets,
        loss: config.loss,
        products: config.products,
        constraints,
    })
}

/// The same training with other penalties.
fn path(search: &search::Search, problem: &Problem) -> Result<Vec<PathPoint>> {
    let Some(path) = &search.config.path else { return Ok(Vec::new()) };
    let mut points = Vec::new();
    for &l1 in &path.l1 {
        if search.interrupt.load(Ordering::Relaxed) {
            break;
        }
        search.progress.say(&format!("elastic-net path: l1 = {l1}"));
        let begun = Instant::now();
        let mut layers = problem.layers.clone();
        search::penalise(&mut layers, l1);
        let found = search.run(&Problem { layers, ..problem.clone() }, None)?;
        search.progress.say(&found.line());
        let fitted = found.fitted.as_ref();
        let score = |part| fitted.map(|fitted| Score::of(&fitted.network, part));
        points.push(PathPoint {
            l1,
            objective: fitted.map(|fitted| fitted.objective()),
            bound: found.bound,
            loss: fitted.map(|fitted| fitted.loss),
            weights: fitted.map(|fitted| report::nonzero(&fitted.weights)),
            units: fitted.map(|fitted| report::used(&fitted.weights).iter().map(Vec::len).sum()),
            train: score(&search.samples.train),
            test: search.samples.test.as_ref().and_then(score),
            end: found.optimum.as_ref().map(|optimum| optimum.end.clone()),
            seconds: begun.elapsed().as_secs_f64(),
        });
    }
    Ok(points)
}

impl GradientRecord {
    fn new(mut objectives: Vec<f64>, found: &Found, config: &Config) -> Self {
        objectives.sort_unstable_by(f64::total_cmp);
        let comparable = found.fitted.as_ref().filter(|_| !config.is_constrained());
        let (exact, gap_tol) = (comparable.map(|fitted| fitted.objective()), config.solver.gap_tol);
        let near =
            |exact: f64| objectives.iter().filter(|value| **value <= exact + (0.01 * exact.abs()).max(gap_tol)).count();
        Self {
            starts: objectives.len(),
            best: objectives[0],
            median: objectives[objectives.len() / 2],
            reached: exact.map(near),
        }
    }
}

impl<'a> Record<'a> {
    fn new(args: &'a FitArgs, found: &'a Found, samples: &Samples, begun: Instant) -> Self {
        let fitted = found.fitted.as_ref();
        let score = |part| fitted.map(|fitted| Score::of(&fitted.network, part));
        Self {
            format_version: 1,
            program: env!("CARGO_PKG_VERSION"),
            commit: env!("BUILD_COMMIT"),
            overrides: &args.options.overrides,
            run: PathBuf::new(),
            status: "",
            mode: found.mode,
            objective: fitted.map(|fitted| fitted.objective()),
            bound: found.bound,
            gap: found.gap,
            loss: fitted.map(|fitted| fitted.loss),
            penalty: fitted.map(|fitted| fitted.penalty),
            structure: fitted.map(|fitted| fitted.structure),
            optimum: found.optimum.as_ref(),
            weights: fitted.map(|fitted| &fitted.weights[..]),
            kept: fitted.map(|fitted| &fitted.kept[..]),
            open: fitted.map(|fitted| &fitted.open[..]),
            is_certified_training: false,
            rounds: &found.rounds,
            by_anchors: found.by_anchors,
            certification: None,
            no_model: None,
            train: score(&samples.train),
            test: samples.test.as_ref().and_then(score),
            gradient: None,
            path: Vec::new(),
            interrupted: false,
            seconds: begun.elapsed().as_secs_f64(),
            exit_code: exit_code::UNDECIDED,
        }
    }
}

/// Writes the model, its certificate where directions are asked for, and the picture. Whether nothing that was asked for is
/// missing.
fn deliver(
    folder: &RunFolder,
    samples: &Samples,
    found: &Found,
    directions: Option<&MonotoneFeatures>,
    record: &mut Record,
) -> Result<bool> {
    let Some(fitted) = &found.fitted else { return Ok(false) };
    picture_files::write(&folder.path().join("network.svg"), &picture::draw(samples, &fitted.weights))?;
    let model = match model::model(&fitted.network, samples, directions)? {
        Ok(model) => model,
        Err(reason) => {
            record.no_model = Some(reason);
            return Ok(directions.is_none());
        }
    };
    let file = folder.path().join("model.safetensors");
    model.save(&file)?;
    if directions.is_none() {
        return Ok(true);
    }
    let stored = Model::load(&file)?;
    let claim = (&stored.domain, &stored.specification());
    let certificate = folder.path().join(certification::FILE);
    let report = certification::certify(&stored, claim, &milp::Options::default(), Control::default(), &certificate)?;
    record.certification = Some(report.verdict.word());
    Ok(report.verdict.is_certified())
}
