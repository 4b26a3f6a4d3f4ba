//! Models that published tables set beside a certified network: the command `baseline`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use certificate::Model;
use clap::{Args, ValueEnum};
use milp::Control;
use serde::Serialize;
use train::baselines::{Constrained, ConstrainedTrainer, linear, min_max, non_negative};
use train::data::DataSet;
use train::trees::{Rows, Trees, Tuning, tune};
use train::{Epoch, Scores, Training, constant_loss};

use crate::config::Config;
use crate::error::{Error, Result, exit_code};
use crate::escalation::{self, StopReason};
use crate::progress::Progress;
use crate::report::{self, FinalScores};
use crate::run_folder::{LOCK, Metrics, RunFolder};
use crate::run_options::{Format, RunOptions};
use crate::{RunRecord, SUMMARY, Summary, certification, interrupt};

/// Name of the file in a run folder that says that it is a baseline's.
pub const FILE: &str = "baseline.json";

/// What `baseline` takes.
#[derive(Args)]
pub struct BaselineArgs {
    /// Which model.
    kind: Kind,
    /// The configuration of a run, a TOML file; what does not apply is ignored.
    ///
    /// Used are `name`, `seed` and `[data]`, and for the two networks `[train]` without `all_rows` and `distil` (the epoch with the
    /// best validation score is delivered); for `non-negative` also `[architecture]` and the limits in `[certify]`, for `min-max`
    /// also `min_max.groups` and `min_max.planes`.
    config: PathBuf,
    /// Number of settings tried for `trees`.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    trees_settings: u16,
    #[command(flatten)]
    options: RunOptions,
    /// Stop when standard input ends: a batch holds the other end.
    #[arg(long, hide = true)]
    follow_stdin: bool,
}

/// Which model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// Monotone boosted trees, tuned by cross-validation in the fitting and validation rows and fitted on them.
    Trees,
    /// Logistic or linear regression without any constraint.
    Linear,
    /// A network of the configuration's architecture whose weights on monotone paths are not negative, with a certificate.
    NonNegative,
    /// A minimum over groups of maxima over planes.
    MinMax,
}

impl Kind {
    fn name(self) -> String {
        self.to_possible_value().expect("no kind is hidden").get_name().to_owned()
    }
}

/// `baseline.json`. Nothing but the kind as long as it is not finished.
#[derive(Serialize)]
struct Record {
    format_version: u32,
    kind: Kind,
    settings: Option<Settings>,
    /// Number of trained parameters, links that are cut not counted; of trees that of their leaves.
    parameters: Option<usize>,
}

/// What was chosen, by the validation rows or by cross-validation, never by test rows.
#[derive(Serialize)]
#[serde(untagged)]
enum Settings {
    Trees(train::trees::Settings),
    Linear { l2: f64 },
    NonNegative { epoch: u32, learning_rate: f64 },
    MinMax { groups: usize, planes: usize, epoch: u32, learning_rate: f64 },
}

/// A trained model and what is known about it.
struct Fitted {
    settings: Settings,
    parameters: usize,
    verdict: String,
    exit_code: u8,
    /// Of trees those of the rows held out in cross-validation.
    validation: Scores,
    test: Scores,
}

const BY_CONSTRUCTION: &str = "by construction";

/// Runs the command and gives its exit status.
///
/// # Errors
/// If the configuration or the data are wrong, the folder holds something else, or a training breaks down.
pub fn baseline(args: &BaselineArgs) -> Result<u8> {
    let start = Instant::now();
    let config = Config::load(&args.config, &args.options.overrides)?;
    let data = config.data.load()?;
    can_be_had(args, &config, &data)?;
    let folder = folder(&config, args.options.out.as_deref())?;
    let kind = args.kind;
    folder.write_json(FILE, &Record { format_version: 1, kind, settings: None, parameters: None })?;
    let record = |status, stop| RunRecord::new(config.seed, &data, &args.options.overrides, status, stop);
    folder.write_json("run.json", &record("running", None))?;
    let mut progress = Progress::new(args.options.quiet);
    progress.say(&format!("run folder: {}", folder.path().display()));
    let interrupt = interrupt::flag();
    if args.follow_stdin {
        interrupt::follow_stdin();
    }
    let mut fitting =
        Fitting { config: &config, data: &data, folder: &folder, progress: &mut progress, interrupt: &interrupt };
    let fitted = fitting.fit(args)?;
    let Some(fitted) = fitted.filter(|_| !interrupt.load(Ordering::Relaxed)) else {
        progress.say("interrupted; the same command begins anew");
        return Ok(exit_code::INTERRUPTED);
    };
    let summary = Summary {
        run: folder.path().into(),
        verdict: fitted.verdict,
        stop_reason: StopReason::NoEscalation,
        rounds: 0,
        lambda: None,
        ensemble: 1,
        parameters: Some(fitted.parameters),
        validation: Some(fitted.validation),
        test: Some(fitted.test),
        before_repair: None,
        changed_decisions: None,
        best_test_epoch: None,
        training_seconds: Some(start.elapsed().as_secs_f64()),
        certification_seconds: None,
        seconds: start.elapsed().as_secs_f64(),
        exit_code: fitted.exit_code,
    };
    let found =
        Record { format_version: 1, kind, settings: Some(fitted.settings), parameters: Some(fitted.parameters) };
    folder.write_json(FILE, &found)?;
    folder.write_json("run.json", &record("finished", Some(StopReason::NoEscalation)))?;
    // The last file: where it is, there is nothing left to do.
    folder.write_json(SUMMARY, &summary)?;
    match args.options.format {
        Format::Json => println!("{}", serde_json::to_string(&summary).expect("a summary is plain data")),
        Format::Text => print(&found, &summary),
    }
    Ok(summary.exit_code)
}

