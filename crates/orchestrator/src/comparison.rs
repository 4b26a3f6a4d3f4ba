//! Which of two methods is better, and how sure one can be of it: paired comparisons over splits of the same rows.
//!
//! Both methods are scored on the same test rows of each split, so what makes a split easy or hard cancels in the
//! difference. Over several random re-splits the differences have a mean and a standard error, `s / sqrt(n)`. What this
//! can and cannot show:
//!
//! - Re-splits draw their test rows from the same table and share most of their training rows, so their differences are
//!   not independent and the standard error is too small. [`Summary::corrected_standard_error`] corrects for that
//!   (Nadeau and Bengio 2003); it is known to be rather too large. A difference that is clear by the second
//!   is clear; one that is not clear by the first is nothing.
//! - On one split, [`Paired::standard_error`] says how much the difference would vary with other test rows and other seeds. The
//!   spread over seeds alone, which is what tables of one split usually print, leaves the rows out, and they are the larger part.
//! - All of it is about this table: methods of which one is better here may be the other way round elsewhere.
//! - The discordant counts of one split say how many rows one method got right and the other wrong. Where they are few or
//!   alike, an accuracy that differs by a point means little. Their exact test (McNemar) is about the two *fitted models*
//!   and these test rows, not about methods: another seed gives another model. Summed over re-splits the counts describe,
//!   but are not tested, because a row is in the test part of several splits.
//! - Whoever compares many variants and reports the best has chosen on the test rows. Choose on validation rows, and use
//!   this once.
//!
//! Everything here is a pure function of predictions.

use serde::{Deserialize, Serialize};
use train::Scores;
use train::data::Task;

use crate::mean::Mean;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Rows classified correctly, in per cent: more is better.
    AccuracyPercent,
    /// Root mean squared error in the unit of the target: less is better.
    Rmse,
}

impl Metric {
    /// The one of a task.
    pub fn of(task: Task) -> Self {
        match task {
            Task::Binary => Self::AccuracyPercent,
            Task::Regression { .. } => Self::Rmse,
        }
    }

    /// How it is called in a table, with what is better.
    pub fn words(self) -> &'static str {
        match self {
            Self::AccuracyPercent => "per cent right, more is better",
            Self::Rmse => "root mean squared error in the unit of the target, less is better",
        }
    }
}

/// The score of predictions: the accuracy in per cent, or the error in the unit of the target. The latter because a fitted
/// range of the target, and with it the scaled error, differs between splits.
///
/// # Panics
/// If there are no rows, or not as many outputs as targets.
pub fn score(task: Task, outputs: &[f64], y: &[f32]) -> f64 {
    let scores = Scores::of_f64(task, outputs, y);
    match task {
        Task::Binary => 100.0 * scores.accuracy.expect("a binary target has an accuracy"),
        Task::Regression { range } => scores.rmse.expect("a number has an error") * (range.upper - range.lower),
    }
}

/// The mean of several models' outputs, row by row: their ensemble.
///
/// # Panics
/// If there is no model, or they are not about the same rows.
pub fn ensemble(outputs: &[Vec<f64>]) -> Vec<f64> {
    assert!(outputs.iter().all(|model| model.len() == outputs[0].len()));
    (0..outputs[0].len()).map(|row| mean(outputs.iter().map(|model| model[row]))).collect()
}

/// Two methods on the test rows of one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paired {
    /// Score of the first, the mean over its models.
    pub first: f64,
    /// Score of the second.
    pub second: f64,
    /// First minus second.
    pub difference: f64,
    /// How much the difference would vary with other test rows, and with other seeds if there are several: both are drawn at
    /// random and crossed, each seed being scored on every row. None of a single row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
    /// For a binary target, on how many rows they disagree; of several models the sum over the pairs with the same place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discordant: Option<Discordant>,
}

/// Rows on which only one of two classifiers is right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discordant {
    /// The first is right and the second wrong.
    pub only_first: u64,
    /// The second is right and the first wrong.
    pub only_second: u64,
}

