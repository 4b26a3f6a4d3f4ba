//! `orchestrator fit` as its users meet it: through its command line and what it leaves in the run folder.

mod command;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use command::{orchestrator, repository, run, text};

use certificate::{Conclusion, Model, check};

/// The exact training of a configuration of the repository into `folder`.
fn fit(config: &str, folder: &Path, settings: &[&str]) -> Output {
    let config = repository().join("configs").join(config);
    fit_file(&config, folder, settings)
}

fn fit_file(config: &Path, folder: &Path, settings: &[&str]) -> Output {
    let mut args = vec!["fit", config.to_str().unwrap(), "--out", folder.to_str().unwrap(), "--format", "json"];
    args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    run(&args)
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).expect("one JSON object and nothing else")
}

/// A network of one hidden unit with weights from -1 to 1, on samples of one number.
fn small(loss: &str, samples: &[(f64, f64)]) -> String {
    let layer = |kind: &str| format!("[[layer]]\nkind = \"{kind}\"\n");
    let dense = layer("dense") + "outputs = 1\nweights = { integers = [-1, 1] }\n";
    let samples: String = samples.iter().map(|(x, y)| format!("[[sample]]\nx = [{x}]\ny = {y}\n")).collect();
    let head = format!("name = \"small\"\nloss = \"{loss}\"\nproducts = \"one_hot\"\n");
    head + &samples + &dense + &layer("relu") + &dense
}

#[test]
fn the_exclusive_or_is_learnt_and_nothing_better_is_possible() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let output = fit("exact_xor.toml", &folder, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let progress = text(&output.stderr);
    assert!(progress.contains("(8 binaries of activations)") && progress.contains("proven optimal"), "{progress}");
    let record = json(&output.stdout);
    assert_eq!(record, json(&fs::read(folder.join("optimum.json")).unwrap()));
    assert_eq!((&record["status"], &record["mode"]), (&"optimal".into(), &"exact".into()));
    assert_eq!([&record["objective"], &record["bound"], &record["gap"]], [&serde_json::json!(0.0); 3]);

    let file = folder.join("model.safetensors");
    let model = Model::load(&file).unwrap();
    for (x, y) in [([0.0, 0.0], 0.0), ([0.0, 1.0], 1.0), ([1.0, 0.0], 1.0), ([1.0, 1.0], 0.0)] {
        assert_eq!(model.network.evaluate(&x), [y], "{x:?}");
    }
    // Another command takes it: the exclusive or does not follow its first input.
    let claim = temporary.path().join("claim.toml");
    fs::write(&claim, "directions = [\"increasing\", \"free\"]\n").unwrap();
    let paths = [&file, &claim, &temporary.path().join("verified")].map(|path| path.to_str().unwrap().to_owned());
    let verified = run(&["verify", &paths[0], "--domain", &paths[1], "--out", &paths[2]]);
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified.stderr));

    let report = fs::read_to_string(folder.join("fit.md")).unwrap();
    for words in ["# exact_xor: Proven optimal", "| mode | exact", "2 of 2 units are used", "best 0.000000"] {
        assert!(report.contains(words), "{words} is missing in\n{report}");
    }
    assert!(fs::read_to_string(folder.join("network.svg")).unwrap().trim_end().ends_with("</svg>"));

    let reported = run(&["report", folder.to_str().unwrap()]);
    assert_eq!(reported.status.code(), Some(2));
    assert!(text(&reported.stderr).contains("a run of `fit`"), "{}", text(&reported.stderr));
    let again = fit("exact_xor.toml", &folder, &[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("not empty"), "{}", text(&again.stderr));
}

