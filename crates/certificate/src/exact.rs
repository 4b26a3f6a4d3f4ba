//! Evaluation of a network at rational points, without rounding.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use crate::{Activation, Affine, Block, Error, Network, Result, Rows};

/// The exact value of a finite floating-point number.
///
/// # Panics
/// If `value` is NaN or infinite; every number of a network or a domain was checked when it entered.
pub fn rational(value: f64) -> BigRational {
    assert!(value.is_finite(), "numbers are checked finite when they enter");
    let (mantissa, exponent) = decode(value);
    dyadic(mantissa.into(), exponent.into())
}

/// The exact sum of finite floating-point numbers.
///
/// # Panics
/// If a number is NaN or infinite.
pub fn sum(values: impl Iterator<Item = f64> + Clone) -> BigRational {
    let lowest = values.clone().map(|value| decode(value).1).min().unwrap_or(0);
    // In machine words if the numbers are not too far apart.
    let small = values.clone().try_fold(0i128, |sum, value| {
        let (mantissa, exponent) = decode(value);
        let shift = u32::try_from(exponent - lowest).ok().filter(|shift| *shift < 64)?;
        sum.checked_add(i128::from(mantissa) << shift)
    });
    match small {
        Some(sum) => dyadic(sum.into(), lowest.into()),
        None => values.fold(BigRational::zero(), |sum, value| sum + rational(value)),
    }
}

/// `digits * 2^exponent` in lowest terms.
fn dyadic(digits: BigInt, exponent: i64) -> BigRational {
    let Some(zeros) = digits.trailing_zeros() else { return BigRational::zero() };
    match u64::try_from(exponent) {
        Ok(up) => BigRational::from_integer(digits << up),
        Err(_) => {
            let down = exponent.unsigned_abs();
            let common = zeros.min(down);
            // What is left has no common factor: an odd numerator, or 1 as the denominator.
            BigRational::new_raw(digits >> common, BigInt::one() << (down - common))
        }
    }
}

/// A finite number as `mantissa * 2^exponent` with an odd mantissa; zero as `0 * 2^0`.
fn decode(value: f64) -> (i64, i32) {
    assert!(value.is_finite(), "numbers are checked finite when they enter");
    let bits = value.to_bits();
    let (field, fraction) = ((bits >> 52 & 0x7ff) as i32, (bits & ((1 << 52) - 1)) as i64);
    let (mantissa, exponent) = if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field - 1075) };
    if mantissa == 0 {
        return (0, 0);
    }
    let zeros = mantissa.trailing_zeros();
    let mantissa = mantissa >> zeros;
    (if value < 0.0 { -mantissa } else { mantissa }, exponent + zeros as i32)
}

/// Which of two rational numbers is the larger one; several times quicker than [`Ord`], which divides.
pub fn compare(a: &BigRational, b: &BigRational) -> Ordering {
    // Denominators are positive.
    (a.numer() * b.denom()).cmp(&(b.numer() * a.denom()))
}

/// The nearest `f64` to a rational number, for people and for searches; never for a verdict.
pub fn approximate(value: &BigRational) -> f64 {
    num_traits::ToPrimitive::to_f64(value).unwrap_or(f64::NAN)
}

