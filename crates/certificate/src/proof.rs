//! The certificate file: what it consists of, and its writer. `docs/certificate-format.md` says what every line means.

use std::io::{self, Write};

use num_bigint::BigInt;
use serde::{Deserialize, Serialize};

use crate::{Counterexample, Direction, Domain, Limit, Model, MonotoneFeatures, Query, Rows, Specification, Verdict};

/// The word that every certificate begins with.
pub(crate) const FORMAT: &str = "monotonicity-certificate";
/// The only version there is.
pub(crate) const VERSION: u32 = 1;

/// What a certificate claims, without the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// The network is monotone; a proof of every query follows.
    Certified,
    /// It is not; a counterexample follows.
    Refuted,
    /// Nothing was shown.
    Undecided,
}

impl From<&Verdict> for Conclusion {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Certified { .. } => Self::Certified,
            Verdict::Refuted(_) => Self::Refuted,
            Verdict::Undecided { .. } => Self::Undecided,
        }
    }
}

/// The first line of a certificate: which network, where, in which directions, and what is claimed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub(crate) format: String,
    pub(crate) version: u32,
    /// [`Model::sha256`] of the model.
    pub model: String,
    /// Where the claim holds.
    pub domain: Domain,
    /// The direction in which the rows follow each input.
    pub directions: MonotoneFeatures,
    /// What follows.
    #[serde(default, skip_serializing_if = "Rows::are_outputs")]
    pub rows: Rows,
    /// The input box of every block but the first, `[lower, upper]` per input.
    pub boxes: Vec<Vec<(f64, f64)>>,
    /// What is claimed.
    pub verdict: Conclusion,
}

impl Header {
    /// The header of a claim about `model`, in which block `k` was looked at over `domains[k]`: the domain of the claim
    /// for the first, boxes for the others.
    ///
    /// # Panics
    /// If there is no domain.
    pub fn new(model: &Model, specification: &Specification, domains: &[Domain], verdict: Conclusion) -> Self {
        let (domain, later) = domains.split_first().expect("a network has a first block");
        let ends = |domain: &Domain| domain.input_box().iter().map(|side| (side.lower, side.upper)).collect();
        Self {
            format: FORMAT.into(),
            version: VERSION,
            model: model.sha256(),
            domain: domain.clone(),
            directions: specification.directions.clone(),
            rows: specification.rows.clone(),
            boxes: later.iter().map(ends).collect(),
            verdict,
        }
    }
}

/// The proof of one query of one block: a tree in preorder.
#[derive(Debug, Clone, PartialEq)]
pub struct Proof {
    /// Index of the block.
    pub block: usize,
    /// What is shown.
    pub query: Query,
    /// The directed derivative is at least this wherever it exists; not negative.
    pub at_least: f64,
    /// The nodes of the tree, every node before its children.
    pub steps: Vec<Step>,
}

/// One node of a proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The region is cut into parts; as many subtrees follow.
    Split(Split),
    /// Bounds of pre-activations are sharpened for the one subtree that follows.
    Tighten(Tighten),
    /// A leaf: these multipliers bound the derivative from below.
    Bound(Multipliers),
    /// A leaf: these multipliers show that no point of the region matters.
    Empty(ExactMultipliers),
}

/// How a region is cut into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Split {
    /// By the phase of an unstable neuron: first active, then inactive.
    Neuron(usize),
    /// By the member of a one-hot group that is 1, in the order of the group.
    Group(usize),
    /// By the value of an integer feature: first at most grid point `at`, then at least grid point `at + 1`.
    Integer {
        /// Which input.
        input: usize,
        /// A grid index, counted from the lower end of the feature's interval.
        at: u64,
    },
}

/// Sharper bounds of pre-activations. An entry is a neuron and pairs of another neuron, whose phase is known, and `m`
/// for the multiplier `m * 2^exponent >= 0` of its half-space. Entries count one after the other, `upper` before `lower`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tighten {
    /// Binary exponent of all multipliers.
    pub exponent: i32,
    /// New upper bounds.
    pub upper: Vec<(usize, Vec<(usize, i64)>)>,
    /// New lower bounds.
    pub lower: Vec<(usize, Vec<(usize, i64)>)>,
}

