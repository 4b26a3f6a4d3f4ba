//! From an open cell with a negative derivative to two inputs that a person can check.

use certificate::exact::{self, rational};
use certificate::{Counterexample, Direction, IntegerFeature, Interval};
use num_rational::BigRational;
use num_traits::ToPrimitive;

use crate::Result;
use crate::derivative::{ActivationPattern, DirectedDerivative, Neuron};

/// Binary digits tried for the coordinates, so that printed points are as short as their cell allows.
const DIGITS: [f64; 7] = [2.0, 4.0, 7.0, 12.0, 20.0, 32.0, 52.0];

/// How often a step is halved. A cell that `f64` sees at all is not thinner than that.
const SHORTER_STEPS: usize = 24;

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
    for x in shortened(derivative, pattern, x, kept).chain([x.to_vec()]) {
        let (down, up) = room(derivative, &x);
        let (mut step, away) = if up >= down { (up, 1.0) } else { (down, -1.0) };
        // The largest power of two that is at most `step`, and smaller ones where rounding has made the room too large.
        step = step.log2().floor().exp2();
        for _ in 0..SHORTER_STEPS {
            let mut moved = x.clone();
            moved[input] += rational(away * step);
            if let Some(pair) = confirm(derivative, x.clone(), moved)? {
                return Ok(Some(pair));
            }
            step /= 2.0;
        }
    }
    Ok(None)
}

fn confirm(
    derivative: &DirectedDerivative,
    a: Vec<BigRational>,
    b: Vec<BigRational>,
) -> Result<Option<Counterexample>> {
    let query = derivative.query;
    let increasing = query.direction == Direction::Increasing;
    let pair = if (a[query.input] < b[query.input]) == increasing { (a, b) } else { (b, a) };
    let evaluate = |x: &[BigRational]| Ok(exact::rows(derivative.rows, exact::block(derivative.block, x)?));
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

/// Points near `x` that in `f64` lie in its cell, those with the fewest binary digits first.
fn shortened<'a>(
    derivative: &'a DirectedDerivative,
    pattern: &'a ActivationPattern,
    x: &'a [BigRational],
    kept: &'a [bool],
) -> impl Iterator<Item = Vec<BigRational>> + 'a {
    let near: Vec<f64> = x.iter().map(exact::approximate).collect();
    DIGITS.into_iter().filter_map(move |digits| {
        let scale = digits.exp2();
        let round = |x: f64, side: &Interval| ((x * scale).round() / scale).clamp(side.lower, side.upper);
        let rounded = |(j, side)| if kept[j] { near[j] } else { round(near[j], side) };
        let point: Vec<f64> = derivative.domain.input_box().iter().enumerate().map(rounded).collect();
        let active = |n: &Neuron| derivative.pre_activation(n, &point) >= 0.0;
        let inside = derivative.neurons.iter().zip(pattern).all(|(n, phase)| active(n) == *phase);
        let exactly = |(j, value): (usize, &f64)| if kept[j] { x[j].clone() } else { rational(*value) };
        inside.then(|| point.iter().enumerate().map(exactly).collect())
    })
}

/// Roughly how far the input can move down and up without leaving the closed cell or the box.
fn room(derivative: &DirectedDerivative, x: &[BigRational]) -> (f64, f64) {
    let input = derivative.query.input;
    let side = derivative.domain.input_box()[input];
    let x: Vec<f64> = x.iter().map(exact::approximate).collect();
    let (mut down, mut up) = (x[input] - side.lower, side.upper - x[input]);
    for neuron in &derivative.neurons {
        let slope = f64::from(derivative.block.first().row(neuron.index)[input]);
        let to_zero = -derivative.pre_activation(neuron, &x) / slope;
        if to_zero > 0.0 {
            up = up.min(to_zero);
        } else {
            down = down.min(-to_zero);
        }
    }
    (down, up)
}