impl Paired {
    /// Compares models on the same test rows; per method one vector of outputs for each of its models, in the same order
    /// of seeds.
    ///
    /// # Panics
    /// If the numbers of models differ or are 0, or the numbers of outputs and targets differ.
    pub fn new(task: Task, first: &[Vec<f64>], second: &[Vec<f64>], y: &[f32]) -> Self {
        assert!(!first.is_empty() && first.len() == second.len());
        let score_of = |models: &[Vec<f64>]| mean(models.iter().map(|outputs| score(task, outputs, y)));
        let pairs = || first.iter().zip(second).map(|(a, b)| Discordant::count(a, b, y));
        let (a, b) = (score_of(first), score_of(second));
        Self {
            first: a,
            second: b,
            difference: a - b,
            standard_error: crossed_standard_error(&contributions(task, first, second, y)),
            discordant: (task == Task::Binary).then(|| Discordant::sum(pairs())),
        }
    }
}

/// What each row adds to the difference of scores, for each pair of models, up to a constant. Of the accuracy it is 100 where only
/// the first is right, -100 where only the second is. The root of a mean square varies to first order as `e^2 / (2 rmse)`.
fn contributions(task: Task, first: &[Vec<f64>], second: &[Vec<f64>], y: &[f32]) -> Vec<Vec<f64>> {
    let of = |outputs: &[f64]| -> Vec<f64> {
        match task {
            Task::Binary => {
                outputs.iter().zip(y).map(|(output, y)| if is_right(*output, *y) { 100.0 } else { 0.0 }).collect()
            }
            Task::Regression { range } => {
                let rmse = score(task, outputs, y);
                let width = range.upper - range.lower;
                let squares = outputs.iter().zip(y).map(|(output, y)| (width * (output - f64::from(*y))).powi(2));
                squares.map(|square| if rmse > 0.0 { square / (2.0 * rmse) } else { 0.0 }).collect()
            }
        }
    };
    let pairs = first.iter().zip(second);
    pairs.map(|(a, b)| of(a).iter().zip(of(b)).map(|(a, b)| a - b).collect()).collect()
}

/// The standard error of the mean over all of `values[seed][row]`, seeds and rows both being random samples: the variance
/// over rows plus that over seeds minus that of what neither explains, which is in both (the two-way clustering of Cameron,
/// Gelbach and Miller 2011). With one seed, over rows alone. `None` of fewer than two rows.
fn crossed_standard_error(values: &[Vec<f64>]) -> Option<f64> {
    let seeds: Vec<f64> = values.iter().map(|of_seed| mean(of_seed.iter().copied())).collect();
    let rows: Vec<f64> = (0..values[0].len()).map(|row| mean(values.iter().map(|of_seed| of_seed[row]))).collect();
    let square = |values: &[f64]| Some(Mean::of(values)?.standard_error()?.powi(2));
    let over_rows = square(&rows)?;
    let Some(over_seeds) = square(&seeds) else { return Some(over_rows.sqrt()) };
    let centre = mean(seeds.iter().copied());
    let unexplained = |(of_seed, seed): (&Vec<f64>, &f64)| -> f64 {
        of_seed.iter().zip(&rows).map(|(value, row)| (value - seed - row + centre).powi(2)).sum()
    };
    let (n, m) = (rows.len() as f64, seeds.len() as f64);
    let within = values.iter().zip(&seeds).map(unexplained).sum::<f64>() / ((n - 1.0) * (m - 1.0) * n * m);
    // Never less than either alone: an estimated variance of nothing may come out negative.
    Some((over_rows + over_seeds - within).max(over_rows).max(over_seeds).sqrt())
}

/// Whether an output is on the right side of the decision.
pub fn is_right(output: f64, y: f32) -> bool {
    (output > 0.0) == (y > 0.5)
}

