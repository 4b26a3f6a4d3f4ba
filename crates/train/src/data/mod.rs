//! Data sets: a table, and a manifest that says how to read it.
//!
//! A manifest names the file and its checksum, the rows and columns to use, ranges, categories, directions and splits;
//! `datasets/README.md` describes its keys. [`DataSet::load`] turns it into numbers in `[0, 1]` and stops at the first
//! thing that is not as the manifest says. Nothing here draws batches or knows a model.
//!
//! ```
//! use train::data::DataSet;
//!
//! let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/example/manifest.toml");
//! let data = DataSet::load(manifest.as_ref(), None, None)?;
//! let names: Vec<_> = data.features.iter().map(|feature| feature.name.as_str()).collect();
//! assert_eq!(names, ["area_m2", "distance_km", "heating=gas", "heating=district", "heating=heat pump"]);
//! assert_eq!([data.fit.len(), data.validation.len(), data.test.len()], [128, 32, 40]);
//! # Ok::<(), train::data::DataError>(())
//! ```

mod encode;
mod error;
mod manifest;
mod split;
mod table;
#[cfg(test)]
mod tests;

use std::env;
use std::path::{Path, PathBuf};

use certificate::{Direction, Domain, IntegerFeature, Interval, ModelFeature, MonotoneFeatures, Scale};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::encode::Encoder;
pub use self::error::{Cell, DataError, Result};
pub use self::manifest::{
    ColumnKind, Download, FeatureColumn, Filter, Manifest, Range, Source, Split, TableFile, Target, Variant,
};
use self::table::Table;

/// Name of the environment variable with the folder in which tables are looked for that are not beside their manifest.
pub const DATASETS_DIR: &str = "DATASETS_DIR";

/// A table, encoded and split.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    /// Short name.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// The inputs, in the order of the columns of [`Part::x`].
    pub features: Vec<Feature>,
    /// What is predicted.
    pub task: Task,
    /// The same with the names of column and class, as a model file carries it.
    pub target: certificate::Target,
    /// Rows to fit on.
    pub fit: Part,
    /// Rows to choose an epoch or a setting with; may be empty.
    pub validation: Part,
    /// Rows to report on.
    pub test: Part,
    /// Name of the split.
    pub split: String,
    /// The seed that the split was drawn from, if it was drawn.
    pub split_seed: Option<u64>,
    /// The file that was read, the first if there are two.
    pub file: PathBuf,
    /// SHA-256 in hexadecimal of the bytes whose checksum the manifest gives; of two files, of the bytes of both one
    /// after the other.
    pub sha256: String,
}

/// One input of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// The column; for a category also its value, as in `race=Hispanic`.
    pub name: String,
    /// How the outputs have to follow it.
    pub direction: Direction,
    /// The raw values that 0 and 1 stand for.
    pub range: Interval,
    /// How the values between them are spread.
    pub scale: Scale,
    /// What values it takes.
    pub kind: FeatureKind,
    /// Number of rows whose value lay outside a fitted range and was moved to its end; see [`Range::Fit`].
    pub clamped: usize,
}

impl Feature {
    /// The raw value that the input `x` of a model stands for.
    pub fn raw(&self, x: f64) -> f64 {
        self.scale.from_unit(self.range, x)
    }

    /// What a model file says about it.
    pub fn of_a_model(&self) -> ModelFeature {
        ModelFeature {
            name: self.name.clone(),
            direction: self.direction,
            minimum: self.range.lower,
            maximum: self.range.upper,
            scale: self.scale,
        }
    }
}

/// What values a feature takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureKind {
    /// Any number.
    Real,
    /// Integers, which are `0, 1/steps, 2/steps, .., 1` after scaling.
    Integer {
        /// Number of steps from one end of the range to the other.
        steps: u32,
    },
    /// 1 if the categorical column has the value of this feature, otherwise 0.
    Category {
        /// The column.
        column: String,
    },
}

/// What is predicted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Task {
    /// Whether a row belongs to the positive class: the targets are 1 and 0.
    Binary,
    /// A number: the targets are scaled.
    Regression {
        /// The raw values that the targets 0 and 1 stand for. If it was fitted, targets of other rows may lie outside.
        range: Interval,
    },
}

/// Some of the rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    /// Inputs in `[0, 1]`, one row after another.
    pub x: Vec<f32>,
    /// One target per row.
    pub y: Vec<f32>,
    /// For each row its number in the file, counted from 0 without the header; a second file goes on counting.
    pub rows: Vec<usize>,
}

impl Part {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Which scales the numeric features get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scales {
    /// Those that the manifest declares.
    #[default]
    Declared,
    /// Linear ones, whatever it declares: as in the paper.
    Linear,
}

/// How much of what is known about the features a domain expresses. Each one is contained in those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainKind {
    /// The unit cube.
    Box,
    /// Of the features of a categorical column exactly one is 1.
    OneHot,
    /// Besides that, integer features take only the values of integers.
    OneHotInteger,
}

impl DataSet {
    /// Loads the data set of a manifest with the split called `split`, by default the manifest's own choice.
    ///
    /// `seed` takes the place of a random split's own seed; other splits draw nothing and do not look at it. A table
    /// that is not beside the manifest is looked for under the folder that the environment variable [`DATASETS_DIR`]
    /// names, at the manifest's `dataset_path`.
    ///
    /// # Errors
    /// If anything is not as the manifest says, at the first such thing: [`DataError`] lists what that can be.
    pub fn load(manifest: &Path, split: Option<&str>, seed: Option<u64>) -> Result<Self> {
        Self::load_scaled(manifest, split, seed, Scales::Declared)
    }

