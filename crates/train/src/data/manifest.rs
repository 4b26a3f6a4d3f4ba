use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{self, Formatter};
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use certificate::{Direction, Interval, Scale};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::{DataError, Result, nearest};

/// The description of a data set, `datasets/<name>/manifest.toml`: where its table comes from, which rows and columns
/// of it are used and how, and how the rows are split.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: [`Manifest::FORMAT`].
    pub format: u32,
    /// Short name, as the folder is called.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Licence of the data, or what is known about it.
    pub licence: String,
    /// Where the data come from.
    pub source: Source,
    /// The table, relative to the manifest. Read as gzip if its name ends in `.gz`.
    pub file: PathBuf,
    /// The same table relative to the folder of data sets, where it is looked for if it is not beside the manifest.
    pub dataset_path: Option<PathBuf>,
    /// SHA-256 of the bytes of a file of this name (compressed, if it is), in hexadecimal. Where only a file with `.gz`
    /// added to the name is found, the checksum is that of what it holds.
    pub sha256: String,
    /// A second file with the same columns, whose rows follow those of the first.
    pub continued: Option<TableFile>,
    /// Where the table, or what it is made from, can be downloaded.
    #[serde(default, rename = "download")]
    pub downloads: Vec<Download>,
    /// Number of rows that the filters leave, for those who have not got the table.
    pub rows: Option<usize>,
    /// Between cells; one ASCII character. Spaces around a cell never count.
    #[serde(default = "comma", deserialize_with = "ascii")]
    pub delimiter: u8,
    /// Lines that begin with this ASCII character are no rows.
    #[serde(default, deserialize_with = "optional_ascii")]
    pub comment: Option<u8>,
    /// Names of all columns, if the file has no header line.
    pub column_names: Option<Vec<String>>,
    /// What stands in a cell whose value is missing, besides the empty text.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Rows to keep: those that pass every filter.
    #[serde(default, rename = "filter")]
    pub filters: Vec<Filter>,
    /// Input columns, in the order in which a model sees them.
    #[serde(default, rename = "feature")]
    pub features: Vec<FeatureColumn>,
    /// What is to be predicted.
    pub target: Target,
    /// Splits by name.
    #[serde(rename = "split")]
    pub splits: BTreeMap<String, Split>,
    /// The split to take if none is asked for.
    pub default_split: String,
    /// What the splits of these names change in the table.
    #[serde(default, rename = "variant")]
    pub variants: BTreeMap<String, Variant>,
}

/// A file of the table: there may be a second one, since some tables are published as a training and a test file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableFile {
    /// The file, relative to the manifest.
    pub file: PathBuf,
    /// The same relative to the folder of data sets.
    pub dataset_path: Option<PathBuf>,
    /// SHA-256 of the bytes of a file of this name.
    pub sha256: String,
}

/// Where a file can be had.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Canonical address.
    pub url: String,
    /// Name to store it under: that of a file of the table, or of what the table is made from.
    pub file: PathBuf,
    /// SHA-256 of its bytes, if it is no file of the table, whose own is known. A file without any is not downloaded,
    /// only pointed at: nobody could say whether it is the right one.
    pub sha256: Option<String>,
    /// Whether the site gives it only to those who have logged in there.
    #[serde(default)]
    pub login: bool,
    /// How the table is made from it, for people; `FILE` in it stands for where it lies.
    pub unpack: Option<String>,
}

/// What a split changes in the table before it divides the rows: for reproducing how others have read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// List of rows that are left out, one a line, relative to the manifest. They are counted from 0 in the file
    /// without the header, the second file going on after the first; what the filters drop counts too.
    pub drop_rows: Option<PathBuf>,
    /// A numeric target is replaced by its remainder, before filters look at it.
    pub target_modulo: Option<NonZeroU32>,
}

/// Where the data come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Who published what, and what was changed since.
    pub text: String,
    /// Canonical address.
    pub url: Option<String>,
}

