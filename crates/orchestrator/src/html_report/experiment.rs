//! An experiment with what its runs left: what the page about it is made of.

use std::path::{Path, PathBuf};

use certificate::Model;
use milp::NetworkReport;
use rayon::prelude::*;
use train::Scores;

use super::finished_run::{MODEL, Record, checked, required};
use crate::batch::{Contents, Failure, Run};
use crate::config::Config;
use crate::error::Result;
use crate::run_folder::RunFolder;
use crate::summary::{SUMMARY, Summary};

/// All runs of a batch. The certificates of those that say to have one were checked again.
pub struct Experiment {
    /// What was typed: the folder of the batch, or the experiment.
    pub typed: PathBuf,
    pub contents: Contents,
    pub methods: Vec<Method>,
}

/// A line of the table.
pub struct Method {
    pub name: String,
    /// What was published for it, as it was printed; empty if nothing.
    pub published: String,
    /// One for each seed.
    pub runs: Vec<(Run, Option<FinishedSeed>)>,
}

/// What a finished run left.
pub struct FinishedSeed {
    pub summary: Summary,
    pub record: Record,
    /// Its configuration, or why it cannot be read.
    pub config: std::result::Result<Config, String>,
}

/// Which rows a score is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    Validation,
    Test,
}

/// What a score counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Per cent of rows that are right.
    Right,
    /// Root mean squared error, in scaled units.
    Rmse,
}

impl Experiment {
    /// Reads the batch in a folder or that of an experiment; none if the path is neither.
    ///
    /// # Errors
    /// If a file is damaged, or a certificate does not show what its run says.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        let Some(contents) = Contents::open(path)? else { return Ok(None) };
        let read = |run: &Run| Ok((run.clone(), FinishedSeed::read(&contents.run_folder(run))?));
        let runs = contents.runs.par_iter().map(read).collect::<Result<Vec<_>>>()?;
        let mut methods: Vec<Method> = Vec::new();
        for (run, finished) in runs {
            if methods.last().is_none_or(|method| method.name != run.method) {
                let (name, published) = (run.method.clone(), run.published.clone());
                methods.push(Method { name, published, runs: Vec::new() });
            }
            methods.last_mut().expect("one was just added").runs.push((run, finished));
        }
        Ok(Some(Self { typed: path.into(), contents, methods }))
    }

    /// All runs that are finished.
    pub fn finished(&self) -> impl Iterator<Item = &FinishedSeed> {
        self.methods.iter().flat_map(Method::finished)
    }

    /// Whether each seed has a random re-split of its own.
    pub fn is_over_resplits(&self) -> bool {
        self.contents.runs.iter().any(|run| run.resplit.is_some())
    }

    /// The last failure of each run that is not finished.
    pub fn failures(&self) -> Vec<&Failure> {
        let unfinished = self.methods.iter().flat_map(|method| &method.runs).filter(|(_, finished)| finished.is_none());
        let of = |run: &Run| self.contents.failures.iter().rfind(|failure| failure.id == run.id);
        unfinished.filter_map(|(run, _)| of(run)).collect()
    }
}

impl FinishedSeed {
    /// What is in a run's folder; none if the run is not finished.
    fn read(path: &Path) -> Result<Option<Self>> {
        if !path.join(SUMMARY).exists() {
            return Ok(None);
        }
        let folder = RunFolder::open(path)?;
        let summary: Summary = required(&folder, SUMMARY)?;
        if matches!(summary.verdict.as_str(), "certified" | "refuted") {
            let report: NetworkReport = required(&folder, "verdict.json")?;
            checked(path, &Model::load(&path.join(MODEL))?, &report.verdict, &summary)?;
        }
        let config = Config::load(&path.join("config.toml"), &[]).map_err(|error| error.to_string());
        Ok(Some(Self { record: required(&folder, "run.json")?, summary, config }))
    }

    pub fn is_certified(&self) -> bool {
        self.summary.verdict == "certified"
    }

    /// Whether it was verified at all; some baselines are monotone by construction, or do not claim to be.
    pub fn is_verified(&self) -> bool {
        matches!(self.summary.verdict.as_str(), "certified" | "refuted" | "undecided")
    }

    /// Its score and what that counts.
    pub fn score(&self, rows: Rows) -> Option<(f64, Unit)> {
        let scores: Scores = match rows {
            Rows::Validation => self.summary.validation?,
            Rows::Test => self.summary.test?,
        };
        scores.accuracy.map(|share| (100.0 * share, Unit::Right)).or(scores.rmse.map(|rmse| (rmse, Unit::Rmse)))
    }
}

impl Method {
    pub fn finished(&self) -> impl Iterator<Item = &FinishedSeed> {
        self.runs.iter().filter_map(|(_, finished)| finished.as_ref())
    }

    pub fn certified(&self) -> usize {
        self.finished().filter(|seed| seed.is_certified()).count()
    }

    pub fn scores(&self, rows: Rows) -> Vec<f64> {
        self.finished().filter_map(|seed| seed.score(rows).map(|(score, _)| score)).collect()
    }

    /// The data set and what is counted on it: scores of different ones are not drawn over one axis.
    pub fn kind(&self) -> Option<(&str, Unit)> {
        let seed = self.finished().next()?;
        Some((&seed.record.data.name, seed.score(Rows::Test)?.1))
    }

    /// The published score, if it is a number and about these rows. It is about test rows unless it says “validation”.
    pub fn published_score(&self, rows: Rows) -> Option<f64> {
        let about = if self.published.contains("validation") { Rows::Validation } else { Rows::Test };
        let end = self.published.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.published.len());
        self.published[..end].parse().ok().filter(|_| about == rows)
    }

    /// Each lambda that runs ended with, and how many did.
    pub fn lambdas(&self) -> Vec<(f64, usize)> {
        let mut lambdas: Vec<f64> = self.finished().filter_map(|seed| seed.summary.lambda).collect();
        lambdas.sort_unstable_by(f64::total_cmp);
        lambdas.chunk_by(|a, b| a == b).map(|equal| (equal[0], equal.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_text_is_a_number_about_some_rows_or_none() {
        let score = |published: &str| {
            let method = Method { name: String::new(), published: published.into(), runs: Vec::new() };
            [Rows::Validation, Rows::Test].map(|rows| method.published_score(rows))
        };
        assert_eq!(score("62.15 (validation)"), [Some(62.15), None]);
        assert_eq!(score("68.8 ± 0.2"), [None, Some(68.8)]);
        assert_eq!(score("0.1"), [None, Some(0.1)]);
        for none in ["", "none", "about 70", "(70)", "1.2.3"] {
            assert_eq!(score(none), [None, None], "{none}");
        }
    }
}
