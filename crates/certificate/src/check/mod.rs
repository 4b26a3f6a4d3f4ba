//! The checker: decides whether a certificate proves what it says, in whole numbers and without any search.
//!
//! It shares no code with the programs that make certificates, trusts nothing that the file says, and computes every
//! bound itself. Of this crate it uses the plain types (network, domain, rows) and the format, and nothing that
//! decides. `docs/certificate-format.md` gives the reasons; [`composition`] is its section 3, [`tree`] its section 4,
//! [`refutation`] its section 5.

mod block;
mod composition;
mod fault;
mod lines;
mod number;
mod refutation;
mod tree;

use std::fmt;
use std::io::BufRead;

use crate::proof::{BlockQuery, End};
use crate::{Conclusion, Counterexample, Direction, Domain, Header, Model, Network, Query, Rows, Specification};
use fault::Result;
use lines::{Line, Lines};
use tree::Tree;

pub use fault::{CheckError, Fault};

/// What a valid certificate proves, and about what.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// What it shows.
    pub conclusion: Conclusion,
    /// Where it holds.
    pub domain: Domain,
    /// What it is about: the directions of the inputs and what follows them.
    pub specification: Specification,
    /// The queries that were proved, in the order of the file.
    pub proved: Vec<Proved>,
    /// The violation, if it shows one.
    pub counterexample: Option<Counterexample>,
    /// Number of lines between the first and the last.
    pub steps: u64,
}

/// A query with the bound that a certificate proves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proved {
    /// Index of the block.
    pub block: usize,
    /// Which derivative of the block.
    pub query: Query,
    /// Over the block's box it is at least this wherever it exists.
    pub at_least: f64,
    /// Number of regions that the box was cut into.
    pub leaves: u64,
}

/// Checks a certificate of `model`.
///
/// # Soundness
/// If the conclusion is [`Conclusion::Certified`], then for all `x`, `x'` of the domain that differ only in monotone
/// features, moved in their directions, `f(x) <= f(x')` for every output of the model's network or, if the certificate
/// names rows, for every one of these combinations of outputs, over the real numbers. If it is [`Conclusion::Refuted`],
/// the counterexample is one. Domain and specification are those of the certificate, which may be others than the model
/// states: compare them with what you expect.
///
/// # Errors
/// If the certificate is not valid. Whatever the bytes are, this neither panics nor recurses, and it needs memory for
/// one line and for what was read on the way to one region.
pub fn check(certificate: impl BufRead, model: &Model) -> std::result::Result<Checked, CheckError> {
    let mut checker = Checker { lines: Lines::new(certificate), query: None };
    checker.run(model).map_err(|fault| CheckError { line: checker.lines.number, query: checker.query, fault })
}

struct Checker<R> {
    lines: Lines<R>,
    /// What is being proved.
    query: Option<(usize, Query)>,
}

impl<R: BufRead> Checker<R> {
    fn run(&mut self, model: &Model) -> Result<Checked> {
        let header = self.lines.header()?;
        let network = &model.network;
        let found = model.sha256();
        if header.model != found {
            return Err(Fault::OtherModel { expected: header.model, found });
        }
        let widths = [("inputs of the domain", header.domain.inputs()), ("directions", header.directions.0.len())];
        for (what, found) in widths {
            if found != network.inputs() {
                return Err(Fault::Width { what, expected: network.inputs(), found });
            }
        }
        for row in header.rows.as_combinations().unwrap_or_default() {
            if row.len() != network.outputs() {
                let (expected, found) = (network.outputs(), row.len());
                return Err(Fault::Width { what: "coefficients of a row", expected, found });
            }
        }
        let (mut proved, mut counterexample) = (Vec::new(), None);
        let end = match header.verdict {
            Conclusion::Certified => self.certified(network, &header, &mut proved)?,
            Conclusion::Refuted => {
                let pair = match self.lines.line()? {
                    Line::Counterexample(pair) => pair,
                    other => return misplaced("a counterexample", &other),
                };
                refutation::confirm(network, &header, &pair)?;
                counterexample = Some(pair);
                self.end()?
            }
            Conclusion::Undecided => match self.lines.line()? {
                Line::Undecided => self.end()?,
                other => return misplaced("an undecided verdict", &other),
            },
        };
        // All but the first and the last line.
        let found = self.lines.number - 2;
        if end.steps != found {
            return Err(Fault::Count { expected: end.steps, found });
        }
        if !self.lines.are_over()? {
            return Err(Fault::Trailing);
        }
        let Header { domain, directions, rows, verdict: conclusion, .. } = header;
        let specification = Specification { directions, rows };
        Ok(Checked { conclusion, domain, specification, proved, counterexample, steps: end.steps })
    }

