//! Combinations of outputs: against the network whose last layer is the combination, against enumeration, and through
//! the checker.

use certificate::exact::{self, rational};
use certificate::{
    Activation, Affine, Block, Boundary, CertificateWriter, CheckError, Checked, Conclusion, Counterexample, Direction,
    Domain, Header, IntegerFeature, Interval, Model, ModelFeature, MonotoneFeatures, Network, Proof, Query, Rows,
    Specification, Target, Verdict, check,
};
use milp::solver::Cbc;
use milp::{Control, DirectedDerivative, Engine, Mode, NetworkReport, Options, verify_network};
use num_rational::BigRational;
use num_traits::{Signed, Zero};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[expect(dead_code, reason = "these tests make their own blocks")]
mod enumeration;
use enumeration::minimum;

const UP: Direction = Direction::Increasing;
const DOWN: Direction = Direction::Decreasing;
const FREE: Direction = Direction::Free;

/// A network, where and in which directions something is claimed about it, and what.
struct Claim {
    network: Network,
    domain: Domain,
    specification: Specification,
}

impl Claim {
    fn new(network: Network, domain: Domain, directions: &[Direction], rows: Vec<Vec<f32>>) -> Self {
        let directions = MonotoneFeatures(directions.to_vec());
        let rows = Rows::combinations(rows).unwrap();
        Self { network, domain, specification: Specification { directions, rows } }
    }

    fn verify(&self, engine: Engine, mode: Mode) -> NetworkReport {
        let Self { network, domain, specification } = self;
        let options = Options { mode, samples: 50, ..Options::default() };
        verify_network(network, domain, specification, engine, &options, Control::default()).unwrap()
    }

    fn rows(&self) -> &[Vec<f32>] {
        self.specification.rows.as_combinations().unwrap()
    }

    fn last(&self) -> &Block {
        self.network.blocks().last().unwrap()
    }

    /// The network whose outputs are the combinations, if its weights are `f32`.
    fn folded(&self) -> Self {
        let (last, rows) = (self.last(), self.rows());
        let sum = |row: &Vec<f32>, of: &dyn Fn(usize) -> f32| {
            let exact: f64 = row.iter().enumerate().map(|(k, c)| f64::from(*c) * f64::from(of(k))).sum();
            assert_eq!(f64::from(exact as f32), exact, "small dyadic weights");
            exact as f32
        };
        let second = last.second();
        let weight = rows.iter().flat_map(|row| (0..last.hidden()).map(move |i| sum(row, &|k| second.row(k)[i])));
        let bias = rows.iter().map(|row| sum(row, &|k| second.bias()[k]));
        let second = Affine::new(last.hidden(), weight.collect(), bias.collect()).unwrap();
        let mut blocks = self.network.blocks().to_vec();
        *blocks.last_mut().unwrap() = Block::new(last.first().clone(), last.activation(), second).unwrap();
        Self {
            network: Network::new(blocks, self.network.boundaries().to_vec()).unwrap(),
            domain: self.domain.clone(),
            specification: self.specification.directions.clone().into(),
        }
    }

    fn model(&self) -> Model {
        let feature = |(j, direction): (usize, &Direction)| ModelFeature::linear(format!("x{j}"), *direction, 0.0, 1.0);
        Model {
            network: self.network.clone(),
            features: self.specification.directions.0.iter().enumerate().map(feature).collect(),
            domain: self.domain.clone(),
            target: Target::Regression { column: "y".into(), minimum: 0.0, maximum: 1.0 },
        }
    }

    /// The certificate of a report by branch and bound.
    fn certificate(&self, report: &NetworkReport) -> String {
        let conclusion = Conclusion::from(&report.verdict);
        let header = Header::new(&self.model(), &self.specification, &report.domains, conclusion);
        let mut writer = CertificateWriter::new(Vec::new(), &header).unwrap();
        match &report.verdict {
            Verdict::Certified { .. } => {
                for (block, query) in
                    report.queries.iter().enumerate().flat_map(|(k, of)| of.iter().map(move |q| (k, q)))
                {
                    let side = report.domains[block].input_box()[query.query.input];
                    if side.lower < side.upper {
                        let steps = query.proof.clone().expect("a certified query has a proof");
                        let at_least = query.lower_bound;
                        writer.proof(&Proof { block, query: query.query, at_least, steps }).unwrap();
                    }
                }
            }
            Verdict::Refuted(pair) => writer.counterexample(pair).unwrap(),
            Verdict::Undecided { .. } => panic!("{:?}", report.verdict),
        }
        String::from_utf8(writer.finish().unwrap()).unwrap()
    }

