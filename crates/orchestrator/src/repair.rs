//! Repair of a round's network, and whether what it costs is acceptable.

use std::sync::atomic::AtomicBool;

use certificate::{Model, Network};
use milp::{BlockRepair, RepairEnd, RepairOptions};
use serde::{Deserialize, Serialize};
use train::Scores;
use train::data::{DataSet, Part, Task};

use crate::comparison::is_right;
use crate::config::Config;
use crate::error::Result;

/// What a repair did and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repair {
    /// How it ended.
    pub end: RepairEnd,
    /// Scores on the validation rows before.
    pub before: Scores,
    /// And after; only worth something if `end` is certified.
    pub after: Scores,
    /// Whether the repaired network is what the round delivers.
    pub accepted: bool,
    /// What was done to each block.
    pub blocks: Vec<BlockRepair>,
    /// Wall-clock time.
    pub seconds: f64,
}

impl Repair {
    /// Violated activation patterns that were cut off.
    pub fn cuts(&self) -> usize {
        self.blocks.iter().map(|block| block.cuts).sum()
    }
}

/// Repairs a network and judges the result on the validation rows.
///
/// # Errors
/// If the network cannot be verified at all.
pub fn repair(
    config: &Config,
    data: &DataSet,
    network: &Network,
    options: &RepairOptions,
    interrupt: &AtomicBool,
) -> Result<(Repair, Network)> {
    let domain = data.domain(config.data.domain);
    let rows: Vec<Vec<f64>> = inputs(&data.fit, data).collect();
    let repaired = milp::repair(network, &domain, &data.directions(), &rows, &[], options, Some(interrupt))?;
    let (before, after) = (scores(network, &data.validation, data), scores(&repaired.network, &data.validation, data));
    let milp::Repaired { network, end, blocks, seconds, .. } = repaired;
    let bearable = after.loss <= before.loss * (1.0 + config.repair.loss_growth);
    let accepted = end == RepairEnd::Certified && bearable;
    Ok((Repair { end, before, after, accepted, blocks, seconds }, network))
}

/// The test rows that a repair made the network decide otherwise, counted from 1 among the test rows as for `attack --row` and
/// `violations --row`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangedDecisions {
    /// Wrong before, right now.
    pub now_right: Vec<usize>,
    /// Right before, wrong now.
    pub now_wrong: Vec<usize>,
}

impl ChangedDecisions {
    /// Compares two models on the test rows; `None` if the target is a number, where nothing is decided.
    pub fn of(before: &Model, after: &Model, data: &DataSet) -> Option<Self> {
        if data.task != Task::Binary {
            return None;
        }
        let right = |model: &Model| -> Vec<bool> {
            let outputs = outputs(&model.network, &data.test, data);
            outputs.iter().zip(&data.test.y).map(|(output, y)| is_right(*output, *y)).collect()
        };
        let (before, after) = (right(before), right(after));
        let changed =
            |from: bool| (0..after.len()).filter(|&k| before[k] == from && after[k] != from).map(|k| k + 1).collect();
        Some(Self { now_right: changed(false), now_wrong: changed(true) })
    }

    /// In words, for so many test rows.
    pub fn words(&self, test_rows: usize) -> String {
        let (right, wrong) = (self.now_right.len(), self.now_wrong.len());
        match right + wrong {
            0 => format!("The repair changed the decision for none of the {test_rows} test rows."),
            all => format!(
                "The repair changed the decision for {all} of the {test_rows} test rows: {right} of these are right now that were \
                 wrong before, {wrong} the other way round."
            ),
        }
    }
}

/// The scores of a network, computed in `f64`.
pub fn scores(network: &Network, part: &Part, data: &DataSet) -> Scores {
    Scores::of_f64(data.task, &outputs(network, part, data), &part.y)
}

/// The first output of a network for each row, in `f64` from the exported weights.
pub fn outputs(network: &Network, part: &Part, data: &DataSet) -> Vec<f64> {
    inputs(part, data).map(|x| network.evaluate(&x)[0]).collect()
}

fn inputs<'a>(part: &'a Part, data: &DataSet) -> impl Iterator<Item = Vec<f64>> + 'a {
    part.x.chunks(data.features.len()).map(|x| x.iter().map(|v| f64::from(*v)).collect())
}
