//! The folder that holds everything needed to repeat, resume and judge a run.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use certificate::write_atomically;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use train::{Epoch, Scores};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::tensorboard::EventFiles;

/// A run's folder: `config.toml`, `run.json`, `metrics.jsonl`, `tensorboard/`, `rounds/NN/`, and in the end the model and its report.
pub struct RunFolder {
    path: PathBuf,
    events: EventFiles,
    /// Held as long as somebody works in the folder; not by readers.
    _lock: Option<File>,
}

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Round of the escalation.
    pub round: u32,
    /// Try of the round, with a lower learning rate each.
    pub attempt: u32,
    /// Weight of the penalty.
    pub lambda: f64,
    /// The epoch.
    pub record: Epoch,
    /// The score of its network on the test rows, with `train.best_test_epoch`. Nothing is chosen by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Scores>,
}

impl RunFolder {
    /// A new folder for a run of this configuration: `out`, or the next number under `runs/<name>`.
    ///
    /// # Errors
    /// If the folder exists already or cannot be made.
    pub fn create(name: &str, config: &str, out: Option<&Path>) -> Result<Self> {
        let path = match out {
            Some(out) => out.to_path_buf(),
            None => {
                let parent = Path::new("runs").join(name);
                let number = last_number(&parent).map_or(1, |n| n + 1);
                parent.join(format!("{number:03}"))
            }
        };
        // A run that was killed at its very beginning leaves a lock behind that nobody holds.
        let counts = |entry: std::io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() != LOCK);
        let occupied = fs::read_dir(&path).is_ok_and(|mut entries| entries.any(counts));
        if occupied {
            let message = "this folder is not empty; choose another with --out, or go on with a training run in it by adding --resume";
            return Err(Error::RunFolder { path, message: message.into() });
        }
        make(&path)?;
        let folder = Self::of(Some(lock(&path)?), path);
        folder.write("config.toml", config.as_bytes())?;
        Ok(folder)
    }

    /// The folder of an earlier run of the same configuration: `out`, or the newest under `runs/<name>`.
    ///
    /// # Errors
    /// If there is none, or it belongs to another configuration.
    pub fn resume(config: &Config, out: Option<&Path>) -> Result<Self> {
        let parent = Path::new("runs").join(&config.name);
        let newest = || last_number(&parent).map(|n| parent.join(format!("{n:03}")));
        let missing = |path: &Path| Error::RunFolder {
            path: path.into(),
            message: "no run to resume here; leave --resume out to start one".into(),
        };
        let path = out.map(Path::to_path_buf).or_else(newest).ok_or_else(|| missing(&parent))?;
        let file = path.join("config.toml");
        let stored = fs::read_to_string(&file).map_err(|_| missing(&path))?;
        if stored != config.to_toml() {
            let differs = stored.lines().zip(config.to_toml().lines().map(str::to_owned)).find(|(a, b)| a != b);
            let detail = differs.map_or(String::new(), |(a, b)| format!(" (there `{a}`, now `{b}`)"));
            let message = format!(
                "belongs to another configuration{detail}; resume with the one it was started with, or start anew"
            );
            return Err(Error::RunFolder { path, message });
        }
        Ok(Self::of(Some(lock(&path)?), path))
    }

    /// The folder of an earlier run, to read what it left.
    ///
    /// # Errors
    /// If there is no configuration in it.
    pub fn open(path: &Path) -> Result<Self> {
        if path.join("config.toml").is_file() {
            return Ok(Self::of(None, path.into()));
        }
        let message = "not the folder of a run: it has no config.toml; expected a folder such as runs/compas/001";
        Err(Error::RunFolder { path: path.into(), message: message.into() })
    }

    fn of(lock: Option<File>, path: PathBuf) -> Self {
        Self { events: EventFiles::new(&path), path, _lock: lock }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of the run, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        Ok(write_atomically(&self.path.join(name), content)?)
    }

    /// Writes a file of the run as JSON.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(value).expect("records are plain data");
        text.push(b'\n');
        self.write(name, &text)
    }

    /// Reads a JSON file of the run; `None` if it is not there.
    ///
    /// # Errors
    /// If it is there but cannot be read.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::RunFolder {
            path: self.path.join(name),
            message: format!("{e}; it was damaged or comes from another version: start a new run"),
        })
    }

    /// Reads a file of the run; `None` if it is not there.
    ///
    /// # Errors
    /// If it is there but cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// The folder of a round, relative to the run's, made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn round(&self, round: u32) -> Result<String> {
        let name = format!("rounds/{round:02}");
        make(&self.path.join(&name))?;
        Ok(name)
    }

    /// The folder of a member of an ensemble, made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn member(&self, member: u32) -> Result<Self> {
        let path = self.path.join(format!("members/{member:02}"));
        make(&path)?;
        Ok(Self::of(Some(lock(&path)?), path))
    }

    /// The names of the files in a folder of the run, sorted.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn files(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.path.join(folder);
        let io = |source| Error::Io { path: path.clone(), source };
        let name = |entry: std::io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let mut names = fs::read_dir(&path).map_err(io)?.map(name).collect::<std::io::Result<Vec<_>>>().map_err(io)?;
        names.sort();
        Ok(names)
    }

    /// Removes a file that is no longer needed.
    pub fn remove(&self, name: &str) {
        // A checkpoint that stays behind costs space, nothing else.
        let _ = fs::remove_file(self.path.join(name));
    }

    /// Adds lines to `metrics.jsonl` and to the event files.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn append_metrics(&self, lines: &[Metrics]) -> Result<()> {
        let path = self.path.join("metrics.jsonl");
        let text: String = lines.iter().map(line).collect();
        let append = || OpenOptions::new().create(true).append(true).open(&path)?.write_all(text.as_bytes());
        append().map_err(|source| Error::Io { path: path.clone(), source })?;
        self.events.append(lines)
    }

    /// Keeps only the lines of `metrics.jsonl`, and the events, before an epoch that will be run again.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn cut_metrics(&self, round: u32, attempt: u32, epoch: u32) -> Result<()> {
        let before = |m: &&Metrics| (m.round, m.attempt, m.record.epoch) < (round, attempt, epoch);
        let Some(bytes) = self.read("metrics.jsonl")? else { return Ok(()) };
        let known = self.metrics()?;
        let kept = &known[..known.iter().take_while(before).count()];
        let text: String = kept.iter().map(line).collect();
        if text.as_bytes() == bytes {
            return Ok(());
        }
        // Events first: stopped between the two, the next one to resume finds that there is something to cut.
        self.events.replace(kept)?;
        self.write("metrics.jsonl", text.as_bytes())
    }

    /// The lines of `metrics.jsonl`; none if it is not there. A line cut off in the middle is one that will be written again.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn metrics(&self) -> Result<Vec<Metrics>> {
        let bytes = self.read("metrics.jsonl")?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().map_while(|line| serde_json::from_str(line).ok()).collect())
    }
}

fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::Io { path: path.into(), source })
}

/// The file whose lock says that a process works in a run's folder. The lock goes with the process, however that ends.
pub const LOCK: &str = "lock";

fn lock(path: &Path) -> Result<File> {
    let io = |source| Error::Io { path: path.join(LOCK), source };
    let file = File::create(path.join(LOCK)).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(source)) => Err(io(source)),
        Err(TryLockError::WouldBlock) => Err(Error::RunFolder {
            path: path.into(),
            message: "another process is working in this folder; wait until it has ended".into(),
        }),
    }
}

fn line(metrics: &Metrics) -> String {
    serde_json::to_string(metrics).expect("records are plain data") + "\n"
}

fn last_number(parent: &Path) -> Option<u32> {
    let entries = fs::read_dir(parent).ok()?;
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).max()
}
