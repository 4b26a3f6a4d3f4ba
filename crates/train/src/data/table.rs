use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use certificate::Interval;
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::error::{Cell, DataError, Result, nearest};
use super::manifest::{ColumnKind, Filter, Manifest, Range, Source, TableFile, Target, Variant};
use super::split::read_indices;

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
    /// Number of rows in each file, used or not.
    lengths: Vec<usize>,
    columns: usize,
}

impl Table {
    /// The feature columns of a row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// Reads the `text` of `file`, which is named in errors.
    ///
    /// # Errors
    /// At the first cell, row or column that is not as the manifest says.
    pub fn parse(manifest: &Manifest, variant: &Variant, file: &Path, text: &[u8]) -> Result<Self> {
        let unreadable = |source| DataError::Table { file: file.into(), source };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(manifest.delimiter)
            .has_headers(manifest.column_names.is_none())
            .trim(csv::Trim::All)
            .comment(manifest.comment)
            // The length of rows is checked below, against the header and with a line number.
            .flexible(true)
            .from_reader(text);
        let header = match &manifest.column_names {
            Some(names) => names.clone(),
            None => reader.headers().map_err(unreadable)?.iter().map(String::from).collect(),
        };
        let columns = Columns::find(manifest, file, &header)?;

        let mut table = Self {
            values: Vec::new(),
            targets: Vec::new(),
            rows: Vec::new(),
            lengths: vec![0],
            columns: columns.features.len(),
        };
        let mut record = csv::StringRecord::new();
        for row in 0.. {
            if !reader.read_record(&mut record).map_err(unreadable)? {
                break;
            }
            let row_reader = RowReader { manifest, variant, file, text, record: &record };
            if record.len() != header.len() {
                let (line, expected, found) = (row_reader.line(), header.len(), record.len());
                return Err(DataError::RowLength { file: file.into(), line, expected, found });
            }
            if row_reader.passes(&columns)? {
                row_reader.append(&columns, &mut table)?;
                table.rows.push(row);
            }
            table.lengths[0] = row + 1;
        }
        Ok(table)
    }

    /// Adds the rows of a table with the same columns; their numbers go on after the last row of this one.
    pub fn append(&mut self, other: Self) {
        let length = self.length();
        self.values.extend(other.values);
        self.targets.extend(other.targets);
        self.rows.extend(other.rows.iter().map(|row| length + row));
        self.lengths.extend(other.lengths);
    }

    /// Leaves out the rows that the list in `file` names by their number in the files.
    ///
    /// # Errors
    /// If the list cannot be read, or names a row twice or one that does not exist.
    pub fn drop_listed(&mut self, file: &Path) -> Result<()> {
        let mut listed = vec![false; self.length()];
        read_indices(file, &mut listed)?;
        let kept: Vec<_> = (0..self.rows.len()).filter(|&row| !listed[self.rows[row]]).collect();
        self.values = kept.iter().flat_map(|&row| self.row(row)).copied().collect();
        self.targets = kept.iter().map(|&row| self.targets[row]).collect();
        self.rows = kept.iter().map(|&row| self.rows[row]).collect();
        Ok(())
    }

    /// How many of the rows are from the first file; they stand before the others.
    pub fn rows_of_first_file(&self) -> usize {
        self.rows.partition_point(|&row| row < self.lengths[0])
    }

