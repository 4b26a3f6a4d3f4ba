//! `orchestrator baseline` as its users meet it: through its command line and what it leaves in the run folder.

mod command;

use std::fs;
use std::path::Path;
use std::process::Output;

use certificate::{Direction, Model};
use command::{repository, run, text};
use proptest::prelude::*;
use serde_json::Value;
use train::baselines::non_negative;
use train::data::{DataSet, DomainKind};
use train::penalty::{GradientPenalty, Pooling};
use train::{Architecture, Backend, Training};

/// A short training into `folder`.
fn baseline(kind: &str, config: &str, folder: &Path, more: &[&str]) -> Output {
    let mut args = vec!["baseline", kind, config, "--out", folder.to_str().unwrap(), "--format", "json"];
    args.extend(["--set", "train.epochs=8", "--trees-settings", "2"]);
    args.extend(more);
    run(&args)
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("one JSON object and nothing else")
}

fn read(folder: &Path, name: &str) -> Value {
    json(&fs::read(folder.join(name)).unwrap())
}

/// What must not depend on place and time.
fn found(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let mut summary = json(&output.stdout);
    let object = summary.as_object_mut().unwrap();
    assert!(object.remove("run").is_some() && object.remove("seconds").unwrap().as_f64().unwrap() > 0.0);
    assert!(object.remove("training_seconds").unwrap().as_f64().unwrap() > 0.0);
    summary
}

const SMOKE: &str = "configs/smoke.toml";
const COMPAS: &str = "configs/compas.toml";