/// A test that a row has to pass to be used. A row whose cell is missing never passes; a filter without any condition
/// drops only those.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The column looked at. It need not be a feature.
    pub column: String,
    /// Smallest number that passes.
    pub min: Option<f64>,
    /// Largest number that passes.
    pub max: Option<f64>,
    /// The text that does not pass.
    pub not_equal: Option<String>,
    /// The texts that pass.
    pub one_of: Option<Vec<String>>,
    /// The last text that passes, in the order of Unicode code points.
    pub max_string: Option<String>,
}

/// An input column.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureColumn {
    /// Name of the column.
    pub column: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// What an input column holds.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnKind {
    /// Numbers, scaled from their range to `[0, 1]`: one feature.
    Numeric {
        /// The range.
        range: Range,
        /// How they are spread over it.
        scale: Scale,
        /// Whether only integers occur.
        integer: bool,
        /// How the outputs have to follow it.
        direction: Direction,
    },
    /// One of these texts, encoded one-hot: one feature for each, in this order.
    Categorical {
        /// All texts that occur.
        values: Vec<String>,
    },
    /// One of these texts, which have an order: one integer feature, the position from 0.
    Ordinal {
        /// All texts that occur, the lowest first.
        levels: Vec<String>,
        /// How the outputs have to follow it.
        direction: Direction,
    },
}

/// The keys of `[[feature]]`, before it is known whether they fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureKeys {
    column: String,
    range: Option<Range>,
    scale: Option<Scale>,
    integer: Option<bool>,
    direction: Option<Direction>,
    values: Option<Vec<String>>,
    levels: Option<Vec<String>>,
}

/// The range of a numeric column: `[min, max]`, or `"fit"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// Known beforehand. A value outside is an error.
    Declared(Interval),
    /// From the smallest to the largest value among the fitting rows.
    ///
    /// Values of later rows that lie outside are moved to the nearer end, since nothing is certified beyond it, and
    /// [`Feature::clamped`](super::Feature::clamped) counts them. Moving is non-decreasing, so a model that is monotone
    /// on `[0, 1]` is monotone in the raw values too. Values of the target are never moved.
    Fit,
}

/// What is to be predicted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// One of two classes: 1 or 0.
    Binary {
        /// Name of the column.
        column: String,
        /// The text that means 1.
        positive: String,
        /// The text that means 0.
        negative: String,
        /// Taken off the end of a cell where it stands there.
        strip_suffix: Option<String>,
    },
    /// A number, scaled from its range to `[0, 1]`.
    Regression {
        /// Name of the column.
        column: String,
        /// The range.
        range: Range,
    },
}

impl Target {
    /// Name of the column.
    pub fn column(&self) -> &str {
        match self {
            Self::Binary { column, .. } | Self::Regression { column, .. } => column,
        }
    }
}

/// How the rows left by the filters become a fitting, a validation and a test part.
///
/// `test` is a fraction of all rows and `validation` one of the remaining ones. What is kept is rounded down:
/// `test = 0.2` of 6,172 rows keeps 4,937 and tests on 1,235. Without `validation` that part is empty.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum Split {
    /// Lists of row numbers, one a line, counted from 0 among the rows that are left by the filters. Every row has to
    /// be in exactly one of the two; their order is kept.
    Indices {
        /// File of the rows to fit on and to validate with, relative to the manifest.
        train: PathBuf,
        /// File of the rows to test with.
        test: PathBuf,
        /// Taken from the end of `train`.
        #[serde(default, deserialize_with = "fraction")]
        validation: f64,
    },
    /// The second file of the table is the test part.
    Files {
        /// Taken from the end of the first file, or drawn from it.
        #[serde(default, deserialize_with = "fraction")]
        validation: f64,
        /// The seed that they are drawn from, if they are.
        #[serde(default)]
        validation_seed: Option<u64>,
    },
    /// A permutation drawn from a seed.
    Random {
        /// The seed, unless another one is asked for.
        seed: u64,
        /// Taken from the end of the permutation.
        #[serde(deserialize_with = "fraction")]
        test: f64,
        /// Taken from the end of the others.
        #[serde(default, deserialize_with = "fraction")]
        validation: f64,
    },
    /// The order of the file.
    FileOrder {
        /// Taken from the end of the file.
        #[serde(deserialize_with = "fraction")]
        test: f64,
        /// Taken from the end of the others.
        #[serde(default, deserialize_with = "fraction")]
        validation: f64,
    },
}

