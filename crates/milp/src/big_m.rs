//! The paper's big-M programme of one query (Liu et al. 2020, eq. 10).
//!
//! ```text
//! min  sum_i c_i z_i    t_i <= u_i z_i,   t_i >= l_i (1 - z_i),   z_i in {0, 1},   x in the domain
//! ```
//!
//! The big-M constants are the pre-activation bounds of each neuron, rounded outwards, never a number from elsewhere:
//! with M = 1e8 CBC reported wrong optima, HiGHS with 1e7.

use certificate::exact::{approximate, rational};
use num_rational::BigRational;

use crate::derivative::{ActivationPattern, DirectedDerivative, Phase};
use crate::programme::Programme;

/// A bound may miss zero by rounding alone, and a coefficient of 5e-324 makes solvers fail. Below this part of the
/// largest weight it is moved outwards, which only relaxes; microlp asks for coefficients within six orders of magnitude.
const LEAST_BIG_M: f64 = 1e-6;

/// How an input takes its values.
#[derive(Debug, Clone)]
enum Coordinate {
    Continuous,
    /// The column itself is binary.
    OneHot,
    /// `x = lower + (upper - lower) / steps * sum_p 2^p bit_p`; bits, so that one value can be cut off.
    Integer {
        steps: u32,
        bits: Vec<usize>,
    },
}

/// The programme of one query and how to read its solutions.
#[derive(Debug, Clone)]
pub struct BigM {
    /// The programme. Objective and rows are scaled by powers of two, because a solver's tolerances are absolute: with
    /// coefficients of 1e-8 it would call anything optimal.
    pub programme: Programme,
    /// What the derivative is multiplied with in the objective.
    pub scale: f64,
    coordinates: Vec<Coordinate>,
    /// Position of the neuron and column of its indicator.
    indicators: Vec<(usize, usize)>,
    cuts: usize,
}

/// A pattern with the values of the discrete inputs, read off a solution.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The pattern.
    pub pattern: ActivationPattern,
    /// For each input its value if it is discrete.
    pub discrete: Vec<Option<BigRational>>,
    /// The binaries that encode the discrete inputs, with their values.
    assignment: Vec<(usize, bool)>,
}

impl BigM {
    /// Encodes a query.
    pub fn new(derivative: &DirectedDerivative) -> Self {
        let query = derivative.query;
        let mut programme = Programme::new(format!("output{}_input{}", query.row, query.input));
        let scale = unit_scale(derivative.neurons.iter().map(|neuron| neuron.coefficient));
        programme.objective_constant = approximate(&derivative.constant()) * scale;
        let coordinates = inputs(derivative, &mut programme);
        let mut indicators = Vec::new();
        for k in derivative.unstable() {
            let neuron = &derivative.neurons[k];
            let i = neuron.index;
            let row = derivative.block.first().row(i);
            let least = row.iter().fold(0.0, |max: f64, w| max.max(f64::from(w.abs()))) * LEAST_BIG_M;
            let (lower, upper) = (neuron.bounds.lower.min(-least), neuron.bounds.upper.max(least));
            let z = programme.integer(format!("z{i}"), (0.0, 1.0), neuron.coefficient * scale);
            indicators.push((k, z));
            let row_scale = unit_scale(row.iter().map(|w| f64::from(*w)));
            let (lower, upper) = (lower * row_scale, upper * row_scale);
            let bias = f64::from(derivative.block.first().bias()[i]) * row_scale;
            let t = || row.iter().enumerate().map(|(j, w)| (j, f64::from(*w) * row_scale));
            programme.row(format!("active{i}"), t().chain([(z, -upper)]), (f64::NEG_INFINITY, -bias));
            // l - b is rounded: downwards, which only relaxes.
            let side = (lower - bias).next_down();
            programme.row(format!("inactive{i}"), t().chain([(z, lower)]), (side, f64::INFINITY));
        }
        Self { programme, scale, coordinates, indicators, cuts: 0 }
    }

    /// The pattern and the discrete inputs of a solution.
    pub fn candidate(&self, derivative: &DirectedDerivative, values: &[f64]) -> Candidate {
        let mut pattern: Vec<_> = derivative.neurons.iter().map(|n| n.phase == Phase::Active).collect();
        self.indicators.iter().for_each(|(k, z)| pattern[*k] = values[*z] > 0.5);
        let mut assignment = Vec::new();
        let mut read = |column: usize| {
            let one = values[column] > 0.5;
            assignment.push((column, one));
            one
        };
        let discrete = self.coordinates.iter().enumerate().map(|(j, coordinate)| match coordinate {
            Coordinate::Continuous => None,
            Coordinate::OneHot => Some(rational(if read(j) { 1.0 } else { 0.0 })),
            Coordinate::Integer { steps, bits } => {
                let k = bits.iter().enumerate().map(|(p, bit)| u64::from(read(*bit)) << p).sum();
                Some(grid_value(derivative, j, *steps, k))
            }
        });
        Candidate { discrete: discrete.collect(), pattern, assignment }
    }

