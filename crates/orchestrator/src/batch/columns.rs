//! The columns of a batch's table: what each is called, and what it says about a method.

use certificate::WeightPaths;
use serde::{Deserialize, Serialize};
use train::Scores;

use super::finished::{Finished, Line};
use crate::mean::{Mean, digits, signed};
use crate::summary::Summary;

/// A column, by the name that a sweep file has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// The name of the method.
    Method,
    /// Number of parameters.
    Parameters,
    /// How many seeds are finished.
    Seeds,
    /// How many of them are certified.
    Certified,
    /// The weight of the penalty in the end.
    Lambda,
    /// Score on the validation rows: mean and standard error.
    Validation,
    /// Score on the test rows: mean and standard error.
    Test,
    /// The 95 % interval of the mean test score.
    Interval,
    /// The best score of any epoch on the test rows, chosen there.
    BestTestEpoch,
    /// Test score minus that of the method to compare with, on the same seed.
    Difference,
    /// Seconds of training.
    Training,
    /// Seconds of certification.
    Certification,
    /// Seconds of the whole run.
    Seconds,
    /// Share of negative weight paths.
    NegativePaths,
    /// What was published.
    Published,
}

/// Shown where a sweep file asks for nothing, as far as there is something to show. As text they fit 160 characters, if methods
/// have names of at most 24.
pub const DEFAULT: [Column; 10] = [
    Column::Method,
    Column::Seeds,
    Column::Certified,
    Column::Lambda,
    Column::Validation,
    Column::Test,
    Column::BestTestEpoch,
    Column::Difference,
    Column::Seconds,
    Column::Published,
];

/// What the whole table is about.
pub struct About<'a> {
    /// The line that the others are compared with.
    pub against: Option<&'a Line<'a>>,
    /// Whether scores are over re-splits.
    pub resplits: bool,
    /// The unit of the scores, if it is the same everywhere.
    pub unit: Option<Unit>,
}

/// What a score is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Rows that were classified correctly, in per cent.
    Right,
    /// Root mean squared error of the scaled target.
    Rmse,
}

/// One entry of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// For people.
    pub text: String,
    /// The same for a spreadsheet, one for each of [`Column::parts`]; empty where there is nothing.
    pub values: Vec<String>,
}

impl Unit {
    /// The unit of the scores of some runs; `None` if there are none or they differ.
    pub fn of<'a>(finished: impl Iterator<Item = &'a Finished>) -> Option<Self> {
        let tested = finished.filter_map(|finished| finished.summary.test);
        let mut units = tested.map(|scores| if scores.accuracy.is_some() { Self::Right } else { Self::Rmse });
        let first = units.next()?;
        units.all(|unit| unit == first).then_some(first)
    }

    fn words(self) -> &'static str {
        match self {
            Self::Right => "% right",
            Self::Rmse => "scaled RMSE",
        }
    }

    fn sense(self) -> &'static str {
        match self {
            Self::Right => "(more is better)",
            Self::Rmse => "(less is better)",
        }
    }
}

impl Column {
    /// Its heading, a few words a line.
    pub fn head(self, about: &About) -> Vec<String> {
        let score = |words: &[&str]| {
            let unit = about.unit.map(Unit::words);
            let splits = about.resplits.then_some("over re-splits");
            words.iter().copied().chain(unit).chain(splits).map(String::from).collect()
        };
        let plain = |words: &[&str]| words.iter().copied().map(String::from).collect();
        match self {
            Self::Method => plain(&["method"]),
            Self::Parameters => plain(&["parameters"]),
            Self::Seeds => plain(&["seeds"]),
            Self::Certified => plain(&["certified"]),
            Self::Lambda => plain(&["lambda"]),
            Self::Validation => score(&["validation"]),
            Self::Test => score(&["test"]),
            Self::Interval => plain(&["95 % interval", "of test"]),
            Self::BestTestEpoch => score(&["best test epoch", "(chosen on test)"]),
            Self::Difference => {
                let than = about.against.map_or("", |line| line.method());
                let sense = about.unit.map(Unit::sense);
                let overlap = about.resplits.then_some("(± corrected for overlap)");
                let first = format!("test minus {than}");
                [&first[..]].into_iter().chain(sense).chain(overlap).map(String::from).collect()
            }
            Self::Training => plain(&["training", "seconds"]),
            Self::Certification => plain(&["certification", "seconds"]),
            Self::Seconds => plain(&["seconds"]),
            Self::NegativePaths => plain(&["negative", "paths (%)"]),
            Self::Published => plain(&["published"]),
        }
    }

