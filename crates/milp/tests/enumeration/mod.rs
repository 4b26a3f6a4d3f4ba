//! Random small blocks, and the exact minimum of a derivative by looking at every activation pattern.

use certificate::exact::rational;
use certificate::{Activation, Affine, Block, Domain};
use milp::DirectedDerivative;
use milp::interior::{Interior, interior};
use num_rational::BigRational;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

pub fn block(inputs: usize, weight: Vec<f32>, bias: Vec<f32>, second: Vec<f32>) -> Block {
    let hidden = bias.len();
    let first = Affine::new(inputs, weight, bias).unwrap();
    Block::new(first, Activation::Relu, Affine::new(hidden, second, vec![0.25]).unwrap()).unwrap()
}

/// A block with everything that makes a position special: zero biases, dead and duplicate neurons, zero rows, small
/// integers as weights.
pub fn random_block(rng: &mut ChaCha8Rng, (inputs, hidden): (usize, usize)) -> Block {
    let integers = rng.random_bool(0.3);
    let unbiased = rng.random_bool(0.25);
    let mut rows: Vec<Vec<f32>> = Vec::new();
    let number = |rng: &mut ChaCha8Rng| {
        if integers { rng.random_range(-2..=2_i32) as f32 } else { rng.random_range(-1.0..1.0_f32) }
    };
    for i in 0..hidden {
        let mut row: Vec<f32> = (0..=inputs).map(|_| number(rng)).collect();
        if unbiased {
            row[inputs] = 0.0;
        }
        match rng.random_range(0..12) {
            0 => row.fill(0.0),
            1 => row[inputs] = -50.0,
            2 if i > 0 => row = rows[i - 1].clone(),
            3 if i > 0 => row = rows[i - 1].iter().map(|w| -w).collect(),
            _ => {}
        }
        rows.push(row);
    }
    let weight = rows.iter().flat_map(|row| row[..inputs].to_vec()).collect();
    let bias = rows.iter().map(|row| row[inputs]).collect();
    // Mostly along the input, so that minima of both signs are common.
    let second = rows.iter().map(|row| number(rng) + 0.7 * row[0].signum()).collect();
    block(inputs, weight, bias, second)
}

type Sides = Vec<(BigRational, BigRational)>;

/// The least value over all patterns with an open cell, for every value of the discrete inputs. Between the values of an
/// integer input the derivative along it counts too.
pub fn minimum(derivative: &DirectedDerivative) -> BigRational {
    let values = assignments(derivative.domain, derivative.query.input);
    values.iter().filter_map(|sides| search(derivative, sides, &mut Vec::new())).min().expect("a box has an open cell")
}

/// Depth first over the cells.
fn search(derivative: &DirectedDerivative, sides: &Sides, pattern: &mut Vec<bool>) -> Option<BigRational> {
    if let Interior::Empty { .. } = interior(&derivative.halfspaces(pattern), sides) {
        return None;
    }
    if pattern.len() == derivative.neurons.len() {
        return Some(derivative.value(pattern));
    }
    let side = |active| {
        pattern.push(active);
        let least = search(derivative, sides, pattern);
        pattern.pop();
        least
    };
    [false, true].map(side).into_iter().flatten().min()
}

/// The box once for every value of the discrete inputs, all of them but `whole` fixed.
fn assignments(domain: &Domain, whole: usize) -> Vec<Sides> {
    let sides = domain.input_box().iter().map(|side| (rational(side.lower), rational(side.upper)));
    let mut all: Vec<Sides> = vec![sides.collect()];
    for group in domain.one_hot() {
        let choose = |mut sides: Sides, one: usize| {
            group.iter().for_each(|&j| {
                sides[j] = if j == one { (rational(1.0), rational(1.0)) } else { (rational(0.0), rational(0.0)) }
            });
            sides
        };
        all = all.iter().flat_map(|sides| group.iter().map(|&one| choose(sides.clone(), one))).collect();
    }
    for feature in domain.integer().iter().filter(|feature| feature.input != whole) {
        let choose = |mut sides: Sides, k: u32| {
            let (lower, upper) = sides[feature.input].clone();
            let value = &lower + (upper - &lower) * BigRational::new(k.into(), feature.steps.into());
            sides[feature.input] = (value.clone(), value);
            sides
        };
        all = all.iter().flat_map(|sides| (0..=feature.steps).map(|k| choose(sides.clone(), k))).collect();
    }
    all
}
