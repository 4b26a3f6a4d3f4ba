use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use train::smooth::{Settings, Shape};

use super::count::Count;
use crate::config::{Source, check_name, manifest_path, read};
use crate::error::{Error, Result};

/// A training as a smooth programme.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names the run: its folder is `runs/<name>/<number>`.
    pub name: String,
    /// From which the initial points are derived.
    #[serde(default)]
    pub seed: u64,
    /// What to learn from.
    pub data: Source,
    /// Which network.
    pub network: Shape,
    /// Which programme, and from how many points.
    pub smooth: Settings,
    /// Whether and how the last layer is exchanged for the one that gets most fitting rows right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
}

impl Config {
    /// Reads a configuration file and applies `key=value` overrides. Whether the programme can be stated is seen only with the
    /// data.
    ///
    /// # Errors
    /// As those of the other configurations.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut config: Self = read(path, overrides)?;
        config.data.manifest = manifest_path(path, &config.data.manifest);
        let wrong = |message: String| Error::Config { place: path.display().to_string(), message };
        check_name(&config.name).map_err(wrong)?;
        if config.count.is_some() && !config.smooth.loss.of_classes() {
            return Err(wrong("[count] counts rows that are in the wrong class, and this loss is for a number".into()));
        }
        Ok(config)
    }

    /// The resolved configuration as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration of plain values")
    }
}

/// Whether a file is a configuration of this kind: it has a table `[smooth]`. What is wrong with it is said elsewhere.
pub fn is_meant_by(path: &Path) -> bool {
    let table = fs::read_to_string(path).ok().and_then(|text| toml::from_str::<toml::Table>(&text).ok());
    table.is_some_and(|table| table.contains_key("smooth"))
}