    /// Number of rows in all files, used or not.
    fn length(&self) -> usize {
        self.lengths.iter().sum()
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
    variant: &'a Variant,
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
                ColumnKind::Categorical { values: texts } | ColumnKind::Ordinal { levels: texts, .. } => {
                    self.category(column, text, texts)? as f64
                }
            };
            table.values.push(value);
        }
        let text = self.present(self.manifest.target.column(), columns.target)?;
        table.targets.push(match &self.manifest.target {
            Target::Binary { column, positive, negative, strip_suffix } => {
                let text = strip_suffix.as_ref().and_then(|suffix| text.strip_suffix(suffix)).unwrap_or(text);
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
        let is_row = |line: &[u8]| !matches!(line, b"" | b"\r") && line.first() != self.manifest.comment.as_ref();
        let skipped = self.text[before..].split(|byte| *byte == b'\n').take_while(|line| !is_row(line)).count();
        1 + self.text[..before].iter().filter(|byte| **byte == b'\n').count() + skipped
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
        let number = number.ok_or_else(|| DataError::NotANumber { cell: self.cell(column), found: text.into() })?;
        Ok(match self.variant.target_modulo {
            Some(modulus) if column == self.manifest.target.column() => number.rem_euclid(modulus.get().into()),
            _ => number,
        })
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

impl TableFile {
    /// Where the file lies: beside the manifest, or else under the folder of data sets, at `dataset_path`. In both places
    /// it may be compressed, with `.gz` added to its name.
    pub fn find(&self, folder: &Path, datasets: Option<&Path>) -> Option<PathBuf> {
        let places = [Some(folder.join(&self.file)), self.elsewhere(datasets)].into_iter().flatten();
        places.flat_map(|place| [place.clone(), place.with_added_extension("gz")]).find(|place| place.exists())
    }

    /// Checks that `path`, where the file was found, holds what it should.
    ///
    /// # Errors
    /// If it cannot be read or decompressed, or has another checksum.
    pub fn check(&self, path: &Path) -> Result<()> {
        self.read(path, &mut Sha256::new()).map(|_| ())
    }

    /// [`Self::find`].
    ///
    /// # Errors
    /// If it is in neither place. `source` is that of the manifest, for the message.
    pub(super) fn locate(&self, source: &Source, folder: &Path, datasets: Option<&Path>) -> Result<PathBuf> {
        self.find(folder, datasets).ok_or_else(|| {
            let from = source.url.as_ref().map_or_else(String::new, |url| format!(" (from {url})"));
            let or = match &self.dataset_path {
                Some(path) => format!(", or set DATASETS_DIR to a folder that holds {}", path.display()),
                None => String::new(),
            };
            let advice = format!("put the table there{from}{or}");
            DataError::MissingFile { file: folder.join(&self.file), elsewhere: self.elsewhere(datasets), advice }
        })
    }

    /// The text in `path`, where the file was found. The bytes that the checksum is of go into `digest` too.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(super) fn read(&self, path: &Path, digest: &mut Sha256) -> Result<Vec<u8>> {
        let stored = fs::read(path).map_err(|source| DataError::Read { file: path.into(), source })?;
        if !is_gzip(path) {
            self.check_bytes(path, &stored, digest)?;
            return Ok(stored);
        }
        // Of a file that is meant to be compressed the stored bytes are known, otherwise those of the text.
        if is_gzip(&self.file) {
            self.check_bytes(path, &stored, digest)?;
        }
        let mut text = Vec::new();
        let unpacked = MultiGzDecoder::new(stored.as_slice()).read_to_end(&mut text);
        unpacked.map_err(|source| DataError::Table { file: path.into(), source: source.into() })?;
        if !is_gzip(&self.file) {
            self.check_bytes(path, &text, digest)?;
        }
        Ok(text)
    }

    fn check_bytes(&self, path: &Path, bytes: &[u8], digest: &mut Sha256) -> Result<()> {
        let found = hexadecimal(&Sha256::digest(bytes));
        if !found.eq_ignore_ascii_case(&self.sha256) {
            return Err(DataError::Checksum { file: path.into(), expected: self.sha256.clone(), found });
        }
        digest.update(bytes);
        Ok(())
    }

    fn elsewhere(&self, datasets: Option<&Path>) -> Option<PathBuf> {
        Some(datasets?.join(self.dataset_path.as_ref()?))
    }
}

fn is_gzip(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "gz")
}

/// Bytes as text, two digits each.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Smallest and largest of some numbers.
pub(super) fn extent(values: impl Iterator<Item = f64>) -> Interval {
    values.fold(Interval::new(f64::INFINITY, f64::NEG_INFINITY), |extent, value| {
        Interval::new(extent.lower.min(value), extent.upper.max(value))
    })
}
