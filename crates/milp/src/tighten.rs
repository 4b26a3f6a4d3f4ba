//! Tighter boxes for later blocks: what a block can really output.

use std::time::Duration;

use certificate::{Activation, Block, Domain, Interval, Network, interval};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::programme::Programme;
use crate::solver::{Limits, Solver, Status};
use crate::{Error, Result};

/// How the range of a block is bounded, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tightening {
    /// Interval arithmetic.
    Interval,
    /// Interval arithmetic, then a linear relaxation of each output.
    Lp,
}

/// No output is worth more time than this.
const LP_TIME_LIMIT: Duration = Duration::from_secs(10);

/// The domain of every block; see [`interval::block_domains`].
///
/// # Soundness
/// Each box contains the range of the blocks before it over the reals; no solver is believed.
///
/// # Errors
/// If two sound bounds contradict each other.
pub fn block_domains(
    network: &Network,
    domain: &Domain,
    tightening: Tightening,
    solver: &dyn Solver,
) -> Result<Vec<Domain>> {
    let mut domains = vec![domain.clone()];
    for (k, (block, boundary)) in network.blocks().iter().zip(network.boundaries()).enumerate() {
        let outputs = output_bounds(block, &domains[k], tightening, solver)
            .map_err(|output| Error::Contradiction { block: k, output })?;
        let inputs = outputs.into_iter().map(|side| interval::activation_bounds(boundary.activation, side));
        domains.push(Domain::from_box(inputs.collect())?);
    }
    Ok(domains)
}

/// Bounds of the outputs of a block, or the output whose bounds contradict each other.
fn output_bounds(
    block: &Block,
    domain: &Domain,
    tightening: Tightening,
    solver: &dyn Solver,
) -> std::result::Result<Vec<Interval>, usize> {
    let simple = interval::block_bounds(block, domain);
    if tightening == Tightening::Interval || block.activation() != Activation::Relu {
        return Ok(simple);
    }
    let relaxation = Relaxation::new(block, domain);
    let tighter = |(row, side): (usize, Interval)| {
        let lower = relaxation.lower_bound(block, row, 1.0, solver).max(side.lower);
        let upper = (-relaxation.lower_bound(block, row, -1.0, solver)).min(side.upper);
        if lower <= upper { Ok(Interval::new(lower, upper)) } else { Err(row) }
    };
    simple.into_par_iter().enumerate().map(tighter).collect()
}

/// Inputs, activations and relaxed indicators of a block. With `z` between 0 and 1 the big-M rows describe exactly the
/// triangle between ReLU and its chord, without a rounded slope.
struct Relaxation {
    programme: Programme,
    /// Column of each activation.
    hidden: Vec<usize>,
}

impl Relaxation {
    fn new(block: &Block, domain: &Domain) -> Self {
        let mut programme = Programme::new("relaxation");
        for (j, side) in domain.input_box().iter().enumerate() {
            programme.continuous(format!("x{j}"), (side.lower, side.upper), 0.0);
        }
        for (g, group) in domain.one_hot().iter().enumerate() {
            programme.row(format!("one_hot{g}"), group.iter().map(|&j| (j, 1.0)), (1.0, 1.0));
        }
        let mut hidden = Vec::new();
        for (i, side) in interval::affine_bounds(block.first(), domain).into_iter().enumerate() {
            let (lower, upper) = (side.lower, side.upper);
            let h = programme.continuous(format!("h{i}"), (lower.max(0.0), upper.max(0.0)), 0.0);
            hidden.push(h);
            if upper <= 0.0 {
                continue;
            }
            let bias = f64::from(block.first().bias()[i]);
            let minus_t = || block.first().row(i).iter().enumerate().map(|(j, w)| (j, -f64::from(*w)));
            // h >= t, and for an active neuron h = t.
            let most = if lower >= 0.0 { bias } else { f64::INFINITY };
            programme.row(format!("above{i}"), minus_t().chain([(h, 1.0)]), (bias, most));
            if lower < 0.0 {
                let z = programme.continuous(format!("z{i}"), (0.0, 1.0), 0.0);
                programme.row(format!("active{i}"), [(h, 1.0), (z, -upper)], (f64::NEG_INFINITY, 0.0));
                // h <= t - l (1 - z); b - l is rounded upwards, which only relaxes.
                let side = (bias - lower).next_up();
                let terms = minus_t().chain([(h, 1.0), (z, -lower)]);
                programme.row(format!("inactive{i}"), terms, (f64::NEG_INFINITY, side));
            }
        }
        Self { programme, hidden }
    }

    /// A lower bound on `sign` times an output; `-inf` if the solver is of no help.
    fn lower_bound(&self, block: &Block, row: usize, sign: f64, solver: &dyn Solver) -> f64 {
        let mut programme = self.programme.clone();
        programme.objective_constant = sign * f64::from(block.second().bias()[row]);
        let weights = block.second().row(row);
        self.hidden.iter().zip(weights).for_each(|(h, w)| programme.columns[*h].objective = sign * f64::from(*w));
        let (dual, columns) = programme.dual();
        let outcome = solver.solve(&dual, &Limits::time(LP_TIME_LIMIT));
        let Some(incumbent) = outcome.incumbent.filter(|_| outcome.status == Status::Optimal) else {
            return f64::NEG_INFINITY;
        };
        let mut prices = vec![0.0; programme.rows.len()];
        for (value, column) in incumbent.values.iter().zip(columns) {
            if let Some((row, sign)) = column {
                prices[row] += sign * value.max(0.0);
            }
        }
        // Rounding may leave a price on a side that the row does not have.
        for (price, row) in prices.iter_mut().zip(&programme.rows) {
            let side = if *price > 0.0 { row.lower } else { row.upper };
            *price = if side.is_finite() { *price } else { 0.0 };
        }
        programme.dual_bound(&prices)
    }
}
