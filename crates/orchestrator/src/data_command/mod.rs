//! `orchestrator data`: which data sets there are and where their tables lie, getting a table, checking it.

mod check;
mod download;
mod fetch;
mod list;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use train::data::{DATASETS_DIR, Manifest};

use crate::error::{Error, Result};

/// The arguments of `orchestrator data`.
#[derive(Args)]
pub struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
    /// Folder of the data sets' manifests.
    #[arg(long, value_name = "FOLDER", global = true, default_value = "datasets")]
    manifests: PathBuf,
}

#[derive(Subcommand)]
enum DataCommand {
    /// List the data sets, and say where their tables are.
    List,
    /// Download the table of a data set, unless it is there already.
    ///
    /// A download that was cut off goes on where it stopped. Exit status: 0 the table is there; 2 it is not.
    Fetch(FetchArgs),
    /// Load a data set as a run would, and say what is in it or what is wrong with it.
    ///
    /// Exit status: 0 nothing is wrong; 2 something is.
    Check(CheckArgs),
}

#[derive(Args)]
struct FetchArgs {
    /// Name of the data set, or its manifest.
    name: PathBuf,
    /// Folder laid out as DATASETS_DIR is meant to be; by default the table goes beside its manifest.
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

#[derive(Args)]
struct CheckArgs {
    /// Name of the data set, or its manifest.
    name: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// If there is no such data set, or its table cannot be had or is not as its manifest says.
pub fn data(args: &DataArgs) -> Result<u8> {
    match &args.command {
        DataCommand::List => list::list(&args.manifests),
        DataCommand::Fetch(fetch) => {
            fetch::fetch(&Described::find(&fetch.name, &args.manifests)?, fetch.into.as_deref())
        }
        DataCommand::Check(check) => check::check(&Described::find(&check.name, &args.manifests)?),
    }
}

/// A data set by its manifest.
struct Described {
    path: PathBuf,
    manifest: Manifest,
}

impl Described {
    /// The data set of that name among the `manifests`, or that of a manifest file.
    fn find(name: &Path, manifests: &Path) -> Result<Self> {
        if name.extension().is_some_and(|extension| extension == "toml") {
            return Self::read(name.into());
        }
        let path = manifests.join(name).join(MANIFEST);
        if path.exists() {
            return Self::read(path);
        }
        let known: Vec<_> = manifest_files(manifests)?.iter().filter_map(|path| name_of(path)).collect();
        let message =
            format!("there is no data set of this name in {}, only {}", manifests.display(), known.join(", "));
        Err(Error::Config { place: name.display().to_string(), message })
    }

    fn read(path: PathBuf) -> Result<Self> {
        Ok(Self { manifest: Manifest::read(&path)?, path })
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Where each file of the table is, or `None` if one is not at hand.
    fn table(&self) -> Option<Vec<PathBuf>> {
        let datasets = datasets_dir();
        self.manifest.files().iter().map(|file| file.find(self.folder(), datasets.as_deref())).collect()
    }
}

const MANIFEST: &str = "manifest.toml";

/// The manifests in the folders of a folder, by name.
fn manifest_files(manifests: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |source| Error::Io { path: manifests.into(), source };
    let folders =
        fs::read_dir(manifests).map_err(unreadable)?.collect::<std::io::Result<Vec<_>>>().map_err(unreadable)?;
    let mut files: Vec<_> =
        folders.iter().map(|folder| folder.path().join(MANIFEST)).filter(|path| path.exists()).collect();
    files.sort();
    Ok(files)
}

/// Name of the folder of a manifest.
fn name_of(manifest: &Path) -> Option<String> {
    Some(manifest.parent()?.file_name()?.to_string_lossy().into_owned())
}

fn datasets_dir() -> Option<PathBuf> {
    env::var_os(DATASETS_DIR).map(PathBuf::from)
}

/// A count with commas, as in 54,314.
fn with_commas(count: usize) -> String {
    let digits = count.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Paths for people.
fn joined(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_stand_before_every_three_digits() {
        assert_eq!([0, 999, 1000, 54_314, 1_000_000].map(with_commas), ["0", "999", "1,000", "54,314", "1,000,000"]);
    }
}