impl Discordant {
    fn count(first: &[f64], second: &[f64], y: &[f32]) -> Self {
        let mut counts = Self::default();
        for ((a, b), y) in first.iter().zip(second).zip(y) {
            match (is_right(*a, *y), is_right(*b, *y)) {
                (true, false) => counts.only_first += 1,
                (false, true) => counts.only_second += 1,
                _ => {}
            }
        }
        counts
    }

    fn sum(counts: impl Iterator<Item = Self>) -> Self {
        counts.fold(Self::default(), |sum, next| Self {
            only_first: sum.only_first + next.only_first,
            only_second: sum.only_second + next.only_second,
        })
    }

    /// The two-sided exact test of McNemar: how probable counts at least as uneven are if each discordant row falls to
    /// either side like a coin. Of one pair of models on one split only; see the module's text.
    pub fn p_value(&self) -> f64 {
        let (fewer, all) = (self.only_first.min(self.only_second), self.only_first + self.only_second);
        // Logarithms of binomial coefficients over 2^all, because the numbers themselves leave the range of `f64`.
        let mut log_term = -(all as f64) * std::f64::consts::LN_2;
        let mut tail = 0.0;
        for k in 0..=fewer {
            tail += log_term.exp();
            log_term += ((all - k) as f64).ln() - ((k + 1) as f64).ln();
        }
        (2.0 * tail).min(1.0)
    }
}

/// Two methods over several re-splits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Number of re-splits.
    pub splits: usize,
    /// Mean score of the first.
    pub first: f64,
    /// Mean score of the second.
    pub second: f64,
    /// Mean of first minus second.
    pub difference: f64,
    /// Sample standard deviation of the differences over the root of their number; none of a single one.
    pub standard_error: Option<f64>,
    /// The same with `1/n + test rows / training rows` in place of `1/n`.
    pub corrected_standard_error: Option<f64>,
    /// Sums over the re-splits; described, not tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discordant: Option<Discordant>,
}

