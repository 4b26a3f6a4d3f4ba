use std::path::Path;

use certificate::{Direction, Interval, Scale};

use super::error::{DataError, Result};
use super::manifest::{ColumnKind, FeatureColumn, Range, Target};
use super::table::{Table, extent};
use super::{Feature, FeatureKind, Part, Scales, Task};

/// Turns rows of a table into inputs and targets of a model, all scaled to `[0, 1]`.
#[derive(Debug)]
pub(super) struct Encoder {
    pub features: Vec<Feature>,
    pub task: Task,
    columns: Vec<Code>,
}

/// How one column is encoded.
#[derive(Debug)]
enum Code {
    Scale(Interval, Scale),
    OneHot(usize),
}

impl Encoder {
    /// Takes declared ranges as they are and the others from the rows `fit`.
    ///
    /// # Errors
    /// If a column whose range is to be fitted, or the target, is the same in all of them, or an integer feature has
    /// too many steps. `file` is the table's, for the message.
    pub fn new(
        columns: &[FeatureColumn],
        scales: Scales,
        target: &Target,
        table: &Table,
        fit: &[usize],
        file: &Path,
    ) -> Result<Self> {
        let mut encoder = Self { features: Vec::new(), task: Task::Binary, columns: Vec::new() };
        for (position, column) in columns.iter().enumerate() {
            let values = fit.iter().map(|&row| table.row(row)[position]);
            encoder.add(column, scales, extent(values), file)?;
        }

        let targets = extent(fit.iter().map(|&row| table.targets[row]));
        if targets.lower == targets.upper {
            let (column, value) = (target.column().into(), targets.lower);
            return Err(DataError::OneClass { file: file.into(), column, value });
        }
        if let Target::Regression { range, .. } = target {
            encoder.task = Task::Regression { range: range.resolve(targets) };
        }
        Ok(encoder)
    }

    fn add(&mut self, column: &FeatureColumn, scales: Scales, fitted: Interval, file: &Path) -> Result<()> {
        let name = column.column.clone();
        match &column.kind {
            ColumnKind::Numeric { range, scale, integer, direction } => {
                let scale = if scales == Scales::Linear { Scale::Linear } else { *scale };
                let range = range.resolve(fitted);
                if range.lower == range.upper {
                    return Err(DataError::ConstantColumn { file: file.into(), column: name, value: range.lower });
                }
                let steps = range.upper - range.lower;
                if *integer && steps > f64::from(u32::MAX) {
                    return Err(DataError::TooManySteps { file: file.into(), column: name, steps });
                }
                // Only a linear scale leaves integers at equal distances, which is what a domain can express.
                let kind = match (*integer, scale) {
                    (true, Scale::Linear) => FeatureKind::Integer { steps: steps as u32 },
                    _ => FeatureKind::Real,
                };
                self.features.push(Feature { name, direction: *direction, range, scale, kind, clamped: 0 });
                self.columns.push(Code::Scale(range, scale));
            }
            ColumnKind::Ordinal { levels, direction } => {
                let steps = levels.len() - 1;
                let range = Interval::new(0.0, steps as f64);
                let kind = FeatureKind::Integer { steps: steps as u32 };
                let scale = Scale::Linear;
                self.features.push(Feature { name, direction: *direction, range, scale, kind, clamped: 0 });
                self.columns.push(Code::Scale(range, scale));
            }
            ColumnKind::Categorical { values } => {
                self.features.extend(values.iter().map(|value| Feature {
                    name: format!("{name}={value}"),
                    direction: Direction::Free,
                    range: Interval::new(0.0, 1.0),
                    scale: Scale::Linear,
                    kind: FeatureKind::Category { column: name.clone() },
                    clamped: 0,
                }));
                self.columns.push(Code::OneHot(values.len()));
            }
        }
        Ok(())
    }

    /// Encodes the `rows` of a table and counts in [`Feature::clamped`] the values that had to be moved.
    pub fn encode(&mut self, table: &Table, rows: &[usize]) -> Part {
        let mut part = Part::default();
        let mut features = Vec::with_capacity(self.features.len());
        for &row in rows {
            self.encode_row(table.row(row), &mut features);
            part.x.extend(features.iter().map(|&value| value as f32));
            part.y.push(self.encode_target(table.targets[row]) as f32);
            part.rows.push(table.rows[row]);
        }
        part
    }

    /// Replaces `features` by those of one row.
    pub fn encode_row(&mut self, row: &[f64], features: &mut Vec<f64>) {
        features.clear();
        for (code, &value) in self.columns.iter().zip(row) {
            match *code {
                Code::Scale(range, scale) => {
                    if !range.contains(value) {
                        self.features[features.len()].clamped += 1;
                    }
                    features.push(scale.to_unit(range, value.clamp(range.lower, range.upper)));
                }
                Code::OneHot(values) => {
                    let first = features.len();
                    features.resize(first + values, 0.0);
                    features[first + value as usize] = 1.0;
                }
            }
        }
    }

    fn encode_target(&self, value: f64) -> f64 {
        match self.task {
            Task::Binary => value,
            Task::Regression { range } => Scale::Linear.to_unit(range, value),
        }
    }
}

impl Range {
    fn resolve(self, fitted: Interval) -> Interval {
        match self {
            Self::Declared(range) => range,
            Self::Fit => fitted,
        }
    }
}