/// Whether there can be such a model, before anything is written.
fn can_be_had(args: &BaselineArgs, config: &Config, data: &DataSet) -> Result<()> {
    if args.kind != Kind::Trees && data.validation.is_empty() {
        let message = format!(
            "the split `{}` has no validation rows to choose an epoch or a penalty with; give it `validation` in {}",
            data.split,
            config.data.manifest.display()
        );
        return Err(Error::Config { place: args.config.display().to_string(), message });
    }
    match args.kind {
        Kind::Trees | Kind::Linear => {}
        Kind::NonNegative => drop(non_negative::trainer(config.training(0, 0, 0.0), data)?),
        Kind::MinMax => drop(min_max::trainer(size(config), config.training(0, 0, 0.0), data)?),
    }
    Ok(())
}

fn size(config: &Config) -> min_max::Size {
    config.min_max.unwrap_or_default()
}

/// A new folder, or that of a baseline of the same configuration that was not finished, without what it has left.
fn folder(config: &Config, out: Option<&Path>) -> Result<RunFolder> {
    let Some(out) = out.filter(|out| is_unfinished(out)) else {
        return RunFolder::create(&config.name, &config.to_toml(), out);
    };
    let folder = RunFolder::resume(config, Some(out))?;
    for name in [METRICS, MODEL, VERDICT, certification::FILE] {
        folder.remove(name);
    }
    Ok(folder)
}

const METRICS: &str = "metrics.jsonl";
const MODEL: &str = "model.safetensors";
const VERDICT: &str = "verdict.json";

/// Whether a baseline was begun in a folder and did not come to its end. One that was killed at its very beginning has left
/// nothing but the configuration.
fn is_unfinished(out: &Path) -> bool {
    let exists = |name: &str| out.join(name).exists();
    let only_config = || {
        let mut names = std::fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.all(|name| name == LOCK || name == CONFIG || name.to_string_lossy().ends_with(".tmp"))
    };
    exists(CONFIG) && !exists(SUMMARY) && (exists(FILE) || only_config())
}

const CONFIG: &str = "config.toml";

/// Trains models of any kind.
struct Fitting<'a> {
    config: &'a Config,
    data: &'a DataSet,
    folder: &'a RunFolder,
    progress: &'a mut Progress,
    interrupt: &'a AtomicBool,
}

