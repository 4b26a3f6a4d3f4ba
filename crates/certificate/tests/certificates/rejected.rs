//! Every way in which a certificate can be wrong is found, at the right line and under the right name.

use certificate::{Activation, Affine, Block, Conclusion, Counterexample, Domain, Fault, Interval, Model, Network};
use num_traits::Zero;

use crate::accepted::{
    INTEGER, NOTHING, QUERY, SECOND_QUERY, integer, one_hot, rational, refutation, refuted, two_blocks,
};
use crate::models::*;

const SPLIT_0: &str = r#"{"split":{"neuron":0}}"#;
const SPLIT_1: &str = r#"{"split":{"neuron":1}}"#;
const EMPTY: &str = r#"{"empty":{"multipliers":[[0,"1"],[1,"-1"]]}}"#;
/// A certificate of the example.
const PROOF: [&str; 6] = [QUERY, SPLIT_1, SPLIT_0, NOTHING, EMPTY, NOTHING];

macro_rules! rejects {
    ($certificate:expr, $model:expr, $line:expr, $fault:pat $(if $guard:expr)?) => {{
        let certificate: &str = &$certificate;
        match read(certificate, &$model) {
            Ok(_) => panic!("accepted: {certificate:.2000}"),
            Err(error) => {
                assert!(matches!(error.fault, $fault $(if $guard)?), "{error:?}\n{certificate:.2000}");
                assert_eq!(error.line, $line, "{error}");
                assert!(error.to_string().starts_with(&format!("line {}", error.line)));
                error
            }
        }
    }};
}

/// The example's proof with one step replaced.
fn with(step: usize, line: &str) -> String {
    let mut lines = PROOF;
    lines[step] = line;
    certified(&example(), &lines)
}

#[test]
fn the_base_of_these_tests_is_accepted() {
    read(&certified(&example(), &PROOF), &example()).unwrap();
}

// -- The file as a whole ----------------------------------------------------------------------------------------------

#[test]
fn truncated_anywhere() {
    let certificate = certified(&example(), &PROOF);
    for end in 0..certificate.len() {
        let error = read(&certificate[..end], &example()).unwrap_err();
        assert!(matches!(error.fault, Fault::CutShort), "{end}: {error}");
    }
}

#[test]
fn anything_after_the_last_line() {
    let certificate = certified(&example(), &PROOF);
    for junk in ["\n", " ", "{}", "{\"end\":{\"steps\":7}}\n", "\0"] {
        rejects!(certificate.clone() + junk, example(), 8, Fault::Trailing);
    }
}

#[test]
fn a_wrong_count_of_lines() {
    let certificate = certified(&example(), &PROOF).replace("\"steps\":6", "\"steps\":7");
    rejects!(certificate, example(), 8, Fault::Count { expected: 7, found: 6 });
}

#[test]
fn another_format_or_version() {
    let certificate = certified(&example(), &PROOF);
    let newer = certificate.replace("\"version\":1,", "\"version\":2,\"more\":0,");
    rejects!(newer, example(), 1, Fault::Version { version: 2, .. });
    let other = certificate.replace("monotonicity-certificate", "monotonicity");
    rejects!(other, example(), 1, Fault::Version { version: 1, .. });
}

#[test]
fn another_model() {
    let mut model = example();
    let certificate = certified(&model, &PROOF);
    model.features[1].name = "y".into();
    rejects!(certificate, model, 1, Fault::OtherModel { .. });
    let block = block(2, &[1.0, 1.0, 1.0, 0.0, 1.0, 0.0], &[-0.25, -0.75, 1.0], &[1.0, -0.5, 0.25000003]);
    let model = single(block, Domain::unit_cube(2), &[UP, FREE]);
    rejects!(certificate, model, 1, Fault::OtherModel { .. });
}

#[test]
fn a_header_that_does_not_fit() {
    let model = example();
    let good = header(&model, &[], Conclusion::Certified);
    let rejects = |change: fn(&mut certificate::Header)| {
        let mut header = good.clone();
        change(&mut header);
        rejects!(text(&header, &PROOF), model, 1, Fault::Width { .. });
    };
    rejects(|header| header.domain = Domain::unit_cube(3));
    rejects(|header| header.directions.0.push(FREE));
    rejects(|header| header.boxes = vec![vec![(0.0, 1.0)]]);
}

/// The example's certificate with these rows in its header.
fn with_rows(rows: &str) -> String {
    certified(&example(), &PROOF).replacen("\"directions\"", &format!("\"rows\":{rows},\"directions\""), 1)
}

