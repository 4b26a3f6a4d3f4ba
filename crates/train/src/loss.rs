use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::data::Task;

/// The mean loss of a batch: cross-entropy of the logit for a binary target, squared error for a number.
///
/// # Shapes
/// `outputs` and `y` are `[n, 1]`.
pub fn loss(task: Task, outputs: Tensor<2>, y: Tensor<2>) -> Tensor<1> {
    match task {
        // -ln sigmoid(z) for y = 1, -ln sigmoid(-z) for y = 0, in the form that does not overflow.
        Task::Binary => {
            let log_term = outputs.clone().abs().neg().exp().log1p();
            (activation::relu(outputs.clone()) - outputs * y + log_term).mean()
        }
        Task::Regression { .. } => (outputs - y).square().mean(),
    }
}

/// How good predictions are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Cross-entropy or mean squared error.
    pub loss: f64,
    /// Share of rows classified correctly, for a binary target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Root mean squared error, for a number (in scaled units).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
}

impl Scores {
    /// Scores of the outputs of a network (logits for a binary target), computed in `f64`.
    ///
    /// # Panics
    /// If there are no rows, or not as many outputs as targets.
    pub fn of(task: Task, outputs: &[f32], y: &[f32]) -> Self {
        let outputs = outputs.iter().map(|z| f64::from(*z));
        Self::of_f64(task, &outputs.collect::<Vec<_>>(), y)
    }

    /// The same for outputs in `f64`.
    ///
    /// # Panics
    /// If there are no rows, or not as many outputs as targets.
    pub fn of_f64(task: Task, outputs: &[f64], y: &[f32]) -> Self {
        assert!(!y.is_empty() && outputs.len() == y.len());
        let mean = |term: fn((f64, f64)) -> f64| {
            outputs.iter().zip(y).map(|(z, y)| term((*z, f64::from(*y)))).sum::<f64>() / y.len() as f64
        };
        match task {
            Task::Binary => Self {
                loss: mean(|(z, y)| z.max(0.0) - z * y + (-z.abs()).exp().ln_1p()),
                accuracy: Some(mean(|(z, y)| if (z > 0.0) == (y > 0.5) { 1.0 } else { 0.0 })),
                rmse: None,
            },
            Task::Regression { .. } => {
                let loss = mean(|(z, y)| (z - y).powi(2));
                Self { loss, accuracy: None, rmse: Some(loss.sqrt()) }
            }
        }
    }

    /// Larger is better: the accuracy, or minus the root mean squared error.
    pub fn rank(&self) -> f64 {
        self.accuracy.or(self.rmse.map(|e| -e)).unwrap_or(-self.loss)
    }
}