impl Fitting<'_> {
    /// `None` if it was interrupted.
    fn fit(&mut self, args: &BaselineArgs) -> Result<Option<Fitted>> {
        match args.kind {
            Kind::Trees => Ok(self.trees(args.trees_settings.into())),
            Kind::Linear => Ok(self.linear()),
            Kind::NonNegative => self.non_negative(),
            Kind::MinMax => self.min_max(),
        }
    }

    /// Tuned as `compare` tunes them.
    fn trees(&mut self, configurations: usize) -> Option<Fitted> {
        let (rows, seed) = (Rows::FitAndValidation, self.config.seed);
        let tuning = Tuning { configurations, seed, ..Tuning::default() };
        let what = format!("tuning boosted trees: {configurations} settings, {} folds", tuning.folds);
        let bar = self.progress.start_tuning(&what, tuning.fits());
        let tuned = tune(self.data, rows, &tuning, self.interrupt, || bar.inc(1));
        bar.finish_and_clear();
        let tuned = tuned?;
        let trees = Trees::fit(self.data, rows, &tuned.settings, seed);
        Some(Fitted {
            settings: Settings::Trees(tuned.settings),
            parameters: trees.leaves(),
            verdict: BY_CONSTRUCTION.into(),
            exit_code: exit_code::CERTIFIED,
            validation: tuned.scores,
            test: self.test(&trees.outputs(&self.data.test)),
        })
    }

    fn linear(&mut self) -> Option<Fitted> {
        self.progress.say(&format!("fitting with {} penalties", linear::PENALTIES.len()));
        let linear::Selected { l2, validation, model } = linear::select(self.data, self.interrupt)?;
        Some(Fitted {
            settings: Settings::Linear { l2 },
            parameters: model.weights.len() + 1,
            verdict: "none".into(),
            exit_code: exit_code::CERTIFIED,
            validation,
            test: self.test(&model.outputs(&self.data.test)),
        })
    }

    fn min_max(&mut self) -> Result<Option<Fitted>> {
        let (size, data) = (size(self.config), self.data);
        let trainer = |training| min_max::trainer(size, training, data);
        let Some((epoch, learning_rate, network)) = self.train(trainer)? else { return Ok(None) };
        Ok(Some(Fitted {
            settings: Settings::MinMax { groups: size.groups, planes: size.planes, epoch: epoch.epoch, learning_rate },
            parameters: network.parameters(),
            verdict: BY_CONSTRUCTION.into(),
            exit_code: exit_code::CERTIFIED,
            validation: epoch.validation,
            test: self.test(&min_max::Trainable::outputs(&network, &data.test)),
        }))
    }

    /// Its verdict is that of the certificate of the stored model, as a run's is.
    fn non_negative(&mut self) -> Result<Option<Fitted>> {
        let data = self.data;
        let trainer = |training| non_negative::trainer(training, data);
        let Some((epoch, learning_rate, network)) = self.train(trainer)? else { return Ok(None) };
        let path = |name| self.folder.path().join(name);
        escalation::model(self.config, data, network).save(&path(MODEL))?;
        let stored = Model::load(&path(MODEL))?;
        let claim = (&stored.domain, &stored.specification());
        let control = Control { interrupt: Some(self.interrupt), progress: None };
        let certificate = path(certification::FILE);
        let report = certification::certify(&stored, claim, &self.config.verification(), control, &certificate)?;
        self.folder.write_json(VERDICT, &report)?;
        let scores = FinalScores::of(&stored, None, data);
        let certified = report.verdict.is_certified();
        Ok(Some(Fitted {
            settings: Settings::NonNegative { epoch: epoch.epoch, learning_rate },
            parameters: self.config.architecture.shape(&data.directions().0)?.parameters(),
            verdict: report.verdict.word().into(),
            exit_code: if certified { exit_code::CERTIFIED } else { exit_code::UNDECIDED },
            validation: scores.validation,
            test: scores.test,
        }))
    }

    /// The best epoch of a training, its learning rate and its network; with a lower learning rate where the first failed, as an
    /// escalation does. `None` if it was interrupted.
    fn train<'d, M: Constrained>(
        &mut self,
        trainer: impl Fn(Training) -> train::Result<ConstrainedTrainer<'d, M>>,
    ) -> Result<Option<(Epoch, f64, M::Network)>> {
        let retries = self.config.train.retries;
        let yardstick = constant_loss(self.data);
        for attempt in 0..=retries {
            let training = self.config.training(0, attempt, 0.0);
            let learning_rate = training.learning_rate;
            let mut trainer = trainer(training)?;
            let finite = self.run_epochs(&mut trainer, attempt)?;
            if self.interrupt.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let last = attempt == retries;
            let learned = |epoch: &Epoch| finite && epoch.validation.loss < yardstick;
            if let Some((epoch, network)) = trainer.into_best().filter(|(epoch, _)| last || learned(epoch)) {
                return Ok(Some((epoch, learning_rate, network)));
            }
            let why = if finite { "no better than a constant" } else { "the loss is no longer finite" };
            self.progress.say(&format!("training failed ({why}), lowering the learning rate"));
        }
        let learning_rate = self.config.training(0, retries, 0.0).learning_rate;
        Err(Error::TrainingFailed { lambda: 0.0, learning_rate })
    }

    /// Runs all epochs, or those until it is interrupted; whether the training stayed finite.
    fn run_epochs<M: Constrained>(&mut self, trainer: &mut ConstrainedTrainer<M>, attempt: u32) -> Result<bool> {
        let epochs = self.config.train.epochs;
        self.progress.start_epochs("training", 0, epochs);
        let mut metrics = Vec::new();
        let mut finite = true;
        while finite && !trainer.is_finished() && !self.interrupt.load(Ordering::Relaxed) {
            let Some(record) = trainer.run_epoch() else {
                finite = false;
                continue;
            };
            self.progress.epoch(&record, epochs, None);
            metrics.push(Metrics { round: 0, attempt, lambda: 0.0, record, test: None });
        }
        self.progress.end_training();
        self.folder.append_metrics(&metrics)?;
        Ok(finite)
    }

    fn test(&self, outputs: &[f64]) -> Scores {
        Scores::of_f64(self.data.task, outputs, &self.data.test.y)
    }
}

fn print(found: &Record, summary: &Summary) {
    println!("baseline    {}", found.kind.name());
    println!("verdict     {}", summary.verdict);
    for (name, scores) in [("validation", &summary.validation), ("test", &summary.test)] {
        if let Some(scores) = scores {
            println!("{name:<11} {}", report::score_text(scores));
        }
    }
    if found.kind == Kind::Trees {
        println!("fitted      on all training rows; the validation score is that of cross-validation in them");
    }
    if let Some(settings) = &found.settings {
        println!("chosen      {}", serde_json::to_string(settings).expect("settings are plain data"));
    }
    if let Some(parameters) = found.parameters {
        println!("parameters  {parameters}");
    }
    println!("time        {:.1} s", summary.seconds);
    println!("folder      {}", summary.run.display());
}
