//! What a network answers when one or two features move and the others stay as in a real row.

use certificate::{Direction, Model, Target};
use train::data::DataSet;

/// Steps along a feature.
const STEPS: usize = 100;
/// Cells along each side of a surface.
const CELLS: usize = 48;

/// A validation row.
pub struct Row {
    /// What it is called on the page.
    pub letter: char,
    /// Its number in the data file, counted from 1 without the header.
    pub number: usize,
    /// The network's inputs.
    pub x: Vec<f64>,
}

/// Validation rows from low to high outputs, at most five: where a tenth, three tenths and so on of all rows lie below.
pub fn typical_rows(model: &Model, data: &DataSet) -> Vec<Row> {
    let part = &data.validation;
    let x = |k: usize| -> Vec<f64> {
        let width = data.features.len();
        part.x[k * width..(k + 1) * width].iter().map(|x| f64::from(*x)).collect()
    };
    let mut by_output: Vec<(f64, usize)> = (0..part.len()).map(|k| (model.network.evaluate(&x(k))[0], k)).collect();
    by_output.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut chosen: Vec<usize> = [1, 3, 5, 7, 9].map(|tenths| by_output.len() * tenths / 10).to_vec();
    chosen.dedup();
    let row = |(letter, place): (char, usize)| {
        let k = by_output[place].1;
        Row { letter, number: part.rows[k] + 1, x: x(k) }
    };
    ('A'..).zip(chosen).map(row).collect()
}

/// The features with a direction.
pub fn monotone(model: &Model) -> Vec<usize> {
    (0..model.features.len()).filter(|&j| model.features[j].direction != Direction::Free).collect()
}

/// The first output of a network in a unit that people know.
pub struct Answer<'a> {
    model: &'a Model,
}

impl<'a> Answer<'a> {
    /// That of a model.
    pub fn of(model: &'a Model) -> Self {
        Self { model }
    }

    /// At an input of the network.
    pub fn at(&self, x: &[f64]) -> f64 {
        let output = self.model.network.evaluate(x)[0];
        match &self.model.target {
            Target::Binary { .. } => 100.0 / (1.0 + (-output).exp()),
            Target::Regression { minimum, maximum, .. } => minimum + output * (maximum - minimum),
            Target::Classes { .. } => output,
        }
    }

    /// What it is, within a sentence.
    pub fn name(&self) -> String {
        match &self.model.target {
            Target::Binary { column, positive } => format!("the estimated probability that {column} is {positive}"),
            Target::Regression { column, .. } => format!("the predicted {column}"),
            Target::Classes { column, .. } => format!("every score for a class of {column}"),
        }
    }

    /// What it is, beside an axis.
    pub fn axis(&self) -> String {
        match &self.model.target {
            Target::Binary { .. } => "estimated probability in %".into(),
            Target::Regression { column, .. } => format!("predicted {column}"),
            Target::Classes { .. } => "score of the first class".into(),
        }
    }

    /// Along a feature, over its range: values of the feature in its own unit, and the answers there.
    pub fn along(&self, row: &[f64], feature: usize) -> Vec<(f64, f64)> {
        let steps = self.whole_steps(feature).unwrap_or(STEPS);
        let at = |k: usize| self.with(row, &[(feature, k as f64 / steps as f64)]);
        (0..=steps).map(|k| (self.raw(feature, k as f64 / steps as f64), at(k))).collect()
    }

    /// How far it moves along a feature.
    pub fn spread(&self, row: &[f64], feature: usize) -> f64 {
        let values = || self.along(row, feature).into_iter().map(|(_, answer)| answer);
        values().fold(f64::NEG_INFINITY, f64::max) - values().fold(f64::INFINITY, f64::min)
    }

    /// Over two features: for each cell along the second one the answers along the first, in the middles of the cells or, of
    /// features with whole numbers, at the nearest of these.
    pub fn over(&self, row: &[f64], (first, second): (usize, usize)) -> Vec<Vec<f64>> {
        let middle = |feature: usize, k: usize| {
            let share = (k as f64 + 0.5) / CELLS as f64;
            self.whole_steps(feature).map_or(share, |steps| (share * steps as f64).round() / steps as f64)
        };
        let at = |i, j| self.with(row, &[(first, middle(first, i)), (second, middle(second, j))]);
        (0..CELLS).map(|j| (0..CELLS).map(|i| at(i, j)).collect()).collect()
    }

    /// A place within a feature's range, from 0 to 1, in the feature's own unit.
    pub fn raw(&self, feature: usize, share: f64) -> f64 {
        self.model.features[feature].raw(self.scaled(feature, share))
    }

    fn scaled(&self, feature: usize, share: f64) -> f64 {
        let side = self.model.domain.input_box()[feature];
        side.lower + share * (side.upper - side.lower)
    }

    fn with(&self, row: &[f64], moved: &[(usize, f64)]) -> f64 {
        let mut x = row.to_vec();
        moved.iter().for_each(|&(feature, share)| x[feature] = self.scaled(feature, share));
        self.at(&x)
    }

    /// Steps between whole numbers, if the claim is about these alone.
    fn whole_steps(&self, feature: usize) -> Option<usize> {
        let integer = self.model.domain.integer().iter().find(|integer| integer.input == feature);
        integer.map(|integer| integer.steps as usize)
    }
}
