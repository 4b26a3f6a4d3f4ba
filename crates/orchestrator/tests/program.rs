//! The program as its users meet it: through its command line and what it leaves in the run folder.

mod command;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use command::{orchestrator, repository, run, text};

/// The smoke configuration into `folder`.
fn smoke(folder: &Path, more: &[&str]) -> Output {
    let mut args = vec!["configs/smoke.toml", "--format", "json", "--out", folder.to_str().unwrap()];
    args.extend(more);
    run(&args)
}

#[test]
fn the_smoke_run_certifies_and_leaves_a_complete_folder() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let output = smoke(&folder, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else");
    assert_eq!(summary["verdict"], "certified");
    assert_eq!(summary["stop_reason"], "certified");
    assert!(summary["rounds"].as_u64().unwrap() >= 1 && summary["lambda"].as_f64().unwrap() >= 1.0);
    assert!(summary["validation"]["rmse"].as_f64().unwrap() < 0.2, "{summary}");
    assert!(summary["test"]["rmse"].as_f64().unwrap() < 0.25, "{summary}");

    for file in
        ["config.toml", "run.json", "metrics.jsonl", "model.safetensors", "verdict.json", "counterexamples.json"]
    {
        assert!(fs::metadata(folder.join(file)).unwrap().len() > 1, "{file}");
    }
    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(report.starts_with("# smoke: certified monotone"), "{report}");
    for words in ["area_m2", "distance_km", "decreasing", "What is claimed, and what is not", "SHA-256"] {
        assert!(report.contains(words), "{words} is missing in\n{report}");
    }

    // The certificate holds for this model, and not after a change of either.
    let certificate = folder.join("certificate.jsonl");
    let check = |certificate: &Path| {
        run(&["check", certificate.to_str().unwrap(), folder.join("model.safetensors").to_str().unwrap()])
    };
    let valid = check(&certificate);
    assert_eq!(valid.status.code(), Some(0), "{}", text(&valid.stderr));
    assert!(text(&valid.stdout).contains("area_m2 from 20 to 120"), "{}", text(&valid.stdout));
    let lines = fs::read_to_string(&certificate).unwrap();
    let forged = folder.join("forged.jsonl");
    fs::write(&forged, lines.replacen("\"increasing\"", "\"decreasing\"", 1)).unwrap();
    let refused = check(&forged);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stdout));
    assert!(text(&refused.stderr).contains("line "), "{}", text(&refused.stderr));

    // Nothing is found against it.
    let violations = |more: &[&str]| run(&[&["violations", folder.to_str().unwrap()], more].concat());
    assert_eq!(violations(&[]).status.code(), Some(0));
    let rows = violations(&["--data", "test", "--json"]);
    assert_eq!(rows.status.code(), Some(0), "{}", text(&rows.stderr));
    let rows: serde_json::Value = serde_json::from_slice(&rows.stdout).unwrap();
    assert_eq!(rows["rows"]["violated"], 0);
    assert_eq!(rows["rows"]["asked"], 40);
    assert_eq!(violations(&["--row", "41"]).status.code(), Some(2));

    // Any query can be handed to another solver.
    let file = folder.join("model.safetensors");
    let export = |more: &[&str]| run(&[&["export", file.to_str().unwrap()], more].concat());
    let lp = export(&["--block", "1", "--output", "2", "--input", "1"]);
    assert_eq!(lp.status.code(), Some(0), "{}", text(&lp.stderr));
    assert!(text(&lp.stdout).to_lowercase().contains("minimize") && text(&lp.stdout).contains("z0"));
    assert!(text(&export(&["--block", "2", "--format", "mps"]).stdout).contains("ROWS"));
    let nothing = export(&["--block", "3"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("block 3"), "{}", text(&nothing.stderr));

    // The model in the folder is the certified one: loading checks its hash, verifying it anew needs no training.
    let model = certificate::Model::load(&folder.join("model.safetensors")).unwrap();
    let specification = model.specification();
    let options = milp::Options::default();
    let control = milp::Control::default();
    let solver = &milp::solver::Microlp;
    let report = milp::verify_network(
        &model.network,
        &model.domain,
        &specification,
        milp::Engine::Milp(solver),
        &options,
        control,
    )
    .unwrap();
    assert!(report.verdict.is_certified());
}

/// A setting that was renamed must not leave a configuration behind that nobody can run.
#[test]
fn every_configuration_of_the_repository_is_read() {
    let files = fs::read_dir(repository().join("configs")).unwrap().map(|entry| entry.unwrap().path());
    let configurations: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "toml")).collect();
    assert!(configurations.len() >= 5);
    for file in configurations {
        let output = run(&["config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}: {}", file.display(), text(&output.stderr));
    }
}

fn certifies(model: &certificate::Model) -> bool {
    let (engine, options, control) = (milp::Engine::BranchAndBound, milp::Options::default(), milp::Control::default());
    let claim = model.monotone_features().into();
    let report = milp::verify_network(&model.network, &model.domain, &claim, engine, &options, control).unwrap();
    report.verdict.is_certified()
}

