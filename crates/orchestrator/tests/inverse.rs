//! `orchestrator attack` and `visualize` as their users meet them, on a network whose answers can be worked out by hand.

mod command;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use command::{run, text};

use certificate::{
    Activation, Affine, Block, Direction, Domain, IntegerFeature, Interval, Model, ModelFeature, Network, Target,
};
use serde_json::Value;

/// good = 4, bad = max(0, dose + 0.05 weight + 3 (blue) - 1), in the attributes' own units.
fn model(folder: &Path) -> PathBuf {
    let layer = Affine::new(4, vec![0.0, 0.0, 0.0, 0.0, 10.0, 5.0, 0.0, 3.0], vec![4.0, -1.0]).unwrap();
    let feature = |name: &str, maximum| ModelFeature::linear(name, Direction::Free, 0.0, maximum);
    let steps = vec![IntegerFeature { input: 0, steps: 10 }];
    let model = Model {
        network: Network::from_layers(vec![layer], true).unwrap(),
        features: vec![
            feature("dose", 10.0),
            feature("weight", 100.0),
            feature("colour=red", 1.0),
            feature("colour=blue", 1.0),
        ],
        // The claim says nothing about categories; questions about inputs look at the names.
        domain: Domain::new(vec![Interval::new(0.0, 1.0); 4], vec![], steps).unwrap(),
        target: Target::Classes { column: "kind".into(), classes: vec!["good".into(), "bad".into()] },
    };
    let file = folder.join("model.safetensors");
    model.save(&file).unwrap();
    file
}

struct Asked {
    folder: tempfile::TempDir,
    model: PathBuf,
}

