//! Repair of a round's network, and whether what it costs is acceptable.

use std::sync::atomic::AtomicBool;

use certificate::Network;
use milp::{BlockRepair, RepairEnd, RepairOptions};
use serde::{Deserialize, Serialize};
use train::Scores;
use train::data::{DataSet, Part};

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