    fn check(&self, certificate: &str) -> Result<Checked, CheckError> {
        check(certificate.as_bytes(), &self.model())
    }

    /// The checker takes the certificate of what was found.
    fn accepted(&self, report: &NetworkReport) {
        let certificate = self.certificate(report);
        let checked = self.check(&certificate).unwrap_or_else(|error| panic!("{error}\n{report:?}\n{certificate}"));
        assert_eq!(checked.specification, self.specification);
        if let Verdict::Refuted(pair) = &report.verdict {
            self.survives(pair);
        }
    }

    /// The pair shows a violation in plain arithmetic.
    fn survives(&self, pair: &Counterexample) {
        let value = |x: &[BigRational]| -> BigRational {
            let outputs = exact::network(&self.network, x).unwrap();
            outputs.iter().zip(&self.rows()[pair.row]).map(|(f, c)| f * rational(f64::from(*c))).sum()
        };
        let drop = value(&pair.lower) - value(&pair.upper);
        assert!(drop.is_positive());
        assert_eq!(drop, pair.drop);
    }

    /// The least derivative of any row of a network of one block, by enumeration.
    fn enumerated(&self) -> BigRational {
        let Specification { directions, rows } = &self.specification;
        let block = self.last();
        let queries = (0..rows.count(block.outputs())).flat_map(|row| {
            let moving = directions.0.iter().enumerate().filter(|(_, d)| **d != FREE);
            moving.map(move |(input, direction)| Query { row, input, direction: *direction })
        });
        let least = |query| minimum(&DirectedDerivative::new(block, rows, &self.domain, query).unwrap());
        queries.map(least).min().unwrap()
    }
}

fn layer(rng: &mut ChaCha8Rng, (inputs, outputs): (usize, usize), number: impl Fn(&mut ChaCha8Rng) -> f32) -> Affine {
    let weight = (0..inputs * outputs).map(|_| number(rng)).collect();
    Affine::new(inputs, weight, (0..outputs).map(|_| number(rng)).collect()).unwrap()
}

fn quarter(rng: &mut ChaCha8Rng) -> f32 {
    rng.random_range(-4..=4_i32) as f32 / 4.0
}

/// Two or three outputs, some of them copies or opposites of others, so that combinations cancel in part or at all.
fn small_block(rng: &mut ChaCha8Rng, inputs: usize, number: impl Fn(&mut ChaCha8Rng) -> f32) -> Block {
    let (hidden, outputs) = (rng.random_range(2..=5), rng.random_range(2..=3));
    let first = layer(rng, (inputs, hidden), &number);
    let second = layer(rng, (hidden, outputs), &number);
    let mut weight = second.weight().to_vec();
    let sign = *[1.0, -1.0, 0.0].choose(rng).unwrap();
    if sign != 0.0 {
        let kept = rng.random_range(0..=1);
        (kept..hidden).for_each(|i| weight[hidden + i] = sign * weight[i]);
    }
    let second = Affine::new(hidden, weight, second.bias().to_vec()).unwrap();
    Block::new(first, Activation::Relu, second).unwrap()
}

/// One or two combinations with zeros, duplicates and opposites among their coefficients.
fn combinations(rng: &mut ChaCha8Rng, outputs: usize, coefficients: &[f32]) -> Vec<Vec<f32>> {
    let mut rows: Vec<Vec<f32>> = Vec::new();
    let number = rng.random_range(1..=2);
    while rows.len() < number {
        let row: Vec<f32> = (0..outputs).map(|_| *coefficients.choose(rng).unwrap()).collect();
        if row.iter().any(|c| *c != 0.0) {
            rows.push(row);
        }
    }
    rows
}

