//! The configuration file: read, overridden and checked once, at the edge.

use std::fs;
use std::path::{Path, PathBuf};

use milp::Tightening;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use train::baselines::min_max;
use train::data::{DataSet, DomainKind, Scales, Task};
use train::penalty::{GradientPenalty, Pooling};
use train::{Architecture, Backend, Training};

use crate::error::{Error, Result};

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names the run: its folder is `runs/<name>/<number>`.
    pub name: String,
    /// From which initialisation, batches and samples are derived.
    #[serde(default)]
    pub seed: u64,
    /// How many networks are trained, each with a seed of its own; what is delivered is their mean.
    #[serde(default = "one")]
    pub ensemble: u32,
    /// What to learn from.
    pub data: Data,
    /// Which network.
    pub architecture: Architecture,
    /// How to train it.
    #[serde(default)]
    pub train: Train,
    /// What pushes it towards being monotone.
    #[serde(default)]
    pub penalty: Penalty,
    /// How the weight of the penalty grows.
    #[serde(default)]
    pub escalation: Limits,
    /// How it is verified.
    #[serde(default)]
    pub certify: Certify,
    /// How a trained network that is not monotone is made so.
    #[serde(default)]
    pub repair: Repair,
    /// The size of a min-max network; only the command `baseline` looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_max: Option<min_max::Size>,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The data set's manifest; a relative path starts at the configuration file.
    pub manifest: PathBuf,
    /// One of the manifest's splits; its default one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Seed of a random split, in place of the manifest's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_seed: Option<u64>,
    /// `declared` (those of the manifest) or `linear`.
    #[serde(default, skip_serializing_if = "is_declared")]
    pub scale: Scales,
    /// Where the network has to be monotone.
    #[serde(default = "default_domain")]
    pub domain: DomainKind,
}

/// `[data]` of commands that ask for no domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The data set's manifest; a relative path starts at the configuration file.
    pub manifest: PathBuf,
    /// One of the manifest's splits; its default one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Seed of a random split, in place of the manifest's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_seed: Option<u64>,
    /// `declared` (those of the manifest) or `linear`.
    #[serde(default, skip_serializing_if = "is_declared")]
    pub scale: Scales,
}

impl Data {
    /// The data set with this split.
    ///
    /// # Errors
    /// If it cannot be read or has no such split.
    pub fn load(&self) -> Result<DataSet> {
        Ok(DataSet::load_scaled(&self.manifest, self.split.as_deref(), self.split_seed, self.scale)?)
    }
}

impl Source {
    /// The data set with this split.
    ///
    /// # Errors
    /// If it cannot be read or has no such split.
    pub fn load(&self) -> Result<DataSet> {
        Ok(DataSet::load_scaled(&self.manifest, self.split.as_deref(), self.split_seed, self.scale)?)
    }
}

fn is_declared(scales: &Scales) -> bool {
    *scales == Scales::Declared
}

fn one() -> u32 {
    1
}

fn default_domain() -> DomainKind {
    DomainKind::Box
}

/// `[train]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// What to compute on.
    pub backend: Backend,
    /// Passes over the fitting rows in a round.
    pub epochs: u32,
    /// Rows per step.
    pub batch_size: usize,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Share of the epochs, the last ones, whose weights are averaged; 0 switches it off.
    pub average_last: f64,
    /// Whether the network is trained once more, on fitting and validation rows together, at the lambda of the round that
    /// was accepted. Needs a repair of the last epoch's network, because there is nothing left to choose an epoch with.
    pub all_rows: bool,
    /// By how much the targets of the fitting rows are moved towards what monotone boosted trees, tuned on these rows, predict
    /// there: 0 to 1. Worth most where targets are noisy and rows many; for classes it improves probabilities rather than decisions.
    pub distil: f64,
    /// What the learning rate is multiplied with when a training fails.
    pub learning_rate_drop: f64,
    /// How often a failed training is tried again.
    pub retries: u32,
    /// Epochs between two checkpoints.
    pub checkpoint_every: u32,
    /// Whether the best score of any epoch on the test rows is recorded: for comparison with protocols that look at the test
    /// rows. It plays no part in any choice.
    pub best_test_epoch: bool,
}

impl Default for Train {
    fn default() -> Self {
        Self {
            backend: Backend::Cpu,
            epochs: 200,
            batch_size: 256,
            learning_rate: 5e-3,
            average_last: 0.3,
            all_rows: false,
            distil: 0.0,
            learning_rate_drop: 0.2,
            retries: 2,
            checkpoint_every: 20,
            best_test_epoch: false,
        }
    }
}

