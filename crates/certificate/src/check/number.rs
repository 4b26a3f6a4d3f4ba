use std::cmp::Ordering;
use std::ops::{Add, Mul, Neg};

use num_bigint::BigInt;
use num_traits::float::FloatCore;
use num_traits::{Signed, ToPrimitive};

/// `digits * 2^exponent`: what weights, ends of boxes and multipliers are, and closed under `+` and `*`.
#[derive(Debug, Clone)]
pub(super) struct Dyadic {
    digits: BigInt,
    exponent: i64,
}

impl Dyadic {
    pub fn new(digits: impl Into<BigInt>, exponent: i64) -> Self {
        Self { digits: digits.into(), exponent }
    }

    /// The value of a finite number, with as few digits as will do.
    ///
    /// # Panics
    /// If `value` is NaN or infinite: the types of networks and domains do not let these in.
    pub fn exact(value: impl Into<f64>) -> Self {
        let value = value.into();
        assert!(value.is_finite(), "numbers are checked finite when they enter");
        let (digits, exponent, sign) = FloatCore::integer_decode(value);
        if digits == 0 {
            return Self::new(0, 0);
        }
        let zeros = digits.trailing_zeros();
        Self::new(BigInt::from(digits >> zeros) * sign, i64::from(exponent) + i64::from(zeros))
    }

    pub fn exponent(&self) -> i64 {
        self.exponent
    }

    /// The number in units of `2^exponent`.
    ///
    /// # Panics
    /// If `exponent` is larger than the number's own.
    pub fn in_units_of(&self, exponent: i64) -> BigInt {
        let up = u64::try_from(self.exponent - exponent).expect("units are at most a number's own");
        &self.digits << up
    }

    pub fn is_zero(&self) -> bool {
        self.digits.sign() == num_bigint::Sign::NoSign
    }

    pub fn is_negative(&self) -> bool {
        self.digits.is_negative()
    }

    pub fn is_positive(&self) -> bool {
        self.digits.is_positive()
    }

    /// Roughly this number, for messages.
    pub fn approximate(&self) -> f64 {
        let dropped = self.digits.bits().saturating_sub(64);
        let leading = (&self.digits >> dropped).to_f64().unwrap_or(f64::NAN);
        leading * (self.exponent as f64 + dropped as f64).exp2()
    }

    /// Both in the smaller one's units, which are the third.
    pub fn aligned(&self, other: &Self) -> (BigInt, BigInt, i64) {
        let exponent = self.exponent.min(other.exponent);
        (self.in_units_of(exponent), other.in_units_of(exponent), exponent)
    }
}

impl Add for &Dyadic {
    type Output = Dyadic;

    fn add(self, other: &Dyadic) -> Dyadic {
        let (a, b, exponent) = self.aligned(other);
        Dyadic { digits: a + b, exponent }
    }
}

impl Mul for &Dyadic {
    type Output = Dyadic;

    fn mul(self, other: &Dyadic) -> Dyadic {
        Dyadic { digits: &self.digits * &other.digits, exponent: self.exponent + other.exponent }
    }
}

impl Neg for &Dyadic {
    type Output = Dyadic;

    fn neg(self) -> Dyadic {
        Dyadic { digits: -&self.digits, exponent: self.exponent }
    }
}

impl Ord for Dyadic {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b, _) = self.aligned(other);
        a.cmp(&b)
    }
}

impl PartialOrd for Dyadic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Dyadic {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Dyadic {}

#[cfg(test)]
mod tests {
    use num_rational::BigRational;
    use proptest::prelude::*;

    use super::*;

    fn rational(value: &Dyadic) -> BigRational {
        let two = BigRational::from_integer(2.into());
        BigRational::from_integer(value.digits.clone()) * num_traits::Pow::pow(two, BigInt::from(value.exponent))
    }

    proptest! {
        #[test]
        fn agrees_with_rationals(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(a.is_finite() && b.is_finite());
            let (exact_a, exact_b) = (BigRational::from_float(a).unwrap(), BigRational::from_float(b).unwrap());
            let (a, b) = (Dyadic::exact(a), Dyadic::exact(b));
            prop_assert_eq!(&rational(&a), &exact_a);
            prop_assert_eq!(rational(&(&a + &b)), &exact_a + &exact_b);
            prop_assert_eq!(rational(&(&a * &b)), &exact_a * &exact_b);
            prop_assert_eq!(rational(&-&a), -&exact_a);
            prop_assert_eq!(a.cmp(&b), exact_a.cmp(&exact_b));
        }
    }

    #[test]
    fn the_ends_of_the_floating_point_range() {
        for value in [0.0, -0.0, f64::MIN_POSITIVE, 5e-324, -5e-324, f64::MAX, f64::from(f32::from_bits(1))] {
            assert_eq!(rational(&Dyadic::exact(value)), BigRational::from_float(value).unwrap());
        }
        assert_eq!(Dyadic::new(3, -1).approximate(), 1.5);
        assert_eq!(Dyadic::new(BigInt::from(1) << 3000, -3000).approximate(), 1.0);
    }
}
