//! Whether an activation pattern has an open cell, decided exactly.
//!
//! The mixed-integer programme is closed: it admits patterns that only touch each other on hyperplanes and that no
//! neighbourhood of any input has. Here the largest slack
//!
//! ```text
//! max s   subject to   sigma_i (w_i x + b_i) >= s,   lo <= x <= hi
//! ```
//!
//! is computed by a simplex method over the integers, so that "no interior" is a proof and never a tolerance. The
//! method runs on the dual, which is in standard form and has an immediate feasible basis:
//!
//! ```text
//! min sum_i lambda_i sigma_i b_i + sum_j (mu+_j hi_j - mu-_j lo_j)
//!     sum_i lambda_i = 1,   sum_i lambda_i sigma_i w_ij = mu+_j - mu-_j,   lambda, mu >= 0.
//! ```
//!
//! Every basis bounds the slack from above, the simplex multipliers of the last one are `x` and `s`, and the neurons
//! with `lambda_i > 0` are a *conflict*: already their signs alone leave no interior.
//!
//! A pivot costs the square of the number of coordinates, so where these are many rounded arithmetic is asked first, and
//! confirmed (`interior/rounded.rs`).

mod rounded;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

/// Coordinates from which on the exact method takes seconds (276 of them: up to minutes).
const MANY: usize = 64;

/// `sigma (w x + b)`, asked to be positive.
#[derive(Debug, Clone, PartialEq)]
pub struct Halfspace {
    /// `sigma w`
    pub weight: Vec<BigRational>,
    /// `sigma b`
    pub bias: BigRational,
}

/// What the slack programme found.
#[derive(Debug, Clone, PartialEq)]
pub enum Interior {
    /// A point of the box with a positive slack.
    Point(Vec<BigRational>),
    /// There is none. Already these half-spaces have no common point in the box.
    Empty {
        /// Half-spaces, at most one more than the box has dimensions, with positive factors: the sum of all
        /// `factor * sigma (w x + b)` is positive nowhere in the box.
        conflict: Vec<(usize, BigInt)>,
    },
}

/// Decides whether a point of the closed box satisfies all half-spaces strictly.
///
/// A side of the box whose ends are equal fixes its coordinate. The point has the largest slack unless it has many
/// coordinates.
///
/// # Soundness
/// Exact: either no number is rounded, or what came of rounded ones is confirmed without rounding.
///
/// # Panics
/// If a half-space has the wrong number of weights or a side is empty.
pub fn interior(halfspaces: &[Halfspace], sides: &[(BigRational, BigRational)]) -> Interior {
    assert!(halfspaces.iter().all(|h| h.weight.len() == sides.len()), "one weight per coordinate");
    assert!(sides.iter().all(|(lower, upper)| lower <= upper), "a side is empty");
    if halfspaces.is_empty() {
        return Interior::Point(sides.iter().map(|(lower, _)| lower.clone()).collect());
    }
    let free: Vec<usize> = (0..sides.len()).filter(|&j| sides[j].0 < sides[j].1).collect();
    if free.len() >= MANY
        && let Some(answer) = rounded::interior(halfspaces, sides)
    {
        return answer;
    }
    let scaled = Scaled::new(halfspaces, sides, &free);
    match Simplex::new(&scaled).run() {
        Err(conflict) => Interior::Empty { conflict },
        Ok(free_point) => {
            let mut point: Vec<_> = sides.iter().map(|(lower, _)| lower.clone()).collect();
            free.iter().zip(free_point).for_each(|(&j, x)| point[j] = x);
            Interior::Point(point)
        }
    }
}

/// The data over the integers: half-spaces times one common number, coordinates times another.
struct Scaled {
    weight: Vec<Vec<BigInt>>,
    /// Costs of the `lambda`.
    bias: Vec<BigInt>,
    lower: Vec<BigInt>,
    upper: Vec<BigInt>,
    coordinate_scale: BigInt,
}

