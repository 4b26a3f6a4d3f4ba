//! Certification while a network is trained.

use certificate::{Model, Network};
use milp::{Control, Options};
use serde::{Deserialize, Serialize};
use train::{Candidate, Trainer};

use super::{Check, Escalation, Verifications};
use crate::error::Result;

/// First part of the names of files with certified networks of an unfinished round.
pub(super) const CERTIFIED: &str = "certified-";
/// Points tried per query to see quickly that a network is not monotone.
const SAMPLES: usize = 200;
/// Derivatives below this part of the penalty's margin count as nearly violating.
const NEARLY: f64 = 0.5;
/// Nodes for one query during training; a harder one is left for a later epoch.
const NODES: u64 = 500;

/// The best certified network of a round so far; written when it is found, so that a resumed run has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Certified {
    check: Check,
    counts: Verifications,
}

impl Escalation<'_> {
    /// The best certified network before epoch `next` of an interrupted attempt. What came later will come again.
    #[allow(clippy::type_complexity)]
    pub(super) fn restore(
        &self,
        folder: &str,
        attempt: u32,
        next: u32,
    ) -> Result<(Option<(Check, Network)>, Verifications)> {
        let mut best = None;
        let mut counts = Verifications::default();
        let prefix = format!("{CERTIFIED}{attempt}-");
        for name in self.folder.files(folder)? {
            let Some(stem) = name.strip_suffix(".json").filter(|stem| stem.starts_with(&prefix)) else { continue };
            let record: Certified = self.folder.read_json(&format!("{folder}/{name}"))?.expect("it was just listed");
            if record.check.epoch.epoch < next {
                let path = self.folder.path().join(folder).join(format!("{stem}.safetensors"));
                best = Some((record.check, Model::load(&path)?.network));
                counts = record.counts;
            } else {
                self.folder.remove(&format!("{folder}/{name}"));
            }
        }
        Ok((best, counts))
    }

    /// Looks for violations of an epoch's network, for the training to go on from, and verifies it if none was found
    /// and its validation score is better than that of the best certified one.
    ///
    /// Everything here is repeatable: limits are nodes, not seconds, and no query is dropped because of another.
    pub(super) fn look_at(
        &self,
        candidate: &Candidate,
        trainer: &mut Trainer,
        certified: &mut Option<(Check, Network)>,
        counts: &mut Verifications,
        name: &str,
    ) -> Result<()> {
        let (domain, specification) = self.claim();
        let epoch = &candidate.epoch;
        let quick = Options { samples: SAMPLES, seed: u64::from(epoch.epoch), ..self.config.verification() };
        let threshold = NEARLY * self.config.penalty.margin;
        let suspects = milp::suspects(&candidate.network, &domain, &specification, threshold, &quick)?;
        suspects.iter().for_each(|suspect| trainer.add_witness(suspect.block, &suspect.point));
        if suspects.iter().any(|suspect| suspect.derivative < 0.0) {
            counts.refuted_by_samples += 1;
            return Ok(());
        }
        if certified.as_ref().is_some_and(|(best, _)| !epoch.is_better_than(&best.epoch)) {
            return Ok(());
        }
        let options = Options { node_limit: NODES, ..quick };
        let engine = self.config.certify.engine.get().expect("the configuration was checked");
        let control = Control::default();
        let report = milp::verify_network(&candidate.network, &domain, &specification, engine, &options, control)?;
        counts.verified += 1;
        for (block, queries) in report.queries.iter().enumerate() {
            for query in queries.iter().filter(|query| query.verdict.is_refuted()) {
                query.witness.iter().for_each(|point| trainer.add_witness(block, point));
            }
        }
        if report.verdict.is_certified() {
            counts.certified += 1;
            let check = Check { epoch: epoch.clone(), report };
            let model = self.model(candidate.network.clone());
            // The record last: it says that the network is there.
            model.save(&self.folder.path().join(format!("{name}.safetensors")))?;
            let record = Certified { check, counts: *counts };
            self.folder.write_json(&format!("{name}.json"), &record)?;
            *certified = Some((record.check, model.network));
        }
        Ok(())
    }
}