/// Multipliers `m * 2^exponent` as pairs of neuron and `m`, neurons in increasing order; the others are zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multipliers {
    /// Binary exponent of all multipliers.
    pub exponent: i32,
    /// Neuron and `m`.
    pub multipliers: Vec<(usize, i64)>,
}

/// Multipliers of any size as pairs of neuron and integer, neurons in increasing order; the others are zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExactMultipliers {
    /// Neuron and multiplier.
    #[serde(with = "decimal")]
    pub multipliers: Vec<(usize, BigInt)>,
}

/// A line that is neither the header nor a step, for writing.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Query { query: BlockQuery, at_least: f64 },
    Counterexample { counterexample: &'a Counterexample },
    Undecided { undecided: Undecided },
    End { end: End },
}

/// A query with the block it is about.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlockQuery {
    pub block: usize,
    pub row: usize,
    pub input: usize,
    pub direction: Direction,
}

/// What stands in the last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    pub steps: u64,
}

/// How far the proof of an undecided network came.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Undecided {
    lower_bound: f64,
    limit: Limit,
}

/// Writes a certificate line by line. Without [`finish`](Self::finish) the file is worthless, as it should be.
#[derive(Debug)]
pub struct CertificateWriter<W: Write> {
    out: W,
    steps: u64,
}

impl<W: Write> CertificateWriter<W> {
    /// Begins a certificate.
    ///
    /// # Errors
    /// If writing fails.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self { out, steps: 0 };
        writer.line(header)?;
        writer.steps = 0;
        Ok(writer)
    }

    /// Writes the proof of one query of a network that is certified.
    ///
    /// # Errors
    /// If writing fails or the bound is not finite.
    pub fn proof(&mut self, proof: &Proof) -> io::Result<()> {
        let Query { row, input, direction } = proof.query;
        let query = BlockQuery { block: proof.block, row, input, direction };
        self.line(&Line::Query { query, at_least: finite(proof.at_least)? })?;
        proof.steps.iter().try_for_each(|step| self.line(step))
    }

    /// Writes the pair of inputs that refutes a network.
    ///
    /// # Errors
    /// If writing fails.
    pub fn counterexample(&mut self, pair: &Counterexample) -> io::Result<()> {
        self.line(&Line::Counterexample { counterexample: pair })
    }

    /// Writes how far an undecided network got.
    ///
    /// # Errors
    /// If writing fails or the bound is not finite.
    pub fn undecided(&mut self, lower_bound: f64, limit: &Limit) -> io::Result<()> {
        let undecided = Undecided { lower_bound: finite(lower_bound)?, limit: limit.clone() };
        self.line(&Line::Undecided { undecided })
    }

    /// Writes the last line and gives the sink back.
    ///
    /// # Errors
    /// If writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.line(&Line::End { end: End { steps: self.steps } })?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn line(&mut self, content: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, content)?;
        self.steps += 1;
        self.out.write_all(b"\n")
    }
}

/// JSON has no infinities: they would be written as `null`.
fn finite(value: f64) -> io::Result<f64> {
    let refuse = || io::Error::new(io::ErrorKind::InvalidInput, format!("{value} cannot be written as JSON"));
    value.is_finite().then_some(value).ok_or_else(refuse)
}

/// Integers of any size as decimal text, which no JSON reader rounds.
mod decimal {
    use num_bigint::BigInt;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Longest text accepted for one number: far more than any proof needs.
    const LONGEST: usize = 20_000;

    pub fn serialize<S: Serializer>(values: &[(usize, BigInt)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|(i, value)| (i, value.to_string())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(usize, BigInt)>, D::Error> {
        let parse = |(i, text): (usize, String)| {
            if text.len() > LONGEST {
                return Err(D::Error::custom(format!("a number has more than {LONGEST} characters")));
            }
            let digits = text.strip_prefix('-').unwrap_or(&text);
            let value = digits.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
            value
                .map(|value| (i, value))
                .ok_or_else(|| D::Error::custom(format!("expected an integer, found {text:.40}")))
        };
        Vec::<(usize, String)>::deserialize(from)?.into_iter().map(parse).collect()
    }
}
