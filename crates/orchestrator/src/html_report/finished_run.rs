use std::path::{Path, PathBuf};

use certificate::{Checked, Model, Verdict};
use milp::NetworkReport;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use train::data::{DataSet, Feature, Manifest};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::escalation::Round;
use crate::run_folder::{Metrics, RunFolder};
use crate::{SUMMARY, Summary, baseline, certification, fit, multistart, picture, report};

/// All that a finished run left, after its parts were seen to belong together.
pub struct FinishedRun {
    /// Its folder, as it was typed.
    pub path: PathBuf,
    pub config: Config,
    pub manifest: Manifest,
    pub data: DataSet,
    pub record: Record,
    pub summary: Summary,
    pub model: Model,
    pub report: NetworkReport,
    /// What the certificate shows, checked just now; none if the run is undecided.
    pub checked: Option<Checked>,
    /// SHA-256 of the bytes of `certificate.jsonl`, if there is one.
    pub certificate_sha256: Option<String>,
    /// SHA-256 of the bytes of `model.safetensors`.
    pub model_file_sha256: String,
    /// One for each network of an ensemble.
    pub members: Vec<Member>,
    /// `repair.svg`, if there was a repair.
    pub repair_picture: Option<Vec<u8>>,
}

/// How one network was made.
pub struct Member {
    pub rounds: Vec<Round>,
    pub metrics: Vec<Metrics>,
}

/// What is shown of `run.json`.
#[derive(Deserialize)]
pub struct Record {
    pub program: String,
    pub commit: String,
    pub overrides: Vec<String>,
    pub seed: u64,
    pub data: DataRecord,
    pub hardware: Hardware,
}

#[derive(Deserialize)]
pub struct DataRecord {
    pub name: String,
    pub sha256: String,
    pub split: String,
    pub split_seed: Option<u64>,
    pub fit: usize,
    pub validation: usize,
    pub test: usize,
}

#[derive(Deserialize, PartialEq)]
pub struct Hardware {
    pub system: String,
    pub architecture: String,
    pub processor: Option<String>,
    pub threads: usize,
}

/// Name of the model in a run folder.
pub const MODEL: &str = "model.safetensors";

impl FinishedRun {
    /// Reads a folder, its data, and checks its certificate again.
    ///
    /// # Errors
    /// If it holds no finished run, or what it holds does not fit together.
    pub fn load(path: &Path) -> Result<Self> {
        let folder = RunFolder::open(path)?;
        let file = path.join("config.toml");
        if multistart::is_meant_by(&file) {
            let message = "a run of `multistart`: nothing in it was certified, so there is nothing to report here; read its \
                           report.md, or certify its network with `orchestrator verify`";
            return Err(wrong(path, message));
        }
        if fit::is_meant_by(&file) {
            let message = "a run of `fit`: there are no rounds to report here; its fit.md and optimum.json have what was proved, and \
                           a certificate can be checked with `orchestrator check`";
            return Err(wrong(path, message));
        }
        if folder.read(baseline::FILE)?.is_some() {
            let message = "a baseline: there are no rounds to report here; its baseline.json and summary.json have what was \
                           found, and a certificate can be checked with `orchestrator check`";
            return Err(wrong(path, message));
        }
        let config = Config::load(&file, &[])?;
        let unfinished = || wrong(path, "this run is not finished; go on with it by --resume, then ask for its report");
        let summary: Summary = folder.read_json(SUMMARY)?.ok_or_else(unfinished)?;
        let nothing = || wrong(path, "this run ended before it had a network, so there is nothing to report");
        let model_bytes = folder.read(MODEL)?.ok_or_else(nothing)?;
        let model = Model::load(&path.join(MODEL))?;
        let record = required(&folder, "run.json")?;
        let report: NetworkReport = required(&folder, "verdict.json")?;
        let data = config.data.load()?;
        same_data(path, &data, &record, &model)?;
        Ok(Self {
            manifest: Manifest::read(&config.data.manifest)?,
            checked: checked(path, &model, &report.verdict, &summary)?,
            certificate_sha256: folder.read(certification::FILE)?.map(|bytes| sha256(&bytes)),
            model_file_sha256: sha256(&model_bytes),
            members: members(&folder, config.ensemble)?,
            repair_picture: folder.read(picture::FILE)?,
            path: path.into(),
            config,
            data,
            record,
            summary,
            model,
            report,
        })
    }

    /// A file of the run, as it is typed.
    pub fn file(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// The last round of each member, which made the network that is delivered or its part in it.
    pub fn last_rounds(&self) -> impl Iterator<Item = &Round> {
        self.members.iter().filter_map(|member| member.rounds.last())
    }

    /// A value of a feature in its own unit.
    pub fn raw(&self, feature: usize, x: f64) -> f64 {
        self.model.features[feature].raw(x)
    }
}

fn wrong(path: &Path, message: impl Into<String>) -> Error {
    Error::RunFolder { path: path.into(), message: message.into() }
}

/// A file that every finished run has.
pub fn required<T: DeserializeOwned>(folder: &RunFolder, name: &str) -> Result<T> {
    let missing = || wrong(&folder.path().join(name), "missing; a finished run has it: start a new run");
    folder.read_json(name)?.ok_or_else(missing)
}

/// Rows that are shown as those of the run have to be those of the run.
fn same_data(path: &Path, data: &DataSet, record: &Record, model: &Model) -> Result<()> {
    if data.sha256 != record.data.sha256 {
        let message = format!("the data were changed since: {} had another checksum then", data.file.display());
        return Err(wrong(path, message));
    }
    if !model.features.iter().cloned().eq(data.features.iter().map(Feature::of_a_model)) {
        return Err(wrong(
            path,
            "the data set's manifest was changed since: the model has other inputs, ranges or scales",
        ));
    }
    Ok(())
}

/// What the certificate shows; an error unless it is what summary and records say, about the claim of the model itself.
pub fn checked(path: &Path, model: &Model, verdict: &Verdict, summary: &Summary) -> Result<Option<Checked>> {
    if summary.verdict != verdict.word() {
        return Err(wrong(path, "summary.json and verdict.json contradict each other: start a new run"));
    }
    if matches!(verdict, Verdict::Undecided { .. }) {
        return Ok(None);
    }
    let file = path.join(certification::FILE);
    let checked = certification::recheck(&file, model)?;
    if checked.conclusion != verdict.into() {
        return Err(wrong(
            &file,
            format!("does not show that the network is {}, as verdict.json says", verdict.word()),
        ));
    }
    match report::differences(model, &checked.domain, &checked.specification).first() {
        Some(difference) => Err(wrong(&file, format!("not the certificate of this run: {difference}"))),
        None => Ok(Some(checked)),
    }
}

fn members(folder: &RunFolder, ensemble: u32) -> Result<Vec<Member>> {
    if ensemble == 1 {
        return Ok(vec![member(folder, "")?]);
    }
    (0..ensemble).map(|k| member(folder, &format!("members/{k:02}/"))).collect()
}

fn member(folder: &RunFolder, place: &str) -> Result<Member> {
    let mut rounds: Vec<Round> = Vec::new();
    while let Some(round) = folder.read_json(&format!("{place}rounds/{:02}/round.json", rounds.len()))? {
        rounds.push(round);
    }
    let bytes = folder.read(&format!("{place}metrics.jsonl"))?.unwrap_or_default();
    let metrics = String::from_utf8_lossy(&bytes).lines().map_while(|line| serde_json::from_str(line).ok()).collect();
    Ok(Member { rounds, metrics })
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