/// Real weights on rows of a table; with other penalties too, and gradient training is not below what was proved.
#[test]
fn patients_are_told_apart_and_larger_penalties_leave_fewer_weights() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let features = "select.features=[\"clump_thickness\", \"bare_nuclei\", \"bland_chromatin\"]";
    let short = [features, "select.rows=8", "gradient.starts=4", "gradient.steps=300", "path.l1=[0.01, 3]"];
    let output = fit("exact_cancer.toml", &folder, &short);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let record = json(&output.stdout);
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let (objective, bound) = (number(&record["objective"]), number(&record["bound"]));
    assert!(objective - bound <= 1e-4 && number(&record["gradient"]["best"]) >= bound - 1e-6, "{record}");
    let path = record["path"].as_array().unwrap();
    assert!((number(&path[0]["objective"]) - objective).abs() < 1e-4, "{record}");
    assert!(number(&path[1]["weights"]) <= number(&path[0]["weights"]), "{record}");
    assert!(number(&path[1]["objective"]) > objective, "{record}");

    // The scores are those of the file, on rows of its own reading.
    let model = Model::load(&folder.join("model.safetensors")).unwrap();
    let manifest = repository().join("datasets/wbc/manifest.toml");
    let data = train::data::DataSet::load(&manifest, None, None).unwrap();
    let right = data.test.x.chunks(9).zip(&data.test.y).filter(|(x, y)| {
        let x = [0, 5, 6].map(|j| f64::from(x[j]));
        (model.network.evaluate(&x)[0] > 0.0) == (**y == 1.0)
    });
    let share = right.count() as f64 / data.test.len() as f64;
    assert_eq!(number(&record["test"]["accuracy"]), share);
    assert!(share > 0.8, "{share}");
    let feature = &model.features[1];
    assert_eq!((&feature.name[..], feature.minimum, feature.maximum), ("bare_nuclei", 1.0, 10.0));
    assert!(fs::read_to_string(folder.join("fit.md")).unwrap().contains("## Sparsity against accuracy"));
}

/// A hill is no increasing function: the best network goes up and down, the best monotone one is certified.
#[test]
fn a_monotone_network_comes_with_a_certificate() {
    let temporary = tempfile::tempdir().unwrap();
    let config = temporary.path().join("hill.toml");
    let hill = small("l1", &[(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)]);
    fs::write(&config, hill.replacen("outputs = 1", "outputs = 2", 1)).unwrap();
    let free = fit_file(&config, &temporary.path().join("free"), &[]);
    assert_eq!(free.status.code(), Some(0), "{}", text(&free.stderr));
    for form in ["certified", "sign"] {
        let folder = temporary.path().join(form);
        let monotone = format!("monotone={{ form = \"{form}\", features = {{ x1 = \"increasing\" }} }}");
        let output = fit_file(&config, &folder, &[&monotone]);
        assert_eq!(output.status.code(), Some(0), "{form}: {}", text(&output.stderr));
        let record = json(&output.stdout);
        assert_eq!(record["certification"], "certified", "{record}");
        // 1 in the middle and 0 at the end cost 1 for every function that does not fall.
        assert_eq!([&json(&free.stdout)["objective"], &record["objective"]], [&0.0.into(), &serde_json::json!(1.0)]);
        let model = Model::load(&folder.join("model.safetensors")).unwrap();
        let certificate = fs::read(folder.join("certificate.jsonl")).unwrap();
        assert_eq!(check(&certificate[..], &model).unwrap().conclusion, Conclusion::Certified);
        let files = ["certificate.jsonl", "model.safetensors"].map(|file| folder.join(file).display().to_string());
        assert_eq!(run(&["check", &files[0], &files[1]]).status.code(), Some(0));
    }
}