/// `[penalty]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Penalty {
    /// `mean` (the paper) or `max` (the original repository).
    pub pooling: Pooling,
    /// The derivative below which a point is penalised.
    pub margin: f64,
    /// Uniform points per block and step.
    pub samples: usize,
}

impl Default for Penalty {
    fn default() -> Self {
        Self { pooling: Pooling::Mean, margin: 0.2, samples: 1024 }
    }
}

/// `[escalation]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The penalty's weight in the first round; 0 trains one round without penalty.
    pub lambda: f64,
    /// What it is multiplied with when no candidate certifies.
    pub lambda_growth: f64,
    /// The largest weight tried.
    pub lambda_limit: f64,
    /// The largest number of rounds.
    pub round_limit: u32,
    /// Wall-clock time after which no new round starts.
    pub time_limit_s: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lambda: 1.0, lambda_growth: 10.0, lambda_limit: 1e6, round_limit: 8, time_limit_s: 86_400.0 }
    }
}

/// `[certify]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Certify {
    /// What decides the queries.
    pub engine: Engine,
    /// Every how many epochs the network is looked at while it is trained. Points where it is not monotone, or hardly,
    /// are fed to the penalty; a network with a better validation score than the best certified one is verified. 0 is
    /// the paper's loop: certify only when a round has ended, best validation score first.
    pub during_training: u32,
    /// Which network of a round is delivered.
    pub deliver: Deliver,
    /// With `during_training = 0`, at most so many epochs of a round are tried.
    pub candidates: usize,
    /// Wall-clock time for one query.
    pub query_time_limit_s: f64,
    /// Wall-clock time for all queries of one network.
    pub time_limit_s: f64,
    /// How the boxes of later blocks are found.
    pub tightening: Tightening,
}

impl Default for Certify {
    fn default() -> Self {
        Self {
            engine: Engine::BranchAndBound,
            during_training: 1,
            deliver: Deliver::BestCertified,
            candidates: 40,
            query_time_limit_s: 60.0,
            time_limit_s: 600.0,
            tightening: Tightening::Interval,
        }
    }
}

/// Which network a round delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deliver {
    /// Of the epochs that certified during training the one with the best validation score; the last epoch's network is
    /// repaired only if none did.
    BestCertified,
    /// The last epoch's network, repaired if that is needed, whatever certified before.
    Last,
}

/// `[repair]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Repair {
    /// What may be moved in the last epoch's network; `off` is the paper's loop.
    pub method: Repairing,
    /// The derivative that is asked for where one was negative.
    pub level: f64,
    /// A repaired network is delivered if its loss on the validation rows has grown by at most this part; otherwise lambda
    /// grows.
    pub loss_growth: f64,
    /// Wall-clock time for one network.
    pub time_limit_s: f64,
}

impl Default for Repair {
    fn default() -> Self {
        Self { method: Repairing::Refit, level: 0.1, loss_growth: 0.02, time_limit_s: 300.0 }
    }
}

/// Whether and how to repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repairing {
    /// Certify what was trained or nothing.
    Off,
    /// The nearest second layer that is monotone.
    Project,
    /// Only weights of neurons that are always on grow.
    Lift,
    /// The last block's second layer is fitted to the rows anew, by regression over the monotone ones; the other blocks
    /// are projected.
    Refit,
}

/// What can decide queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// This project's search, with a proof.
    BranchAndBound,
    /// The mixed-integer programme through COIN-OR CBC.
    Cbc,
    /// The mixed-integer programme through microlp, in pure Rust.
    Microlp,
    /// The mixed-integer programme through HiGHS; cargo feature `highs`.
    Highs,
}

impl Engine {
    /// The engine itself, if it is compiled in.
    pub fn get(self) -> Option<milp::Engine<'static>> {
        match self {
            Self::BranchAndBound => Some(milp::Engine::BranchAndBound),
            Self::Cbc => Some(milp::Engine::Milp(&milp::solver::Cbc)),
            Self::Microlp => Some(milp::Engine::Milp(&milp::solver::Microlp)),
            #[cfg(feature = "highs")]
            Self::Highs => Some(milp::Engine::Milp(&milp::solver::Highs)),
            #[cfg(not(feature = "highs"))]
            Self::Highs => None,
        }
    }
}