fn domain(rng: &mut ChaCha8Rng) -> Domain {
    let sides = vec![Interval::new(0.0, 1.0); 3];
    match rng.random_range(0..3) {
        0 => Domain::new(sides, vec![vec![1, 2]], vec![]).unwrap(),
        1 => Domain::new(sides, vec![], vec![IntegerFeature { input: 1, steps: 3 }]).unwrap(),
        _ => Domain::from_box(sides).unwrap(),
    }
}

const SMALL: [f32; 6] = [0.0, 1.0, -1.0, 1.0, 2.0, -0.5];

/// With weights that allow it, the combination can be the last layer: every verdict and every bound is the same.
#[test]
fn a_combination_is_as_monotone_as_the_network_that_has_it_as_its_output() {
    let mut rng = ChaCha8Rng::seed_from_u64(31);
    let mut counts = [0; 3];
    for _ in 0..300 {
        let block = small_block(&mut rng, 3, quarter);
        let rows = combinations(&mut rng, block.outputs(), &SMALL);
        let network = Network::new(vec![block], vec![]).unwrap();
        let claim = Claim::new(network, domain(&mut rng), &[*[UP, DOWN].choose(&mut rng).unwrap(), FREE, FREE], rows);
        let folded = claim.folded();
        let expected = folded.enumerated();
        let report = claim.verify(Engine::BranchAndBound, Mode::Sign);
        assert_eq!(report.verdict.is_certified(), !expected.is_negative(), "{report:?}");
        assert_eq!(report.verdict.is_refuted(), expected.is_negative(), "{report:?}");
        claim.accepted(&report);
        let programme = claim.verify(Engine::Milp(&Cbc), Mode::Sign);
        assert_eq!(programme.verdict.word(), report.verdict.word());
        let (bounds, same) =
            (claim.verify(Engine::BranchAndBound, Mode::Minimum), folded.verify(Engine::BranchAndBound, Mode::Minimum));
        for (a, b) in bounds.queries.iter().flatten().zip(same.queries.iter().flatten()) {
            assert_eq!((a.query, a.lower_bound, a.incumbent), (b.query, b.lower_bound, b.incumbent));
        }
        counts[usize::from(report.verdict.is_certified()) + usize::from(expected.is_zero())] += 1;
    }
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
}

/// Only the last block is about combinations.
#[test]
fn chains_with_combinations_agree_too() {
    let mut rng = ChaCha8Rng::seed_from_u64(32);
    let mut certified = 0;
    for _ in 0..60 {
        let positive = |rng: &mut ChaCha8Rng| quarter(rng).abs();
        let first = Block::new(layer(&mut rng, (3, 3), positive), Activation::Relu, layer(&mut rng, (3, 2), positive));
        let last = small_block(&mut rng, 2, quarter);
        let rows = combinations(&mut rng, last.outputs(), &SMALL);
        let boundary = Boundary { activation: Activation::Clamp, monotone: vec![true; 2] };
        let network = Network::new(vec![first.unwrap(), last], vec![boundary]).unwrap();
        let claim = Claim::new(network, Domain::unit_cube(3), &[UP, UP, FREE], rows);
        let (report, expected) = [&claim, &claim.folded()].map(|c| c.verify(Engine::BranchAndBound, Mode::Sign)).into();
        assert_eq!(report.verdict.word(), expected.verdict.word());
        if !matches!(report.verdict, Verdict::Undecided { .. }) {
            claim.accepted(&report);
        }
        certified += usize::from(report.verdict.is_certified());
    }
    assert!((10..56).contains(&certified), "{certified}");
}

