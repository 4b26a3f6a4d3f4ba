//! The optimum of a two-layer network with weight decay, by a convex programme.
//!
//! Squared error and squared weights of a ReLU network with one hidden layer and enough units,
//!
//! ```text
//! min  1/2 |f - y|^2 + decay/2 sum_j (|w_j|^2 + v_j^2),   f(x) = sum_j v_j max(0, w_j x),
//! ```
//!
//! have the same minimum as a second-order-cone programme with two vectors for every pattern `D` that the units can have on the
//! samples (Pilanci and Ergen, "Neural networks are convex regularizers", 2020, theorem 1):
//!
//! ```text
//! min  1/2 |sum_D D X (u_D - v_D) - y|^2 + decay sum_D (|u_D| + |v_D|),   (2 D - 1) X u_D >= 0,  (2 D - 1) X v_D >= 0.
//! ```
//!
//! A bias is a last feature that is always 1, and decays like the others; the output has none.

use std::collections::HashSet;

use certificate::exact::rational;
use clarabel::algebra::CscMatrix;
use clarabel::solver::{
    DefaultSettings, DefaultSolver, IPSolver, NonnegativeConeT, SecondOrderConeT, SolverStatus, ZeroConeT,
};
use num_rational::BigRational;

use super::LayerWeights;
use crate::interior::{Halfspace, Interior, interior};
use crate::{Error, Result};

/// With more patterns the programme takes minutes and gigabytes.
const MOST_PATTERNS: usize = 5_000;

/// Shorter vectors are rounding errors of an interior-point method, and would be units without a use.
const SHORTEST: f64 = 1e-6;

/// The network of the convex programme, and a proof that hardly any other is better.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoLayerOptimum {
    /// Hidden layer and output layer; there may be no hidden unit at all.
    pub weights: [LayerWeights; 2],
    /// What they cost, by forward pass.
    pub objective: f64,
    /// No network with one hidden layer, however wide, costs less; from a point of the dual programme that satisfies all its
    /// constraints, up to the rounding of `f64`.
    pub bound: f64,
    /// How many patterns there are.
    pub patterns: usize,
}

/// The least objective of all two-layer networks.
///
/// # Soundness
/// That no pattern was missed is decided in exact arithmetic.
///
/// # Errors
/// If samples and targets do not fit or are not finite, the decay is not positive, there are too many patterns, or the solver
/// gives up.
pub fn two_layer_optimum(samples: &[Vec<f64>], targets: &[f64], decay: f64) -> Result<TwoLayerOptimum> {
    let wrong = |what: &str| Err(Error::Training(what.into()));
    let inputs = samples.first().map_or(0, Vec::len);
    if samples.len() != targets.len() || inputs == 0 || samples.iter().any(|x| x.len() != inputs) {
        return wrong("expected one target per sample, and samples of the same length");
    }
    if !samples.iter().flatten().chain(targets).all(|x| x.is_finite()) {
        return wrong("samples and targets have to be finite numbers");
    }
    if !(decay.is_finite() && decay > 0.0) {
        return wrong("weight decay has to be a positive number");
    }
    let rows: Vec<Vec<f64>> = samples.iter().map(|x| x.iter().copied().chain([1.0]).collect()).collect();
    let patterns = patterns(&rows)?;
    Cone { rows: &rows, targets, decay, patterns: &patterns }.solve()
}

/// Which samples a unit can see, for all units with weights that miss no sample by chance.
fn patterns(rows: &[Vec<f64>]) -> Result<Vec<Vec<bool>>> {
    let expected = most_patterns(rows);
    if expected > MOST_PATTERNS as f64 {
        return Err(Error::Training(format!(
            "{} samples can have {expected} activation patterns, more than {MOST_PATTERNS}; use fewer samples or features",
            rows.len()
        )));
    }
    let side = (rational(-1.0), rational(1.0));
    let sides = vec![side; rows[0].len()];
    let exactly: Vec<Vec<BigRational>> = rows.iter().map(|row| row.iter().map(|x| rational(*x)).collect()).collect();
    let mut patterns: Vec<Vec<bool>> = vec![Vec::new()];
    for depth in 1..=rows.len() {
        let longer = patterns.iter().flat_map(|pattern| [false, true].map(|on| [&pattern[..], &[on]].concat()));
        let occurs = |pattern: &Vec<bool>| {
            let halfspace = |(row, on): (&Vec<BigRational>, &bool)| Halfspace {
                weight: row.iter().map(|x| if *on { x.clone() } else { -x }).collect(),
                bias: rational(0.0),
            };
            let halfspaces: Vec<_> = exactly[..depth].iter().zip(pattern).map(halfspace).collect();
            matches!(interior(&halfspaces, &sides), Interior::Point(_))
        };
        patterns = longer.filter(occurs).collect();
    }
    Ok(patterns)
}