impl Scaled {
    fn new(halfspaces: &[Halfspace], sides: &[(BigRational, BigRational)], free: &[usize]) -> Self {
        let fixed: Vec<usize> = (0..sides.len()).filter(|j| !free.contains(j)).collect();
        let bias: Vec<BigRational> = halfspaces
            .iter()
            .map(|h| fixed.iter().fold(h.bias.clone(), |sum, &j| sum + &h.weight[j] * &sides[j].0))
            .collect();
        let ends = free.iter().flat_map(|&j| [&sides[j].0, &sides[j].1]);
        let coordinate_scale = common_denominator(ends);
        let weights = halfspaces.iter().flat_map(|h| free.iter().map(|&j| &h.weight[j]));
        let scale = common_denominator(weights.chain(&bias));
        let integer = |value: &BigRational, scale: &BigInt| value.numer() * (scale / value.denom());
        let side = |pick: fn(&(BigRational, BigRational)) -> &BigRational| {
            free.iter().map(|&j| integer(pick(&sides[j]), &coordinate_scale)).collect()
        };
        Self {
            weight: halfspaces.iter().map(|h| free.iter().map(|&j| integer(&h.weight[j], &scale)).collect()).collect(),
            bias: bias.iter().map(|b| integer(b, &scale) * &coordinate_scale).collect(),
            lower: side(|(lower, _)| lower),
            upper: side(|(_, upper)| upper),
            coordinate_scale,
        }
    }
}

fn common_denominator<'a>(values: impl Iterator<Item = &'a BigRational>) -> BigInt {
    values.fold(BigInt::one(), |lcm, value| lcm.lcm(value.denom()))
}

/// A column of the dual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Variable {
    Lambda(usize),
    AtUpper(usize),
    AtLower(usize),
}

/// Revised simplex method with a fraction-free basis inverse: `inverse / determinant` is the inverse of the basis, all
/// entries are integers, and every division is exact (Edmonds 1967, Bareiss 1968).
///
/// The right-hand side is the first unit vector, so the first column of `inverse` holds the basic solution.
struct Simplex<'a> {
    data: &'a Scaled,
    basis: Vec<Variable>,
    inverse: Vec<Vec<BigInt>>,
    determinant: BigInt,
}

impl<'a> Simplex<'a> {
    fn new(data: &'a Scaled) -> Self {
        let size = data.lower.len() + 1;
        let mut basis = vec![Variable::Lambda(0)];
        let mut inverse = vec![vec![BigInt::zero(); size]; size];
        inverse[0][0] = BigInt::one();
        for (j, w) in data.weight[0].iter().enumerate() {
            let upward = !w.is_negative();
            basis.push(if upward { Variable::AtUpper(j) } else { Variable::AtLower(j) });
            inverse[j + 1][0] = w.abs();
            inverse[j + 1][j + 1] = if upward { -BigInt::one() } else { BigInt::one() };
        }
        Self { data, basis, inverse, determinant: BigInt::one() }
    }

    /// The point with the largest slack if that is positive, otherwise a conflict.
    fn run(&mut self) -> Result<Vec<BigRational>, Vec<(usize, BigInt)>> {
        // Bland's rule ends every cycle; the steepest column is faster, so it is used as long as it makes progress.
        let mut without_progress = 0;
        loop {
            let multipliers = self.multipliers();
            if !multipliers[0].is_positive() {
                return Err(self.conflict());
            }
            match self.entering(&multipliers, without_progress > self.basis.len()) {
                None => return Ok(self.point(&multipliers)),
                Some(entering) => {
                    let progress = self.pivot(entering);
                    without_progress = if progress { 0 } else { without_progress + 1 };
                }
            }
        }
    }

    fn cost(&self, variable: Variable) -> BigInt {
        match variable {
            Variable::Lambda(i) => self.data.bias[i].clone(),
            Variable::AtUpper(j) => self.data.upper[j].clone(),
            Variable::AtLower(j) => -&self.data.lower[j],
        }
    }