impl Summary {
    /// Sums up re-splits, each with so many test rows and other rows. `None` if there are none.
    pub fn of(splits: &[Paired], test_rows: usize, training_rows: usize) -> Option<Self> {
        let of = |value: fn(&Paired) -> f64| mean(splits.iter().map(value));
        let difference = Mean::of(&splits.iter().map(|s| s.difference).collect::<Vec<_>>())?;
        let counts = splits.iter().map(|s| s.discordant).collect::<Option<Vec<_>>>();
        Some(Self {
            splits: splits.len(),
            first: of(|s| s.first),
            second: of(|s| s.second),
            difference: difference.value,
            standard_error: difference.standard_error(),
            corrected_standard_error: difference.corrected_standard_error(test_rows, training_rows),
            discordant: counts.map(|counts| Discordant::sum(counts.into_iter())),
        })
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use certificate::Interval;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const MONEY: Task = Task::Regression { range: Interval { lower: 100.0, upper: 300.0 } };

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12 * expected.abs().max(1.0), "{found} instead of {expected}");
    }

    #[test]
    fn scores_are_in_per_cent_and_in_the_targets_unit() {
        near(score(Task::Binary, &[2.0, -1.0, 0.0, 3.0], &[1.0, 0.0, 1.0, 0.0]), 50.0);
        // Errors of 0.1 and 0.3 of a range of 200: the root of (400 + 3600) / 2.
        assert!((score(MONEY, &[0.5, 0.5], &[0.6, 0.2]) - 2000.0_f64.sqrt()).abs() < 1e-5);
    }

    /// Right and wrong by hand: the first is right on rows 1, 2, 3 and 5, the second on rows 1, 4 and 5.
    #[test]
    fn discordant_rows_are_counted() {
        let y = [1.0, 0.0, 1.0, 0.0, 1.0, 1.0];
        let first = vec![1.0, -1.0, 1.0, 1.0, 1.0, -1.0];
        let second = vec![1.0, 1.0, -1.0, -1.0, 1.0, -1.0];
        let paired = Paired::new(Task::Binary, std::slice::from_ref(&first), std::slice::from_ref(&second), &y);
        near(paired.first, 400.0 / 6.0);
        near(paired.second, 50.0);
        near(paired.difference, 100.0 / 6.0);
        assert_eq!(paired.discordant, Some(Discordant { only_first: 2, only_second: 1 }));

        // With two seeds the scores are means and the counts sums over pairs.
        let two = Paired::new(Task::Binary, &[first.clone(), second.clone()], &[second.clone(), second], &y);
        near(two.first, (400.0 / 6.0 + 50.0) / 2.0);
        assert_eq!(two.discordant, Some(Discordant { only_first: 2, only_second: 1 }));
    }

    /// One pair: 100 times the standard deviation of what five rows add, over the root of five. Several seeds: by the textbook's
    /// analysis of variance of a table of two seeds and three rows.
    #[test]
    fn errors_over_rows_and_seeds_by_hand() {
        let paired =
            Paired::new(Task::Binary, &[vec![1.0; 5]], &[vec![1.0, 1.0, -1.0, -1.0, 1.0]], &[1.0, 1.0, 1.0, 0.0, 1.0]);
        // 0, 0, 1, -1, 0: variance 2 / 4.
        near(paired.standard_error.unwrap(), 100.0 * (0.5_f64 / 5.0).sqrt());

        // Row means 2, 4, 9 (variance 13), seed means 3, 7 (variance 8), the mean 5; what is left is 0, -1, 1 and 0, 1, -1
        // (sum of squares 4, two degrees of freedom).
        let table = [vec![0.0, 1.0, 8.0], vec![4.0, 7.0, 10.0]];
        near(crossed_standard_error(&table).unwrap(), (13.0_f64 / 3.0 + 8.0 / 2.0 - 2.0 / 6.0).sqrt());
        // A seed that is there twice tells nothing about other seeds.
        near(crossed_standard_error(&[table[0].clone(), table[0].clone()]).unwrap(), (19.0_f64 / 3.0).sqrt());
        assert_eq!(crossed_standard_error(&[vec![1.0]]), None);
        assert_eq!(Paired::new(MONEY, &[vec![0.5, 0.5]], &[vec![0.5, 0.5]], &[0.5, 0.5]).standard_error, Some(0.0));
    }

    /// The error of an error, which is linearised, against the bootstrap.
    #[test]
    fn the_error_over_rows_is_that_of_the_bootstrap() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut column = |spread: f64| (0..400).map(|_| spread * random.random_range(-1.0..1.0)).collect::<Vec<f64>>();
        let (first, second, y) = (column(0.6), column(1.0), column(0.5));
        let y: Vec<f32> = y.iter().map(|y| *y as f32).collect();
        let paired = |rows: &[usize]| {
            let of = |values: &[f64]| vec![rows.iter().map(|row| values[*row]).collect::<Vec<_>>()];
            Paired::new(MONEY, &of(&first), &of(&second), &rows.iter().map(|row| y[*row]).collect::<Vec<_>>())
        };
        let drawn: Vec<f64> = (0..2000)
            .map(|_| paired(&(0..400).map(|_| random.random_range(0..400)).collect::<Vec<_>>()).difference)
            .collect();
        let centre = mean(drawn.iter().copied());
        let bootstrap = mean(drawn.iter().map(|d| (d - centre).powi(2))).sqrt();
        let error = paired(&(0..400).collect::<Vec<_>>()).standard_error.unwrap();
        assert!((error / bootstrap - 1.0).abs() < 0.06, "{error} and {bootstrap}");
    }

    #[test]
    fn an_ensemble_is_the_mean_of_the_outputs() {
        assert_eq!(ensemble(&[vec![1.0, -4.0], vec![3.0, 1.0]]), [2.0, -1.5]);
    }

    #[test]
    fn mcnemar_by_hand() {
        let p = |only_first, only_second| Discordant { only_first, only_second }.p_value();
        near(p(0, 0), 1.0);
        near(p(3, 3), 1.0);
        near(p(0, 5), 2.0 / 32.0);
        // (1 + 10 + 45) / 2^10, twice.
        near(p(8, 2), 112.0 / 1024.0);
        near(p(2, 8), 112.0 / 1024.0);
        // Far beyond where 2^-n is 0 in `f64`; the value is from integer arithmetic.
        assert!((p(1550, 1450) - 0.070_669_044_811_8).abs() < 1e-9);
    }

    /// Differences 1, 3 and -1: mean 1, sample variance 4.
    #[test]
    fn summary_by_hand() {
        let split = |first: f64, second: f64, a, b| Paired {
            first,
            second,
            difference: first - second,
            standard_error: None,
            discordant: Some(Discordant { only_first: a, only_second: b }),
        };
        let splits = [split(70.0, 69.0, 5, 4), split(71.0, 68.0, 9, 6), split(68.0, 69.0, 1, 2)];
        let summary = Summary::of(&splits, 20, 80).unwrap();
        near(summary.first, 209.0 / 3.0);
        near(summary.second, 206.0 / 3.0);
        near(summary.difference, 1.0);
        near(summary.standard_error.unwrap(), (4.0_f64 / 3.0).sqrt());
        near(summary.corrected_standard_error.unwrap(), (4.0_f64 * (1.0 / 3.0 + 0.25)).sqrt());
        assert_eq!(summary.discordant, Some(Discordant { only_first: 15, only_second: 12 }));

        assert_eq!(Summary::of(&[], 20, 80), None);
        let one = Summary::of(&splits[..1], 20, 80).unwrap();
        assert_eq!((one.difference, one.standard_error, one.corrected_standard_error), (1.0, None, None));
    }

    fn predictions() -> impl Strategy<Value = (Vec<Vec<f64>>, Vec<Vec<f64>>, Vec<f32>)> {
        (1..4_usize, 1..30_usize).prop_flat_map(|(seeds, rows)| {
            let outputs = || prop::collection::vec(prop::collection::vec(-2.0..2.0, rows), seeds);
            (outputs(), outputs(), prop::collection::vec(prop::sample::select(vec![0.0_f32, 1.0]), rows))
        })
    }

    proptest! {
        /// Swapping the methods negates every difference, swaps the counts and changes no error and no probability.
        #[test]
        fn swapping_negates(splits in prop::collection::vec(predictions(), 1..5), binary: bool) {
            let task = if binary { Task::Binary } else { MONEY };
            let mut both = [Vec::new(), Vec::new()];
            for (first, second, y) in &splits {
                let forth = Paired::new(task, first, second, y);
                let back = Paired::new(task, second, first, y);
                prop_assert_eq!(forth.difference, -back.difference);
                prop_assert_eq!(forth.discordant.is_some(), binary);
                match (forth.standard_error, back.standard_error) {
                    (Some(f), Some(b)) => prop_assert!((f - b).abs() <= 1e-9 * f.max(1.0)),
                    (f, b) => prop_assert!(f == b && y.len() == 1),
                }
                if let (Some(f), Some(b)) = (forth.discordant, back.discordant) {
                    prop_assert_eq!((f.only_first, f.only_second), (b.only_second, b.only_first));
                    prop_assert_eq!(f.p_value(), b.p_value());
                    // Only the rows on which they disagree make a difference.
                    let pairs = (y.len() * first.len()) as f64;
                    let by_counts = 100.0 * (f.only_first as f64 - f.only_second as f64) / pairs;
                    prop_assert!((forth.difference - by_counts).abs() < 1e-9);
                }
                both[0].push(forth);
                both[1].push(back);
            }
            let [forth, back] = both.map(|splits| Summary::of(&splits, 1, 4).unwrap());
            prop_assert_eq!(forth.difference, -back.difference);
            prop_assert_eq!(forth.standard_error, back.standard_error);
            prop_assert_eq!(forth.corrected_standard_error, back.corrected_standard_error);
        }
    }
}
