//! A mixed-integer programme as plain data, independent of any solver.

use std::collections::HashSet;

use crate::{Error, Result};

/// Whether a column may take every value between its bounds or only integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every real value.
    Continuous,
    /// Integers only.
    Integer,
}

/// One variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name in exported files; without spaces.
    pub name: String,
    /// Smallest value, `-inf` if there is none.
    pub lower: f64,
    /// Largest value, `inf` if there is none.
    pub upper: f64,
    /// Integer or not.
    pub kind: Kind,
    /// Coefficient in the objective.
    pub objective: f64,
}

impl Column {
    /// Whether it can be 0 and 1 only.
    pub(crate) fn is_binary(&self) -> bool {
        self.kind == Kind::Integer && self.lower >= 0.0 && self.upper <= 1.0
    }
}

/// One linear constraint `lower <= sum of terms <= upper`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Name in exported files; without spaces.
    pub name: String,
    /// Column and coefficient; a column occurs at most once.
    pub terms: Vec<(usize, f64)>,
    /// Smallest value of the sum, `-inf` if there is none.
    pub lower: f64,
    /// Largest value of the sum, `inf` if there is none.
    pub upper: f64,
}

/// Minimise a linear objective over columns subject to rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Programme {
    /// Name in exported files; without spaces.
    pub name: String,
    /// The variables.
    pub columns: Vec<Column>,
    /// The constraints.
    pub rows: Vec<Row>,
    /// Pairs of columns of which at most one is not zero: special ordered sets of type 1.
    pub sos1: Vec<[usize; 2]>,
    /// Added to the objective.
    pub objective_constant: f64,
}

impl Programme {
    /// An empty programme.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), columns: Vec::new(), rows: Vec::new(), sos1: Vec::new(), objective_constant: 0.0 }
    }

    /// Adds a continuous column and returns its index.
    pub fn continuous(&mut self, name: impl Into<String>, (lower, upper): (f64, f64), objective: f64) -> usize {
        self.columns.push(Column { name: name.into(), lower, upper, kind: Kind::Continuous, objective });
        self.columns.len() - 1
    }

    /// Adds an integer column and returns its index.
    pub fn integer(&mut self, name: impl Into<String>, (lower, upper): (f64, f64), objective: f64) -> usize {
        self.columns.push(Column { name: name.into(), lower, upper, kind: Kind::Integer, objective });
        self.columns.len() - 1
    }

    /// Adds a row and returns its index; terms with coefficient zero are dropped.
    pub fn row(
        &mut self,
        name: impl Into<String>,
        terms: impl IntoIterator<Item = (usize, f64)>,
        (lower, upper): (f64, f64),
    ) -> usize {
        let terms = terms.into_iter().filter(|(_, a)| *a != 0.0).collect();
        self.rows.push(Row { name: name.into(), terms, lower, upper });
        self.rows.len() - 1
    }

    /// Lengthens names that occur twice; those of earlier columns and rows stay.
    pub(crate) fn make_names_unique(&mut self) {
        let mut taken = HashSet::new();
        let names = self.columns.iter_mut().map(|c| &mut c.name).chain(self.rows.iter_mut().map(|r| &mut r.name));
        for name in names {
            while !taken.insert(name.clone()) {
                name.push('_');
            }
        }
    }

    /// Whether no column is integer and there are no special ordered sets.
    pub fn is_linear(&self) -> bool {
        self.sos1.is_empty() && self.columns.iter().all(|column| column.kind == Kind::Continuous)
    }

    /// The objective at `values`.
    pub fn objective(&self, values: &[f64]) -> f64 {
        self.objective_constant + self.columns.iter().zip(values).map(|(c, v)| c.objective * v).sum::<f64>()
    }

    /// The largest amount by which `values` miss a bound, a row, a special ordered set or an integer.
    pub fn violation(&self, values: &[f64]) -> f64 {
        let outside = |value: f64, lower: f64, upper: f64| (lower - value).max(value - upper).max(0.0);
        let column = |(c, v): (&Column, &f64)| {
            let fraction = if c.kind == Kind::Integer { (v - v.round()).abs() } else { 0.0 };
            outside(*v, c.lower, c.upper).max(fraction)
        };
        let row = |row: &Row| outside(row.terms.iter().map(|(j, a)| a * values[*j]).sum::<f64>(), row.lower, row.upper);
        let columns = self.columns.iter().zip(values).map(column);
        let pair = |[a, b]: &[usize; 2]| values[*a].abs().min(values[*b].abs());
        columns.chain(self.rows.iter().map(row)).chain(self.sos1.iter().map(pair)).fold(0.0, f64::max)
    }

    /// Checks that every number makes sense, so that no solver ever sees NaN.
    ///
    /// # Errors
    /// If a coefficient is not finite, a bound is NaN or infinite on the wrong side, a row names a column twice or one
    /// that does not exist, or a name occurs twice or contains white space.
    pub fn validate(&self) -> Result<()> {
        let wrong = |name: &str, what: &str| Err(Error::Programme(format!("{name}: {what}")));
        let bounds = |lower: f64, upper: f64| lower < f64::INFINITY && upper > f64::NEG_INFINITY;
        let mut names = HashSet::new();
        let all = self.columns.iter().map(|c| &c.name).chain(self.rows.iter().map(|r| &r.name));
        for name in all {
            if name.is_empty() || name.contains(char::is_whitespace) || !names.insert(name) {
                return wrong(name, "a name has to be unique and without white space");
            }
        }
        for column in &self.columns {
            if !bounds(column.lower, column.upper) || !column.objective.is_finite() {
                return wrong(&column.name, "a bound or an objective coefficient is not usable");
            }
        }
        for row in &self.rows {
            let mut seen = HashSet::new();
            let term = |(j, a): &(usize, f64)| a.is_finite() && *j < self.columns.len() && seen.insert(*j);
            if !bounds(row.lower, row.upper) || !row.terms.iter().all(term) {
                return wrong(&row.name, "a bound or a term is not usable");
            }
        }
        if self.objective_constant.is_finite() { Ok(()) } else { wrong(&self.name, "the constant is not finite") }
    }

    /// A lower bound on the objective from any row prices.
    ///
    /// # Soundness
    /// Valid for every vector of finite prices and every feasible point, integer or not, over the reals (Neumaier and
    /// Shcherbina, "Safe bounds in linear and mixed-integer linear programming", 2004): what the rows do not explain of
    /// the objective is minimised over the box of the columns, everything rounded downwards. `-inf` if a price sits on
    /// an infinite side or a needed column bound is infinite.
    pub fn dual_bound(&self, prices: &[f64]) -> f64 {
        let mut bound = self.objective_constant;
        let mut reduced: Vec<_> = self.columns.iter().map(|c| (c.objective, c.objective)).collect();
        for (row, &price) in self.rows.iter().zip(prices).filter(|(_, price)| **price != 0.0) {
            bound = add_down(bound, multiply_down(price, if price > 0.0 { row.lower } else { row.upper }));
            for &(j, a) in &row.terms {
                reduced[j].0 = add_down(reduced[j].0, multiply_down(-price, a));
                reduced[j].1 = -add_down(-reduced[j].1, multiply_down(price, a));
            }
        }
        for (column, (low, high)) in self.columns.iter().zip(reduced) {
            let corners = [(low, column.lower), (low, column.upper), (high, column.lower), (high, column.upper)];
            let least = corners.into_iter().map(|(r, x)| multiply_down(r, x)).fold(f64::INFINITY, f64::min);
            bound = add_down(bound, least);
        }
        if bound.is_nan() { f64::NEG_INFINITY } else { bound }
    }
}

