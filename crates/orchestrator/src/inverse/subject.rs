//! A model as these commands see it: attributes in their own units, classes with names.

use std::fmt;
use std::path::Path;

use certificate::{Domain, IntegerFeature, Interval, Layered, Model, ModelFeature, Target};
use serde::Serialize;
use train::data::{DataSet, DomainKind, Part};

use crate::config::Data;
use crate::error::{Error, Result};

/// A model over a domain.
pub struct Subject {
    model: Model,
    /// Its network.
    pub network: Layered,
    /// Where its inputs may lie.
    pub domain: Domain,
    columns: Vec<Column>,
    place: String,
}

/// An attribute: a number, or a category that is several inputs.
struct Column {
    name: String,
    inputs: Vec<usize>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// In the attribute's own unit.
    Number(f64),
    /// The name of a category.
    Category(String),
}

impl Value {
    /// The same but for rounding.
    pub fn close_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => (a - b).abs() <= 1e-9 * (1.0 + a.abs()),
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Number(value) => f.write_str(&super::plain(*value)),
            Self::Category(name) => f.write_str(name),
        }
    }
}

impl Subject {
    /// The model in a file or in the folder of a run.
    ///
    /// # Errors
    /// If it cannot be read, or has an activation that no mixed-integer programme can hold.
    pub fn load(path: &Path, continuous: bool, range: Option<(f64, f64)>) -> Result<Self> {
        let file = if path.is_dir() { path.join("model.safetensors") } else { path.into() };
        let model = Model::load(&file)?;
        let network = Layered::try_from(&model.network)?;
        let known = if path.is_dir() { data_of(path).ok() } else { None };
        let known = known.map(|data| data.domain(DomainKind::OneHotInteger));
        let known = known.filter(|domain| domain.inputs() == network.inputs());
        let known = known.map_or_else(|| by_names(&model), Ok)?;
        let domain = domain(&model, known, continuous, range)?;
        let column = |(j, feature): (usize, &ModelFeature)| {
            let group = domain.one_hot().iter().find(|group| group.contains(&j));
            match group {
                Some(group) if group[0] != j => None,
                Some(group) => {
                    let name = feature.name.split('=').next().unwrap_or(&feature.name);
                    Some(Column { name: name.into(), inputs: group.clone() })
                }
                None => Some(Column { name: feature.name.clone(), inputs: vec![j] }),
            }
        };
        let columns = model.features.iter().enumerate().filter_map(column).collect();
        Ok(Self { network, domain, columns, place: file.display().to_string(), model })
    }

    /// Names of the network's inputs.
    pub fn input_names(&self) -> Vec<String> {
        self.model.features.iter().map(|feature| feature.name.clone()).collect()
    }

    fn error(&self, message: String) -> Error {
        Error::Config { place: self.place.clone(), message }
    }

    /// The attributes of a point.
    pub fn values(&self, x: &[f64]) -> Vec<(String, Value)> {
        let value = |column: &Column| match column.inputs[..] {
            [j] => {
                let feature = &self.model.features[j];
                // The way from the network's units and back leaves a tail.
                Value::Number((1e9 * feature.raw(x[j])).round() / 1e9)
            }
            _ => {
                let chosen =
                    column.inputs.iter().max_by(|a, b| x[**a].total_cmp(&x[**b])).expect("a group has members");
                Value::Category(self.category(*chosen).to_owned())
            }
        };
        self.columns.iter().map(|column| (column.name.clone(), value(column))).collect()
    }

    /// The range of an attribute that is a number, in its own unit.
    pub fn range_of(&self, attribute: usize) -> Option<(f64, f64)> {
        let [j] = self.columns[attribute].inputs[..] else { return None };
        let (feature, side) = (&self.model.features[j], self.domain.input_box()[j]);
        Some((feature.raw(side.lower), feature.raw(side.upper)))
    }

    fn category(&self, j: usize) -> &str {
        let name = &self.model.features[j].name;
        name.split_once('=').map_or(name, |(_, category)| category)
    }

