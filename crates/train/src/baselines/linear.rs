//! Logistic or linear regression on the scaled features, without any constraint: what a table gains from all the rest.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Scores;
use crate::data::{DataSet, Part, Task};
use crate::lbfgs::{Limits, minimise};

/// A linear model: its output is a logit, or the scaled target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// One per feature.
    pub weights: Vec<f64>,
    /// The output where every feature is 0.
    pub bias: f64,
}

impl Linear {
    /// The output at one point.
    ///
    /// # Shapes
    /// One value per feature.
    pub fn output(&self, x: &[f32]) -> f64 {
        self.weights.iter().zip(x).fold(self.bias, |sum, (w, x)| sum + w * f64::from(*x))
    }

    /// One output per row.
    pub fn outputs(&self, part: &Part) -> Vec<f64> {
        part.x.chunks(self.weights.len()).map(|x| self.output(x)).collect()
    }
}

/// A model with the weight of its L2 penalty and what speaks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// Weight of the penalty.
    pub l2: f64,
    /// On the validation rows.
    pub validation: Scores,
    /// The model, fitted on the fitting rows.
    pub model: Linear,
}

/// Weights of the penalty that are tried. The largest matters and the smallest hardly does; without any, the weights of the
/// categories of a column are not determined.
pub const PENALTIES: [f64; 7] = [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6];

/// Fits a model with each of the [`PENALTIES`] and gives the one with the smallest loss on the validation rows, the more strongly
/// penalised of two equals. `None` if `stop` was set in the meantime.
///
/// The loss decides, also where the accuracy will be compared: it varies less.
///
/// # Panics
/// If there are no validation rows.
pub fn select(data: &DataSet, stop: &AtomicBool) -> Option<Selected> {
    let mut selected: Option<Selected> = None;
    for l2 in PENALTIES {
        let model = fit(data, l2, stop)?;
        let validation = Scores::of_f64(data.task, &model.outputs(&data.validation), &data.validation.y);
        if selected.as_ref().is_none_or(|best| validation.loss < best.validation.loss) {
            selected = Some(Selected { l2, validation, model });
        }
    }
    selected
}

/// Where the gradient is shorter than this the minimum is found: losses are of the order of 1.
const GRADIENT_TOLERANCE: f64 = 1e-8;
/// Never needed where it was tried.
const ITERATIONS: u64 = 10_000;

/// Minimises the mean loss of the fitting rows plus `l2 / 2` times the sum of squared weights; the bias is not penalised. `None` if
/// `stop` was set in the meantime.
pub fn fit(data: &DataSet, l2: f64, stop: &AtomicBool) -> Option<Linear> {
    let programme = Programme::new(data, l2);
    let objective = |point: &[f64], gradient: &mut [f64]| programme.value_and_gradient(point, gradient);
    let limits = Limits { gradient_norm: GRADIENT_TOLERANCE, iterations: ITERATIONS };
    let point = minimise(&objective, vec![0.0; data.features.len() + 1], limits, stop).parameters;
    (!stop.load(Ordering::Relaxed)).then(|| programme.model(&point))
}

/// What is minimised, in variables in which it is about equally curved along all axes: `w_j = v_j / scale_j`, and the last
/// variable is the output at the mean of the rows. Some columns of Blog Feedback are nearly constant; in their own weights
/// the descent takes minutes there.
struct Programme<'a> {
    data: &'a DataSet,
    l2: f64,
    means: Vec<f64>,
    scales: Vec<f64>,
}

/// Rows whose sums are made together; sums are added in the order of the rows, whichever thread made them.
const ROWS: usize = 1024;

impl<'a> Programme<'a> {
    fn new(data: &'a DataSet, l2: f64) -> Self {
        let width = data.features.len();
        let column = |j: usize| data.fit.x.iter().skip(j).step_by(width).map(|x| f64::from(*x));
        let mean = |column: &mut dyn Iterator<Item = f64>| column.sum::<f64>() / data.fit.len() as f64;
        let means: Vec<f64> = (0..width).map(|j| mean(&mut column(j))).collect();
        let variance = |j: usize| mean(&mut column(j).map(|x| (x - means[j]).powi(2)));
        let scales = (0..width).map(|j| (variance(j) + l2).sqrt()).collect();
        Self { data, l2, means, scales }
    }

    fn model(&self, point: &[f64]) -> Linear {
        let weights: Vec<f64> = point.iter().zip(&self.scales).map(|(v, scale)| v / scale).collect();
        let at_mean = point[weights.len()];
        let bias = at_mean - weights.iter().zip(&self.means).map(|(w, mean)| w * mean).sum::<f64>();
        Linear { weights, bias }
    }

    /// The gradient replaces what `gradient` holds.
    fn value_and_gradient(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let model = self.model(point);
        let (width, count) = (self.means.len(), self.data.fit.len() as f64);
        let chunks: Vec<(f64, Vec<f64>)> = self
            .data
            .fit
            .x
            .par_chunks(ROWS * width)
            .zip(self.data.fit.y.par_chunks(ROWS))
            .map(|(x, y)| self.sums(&model, x, y))
            .collect();
        gradient.fill(0.0);
        let mut value = 0.0;
        for (loss, by_parameter) in chunks {
            value += loss / count;
            gradient.iter_mut().zip(by_parameter).for_each(|(slope, sum)| *slope += sum / count);
        }
        let by_bias = gradient[width];
        for (j, w) in model.weights.iter().enumerate() {
            value += self.l2 / 2.0 * w * w;
            gradient[j] = (gradient[j] - self.means[j] * by_bias + self.l2 * w) / self.scales[j];
        }
        value
    }

