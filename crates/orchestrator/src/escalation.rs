//! The outer loop: train, verify, multiply lambda, until every block certifies.

mod during_training;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use certificate::{Domain, Model, Network, Specification};
use milp::{Control, NetworkReport, Options};
use serde::{Deserialize, Serialize};
use train::data::{DataSet, Feature};
use train::{Candidate, Epoch, Trainer, constant_loss};

use crate::config::{Config, Deliver};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::repair::{Repair, repair};
use crate::report;
use crate::run_folder::{Metrics, RunFolder};
use crate::teacher::Teacher;
use during_training::CERTIFIED;

/// Trains at growing lambda until a network certifies or a limit is reached.
pub struct Escalation<'a> {
    config: &'a Config,
    data: &'a DataSet,
    folder: &'a RunFolder,
    progress: &'a mut Progress,
    interrupt: &'a AtomicBool,
}

/// Why an escalation ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Every block of a candidate certifies.
    Certified,
    /// The next lambda would be above the limit.
    LambdaLimit(f64),
    /// The largest number of rounds was run.
    RoundLimit(u32),
    /// The time was used up.
    TimeLimit(f64),
    /// The user stopped it.
    Interrupted,
    /// A baseline: there was nothing to escalate.
    NoEscalation,
}

/// One train-and-verify pass: `rounds/NN/round.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// Counted from 0.
    pub round: u32,
    /// Whether the validation rows were fitted on too; their scores are no validation then.
    pub all_rows: bool,
    /// Weight of the penalty.
    pub lambda: f64,
    /// The learning rate that worked.
    pub learning_rate: f64,
    /// Tries, 1 if the first learning rate worked.
    pub attempts: u32,
    /// The epochs that were verified, best validation score first; of those verified during training only the best
    /// certified one, or the one with the best score if there is none.
    pub checks: Vec<Check>,
    /// Number of epochs in which the network was verified during training, and in how many it was certified.
    pub during_training: Verifications,
    /// The repair of the last epoch's network, if there was one.
    pub repair: Option<Repair>,
    /// Wall-clock time of the training.
    pub training_s: f64,
    /// Wall-clock time of certification: during training, of the repair and of the verification after it.
    pub verification_s: f64,
}

/// How often networks were verified during training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verifications {
    /// Epochs in which a sample showed a violation.
    pub refuted_by_samples: u32,
    /// Epochs in which all queries were put to the engine.
    pub verified: u32,
    /// Those of them in which the network was certified.
    pub certified: u32,
}

/// Wall-clock time that a round has taken so far: `spent.json` beside its checkpoints, so that a resumed round goes on counting.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spent {
    training_s: f64,
    certification_s: f64,
}

/// What a training came to.
struct Trained {
    /// The epochs with the best validation scores.
    candidates: Vec<Candidate>,
    /// The last epoch, whatever its score.
    last: Option<Candidate>,
    /// The best certified one, if networks were verified during training.
    certified: Option<(Check, Network)>,
    counts: Verifications,
    spent: Spent,
    /// Whether it ran to its end.
    finished: bool,
}

/// The verification of one epoch's network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The epoch.
    pub epoch: Epoch,
    /// What was found out.
    pub report: NetworkReport,
}

/// What an escalation delivers: the certified network, or the best one of the last round with what is known about it.
pub struct Outcome {
    /// Why it stopped.
    pub stop: StopReason,
    /// All rounds.
    pub rounds: Vec<Round>,
    /// The model delivered; none if it was stopped before the first round ended.
    pub model: Option<Model>,
    /// That model before its repair, if it was repaired.
    pub unrepaired: Option<Model>,
    /// If the model delivered was fitted on the validation rows: the one of the round before, which was not.
    pub validated: Option<Model>,
}

impl Round {
    /// The check of the network that this round delivers: the certified one, else the one with the best score.
    pub fn delivered(&self) -> Option<&Check> {
        self.checks.iter().find(|check| check.report.verdict.is_certified()).or(self.checks.first())
    }
}

impl<'a> Escalation<'a> {
    /// An escalation over `data`, with its records in `folder`. Setting `interrupt` stops it at the next epoch or query.
    pub fn new(
        config: &'a Config,
        data: &'a DataSet,
        folder: &'a RunFolder,
        progress: &'a mut Progress,
        interrupt: &'a AtomicBool,
    ) -> Self {
        Self { config, data, folder, progress, interrupt }
    }

