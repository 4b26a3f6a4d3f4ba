use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Zero};

use super::composition::combined;
use super::fault::{Fault, Result};
use super::number::Dyadic;
use crate::{Activation, Affine, Counterexample, Direction, Domain, Header, Network};

/// Bits of the largest common denominator of two points: beyond any that a search gives, and quick to compute with.
const LARGEST_DENOMINATOR: u64 = 1 << 18;

/// Checks that the pair consists of two inputs of the domain, apart in one feature, between which the row falls.
pub(super) fn confirm(network: &Network, header: &Header, pair: &Counterexample) -> Result<()> {
    let require = |holds: bool, reason| if holds { Ok(()) } else { Err(Fault::NoCounterexample(reason)) };
    let Counterexample { input, row, .. } = *pair;
    let fit = pair.lower.len() == network.inputs() && pair.upper.len() == network.inputs();
    require(fit && input < network.inputs(), "its points do not fit the network")?;
    require(row < header.rows.count(network.outputs()), "there is no such row")?;
    let apart = (0..network.inputs()).filter(|&j| pair.lower[j] != pair.upper[j]);
    require(apart.eq([input]), "the points have to differ in the named input and in no other")?;
    let ordered = match header.directions.0[input] {
        Direction::Increasing => pair.lower[input] < pair.upper[input],
        Direction::Decreasing => pair.lower[input] > pair.upper[input],
        Direction::Free => false,
    };
    require(ordered, "the input does not move in its direction")?;

    let one = common_denominator(pair.lower.iter().chain(&pair.upper))?;
    let point = |x: &[BigRational]| -> Vec<Dyadic> {
        x.iter().map(|x| Dyadic::new(x.numer() * (&one / x.denom()), 0)).collect()
    };
    let (lower, upper, one) = (point(&pair.lower), point(&pair.upper), Dyadic::new(one.clone(), 0));
    let inside = contains(&header.domain, &lower, &one) && contains(&header.domain, &upper, &one);
    require(inside, "a point lies outside the domain")?;
    let (before, after) = (evaluate(network, lower, &one)?, evaluate(network, upper, &one)?);
    let drop = combined(&header.rows, row, |k| &before[k] + &-&after[k]);
    require(drop.is_positive(), "the row does not fall")?;
    let stated = &Dyadic::new(pair.drop.numer().clone(), 0) * &one;
    require(&drop * &Dyadic::new(pair.drop.denom().clone(), 0) == stated, "the row falls by another amount")
}

fn common_denominator<'a>(numbers: impl Iterator<Item = &'a BigRational>) -> Result<BigInt> {
    let mut common = BigInt::one();
    for number in numbers {
        // One remainder first: the greatest common divisor of numbers of very different size is slow.
        let divisor = (&common % number.denom()).gcd(number.denom());
        common *= number.denom() / divisor;
        if common.bits() > LARGEST_DENOMINATOR {
            return Err(Fault::NoCounterexample("its numbers have too many digits"));
        }
    }
    Ok(common)
}

/// Whether a point, times `one`, lies in a domain.
fn contains(domain: &Domain, x: &[Dyadic], one: &Dyadic) -> bool {
    let end = |value: f64| &Dyadic::exact(value) * one;
    let sides = domain.input_box();
    let in_box = x.iter().zip(sides).all(|(x, side)| end(side.lower) <= *x && *x <= end(side.upper));
    let one_hot = |group: &Vec<usize>| {
        let ones = group.iter().filter(|&&j| x[j] == *one).count();
        let zeros = group.iter().filter(|&&j| x[j].is_zero()).count();
        ones == 1 && ones + zeros == group.len()
    };
    let on_grid = |input: usize, steps: u32| {
        let (lower, upper) = (end(sides[input].lower), end(sides[input].upper));
        let travelled = &(&x[input] + &-&lower) * &Dyadic::new(steps, 0);
        let (travelled, width, _) = travelled.aligned(&(&upper + &-&lower));
        width.is_zero() || (travelled % width).is_zero()
    };
    in_box && domain.one_hot().iter().all(one_hot) && domain.integer().iter().all(|f| on_grid(f.input, f.steps))
}

/// The outputs at a point; both times `one`.
fn evaluate(network: &Network, mut x: Vec<Dyadic>, one: &Dyadic) -> Result<Vec<Dyadic>> {
    for (k, block) in network.blocks().iter().enumerate() {
        x = activate(block.activation(), affine(block.first(), &x, one), one, (k, "inside a block"))?;
        x = affine(block.second(), &x, one);
        if let Some(boundary) = network.boundaries().get(k) {
            x = activate(boundary.activation, x, one, (k, "after a block"))?;
        }
    }
    Ok(x)
}

fn affine(layer: &Affine, x: &[Dyadic], one: &Dyadic) -> Vec<Dyadic> {
    let output = |i: usize| {
        let terms = layer.row(i).iter().zip(x).filter(|(w, _)| **w != 0.0);
        let bias = &Dyadic::exact(layer.bias()[i]) * one;
        terms.fold(bias, |sum, (w, x)| &sum + &(&Dyadic::exact(*w) * x))
    };
    (0..layer.outputs()).map(output).collect()
}

fn activate(
    activation: Activation,
    t: Vec<Dyadic>,
    one: &Dyadic,
    (block, place): (usize, &'static str),
) -> Result<Vec<Dyadic>> {
    let zero = Dyadic::new(0, 0);
    let relu = t.into_iter().map(|t| t.max(zero.clone()));
    match activation {
        Activation::Relu => Ok(relu.collect()),
        Activation::Clamp => Ok(relu.map(|t| t.min(one.clone())).collect()),
        smooth => {
            let supported = "relu and clamp have exact values";
            Err(Fault::Activation { block, activation: smooth.name(), place, supported })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_denominator_is_the_least_and_bounded() {
        let fraction = |denominator: BigInt| BigRational::new(1.into(), denominator);
        let numbers = [6, 1, 4, 15].map(|denominator| fraction(denominator.into()));
        assert_eq!(common_denominator(numbers.iter()).unwrap(), 60.into());
        // Powers of different primes have no common factor.
        let large = [3u32, 5, 7, 11].map(|prime| fraction(BigInt::from(prime).pow(30_000)));
        assert!(common_denominator(large.iter()).is_err());
        assert!(common_denominator(large[..2].iter()).is_ok());
    }
}
