//! A trained network as a 0-1 mixed-integer programme.
//!
//! For every unit with pre-activation `W x + b` between `l < 0` and `u > 0`, in the split of the thesis (its 4.2, 4.3 with
//! `z = 1` for *on*):
//!
//! ```text
//! W x + b = y - s,   0 <= y <= u z,   0 <= s <= -l (1 - z),   z in {0, 1}.
//! ```
//!
//! Stable units need no `z`. Weights stand in the rows as they are; what is rounded, is rounded outwards, so every point of
//! the network is a solution.

use certificate::{Domain, Interval, exact};
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive};

use super::graph::{Bounds, Form, Graph, Operation};
use crate::programme::Programme;

/// How "either on or off" is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complementarity {
    /// With a binary and constants from the bounds.
    BigM,
    /// `y` and `s` as a special ordered set of type 1: at most one of them is not zero. No binary and no constant.
    Sos1,
}

/// A network over a domain as rows and columns.
#[derive(Debug, Clone)]
pub struct Encoding {
    /// Without an objective.
    pub programme: Programme,
    /// How each input takes its values.
    pub inputs: Vec<InputColumn>,
    /// Column of every number of the graph.
    pub columns: Vec<usize>,
    /// For each unit of which it is not known whether it is on: its number in the graph, and the columns of `y` and `s`.
    pub split: Vec<(usize, usize, usize)>,
}

/// How an input takes its values.
#[derive(Debug, Clone, PartialEq)]
pub struct InputColumn {
    /// Its column.
    pub column: usize,
    /// For one with evenly spaced values, the column that counts steps from the lower end, and the number of steps.
    pub steps: Option<(usize, u32)>,
    /// Whether it belongs to a one-hot group.
    pub one_hot: bool,
    /// Its side of the domain's box.
    pub side: Interval,
}

impl InputColumn {
    /// The value that a solution means, inside the domain: whole steps and members of groups rounded.
    pub fn value(&self, values: &[f64]) -> BigRational {
        let (lower, upper) = (exact::rational(self.side.lower), exact::rational(self.side.upper));
        match self.steps {
            Some((k, steps)) => {
                let step = values[k].round().clamp(0.0, f64::from(steps));
                &lower + (&upper - &lower) * exact::rational(step) / BigRational::from_integer(steps.into())
            }
            None if self.one_hot => exact::rational(values[self.column].round()),
            None => exact::rational(values[self.column]).max(lower).min(upper),
        }
    }
}

impl InputColumn {
    /// The column that counts steps and how many of them lead to a value of the grid, for an input with evenly spaced values.
    pub fn step_of(&self, value: &BigRational) -> Option<(usize, f64)> {
        let (count, steps) = self.steps?;
        let width = exact::rational(self.side.upper) - exact::rational(self.side.lower);
        if !width.is_positive() {
            return Some((count, 0.0));
        }
        let steps = BigRational::from_integer(steps.into());
        let step = ((value - exact::rational(self.side.lower)) / width * steps).round();
        Some((count, approximately(&step)))
    }
}

impl Encoding {
    /// Encodes the operations of a graph that have bounds.
    pub fn new(
        graph: &Graph,
        bounds: &Bounds,
        domain: &Domain,
        names: &[String],
        complementarity: Complementarity,
    ) -> Self {
        let mut programme = Programme::new("network");
        let inputs = inputs(&mut programme, domain, &bounds.values, names);
        let columns = inputs.iter().map(|input| input.column).collect();
        let mut encoding = Self { programme, inputs, columns, split: Vec::new() };
        for (k, (&form, name)) in bounds.forms.iter().zip(&graph.names).enumerate() {
            let sides = (form, bounds.values[graph.inputs + k]);
            let column = match &graph.operations[k] {
                Operation::Affine(form) => encoding.affine(form, name, sides.1),
                Operation::Relu { form, slope } => encoding.relu(form, *slope, name, sides, complementarity),
                Operation::Max(of) => encoding.max(of, name, &bounds.values, sides.1),
            };
            encoding.columns.push(column);
        }
        encoding
    }

    fn terms(&self, form: &Form) -> Vec<(usize, f64)> {
        form.terms.iter().map(|(k, w)| (self.columns[*k], *w)).collect()
    }

    /// `form - rest = 0`; the rest counted in parts of the form's divisor.
    fn equate(&mut self, name: String, form: &Form, rest: &[(usize, f64)]) {
        let mut terms = self.terms(form);
        terms.extend(rest.iter().map(|(column, w)| (*column, -form.divisor * w)));
        self.programme.row(name, terms, (-form.constant.upper, -form.constant.lower));
    }

    fn affine(&mut self, form: &Form, name: &str, side: Interval) -> usize {
        let column = self.programme.continuous(name, (side.lower, side.upper), 0.0);
        self.equate(format!("is_{name}"), form, &[(column, 1.0)]);
        column
    }