    /// Excludes every solution in which these neurons (positions, unstable or not) have the signs of the candidate.
    ///
    /// # Soundness
    /// Excludes nothing else.
    pub fn exclude(&mut self, candidate: &Candidate, neurons: &[usize]) {
        let literals: Vec<_> = self
            .indicators
            .iter()
            .filter(|(k, _)| neurons.contains(k))
            .map(|(k, z)| (*z, candidate.pattern[*k]))
            .collect();
        self.no_good(literals);
    }

    /// The same, but only where the discrete inputs also have the values of the candidate.
    pub fn exclude_with_assignment(&mut self, candidate: &Candidate, neurons: &[usize]) {
        let literals = self.indicators.iter().filter(|(k, _)| neurons.contains(k));
        let literals: Vec<_> = literals.map(|(k, z)| (*z, candidate.pattern[*k])).collect();
        self.no_good(literals.into_iter().chain(candidate.assignment.iter().copied()));
    }

    /// Excludes every pattern whose value cannot be below that of the candidate: to get below, a neuron with a
    /// negative coefficient has to become active or one with a positive coefficient inactive.
    ///
    /// # Soundness
    /// Excludes only patterns with at least the value of the candidate.
    pub fn exclude_dominated(&mut self, derivative: &DirectedDerivative, candidate: &Candidate) {
        let improvable = |(k, _): &&(usize, usize)| {
            let positive = derivative.neurons[*k].coefficient > 0.0;
            positive == candidate.pattern[*k]
        };
        let literals = self.indicators.iter().filter(improvable);
        let literals: Vec<_> = literals.map(|(k, z)| (*z, candidate.pattern[*k])).collect();
        self.no_good(literals);
    }

    /// Not all of the binaries have these values.
    fn no_good(&mut self, literals: impl IntoIterator<Item = (usize, bool)>) {
        let literals: Vec<_> = literals.into_iter().collect();
        let ones = literals.iter().filter(|(_, value)| *value).count();
        let terms = literals.into_iter().map(|(column, value)| (column, if value { -1.0 } else { 1.0 }));
        self.programme.row(format!("cut{}", self.cuts), terms, (1.0 - ones as f64, f64::INFINITY));
        self.cuts += 1;
    }
}

/// The power of two, so that scaling is exact, that brings the largest of some numbers to between 1 and 2.
fn unit_scale(numbers: impl Iterator<Item = f64>) -> f64 {
    let largest = numbers.fold(0.0, |max: f64, x| max.max(x.abs()));
    if largest > 0.0 { (-largest.log2().floor()).exp2() } else { 1.0 }
}

/// Value `k` of an integer input, exactly.
pub(crate) fn grid_value(derivative: &DirectedDerivative, input: usize, steps: u32, k: u64) -> BigRational {
    let side = derivative.domain.input_box()[input];
    let (lower, upper) = (rational(side.lower), rational(side.upper));
    let fraction = BigRational::new(k.min(u64::from(steps)).into(), steps.into());
    &lower + (upper - &lower) * fraction
}

/// Columns and rows for `x` in the domain. The queried input is continuous even if it is an integer feature, because
/// the claim moves along it: what holds between the grid values holds on them.
fn inputs(derivative: &DirectedDerivative, programme: &mut Programme) -> Vec<Coordinate> {
    let domain = derivative.domain;
    let mut coordinates = vec![Coordinate::Continuous; domain.inputs()];
    domain.one_hot().iter().flatten().for_each(|&j| coordinates[j] = Coordinate::OneHot);
    for (j, side) in domain.input_box().iter().enumerate() {
        let ends = (side.lower, side.upper);
        match coordinates[j] {
            Coordinate::OneHot => programme.integer(format!("x{j}"), ends, 0.0),
            _ => programme.continuous(format!("x{j}"), ends, 0.0),
        };
    }
    for (g, group) in domain.one_hot().iter().enumerate() {
        programme.row(format!("one_hot{g}"), group.iter().map(|&j| (j, 1.0)), (1.0, 1.0));
    }
    for feature in domain.integer().iter().filter(|feature| feature.input != derivative.query.input) {
        let (j, steps) = (feature.input, feature.steps);
        let side = domain.input_box()[j];
        let step = (side.upper - side.lower) / f64::from(steps);
        let width = u32::BITS - steps.leading_zeros();
        let bit = |p: u32| programme.integer(format!("k{j}_{p}"), (0.0, 1.0), 0.0);
        let bits: Vec<_> = (0..width).map(bit).collect();
        let count = |factor: f64| bits.iter().enumerate().map(move |(p, b)| (*b, factor * 2f64.powi(p as i32)));
        programme.row(format!("steps{j}"), count(1.0), (f64::NEG_INFINITY, f64::from(steps)));
        programme.row(format!("grid{j}"), count(-step).chain([(j, 1.0)]), (side.lower, side.lower));
        coordinates[j] = Coordinate::Integer { steps, bits };
    }
    coordinates
}