impl Config {
    /// Reads a configuration file, applies `key=value` overrides and checks the result.
    ///
    /// # Errors
    /// With the file's position or the full key, what was expected, and the nearest known key where one is unknown.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut config: Self = read(path, overrides)?;
        config.data.manifest = manifest_path(path, &config.data.manifest);
        config.check().map_err(|message| Error::Config { place: path.display().to_string(), message })?;
        Ok(config)
    }

    /// The resolved configuration as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration of plain values")
    }

    /// The training of one round; `attempt` counts the tries with a lowered learning rate.
    pub fn training(&self, round: u32, attempt: u32, lambda: f64) -> Training {
        Training {
            architecture: self.architecture.clone(),
            backend: self.train.backend,
            seed: self.seed,
            round: round * 100 + attempt,
            lambda,
            penalty: GradientPenalty { margin: self.penalty.margin, pooling: self.penalty.pooling },
            samples: self.penalty.samples,
            epochs: self.train.epochs,
            batch_size: self.train.batch_size,
            learning_rate: self.train.learning_rate * self.train.learning_rate_drop.powi(attempt as i32),
            average_last: self.train.average_last,
            candidates: self.certify.candidates.max(1),
        }
    }

    /// The settings of a verification.
    pub fn verification(&self) -> milp::Options {
        milp::Options {
            query_time_limit_s: self.certify.query_time_limit_s,
            total_time_limit_s: self.certify.time_limit_s,
            tightening: self.certify.tightening,
            seed: self.seed,
            ..milp::Options::default()
        }
    }

    /// The settings of a repair of a network of `data`; none if it is off.
    pub fn repairing(&self, data: &DataSet) -> Option<milp::RepairOptions> {
        let method = match self.repair.method {
            Repairing::Off => return None,
            Repairing::Project => milp::RepairMethod::Project,
            Repairing::Lift => milp::RepairMethod::Lift,
            Repairing::Refit => milp::RepairMethod::Refit {
                loss: match data.task {
                    Task::Binary => milp::Loss::CrossEntropy,
                    Task::Regression { .. } => milp::Loss::Squares,
                },
                targets: data.fit.y.iter().map(|y| f64::from(*y)).collect(),
            },
        };
        Some(milp::RepairOptions {
            method,
            level: self.repair.level,
            time_limit_s: self.repair.time_limit_s,
            seed: self.seed,
            ..milp::RepairOptions::default()
        })
    }

    fn check(&self) -> std::result::Result<(), String> {
        let at_least_one = [
            ("ensemble", u64::from(self.ensemble)),
            ("train.epochs", u64::from(self.train.epochs)),
            ("train.batch_size", self.train.batch_size as u64),
            ("train.checkpoint_every", u64::from(self.train.checkpoint_every)),
            ("penalty.samples", self.penalty.samples as u64),
            ("escalation.round_limit", u64::from(self.escalation.round_limit)),
            ("certify.candidates", self.certify.candidates as u64),
            ("min_max.groups", self.min_max.unwrap_or_default().groups as u64),
            ("min_max.planes", self.min_max.unwrap_or_default().planes as u64),
        ];
        for (key, value) in at_least_one {
            if value == 0 {
                return Err(format!("{key} must be at least 1, found 0"));
            }
        }
        let e = &self.escalation;
        let finite_and = [
            ("train.learning_rate", self.train.learning_rate, "above 0", self.train.learning_rate > 0.0),
            (
                "train.learning_rate_drop",
                self.train.learning_rate_drop,
                "between 0 and 1",
                (0.0..1.0).contains(&self.train.learning_rate_drop) && self.train.learning_rate_drop > 0.0,
            ),
            (
                "train.average_last",
                self.train.average_last,
                "from 0 to 1",
                (0.0..=1.0).contains(&self.train.average_last),
            ),
            ("train.distil", self.train.distil, "from 0 to 1", (0.0..=1.0).contains(&self.train.distil)),
            ("repair.level", self.repair.level, "above 0", self.repair.level > 0.0),
            ("repair.loss_growth", self.repair.loss_growth, "0 or more", self.repair.loss_growth >= 0.0),
            ("repair.time_limit_s", self.repair.time_limit_s, "above 0", self.repair.time_limit_s > 0.0),
            ("penalty.margin", self.penalty.margin, "above 0", self.penalty.margin > 0.0),
            ("escalation.lambda", e.lambda, "0 or more", e.lambda >= 0.0),
            ("escalation.lambda_growth", e.lambda_growth, "above 1", e.lambda_growth > 1.0),
            ("escalation.lambda_limit", e.lambda_limit, "at least escalation.lambda", e.lambda_limit >= e.lambda),
            ("escalation.time_limit_s", e.time_limit_s, "above 0", e.time_limit_s > 0.0),
            (
                "certify.query_time_limit_s",
                self.certify.query_time_limit_s,
                "above 0",
                self.certify.query_time_limit_s > 0.0,
            ),
            ("certify.time_limit_s", self.certify.time_limit_s, "above 0", self.certify.time_limit_s > 0.0),
        ];
        for (key, value, expected, holds) in finite_and {
            if !(value.is_finite() && holds) {
                return Err(format!("{key} must be a finite number {expected}, found {value}"));
            }
        }
        check_name(&self.name)?;
        let chooses = self.certify.deliver != Deliver::Last || self.repair.method == Repairing::Off;
        if self.train.all_rows && chooses {
            return Err(
                "train.all_rows = true needs certify.deliver = \"last\" and a repair.method: the validation rows are \
                        fitted on, so no epoch can be chosen with them"
                    .into(),
            );
        }
        if self.train.best_test_epoch && self.ensemble > 1 {
            return Err("train.best_test_epoch = true is about the epochs of one network, and an ensemble has none of its own: \
                        leave out one of the two"
                .into());
        }
        if self.certify.engine.get().is_none() {
            let word = format!("{:?}", self.certify.engine).to_lowercase();
            return Err(format!("certify.engine = {word:?} is not compiled in; build with --features {word}"));
        }
        Ok(())
    }
}

