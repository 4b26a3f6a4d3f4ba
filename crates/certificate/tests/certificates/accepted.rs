//! Valid certificates, each written for one thing.

use certificate::{
    Activation, Affine, Block, Boundary, CertificateWriter, Conclusion, Counterexample, Domain, IntegerFeature,
    Interval, Limit, Model, Multipliers, Network, Proof, Query, Rows, Split, Step,
};
use num_bigint::BigInt;
use num_rational::BigRational;

use crate::models::*;

pub const NOTHING: &str = r#"{"bound":{"exponent":0,"multipliers":[]}}"#;
pub const QUERY: &str = r#"{"query":{"block":0,"row":0,"input":0,"direction":"increasing"},"at_least":0.0}"#;

fn accept(model: &Model, lines: &[&str]) {
    let certificate = certified(model, lines);
    if let Err(error) = read(&certificate, model) {
        panic!("{error}\n{certificate}");
    }
}

/// The least of `[t_0 >= 0] - [t_1 >= 0]` over a group depends on its member.
pub fn one_hot() -> Model {
    // t0 = x0 + 2 x1 - 1, t1 = x0 - 2 x2 - 1/2, and (x1, x2) is (1, 0) or (0, 1).
    let block = block(3, &[1.0, 2.0, 0.0, 1.0, 0.0, -2.0], &[-1.0, -0.5], &[1.0, -1.0]);
    let domain = Domain::new(vec![Interval::new(0.0, 1.0); 3], vec![vec![1, 2]], vec![]).unwrap();
    single(block, domain, &[UP, FREE, FREE])
}

#[test]
fn a_group_is_split_into_its_members() {
    let lines = [
        QUERY,
        r#"{"split":{"group":0}}"#,
        r#"{"tighten":{"exponent":0,"upper":[],"lower":[[0,[]]]}}"#,
        NOTHING,
        r#"{"tighten":{"exponent":0,"upper":[[1,[]]],"lower":[]}}"#,
        NOTHING,
    ];
    accept(&one_hot(), &lines);
}

/// `x1 + x2 = 1` makes `x0 + x1 + x2 - 1` active, which it is not on the cube.
#[test]
fn the_members_of_a_group_add_up_to_one() {
    let block = block(3, &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0], &[-1.0, -0.5], &[1.0, -1.0]);
    let domain = Domain::new(vec![Interval::new(0.0, 1.0); 3], vec![vec![2, 1]], vec![]).unwrap();
    accept(&single(block.clone(), domain, &[UP, FREE, FREE]), &[QUERY, NOTHING]);
    let cube = single(block, Domain::unit_cube(3), &[UP, FREE, FREE]);
    assert!(read(&certified(&cube, &[QUERY, NOTHING]), &cube).is_err());
}

/// A model that is monotone at the grid points of `x1`, and not between the second and the third.
pub fn integer(upper: f64) -> Model {
    let scale = 3.0 / upper as f32;
    let block = block(2, &[1.0, 2.0 * scale, 1.0, 8.0 * scale], &[-3.5, -10.0], &[1.0, -1.0]);
    let sides = vec![Interval::new(0.0, 1.0), Interval::new(0.0, upper)];
    let domain = Domain::new(sides, vec![], vec![IntegerFeature { input: 1, steps: 3 }]).unwrap();
    single(block, domain, &[UP, FREE])
}

pub const INTEGER: [&str; 6] = [
    QUERY,
    r#"{"split":{"integer":{"input":1,"at":1}}}"#,
    r#"{"tighten":{"exponent":0,"upper":[[1,[]]],"lower":[]}}"#,
    NOTHING,
    r#"{"tighten":{"exponent":0,"upper":[],"lower":[[0,[]]]}}"#,
    NOTHING,
];

/// On `[0, 1]` the grid values are thirds, which no binary fraction equals.
#[test]
fn an_integer_feature_is_split_between_grid_points() {
    accept(&integer(3.0), &INTEGER);
    accept(&integer(1.0), &INTEGER);
    accept(&integer(0.1875), &INTEGER);
}