/// Points in general position have `2 sum_{k<d} C(n-1, k)` patterns (Cover 1965), others have fewer.
fn most_patterns(rows: &[Vec<f64>]) -> f64 {
    let distinct: HashSet<Vec<u64>> =
        rows.iter().map(|row| row.iter().map(|x| (x + 0.0).to_bits()).collect()).collect();
    let n = distinct.len() as f64;
    let binomials = (1..rows[0].len()).scan(1.0, |choose, k| {
        *choose *= ((n - k as f64) / k as f64).max(0.0);
        Some(*choose)
    });
    2.0 * (1.0 + binomials.sum::<f64>())
}

struct Cone<'a> {
    rows: &'a [Vec<f64>],
    targets: &'a [f64],
    decay: f64,
    patterns: &'a [Vec<bool>],
}

impl Cone<'_> {
    /// Columns: the residual of each sample; then for each pattern, upwards and downwards, a length and a vector.
    fn solve(&self) -> Result<TwoLayerOptimum> {
        let (n, d) = (self.rows.len(), self.rows[0].len());
        let vectors = 2 * self.patterns.len();
        let start = |k: usize| n + k * (d + 1);
        let columns = start(vectors);
        let (mut places, mut numbers) = (vec![Vec::new(); columns], vec![Vec::new(); columns]);
        let mut entry = |row: usize, column: usize, number: f64| {
            places[column].push(row);
            numbers[column].push(number);
        };
        // First the residuals, then the half-spaces of each vector, then its length.
        let (half_spaces, lengths) = (n, n + vectors * n);
        for k in 0..vectors {
            let (pattern, sign) = (&self.patterns[k / 2], if k.is_multiple_of(2) { 1.0 } else { -1.0 });
            for (i, (row, on)) in self.rows.iter().zip(pattern).enumerate() {
                for (j, x) in row.iter().enumerate().filter(|(_, x)| **x != 0.0) {
                    if *on {
                        entry(i, start(k) + 1 + j, sign * x);
                    }
                    entry(half_spaces + k * n + i, start(k) + 1 + j, if *on { -x } else { *x });
                }
            }
            (0..=d).for_each(|j| entry(lengths + k * (d + 1) + j, start(k) + j, -1.0));
        }
        (0..n).for_each(|i| entry(i, i, -1.0));
        let rows = lengths + vectors * (d + 1);
        let matrix = compressed(rows, places, numbers);
        let quadratic = compressed(
            columns,
            (0..columns).map(|k| if k < n { vec![k] } else { vec![] }).collect(),
            (0..columns).map(|k| if k < n { vec![1.0] } else { vec![] }).collect(),
        );
        let mut linear = vec![0.0; columns];
        (0..vectors).for_each(|k| linear[start(k)] = self.decay);
        let sides: Vec<f64> = self.targets.iter().copied().chain(vec![0.0; rows - n]).collect();
        let mut cones = vec![ZeroConeT(n), NonnegativeConeT(vectors * n)];
        cones.extend((0..vectors).map(|_| SecondOrderConeT(d + 1)));
        let settings = DefaultSettings { verbose: false, ..DefaultSettings::default() };
        let mut solver = DefaultSolver::new(&quadratic, &linear, &matrix, &sides, &cones, settings)
            .map_err(|_| Error::Training("the convex programme was not accepted".into()))?;
        solver.solve();
        let solution = &solver.solution;
        if !matches!(solution.status, SolverStatus::Solved | SolverStatus::AlmostSolved) {
            return Err(Error::Training(format!("clarabel stopped with {:?}", solution.status)));
        }
        let vector = |k: usize| solution.x[start(k) + 1..][..d].to_vec();
        let weights = network((0..vectors).map(|k| (vector(k), if k.is_multiple_of(2) { 1.0 } else { -1.0 })), d);
        Ok(TwoLayerOptimum {
            objective: self.objective(&weights),
            bound: self.bound(&solution.x[..n], &solution.z[half_spaces..lengths]),
            patterns: self.patterns.len(),
            weights,
        })
    }

    fn objective(&self, [hidden, output]: &[LayerWeights; 2]) -> f64 {
        let d = self.rows[0].len();
        let unit = |j: usize| hidden.weights[j * (d - 1)..][..d - 1].iter().chain([&hidden.biases[j]]);
        let activation = |x: &[f64], j: usize| unit(j).zip(x).map(|(w, x)| w * x).sum::<f64>().max(0.0);
        let f = |x: &[f64]| output.weights.iter().enumerate().map(|(j, v)| v * activation(x, j)).sum::<f64>();
        let errors = self.rows.iter().zip(self.targets).map(|(x, y)| (f(x) - y).powi(2)).sum::<f64>();
        let squares = hidden.weights.iter().chain(&hidden.biases).chain(&output.weights).map(|w| w * w);
        0.5 * errors + 0.5 * self.decay * squares.sum::<f64>()
    }

    /// `-1/2 |z|^2 - z y` for residuals `z`, made smaller until `|D X z u| <= decay` for all `u` of length 1 in the cone of every
    /// pattern. There `c u <= |c + A' m|` for any multipliers `m >= 0` of the half-spaces `A u >= 0`.
    fn bound(&self, residuals: &[f64], multipliers: &[f64]) -> f64 {
        let (n, d) = (self.rows.len(), self.rows[0].len());
        let steepest = |k: usize| {
            let (pattern, sign) = (&self.patterns[k / 2], if k.is_multiple_of(2) { -1.0 } else { 1.0 });
            let mut sum = vec![0.0; d];
            for (i, row) in self.rows.iter().enumerate() {
                let seen = if pattern[i] { sign * residuals[i] } else { 0.0 };
                let held = multipliers[k * n + i].max(0.0) * if pattern[i] { 1.0 } else { -1.0 };
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += (seen + held) * x);
            }
            sum.iter().map(|x| x * x).sum::<f64>().sqrt()
        };
        let steepest = (0..2 * self.patterns.len()).map(steepest).fold(self.decay, f64::max);
        let scale = self.decay / steepest;
        residuals.iter().zip(self.targets).map(|(z, y)| -0.5 * (scale * z).powi(2) - scale * z * y).sum()
    }
}

