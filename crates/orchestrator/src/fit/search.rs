//! One training to its optimum, with a clock.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use certificate::{Domain, MonotoneFeatures};
use milp::training::{
    Certified, End, Fitted, Layer, LayerWeights, Options, Problem, Round, Trained, train, train_certified,
};
use serde::Serialize;

use super::config::{Config, Form};
use super::samples::Samples;
use crate::error::Result;
use crate::progress::Progress;

/// Between two plain lines of the clock.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What all trainings of a run have in common.
pub struct Search<'a> {
    pub config: &'a Config,
    pub samples: &'a Samples,
    pub directions: Option<&'a MonotoneFeatures>,
}

/// What one training found, certified or not.
pub struct Found {
    pub trained: Option<Trained>,
    /// No network is better; in certified training, no monotone one.
    pub bound: Option<f64>,
    pub gap: Option<f64>,
    /// Of certified training.
    pub by_anchors: Option<bool>,
    pub rounds: Vec<RoundRecord>,
}

/// A round of certified training.
#[derive(Serialize)]
pub struct RoundRecord {
    pub objective: Option<f64>,
    pub bound: Option<f64>,
    /// What was found out about the network.
    pub verdict: Option<&'static str>,
}

impl Search<'_> {
    /// Solves the problem.
    ///
    /// # Errors
    /// If it makes no sense or its constraints contradict each other.
    pub fn run(&self, problem: &Problem, start: Option<Vec<LayerWeights>>, progress: &Progress) -> Result<Found> {
        let options = Options { start, ..self.config.options() };
        let solver = self.config.solver.name.get().expect("checked with the configuration");
        with_clock(progress, || match (&self.config.monotone, self.directions) {
            (Some(monotone), Some(directions)) if monotone.form == Form::Certified => {
                let domain = Domain::new(self.samples.input_box.clone(), Vec::new(), Vec::new())?;
                let verification = milp::Options::default();
                let found =
                    train_certified(problem, &domain, directions, solver, &options, &verification, monotone.rounds)?;
                Ok(found.into())
            }
            _ => Ok(train(problem, solver, &options)?.into()),
        })
    }
}

/// Does something that takes a while, and says so.
fn with_clock<T>(progress: &Progress, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let bar = progress.start_search();
    thread::scope(|scope| {
        let (end, ended) = channel::<()>();
        scope.spawn(move || {
            while ended.recv_timeout(LINE_EVERY) == Err(RecvTimeoutError::Timeout) {
                if bar.is_hidden() {
                    progress.say(&format!("  {:>4.0} s", begun.elapsed().as_secs_f64()));
                }
            }
            bar.finish_and_clear();
        });
        let done = work();
        drop(end);
        done
    })
}

/// Sets `l1` in every layer where it is above 0.
pub fn penalise(layers: &mut [Layer], l1: f64) {
    for layer in layers {
        match layer {
            Layer::Dense(parameters) | Layer::Convolution(_, parameters) if parameters.l1 > 0.0 => parameters.l1 = l1,
            Layer::Optional { layers, .. } => penalise(layers, l1),
            _ => {}
        }
    }
}

impl Found {
    /// The network with what it costs.
    pub fn fitted(&self) -> Option<&Fitted> {
        self.trained.as_ref()?.fitted.as_ref()
    }

    /// Whether no network is better by more than the gap allowed.
    pub fn is_optimal(&self, gap_tol: f64) -> bool {
        self.fitted().is_some() && self.gap.is_some_and(|gap| gap <= gap_tol)
    }

    /// Incumbent, bound and gap in one line.
    pub fn line(&self) -> String {
        let number = |x: Option<f64>| x.map_or("none".to_owned(), |x| format!("{x:.6}"));
        let objective = number(self.fitted().map(Fitted::objective));
        let end = self.trained.as_ref().map_or("nothing certified", |trained| word(&trained.optimum.end));
        let seconds = self.trained.as_ref().map_or(String::new(), |t| format!(", {:.1} s", t.optimum.seconds));
        format!("objective {objective}, bound {}, gap {} ({end}{seconds})", number(self.bound), number(self.gap))
    }
}

/// How a training ended, in words.
pub fn word(end: &End) -> &'static str {
    match end {
        End::Optimal => "proven optimal",
        End::TimeLimit => "time limit",
        End::Relaxed => "relaxation solved",
        End::Numerical(_) => "numerical trouble",
    }
}

impl From<Trained> for Found {
    fn from(trained: Trained) -> Self {
        let (bound, gap) = (trained.optimum.bound, trained.optimum.gap);
        Self { trained: Some(trained), bound, gap, by_anchors: None, rounds: Vec::new() }
    }
}

impl From<Certified> for Found {
    fn from(found: Certified) -> Self {
        let record = |round: Round| RoundRecord {
            objective: round.objective,
            bound: round.bound,
            verdict: round.verdict.as_ref().map(certificate::Verdict::word),
        };
        Self {
            trained: found.trained,
            bound: found.bound,
            gap: found.gap,
            by_anchors: Some(found.by_anchors),
            rounds: found.rounds.into_iter().map(record).collect(),
        }
    }
}
