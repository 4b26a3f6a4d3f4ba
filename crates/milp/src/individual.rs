//! Individual monotonicity (Liu et al. 2020, section 3.1): whether one given row has a violating partner.
//!
//! A partner of `x` is a point that differs from it in monotone features only, all of them moved *against* their
//! direction or not at all, and whose output is nevertheless larger. Unlike a [`certificate::Counterexample`] it may
//! move several features, so a whole network has to be maximised over the box of such points: a mixed-integer programme
//! with one ReLU constraint `y = max(0, t)` per unstable neuron of every block,
//!
//! ```text
//! y >= 0,   y >= t,   y <= u z,   y <= t - l (1 - z),   z in {0, 1}.
//! ```

use std::time::Duration;

use certificate::exact::{self, rational};
use certificate::{Activation, Affine, Direction, Domain, Limit, MonotoneFeatures, Network};
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive};

use crate::programme::Programme;
use crate::solver::{Limits, Solver, Status};
use crate::{Error, Result};

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
    let mut undecided = None;
    for (output, here) in at_row.iter().enumerate() {
        let (programme, inputs) = encode(network, domain, features, &row, output)?;
        let (least, largest) = programme_range(&programme);
        let value = -here.to_f64().unwrap_or(f64::INFINITY);
        let cutoff = value - LEAST_RISE * (largest - least).max(1e-3 * value.abs());
        if least >= cutoff {
            continue;
        }
        let found = solver.solve(&programme, &Limits { time_limit, cutoff: Some(cutoff) });
        match (found.status, found.incumbent) {
            (Status::Infeasible, _) => {}
            (Status::Failed(reason), _) => undecided = Some(Limit::Numerical(reason)),
            (_, None) => undecided = Some(Limit::Time),
            (_, Some(incumbent)) => {
                let point: Vec<_> = inputs.iter().map(|input| input.value(&incumbent.values)).collect();
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

/// The row with its integer features on the nearest values of their grids and everything inside the box.
fn on_grid(domain: &Domain, x: &[f64]) -> Vec<BigRational> {
    let sides = domain.input_box();
    let mut row: Vec<_> = x.iter().zip(sides).map(|(x, side)| rational(x.clamp(side.lower, side.upper))).collect();
    for feature in domain.integer() {
        let side = sides[feature.input];
        let (lower, width) = (rational(side.lower), rational(side.upper) - rational(side.lower));
        if width.is_positive() {
            let steps = BigRational::from_integer(feature.steps.into());
            let index = ((&row[feature.input] - &lower) / &width * &steps).round();
            row[feature.input] = lower + width * index / steps;
        }
    }
    row
}

/// How an input of the network stands in the programme.
enum Input {
    Fixed(BigRational),
    /// A column between these ends.
    Continuous(usize, (BigRational, BigRational)),
    /// `lower + step * column`
    Integer(usize, (BigRational, BigRational)),
}

impl Input {
    fn value(&self, values: &[f64]) -> BigRational {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Continuous(column, (lower, upper)) => rational(values[*column]).max(lower.clone()).min(upper.clone()),
            Self::Integer(column, (lower, step)) => lower + step * rational(values[*column].round()),
        }
    }
}

/// `sum coefficient * column + constant`
#[derive(Clone)]
struct Expression {
    terms: Vec<(usize, f64)>,
    constant: f64,
}

impl Expression {
    /// Its range over the columns' bounds, with room for rounding.
    fn range(&self, programme: &Programme) -> (f64, f64) {
        let (mut lower, mut upper, mut size) = (self.constant, self.constant, self.constant.abs());
        for &(column, w) in &self.terms {
            let column = &programme.columns[column];
            let (a, b) = (w * column.lower, w * column.upper);
            lower += a.min(b);
            upper += a.max(b);
            size += a.abs().max(b.abs());
        }
        let margin = 1e-12 * size;
        (lower - margin, upper + margin)
    }

    fn plus(&self, factor: f64, other: &Self) -> Self {
        let scaled = other.terms.iter().map(|(column, w)| (*column, factor * w));
        let terms = self.terms.iter().copied().chain(scaled).collect();
        Self { terms, constant: self.constant + factor * other.constant }
    }
}

/// The programme that minimises minus the output over the partners of a row.
fn encode(
    network: &Network,
    domain: &Domain,
    features: &MonotoneFeatures,
    row: &[BigRational],
    output: usize,
) -> Result<(Programme, Vec<Input>)> {
    let mut programme = Programme::new(format!("partner_output{output}"));
    let mut inputs = Vec::new();
    let mut layer = Vec::new();
    for (j, direction) in features.0.iter().enumerate() {
        let side = domain.input_box()[j];
        let here = &row[j];
        let (lower, upper) = match direction {
            Direction::Free => (here.clone(), here.clone()),
            Direction::Increasing => (rational(side.lower), here.clone()),
            Direction::Decreasing => (here.clone(), rational(side.upper)),
        };
        let number = |value: &BigRational| value.to_f64().expect("values of a domain are finite");
        let integer = domain.integer().iter().find(|feature| feature.input == j);
        let width = rational(side.upper) - rational(side.lower);
        let (input, expression) = if lower == upper {
            (Input::Fixed(here.clone()), Expression { terms: Vec::new(), constant: number(here) })
        } else if let Some(feature) = integer {
            let step = width / BigRational::from_integer(feature.steps.into());
            let count = number(&((&upper - &lower) / &step)).round();
            let column = programme.integer(format!("k{j}"), (0.0, count), 0.0);
            let expression = Expression { terms: vec![(column, number(&step))], constant: number(&lower) };
            (Input::Integer(column, (lower, step)), expression)
        } else {
            let column = programme.continuous(format!("x{j}"), (number(&lower), number(&upper)), 0.0);
            (Input::Continuous(column, (lower, upper)), Expression { terms: vec![(column, 1.0)], constant: 0.0 })
        };
        inputs.push(input);
        layer.push(expression);
    }
    for (k, block) in network.blocks().iter().enumerate() {
        if block.activation() != Activation::Relu {
            return Err(Error::Activation(block.activation().name()));
        }
        let hidden = affine(block.first(), &layer).into_iter().enumerate();
        let hidden: Vec<_> = hidden.map(|(i, t)| relu(&mut programme, &format!("b{k}n{i}"), t)).collect();
        layer = affine(block.second(), &hidden);
        let Some(boundary) = network.boundaries().get(k) else { continue };
        let activate = |(i, t): (usize, Expression)| match boundary.activation {
            Activation::Relu => Ok(relu(&mut programme, &format!("b{k}o{i}"), t)),
            // min(1, max(0, t)) = max(0, t) - max(0, t - 1)
            Activation::Clamp => {
                let above = Expression { constant: t.constant - 1.0, ..t.clone() };
                let below = relu(&mut programme, &format!("b{k}o{i}"), t);
                Ok(below.plus(-1.0, &relu(&mut programme, &format!("b{k}u{i}"), above)))
            }
            other => Err(Error::Activation(other.name())),
        };
        layer = layer.into_iter().enumerate().map(activate).collect::<Result<_>>()?;
    }
    let value = &layer[output];
    programme.objective_constant = -value.constant;
    for &(column, w) in &value.terms {
        programme.columns[column].objective -= w;
    }
    Ok((programme, inputs))
}

fn affine(layer: &Affine, inputs: &[Expression]) -> Vec<Expression> {
    let output = |i: usize| {
        let start = Expression { terms: Vec::new(), constant: f64::from(layer.bias()[i]) };
        let weighted = layer.row(i).iter().zip(inputs).filter(|(w, _)| **w != 0.0);
        let sum = weighted.fold(start, |sum, (w, x)| sum.plus(f64::from(*w), x));
        // One term per column.
        let mut terms = std::collections::BTreeMap::new();
        sum.terms.iter().for_each(|(column, w)| *terms.entry(*column).or_insert(0.0) += w);
        Expression { terms: terms.into_iter().collect(), constant: sum.constant }
    };
    (0..layer.outputs()).map(output).collect()
}

/// `max(0, t)`
fn relu(programme: &mut Programme, name: &str, t: Expression) -> Expression {
    let (lower, upper) = t.range(programme);
    if upper <= 0.0 {
        return Expression { terms: Vec::new(), constant: 0.0 };
    }
    if lower >= 0.0 {
        return t;
    }
    let y = programme.continuous(format!("y_{name}"), (0.0, upper), 0.0);
    let z = programme.integer(format!("z_{name}"), (0.0, 1.0), 0.0);
    let minus_t = || t.terms.iter().map(|(column, w)| (*column, -w)).chain([(y, 1.0)]);
    programme.row(format!("above_{name}"), minus_t(), (t.constant, f64::INFINITY));
    programme.row(format!("active_{name}"), minus_t().chain([(z, -lower)]), (f64::NEG_INFINITY, t.constant - lower));
    programme.row(format!("inactive_{name}"), [(y, 1.0), (z, -upper)], (f64::NEG_INFINITY, 0.0));
    Expression { terms: vec![(y, 1.0)], constant: 0.0 }
}

/// Bounds of the objective from the bounds of its columns.
fn programme_range(programme: &Programme) -> (f64, f64) {
    let columns = programme.columns.iter().enumerate().filter(|(_, column)| column.objective != 0.0);
    let terms = columns.map(|(k, column)| (k, column.objective)).collect();
    Expression { terms, constant: programme.objective_constant }.range(programme)
}
