//! Logistic or linear regression on the scaled features, without any constraint: what a table gains from all the rest.

use std::sync::atomic::{AtomicBool, Ordering};

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Scores;
use crate::data::{DataSet, Part, Task};

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

/// How far from the least objective a fit may end; losses are of the order of 1.
const TOLERANCE: f64 = 1e-13;
/// Never needed where it was tried.
const ITERATIONS: usize = 100;
/// A step that has to be made shorter than this leads nowhere: the digits of an `f64` are used up.
const SHORTEST: f64 = 1e-9;

/// Minimises the mean loss of the fitting rows plus `l2 / 2` times the sum of squared weights; the bias is not penalised. `None` if
/// `stop` was set in the meantime.
///
/// Newton's method, because some columns of Blog Feedback are nearly constant: there L-BFGS takes thousands of steps. For a regression
/// its first step is the solution of the normal equations.
pub fn fit(data: &DataSet, l2: f64, stop: &AtomicBool) -> Option<Linear> {
    let objective = Objective { data, l2 };
    let mut point = DVector::zeros(data.features.len() + 1);
    let mut value = objective.value(&point);
    for _ in 0..ITERATIONS {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let (gradient, hessian) = objective.derivatives(&point);
        let Some(factors) = hessian.cholesky() else { break };
        let step = factors.solve(&gradient);
        let promised = gradient.dot(&step) / 2.0;
        if promised <= TOLERANCE {
            break;
        }
        let mut share = 1.0;
        let better = loop {
            let next = &point - share * &step;
            let reached = objective.value(&next);
            if reached <= value - 0.5 * share * promised {
                break Some((next, reached));
            }
            share /= 2.0;
            if share < SHORTEST {
                break None;
            }
        };
        let Some(next) = better else { break };
        (point, value) = next;
    }
    Some(model(&point))
}

/// The weights, and the bias as the last number.
fn model(point: &DVector<f64>) -> Linear {
    let (bias, weights) = point.as_slice().split_last().expect("there is a bias at least");
    Linear { weights: weights.to_vec(), bias: *bias }
}

struct Objective<'a> {
    data: &'a DataSet,
    l2: f64,
}

/// Rows whose sums are made together; sums are added in the order of the rows, whichever thread made them.
const ROWS: usize = 1024;

impl Objective<'_> {
    fn value(&self, point: &DVector<f64>) -> f64 {
        let (model, fit) = (model(point), &self.data.fit);
        let loss = Scores::of_f64(self.data.task, &model.outputs(fit), &fit.y).loss;
        loss + self.l2 / 2.0 * model.weights.iter().map(|w| w * w).sum::<f64>()
    }

    fn derivatives(&self, point: &DVector<f64>) -> (DVector<f64>, DMatrix<f64>) {
        let (model, fit) = (model(point), &self.data.fit);
        let (width, count) = (model.weights.len(), fit.len() as f64);
        let chunks = fit.x.par_chunks(ROWS * width).zip(fit.y.par_chunks(ROWS));
        let sums: Vec<_> = chunks.map(|(x, y)| self.sums(&model, x, y)).collect();
        let (mut gradient, mut hessian) = (DVector::zeros(width + 1), DMatrix::zeros(width + 1, width + 1));
        for (first, second) in sums {
            gradient += first / count;
            hessian += second / count;
        }
        for (j, w) in model.weights.iter().enumerate() {
            gradient[j] += self.l2 * w;
            hessian[(j, j)] += self.l2;
        }
        (gradient, hessian)
    }

    /// Gradient and Hessian of the loss, summed over some rows.
    fn sums(&self, model: &Linear, x: &[f32], y: &[f32]) -> (DVector<f64>, DMatrix<f64>) {
        let width = model.weights.len();
        let (first, second): (Vec<f64>, Vec<f64>) = x
            .chunks(width)
            .zip(y)
            .map(|(x, y)| (model.output(x), f64::from(*y)))
            .map(|(output, y)| match self.data.task {
                Task::Binary => {
                    let p = 1.0 / (1.0 + (-output).exp());
                    (p - y, p * (1.0 - p))
                }
                Task::Regression { .. } => (2.0 * (output - y), 2.0),
            })
            .unzip();
        // A column per row of data, with a 1 for the bias.
        let x = DMatrix::from_iterator(width, y.len(), x.iter().map(|x| f64::from(*x))).insert_row(width, 1.0);
        let mut curved = x.clone();
        curved.column_iter_mut().zip(second).for_each(|(mut column, second)| column *= second);
        (&x * DVector::from(first), curved * x.transpose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lbfgs::{Limits, minimise};

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

    /// The same by L-BFGS, row by row.
    fn by_descent(data: &DataSet, l2: f64) -> Linear {
        let width = data.features.len();
        let linear = |point: &[f64]| Linear { weights: point[..width].to_vec(), bias: point[width] };
        let objective = |point: &[f64], gradient: &mut [f64]| {
            let model = linear(point);
            for (slope, w) in gradient.iter_mut().zip(&model.weights) {
                *slope = l2 * w;
            }
            gradient[width] = 0.0;
            let mut value = l2 / 2.0 * model.weights.iter().map(|w| w * w).sum::<f64>();
            for (x, y) in data.fit.x.chunks(width).zip(&data.fit.y) {
                let (f, y, share) = (model.output(x), f64::from(*y), 1.0 / data.fit.len() as f64);
                let (loss, slope) = match data.task {
                    Task::Binary => ((1.0 + f.exp()).ln() - y * f, 1.0 / (1.0 + (-f).exp()) - y),
                    Task::Regression { .. } => ((f - y).powi(2), 2.0 * (f - y)),
                };
                value += share * loss;
                (0..width).for_each(|j| gradient[j] += share * slope * f64::from(x[j]));
                gradient[width] += share * slope;
            }
            value
        };
        let limits = Limits { gradient_norm: 1e-9, iterations: 10_000 };
        linear(&minimise(&objective, vec![0.0; width + 1], limits, &NOT_STOPPED).parameters)
    }

    #[test]
    fn it_finds_what_descent_finds() {
        for data in [example(), binary()] {
            for l2 in [1.0, 1e-3, 1e-6] {
                let (expected, found) = (by_descent(&data, l2), fit(&data, l2, &NOT_STOPPED).unwrap());
                let largest = expected.weights.iter().fold(1.0, |m: f64, w| m.max(w.abs()));
                for (a, b) in
                    found.weights.iter().chain([&found.bias]).zip(expected.weights.iter().chain([&expected.bias]))
                {
                    assert!((a - b).abs() < 5e-3 * largest, "l2 {l2}: {a} {b}");
                }
                for (a, b) in found.outputs(&data.fit).iter().zip(expected.outputs(&data.fit)) {
                    assert!((a - b).abs() < 1e-5 * largest, "l2 {l2}: {a} {b}");
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