    /// A point from values in the attributes' own units and names of categories.
    ///
    /// # Errors
    /// If there are too few or too many, one is no number, or a category is not known.
    pub fn point(&self, values: &[String]) -> Result<Vec<f64>> {
        if values.len() != self.columns.len() {
            let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
            let (expected, found) = (names.len(), values.len());
            return Err(
                self.error(format!("--input: expected {expected} values ({}), found {found}", names.join(", ")))
            );
        }
        let mut x = vec![0.0; self.model.features.len()];
        for (column, value) in self.columns.iter().zip(values) {
            let value = value.trim();
            match column.inputs[..] {
                [j] => {
                    let feature = &self.model.features[j];
                    let raw: f64 = value.parse().map_err(|_| {
                        self.error(format!("--input, {}: expected a number, found `{value}`", column.name))
                    })?;
                    let (low, high) = self.range_of_input(j);
                    if !(low..=high).contains(&raw) {
                        let name = &column.name;
                        return Err(self.error(format!("--input, {name}: {raw} is outside its range [{low}, {high}]")));
                    }
                    x[j] = feature.scaled(raw);
                    let side = self.domain.input_box()[j];
                    x[j] = x[j].clamp(side.lower, side.upper);
                }
                _ => {
                    let chosen = column.inputs.iter().find(|j| self.category(**j) == value);
                    let known: Vec<_> = column.inputs.iter().map(|j| self.category(*j)).collect();
                    let chosen = chosen.ok_or_else(|| {
                        self.error(format!(
                            "--input, {}: expected one of {}, found `{value}`",
                            column.name,
                            known.join(", ")
                        ))
                    })?;
                    x[*chosen] = 1.0;
                }
            }
        }
        Ok(x)
    }

    fn range_of_input(&self, j: usize) -> (f64, f64) {
        let (feature, side) = (&self.model.features[j], self.domain.input_box()[j]);
        // Ends that were scaled and back may miss their numbers by rounding.
        let width = 1e-9 * (feature.maximum - feature.minimum);
        (feature.raw(side.lower) - width, feature.raw(side.upper) + width)
    }

    /// The inputs of attributes by name.
    ///
    /// # Errors
    /// If there is no attribute of a name.
    pub fn inputs_of(&self, names: &[String]) -> Result<Vec<usize>> {
        let mut inputs = Vec::new();
        for name in names {
            let column = self.columns.iter().find(|column| column.name == name.trim());
            let column = column.ok_or_else(|| {
                let known: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
                self.error(format!("there is no attribute `{name}`; there are {}", known.join(", ")))
            })?;
            inputs.extend(&column.inputs);
        }
        Ok(inputs)
    }

    /// How many units of the attribute one unit of each input is; with `scaled` the range is the unit, as it always is
    /// where the scale is not linear: there no fixed number of units would do.
    pub fn units(&self, scaled: bool) -> Vec<f64> {
        let grouped = |j: &usize| self.domain.one_hot().iter().any(|group| group.contains(j));
        let unit = |j: usize| {
            let feature = &self.model.features[j];
            if scaled || grouped(&j) || !feature.scale.is_linear() { 1.0 } else { feature.maximum - feature.minimum }
        };
        (0..self.model.features.len()).map(unit).collect()
    }

    /// What an output is called.
    pub fn output_name(&self, k: usize) -> String {
        match &self.model.target {
            Target::Classes { column, classes } => format!("{column} {}", classes[k]),
            Target::Binary { column, positive } => format!("logit of {column} {positive}"),
            Target::Regression { column, .. } => format!("{column} (scaled)"),
        }
    }

    /// Names of the classes.
    ///
    /// # Errors
    /// If the model predicts a number.
    pub fn classes(&self) -> Result<Vec<String>> {
        match &self.model.target {
            Target::Classes { classes, .. } => Ok(classes.clone()),
            Target::Binary { positive, .. } => Ok(vec![format!("not {positive}"), positive.clone()]),
            Target::Regression { column, .. } => {
                Err(self.error(format!("predicts the number {column}, so there is no other class to reach")))
            }
        }
    }

    /// The class of an input with these outputs, with the column's name.
    pub fn class_of(&self, outputs: &[f64]) -> Option<String> {
        match &self.model.target {
            Target::Classes { column, classes } => {
                let largest = (0..outputs.len()).rev().max_by(|a, b| outputs[*a].total_cmp(&outputs[*b]))?;
                Some(format!("{column} {}", classes[largest]))
            }
            Target::Binary { column, positive } => {
                let not = if outputs[0] > 0.0 { "" } else { "not " };
                Some(format!("{column} {not}{positive}"))
            }
            Target::Regression { .. } => None,
        }
    }

    /// The number of a class that is given by its name or, counted from 1, by its number.
    ///
    /// # Errors
    /// If there is none.
    pub fn class(&self, name: &str) -> Result<usize> {
        let classes = self.classes()?;
        let by_number = || name.parse::<usize>().ok()?.checked_sub(1).filter(|k| *k < classes.len());
        let found = classes.iter().position(|class| class == name).or_else(by_number);
        found.ok_or_else(|| self.error(format!("there is no class `{name}`; there are {}", classes.join(", "))))
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.network.outputs()
    }