    /// Runs rounds until one certifies or a limit is reached, on the targets of `teacher`. Rounds that an earlier run finished
    /// are taken from the folder, an unfinished one continues at its last checkpoint.
    ///
    /// # Errors
    /// If a training breaks down at every learning rate, or a record cannot be written.
    pub fn run(&mut self, teacher: &Teacher) -> Result<Outcome> {
        let data = teacher.teach(self.data, self.config.seed);
        let original = self.data;
        Escalation::new(self.config, &data, self.folder, self.progress, self.interrupt).rounds(original, teacher)
    }

    /// The rounds; `original` has the targets as they stand in the table.
    fn rounds(&mut self, original: &DataSet, teacher: &Teacher) -> Result<Outcome> {
        let start = Instant::now();
        let limits = &self.config.escalation;
        let stop = StopReason::RoundLimit(limits.round_limit);
        let mut outcome = Outcome { stop, rounds: Vec::new(), model: None, unrepaired: None, validated: None };
        let mut lambda = limits.lambda;
        for number in 0..limits.round_limit {
            if start.elapsed().as_secs_f64() > limits.time_limit_s {
                outcome.stop = StopReason::TimeLimit(limits.time_limit_s);
                break;
            }
            let Some((round, model, unrepaired)) = self.round(number, lambda, false)? else {
                outcome.stop = StopReason::Interrupted;
                break;
            };
            let certified = round.delivered().is_some_and(|check| check.report.verdict.is_certified());
            outcome.rounds.push(round);
            outcome.model = Some(model);
            outcome.unrepaired = unrepaired;
            if certified {
                outcome.stop = StopReason::Certified;
                if self.config.train.all_rows {
                    let data = teacher.teach(&original.with_validation_fitted(), self.config.seed);
                    self.on_all_rows(&data, number + 1, lambda, &mut outcome)?;
                }
                break;
            }
            lambda *= limits.lambda_growth;
            // Without a penalty there is nothing to escalate.
            if lambda > limits.lambda_limit || lambda == 0.0 {
                outcome.stop = StopReason::LambdaLimit(limits.lambda_limit);
                break;
            }
        }
        Ok(outcome)
    }

    /// Trains once more, on the validation rows too. What comes out is delivered if it is certified; otherwise the outcome
    /// stays as it is.
    fn on_all_rows(&mut self, data: &DataSet, number: u32, lambda: f64, outcome: &mut Outcome) -> Result<()> {
        self.progress.say("  once more, on the validation rows too; scores on them say nothing from here on");
        let mut again = Escalation::new(self.config, data, self.folder, self.progress, self.interrupt);
        let Some((round, model, unrepaired)) = again.round(number, lambda, true)? else {
            outcome.stop = StopReason::Interrupted;
            return Ok(());
        };
        if round.delivered().is_some_and(|check| check.report.verdict.is_certified()) {
            outcome.validated = outcome.model.replace(model);
            outcome.unrepaired = unrepaired;
        } else {
            self.progress.say("  not certified; the network before is delivered");
        }
        outcome.rounds.push(round);
        Ok(())
    }