impl Asked {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = model(folder.path());
        Self { folder, model }
    }

    fn attack(&self, more: &[&str]) -> Output {
        run(&[&["attack", self.model.to_str().unwrap(), "--input", "2,20,red"], more].concat())
    }

    fn json(&self, more: &[&str]) -> Value {
        let output = self.attack(&[more, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else")
    }

    /// The distance and the values of dose, weight and colour.
    fn nearest(&self, more: &[&str]) -> (f64, f64, f64, String) {
        let found = self.json(more);
        assert_eq!(found["outcome"], "optimal", "{found}");
        assert!(found["why"].as_str().unwrap().contains("without trust in a solver"), "{found}");
        assert_eq!((found["from_class"].as_str(), found["class"].as_str()), (Some("kind good"), Some("kind bad")));
        let value = |k: usize| &found["attributes"][k]["value"];
        let distance = found["value"].as_f64().unwrap();
        assert!((found["proven_bound"].as_f64().unwrap() - distance).abs() < 1e-4, "{found}");
        (distance, value(0).as_f64().unwrap(), value(1).as_f64().unwrap(), value(2).as_str().unwrap().to_owned())
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-4
}

#[test]
fn nearest_inputs_are_those_worked_out_by_hand() {
    let asked = Asked::new();
    // 2 more are needed and a little: a new colour gives 3 at once.
    let (distance, dose, weight, colour) = asked.nearest(&[]);
    assert!(close(distance, 1.0) && close(dose, 2.0) && close(weight, 20.0) && colour == "blue");
    let (distance, dose, weight, colour) = asked.nearest(&["--fixed", "colour"]);
    assert!(close(distance, 2.02) && close(dose, 4.0) && close(weight, 20.02) && colour == "red");
    let (distance, dose, weight, _) = asked.nearest(&["--fixed", "colour", "--most-changed", "1"]);
    assert!(close(distance, 3.0) && close(dose, 5.0) && close(weight, 20.0));
    let (distance, ..) = asked.nearest(&["--fixed", "colour", "--distance", "l0"]);
    assert!(close(distance, 1.0));
    // Without steps the dose need not overshoot; in parts of the ranges the weight is as far as ten doses.
    let (distance, ..) = asked.nearest(&["--fixed", "colour", "--continuous"]);
    assert!(close(distance, 2.001));
    let (distance, ..) = asked.nearest(&["--fixed", "colour,weight", "--scaled"]);
    assert!(close(distance, 0.3));
    // Each may move by a, all of it in units of its own: a + 0.05 a = 2.001, but doses are whole.
    let (distance, dose, ..) = asked.nearest(&["--fixed", "colour", "--distance", "linf"]);
    assert!(close(distance, 2.0) && close(dose, 4.0), "{distance}");
    // A ratio asks for more: 1.5 times 4.
    let (distance, ..) = asked.nearest(&["--fixed", "colour", "--ratio", "1.5", "--target", "bad"]);
    assert!(close(distance, 4.02), "{distance}");
}

#[test]
fn what_cannot_be_had_is_said_with_its_reasons() {
    let asked = Asked::new();
    let found = asked.json(&["--fixed", "colour", "--largest-change", "1"]);
    assert_eq!(found["outcome"], "infeasible", "{found}");
    assert!(found["proven_bound"].is_null() && found["value"].is_null());
    let conflict: Vec<_> = found["conflict"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert_eq!(conflict, ["the class and its margin", "the limit on each change", "the fixed attributes"]);
    let said = text(&asked.attack(&["--fixed", "colour", "--largest-change", "1"]).stdout);
    assert!(said.contains("there is none") && said.contains("the fixed attributes"), "{said}");

    let late = asked.attack(&["--time-limit", "0"]);
    assert_eq!(late.status.code(), Some(3));
    assert!(text(&late.stdout).contains("time limit"), "{}", text(&late.stdout));
}

#[test]
fn an_answer_leaves_a_picture_and_a_record() {
    let asked = Asked::new();
    let out = asked.folder.path().join("answer");
    let said = text(&asked.attack(&["--out", out.to_str().unwrap()]).stdout);
    for words in ["from        kind good", "found       kind bad", "red -> blue", "proved without trust", "answer.svg"]
    {
        assert!(said.contains(words), "{words} is missing in\n{said}");
    }
    let picture = fs::read_to_string(out.join("answer.svg")).unwrap();
    assert!(fs::read(out.join("answer.png")).unwrap().starts_with(b"\x89PNG"));
    for words in ["kind good", "dose", "weight", "blue", "before", "@font-face"] {
        assert!(picture.contains(words), "{words} is missing in the picture");
    }
    let record: Value = serde_json::from_str(&fs::read_to_string(out.join("answer.json")).unwrap()).unwrap();
    assert_eq!(record["measure"], "distance");
    let images = asked.attack(&["--out", out.to_str().unwrap(), "--image", "2x2"]);
    assert_eq!(images.status.code(), Some(0), "{}", text(&images.stderr));
    assert!(fs::read_to_string(out.join("answer.svg")).unwrap().contains("change"));
}

#[test]
fn visualize_finds_the_strongest_input() {
    let asked = Asked::new();
    let model = asked.model.to_str().unwrap();
    let largest = |more: &[&str]| -> Value {
        let output = run(&[&["visualize", model, "--output", "bad", "--format", "json"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let found = largest(&[]);
    assert!(close(found["value"].as_f64().unwrap(), 17.0), "{found}");
    assert_eq!(found["attributes"][2]["value"], "blue");
    assert!(close(found["proven_bound"].as_f64().unwrap(), 17.0), "{found}");
    // 20 + 0.05 * 20 + 3 - 1
    let wider = largest(&["--range", "0:20"]);
    assert!(close(wider["value"].as_f64().unwrap(), 23.0), "{wider}");
    let margin = largest(&["--difference", "12"]);
    assert_eq!(margin["outcome"], "optimal");
    let impossible = largest(&["--difference", "14"]);
    assert_eq!(impossible["outcome"], "infeasible", "{impossible}");
}

#[test]
fn programmes_are_exported_in_every_format() {
    let asked = Asked::new();
    let export = |name: &str, more: &[&str]| {
        let file = asked.folder.path().join(name);
        let output = asked.attack(&[&["--export", file.to_str().unwrap()], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        fs::read_to_string(file).unwrap()
    };
    let lp = export("p.lp", &[]);
    for words in ["Minimize", "change_dose", "wins_over_0", "l2_n1_z", "colour_blue", "dose_steps"] {
        assert!(lp.contains(words), "{words} is missing in\n{lp}");
    }
    assert!(export("p.mps", &["--form", "complementarity"]).contains("\nSOS\n S1 set0\n l2_n1 1\n l2_n1_off 2\n"));
    let ampl = export("p.mod", &["--form", "complementarity"]);
    assert!(ampl.contains("subject to either0: l2_n1 * l2_n1_off <= 0;") && !ampl.contains("l2_n1_z"), "{ampl}");
    assert!(ampl.contains("var dose_steps, >= 0.0, <= 10.0, integer;"), "{ampl}");
    let file = asked.folder.path().join("p.txt");
    let refused = asked.attack(&["--export", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains(".mod") && !file.exists());
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let asked = Asked::new();
    let model = asked.model.to_str().unwrap();
    let refused = |args: &[&str]| {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
        text(&output.stderr)
    };
    for (input, words) in [
        ("2,20", "expected 3 values (dose, weight, colour), found 2"),
        ("2,many,red", "weight: expected a number, found `many`"),
        ("2,20,green", "expected one of red, blue, found `green`"),
        ("12,20,red", "dose: 12 is outside its range"),
    ] {
        let said = refused(&["attack", model, "--input", input]);
        assert!(said.contains(words), "{said}");
    }
    let attack = |more: &[&str]| refused(&[&["attack", model, "--input", "2,20,red"], more].concat());
    assert!(attack(&["--fixed", "color"]).contains("there are dose, weight, colour"));
    assert!(attack(&["--target", "ugly"]).contains("there are good, bad"));
    assert!(attack(&["--ratio", "0.9"]).contains("ratio of at least 1"));
    assert!(attack(&["--ratio", "1.2", "--difference", "0"]).contains("positive difference"));
    assert!(attack(&["--range", "3:1"]).contains("the first smaller"));
    assert!(attack(&["--range", "0:2.5"]).contains("whole numbers"));
    assert!(refused(&["attack", model]).contains("--input"));
    assert!(refused(&["visualize", model, "--output", "ugly"]).contains("there are good, bad"));

    let smooth = Block::new(Affine::identity(4), Activation::Tanh, Affine::identity(4)).unwrap();
    let known = Model::load(&asked.model).unwrap();
    let target = Target::Classes { column: "k".into(), classes: ["a", "b", "c", "d"].map(String::from).to_vec() };
    let model = Model { network: Network::new(vec![smooth], vec![]).unwrap(), target, ..known };
    let file = asked.folder.path().join("smooth.safetensors");
    model.save(&file).unwrap();
    assert!(refused(&["attack", file.to_str().unwrap(), "--input", "2,20,red"]).contains("tanh"));
}
