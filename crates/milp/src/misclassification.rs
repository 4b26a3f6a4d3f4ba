//! The last layer that gets most rows right, with the layers before it as they are.
//!
//! The thesis' misclassification model (3.16 to 3.19) in its correct form: a row with last hidden values `h` and class `y`
//! counts as right if its class wins over every other one by `margin`,
//!
//! ```text
//! min sum_i e_i    (w_y - w_k) h_i + b_y - b_k >= margin - M_i e_i   for all k != y_i,   e_i in {0, 1},   |w|, |b| <= limit.
//! ```
//!
//! The margin is enlarged by what rounding the weights to `f32` can cost. With hidden layers that are not fixed the rows are bilinear. As printed, weights of zero would be optimal.

use certificate::Affine;

use crate::programme::Programme;
use crate::solver::{Limits, Solver, Status};
use crate::{Error, Result};

/// Rows for a last layer to classify.
#[derive(Debug, Clone)]
pub struct LastLayer<'a> {
    /// For each row what the layers before give.
    pub hidden: &'a [Vec<f64>],
    /// For each row its class.
    pub classes: &'a [usize],
    /// Number of classes.
    pub outputs: usize,
    /// Largest absolute value of a weight or bias.
    pub limit: f64,
    /// By how much the right class has to win.
    pub margin: f64,
}

/// The best last layer that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// It.
    pub layer: Affine,
    /// Rows that it gets wrong or not right by the margin, by a plain evaluation.
    pub wrong: usize,
    /// No layer within the limit gets fewer wrong, by the solver's word.
    pub at_least: usize,
}

