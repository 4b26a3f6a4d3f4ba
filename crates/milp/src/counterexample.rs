//! From an open cell with a negative derivative to two inputs that a person can check.

use certificate::exact::{self, rational};
use certificate::{Counterexample, Direction, IntegerFeature};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::Result;
use crate::derivative::{ActivationPattern, DirectedDerivative};

/// Binary digits tried for the coordinates, so that printed points are as short as their cell allows.
const DIGITS: [u32; 7] = [2, 4, 7, 12, 20, 32, 52];

/// Grid values of an integer input tried on either side of an inner point.
const GRID_NEIGHBOURS: u32 = 64;

/// The counterexample that a step along the input inside the cell of `pattern` gives, starting near its inner point
/// `x`; coordinates in `kept` stay as they are.
///
/// `None` if the exact evaluation does not confirm it: the derivative is not negative there, or the input is an
/// integer feature and no two of its grid values near `x` do it.
///
/// # Soundness
/// Confirmed in exact arithmetic by [`Counterexample::confirm`].
pub(crate) fn step(
    derivative: &DirectedDerivative,
    pattern: &ActivationPattern,
    x: &[BigRational],
    kept: &[bool],
) -> Result<Option<Counterexample>> {
    let input = derivative.query.input;
    if let Some(feature) = derivative.domain.integer().iter().find(|feature| feature.input == input) {
        return on_grid(derivative, x, feature);
    }
    let x = shorten(derivative, pattern, x, kept);
    let (down, up) = room(derivative, &x);
    let mut moved = x.clone();
    if up >= down {
        moved[input] += short_step(&up);
    } else {
        moved[input] -= short_step(&down);
    }
    confirm(derivative, x, moved)
}

fn confirm(
    derivative: &DirectedDerivative,
    a: Vec<BigRational>,
    b: Vec<BigRational>,
) -> Result<Option<Counterexample>> {
    let query = derivative.query;
    let increasing = query.direction == Direction::Increasing;
    let pair = if (a[query.input] < b[query.input]) == increasing { (a, b) } else { (b, a) };
    let evaluate = |x: &[BigRational]| exact::block(derivative.block, x);
    let claim = (query.row, query.input, query.direction);
    Ok(Counterexample::confirm(derivative.domain, claim, pair, evaluate)?)
}

/// Neighbouring grid values of an integer input, the other inputs as in `x`.
fn on_grid(
    derivative: &DirectedDerivative,
    x: &[BigRational],
    feature: &IntegerFeature,
) -> Result<Option<Counterexample>> {
    let at = |k: u32| {
        let mut point = x.to_vec();
        point[feature.input] = crate::big_m::grid_value(derivative, feature.input, feature.steps, u64::from(k));
        point
    };
    // Only near the cell: the number of grid values is the user's and may be billions.
    let side = derivative.domain.input_box()[feature.input];
    let share = (&x[feature.input] - rational(side.lower)) / (rational(side.upper) - rational(side.lower));
    let here = (share * BigRational::from_integer(feature.steps.into())).to_integer().to_u32().unwrap_or(0);
    for k in here.saturating_sub(GRID_NEIGHBOURS)..feature.steps.min(here.saturating_add(GRID_NEIGHBOURS)) {
        if let Some(counterexample) = confirm(derivative, at(k), at(k + 1))? {
            return Ok(Some(counterexample));
        }
    }
    Ok(None)
}

/// `x` with as few binary digits as its cell allows.
fn shorten(
    derivative: &DirectedDerivative,
    pattern: &ActivationPattern,
    x: &[BigRational],
    kept: &[bool],
) -> Vec<BigRational> {
    for digits in DIGITS {
        let scale = BigRational::from_integer(BigInt::one() << digits);
        let round = |(j, x): (usize, &BigRational)| {
            let side = derivative.domain.input_box()[j];
            let rounded = (x * &scale).round() / &scale;
            if kept[j] { x.clone() } else { rounded.max(rational(side.lower)).min(rational(side.upper)) }
        };
        let rounded: Vec<_> = x.iter().enumerate().map(round).collect();
        if derivative.pattern_at(&rounded).as_ref() == Some(pattern) {
            return rounded;
        }
    }
    x.to_vec()
}

/// How far the input can move down and up without leaving the closed cell or the box.
fn room(derivative: &DirectedDerivative, x: &[BigRational]) -> (BigRational, BigRational) {
    let input = derivative.query.input;
    let side = derivative.domain.input_box()[input];
    let (mut down, mut up) = (&x[input] - rational(side.lower), rational(side.upper) - &x[input]);
    let t = exact::affine(derivative.block.first(), x);
    for neuron in &derivative.neurons {
        let slope = rational(f64::from(derivative.block.first().row(neuron.index)[input]));
        let to_zero = -&t[neuron.index] / slope;
        if to_zero.is_positive() {
            up = up.min(to_zero);
        } else {
            down = down.min(-to_zero);
        }
    }
    (down, up)
}

/// The largest power of two that is at most `room`.
fn short_step(room: &BigRational) -> BigRational {
    let two = BigRational::from_integer(2.into());
    let mut step = BigRational::one();
    if room.is_zero() {
        return BigRational::zero();
    }
    while step > *room {
        step /= &two;
    }
    while &step * &two <= *room {
        step *= &two;
    }
    step
}