    /// One round: train, repair or verify the best epochs until one certifies. Gives its record, the model that it
    /// delivers, and that model before its repair, if it was repaired. `None` if it was interrupted.
    #[allow(clippy::type_complexity)]
    fn round(&mut self, number: u32, lambda: f64, all_rows: bool) -> Result<Option<(Round, Model, Option<Model>)>> {
        let folder = self.folder.round(number)?;
        let record = format!("{folder}/round.json");
        let model_file = self.folder.path().join(&folder).join("model.safetensors");
        let unrepaired_file = self.folder.path().join(&folder).join("unrepaired.safetensors");
        if let Some(round) = self.folder.read_json::<Round>(&record)? {
            self.progress.say(&format!("round {}: lambda = {lambda}, done before", number + 1));
            let repaired = round.repair.as_ref().is_some_and(|repair| repair.accepted && repair.cuts() > 0);
            let unrepaired = if repaired { Some(Model::load(&unrepaired_file)?) } else { None };
            return Ok(Some((round, Model::load(&model_file)?, unrepaired)));
        }
        let Some((trained, attempts)) = self.train(number, lambda, &folder)? else { return Ok(None) };
        let spent = trained.spent;
        let start = Instant::now();
        let mut repaired = None;
        let wanted = trained.certified.is_none() || self.config.certify.deliver == Deliver::Last;
        if let (Some(options), Some(last), true) = (self.config.repairing(self.data), &trained.last, wanted) {
            self.progress.say("  repairing the last epoch's network");
            let (record, network) = repair(self.config, self.data, &last.network, &options, self.interrupt)?;
            if self.interrupt.load(Ordering::Relaxed) {
                return Ok(None);
            }
            self.progress.say(&format!("  {}", report::repair_text(&record)));
            repaired = Some((record, Candidate { epoch: last.epoch.clone(), network }));
        }
        let candidates = match (&repaired, &trained.certified) {
            (Some((record, candidate)), _) if record.accepted => std::slice::from_ref(candidate),
            // What was verified during training need not be verified again; one report has to be there.
            _ if self.config.certify.during_training > 0 => &trained.candidates[..1],
            _ => &trained.candidates[..],
        };
        let accepted = repaired.as_ref().is_some_and(|(record, _)| record.accepted);
        let changed = repaired.as_ref().is_some_and(|(record, _)| record.accepted && record.cuts() > 0);
        let unrepaired = trained.last.filter(|_| changed).map(|last| self.model(last.network));
        let (checks, delivered) = match trained.certified {
            Some((check, network)) if !accepted => (vec![check], network),
            _ => match self.verify(candidates)? {
                Some(verified) => verified,
                None => return Ok(None),
            },
        };
        let round = Round {
            round: number,
            all_rows,
            lambda,
            learning_rate: self.config.training(number, attempts - 1, lambda).learning_rate,
            attempts,
            checks,
            during_training: trained.counts,
            repair: repaired.map(|(record, _)| record),
            training_s: spent.training_s,
            verification_s: spent.certification_s + start.elapsed().as_secs_f64(),
        };
        let model = self.model(delivered);
        model.save(&model_file)?;
        if let Some(unrepaired) = &unrepaired {
            unrepaired.save(&unrepaired_file)?;
        }
        self.folder.write_json(&record, &round)?;
        for attempt in 0..attempts {
            self.folder.remove(&checkpoint_name(&folder, attempt));
        }
        self.folder.remove(&spent_name(&folder));
        for name in self.folder.files(&folder)?.iter().filter(|name| name.starts_with(CERTIFIED)) {
            self.folder.remove(&format!("{folder}/{name}"));
        }
        Ok(Some((round, model, unrepaired)))
    }

    /// Trains until the epochs are used up, again with a lower learning rate if that failed. Also gives the number of
    /// attempts; `None` if it was interrupted.
    fn train(&mut self, round: u32, lambda: f64, folder: &str) -> Result<Option<(Trained, u32)>> {
        let retries = self.config.train.retries;
        let mut first = 0;
        for attempt in 0..=retries {
            if self.folder.read(&checkpoint_name(folder, attempt))?.is_some() {
                first = attempt;
            }
        }
        let yardstick = constant_loss(self.data);
        for attempt in first..=retries {
            let Some(trained) = self.train_once(round, attempt, lambda, folder)? else {
                return Ok(None);
            };
            let learned = trained.candidates.iter().any(|c| c.epoch.validation.loss < yardstick);
            if trained.finished && learned || attempt == retries && !trained.candidates.is_empty() {
                return Ok(Some((trained, attempt + 1)));
            }
            let why = if trained.finished { "no better than a constant" } else { "the loss is no longer finite" };
            self.progress.say(&format!("round {}: training failed ({why}), lowering the learning rate", round + 1));
        }
        let learning_rate = self.config.training(round, retries, lambda).learning_rate;
        Err(Error::TrainingFailed { lambda, learning_rate })
    }

