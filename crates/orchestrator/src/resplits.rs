//! Random re-splits of a data set with the sizes of its official split.

use std::path::Path;

use train::data::{DataSet, Manifest, Split};

use crate::error::{Error, Result};

/// A split to train and score on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `official`, or the number of a re-split.
    pub name: String,
    /// The split of the manifest.
    pub split: String,
    /// The seed that it is drawn with, if it is drawn.
    pub seed: Option<u64>,
}

/// The official split, and `count` random ones of the same sizes: the manifest's random split, drawn with the seeds 1, 2, ...
///
/// # Errors
/// If the manifest has no random split of these sizes; `otherwise` says what can be done instead of adding one.
pub fn places(manifest: &Path, official: &DataSet, count: usize, otherwise: &str) -> Result<Vec<Place>> {
    let first = Place { name: "official".into(), split: official.split.clone(), seed: official.split_seed };
    let mut places = vec![first];
    if count == 0 {
        return Ok(places);
    }
    let lengths = |data: &DataSet| [&data.fit, &data.validation, &data.test].map(|part| part.len());
    let splits = Manifest::read(manifest).map_err(train::Error::from)?.splits;
    let random = splits.iter().filter(|(_, split)| matches!(split, Split::Random { .. }));
    let same_sizes = |name: &str| -> Result<bool> {
        Ok(lengths(&DataSet::load(manifest, Some(name), Some(1))?) == lengths(official))
    };
    for (name, _) in random {
        if same_sizes(name)? {
            // The official split may itself be drawn; it is not one of the re-splits then.
            let own = official.split_seed.filter(|_| *name == official.split);
            let seeds = (1..).filter(|seed| Some(*seed) != own).take(count);
            places.extend(seeds.map(|seed| Place { name: seed.to_string(), split: name.clone(), seed: Some(seed) }));
            return Ok(places);
        }
    }
    Err(Error::Config {
        place: manifest.display().to_string(),
        message: format!(
            "there is no split with method = \"random\" and the sizes of `{}` ({}) to draw re-splits from: add one, or \
             {otherwise}",
            official.split,
            sizes(official)
        ),
    })
}

/// The sizes of a split in words.
pub fn sizes(data: &DataSet) -> String {
    format!("{} rows to fit, {} to validate, {} to test", data.fit.len(), data.validation.len(), data.test.len())
}