    /// Reads and checks the proofs of all queries that are needed, in any order.
    fn certified(&mut self, network: &Network, header: &Header, proved: &mut Vec<Proved>) -> Result<End> {
        let layers = composition::first_layers(network, header)?;
        let needed = composition::needed(network, header, &layers)?;
        let mut missing = needed.clone();
        loop {
            let (block, query, at_least) = match self.lines.line()? {
                Line::Query(BlockQuery { block, row, input, direction }, at_least) => {
                    (block, Query { row, input, direction }, at_least)
                }
                Line::End(end) => {
                    return match missing.first_key_value() {
                        Some((&(block, row, input), _)) => Err(Fault::Missing { block, row, input }),
                        None => Ok(end),
                    };
                }
                other => return misplaced("a query or the last line", &other),
            };
            self.query = Some((block, query));
            let key = (block, query.row, query.input);
            if needed.get(&key) != Some(&query.direction) {
                return Err(Fault::NotNeeded);
            }
            if missing.remove(&key).is_none() {
                return Err(Fault::Repeated);
            }
            if !(at_least >= 0.0 && at_least.is_finite()) {
                return Err(Fault::AtLeast(at_least));
            }
            let rows = if block + 1 == network.blocks().len() { &header.rows } else { &Rows::OUTPUTS };
            let mut tree = Tree::new(&network.blocks()[block], rows, &layers[block], query, at_least);
            while !tree.step(&self.step()?)? {}
            proved.push(Proved { block, query, at_least, leaves: tree.leaves });
            self.query = None;
        }
    }

    fn step(&mut self) -> Result<crate::Step> {
        match self.lines.line()? {
            Line::Step(step) => Ok(step),
            other => misplaced("a step, because parts of this proof are missing", &other),
        }
    }

    fn end(&mut self) -> Result<End> {
        match self.lines.line()? {
            Line::End(end) => Ok(end),
            other => misplaced("the last line", &other),
        }
    }
}

fn misplaced<T>(expected: &'static str, found: &Line) -> Result<T> {
    Err(Fault::Misplaced { expected, found: found.kind() })
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let network = "the network whose parameters are exactly the stored f32 weights";
        let rows = &self.specification.rows;
        match (self.conclusion, &self.counterexample) {
            (Conclusion::Certified, _) if self.specification.directions.0.iter().all(|d| *d == Direction::Free) => {
                write!(f, "Valid, but empty: the certificate gives no input a direction, so it says nothing.")
            }
            (Conclusion::Certified, _) => {
                let leaves: u64 = self.proved.iter().map(|proved| proved.leaves).sum();
                write!(
                    f,
                    "Valid proof of monotonicity. Computed over the real numbers with {network}, {} falls when an \
                     increasing input grows or a decreasing input shrinks while the other inputs stay the same, as long \
                     as all inputs stay in the domain stated here. Proved by {} queries in {leaves} regions, each \
                     checked in whole numbers.",
                    if rows.are_outputs() { "no output" } else { "none of the combinations of outputs stated here" },
                    self.proved.len(),
                )
            }
            (Conclusion::Refuted, Some(pair)) => write!(
                f,
                "Valid counterexample. Computed over the real numbers with {network}, {} falls by about {:.3e} when \
                 input {} moves in its direction between two inputs of the domain stated here (outputs and inputs \
                 counted from 1).",
                rows.describe(pair.row),
                crate::exact::approximate(&pair.drop),
                pair.input + 1,
            ),
            _ => write!(f, "This certificate proves nothing: the search was stopped before it had an answer."),
        }
    }
}
