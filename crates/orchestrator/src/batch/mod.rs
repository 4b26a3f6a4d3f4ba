//! Many runs at once: the commands `batch` and `table`.

mod columns;
mod contents;
mod failure;
mod finished;
mod local;
mod render;
mod slurm;
mod sweep;
mod table;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use certificate::write_atomically;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

pub use contents::Contents;
pub use failure::Failure;
pub use sweep::Run;
pub use table::{TableArgs, table};

use crate::config::config_error;
use crate::error::{Error, Result, exit_code};
use crate::progress::Progress;
use columns::Column;
use render::TableFormat;
use sweep::Sweep;

/// What `batch` takes.
#[derive(Args)]
pub struct BatchArgs {
    /// The experiment: a sweep file, or a folder with a `sweep.toml`.
    experiment: PathBuf,
    /// Folder of the batch; by default runs/NAME. A batch that was stopped goes on there.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Only the runs of this line of the table; may be given several times.
    #[arg(long = "method", value_name = "NAME")]
    methods: Vec<String>,
    /// Where the runs are done.
    #[arg(long, value_enum, default_value_t = Engine::Local)]
    engine: Engine,
    /// With Slurm: submit and leave; the same command watches later.
    #[arg(long)]
    detach: bool,
    /// Runs at a time on this machine; by default one per core, or one per GPU.
    #[arg(long)]
    slots: Option<usize>,
    /// Number of GPUs to hand out, one per run (`CUDA_VISIBLE_DEVICES`).
    #[arg(long, default_value_t = 0)]
    gpus: usize,
    /// How the table is printed in the end.
    #[arg(long, value_enum, default_value_t = TableFormat::Text)]
    format: TableFormat,
    /// No progress on standard error.
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// Worker processes on this machine.
    Local,
    /// Job arrays of a Slurm cluster, as `[slurm]` in the sweep file asks for.
    Slurm,
}

/// What `batch-task` takes: a task of a job array.
#[derive(Args)]
pub struct TaskArgs {
    /// The folder of the batch.
    folder: PathBuf,
    /// Which run of its manifest.
    run: String,
}

/// Version of a batch folder.
const VERSION: u32 = 1;

/// `batch.json`: what a folder is the batch of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format_version: u32,
    name: String,
    title: String,
    runs: usize,
    /// The method that the others are compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    against: Option<String>,
    /// The columns of the table, if they were chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    columns: Option<Vec<Column>>,
}

impl Header {
    fn of(sweep: &Sweep, runs: usize) -> Self {
        let Sweep { name, title, against, columns, .. } = sweep.clone();
        Self { format_version: VERSION, name, title, runs, against, columns }
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a header is plain data");
        Ok(write_atomically(&folder.join("batch.json"), text.as_bytes())?)
    }
}

/// The folder of a batch: `batch.json`, `manifest.jsonl` with one run a line, `runs/ID/`, `logs/ID.log`, `failures.jsonl`.
struct Folder {
    path: PathBuf,
    header: Header,
    runs: Vec<Run>,
}

impl Folder {
    /// A new folder, or one of the same experiment, which may have got more methods or seeds since; and the lock that is held
    /// while a batch works there.
    fn open(path: PathBuf, sweep: &Sweep, runs: Vec<Run>) -> Result<(Self, File)> {
        let header = Header::of(sweep, runs.len());
        let io = |source| Error::Io { path: path.clone(), source };
        fs::create_dir_all(path.join("runs")).map_err(io)?;
        fs::create_dir_all(path.join("logs")).map_err(io)?;
        let lock = lock(&path)?;
        let known = if path.join("batch.json").exists() { Some(Self::read(&path)?) } else { None };
        if let Some(run) = known.iter().flat_map(|known| &known.runs).find(|run| !runs.contains(run)) {
            let message = format!(
                "the experiment was changed since this batch began: run `{}` is another one now or is no longer there; methods and \
                 seeds may be added, for everything else take another folder with --out, or undo the change",
                run.id
            );
            return Err(Error::RunFolder { path, message });
        }
        let (known_header, known_runs) = known.map(|known| (known.header, known.runs)).unzip();
        if known_runs.as_ref() != Some(&runs) {
            let line = |run: &Run| serde_json::to_string(run).expect("a run is plain data") + "\n";
            write_atomically(&path.join("manifest.jsonl"), runs.iter().map(line).collect::<String>().as_bytes())?;
        }
        // The last file, so that a folder with it is complete. Title and columns may change at any time.
        if known_header.as_ref() != Some(&header) {
            header.write(&path)?;
        }
        Ok((Self { path, header, runs }, lock))
    }

