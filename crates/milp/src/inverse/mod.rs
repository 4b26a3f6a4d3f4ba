//! The inverse problem: what a trained network responds to, and how it can be fooled, as mixed-integer programmes over its
//! inputs.
//!
//! [`Inverse`] holds a network over a domain with bounds of its units. [`Inverse::answer`] looks for the input that a
//! [`Question`] asks for. Whatever a solver finds is evaluated exactly through the network itself; that there is nothing
//! better, or nothing at all, is proved by a search of our own that trusts no solver, or at least confirmed by a second one.

mod answer;
pub(crate) mod encoding;
pub(crate) mod graph;
mod question;
mod sample;

use std::time::{Duration, Instant};

use certificate::{Domain, Layered};

pub use answer::{Answer, Outcome, Proof, Witness};
pub use encoding::Complementarity;
pub use question::{Condition, Distance, Extreme, Margin, Nearest, Question};

use crate::tighten::{Tightening, bounds};
use crate::{Error, Programme, Result};
use encoding::Encoding;
use graph::{Bounds, Graph};
use question::Posed;

/// A constant of the encoding beyond this is refused: CBC gave wrong optima from 1e8, HiGHS from 1e7.
pub(crate) const LARGEST_BIG_M: f64 = 1e6;

/// A network over a domain, ready to be asked.
#[derive(Debug, Clone)]
pub struct Inverse<'a> {
    network: &'a Layered,
    domain: &'a Domain,
    names: Vec<String>,
    graph: Graph,
    tightening: Tightening,
    /// Over the whole domain.
    bounds: Bounds,
}

impl<'a> Inverse<'a> {
    /// Bounds the units of a network. `names` are those of the inputs, for exported programmes.
    ///
    /// # Errors
    /// If domain or names do not fit the network, or a unit can become so large that solvers can no longer be trusted with
    /// it.
    pub fn new(
        network: &'a Layered,
        domain: &'a Domain,
        names: &[String],
        tightening: Tightening,
        time_limit: Duration,
    ) -> Result<Self> {
        for (what, found) in [("domain", domain.inputs()), ("names of the inputs", names.len())] {
            if found != network.inputs() {
                return Err(certificate::Error::Width { what: what.into(), expected: network.inputs(), found }.into());
            }
        }
        let graph = Graph::new(network);
        let bounds = bounds(&graph, domain, domain.input_box(), tightening, Instant::now() + time_limit)?;
        if let Some(k) = bounds.forms.iter().position(|side| -side.lower > LARGEST_BIG_M || side.upper > LARGEST_BIG_M)
        {
            let (name, side) = (&graph.names[k], bounds.forms[k]);
            return Err(Error::Question(format!(
                "unit {name} ranges over [{:.3e}, {:.3e}]; beyond {LARGEST_BIG_M:e} solvers give wrong answers. Use a smaller input box or a network with smaller weights",
                side.lower, side.upper
            )));
        }
        Ok(Self { network, domain, names: readable(names), graph, tightening, bounds })
    }

    /// How many units may be on or off, and so need a binary.
    pub fn unstable(&self) -> usize {
        self.bounds.unstable(&self.graph)
    }

    /// The programme of a question, with the objective to be minimised: a distance, or minus an output. Where any other class
    /// will do, that of the first of them.
    ///
    /// # Errors
    /// If the question makes no sense for this network.
    pub fn programme(&self, question: &Question, complementarity: Complementarity) -> Result<Programme> {
        let posed = Posed::new(self, question)?;
        Ok(posed.programme(&self.encode(&self.bounds, complementarity), posed.targets[0], 0.0, None).programme)
    }

    fn encode(&self, bounds: &Bounds, complementarity: Complementarity) -> Encoding {
        Encoding::new(&self.graph, bounds, self.domain, &self.names, complementarity)
    }
}

/// Words of the LP format and of AMPL.
const RESERVED: [&str; 24] = [
    "free", "end", "inf", "infinity", "st", "sum", "prod", "in", "min", "max", "minimize", "maximize", "bounds",
    "general", "integer", "binary", "sos", "var", "set", "param", "if", "then", "else", "and",
];

/// Names that every file format takes: letters, digits and underscores, beginning with a letter, all different.
fn readable(names: &[String]) -> Vec<String> {
    let mut taken = std::collections::HashSet::new();
    let readable = |(j, name): (usize, &String)| {
        let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let plain = if plain.starts_with(|c: char| c.is_ascii_alphabetic()) { plain } else { format!("x_{plain}") };
        // Units are called l2_n5, an LP file reads e5 as a number, and words of its grammar or of AMPL are no names.
        let numbered = |letter: char| {
            plain.strip_prefix(letter).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let word = RESERVED.contains(&plain.to_lowercase().as_str());
        let clash = numbered('l') || numbered('e') || numbered('E') || word;
        let mut name = if clash || taken.contains(&plain) { format!("x{j}_{plain}") } else { plain };
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        name
    };
    names.iter().enumerate().map(readable).collect()
}