/// Filters become dense layers in the model file, and pooling has no place there, which is said.
#[test]
fn images_are_trained_and_the_model_file_is_the_network_where_there_can_be_one() {
    let temporary = tempfile::tempdir().unwrap();
    let config = temporary.path().join("bars.toml");
    let image = |pixels: &str, class: u8| format!("[[sample]]\nx = [{pixels}]\ny = {class}\n");
    let network = |pool: &str| {
        format!(
            "name = \"bars\"\nloss = \"hinge\"\nproducts = \"one_hot\"\nshape = [1, 2, 2]\n{}{}{}{}\
             [[layer]]\nkind = \"convolution\"\noutputs = 1\nwindow = {{ height = 1, width = 2 }}\n\
             weights = {{ integers = [-1, 1] }}\n[[layer]]\nkind = \"relu\"\n{pool}[[layer]]\nkind = \"flatten\"\n\
             [[layer]]\nkind = \"dense\"\noutputs = 1\nweights = {{ integers = [-2, 2] }}\n",
            image("1, 1, 0, 0", 0),
            image("0, 0, 1, 1", 0),
            image("1, 0, 1, 0", 1),
            image("0, 1, 0, 1", 1),
        )
    };
    fs::write(&config, network("")).unwrap();
    let folder = temporary.path().join("run");
    let output = fit_file(&config, &folder, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let record = json(&output.stdout);
    assert_eq!(record["objective"], 0.0, "{record}");
    let model = Model::load(&folder.join("model.safetensors")).unwrap();
    for (x, sign) in [([1.0, 1.0, 0.0, 0.0], -1.0), ([0.0, 0.0, 1.0, 1.0], -1.0), ([1.0, 0.0, 1.0, 0.0], 1.0)] {
        assert!(sign * model.network.evaluate(&x)[0] >= 1.0, "{x:?}");
    }
    let pool = "[[layer]]\nkind = \"max_pool\"\nheight = 2\nwidth = 1\n";
    fs::write(&config, network(pool)).unwrap();
    let folder = temporary.path().join("pooled");
    let output = fit_file(&config, &folder, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(json(&output.stdout)["no_model"].as_str().unwrap().contains("no pooling"));
    assert!(!folder.join("model.safetensors").exists() && folder.join("network.svg").exists());
}

#[test]
fn without_time_there_is_an_honest_gap() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let output = fit("exact_xor.toml", &folder, &["solver.time_limit_s=1e-9", "gradient.warm_start=false"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let record = json(&output.stdout);
    assert_eq!((&record["status"], &record["objective"]), (&"nothing_found".into(), &serde_json::Value::Null));
    assert_eq!((&record["bound"], &record["exit_code"]), (&0.0.into(), &3.into()));
    assert!(fs::read_to_string(folder.join("fit.md")).unwrap().contains("No network of this kind was found"));
}

/// What is left in the folder of a run that Ctrl-C stops some time after a line of its progress had these words.
fn interrupted(config: &str, folder: &Path, settings: &[&str], (words, later): (&str, Duration)) -> serde_json::Value {
    let mut command = orchestrator(&["fit", config, "--out", folder.to_str().unwrap()]);
    command.args(settings.iter().flat_map(|setting| ["--set", setting]));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        // A second signal would end it at once.
        if line.contains(words) && !progress.contains(words) {
            thread::sleep(later);
            Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        }
        progress += &(line + "\n");
    }
    assert_eq!(child.wait().unwrap().code(), Some(130), "{progress}");
    let record = json(&fs::read(folder.join("optimum.json")).unwrap());
    assert_eq!((&record["interrupted"], &record["exit_code"]), (&true.into(), &130.into()));
    record
}

/// The best network of gradient training is known before the long search begins.
#[test]
fn what_is_known_when_it_is_interrupted_is_kept() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let settings = ["select.rows=64", "solver.time_limit_s=300", "gradient.starts=4"];
    // The clock, after ten seconds of search.
    let record = interrupted("configs/exact_cancer.toml", &folder, &settings, (" s  objective ", Duration::ZERO));
    let [objective, best] = [&record["objective"], &record["gradient"]["best"]].map(|value| value.as_f64().unwrap());
    assert!(objective <= best + 1e-4 && record["bound"].as_f64().unwrap() <= objective, "{record}");
    assert!(Model::load(&folder.join("model.safetensors")).is_ok());
    assert!(fs::read_to_string(folder.join("fit.md")).unwrap().contains("Stopped. Not proven optimal"));

    // What gradient training found need not be monotone, and is not delivered as if it were.
    let folder = temporary.path().join("monotone");
    let search_begins = ("gradient training: ", Duration::ZERO);
    let record = interrupted("configs/exact_compas_monotone.toml", &folder, &[], search_begins);
    assert_eq!((&record["status"], &record["objective"]), (&"nothing_found".into(), &serde_json::Value::Null));
    assert!(fs::read_to_string(folder.join("fit.md")).unwrap().contains("Stopped. No monotone network of this kind"));
}

/// Clp takes Ctrl-C for itself while it solves.
#[test]
fn a_solver_does_not_swallow_an_interrupt() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    // The first linear programme takes half a second.
    let settings = ["select.rows=1500", "gradient.starts=1"];
    let in_it = ("gradient training: ", Duration::from_millis(300));
    let record = interrupted("configs/exact_compas_monotone.toml", &folder, &settings, in_it);
    assert_eq!(record["bound"], serde_json::Value::Null, "{record}");
}

