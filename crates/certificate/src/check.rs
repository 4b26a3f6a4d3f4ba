//! The checker: decides whether a certificate proves what it says, in exact arithmetic and without any search.
//!
//! It shares no code with the programs that make certificates, trusts nothing that the file says, and computes every
//! bound itself. `docs/certificate-format.md` explains why each step is valid; the order here is the same.

use std::fmt;
use std::io::{BufRead, Read};

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{CheckedAdd, CheckedMul, One, Signed, ToPrimitive, Zero};

use serde::Deserialize;

use crate::proof::{BlockQuery, End, FORMAT, Undecided, VERSION};
use crate::{
    Activation, Block, Boundary, Conclusion, Counterexample, Direction, Domain, ExactMultipliers, Header, Model,
    MonotoneFeatures, Multipliers, Network, Split, Step, Tighten,
};

/// Longest line that is read; a leaf that names ten thousand neurons has a tenth of that.
const LONGEST_LINE: u64 = 1 << 22;
/// Exponents of multipliers lie between these; `f64` needs no more.
const EXPONENTS: std::ops::RangeInclusive<i32> = -1100..=1100;

/// What a valid certificate proves.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// What it shows.
    pub conclusion: Conclusion,
    /// Where it holds.
    pub domain: Domain,
    /// The directions of the inputs.
    pub directions: MonotoneFeatures,
    /// The violation, if it shows one.
    pub counterexample: Option<Counterexample>,
    /// Number of queries proved.
    pub queries: usize,
    /// Number of regions that the queries were cut into.
    pub leaves: u64,
}

