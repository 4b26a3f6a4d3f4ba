//! What is seen while a run goes on: bars on a terminal, a line now and then elsewhere, all on standard error.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use train::Epoch;

/// Shows where a run is.
pub struct Progress {
    bars: Option<Bars>,
    quiet: bool,
    last_line: Instant,
}

struct Bars {
    all: MultiProgress,
    epochs: ProgressBar,
    queries: ProgressBar,
}

/// Between two plain lines about epochs.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl Progress {
    /// Bars if standard error is a terminal, plain lines otherwise, nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let bars = (!quiet && stderr().is_terminal()).then(|| {
            let all = MultiProgress::new();
            let style = |template| ProgressStyle::with_template(template).expect("a template of known keys");
            let bar = |template| all.add(ProgressBar::no_length().with_style(style(template)));
            let epochs = bar("{prefix:>12} [{bar:30}] {pos:>4}/{len} epochs  {msg}  {eta} left");
            let queries = bar("{prefix:>12} [{bar:30}] {pos:>4}/{len} queries {msg}");
            Bars { all, epochs, queries }
        });
        Self { bars, quiet, last_line: Instant::now() }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match &self.bars {
            // A terminal that went away must not stop the run.
            Some(bars) => drop(bars.all.println(line)),
            None if !self.quiet => eprintln!("{line}"),
            None => {}
        }
    }

    /// A round begins to train.
    pub fn start_training(&mut self, round: u32, lambda: f64, done: u32, epochs: u32) {
        self.say(&format!("round {}: training at lambda = {lambda}", round + 1));
        self.start_epochs(&format!("round {}", round + 1), done, epochs);
    }

    /// The first of some epochs begins.
    pub fn start_epochs(&mut self, of: &str, done: u32, epochs: u32) {
        if let Some(bars) = &self.bars {
            bars.epochs.set_length(epochs.into());
            bars.epochs.set_prefix(of.to_owned());
            bars.epochs.reset();
            bars.epochs.set_position(done.into());
        }
        self.last_line = Instant::now();
    }

    /// An epoch ended; `certified` is the best certified one so far.
    pub fn epoch(&mut self, epoch: &Epoch, epochs: u32, certified: Option<&Epoch>) {
        let score = |epoch: &Epoch| match (epoch.validation.accuracy, epoch.validation.rmse) {
            (Some(accuracy), _) => format!("accuracy {:.2} %", 100.0 * accuracy),
            (_, Some(rmse)) => format!("rmse {rmse:.4}"),
            _ => String::new(),
        };
        let best = certified.map_or(String::new(), |best| format!("  certified {}", score(best)));
        let score = score(epoch);
        let line = format!("loss {:.4}  penalty {:.2e}  validation {score}{best}", epoch.loss, epoch.penalty);
        match &self.bars {
            Some(bars) => {
                bars.epochs.set_position(u64::from(epoch.epoch) + 1);
                bars.epochs.set_message(line);
            }
            None => {
                let last = epoch.epoch + 1 == epochs;
                if last || self.last_line.elapsed() >= LINE_EVERY {
                    self.say(&format!("  epoch {:>4}/{epochs}  {line}", epoch.epoch + 1));
                    self.last_line = Instant::now();
                }
            }
        }
    }

    /// The training of a round ended.
    pub fn end_training(&self) {
        if let Some(bars) = &self.bars {
            bars.epochs.finish_and_clear();
        }
    }

    /// The candidate of this rank is about to be verified; the bar returned may be moved from any thread.
    pub fn start_queries(&self, rank: usize, candidates: usize, queries: usize) -> ProgressBar {
        match &self.bars {
            Some(bars) => {
                bars.queries.set_length(queries as u64);
                bars.queries.set_message(format!("of candidate {} of {candidates}", rank + 1));
                bars.queries.set_prefix("verifying");
                bars.queries.reset();
                bars.queries.clone()
            }
            None => ProgressBar::hidden(),
        }
    }

    /// A batch begins, of which so many runs are finished already.
    pub fn start_runs(&self, runs: usize, finished: usize) -> ProgressBar {
        let Some(bars) = &self.bars else { return ProgressBar::hidden() };
        let template = "{prefix:>12} [{bar:30}] {pos:>4}/{len} runs  {msg}  {elapsed} so far, {eta} left";
        let style = ProgressStyle::with_template(template).expect("a template of known keys");
        let bar = bars.all.add(ProgressBar::new(runs as u64).with_style(style).with_prefix("batch"));
        bar.set_position(finished as u64);
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(500));
        bar
    }

    /// Boosted trees are about to be tuned by so many fits; the bar returned may be moved from any thread.
    pub fn start_tuning(&self, what: &str, fits: usize) -> ProgressBar {
        self.say(what);
        let Some(bars) = &self.bars else { return ProgressBar::hidden() };
        let template = "{prefix:>12} [{bar:30}] {pos:>4}/{len} fits  {eta} left";
        let style = ProgressStyle::with_template(template).expect("a template of known keys");
        bars.all.add(ProgressBar::new(fits as u64).with_style(style).with_prefix("trees"))
    }

    /// A smooth programme is about to be attacked from many points; the bar returned may be moved from any thread.
    pub fn start_starts(&self, starts: u32) -> ProgressBar {
        let Some(bars) = &self.bars else { return ProgressBar::hidden() };
        let template = "{prefix:>12} [{bar:30}] {pos:>4}/{len} starts  {msg}  {eta} left";
        let style = ProgressStyle::with_template(template).expect("a template of known keys");
        let bar = ProgressBar::new(starts.into()).with_style(style).with_prefix("training");
        bars.all.add(bar)
    }

    /// A programme is about to be solved, and nobody knows how far that is; the bar returned may be moved from any thread.
    pub fn start_search(&self) -> ProgressBar {
        let Some(bars) = &self.bars else { return ProgressBar::hidden() };
        let style =
            ProgressStyle::with_template("{prefix:>12} {spinner} {elapsed}  {msg}").expect("a template of known keys");
        let bar = bars.all.add(ProgressBar::new_spinner().with_style(style).with_prefix("solving"));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// All queries were decided.
    pub fn end_queries(&self) {
        if let Some(bars) = &self.bars {
            bars.queries.finish_and_clear();
        }
    }
}