    /// Costs of the basis times its inverse: the slack, then minus the point, all times `determinant`.
    fn multipliers(&self) -> Vec<BigInt> {
        let costs: Vec<_> = self.basis.iter().map(|&variable| self.cost(variable)).collect();
        let column = |k: usize| costs.iter().zip(&self.inverse).map(|(cost, row)| cost * &row[k]).sum();
        (0..self.basis.len()).map(column).collect()
    }

    fn reduced_cost(&self, variable: Variable, y: &[BigInt]) -> BigInt {
        let cost = self.cost(variable) * &self.determinant;
        match variable {
            Variable::Lambda(i) => {
                let explained = self.data.weight[i].iter().zip(&y[1..]).map(|(w, y)| w * y).sum::<BigInt>();
                cost - &y[0] - explained
            }
            Variable::AtUpper(j) => cost + &y[j + 1],
            Variable::AtLower(j) => cost - &y[j + 1],
        }
    }

    fn entering(&self, multipliers: &[BigInt], first: bool) -> Option<Variable> {
        let lambdas = (0..self.data.bias.len()).map(Variable::Lambda);
        let sides = (0..self.data.lower.len()).flat_map(|j| [Variable::AtUpper(j), Variable::AtLower(j)]);
        let mut candidates = lambdas
            .chain(sides)
            .map(|variable| (self.reduced_cost(variable, multipliers), variable))
            .filter(|(cost, _)| cost.is_negative());
        if first { candidates.next() } else { candidates.min() }.map(|(_, variable)| variable)
    }

    /// The column of `variable` in terms of the basis, times `determinant`.
    fn column(&self, variable: Variable) -> Vec<BigInt> {
        let entry = |row: &Vec<BigInt>| match variable {
            Variable::Lambda(i) => {
                &row[0] + self.data.weight[i].iter().zip(&row[1..]).map(|(w, r)| w * r).sum::<BigInt>()
            }
            Variable::AtUpper(j) => -&row[j + 1],
            Variable::AtLower(j) => row[j + 1].clone(),
        };
        self.inverse.iter().map(entry).collect()
    }

    /// Brings `entering` into the basis and says whether the objective fell.
    fn pivot(&mut self, entering: Variable) -> bool {
        let column = self.column(entering);
        let closer = |&r: &usize, &s: &usize| {
            let ratios = (&self.inverse[r][0] * &column[s]).cmp(&(&self.inverse[s][0] * &column[r]));
            ratios.then_with(|| self.basis[r].cmp(&self.basis[s]))
        };
        let leaving = (0..column.len())
            .filter(|&r| column[r].is_positive())
            .min_by(closer)
            .expect("the slack over a box with a half-space is bounded from below");
        let progress = self.inverse[leaving][0].is_positive();
        let pivot_row = self.inverse[leaving].clone();
        for (r, row) in self.inverse.iter_mut().enumerate().filter(|(r, _)| *r != leaving) {
            for (entry, p) in row.iter_mut().zip(&pivot_row) {
                *entry = (&*entry * &column[leaving] - &column[r] * p) / &self.determinant;
            }
        }
        self.determinant = column[leaving].clone();
        self.basis[leaving] = entering;
        progress
    }

    fn conflict(&self) -> Vec<(usize, BigInt)> {
        let lambda = |(variable, row): (&Variable, &Vec<BigInt>)| match variable {
            Variable::Lambda(i) if row[0].is_positive() => Some((*i, row[0].clone())),
            _ => None,
        };
        let mut conflict: Vec<_> = self.basis.iter().zip(&self.inverse).filter_map(lambda).collect();
        conflict.sort_unstable_by_key(|(i, _)| *i);
        reduced(conflict)
    }

    fn point(&self, multipliers: &[BigInt]) -> Vec<BigRational> {
        let scale = &self.determinant * &self.data.coordinate_scale;
        multipliers[1..].iter().map(|y| BigRational::new(-y, scale.clone())).collect()
    }
}