#[test]
fn every_kind_leaves_the_files_of_a_finished_run() {
    let temporary = tempfile::tempdir().unwrap();
    for (kind, verdict, parameters) in [
        ("trees", "by construction", None),
        ("linear", "none", Some(6)),
        ("min-max", "by construction", Some(2 * 3 * 6)),
        // By hand, first monotone, then free branch: both layers of both blocks, but one last layer.
        ("non-negative", "certified", Some(48 + 32 + 27 + 27 + 56 + 32 + 17)),
    ] {
        let folder = temporary.path().join(kind);
        let output = baseline(kind, SMOKE, &folder, &["--set", "min_max={groups=2, planes=3}"]);
        let summary = found(&output);
        assert_eq!(json(&output.stdout), read(&folder, "summary.json"));
        assert_eq!((summary["verdict"].as_str(), summary["lambda"].as_f64()), (Some(verdict), None), "{kind}");
        for part in ["validation", "test"] {
            let rmse = summary[part]["rmse"].as_f64().unwrap();
            assert!(rmse > 0.0 && rmse < 0.5, "{kind}, {part}: {rmse}");
        }
        let record = read(&folder, "baseline.json");
        assert_eq!(record["kind"], kind);
        let counted = record["parameters"].as_u64().unwrap();
        assert!(parameters.map_or(counted > 100, |expected| counted == expected), "{record}");
        assert!(record["settings"].as_object().is_some_and(|chosen| !chosen.is_empty()), "{record}");
        assert_eq!(read(&folder, "run.json")["status"], "finished");
        assert!(fs::read_to_string(folder.join("config.toml")).unwrap().contains("epochs = 8"));
        assert_eq!(folder.join("model.safetensors").exists(), kind == "non-negative");
        assert_eq!(folder.join("metrics.jsonl").exists(), parameters.is_some() && kind != "linear");
        // Its page would tell of rounds.
        let report = run(&["report", folder.to_str().unwrap()]);
        assert_eq!(report.status.code(), Some(2));
        assert!(text(&report.stderr).contains("a baseline"), "{}", text(&report.stderr));
    }
    let file = |name: &str| temporary.path().join("non-negative").join(name).to_str().unwrap().to_owned();
    let check = run(&["check", &file("certificate.jsonl"), &file("model.safetensors")]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
}

#[test]
fn the_same_seed_gives_the_same_summary() {
    let temporary = tempfile::tempdir().unwrap();
    for (kind, config) in [("trees", SMOKE), ("linear", SMOKE), ("min-max", COMPAS), ("non-negative", COMPAS)] {
        let one = |name: &str, seed: &str| {
            let folder = temporary.path().join(format!("{kind}-{name}"));
            found(&baseline(kind, config, &folder, &["--set", seed]))
        };
        let (first, again, other) = (one("first", "seed=7"), one("again", "seed=7"), one("other", "seed=8"));
        assert_eq!(first, again);
        // A convex programme has one minimum.
        assert_eq!(first == other, kind == "linear", "{kind}");
        if config == COMPAS {
            // Better than the share of the more frequent class.
            let loss = first["test"]["loss"].as_f64().unwrap();
            assert!(loss < 0.689 && first["test"]["accuracy"].as_f64().unwrap() > 0.55, "{kind}: {first}");
        }
    }
    let model = |name: &str| fs::read(temporary.path().join(format!("non-negative-{name}/model.safetensors"))).unwrap();
    assert!(model("first") == model("again") && model("first") != model("other"));
}

#[test]
fn what_was_stopped_leaves_no_summary_and_is_begun_anew() {
    let temporary = tempfile::tempdir().unwrap();
    let calm = found(&baseline("non-negative", SMOKE, &temporary.path().join("calm"), &[]));
    for kind in ["trees", "non-negative"] {
        let folder = temporary.path().join(kind);
        // Standard input is at its end at once.
        let stopped = baseline(kind, SMOKE, &folder, &["--follow-stdin"]);
        assert_eq!(stopped.status.code(), Some(130), "{}", text(&stopped.stderr));
        assert!(stopped.stdout.is_empty() && !folder.join("summary.json").exists());
        assert!(read(&folder, "baseline.json")["parameters"].is_null());
        // Whatever was left there last time.
        fs::write(folder.join("metrics.jsonl"), "half a li").unwrap();
        let again = found(&baseline("non-negative", SMOKE, &folder, &[]));
        assert_eq!(again, calm);
        assert!(fs::read_to_string(folder.join("metrics.jsonl")).unwrap().starts_with('{'));
        let finished = baseline("non-negative", SMOKE, &folder, &[]);
        assert_eq!(finished.status.code(), Some(2), "a finished one is kept");
        assert!(text(&finished.stderr).contains("not empty"), "{}", text(&finished.stderr));
    }
    // Killed when there was nothing but the configuration.
    let folder = temporary.path().join("young");
    fs::create_dir(&folder).unwrap();
    fs::copy(temporary.path().join("calm/config.toml"), folder.join("config.toml")).unwrap();
    assert_eq!(found(&baseline("non-negative", SMOKE, &folder, &[])), calm);
    // A training run that can be resumed is not touched.
    let folder = temporary.path().join("training");
    fs::create_dir_all(folder.join("rounds")).unwrap();
    fs::copy(temporary.path().join("calm/config.toml"), folder.join("config.toml")).unwrap();
    assert_eq!(baseline("non-negative", SMOKE, &folder, &[]).status.code(), Some(2));
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_written() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    for (kind, more, words) in [
        ("forest", &[][..], "non-negative"),
        ("linear", &["--set", "seeed=1"], "seeed"),
        ("min-max", &["--set", "min_max.groups=0"], "min_max.groups must be at least 1"),
        ("non-negative", &["--set", "architecture.hidden=0"], "hidden must be at least 1"),
        ("non-negative", &["--set", "data.split=none"], "none"),
    ] {
        let output = baseline(kind, SMOKE, &folder, more);
        assert_eq!(output.status.code(), Some(2), "{kind} {more:?}");
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
        assert!(!folder.exists());
    }
    let broken = baseline("min-max", SMOKE, &folder, &["--set", "train.learning_rate=1e30"]);
    assert_eq!(broken.status.code(), Some(2));
    assert!(text(&broken.stderr).contains("training broke down"), "{}", text(&broken.stderr));
}

fn architectures() -> impl Strategy<Value = Architecture> {
    let reduce_free = || prop::option::of(1_usize..3);
    prop_oneof![
        (1_usize..5, 1_usize..4, reduce_free()).prop_map(|(depth, half, reduce_free)| Architecture::Paper {
            depth,
            width: 2 * half,
            reduce_free
        }),
        (1_usize..6, 1_usize..4, reduce_free()).prop_map(|(hidden, bottleneck, reduce_free)| Architecture::TwoBranch {
            hidden,
            bottleneck,
            reduce_free
        }),
    ]
}

/// Monotone or not, the example's five features in any direction; at least one is monotone.
fn directions() -> impl Strategy<Value = Vec<Direction>> {
    let one = prop::sample::select(vec![Direction::Increasing, Direction::Decreasing, Direction::Free]);
    prop::collection::vec(one, 5).prop_filter("something is monotone", |d| d.iter().any(|d| *d != Direction::Free))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_non_negative_network_certifies(
        architecture in architectures(), directions in directions(), seed in any::<u64>()
    ) {
        let mut data = DataSet::load(&repository().join("datasets/example/manifest.toml"), None, None).unwrap();
        data.features.iter_mut().zip(&directions).for_each(|(feature, direction)| feature.direction = *direction);
        let training = Training {
            architecture, backend: Backend::Cpu, seed, round: 0, lambda: 0.0,
            penalty: GradientPenalty { margin: 0.2, pooling: Pooling::Mean },
            samples: 1, epochs: 2, batch_size: 32, learning_rate: 0.1, average_last: 0.5, candidates: 1,
        };
        let mut trainer = non_negative::trainer(training, &data).unwrap();
        while trainer.run_epoch().is_some() && !trainer.is_finished() {}
        let (_, network) = trainer.best().unwrap();
        let (engine, options, control) = (milp::Engine::BranchAndBound, milp::Options::default(), milp::Control::default());
        let claim = data.directions().into();
        let report = milp::verify_network(network, &data.domain(DomainKind::Box), &claim, engine, &options, control);
        prop_assert!(report.unwrap().verdict.is_certified());
    }
}

/// The model in the folder is the one that the summary is about.
#[test]
fn the_stored_network_has_the_scores_told() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("run");
    let summary = found(&baseline("non-negative", SMOKE, &folder, &[]));
    let data = DataSet::load(&repository().join("datasets/example/manifest.toml"), None, None).unwrap();
    let network = Model::load(&folder.join("model.safetensors")).unwrap().network;
    let error = |(x, y): (&[f32], &f32)| {
        let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        (network.evaluate(&x)[0] - f64::from(*y)).powi(2)
    };
    let rows = || data.test.x.chunks(data.features.len()).zip(&data.test.y);
    let rmse = (rows().map(error).sum::<f64>() / data.test.len() as f64).sqrt();
    assert!((summary["test"]["rmse"].as_f64().unwrap() - rmse).abs() < 1e-12);
}
