//! The smallest change of a row of weights that satisfies all cuts.

use clarabel::algebra::CscMatrix;
use clarabel::solver::{DefaultSettings, DefaultSolver, IPSolver, NonnegativeConeT, SolverStatus};

/// `cut . a >= level`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cut {
    /// One number per weight of the row.
    pub normal: Vec<f64>,
    /// The input whose derivative it bounds.
    pub input: usize,
}

impl Cut {
    pub fn value(&self, weights: &[f64]) -> f64 {
        self.normal.iter().zip(weights).map(|(g, a)| g * a).sum()
    }
}

/// Why there is no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoProjection {
    /// Cuts that contradict each other; one about this input is among them.
    Infeasible { input: usize },
    /// The solver gave up.
    Numerical(&'static str),
}

/// `argmin |a - from|^2` subject to `cut . a >= level` for all cuts.
pub(super) fn project(from: &[f64], cuts: &[Cut], level: f64) -> Result<Vec<f64>, NoProjection> {
    let linear: Vec<f64> = from.iter().map(|a| -a).collect();
    quadratic_programme(CscMatrix::identity(from.len()), &linear, cuts, level)
}

/// `argmin 1/2 a'Ha + linear . a` subject to the same, for a positive definite `hessian` `[n, n]`. Weights behind those of
/// the cuts are free.
pub(super) fn minimise(hessian: &[f64], linear: &[f64], cuts: &[Cut], level: f64) -> Result<Vec<f64>, NoProjection> {
    let n = linear.len();
    // The upper triangle, column by column.
    let places = (0..n).flat_map(|j| 0..=j).collect();
    let values = (0..n).flat_map(|j| (0..=j).map(move |i| hessian[i * n + j])).collect();
    let starts = (0..=n).map(|j| j * (j + 1) / 2).collect();
    quadratic_programme(CscMatrix::new(n, n, starts, places, values), linear, cuts, level)
}

/// By an interior-point method, in `f64`. Nothing is concluded from what it returns, so its tolerances do not matter as
/// long as they are small against `level`.
fn quadratic_programme(
    quadratic: CscMatrix<f64>,
    linear: &[f64],
    cuts: &[Cut],
    level: f64,
) -> Result<Vec<f64>, NoProjection> {
    let n = linear.len();
    let (mut starts, mut places, mut values) = (vec![0], Vec::new(), Vec::new());
    for j in 0..n {
        for (k, cut) in cuts.iter().enumerate() {
            if let Some(g) = cut.normal.get(j).filter(|g| **g != 0.0) {
                places.push(k);
                values.push(-g);
            }
        }
        starts.push(places.len());
    }
    let constraints = CscMatrix::new(cuts.len(), n, starts, places, values);
    let bounds = vec![-level; cuts.len()];
    let settings = DefaultSettings { verbose: false, ..DefaultSettings::default() };
    let cones = [NonnegativeConeT(cuts.len())];
    let mut solver = DefaultSolver::new(&quadratic, linear, &constraints, &bounds, &cones, settings)
        .map_err(|_| NoProjection::Numerical("the programme was not accepted"))?;
    solver.solve();
    let solution = &solver.solution;
    match solution.status {
        SolverStatus::Solved | SolverStatus::AlmostSolved => Ok(solution.x.clone()),
        SolverStatus::PrimalInfeasible | SolverStatus::AlmostPrimalInfeasible => {
            // The ray of multipliers names the cuts that contradict each other.
            let strongest = (0..cuts.len()).max_by(|&a, &b| solution.z[a].total_cmp(&solution.z[b]));
            Err(NoProjection::Infeasible { input: strongest.map_or(0, |k| cuts[k].input) })
        }
        _ => Err(NoProjection::Numerical("no progress")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(normal: &[f64]) -> Cut {
        Cut { normal: normal.to_vec(), input: 7 }
    }

    #[test]
    fn the_nearest_point_of_a_half_plane() {
        // From (0, 0) to x + y >= 1.
        let nearest = project(&[0.0, 0.0], &[cut(&[1.0, 1.0])], 1.0).unwrap();
        assert!(nearest.iter().all(|x| (x - 0.5).abs() < 1e-6), "{nearest:?}");
        // What satisfies its cuts stays.
        let same = project(&[3.0, 1.0], &[cut(&[1.0, 1.0]), cut(&[1.0, 0.0])], 1.0).unwrap();
        assert!((same[0] - 3.0).abs() < 1e-6 && (same[1] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn contradicting_cuts_are_named() {
        let opposite = [cut(&[1.0, 0.0]), cut(&[-1.0, 0.0])];
        assert_eq!(project(&[0.0, 0.0], &opposite, 0.1), Err(NoProjection::Infeasible { input: 7 }));
        // A pattern without an active neuron cannot be lifted.
        assert_eq!(project(&[1.0], &[cut(&[0.0])], 0.1), Err(NoProjection::Infeasible { input: 7 }));
    }

    proptest! {
        /// No other point that satisfies the cuts is nearer: checked against Hildreth's method, which projects on one cut
        /// at a time.
        #[test]
        fn agrees_with_cyclic_projection(
            from in prop::collection::vec(-3.0..3.0f64, 4),
            normals in prop::collection::vec(prop::collection::vec(0.0..2.0f64, 4), 1..6),
        ) {
            let cuts: Vec<_> = normals.iter().map(|normal| cut(normal)).collect();
            let lengths: Vec<f64> = normals.iter().map(|g| g.iter().map(|g| g * g).sum()).collect();
            prop_assume!(lengths.iter().all(|length| *length > 0.1));
            let mut by_hand = from.clone();
            let mut multipliers = vec![0.0; cuts.len()];
            for _ in 0..20_000 {
                for (k, g) in normals.iter().enumerate() {
                    let value: f64 = g.iter().zip(&by_hand).map(|(g, a)| g * a).sum();
                    let change = ((0.5 - value) / lengths[k]).max(-multipliers[k]);
                    multipliers[k] += change;
                    by_hand.iter_mut().zip(g).for_each(|(a, g)| *a += change * g);
                }
            }
            // Very rarely the interior-point method stops short, and says so; the repair then ends undecided.
            let nearest = match project(&from, &cuts, 0.5) {
                Err(NoProjection::Numerical(reason)) => return Err(TestCaseError::reject(reason)),
                nearest => nearest.unwrap(),
            };
            for (a, b) in nearest.iter().zip(&by_hand) {
                prop_assert!((a - b).abs() < 1e-3, "{nearest:?} {by_hand:?}");
            }
        }
    }
}
