//! Sums over columns, and the few nonlinear functions of them that a network needs, as columns and rows.

use std::collections::BTreeMap;

use certificate::Interval;

use super::weight::Weight;
use super::{LARGEST_BIG_M, Products};
use crate::inverse::graph::{add, times};
use crate::programme::{Kind, Programme};
use crate::{Error, Result};

const INF: f64 = f64::INFINITY;

/// `sum of coefficient * column + constant`; a column occurs once.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Expression {
    pub terms: Vec<(usize, f64)>,
    pub constant: f64,
}

impl Expression {
    pub fn constant(constant: f64) -> Self {
        Self { terms: Vec::new(), constant }
    }

    pub fn column(column: usize) -> Self {
        Self { terms: vec![(column, 1.0)], constant: 0.0 }
    }

    pub fn sum<'e>(parts: impl IntoIterator<Item = (f64, &'e Self)>) -> Self {
        let (mut terms, mut constant) = (BTreeMap::new(), 0.0);
        for (factor, part) in parts.into_iter().filter(|(factor, _)| *factor != 0.0) {
            constant += factor * part.constant;
            part.terms.iter().for_each(|(column, a)| *terms.entry(*column).or_insert(0.0) += factor * a);
        }
        Self { terms: terms.into_iter().filter(|(_, a)| *a != 0.0).collect(), constant }
    }

    pub fn scaled(&self, factor: f64) -> Self {
        Self::sum([(factor, self)])
    }

    pub fn minus(&self, other: &Self) -> Self {
        Self::sum([(1.0, self), (-1.0, other)])
    }

    pub fn as_constant(&self) -> Option<f64> {
        self.terms.is_empty().then_some(self.constant)
    }

    pub fn value(&self, values: &[f64]) -> f64 {
        self.constant + self.terms.iter().map(|(column, a)| a * values[*column]).sum::<f64>()
    }
}

/// A programme under construction.
pub(super) struct Encoder {
    pub programme: Programme,
    pub products: Products,
    /// Whether a product was only relaxed.
    pub relaxed: bool,
    /// Binaries of ReLUs and steps.
    pub activations: usize,
}

impl Encoder {
    pub fn new(name: &str, products: Products) -> Self {
        Self { programme: Programme::new(name), products, relaxed: false, activations: 0 }
    }

    pub fn continuous(&mut self, name: impl Into<String>, (lower, upper): (f64, f64), cost: f64) -> Expression {
        Expression::column(self.programme.continuous(name, (lower, upper), cost))
    }

    pub fn binary(&mut self, name: impl Into<String>, cost: f64) -> Expression {
        Expression::column(self.programme.integer(name, (0.0, 1.0), cost))
    }

    /// `lower <= expression <= upper`
    pub fn row(&mut self, name: impl Into<String>, expression: &Expression, (lower, upper): (f64, f64)) {
        let sides = (lower - expression.constant, upper - expression.constant);
        self.programme.row(name, expression.terms.iter().copied(), sides);
    }

    /// The same, as bounds of a column where the expression has only one and it can be so.
    pub fn restrict(&mut self, name: String, expression: &Expression, (lower, upper): (f64, f64)) {
        if let [(column, a)] = expression.terms[..] {
            let ends = [(lower - expression.constant) / a, (upper - expression.constant) / a];
            let [mut low, mut high] = if a > 0.0 { ends } else { [ends[1], ends[0]] };
            let column = &mut self.programme.columns[column];
            if column.kind == Kind::Integer {
                (low, high) = ((low - 1e-9).ceil(), (high + 1e-9).floor());
            }
            let (low, high) = (low.max(column.lower), high.min(column.upper));
            if low <= high {
                (column.lower, column.upper) = (low, high);
                return;
            }
        }
        self.row(name, expression, (lower, upper));
    }

