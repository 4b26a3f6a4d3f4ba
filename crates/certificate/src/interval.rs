//! Interval arithmetic with outward rounding: every returned interval contains the exact range over the reals.

use crate::{Activation, Affine, Block, Domain, Interval, Network};

/// `a + b`, rounded down. An IEEE sum is off by at most half a unit in the last place.
fn add_down(a: f64, b: f64) -> f64 {
    (a + b).next_down()
}

fn add_up(a: f64, b: f64) -> f64 {
    (a + b).next_up()
}

/// The range of `w x` for `x` in `side`, rounded outwards; exact where a factor is zero.
fn scale(w: f64, side: Interval) -> Interval {
    let end = |x: f64, outward: fn(f64) -> f64| if w == 0.0 || x == 0.0 { 0.0 } else { outward(w * x) };
    let (low, high) = if w >= 0.0 { (side.lower, side.upper) } else { (side.upper, side.lower) };
    Interval::new(end(low, f64::next_down), end(high, f64::next_up))
}

/// Bounds of `W x + b` for all `x` of `domain`, one interval per output.
///
/// In a one-hot group exactly one input is 1, so the group adds one of its weights; integer features are treated as
/// continuous.
///
/// # Soundness
/// Rounded outwards: contains every value over the reals.
pub fn affine_bounds(layer: &Affine, domain: &Domain) -> Vec<Interval> {
    let mut grouped = vec![false; domain.inputs()];
    domain.one_hot().iter().flatten().for_each(|&j| grouped[j] = true);
    let bound = |i: usize| {
        let row = layer.row(i);
        let mut terms = Vec::with_capacity(row.len());
        for (j, side) in domain.input_box().iter().enumerate().filter(|(j, _)| !grouped[*j]) {
            terms.push(scale(f64::from(row[j]), *side));
        }
        for group in domain.one_hot() {
            let weights = || group.iter().map(|&j| f64::from(row[j]));
            let lower = weights().fold(f64::INFINITY, f64::min);
            terms.push(Interval::new(lower, weights().fold(f64::NEG_INFINITY, f64::max)));
        }
        let bias = f64::from(layer.bias()[i]);
        terms.iter().filter(|t| t.lower != 0.0 || t.upper != 0.0).fold(Interval::new(bias, bias), |sum, term| {
            Interval::new(add_down(sum.lower, term.lower), add_up(sum.upper, term.upper))
        })
    };
    (0..layer.outputs()).map(bound).collect()
}

/// The image of an interval under a non-decreasing activation, rounded outwards.
pub fn activation_bounds(activation: Activation, side: Interval) -> Interval {
    match activation {
        Activation::Relu | Activation::Clamp => {
            Interval::new(activation.evaluate(side.lower), activation.evaluate(side.upper))
        }
        // The standard library's exp, ln_1p and tanh are good to a few units in the last place; 1e-12 is far more.
        Activation::Tanh | Activation::Sigmoid | Activation::Softplus => {
            let (lower, upper) = (activation.evaluate(side.lower), activation.evaluate(side.upper));
            Interval::new(lower - 1e-12 * (1.0 + lower.abs()), upper + 1e-12 * (1.0 + upper.abs()))
        }
    }
}

/// Bounds of a block's outputs for all `x` of `domain`.
pub fn block_bounds(block: &Block, domain: &Domain) -> Vec<Interval> {
    let hidden = affine_bounds(block.first(), domain);
    let hidden = hidden.into_iter().map(|t| activation_bounds(block.activation(), t)).collect();
    let hidden = Domain::from_box(hidden).expect("bounds of a finite network are finite");
    affine_bounds(block.second(), &hidden)
}

/// The domain of every block: the given one for the first, a box that contains what the previous block produces for
/// the others.
///
/// # Soundness
/// Each box contains the range of the blocks before it over the reals.
pub fn block_domains(network: &Network, domain: &Domain) -> Vec<Domain> {
    let mut domains = vec![domain.clone()];
    for (block, boundary) in network.blocks().iter().zip(network.boundaries()) {
        let outputs = block_bounds(block, &domains[domains.len() - 1]);
        let inputs = outputs.into_iter().map(|side| activation_bounds(boundary.activation, side)).collect();
        domains.push(Domain::from_box(inputs).expect("bounds of a finite network are finite"));
    }
    domains
}
