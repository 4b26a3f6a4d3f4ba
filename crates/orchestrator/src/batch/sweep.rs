//! An experiment: configurations, what is varied, and seeds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use train::data::DataSet;

use super::columns::Column;
use super::slurm::Slurm;
use crate::config::{Config, check_name, config_error, read};
use crate::error::{Error, Result};
use crate::resplits::{Place, places};

/// A sweep file, `experiments/<name>/sweep.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// Names the experiment: its folder is `runs/<name>`.
    pub name: String,
    /// What the table is headed with.
    pub title: String,
    /// Number of seeds of each method, counted from `first_seed`.
    pub seeds: u64,
    /// The first of them.
    #[serde(default)]
    pub first_seed: u64,
    /// Whether each seed has a random re-split of its own, instead of all the official split: seed 0 the first re-split of
    /// `orchestrator compare`, seed 1 the second, and so on.
    #[serde(default)]
    pub resplits: bool,
    /// The line of the table that the others are compared with, seed by seed.
    pub against: Option<String>,
    /// The columns of the table in their order; by default those that have something to show.
    pub columns: Option<Vec<Column>>,
    /// What is asked of a cluster.
    #[serde(default)]
    pub slurm: Slurm,
    /// One line of the table each, or with a grid one for each of its points.
    #[serde(rename = "method")]
    pub methods: Vec<Method>,
}

/// `[[method]]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// What it is called in the table.
    pub name: String,
    /// A configuration; a relative path starts at the sweep file.
    pub config: PathBuf,
    /// A baseline that is trained by `orchestrator baseline` on what the configuration says, instead of the configuration's run.
    pub baseline: Option<Baseline>,
    /// Keys of the configuration that are set.
    #[serde(default)]
    pub set: BTreeMap<String, toml::Value>,
    /// Keys with several values each; every combination becomes a method.
    #[serde(default)]
    pub grid: BTreeMap<String, Vec<toml::Value>>,
    /// The number that was published for it, as it was printed.
    #[serde(default)]
    pub published: String,
}

/// A method to compare with, by the names that a sweep file has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Monotone boosted trees.
    Trees,
    /// Logistic or linear regression without any constraint.
    Linear,
    /// A network with non-negative weights.
    NonNegative,
    /// A min-max network.
    MinMax,
}

impl Baseline {
    /// Its name on the command line.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Trees => "trees",
            Self::Linear => "linear",
            Self::NonNegative => "non-negative",
            Self::MinMax => "min-max",
        }
    }
}

/// Sizes of a re-split, which say how much two of them overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resplit {
    /// Rows to test on.
    pub test_rows: usize,
    /// All other rows.
    pub training_rows: usize,
}

/// One run of an experiment: a line of its manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Name of its folder.
    pub id: String,
    /// Which line of the table it belongs to.
    pub method: String,
    /// Its configuration.
    pub config: PathBuf,
    /// What is set in it, as `key=value`.
    pub overrides: Vec<String>,
    /// The number that was published for its method.
    pub published: String,
    /// The baseline that it is a run of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// The sizes of its random re-split, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resplit: Option<Resplit>,
}

impl Run {
    /// Its seed, as it stands among the overrides.
    pub fn seed(&self) -> Option<&str> {
        self.overrides.iter().rev().find_map(|text| text.strip_prefix(SEED))
    }
}

/// How the override of the seed begins.
const SEED: &str = "seed=";

/// Which rows a configuration is about: manifest, split and the split's seed.
type Rows = (PathBuf, Option<String>, Option<u64>);

impl Sweep {
    /// Reads a sweep file, or the one in a folder.
    ///
    /// # Errors
    /// If it cannot be read, a key, baseline or column is unknown, there is nothing to run, or nothing to compare with.
    pub fn load(path: &Path) -> Result<(Self, PathBuf)> {
        let file = if path.is_dir() { path.join("sweep.toml") } else { path.into() };
        let sweep: Self = read(&file, &[])?;
        sweep.check().map_err(|message| config_error(&file.display().to_string(), &message))?;
        Ok((sweep, file))
    }

