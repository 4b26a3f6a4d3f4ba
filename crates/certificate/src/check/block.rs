use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{CheckedAdd, CheckedMul, Zero};

use super::number::Dyadic;
use crate::{Affine, Domain};

/// The first layer of a block and its domain in whole numbers.
///
/// The integer features' values have the denominators `steps`, all else is dyadic. So inputs, pre-activations and
/// everything made of them are multiplied by `one`, the least common multiple of the steps times a power of two; weights
/// are counted in units of `2^exponent`.
pub(super) struct FirstLayer {
    pub domain: Domain,
    big: Forms<BigInt>,
    /// The same in machine words, if they are large enough.
    small: Option<Forms<i128>>,
    exponent: i64,
    /// `one = steps * 2^digits`
    steps: BigInt,
    digits: i64,
    /// What the pre-activations can be over the domain, times `one`.
    pub bounds: Vec<Range>,
}

/// From the least to the largest value.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub lower: Dyadic,
    pub upper: Dyadic,
}

/// The discrete inputs of a region and the sides that follow from them.
pub(super) struct Place {
    /// For each one-hot group the position of the member that is 1, if it is fixed.
    pub members: Vec<Option<usize>>,
    /// For each integer feature the first and the last grid index.
    pub grid: Vec<(u64, u64)>,
    big: Vec<(BigInt, BigInt)>,
    small: Option<Vec<(i128, i128)>>,
}

/// Affine forms with coefficients of one type.
struct Forms<T> {
    /// `[neurons, inputs]`
    weights: Vec<Vec<T>>,
    bias: Vec<T>,
    /// The input 1.
    one: T,
}

impl<T: Clone + Zero + CheckedAdd + CheckedMul + Ord> Forms<T> {
    /// `min sum_i s_i t_i(x)` over the sides and the one-hot groups; `None` if `T` is too small for it.
    fn least(
        &self,
        terms: &[(usize, T)],
        sides: &[(T, T)],
        groups: &[Vec<usize>],
        members: &[Option<usize>],
    ) -> Option<T> {
        let mut weight = vec![T::zero(); sides.len()];
        let mut sum = T::zero();
        for (i, s) in terms.iter().filter(|(_, s)| !s.is_zero()) {
            sum = sum.checked_add(&s.checked_mul(&self.bias[*i])?)?;
            for (total, w) in weight.iter_mut().zip(&self.weights[*i]).filter(|(_, w)| !w.is_zero()) {
                *total = total.checked_add(&s.checked_mul(w)?)?;
            }
        }
        for (group, member) in groups.iter().zip(members) {
            let chosen = match member {
                Some(member) => &weight[group[*member]],
                None => group.iter().map(|&j| &weight[j]).min().expect("a group has members"),
            };
            sum = sum.checked_add(&chosen.checked_mul(&self.one)?)?;
            group.iter().for_each(|&j| weight[j] = T::zero());
        }
        for (weight, (lower, upper)) in weight.iter().zip(sides).filter(|(w, _)| !w.is_zero()) {
            let end = if *weight > T::zero() { lower } else { upper };
            sum = sum.checked_add(&weight.checked_mul(end)?)?;
        }
        Some(sum)
    }
}

fn small(values: &[BigInt]) -> Option<Vec<i128>> {
    values.iter().map(|value| i128::try_from(value).ok()).collect()
}

impl FirstLayer {
    pub fn new(layer: &Affine, domain: Domain) -> Self {
        let exact = |w: &f32| Dyadic::exact(*w);
        let exponent = layer.weight().iter().chain(layer.bias()).map(|w| exact(w).exponent()).min().unwrap_or(0);
        let ends = domain.input_box().iter().flat_map(|side| [side.lower, side.upper]);
        let digits = ends.map(|end| -Dyadic::exact(end).exponent()).fold(0, i64::max);
        let steps = domain.integer().iter().fold(BigInt::from(1), |lcm, feature| lcm.lcm(&feature.steps.into()));
        let one = &steps << digits;
        let whole = |w: &f32| exact(w).in_units_of(exponent);
        let big = Forms {
            weights: (0..layer.outputs()).map(|i| layer.row(i).iter().map(whole).collect()).collect(),
            bias: layer.bias().iter().map(|b| whole(b) * &one).collect(),
            one,
        };
        let forms = || {
            let weights = big.weights.iter().map(|row| small(row)).collect::<Option<_>>()?;
            Some(Forms { weights, bias: small(&big.bias)?, one: i128::try_from(&big.one).ok()? })
        };
        let mut first = Self { small: forms(), domain, big, exponent, steps, digits, bounds: Vec::new() };
        let everywhere = first.everywhere();
        let t = |i: usize| [(i, BigInt::from(1))];
        let range =
            |i| Range { lower: first.least(&t(i), 0, &everywhere), upper: first.largest(&t(i), 0, &everywhere) };
        first.bounds = (0..layer.outputs()).map(range).collect();
        first
    }

