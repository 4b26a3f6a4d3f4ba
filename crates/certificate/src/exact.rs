//! Evaluation of a network at rational points, without rounding.

use num_bigint::BigInt;
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

/// `w . x + b`, over one common denominator so that only one fraction has to be reduced.
fn dot(row: &[f32], bias: f32, x: &[BigRational]) -> BigRational {
    let mut sum = rational(f64::from(bias));
    for (w, x) in row.iter().zip(x).filter(|(w, x)| **w != 0.0 && !x.is_zero()) {
        sum += rational(f64::from(*w)) * x;
    }
    sum
}

/// `W x + b` exactly.
pub fn affine(layer: &Affine, x: &[BigRational]) -> Vec<BigRational> {
    (0..layer.outputs()).map(|i| dot(layer.row(i), layer.bias()[i], x)).collect()
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
