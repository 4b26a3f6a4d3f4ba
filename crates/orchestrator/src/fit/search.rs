//! One training to its optimum, watched.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use certificate::{Domain, MonotoneFeatures};
use milp::training::{
    Certified, End, Fitted, Layer, LayerWeights, Mode, Optimum, Options, Problem, Round, Standing, Trained, Watch,
    train, train_certified,
};
use serde::Serialize;

use super::config::{Config, Form};
use super::samples::Samples;
use crate::error::Result;
use crate::progress::Progress;

/// Between two plain lines about how far it has come.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What all trainings of a run have in common.
pub struct Search<'a> {
    pub config: &'a Config,
    pub samples: &'a Samples,
    pub directions: Option<&'a MonotoneFeatures>,
    pub progress: &'a Progress,
    pub interrupt: &'a AtomicBool,
}

/// What one training found, certified or not.
pub struct Found {
    pub fitted: Option<Fitted>,
    /// The record of the training that it comes from; none where that was stopped.
    pub optimum: Option<Optimum>,
    pub mode: Mode,
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
    /// Whether it goes on until a network is certified.
    pub fn is_certified(&self) -> bool {
        self.config.monotone.as_ref().is_some_and(|monotone| monotone.form == Form::Certified)
    }

    /// Solves the problem. An interrupt ends it at once, with what is known by then.
    ///
    /// # Errors
    /// If it makes no sense or its constraints contradict each other.
    pub fn run(&self, problem: &Problem, start: Option<Vec<LayerWeights>>) -> Result<Found> {
        let (problem, options) = (problem.clone(), Options { start, ..self.config.options() });
        let solver = self.config.solver.name.get().expect("checked with the configuration");
        if let (Some(monotone), Some(directions), true) = (&self.config.monotone, self.directions, self.is_certified())
        {
            let domain = Domain::new(self.samples.input_box.clone(), Vec::new(), Vec::new())?;
            let (directions, rounds) = (directions.clone(), monotone.rounds);
            return self.watched(move |watch| {
                train_certified(&problem, &domain, &directions, solver, &options, rounds, watch).map(Found::from)
            });
        }
        self.watched(move |watch| train(&problem, solver, &options, watch).map(Found::from))
    }

    /// Does the work in a thread of its own: a solver in the middle of a programme cannot be stopped, only left behind.
    fn watched(&self, work: impl FnOnce(Watch) -> milp::Result<Found> + Send + 'static) -> Result<Found> {
        let begun = Instant::now();
        let bar = self.progress.start_search();
        let (to_here, news) = channel();
        let worker = thread::spawn(move || work(&|standing| drop(to_here.send(standing))));
        let (mut known, mut said) = (None, begun);
        let found = loop {
            match news.recv_timeout(LOOK_EVERY) {
                Ok(standing) => {
                    bar.set_message(line(&standing));
                    known = Some(standing);
                }
                Err(RecvTimeoutError::Timeout) => {}
                // It has ended.
                Err(RecvTimeoutError::Disconnected) => {
                    break worker.join().unwrap_or_else(|panic| resume_unwind(panic))?;
                }
            }
            if self.interrupt.load(Ordering::Relaxed) {
                break Found::from(known);
            }
            if bar.is_hidden() && said.elapsed() >= LINE_EVERY {
                said = Instant::now();
                let standing = known.as_ref().map(line).unwrap_or_default();
                self.progress.say(&format!("  {:>4.0} s  {standing}", begun.elapsed().as_secs_f64()));
            }
        };
        bar.finish_and_clear();
        Ok(found)
    }
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
    /// Whether no network is better by more than the gap allowed.
    pub fn is_optimal(&self, gap_tol: f64) -> bool {
        self.fitted.is_some() && self.gap.is_some_and(|gap| gap <= gap_tol)
    }

    /// Incumbent, bound and gap in one line.
    pub fn line(&self) -> String {
        let end = match &self.optimum {
            Some(optimum) => format!("{}, {:.1} s", word(&optimum.end), optimum.seconds),
            None => "no proof, no certificate".into(),
        };
        format!("{} ({end})", numbers(self.fitted.as_ref(), self.bound, self.gap))
    }
}

fn line(standing: &Standing) -> String {
    numbers(standing.best.as_ref(), standing.bound, gap(standing))
}

fn gap(standing: &Standing) -> Option<f64> {
    standing.best.as_ref().zip(standing.bound).map(|(best, bound)| (best.objective() - bound).max(0.0))
}

fn numbers(best: Option<&Fitted>, bound: Option<f64>, gap: Option<f64>) -> String {
    let number = |x: Option<f64>| x.map_or("none".to_owned(), |x| format!("{x:.6}"));
    format!("objective {}, bound {}, gap {}", number(best.map(Fitted::objective)), number(bound), number(gap))
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
    fn from(Trained { fitted, optimum }: Trained) -> Self {
        let (mode, bound, gap) = (optimum.mode, optimum.bound, optimum.gap);
        Self { fitted, optimum: Some(optimum), mode, bound, gap, by_anchors: None, rounds: Vec::new() }
    }
}

impl From<Certified> for Found {
    fn from(found: Certified) -> Self {
        let record = |round: Round| RoundRecord {
            objective: round.objective,
            bound: round.bound,
            verdict: round.verdict.as_ref().map(certificate::Verdict::word),
        };
        let (fitted, optimum) = found.trained.map(|trained| (trained.fitted, trained.optimum)).unzip();
        Self {
            fitted: fitted.flatten(),
            mode: optimum.as_ref().map_or(Mode::Exact, |optimum| optimum.mode),
            optimum,
            bound: found.bound,
            gap: found.gap,
            by_anchors: Some(found.by_anchors),
            rounds: found.rounds.into_iter().map(record).collect(),
        }
    }
}

/// A training that was stopped.
impl From<Option<Standing>> for Found {
    fn from(known: Option<Standing>) -> Self {
        let gap = known.as_ref().and_then(gap);
        let (fitted, bound, mode) = known.map_or((None, None, Mode::Exact), |s| (s.best, s.bound, s.mode));
        Self { fitted, optimum: None, mode, bound, gap, by_anchors: None, rounds: Vec::new() }
    }
}