impl Manifest {
    /// The version of the format that is read here.
    pub const FORMAT: u32 = 1;

    /// Reads and checks a manifest. The table is not looked at.
    ///
    /// # Errors
    /// If the file cannot be read, a key is unknown, missing or has a value that it cannot have, a column is used
    /// twice, or the default split does not exist.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).map_err(|source| DataError::Read { file: file.into(), source })?;
        let manifest: Self = toml::from_str(&text).map_err(|source| DataError::Manifest {
            file: file.into(),
            line: source.span().map(|span| 1 + text[..span.start].matches('\n').count()),
            source: Box::new(source),
        })?;
        manifest.check(file)?;
        Ok(manifest)
    }

    /// The files of the table, in order.
    pub fn files(&self) -> Vec<TableFile> {
        let Self { file, dataset_path, sha256, .. } = self.clone();
        [TableFile { file, dataset_path, sha256 }].into_iter().chain(self.continued.clone()).collect()
    }

    /// The split called `name`, or the default one.
    ///
    /// # Errors
    /// If there is none of that name. `file` is the manifest's, for the message.
    pub fn split<'a>(&'a self, name: Option<&'a str>, file: &Path) -> Result<(&'a str, &'a Split)> {
        let name = name.unwrap_or(&self.default_split);
        self.splits.get(name).map(|split| (name, split)).ok_or_else(|| {
            let known: Vec<_> = self.splits.keys().cloned().collect();
            DataError::UnknownSplit { file: file.into(), name: name.into(), nearest: nearest(name, &known), known }
        })
    }

    fn check(&self, file: &Path) -> Result<()> {
        if self.format != Self::FORMAT {
            return Err(DataError::Format { file: file.into(), expected: Self::FORMAT, found: self.format });
        }
        if self.features.is_empty() {
            return Err(DataError::NoFeature { file: file.into() });
        }
        self.split(None, file)?;
        for name in self.variants.keys() {
            self.split(Some(name), file)?;
        }

        let repeated = |column: &str| DataError::RepeatedColumn { file: file.into(), column: column.into() };
        let mut directions = HashMap::new();
        for feature in &self.features {
            let column = &feature.column;
            let second = feature.kind.direction();
            match directions.insert(column, second) {
                None => {}
                Some(first) if first == second => return Err(repeated(column)),
                Some(first) => {
                    let (file, column) = (file.into(), column.clone());
                    return Err(DataError::ContradictingDirections { file, column, first, second });
                }
            }
            if column == self.target.column() {
                return Err(repeated(column));
            }
        }
        Ok(())
    }
}

impl ColumnKind {
    /// How the outputs have to follow the column. A categorical one has no order, so it is always free.
    pub fn direction(&self) -> Direction {
        match self {
            Self::Numeric { direction, .. } | Self::Ordinal { direction, .. } => *direction,
            Self::Categorical { .. } => Direction::Free,
        }
    }
}

impl TryFrom<FeatureKeys> for FeatureColumn {
    type Error = String;

