//! Runs as worker processes on this machine.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::Folder;
use super::failure::Failure;
use super::sweep::Run;
use crate::SUMMARY;
use crate::error::{Error, Result, exit_code};
use crate::progress::Progress;
use crate::run_folder::LOCK;

/// A run that failed is tried so many times in all.
const TRIES: u32 = 2;
/// Between two looks at the workers.
const PAUSE: Duration = Duration::from_millis(50);

/// A worker process.
struct Worker<'a> {
    run: &'a Run,
    tries: u32,
    slot: usize,
    child: Child,
}

/// Runs what is not finished yet of some runs, and gives the number of runs that failed.
pub fn run(
    folder: &Folder,
    runs: &[Run],
    slots: Option<usize>,
    gpus: usize,
    progress: &Progress,
    interrupt: &AtomicBool,
) -> Result<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let slots = slots.unwrap_or(if gpus > 0 { gpus } else { cores }).max(1);
    let threads = (cores / slots).max(1);
    let mut pending: VecDeque<(&Run, u32)> =
        runs.iter().filter(|run| !is_finished(folder, run)).map(|run| (run, 0)).collect();
    let bar = progress.start_runs(runs.len(), runs.len() - pending.len());
    let mut free: Vec<usize> = (0..slots).rev().collect();
    let mut workers: Vec<Worker> = Vec::new();
    let mut failed = 0;
    // One reason is said once, not for each of a hundred runs.
    let mut said = String::new();
    let begun = Instant::now();
    while !pending.is_empty() || !workers.is_empty() {
        if interrupt.load(Ordering::Relaxed) {
            // Workers stop when their standard input ends.
            workers.iter_mut().for_each(|worker| drop(worker.child.stdin.take()));
            pending.clear();
        }
        let mut waiting = VecDeque::new();
        while let Some(slot) = free.pop() {
            let Some((run, tries)) = pending.pop_front() else {
                free.push(slot);
                break;
            };
            // A worker of a batch that was killed may still be at its last checkpoint.
            if in_use(&folder.run_folder(run)) {
                waiting.push_back((run, tries));
                free.push(slot);
                continue;
            }
            let child = start(folder, run, threads, (gpus > 0).then(|| slot % gpus))?;
            workers.push(Worker { run, tries: tries + 1, slot, child });
        }
        pending.extend(waiting);
        let mut running = Vec::new();
        for mut worker in workers {
            let io = |source| Error::Io { path: folder.run_folder(worker.run), source };
            let Some(status) = worker.child.try_wait().map_err(io)? else {
                running.push(worker);
                continue;
            };
            free.push(worker.slot);
            if is_finished(folder, worker.run) {
                tell(progress, &bar, worker.run, "finished", begun);
            } else if interrupt.load(Ordering::Relaxed) || status.code() == Some(exit_code::INTERRUPTED.into()) {
                // It goes on next time.
            } else {
                let failure = Failure::of(folder, worker.run, worker.tries, status.code());
                let reason = failure.reason();
                if reason != said {
                    progress.say(&format!("  {}: {reason}", worker.run.id));
                    said = reason;
                }
                if worker.tries < TRIES {
                    progress.say(&format!("  {} failed, once more", worker.run.id));
                    pending.push_back((worker.run, worker.tries));
                } else {
                    failed += 1;
                    failure.record(folder)?;
                    tell(progress, &bar, worker.run, "failed", begun);
                }
            }
        }
        workers = running;
        std::thread::sleep(PAUSE);
    }
    bar.finish_and_clear();
    Ok(failed)
}

/// Whether a run has left its summary, the last file of a run.
pub fn is_finished(folder: &Folder, run: &Run) -> bool {
    folder.run_folder(run).join(SUMMARY).exists()
}

/// Whether a process works in a run's folder.
fn in_use(path: &Path) -> bool {
    File::open(path.join(LOCK)).is_ok_and(|file| file.try_lock().is_err())
}

fn start(folder: &Folder, run: &Run, threads: usize, gpu: Option<usize>) -> Result<Child> {
    let out = folder.run_folder(run);
    let log = folder.path.join("logs").join(format!("{}.log", run.id));
    let io = |source| Error::Io { path: log.clone(), source };
    let log_file = OpenOptions::new().create(true).append(true).open(&log).map_err(io)?;
    let program = std::env::current_exe().map_err(io)?;
    let mut command = Command::new(program);
    match run.baseline {
        Some(baseline) => command.args(["baseline", baseline.kind()]),
        None => command.arg("run"),
    };
    command.arg(&run.config).arg("--out").arg(&out).args(["--format", "json", "--quiet", "--follow-stdin"]);
    command.args(run.overrides.iter().flat_map(|text| ["--set", text]));
    // The same command of a baseline goes on by itself.
    if run.baseline.is_none() && out.join("config.toml").exists() {
        command.arg("--resume");
    }
    if let Some(gpu) = gpu {
        command.env("CUDA_VISIBLE_DEVICES", gpu.to_string());
    }
    command.env("RAYON_NUM_THREADS", threads.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log_file);
    command.spawn().map_err(io)
}

fn tell(progress: &Progress, bar: &ProgressBar, run: &Run, how: &str, begun: Instant) {
    bar.inc(1);
    bar.set_message(run.id.clone());
    if bar.is_hidden() {
        progress.say(&format!("  {} {how} after {:.0} s", run.id, begun.elapsed().as_secs_f64()));
    }
}
