use std::fmt::Write;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use train::smooth::ErrorTree;

/// The five numbers of a box plot, the mean, and the values beyond the whiskers.
#[derive(Debug, PartialEq)]
struct FiveNumbers {
    whiskers: [f64; 2],
    quartiles: [f64; 3],
    mean: f64,
    beyond: Vec<f64>,
}

impl FiveNumbers {
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        // Between the two nearest values where there is none.
        let quantile = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        let quartiles = [0.25, 0.5, 0.75].map(quantile);
        let reach = 1.5 * (quartiles[2] - quartiles[0]);
        let (inside, beyond): (Vec<f64>, Vec<f64>) =
            sorted.iter().partition(|value| (quartiles[0] - reach..=quartiles[2] + reach).contains(*value));
        let whiskers = [inside[0], inside[inside.len() - 1]];
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        Self { whiskers, quartiles, mean, beyond }
    }
}

/// Box plots of relative errors side by side, in per cent.
///
/// # Panics
/// If one has no value.
pub fn box_plots(columns: &[(&str, &[f64])]) -> String {
    let mut text = String::new();
    draw(columns, &mut text).expect("drawing into a string does not fail");
    text
}

fn draw(columns: &[(&str, &[f64])], text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let largest = columns.iter().flat_map(|(_, values)| *values).copied().fold(1e-9, f64::max);
    let area = SVGBackend::with_string(text, (420, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..columns.len() as f64, 0.0..105.0 * largest)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(0)
        .y_desc("relative error in per cent")
        .draw()?;
    let blue = RGBColor(0, 114, 178);
    for (k, (name, values)) in columns.iter().enumerate() {
        let percent: Vec<f64> = values.iter().map(|value| 100.0 * value).collect();
        let FiveNumbers { whiskers: [low, high], quartiles: [first, median, third], mean, beyond } =
            FiveNumbers::of(&percent);
        let middle = k as f64 + 0.5;
        let line = |ends: [(f64, f64); 2], width| PathElement::new(ends, blue.stroke_width(width));
        let across = |y: f64, half: f64| [(middle - half, y), (middle + half, y)];
        let corners = [(middle - 0.2, first), (middle + 0.2, third)];
        chart.draw_series([Rectangle::new(corners, blue.mix(0.2).filled()), Rectangle::new(corners, blue)])?;
        chart.draw_series([
            line(across(median, 0.2), 3),
            line(across(low, 0.1), 1),
            line(across(high, 0.1), 1),
            line([(middle, low), (middle, first)], 1),
            line([(middle, third), (middle, high)], 1),
        ])?;
        chart.draw_series(beyond.iter().map(|value| Circle::new((middle, *value), 3, blue)))?;
        chart.draw_series([Cross::new((middle, mean), 5, RGBColor(213, 94, 0).stroke_width(2))])?;
        let (x, y) = chart.backend_coord(&(middle, 0.0));
        let style = ("sans-serif", 14).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new((*name).to_owned(), (x, y + 10), style))?;
    }
    area.present()?;
    Ok(())
}

const BOX: [usize; 2] = [112, 28];
const GAP: [usize; 2] = [16, 44];

/// A tree from its root downwards: in a box how many of the rows there have a large error, on a branch what holds below it.
/// The darker a box, the larger their share.
pub fn tree(tree: &ErrorTree) -> String {
    let mut shapes = String::new();
    let mut leaves = 0;
    place(tree, 0, &mut leaves, &mut shapes);
    let width = GAP[0] + leaves * (BOX[0] + GAP[0]);
    let height = 2 * GAP[0] + BOX[1] + depth(tree) * (BOX[1] + GAP[1]);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\" text-anchor=\"middle\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n{shapes}</svg>\n"
    )
}

fn depth(tree: &ErrorTree) -> usize {
    tree.split.as_ref().map_or(0, |split| 1 + split.children.iter().map(depth).max().unwrap_or(0))
}

/// Draws a node above its children and gives the middle of its box; `leaves` counts those that stand already.
fn place(tree: &ErrorTree, level: usize, leaves: &mut usize, shapes: &mut String) -> usize {
    let top = GAP[0] + level * (BOX[1] + GAP[1]);
    let Some(split) = &tree.split else {
        let middle = GAP[0] + *leaves * (BOX[0] + GAP[0]) + BOX[0] / 2;
        *leaves += 1;
        node(tree, middle, top, shapes);
        return middle;
    };
    let below = [0, 1].map(|k| place(&split.children[k], level + 1, leaves, shapes));
    let middle = (below[0] + below[1]) / 2;
    for (x, question) in below.iter().zip(split.questions()) {
        branch(&question, (middle, top + BOX[1]), (*x, top + BOX[1] + GAP[1]), shapes);
    }
    node(tree, middle, top, shapes);
    middle
}

fn node(tree: &ErrorTree, middle: usize, top: usize, shapes: &mut String) {
    let share = tree.large as f64 / tree.rows.max(1) as f64;
    let [width, height] = BOX;
    let (left, base) = (middle - width / 2, top + height - 10);
    writeln!(
        shapes,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"#d55e00\" fill-opacity=\"{share:.2}\" \
         stroke=\"#555\"/>\n<text x=\"{middle}\" y=\"{base}\">{} of {}</text>",
        tree.large, tree.rows
    )
    .expect("a string takes everything");
}

/// A line, and over its lower end what holds there, on a white rim so that it can be read.
fn branch(question: &str, (from_x, from_y): (usize, usize), (x, y): (usize, usize), shapes: &mut String) {
    let (question, base) = (escaped(question), y - 6);
    writeln!(
        shapes,
        "<path d=\"M {from_x} {from_y} L {x} {y}\" stroke=\"#555\"/>\n\
         <text x=\"{x}\" y=\"{base}\" stroke=\"white\" stroke-width=\"4\">{question}</text>\n\
         <text x=\"{x}\" y=\"{base}\">{question}</text>"
    )
    .expect("a string takes everything");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use train::smooth::ErrorSplit;

    use super::*;

    /// The numbers 1 to 9 and one far away; quartiles as R and NumPy have them by default.
    #[test]
    fn five_numbers_by_hand() {
        let values = [9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 100.0];
        let found = FiveNumbers::of(&values);
        let expected =
            FiveNumbers { whiskers: [1.0, 9.0], quartiles: [3.25, 5.5, 7.75], mean: 14.5, beyond: vec![100.0] };
        assert_eq!(found, expected);
        assert_eq!(FiveNumbers::of(&[2.0]).quartiles, [2.0; 3]);
    }

    #[test]
    fn a_column_without_errors_is_drawn_too() {
        let svg = box_plots(&[("train", &[0.0, 0.0]), ("test", &[0.1, 0.3])]);
        assert!(svg.contains("train") && svg.contains("test") && svg.trim_end().ends_with("</svg>"), "{svg}");
    }

    #[test]
    fn names_are_escaped_in_a_picture() {
        let leaf = |large| ErrorTree { rows: 5, large, split: None };
        let split = ErrorSplit { feature: "a<b&c".into(), threshold: 0.5, children: Box::new([leaf(0), leaf(5)]) };
        let svg = tree(&ErrorTree { rows: 10, large: 5, split: Some(split) });
        assert!(svg.contains("a&lt;b&amp;c &gt;= 0.5") && !svg.contains("a<b"), "{svg}");
        assert!(svg.contains("5 of 10") && svg.contains("0 of 5") && svg.contains("5 of 5"), "{svg}");
    }
}
