use std::path::{Path, PathBuf};

use train::data::{Download, TableFile};

use super::download::download;
use super::{Described, datasets_dir};
use crate::error::{Error, Result, exit_code};

/// Sees to it that the table of a data set is at hand: beside its manifest, or under the folder `into`.
///
/// # Errors
/// If a file that is there has the wrong bytes, or one that is not there cannot be had without its user's help.
pub fn fetch(described: &Described, into: Option<&Path>) -> Result<u8> {
    let mut missing = Vec::new();
    for file in described.manifest.files() {
        match find(described, &file, into) {
            Some(path) => {
                file.check(&path)?;
                println!("already there: {}", path.display());
            }
            None => missing.push(file),
        }
    }
    for file in &missing {
        let destination = destination(described, file, into);
        match described.manifest.downloads.iter().find(|download| download.file == file.file) {
            Some(source) => get(source, &file.sha256, &destination)?,
            None => return Err(get_ingredients(described, &destination)),
        }
    }
    Ok(exit_code::CERTIFIED)
}

fn find(described: &Described, file: &TableFile, into: Option<&Path>) -> Option<PathBuf> {
    into.and_then(|into| file.find(described.folder(), Some(into)))
        .or_else(|| file.find(described.folder(), datasets_dir().as_deref()))
}

/// Where a file of the table is to lie, so that the loader finds it.
fn destination(described: &Described, file: &TableFile, into: Option<&Path>) -> PathBuf {
    match (into, &file.dataset_path) {
        (Some(into), Some(path)) => into.join(path),
        (Some(into), None) => into.join(&described.manifest.name).join(&file.file),
        (None, _) => described.folder().join(&file.file),
    }
}

fn get(source: &Download, sha256: &str, destination: &Path) -> Result<()> {
    if source.login {
        let message = format!(
            "the site gives this file only to those who have logged in: download it with a browser and put it at {}",
            destination.display()
        );
        return Err(Error::Config { place: source.url.clone(), message });
    }
    download(&source.url, sha256, destination)?;
    println!("fetched {}", destination.display());
    Ok(())
}

/// Downloads what a table is made from that nobody offers as it is, and says what is left to do: nothing that came over the
/// network is run from here.
fn get_ingredients(described: &Described, table: &Path) -> Error {
    let manifest = &described.manifest;
    let is_table = |download: &&Download| manifest.files().iter().any(|file| file.file == download.file);
    let mut steps = Vec::new();
    for source in manifest.downloads.iter().filter(|download| !is_table(download)) {
        let destination = table.with_file_name(&source.file);
        let unpack = source.unpack.as_ref().map(|unpack| unpack.replace("FILE", &destination.display().to_string()));
        match &source.sha256 {
            Some(sha256) => {
                if let Err(error) = get(source, sha256, &destination) {
                    return error;
                }
            }
            None => steps.push(format!("download {} to {}", source.url, destination.display())),
        }
        steps.extend(unpack);
    }
    if steps.is_empty() {
        let url = manifest.source.url.as_ref().map_or_else(String::new, |url| format!(", {url}"));
        steps.push(format!("get it from its source ({}{url}) and put it there", manifest.source.text));
    }
    let message = format!("this table cannot be downloaded as it is; what is left to do by hand: {}", steps.join("; "));
    Error::Config { place: table.display().to_string(), message }
}