#[test]
fn rows_that_make_no_sense() {
    read(&with_rows("[[1]]"), &example()).unwrap();
    for (rows, reason) in [
        ("[]", "at least one"),
        ("[[]]", "row 0 is empty"),
        ("[[1],[0]]", "row 1 is empty"),
        ("[[-0.0]]", "row 0 is empty"),
        ("[[1e-60]]", "row 0 is empty"),
        ("[[1e39]]", ""),
        ("[[-1e400]]", ""),
        ("[[null]]", "null"),
        ("[[\"1\"]]", "string"),
        ("[[NaN]]", ""),
        ("[1]", ""),
        ("null", ""),
        ("[[1]],\"rows\":[[1]]", "duplicate"),
    ] {
        let error = rejects!(with_rows(rows), example(), 1, Fault::Syntax(_));
        assert!(error.to_string().contains(reason), "{rows}: {error}");
    }
    let many = format!("[{}[1]]", "[1],".repeat(10_000));
    rejects!(with_rows(&many), example(), 1, Fault::Syntax(_));
    for rows in ["[[1,0]]", "[[1],[1,-1]]"] {
        rejects!(with_rows(rows), example(), 1, Fault::Width { what: "coefficients of a row", expected: 1, found: 2 });
    }
}

/// The proof of one combination is none of another, nor of a second one.
#[test]
fn rows_that_are_not_proved() {
    rejects!(with_rows("[[-1]]"), example(), 5, Fault::Multiplier(_) | Fault::NotProved { .. });
    rejects!(with_rows("[[1],[1]]"), example(), 8, Fault::Missing { block: 0, row: 1, input: 0 });
    let second = QUERY.replace("\"row\":0", "\"row\":1");
    let certificate = certified(&example(), &[&second, NOTHING]);
    rejects!(
        certificate.replacen("\"directions\"", "\"rows\":[[1]],\"directions\"", 1),
        example(),
        2,
        Fault::NotNeeded
    );
}

#[test]
fn lines_that_are_none() {
    let lines = [
        "",
        "null",
        "[]",
        "{}",
        "{\"split\":{\"neuron\":1}",
        r#"{"split":{"neuron":1}} {}"#,
        r#"{"split":{"neuron":1},"bound":{"exponent":0,"multipliers":[]}}"#,
        r#"{"split":{"neuron":1},"split":{"neuron":1}}"#,
        r#"{"split":{"neuron":1,"group":0}}"#,
        r#"{"split":{"neuron":1.0}}"#,
        r#"{"split":{"neuron":-1}}"#,
        r#"{"split":{"neuron":1e0}}"#,
        r#"{"split":{"neuron":"1"}}"#,
        r#"{"split":{"neuron":18446744073709551616}}"#,
        r#"{"split":{"input":1}}"#,
        r#"{"split":{"integer":{"input":1}}}"#,
        r#"{"split":{"integer":{"input":1,"at":0,"more":0}}}"#,
        r#"{"leaf":{}}"#,
        r#"{"bound":{"multipliers":[]}}"#,
        r#"{"bound":{"exponent":0,"multipliers":[],"more":0}}"#,
        r#"{"bound":{"exponent":0.5,"multipliers":[]}}"#,
        r#"{"bound":{"exponent":0,"multipliers":[[0,1.0]]}}"#,
        r#"{"bound":{"exponent":0,"multipliers":[[0,9223372036854775808]]}}"#,
        r#"{"bound":{"exponent":0,"multipliers":[[0]]}}"#,
        r#"{"bound":{"exponent":0,"multipliers":[[0,0,0]]}}"#,
        r#"{"bound":{"exponent":NaN,"multipliers":[]}}"#,
        r#"{"tighten":{"exponent":0,"upper":[]}}"#,
        r#"{"empty":{"multipliers":[[0,1]]}}"#,
        r#"{"empty":{"multipliers":[[0,""]]}}"#,
        r#"{"empty":{"multipliers":[[0,"-"]]}}"#,
        r#"{"empty":{"multipliers":[[0,"+1"]]}}"#,
        r#"{"empty":{"multipliers":[[0,"1_0"]]}}"#,
        r#"{"empty":{"multipliers":[[0,"0x1"]]}}"#,
        r#"{"empty":{"multipliers":[[0,"1.0"]]}}"#,
        r#"{"at_least":0.0}"#,
        r#"{"query":{"block":0,"row":0,"input":0,"direction":"increasing"}}"#,
        "\u{1}",
    ];
    for line in lines {
        rejects!(with(1, line), example(), 3, Fault::Syntax(_));
    }
    for query in [
        QUERY.replace("0.0", "NaN"),
        QUERY.replace("0.0", "1e999"),
        QUERY.replace("0.0", "null"),
        QUERY.replace("0.0", "\"0\""),
        QUERY.replace("increasing", "up"),
        QUERY.replace("\"row\"", "\"more\":0,\"row\""),
    ] {
        rejects!(with(0, &query), example(), 2, Fault::Syntax(_));
    }
    let mut bytes = with(1, "{\"?\":0}").into_bytes();
    let place = bytes.iter().position(|byte| *byte == b'?').unwrap();
    bytes[place] = 0xff;
    assert!(matches!(certificate::check(&bytes[..], &example()).unwrap_err().fault, Fault::Syntax(_)));
}

