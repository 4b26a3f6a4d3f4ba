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
    assert!(lines[1].contains(",2,2,") && lines[1].ends_with(",0.1"), "{table}");
    // The numbers are those of the runs.
    let mean = |hidden: u32| {
        let rmse = |seed: u32| rmse(&out, &format!("smoke-hidden-{hidden}-{seed}"));
        (rmse(3) + rmse(4)) / 2.0
    };
    let place = lines[0].split(',').position(|name| name == "test scaled RMSE: mean").expect("a column of test scores");
    for (line, hidden) in [(lines[1], 4), (lines[2], 6)] {
        // The name, which has a comma in it, is two fields here.
        let found: f64 = line.split(',').nth(place + 1).unwrap().parse().unwrap();
        assert!((found - mean(hidden)).abs() < 1e-12, "{table}");
    }
    // Nothing is run again.
    let written = || {
        let runs = fs::read_dir(out.join("runs")).unwrap().map(|run| run.unwrap().path().join("summary.json"));
        let mut written: Vec<_> = runs.map(|file| (fs::metadata(&file).unwrap().modified().unwrap(), file)).collect();
        written.sort();
        written
    };
    let before = written();
    let again = batch(&["--format", "csv"]);
    assert_eq!(text(&again.stdout), table);
    assert!(before.len() == 4 && written() == before);
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
fn methods_are_run_one_by_one_and_added_later() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("batch");
    let batch = |widths: &[u32], more: &[&str]| {
        let file = sweep(temporary.path(), widths, 6, "", "");
        run(&[&["batch", file.to_str().unwrap(), "--out", out.to_str().unwrap()], more].concat())
    };
    let unknown = batch(&[4, 6], &["--method", "smoke, hidden 5"]);
    let said = text(&unknown.stderr);
    assert_eq!(unknown.status.code(), Some(2), "{said}");
    assert!(
        said.contains("unknown method `smoke, hidden 5`") && said.contains("did you mean `smoke, hidden"),
        "{said}"
    );
    assert!(!out.exists(), "nothing is begun");

    let one = batch(&[4, 6], &["--method", "smoke, hidden 6"]);
    assert_eq!(one.status.code(), Some(0), "{}", text(&one.stderr));
    assert!(text(&one.stdout).starts_with("Some widths: 2 of 4 runs so far\n"), "{}", text(&one.stdout));
    let summaries = || {
        let entries = fs::read_dir(out.join("runs")).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<_> =
            entries.map(|path| (path.clone(), fs::read(path.join("summary.json")).unwrap())).collect();
        found.sort();
        found
    };
    let first = summaries();
    assert_eq!(first.len(), 2);

    // A method before and one behind it: what was finished stays as it is.
    let grown = batch(&[3, 4, 6], &["--format", "csv"]);
    assert_eq!(grown.status.code(), Some(0), "{}", text(&grown.stderr));
    let table = text(&grown.stdout);
    let widths: Vec<&str> = table.lines().skip(1).map(|line| &line[1..16]).collect();
    assert_eq!(widths, ["smoke, hidden 3", "smoke, hidden 4", "smoke, hidden 6"], "{table}");
    let all = summaries();
    assert!(all.len() == 6 && first.iter().all(|run| all.contains(run)));
    assert_eq!(fs::read_to_string(out.join("manifest.jsonl")).unwrap().lines().count(), 6);
    assert_eq!(text(&run(&["table", out.to_str().unwrap(), "--format", "csv"]).stdout), table);
}

