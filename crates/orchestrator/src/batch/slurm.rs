//! Runs as tasks of Slurm job arrays.
//!
//! Every run that is not finished is a task; which one, a list beside the job script says. A task that gets the signal before its
//! time limit stops at a checkpoint and has itself queued again. What is known of the runs comes from their folders and from
//! `squeue`, never from accounting, which many sites do not have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use certificate::write_atomically;
use serde::{Deserialize, Serialize};

use super::Folder;
use super::local::is_finished;
use super::sweep::Run;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// `[slurm]` of a sweep file: what is asked of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slurm {
    /// The partition; the site's default one if absent.
    pub partition: Option<String>,
    /// Minutes after which a task is stopped, and goes on as a new one.
    pub minutes: u32,
    /// Cores of a task.
    pub cores: u32,
    /// GPUs of a task.
    pub gpus: u32,
    /// Memory of a task in MiB; the site's default if absent.
    pub memory_mib: Option<u32>,
    /// Tasks that may run at a time; no limit if absent.
    pub throttle: Option<u32>,
    /// Largest number of tasks in one array: one less than the site's `MaxArraySize`.
    pub array_limit: u32,
    /// Seconds before the time limit at which a task is asked to stop.
    pub grace_s: u32,
    /// Further lines for the job script, as in `"#SBATCH --account=me"` or `"module load cuda"`.
    pub lines: Vec<String>,
}

impl Default for Slurm {
    fn default() -> Self {
        Self {
            partition: None,
            minutes: 60,
            cores: 1,
            gpus: 0,
            memory_mib: None,
            throttle: None,
            array_limit: 1000,
            grace_s: 120,
            lines: Vec::new(),
        }
    }
}

/// `slurm.json`: the jobs of a batch.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Jobs {
    arrays: Vec<String>,
    collector: Option<String>,
}

/// Between two looks at the queue.
const PAUSE: Duration = Duration::from_secs(2);

/// Submits what is not finished of some runs, and unless `detach` waits for it. Gives the number of runs that failed.
///
/// # Errors
/// If there is no Slurm on this machine, or it refuses a job.
pub fn run(
    folder: &Folder,
    runs: &[Run],
    slurm: &Slurm,
    detach: bool,
    progress: &Progress,
    interrupt: &AtomicBool,
) -> Result<usize> {
    let record = folder.path.join("slurm.json");
    let known: Jobs =
        fs::read_to_string(&record).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let jobs = if queued(&known.arrays)? > 0 {
        progress.say(&format!(
            "jobs {} are still queued or running; what they leave open, the same command submits afterwards",
            known.arrays.join(", ")
        ));
        known
    } else {
        let jobs = submit(folder, runs, slurm)?;
        write_atomically(&record, serde_json::to_string(&jobs).expect("jobs are plain data").as_bytes())?;
        progress.say(&format!("submitted as {}", jobs.arrays.join(", ")));
        jobs
    };
    if detach {
        return Ok(0);
    }
    let finished = || runs.iter().filter(|run| is_finished(folder, run)).count();
    let mut seen = finished();
    let bar = progress.start_runs(runs.len(), seen);
    while !interrupt.load(Ordering::Relaxed) && queued(&jobs.arrays)? > 0 {
        std::thread::sleep(PAUSE);
        let now = finished();
        if bar.is_hidden() && now > seen {
            progress.say(&format!("  {now} of {} runs finished", runs.len()));
        }
        seen = now;
        bar.set_position(now as u64);
    }
    bar.finish_and_clear();
    if interrupt.load(Ordering::Relaxed) {
        progress.say("the jobs go on by themselves; the same command watches them, `scancel` ends them");
    }
    Ok(runs.iter().filter(|run| !is_finished(folder, run)).count())
}

/// Jobs and tasks that have not ended.
fn queued(jobs: &[String]) -> Result<usize> {
    if jobs.is_empty() {
        return Ok(0);
    }
    let output = command("squeue").args(["--noheader", "--array", "--format=%i", "--jobs", &jobs.join(",")]).output();
    let output = output.map_err(|source| Error::Io { path: "squeue".into(), source })?;
    let said = String::from_utf8_lossy(&output.stderr);
    // A job that has been gone for a while is no longer known, which is as good as ended.
    if !output.status.success() && !said.contains("Invalid job id") {
        return Err(refused("squeue", &said));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.trim().is_empty()).count())
}

