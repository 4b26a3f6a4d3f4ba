//! Several networks trained with different seeds, delivered as their mean.

use std::sync::atomic::AtomicBool;

use certificate::Model;
use train::data::DataSet;

use crate::config::Config;
use crate::error::Result;
use crate::escalation::{Escalation, Outcome, Round, StopReason};
use crate::progress::Progress;
use crate::run_folder::RunFolder;
use crate::teacher::Teacher;

/// What a run delivers.
pub struct Delivery {
    /// Why it ended; with several members that of the first one that was not certified.
    pub stop: StopReason,
    /// Wall-clock time of the tuning of the trees that taught it; 0 without any.
    pub tuning_s: f64,
    /// The rounds of each member.
    pub members: Vec<Vec<Round>>,
    /// The model; none if it was stopped before every member had one.
    pub model: Option<Model>,
    /// The model as it was before repair, if some member was repaired.
    pub unrepaired: Option<Model>,
    /// If the model was fitted on the validation rows: the one that was not.
    pub validated: Option<Model>,
}

impl Delivery {
    /// The weight of the penalty that the members ended with, the largest one.
    pub fn lambda(&self) -> Option<f64> {
        let last = |rounds: &Vec<Round>| rounds.last().map(|round| round.lambda);
        self.members.iter().filter_map(last).max_by(f64::total_cmp)
    }

    /// Rounds of all members together.
    pub fn rounds(&self) -> usize {
        self.members.iter().map(Vec::len).sum()
    }

    /// Wall-clock time of the training in all rounds, and of the tuning of what taught it.
    pub fn training_s(&self) -> f64 {
        self.tuning_s + self.members.iter().flatten().map(|round| round.training_s).sum::<f64>()
    }

    /// Wall-clock time of certification in all rounds.
    pub fn certification_s(&self) -> f64 {
        self.members.iter().flatten().map(|round| round.verification_s).sum()
    }
}

/// Trains `config.ensemble` networks, one after the other, and takes their mean. The records of several members lie in
/// `members/NN/`; finished ones are not run again.
///
/// # Errors
/// As [`Escalation::run`].
pub fn run(
    config: &Config,
    data: &DataSet,
    folder: &RunFolder,
    progress: &mut Progress,
    interrupt: &AtomicBool,
) -> Result<Delivery> {
    let Some(teacher) = Teacher::tuned(config, data, folder, progress, interrupt)? else {
        let stop = StopReason::Interrupted;
        let members = Vec::new();
        return Ok(Delivery { stop, tuning_s: 0.0, members, model: None, unrepaired: None, validated: None });
    };
    let tuning_s = teacher.tuning_s;
    if config.ensemble == 1 {
        let Outcome { stop, rounds, model, unrepaired, validated } =
            Escalation::new(config, data, folder, progress, interrupt).run(&teacher)?;
        return Ok(Delivery { stop, tuning_s, members: vec![rounds], model, unrepaired, validated });
    }
    let mut members = Vec::new();
    for member in 0..config.ensemble {
        progress.say(&format!("member {} of {}", member + 1, config.ensemble));
        let config = Config { seed: member_seed(config.seed, member), ..config.clone() };
        let folder = folder.member(member)?;
        let outcome = Escalation::new(&config, data, &folder, progress, interrupt).run(&teacher)?;
        let stopped = outcome.stop == StopReason::Interrupted;
        members.push(outcome);
        if stopped {
            break;
        }
    }
    let complete = members.len() == config.ensemble as usize && members.iter().all(|member| member.model.is_some());
    // The mean of what members have of a kind, of their models where they have none; nothing if no member has one.
    let mean = |kind: fn(&Outcome) -> &Option<Model>| {
        if !complete || members.iter().all(|member| kind(member).is_none()) {
            return Ok(None);
        }
        let models: Vec<Model> = members.iter().filter_map(|m| kind(m).clone().or(m.model.clone())).collect();
        Model::mean(&models).map(Some)
    };
    Ok(Delivery {
        stop: members
            .iter()
            .map(|m| m.stop)
            .find(|stop| *stop != StopReason::Certified)
            .unwrap_or(StopReason::Certified),
        tuning_s,
        model: mean(|member| &member.model)?,
        unrepaired: mean(|member| &member.unrepaired)?,
        validated: mean(|member| &member.validated)?,
        members: members.into_iter().map(|member| member.rounds).collect(),
    })
}

/// The first member is what the seed gives by itself; the others are far from every seed that a person would type.
fn member_seed(seed: u64, member: u32) -> u64 {
    seed.wrapping_add(u64::from(member) << 32)
}