/// Reads a configuration of any kind and applies `key=value` overrides.
///
/// # Errors
/// With the file's position or the full key, what was expected, and the nearest known key where one is unknown.
pub fn read<T: DeserializeOwned>(path: &Path, overrides: &[String]) -> Result<T> {
    let text = fs::read_to_string(path).map_err(|source| Error::Io { path: path.into(), source })?;
    let place = path.display().to_string();
    let in_file = |e: toml::de::Error| config_error(&place, &e.to_string());
    // Parsed once as it stands, because only then errors can point into the file.
    let config = toml::from_str(&text).map_err(in_file)?;
    if overrides.is_empty() {
        return Ok(config);
    }
    let mut table: toml::Table = toml::from_str(&text).map_err(in_file)?;
    for text in overrides {
        apply_override(&mut table, text)?;
    }
    deserialize(table).map_err(|message| config_error(&format!("--set {}", overrides.join(" --set ")), &message))
}

/// Where the manifest of a configuration file is. Absolute, so that the copy in the run folder means the same file; a missing one
/// is the loader's to report.
pub fn manifest_path(config: &Path, manifest: &Path) -> PathBuf {
    if manifest.is_absolute() {
        return manifest.into();
    }
    let manifest = config.parent().unwrap_or(Path::new("")).join(manifest);
    manifest.canonicalize().unwrap_or(manifest)
}

/// A run's name is that of a folder.
///
/// # Errors
/// In words.
pub fn check_name(name: &str) -> std::result::Result<(), String> {
    let name_ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(name_ok) {
        return Err(format!("name must consist of letters, digits, '-', '_' and '.', found {name:?}"));
    }
    Ok(())
}

/// Sets one `a.b=value`. The value is read as TOML; what is no TOML is taken as text.
fn apply_override(table: &mut toml::Table, text: &str) -> Result<()> {
    let error = |message: &str| config_error(&format!("--set {text}"), message);
    let (key, value) = text.split_once('=').ok_or_else(|| error("expected key=value, as in train.epochs=50"))?;
    let value = match toml::from_str::<toml::Table>(&format!("value = {value}")) {
        Ok(mut parsed) => parsed.remove("value").expect("it was just named"),
        Err(_) => toml::Value::String(value.into()),
    };
    let mut keys: Vec<&str> = key.trim().split('.').collect();
    let last = keys.pop().filter(|k| !k.is_empty()).ok_or_else(|| error("the key is empty"))?;
    let mut place = table;
    for key in keys {
        let entry = place.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = entry.as_table_mut().ok_or_else(|| error(&format!("{key} is a value, not a table")))?;
    }
    place.insert(last.into(), value);
    Ok(())
}

/// Deserialises with the full key of what is wrong in the message.
fn deserialize<T: DeserializeOwned>(table: toml::Table) -> std::result::Result<T, String> {
    serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
        let key = error.path().to_string();
        let message = error.into_inner().to_string();
        if key == "." { message } else { format!("{key}: {}", message.trim_end()) }
    })
}

/// An error about a configuration, with the nearest known key where one is unknown.
pub fn config_error(place: &str, message: &str) -> Error {
    let mut message = message.trim_end().to_owned();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let (true, Some((unknown, known))) = (message.contains("unknown"), quoted.split_first()) {
        let near = known.iter().max_by(|a, b| strsim::jaro(unknown, a).total_cmp(&strsim::jaro(unknown, b)));
        if let Some(near) = near.filter(|near| strsim::jaro(unknown, near) > 0.7) {
            message = format!("{message}\ndid you mean `{near}`?");
        }
    }
    Error::Config { place: place.into(), message }
}