#[test]
fn a_decreasing_input_has_the_opposite_sign() {
    // -max(0, x0) on [-1, 1]
    let model = single(block(1, &[1.0], &[0.0], &[-1.0]), box_domain(&[(-1.0, 1.0)]), &[DOWN]);
    let query = QUERY.replace("increasing", "decreasing");
    accept(&model, &[&query, NOTHING]);
    let wrong = read(&certified(&model, &[QUERY, NOTHING]), &model);
    assert!(wrong.unwrap_err().to_string().contains("not needed"));
}

/// What is proved of each query is passed on, whatever their order.
#[test]
fn the_order_of_queries_does_not_matter_and_their_bounds_are_reported() {
    let model = single(block(2, &[1.0, 1.0], &[3.0], &[1.0, 2.0]), Domain::unit_cube(2), &[UP, UP]);
    let mut proofs = Vec::new();
    for (row, at_least) in [(1, 2.0), (0, 1.0)] {
        for input in [1, 0] {
            let query = Query { row, input, direction: UP };
            let steps = vec![Step::Bound(Multipliers { exponent: 0, multipliers: vec![] })];
            proofs.push(Proof { block: 0, query, at_least, steps });
        }
    }
    let header = header(&model, &[], Conclusion::Certified);
    let mut writer = CertificateWriter::new(Vec::new(), &header).unwrap();
    proofs.iter().for_each(|proof| writer.proof(proof).unwrap());
    let certificate = String::from_utf8(writer.finish().unwrap()).unwrap();
    let checked = read(&certificate, &model).unwrap();
    assert_eq!((checked.steps, checked.conclusion), (8, Conclusion::Certified));
    for (proof, proved) in proofs.iter().zip(&checked.proved) {
        assert_eq!((proof.query, proof.at_least, 1), (proved.query, proved.at_least, proved.leaves));
    }
    assert!(checked.to_string().contains("4 queries in 4 regions"), "{checked}");
}

/// Two outputs that fall and rise with each other: only their difference and their sum hold.
#[test]
fn combinations_of_outputs_are_exact() {
    // f0 = max(0, x0), f1 = 2^-60 max(0, x0 - 1/2) - max(0, x0)
    let tiny = f32::exp2(-60.0);
    let block = block(1, &[1.0, 1.0], &[0.0, -0.5], &[1.0, 0.0, -1.0, tiny]);
    let model = single(block, Domain::unit_cube(1), &[UP]);
    let proof = |rows: &str, query: &str| {
        let certificate = certified(&model, &[query, NOTHING]);
        read(&certificate.replacen("\"boxes\"", &format!("\"rows\":{rows},\"boxes\""), 1), &model)
    };
    let checked = proof("[[1,-0.5]]", &QUERY.replace("0.0", "1.4999999999999998")).unwrap();
    assert_eq!(checked.specification.rows, Rows::combinations(vec![vec![1.0, -0.5]]).unwrap());
    assert_eq!(checked.specification.rows.describe(0), "output 1 - 0.5 output 2");
    assert!(checked.to_string().contains("none of the combinations of outputs stated here falls"), "{checked}");
    // The sum is 2^-60 max(0, x0 - 1/2): of the large weights nothing is left, of the small one everything.
    proof("[[1,1]]", QUERY).unwrap();
    assert!(proof("[[-1,-1]]", QUERY).is_err());
    assert!(proof("[[0,1]]", QUERY).is_err());

    let pair = Counterexample {
        input: 0,
        row: 0,
        lower: vec![rational(1, 2)],
        upper: vec![rational(1, 1)],
        drop: rational(1, 1 << 61),
    };
    let refuted = refutation(&model, &pair).replacen("\"boxes\"", "\"rows\":[[-1,-1]],\"boxes\"", 1);
    let checked = read(&refuted, &model).unwrap();
    assert_eq!(checked.counterexample, Some(pair));
    assert!(checked.to_string().contains("-output 1 - output 2 falls by about"), "{checked}");
    assert!(read(&refuted.replace("[-1,-1]", "[-1,-2]"), &model).is_err());
}