/// What the file says must not reach a terminal unseen or without end.
#[test]
fn messages_are_short_and_plain() {
    let name = "\u{1b}[31m".repeat(1000);
    let escaped = serde_json::to_string(&name).unwrap();
    let error = rejects!(with(1, &format!("{{{escaped}:0}}")), example(), 3, Fault::Syntax(_));
    let message = error.to_string();
    assert!(message.len() < 400 && !message.contains('\u{1b}'), "{message}");
}

/// Longer lines are refused while they are read: the reader is asked for little more than the longest line.
#[test]
fn an_overlong_line() {
    struct Endless(u64);
    impl std::io::Read for Endless {
        fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
            bytes.fill(b' ');
            self.0 += bytes.len() as u64;
            assert!(self.0 < 1 << 25, "read far beyond the longest line");
            Ok(bytes.len())
        }
    }
    let error = certificate::check(std::io::BufReader::new(Endless(0)), &example()).unwrap_err();
    assert!(matches!(error.fault, Fault::TooLong) && error.line == 1, "{error}");
}

#[test]
fn an_overlong_number() {
    let long = "9".repeat(20_001);
    rejects!(with(4, &EMPTY.replace("\"1\"", &format!("\"{long}\""))), example(), 6, Fault::Syntax(_));
    let (model, pair) = refuted();
    let certificate = refutation(&model, &pair).replace("\"1/5\"", &format!("\"1/{long}\""));
    rejects!(certificate, model, 2, Fault::Syntax(_));
}

#[test]
fn a_reader_that_fails() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("unplugged"))
        }
    }
    let error = certificate::check(std::io::BufReader::new(Broken), &example()).unwrap_err();
    assert!(matches!(error.fault, Fault::Io(_)), "{error}");
}

// -- Composition ------------------------------------------------------------------------------------------------------

fn two(activation: Activation, sides: &[(f64, f64)], lines: &[&str]) -> (String, Model) {
    let model = two_blocks(activation);
    (text(&header(&model, &[box_domain(sides)], Conclusion::Certified), lines), model)
}

const BOTH: [&str; 4] = [QUERY, NOTHING, SECOND_QUERY, NOTHING];

#[test]
fn a_box_that_the_block_before_can_leave() {
    let just_above = 0.5f64.next_up();
    for (activation, sides, input) in [
        (Activation::Clamp, [(just_above, 1.0), (0.0, 1.0)], 0),
        (Activation::Clamp, [(0.5, 1.0f64.next_down()), (0.0, 1.0)], 0),
        (Activation::Clamp, [(0.5, 1.0), (5e-324, 1.0)], 1),
        (Activation::Relu, [(0.5, 1.0), (0.0, 1.0)], 0),
        (Activation::Relu, [(0.5, 1.5), (0.0, 1.0f64.next_down())], 1),
    ] {
        let (certificate, model) = two(activation, &sides, &BOTH);
        rejects!(certificate, model, 1, Fault::BoxTooSmall { block: 0, input: j, .. } if j == input);
    }
}

#[test]
fn a_box_that_makes_no_sense() {
    let model = two_blocks(Activation::Clamp);
    let boxes = [vec![(0.5, 1.0), (1.0, 0.0)], vec![(-1e31, 1.0), (0.0, 1.0)]];
    for sides in boxes {
        let mut header = header(&model, &[], Conclusion::Certified);
        header.boxes = vec![sides];
        rejects!(text(&header, &BOTH), model, 1, Fault::Box { index: 0, .. });
    }
    let (certificate, model) = two(Activation::Clamp, &[(0.5, 1.0)], &BOTH);
    rejects!(certificate, model, 1, Fault::Width { expected: 2, found: 1, .. });
}

#[test]
fn activations_without_a_proof() {
    let sides = [(-1e9, 1e9); 2];
    for activation in [Activation::Tanh, Activation::Sigmoid, Activation::Softplus] {
        let (certificate, model) = two(activation, &sides, &BOTH);
        rejects!(certificate, model, 1, Fault::Activation { block: 0, .. });
        let (_, pair) = refuted();
        rejects!(refutation(&model, &pair), model, 2, Fault::Activation { .. });
    }
    let smooth = example().network.blocks()[0].clone();
    let clamp = Block::new(smooth.first().clone(), Activation::Clamp, smooth.second().clone()).unwrap();
    let model = single(clamp, Domain::unit_cube(2), &[UP, FREE]);
    rejects!(certified(&model, &PROOF), model, 1, Fault::Activation { block: 0, .. });
}

