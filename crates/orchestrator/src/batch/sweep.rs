//! An experiment: configurations, what is varied, and seeds.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::slurm::Slurm;
use crate::config::{Config, check_name, read};
use crate::error::{Error, Result};

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
}

impl Sweep {
    /// Reads a sweep file, or the one in a folder.
    ///
    /// # Errors
    /// If it cannot be read, a key is unknown, or there is nothing to run.
    pub fn load(path: &Path) -> Result<(Self, PathBuf)> {
        let file = if path.is_dir() { path.join("sweep.toml") } else { path.into() };
        let sweep: Self = read(&file, &[])?;
        let wrong = |message: String| Err(Error::Config { place: file.display().to_string(), message });
        if let Err(message) = check_name(&sweep.name) {
            return wrong(message);
        }
        if sweep.seeds == 0 || sweep.methods.is_empty() {
            return wrong("expected at least one [[method]] and one seed".into());
        }
        for method in &sweep.methods {
            if let Some((key, _)) = method.grid.iter().find(|(_, values)| values.is_empty()) {
                return wrong(format!("method `{}`: the grid has no value for `{key}`", method.name));
            }
        }
        Ok((sweep, file))
    }

    /// All runs, method by method. Every configuration is read once, so that none is found wrong hours later.
    ///
    /// # Errors
    /// If a configuration is wrong, or two runs have the same name.
    pub fn runs(&self, file: &Path) -> Result<Vec<Run>> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let mut runs = Vec::new();
        let mut ids = HashSet::new();
        for method in &self.methods {
            let config = folder.join(&method.config);
            let config = config.canonicalize().unwrap_or(config);
            for point in method.points() {
                let name = point.iter().fold(method.name.clone(), |name, (key, value)| {
                    format!("{name}, {} {}", key.rsplit('.').next().unwrap_or(key), value.to_string().trim_matches('"'))
                });
                let fixed = method.set.iter().chain(point.iter().map(|(key, value)| (*key, *value)));
                let fixed: Vec<String> = fixed.map(|(key, value)| format!("{key}={value}")).collect();
                for seed in self.first_seed..self.first_seed + self.seeds {
                    let mut overrides = fixed.clone();
                    overrides.push(format!("seed={seed}"));
                    if seed == self.first_seed {
                        Config::load(&config, &overrides)?;
                    }
                    let id = format!("{}-{seed}", slug(&name));
                    if !ids.insert(id.clone()) {
                        let message = format!("two methods have runs called `{id}`; give them different names");
                        return Err(Error::Config { place: file.display().to_string(), message });
                    }
                    let (method_name, published) = (name.clone(), method.published.clone());
                    runs.push(Run { id, method: method_name, config: config.clone(), overrides, published });
                }
            }
        }
        Ok(runs)
    }
}

impl Method {
    /// Every combination of the grid's values; one empty combination without a grid.
    fn points(&self) -> Vec<Vec<(&String, &toml::Value)>> {
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