/// Where products are relaxed the bound is below the best network, and waiting does not help.
#[test]
fn a_relaxation_says_so_and_leaves_a_gap() {
    let temporary = tempfile::tempdir().unwrap();
    let (config, folder) = (temporary.path().join("relaxed.toml"), temporary.path().join("run"));
    let hill = small("l1", &[(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)]).replace("integers", "real");
    fs::write(&config, hill.replace("\"one_hot\"", "{ mc_cormick = { pieces = 1 } }")).unwrap();
    let output = fit_file(&config, &folder, &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let record = json(&output.stdout);
    assert_eq!((&record["status"], &record["mode"]), (&"gap".into(), &"relaxation".into()));
    // One unit makes no hill.
    assert!(record["objective"].as_f64().unwrap() > record["bound"].as_f64().unwrap() + 0.1, "{record}");
    let report = fs::read_to_string(folder.join("fit.md")).unwrap();
    assert!(report.contains("Not proven optimal") && report.contains("| mode | relaxation"), "{report}");
}

#[test]
fn what_makes_no_sense_is_said_before_there_is_a_folder() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    for (setting, words) in [
        ("solver.time_limit=5", "did you mean `time_limit_s`?"),
        ("loss=hing", "did you mean `hinge`?"),
        ("solver.time_limit_s=0", "solver.time_limit_s must be a finite number above 0"),
        ("select.rows=9999", "there are 1 to 342 rows to draw"),
        ("select.rows=[700]", "row 700 is none of those to fit on"),
        ("select.features=[\"cell_siz\"]", "did you mean `cell_size`?"),
        ("loss=l1", "the target is a class"),
        ("shape=[1, 3, 3]", "shape is for [[sample]] tables"),
        ("monotone={ form = \"sign\" }", "no feature has a direction"),
        ("products=one_hot", "cannot be written exactly"),
        ("path.l1=[-1]", "path.l1 must hold finite numbers from 0 on"),
    ] {
        let output = fit("exact_cancer.toml", &folder, &[setting]);
        assert_eq!(output.status.code(), Some(2), "{setting}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(words), "{setting}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && !folder.exists(), "{setting}");
    }
    let config = temporary.path().join("small.toml");
    let two = small("hinge", &[(0.0, 0.0), (1.0, 1.0)]);
    for (changed, words) in [
        (two.replace("weights = { integers = [-1, 1] }\n", ""), "missing field `weights`"),
        (two.replacen("integers = [-1, 1]", "real = [-4, inf]", 1), "need finite bounds"),
        (two.replace("y = 1", "y = 0"), "all samples are of class 0"),
        (two.replace("y = 1", "y = 0.5"), "sample 2: expected a class"),
        (two.replace("x = [1]", "x = [nan]"), "sample 2: expected 1 finite numbers"),
        (small("hinge", &[]), "expected samples from one place"),
        (two.replacen("weights =", "weigths =", 1), "did you mean `weights`?"),
    ] {
        fs::write(&config, &changed).unwrap();
        let output = fit_file(&config, &folder, &[]);
        assert_eq!(output.status.code(), Some(2), "{changed}");
        assert!(text(&output.stderr).contains(words), "{words}: {}", text(&output.stderr));
        assert!(!folder.exists(), "{words}");
    }
    // What the solver has to find out is said with its names.
    let output = |at: f64, lower: f64, upper: f64| {
        format!("[[constraint]]\nkind = \"output\"\nat = [{at}]\nlower = {lower}\nupper = {upper}\n")
    };
    fs::write(&config, two + &output(0.5, 0.5, 1.0) + &output(0.0, -1.0, 1.0) + &output(0.5, -1.0, 0.0)).unwrap();
    let contradictory = fit_file(&config, &folder, &[]);
    assert_eq!(contradictory.status.code(), Some(2));
    let said = text(&contradictory.stderr);
    assert!(said.contains("output 1 at [0.5] in [0.5, 1]; output 1 at [0.5] in [-1, 0]"), "{said}");
}

/// Every configuration of this kind is resolved, and the copy in a run folder means the same.
#[test]
fn all_configurations_are_valid() {
    let mut count = 0;
    for entry in fs::read_dir(repository().join("configs")).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_str().unwrap().starts_with("exact_") {
            continue;
        }
        count += 1;
        let first = run(&["config", path.to_str().unwrap()]);
        assert_eq!(first.status.code(), Some(0), "{}: {}", path.display(), text(&first.stderr));
        let temporary = tempfile::tempdir().unwrap();
        let copy = temporary.path().join("copy.toml");
        fs::write(&copy, &first.stdout).unwrap();
        let second = run(&["config", copy.to_str().unwrap()]);
        assert_eq!(text(&first.stdout), text(&second.stdout), "{}", text(&second.stderr));
    }
    assert_eq!(count, 6);
}