    fn check(&self) -> std::result::Result<(), String> {
        check_name(&self.name)?;
        if self.seeds == 0 || self.methods.is_empty() {
            return Err("expected at least one [[method]] and one seed".into());
        }
        for method in &self.methods {
            if let Some((key, _)) = method.grid.iter().find(|(_, values)| values.is_empty()) {
                return Err(format!("method `{}`: the grid has no value for `{key}`", method.name));
            }
        }
        let lines = self.methods.iter().flat_map(Method::lines);
        let names: Vec<String> = lines.map(|(name, _)| format!("`{name}`")).collect();
        if let Some(against) = self.against.as_ref().filter(|against| !names.contains(&format!("`{against}`"))) {
            return Err(format!("against: unknown method `{against}`, expected one of {}", names.join(", ")));
        }
        let columns = self.columns.as_deref();
        if columns.is_some_and(<[_]>::is_empty) {
            return Err("columns: expected at least one; leave the key out for the default ones".into());
        }
        if columns.is_some_and(|columns| columns.contains(&Column::Difference)) && self.against.is_none() {
            return Err("columns: the difference needs `against = \"NAME OF A METHOD\"`, to say from what".into());
        }
        Ok(())
    }

    /// All runs, method by method. Every configuration is read once, so that none is found wrong hours later.
    ///
    /// # Errors
    /// If a configuration is wrong, two runs have the same name, there are no re-splits where they are asked for, or methods that
    /// are compared are not about the same rows.
    pub fn runs(&self, file: &Path) -> Result<Vec<Run>> {
        let wrong = |message: String| Err(Error::Config { place: file.display().to_string(), message });
        let folder = file.parent().unwrap_or(Path::new(""));
        let mut runs = Vec::new();
        let mut ids = HashSet::new();
        let mut known = HashMap::new();
        let mut rows_of = Vec::new();
        for method in &self.methods {
            let config = folder.join(&method.config);
            let config = config.canonicalize().unwrap_or(config);
            for (name, point) in method.lines() {
                let fixed = method.set.iter().chain(point);
                let fixed: Vec<String> = fixed.map(|(key, value)| format!("{key}={value}")).collect();
                let first = [fixed.clone(), vec![format!("{SEED}{}", self.first_seed)]].concat();
                let data = Config::load(&config, &first)?.data;
                let rows = (data.manifest, data.split, data.split_seed);
                if self.resplits && !known.contains_key(&rows) {
                    known.insert(rows.clone(), self.resplits(&rows)?);
                }
                let resplits = known.get(&rows);
                for seed in self.first_seed..self.first_seed + self.seeds {
                    let mut overrides = fixed.clone();
                    if let Some((places, _)) = resplits {
                        overrides.extend(on(&places[seed as usize]));
                    }
                    overrides.push(format!("{SEED}{seed}"));
                    let id = format!("{}-{seed}", slug(&name));
                    if !ids.insert(id.clone()) {
                        return wrong(format!("two methods have runs called `{id}`; give them different names"));
                    }
                    runs.push(Run {
                        id,
                        method: name.clone(),
                        config: config.clone(),
                        overrides,
                        published: method.published.clone(),
                        baseline: method.baseline,
                        resplit: resplits.map(|(_, sizes)| *sizes),
                    });
                }
                rows_of.push((name, rows));
            }
        }
        if let Some((name, against)) = self.not_comparable(&rows_of) {
            return wrong(format!(
                "method `{name}` cannot be compared with `{against}`: only methods on the same rows can; give both the same \
                 data.manifest, data.split and data.split_seed, or leave `against` out"
            ));
        }
        Ok(runs)
    }