    /// The end of a side, times `one`.
    fn whole(&self, end: f64) -> BigInt {
        Dyadic::exact(end).in_units_of(-self.digits) * &self.steps
    }

    /// The whole domain.
    pub fn everywhere(&self) -> Place {
        let domain = &self.domain;
        let sides = domain.input_box().iter();
        let big: Vec<_> = sides.map(|side| (self.whole(side.lower), self.whole(side.upper))).collect();
        let small_side = |(a, b): &(BigInt, BigInt)| Some((i128::try_from(a).ok()?, i128::try_from(b).ok()?));
        Place {
            members: vec![None; domain.one_hot().len()],
            grid: domain.integer().iter().map(|feature| (0, feature.steps.into())).collect(),
            small: big.iter().map(small_side).collect(),
            big,
        }
    }

    /// Restricts an integer feature, given by its position among these, to a part of its grid.
    pub fn restrict(&self, place: &mut Place, feature: usize, (first, last): (u64, u64)) {
        let integer = self.domain.integer()[feature];
        let side = self.domain.input_box()[integer.input];
        let [lower, upper] = [side.lower, side.upper].map(|end| self.whole(end));
        // Whole, because `one` is a multiple of the steps.
        let step = (upper - &lower) / integer.steps;
        let ends = [first, last].map(|k| &lower + &step * k);
        place.grid[feature] = (first, last);
        if let Some(sides) = &mut place.small {
            let [a, b] = ends.each_ref().map(|end| i128::try_from(end).expect("as the ends of the whole side"));
            sides[integer.input] = (a, b);
        }
        place.big[integer.input] = ends.into();
    }

    /// `min sum_i s_i t_i` over a region's box, times `one`, for multipliers in units of `2^unit`.
    pub fn least(&self, terms: &[(usize, BigInt)], unit: i64, place: &Place) -> Dyadic {
        let groups = self.domain.one_hot();
        let fast = || {
            let s = terms.iter().map(|(i, s)| Some((*i, i128::try_from(s).ok()?))).collect::<Option<Vec<_>>>()?;
            self.small.as_ref()?.least(&s, place.small.as_ref()?, groups, &place.members)
        };
        let slow = || self.big.least(terms, &place.big, groups, &place.members).expect("these numbers have no limit");
        Dyadic::new(fast().map_or_else(slow, BigInt::from), self.exponent + unit)
    }

    /// The same with `max`.
    pub fn largest(&self, terms: &[(usize, BigInt)], unit: i64, place: &Place) -> Dyadic {
        let negated: Vec<_> = terms.iter().map(|(i, s)| (*i, -s)).collect();
        -&self.least(&negated, unit, place)
    }

    /// The input 1, by which everything is multiplied.
    pub fn one(&self) -> Dyadic {
        Dyadic::new(self.big.one.clone(), 0)
    }

    /// What a second layer can produce behind a ReLU, times `one`, by interval arithmetic.
    pub fn outputs(&self, second: &Affine) -> Vec<Range> {
        let zero = Dyadic::new(0, 0);
        let hidden = self.bounds.iter().map(|t| (t.lower.clone().max(zero.clone()), t.upper.clone().max(zero.clone())));
        let hidden: Vec<_> = hidden.collect();
        let output = |i: usize| {
            let bias = &Dyadic::exact(second.bias()[i]) * &self.one();
            let mut range = Range { lower: bias.clone(), upper: bias };
            for (w, (least, largest)) in second.row(i).iter().zip(&hidden).filter(|(w, _)| **w != 0.0) {
                let (low, high) = if *w > 0.0 { (least, largest) } else { (largest, least) };
                let w = Dyadic::exact(*w);
                range.lower = &range.lower + &(&w * low);
                range.upper = &range.upper + &(&w * high);
            }
            range
        };
        (0..second.outputs()).map(output).collect()
    }
}