/// Why a certificate is not valid.
#[derive(Debug, thiserror::Error)]
#[error("line {line}{}: {fault}", query.map(|q| format!(" (block {}, output {}, input {})", q.0, q.1, q.2)).unwrap_or_default())]
pub struct CheckError {
    /// Counted from 1.
    pub line: u64,
    /// Block, output and input of the query that is being proved.
    pub query: Option<(usize, usize, usize)>,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong with a certificate.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The file is cut short.
    #[error("the file ends before its last line; it was cut short")]
    CutShort,
    /// A line is too long.
    #[error("the line is longer than {LONGEST_LINE} bytes")]
    TooLong,
    /// A line is not what the format knows.
    #[error("not a line of a certificate: {0}")]
    Syntax(String),
    /// The format or its version is not this one.
    #[error("expected {FORMAT} version {VERSION}, found {format:.40} version {version}")]
    Version {
        /// What the file says it is.
        format: String,
        /// Its version.
        version: u32,
    },
    /// The certificate is about another model.
    #[error("the certificate is about the model {expected:.64}, this one is {found}")]
    OtherModel {
        /// Hash in the certificate.
        expected: String,
        /// Hash of the model.
        found: String,
    },
    /// The header does not fit the network.
    #[error("the header does not fit the network: {0}")]
    Header(String),
    /// A network that the format cannot speak about.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// A block can produce something outside the next one's box.
    #[error("block {block} can produce values outside [{lower}, {upper}], the box of input {input} of the next block")]
    BoxTooSmall {
        /// The producing block.
        block: usize,
        /// The input.
        input: usize,
        /// Its least value in the header.
        lower: f64,
        /// Its largest value in the header.
        upper: f64,
    },
    /// A free channel depends on a monotone one.
    #[error("block {block}: output {row} is no monotone channel but depends on monotone input {input}")]
    UncutLink {
        /// The block.
        block: usize,
        /// Its output.
        row: usize,
        /// Its input.
        input: usize,
    },
    /// A line that has no place here.
    #[error("{0} has no place here")]
    Misplaced(&'static str),
    /// A query that is not needed, or twice.
    #[error("this query is not needed, or was proved before")]
    NotNeeded,
    /// A query without proof.
    #[error("no proof for block {0}, output {1}, input {2}")]
    Missing(usize, usize, usize),
    /// A number outside its range.
    #[error("{what}: {value} is out of range")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// A split that does not cut the region.
    #[error("{0}")]
    BadSplit(&'static str),
    /// A multiplier with the wrong sign or size.
    #[error("the multiplier of neuron {0} is not allowed in this region")]
    BadMultiplier(usize),
    /// The multipliers prove less than claimed.
    #[error("the multipliers do not prove the bound")]
    NotProved,
    /// The counterexample does not hold.
    #[error("the counterexample does not hold: {0}")]
    NoCounterexample(&'static str),
    /// The number of lines is another.
    #[error("the last line counts {expected} lines, there are {found}")]
    Count {
        /// What the last line says.
        expected: u64,
        /// What was read.
        found: u64,
    },
}

type Result<T> = std::result::Result<T, Fault>;

/// Checks a certificate of `model`.
///
/// # Soundness
/// If this gives [`Conclusion::Certified`], then for all `x`, `x'` of the domain that differ only in monotone features, moved
/// in their directions, `f(x) <= f(x')` for every output of the model's network, over the real numbers. If it gives
/// [`Conclusion::Refuted`], the counterexample is one. The domain and the directions are those of the certificate; compare
/// them with what you expect.
///
/// # Errors
/// If the certificate is not valid. Never panics and never needs more memory than a line and the depth of a tree take.
pub fn check(certificate: impl BufRead, model: &Model) -> std::result::Result<Checked, CheckError> {
    let mut checker = Checker { lines: Lines { from: certificate, number: 0 }, query: None };
    checker.run(model).map_err(|fault| CheckError { line: checker.lines.number, query: checker.query, fault })
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (&self.conclusion, &self.counterexample) {
            (Conclusion::Certified, _) => write!(
                f,
                "Valid proof of monotonicity: over the real numbers, the network with the stored weights never moves \
                 against a monotone input on the stated domain ({} queries, {} regions).",
                self.queries, self.leaves
            ),
            (_, Some(pair)) => write!(
                f,
                "Valid counterexample: output {} falls by about {:.3e} when input {} moves in its direction.",
                pair.row,
                pair.drop.to_f64().unwrap_or(f64::NAN),
                pair.input
            ),
            _ => write!(f, "This certificate proves nothing: the search was stopped before it came to an answer."),
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Reading

struct Lines<R> {
    from: R,
    number: u64,
}

/// A line after the header, as it stands in the file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    query: Option<BlockQuery>,
    at_least: Option<f64>,
    split: Option<Split>,
    tighten: Option<Tighten>,
    bound: Option<Multipliers>,
    empty: Option<ExactMultipliers>,
    counterexample: Option<Counterexample>,
    undecided: Option<Undecided>,
    end: Option<End>,
}

/// A line after the header.
enum Line {
    Query(Claim),
    Step(Step),
    Counterexample(Counterexample),
    Undecided,
    End(End),
}

/// What the steps after it prove.
struct Claim {
    query: BlockQuery,
    at_least: f64,
}

impl Fields {
    /// The one thing that the line says.
    fn line(self) -> Option<Line> {
        let mut found = Vec::new();
        match (self.query, self.at_least) {
            (Some(query), Some(at_least)) => found.push(Line::Query(Claim { query, at_least })),
            (None, None) => {}
            _ => return None,
        }
        found.extend(self.split.map(|split| Line::Step(Step::Split(split))));
        found.extend(self.tighten.map(|tighten| Line::Step(Step::Tighten(tighten))));
        found.extend(self.bound.map(|multipliers| Line::Step(Step::Bound(multipliers))));
        found.extend(self.empty.map(|multipliers| Line::Step(Step::Empty(multipliers))));
        found.extend(self.counterexample.map(Line::Counterexample));
        found.extend(self.undecided.map(|_| Line::Undecided));
        found.extend(self.end.map(Line::End));
        if found.len() == 1 { found.pop() } else { None }
    }
}

impl<R: BufRead> Lines<R> {
    fn text(&mut self) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        self.number += 1;
        (&mut self.from).take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() as u64 > LONGEST_LINE {
            return Err(Fault::TooLong);
        }
        if bytes.pop() != Some(b'\n') {
            return Err(Fault::CutShort);
        }
        String::from_utf8(bytes).map(Some).map_err(|_| Fault::Syntax("not UTF-8".into()))
    }

    fn line(&mut self) -> Result<Line> {
        let text = self.text()?.ok_or(Fault::CutShort)?;
        let fields: Fields = serde_json::from_str(&text).map_err(|error| Fault::Syntax(error.to_string()))?;
        fields.line().ok_or_else(|| Fault::Syntax("expected exactly one thing on a line".into()))
    }
}

struct Checker<R> {
    lines: Lines<R>,
    query: Option<(usize, usize, usize)>,
}

impl<R: BufRead> Checker<R> {
    fn run(&mut self, model: &Model) -> Result<Checked> {
        let text = self.lines.text()?.ok_or(Fault::CutShort)?;
        let header: Header = serde_json::from_str(&text).map_err(|error| Fault::Syntax(error.to_string()))?;
        if header.format != FORMAT || header.version != VERSION {
            return Err(Fault::Version { format: header.format, version: header.version });
        }
        let found = model.sha256();
        if header.model != found {
            return Err(Fault::OtherModel { expected: header.model, found });
        }
        let network = &model.network;
        let width = |what: &str, found: usize, expected: usize| {
            let message = || Fault::Header(format!("{what}: expected {expected}, found {found}"));
            if found == expected { Ok(()) } else { Err(message()) }
        };
        width("inputs of the domain", header.domain.inputs(), network.inputs())?;
        width("directions", header.directions.0.len(), network.inputs())?;
        let mut checked = Checked {
            conclusion: header.verdict,
            domain: header.domain.clone(),
            directions: header.directions.clone(),
            counterexample: None,
            queries: 0,
            leaves: 0,
        };
        let end = match header.verdict {
            Conclusion::Certified => {
                width("boxes", header.boxes.len(), network.boundaries().len())?;
                let domains = domains(network, &header)?;
                self.certified(network, &header.directions, &domains, &mut checked)?
            }
            Conclusion::Refuted => {
                let Line::Counterexample(pair) = self.lines.line()? else {
                    return Err(Fault::Misplaced("anything but a counterexample"));
                };
                violation(network, &header, &pair)?;
                checked.counterexample = Some(pair);
                self.end()?
            }
            Conclusion::Undecided => {
                let Line::Undecided = self.lines.line()? else {
                    return Err(Fault::Misplaced("anything but what stopped the proof"));
                };
                self.end()?
            }
        };
        // Without the header and the last line.
        let found = self.lines.number - 2;
        if end.steps != found {
            return Err(Fault::Count { expected: end.steps, found });
        }
        match self.lines.text()? {
            None => Ok(checked),
            Some(_) => Err(Fault::Misplaced("a line after the last one")),
        }
    }

    fn end(&mut self) -> Result<End> {
        match self.lines.line()? {
            Line::End(end) => Ok(end),
            _ => Err(Fault::Misplaced("another line")),
        }
    }

    fn certified(
        &mut self,
        network: &Network,
        directions: &MonotoneFeatures,
        domains: &[Domain],
        checked: &mut Checked,
    ) -> Result<End> {
        let mut needed = needed(network, directions, domains)?;
        loop {
            match self.lines.line()? {
                Line::Query(claim) => {
                    let BlockQuery { block, row, input, direction } = claim.query;
                    let key = (block, row, input);
                    let place = needed.binary_search_by_key(&key, |n| n.0).map_err(|_| Fault::NotNeeded)?;
                    if needed.remove(place).1 != direction {
                        return Err(Fault::NotNeeded);
                    }
                    if !(claim.at_least >= 0.0 && claim.at_least.is_finite()) {
                        return Err(out_of_range("at_least", claim.at_least));
                    }
                    self.query = Some(key);
                    let proof = Proof::new(&network.blocks()[block], &domains[block], &claim)?;
                    checked.leaves += self.tree(proof)?;
                    checked.queries += 1;
                    self.query = None;
                }
                Line::End(end) => {
                    return match needed.first() {
                        Some(&((block, row, input), _)) => Err(Fault::Missing(block, row, input)),
                        None => Ok(end),
                    };
                }
                _ => return Err(Fault::Misplaced("a step without a query")),
            }
        }
    }

    /// Reads and checks the tree of one query; gives the number of its leaves.
    fn tree(&mut self, mut proof: Proof) -> Result<u64> {
        let mut leaves = 0;
        let mut tightened = false;
        loop {
            let Line::Step(step) = self.lines.line()? else {
                return Err(Fault::Misplaced("a line inside an unfinished proof that is no step of it"));
            };
            match &step {
                Step::Split(split) => proof.split(*split)?,
                // One after the other could go on for ever without any progress.
                Step::Tighten(_) if tightened => return Err(Fault::Misplaced("a second tightening in a row")),
                Step::Tighten(tighten) => {
                    proof.tighten(tighten)?;
                    tightened = true;
                    continue;
                }
                Step::Bound(multipliers) => proof.bound(multipliers)?,
                Step::Empty(multipliers) => proof.empty(multipliers)?,
            }
            tightened = false;
            if !matches!(step, Step::Split(_)) {
                leaves += 1;
                if !proof.next_part()? {
                    return Ok(leaves);
                }
            }
        }
    }
}

fn out_of_range(what: &'static str, value: impl fmt::Display) -> Fault {
    Fault::OutOfRange { what, value: format!("{value:.40}") }
}

// ---------------------------------------------------------------------------------------------------------------------
// Composition: what has to be proved about the blocks, and over which boxes

fn rational(value: f64) -> BigRational {
    BigRational::from_float(value).expect("numbers of networks and domains are finite")
}

/// The domain of every block: the network's, then the boxes of the header, each of which contains what comes out of the
/// block before.
fn domains(network: &Network, header: &Header) -> Result<Vec<Domain>> {
    let mut domains = vec![header.domain.clone()];
    for (k, boundary) in network.boundaries().iter().enumerate() {
        let sides = header.boxes[k].iter().map(|&(lower, upper)| crate::Interval::new(lower, upper));
        let next = Domain::from_box(sides.collect()).map_err(|error| Fault::Header(error.to_string()))?;
        if next.inputs() != network.blocks()[k + 1].inputs() {
            return Err(Fault::Header(format!("box {k} has {} sides", next.inputs())));
        }
        let range = range(&network.blocks()[k], &domains[k], boundary)?;
        for (input, ((lower, upper), side)) in range.iter().zip(next.input_box()).enumerate() {
            if *lower < rational(side.lower) || *upper > rational(side.upper) {
                return Err(Fault::BoxTooSmall { block: k, input, lower: side.lower, upper: side.upper });
            }
        }
        domains.push(next);
    }
    Ok(domains)
}

/// What a block and the activation after it can produce, by interval arithmetic.
fn range(block: &Block, domain: &Domain, boundary: &Boundary) -> Result<Vec<Range>> {
    require_relu(block)?;
    let relu = |t: BigRational| t.max(BigRational::zero());
    let inputs: Vec<_> = domain.input_box().iter().map(|s| (rational(s.lower), rational(s.upper))).collect();
    let hidden = affine_range(block.first(), &inputs, domain.one_hot());
    let hidden: Vec<_> = hidden.into_iter().map(|(lower, upper)| (relu(lower), relu(upper))).collect();
    let outputs = affine_range(block.second(), &hidden, &[]);
    let activate = |t: BigRational| match boundary.activation {
        Activation::Relu => Ok(relu(t)),
        Activation::Clamp => Ok(relu(t).min(BigRational::one())),
        other => Err(Fault::Unsupported(format!("{} between blocks; only relu and clamp are", other.name()))),
    };
    outputs.into_iter().map(|(lower, upper)| Ok((activate(lower)?, activate(upper)?))).collect()
}

type Range = (BigRational, BigRational);

fn affine_range(layer: &crate::Affine, sides: &[Range], groups: &[Vec<usize>]) -> Vec<Range> {
    let output = |i: usize| {
        let row: Vec<_> = layer.row(i).iter().map(|w| rational(f64::from(*w))).collect();
        let bias = rational(f64::from(layer.bias()[i]));
        let (mut lower, mut upper) = (bias.clone(), bias);
        for (j, (w, (least, largest))) in row.iter().zip(sides).enumerate() {
            if !groups.iter().flatten().any(|&member| member == j) {
                let (a, b) = (w * least, w * largest);
                lower += a.clone().min(b.clone());
                upper += a.max(b);
            }
        }
        for group in groups {
            lower += group.iter().map(|&j| &row[j]).min().expect("a group has members");
            upper += group.iter().map(|&j| &row[j]).max().expect("a group has members");
        }
        (lower, upper)
    };
    (0..layer.outputs()).map(output).collect()
}

fn require_relu(block: &Block) -> Result<()> {
    match block.activation() {
        Activation::Relu => Ok(()),
        other => Err(Fault::Unsupported(format!("{} inside a block; only relu is", other.name()))),
    }
}

type Needed = ((usize, usize, usize), Direction);

/// The queries that together show that the network is monotone, in order; also checks the cut links.
fn needed(network: &Network, directions: &MonotoneFeatures, domains: &[Domain]) -> Result<Vec<Needed>> {
    let mut needed = Vec::new();
    let mut inputs = directions.0.clone();
    if inputs.iter().all(|direction| *direction == Direction::Free) {
        return Ok(needed);
    }
    for (k, block) in network.blocks().iter().enumerate() {
        require_relu(block)?;
        let monotone = match network.boundaries().get(k) {
            Some(boundary) => boundary.monotone.clone(),
            None => vec![true; block.outputs()],
        };
        for (row, monotone) in monotone.iter().enumerate() {
            for (input, direction) in inputs.iter().enumerate().filter(|(_, d)| **d != Direction::Free) {
                if *monotone {
                    let side = domains[k].input_box()[input];
                    if domains[k].one_hot().iter().flatten().any(|&j| j == input) {
                        return Err(Fault::Header(format!("input {input} of a one-hot group has a direction")));
                    }
                    // What cannot move needs no proof.
                    if side.lower < side.upper {
                        needed.push(((k, row, input), *direction));
                    }
                } else {
                    let linked = |i: usize| block.second().row(row)[i] != 0.0 && block.first().row(i)[input] != 0.0;
                    if (0..block.hidden()).any(linked) {
                        return Err(Fault::UncutLink { block: k, row, input });
                    }
                }
            }
        }
        let direction = |m: &bool| if *m { Direction::Increasing } else { Direction::Free };
        inputs = monotone.iter().map(direction).collect();
    }
    needed.sort_by_key(|n| n.0);
    Ok(needed)
}

// ---------------------------------------------------------------------------------------------------------------------
// Numbers

/// `mantissa * 2^exponent`
#[derive(Debug, Clone)]
struct Dyadic {
    mantissa: BigInt,
    exponent: i64,
}

impl Dyadic {
    fn new(mantissa: impl Into<BigInt>, exponent: i64) -> Self {
        Self { mantissa: mantissa.into(), exponent }
    }

    fn from_f64(value: f64) -> Self {
        let exact = rational(value);
        let digits = exact.denom().bits() - 1;
        Self { mantissa: exact.numer().clone(), exponent: -i64::try_from(digits).expect("an f64 has few digits") }
    }

    fn at(&self, exponent: i64) -> BigInt {
        let up = u64::try_from(self.exponent - exponent).expect("only common exponents are asked for");
        &self.mantissa << up
    }

    fn plus(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Self { mantissa: self.at(exponent) + other.at(exponent), exponent }
    }

    fn times(&self, other: &Self) -> Self {
        Self { mantissa: &self.mantissa * &other.mantissa, exponent: self.exponent + other.exponent }
    }

    fn at_least(&self, other: &Self) -> bool {
        let exponent = self.exponent.min(other.exponent);
        self.at(exponent) >= other.at(exponent)
    }

    fn sign(&self) -> num_bigint::Sign {
        self.mantissa.sign()
    }

    fn is_negative(&self) -> bool {
        self.mantissa.is_negative()
    }

    fn is_positive(&self) -> bool {
        self.mantissa.is_positive()
    }
}

/// The first layer and the sides of the region as whole numbers: weights in units of `2^-weight_digits`, inputs in units
/// of `1 / per_input`.
#[derive(Clone)]
struct Whole<T> {
    /// `[neurons, inputs]`
    weights: Vec<Vec<T>>,
    bias: Vec<T>,
    sides: Vec<(T, T)>,
    per_input: T,
}

impl<T: Clone + Zero + CheckedAdd + CheckedMul + Ord> Whole<T> {
    /// `min sum_i factor_i t_i(x)` over the box with its one-hot groups; `None` if `T` is too small for it.
    fn least(&self, terms: &[(usize, T)], groups: &[Vec<usize>], members: &[Option<usize>]) -> Option<T> {
        let mut weight = vec![T::zero(); self.sides.len()];
        let mut sum = T::zero();
        for (i, factor) in terms {
            sum = sum.checked_add(&factor.checked_mul(&self.bias[*i])?)?;
            for (total, w) in weight.iter_mut().zip(&self.weights[*i]).filter(|(_, w)| !w.is_zero()) {
                *total = total.checked_add(&factor.checked_mul(w)?)?;
            }
        }
        for (group, member) in groups.iter().zip(members) {
            let chosen = match member {
                Some(member) => &weight[group[*member]],
                None => group.iter().map(|&j| &weight[j]).min().expect("a group has members"),
            };
            sum = sum.checked_add(&chosen.checked_mul(&self.per_input)?)?;
            group.iter().for_each(|&j| weight[j] = T::zero());
        }
        for (weight, (lower, upper)) in weight.iter().zip(&self.sides).filter(|(w, _)| !w.is_zero()) {
            let end = if *weight > T::zero() { lower } else { upper };
            sum = sum.checked_add(&weight.checked_mul(end)?)?;
        }
        Some(sum)
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The proof of one query

/// The state of a proof: the query and the region that the next step is about.
struct Proof<'a> {
    domain: &'a Domain,
    input: usize,
    at_least: Dyadic,
    /// `c_i` of every hidden neuron.
    coefficients: Vec<Dyadic>,
    whole: Whole<BigInt>,
    /// The same in small numbers, where they are large enough.
    small: Option<Whole<i128>>,
    /// `t` of the whole numbers is in units of `2^exponent / per_input`.
    exponent: i64,
    /// Bounds of `t_i`, in units of `1 / per_input`.
    bounds: Vec<(Dyadic, Dyadic)>,
    /// Phases fixed by splits.
    phases: Vec<Option<bool>>,
    members: Vec<Option<usize>>,
    /// For each integer feature the grid values left.
    grid: Vec<(u64, u64)>,
    /// Splits of which a part is left to prove.
    open: Vec<Open>,
    /// Bounds before tightenings: neuron and both.
    undo: Vec<(usize, (Dyadic, Dyadic))>,
}

/// A split whose first `done` parts are proved or in work.
struct Open {
    split: Split,
    done: usize,
    /// The grid of the integer feature before.
    grid: (u64, u64),
    undo: usize,
}

/// What is known of a neuron in a region.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Active,
    Inactive,
    Unstable,
}

impl<'a> Proof<'a> {
    fn new(block: &'a Block, domain: &'a Domain, claim: &Claim) -> Result<Self> {
        let exact = |value: f32| Dyadic::from_f64(f64::from(value));
        let layer = block.first();
        let rows = || (0..layer.outputs()).flat_map(|i| layer.row(i)).chain(layer.bias());
        let exponent = rows().map(|w| exact(*w).exponent).min().unwrap_or(0);
        let direction = match claim.query.direction {
            Direction::Increasing => 1,
            Direction::Decreasing => -1,
            Direction::Free => return Err(Fault::NotNeeded),
        };
        let coefficient = |i: usize| {
            let path = exact(block.second().row(claim.query.row)[i]).times(&exact(layer.row(i)[claim.query.input]));
            path.times(&Dyadic::new(direction, 0))
        };
        let grid: Vec<_> = domain.integer().iter().map(|feature| (0, u64::from(feature.steps))).collect();
        // Every end of every side is a whole number of these parts.
        let ends = domain.input_box().iter().flat_map(|side| [side.lower, side.upper]);
        let digits = ends.map(|end| -Dyadic::from_f64(end).exponent).max().unwrap_or(0).max(0);
        let steps = domain.integer().iter().fold(BigInt::one(), |lcm, f| lcm.lcm(&BigInt::from(f.steps)));
        let per_input = steps << digits;
        let whole_weight = |w: f32| exact(w).at(exponent);
        let whole = Whole {
            weights: (0..layer.outputs()).map(|i| layer.row(i).iter().map(|w| whole_weight(*w)).collect()).collect(),
            bias: layer.bias().iter().map(|b| whole_weight(*b) * &per_input).collect(),
            sides: vec![(BigInt::zero(), BigInt::zero()); domain.inputs()],
            per_input,
        };
        let mut proof = Self {
            domain,
            input: claim.query.input,
            at_least: Dyadic::from_f64(claim.at_least),
            coefficients: (0..block.hidden()).map(coefficient).collect(),
            whole,
            small: None,
            exponent,
            bounds: Vec::new(),
            phases: vec![None; block.hidden()],
            members: vec![None; domain.one_hot().len()],
            grid,
            open: Vec::new(),
            undo: Vec::new(),
        };
        proof.place();
        let bounds = |i: usize| (proof.least(&[(i, BigInt::one())]), proof.largest(&[(i, BigInt::one())]));
        let one = |(lower, upper): (BigInt, BigInt)| (Dyadic::new(lower, exponent), Dyadic::new(upper, exponent));
        proof.bounds = (0..block.hidden()).map(bounds).map(one).collect();
        Ok(proof)
    }

    /// Sets the sides of the region from its grid.
    fn place(&mut self) {
        let whole = |value: BigRational| {
            let parts = value * BigRational::from_integer(self.whole.per_input.clone());
            debug_assert!(parts.is_integer());
            parts.to_integer()
        };
        let box_sides = self.domain.input_box().iter();
        let mut sides: Vec<_> = box_sides.map(|s| (whole(rational(s.lower)), whole(rational(s.upper)))).collect();
        for (feature, (first, last)) in self.domain.integer().iter().zip(&self.grid) {
            let side = self.domain.input_box()[feature.input];
            let (lower, width) = (rational(side.lower), rational(side.upper) - rational(side.lower));
            let value = |k: u64| whole(&lower + &width * BigRational::new(k.into(), feature.steps.into()));
            sides[feature.input] = (value(*first), value(*last));
        }
        self.whole.sides = sides;
        let small = |value: &BigInt| value.to_i128();
        let list = |values: &Vec<BigInt>| values.iter().map(small).collect::<Option<Vec<_>>>();
        self.small = (|| {
            let weights = match self.small.take() {
                Some(before) => before.weights,
                None => self.whole.weights.iter().map(list).collect::<Option<_>>()?,
            };
            let ends = |(lower, upper): &(BigInt, BigInt)| Some((small(lower)?, small(upper)?));
            Some(Whole {
                weights,
                bias: list(&self.whole.bias)?,
                sides: self.whole.sides.iter().map(ends).collect::<Option<_>>()?,
                per_input: small(&self.whole.per_input)?,
            })
        })();
    }

    /// `min sum_i factor_i t_i` over the region's box, in units of `2^exponent / per_input`.
    fn least(&self, terms: &[(usize, BigInt)]) -> BigInt {
        let groups = self.domain.one_hot();
        let fast = self.small.as_ref().and_then(|small| {
            let terms: Option<Vec<_>> = terms.iter().map(|(i, factor)| Some((*i, factor.to_i128()?))).collect();
            small.least(&terms?, groups, &self.members)
        });
        match fast {
            Some(least) => least.into(),
            None => self.whole.least(terms, groups, &self.members).expect("big integers do not overflow"),
        }
    }

    fn largest(&self, terms: &[(usize, BigInt)]) -> BigInt {
        let negated: Vec<_> = terms.iter().map(|(i, factor)| (*i, -factor)).collect();
        -self.least(&negated)
    }

    fn phase(&self, i: usize) -> Phase {
        match self.phases[i] {
            Some(true) => Phase::Active,
            Some(false) => Phase::Inactive,
            None if !self.bounds[i].0.is_negative() => Phase::Active,
            None if !self.bounds[i].1.is_positive() => Phase::Inactive,
            None => Phase::Unstable,
        }
    }

    /// A neuron that the derivative depends on.
    fn neuron(&self, i: usize) -> Result<usize> {
        match self.coefficients.get(i) {
            Some(c) if c.sign() != num_bigint::Sign::NoSign => Ok(i),
            _ => Err(out_of_range("neuron", i)),
        }
    }

    fn split(&mut self, split: Split) -> Result<()> {
        let mut grid = (0, 0);
        match split {
            Split::Neuron(i) => {
                if self.phases[self.neuron(i)?].is_some() {
                    return Err(Fault::BadSplit("the neuron was split before"));
                }
            }
            Split::Group(g) => match self.members.get(g) {
                None => return Err(out_of_range("group", g)),
                Some(Some(_)) => return Err(Fault::BadSplit("the group was split before")),
                Some(None) => {}
            },
            Split::Integer { input, at } => {
                if input == self.input {
                    // Between two of its values the derivative matters too.
                    return Err(Fault::BadSplit("the input of the query must stay whole"));
                }
                grid = self.grid[self.feature(input)?];
                if !(grid.0 <= at && at < grid.1) {
                    return Err(Fault::BadSplit("no grid value on one side"));
                }
            }
        }
        self.open.push(Open { split, done: 0, grid, undo: self.undo.len() });
        self.next_part().map(|_| ())
    }

    fn feature(&self, input: usize) -> Result<usize> {
        let mut features = self.domain.integer().iter();
        features.position(|feature| feature.input == input).ok_or(out_of_range("integer feature", input))
    }

    /// Enters the next part of the innermost split that has one left. `false` if everything is proved.
    fn next_part(&mut self) -> Result<bool> {
        while let Some(mut open) = self.open.pop() {
            for (i, bounds) in self.undo.drain(open.undo..).rev() {
                self.bounds[i] = bounds;
            }
            let part = open.done;
            open.done += 1;
            let left = match open.split {
                Split::Neuron(i) => {
                    self.phases[i] = (part < 2).then_some(part == 0);
                    part < 2
                }
                Split::Group(g) => {
                    self.members[g] = Some(part).filter(|member| *member < self.domain.one_hot()[g].len());
                    self.members[g].is_some()
                }
                Split::Integer { input, at } => {
                    let feature = self.feature(input)?;
                    self.grid[feature] = match part {
                        0 => (open.grid.0, at),
                        1 => (at + 1, open.grid.1),
                        _ => open.grid,
                    };
                    self.place();
                    part < 2
                }
            };
            if left {
                self.open.push(open);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn tighten(&mut self, tighten: &Tighten) -> Result<()> {
        if !EXPONENTS.contains(&tighten.exponent) {
            return Err(out_of_range("exponent", tighten.exponent));
        }
        self.sharpen(&tighten.upper, tighten.exponent, true)?;
        self.sharpen(&tighten.lower, tighten.exponent, false)
    }

    fn sharpen(&mut self, sharpened: &[(usize, Vec<(usize, i64)>)], exponent: i32, upper: bool) -> Result<()> {
        for (i, halfspaces) in sharpened {
            let i = self.neuron(*i)?;
            // All factors in units of 2^common; that of t_i itself is one.
            let common = exponent.min(0);
            let mut terms = vec![(i, BigInt::one() << -common)];
            for (h, factor) in halfspaces {
                let h = self.neuron(*h)?;
                if *factor < 0 {
                    return Err(Fault::BadMultiplier(h));
                }
                let factor = BigInt::from(*factor) << (exponent - common);
                let factor = match self.phase(h) {
                    Phase::Active => factor,
                    Phase::Inactive => -factor,
                    Phase::Unstable => return Err(Fault::BadMultiplier(h)),
                };
                terms.push((h, if upper { factor } else { -factor }));
            }
            let value = if upper { self.largest(&terms) } else { self.least(&terms) };
            let value = Dyadic::new(value, self.exponent + i64::from(common));
            let bounds = self.bounds[i].clone();
            if upper && !value.at_least(&bounds.1) {
                self.undo.push((i, bounds));
                self.bounds[i].1 = value;
            } else if !upper && !bounds.0.at_least(&value) {
                self.undo.push((i, bounds));
                self.bounds[i].0 = value;
            }
        }
        Ok(())
    }

    /// `constant + min sum_i s_i t_i >= at_least`, where what a neuron contributes is never less than its terms.
    fn bound(&self, multipliers: &Multipliers) -> Result<()> {
        if !EXPONENTS.contains(&multipliers.exponent) {
            return Err(out_of_range("exponent", multipliers.exponent));
        }
        let mut factors = vec![0; self.coefficients.len()];
        let mut terms = Vec::new();
        for (i, factor) in in_order(&multipliers.multipliers)? {
            factors[self.neuron(*i)?] = *factor;
            terms.push((*i, BigInt::from(*factor)));
        }
        let exponent = i64::from(multipliers.exponent);
        let mut constant = Dyadic::new(0, 0);
        for (i, c) in self.coefficients.iter().enumerate() {
            if self.contributes(i, &Dyadic::new(factors[i], exponent))? {
                constant = constant.plus(c);
            }
        }
        // Everything times per_input.
        let least = Dyadic::new(self.least(&terms), self.exponent + exponent);
        let per_input = Dyadic::new(self.whole.per_input.clone(), 0);
        let proved = constant.times(&per_input).plus(&least);
        if proved.at_least(&self.at_least.times(&per_input)) { Ok(()) } else { Err(Fault::NotProved) }
    }

    /// Whether `c_i` belongs to the constant if `c_i [t_i >= 0]` is replaced by `s t_i`; an error if it must not be.
    fn contributes(&self, i: usize, s: &Dyadic) -> Result<bool> {
        let c = &self.coefficients[i];
        let (lower, upper) = &self.bounds[i];
        let phase = self.phase(i);
        if phase == Phase::Active && !s.is_positive() {
            // t >= 0 and s <= 0: c >= c + s t.
            return Ok(true);
        }
        if phase == Phase::Inactive && !s.is_negative() {
            // t <= 0 and s >= 0: 0 >= s t.
            return Ok(false);
        }
        let per_input = Dyadic::new(self.whole.per_input.clone(), 0);
        let (allowed, counts) = if c.is_positive() {
            // c [t >= 0] >= s t, because t <= u and 0 <= s u <= c.
            (!s.is_negative() && c.times(&per_input).at_least(&s.times(upper)), false)
        } else {
            // c [t >= 0] >= c + s t, because t >= l and c <= s |l| <= 0.
            let size = Dyadic { mantissa: -&lower.mantissa, exponent: lower.exponent };
            (!s.is_positive() && s.times(&size).at_least(&c.times(&per_input)), true)
        };
        if allowed { Ok(counts) } else { Err(Fault::BadMultiplier(i)) }
    }

    /// `sum_i s_i t_i >= 0` everywhere, although every term is negative off the hyperplanes.
    fn empty(&self, multipliers: &ExactMultipliers) -> Result<()> {
        for (i, factor) in in_order(&multipliers.multipliers)? {
            let allowed = match self.phase(self.neuron(*i)?) {
                Phase::Active => factor.is_negative(),
                Phase::Inactive => factor.is_positive(),
                Phase::Unstable => false,
            };
            if !allowed {
                return Err(Fault::BadMultiplier(*i));
            }
        }
        let some = !multipliers.multipliers.is_empty();
        if some && !self.least(&multipliers.multipliers).is_negative() { Ok(()) } else { Err(Fault::NotProved) }
    }
}

/// The factors, if their neurons rise.
fn in_order<T>(factors: &[(usize, T)]) -> Result<std::slice::Iter<'_, (usize, T)>> {
    match factors.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        Some(pair) => Err(out_of_range("neuron out of order", pair[1].0)),
        None => Ok(factors.iter()),
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Violations

/// Whether the two points of a counterexample are in the domain, in order, and go the wrong way.
fn violation(network: &Network, header: &Header, pair: &Counterexample) -> Result<()> {
    let wrong = |reason| Err(Fault::NoCounterexample(reason));
    let inputs = network.inputs();
    if pair.lower.len() != inputs || pair.upper.len() != inputs || pair.input >= inputs {
        return wrong("its points do not fit the network");
    }
    if pair.row >= network.outputs() {
        return wrong("the network has no such output");
    }
    if !(inside(&header.domain, &pair.lower) && inside(&header.domain, &pair.upper)) {
        return wrong("a point lies outside the domain");
    }
    let moves = match header.directions.0[pair.input] {
        Direction::Increasing => pair.lower[pair.input] < pair.upper[pair.input],
        Direction::Decreasing => pair.lower[pair.input] > pair.upper[pair.input],
        Direction::Free => false,
    };
    if !moves {
        return wrong("the input does not move in its direction");
    }
    if (0..inputs).any(|j| j != pair.input && pair.lower[j] != pair.upper[j]) {
        return wrong("another input moves too");
    }
    let drop = output(network, &pair.lower, pair.row)? - output(network, &pair.upper, pair.row)?;
    if !drop.is_positive() {
        return wrong("the output does not fall");
    }
    if drop != pair.drop { wrong("the output falls by another amount") } else { Ok(()) }
}

fn inside(domain: &Domain, x: &[BigRational]) -> bool {
    let sides = domain.input_box();
    let one_hot = |group: &Vec<usize>| {
        let ones = group.iter().filter(|&&j| x[j].is_one()).count();
        let zeros = group.iter().filter(|&&j| x[j].is_zero()).count();
        ones == 1 && ones + zeros == group.len()
    };
    let on_grid = |feature: &crate::IntegerFeature| {
        let (lower, upper) = (rational(sides[feature.input].lower), rational(sides[feature.input].upper));
        let steps = BigRational::from_integer(feature.steps.into());
        lower == upper || ((&x[feature.input] - &lower) * steps / (upper - lower)).is_integer()
    };
    x.iter().zip(sides).all(|(x, side)| rational(side.lower) <= *x && *x <= rational(side.upper))
        && domain.one_hot().iter().all(one_hot)
        && domain.integer().iter().all(on_grid)
}

/// An output of the network at `x`.
fn output(network: &Network, x: &[BigRational], row: usize) -> Result<BigRational> {
    let zero = BigRational::zero();
    let affine = |layer: &crate::Affine, x: &[BigRational]| -> Vec<BigRational> {
        let dot = |i: usize| {
            let terms = layer.row(i).iter().zip(x).map(|(w, x)| rational(f64::from(*w)) * x);
            terms.fold(rational(f64::from(layer.bias()[i])), |sum, term| sum + term)
        };
        (0..layer.outputs()).map(dot).collect()
    };
    let mut x = x.to_vec();
    for (k, block) in network.blocks().iter().enumerate() {
        require_relu(block)?;
        let hidden: Vec<_> = affine(block.first(), &x).into_iter().map(|t| t.max(zero.clone())).collect();
        x = affine(block.second(), &hidden);
        if let Some(boundary) = network.boundaries().get(k) {
            x = match boundary.activation {
                Activation::Relu => x.into_iter().map(|t| t.max(zero.clone())).collect(),
                Activation::Clamp => x.into_iter().map(|t| t.max(zero.clone()).min(BigRational::one())).collect(),
                other => return Err(Fault::Unsupported(format!("{} between blocks", other.name()))),
            };
        }
    }
    Ok(x.swap_remove(row))
}
