//! The row of weights with the least loss among those that satisfy all cuts.

use super::projection::{Cut, NoProjection, minimise};

/// What the output of a network is fitted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The output is the logit of the probability of the target, 0 or 1.
    CrossEntropy,
    /// The output is the target.
    Squares,
}

impl Loss {
    /// Loss, its derivative and its second derivative at an output.
    fn at(self, output: f64, target: f64) -> (f64, f64, f64) {
        match self {
            Self::CrossEntropy => {
                let probability = 1.0 / (1.0 + (-output).exp());
                let loss = output.max(0.0) - output * target + (-output.abs()).exp().ln_1p();
                (loss, probability - target, probability * (1.0 - probability))
            }
            Self::Squares => ((output - target).powi(2), 2.0 * (output - target), 2.0),
        }
    }
}

/// Weight of `|a - from|^2` in the objective. Without it a wide layer moves far along directions that the rows say nothing
/// about, and every such move opens violations.
const RIDGE: f64 = 1e-2;
/// Newton steps at most; from a trained network two or three are enough.
const STEPS: usize = 12;
/// A step that moves no weight by more than this is the last one.
const SMALL: f64 = 1e-7;

/// `mean loss(o_k + h_k . a + a_0, y_k) + RIDGE |a - from|^2` over rows `k` with hidden activations `h_k`.
pub(super) struct Regression {
    pub loss: Loss,
    /// `[rows, weights + 1]`: what each weight is multiplied with, and 1 for the bias.
    pub activations: Vec<Vec<f64>>,
    /// What the weights that do not move add.
    pub offsets: Vec<f64>,
    pub targets: Vec<f64>,
    /// Weights and bias before.
    pub from: Vec<f64>,
}

impl Regression {
    /// Weights, and the bias behind them, by Newton steps from `start`; each is a quadratic programme.
    pub fn solve(&self, mut at: Vec<f64>, cuts: &[Cut], level: f64) -> Result<Vec<f64>, NoProjection> {
        let feasible = |at: &[f64]| cuts.iter().all(|cut| cut.value(&at[..cut.normal.len()]) >= level * (1.0 - 1e-6));
        for _ in 0..STEPS {
            let (value, gradient, hessian) = self.expand(&at);
            let n = at.len();
            // In terms of the new point: min 1/2 a'Ha + (g - H at)'a.
            let linear: Vec<f64> =
                (0..n).map(|i| gradient[i] - (0..n).map(|j| hessian[i * n + j] * at[j]).sum::<f64>()).collect();
            let mut next = minimise(&hessian, &linear, cuts, level)?;
            // From a feasible point the way to the new one is feasible, and goes down at first.
            if feasible(&at) {
                for _ in 0..20 {
                    if self.expand(&next).0 <= value {
                        break;
                    }
                    next.iter_mut().zip(&at).for_each(|(next, at)| *next = 0.5 * (*next + at));
                }
            }
            let moved = next.iter().zip(&at).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            at = next;
            if moved < SMALL {
                break;
            }
        }
        Ok(at)
    }

    /// Objective, gradient and Hessian, `[n, n]`.
    fn expand(&self, at: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
        let n = at.len();
        let (mut value, mut gradient, mut hessian) = (0.0, vec![0.0; n], vec![0.0; n * n]);
        let share = 1.0 / self.targets.len() as f64;
        for ((h, offset), target) in self.activations.iter().zip(&self.offsets).zip(&self.targets) {
            let output = offset + h.iter().zip(at).map(|(h, a)| h * a).sum::<f64>();
            let (loss, slope, curvature) = self.loss.at(output, *target);
            value += share * loss;
            for i in 0..n {
                gradient[i] += share * slope * h[i];
                let factor = share * curvature * h[i];
                hessian[i * n..][..n].iter_mut().zip(h).for_each(|(to, h)| *to += factor * h);
            }
        }
        for i in 0..n - 1 {
            let away = at[i] - self.from[i];
            value += RIDGE * away * away;
            gradient[i] += 2.0 * RIDGE * away;
            hessian[i * n + i] += 2.0 * RIDGE;
        }
        // The bias is free; a trace keeps the programme strictly convex where all rows are sure.
        hessian[n * n - 1] += 1e-9;
        (value, gradient, hessian)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regression(loss: Loss) -> Regression {
        // Two weights and the bias; the second column is noise around zero.
        let activations = (0..40).map(|k| vec![f64::from(k) / 40.0, f64::from(k * 7 % 5) - 2.0, 1.0]).collect();
        let targets = (0..40).map(|k| if k * 13 % 40 + k > 35 { 1.0 } else { 0.0 }).collect();
        Regression { loss, activations, offsets: vec![0.1; 40], targets, from: vec![0.3, -0.2, 0.0] }
    }

    /// At the minimum without cuts the gradient vanishes; with a cut it is a multiple of the cut's normal.
    #[test]
    fn the_conditions_of_a_minimum_hold() {
        for loss in [Loss::CrossEntropy, Loss::Squares] {
            let regression = regression(loss);
            let free = regression.solve(regression.from.clone(), &[], 0.1).unwrap();
            let (least, gradient, _) = regression.expand(&free);
            assert!(gradient.iter().all(|g| g.abs() < 1e-6), "{loss:?} {gradient:?}");
            let cut = Cut { normal: vec![-1.0, 0.5], input: 0 };
            assert!(cut.value(&free[..2]) < 0.1, "the cut has to matter");
            let held = regression.solve(free, &[cut], 0.1).unwrap();
            let (value, gradient, _) = regression.expand(&held);
            assert!(value > least && (-held[0] + 0.5 * held[1] - 0.1).abs() < 1e-6, "{loss:?} {held:?}");
            assert!(
                gradient[2].abs() < 1e-5 && (gradient[0] + 2.0 * gradient[1]).abs() < 1e-5,
                "{loss:?} {gradient:?}"
            );
            // The multiplier has the sign of a lower bound.
            assert!(gradient[0] < 0.0, "{gradient:?}");
        }
    }
}
