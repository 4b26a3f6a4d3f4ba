//! Runs that failed, and what they said.

use std::cmp::Reverse;
use std::fs::{OpenOptions, read_to_string};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Folder;
use super::local::is_finished;
use super::sweep::Run;
use crate::error::{Error, Result};

/// One line for each run that failed.
const FILE: &str = "failures.jsonl";
/// So many reasons are said at the end of a batch.
const REASONS: usize = 3;

/// A line of `failures.jsonl`.
#[derive(Serialize, Deserialize)]
pub struct Failure {
    /// Which run.
    pub id: String,
    /// How often it was tried.
    pub tries: u32,
    /// Of the last try; none if it was killed.
    pub exit_status: Option<i32>,
    /// The end of what it said.
    pub said: String,
}

impl Failure {
    /// What is known of a run that has ended without a result.
    pub(super) fn of(folder: &Folder, run: &Run, tries: u32, exit_status: Option<i32>) -> Self {
        let log = read_to_string(folder.path.join("logs").join(format!("{}.log", run.id))).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        let said = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        Self { id: run.id.clone(), tries, exit_status, said }
    }

    /// Adds it to the failures of its batch.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn record(&self, folder: &Folder) -> Result<()> {
        let path = folder.path.join(FILE);
        let io = |source| Error::Io { path: path.clone(), source };
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(io)?;
        writeln!(file, "{}", serde_json::to_string(self).expect("a failure is plain data")).map_err(io)
    }

    /// All that were recorded in the folder of a batch, oldest first; a run may have been done since.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn read_all(folder: &Path) -> Result<Vec<Self>> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let text = read_to_string(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let failure = |(k, line): (usize, &str)| {
            let damaged = |e| Error::RunFolder { path: path.clone(), message: format!("line {}: {e}", k + 1) };
            serde_json::from_str(line).map_err(damaged)
        };
        text.lines().enumerate().map(failure).collect()
    }

    /// The last thing it said, or how it ended.
    pub fn reason(&self) -> String {
        match (self.said.lines().next_back(), self.exit_status) {
            (Some(line), _) => line.into(),
            (None, Some(status)) => format!("it said nothing and ended with exit status {status}"),
            (None, None) => "it said nothing and was killed".into(),
        }
    }
}

/// How many of some runs have no result, and the most frequent reasons.
///
/// # Errors
/// If the record of failures is damaged.
pub fn sum_up(folder: &Folder, runs: &[Run]) -> Result<String> {
    let failures = Failure::read_all(&folder.path)?;
    let unfinished: Vec<_> = runs.iter().filter(|run| !is_finished(folder, run)).collect();
    let mut reasons: Vec<(usize, String)> = Vec::new();
    for failure in unfinished.iter().filter_map(|run| failures.iter().rfind(|failure| failure.id == run.id)) {
        let reason = failure.reason();
        match reasons.iter_mut().find(|(_, known)| *known == reason) {
            Some((count, _)) => *count += 1,
            None => reasons.push((1, reason)),
        }
    }
    reasons.sort_by_key(|(count, _)| Reverse(*count));
    let (path, count) = (folder.path.join(FILE), unfinished.len());
    let mut text = format!("{count} of {} runs failed; what each said is in {}", runs.len(), path.display());
    for (count, reason) in reasons.iter().take(REASONS) {
        text += &format!("\n  {count} x {reason}");
    }
    Ok(text)
}