/// One weight between a monotone feature and a free channel.
#[test]
fn a_link_that_is_not_cut() {
    let model = two_blocks(Activation::Clamp);
    let [first, second] = model.network.blocks() else { unreachable!() };
    let linked = Affine::new(2, vec![1.0, 0.0, f32::from_bits(1), 1.0], first.second().bias().to_vec()).unwrap();
    let first = Block::new(first.first().clone(), Activation::Relu, linked).unwrap();
    let network = Network::new(vec![first, second.clone()], model.network.boundaries().to_vec()).unwrap();
    let model = Model { network, ..model };
    let boxes = [box_domain(&[(0.0, 1.0); 2])];
    let certificate = text(&header(&model, &boxes, Conclusion::Certified), &BOTH);
    rejects!(certificate, model, 1, Fault::UncutLink { block: 0, row: 1, input: 0 });
}

#[test]
fn a_missing_query() {
    let sides = [(0.0, 1.0); 2];
    for (lines, missing) in [(&BOTH[..2], 1), (&BOTH[2..], 0)] {
        let (certificate, model) = two(Activation::Clamp, &sides, lines);
        rejects!(certificate, model, 4, Fault::Missing { block, row: 0, input: 0 } if block == missing);
    }
    rejects!(certified(&example(), &[""; 0]), example(), 2, Fault::Missing { .. });
}

#[test]
fn a_query_twice() {
    let lines = [&PROOF[..], &PROOF[..]].concat();
    let error = rejects!(certified(&example(), &lines), example(), 8, Fault::Repeated);
    assert!(error.to_string().contains("(block 0, output 0, input 0)"), "{error}");
}

#[test]
fn a_query_that_is_not_needed() {
    for query in [
        QUERY.replace("\"input\":0", "\"input\":1"),
        QUERY.replace("\"input\":0", "\"input\":2"),
        QUERY.replace("\"row\":0", "\"row\":1"),
        QUERY.replace("\"block\":0", "\"block\":1"),
        QUERY.replace("\"row\":0", &format!("\"row\":{}", usize::MAX)),
        QUERY.replace("increasing", "decreasing"),
        QUERY.replace("increasing", "free"),
    ] {
        rejects!(with(0, &query), example(), 2, Fault::NotNeeded);
    }
    let fixed = single(block(1, &[1.0], &[0.0], &[1.0]), box_domain(&[(0.5, 0.5)]), &[UP]);
    rejects!(certified(&fixed, &[QUERY, NOTHING]), fixed, 2, Fault::NotNeeded);
}

#[test]
fn a_bound_below_zero() {
    rejects!(with(0, &QUERY.replace("0.0", "-1e-300")), example(), 2, Fault::AtLeast(_));
}

/// A model file cannot hold this, but a certificate may be about other directions than the model's.
#[test]
fn a_direction_in_a_group() {
    let mut model = one_hot();
    model.features[1].direction = UP;
    rejects!(certified(&model, &[QUERY, NOTHING]), model, 1, Fault::DirectionInGroup(1));
}

// -- The tree ---------------------------------------------------------------------------------------------------------

#[test]
fn a_missing_part() {
    for end in 1..PROOF.len() {
        let lines = &PROOF[..end];
        rejects!(
            certified(&example(), lines),
            example(),
            end as u64 + 2,
            Fault::Misplaced { found: "the last line", .. }
        );
        let lines = [lines, &[QUERY]].concat();
        rejects!(certified(&example(), &lines), example(), end as u64 + 2, Fault::Misplaced { found: "a query", .. });
    }
}

#[test]
fn a_line_too_many() {
    for extra in [NOTHING, SPLIT_0, EMPTY] {
        let lines = [&PROOF[..], &[extra]].concat();
        rejects!(certified(&example(), &lines), example(), 8, Fault::Misplaced { found: "a step", .. });
    }
    let (model, pair) = refuted();
    let good = refutation(&model, &pair);
    let pair_line = good.lines().nth(1).unwrap();
    let header = header(&model, &[], Conclusion::Refuted);
    rejects!(text(&header, &[pair_line, pair_line]), model, 3, Fault::Misplaced { .. });
    rejects!(text(&header, &[QUERY, NOTHING]), model, 2, Fault::Misplaced { .. });
    let undecided = good.replace("refuted", "undecided");
    rejects!(undecided, model, 2, Fault::Misplaced { .. });
    let claims_more = good.replace("refuted", "certified");
    rejects!(claims_more, model, 2, Fault::Misplaced { .. });
}