    /// The loss summed over some rows, and its derivatives by weights and bias.
    fn sums(&self, model: &Linear, x: &[f32], y: &[f32]) -> (f64, Vec<f64>) {
        let width = self.means.len();
        let outputs: Vec<f64> = x.chunks(width).map(|x| model.output(x)).collect();
        let mut by_parameter = vec![0.0; width + 1];
        for ((x, output), y) in x.chunks(width).zip(&outputs).zip(y) {
            let by_output = match self.data.task {
                Task::Binary => 1.0 / (1.0 + (-output).exp()) - f64::from(*y),
                Task::Regression { .. } => 2.0 * (output - f64::from(*y)),
            };
            by_parameter.iter_mut().zip(x).for_each(|(slope, x)| *slope += by_output * f64::from(*x));
            by_parameter[width] += by_output;
        }
        (Scores::of_f64(self.data.task, &outputs, y).loss * y.len() as f64, by_parameter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static NOT_STOPPED: AtomicBool = AtomicBool::new(false);

    fn example() -> DataSet {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/example/manifest.toml");
        DataSet::load(manifest.as_ref(), None, None).unwrap()
    }

    /// The example as a question of yes or no: whether the target is above 0.4.
    fn binary() -> DataSet {
        let mut data = example();
        data.task = Task::Binary;
        for part in [&mut data.fit, &mut data.validation, &mut data.test] {
            part.y.iter_mut().for_each(|y| *y = if *y > 0.4 { 1.0 } else { 0.0 });
        }
        data
    }

    /// The row of a point with a 1 for the bias.
    fn rows(part: &Part, width: usize) -> impl Iterator<Item = Vec<f64>> {
        part.x.chunks(width).map(|x| x.iter().map(|x| f64::from(*x)).chain([1.0]).collect())
    }

    /// Gaussian elimination with pivots.
    fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
        let n = b.len();
        for k in 0..n {
            let pivot = (k..n).max_by(|i, j| a[*i][k].abs().total_cmp(&a[*j][k].abs())).unwrap();
            a.swap(k, pivot);
            b.swap(k, pivot);
            for i in (0..n).filter(|i| *i != k).collect::<Vec<_>>() {
                let factor = a[i][k] / a[k][k];
                (0..n).for_each(|j| a[i][j] -= factor * a[k][j]);
                b[i] -= factor * b[k];
            }
        }
        (0..n).map(|k| b[k] / a[k][k]).collect()
    }

    /// One step of Newton's method on the penalised mean loss, from `at`. For squares it is the normal equations.
    fn newton(data: &DataSet, l2: f64, at: &[f64]) -> Vec<f64> {
        let (n, rows_count) = (at.len(), data.fit.len() as f64);
        let (mut hessian, mut slope) = (vec![vec![0.0; n]; n], vec![0.0; n]);
        for (x, y) in rows(&data.fit, n - 1).zip(&data.fit.y) {
            let z: f64 = x.iter().zip(at).map(|(x, w)| x * w).sum();
            let (first, second) = match data.task {
                Task::Binary => {
                    let p = 1.0 / (1.0 + (-z).exp());
                    (p - f64::from(*y), p * (1.0 - p))
                }
                Task::Regression { .. } => (2.0 * (z - f64::from(*y)), 2.0),
            };
            for i in 0..n {
                slope[i] += first * x[i] / rows_count;
                (0..n).for_each(|j| hessian[i][j] += second * x[i] * x[j] / rows_count);
            }
        }
        for i in 0..n - 1 {
            slope[i] += l2 * at[i];
            hessian[i][i] += l2;
        }
        at.iter().zip(solve(hessian, slope)).map(|(w, step)| w - step).collect()
    }

    #[test]
    fn it_finds_what_newtons_method_finds() {
        for (data, steps) in [(example(), 1), (binary(), 30)] {
            for l2 in [1.0, 1e-3, 1e-6] {
                let expected = (0..steps).fold(vec![0.0; 6], |at, _| newton(&data, l2, &at));
                let found = fit(&data, l2, &NOT_STOPPED).unwrap();
                let largest = expected.iter().fold(1.0, |m: f64, w| m.max(w.abs()));
                for (a, b) in found.weights.iter().chain([&found.bias]).zip(&expected) {
                    assert!((a - b).abs() < 5e-3 * largest, "l2 {l2}: {a} {b}");
                }
                let outputs = rows(&data.fit, 5).map(|x| x.iter().zip(&expected).map(|(x, w)| x * w).sum::<f64>());
                for (a, b) in found.outputs(&data.fit).iter().zip(outputs) {
                    assert!((a - b).abs() < 1e-6 * largest, "l2 {l2}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn the_penalty_with_the_smallest_validation_loss_is_selected() {
        let data = binary();
        let selected = select(&data, &NOT_STOPPED).unwrap();
        let loss = |l2| {
            let outputs = fit(&data, l2, &NOT_STOPPED).unwrap().outputs(&data.validation);
            Scores::of_f64(data.task, &outputs, &data.validation.y).loss
        };
        assert_eq!(selected.validation.loss, loss(selected.l2));
        assert!(PENALTIES.iter().all(|l2| loss(*l2) >= selected.validation.loss));
        assert!(selected.validation.accuracy.unwrap() > 0.8, "{selected:?}");
    }

    #[test]
    fn it_stops_when_it_is_asked_to() {
        assert_eq!(select(&example(), &AtomicBool::new(true)), None);
    }
}
