//! What `docs/certificate-format.md` shows is true: its worked example is checked as it stands there.

use certificate::{
    Activation, Affine, Block, CheckError, Checked, Conclusion, Direction, Domain, Model, ModelFeature, Network,
    Target, check,
};

const PAGE: &str = include_str!("../../../docs/certificate-format.md");

/// The contents of the fences marked `jsonl`: a proof, other steps for its end, a refutation, a proof about a
/// combination of outputs.
fn examples() -> [&'static str; 4] {
    let inside = |rest: &'static str| rest.split_once("```").expect("every fence is closed").0;
    let fences: Vec<_> = PAGE.split("```jsonl\n").skip(1).map(inside).collect();
    fences.try_into().expect("four examples")
}

fn model() -> Model {
    let first = Affine::new(2, vec![1.0, 1.0, 1.0, -1.0, 1.0, 0.0, 1.0, 0.25], vec![-1.0, 0.0, -0.75, -1.0]).unwrap();
    let second = Affine::new(4, vec![2.0, 2.0, -0.5, -0.5], vec![0.0]).unwrap();
    let block = Block::new(first, Activation::Relu, second).unwrap();
    Model {
        network: Network::new(vec![block], vec![]).unwrap(),
        features: vec![
            ModelFeature::linear("priors", Direction::Increasing, 0.0, 40.0),
            ModelFeature::linear("age", Direction::Free, 18.0, 98.0),
        ],
        domain: Domain::unit_cube(2),
        target: Target::Regression { column: "score".into(), minimum: 0.0, maximum: 1.0 },
    }
}

fn checked(certificate: &str) -> Result<Checked, CheckError> {
    check(certificate.as_bytes(), &model())
}

/// The line and the message of a refusal.
fn refusal(certificate: &str) -> (u64, String) {
    let error = checked(certificate).unwrap_err();
    (error.line, error.to_string())
}

#[test]
fn the_proof_is_valid() {
    let checked = checked(examples()[0]).unwrap();
    assert_eq!(checked.conclusion, Conclusion::Certified);
    assert_eq!((&checked.domain, &checked.specification), (&model().domain, &model().specification()));
    assert_eq!(checked.proved.iter().map(|proved| proved.leaves).collect::<Vec<_>>(), [2]);
}

#[test]
fn its_multipliers_decide() {
    let (leaf, sharper) = ("[[0,1],[1,1],[2,-2]]", "[3,[[2,1]]]");
    for (from, to, line, reason) in [
        (leaf, "[[0,1],[1,1],[2,-1]]", 4, "do not prove the bound"),
        (leaf, "[[0,1],[1,1],[2,-3]]", 4, "do not prove the bound"),
        (leaf, "[[0,1],[1,1],[2,2]]", 4, "neuron 2"),
        (leaf, "[[0,2],[1,1],[2,-2]]", 4, "neuron 0"),
        (sharper, "[3,[[2,0]]]", 6, "do not prove the bound"),
        (sharper, "[3,[[2,-1]]]", 5, "neuron 2"),
    ] {
        let (found, message) = refusal(&examples()[0].replace(from, to));
        assert!(found == line && message.contains(reason), "{to}: {message}");
    }
}

/// The one leaf that signs alone would give.
#[test]
fn without_the_split_nothing_is_proved() {
    let lines: Vec<_> = examples()[0].lines().collect();
    let (line, message) = refusal(&format!("{}\n{}\n{}\n", lines[0], lines[1], lines[5]));
    assert!(line == 3 && message.contains("do not prove the bound"), "{message}");
}

#[test]
fn the_other_end_is_valid_too() {
    let [certificate, other, ..] = examples();
    let lines: Vec<_> = certificate.lines().collect();
    let ending_with = |steps: &str| format!("{}\n{steps}{}\n", lines[..4].join("\n"), lines[6].replace('5', "6"));
    assert_eq!(checked(&ending_with(other)).unwrap().proved[0].leaves, 3);
    // t2 - 2 t3 is negative at p = q = 1.
    let (line, message) = refusal(&ending_with(&other.replace("[3,\"-1\"]", "[3,\"-2\"]")));
    assert!(line == 6 && message.contains("empty"), "{message}");
}

#[test]
fn the_refutation_is_valid() {
    let certificate = examples()[2];
    let checked = checked(certificate).unwrap();
    assert_eq!(checked.conclusion, Conclusion::Refuted);
    assert_ne!(checked.specification, model().specification());
    let (line, _) = refusal(&certificate.replace("15/8", "2"));
    assert_eq!(line, 2);
}

/// `p/2` and `-2 p` as two outputs of which the difference rises.
#[test]
fn the_proof_about_a_difference_is_valid() {
    let first = Affine::new(1, vec![1.0], vec![0.0]).unwrap();
    let block = Block::new(first, Activation::Relu, Affine::new(1, vec![0.5, -2.0], vec![0.0; 2]).unwrap()).unwrap();
    let mut model = model();
    (model.network, model.domain) = (Network::new(vec![block], vec![]).unwrap(), Domain::unit_cube(1));
    model.features.truncate(1);
    let certificate = examples()[3];
    let checked = check(certificate.as_bytes(), &model).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(checked.proved[0].at_least, 2.5);
    for (from, to, line) in [("\"rows\":[[1.0,-1.0]],", "", 3), ("[1.0,-1.0]", "[1.0,1.0]", 3), ("2.5", "2.6", 3)] {
        let error = check(certificate.replace(from, to).as_bytes(), &model).unwrap_err();
        assert_eq!(error.line, line, "{error}");
    }
}