    fn try_from(keys: FeatureKeys) -> std::result::Result<Self, String> {
        let FeatureKeys { column, range, scale, integer, direction, values, levels } = keys;
        let kind = match (range, values, levels) {
            (Some(range), None, None) => {
                let integer = integer.unwrap_or(false);
                match range {
                    Range::Declared(Interval { lower, upper })
                        if integer && (lower.fract(), upper.fract()) != (0.0, 0.0) =>
                    {
                        return Err(format!("integer feature `{column}`: expected integers as ends of its range"));
                    }
                    _ => ColumnKind::Numeric {
                        range,
                        scale: scale.unwrap_or_default(),
                        integer,
                        direction: direction.unwrap_or(Direction::Free),
                    },
                }
            }
            (None, Some(_), None) if direction.is_some_and(|direction| direction != Direction::Free) => {
                return Err(format!(
                    "categorical feature `{column}` cannot be monotone, its values have no order: remove `direction`, or \
                     list them as `levels` if they have one"
                ));
            }
            (None, Some(_), None) | (None, None, Some(_)) if integer.is_some() => {
                return Err(format!("categorical feature `{column}`: `integer` belongs to numeric features"));
            }
            (None, Some(_), None) | (None, None, Some(_)) if scale.is_some() => {
                return Err(format!("categorical feature `{column}`: `scale` belongs to numeric features"));
            }
            (None, Some(texts), None) | (None, None, Some(texts)) if !are_different(&texts) => {
                return Err(format!("categorical feature `{column}`: expected two or more different values"));
            }
            (None, Some(values), None) => ColumnKind::Categorical { values },
            (None, None, Some(levels)) => {
                ColumnKind::Ordinal { levels, direction: direction.unwrap_or(Direction::Free) }
            }
            _ => {
                return Err(format!(
                    "feature `{column}`: expected either `range` (a numeric feature), `values` (a categorical one) or \
                     `levels` (one with an order)"
                ));
            }
        };
        Ok(Self { column, kind })
    }
}

// By hand, since an error of `#[serde(try_from)]` would be shown at the first feature instead of the wrong one.
impl<'de> Deserialize<'de> for FeatureColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct FeatureVisitor;

        impl<'de> Visitor<'de> for FeatureVisitor {
            type Value = FeatureColumn;

            fn expecting(&self, f: &mut Formatter) -> fmt::Result {
                f.write_str("a feature with `column` and either `range`, `values` or `levels`")
            }

            fn visit_map<A: MapAccess<'de>>(self, keys: A) -> std::result::Result<FeatureColumn, A::Error> {
                let keys = FeatureKeys::deserialize(MapAccessDeserializer::new(keys))?;
                FeatureColumn::try_from(keys).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_map(FeatureVisitor)
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct RangeVisitor;

        impl<'de> Visitor<'de> for RangeVisitor {
            type Value = Range;

            fn expecting(&self, f: &mut Formatter) -> fmt::Result {
                f.write_str("a range [min, max] with min < max, or \"fit\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Range, E> {
                if text == "fit" { Ok(Range::Fit) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut ends: A) -> std::result::Result<Range, A::Error> {
                let lower: f64 = ends.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let upper: f64 = ends.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
                if ends.next_element::<de::IgnoredAny>()?.is_some() {
                    return Err(de::Error::invalid_length(3, &self));
                }
                // The width is divided by, so it has to be finite as well.
                if lower < upper && (upper - lower).is_finite() {
                    Ok(Range::Declared(Interval::new(lower, upper)))
                } else {
                    Err(de::Error::custom(format!(
                        "expected a range [min, max] with min < max, found [{lower}, {upper}]"
                    )))
                }
            }
        }

        deserializer.deserialize_any(RangeVisitor)
    }
}

fn fraction<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<f64, D::Error> {
    let fraction = f64::deserialize(deserializer)?;
    if (0.0..1.0).contains(&fraction) {
        Ok(fraction)
    } else {
        Err(de::Error::custom(format!("expected a fraction from 0 to below 1, found {fraction}")))
    }
}

fn ascii<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<u8, D::Error> {
    let character = char::deserialize(deserializer)?;
    u8::try_from(character)
        .ok()
        .filter(u8::is_ascii)
        .ok_or_else(|| de::Error::custom(format!("expected an ASCII character, found `{character}`")))
}

fn optional_ascii<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<u8>, D::Error> {
    ascii(deserializer).map(Some)
}

/// Whether there are two texts or more, and none of them twice.
fn are_different(texts: &[String]) -> bool {
    texts.len() >= 2 && texts.iter().collect::<BTreeSet<_>>().len() == texts.len()
}

fn comma() -> u8 {
    b','
}
