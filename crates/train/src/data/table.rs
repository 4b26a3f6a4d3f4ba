use std::borrow::Cow;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use certificate::Interval;
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::error::{Cell, DataError, Result, nearest};
use super::manifest::{ColumnKind, Filter, Manifest, Range, Target};

/// The rows of a file that pass the filters, and of these the columns that are used, as numbers.
#[derive(Debug)]
pub(super) struct Table {
    /// One row after another, in each row the feature columns in the order of the manifest: the number of a numeric
    /// column, the position of the value of a categorical one.
    pub values: Vec<f64>,
    /// One target per row: the number, or 1 and 0 for the positive and the negative class.
    pub targets: Vec<f64>,
    /// For each row its number in the file, counted from 0 without the header.
    pub rows: Vec<usize>,
    /// Number of rows in the file, used or not.
    length: usize,
    columns: usize,
}

impl Table {
    /// The feature columns of a row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// Reads the `bytes` of `file`, which is named in errors and tells by its ending whether they are compressed.
    ///
    /// # Errors
    /// At the first cell, row or column that is not as the manifest says.
    pub fn parse(manifest: &Manifest, file: &Path, bytes: &[u8]) -> Result<Self> {
        let unreadable = |source| DataError::Table { file: file.into(), source };
        let text = decompress(file, bytes).map_err(|source| unreadable(source.into()))?;
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(manifest.delimiter)
            .has_headers(manifest.column_names.is_none())
            .trim(csv::Trim::All)
            // The length of rows is checked below, against the header and with a line number.
            .flexible(true)
            .from_reader(text.as_ref());
        let header = match &manifest.column_names {
            Some(names) => names.clone(),
            None => reader.headers().map_err(unreadable)?.iter().map(String::from).collect(),
        };
        let columns = Columns::find(manifest, file, &header)?;

        let mut table = Self {
            values: Vec::new(),
            targets: Vec::new(),
            rows: Vec::new(),
            length: 0,
            columns: columns.features.len(),
        };
        let mut record = csv::StringRecord::new();
        for row in 0.. {
            if !reader.read_record(&mut record).map_err(unreadable)? {
                break;
            }
            let row_reader = RowReader { manifest, file, text: &text, record: &record };
            if record.len() != header.len() {
                let (line, expected, found) = (row_reader.line(), header.len(), record.len());
                return Err(DataError::RowLength { file: file.into(), line, expected, found });
            }
            if row_reader.passes(&columns)? {
                row_reader.append(&columns, &mut table)?;
                table.rows.push(row);
            }
            table.length = row + 1;
        }
        Ok(table)
    }

    /// Adds the rows of a table with the same columns; their numbers go on after the last row of this file.
    pub fn append(&mut self, other: Self) {
        self.values.extend(other.values);
        self.targets.extend(other.targets);
        self.rows.extend(other.rows.iter().map(|row| self.length + row));
        self.length += other.length;
    }
}

/// Where the columns that are used stand in a row.
struct Columns {
    filters: Vec<usize>,
    features: Vec<usize>,
    target: usize,
}

impl Columns {
    fn find(manifest: &Manifest, file: &Path, header: &[String]) -> Result<Self> {
        let position = |column: &str| {
            let mut positions = header.iter().enumerate().filter(|(_, name)| *name == column).map(|(i, _)| i);
            let missing = || DataError::MissingColumn {
                file: file.into(),
                column: column.into(),
                nearest: nearest(column, header),
                known: header.to_vec(),
            };
            let position = positions.next().ok_or_else(missing)?;
            match positions.next() {
                None => Ok(position),
                Some(_) => Err(DataError::DuplicateColumn { file: file.into(), column: column.into() }),
            }
        };
        Ok(Self {
            filters: manifest.filters.iter().map(|filter| position(&filter.column)).collect::<Result<_>>()?,
            features: manifest.features.iter().map(|feature| position(&feature.column)).collect::<Result<_>>()?,
            target: position(manifest.target.column())?,
        })
    }
}

/// One row of the file.
struct RowReader<'a> {
    manifest: &'a Manifest,
    file: &'a Path,
    text: &'a [u8],
    record: &'a csv::StringRecord,
}