/// Coefficients that no `f64` holds: the search rounds them down, the verdict is that of exact enumeration, and no proof
/// is refused because of the last digit.
#[test]
fn coefficients_that_have_to_be_rounded_neither_change_a_verdict_nor_spoil_a_proof() {
    let mut rng = ChaCha8Rng::seed_from_u64(33);
    let tiny = f32::from_bits((127 - 60) << 23);
    let (mut certified, mut refuted, mut rounded) = (0, 0, 0);
    for case in 0..400 {
        let network = |block| Network::new(vec![block], vec![]).unwrap();
        let (block, rows) = if case % 2 == 0 {
            // Whole numbers plus 2^-60 times whole numbers, at steep slopes of whole numbers.
            let whole = |rng: &mut ChaCha8Rng| rng.random_range(-2..=2_i32) as f32;
            let (first, coarse) = (layer(&mut rng, (3, 5), whole), layer(&mut rng, (5, 1), whole));
            let fine = layer(&mut rng, (5, 1), whole);
            let weight = coarse.weight().iter().copied().chain(fine.weight().iter().map(|w| w * tiny)).collect();
            let second = Affine::new(5, weight, vec![0.0; 2]).unwrap();
            (Block::new(first, Activation::Relu, second).unwrap(), vec![vec![1.0, 1.0]])
        } else {
            let block = small_block(&mut rng, 3, |rng| rng.random_range(-1.0..1.0));
            let rows = combinations(&mut rng, block.outputs(), &[0.0, 0.1, -0.1, 1.0, -0.3, 1e-20]);
            (block, rows)
        };
        let claim = Claim::new(network(block), domain(&mut rng), &[UP, FREE, FREE], rows);
        let query = Query { row: 0, input: 0, direction: UP };
        let derivative =
            DirectedDerivative::new(claim.last(), &claim.specification.rows, &claim.domain, query).unwrap();
        for neuron in &derivative.neurons {
            let below = rational(neuron.coefficient);
            assert!(below <= neuron.exactly() && neuron.exactly() < rational(neuron.coefficient.next_up()));
            rounded += usize::from(below < neuron.exactly());
        }
        let expected = claim.enumerated();
        let report = claim.verify(Engine::BranchAndBound, Mode::Sign);
        assert_eq!(report.verdict.is_certified(), !expected.is_negative(), "case {case}: {expected} {report:?}");
        assert_eq!(report.verdict.is_refuted(), expected.is_negative(), "case {case}: {expected} {report:?}");
        claim.accepted(&report);
        certified += usize::from(report.verdict.is_certified());
        refuted += usize::from(report.verdict.is_refuted());
    }
    assert!(certified > 50 && refuted > 100 && rounded > 500, "{certified} {refuted} {rounded}");
}

/// A neuron that is always active brings the least derivative of the combination to exactly zero; a little less of it,
/// in one output, and the combination falls.
#[test]
fn a_certified_combination_is_refuted_after_a_nudge_of_one_weight() {
    let mut rng = ChaCha8Rng::seed_from_u64(34);
    for _ in 0..60 {
        let block = small_block(&mut rng, 3, quarter);
        let row: Vec<f32> = (0..block.outputs()).map(|k| if k == 0 { 1.0 } else { quarter(&mut rng) }).collect();
        let lifted = |by: f32| {
            let (first, second) = (block.first(), block.second());
            let weight = [first.weight(), &[1.0, 0.0, 0.0]].concat();
            let first = Affine::new(3, weight, [first.bias(), &[1.0]].concat()).unwrap();
            let lift = |k: usize| [second.row(k), &[if k == 0 { by } else { 0.0 }]].concat();
            let weight = (0..block.outputs()).flat_map(lift).collect();
            let second = Affine::new(block.hidden() + 1, weight, second.bias().to_vec()).unwrap();
            let block = Block::new(first, Activation::Relu, second).unwrap();
            let network = Network::new(vec![block], vec![]).unwrap();
            Claim::new(network, Domain::unit_cube(3), &[UP, FREE, FREE], vec![row.clone()])
        };
        let least = exact::approximate(&lifted(0.0).enumerated()) as f32;
        let nudge = f32::exp2(-10.0);
        let (certified, refuted) = (lifted(-least), lifted(-least - nudge));
        assert!(certified.enumerated().is_zero());
        let report = certified.verify(Engine::BranchAndBound, Mode::Sign);
        assert!(report.verdict.is_certified(), "{report:?}");
        certified.accepted(&report);
        let nudged = refuted.verify(Engine::BranchAndBound, Mode::Sign);
        assert!(nudged.verdict.is_refuted(), "{nudged:?}");
        refuted.accepted(&nudged);
        // The proof of the one does not pass for the other.
        let (_, proof) =
            certified.certificate(&report).split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let header = Header::new(&refuted.model(), &refuted.specification, &report.domains, Conclusion::Certified);
        let forged = serde_json::to_string(&header).unwrap() + "\n" + &proof;
        assert!(refuted.check(&forged).is_err());
    }
}

