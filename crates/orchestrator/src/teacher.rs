//! Boosted trees that networks learn from: `train.distil`.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use train::Scores;
use train::data::DataSet;
use train::trees::{Rows, Settings, Tuned, Tuning, distil, tune};

use crate::config::Config;
use crate::error::Result;
use crate::progress::Progress;
use crate::run_folder::RunFolder;

/// Name of the record in a run folder.
const FILE: &str = "teacher.json";

/// What is kept of the tuning.
#[derive(Serialize, Deserialize)]
struct Record {
    settings: Settings,
    /// Cross-validated.
    scores: Scores,
    /// Wall-clock time.
    seconds: f64,
}

/// Moves the targets of a run's networks towards what trees predict; without `train.distil` it leaves them.
pub struct Teacher {
    share: f64,
    /// None without a share.
    settings: Option<Settings>,
    /// Wall-clock time that tuning took; 0 without a share.
    pub tuning_s: f64,
}

impl Teacher {
    /// Tunes the trees on the fitting rows, once for all rounds and members of a run, unless an earlier part of the run did.
    /// `None` if it was interrupted.
    ///
    /// # Errors
    /// If the record cannot be read or written.
    pub fn tuned(
        config: &Config,
        data: &DataSet,
        folder: &RunFolder,
        progress: &Progress,
        interrupt: &AtomicBool,
    ) -> Result<Option<Self>> {
        let share = config.train.distil;
        if share == 0.0 {
            return Ok(Some(Self { share, settings: None, tuning_s: 0.0 }));
        }
        if let Some(Record { settings, seconds, .. }) = folder.read_json(FILE)? {
            return Ok(Some(Self { share, settings: Some(settings), tuning_s: seconds }));
        }
        let begun = Instant::now();
        let tuning = Tuning::of_a_teacher(config.seed);
        let bar = progress.start_tuning("tuning boosted trees to learn from", tuning.fits());
        let tuned = tune(data, Rows::Fit, &tuning, interrupt, || bar.inc(1));
        bar.finish_and_clear();
        let Some(Tuned { settings, scores }) = tuned else { return Ok(None) };
        let seconds = begun.elapsed().as_secs_f64();
        folder.write_json(FILE, &Record { settings, scores, seconds })?;
        Ok(Some(Self { share, settings: Some(settings), tuning_s: seconds }))
    }

    /// The data with the targets that it teaches; it is fitted on the fitting rows first.
    pub fn teach(&self, data: &DataSet, seed: u64) -> DataSet {
        match &self.settings {
            Some(settings) => distil(data, self.share, settings, seed),
            None => data.clone(),
        }
    }
}

/// What a reader of scores should know; nothing without trees.
pub fn remark(share: f64) -> Option<String> {
    let predicted = "what monotone boosted trees, tuned and fitted on the same rows, predict there";
    let targets = match share {
        0.0 => return None,
        1.0 => predicted.into(),
        _ => format!("targets that lie {:.0} % of the way from the table's own to {predicted}", 100.0 * share),
    };
    Some(format!(
        "The network learned {targets}. Losses while fitting are about that, all scores about the targets of the table."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_says_how_far() {
        assert_eq!(remark(0.0), None);
        assert!(
            remark(0.25)
                .unwrap()
                .starts_with("The network learned targets that lie 25 % of the way from the table's own")
        );
        assert!(remark(1.0).unwrap().starts_with("The network learned what monotone boosted trees"));
    }
}