/// Units that share the length of their vector evenly between both layers.
fn network(vectors: impl Iterator<Item = (Vec<f64>, f64)>, d: usize) -> [LayerWeights; 2] {
    let empty = || LayerWeights { weights: Vec::new(), biases: Vec::new() };
    let (mut hidden, mut output) = (empty(), empty());
    for (vector, sign) in vectors {
        let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        if length > SHORTEST {
            let (weights, bias) = vector.split_at(d - 1);
            hidden.weights.extend(weights.iter().map(|w| w / length.sqrt()));
            hidden.biases.push(bias[0] / length.sqrt());
            output.weights.push(sign * length.sqrt());
        }
    }
    output.biases.push(0.0);
    [hidden, output]
}

/// A matrix from the rows and numbers of each column.
fn compressed(rows: usize, mut places: Vec<Vec<usize>>, mut numbers: Vec<Vec<f64>>) -> CscMatrix<f64> {
    let mut starts = vec![0];
    for (places, numbers) in places.iter_mut().zip(&mut numbers) {
        let mut sorted: Vec<_> = places.drain(..).zip(numbers.drain(..)).collect();
        sorted.sort_by_key(|(place, _)| *place);
        (*places, *numbers) = sorted.into_iter().unzip();
        starts.push(starts[starts.len() - 1] + places.len());
    }
    CscMatrix::new(rows, starts.len() - 1, starts, places.concat(), numbers.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_counted() {
        let point = |k: i32| vec![f64::from(k), f64::from(k * k), 1.0];
        let rows: Vec<_> = (-3..=3).map(point).collect();
        assert_eq!(patterns(&rows).unwrap().len(), 2 * (1 + 6 + 15));
        assert_eq!(most_patterns(&rows), 44.0);
        let line: Vec<_> = (0..5).map(|k| vec![f64::from(k), 1.0]).collect();
        assert_eq!(patterns(&line).unwrap().len(), 2 * (1 + 4));
        // The same point twice adds nothing.
        let twice = [&line[..], &line[..1]].concat();
        assert_eq!(patterns(&twice).unwrap().len(), 10);
    }

    /// One sample at the origin: a single unit with its bias alone, `1/2 (t - y)^2 + decay t` at `t = y - decay`.
    #[test]
    fn one_sample_by_hand() {
        let optimum = two_layer_optimum(&[vec![0.0]], &[3.0], 0.5).unwrap();
        let by_hand = 0.5 * 0.25 + 0.5 * 2.5;
        assert!((optimum.objective - by_hand).abs() < 1e-6, "{optimum:?}");
        assert!(optimum.bound <= by_hand + 1e-9 && by_hand - optimum.bound < 1e-5, "{optimum:?}");
        // With more decay than there is to be gained, there is no unit.
        let nothing = two_layer_optimum(&[vec![0.0]], &[3.0], 4.0).unwrap();
        assert!(nothing.weights[0].biases.is_empty() && (nothing.objective - 4.5).abs() < 1e-9, "{nothing:?}");
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(two_layer_optimum(&[vec![0.0]], &[], 1.0).is_err());
        assert!(two_layer_optimum(&[vec![f64::NAN]], &[1.0], 1.0).is_err());
        assert!(two_layer_optimum(&[vec![0.0]], &[1.0], 0.0).is_err());
        let many: Vec<Vec<f64>> = (0..40).map(|k| (0..6).map(|j| f64::from(k).powi(j + 1).sin()).collect()).collect();
        assert!(two_layer_optimum(&many, &[0.0; 40], 1.0).unwrap_err().to_string().contains("activation patterns"));
    }
}