#[test]
fn a_failing_run_is_tried_twice_recorded_and_harms_nobody() {
    let temporary = tempfile::tempdir().unwrap();
    let file = sweep(temporary.path(), &[4, 6], 12, "", "");
    let out = temporary.path().join("batch");
    // A file where one run wants its folder.
    fs::create_dir_all(out.join("runs")).unwrap();
    fs::write(out.join("runs/smoke-hidden-4-4"), "in the way").unwrap();
    let output = run(&["batch", file.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(
        said.contains("smoke-hidden-4-4 failed, once more") && said.contains("smoke-hidden-4-4 failed after"),
        "{said}"
    );
    // Why, once when it happens and once in the end.
    let why = said.lines().filter(|line| line.contains("error: ")).collect::<Vec<_>>();
    assert!(why.len() == 2 && why[0].starts_with("  smoke-hidden-4-4: ") && why[1].starts_with("  1 x "), "{said}");
    assert!(said.contains("1 of 4 runs failed; what each said is in "), "{said}");
    let failures = fs::read_to_string(out.join("failures.jsonl")).unwrap();
    assert_eq!(failures.lines().count(), 1);
    assert!(failures.contains("smoke-hidden-4-4") && failures.contains("\"tries\":2"), "{failures}");
    let table = text(&output.stdout);
    assert!(table.starts_with("Some widths: 3 of 4 runs so far\n") && table.contains("  1 of 2  "), "{table}");
}

/// Each seed has the re-split that `compare` would take, and differences are those of the same seed.
#[test]
fn methods_are_compared_seed_by_seed_over_re_splits() {
    let temporary = tempfile::tempdir().unwrap();
    let config = repository().join("configs/smoke.toml");
    let method = |name: &str, hidden: u32| {
        format!(
            "[[method]]\nname = \"{name}\"\nconfig = {config:?}\nset = {{ \"train.epochs\" = 6, \"escalation.round_limit\" = 1, \
             \"architecture.hidden\" = {hidden} }}\n"
        )
    };
    let head = "name = \"tiny\"\ntitle = \"Wide and narrow\"\nseeds = 3\nresplits = true\nagainst = \"narrow\"\n";
    let columns = "columns = [\"method\", \"difference\", \"test\", \"negative_paths\"]\n";
    let file = temporary.path().join("sweep.toml");
    fs::write(&file, format!("{head}{columns}{}{}", method("wide", 8), method("narrow", 3))).unwrap();
    let out = temporary.path().join("batch");
    let batch =
        |more: &[&str]| run(&[&["batch", file.to_str().unwrap(), "--out", out.to_str().unwrap()], more].concat());
    let output = batch(&["--format", "csv"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(
        lines[0][..2],
        ["method", "test minus narrow (less is better) (± corrected for overlap): mean"],
        "{table}"
    );
    assert_eq!(lines[0][5], "test scaled RMSE over re-splits: mean", "{table}");

    // Seed k is drawn with k + 1, by the split with which `compare` draws.
    for (seed, name) in [(0, "wide"), (1, "narrow"), (2, "wide")] {
        let config = fs::read_to_string(out.join(format!("runs/{name}-{seed}/config.toml"))).unwrap();
        for words in [format!("seed = {seed}\n"), "split = \"random\"\n".into(), format!("split_seed = {}\n", seed + 1)]
        {
            assert!(config.contains(&words), "{words} is missing in\n{config}");
        }
    }
    // 128 rows to fit, 32 to validate, 40 to test.
    let differences: Vec<f64> =
        (0..3).map(|seed| rmse(&out, &format!("wide-{seed}")) - rmse(&out, &format!("narrow-{seed}"))).collect();
    let mean = differences.iter().sum::<f64>() / 3.0;
    let variance = differences.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 2.0;
    let expected = [mean, (variance / 3.0).sqrt(), (variance * (1.0 / 3.0 + 40.0 / 160.0)).sqrt(), 3.0];
    for (found, expected) in lines[1][1..5].iter().zip(expected) {
        assert!((found.parse::<f64>().unwrap() - expected).abs() < 1e-9, "{found} instead of {expected}\n{table}");
    }
    assert_eq!(lines[2][1..5], ["", "", "", ""], "a method has no difference to itself");

    // The share of negative weight paths is that of the stored networks.
    let share = |seed: u32| {
        let model = certificate::Model::load(&out.join(format!("runs/narrow-{seed}/model.safetensors"))).unwrap();
        let paths = certificate::WeightPaths::of(&model.network, &model.monotone_features());
        100.0 * paths.negative_share().unwrap()
    };
    assert_eq!(lines[0][7], "negative paths (%): mean", "{table}");
    let found: f64 = lines[2][7].parse().unwrap();
    assert!((found - (share(0) + share(1) + share(2)) / 3.0).abs() < 1e-9 && found > 0.0, "{table}");

    // The page about it says what its errors are about.
    assert_eq!(run(&["report", out.to_str().unwrap()]).status.code(), Some(0));
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("how much other rows and another initialisation change"), "{page}");
    assert!(page.contains("which random re-split of the rows its runs have"), "{page}");

    // Other columns of the same runs, in the same folder.
    fs::write(&file, format!("{head}{}{}", method("wide", 8), method("narrow", 3))).unwrap();
    let other = text(&batch(&[]).stdout);
    assert!(other.starts_with("Wide and narrow\n\nmethod  seeds"), "{other}");
    assert_eq!(text(&run(&["table", out.to_str().unwrap()]).stdout), other);
}

/// The error of a finished run on its test rows.
fn rmse(batch: &Path, id: &str) -> f64 {
    let text = fs::read_to_string(batch.join("runs").join(id).join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    summary["test"]["rmse"].as_f64().unwrap()
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
    let kind = batch(&second("baseline = \"tree\"\n"));
    assert!(kind.contains("unknown variant `tree`") && kind.contains("did you mean `trees`?"), "{kind}");
    let chosen = |top: &str, more: &str| {
        let file = sweep(temporary.path(), &[4, 6], 12, "", more);
        fs::write(&file, format!("{top}\n{}", fs::read_to_string(&file).unwrap())).unwrap();
        refused(&["batch", file.to_str().unwrap(), "--out", out.to_str().unwrap()])
    };
    let column = chosen("columns = [\"method\", \"sedes\"]", "");
    assert!(column.contains("unknown variant `sedes`") && column.contains("did you mean `seeds`?"), "{column}");
    assert!(chosen("columns = []", "").contains("at least one"));
    assert!(chosen("columns = [\"difference\"]", "").contains("needs `against"));
    let against = chosen("against = \"smoke, hidden 5\"", "");
    assert!(against.contains("unknown method `smoke, hidden 5`") && against.contains("did you mean `smoke, hidden"));
    let elsewhere = second("set = { \"data.split\" = \"file_order\" }\n");
    let rows = chosen("against = \"smoke, hidden 4\"", &elsewhere);
    assert!(rows.contains("`b` cannot be compared with `smoke, hidden 4`") && rows.contains("data.split"), "{rows}");
    let wbc = format!("[[method]]\nname = \"c\"\nconfig = {config:?}\nset = {{ \"data.split\" = \"nowhere\" }}\n");
    assert!(chosen("resplits = true", &wbc).contains("nowhere"));
    assert!(!out.exists(), "nothing is begun");

    let good = sweep(temporary.path(), &[4, 6], 12, "", "");
    let done = run(&["batch", good.to_str().unwrap(), "--out", out.to_str().unwrap(), "--quiet"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    // Other settings, fewer methods, an edited manifest, another version, a folder that is in use.
    for (widths, epochs) in [(&[4, 6], 13), (&[4, 5], 12)] {
        let file = sweep(temporary.path(), widths, epochs, "", "");
        let changed = refused(&["batch", file.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        assert!(
            changed.contains("was changed since this batch began") && changed.contains("run `smoke-hidden-"),
            "{changed}"
        );
    }
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
