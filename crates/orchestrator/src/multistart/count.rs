//! The last layer that gets most fitting rows right, after the smooth programme: a mixed-integer programme.

use std::time::{Duration, Instant};

use certificate::{Affine, Model, Network};
use milp::LastLayer;
use milp::solver::{Cbc, Limits};
use serde::{Deserialize, Serialize};
use train::data::{DataSet, Part};

use crate::error::{Error, Result};

/// `[count]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Count {
    /// Largest absolute value of a weight or bias of the last layer.
    pub limit: f64,
    /// By how much the right class has to win.
    pub margin: f64,
    /// Seconds for the solver.
    pub time_limit_s: f64,
}

impl Default for Count {
    fn default() -> Self {
        Self { limit: 10.0, margin: 0.01, time_limit_s: 60.0 }
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Counted {
    /// Fitting rows that the trained last layer gets wrong, or not right by the margin.
    pub wrong_before: usize,
    /// The same of the counted one.
    pub wrong: usize,
    /// No last layer within the limits has fewer, by the solver's word.
    pub at_least: usize,
    /// Share of fitting rows right.
    pub train: f64,
    /// Share of test rows right.
    pub test: f64,
    /// Wall-clock time.
    pub seconds: f64,
}

impl Count {
    /// The model with its last layer exchanged, and what that does. The new outputs have no ReLU.
    ///
    /// # Errors
    /// If a setting makes no sense.
    pub fn improve(&self, model: &Model, data: &DataSet) -> Result<Option<(Model, Counted)>> {
        let start = Instant::now();
        let mut layers = layers(&model.network);
        let trained = layers.pop().expect("a network has a last layer");
        let hidden = hidden_values(&layers, &data.fit);
        let classes: Vec<usize> = data.fit.y.iter().map(|y| *y as usize).collect();
        let Self { limit, margin, .. } = *self;
        let last = LastLayer { hidden: &hidden, classes: &classes, outputs: trained.outputs(), limit, margin };
        let time = Duration::from_secs_f64(self.time_limit_s.clamp(0.0, 1e9));
        let found = last
            .solve(&Cbc, &Limits::time(time))
            .map_err(|error| Error::Config { place: "[count]".into(), message: error.to_string() })?;
        let Some(found) = found else { return Ok(None) };
        layers.push(found.layer);
        let network = Network::from_layers(layers, false)?;
        let counted = Counted {
            wrong_before: last.wrong(&trained),
            wrong: found.wrong,
            at_least: found.at_least,
            train: accuracy(&network, &data.fit),
            test: accuracy(&network, &data.test),
            seconds: start.elapsed().as_secs_f64(),
        };
        Ok(Some((Model { network, ..model.clone() }, counted)))
    }
}

/// The layers of a dense network, without the identities that fill it up to blocks.
fn layers(network: &Network) -> Vec<Affine> {
    let all = network.blocks().iter().flat_map(|block| [block.first(), block.second()]);
    all.filter(|layer| **layer != Affine::identity(layer.inputs())).cloned().collect()
}

fn rows<'a>(part: &'a Part, width: usize) -> impl Iterator<Item = Vec<f64>> + 'a {
    part.x.chunks_exact(width).map(|row| row.iter().map(|x| f64::from(*x)).collect())
}

fn hidden_values(layers: &[Affine], part: &Part) -> Vec<Vec<f64>> {
    let relu = |values: Vec<f64>, layer: &Affine| layer.evaluate(&values).into_iter().map(|t| t.max(0.0)).collect();
    rows(part, layers[0].inputs()).map(|row| layers.iter().fold(row, relu)).collect()
}

fn accuracy(network: &Network, part: &Part) -> f64 {
    let right = |(row, y): (Vec<f64>, &f32)| {
        let outputs = network.evaluate(&row);
        let class = *y as usize;
        (0..outputs.len()).all(|k| k == class || outputs[k] < outputs[class])
    };
    let right = rows(part, network.inputs()).zip(&part.y).filter(|(row, y)| right((row.clone(), y))).count();
    right as f64 / part.len() as f64
}