    /// Contains what an expression can be, rounded outwards.
    pub fn range(&self, expression: &Expression) -> Interval {
        let Interval { mut lower, mut upper } = Interval::new(expression.constant, expression.constant);
        for &(column, a) in &expression.terms {
            let column = &self.programme.columns[column];
            let (low, high) = if a > 0.0 { (column.lower, column.upper) } else { (column.upper, column.lower) };
            lower = add(lower, times(a, low, f64::next_down), f64::next_down);
            upper = add(upper, times(a, high, f64::next_up), f64::next_up);
        }
        Interval::new(lower, upper)
    }

    /// The range of something that a big-M constant is made of.
    ///
    /// # Errors
    /// If it is so large that solvers cannot be trusted with it.
    fn big_m(&self, expression: &Expression, name: &str) -> Result<Interval> {
        let side = self.range(expression);
        if side.lower >= -LARGEST_BIG_M && side.upper <= LARGEST_BIG_M {
            return Ok(side);
        }
        Err(Error::Training(format!(
            "{name} can be anything in [{:.3e}, {:.3e}]; beyond {LARGEST_BIG_M:e} solvers give wrong answers. Use smaller bounds for the weights, or scale the samples",
            side.lower, side.upper
        )))
    }

    /// One column for an expression of several.
    pub fn single(&mut self, expression: &Expression, name: &str) -> Expression {
        if expression.terms.len() <= 1 {
            return expression.clone();
        }
        let side = self.range(expression);
        let column = self.continuous(name, (side.lower, side.upper), 0.0);
        self.row(format!("is_{name}"), &expression.minus(&column), (0.0, 0.0));
        column
    }

    /// `max(0, t)`, and a binary that is 1 where `t > 0` and 0 where `t < 0`. If the binary `matters`, both are possible where
    /// `t = 0`: which of two derivatives counts on a hyperplane must not be decided by the ends of a domain.
    pub fn relu(&mut self, t: &Expression, matters: bool, name: &str) -> Result<(Expression, Expression)> {
        let side = self.big_m(t, name)?;
        if side.lower > 0.0 || side.lower == 0.0 && !matters {
            return Ok((t.clone(), Expression::constant(1.0)));
        }
        if side.upper < 0.0 || side.upper == 0.0 && !matters {
            return Ok((Expression::constant(0.0), Expression::constant(0.0)));
        }
        self.activations += 1;
        let h = self.continuous(name, (0.0, side.upper), 0.0);
        let z = self.binary(format!("{name}_z"), 0.0);
        let over = h.minus(t);
        self.row(format!("above_{name}"), &over, (0.0, INF));
        self.row(format!("if_on_{name}"), &Expression::sum([(1.0, &over), (-side.lower, &z)]), (-INF, -side.lower));
        self.row(format!("if_off_{name}"), &Expression::sum([(1.0, &h), (-side.upper, &z)]), (-INF, 0.0));
        Ok((h, z))
    }

    /// A binary that is 1 where `t > -margin` and then `t >= 0`.
    pub fn step(&mut self, t: &Expression, margin: f64, name: &str) -> Result<Expression> {
        let side = self.big_m(t, name)?;
        if side.lower >= 0.0 || side.upper <= -margin {
            return Ok(Expression::constant(if side.lower >= 0.0 { 1.0 } else { 0.0 }));
        }
        self.activations += 1;
        let (low, high) = (side.lower.min(0.0), side.upper.max(-margin));
        let h = self.binary(name, 0.0);
        self.row(format!("if_on_{name}"), &Expression::sum([(1.0, t), (low, &h)]), (low, INF));
        let gap = (high + margin).next_up();
        self.row(format!("if_off_{name}"), &Expression::sum([(1.0, t), (-gap, &h)]), (-INF, -margin));
        Ok(h)
    }