/// Factors without a common divisor.
fn reduced(mut conflict: Vec<(usize, BigInt)>) -> Vec<(usize, BigInt)> {
    let divisor = conflict.iter().fold(BigInt::ZERO, |gcd, (_, factor)| gcd.gcd(factor));
    conflict.iter_mut().for_each(|(_, factor)| *factor /= &divisor);
    conflict
}

#[cfg(test)]
mod tests {
    use certificate::exact::rational;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn halfspace(weight: &[f64], bias: f64) -> Halfspace {
        Halfspace { weight: weight.iter().map(|w| rational(*w)).collect(), bias: rational(bias) }
    }

    fn cube(dimension: usize, lower: f64, upper: f64) -> Vec<(BigRational, BigRational)> {
        vec![(rational(lower), rational(upper)); dimension]
    }

    fn slack(h: &Halfspace, x: &[BigRational]) -> BigRational {
        h.weight.iter().zip(x).fold(h.bias.clone(), |sum, (w, x)| sum + w * x)
    }

    fn factors(factors: &[i32]) -> Vec<(usize, BigInt)> {
        factors.iter().map(|factor| BigInt::from(*factor)).enumerate().collect()
    }

    #[test]
    fn hand_computed_slacks() {
        // x > 1/4 and x < 3/4: the middle.
        let both = [halfspace(&[1.0], -0.25), halfspace(&[-1.0], 0.75)];
        assert_eq!(interior(&both, &cube(1, 0.0, 1.0)), Interior::Point(vec![rational(0.5)]));
        // x > 3/4 and x < 1/4.
        let none = [halfspace(&[1.0], -0.75), halfspace(&[-1.0], 0.25)];
        assert_eq!(interior(&none, &cube(1, 0.0, 1.0)), Interior::Empty { conflict: factors(&[1, 1]) });
        // x > 1 is met by no point of the closed box, x > 1 - 2^-40 is.
        let edge = |b: f64| interior(&[halfspace(&[1.0], -b)], &cube(1, 0.0, 1.0));
        assert_eq!(edge(1.0), Interior::Empty { conflict: factors(&[1]) });
        assert_eq!(edge(1.0 - 2f64.powi(-40)), Interior::Point(vec![rational(1.0)]));
    }

    #[test]
    fn a_meeting_point_of_hyperplanes_is_no_interior() {
        let opposite = [halfspace(&[1.0, 0.0], 0.0), halfspace(&[0.0, 1.0], 0.0), halfspace(&[-1.0, -1.0], 0.0)];
        assert_eq!(interior(&opposite, &cube(2, -1.0, 1.0)), Interior::Empty { conflict: factors(&[1, 1, 1]) });
        assert!(matches!(interior(&opposite[..2], &cube(2, -1.0, 1.0)), Interior::Point(_)));
    }

    #[test]
    fn fixed_coordinates_are_constants() {
        let third = BigRational::new(1.into(), 3.into());
        let sides = vec![(third.clone(), third), (rational(0.0), rational(1.0))];
        // 3 x0 - 1 + x1 > 0 and x1 < 2^-30, at x0 = 1/3.
        let thin = [halfspace(&[3.0, 1.0], -1.0), halfspace(&[0.0, -1.0], 2f64.powi(-30))];
        let Interior::Point(x) = interior(&thin, &sides) else { panic!("0 < x1 < 2^-30") };
        assert_eq!(x[1], rational(2f64.powi(-31)));
        assert!(matches!(
            interior(&thin, &sides[..1].iter().cycle().take(2).cloned().collect::<Vec<_>>()),
            Interior::Empty { .. }
        ));
    }

    #[test]
    fn a_conflict_is_empty_by_itself_and_a_point_is_inside() {
        let (decided, of) = assert_answers(|halfspaces, sides| Some(interior(halfspaces, sides)));
        assert_eq!(decided, of);
        let (decided, of) = assert_answers(rounded::interior);
        assert!(2 * decided > of, "{decided} of {of}");
    }