    /// [`Self::load`] with a choice of scales.
    ///
    /// # Errors
    /// As there.
    pub fn load_scaled(manifest: &Path, split: Option<&str>, seed: Option<u64>, scales: Scales) -> Result<Self> {
        let datasets = env::var_os(DATASETS_DIR).map(PathBuf::from);
        Self::load_from(manifest, split, seed, scales, datasets.as_deref())
    }

    fn load_from(
        manifest: &Path,
        split: Option<&str>,
        seed: Option<u64>,
        scales: Scales,
        datasets: Option<&Path>,
    ) -> Result<Self> {
        let path = manifest;
        let folder = path.parent().unwrap_or(Path::new(""));
        let manifest = Manifest::read(path)?;
        let (split_name, split) = manifest.split(split, path)?;

        let variant = manifest.variants.get(split_name).cloned().unwrap_or_default();

        let [first, others @ ..] = &manifest.files()[..] else { unreachable!("a manifest names a file") };
        let mut digest = Sha256::new();
        let mut read = |table_file: &TableFile| {
            let file = table_file.locate(&manifest.source, folder, datasets)?;
            let table = Table::parse(&manifest, &variant, &file, &table_file.read(&file, &mut digest)?)?;
            Ok((file, table))
        };
        let (file, mut table) = read(first)?;
        for other in others {
            table.append(read(other)?.1);
        }
        if let Some(list) = &variant.drop_rows {
            table.drop_listed(&folder.join(list))?;
        }
        let parts = split.divide(split_name, seed, &table, folder)?;
        let mut encoder = Encoder::new(&manifest.features, scales, &manifest.target, &table, &parts.fit, &file)?;

        let split_seed = match split {
            Split::Random { seed: default, .. } => Some(seed.unwrap_or(*default)),
            Split::Indices { .. } | Split::Files { .. } | Split::FileOrder { .. } => None,
        };
        Ok(Self {
            fit: encoder.encode(&table, &parts.fit),
            validation: encoder.encode(&table, &parts.validation),
            test: encoder.encode(&table, &parts.test),
            split: split_name.into(),
            split_seed,
            features: encoder.features,
            task: encoder.task,
            target: named_target(&manifest.target, encoder.task),
            name: manifest.name,
            title: manifest.title,
            file,
            sha256: table::hexadecimal(&digest.finalize()),
        })
    }

    /// The same data with the validation rows among those to fit on. They still stand as validation rows too, where scores
    /// on them now say how well they were learned, and nothing about other rows.
    pub fn with_validation_fitted(&self) -> Self {
        Self { fit: self.training_part(), ..self.clone() }
    }

    /// Fitting and validation rows: all that may be learned from.
    pub(crate) fn training_part(&self) -> Part {
        let mut part = self.fit.clone();
        part.x.extend(&self.validation.x);
        part.y.extend(&self.validation.y);
        part.rows.extend(&self.validation.rows);
        part
    }

    /// The direction of each feature.
    pub fn directions(&self) -> MonotoneFeatures {
        MonotoneFeatures(self.features.iter().map(|feature| feature.direction).collect())
    }

    /// Where a model of the data has to be monotone.
    pub fn domain(&self, kind: DomainKind) -> Domain {
        let input_box = vec![Interval::new(0.0, 1.0); self.features.len()];
        let one_hot = if kind == DomainKind::Box { Vec::new() } else { self.one_hot_groups() };
        let integer = if kind == DomainKind::OneHotInteger { self.integer_features() } else { Vec::new() };
        Domain::new(input_box, one_hot, integer).expect("a manifest has neither an empty range nor a single category")
    }

    fn one_hot_groups(&self) -> Vec<Vec<usize>> {
        let column = |j: &usize| match &self.features[*j].kind {
            FeatureKind::Category { column } => Some(column),
            FeatureKind::Real | FeatureKind::Integer { .. } => None,
        };
        let categories: Vec<_> = (0..self.features.len()).filter(|j| column(j).is_some()).collect();
        // The categories of a column stand side by side, and no column is used twice.
        categories.chunk_by(|a, b| column(a) == column(b)).map(<[usize]>::to_vec).collect()
    }

    fn integer_features(&self) -> Vec<IntegerFeature> {
        let integer = |(input, feature): (usize, &Feature)| match feature.kind {
            FeatureKind::Integer { steps } => Some(IntegerFeature { input, steps }),
            FeatureKind::Real | FeatureKind::Category { .. } => None,
        };
        self.features.iter().enumerate().filter_map(integer).collect()
    }
}

fn named_target(target: &Target, task: Task) -> certificate::Target {
    match (target, task) {
        (Target::Binary { column, positive, .. }, _) => {
            certificate::Target::Binary { column: column.clone(), positive: positive.clone() }
        }
        (Target::Regression { column, .. }, task) => {
            let Task::Regression { range } = task else { unreachable!("a numeric target makes a regression") };
            certificate::Target::Regression { column: column.clone(), minimum: range.lower, maximum: range.upper }
        }
    }
}
