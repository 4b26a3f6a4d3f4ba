//! `orchestrator batch --engine slurm`: against stubs of `sbatch` and `squeue` everywhere, and against a real cluster where
//! `SLURM_CONF` names one (`.ci/slurm start FOLDER` makes one on this machine).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::command::{orchestrator, text};
use super::{sweep, without_seconds};

const WIDTHS: [u32; 3] = [4, 5, 6];

/// A folder with executable scripts, for the front of PATH.
fn stubs(folder: &Path, scripts: &[(&str, &str)]) -> String {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).unwrap();
    for (name, script) in scripts {
        let file = bin.join(name);
        fs::write(&file, format!("#!/bin/bash\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

fn batch_on_slurm(file: &Path, out: &Path) -> Command {
    orchestrator(&["batch", file.to_str().unwrap(), "--out", out.to_str().unwrap(), "--engine", "slurm"])
}

fn batch(file: &Path, out: &Path, path: &str, more: &[&str]) -> Output {
    batch_on_slurm(file, out).args(more).env("PATH", path).output().unwrap()
}

#[test]
fn arrays_are_chunked_throttled_and_collected() {
    let temporary = tempfile::tempdir().unwrap();
    // A cluster that takes everything, runs every task of an array at once, and is done with it.
    let sbatch = r#"
echo "$@" >> "$STUB/arguments"
n=$(($(cat "$STUB/count" 2>/dev/null || echo 100) + 1)); echo $n > "$STUB/count"
script="${@: -1}"
case "$script" in
  --wrap=*) bash -c "${script#--wrap=}" ;;
  *) last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$script")
     for k in $(seq 0 $last); do SLURM_ARRAY_TASK_ID=$k bash "$script" >&2; done ;;
esac
echo "$n;cluster""#;
    let path = stubs(temporary.path(), &[("sbatch", sbatch), ("squeue", "exit 0")]);
    let asked = "array_limit = 4\nthrottle = 2\npartition = \"short\"\ngpus = 1\nlines = [\"# mine\"]";
    let file = sweep(temporary.path(), &WIDTHS, 6, asked, "");
    let out = temporary.path().join("batch");
    let output = batch_on_slurm(&file, &out)
        .args(["--format", "markdown"])
        .env("PATH", &path)
        .env("STUB", temporary.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let script = fs::read_to_string(out.join("array-0.sh")).unwrap();
    for line in [
        "#SBATCH --array=0-3%2",
        "#SBATCH --partition=short",
        "#SBATCH --requeue",
        "#SBATCH --signal=B:TERM@120",
        "#SBATCH --gres=gpu:1",
        "# mine",
    ] {
        assert!(script.contains(line), "{line} is missing in\n{script}");
    }
    assert!(fs::read_to_string(out.join("array-1.sh")).unwrap().contains("#SBATCH --array=0-1%2"));
    let arguments = fs::read_to_string(temporary.path().join("arguments")).unwrap();
    assert!(arguments.contains("--dependency=afterany:101:102"), "{arguments}");
    let table = text(&output.stdout);
    assert_eq!(table.matches("2 of 2").count(), 3, "{table}");
    // The collector's table is the same.
    assert_eq!(fs::read_to_string(out.join("table.md")).unwrap(), table);
    // And so is that of the runs on this machine.
    let local = temporary.path().join("local");
    let here =
        orchestrator(&["batch", file.to_str().unwrap(), "--out", local.to_str().unwrap(), "--format", "markdown"])
            .output()
            .unwrap();
    assert_eq!(without_seconds(&text(&here.stdout)), without_seconds(&table));
}

#[test]
fn no_cluster_and_a_refused_job_are_said() {
    let temporary = tempfile::tempdir().unwrap();
    let file = sweep(temporary.path(), &WIDTHS, 6, "", "");
    let out = temporary.path().join("batch");
    let none = batch(&file, &out, "/nowhere", &[]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("there is no `sbatch` on this machine"), "{}", text(&none.stderr));
    let refusing = "echo 'sbatch: error: invalid partition specified: test' >&2; exit 1";
    let path = stubs(temporary.path(), &[("sbatch", refusing), ("squeue", "exit 0")]);
    let refused = batch(&file, &out, &path, &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("invalid partition specified"), "{}", text(&refused.stderr));
    let typo = sweep(temporary.path(), &WIDTHS, 6, "partitoin = \"a\"", "");
    let refused = batch(&typo, &out, &path, &[]);
    assert!(text(&refused.stderr).contains("partitoin"), "{}", text(&refused.stderr));
}

#[test]
fn a_running_batch_is_watched_and_not_submitted_again() {
    let temporary = tempfile::tempdir().unwrap();
    let path = stubs(temporary.path(), &[("sbatch", "echo called >> \"$0.calls\"; echo 7"), ("squeue", "echo 7_0")]);
    let file = sweep(temporary.path(), &WIDTHS, 6, "", "");
    let out = temporary.path().join("batch");
    let calls = || fs::read_to_string(temporary.path().join("bin/sbatch.calls")).unwrap().lines().count();
    assert_eq!(batch(&file, &out, &path, &["--detach"]).status.code(), Some(0));
    // One array and its collector.
    assert_eq!(calls(), 2);
    let again = batch(&file, &out, &path, &["--detach"]);
    assert!(text(&again.stderr).contains("jobs 7 are still queued or running"), "{}", text(&again.stderr));
    assert_eq!(calls(), 2);
}

#[test]
fn one_method_is_submitted_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let path = stubs(temporary.path(), &[("sbatch", "echo 7"), ("squeue", "exit 0")]);
    let file = sweep(temporary.path(), &WIDTHS, 6, "", "");
    let out = temporary.path().join("batch");
    let name = format!("smoke, hidden {}", WIDTHS[1]);
    assert_eq!(batch(&file, &out, &path, &["--detach", "--method", &name]).status.code(), Some(0));
    let ids: String = [3, 4].map(|seed| format!("smoke-hidden-{}-{seed}\n", WIDTHS[1])).concat();
    assert_eq!(fs::read_to_string(out.join("array-0.txt")).unwrap(), ids);
}

/// On a real Slurm: an array with a throttle, one task killed and queued again, one failing.
#[test]
fn a_real_cluster_gives_the_table_of_this_machine() {
    if std::env::var_os("SLURM_CONF").is_none() {
        println!("skipped: SLURM_CONF is not set; `.ci/slurm start FOLDER` makes a cluster");
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let file = sweep(temporary.path(), &WIDTHS, 200, "throttle = 2\nminutes = 5", "");
    let local = temporary.path().join("local");
    let out = temporary.path().join("batch");
    // A file where one run wants its folder makes it fail, on both sides.
    for folder in [&local, &out] {
        fs::create_dir_all(folder.join("runs")).unwrap();
        fs::write(folder.join("runs/smoke-hidden-5-4"), "in the way").unwrap();
    }
    let begun = Instant::now();
    let mut watching = batch_on_slurm(&file, &out)
        .args(["--format", "markdown"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first run is queued again when it has begun to train.
    let victim = out.join("runs/smoke-hidden-4-3");
    while !victim.join("metrics.jsonl").exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no task began");
        std::thread::sleep(Duration::from_millis(20));
    }
    let jobs: serde_json::Value = serde_json::from_str(&fs::read_to_string(out.join("slurm.json")).unwrap()).unwrap();
    let task = format!("{}_0", jobs["arrays"][0].as_str().unwrap());
    let requeued = Command::new("scontrol").args(["requeue", &task]).output().unwrap();
    println!("scontrol requeue {task}: {:?} {}", requeued.status, text(&requeued.stderr));
    // Slurm holds a requeued task back for two minutes; a release makes it eligible at once.
    while watching.try_wait().unwrap().is_none() {
        Command::new("scontrol").args(["update", &format!("JobId={task}"), "StartTime=now"]).output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(400), "the batch does not end");
        std::thread::sleep(Duration::from_secs(1));
    }
    let output = watching.wait_with_output().unwrap();
    let table = text(&output.stdout);
    println!("{table}{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "one run fails");
    assert!(table.contains("1 of 2"), "{table}");
    assert!(fs::read_to_string(out.join("failures.jsonl")).unwrap().contains("smoke-hidden-5-4"));
    let here =
        orchestrator(&["batch", file.to_str().unwrap(), "--out", local.to_str().unwrap(), "--format", "markdown"])
            .output()
            .unwrap();
    assert_eq!(without_seconds(&table), without_seconds(&text(&here.stdout)));
}