fn submit(folder: &Folder, runs: &[Run], slurm: &Slurm) -> Result<Jobs> {
    let open: Vec<&Run> = runs.iter().filter(|run| !is_finished(folder, run)).collect();
    let mut jobs = Jobs::default();
    // Task numbers may not exceed the limit either, so they count from 0 in each array and the script adds the rest.
    for (a, chunk) in open.chunks(slurm.array_limit.max(1) as usize).enumerate() {
        let lines: String = chunk.iter().map(|run| format!("{}\n", run.id)).collect();
        let list = folder.path.join(format!("array-{a}.txt"));
        write_atomically(&list, lines.as_bytes())?;
        let script = folder.path.join(format!("array-{a}.sh"));
        write_atomically(&script, job_script(folder, slurm, &list, chunk.len())?.as_bytes())?;
        jobs.arrays.push(sbatch(&[script.as_os_str().to_str().expect("folders have UTF-8 names")])?);
    }
    if !jobs.arrays.is_empty() {
        let dependency = format!("--dependency=afterany:{}", jobs.arrays.join(":"));
        let table = absolute(&folder.path.join("table.md"))?;
        let collect = format!(
            "{} table {} --format markdown > {}",
            quoted(&program()?),
            quoted(&absolute(&folder.path)?),
            quoted(&table)
        );
        let log = format!("--output={}", absolute(&folder.path.join("logs/collector.log"))?.display());
        let mut arguments = vec![dependency, log, format!("--job-name={}-table", folder.header.name)];
        arguments.extend(slurm.partition.iter().map(|partition| format!("--partition={partition}")));
        arguments.push(format!("--wrap={collect}"));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        jobs.collector = Some(sbatch(&arguments)?);
    }
    Ok(jobs)
}

fn job_script(folder: &Folder, slurm: &Slurm, list: &Path, tasks: usize) -> Result<String> {
    let throttle = slurm.throttle.map_or(String::new(), |most| format!("%{most}"));
    let mut lines = vec![
        "#!/bin/bash".to_owned(),
        format!("#SBATCH --job-name={}", folder.header.name),
        format!("#SBATCH --array=0-{}{throttle}", tasks - 1),
        "#SBATCH --requeue".into(),
        "#SBATCH --open-mode=append".into(),
        format!("#SBATCH --time={}", slurm.minutes),
        format!("#SBATCH --signal=B:TERM@{}", slurm.grace_s),
        format!("#SBATCH --cpus-per-task={}", slurm.cores),
        format!("#SBATCH --output={}", absolute(&folder.path.join("logs"))?.join("slurm-%A_%a.log").display()),
    ];
    lines.extend(slurm.partition.iter().map(|partition| format!("#SBATCH --partition={partition}")));
    lines.extend(slurm.memory_mib.iter().map(|memory| format!("#SBATCH --mem={memory}M")));
    if slurm.gpus > 0 {
        lines.push(format!("#SBATCH --gres=gpu:{}", slurm.gpus));
    }
    lines.extend(slurm.lines.iter().cloned());
    lines.push(format!("run=$(sed -n \"$((SLURM_ARRAY_TASK_ID + 1))p\" {})", quoted(&absolute(list)?)));
    // In place of the shell, so that the signal before the time limit reaches it.
    lines.push(format!("exec {} batch-task {} \"$run\"", quoted(&program()?), quoted(&absolute(&folder.path)?)));
    Ok(lines.join("\n") + "\n")
}

/// Has this task queued again, after the signal before its time limit.
pub fn requeue(progress: &Progress) {
    let variable = |name: &str| std::env::var(name).ok();
    let task = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
    let Some(id) = task.map(|(job, task)| format!("{job}_{task}")).or(variable("SLURM_JOB_ID")) else { return };
    match Command::new("scontrol").args(["requeue", &id]).status() {
        Ok(status) if status.success() => progress.say(&format!("stopped at a checkpoint; {id} is queued again")),
        _ => progress
            .say(&format!("stopped at a checkpoint; {id} could not be queued again, submit the batch once more")),
    }
}

fn sbatch(arguments: &[&str]) -> Result<String> {
    let output = command("sbatch").arg("--parsable").args(arguments).output().map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            let message = "there is no `sbatch` on this machine; submit from a login node of the cluster, or leave out --engine slurm";
            return Error::Config { place: "--engine slurm".into(), message: message.into() };
        }
        Error::Io { path: "sbatch".into(), source }
    })?;
    if !output.status.success() {
        return Err(refused("sbatch", &String::from_utf8_lossy(&output.stderr)));
    }
    // "JOB" or "JOB;CLUSTER"
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.trim().split(';').next().unwrap_or_default().to_owned())
}

fn command(name: &str) -> Command {
    let mut command = Command::new(name);
    // Their messages are looked at.
    command.env("LC_ALL", "C");
    command
}

fn refused(name: &str, said: &str) -> Error {
    Error::Config { place: name.into(), message: format!("Slurm refuses: {}", said.trim()) }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|source| Error::Io { path: path.into(), source })
}

fn program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|source| Error::Io { path: "this program".into(), source })
}

/// For a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