impl RowReader<'_> {
    fn passes(&self, columns: &Columns) -> Result<bool> {
        for (filter, &position) in self.manifest.filters.iter().zip(&columns.filters) {
            let text = &self.record[position];
            if self.is_missing(text) || !self.passes_filter(filter, text)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn passes_filter(&self, filter: &Filter, text: &str) -> Result<bool> {
        let Filter { column, min, max, not_equal, one_of, max_string } = filter;
        if min.is_some() || max.is_some() {
            let number = self.number(column, text)?;
            if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
                return Ok(false);
            }
        }
        Ok(not_equal.as_ref().is_none_or(|value| text != value)
            && one_of.as_ref().is_none_or(|values| values.iter().any(|value| text == value))
            && max_string.as_ref().is_none_or(|last| text <= last.as_str()))
    }

    fn append(&self, columns: &Columns, table: &mut Table) -> Result<()> {
        for (feature, &position) in self.manifest.features.iter().zip(&columns.features) {
            let column = &feature.column;
            let text = self.present(column, position)?;
            let value = match &feature.kind {
                ColumnKind::Numeric { range, integer, .. } => {
                    let number = self.in_range(column, text, *range)?;
                    if *integer && number.fract() != 0.0 {
                        return Err(DataError::NotAnInteger { cell: self.cell(column), found: number });
                    }
                    number
                }
                ColumnKind::Categorical { values } => self.category(column, text, values)? as f64,
            };
            table.values.push(value);
        }
        let text = self.present(self.manifest.target.column(), columns.target)?;
        table.targets.push(match &self.manifest.target {
            Target::Binary { column, positive, negative } => {
                self.category(column, text, &[negative.clone(), positive.clone()])? as f64
            }
            Target::Regression { column, range } => self.in_range(column, text, *range)?,
        });
        Ok(())
    }

    fn cell(&self, column: &str) -> Box<Cell> {
        Box::new(Cell { file: self.file.into(), line: self.line(), column: column.into() })
    }

    /// Line on which the row begins, from 1.
    ///
    /// Counted from its bytes: the line that `csv` gives is one too small after CRLF and after an empty line.
    fn line(&self) -> usize {
        let before = self.record.position().map_or(0, |position| position.byte() as usize);
        let blank = self.text[before..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        1 + self.text[..before + blank].iter().filter(|byte| **byte == b'\n').count()
    }

    fn is_missing(&self, text: &str) -> bool {
        text.is_empty() || self.manifest.missing.iter().any(|token| token == text)
    }

    fn present(&self, column: &str, position: usize) -> Result<&str> {
        let text = &self.record[position];
        if self.is_missing(text) {
            return Err(DataError::MissingValue { cell: self.cell(column), found: text.into() });
        }
        Ok(text)
    }

    fn number(&self, column: &str, text: &str) -> Result<f64> {
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| DataError::NotANumber { cell: self.cell(column), found: text.into() })
    }

    fn in_range(&self, column: &str, text: &str, range: Range) -> Result<f64> {
        let found = self.number(column, text)?;
        match range {
            Range::Declared(range) if !range.contains(found) => {
                Err(DataError::OutOfRange { cell: self.cell(column), found, range })
            }
            _ => Ok(found),
        }
    }

    fn category(&self, column: &str, text: &str, values: &[String]) -> Result<usize> {
        values.iter().position(|value| value == text).ok_or_else(|| DataError::UnknownCategory {
            cell: self.cell(column),
            found: text.into(),
            nearest: nearest(text, values),
            known: values.to_vec(),
        })
    }
}

/// The text of a table whose file name ends in `.gz`, or else the bytes as they are.
fn decompress<'a>(file: &Path, bytes: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
    if file.extension().is_none_or(|extension| extension != "gz") {
        return Ok(bytes.into());
    }
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut text)?;
    Ok(text.into())
}

/// Where a file of a manifest lies: beside it, or else under the folder of data sets, at `dataset_path`.
///
/// # Errors
/// If it is in neither place.
pub(super) fn locate(
    manifest: &Manifest,
    file: &Path,
    dataset_path: Option<&Path>,
    folder: &Path,
    datasets: Option<&Path>,
) -> Result<PathBuf> {
    let beside = folder.join(file);
    if beside.exists() {
        return Ok(beside);
    }
    let elsewhere = datasets.zip(dataset_path).map(|(datasets, path)| datasets.join(path));
    if let Some(path) = elsewhere.as_ref().filter(|path| path.exists()) {
        return Ok(path.clone());
    }
    let from = manifest.source.url.as_ref().map_or_else(String::new, |url| format!(" (from {url})"));
    let or = match dataset_path {
        Some(path) => format!(", or set DATASETS_DIR to a folder that holds {}", path.display()),
        None => String::new(),
    };
    let advice = format!("put the table there{from}{or}");
    Err(DataError::MissingFile { file: beside, elsewhere, advice })
}

/// SHA-256 of some bytes in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of `file` and their SHA-256 in hexadecimal.
///
/// # Errors
/// If the file cannot be read, or its SHA-256 is not `expected`.
pub(super) fn read_checked(file: &Path, expected: &str) -> Result<(Vec<u8>, String)> {
    let bytes = fs::read(file).map_err(|source| DataError::Read { file: file.into(), source })?;
    let found = sha256(&bytes);
    if !found.eq_ignore_ascii_case(expected) {
        return Err(DataError::Checksum { file: file.into(), expected: expected.into(), found });
    }
    Ok((bytes, found))
}

/// Smallest and largest of some numbers.
pub(super) fn extent(values: impl Iterator<Item = f64>) -> Interval {
    values.fold(Interval::new(f64::INFINITY, f64::NEG_INFINITY), |extent, value| {
        Interval::new(extent.lower.min(value), extent.upper.max(value))
    })
}
