//! What a batch found, one line for each method: the command `table`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::columns::{About, Cell, Column, DEFAULT, Unit};
use super::finished::Line;
use super::render::TableFormat;
use super::sweep::Sweep;
use super::{Folder, Header};
use crate::error::{Result, exit_code};

/// What `table` takes.
#[derive(Args)]
pub struct TableArgs {
    /// The folder of a batch, or its experiment if the batch is in runs/NAME.
    batch: PathBuf,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = TableFormat::Text)]
    format: TableFormat,
}

/// Prints what a batch has found so far.
///
/// # Errors
/// If there is no batch, or one of its files is damaged.
pub fn table(args: &TableArgs) -> Result<u8> {
    let folder = if args.batch.join("batch.json").exists() {
        Folder::read(&args.batch)?
    } else {
        let (sweep, _) = Sweep::load(&args.batch)?;
        let mut folder = Folder::read(&Path::new("runs").join(&sweep.name))?;
        // Title and columns as they are asked for now.
        folder.header = Header::of(&sweep, folder.runs.len());
        folder
    };
    print!("{}", Table::of(&folder)?.render(args.format));
    Ok(exit_code::CERTIFIED)
}

/// A table of cells.
pub struct Table {
    /// What stands above it.
    pub title: String,
    /// Its columns, at least one.
    pub columns: Vec<Heading>,
    /// A cell for each column.
    pub lines: Vec<Vec<Cell>>,
}

/// What stands above a column.
pub struct Heading {
    /// A few words a line.
    pub lines: Vec<String>,
    /// What the values of its cells are called in a spreadsheet.
    pub parts: &'static [&'static str],
}

impl Table {
    /// The finished runs of a batch.
    ///
    /// # Errors
    /// If a file of a run is damaged.
    pub(super) fn of(folder: &Folder) -> Result<Self> {
        let Header { title, against, columns: wanted, .. } = &folder.header;
        let paths_wanted = wanted.as_ref().is_some_and(|columns| columns.contains(&Column::NegativePaths));
        let lines = Line::all(folder, paths_wanted)?;
        let about = About {
            against: against.as_ref().and_then(|name| lines.iter().find(|line| line.method() == name)),
            resplits: lines.iter().any(|line| line.resplit().is_some()),
            unit: Unit::of(lines.iter().flat_map(Line::finished)),
        };
        let (done, asked) = (lines.iter().flat_map(Line::finished).count(), folder.runs.len());
        let has_something = |column: &Column| lines.iter().any(|line| !column.cell(line, &about).is_empty());
        let mut columns = match wanted {
            Some(columns) => columns.clone(),
            None => DEFAULT.into_iter().filter(has_something).collect(),
        };
        let title = if done < asked {
            // How far each method is has to be seen then.
            if !columns.contains(&Column::Seeds) {
                columns.insert(1, Column::Seeds);
            }
            format!("{title}: {done} of {asked} runs so far")
        } else {
            title.clone()
        };
        let cells = |line: &Line| columns.iter().map(|column| column.cell(line, &about)).collect();
        let heading = |column: &Column| Heading { lines: column.head(&about), parts: column.parts() };
        Ok(Self { title, lines: lines.iter().map(cells).collect(), columns: columns.iter().map(heading).collect() })
    }
}