    /// `y >= a_k`, `y <= a_k + (largest u - l_k) (1 - z_k)`, one `z_k` is 1. Gives `y` and the `z_k`, with 0 for those that
    /// cannot be the largest. If the `z_k` matter, each of several largest can be taken, as in [`relu`](Self::relu).
    pub fn max(&mut self, of: &[Expression], matters: bool, name: &str) -> Result<(Expression, Vec<Expression>)> {
        let sides = of.iter().map(|a| self.big_m(a, name)).collect::<Result<Vec<_>>>()?;
        let floor = sides.iter().map(|side| side.lower).fold(f64::MIN, f64::max);
        let mut rivals: Vec<usize> = (0..of.len()).filter(|k| sides[*k].upper >= floor).collect();
        // Of those that can at best reach the floor, the one that is never below it is enough.
        if let (Some(best), false) = ((0..of.len()).find(|k| sides[*k].lower == floor), matters) {
            rivals.retain(|k| sides[*k].upper > floor || *k == best);
        }
        let mut largest = vec![Expression::constant(0.0); of.len()];
        if let [only] = rivals[..] {
            largest[only] = Expression::constant(1.0);
            return Ok((of[only].clone(), largest));
        }
        let ceiling = rivals.iter().map(|k| sides[*k].upper).fold(f64::MIN, f64::max);
        let y = self.continuous(name, (floor, ceiling), 0.0);
        for &k in &rivals {
            let z = self.binary(format!("{name}_z{k}"), 0.0);
            let over = y.minus(&of[k]);
            self.row(format!("above{k}_{name}"), &over, (0.0, INF));
            let gap = (ceiling - sides[k].lower).next_up();
            self.row(format!("is{k}_{name}"), &Expression::sum([(1.0, &over), (gap, &z)]), (-INF, gap));
            largest[k] = z;
        }
        self.row(format!("one_{name}"), &Expression::sum(largest.iter().map(|z| (1.0, z))), (1.0, 1.0));
        Ok((y, largest))
    }

    /// `z e` for a binary `z`; exact.
    pub fn gated(&mut self, z: &Expression, e: &Expression, name: &str) -> Result<Expression> {
        if let Some(z) = z.as_constant() {
            return Ok(e.scaled(z));
        }
        if let Some(e) = e.as_constant() {
            return Ok(z.scaled(e));
        }
        let Interval { lower, upper } = self.big_m(e, name)?;
        let y = self.continuous(name, (lower.min(0.0), upper.max(0.0)), 0.0);
        let less = e.minus(&y);
        self.row(format!("most_{name}"), &Expression::sum([(1.0, &y), (-upper, z)]), (-INF, 0.0));
        self.row(format!("least_{name}"), &Expression::sum([(1.0, &y), (-lower, z)]), (0.0, INF));
        self.row(format!("under_{name}"), &Expression::sum([(1.0, &less), (upper, z)]), (-INF, upper));
        self.row(format!("over_{name}"), &Expression::sum([(1.0, &less), (lower, z)]), (lower, INF));
        Ok(y)
    }

    /// `w h`
    ///
    /// # Errors
    /// If this way of writing products cannot express it.
    pub fn product(&mut self, w: &mut Weight, h: &Expression, name: &str) -> Result<Expression> {
        if let Some(h) = h.as_constant() {
            return Ok(w.value.scaled(h));
        }
        if let Some(w) = w.value.as_constant() {
            return Ok(h.scaled(w));
        }
        if self.is_binary(h) {
            return self.gated(h, &w.value, name);
        }
        match (self.products, w.is_on_grid()) {
            (Products::McCormick { pieces }, false) => self.mccormick(w, h, pieces, name),
            (Products::BinaryExpansion, true) => self.binary_expansion(w, h, name),
            (_, true) => self.one_hot(w, h, name),
            (_, false) => Err(Error::Training(format!(
                "{}: the product of a real weight and an activation cannot be written exactly; use weights of a grid, step activations, one hidden layer with absorbed output weights, or McCormick's relaxation",
                w.name
            ))),
        }
    }

    fn is_binary(&self, h: &Expression) -> bool {
        matches!(h.terms[..], [(column, 1.0)] if h.constant == 0.0 && self.programme.columns[column].is_binary())
    }