#[test]
fn without_rows_the_header_is_what_it_was() {
    let header = serde_json::to_string(&header(&example(), &[], Conclusion::Certified)).unwrap();
    assert!(!header.contains("rows"), "{header}");
}

#[test]
fn without_directions_nothing_is_needed_and_nothing_is_said() {
    let model = single(block(1, &[1.0], &[0.0], &[-1.0]), Domain::unit_cube(1), &[FREE]);
    let checked = read(&certified(&model, &[""; 0]), &model).unwrap();
    assert!(checked.proved.is_empty() && checked.to_string().contains("says nothing"), "{checked}");
}

#[test]
fn an_input_that_cannot_move_needs_no_proof() {
    let model = single(block(1, &[1.0], &[0.0], &[-1.0]), box_domain(&[(0.5, 0.5)]), &[UP]);
    accept(&model, &[]);
}

/// Two blocks with two channels between them. The second channel is free: it sees the second input only.
pub fn two_blocks(activation: Activation) -> Model {
    // Channels x0 + 1/2 and 2 x1 - 1; then g = [y0 - y1 >= 0] with y1 free.
    let first = block(2, &[1.0, 0.0, 0.0, 2.0], &[0.5, 0.0], &[1.0, 0.0, 0.0, 1.0]);
    let second = Affine::new(2, first.second().weight().to_vec(), vec![0.0, -1.0]).unwrap();
    let first = Block::new(first.first().clone(), Activation::Relu, second).unwrap();
    let second = block(2, &[1.0, -1.0], &[0.0], &[1.0]);
    let boundary = Boundary { activation, monotone: vec![true, false] };
    let network = Network::new(vec![first, second], vec![boundary]).unwrap();
    model(network, Domain::unit_cube(2), &[UP, FREE])
}

pub const SECOND_QUERY: &str = r#"{"query":{"block":1,"row":0,"input":0,"direction":"increasing"},"at_least":0.0}"#;

#[test]
fn blocks_are_composed_over_boxes_that_contain_what_comes_in() {
    let lines = [QUERY, NOTHING, SECOND_QUERY, NOTHING];
    for (activation, sides) in [
        (Activation::Clamp, [(0.5, 1.0), (0.0, 1.0)]),
        (Activation::Clamp, [(-7.0, 1e30), (0.0, 1.0)]),
        (Activation::Relu, [(0.5, 1.5), (0.0, 1.0)]),
    ] {
        let model = two_blocks(activation);
        let certificate = text(&header(&model, &[box_domain(&sides)], Conclusion::Certified), &lines);
        read(&certificate, &model).unwrap();
    }
}

pub fn rational(numerator: i64, denominator: i64) -> BigRational {
    BigRational::new(numerator.into(), denominator.into())
}

/// `f(x) = max(0, x0 - 1/2) - max(0, 2 x0 - 3/2)`, to be increasing in `x0`, does so until 3/4.
pub fn refuted() -> (Model, Counterexample) {
    let block = block(2, &[1.0, 0.0, 2.0, 0.0], &[-0.5, -1.5], &[1.0, -1.0]);
    let pair = Counterexample {
        input: 0,
        row: 0,
        lower: vec![rational(4, 5), rational(1, 3)],
        upper: vec![rational(1, 1), rational(1, 3)],
        drop: rational(1, 5),
    };
    (single(block, Domain::unit_cube(2), &[UP, FREE]), pair)
}

pub fn refutation(model: &Model, pair: &Counterexample) -> String {
    let mut writer = CertificateWriter::new(Vec::new(), &header(model, &[], Conclusion::Refuted)).unwrap();
    writer.counterexample(pair).unwrap();
    String::from_utf8(writer.finish().unwrap()).unwrap()
}

#[test]
fn a_counterexample_is_evaluated_again() {
    let (model, pair) = refuted();
    let checked = read(&refutation(&model, &pair), &model).unwrap();
    assert_eq!(checked.counterexample, Some(pair));
    assert!(checked.to_string().contains("2.000e-1"), "{checked}");
}

