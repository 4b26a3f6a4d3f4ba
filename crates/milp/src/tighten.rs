//! Tighter bounds of the units of a network: fewer binaries and smaller constants, and smaller boxes for later blocks.

use std::time::Instant;

use certificate::{Activation, Domain, Interval, Layer, Layered, Network, Shape, interval};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::inverse::encoding::{Complementarity, Encoding};
use crate::inverse::graph::{Bounds, Form, Graph, Operation};
use crate::proven::{prove, usable};
use crate::solver::Relaxation;
use crate::{Error, Result};

/// How a number of a network is bounded, cheapest first; each step begins with what the one before it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tightening {
    /// Interval arithmetic.
    Interval,
    /// The linear relaxation of everything before it.
    Lp,
    /// The mixed-integer programme of everything before it, as far as it gets in some hundred linear programmes.
    Milp,
}

/// Linear programmes that one side of one unit may cost with [`Tightening::Milp`].
const NODES: u64 = 200;

/// Bounds of every number of a graph for inputs of a domain in a region of its box.
///
/// What may be on or off, and the outputs, are bounded by programmes, those of one step in parallel. When the time is over,
/// the bounds stay as they are.
///
/// # Soundness
/// Each step of the ladder holds by itself: interval arithmetic is rounded outwards, and of a programme only what
/// [`prove`] proves is used, at whatever node it had to stop.
///
/// # Errors
/// If two sound bounds exclude each other, which is a fault of the program.
pub fn bounds(
    graph: &Graph,
    domain: &Domain,
    region: &[Interval],
    tightening: Tightening,
    deadline: Instant,
) -> Result<Bounds> {
    if tightening == Tightening::Interval {
        return Ok(graph.bounds(region));
    }
    let names: Vec<String> = (0..graph.inputs).map(|j| format!("x{j}")).collect();
    let mut bounds = Bounds { values: region.to_vec(), forms: Vec::new() };
    for step in &graph.steps {
        let before = Encoding::new(graph, &bounds, domain, &names, Complementarity::BigM);
        let tight = step.clone().into_par_iter().map_init(
            || Relaxation::new(&before.programme),
            |relaxation, k| {
                let operation = &graph.operations[k];
                let simple = operation.form_bounds(&bounds.values);
                let form = match operation {
                    Operation::Relu { form, .. } if simple.lower < 0.0 && simple.upper > 0.0 => form,
                    Operation::Affine(form) if graph.outputs.contains(&(graph.inputs + k)) => form,
                    _ => return Ok(simple),
                };
                let tight = before.form_bounds(form, simple, tightening, relaxation, deadline);
                if tight.lower > tight.upper { Err(Error::Contradiction(graph.names[k].clone())) } else { Ok(tight) }
            },
        );
        let tight: Vec<Interval> = tight.collect::<Result<_>>()?;
        step.clone().zip(tight).for_each(|(k, side)| bounds.push(&graph.operations[k], side));
    }
    Ok(bounds)
}

impl Encoding {
    /// Bounds of a form over everything that was encoded. `relaxation` is that of the encoding.
    fn form_bounds(
        &self,
        form: &Form,
        simple: Interval,
        tightening: Tightening,
        relaxation: &mut Relaxation,
        deadline: Instant,
    ) -> Interval {
        let mut least = |sign: f64| {
            let mut programme = self.programme.clone();
            for (k, w) in &form.terms {
                programme.columns[self.columns[*k]].objective = sign * w;
            }
            programme.objective_constant = if sign > 0.0 { form.constant.lower } else { -form.constant.upper };
            let proven = if tightening == Tightening::Milp {
                prove(&programme, f64::INFINITY, deadline, NODES).bound
            } else if Instant::now() < deadline {
                relaxation.set_objective(form.terms.iter().map(|(k, w)| (self.columns[*k], sign * w)));
                let solved = relaxation.solve();
                solved.map_or(f64::NEG_INFINITY, |solved| programme.dual_bound(&usable(&programme, solved.prices)))
            } else {
                f64::NEG_INFINITY
            };
            if form.divisor == 1.0 { proven } else { (proven / form.divisor).next_down() }
        };
        Interval::new(least(1.0).max(simple.lower), (-least(-1.0)).min(simple.upper))
    }
}

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
    deadline: Instant,
) -> Result<Vec<Domain>> {
    let mut domains = vec![domain.clone()];
    for (block, boundary) in network.blocks().iter().zip(network.boundaries()) {
        let domain = &domains[domains.len() - 1];
        let mut outputs = interval::block_bounds(block, domain);
        if block.activation() == Activation::Relu && tightening > Tightening::Interval {
            let layers = vec![Layer::Dense(block.first().clone()), Layer::Relu, Layer::Dense(block.second().clone())];
            let graph = Graph::new(&Layered::new(Shape::list(block.inputs()), layers)?);
            let bounds = bounds(&graph, domain, domain.input_box(), tightening, deadline)?;
            for (side, k) in outputs.iter_mut().zip(&graph.outputs) {
                let tight = bounds.values[*k];
                *side = Interval::new(side.lower.max(tight.lower), side.upper.min(tight.upper));
            }
        }
        let inputs = outputs.into_iter().map(|side| interval::activation_bounds(boundary.activation, side));
        domains.push(Domain::from_box(inputs.collect())?);
    }
    Ok(domains)
}
