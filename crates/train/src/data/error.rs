use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use certificate::{Direction, Interval};

/// Result of reading a data set.
pub type Result<T> = std::result::Result<T, DataError>;

/// One cell of a table, as an error names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The table.
    pub file: PathBuf,
    /// Line of the file on which the row begins, from 1.
    pub line: usize,
    /// The column.
    pub column: String,
}

impl Display for Cell {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}:{}: column `{}`", self.file.display(), self.line, self.column)
    }
}

/// What can be wrong with a manifest, its table or its splits.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file exists and cannot be read.
    #[error("{}: cannot be read", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// The table is neither beside the manifest nor under the folder of data sets.
    #[error("{}: no such file{}; {advice}", file.display(), or_elsewhere(elsewhere))]
    MissingFile {
        /// The place beside the manifest.
        file: PathBuf,
        /// The place under the folder of data sets, if both a folder and a path in it are known.
        elsewhere: Option<PathBuf>,
        /// What to do.
        advice: String,
    },

    /// The file has other bytes than the manifest promises.
    #[error(
        "{}: sha256 is {found}, expected {expected}: get the file that the manifest describes, or put the found value \
         into the manifest if the change is intended",
        file.display()
    )]
    Checksum {
        /// The file.
        file: PathBuf,
        /// What the manifest says.
        expected: String,
        /// What the file has.
        found: String,
    },

    /// The manifest is no TOML, or has a key that is unknown, missing or has a wrong value.
    #[error("{}{}: not a valid manifest", file.display(), at_line(line))]
    Manifest {
        /// The manifest.
        file: PathBuf,
        /// The line, where it is known.
        line: Option<usize>,
        /// What and where.
        source: Box<toml::de::Error>,
    },

    /// The manifest belongs to another version of the format.
    #[error("{}: format is {found}, expected {expected}: use a version of this program that reads it", file.display())]
    Format {
        /// The manifest.
        file: PathBuf,
        /// What this program reads.
        expected: u32,
        /// What the manifest says.
        found: u32,
    },

    /// The manifest lists no feature.
    #[error("{}: there is no feature: add one `[[feature]]` for each input column", file.display())]
    NoFeature {
        /// The manifest.
        file: PathBuf,
    },

    /// The manifest uses a column twice, as features or as feature and target.
    #[error("{}: column `{column}` is used twice: leave one of them out", file.display())]
    RepeatedColumn {
        /// The manifest.
        file: PathBuf,
        /// The column.
        column: String,
    },

    /// The manifest lists a feature twice and wants it to act in different directions.
    #[error(
        "{}: feature `{column}` is {} in one place and {} in another: keep the one that is meant",
        file.display(), direction_name(*first), direction_name(*second)
    )]
    ContradictingDirections {
        /// The manifest.
        file: PathBuf,
        /// The column.
        column: String,
        /// The direction that comes first in the manifest.
        first: Direction,
        /// The other one.
        second: Direction,
    },

    /// The asked split is not in the manifest.
    #[error(
        "{}: there is no split `{name}`{}: the manifest has {}",
        file.display(), did_you_mean(nearest), quoted(known)
    )]
    UnknownSplit {
        /// The manifest.
        file: PathBuf,
        /// What was asked for.
        name: String,
        /// The most similar name.
        nearest: Option<String>,
        /// All splits of the manifest.
        known: Vec<String>,
    },

    /// The table is no text in UTF-8, or its compression is damaged.
    #[error("{}: not a readable table", file.display())]
    Table {
        /// The table.
        file: PathBuf,
        /// Why.
        source: csv::Error,
    },

    /// The table lacks a column.
    #[error(
        "{}: there is no column `{column}`{}: the file has {}; correct the name in the manifest or in the file",
        file.display(), did_you_mean(nearest), quoted(known)
    )]
    MissingColumn {
        /// The table.
        file: PathBuf,
        /// What the manifest asks for.
        column: String,
        /// The most similar name.
        nearest: Option<String>,
        /// All columns of the table.
        known: Vec<String>,
    },

    /// A column that is used occurs twice in the header, so it is not clear which one is meant.
    #[error("{}: the header has column `{column}` twice: rename or remove one of them", file.display())]
    DuplicateColumn {
        /// The table.
        file: PathBuf,
        /// The column.
        column: String,
    },

    /// A row has too few or too many cells.
    #[error(
        "{}:{line}: the row has {found} cells, expected {expected}: look for a missing or an unquoted delimiter",
        file.display()
    )]
    RowLength {
        /// The table.
        file: PathBuf,
        /// Line on which the row begins.
        line: usize,
        /// Number of columns.
        expected: usize,
        /// Number of cells.
        found: usize,
    },

    /// A feature or the target has no value.
    #[error(
        "{cell}: the value is missing (`{found}`): fill it in, or drop such rows with `[[filter]]` and `column = \
         \"{}\"` in the manifest",
        cell.column
    )]
    MissingValue {
        /// Where.
        cell: Box<Cell>,
        /// What stands there.
        found: String,
    },

    /// A cell that should be a finite number is something else, NaN or infinite.
    #[error(
        "{cell}: expected a finite number, found `{found}`: correct it, or list it under `missing` in the manifest"
    )]
    NotANumber {
        /// Where.
        cell: Box<Cell>,
        /// What stands there.
        found: String,
    },

    /// A feature declared as integer has another value.
    #[error("{cell}: expected an integer, found {found}: correct it, or remove `integer` from the feature")]
    NotAnInteger {
        /// Where.
        cell: Box<Cell>,
        /// What stands there.
        found: f64,
    },

    /// A value lies outside the range that the manifest declares.
    #[error(
        "{cell}: expected a value in [{}, {}], found {found}: correct it, widen `range`, or drop such rows with a \
         `[[filter]]`",
        range.lower, range.upper
    )]
    OutOfRange {
        /// Where.
        cell: Box<Cell>,
        /// What stands there.
        found: f64,
        /// The declared range.
        range: Interval,
    },

    /// A categorical feature or a binary target has a value that the manifest does not list.
    #[error("{cell}: expected one of {}, found `{found}`{}", quoted(known), did_you_mean(nearest))]
    UnknownCategory {
        /// Where.
        cell: Box<Cell>,
        /// What stands there.
        found: String,
        /// The most similar category.
        nearest: Option<String>,
        /// All categories.
        known: Vec<String>,
    },

    /// An integer feature ranges over more integers than a domain can count.
    #[error("{}: feature `{column}` has {steps} steps, expected at most {}: remove `integer`", file.display(), u32::MAX)]
    TooManySteps {
        /// The table.
        file: PathBuf,
        /// The column.
        column: String,
        /// From the lower to the upper end of its range.
        steps: f64,
    },

    /// A range is to be fitted to a feature that has the same value in all fitting rows.
    #[error(
        "{}: column `{column}` is {value} in all rows to fit on: leave it out, or declare its range instead of \"fit\"",
        file.display()
    )]
    ConstantColumn {
        /// The table.
        file: PathBuf,
        /// The column.
        column: String,
        /// Its value.
        value: f64,
    },

    /// The target of all fitting rows is the same.
    #[error(
        "{}: target `{column}` is {value} in all rows to fit on: there is nothing to learn; check the filters, the \
         target and the split",
        file.display()
    )]
    OneClass {
        /// The table.
        file: PathBuf,
        /// The target column.
        column: String,
        /// 1 for the positive class and 0 for the negative one, or the value of a regression target.
        value: f64,
    },

    /// A part of the split has no row.
    #[error("split `{split}`: the {part} part is empty ({rows} rows are left after the filters): change its fractions")]
    EmptyPart {
        /// The split.
        split: String,
        /// `fitting`, `validation` or `test`.
        part: &'static str,
        /// Number of rows to split.
        rows: usize,
    },

    /// A line of an index file is no row number.
    #[error("{}:{line}: expected a row number from 0, found `{found}`", file.display())]
    NotAnIndex {
        /// The index file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What stands there.
        found: String,
    },

    /// An index names a row that does not exist.
    #[error(
        "{}:{line}: row {index} does not exist: {rows} rows are left after the filters, counted from 0",
        file.display()
    )]
    IndexOutOfRange {
        /// The index file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The index.
        index: usize,
        /// Number of rows.
        rows: usize,
    },

    /// An index occurs twice, in one part or in two.
    #[error("{}:{line}: row {index} is listed a second time: each row belongs to exactly one part", file.display())]
    RepeatedIndex {
        /// The index file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The index.
        index: usize,
    },

    /// The index files leave rows out.
    #[error(
        "split `{split}`: {count} of {rows} rows are in no index file, the first is row {first}: list them, or drop \
         them with a `[[filter]]`"
    )]
    UnlistedRows {
        /// The split.
        split: String,
        /// Number of rows left out.
        count: usize,
        /// The first of them.
        first: usize,
        /// Number of rows.
        rows: usize,
    },
}

/// The name most similar to `wanted`, if one is similar enough to be a slip of the pen.
pub(super) fn nearest(wanted: &str, known: &[String]) -> Option<String> {
    let similarity = |name: &String| strsim::jaro_winkler(&wanted.to_lowercase(), &name.to_lowercase());
    let best = known.iter().map(|name| (similarity(name), name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    // 0.8 joins `prior_count` to `priors_count` and `Hispanc` to `Hispanic`, and keeps `age` and `race` apart.
    (best.0 >= 0.8).then(|| best.1.clone())
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

/// At most a dozen names: a file may have hundreds of columns.
fn quoted(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(12).map(|name| format!("`{name}`")).collect();
    let more = names.len() - shown.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &rest
}

fn or_elsewhere(elsewhere: &Option<PathBuf>) -> String {
    elsewhere.as_ref().map_or_else(String::new, |path| format!(", nor {}", path.display()))
}

fn at_line(line: &Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(":{line}"))
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Increasing => "increasing",
        Direction::Decreasing => "decreasing",
        Direction::Free => "free",
    }
}
