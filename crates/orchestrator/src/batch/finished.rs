//! What the runs of a batch have left so far.

use std::path::Path;

use certificate::{Model, WeightPaths};

use super::Folder;
use super::sweep::{Resplit, Run};
use crate::error::{Error, Result};
use crate::summary::{SUMMARY, Summary};

/// A run that has finished.
pub struct Finished {
    /// What it came to.
    pub summary: Summary,
    /// Number of parameters of what it delivers, where known.
    pub parameters: Option<usize>,
    /// The weight paths of its network, if they were asked for and there is a network.
    pub paths: Option<WeightPaths>,
}

/// The runs of one method, each with what it has left.
pub struct Line<'a> {
    runs: Vec<(&'a Run, Option<Finished>)>,
}

impl<'a> Line<'a> {
    /// The runs of a batch, method by method; with the signs of the networks' weight paths, if they are wanted.
    ///
    /// # Errors
    /// If a file of a finished run is damaged.
    pub fn all(folder: &'a Folder, paths_wanted: bool) -> Result<Vec<Self>> {
        let mut lines: Vec<Self> = Vec::new();
        for run in &folder.runs {
            let finished = Finished::read(&folder.run_folder(run), paths_wanted)?;
            match lines.last_mut().filter(|line| line.method() == run.method) {
                Some(line) => line.runs.push((run, finished)),
                None => lines.push(Self { runs: vec![(run, finished)] }),
            }
        }
        Ok(lines)
    }

    /// The name of the method.
    pub fn method(&self) -> &str {
        &self.runs[0].0.method
    }

    /// What was published for it.
    pub fn published(&self) -> &str {
        &self.runs[0].0.published
    }

    /// The sizes of its re-splits, if it has them.
    pub fn resplit(&self) -> Option<Resplit> {
        self.runs[0].0.resplit
    }

    /// Number of runs that were asked for.
    pub fn asked(&self) -> usize {
        self.runs.len()
    }

    /// Those of them that have finished.
    pub fn finished(&self) -> impl Iterator<Item = &Finished> {
        self.runs.iter().filter_map(|(_, finished)| finished.as_ref())
    }

    /// What some of its finished runs have to say.
    pub fn values(&self, pick: impl Fn(&Finished) -> Option<f64>) -> Vec<f64> {
        self.finished().filter_map(pick).collect()
    }

    /// Its finished runs beside those of another method with the same seed; none of itself.
    pub fn pairs<'b>(&'b self, other: &'b Self) -> Vec<(&'b Finished, &'b Finished)> {
        if self.method() == other.method() {
            return Vec::new();
        }
        let same_seed = |run: &Run| other.runs.iter().find(|(their, _)| their.seed() == run.seed())?.1.as_ref();
        self.runs.iter().filter_map(|(run, finished)| Some((finished.as_ref()?, same_seed(run)?))).collect()
    }
}

impl Finished {
    /// What a run has left in its folder; `None` if it has not finished.
    fn read(path: &Path, paths_wanted: bool) -> Result<Option<Self>> {
        let Some(summary) = read_json::<Summary>(&path.join(SUMMARY))? else { return Ok(None) };
        let mut parameters = summary.parameters;
        let model = path.join("model.safetensors");
        // Summaries of earlier versions do not say how many parameters there are.
        let model =
            if (paths_wanted || parameters.is_none()) && model.exists() { Some(Model::load(&model)?) } else { None };
        if parameters.is_none() {
            let of_baseline = read_json::<serde_json::Value>(&path.join("baseline.json"))?;
            let of_baseline = of_baseline.and_then(|record| record["parameters"].as_u64()).map(|n| n as usize);
            parameters = of_baseline.or(model.as_ref().map(|model| model.network.parameters()));
        }
        let paths = model.filter(|_| paths_wanted);
        let paths = paths.map(|model| WeightPaths::of(&model.network, &model.monotone_features()));
        Ok(Some(Self { summary, parameters, paths }))
    }
}

/// A file of a run; `None` if it is not there.
fn read_json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    let Ok(text) = std::fs::read_to_string(file) else { return Ok(None) };
    let damaged = |e: serde_json::Error| Error::RunFolder { path: file.into(), message: e.to_string() };
    serde_json::from_str(&text).map(Some).map_err(damaged)
}