    /// A row of the data of a run, counted from 1.
    ///
    /// # Errors
    /// If `run` is no folder of a run, its data cannot be read, or there is no such row.
    pub fn row(&self, run: &Path, part: fn(&DataSet) -> &Part, row: usize) -> Result<Vec<f64>> {
        let wrong = |message: String| Error::Config { place: run.display().to_string(), message };
        let data = data_of(run)?;
        let (part, width) = (part(&data), self.model.features.len());
        if !(1..=part.len()).contains(&row) || data.features.len() != width {
            return Err(wrong(format!(
                "--row {row}: there are rows 1 to {} of {} features",
                part.len(),
                data.features.len()
            )));
        }
        let x: Vec<f64> = part.x[(row - 1) * width..row * width].iter().map(|x| f64::from(*x)).collect();
        // Data are f32; the steps of integers are not.
        Ok(self.domain.snapped(&x))
    }
}

/// The data that a run was about.
fn data_of(run: &Path) -> Result<DataSet> {
    let file = run.join("config.toml");
    let text = std::fs::read_to_string(&file).map_err(|source| Error::Io { path: file.clone(), source })?;
    let wrong = |message: String| Error::Config { place: file.display().to_string(), message };
    let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| wrong(e.to_string()))?;
    let data = table.remove("data").ok_or_else(|| wrong("there is no [data]".into()))?;
    let data: Data = data.try_into().map_err(|e: toml::de::Error| wrong(e.to_string()))?;
    data.load()
}

/// The domain that the model file states, and categories as groups: a claim may be about more than what can occur.
fn by_names(model: &Model) -> Result<Domain> {
    let (stated, names) = (&model.domain, model.features.iter().map(|feature| feature.name.split_once('=')));
    let columns: Vec<Option<&str>> = names.map(|split| split.map(|(column, _)| column)).collect();
    let inputs: Vec<usize> = (0..columns.len()).collect();
    let groups = inputs.chunk_by(|a, b| columns[*a].is_some() && columns[*a] == columns[*b]);
    let groups: Vec<Vec<usize>> = groups.filter(|group| group.len() > 1).map(<[usize]>::to_vec).collect();
    Ok(Domain::new(stated.input_box().to_vec(), groups, stated.integer().to_vec())?)
}

/// The domain, wider or looser if that is asked for.
fn domain(model: &Model, known: Domain, continuous: bool, range: Option<(f64, f64)>) -> Result<Domain> {
    let mut sides = known.input_box().to_vec();
    let mut integer = if continuous { Vec::new() } else { known.integer().to_vec() };
    if let Some((low, high)) = range {
        let grouped: Vec<usize> = known.one_hot().iter().flatten().copied().collect();
        for (j, side) in sides.iter_mut().enumerate().filter(|(j, _)| !grouped.contains(j)) {
            let feature = &model.features[j];
            *side = Interval::new(feature.scaled(low), feature.scaled(high));
        }
        let whole = (low.fract(), high.fract()) == (0.0, 0.0);
        if !integer.is_empty() && !whole {
            let message = "integer features need whole numbers as ends of their range; or add --continuous".into();
            return Err(Error::Config { place: format!("--range {low}:{high}"), message });
        }
        integer.iter_mut().for_each(|feature: &mut IntegerFeature| feature.steps = (high - low) as u32);
    }
    Ok(Domain::new(sides, known.one_hot().to_vec(), integer)?)
}

/// `FROM:TO`
pub fn range(text: &str) -> std::result::Result<(f64, f64), String> {
    let expected = || format!("expected two numbers, the first smaller, as in 0:10, found `{text}`");
    let (low, high) = text.split_once(':').ok_or_else(expected)?;
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|x| x.is_finite());
    let (low, high) = number(low).zip(number(high)).ok_or_else(expected)?;
    if low < high { Ok((low, high)) } else { Err(expected()) }
}

/// `ROWSxCOLUMNS`
pub fn sides(text: &str) -> std::result::Result<(usize, usize), String> {
    let expected = || format!("expected two numbers, as in 28x28, found `{text}`");
    let (rows, columns) = text.split_once('x').ok_or_else(expected)?;
    rows.parse().ok().zip(columns.parse().ok()).ok_or_else(expected)
}
