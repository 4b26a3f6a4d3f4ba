//! What there is in a batch, for a report about it.

use std::path::{Path, PathBuf};

use super::Folder;
use super::failure::Failure;
use super::sweep::{Run, Sweep};
use super::table::Table;
use crate::error::{Error, Result};

/// The folder of a batch, read.
pub struct Contents {
    /// The folder.
    pub path: PathBuf,
    /// Name of the experiment.
    pub name: String,
    /// What its table is headed with.
    pub title: String,
    /// All runs that were asked for, method by method.
    pub runs: Vec<Run>,
    /// The table as it is so far.
    pub table: Table,
    /// The failures that were recorded, oldest first; a run may have been done since.
    pub failures: Vec<Failure>,
}

impl Contents {
    /// The batch in a folder, or that of an experiment in runs/NAME; none if the path is neither of the two.
    ///
    /// # Errors
    /// If the experiment has no batch yet, or a file is damaged.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let folder = if path.join("batch.json").exists() {
            Folder::read(path)?
        } else if path.join("sweep.toml").exists() || path.is_file() {
            let (sweep, _) = Sweep::load(path)?;
            let folder = Path::new("runs").join(sweep.name);
            if !folder.join("batch.json").exists() {
                let message = format!(
                    "there is no batch of this experiment in {}; run it with `orchestrator batch {}`, or give the folder of its batch",
                    folder.display(),
                    path.display()
                );
                return Err(Error::RunFolder { path: path.into(), message });
            }
            Folder::read(&folder)?
        } else {
            return Ok(None);
        };
        let (table, failures) = (Table::of(&folder)?, Failure::read_all(&folder.path)?);
        let Folder { path, header, runs } = folder;
        Ok(Some(Self { path, name: header.name, title: header.title, runs, table, failures }))
    }

    /// The folder of a run.
    pub fn run_folder(&self, run: &Run) -> PathBuf {
        self.path.join("runs").join(&run.id)
    }
}
