use std::collections::BTreeMap;

use certificate::{Direction, Interval, Scale};
use train::data::{DataSet, Feature, FeatureKind, Part, Task};

use super::{Described, joined, with_commas};
use crate::error::{Error, Result, exit_code};

/// Loads a data set with each of its splits, and prints what is in it.
///
/// # Errors
/// At the first thing that is not as the manifest says.
pub fn check(described: &Described) -> Result<u8> {
    let Described { path, manifest } = described;
    let data = DataSet::load(path, None, None)?;
    let rows = parts(&data).iter().map(|(_, part)| part.len()).sum();
    if let Some(expected) = manifest.rows.filter(|expected| *expected != rows) {
        let message = format!("the manifest says rows = {expected}, the filters leave {rows}: correct one of them");
        return Err(Error::Config { place: path.display().to_string(), message });
    }

    println!("{}: {}", data.name, data.title);
    println!("table     {} (checksum right)", joined(&described.table().unwrap_or_default()));
    println!("rows      {}", with_commas(rows));
    let monotone = data.features.iter().filter(|feature| feature.direction != Direction::Free).count();
    println!("features  {}, {monotone} of them monotone", data.features.len());
    for line in features(&data.features) {
        println!("  {line}");
    }
    println!("target    {}: {}", manifest.target.column(), meaning(data.task));
    println!("split     {}, the default: {}", data.split, sizes(&data));
    for name in manifest.splits.keys().filter(|name| **name != data.split) {
        println!("split     {name}: {}", sizes(&DataSet::load(path, Some(name), None)?));
    }
    Ok(exit_code::CERTIFIED)
}

/// A line for each feature; the categories of a column share one.
fn features(features: &[Feature]) -> Vec<String> {
    let mut categories = BTreeMap::<_, usize>::new();
    for feature in features {
        if let FeatureKind::Category { column } = &feature.kind {
            *categories.entry(column).or_default() += 1;
        }
    }
    let line = |feature: &Feature| match &feature.kind {
        // The first category takes its column off the list, the others find nothing there.
        FeatureKind::Category { column } => {
            categories.remove(column).map(|count| format!("{column}: one of {count} texts, free"))
        }
        FeatureKind::Real => Some(number(feature, "")),
        FeatureKind::Integer { .. } => Some(number(feature, "integers ")),
    };
    features.iter().filter_map(line).collect()
}

fn number(feature: &Feature, kind: &str) -> String {
    let direction = match feature.direction {
        Direction::Increasing => "increasing",
        Direction::Decreasing => "decreasing",
        Direction::Free => "free",
    };
    let clamped = match feature.clamped {
        0 => String::new(),
        count => format!(", {} values outside, moved to the nearer end", with_commas(count)),
    };
    let scale = if feature.scale == Scale::Symlog { " on a scale of ln(1 + x)" } else { "" };
    let Interval { lower, upper } = feature.range;
    format!("{}: {kind}from {lower} to {upper}{scale}, {direction}{clamped}", feature.name)
}

fn meaning(task: Task) -> String {
    match task {
        Task::Binary => "one of two classes".into(),
        Task::Regression { range } => format!("a number, scaled from {} to {}", range.lower, range.upper),
    }
}

fn parts(data: &DataSet) -> [(&'static str, &Part); 3] {
    [("to fit", &data.fit), ("to validate", &data.validation), ("to test", &data.test)]
}

fn sizes(data: &DataSet) -> String {
    let size = |(what, part): &(&str, &Part)| format!("{} {what}{}", with_commas(part.len()), balance(part, data.task));
    parts(data).iter().map(size).collect::<Vec<_>>().join(", ")
}

/// How the target is distributed: the positive share, or the mean.
fn balance(part: &Part, task: Task) -> String {
    if part.is_empty() {
        return String::new();
    }
    let mean = part.y.iter().map(|y| f64::from(*y)).sum::<f64>() / part.len() as f64;
    match task {
        Task::Binary => format!(" ({:.1} % positive)", 100.0 * mean),
        Task::Regression { range } => format!(" (mean {:.4})", range.lower + mean * (range.upper - range.lower)),
    }
}