/// Through a clamp, against a decreasing direction, with a group and a grid of thirds.
#[test]
fn a_counterexample_of_two_blocks_in_a_discrete_domain() {
    let sides = [(0.0, 1.0), (-1.0, 1.0), (0.0, 1.0), (0.0, 1.0)].map(|(a, b)| Interval::new(a, b));
    let integer = IntegerFeature { input: 1, steps: 3 };
    let domain = Domain::new(sides.to_vec(), vec![vec![3, 2]], vec![integer]).unwrap();
    // y = clamp(max(0, x0 + x1 + x2)), f = y
    let first = block(4, &[1.0, 1.0, 1.0, 0.0], &[0.0], &[1.0]);
    let boundary = Boundary { activation: Activation::Clamp, monotone: vec![true] };
    let network = Network::new(vec![first, block(1, &[1.0], &[0.0], &[1.0])], vec![boundary]).unwrap();
    let model = model(network, domain, &[FREE, DOWN, FREE, FREE]);
    let point = |x1| vec![rational(1, 7), x1, rational(0, 1), rational(1, 1)];
    // Decreasing: the feature moves from 1/3 to -1/3, and the output falls from 1/7 + 1/3 to 0.
    let (lower, upper) = (point(rational(1, 3)), point(rational(-1, 3)));
    let pair = Counterexample { input: 1, row: 0, lower, upper, drop: rational(10, 21) };
    read(&refutation(&model, &pair), &model).unwrap();
    // From above the clamp, that is from 1.
    let (lower, upper) = (point(rational(1, 1)), point(rational(1, 3)));
    let pair = Counterexample { lower, upper, drop: rational(11, 21), ..pair };
    read(&refutation(&model, &pair), &model).unwrap();
}

#[test]
fn an_undecided_verdict_proves_nothing_and_says_so() {
    let model = example();
    for limit in [Limit::Time, Limit::Numerical("why".into())] {
        let header = header(&model, &[], Conclusion::Undecided);
        let mut writer = CertificateWriter::new(Vec::new(), &header).unwrap();
        writer.undecided(-0.5, &limit).unwrap();
        let certificate = String::from_utf8(writer.finish().unwrap()).unwrap();
        let checked = read(&certificate, &model).unwrap();
        assert_eq!(checked.conclusion, Conclusion::Undecided);
        assert!(checked.to_string().contains("proves nothing"), "{checked}");
    }
}

/// The domain is what the file says, not what the model says; whoever reads the result sees which.
#[test]
fn the_domain_of_the_result_is_that_of_the_certificate() {
    let (model, _) = refuted();
    let part = box_domain(&[(0.0, 0.625), (0.0, 1.0)]);
    let smaller = Model { domain: part.clone(), ..model.clone() };
    let mut header = header(&smaller, &[], Conclusion::Certified);
    header.model = model.sha256();
    assert_eq!(read(&text(&header, &[QUERY, NOTHING]), &model).unwrap().domain, part);
}

