//! Lower bounds on the optimum of a mixed-integer programme that trust no solver.
//!
//! Branch and bound over the integer columns. At every node Clp solves the linear relaxation, and its row prices, rounded
//! as they may be, give a bound that holds over the reals ([`Programme::dual_bound`]). Where Clp finds no solution, the
//! smallest total violation of the rows is bounded the same way: if that is positive, there is none. If that is too close to
//! call, violations are given a price, which gives a bound again.

use std::time::Instant;

use crate::programme::{Kind, Programme};
use crate::solver::{Relaxation, Relaxed};

/// What was proved about a programme.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proven {
    /// No solution has a smaller objective; `inf` if there is no solution.
    pub bound: f64,
    /// Linear programmes solved.
    pub nodes: u64,
}

/// What a unit of violation costs where it is not clear whether there is a solution.
const VIOLATION: f64 = 1e4;

/// A subproblem: other bounds of the integer columns.
#[derive(Clone)]
struct Node {
    sides: Vec<(f64, f64)>,
    /// What is known of it from the node before.
    bound: f64,
}

/// Closer to an integer than this counts as one when a column to branch on is chosen. Decides nothing, but a millionth of a
/// binary, times its constant, can be all that lies between a bound and its goal.
const INTEGRAL: f64 = 1e-11;

/// Raises the proven bound until it reaches `threshold`, is the optimum, or time or nodes are over.
///
/// # Soundness
/// The bound holds over the reals for every solution of the programme, whatever Clp answers. Special ordered sets are
/// ignored, which only lowers it.
pub fn prove(programme: &Programme, threshold: f64, deadline: Instant, node_limit: u64) -> Proven {
    let integer: Vec<usize> =
        (0..programme.columns.len()).filter(|&j| programme.columns[j].kind == Kind::Integer).collect();
    let inward = |j: &usize| (programme.columns[*j].lower.ceil(), programme.columns[*j].upper.floor());
    let root = Node { sides: integer.iter().map(inward).collect(), bound: f64::NEG_INFINITY };
    let mut open = vec![root];
    let mut closed = f64::INFINITY;
    let mut nodes = 0;
    let mut search = Search::new(programme);
    while let Some(node) = open.pop() {
        // What was found elsewhere is not exceeded any more, so nothing has to be proved beyond it.
        let goal = threshold.min(closed);
        if node.bound >= goal {
            closed = closed.min(node.bound);
            continue;
        }
        if nodes >= node_limit || Instant::now() >= deadline {
            let least = open.iter().map(|node| node.bound).fold(node.bound, f64::min);
            return Proven { bound: closed.min(least), nodes };
        }
        nodes += 1;
        if node.sides.iter().any(|(lower, upper)| lower > upper) {
            continue;
        }
        let (bound, values) = search.examine(&integer, &node.sides);
        let bound = bound.max(node.bound);
        if bound >= goal {
            closed = closed.min(bound);
            continue;
        }
        match branch(&node.sides, &integer, values.as_deref()) {
            Some((k, at)) => {
                let (lower, upper) = node.sides[k];
                let with = |side| {
                    let mut sides = node.sides.clone();
                    sides[k] = side;
                    Node { sides, bound }
                };
                let (down, up) = (with((lower, at.floor())), with((at.floor() + 1.0, upper)));
                // The nearer side last, so that it is looked at first.
                open.extend(if at.fract() > 0.5 { [down, up] } else { [up, down] });
            }
            None => closed = closed.min(bound),
        }
    }
    Proven { bound: closed, nodes }
}

/// The relaxations of a programme, with the bounds of the last node.
struct Search {
    programme: Programme,
    relaxation: Relaxation,
    /// The programme without an objective.
    feasibility: Programme,
    /// Minimises the total violation of the rows; made when it is needed, and after that kept up to date.
    elastic: Option<Relaxation>,
}

impl Search {
    fn new(programme: &Programme) -> Self {
        let mut feasibility = programme.clone();
        feasibility.objective_constant = 0.0;
        feasibility.columns.iter_mut().for_each(|column| column.objective = 0.0);
        Self { programme: programme.clone(), relaxation: Relaxation::new(programme), elastic: None, feasibility }
    }

    /// The proven bound of a node, and the solution of its relaxation if there is one.
    fn examine(&mut self, integer: &[usize], sides: &[(f64, f64)]) -> (f64, Option<Vec<f64>>) {
        for (&j, side) in integer.iter().zip(sides) {
            for programme in [&mut self.programme, &mut self.feasibility] {
                (programme.columns[j].lower, programme.columns[j].upper) = *side;
            }
            self.relaxation.set_bounds(j, *side);
            if let Some(elastic) = &mut self.elastic {
                elastic.set_bounds(j, *side);
            }
        }
        if let Some(Relaxed { values, prices }) = self.relaxation.solve() {
            return (self.programme.dual_bound(&usable(&self.programme, prices)), Some(values));
        }
        let elastic = self.elastic.get_or_insert_with(|| {
            Relaxation::with_fixed_costs(&elastic(&self.feasibility), self.feasibility.columns.len())
        });
        // Every solution would have the value 0.
        let bound = |Relaxed { prices, .. }| self.feasibility.dual_bound(&usable(&self.programme, prices));
        if elastic.solve().map(bound).is_some_and(|bound| bound > 0.0) {
            return (f64::INFINITY, None);
        }
        // Too close to call: what the objective is at least, if violations cost something.
        let costs = self.programme.columns.iter().map(|column| column.objective / VIOLATION);
        elastic.set_objective(costs.enumerate());
        let priced = elastic.solve().map(|Relaxed { values, prices }| {
            let prices = prices.into_iter().map(|price| price * VIOLATION).collect();
            (self.programme.dual_bound(&usable(&self.programme, prices)), Some(values))
        });
        elastic.set_objective([]);
        priced.unwrap_or((f64::NEG_INFINITY, None))
    }
}

