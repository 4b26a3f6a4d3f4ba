use serde::{Deserialize, Serialize};

/// What is summed over the rows and minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// `(output - y)^2` in the target's own units, for a number (thesis, 3.11).
    LeastSquares,
    /// `-softmax(outputs)_y`, for a class: the sum is minus the expected number of right answers (thesis, 3.13). Bounded, so
    /// a row that is hopeless costs nothing to give up, and flat where all rows get one class.
    ExpectedCorrect,
    /// `-ln softmax(outputs)_y`, for a class.
    CrossEntropy,
}

impl Loss {
    /// Whether its targets are classes.
    pub fn of_classes(self) -> bool {
        self != Self::LeastSquares
    }

    /// The loss of one row, and its derivatives by the outputs. `y` is the target, or the number of the class.
    pub(super) fn term(self, outputs: &[f64], y: f64, by_output: &mut [f64]) -> f64 {
        if self == Self::LeastSquares {
            let error = outputs[0] - y;
            by_output[0] = 2.0 * error;
            return error * error;
        }
        let class = y as usize;
        // Shifted, so that the largest exponential is 1 and none overflows.
        let largest = outputs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = outputs.iter().map(|output| (output - largest).exp()).sum();
        let probability = |output: f64| (output - largest).exp() / sum;
        let (value, factor) = match self {
            Self::CrossEntropy => (sum.ln() - (outputs[class] - largest), 1.0),
            _ => (-probability(outputs[class]), probability(outputs[class])),
        };
        for (k, (slope, output)) in by_output.iter_mut().zip(outputs).enumerate() {
            let right = if k == class { 1.0 } else { 0.0 };
            *slope = factor * (probability(*output) - right);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(loss: Loss, outputs: &[f64], y: f64) -> f64 {
        loss.term(outputs, y, &mut vec![0.0; outputs.len()])
    }

    #[test]
    fn known_values() {
        assert_eq!(value(Loss::LeastSquares, &[3.0], 5.0), 4.0);
        assert_eq!(value(Loss::ExpectedCorrect, &[1.5, 1.5], 1.0), -0.5);
        let (a, b) = (1.0_f64.exp(), 3.0_f64.exp());
        assert!((value(Loss::ExpectedCorrect, &[1.0, 3.0], 0.0) + a / (a + b)).abs() < 1e-15);
        assert!((value(Loss::CrossEntropy, &[1.0, 3.0], 0.0) + (a / (a + b)).ln()).abs() < 1e-14);
    }

    /// The exponential of 1,000 is infinite.
    #[test]
    fn large_outputs_do_not_overflow() {
        for outputs in [[1000.0, -1000.0], [-1e5, 1e5]] {
            for loss in [Loss::ExpectedCorrect, Loss::CrossEntropy] {
                let mut slopes = [0.0; 2];
                assert!([0.0, 1.0].iter().all(|y| loss.term(&outputs, *y, &mut slopes).is_finite()));
                assert!(slopes.iter().all(|slope| slope.is_finite()));
            }
        }
    }

    #[test]
    fn derivatives_are_those_of_differences() {
        let step = 1e-6;
        for (loss, outputs, y) in [
            (Loss::LeastSquares, vec![0.3], 0.7),
            (Loss::ExpectedCorrect, vec![0.3, 1.1, -0.4], 2.0),
            (Loss::CrossEntropy, vec![0.3, 1.1, -0.4], 0.0),
        ] {
            let mut slopes = vec![0.0; outputs.len()];
            loss.term(&outputs, y, &mut slopes);
            for (k, slope) in slopes.iter().enumerate() {
                let at = |move_by: f64| {
                    let mut moved = outputs.clone();
                    moved[k] += move_by;
                    value(loss, &moved, y)
                };
                let difference = (at(step) - at(-step)) / (2.0 * step);
                assert!((slope - difference).abs() < 1e-8, "{loss:?} {k}: {slope} {difference}");
            }
        }
    }
}