/// Whatever the header is changed to claim: it is refused, or it is true.
#[test]
fn a_certificate_with_other_rows_is_refused_or_true() {
    let mut rng = ChaCha8Rng::seed_from_u64(35);
    let (mut refused, mut true_as_well) = (0, 0);
    for _ in 0..120 {
        let block = small_block(&mut rng, 3, quarter);
        let outputs = block.outputs();
        let rows = combinations(&mut rng, outputs, &SMALL);
        let network = Network::new(vec![block], vec![]).unwrap();
        let claim = Claim::new(network, Domain::unit_cube(3), &[UP, FREE, FREE], rows.clone());
        let report = claim.verify(Engine::BranchAndBound, Mode::Sign);
        let certificate = claim.certificate(&report);
        let (_, rest) = certificate.split_once('\n').unwrap();
        for _ in 0..8 {
            let mut other = rows.clone();
            let r = rng.random_range(0..other.len());
            match rng.random_range(0..5) {
                0 => other[r][rng.random_range(0..outputs)] += *[0.25, -0.25, 1e-30, 2.0].choose(&mut rng).unwrap(),
                1 => other[r].iter_mut().for_each(|c| *c = -*c),
                2 => other[r].reverse(),
                3 => other.push(combinations(&mut rng, outputs, &SMALL).remove(0)),
                _ => drop(other.remove(r)),
            }
            let Ok(changed) = Rows::combinations(other.clone()) else { continue };
            let mut specification = claim.specification.clone();
            specification.rows = changed;
            let other = Claim { network: claim.network.clone(), domain: claim.domain.clone(), specification };
            let conclusion = Conclusion::from(&report.verdict);
            let header = Header::new(&other.model(), &other.specification, &report.domains, conclusion);
            match other.check(&(serde_json::to_string(&header).unwrap() + "\n" + rest)) {
                Err(_) => refused += 1,
                Ok(checked) => {
                    true_as_well += 1;
                    match checked.counterexample {
                        Some(pair) => other.survives(&pair),
                        None => assert!(!other.enumerated().is_negative(), "{:?}", other.rows()),
                    }
                }
            }
        }
    }
    assert!(refused > 100 && true_as_well > 50, "{refused} {true_as_well}");
}

/// Rows without sense are errors with a reason, wherever they come in.
#[test]
fn rows_that_make_no_sense() {
    let reason = |rows: Vec<Vec<f32>>| Rows::combinations(rows).unwrap_err().to_string();
    assert!(reason(vec![]).contains("at least one"));
    assert!(reason(vec![vec![1.0], vec![]]).contains("row 1 is empty"));
    assert!(reason(vec![vec![0.0, -0.0]]).contains("row 0 is empty"));
    assert!(reason(vec![vec![1.0, f32::NAN]]).contains("finite"));
    assert!(reason(vec![vec![f32::NEG_INFINITY]]).contains("-inf"));
    assert!(reason(vec![vec![1.0]; 10_001]).contains("10000"));

    let mut rng = ChaCha8Rng::seed_from_u64(36);
    let second = layer(&mut rng, (2, 2), quarter);
    let block = Block::new(layer(&mut rng, (3, 2), quarter), Activation::Relu, second).unwrap();
    let network = Network::new(vec![block.clone()], vec![]).unwrap();
    for row in [vec![1.0], vec![1.0; 3]] {
        let claim = Claim::new(network.clone(), Domain::unit_cube(3), &[FREE; 3], vec![vec![1.0, 0.0], row]);
        let Claim { network, domain, specification } = &claim;
        let options = Options::default();
        let found =
            verify_network(network, domain, specification, Engine::BranchAndBound, &options, Control::default());
        let message = found.unwrap_err().to_string();
        assert!(message.contains("row 1: expected 2 coefficients"), "{message}");
        let query = Query { row: 0, input: 0, direction: UP };
        assert!(DirectedDerivative::new(&block, &specification.rows, domain, query).is_err());
    }
    let rows = Rows::combinations(vec![vec![1.0, -1.0]]).unwrap();
    let query = Query { row: 1, input: 0, direction: UP };
    assert!(DirectedDerivative::new(&block, &rows, &Domain::unit_cube(3), query).is_err());
}