    /// What its values in a spreadsheet are called beside its heading.
    pub fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Method | Self::Published => &[""],
            Self::Seeds => &["finished", "asked for"],
            Self::Certified => &["by proof", "by construction"],
            Self::Interval => &["from", "to"],
            Self::Validation | Self::Test | Self::BestTestEpoch | Self::NegativePaths => &["mean", "standard error"],
            Self::Difference => &["mean", "standard error", "corrected standard error", "seeds"],
            Self::Parameters | Self::Lambda | Self::Training | Self::Certification | Self::Seconds => {
                &["least", "most"]
            }
        }
    }

    /// What it says about a method.
    pub fn cell(self, line: &Line, about: &About) -> Cell {
        let found = match self {
            Self::Method => Some(Cell::word(line.method())),
            Self::Published => Some(Cell::word(line.published())),
            Self::Seeds => Some(seeds(line)),
            Self::Certified => certified(line),
            Self::Parameters => range(&line.values(|f| f.parameters.map(|n| n as f64)), plain),
            Self::Lambda => range(&line.values(|f| f.summary.lambda), plain),
            Self::Validation => mean(&scores(line, |summary| summary.validation), digits),
            Self::Test => mean(&scores(line, |summary| summary.test), digits),
            Self::BestTestEpoch => mean(&scores(line, |summary| summary.best_test_epoch), digits),
            Self::Interval => interval(&scores(line, |summary| summary.test)),
            Self::Difference => about.against.and_then(|against| difference(line, against)),
            Self::Training => range(&line.values(|f| f.summary.training_seconds), seconds),
            Self::Certification => range(&line.values(|f| f.summary.certification_seconds), seconds),
            Self::Seconds => range(&line.values(|f| Some(f.summary.seconds)), seconds),
            Self::NegativePaths => {
                let share = |paths: &WeightPaths| paths.negative_share().map(|share| 100.0 * share);
                mean(&line.values(|f| f.paths.as_ref().and_then(share)), |_| 1)
            }
        };
        found.unwrap_or_else(|| Cell { text: "-".into(), values: vec![String::new(); self.parts().len()] })
    }
}

impl Cell {
    fn word(text: &str) -> Self {
        Self { text: text.into(), values: vec![text.into()] }
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(String::is_empty)
    }
}

fn seeds(line: &Line) -> Cell {
    let (done, asked) = (line.finished().count(), line.asked());
    let text = if done == asked { asked.to_string() } else { format!("{done} of {asked}") };
    Cell { text, values: vec![done.to_string(), asked.to_string()] }
}

fn certified(line: &Line) -> Option<Cell> {
    let all = line.finished().count();
    let count = |verdict: &str| line.finished().filter(|finished| finished.summary.verdict == verdict).count();
    let (proved, built) = (count("certified"), count("by construction"));
    let text = match all {
        0 => return None,
        _ if built == all => "by construction".into(),
        _ if count("none") == all => "none".into(),
        _ => format!("{proved} of {all}"),
    };
    Some(Cell { text, values: vec![proved.to_string(), built.to_string()] })
}

/// Per cent right, or the error.
fn score(scores: Scores) -> Option<f64> {
    scores.accuracy.map(|accuracy| 100.0 * accuracy).or(scores.rmse)
}

fn scores(line: &Line, pick: fn(&Summary) -> Option<Scores>) -> Vec<f64> {
    line.values(|finished| pick(&finished.summary).and_then(score))
}

fn plain(x: f64) -> String {
    x.to_string()
}

fn seconds(x: f64) -> String {
    if x < 10.0 { format!("{x:.1}") } else { format!("{x:.0}") }
}

fn range(values: &[f64], word: fn(f64) -> String) -> Option<Cell> {
    let low = values.iter().copied().min_by(f64::total_cmp)?;
    let high = values.iter().copied().max_by(f64::total_cmp)?;
    let (from, to) = (word(low), word(high));
    let text = if from == to { from } else { format!("{from} to {to}") };
    Some(Cell { text, values: vec![plain(low), plain(high)] })
}

fn mean(values: &[f64], digits: fn(f64) -> usize) -> Option<Cell> {
    let mean = Mean::of(values)?;
    let digits = digits(mean.value);
    let error = mean.standard_error();
    let error_text = error.map_or(String::new(), |error| format!(" ± {error:.digits$}"));
    let values = vec![plain(mean.value), error.map_or(String::new(), plain)];
    Some(Cell { text: format!("{:.digits$}{error_text}", mean.value), values })
}

fn interval(values: &[f64]) -> Option<Cell> {
    let mean = Mean::of(values)?;
    let digits = digits(mean.value);
    let (lower, upper) = mean.interval()?;
    Some(Cell { text: format!("{lower:.digits$} to {upper:.digits$}"), values: vec![plain(lower), plain(upper)] })
}

/// The difference to another method over the seeds that both have.
fn difference(line: &Line, against: &Line) -> Option<Cell> {
    let pairs = line.pairs(against);
    let test = |finished: &Finished| finished.summary.test.and_then(score);
    let both: Vec<_> = pairs.into_iter().filter_map(|(ours, theirs)| Some((test(ours)?, test(theirs)?))).collect();
    let mean = Mean::of(&both.iter().map(|(ours, theirs)| ours - theirs).collect::<Vec<_>>())?;
    let digits = digits(both[0].0);
    let error = mean.standard_error();
    let corrected =
        line.resplit().and_then(|sizes| mean.corrected_standard_error(sizes.test_rows, sizes.training_rows));
    let mut text = signed(mean.value, digits);
    text += &error.map_or(String::new(), |error| format!(" ± {error:.digits$}"));
    text += &corrected.map_or(String::new(), |error| format!(" (± {error:.digits$})"));
    if mean.count < line.finished().count() {
        text += &format!(", {} seeds", mean.count);
    }
    let number = |x: Option<f64>| x.map_or(String::new(), plain);
    Some(Cell { text, values: vec![plain(mean.value), number(error), number(corrected), mean.count.to_string()] })
}