/// Prices without those on a side that a row does not have, where rounding may leave some.
pub(crate) fn usable(programme: &Programme, mut prices: Vec<f64>) -> Vec<f64> {
    for (price, row) in prices.iter_mut().zip(&programme.rows) {
        let side = if *price > 0.0 { row.lower } else { row.upper };
        *price = if side.is_finite() && price.is_finite() { *price } else { 0.0 };
    }
    prices
}

/// A programme without an objective, with the total violation of its rows as one.
fn elastic(feasibility: &Programme) -> Programme {
    let mut elastic = feasibility.clone();
    for i in 0..elastic.rows.len() {
        let under = elastic.continuous("", (0.0, f64::INFINITY), 1.0);
        let over = elastic.continuous("", (0.0, f64::INFINITY), 1.0);
        elastic.rows[i].terms.extend([(under, 1.0), (over, -1.0)]);
    }
    elastic
}

/// The integer column to branch on and where: the most fractional one; without fractions the first that is not fixed, if
/// there is no solution to be believed.
fn branch(sides: &[(f64, f64)], integer: &[usize], values: Option<&[f64]>) -> Option<(usize, f64)> {
    let open = (0..sides.len()).filter(|&k| sides[k].0 < sides[k].1);
    let Some(values) = values else {
        return open.map(|k| (k, (sides[k].0 + sides[k].1) / 2.0)).next();
    };
    let fraction = |k: &usize| {
        let value = values[integer[*k]];
        (value - value.round()).abs()
    };
    let most = open.filter(|k| fraction(k) > INTEGRAL).max_by(|a, b| fraction(a).total_cmp(&fraction(b)))?;
    let value = values[integer[most]].clamp(sides[most].0, sides[most].1);
    // At an end of the range the branch above would be empty.
    Some((most, value.min(sides[most].1 - 1.0 + INTEGRAL)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Random knapsack-like programmes with two-sided rows against enumeration.
    #[test]
    fn the_bound_is_the_optimum_and_infeasible_is_proved() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let (mut feasible, mut infeasible) = (0, 0);
        for _ in 0..200 {
            let mut programme = Programme::new("random");
            let n = rng.random_range(1..=4);
            for j in 0..n {
                programme.integer(format!("x{j}"), (0.0, 3.0), f64::from(rng.random_range(-3..=3)));
            }
            for i in 0..2 {
                let terms: Vec<_> = (0..n).map(|j| (j, f64::from(rng.random_range(-2..=3)))).collect();
                let lower = f64::from(rng.random_range(-3..=8));
                programme.row(format!("r{i}"), terms, (lower, lower + 1.0));
            }
            let mut best = f64::INFINITY;
            for code in 0..4_usize.pow(n as u32) {
                let point: Vec<f64> = (0..n).map(|j| (code / 4_usize.pow(j as u32) % 4) as f64).collect();
                if programme.violation(&point) == 0.0 {
                    best = best.min(programme.objective(&point));
                }
            }
            let proven = prove(&programme, f64::INFINITY, soon(), 10_000);
            if best.is_finite() {
                feasible += 1;
                assert!((proven.bound - best).abs() < 1e-6 && proven.bound <= best, "{proven:?} {best}");
                // Half a unit below the optimum is proved without reaching it.
                assert!(prove(&programme, best - 0.5, soon(), 10_000).bound >= best - 0.5);
            } else {
                infeasible += 1;
                assert_eq!(proven.bound, f64::INFINITY);
            }
            // Whatever the limit, the bound is one.
            assert!(prove(&programme, f64::INFINITY, soon(), 2).bound <= best);
        }
        assert!(feasible > 40 && infeasible > 40, "{feasible} {infeasible}");
    }

    /// What a close call changes in the elastic programme is changed back: violations keep their price.
    #[test]
    fn violations_keep_their_price() {
        let mut programme = Programme::new("impossible");
        let x = programme.continuous("x", (0.0, 1.0), 1.0);
        programme.row("far", [(x, 1.0)], (3.0, f64::INFINITY));
        let mut relaxation = Relaxation::with_fixed_costs(&elastic(&programme), 1);
        for _ in 0..2 {
            relaxation.set_objective([(x, 1e-4)]);
            relaxation.set_objective([]);
            assert!((relaxation.solve().unwrap().prices[0] - 1.0).abs() < 1e-9);
        }
    }
}
