use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Writes a file so that whoever looks finds the old content or the new one, never half of it: into a temporary
/// neighbour, flushed to the disk, then renamed.
///
/// # Errors
/// If the folder is missing, read-only or full. The old file is then untouched and the neighbour removed.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let neighbour = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&neighbour)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&neighbour, path)
    };
    write().map_err(|source| {
        // The write has failed already; a neighbour that cannot be removed changes nothing about that.
        let _ = fs::remove_file(&neighbour);
        Error::Io { path: path.to_path_buf(), source }
    })
}
