use num_rational::BigRational;
use num_traits::{One, Signed, Zero};
use serde::{Deserialize, Serialize};

use crate::{Direction, Domain, exact};

/// What a query, a block or a network got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The claim holds: every directed derivative is at least `lower_bound >= 0` wherever it exists.
    Certified {
        /// Proven lower bound on the worst-case derivative.
        lower_bound: f64,
    },
    /// The claim is false.
    Refuted(Counterexample),
    /// Neither was shown.
    Undecided {
        /// Proven lower bound on the worst-case derivative so far.
        lower_bound: f64,
        /// What stopped the proof.
        limit: Limit,
    },
}

/// Why a query stayed undecided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The time limit of the query or of all queries together.
    Time,
    /// The number of nodes that a search may look at.
    Nodes,
    /// The user asked to stop.
    Interrupted,
    /// A block was refuted on its box, but no pair of inputs of the whole network was found: the composition
    /// argument fails, the network may still be monotone.
    Composition,
    /// A solver or a tolerance gave no clear answer.
    Numerical(String),
}

impl Verdict {
    /// Whether the claim was proved.
    pub fn is_certified(&self) -> bool {
        matches!(self, Self::Certified { .. })
    }

    /// Whether the claim was disproved.
    pub fn is_refuted(&self) -> bool {
        matches!(self, Self::Refuted(_))
    }

    /// One word for tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Certified { .. } => "certified",
            Self::Refuted(_) => "refuted",
            Self::Undecided { .. } => "undecided",
        }
    }
}

/// Two inputs that differ in one monotone feature, moved in its direction from `lower` to `upper`, along which a row falls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counterexample {
    /// The input in which the two points differ.
    pub input: usize,
    /// The output, or the combination of outputs, that falls.
    pub row: usize,
    /// The point from which the feature moves in its direction.
    #[serde(with = "exact::text::list")]
    pub lower: Vec<BigRational>,
    /// The point to which it moves.
    #[serde(with = "exact::text::list")]
    pub upper: Vec<BigRational>,
    /// `f(lower) - f(upper) > 0`, exactly.
    #[serde(with = "exact::text")]
    pub drop: BigRational,
}

impl Counterexample {
    /// The pair as a counterexample to "`evaluate(.)[row]` follows `input` in `direction` over `domain`", if it is one.
    ///
    /// # Soundness
    /// Everything is decided in exact arithmetic: both points lie in the domain, they differ in `input` only and in
    /// the right order, and the row at `upper` is smaller. `evaluate` must be an exact evaluation of all rows.
    pub fn confirm(
        domain: &Domain,
        (row, input, direction): (usize, usize, Direction),
        (lower, upper): (Vec<BigRational>, Vec<BigRational>),
        evaluate: impl Fn(&[BigRational]) -> crate::Result<Vec<BigRational>>,
    ) -> crate::Result<Option<Self>> {
        let differ_in_input_only =
            lower.iter().zip(&upper).enumerate().all(|(j, (a, b))| j == input || exact::compare(a, b).is_eq());
        let ordered = match direction {
            Direction::Increasing => lower[input] < upper[input],
            Direction::Decreasing => lower[input] > upper[input],
            Direction::Free => false,
        };
        if !(differ_in_input_only && ordered && contains(domain, &lower) && contains(domain, &upper)) {
            return Ok(None);
        }
        let drop = evaluate(&lower)?.swap_remove(row) - evaluate(&upper)?.swap_remove(row);
        Ok(drop.is_positive().then_some(Self { input, row, lower, upper, drop }))
    }
}

/// Whether a point lies in a domain, exactly.
pub fn contains(domain: &Domain, x: &[BigRational]) -> bool {
    let sides = domain.input_box();
    let in_box = x.len() == sides.len()
        && x.iter().zip(sides).all(|(x, side)| {
            let (lower, upper) = (exact::rational(side.lower), exact::rational(side.upper));
            exact::compare(&lower, x).is_le() && exact::compare(x, &upper).is_le()
        });
    let one_hot = |group: &Vec<usize>| {
        let ones = group.iter().filter(|&&j| x[j].is_one()).count();
        ones == 1 && group.iter().all(|&j| x[j].is_one() || x[j].is_zero())
    };
    in_box
        && domain.one_hot().iter().all(one_hot)
        && domain.integer().iter().all(|feature| {
            let side = sides[feature.input];
            let (lower, upper) = (exact::rational(side.lower), exact::rational(side.upper));
            let steps = BigRational::from_integer(feature.steps.into());
            lower == upper || ((&x[feature.input] - &lower) * steps / (upper - lower)).is_integer()
        })
}
