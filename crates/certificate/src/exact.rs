//! Evaluation of a network at rational points, without rounding.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Zero};

use crate::{Activation, Affine, Block, Error, Network, Result};

/// The exact value of a finite floating-point number.
///
/// # Panics
/// If `value` is NaN or infinite; every number of a network or a domain was checked when it entered.
pub fn rational(value: f64) -> BigRational {
    BigRational::from_float(value).expect("numbers are checked finite when they enter")
}

/// The nearest `f64` to a rational number, for people and for searches; never for a verdict.
pub fn approximate(value: &BigRational) -> f64 {
    num_traits::ToPrimitive::to_f64(value).unwrap_or(f64::NAN)
}

/// `W x + b` exactly.
///
/// Over one common denominator of `x`, so that only one fraction per output has to be reduced.
pub fn affine(layer: &Affine, x: &[BigRational]) -> Vec<BigRational> {
    let denominator = x.iter().fold(BigInt::one(), |lcm, x| lcm.lcm(x.denom()));
    let x: Vec<BigInt> = x.iter().map(|x| x.numer() * (&denominator / x.denom())).collect();
    let output = |i: usize| {
        // Everything times 2^digits, which makes the parameters of the row whole numbers.
        let row = || layer.row(i).iter().chain(&layer.bias()[i..=i]).map(|w| binary(*w));
        let digits = row().map(|(_, exponent)| -exponent).max().unwrap_or(0).max(0);
        let whole = |(mantissa, exponent): (i32, i32)| BigInt::from(mantissa) << (exponent + digits);
        let terms = row().zip(x.iter().chain([&denominator])).filter(|((mantissa, _), _)| *mantissa != 0);
        let sum: BigInt = terms.map(|(w, x)| whole(w) * x).sum();
        BigRational::new(sum, &denominator << digits)
    };
    (0..layer.outputs()).map(output).collect()
}

/// A finite number as `mantissa * 2^exponent`.
fn binary(value: f32) -> (i32, i32) {
    let bits = value.to_bits();
    let (field, fraction) = ((bits >> 23 & 0xff) as i32, (bits & 0x7f_ffff) as i32);
    let (mantissa, exponent) = if field == 0 { (fraction, -149) } else { (fraction | 1 << 23, field - 150) };
    let zeros = if mantissa == 0 { 0 } else { mantissa.trailing_zeros() as i32 };
    let exponent = if mantissa == 0 { 0 } else { exponent + zeros };
    (if value < 0.0 { -(mantissa >> zeros) } else { mantissa >> zeros }, exponent)
}

fn activate(activation: Activation, t: BigRational) -> Result<BigRational> {
    let zero = BigRational::zero();
    match activation {
        Activation::Relu => Ok(t.max(zero)),
        Activation::Clamp => Ok(t.max(zero).min(BigRational::one())),
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
    }
}
