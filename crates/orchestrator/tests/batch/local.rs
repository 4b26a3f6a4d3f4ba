//! Runs as worker processes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::command::{orchestrator, repository, run, text};
use super::{sweep, without_seconds};

#[test]
fn a_sweep_is_run_and_its_table_printed_in_every_format() {
    let temporary = tempfile::tempdir().unwrap();
    let file = sweep(temporary.path(), &[4, 6], 12, "", "");
    let out = temporary.path().join("batch");
    let batch =
        |more: &[&str]| run(&[&["batch", file.to_str().unwrap(), "--out", out.to_str().unwrap()], more].concat());
    let first = batch(&["--format", "csv"]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let table = text(&first.stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[1].starts_with("\"smoke, hidden 4\",") && lines[2].starts_with("\"smoke, hidden 6\","), "{table}");
    assert!(lines[1].contains("\"2 of 2\"") && lines[1].ends_with("\"0.1\""), "{table}");
    // The numbers are those of the runs.
    let mean = |hidden: u32| {
        let rmse = |seed: u32| {
            let folder = out.join(format!("runs/smoke-hidden-{hidden}-{seed}"));
            let summary: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(folder.join("summary.json")).unwrap()).unwrap();
            summary["test"]["rmse"].as_f64().unwrap()
        };
        (rmse(3) + rmse(4)) / 2.0
    };
    assert!(
        lines[1].contains(&format!("{:.4} ± ", mean(4))) && lines[2].contains(&format!("{:.4} ± ", mean(6))),
        "{table}"
    );
    // Nothing is run again.
    let begun = Instant::now();
    let again = batch(&["--format", "csv"]);
    assert_eq!(text(&again.stdout), table);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let print = |format: &str| text(&run(&["table", out.to_str().unwrap(), "--format", format]).stdout);
    assert!(print("text").starts_with("Some widths\n\nmethod"));
    assert!(print("markdown").contains("| smoke, hidden 4 |"));
    assert!(print("latex").contains("\\begin{tabular}") && print("latex").contains("$\\pm$"));
}

#[test]
fn an_interrupted_and_a_killed_batch_end_with_the_same_table() {
    let temporary = tempfile::tempdir().unwrap();
    let file = sweep(temporary.path(), &[4, 6], 12, "", "");
    let batch = |out: &Path| {
        let mut command = orchestrator(&[
            "batch",
            file.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
            "--format",
            "markdown",
            "--slots",
            "2",
        ]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let straight = batch(&temporary.path().join("straight")).output().unwrap();
    assert_eq!(straight.status.code(), Some(0), "{}", text(&straight.stderr));

    let out = temporary.path().join("stopped");
    let begun = |runs: usize| {
        let deadline = Instant::now() + Duration::from_secs(60);
        let configs = || {
            fs::read_dir(out.join("runs")).map_or(0, |entries| {
                entries
                    .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().join("metrics.jsonl").exists()))
                    .count()
            })
        };
        while configs() < runs {
            assert!(Instant::now() < deadline, "no run began");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let stopped = batch(&out).spawn().unwrap();
    begun(1);
    Command::new("kill").args(["-INT", &stopped.id().to_string()]).status().unwrap();
    let stopped = stopped.wait_with_output().unwrap();
    // On a quick machine all may be done by then.
    assert!(matches!(stopped.status.code(), Some(130 | 0)), "{:?} {}", stopped.status, text(&stopped.stderr));

    let mut killed = batch(&out).spawn().unwrap();
    begun(2);
    killed.kill().unwrap();
    killed.wait().unwrap();

    let ended = batch(&out).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    assert_eq!(without_seconds(&text(&ended.stdout)), without_seconds(&text(&straight.stdout)));
}

#[test]
fn a_failing_run_is_tried_twice_recorded_and_harms_nobody() {
    let temporary = tempfile::tempdir().unwrap();
    let file = sweep(temporary.path(), &[4, 6], 12, "", "");
    let out = temporary.path().join("batch");
    // A file where one run wants its folder.
    fs::create_dir_all(out.join("runs")).unwrap();
    fs::write(out.join("runs/smoke-hidden-4-4"), "in the way").unwrap();
    let output = run(&["batch", file.to_str().unwrap(), "--out", out.to_str().unwrap(), "--format", "csv"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(
        said.contains("smoke-hidden-4-4 failed, once more") && said.contains("smoke-hidden-4-4 failed after"),
        "{said}"
    );
    let failures = fs::read_to_string(out.join("failures.jsonl")).unwrap();
    assert_eq!(failures.lines().count(), 1);
    assert!(failures.contains("smoke-hidden-4-4") && failures.contains("\"tries\":2"), "{failures}");
    let table = text(&output.stdout);
    assert!(table.contains("\"1 of 2\"") && table.contains("\"2 of 2\""), "{table}");
}

#[test]
fn broken_sweeps_and_foreign_folders_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let refused = |args: &[&str]| {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
        text(&output.stderr)
    };
    let out = temporary.path().join("batch");
    let batch = |more: &str| {
        let file = sweep(temporary.path(), &[4, 6], 12, "", more);
        refused(&["batch", file.to_str().unwrap(), "--out", out.to_str().unwrap()])
    };
    assert!(batch("colour = 1\n").contains("unknown field"));
    assert!(batch("[[method]]\nname = \"a\"\nconfig = \"nothing.toml\"\n").contains("nothing.toml"));
    let config = repository().join("configs/smoke.toml");
    let second = |more: &str| format!("[[method]]\nname = \"b\"\nconfig = {config:?}\n{more}");
    assert!(batch(&second("grid = { \"train.epochs\" = [] }\n")).contains("no value for `train.epochs`"));
    assert!(batch(&second("set = { \"train.epoks\" = 3 }\n")).contains("train.epoks"));
    assert!(batch(&(second("") + &second(""))).contains("two methods have runs called `b-3`"));
    assert!(!out.exists(), "nothing is begun");

    let good = sweep(temporary.path(), &[4, 6], 12, "", "");
    let done = run(&["batch", good.to_str().unwrap(), "--out", out.to_str().unwrap(), "--quiet"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    // Another experiment, an edited manifest, another version, a folder that is in use.
    assert!(batch(&second("")).contains("was changed since this batch began"));
    let manifest = fs::read_to_string(out.join("manifest.jsonl")).unwrap();
    let good = sweep(temporary.path(), &[4, 6], 12, "", "");
    let again = || refused(&["batch", good.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    fs::write(out.join("manifest.jsonl"), manifest.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>())
        .unwrap();
    assert!(again().contains("the manifest was changed"));
    fs::write(out.join("manifest.jsonl"), &manifest).unwrap();
    let lock = fs::File::create(out.join("lock")).unwrap();
    lock.lock().unwrap();
    assert!(again().contains("another batch is working in this folder"));
    drop(lock);
    let header = fs::read_to_string(out.join("batch.json")).unwrap();
    fs::write(out.join("batch.json"), header.replace("\"format_version\": 1", "\"format_version\": 7")).unwrap();
    assert!(again().contains("found version 7"));
    assert!(refused(&["table", out.to_str().unwrap()]).contains("found version 7"));
}
