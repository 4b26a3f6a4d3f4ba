//! Individual monotonicity (Liu et al. 2020, section 3.1): whether one given row has a violating partner.
//!
//! A partner of `x` is a point that differs from it in monotone features only, all of them moved *against* their
//! direction or not at all, and whose output is nevertheless larger. Unlike a [`certificate::Counterexample`] it may
//! move several features, so a whole network has to be maximised over the box of such points: an inverse problem.

use std::time::Duration;

use certificate::exact::{self, rational};
use certificate::{Direction, Domain, Interval, Layered, Limit, MonotoneFeatures, Network};
use num_rational::BigRational;
use num_traits::Signed;

use crate::Result;
use crate::inverse::encoding::{Complementarity, Encoding, InputColumn, approximately, on_grid};
use crate::inverse::graph::{Bounds, Graph};
use crate::programme::Programme;
use crate::solver::{Limits, Solver, Status};

/// Rises of an output by less than this part of its range over the box are not looked for.
const LEAST_RISE: f64 = 1e-4;

/// What was found out about a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Individual {
    /// It has no violating partner, but for rises below a ten thousandth of the output's range, by the solver's word.
    Monotone,
    /// It has one; confirmed in exact arithmetic.
    Violated(Partner),
    /// Neither was shown.
    Undecided(Limit),
}

/// A point that should not have a larger output than the row, and has.
#[derive(Debug, Clone, PartialEq)]
pub struct Partner {
    /// Which output.
    pub output: usize,
    /// The row, with integer features on their grid.
    pub row: Vec<BigRational>,
    /// The partner.
    pub point: Vec<BigRational>,
    /// By how much the output at the partner is larger.
    pub rise: BigRational,
}

/// Looks for a violating partner of the row `x` of a domain.
///
/// # Soundness
/// [`Individual::Violated`] is exact; [`Individual::Monotone`] rests on the solver.
///
/// # Errors
/// If the widths do not fit or an activation is not piecewise linear.
pub fn individual(
    network: &Network,
    domain: &Domain,
    features: &MonotoneFeatures,
    x: &[f64],
    solver: &dyn Solver,
    time_limit: Duration,
) -> Result<Individual> {
    let widths = [("row", x.len()), ("domain", domain.inputs()), ("monotone features", features.0.len())];
    if let Some((what, found)) = widths.into_iter().find(|(_, width)| *width != network.inputs()) {
        return Err(certificate::Error::Width { what: what.into(), expected: network.inputs(), found }.into());
    }
    let row = on_grid(domain, x);
    let at_row = exact::network(network, &row)?;
    let partners = Partners::new(network, domain, features, row.clone())?;
    let mut undecided = None;
    for (output, here) in at_row.iter().enumerate() {
        let (programme, range) = partners.programme(output);
        let value = -approximately(here);
        let cutoff = value - LEAST_RISE * (range.upper - range.lower).max(1e-3 * value.abs());
        if -range.upper >= cutoff {
            continue;
        }
        let found = solver.solve(&programme, &Limits { time_limit, cutoff: Some(cutoff) });
        match (found.status, found.incumbent) {
            (Status::Infeasible, _) => {}
            (Status::Failed(reason), _) => undecided = Some(Limit::Numerical(reason)),
            (_, None) => undecided = Some(Limit::Time),
            (_, Some(incumbent)) => {
                let point = partners.point(&incumbent.values);
                let rise = &exact::network(network, &point)?[output] - here;
                if rise.is_positive() {
                    return Ok(Individual::Violated(Partner { output, row, point, rise }));
                }
                let reason = format!("{}: the point it found does not hold ({rise})", solver.name());
                undecided = Some(Limit::Numerical(reason));
            }
        }
    }
    Ok(undecided.map_or(Individual::Monotone, Individual::Undecided))
}

/// The programme of a network over the partners of a row.
struct Partners {
    row: Vec<BigRational>,
    directions: Vec<Direction>,
    graph: Graph,
    bounds: Bounds,
    encoding: Encoding,
}

impl Partners {
    fn new(network: &Network, domain: &Domain, features: &MonotoneFeatures, row: Vec<BigRational>) -> Result<Self> {
        let graph = Graph::new(&Layered::try_from(network)?);
        let side = |(j, direction): (usize, &Direction)| {
            let (side, here) = (domain.input_box()[j], approximately(&row[j]));
            // Rounded outwards: a value like 1/9 is no number.
            let (below, above) =
                if rational(here) == row[j] { (here, here) } else { (here.next_down(), here.next_up()) };
            match direction {
                Direction::Free => Interval::new(below, above),
                Direction::Increasing => Interval::new(side.lower, above.min(side.upper)),
                Direction::Decreasing => Interval::new(below.max(side.lower), side.upper),
            }
        };
        let region: Vec<Interval> = features.0.iter().enumerate().map(side).collect();
        let bounds = graph.bounds(&region);
        let names: Vec<String> = (0..graph.inputs).map(|j| format!("x{j}")).collect();
        let mut encoding = Encoding::new(&graph, &bounds, domain, &names, Complementarity::BigM);
        for (j, direction) in features.0.iter().enumerate() {
            let Some((count, here)) = encoding.inputs[j].step_of(&row[j]) else { continue };
            let column = &mut encoding.programme.columns[count];
            if *direction != Direction::Decreasing {
                column.upper = here;
            }
            if *direction != Direction::Increasing {
                column.lower = here;
            }
        }
        Ok(Self { row, directions: features.0.clone(), graph, bounds, encoding })
    }

    /// The programme that minimises minus an output, and bounds of the output.
    fn programme(&self, output: usize) -> (Programme, Interval) {
        let mut programme = self.encoding.programme.clone();
        programme.name = format!("partner_output{output}");
        let k = self.graph.outputs[output];
        programme.columns[self.encoding.columns[k]].objective -= 1.0;
        (programme, self.bounds.values[k])
    }

    /// The partner that a solution means.
    fn point(&self, values: &[f64]) -> Vec<BigRational> {
        let inputs = self.encoding.inputs.iter().zip(&self.row).zip(&self.directions);
        // A solver may be beyond a bound by its tolerance.
        let value = |((input, here), direction): ((&InputColumn, &BigRational), &Direction)| match direction {
            Direction::Free => here.clone(),
            Direction::Increasing => input.value(values).min(here.clone()),
            Direction::Decreasing => input.value(values).max(here.clone()),
        };
        inputs.map(value).collect()
    }
}