/// `W x + b` exactly.
///
/// Over one common denominator of `x`, in machine words where they are large enough.
pub fn affine(layer: &Affine, x: &[BigRational]) -> Vec<BigRational> {
    let (point, denominator) = common_denominator(x);
    let longest = point.iter().map(BigInt::bits).max().unwrap_or(0);
    let small_point: Option<Vec<i128>> = point.iter().map(|x| i128::try_from(x).ok()).collect();
    // Of a product of a mantissa and a coordinate, and of a sum of such products.
    let bits = 24 + longest + u64::from(usize::BITS - point.len().leading_zeros());
    let mut row = Vec::new();
    let output = |i: usize| {
        row.clear();
        row.extend(layer.row(i).iter().chain(&layer.bias()[i..=i]).map(|w| decode(f64::from(*w))));
        let (lowest, highest) = row.iter().fold((0, 0), |(low, high), (_, e)| (*e.min(&low), *e.max(&high)));
        // Everything times 2^digits, which makes the parameters of the row whole numbers.
        let digits = -lowest;
        let fits = bits + u64::from((highest - lowest).unsigned_abs()) < 127;
        let small = small_point.as_ref().filter(|_| fits).map(|point| {
            let term =
                |((mantissa, exponent), x): (&(i64, i32), &i128)| (i128::from(*mantissa) << (exponent - lowest)) * x;
            row.iter().zip(point).map(term).sum::<i128>()
        });
        let sum = small.map(BigInt::from).unwrap_or_else(|| {
            let whole = |(mantissa, exponent): &(i64, i32)| BigInt::from(*mantissa) << (exponent + digits);
            let terms = row.iter().zip(&point).filter(|((mantissa, _), _)| *mantissa != 0);
            terms.map(|(w, x)| whole(w) * x).sum()
        });
        match power_of_two(&denominator) {
            Some(halvings) => dyadic(sum, -(halvings as i64) - i64::from(digits)),
            None => BigRational::new(sum, &denominator << digits),
        }
    };
    (0..layer.outputs()).map(output).collect()
}

/// The numbers, and 1, times their least common denominator; and that.
fn common_denominator(x: &[BigRational]) -> (Vec<BigInt>, BigInt) {
    let halvings: Option<Vec<u64>> = x.iter().map(|x| power_of_two(x.denom())).collect();
    let (mut point, denominator): (Vec<BigInt>, BigInt) = match halvings {
        Some(halvings) => {
            let most = halvings.iter().copied().max().unwrap_or(0);
            (x.iter().zip(halvings).map(|(x, k)| x.numer() << (most - k)).collect(), BigInt::one() << most)
        }
        None => {
            let denominator = x.iter().fold(BigInt::one(), |lcm, x| lcm.lcm(x.denom()));
            (x.iter().map(|x| x.numer() * (&denominator / x.denom())).collect(), denominator)
        }
    };
    point.push(denominator.clone());
    (point, denominator)
}

/// `k` if the positive number is `2^k`.
fn power_of_two(number: &BigInt) -> Option<u64> {
    number.trailing_zeros().filter(|zeros| zeros + 1 == number.bits())
}

fn activate(activation: Activation, t: BigRational) -> Result<BigRational> {
    match activation {
        Activation::Relu | Activation::Clamp if t.is_negative() => Ok(BigRational::zero()),
        Activation::Clamp if compare(&t, &BigRational::one()).is_gt() => Ok(BigRational::one()),
        Activation::Relu | Activation::Clamp => Ok(t),
        smooth => Err(Error::NotPiecewiseLinear(smooth.name())),
    }
}

/// The outputs of a block at `x`, exactly.
///
/// # Errors
/// If the activation is not piecewise linear.
pub fn block(block: &Block, x: &[BigRational]) -> Result<Vec<BigRational>> {
    let hidden = affine(block.first(), x).into_iter().map(|t| activate(block.activation(), t));
    Ok(affine(block.second(), &hidden.collect::<Result<Vec<_>>>()?))
}

/// The outputs of a network at `x`, exactly.
///
/// # Errors
/// If an activation is not piecewise linear.
pub fn network(network: &Network, x: &[BigRational]) -> Result<Vec<BigRational>> {
    let mut value = block(&network.blocks()[0], x)?;
    for (next, boundary) in network.blocks()[1..].iter().zip(network.boundaries()) {
        let inputs = value.into_iter().map(|t| activate(boundary.activation, t));
        value = block(next, &inputs.collect::<Result<Vec<_>>>()?)?;
    }
    Ok(value)
}

/// The rows from the outputs, exactly.
///
/// # Panics
/// If there are fewer outputs than coefficients.
pub fn rows(rows: &Rows, outputs: Vec<BigRational>) -> Vec<BigRational> {
    match rows.as_combinations() {
        None => outputs,
        Some(combinations) => combinations.iter().map(|row| combine(row, |k| outputs[k].clone())).collect(),
    }
}