    /// One attempt, continued at its checkpoint if there is one. `None` if it was interrupted.
    fn train_once(&mut self, round: u32, attempt: u32, lambda: f64, folder: &str) -> Result<Option<Trained>> {
        let settings = self.config.training(round, attempt, lambda);
        let epochs = settings.epochs;
        let checkpoint = checkpoint_name(folder, attempt);
        let mut trainer = match self.folder.read(&checkpoint)? {
            Some(bytes) => Trainer::resume(settings, self.data, &bytes)?,
            None => Trainer::new(settings, self.data)?,
        };
        let (mut certified, mut counts) = self.restore(folder, attempt, trainer.next_epoch())?;
        let every = self.config.certify.during_training;
        self.folder.cut_metrics(round, attempt, trainer.next_epoch())?;
        self.progress.start_training(round, lambda, trainer.next_epoch(), epochs);
        let mut spent: Spent = self.folder.read_json(&spent_name(folder))?.unwrap_or_default();
        let mut metrics = Vec::new();
        let mut finite = true;
        while finite && !trainer.is_finished() {
            let start = Instant::now();
            let candidate = trainer.run_epoch();
            spent.training_s += start.elapsed().as_secs_f64();
            match candidate {
                Some(candidate) => {
                    if every > 0 && (candidate.epoch.epoch + 1) % every == 0 {
                        let start = Instant::now();
                        let name = format!("{folder}/{CERTIFIED}{attempt}-{:06}", candidate.epoch.epoch);
                        self.look_at(&candidate, &mut trainer, &mut certified, &mut counts, &name)?;
                        spent.certification_s += start.elapsed().as_secs_f64();
                    }
                    let test_wanted = self.config.train.best_test_epoch;
                    let test = test_wanted.then(|| trainer.score(&candidate.network, &self.data.test));
                    let record = candidate.epoch;
                    let best = certified.as_ref().map(|(check, _)| &check.epoch);
                    self.progress.epoch(&record, epochs, best);
                    metrics.push(Metrics { round, attempt, lambda, record, test });
                }
                None => finite = false,
            }
            let stop = self.interrupt.load(Ordering::Relaxed);
            let pause = trainer.next_epoch() % self.config.train.checkpoint_every == 0;
            if stop || pause || !finite || trainer.is_finished() {
                // Metrics first: a line too many is cut on resuming, one too few would be missing.
                self.folder.append_metrics(&metrics)?;
                metrics.clear();
                self.folder.write_json(&spent_name(folder), &spent)?;
                if finite {
                    self.folder.write(&checkpoint, &trainer.checkpoint()?)?;
                }
            }
            if stop {
                self.progress.end_training();
                return Ok(None);
            }
        }
        self.progress.end_training();
        let (candidates, last) = (trainer.candidates().to_vec(), trainer.last().cloned());
        Ok(Some(Trained { candidates, last, certified, counts, spent, finished: finite }))
    }

    /// Verifies candidates in their order until one certifies, and gives that one, else the first. `None` if it was
    /// interrupted.
    fn verify(&mut self, candidates: &[Candidate]) -> Result<Option<(Vec<Check>, Network)>> {
        let mut checks = Vec::new();
        let mut delivered = &candidates[0].network;
        for (rank, candidate) in candidates.iter().enumerate() {
            let report = self.verify_network(candidate, rank, candidates.len())?;
            if self.interrupt.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let certified = report.verdict.is_certified();
            checks.push(Check { epoch: candidate.epoch.clone(), report });
            if certified {
                delivered = &candidate.network;
                break;
            }
        }
        let outcome = match checks.last() {
            Some(check) if check.report.verdict.is_certified() => {
                format!("epoch {} is certified", check.epoch.epoch + 1)
            }
            _ => "none is certified".into(),
        };
        self.progress.say(&format!("  verified {} of the {} best epochs: {outcome}", checks.len(), candidates.len()));
        Ok(Some((checks, delivered.clone())))
    }

    /// Where which property has to hold.
    fn claim(&self) -> (Domain, Specification) {
        (self.data.domain(self.config.data.domain), self.data.directions().into())
    }

    fn model(&self, network: Network) -> Model {
        model(self.config, self.data, network)
    }

    fn verify_network(&self, candidate: &Candidate, rank: usize, candidates: usize) -> Result<NetworkReport> {
        let certify = &self.config.certify;
        let options = Options { stop_at_first_refutation: true, ..self.config.verification() };
        let engine = certify.engine.get().expect("the configuration was checked");
        let (domain, specification) = self.claim();
        let queries = specification.queries(&candidate.network)?.iter().map(Vec::len).sum();
        let bar = self.progress.start_queries(rank, candidates, queries);
        let progress = |_: usize, _: &milp::QueryReport| bar.inc(1);
        let control = Control { interrupt: Some(self.interrupt), progress: Some(&progress) };
        let report = milp::verify_network(&candidate.network, &domain, &specification, engine, &options, control)?;
        self.progress.end_queries();
        Ok(report)
    }
}

/// A network with all that its file has to say.
pub fn model(config: &Config, data: &DataSet, network: Network) -> Model {
    let features = data.features.iter().map(Feature::of_a_model).collect();
    Model { network, features, domain: data.domain(config.data.domain), target: data.target.clone() }
}

fn checkpoint_name(folder: &str, attempt: u32) -> String {
    format!("{folder}/attempt-{attempt}.safetensors")
}

fn spent_name(folder: &str) -> String {
    format!("{folder}/spent.json")
}