#[cfg(test)]
mod tests {
    use num_rational::BigRational;
    use proptest::prelude::*;

    use super::*;
    use crate::{IntegerFeature, Interval};

    /// Three inputs: a plain one, an integer one, and two members of a group.
    fn domain(side: (f64, f64), steps: u32) -> Domain {
        let sides = [side, side, (0.0, 1.0), (0.0, 1.0)].map(|(a, b)| Interval::new(a, b));
        Domain::new(sides.to_vec(), vec![vec![2, 3]], vec![IntegerFeature { input: 1, steps }]).unwrap()
    }

    fn rational(value: f64) -> BigRational {
        BigRational::from_float(value).unwrap()
    }

    /// The least value of a form, point by point: it is attained at corners.
    fn by_hand(layer: &Affine, terms: &[(usize, i32)], sides: [[BigRational; 2]; 2], members: &[usize]) -> BigRational {
        let mut values = Vec::new();
        for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for &member in members {
                let unit = |j| rational(if j == member { 1.0 } else { 0.0 });
                let x = [sides[0][a].clone(), sides[1][b].clone(), unit(0), unit(1)];
                let t = crate::exact::affine(layer, &x);
                values.push(terms.iter().map(|(i, s)| &t[*i] * BigRational::from_integer((*s).into())).sum());
            }
        }
        values.into_iter().min().unwrap()
    }

    #[test]
    fn outputs_are_those_of_interval_arithmetic() {
        // 2 x - 1 on [0, 1] is -1 to 1, behind the ReLU 0 to 1.
        let first = FirstLayer::new(&Affine::new(1, vec![2.0], vec![-1.0]).unwrap(), Domain::unit_cube(1));
        let outputs = first.outputs(&Affine::new(1, vec![-3.0, 1.0], vec![1.0, 0.5]).unwrap());
        let ends: Vec<_> = outputs.iter().map(|range| (range.lower.approximate(), range.upper.approximate())).collect();
        assert_eq!(ends, [(-2.0, 1.0), (0.5, 1.5)]);
    }

    proptest! {
        /// Both kinds of numbers, any grid and any member against evaluation at corners.
        #[test]
        fn the_least_value_is_that_of_a_corner(
            weights in prop::collection::vec(-9i32..9, 12),
            (low, width, shift) in (-5i32..5, 0i32..9, 0i32..100),
            (steps, ends) in (1u32..9).prop_flat_map(|steps| (Just(steps), (0..=steps, 0..=steps))),
            (s0, s1) in (-5i32..5, -5i32..5),
            member in prop::option::of(0usize..2),
        ) {
            let scaled = |k: i32| f64::from(k) * f64::from(-shift).exp2();
            let weights: Vec<_> = weights.iter().map(|w| *w as f32 / 8.0).collect();
            let layer = Affine::new(4, weights[..8].to_vec(), weights[8..10].to_vec()).unwrap();
            let (lower, upper) = (scaled(low), scaled(low + width));
            let first = FirstLayer::new(&layer, domain((lower, upper), steps));
            let mut place = first.everywhere();
            let grid = (u64::from(ends.0.min(ends.1)), u64::from(ends.0.max(ends.1)));
            first.restrict(&mut place, 0, grid);
            place.members[0] = member;

            let (lower, upper) = (rational(lower), rational(upper));
            let value = |k: u64| &lower + (&upper - &lower) * BigRational::new(k.into(), steps.into());
            let sides = [[lower.clone(), upper.clone()], [value(grid.0), value(grid.1)]];
            let members = member.map_or(vec![0, 1], |member| vec![member]);
            let expected = by_hand(&layer, &[(0, s0), (1, s1)], sides, &members);
            let terms = [(0, BigInt::from(s0)), (1, BigInt::from(s1))];
            let one = BigRational::from_integer(first.big.one.clone());
            for _ in 0..2 {
                let (digits, other, unit) = first.least(&terms, 0, &place).aligned(&Dyadic::new(0, -200));
                prop_assert_eq!(other, BigInt::from(0));
                let value = BigRational::new(digits, BigInt::from(1) << -unit) / &one;
                prop_assert_eq!(&value, &expected);
                place.small = None;
            }
        }
    }
}