/// Multipliers may be as large or small as their exponents allow, and numbers of an `empty` leaf of any length.
#[test]
fn extreme_numbers() {
    let model = example();
    let digits = "1".repeat(4000);
    let empty = format!(r#"{{"empty":{{"multipliers":[[0,"{digits}"],[1,"-{digits}"]]}}}}"#);
    let tiny = format!(r#"{{"bound":{{"exponent":-1100,"multipliers":[[0,{}],[1,0]]}}}}"#, i64::MAX);
    let loose = format!(r#"{{"tighten":{{"exponent":1100,"upper":[[0,[[1,{}]]]],"lower":[]}}}}"#, i64::MAX);
    let split = [r#"{"split":{"neuron":1}}"#, r#"{"split":{"neuron":0}}"#];
    accept(&model, &[QUERY, split[0], &loose, split[1], NOTHING, &empty, &tiny]);

    // Subnormal weights and far ends: t0 = x0 2^-149 + 2^-149, active on [0, 1e30] and g = c0.
    let least = f32::from_bits(1);
    let block = block(1, &[least, f32::MAX], &[least, -f32::MAX], &[1.0, least]);
    accept(&single(block, box_domain(&[(5e-324, 1e30)]), &[UP]), &[QUERY, NOTHING]);
}

/// A stable neuron may be split: whoever proves with rounded bounds cannot know that it is stable.
#[test]
fn a_stable_neuron_may_be_split() {
    let leaf = r#"{"empty":{"multipliers":[[2,"1"]]}}"#;
    let root = r#"{"bound":{"exponent":-1,"multipliers":[[0,1],[1,-1]]}}"#;
    accept(&example(), &[QUERY, r#"{"split":{"neuron":2}}"#, root, leaf]);
}

/// A chain of very many regions, one within the other, and then their siblings.
#[test]
fn a_very_deep_tree() {
    const DEPTH: u32 = 200_000;
    let domain = |steps| {
        let sides = vec![Interval::new(0.0, 1.0); 2];
        Domain::new(sides, vec![], vec![IntegerFeature { input: 1, steps }]).unwrap()
    };
    let model = single(block(2, &[1.0, 1.0], &[1.0], &[1.0]), domain(DEPTH), &[UP, FREE]);
    let mut writer = CertificateWriter::new(Vec::new(), &header(&model, &[], Conclusion::Certified)).unwrap();
    let leaf = Step::Bound(Multipliers { exponent: 0, multipliers: vec![] });
    let mut steps: Vec<_> =
        (0..u64::from(DEPTH)).rev().map(|at| Step::Split(Split::Integer { input: 1, at })).collect();
    steps.resize(2 * DEPTH as usize + 1, leaf);
    let query = Query { row: 0, input: 0, direction: UP };
    writer.proof(&Proof { block: 0, query, at_least: 1.0, steps }).unwrap();
    let certificate = String::from_utf8(writer.finish().unwrap()).unwrap();
    assert_eq!(read(&certificate, &model).unwrap().proved[0].leaves, u64::from(DEPTH) + 1);
}

#[test]
fn numbers_that_json_cannot_hold_are_not_written() {
    let model = example();
    let mut writer = CertificateWriter::new(Vec::new(), &header(&model, &[], Conclusion::Undecided)).unwrap();
    assert!(writer.undecided(f64::NEG_INFINITY, &Limit::Time).is_err());
    let query = Query { row: 0, input: 0, direction: UP };
    assert!(writer.proof(&Proof { block: 0, query, at_least: f64::NAN, steps: vec![] }).is_err());
}

/// What the file looks like, so that other programs can read it.
#[test]
fn steps_as_they_stand_in_the_file() {
    use certificate::{ExactMultipliers, Tighten};
    let steps = [
        (Step::Split(Split::Neuron(17)), r#"{"split":{"neuron":17}}"#),
        (Step::Split(Split::Group(0)), r#"{"split":{"group":0}}"#),
        (Step::Split(Split::Integer { input: 4, at: 3 }), r#"{"split":{"integer":{"input":4,"at":3}}}"#),
        (
            Step::Tighten(Tighten { exponent: -30, upper: vec![(1, vec![(2, 3)])], lower: vec![(0, vec![])] }),
            r#"{"tighten":{"exponent":-30,"upper":[[1,[[2,3]]]],"lower":[[0,[]]]}}"#,
        ),
        (
            Step::Bound(Multipliers { exponent: -20, multipliers: vec![(0, -5), (3, 7)] }),
            r#"{"bound":{"exponent":-20,"multipliers":[[0,-5],[3,7]]}}"#,
        ),
        (
            Step::Empty(ExactMultipliers { multipliers: vec![(1, -(BigInt::from(1) << 64u32))] }),
            r#"{"empty":{"multipliers":[[1,"-18446744073709551616"]]}}"#,
        ),
    ];
    for (step, text) in steps {
        assert_eq!(serde_json::to_string(&step).unwrap(), text);
        assert_eq!(serde_json::from_str::<Step>(text).unwrap(), step);
    }
}
