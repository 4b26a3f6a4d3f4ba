use std::path::Path;

use train::data::Target;

use super::{Described, joined, manifest_files, name_of, with_commas};
use crate::error::{Result, exit_code};

/// Prints a line for each data set: name, task, rows, where its table is, licence.
pub fn list(manifests: &Path) -> Result<u8> {
    let mut lines = vec![["name", "task", "rows", "table", "licence"].map(String::from)];
    let mut code = exit_code::CERTIFIED;
    for path in manifest_files(manifests)? {
        match Described::read(path.clone()) {
            Ok(described) => lines.push(line(&described)),
            Err(error) => {
                eprintln!("error: {error}");
                code = exit_code::USAGE;
            }
        }
    }
    print!("{}", aligned(&lines));
    Ok(code)
}

fn line(described: &Described) -> [String; 5] {
    let manifest = &described.manifest;
    // What the other subcommands find it by.
    let name = name_of(&described.path).unwrap_or_else(|| manifest.name.clone());
    let task = match manifest.target {
        Target::Binary { .. } => "binary",
        Target::Regression { .. } => "regression",
    };
    let table = match described.table() {
        Some(files) => joined(&files),
        None => format!("missing; see orchestrator data fetch {name}"),
    };
    let rows = manifest.rows.map_or_else(|| "?".into(), with_commas);
    [name, task.into(), rows, table, manifest.licence.clone()]
}

/// The lines with columns as wide as their widest cell; the last one is not filled up.
fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let text = |line: &[String; N]| {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(text).collect()
}