fn add_down(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { a + b } else { (a + b).next_down() }
}

fn multiply_down(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { 0.0 } else { (a * b).next_down() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// min -x - 2y with x + y <= 1.5 on the unit square: -2.5.
    fn small() -> Programme {
        let mut programme = Programme::new("small");
        let x = programme.continuous("x", (0.0, 1.0), -1.0);
        let y = programme.continuous("y", (0.0, 1.0), -2.0);
        programme.row("sum", [(x, 1.0), (y, 1.0)], (f64::NEG_INFINITY, 1.5));
        programme
    }

    #[test]
    fn every_price_gives_a_bound_and_the_right_one_a_tight_one() {
        let programme = small();
        for k in -20..=20 {
            assert!(programme.dual_bound(&[f64::from(k) / 8.0]) <= -2.5);
        }
        assert!((programme.dual_bound(&[-1.0]) + 2.5).abs() < 1e-12);
    }

    #[test]
    fn a_price_on_an_infinite_side_proves_nothing() {
        assert_eq!(small().dual_bound(&[1.0]), f64::NEG_INFINITY);
    }

    #[test]
    fn nonsense_is_found() {
        let mut programme = small();
        assert!(programme.validate().is_ok());
        programme.columns[0].objective = f64::NAN;
        assert!(programme.validate().is_err());
        programme.columns[0].objective = 0.0;
        programme.rows[0].terms.push((0, 1.0));
        assert!(programme.validate().is_err());
        programme.rows[0].terms = vec![(7, 1.0)];
        assert!(programme.validate().is_err());
    }

    #[test]
    fn violations_are_measured() {
        let mut programme = small();
        assert_eq!(programme.violation(&[1.0, 0.5]), 0.0);
        assert_eq!(programme.violation(&[1.0, 1.0]), 0.5);
        programme.columns[1].kind = Kind::Integer;
        assert_eq!(programme.violation(&[0.5, 0.25]), 0.25);
    }
}
