//! `orchestrator multistart` as its users meet it: through its command line and what it leaves in the run folder.

mod command;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use command::{orchestrator, repository, run, text};

use certificate::{Model, Target};
use train::data::DataSet;

/// A short training of `config` into `folder`.
fn multistart(config: &Path, folder: &Path, more: &[&str]) -> Output {
    let mut args = vec!["multistart", config.to_str().unwrap(), "--out", folder.to_str().unwrap(), "--format", "json"];
    args.extend(more);
    run(&args)
}

fn breast_cancer() -> PathBuf {
    repository().join("configs/wbc.toml")
}

const SHORT: &[&str] = &["--set", "smooth.starts=6", "--set", "smooth.iterations=80"];

/// A configuration about the invented flats, whose target is a number.
fn flats(folder: &Path) -> PathBuf {
    let path = folder.join("flats.toml");
    let manifest = repository().join("datasets/example/manifest.toml");
    let config = format!(
        "name = \"flats\"\n[data]\nmanifest = {manifest:?}\n[network]\nhidden = [3]\noutput = \"linear\"\n\
         [smooth]\nloss = \"least_squares\"\ninputs = \"standardised\"\nstarts = 4\niterations = 60\n"
    );
    fs::write(&path, config).unwrap();
    path
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).expect("one JSON object and nothing else")
}

#[test]
fn classes_are_trained_and_the_stored_network_has_the_scores_told() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let output = multistart(&breast_cancer(), &folder, SHORT);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("start    6/6"), "{}", text(&output.stderr));
    let summary = json(&output.stdout);
    assert_eq!(summary, json(&fs::read(folder.join("summary.json")).unwrap()));

    // The best is that of the objective, and all starts are told.
    let starts = json(&fs::read(folder.join("starts.json")).unwrap());
    let objectives: Vec<f64> =
        starts.as_array().unwrap().iter().map(|start| start["minimum"]["objective"].as_f64().unwrap()).collect();
    assert_eq!(objectives.len(), 6);
    let best = summary["starts"]["best"].as_u64().unwrap() as usize;
    assert_eq!(objectives[best], objectives.iter().copied().fold(f64::INFINITY, f64::min));
    assert_eq!(summary["starts"]["best_objective"].as_f64(), Some(objectives[best]));
    assert_eq!(summary["relu"], starts[best]["minimum"]["relu"]);

    let model = Model::load(&folder.join("model.safetensors")).unwrap();
    assert_eq!(model.target, Target::Classes { column: "class".into(), classes: vec!["2".into(), "4".into()] });
    assert_eq!((model.network.inputs(), model.network.outputs()), (9, 2));
    assert_eq!(model.domain.integer().len(), 9);
    let manifest = repository().join("datasets/wbc/manifest.toml");
    let data = DataSet::load(&manifest, Some("file_order"), None).unwrap();
    for (name, part) in [("train", &data.fit), ("test", &data.test)] {
        let right = part.x.chunks(9).zip(&part.y).filter(|(x, y)| {
            let outputs = model.network.evaluate(&x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
            let class = usize::from(**y > 0.5);
            outputs[class] > outputs[1 - class]
        });
        let share = right.count() as f64 / part.len() as f64;
        assert_eq!(summary["relu"][name]["accuracy"].as_f64(), Some(share), "{name}");
        // Either class alone is right for less.
        assert!(share > 0.9, "{name}: {share}");
    }

    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(report.starts_with("# wbc: best objective -3"), "{report}");
    for words in ["Median:", "Within 1 % of the best:", "On the plateau", "| exact ReLU |", "9-3-3-2 network"] {
        assert!(report.contains(words), "{words} is missing in\n{report}");
    }
    assert!(fs::metadata(folder.join("run.json")).is_ok() && fs::metadata(folder.join("config.toml")).is_ok());
    // Pictures of errors are for numbers.
    assert!(!folder.join("errors.svg").exists());

    let again = multistart(&breast_cancer(), &folder, SHORT);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("not empty"), "{}", text(&again.stderr));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let files = ["1", "3"].map(|threads| {
        let folder = temporary.path().join(threads);
        let mut command = orchestrator(&["multistart", "configs/wbc.toml", "--out", folder.to_str().unwrap(), "-q"]);
        let output = command.args(SHORT).env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(output.stderr.is_empty() && text(&output.stdout).contains("exact ReLU"), "{}", text(&output.stdout));
        ["starts.json", "model.safetensors"].map(|file| fs::read(folder.join(file)).unwrap())
    });
    assert!(files[0] == files[1]);
}

