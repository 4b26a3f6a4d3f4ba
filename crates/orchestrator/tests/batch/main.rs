//! `orchestrator batch` and `table` as their users meet them, on this machine and on a cluster.

#[path = "../command/mod.rs"]
mod command;
mod local;
mod slurm;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use command::repository;

/// An experiment of short runs: some widths, two seeds. `slurm` and `more` go where their names say.
fn sweep(folder: &Path, widths: &[u32], epochs: u32, slurm: &str, more: &str) -> PathBuf {
    let config = repository().join("configs/smoke.toml");
    let file = folder.join("sweep.toml");
    let text = format!(
        "name = \"tiny\"\ntitle = \"Some widths\"\nseeds = 2\nfirst_seed = 3\n\n[slurm]\n{slurm}\n\n[[method]]\nname = \"smoke\"\n\
         config = {config:?}\npublished = \"0.1\"\nset = {{ \"train.epochs\" = {epochs} }}\n\
         grid = {{ \"architecture.hidden\" = {widths:?} }}\n{more}"
    );
    fs::write(&file, text).unwrap();
    file
}

/// A table in Markdown without the seconds, which differ from time to time.
fn without_seconds(table: &str) -> String {
    let seconds = table.lines().next().unwrap().split('|').position(|cell| cell == " seconds ").unwrap();
    let cells = |line: &str| {
        let cells = line.split('|').enumerate().filter(|(k, _)| *k != seconds);
        cells.map(|(_, cell)| cell).collect::<Vec<_>>().join("|")
    };
    table.lines().map(cells).collect::<Vec<_>>().join("\n")
}