    /// `h = sum of g_v`, `l t_v <= g_v <= u t_v`, `w h = sum of v g_v`
    fn one_hot(&mut self, w: &mut Weight, h: &Expression, name: &str) -> Result<Expression> {
        let Interval { lower, upper } = self.big_m(h, name)?;
        let (mut shares, mut product) = (Expression::default(), Expression::default());
        for (v, (t, value)) in w.selectors(self).to_vec().into_iter().enumerate() {
            let g = self.continuous(format!("{name}_g{v}"), (lower.min(0.0), upper.max(0.0)), 0.0);
            let t = Expression::column(t);
            self.row(format!("{name}_most{v}"), &Expression::sum([(1.0, &g), (-upper, &t)]), (-INF, 0.0));
            self.row(format!("{name}_least{v}"), &Expression::sum([(1.0, &g), (-lower, &t)]), (0.0, INF));
            shares = Expression::sum([(1.0, &shares), (1.0, &g)]);
            product = Expression::sum([(1.0, &product), (value, &g)]);
        }
        self.row(format!("{name}_shares"), &shares.minus(h), (0.0, 0.0));
        Ok(product)
    }

    /// `w = lower + sum of d_t q_t`, so `w h = lower h + sum of d_t (q_t h)`
    fn binary_expansion(&mut self, w: &mut Weight, h: &Expression, name: &str) -> Result<Expression> {
        let (lower, digits) = w.digits(self);
        let mut product = h.scaled(lower);
        for (t, (q, value)) in digits.iter().copied().enumerate() {
            let r = self.gated(&Expression::column(q), h, &format!("{name}_r{t}"))?;
            product = Expression::sum([(1.0, &product), (value, &r)]);
        }
        Ok(product)
    }

    /// The envelope of `w h` on each piece of the range of `w`.
    fn mccormick(&mut self, w: &mut Weight, h: &Expression, pieces: usize, name: &str) -> Result<Expression> {
        self.relaxed = true;
        let side = self.big_m(h, name)?;
        let pieces = w.pieces(self, pieces).to_vec();
        let (mut shares, mut product) = (Expression::default(), Expression::default());
        for (p, piece) in pieces.iter().enumerate() {
            let Interval { lower: wl, upper: wu } = piece.side;
            let (on, w) = (&piece.on, &piece.weight);
            let name = format!("{name}_p{p}");
            let h = if pieces.len() == 1 {
                h.clone()
            } else {
                let share = self.continuous(format!("{name}_h"), (side.lower.min(0.0), side.upper.max(0.0)), 0.0);
                self.row(format!("{name}_hu"), &Expression::sum([(1.0, &share), (-side.upper, on)]), (-INF, 0.0));
                self.row(format!("{name}_hl"), &Expression::sum([(1.0, &share), (-side.lower, on)]), (0.0, INF));
                share
            };
            let corners = [wl * side.lower, wl * side.upper, wu * side.lower, wu * side.upper];
            let (low, high) =
                (corners.iter().fold(0.0, |a: f64, b| a.min(*b)), corners.iter().fold(0.0, |a: f64, b| a.max(*b)));
            let y = self.continuous(&name, (low.next_down(), high.next_up()), 0.0);
            let mut envelope = |k: usize, wv: f64, hv: f64, sides| {
                let plane = Expression::sum([(1.0, &y), (-wv, &h), (-hv, w), (wv * hv, on)]);
                self.row(format!("{name}_e{k}"), &plane, sides);
            };
            envelope(0, wl, side.lower, (0.0, INF));
            envelope(1, wu, side.upper, (0.0, INF));
            envelope(2, wu, side.lower, (-INF, 0.0));
            envelope(3, wl, side.upper, (-INF, 0.0));
            shares = Expression::sum([(1.0, &shares), (1.0, &h)]);
            product = Expression::sum([(1.0, &product), (1.0, &y)]);
        }
        if pieces.len() > 1 {
            self.row(format!("{name}_shares"), &shares.minus(h), (0.0, 0.0));
        }
        Ok(product)
    }
}