#[test]
fn splits_that_are_none() {
    rejects!(with(1, r#"{"split":{"neuron":3}}"#), example(), 3, Fault::Neuron(3));
    rejects!(with(1, &format!(r#"{{"split":{{"neuron":{}}}}}"#, usize::MAX)), example(), 3, Fault::Neuron(_));
    rejects!(with(2, SPLIT_1), example(), 4, Fault::NeuronAgain(1));
    rejects!(with(1, r#"{"split":{"group":0}}"#), example(), 3, Fault::Group(0));
    rejects!(with(1, r#"{"split":{"integer":{"input":1,"at":0}}}"#), example(), 3, Fault::NotInteger(1));
    let group = r#"{"split":{"group":0}}"#;
    rejects!(certified(&one_hot(), &[QUERY, group, group]), one_hot(), 4, Fault::GroupAgain(0));
    rejects!(certified(&one_hot(), &[QUERY, r#"{"split":{"group":1}}"#]), one_hot(), 3, Fault::Group(1));
}

/// A neuron that the derivative does not depend on must not be named: its hyperplane may be anywhere.
#[test]
fn neurons_that_do_not_matter() {
    // t0 has no path to the output, t1 none from the input.
    let block = block(2, &[1.0, 1.0, 0.0, 1.0, 1.0, 1.0], &[-0.5; 3], &[0.0, 1.0, 1.0]);
    let model = single(block, Domain::unit_cube(2), &[UP, FREE]);
    for i in [0, 1] {
        for line in [
            format!(r#"{{"split":{{"neuron":{i}}}}}"#),
            format!(r#"{{"bound":{{"exponent":0,"multipliers":[[{i},0]]}}}}"#),
            format!(r#"{{"empty":{{"multipliers":[[{i},"1"]]}}}}"#),
            format!(r#"{{"tighten":{{"exponent":0,"upper":[[{i},[]]],"lower":[]}}}}"#),
            format!(r#"{{"tighten":{{"exponent":0,"upper":[[2,[[{i},0]]]],"lower":[]}}}}"#),
        ] {
            rejects!(certified(&model, &[QUERY, &line]), model, 3, Fault::Neuron(k) if k == i);
        }
    }
    read(&certified(&model, &[QUERY, NOTHING]), &model).unwrap();
}

#[test]
fn grid_indices_that_do_not_cut() {
    let model = integer(3.0);
    let at = |k: u64| INTEGER[1].replace("\"at\":1", &format!("\"at\":{k}"));
    for k in [3, 4, u64::MAX] {
        rejects!(certified(&model, &[QUERY, &at(k)]), model, 3, Fault::Grid { .. });
    }
    rejects!(certified(&model, &[QUERY, &at(1), &at(1)]), model, 4, Fault::Grid { first: 0, last: 1, .. });
    let second = [QUERY, &at(1), INTEGER[2], NOTHING, &at(1)];
    rejects!(certified(&model, &second), model, 6, Fault::Grid { first: 2, last: 3, .. });
    let continuous = single(model.network.blocks()[0].clone(), box_domain(&[(0.0, 1.0), (0.0, 3.0)]), &[UP, FREE]);
    rejects!(certified(&continuous, &INTEGER), continuous, 3, Fault::NotInteger(1));
    // The grid belongs to the proof: at another place the same steps prove nothing.
    for k in [0, 2] {
        let lines: Vec<_> = INTEGER.iter().map(|line| line.replace("\"at\":1", &format!("\"at\":{k}"))).collect();
        assert!(read(&certified(&model, &lines), &model).is_err());
    }
}

/// Between the grid points of its own input a derivative may be negative and the function fall.
#[test]
fn the_queried_input_is_never_split() {
    // g = [x0 >= 3/4] - [x0 >= 1/4] is 0 at the grid points 0 and 1, and f falls between them.
    let block = block(1, &[1.0, 1.0], &[-0.75, -0.25], &[1.0, -1.0]);
    let integer = vec![certificate::IntegerFeature { input: 0, steps: 1 }];
    let domain = Domain::new(vec![Interval::new(0.0, 1.0)], vec![], integer).unwrap();
    let model = single(block, domain, &[UP]);
    let split = r#"{"split":{"integer":{"input":0,"at":0}}}"#;
    rejects!(certified(&model, &[QUERY, split, NOTHING, NOTHING]), model, 3, Fault::QueriedInput(0));
}

#[test]
fn neurons_out_of_order() {
    rejects!(with(5, r#"{"bound":{"exponent":0,"multipliers":[[1,0],[0,0]]}}"#), example(), 7, Fault::Order(0));
    rejects!(with(5, r#"{"bound":{"exponent":0,"multipliers":[[0,0],[0,0]]}}"#), example(), 7, Fault::Order(0));
    rejects!(with(4, r#"{"empty":{"multipliers":[[1,"-1"],[0,"1"]]}}"#), example(), 6, Fault::Order(0));
    let twice = r#"{"tighten":{"exponent":0,"upper":[[0,[[1,1],[1,1]]]],"lower":[]}}"#;
    rejects!(with(2, twice), example(), 4, Fault::Order(1));
}

#[test]
fn exponents_out_of_range() {
    for exponent in [-1101, 1101, i32::MIN, i32::MAX] {
        let bound = format!(r#"{{"bound":{{"exponent":{exponent},"multipliers":[]}}}}"#);
        rejects!(with(3, &bound), example(), 5, Fault::Exponent(_));
        let tighten = format!(r#"{{"tighten":{{"exponent":{exponent},"upper":[],"lower":[]}}}}"#);
        rejects!(with(1, &tighten), example(), 3, Fault::Exponent(_));
    }
}

#[test]
fn two_tightenings_in_a_row() {
    let tighten = r#"{"tighten":{"exponent":0,"upper":[],"lower":[]}}"#;
    rejects!(certified(&example(), &[QUERY, tighten, tighten]), example(), 4, Fault::TightenedTwice);
    read(&certified(&example(), &[QUERY, tighten, SPLIT_1, SPLIT_0, tighten, NOTHING, EMPTY, NOTHING]), &example())
        .unwrap();
}

// -- Multipliers ------------------------------------------------------------------------------------------------------

fn bound(multipliers: &str) -> String {
    format!(r#"{{"bound":{{"exponent":-8,"multipliers":[{multipliers}]}}}}"#)
}

/// At the root `0 <= s0 <= 4/7` and `-2/3 <= s1 <= 0`, in units of 1/256 up to 146 and down to -170.
#[test]
fn multipliers_outside_their_ranges_at_the_root() {
    let root = |multipliers: &str| certified(&example(), &[QUERY, &bound(multipliers)]);
    for allowed in ["[0,146]", "[1,-170]", "[0,0],[1,0]", "[2,-1000]", "[2,32]"] {
        rejects!(root(allowed), example(), 3, Fault::NotProved { .. });
    }
    for (wrong, neuron) in [("[0,147]", 0), ("[0,-1]", 0), ("[1,-171]", 1), ("[1,1]", 1), ("[2,33]", 2)] {
        rejects!(root(wrong), example(), 3, Fault::Multiplier(i) if i == neuron);
    }
}

#[test]
fn multipliers_of_the_wrong_sign_on_split_neurons() {
    // First part active, second part inactive.
    rejects!(with(3, &bound("[1,1]")), example(), 5, Fault::Multiplier(1));
    let lines = [QUERY, SPLIT_0, &bound("[0,-1]"), &bound("[0,-1]")];
    rejects!(certified(&example(), &lines), example(), 5, Fault::Multiplier(0));
    read(&certified(&example(), &[QUERY, SPLIT_0, &bound("[0,-1]"), &bound("[0,170],[1,-170]")]), &example()).unwrap();
}

/// Exactly enough is enough, and the smallest number more is too much.
#[test]
fn a_bound_that_falls_short() {
    let root = |at_least: &str| {
        let query = QUERY.replace("0.0", at_least);
        certified(&example(), &[&query, &bound("[0,128],[1,-128]")])
    };
    read(&root("0.0"), &example()).unwrap();
    rejects!(root("5e-324"), example(), 3, Fault::NotProved { short } if short > 0.0);
    let quarter = QUERY.replace("0.0", "0.25");
    let mut lines = PROOF;
    lines[0] = &quarter;
    read(&certified(&example(), &lines), &example()).unwrap();
    let more = QUERY.replace("0.0", "0.25000000000000006");
    lines[0] = &more;
    rejects!(certified(&example(), &lines), example(), 7, Fault::NotProved { .. });
}

#[test]
fn empty_leaves_that_are_not() {
    let empty = |multipliers: &str| with(4, &format!(r#"{{"empty":{{"multipliers":[{multipliers}]}}}}"#));
    rejects!(empty(""), example(), 6, Fault::NotEmpty);
    rejects!(empty(r#"[0,"1"]"#), example(), 6, Fault::NotEmpty);
    rejects!(empty(r#"[0,"4"],[1,"-1"]"#), example(), 6, Fault::NotEmpty);
    rejects!(empty(r#"[0,"0"],[1,"-1"]"#), example(), 6, Fault::Multiplier(0));
    rejects!(empty(r#"[0,"-1"],[1,"-1"]"#), example(), 6, Fault::Multiplier(0));
    rejects!(empty(r#"[0,"1"],[1,"1"]"#), example(), 6, Fault::Multiplier(1));
    // Neuron 0 is unstable there.
    let lines = [QUERY, SPLIT_1, EMPTY];
    rejects!(certified(&example(), &lines), example(), 4, Fault::Multiplier(0));
}

/// A sum that is zero somewhere still contradicts, because its terms are negative off the hyperplanes; one that goes
/// below zero does not.
#[test]
fn an_empty_leaf_may_touch_zero_but_not_pass_it() {
    let model = |shift: f32| {
        // t0 = x0 + shift, t1 = x0
        let block = block(1, &[1.0, 1.0], &[shift, 0.0], &[1.0, -1.0]);
        single(block, box_domain(&[(-1.0, 1.0)]), &[UP])
    };
    let lines = [QUERY, SPLIT_1, SPLIT_0, NOTHING, EMPTY, NOTHING];
    read(&certified(&model(0.0), &lines), &model(0.0)).unwrap();
    let below = model(-f32::from_bits(1));
    rejects!(certified(&below, &lines), below, 6, Fault::NotEmpty);
}

// -- Tightening -------------------------------------------------------------------------------------------------------

#[test]
fn tightenings_with_halfspaces_that_do_not_hold() {
    let tighten = |halfspaces: &str| {
        let line = format!(r#"{{"tighten":{{"exponent":0,"upper":[],"lower":[[0,[{halfspaces}]]]}}}}"#);
        certified(&example(), &[QUERY, SPLIT_1, &line, NOTHING, NOTHING])
    };
    read(&tighten("[1,1]"), &example()).unwrap();
    rejects!(tighten("[1,-1]"), example(), 4, Fault::Multiplier(1));
    rejects!(tighten("[0,1]"), example(), 4, Fault::Multiplier(0));
    // Nor is a negative multiplier allowed in the part where the neuron is inactive.
    rejects!(
        with(5, r#"{"tighten":{"exponent":0,"upper":[],"lower":[[0,[[1,-1]]]]}}"#),
        example(),
        7,
        Fault::Multiplier(1)
    );
    // Not tight enough: t0 - 4 t1 can be negative.
    rejects!(tighten("[1,4]"), example(), 5, Fault::NotProved { .. });
}

/// Sharper bounds are just as sharp as they should be, whatever unit their multipliers are in.
#[test]
fn tightened_bounds_allow_steeper_multipliers() {
    let model = integer(3.0);
    let at = |k: u64| INTEGER[1].replace("\"at\":1", &format!("\"at\":{k}"));
    for exponent in [-1, 0, 1] {
        // Where x1 <= 2, t0 <= 3/2.
        let upper = format!(r#"{{"tighten":{{"exponent":{exponent},"upper":[[0,[]]],"lower":[]}}}}"#);
        let leaf = |m: i64| certified(&model, &[QUERY, &at(2), &upper, &bound(&format!("[0,{m}]"))]);
        rejects!(leaf(170), model, 5, Fault::NotProved { .. });
        rejects!(leaf(171), model, 5, Fault::Multiplier(0));
        // Where x1 >= 1, t1 >= -2; the first part is x1 = 0.
        let first = [QUERY, &at(0), INTEGER[2], NOTHING];
        let lower = format!(r#"{{"tighten":{{"exponent":{exponent},"upper":[],"lower":[[1,[]]]}}}}"#);
        let leaf = |m: i64| certified(&model, &[&first[..], &[&lower, &bound(&format!("[1,{m}]"))]].concat());
        rejects!(leaf(-128), model, 7, Fault::NotProved { .. });
        rejects!(leaf(-129), model, 7, Fault::Multiplier(1));
    }
}

/// What one region has shown must not be used in its sibling.
#[test]
fn bounds_are_forgotten_with_their_region() {
    let tighten = r#"{"tighten":{"exponent":0,"upper":[],"lower":[[0,[[1,1]]]]}}"#;
    // In the second part t0 is unstable again, so an active neuron's multiplier is too low.
    let lines = [QUERY, SPLIT_1, tighten, &bound("[0,-1]"), &bound("[0,-1]")];
    rejects!(certified(&example(), &lines), example(), 6, Fault::Multiplier(0));
    // Nor is a bound that was replaced by a bound that was replaced.
    let twice = r#"{"tighten":{"exponent":-1,"upper":[],"lower":[[0,[[1,1]]],[0,[[1,2]]]]}}"#;
    let lines = [QUERY, SPLIT_1, twice, &bound("[0,-1]"), &bound("[0,-1]")];
    rejects!(certified(&example(), &lines), example(), 6, Fault::Multiplier(0));
    // The same for phases and grid values.
    let lines = [QUERY, SPLIT_0, SPLIT_1, NOTHING, NOTHING, &bound("[1,1]")];
    rejects!(certified(&example(), &lines), example(), 7, Fault::Multiplier(1));
    let upper = r#"{"tighten":{"exponent":0,"upper":[[1,[]]],"lower":[]}}"#;
    let lines = [INTEGER[0], INTEGER[1], upper, NOTHING, upper, &bound("[1,1]")];
    rejects!(certified(&integer(3.0), &lines), integer(3.0), 7, Fault::Multiplier(1));
}

// -- Refutations ------------------------------------------------------------------------------------------------------

#[test]
fn pairs_that_are_no_counterexample() {
    let (model, good) = refuted();
    let rejects = |change: &dyn Fn(&mut Counterexample), reason: &str| {
        let mut pair = good.clone();
        change(&mut pair);
        let error = rejects!(refutation(&model, &pair), model, 2, Fault::NoCounterexample(_));
        assert!(error.to_string().contains(reason), "{error}");
    };
    rejects(&|pair| drop(pair.lower.pop()), "do not fit");
    rejects(&|pair| pair.upper.push(rational(0, 1)), "do not fit");
    rejects(&|pair| pair.input = 2, "do not fit");
    rejects(&|pair| pair.row = 1, "no such row");
    rejects(&|pair| pair.input = 1, "in the named input and in no other");
    rejects(&|pair| pair.upper[1] = rational(1, 4), "in the named input and in no other");
    rejects(&|pair| pair.upper = pair.lower.clone(), "in the named input and in no other");
    rejects(&|pair| std::mem::swap(&mut pair.lower, &mut pair.upper), "in its direction");
    rejects(&|pair| pair.upper[0] = rational(10_000_001, 10_000_000), "outside the domain");
    rejects(
        &|pair| {
            pair.lower[1] = rational(-1, 1_000_000);
            pair.upper[1] = rational(-1, 1_000_000);
        },
        "outside the domain",
    );
    rejects(&|pair| pair.lower[0] = rational(1, 2), "does not fall");
    rejects(&|pair| pair.upper[0] = rational(9, 10), "another amount");
    rejects(&|pair| pair.drop = rational(1, 6), "another amount");
    rejects(&|pair| pair.drop.set_zero(), "another amount");
}

#[test]
fn a_counterexample_along_a_free_input() {
    let (mut model, pair) = refuted();
    model.features[0].direction = FREE;
    let error = rejects!(refutation(&model, &pair), model, 2, Fault::NoCounterexample(_));
    assert!(error.to_string().contains("in its direction"), "{error}");
}

#[test]
fn a_counterexample_off_the_grid_or_between_members() {
    // f = -x0 + 0 x1 ...: falls everywhere.
    let falling = |inputs: usize| {
        let weights: Vec<_> = (0..inputs).map(|j| if j == 0 { 1.0 } else { 0.0 }).collect();
        block(inputs, &weights, &[0.0], &[-1.0])
    };
    let sides = vec![Interval::new(0.0, 1.0); 3];
    let pair = |x0: [(i64, i64); 2], rest: [(i64, i64); 2]| {
        let point = |(a, b)| vec![rational(a, b), rational(rest[0].0, rest[0].1), rational(rest[1].0, rest[1].1)];
        let (lower, upper) = (point(x0[0]), point(x0[1]));
        Counterexample { input: 0, row: 0, drop: &upper[0] - &lower[0], lower, upper }
    };
    let group = Domain::new(sides.clone(), vec![vec![1, 2]], vec![]).unwrap();
    let group = single(falling(3), group, &[UP, FREE, FREE]);
    read(&refutation(&group, &pair([(0, 1), (1, 3)], [(0, 1), (1, 1)])), &group).unwrap();
    for rest in [[(1, 2), (1, 2)], [(1, 1), (1, 1)], [(0, 1), (0, 1)], [(1, 1), (1, 2)]] {
        rejects!(refutation(&group, &pair([(0, 1), (1, 3)], rest)), group, 2, Fault::NoCounterexample(_));
    }
    let grid = vec![certificate::IntegerFeature { input: 0, steps: 3 }];
    let grid = single(falling(3), Domain::new(sides, vec![], grid).unwrap(), &[UP, FREE, FREE]);
    let rest = [(0, 1), (0, 1)];
    read(&refutation(&grid, &pair([(1, 3), (2, 3)], rest)), &grid).unwrap();
    for x0 in [[(0, 1), (1, 2)], [(1, 4), (1, 1)], [(1, 3), (2, 3_000_000)]] {
        assert!(read(&refutation(&grid, &pair(x0, rest)), &grid).is_err());
    }
}