    /// The batch in a folder.
    fn read(path: &Path) -> Result<Self> {
        let text = |name: &str| {
            let file = path.join(name);
            fs::read_to_string(&file).map_err(|source| Error::Io { path: file, source })
        };
        let damaged = |name: &str, message: String| Error::RunFolder { path: path.join(name), message };
        let header: serde_json::Value =
            serde_json::from_str(&text("batch.json")?).map_err(|e| damaged("batch.json", e.to_string()))?;
        if header["format_version"] != VERSION {
            let found = &header["format_version"];
            let message = format!(
                "expected a batch folder of version {VERSION}, found version {found}; use the program it was made with"
            );
            return Err(damaged("batch.json", message));
        }
        let header: Header = serde_json::from_value(header).map_err(|e| damaged("batch.json", e.to_string()))?;
        let run = |(k, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|e| damaged("manifest.jsonl", format!("line {}: {e}", k + 1)))
        };
        let runs: Vec<Run> = text("manifest.jsonl")?.lines().enumerate().map(run).collect::<Result<_>>()?;
        // A batch that grows writes its manifest first.
        if runs.len() < header.runs {
            let message = format!("{} runs instead of {}: the manifest was changed", runs.len(), header.runs);
            return Err(damaged("manifest.jsonl", message));
        }
        Ok(Self { path: path.into(), header, runs })
    }

    fn run_folder(&self, run: &Run) -> PathBuf {
        self.path.join("runs").join(&run.id)
    }
}

/// The runs of some methods; all if none is named.
fn runs_of(runs: &[Run], methods: &[String]) -> Result<Vec<Run>> {
    if let Some(name) = methods.iter().find(|name| !runs.iter().any(|run| run.method == **name)) {
        let mut names: Vec<String> = runs.iter().map(|run| format!("`{}`", run.method)).collect();
        names.dedup();
        return Err(config_error(
            "--method",
            &format!("unknown method `{name}`, expected one of {}", names.join(", ")),
        ));
    }
    Ok(runs.iter().filter(|run| methods.is_empty() || methods.contains(&run.method)).cloned().collect())
}

/// Held while a batch works in a folder.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(|source| Error::Io { path, source })?;
    file.try_lock().map_err(|_| Error::RunFolder {
        path: folder.into(),
        message: "another batch is working in this folder; wait for it, or take another folder with --out".into(),
    })?;
    Ok(file)
}

/// Runs the command and gives its exit status: 0 all runs finished, 1 some failed, 130 interrupted.
///
/// # Errors
/// If the experiment or a method is wrong, the folder belongs to another experiment, or it is in use.
pub fn batch(args: &BatchArgs) -> Result<u8> {
    let (sweep, file) = Sweep::load(&args.experiment)?;
    let all = sweep.runs(&file)?;
    let runs = runs_of(&all, &args.methods)?;
    let path = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&sweep.name));
    let (folder, _lock) = Folder::open(path, &sweep, all)?;
    let progress = Progress::new(args.quiet);
    progress.say(&format!("batch folder: {}, {} runs", folder.path.display(), runs.len()));
    let interrupt = crate::interrupt::flag();
    let failed = match args.engine {
        Engine::Local => local::run(&folder, &runs, args.slots, args.gpus, &progress, &interrupt)?,
        Engine::Slurm => slurm::run(&folder, &runs, &sweep.slurm, args.detach, &progress, &interrupt)?,
    };
    if args.detach {
        return Ok(exit_code::CERTIFIED);
    }
    if interrupt.load(Ordering::Relaxed) {
        progress.say("stopped; the same command goes on");
        return Ok(exit_code::INTERRUPTED);
    }
    if failed > 0 {
        progress.say(&failure::sum_up(&folder, &runs)?);
    }
    print!("{}", table::Table::of(&folder)?.render(args.format));
    Ok(if failed > 0 { exit_code::REFUTED } else { exit_code::CERTIFIED })
}

/// Does one run of a batch as a task of a cluster, and gives its exit status: 0 finished, 1 failed, 130 stopped.
///
/// # Errors
/// If there is no such batch or run.
pub fn task(args: &TaskArgs) -> Result<u8> {
    let folder = Folder::read(&args.folder)?;
    let run: Vec<Run> = folder.runs.iter().filter(|run| run.id == args.run).cloned().collect();
    if run.is_empty() {
        let message = format!("there is no run `{}` in its manifest", args.run);
        return Err(Error::RunFolder { path: folder.path, message });
    }
    let progress = Progress::new(false);
    let interrupt = crate::interrupt::flag();
    let failed = local::run(&folder, &run, Some(1), 0, &progress, &interrupt)?;
    if interrupt.load(Ordering::Relaxed) {
        slurm::requeue(&progress);
        return Ok(exit_code::INTERRUPTED);
    }
    Ok(if failed > 0 { exit_code::REFUTED } else { exit_code::CERTIFIED })
}