    fn relu(
        &mut self,
        form: &Form,
        slope: f64,
        name: &str,
        (t, side): (Interval, Interval),
        complementarity: Complementarity,
    ) -> usize {
        if t.lower >= 0.0 {
            return self.affine(form, name, side);
        }
        let on = t.upper.max(0.0);
        if t.upper <= 0.0 && slope == 0.0 {
            return self.programme.continuous(name, (0.0, 0.0), 0.0);
        }
        let off = -t.lower;
        let off_column = self.programme.continuous(format!("{name}_off"), (0.0, off), 0.0);
        let on_column = if slope == 0.0 {
            self.programme.continuous(name, (0.0, side.upper.min(on)), 0.0)
        } else {
            self.programme.continuous(format!("{name}_on"), (0.0, on), 0.0)
        };
        self.equate(format!("split_{name}"), form, &[(on_column, 1.0), (off_column, -1.0)]);
        if t.upper > 0.0 {
            self.split.push((self.columns.len(), on_column, off_column));
            match complementarity {
                Complementarity::BigM => {
                    let z = self.programme.integer(format!("{name}_z"), (0.0, 1.0), 0.0);
                    self.programme.row(format!("if_on_{name}"), [(on_column, 1.0), (z, -on)], (f64::NEG_INFINITY, 0.0));
                    let terms = [(off_column, 1.0), (z, off)];
                    self.programme.row(format!("if_off_{name}"), terms, (f64::NEG_INFINITY, off));
                }
                Complementarity::Sos1 => self.programme.sos1.push([on_column, off_column]),
            }
        }
        if slope == 0.0 {
            return on_column;
        }
        let column = self.programme.continuous(name, (side.lower, side.upper), 0.0);
        let terms = [(column, 1.0), (on_column, -1.0), (off_column, slope)];
        self.programme.row(format!("leak_{name}"), terms, (0.0, 0.0));
        column
    }

    /// `y >= a_k`, `y <= a_k + (largest u - l_k) (1 - z_k)`, one `z_k` is 1; inputs that cannot be the largest are dropped.
    fn max(&mut self, of: &[usize], name: &str, bounds: &[Interval], side: Interval) -> usize {
        let floor = of.iter().map(|k| bounds[*k].lower).fold(f64::MIN, f64::max);
        let mut rivals: Vec<usize> = of.iter().copied().filter(|k| bounds[*k].upper >= floor).collect();
        // Of those that can at best reach the floor, the one that is never below it is enough.
        if let Some(&best) = of.iter().find(|k| bounds[**k].lower == floor) {
            rivals.retain(|k| bounds[*k].upper > floor || *k == best);
        }
        let column = self.programme.continuous(name, (side.lower, side.upper), 0.0);
        if let [only] = rivals[..] {
            self.programme.row(format!("is_{name}"), [(self.columns[only], 1.0), (column, -1.0)], (0.0, 0.0));
            return column;
        }
        let ceiling = rivals.iter().map(|k| bounds[*k].upper).fold(f64::MIN, f64::max);
        let mut one = Vec::new();
        for (i, &k) in rivals.iter().enumerate() {
            let a = self.columns[k];
            self.programme.row(format!("above{i}_{name}"), [(column, 1.0), (a, -1.0)], (0.0, f64::INFINITY));
            let z = self.programme.integer(format!("{name}_z{i}"), (0.0, 1.0), 0.0);
            let gap = (ceiling - bounds[k].lower).next_up();
            let terms = [(column, 1.0), (a, -1.0), (z, gap)];
            self.programme.row(format!("is{i}_{name}"), terms, (f64::NEG_INFINITY, gap));
            one.push((z, 1.0));
        }
        self.programme.row(format!("one_{name}"), one, (1.0, 1.0));
        column
    }
}

/// Columns and rows of the domain, within a region of its box.
fn inputs(programme: &mut Programme, domain: &Domain, region: &[Interval], names: &[String]) -> Vec<InputColumn> {
    let sides = domain.input_box();
    let mut inputs: Vec<InputColumn> = sides
        .iter()
        .zip(region)
        .zip(names)
        .map(|((side, within), name)| {
            let column = programme.continuous(name, (within.lower, within.upper), 0.0);
            InputColumn { column, steps: None, one_hot: false, side: *side }
        })
        .collect();
    for feature in domain.integer() {
        let Interval { lower, upper } = sides[feature.input];
        let (steps, name) = (f64::from(feature.steps), &names[feature.input]);
        let count = programme.integer(format!("{name}_steps"), (0.0, steps), 0.0);
        // steps x = steps lower + (upper - lower) count, widened by what rounding can do.
        let exactly = exact::rational(steps) * exact::rational(lower) == exact::rational(steps * lower)
            && exact::rational(upper) - exact::rational(lower) == exact::rational(upper - lower);
        let size = (steps * lower).abs() + steps * (upper - lower);
        let slack = if exactly { 0.0 } else { size * f64::EPSILON };
        let terms = [(inputs[feature.input].column, steps), (count, lower - upper)];
        programme.row(format!("grid_{name}"), terms, (steps * lower - slack, steps * lower + slack));
        inputs[feature.input].steps = Some((count, feature.steps));
    }
    for (g, group) in domain.one_hot().iter().enumerate() {
        programme.row(format!("one_hot{g}"), group.iter().map(|j| (inputs[*j].column, 1.0)), (1.0, 1.0));
        for &j in group {
            programme.columns[inputs[j].column].kind = crate::programme::Kind::Integer;
            inputs[j].one_hot = true;
        }
    }
    inputs
}

/// A point of the domain as close to `x` as its box and its evenly spaced values allow.
pub fn on_grid(domain: &Domain, x: &[f64]) -> Vec<BigRational> {
    let sides = domain.input_box();
    let mut point: Vec<_> =
        x.iter().zip(sides).map(|(x, side)| exact::rational(x.clamp(side.lower, side.upper))).collect();
    for feature in domain.integer() {
        let side = sides[feature.input];
        let (lower, width) = (exact::rational(side.lower), exact::rational(side.upper) - exact::rational(side.lower));
        if width.is_positive() {
            let steps = BigRational::from_integer(feature.steps.into());
            let index = ((&point[feature.input] - &lower) / &width * &steps).round();
            point[feature.input] = lower + width * index / steps;
        }
    }
    point
}

/// A rational number as the nearest `f64`.
pub fn approximately(value: &BigRational) -> f64 {
    value.to_f64().expect("numbers of a network over a box are finite")
}