impl LastLayer<'_> {
    /// The programme. Columns: per class its weights and its bias, then one binary for each row.
    ///
    /// # Errors
    /// If there are no rows, the numbers do not fit together, or a limit makes no sense.
    pub fn programme(&self) -> Result<Programme> {
        let wrong = |message: String| Err(Error::Question(message));
        let width = self.hidden.first().map_or(0, Vec::len);
        if width == 0 || self.hidden.len() != self.classes.len() {
            return wrong(format!(
                "{} rows of hidden values for {} classes of rows",
                self.hidden.len(),
                self.classes.len()
            ));
        }
        if !self.hidden.iter().all(|row| row.len() == width && row.iter().all(|h| h.is_finite())) {
            return wrong(format!("expected {width} finite hidden values in every row"));
        }
        if let Some(class) = self.classes.iter().find(|class| **class >= self.outputs) {
            return wrong(format!("class {class} of a row: there are {} outputs", self.outputs));
        }
        if !(self.limit > 0.0 && self.limit.is_finite() && self.margin > 0.0 && self.margin.is_finite()) {
            return wrong(format!("expected limit and margin above 0, found {} and {}", self.limit, self.margin));
        }
        let mut programme = Programme::new("misclassification");
        for k in 0..self.outputs {
            for i in 0..width {
                programme.continuous(format!("w{k}_{i}"), (-self.limit, self.limit), 0.0);
            }
            programme.continuous(format!("b{k}"), (-self.limit, self.limit), 0.0);
        }
        for (r, (row, &class)) in self.hidden.iter().zip(self.classes).enumerate() {
            let error = programme.integer(format!("wrong{r}"), (0.0, 1.0), 1.0);
            // What the rest of the row can be at worst.
            let worst = 2.0 * self.limit * (row.iter().map(|h| h.abs()).sum::<f64>() + 1.0);
            // What rounding the weights to `f32` can cost, and a solver's tolerance.
            let margin = self.margin + worst * f64::from(f32::EPSILON) / 2.0 + 1e-6;
            let constant = (margin + worst) * (1.0 + 1e-12);
            for k in (0..self.outputs).filter(|k| *k != class) {
                let values = || row.iter().copied().chain([1.0]).enumerate();
                let of_class = values().map(|(i, h)| (class * (width + 1) + i, h));
                let of_other = values().map(|(i, h)| (k * (width + 1) + i, -h));
                let terms = of_class.chain(of_other).chain([(error, constant)]);
                programme.row(format!("row{r}_over{k}"), terms, (margin, f64::INFINITY));
            }
        }
        Ok(programme)
    }

    /// Rows that a layer gets wrong, or not right by the margin.
    ///
    /// # Panics
    /// If the layer does not fit.
    pub fn wrong(&self, layer: &Affine) -> usize {
        let right = |(row, class): (&Vec<f64>, &usize)| {
            let outputs = layer.evaluate(row);
            (0..self.outputs).all(|k| k == *class || outputs[*class] - outputs[k] >= self.margin)
        };
        self.hidden.len() - self.hidden.iter().zip(self.classes).filter(|pair| right(*pair)).count()
    }

    /// The best layer that a solver finds within its limits, or nothing.
    ///
    /// # Errors
    /// As [`programme`](Self::programme).
    pub fn solve(&self, solver: &dyn Solver, limits: &Limits) -> Result<Option<Counted>> {
        let programme = self.programme()?;
        let solved = solver.solve(&programme, limits);
        let Some(incumbent) = solved.incumbent.filter(|_| solved.status != Status::Infeasible) else { return Ok(None) };
        let width = self.hidden[0].len();
        let numbers = incumbent.values.chunks(width + 1).take(self.outputs);
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for row in numbers {
            weight.extend(row[..width].iter().map(|w| *w as f32));
            bias.push(row[width] as f32);
        }
        let layer = Affine::new(width, weight, bias)?;
        // A solver's bound of 2.9999999 errors means 3.
        let at_least = (solved.bound - 1e-6).ceil().max(0.0) as usize;
        Ok(Some(Counted { wrong: self.wrong(&layer), at_least, layer }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::solver::{Cbc, Microlp};

    /// One hidden value and two classes: a threshold, so every one of them can be tried.
    #[test]
    fn the_fewest_errors_are_those_of_the_best_threshold() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20 {
            let hidden: Vec<Vec<f64>> = (0..8).map(|_| vec![f64::from(rng.random_range(0..20_u8))]).collect();
            let classes: Vec<usize> = (0..8).map(|_| rng.random_range(0..2)).collect();
            let layer = LastLayer { hidden: &hidden, classes: &classes, outputs: 2, limit: 100.0, margin: 0.1 };
            let mut fewest = usize::MAX;
            for threshold in (0..=20).map(|t| f64::from(t) - 0.5) {
                for above in 0..2 {
                    let class = |h: f64| if h > threshold { above } else { 1 - above };
                    let wrong = hidden.iter().zip(&classes).filter(|(h, c)| class(h[0]) != **c).count();
                    fewest = fewest.min(wrong);
                }
            }
            for solver in [&Cbc as &dyn Solver, &Microlp] {
                let found = layer.solve(solver, &Limits::time(Duration::from_secs(30))).unwrap().unwrap();
                assert_eq!((found.wrong, found.at_least), (fewest, fewest), "{}", solver.name());
            }
        }
    }

    /// Weights of zero get nothing right: the trivial optimum of the printed model.
    #[test]
    fn a_layer_of_zeros_is_wrong_everywhere() {
        let (hidden, classes) = (vec![vec![1.0], vec![2.0]], [0, 1]);
        let layer = LastLayer { hidden: &hidden, classes: &classes, outputs: 2, limit: 1.0, margin: 0.1 };
        assert_eq!(layer.wrong(&Affine::new(1, vec![0.0, 0.0], vec![0.0, 0.0]).unwrap()), 2);
        let nonsense = LastLayer { classes: &[0, 2], ..layer.clone() };
        assert!(nonsense.programme().unwrap_err().to_string().contains("there are 2 outputs"));
        let nonsense = LastLayer { margin: 0.0, ..layer.clone() };
        assert!(nonsense.programme().unwrap_err().to_string().contains("above 0"));
        let nonsense = LastLayer { hidden: &[vec![1.0], vec![f64::NAN]], ..layer };
        assert!(nonsense.programme().unwrap_err().to_string().contains("finite"));
    }
}