    /// How many of some random cells are decided, and rightly.
    fn assert_answers(
        decide: impl Fn(&[Halfspace], &[(BigRational, BigRational)]) -> Option<Interior>,
    ) -> (usize, usize) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut empty, mut full) = (0, 0);
        for _ in 0..300 {
            let dimension = rng.random_range(1..=3);
            // Small integers make degenerate positions likely.
            let mut number = || f64::from(rng.random_range(-2..=2_i32));
            let halfspaces: Vec<_> =
                (0..5).map(|_| halfspace(&(0..dimension).map(|_| number()).collect::<Vec<_>>(), number())).collect();
            let sides = cube(dimension, -1.0, 1.0);
            let Some(answer) = decide(&halfspaces, &sides) else { continue };
            match answer {
                Interior::Point(x) => {
                    full += 1;
                    assert!(x.iter().all(|x| x.abs() <= BigRational::one()));
                    assert!(halfspaces.iter().all(|h| slack(h, &x).is_positive()));
                }
                Interior::Empty { conflict } => {
                    empty += 1;
                    assert!(conflict.len() <= dimension + 1);
                    let alone: Vec<_> = conflict.iter().map(|(i, _)| halfspaces[*i].clone()).collect();
                    assert!(matches!(interior(&alone, &sides), Interior::Empty { .. }));
                    for _ in 0..20 {
                        let x: Vec<_> = sides.iter().map(|_| rational(rng.random_range(-1.0..1.0))).collect();
                        let factors = conflict.iter().map(|(_, factor)| BigRational::from_integer(factor.clone()));
                        let sum: BigRational = alone.iter().zip(factors).map(|(h, f)| slack(h, &x) * f).sum();
                        assert!(!sum.is_positive());
                    }
                }
            }
        }
        assert!(empty > 30 && full > 30, "{empty} empty, {full} full");
        (empty + full, 300)
    }

    /// Of many coordinates, with rounding first and without.
    #[test]
    fn many_coordinates() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let (mut empty, mut full) = (0, 0);
        for _ in 0..12 {
            let mut number = || f64::from(rng.random_range(-1.0..1.0_f32));
            let halfspaces: Vec<_> = (0..8)
                .map(|_| halfspace(&(0..MANY).map(|_| number()).collect::<Vec<_>>(), 5.0 * number() - 3.0))
                .collect();
            let sides = cube(MANY, 0.0, 1.0);
            let scaled = Scaled::new(&halfspaces, &sides, &(0..MANY).collect::<Vec<_>>());
            match (rounded::interior(&halfspaces, &sides).unwrap(), Simplex::new(&scaled).run()) {
                (Interior::Point(x), Ok(_)) => {
                    full += 1;
                    assert!(x.iter().all(|x| *x >= BigRational::zero() && *x <= BigRational::one()));
                    assert!(halfspaces.iter().all(|h| slack(h, &x).is_positive()));
                }
                (Interior::Empty { conflict }, Err(_)) => {
                    empty += 1;
                    let factor = |(i, factor): &(usize, BigInt)| (*i, BigRational::from_integer(factor.clone()));
                    let largest =
                        conflict.iter().map(factor).map(|(i, f)| &halfspaces[i].bias * f).sum::<BigRational>()
                            + (0..MANY)
                                .map(|j| {
                                    conflict
                                        .iter()
                                        .map(factor)
                                        .map(|(i, f)| &halfspaces[i].weight[j] * f)
                                        .sum::<BigRational>()
                                })
                                .filter(Signed::is_positive)
                                .sum::<BigRational>();
                    assert!(!largest.is_positive());
                }
                (rounded, exact) => panic!("{rounded:?} against {exact:?}"),
            }
        }
        assert!(empty > 2 && full > 2, "{empty} empty, {full} full");
    }
}
