//! A trained network as a drawing: its units from left to right, its weights as lines between them.

use certificate::Target;
use milp::training::LayerWeights;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::report::used;
use super::samples::Samples;

const COLUMN: i32 = 220;
const ROW: i32 = 44;
const RADIUS: i32 = 10;
const SIDE: i32 = 190;
const BLUE_ONE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);
const GREY: RGBColor = RGBColor(190, 190, 190);
/// With more inputs than this they are drawn as their channels.
const MOST_INPUTS: usize = 40;

/// Draws it. A filter is one unit, and the line to it has the sum of its kernel's absolute values.
pub fn draw(samples: &Samples, weights: &[LayerWeights]) -> String {
    let mut text = String::new();
    Drawing::new(samples, weights).draw(&mut text).expect("drawing into a string does not fail");
    text
}

/// A column of units: what stands beside each, and whether it does anything.
struct Column {
    units: Vec<(String, bool)>,
}

struct Drawing<'a> {
    columns: Vec<Column>,
    weights: &'a [LayerWeights],
}

impl<'a> Drawing<'a> {
    fn new(samples: &Samples, weights: &'a [LayerWeights]) -> Self {
        let width = weights[0].weights.len() / weights[0].biases.len();
        let all = samples.shape.size();
        let names: Vec<String> = if width == all && all <= MOST_INPUTS {
            samples.features.iter().map(|feature| feature.name.clone()).collect()
        } else {
            (0..samples.shape.channels.min(width)).map(|channel| format!("image {}", channel + 1)).collect()
        };
        let read = |k: usize| {
            let places = width / names.len();
            weights[0].weights.chunks(width).any(|row| row[k * places..(k + 1) * places].iter().any(|w| *w != 0.0))
        };
        let inputs = names.iter().enumerate().map(|(k, name)| (name.clone(), read(k))).collect();
        let mut columns = vec![Column { units: inputs }];
        for (layer, used) in weights.iter().zip(used(weights)) {
            let unit = |j: usize| (format!("{:+.3}", layer.biases[j]), used.contains(&j));
            columns.push(Column { units: (0..layer.biases.len()).map(unit).collect() });
        }
        let last = &weights[weights.len() - 1].biases;
        let named = |k: usize| match &samples.target {
            Target::Classes { column, classes } => format!("{column} {}", classes[k]),
            Target::Binary { column, positive } => format!("{column} {positive}"),
            Target::Regression { column, .. } => column.clone(),
        };
        columns.push(Column {
            units: (0..last.len()).map(|k| (format!("{} ({:+.3})", named(k), last[k]), true)).collect(),
        });
        Self { columns, weights }
    }

    /// The middle of a unit.
    fn place(&self, column: usize, unit: usize) -> (i32, i32) {
        let units = self.columns[column].units.len() as i32;
        let x = SIDE + COLUMN * column as i32;
        (x, self.height() / 2 + ROW * (2 * unit as i32 - units + 1) / 2)
    }

    fn height(&self) -> i32 {
        let most = self.columns.iter().map(|column| column.units.len()).max().unwrap_or(1);
        ROW * (most as i32 + 1)
    }

    fn draw(&self, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let width = 2 * SIDE + COLUMN * (self.columns.len() as i32 - 1);
        let area = SVGBackend::with_string(text, (width as u32, self.height() as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        for k in 0..self.weights.len() {
            self.lines(&area, k)?;
        }
        for (c, column) in self.columns.iter().enumerate() {
            for (j, (label, used)) in column.units.iter().enumerate() {
                let (x, y) = self.place(c, j);
                let colour = if *used { BLACK } else { GREY };
                area.draw(&Circle::new((x, y), RADIUS, WHITE.filled()))?;
                area.draw(&Circle::new((x, y), RADIUS, colour.stroke_width(2)))?;
                let (at, side, above) = match c {
                    0 => ((x - RADIUS - 6, y), HPos::Right, VPos::Center),
                    _ if c + 1 == self.columns.len() => ((x + RADIUS + 6, y), HPos::Left, VPos::Center),
                    _ => ((x, y - RADIUS - 3), HPos::Center, VPos::Bottom),
                };
                let style = ("sans-serif", 13).into_font().color(&colour).pos(Pos::new(side, above));
                area.draw(&Text::new(label.clone(), at, style))?;
            }
        }
        area.present()?;
        Ok(())
    }

    /// The weights of a layer: the thicker, the larger in absolute value.
    fn lines(&self, area: &DrawingArea<SVGBackend, Shift>, k: usize) -> Result<(), Box<dyn std::error::Error>> {
        let layer = &self.weights[k];
        let (from, units) = (self.columns[k].units.len(), layer.biases.len());
        let width = layer.weights.len() / units;
        if !width.is_multiple_of(from) {
            return Ok(());
        }
        let block = |unit: usize, source: usize| {
            let places = width / from;
            &layer.weights[unit * width + source * places..][..places]
        };
        let size = |block: &[f64]| block.iter().map(|w| w.abs()).sum::<f64>();
        let pairs = || (0..units).flat_map(|unit| (0..from).map(move |source| (unit, source)));
        let largest = pairs().map(|(unit, source)| size(block(unit, source))).fold(0.0, f64::max);
        for (unit, source) in pairs().filter(|(unit, source)| size(block(*unit, *source)) > 0.0) {
            let block = block(unit, source);
            let useful = self.columns[k].units[source].1 && self.columns[k + 1].units[unit].1;
            let colour = match block.iter().sum::<f64>() {
                _ if !useful => GREY,
                sum if sum >= 0.0 => BLUE_ONE,
                _ => ORANGE,
            };
            let thickness = (1.0 + 5.0 * size(block) / largest).round() as u32;
            let ends = [self.place(k, source), self.place(k + 1, unit)];
            area.draw(&PathElement::new(ends, colour.stroke_width(thickness)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use certificate::{Direction, Interval, ModelFeature, Shape};
    use milp::training::Targets;

    /// One line for each weight that is not 0, grey where a unit is not read, and names that XML could take for its own.
    #[test]
    fn what_is_pruned_is_not_drawn_or_grey() {
        let feature = |name: &str| ModelFeature::linear(name, Direction::Free, 0.0, 1.0);
        let samples = Samples {
            shape: Shape::list(2),
            train: (vec![], Targets::Classes(vec![])),
            test: None,
            features: vec![feature("a<b"), feature("c")],
            input_box: vec![Interval::new(0.0, 1.0); 2],
            target: Target::Binary { column: "y".into(), positive: "1".into() },
            source: String::new(),
        };
        let first = LayerWeights { weights: vec![1.0, -2.0, 0.5, 0.0], biases: vec![0.0; 2] };
        let second = LayerWeights { weights: vec![1.0, 0.0], biases: vec![0.25] };
        let svg = draw(&samples, &[first, second]);
        let lines =
            |colour: &str| svg.matches(&format!("<polyline fill=\"none\" opacity=\"1\" stroke=\"{colour}\"")).count();
        assert_eq!([lines("#0072B2"), lines("#D55E00"), lines("#BEBEBE")], [2, 1, 1], "{svg}");
        assert!(svg.contains("a&lt;b") && svg.contains("y 1 (+0.250)"), "{svg}");
    }
}