/// Without a penalty nothing certifies as trained: a repair does it, if it may cost what it costs.
#[test]
fn a_repair_is_delivered_only_if_its_cost_is_acceptable() {
    let temporary = tempfile::tempdir().unwrap();
    let without_penalty = |name: &str, more: &[&str]| {
        let folder = temporary.path().join(name);
        let output =
            smoke(&folder, &[&["--set", "escalation.lambda=0", "--set", "certify.deliver=last"], more].concat());
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (folder, output, summary)
    };
    let load = |folder: &Path, file: &str| certificate::Model::load(&folder.join(file)).unwrap();

    let (folder, output, summary) = without_penalty("accepted", &["--set", "repair.loss_growth=100"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("violated activation patterns cut off; validation loss"));
    assert!(certifies(&load(&folder, "model.safetensors")));
    assert!(!certifies(&load(&folder, "rounds/00/unrepaired.safetensors")));
    let (before, after) = (&summary["before_repair"]["validation"]["loss"], &summary["validation"]["loss"]);
    assert!(before.as_f64().unwrap() != after.as_f64().unwrap(), "{summary}");
    let picture = fs::read_to_string(folder.join("repair.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("@font-face"));
    assert!(fs::read(folder.join("repair.png")).unwrap().starts_with(b"\x89PNG"));
    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(report.contains("What the repair changed") && report.contains("before the repair"), "{report}");
    // What was repaired once is not repaired again.
    let (_, _, again) = without_penalty("accepted", &["--set", "repair.loss_growth=100", "--resume"]);
    assert_eq!((&again["validation"], &again["before_repair"]), (&summary["validation"], &summary["before_repair"]));

    let dear = ["repair.method=project", "repair.loss_growth=0", "certify.during_training=0"];
    let (folder, output, summary) = without_penalty("refused", &dear.map(|text| ["--set", text]).concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("the repair costs too much"), "{}", text(&output.stderr));
    assert_ne!(summary["verdict"], "certified");
    assert!(summary["before_repair"].is_null() && !certifies(&load(&folder, "model.safetensors")));

    let (folder, output, _) = without_penalty(
        "off",
        &["--set", "repair.method=off", "--set", "certify.during_training=0", "--set", "certify.candidates=1"],
    );
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(!certifies(&load(&folder, "model.safetensors")));
}

/// Overrides with which every network is repaired, whatever it costs.
const REPAIRED: &[&str] =
    &["--set", "escalation.lambda=0", "--set", "certify.deliver=last", "--set", "repair.loss_growth=100"];

/// What a repair changed is told row by row: as the two stored networks decide, and as many as the scores differ by.
#[test]
fn the_decisions_that_a_repair_changed_are_named() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let small = ["architecture.hidden=8", "train.epochs=4", "certify.during_training=0", "train.all_rows=false"];
    let sets = small.iter().flat_map(|text| ["--set", text]).chain(REPAIRED.iter().copied());
    let args = ["configs/compas.toml", "--format", "json", "--out", folder.to_str().unwrap()];
    let output = run(&args.into_iter().chain(sets).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = |key: &str| -> Vec<usize> {
        let rows = summary["changed_decisions"][key].as_array().unwrap();
        rows.iter().map(|row| row.as_u64().unwrap() as usize).collect()
    };
    let (now_right, now_wrong) = (rows("now_right"), rows("now_wrong"));
    assert!(!now_right.is_empty() && !now_wrong.is_empty(), "{summary}");

    let right = |of: &serde_json::Value| 1235.0 * of["test"]["accuracy"].as_f64().unwrap();
    let gained = right(&summary) - right(&summary["before_repair"]);
    assert!((gained - (now_right.len() as f64 - now_wrong.len() as f64)).abs() < 1e-6, "{summary}");

    let manifest = repository().join("datasets/compas/manifest.toml");
    let test = train::data::DataSet::load(&manifest, Some("paper"), None).unwrap().test;
    let width = test.x.len() / test.len();
    let is_right = |file: &str, row: usize| {
        let model = certificate::Model::load(&folder.join(file)).unwrap();
        let x: Vec<f64> = test.x[(row - 1) * width..row * width].iter().map(|x| f64::from(*x)).collect();
        (model.network.evaluate(&x)[0] > 0.0) == (test.y[row - 1] == 1.0)
    };
    for (rows, after) in [(&now_right, true), (&now_wrong, false)] {
        for row in rows {
            assert_eq!(is_right("model.safetensors", *row), after, "row {row}");
            assert_eq!(is_right("rounds/00/unrepaired.safetensors", *row), !after, "row {row}");
        }
    }

    let all = now_right.len() + now_wrong.len();
    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    let sentence = format!(
        "The repair changed the decision for {all} of the 1235 test rows: {} of these are right now that were wrong before, {} the \
         other way round.",
        now_right.len(),
        now_wrong.len()
    );
    assert!(report.contains(&sentence), "{report}");
}

#[test]
fn the_last_round_may_be_on_all_rows() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let output = smoke(&folder, &[REPAIRED, &["--set", "train.all_rows=true"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["rounds"], &summary["verdict"]), (&2.into(), &"certified".into()));
    assert!(summary["before_repair"].is_null(), "what was fitted there has no validation score: {summary}");
    let load = |file: &str| certificate::Model::load(&folder.join(file)).unwrap().network;
    assert_eq!(load("model.safetensors"), load("rounds/01/model.safetensors"));
    assert_ne!(load("model.safetensors"), load("rounds/00/model.safetensors"));
    // The validation score is that of the same configuration without one.
    let alone = temporary.path().join("alone");
    let output = smoke(&alone, REPAIRED);
    let without: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["validation"], without["validation"]);
    assert_ne!(summary["test"], without["test"]);
    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(report.contains("rows together (160 rows)") && report.contains("were fitted on too"), "{report}");

    // Repair by regression and targets from trees, with the same validation rows.
    let more = ["--set", "train.all_rows=true", "--set", "repair.method=refit", "--set", "train.distil=0.5"];
    let taught = temporary.path().join("taught");
    let output = smoke(&taught, &[REPAIRED, &more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(certifies(&certificate::Model::load(&taught.join("model.safetensors")).unwrap()));
    let report = fs::read_to_string(taught.join("report.md")).unwrap();
    assert!(report.contains("50 % of the way from the table's own to what monotone boosted trees"), "{report}");

    let output = smoke(&temporary.path().join("choosing"), &["--set", "train.all_rows=true"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("train.all_rows = true needs certify.deliver"), "{}", text(&output.stderr));
}

#[test]
fn an_ensemble_is_the_mean_of_its_members_and_certified_as_one_network() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let output = smoke(&folder, &["--set", "ensemble=3", "--set", "train.distil=0.5"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let load = |file: &str| certificate::Model::load(&folder.join(file)).unwrap().network;
    let mean = load("model.safetensors");
    let members: Vec<_> = (0..3).map(|k| load(&format!("members/{k:02}/rounds/00/model.safetensors"))).collect();
    assert_ne!(members[0], members[1]);
    let x: Vec<f64> = (0..mean.inputs()).map(|j| 0.1 * j as f64).collect();
    let expected = members.iter().map(|member| member.evaluate(&x)[0]).sum::<f64>() / 3.0;
    assert!((mean.evaluate(&x)[0] - expected).abs() < 1e-5);
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    assert_eq!(run(&["check", &file("certificate.jsonl"), &file("model.safetensors")]).status.code(), Some(0));
    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(report.contains("mean of 3 networks") && report.contains("No query was about two members"), "{report}");
    // The first member is what the seed gives alone, the trees that taught it too.
    let alone = temporary.path().join("alone");
    smoke(&alone, &["--set", "train.distil=0.5"]);
    assert_eq!(members[0], certificate::Model::load(&alone.join("model.safetensors")).unwrap().network);
    let teacher = |folder: &Path| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(folder.join("teacher.json")).unwrap()).unwrap()
    };
    for key in ["settings", "scores"] {
        assert_eq!(teacher(&folder)[key], teacher(&alone)[key]);
    }
    // Their tuning is part of what training costs.
    let (tuning, training) = (&teacher(&folder)["seconds"], &summary(&folder)["training_seconds"]);
    assert!(tuning.as_f64() > Some(0.0) && training.as_f64() > tuning.as_f64(), "{tuning} of {training}");
}

/// Killed again and again at arbitrary moments and resumed each time, a run ends with the same bytes as an undisturbed
/// one.
#[test]
fn a_killed_run_resumes_bit_for_bit() {
    survives_kills(&["--set", "train.best_test_epoch=true"]);
}

/// The same where most of the time goes into repairs of networks that were trained without a penalty.
#[test]
fn a_run_killed_while_it_repairs_resumes_bit_for_bit() {
    let more = ["--set", "train.epochs=5", "--set", "train.all_rows=true", "--set", "train.distil=0.5"];
    survives_kills(&[REPAIRED, &more].concat());
}

fn survives_kills(more: &[&str]) {
    let temporary = tempfile::tempdir().unwrap();
    let (calm, stormy) = (temporary.path().join("calm"), temporary.path().join("stormy"));
    let start = Instant::now();
    assert_eq!(smoke(&calm, more).status.code(), Some(0));
    let whole = start.elapsed();
    let folder = stormy.to_str().unwrap();
    let mut kills = 0_u32;
    for attempt in 0..40_u32 {
        let mut args = [&["configs/smoke.toml", "--format", "json", "--out", folder], more].concat();
        if stormy.join("config.toml").exists() {
            args.push("--resume");
        }
        let mut child = orchestrator(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Moments spread over the run, different in every execution of this test.
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_micros();
        let share = f64::from((clock ^ (attempt * 7919)) % 1000) / 1000.0;
        // What has no checkpoint, as a repair, ends only if it is given ever more time on a busy machine.
        let patience = 1.0 + 0.25 * f64::from(kills);
        let deadline = Instant::now() + whole.mul_f64(patience * (0.1 + 0.9 * share)) + Duration::from_millis(20);
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() >= deadline => break None,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        if let Some(status) = status {
            assert_eq!(status.code(), Some(0), "attempt {attempt}");
            if kills >= 2 {
                break;
            }
            // Too quick to be killed: start over.
            fs::remove_dir_all(&stormy).unwrap();
            kills = 0;
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills >= 2, "the run was killed only {kills} times");
    for file in ["model.safetensors", "metrics.jsonl"] {
        assert!(fs::read(calm.join(file)).unwrap() == fs::read(stormy.join(file)).unwrap(), "{file} differs");
    }
    let (calm, stormy) = (summary(&calm), summary(&stormy));
    for key in ["validation", "test", "best_test_epoch", "parameters", "rounds", "lambda"] {
        assert_eq!(calm[key], stormy[key], "{key}");
    }
}

fn summary(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap()
}

/// Recording the test score of every epoch changes no bit of what is trained and delivered, and the best one is that of the
/// epochs at the lambda that is delivered.
#[test]
fn the_best_test_epoch_is_recorded_and_plays_no_part() {
    let temporary = tempfile::tempdir().unwrap();
    // Two rounds, because nothing pushes the first to certify; nor does the second, which does not matter here.
    let plain = ["certify.during_training=0", "repair.method=off", "train.epochs=60", "certify.candidates=3"];
    let plain = [&plain[..], &["escalation.lambda=1e-9", "escalation.lambda_growth=1e10"]].concat();
    let plain: Vec<&str> = plain.into_iter().flat_map(|text| ["--set", text]).collect();
    let (without, with) = (temporary.path().join("without"), temporary.path().join("with"));
    let status = |folder: &Path, more: &[&str]| smoke(folder, &[&plain[..], more].concat()).status.code();
    assert_eq!(status(&without, &[]), Some(1));
    assert_eq!(status(&with, &["--set", "train.best_test_epoch=true"]), Some(1));
    for file in ["model.safetensors", "rounds/00/model.safetensors", "certificate.jsonl"] {
        assert!(fs::read(without.join(file)).unwrap() == fs::read(with.join(file)).unwrap(), "{file} differs");
    }
    let metrics = |folder: &Path| -> Vec<serde_json::Value> {
        let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let recorded = metrics(&with);
    let mut stripped = recorded.clone();
    stripped.iter_mut().for_each(|line| drop(line.as_object_mut().unwrap().remove("test").unwrap()));
    assert_eq!(stripped, metrics(&without));

    let (without, with) = (summary(&without), summary(&with));
    assert_eq!((&without["best_test_epoch"], &with["rounds"]), (&serde_json::Value::Null, &2.into()));
    assert_eq!(with["test"], without["test"]);
    let errors = |round: u64| -> Vec<f64> {
        let of_round = recorded.iter().filter(|line| line["round"] == round);
        of_round.map(|line| line["test"]["rmse"].as_f64().unwrap()).collect()
    };
    let least = |round: u64| errors(round).into_iter().min_by(f64::total_cmp).unwrap();
    assert_eq!(errors(1).len(), 60);
    let best = with["best_test_epoch"]["rmse"].as_f64().unwrap();
    assert_eq!(best, least(1));
    assert_ne!(best, least(0));
    // The epoch that is delivered is one of them, to the rounding of `f32`.
    let delivered = with["test"]["rmse"].as_f64().unwrap();
    assert!(errors(1).iter().any(|error| (error - delivered).abs() < 1e-5) && best <= delivered + 1e-5);

    let ensemble =
        smoke(&temporary.path().join("ensemble"), &["--set", "train.best_test_epoch=true", "--set", "ensemble=2"]);
    assert!(text(&ensemble.stderr).contains("train.best_test_epoch = true"), "{}", text(&ensemble.stderr));
}

/// Times are added up over interruptions, and say what took them.
#[test]
fn a_resumed_run_counts_the_time_before() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let one_round = ["--set", "escalation.round_limit=1", "--set", "train.epochs=20"];
    let mut child =
        orchestrator(&[&["configs/smoke.toml", "--out", folder.to_str().unwrap()][..], &one_round].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !folder.join("rounds/00/attempt-0.safetensors").exists() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "no checkpoint was written");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let spent = folder.join("rounds/00/spent.json");
    if !spent.exists() {
        println!("skipped: the run was over before it could be killed");
        return;
    }
    // An hour and two that nobody could spend here.
    fs::write(&spent, "{ \"training_s\": 3600, \"certification_s\": 7200 }").unwrap();
    smoke(&folder, &[&["--resume"], &one_round[..]].concat());
    let summary = summary(&folder);
    let number = |key: &str| summary[key].as_f64().unwrap();
    assert!((3600.0..3660.0).contains(&number("training_seconds")), "{summary}");
    assert!((7200.0..7260.0).contains(&number("certification_seconds")), "{summary}");
    assert!(number("seconds") < 60.0 && !spent.exists(), "{summary}");
    let model = certificate::Model::load(&folder.join("model.safetensors")).unwrap();
    assert_eq!(summary["parameters"], model.network.parameters());
}

/// `compare` of the smoke configuration, short, over two re-splits.
fn compare(folder: &Path, more: &[&str]) -> Output {
    let mut args = vec!["compare", "configs/smoke.toml", "--splits", "2", "--format", "json", "--trees-settings", "2"];
    args.extend(["--set", "train.epochs=6", "--set", "escalation.round_limit=1"]);
    args.extend(["--out", folder.to_str().unwrap()]);
    args.extend(more);
    run(&args)
}

/// The means and differences in a table of `comparison.json`, once more.
fn check_table(table: &serde_json::Value) {
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let rows = table["resplits"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["split"].as_str().unwrap()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(table["official"]["split"], "official");
    let difference = |row: &serde_json::Value| number(&row["paired"]["first"]) - number(&row["paired"]["second"]);
    let found: Vec<f64> = rows.iter().map(difference).collect();
    for (row, difference) in rows.iter().zip(&found) {
        assert!((number(&row["paired"]["difference"]) - difference).abs() < 1e-9);
    }
    let summary = &table["summary"];
    assert!((number(&summary["difference"]) - (found[0] + found[1]) / 2.0).abs() < 1e-9);
    // Of two numbers the standard deviation over the root of two is half their distance.
    assert!((number(&summary["standard_error"]) - (found[0] - found[1]).abs() / 2.0).abs() < 1e-9);
}

#[test]
fn a_comparison_with_trees_resumes_and_adds_up() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("against-trees");
    let first = compare(&folder, &["--trees", "--seeds", "2"]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let comparison: serde_json::Value =
        serde_json::from_slice(&first.stdout).expect("one JSON object and nothing else");
    assert_eq!(comparison["metric"], "rmse");
    assert!(comparison["test_rows"].as_str().unwrap().contains("nothing in these runs was chosen"));
    assert_eq!(comparison["methods"][1]["name"], "trees");
    assert_eq!(comparison["methods"][0]["certified"]["of"], 6);
    check_table(&comparison["single"]);
    check_table(&comparison["ensemble"]);
    let runs = comparison["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 12);
    // Rents from 200 to 1,800: errors are in that unit. Single scores are the means over the seeds.
    let score = |method: &str, split: &str| {
        let of = |run: &&serde_json::Value| run["method"] == method && run["split"] == split;
        let scores: Vec<f64> = runs.iter().filter(of).map(|run| run["score"].as_f64().unwrap()).collect();
        assert!(scores.len() == 2 && scores.iter().all(|score| (10.0..800.0).contains(score)), "{scores:?}");
        (scores[0] + scores[1]) / 2.0
    };
    let official = &comparison["single"]["official"]["paired"];
    assert!((official["first"].as_f64().unwrap() - score("smoke", "official")).abs() < 1e-9);
    assert!((official["second"].as_f64().unwrap() - score("trees", "official")).abs() < 1e-9);
    let stored: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("comparison.json")).unwrap()).unwrap();
    assert_eq!(stored, comparison);

    // Again: nothing is run, the result is the same. One run and one tuning taken away: they alone are made again.
    let again = compare(&folder, &["--trees", "--seeds", "2"]);
    assert_eq!(again.stdout, first.stdout);
    assert!(!text(&again.stderr).contains("split "), "{}", text(&again.stderr));
    fs::remove_dir_all(folder.join("smoke/1-1")).unwrap();
    fs::remove_file(folder.join("trees/2.json")).unwrap();
    let again = compare(&folder, &["--trees", "--seeds", "2"]);
    let progress = text(&again.stderr);
    assert_eq!(progress.matches("split ").count(), 2, "{progress}");
    assert!(progress.contains("split 1: smoke, seed 1") && progress.contains("split 2: tuning trees"), "{progress}");
    let repeated: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    for table in ["single", "ensemble"] {
        assert_eq!(repeated[table], comparison[table], "the same runs gave other numbers");
    }

    // What was made in another way is not mixed in.
    let other = compare(&folder, &["--trees=fit", "--seeds", "2"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("another way"), "{}", text(&other.stderr));
    let other = compare(&folder, &["--trees", "--set", "train.epochs=7"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("another configuration"), "{}", text(&other.stderr));
    fs::write(folder.join("manifest.toml"), "format = 0").unwrap();
    let other = compare(&folder, &["--trees", "--seeds", "2"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("manifest has changed"), "{}", text(&other.stderr));
}

#[test]
fn a_configuration_equals_itself_and_differs_from_another() {
    let temporary = tempfile::tempdir().unwrap();
    let same = compare(&temporary.path().join("same"), &["configs/smoke.toml"]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stderr));
    let same: serde_json::Value = serde_json::from_slice(&same.stdout).unwrap();
    assert_eq!(same["methods"][1]["name"], "smoke-other");
    assert_eq!(same["single"]["summary"]["difference"], 0.0);
    assert!(same.get("ensemble").is_none());

    let other = ["configs/smoke.toml", "--set-other", "architecture.hidden=4", "--splits=1", "--format=text"];
    let args =
        ["compare", "configs/smoke.toml", "--set", "train.epochs=6", "--set", "escalation.round_limit=1", "--out"];
    let folder = temporary.path().join("other");
    let different = run(&[&args[..], &[folder.to_str().unwrap()], &other[..]].concat());
    let table = text(&different.stdout);
    assert_eq!(different.status.code(), Some(0), "{}", text(&different.stderr));
    assert!(table.contains("nothing in these runs was chosen with the test rows"), "{table}");
    assert!(table.contains("--set architecture.hidden=4"), "{table}");
    let row = table.lines().find(|line| line.starts_with("official")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_ne!(cells[1], cells[2], "{row}");
}

#[test]
fn a_comparison_is_stopped_and_goes_on() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("stopped");
    let args = ["compare", "configs/smoke.toml", "--trees", "--splits", "1", "--trees-settings", "1", "--out"];
    let args = [&args[..], &[folder.to_str().unwrap()]].concat();
    let child = orchestrator(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // As soon as the first run has begun.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !folder.join("smoke/official-0/run.json").exists() {
        assert!(Instant::now() < deadline, "nothing was begun");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let stopped = child.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{}", text(&stopped.stderr));
    assert!(stopped.stdout.is_empty() && !folder.join("comparison.json").exists());
    let resumed = run(&args);
    assert_eq!(resumed.status.code(), Some(0), "{}", text(&resumed.stderr));
    assert!(folder.join("comparison.json").exists());
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("refused");
    let refused = |more: &[&str], words: &[&str]| {
        let output = compare(&folder, more);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{more:?}: {word} is missing in\n{message}");
        }
        assert!(!folder.exists(), "{more:?} left a folder");
    };
    refused(&[], &["--trees"]);
    refused(&["configs/smoke.toml", "--trees"], &["--trees"]);
    refused(&["configs/compas.toml"], &["different data sets", "compas", "example"]);
    refused(
        &["configs/smoke.toml", "--set-other", "data.split=file_order"],
        &["split the rows differently", "file_order"],
    );
    refused(&["configs/smoke.toml", "--set-other", "data.split_seed=5"], &["split the rows differently", "seed 5"]);
    refused(&["--trees", "--seeds", "0"], &["--seeds"]);
    refused(&["--trees", "--set", "train.epoch=1"], &["train.epoch", "did you mean"]);
}

/// Every way to ask for something impossible: exit status 2, a message that names what is wrong, and no folder.
#[test]
fn bad_input_is_named_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let refused = |more: &[&str], words: &[&str]| {
        let output = smoke(&folder, more);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{more:?}: {word} is missing in\n{message}");
        }
        assert!(!folder.exists(), "{more:?} left a folder");
    };
    refused(&["--set", "train.epoch=5"], &["train", "unknown field `epoch`", "did you mean `epochs`"]);
    refused(&["--set", "train.epochs=fast"], &["train.epochs", "fast"]);
    refused(&["--set", "train.epochs=0"], &["train.epochs", "at least 1"]);
    refused(&["--set", "train.epochs"], &["key=value"]);
    refused(&["--set", "train.learning_rate=nan"], &["train.learning_rate", "finite"]);
    refused(&["--set", "escalation.lambda_growth=1"], &["escalation.lambda_growth", "above 1"]);
    refused(&["--set", "architecture.hidden=0"], &["hidden", "at least 1"]);
    refused(&["--set", "train.backend=tpu"], &["train.backend", "tpu", "cpu"]);
    refused(&["--set", "train.backend=cuda"], &["cuda", "not compiled in", "--features"]);
    refused(&["--set", "certify.engine=gurobi"], &["certify.engine", "gurobi", "cbc"]);
    refused(&["--set", "data.split=mine"], &["mine"]);
    refused(&["--set", "data.manifest=nowhere.toml"], &["nowhere.toml"]);
    refused(&["--set", "name=../x"], &["name"]);
    assert_eq!(run(&["configs/nowhere.toml"]).status.code(), Some(2));
    assert_eq!(run(&[]).status.code(), Some(2));
}

#[test]
fn an_error_in_the_file_points_at_its_line() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("x.toml");
    fs::write(&file, "name = \"x\"\nsed = 1\n[data]\nmanifest = \"m.toml\"\n").unwrap();
    let output = run(&[file.to_str().unwrap()]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    for words in ["x.toml", "line 2", "unknown field `sed`", "did you mean `seed`"] {
        assert!(message.contains(words), "{words} is missing in\n{message}");
    }
}

#[test]
fn a_folder_is_neither_overwritten_nor_resumed_by_another_configuration() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let short = ["--set", "train.epochs=2", "--set", "escalation.round_limit=1"];
    smoke(&folder, &short);
    let before = fs::read(folder.join("metrics.jsonl")).unwrap();
    let again = smoke(&folder, &short);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("--resume"), "{}", text(&again.stderr));
    let other = smoke(&folder, &["--resume", "--set", "train.epochs=3"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("another configuration"), "{}", text(&other.stderr));
    assert!(text(&other.stderr).contains("epochs = 2"), "{}", text(&other.stderr));
    assert_eq!(fs::read(folder.join("metrics.jsonl")).unwrap(), before);
    let nothing = smoke(&temporary.path().join("nothing"), &["--resume"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("no run to resume"), "{}", text(&nothing.stderr));
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    let output = smoke(&file.join("run"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("file/run"), "{}", text(&output.stderr));
}

/// Without a penalty the network is not monotone: exit status 1, and a report that says so first.
#[test]
fn an_unpenalised_network_is_refuted() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let plain = ["escalation.lambda=0", "train.epochs=60", "certify.candidates=3", "repair.method=off"];
    let output = smoke(&folder, &plain.map(|text| ["--set", text]).concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(!report.contains("certified monotone"), "{report}");
    let found = fs::read_to_string(folder.join("counterexamples.json")).unwrap();
    assert!(found.contains("\"drop\""), "{found}");
}

#[test]
fn the_resolved_configuration_can_be_run_again() {
    let temporary = tempfile::tempdir().unwrap();
    let output = run(&["config", "configs/smoke.toml", "--set", "train.epochs=7"]);
    assert_eq!(output.status.code(), Some(0));
    let file = temporary.path().join("resolved.toml");
    fs::write(&file, &output.stdout).unwrap();
    assert_eq!(run(&["config", file.to_str().unwrap()]).stdout, output.stdout);
    assert!(text(&output.stdout).contains("epochs = 7"));
}

/// A model whose first output rises with `priors` and whose second falls. The difference is the worked example of
/// `docs/certificate-format.md`, whose proof needs a search.
fn two_outputs(folder: &Path) -> PathBuf {
    use certificate::{Activation, Affine, Block, Direction, Domain, Model, ModelFeature, Network, Target};
    let first = Affine::new(2, vec![1.0, 1.0, 1.0, -1.0, 1.0, 0.0, 1.0, 0.25], vec![-1.0, 0.0, -0.75, -1.0]).unwrap();
    let second = Affine::new(4, vec![1.0, 2.0, 0.0, 0.0, -1.0, 0.0, 0.5, 0.5], vec![0.0; 2]).unwrap();
    let feature = |name: &str, direction| ModelFeature::linear(name, direction, 0.0, 40.0);
    let model = Model {
        network: Network::new(vec![Block::new(first, Activation::Relu, second).unwrap()], vec![]).unwrap(),
        features: vec![feature("priors", Direction::Increasing), feature("age", Direction::Free)],
        domain: Domain::unit_cube(2),
        target: Target::Regression { column: "y".into(), minimum: 0.0, maximum: 1.0 },
    };
    let file = folder.join("model.safetensors");
    model.save(&file).unwrap();
    file
}

#[test]
fn verify_refutes_outputs_and_certifies_their_difference() {
    let temporary = tempfile::tempdir().unwrap();
    let model = two_outputs(temporary.path());
    let verify = |more: &[&str]| run(&[&["verify", model.to_str().unwrap()], more].concat());

    // The claim of the model file: the second output falls.
    let refuted = verify(&[]);
    let said = text(&refuted.stdout);
    assert_eq!(refuted.status.code(), Some(1), "{said}{}", text(&refuted.stderr));
    for words in ["verdict     refuted", "output 2 falls", "priors", " -> ", "certificate.jsonl (checked)"] {
        assert!(said.contains(words), "{words} is missing in\n{said}");
    }
    let beside = temporary.path().join("certificate.jsonl");
    let check = |certificate: &Path| run(&["check", certificate.to_str().unwrap(), model.to_str().unwrap()]);
    let checked = check(&beside);
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked.stdout).contains("output 2 falls"), "{}", text(&checked.stdout));
    assert!(!text(&checked.stdout).contains("WARNING"), "{}", text(&checked.stdout));

    // Another claim does not take the place of that certificate, the same claim does.
    let claim = temporary.path().join("claim.toml");
    fs::write(&claim, "rows = [[1, -1]]\ninput_box = [{ lower = 0, upper = 1 }, { lower = 0.25, upper = 1 }]\n")
        .unwrap();
    let before = fs::read(&beside).unwrap();
    let blocked = verify(&["--domain", claim.to_str().unwrap()]);
    assert_eq!(blocked.status.code(), Some(2));
    for words in ["certificate.jsonl", "another claim", "--out"] {
        assert!(text(&blocked.stderr).contains(words), "{}", text(&blocked.stderr));
    }
    assert_eq!(verify(&[]).status.code(), Some(1));
    assert_eq!(fs::read(&beside).unwrap(), before);
    let out = temporary.path().join("claims/difference");
    let certified = verify(&["--domain", claim.to_str().unwrap(), "--out", out.to_str().unwrap(), "--format", "json"]);
    assert_eq!(certified.status.code(), Some(0), "{}", text(&certified.stderr));
    let said: serde_json::Value = serde_json::from_slice(&certified.stdout).expect("one JSON object and nothing else");
    assert_eq!(said["verdict"], "certified");
    let query = &said["queries"][0];
    assert_eq!((query["row"].as_str(), query["input"].as_str()), (Some("output 1 - output 2"), Some("priors")));
    assert!(query["proven_lower_bound"].as_f64().unwrap() >= 0.0, "{said}");
    assert_eq!(said["queries"].as_array().unwrap().len(), 1);
    assert_eq!(said["differences"].as_array().unwrap().len(), 2, "{said}");

    // An attempt that comes to nothing does not take its place, and leaves nothing in an empty folder.
    let proof = out.join("certificate.jsonl");
    let before = fs::read(&proof).unwrap();
    let hurried = |out: &Path| {
        verify(&["--domain", claim.to_str().unwrap(), "--out", out.to_str().unwrap(), "--time-limit", "0"])
    };
    let stopped = hurried(&out);
    assert_eq!(stopped.status.code(), Some(3), "{}", text(&stopped.stderr));
    for words in ["undecided (the time limit was reached)", "--time-limit", "an earlier one, kept"] {
        assert!(text(&stopped.stdout).contains(words), "{words} is missing in\n{}", text(&stopped.stdout));
    }
    assert_eq!(fs::read(&proof).unwrap(), before);
    let empty = temporary.path().join("claims/empty");
    assert_eq!(hurried(&empty).status.code(), Some(3));
    assert!(fs::read_dir(&empty).unwrap().next().is_none());

    // Whoever checks it is told that it is not what the model file states.
    let checked = check(&out.join("certificate.jsonl"));
    let said = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{said}");
    for words in
        ["claimed is output 1 - output 2", "WARNING: this is about smaller ranges", "WARNING: this is about comb"]
    {
        assert!(said.contains(words), "{words} is missing in\n{said}");
    }
    let files = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(files(&out), ["certificate.jsonl"]);
    assert_eq!(files(temporary.path()), ["certificate.jsonl", "claim.toml", "claims", "model.safetensors"]);
}

/// What is certified increasing is refuted decreasing.
#[test]
fn verify_refutes_the_difference_in_the_other_direction() {
    let temporary = tempfile::tempdir().unwrap();
    let model = two_outputs(temporary.path());
    let [claim, out] = ["claim.toml", "down"].map(|name| temporary.path().join(name));
    fs::write(&claim, "rows = [[1, -1]]\ndirections = [\"decreasing\", \"free\"]\n").unwrap();
    let [model, claim] = [&model, &claim].map(|path| path.to_str().unwrap());
    let refuted = run(&["verify", model, "--domain", claim, "--out", out.to_str().unwrap()]);
    assert_eq!(refuted.status.code(), Some(1), "{}", text(&refuted.stderr));
    assert!(text(&refuted.stdout).contains("output 1 - output 2 falls"), "{}", text(&refuted.stdout));
    let checked = text(&run(&["check", out.join("certificate.jsonl").to_str().unwrap(), model]).stdout);
    assert!(checked.contains("WARNING: these are not the directions"), "{checked}");
    assert!(checked.contains("priors is decreasing here and increasing there"), "{checked}");
}

/// As in `orchestrator ... | head`.
#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let mut command = orchestrator(&["config", "configs/smoke.toml"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
}

/// The claim that the README shows is one.
#[test]
fn the_claim_in_the_readme_is_read() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let shown = readme.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    let temporary = tempfile::tempdir().unwrap();
    let (model, claim) = (two_outputs(temporary.path()), temporary.path().join("claim.toml"));
    fs::write(&claim, shown).unwrap();
    let output = run(&["verify", model.to_str().unwrap(), "--domain", claim.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

/// Every way in which a claim can be wrong: the file and the key are named, with what to do, and nothing is written.
#[test]
fn a_claim_that_makes_no_sense_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let model = two_outputs(temporary.path());
    let claim = temporary.path().join("claim.toml");
    let refused = |toml: &str, words: &[&str]| {
        fs::write(&claim, toml).unwrap();
        let output = run(&["verify", model.to_str().unwrap(), "--domain", claim.to_str().unwrap()]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{toml}: {message}");
        for word in words.iter().chain(&["claim.toml"]) {
            assert!(message.contains(word), "{toml}: {word} is missing in\n{message}");
        }
        assert!(!temporary.path().join("certificate.jsonl").exists(), "{toml} left a certificate");
    };
    refused("row = [[1, 1]]", &["unknown field `row`", "did you mean `rows`"]);
    refused("rows = [[1, 1]", &["line 1"]);
    refused("rows = []", &["rows", "at least one", "leave them out"]);
    refused("rows = [[1]]", &["rows", "row 0", "expected 2 coefficients"]);
    refused("rows = [[1, -1], [0, 0]]", &["rows", "row 1 is empty"]);
    refused("rows = [[nan, 1]]", &["rows", "finite"]);
    refused("rows = [[1, 1e300]]", &["rows", "finite"]);
    refused("rows = [[\"1\", 1]]", &["rows", "string"]);
    refused("directions = [\"up\", \"free\"]", &["directions", "`up`", "`increasing`"]);
    refused("directions = [\"free\"]", &["directions", "expected 2", "priors, age", "found 1"]);
    refused("input_box = [{ lower = 0, upper = 1 }]", &["input_box", "expected 2", "priors, age"]);
    refused("input_box = [{ lower = 1, upper = 0 }, { lower = 0, upper = 1 }]", &["input_box", "input 0"]);
    refused("one_hot = [[0, 1]]", &["directions", "priors", "one-hot group"]);
    refused("integer = [{ input = 7, steps = 3 }]", &["integer", "input 7 does not exist"]);
    let nowhere = run(&["verify", model.to_str().unwrap(), "--domain", "nowhere.toml"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(text(&nowhere.stderr).contains("nowhere.toml"));
    assert_eq!(run(&["verify", "nowhere.safetensors"]).status.code(), Some(2));
}
