//! What a run came to, in a few numbers.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use train::Scores;

use crate::certification;
use crate::ensemble::Delivery;
use crate::error::Result;
use crate::escalation::{Round, StopReason};
use crate::repair::ChangedDecisions;
use crate::report::{self, FinalScores};
use crate::run_folder::{Metrics, RunFolder};

/// Name of the summary in a run folder.
pub const SUMMARY: &str = "summary.json";

/// What `--format json` prints, and `summary.json`. Summaries of earlier versions lack some of the optional values.
#[derive(Serialize, Deserialize)]
pub struct Summary {
    /// The folder of the run.
    pub run: PathBuf,
    /// `certified`, `refuted` or `undecided`; of a baseline also `by construction` or `none`.
    pub verdict: String,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// Rounds of all members together.
    pub rounds: usize,
    /// The weight of the penalty that it ended with.
    pub lambda: Option<f64>,
    /// Number of networks whose mean is delivered.
    pub ensemble: u32,
    /// Number of parameters of what is delivered, links that are cut not counted.
    pub parameters: Option<usize>,
    /// On the validation rows.
    pub validation: Option<Scores>,
    /// On the test rows.
    pub test: Option<Scores>,
    /// The scores of the network before its repair, if it was repaired.
    pub before_repair: Option<FinalScores>,
    /// The test rows that the repair made the network decide otherwise, if it was repaired and decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_decisions: Option<ChangedDecisions>,
    /// The best score of any epoch on the test rows, see [`best_test_epoch`]. Chosen on the test rows, for comparison only.
    pub best_test_epoch: Option<Scores>,
    /// Wall-clock time of the training in all rounds and of tuning the trees that teach, also of what came before the run was
    /// resumed. What was lost when a run was stopped, and had to be done again, counts once.
    pub training_seconds: Option<f64>,
    /// The same of certification: during training, repair, verification after a round, and the certificate.
    pub certification_seconds: Option<f64>,
    /// Wall-clock time of the process that finished the run.
    pub seconds: f64,
    /// Exit status of the program.
    #[serde(skip)]
    pub exit_code: u8,
}

impl Summary {
    /// Prints a few lines for people.
    pub fn print(&self, delivery: &Delivery, folder: &Path) {
        println!("verdict     {} ({})", self.verdict, report::stop_reason(&self.stop_reason));
        if let Some(lambda) = self.lambda {
            println!("lambda      {lambda} after {} rounds", self.rounds);
            if self.ensemble > 1 {
                println!("ensemble    mean of {} networks", self.ensemble);
            }
        }
        for (name, scores) in [("validation", &self.validation), ("test", &self.test)] {
            if let Some(scores) = scores {
                println!("{name:<11} {}", report::score_text(scores));
            }
        }
        if let Some(scores) = &self.best_test_epoch {
            println!("best test epoch: {}; chosen on the test rows, for comparison only", report::score_text(scores));
        }
        if delivery.validated.is_some() {
            println!("fitted      on all training rows; the validation score is that of the network before");
        }
        if self.verdict != "undecided" {
            println!("certificate {} (checked)", folder.join(certification::FILE).display());
        }
        println!("time        {:.1} s", self.seconds);
        println!("report      {}", folder.join("report.md").display());
    }
}

/// The best score on the test rows of any epoch of the training that the delivered network comes from, certified or not, as
/// some publications report it. `None` if it was not asked for by `train.best_test_epoch`.
///
/// # Errors
/// If the metrics of the run cannot be read.
pub fn best_test_epoch(folder: &RunFolder, delivery: &Delivery) -> Result<Option<Scores>> {
    let [rounds] = &delivery.members[..] else { return Ok(None) };
    let on_all_rows = delivery.validated.is_some();
    let Some(made_in) = rounds.iter().rfind(|round| round.all_rows == on_all_rows) else { return Ok(None) };
    let is_of =
        |metrics: &Metrics, round: &Round| (metrics.round, metrics.attempt + 1) == (round.round, round.attempts);
    let scores =
        folder.metrics()?.into_iter().filter(|metrics| is_of(metrics, made_in)).filter_map(|metrics| metrics.test);
    Ok(scores.max_by(|a, b| a.rank().total_cmp(&b.rank())))
}
