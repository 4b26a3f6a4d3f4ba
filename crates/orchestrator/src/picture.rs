//! A picture of what a repair changed: the output along one feature, before and after.

use certificate::{Direction, Model};
use plotters::prelude::*;
use train::data::DataSet;

use crate::axis::Axis;
use crate::html_report::number;

/// Name of the picture in a run folder.
pub const FILE: &str = "repair.svg";
/// Validation rows that are tried.
const ROWS: usize = 300;
/// Steps along the feature.
const STEPS: usize = 100;

/// The output along one feature, the other features as in one row.
pub struct Slice {
    /// The feature.
    pub feature: usize,
    /// Values from 0 to 1, and the outputs there before and after.
    points: Vec<(f64, f64, f64)>,
}

impl Slice {
    /// The slice on which the output moves farthest against the feature's direction before the repair; among slices where it
    /// never does, the one that the repair changed most.
    pub fn worst(before: &Model, after: &Model, data: &DataSet) -> Self {
        let width = data.features.len();
        let rows = data.validation.x.chunks(width).take(ROWS);
        let rows: Vec<Vec<f64>> = rows.map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect();
        let moving = |j: &usize| data.features[*j].direction != Direction::Free;
        let along = |row: &Vec<f64>, feature: usize| {
            let at = |k: usize| {
                let x = k as f64 / STEPS as f64;
                let mut point = row.clone();
                point[feature] = x;
                (x, before.network.evaluate(&point)[0], after.network.evaluate(&point)[0])
            };
            Self { feature, points: (0..=STEPS).map(at).collect() }
        };
        let slices = rows.iter().flat_map(|row| (0..width).filter(moving).map(move |j| along(row, j)));
        let badness = |slice: &Self| (slice.fall(data.features[slice.feature].direction), slice.change());
        let slices = slices.map(|slice| (badness(&slice), slice));
        let worst = slices.max_by(|(a, _), (b, _)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        worst.expect("a repaired model has a validation row and a monotone feature").1
    }

    /// How far the output before the repair falls below a value that it had reached, times the sign of the direction.
    fn fall(&self, direction: Direction) -> f64 {
        let (mut highest, mut fall) = (f64::NEG_INFINITY, 0.0);
        for (_, before, _) in &self.points {
            // Must not fall as the feature grows, whatever the direction.
            let output = direction.sign() * before;
            highest = output.max(highest);
            fall = f64::max(fall, highest - output);
        }
        fall
    }

    fn change(&self) -> f64 {
        self.points.iter().map(|(_, before, after)| (before - after).abs()).fold(0.0, f64::max)
    }

    /// Two lines over the feature's raw values.
    pub fn to_svg(&self, data: &DataSet) -> String {
        let mut text = String::new();
        self.draw(data, &mut text).expect("drawing into a string does not fail");
        text
    }

    fn draw(&self, data: &DataSet, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let feature = &data.features[self.feature];
        let raw = |x: f64| feature.raw(x);
        let values = || self.points.iter().flat_map(|(_, before, after)| [*before, *after]);
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        let room = 0.05 * (high - low).max(1e-9);
        let area = SVGBackend::with_string(text, (640, 400)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(Axis::new(feature.scale, (raw(0.0), raw(1.0))), low - room..high + room)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(&feature.name)
            .y_desc("output")
            .x_label_formatter(&|x| number(*x))
            .y_label_formatter(&|y| number(*y))
            .draw()?;
        let orange = RGBColor(213, 94, 0);
        let blue = RGBColor(0, 114, 178);
        for (name, color, width, pick) in [("before the repair", orange, 2, 0), ("after the repair", blue, 3, 1)] {
            let line = self.points.iter().map(|(x, before, after)| (raw(*x), [*before, *after][pick]));
            chart
                .draw_series(LineSeries::new(line, color.stroke_width(width)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(width)));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE)
            .border_style(BLACK.mix(0.3))
            .position(SeriesLabelPosition::UpperLeft)
            .draw()?;
        area.present()?;
        Ok(())
    }
}