/// What hidden neuron `i` adds to the derivative of row `row` in input `input` while it is active, exactly: the sum over
/// the outputs of coefficient times [`Block::path_weight`].
///
/// # Panics
/// If the block has no such row, neuron or input, or fewer outputs than coefficients.
pub fn path_weight(block: &Block, rows: &Rows, row: usize, i: usize, input: usize) -> BigRational {
    let of_output = |k: usize| rational(block.path_weight(k, i, input));
    rows.as_combinations().map_or_else(|| of_output(row), |combinations| combine(&combinations[row], of_output))
}

fn combine(row: &[f32], of_output: impl Fn(usize) -> BigRational) -> BigRational {
    let terms = row.iter().enumerate().filter(|(_, c)| **c != 0.0);
    terms.map(|(k, c)| rational(f64::from(*c)) * of_output(k)).sum()
}

/// A rational as text: `3`, `-5/8`. Exact, and readable by people and by every big-number library.
pub mod text {
    use super::*;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Longest text accepted for one number: far more than any point of a counterexample needs.
    const LONGEST: usize = 20_000;

    fn parse<E: de::Error>(text: &str) -> std::result::Result<BigRational, E> {
        let expected = || E::custom(format!("expected a rational number such as -5/8, found {text:.40}"));
        if text.len() > LONGEST {
            return Err(E::custom(format!("a number has more than {LONGEST} characters")));
        }
        let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
        let numerator: BigInt = numerator.parse().map_err(|_| expected())?;
        let denominator: BigInt = denominator.parse().map_err(|_| expected())?;
        if denominator <= BigInt::zero() {
            return Err(expected());
        }
        Ok(BigRational::new(numerator, denominator))
    }

    /// Writes one number.
    pub fn serialize<S: Serializer>(value: &BigRational, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    /// Reads one number.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<BigRational, D::Error> {
        parse(&String::deserialize(from)?)
    }

    /// The same for a list of numbers.
    pub mod list {
        use super::*;

        /// Writes the numbers.
        pub fn serialize<S: Serializer>(values: &[BigRational], to: S) -> std::result::Result<S::Ok, S::Error> {
            to.collect_seq(values.iter().map(ToString::to_string))
        }

        /// Reads the numbers.
        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<BigRational>, D::Error> {
            Vec::<String>::deserialize(from)?.iter().map(|text| parse(text)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Any bits of weights, points with mixed denominators: the same as term by term.
        #[test]
        fn affine_is_the_sum_of_its_terms(
            bits in prop::collection::vec(any::<u32>(), 8),
            points in prop::collection::vec((-50i64..50, 1i64..30), 3),
        ) {
            let weights: Vec<f32> = bits.iter().map(|b| f32::from_bits(*b)).map(|w| if w.is_finite() { w } else { 0.0 }).collect();
            let layer = Affine::new(3, weights[..6].to_vec(), weights[6..].to_vec()).unwrap();
            let x: Vec<_> = points.iter().map(|(n, d)| BigRational::new((*n).into(), (*d).into())).collect();
            for (i, value) in affine(&layer, &x).iter().enumerate() {
                let terms = layer.row(i).iter().zip(&x).map(|(w, x)| rational(f64::from(*w)) * x);
                let expected = terms.fold(rational(f64::from(layer.bias()[i])), |sum, term| sum + term);
                prop_assert_eq!(value, &expected);
            }
        }

        /// Any bits, alone and added up, against the library's conversion.
        #[test]
        fn floating_point_numbers_keep_their_value(bits in prop::collection::vec(any::<u64>(), 1..6), near in any::<bool>()) {
            // Exponents at random are far apart; those of one binade use machine words.
            let near = |bits: u64| f64::from_bits(if near { bits & !(0x7ff << 52) | 1020 << 52 } else { bits });
            let values: Vec<f64> = bits.iter().map(|bits| near(*bits)).map(|v| if v.is_finite() { v } else { 0.0 }).collect();
            let exact: Vec<_> = values.iter().map(|value| BigRational::from_float(*value).unwrap()).collect();
            for (value, exact) in values.iter().zip(&exact) {
                prop_assert_eq!(&rational(*value), exact);
            }
            prop_assert_eq!(sum(values.into_iter()), exact.iter().sum::<BigRational>());
        }
    }
}