#[test]
fn numbers_are_trained_and_their_errors_explained() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let output = multistart(&flats(temporary.path()), &folder, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let summary = json(&output.stdout);
    let errors = &summary["relu"]["test"]["relative_error"];
    assert!(errors["mean"].as_f64().unwrap() < 0.2 && errors["largest"].as_f64() > errors["median"].as_f64());

    let model = Model::load(&folder.join("model.safetensors")).unwrap();
    let Target::Regression { minimum, maximum, .. } = model.target else { panic!("{:?}", model.target) };
    let manifest = repository().join("datasets/example/manifest.toml");
    let data = DataSet::load(&manifest, None, None).unwrap();
    let raw = |scaled: f64| minimum + scaled * (maximum - minimum);
    let found = data.test.x.chunks(5).zip(&data.test.y).map(|(x, y)| {
        let output = model.network.evaluate(&x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>())[0];
        ((raw(output) - raw(f64::from(*y))) / raw(f64::from(*y))).abs()
    });
    let mean = found.sum::<f64>() / data.test.len() as f64;
    assert!((mean - errors["mean"].as_f64().unwrap()).abs() < 1e-5, "{mean} {errors}");

    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    for words in ["errors.svg", "Where the error is above 20 %: test", "of 40 rows", "error_tree_train.svg"] {
        assert!(report.contains(words), "{words} is missing in\n{report}");
    }
    for picture in ["errors.svg", "error_tree_train.svg", "error_tree_test.svg"] {
        let svg = fs::read_to_string(folder.join(picture)).unwrap();
        assert!(svg.trim_end().ends_with("</svg>") && svg.contains("@font-face"), "{picture}");
        assert!(fs::read(folder.join(picture).with_extension("png")).unwrap().starts_with(b"\x89PNG"), "{picture}");
    }
}

#[test]
fn what_cannot_be_asked_leaves_no_folder() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    for (setting, words) in [
        ("smooth.starts=0", "at least 1"),
        ("smooth.epsilon=0", "epsilon must be a finite number above 0"),
        ("smooth.weight_decay=-1", "weight_decay must be"),
        ("smooth.loss=least_squares", "the target is a class"),
        ("network.hidden=[]", "hidden must list"),
        ("smooth.epsilom=1", "did you mean `epsilon`?"),
        ("data.split=paper", "there is no split `paper`"),
        ("name=a/b", "name must consist of"),
    ] {
        let output = multistart(&breast_cancer(), &folder, &["--set", setting]);
        assert_eq!(output.status.code(), Some(2), "{setting}");
        assert!(text(&output.stderr).contains(words), "{setting}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && !folder.exists(), "{setting}");
    }
    let relu = multistart(&flats(temporary.path()), &folder, &["--set", "network.output=relu"]);
    assert_eq!(relu.status.code(), Some(2));
    assert!(text(&relu.stderr).contains("the target's range begins at 200"), "{}", text(&relu.stderr));
}

#[test]
fn the_resolved_configuration_shows_the_defaults() {
    let temporary = tempfile::tempdir().unwrap();
    let output = run(&["config", flats(temporary.path()).to_str().unwrap(), "--set", "seed=5"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let config = text(&output.stdout);
    for line in ["seed = 5", "epsilon = 0.001", "weight_decay = 0.01", "hidden = [3]"] {
        assert!(config.replace("[\n    3,\n]", "[3]").contains(line), "{line} is missing in\n{config}");
    }
}

/// Ctrl-C keeps the starts that have finished, and the exit status says that there could be more.
#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_its_finished_starts() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let mut command = orchestrator(&["multistart", "configs/wbc.toml", "--out", folder.to_str().unwrap()]);
    // Many more starts than there is time for; one thread, so that the first ones are done soon.
    command.args(["--set", "smooth.starts=4000", "--set", "smooth.iterations=40"]).env("RAYON_NUM_THREADS", "1");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !folder.join("run.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the run does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(2));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    let starts = json(&fs::read(folder.join("starts.json")).unwrap());
    let finished = starts.as_array().unwrap().len();
    assert!((1..4000).contains(&finished), "{finished}");
    assert!(Model::load(&folder.join("model.safetensors")).is_ok());
    assert!(fs::read_to_string(folder.join("report.md")).unwrap().contains("Interrupted: of 4000 starts asked for"));
    assert!(!folder.join("summary.json").exists(), "the run is not finished");
}

#[test]
fn the_last_layer_can_be_exchanged_for_the_one_with_the_fewest_errors() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let more = [SHORT, &["--set", "network.hidden=[3]", "--set", "count.time_limit_s=5"]].concat();
    let output = multistart(&breast_cancer(), &folder, &more);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let counted = &summary["counted"];
    let number = |key: &str| counted[key].as_u64().unwrap();
    assert!(number("at_least") <= number("wrong"), "{counted}");
    // The scores are those of the file, on rows of its own reading.
    let model = Model::load(&folder.join("counted.safetensors")).unwrap();
    let manifest = repository().join("datasets/wbc/manifest.toml");
    let data = DataSet::load(&manifest, Some("file_order"), None).unwrap();
    let right = |(row, y): (&[f32], &f32)| {
        let outputs = model.network.evaluate(&row.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
        (outputs[1] > outputs[0]) == (*y == 1.0)
    };
    let count = data.fit.x.chunks(9).zip(&data.fit.y).filter(|pair| right(*pair)).count();
    assert_eq!(counted["train"].as_f64().unwrap(), count as f64 / data.fit.len() as f64);
    assert!(data.fit.len() - count <= number("wrong") as usize);
    assert!(fs::read_to_string(folder.join("report.md")).unwrap().contains("fewest errors"));

    let energy = repository().join("configs/energy.toml");
    let refused = run(&["multistart", energy.to_str().unwrap(), "--set", "count.limit=3"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("[count]"), "{}", text(&refused.stderr));
}