    /// The re-splits of some rows up to the last seed, and their sizes.
    fn resplits(&self, (manifest, split, split_seed): &Rows) -> Result<(Vec<Place>, Resplit)> {
        let official = DataSet::load(manifest, split.as_deref(), *split_seed)?;
        let count = (self.first_seed + self.seeds) as usize;
        let mut places = places(manifest, &official, count, "leave out `resplits = true`")?;
        places.remove(0);
        let training_rows = official.fit.len() + official.validation.len();
        Ok((places, Resplit { test_rows: official.test.len(), training_rows }))
    }

    /// A line and the one that it is to be compared with, if they are about different rows.
    fn not_comparable<'a>(&'a self, rows_of: &'a [(String, Rows)]) -> Option<(&'a str, &'a str)> {
        let against = self.against.as_ref()?;
        let (_, rows) = rows_of.iter().find(|(name, _)| name == against)?;
        let (name, _) = rows_of.iter().find(|(_, other)| other != rows)?;
        Some((name, against))
    }
}

/// The overrides that lead to a re-split.
fn on(place: &Place) -> Vec<String> {
    let split = toml::Value::String(place.split.clone());
    let seed = place.seed.map(|seed| format!("data.split_seed={seed}"));
    [format!("data.split={split}")].into_iter().chain(seed).collect()
}

/// One value for each key of a grid.
type Point<'a> = Vec<(&'a String, &'a toml::Value)>;

impl Method {
    /// The lines that it has in the table: their names and what is set for each.
    fn lines(&self) -> Vec<(String, Point<'_>)> {
        let named = |point: &Point| {
            point.iter().fold(self.name.clone(), |name, (key, value)| {
                format!("{name}, {} {}", key.rsplit('.').next().unwrap_or(key), value.to_string().trim_matches('"'))
            })
        };
        self.points().into_iter().map(|point| (named(&point), point)).collect()
    }

    /// Every combination of the grid's values; one empty combination without a grid.
    fn points(&self) -> Vec<Point<'_>> {
        self.grid.iter().fold(vec![Vec::new()], |points, (key, values)| {
            let with = |point: &Vec<(_, _)>| -> Vec<Vec<_>> {
                values.iter().map(|value| [point.clone(), vec![(key, value)]].concat()).collect()
            };
            points.iter().flat_map(with).collect()
        })
    }
}

/// Letters, digits and dashes.
fn slug(name: &str) -> String {
    let plain: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(file: &str) -> (Sweep, PathBuf) {
        let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
        Sweep::load(&experiments.join(file)).unwrap()
    }

    #[test]
    fn every_sweep_of_the_repository_can_be_planned() {
        let sweeps = [
            ("table1", 130),
            ("table2", 110),
            ("table3", 80),
            ("table5", 140),
            ("table7", 140),
            ("table8", 120),
            ("table9", 120),
        ];
        for (file, runs) in sweeps {
            let (sweep, path) = experiment(file);
            assert_eq!(sweep.runs(&path).unwrap().len(), runs, "{file}");
        }
    }

    /// Whatever a method is, its seed k is drawn as `compare` draws its re-split k + 1.
    #[test]
    fn baselines_and_networks_share_their_re_splits() {
        let (sweep, path) = experiment("table1/resplits.toml");
        let runs = sweep.runs(&path).unwrap();
        assert_eq!(runs.len(), 50);
        let baselines: Vec<_> = runs.iter().step_by(10).map(|run| run.baseline.map(Baseline::kind)).collect();
        assert_eq!(baselines, [None, None, None, Some("trees"), Some("linear")]);
        for (k, run) in runs.iter().enumerate() {
            let seed = k % 10;
            let expected =
                ["data.split=\"random\"".into(), format!("data.split_seed={}", seed + 1), format!("seed={seed}")];
            assert_eq!(run.overrides[run.overrides.len() - 3..], expected);
            assert_eq!(run.seed(), Some(seed.to_string().as_str()));
            assert_eq!(run.resplit, Some(Resplit { test_rows: 1235, training_rows: 4937 }));
        }
    }
}
