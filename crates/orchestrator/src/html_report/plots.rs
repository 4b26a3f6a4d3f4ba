//! The drawings: small, so that their letters can be read on a narrow window too, and without a background.

use certificate::Scale;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::markup::{Markup, drawing};
use super::numbers::{ends, number, shortened};
use crate::axis::Axis;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<T = ()> = Result<T, Box<dyn std::error::Error>>;

const WIDTH: u32 = 380;
const HEIGHT: u32 = 280;
/// Letters of about 12 pixels: `plotters` divides by 1.24.
const LETTERS: i32 = 15;
/// Colours that people who see few of them can tell apart (Okabe and Ito).
const COLORS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];
/// From low to high; steps of viridis.
const STEPS: [RGBColor; 10] = [
    RGBColor(72, 24, 106),
    RGBColor(71, 45, 123),
    RGBColor(62, 73, 137),
    RGBColor(49, 104, 142),
    RGBColor(38, 130, 142),
    RGBColor(31, 158, 137),
    RGBColor(74, 193, 109),
    RGBColor(122, 209, 81),
    RGBColor(189, 223, 38),
    RGBColor(253, 231, 37),
];

/// Axes and their labels.
macro_rules! mesh {
    ($chart:expr, $axes:expr) => {
        mesh!($chart, $axes, BLACK.mix(0.15))
    };
    ($chart:expr, $axes:expr, $grid:expr) => {
        $chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style($grid)
            .x_desc(shortened($axes.x, 40))
            .y_desc(shortened($axes.y, 30))
            .x_labels(6)
            .y_labels(6)
            .label_style(("sans-serif", LETTERS))
            .x_label_formatter(&|x| tick(*x))
            .y_label_formatter(&|y| tick(*y))
            .draw()?
    };
}

/// What stands beside the axes.
pub struct Axes<'a> {
    pub x: &'a str,
    pub y: &'a str,
}

/// A line with a letter at its end, and the place of the real row on it.
pub struct Curve {
    pub letter: char,
    pub points: Vec<(f64, f64)>,
    pub here: (f64, f64),
}

/// Curves over one feature, whose values are spread by `scale`; `range` is that of the answers, the same on all drawings that
/// are to be compared.
pub fn slices(axes: &Axes, scale: Scale, curves: &[Curve], range: (f64, f64)) -> Markup {
    let description = format!("{} along {}", axes.y, axes.x);
    draw((WIDTH, HEIGHT), &description, |area| {
        let x = bounds(curves.iter().flat_map(|curve| &curve.points).map(|point| point.0));
        let mut chart = chart(area, 28).build_cartesian_2d(Axis::new(scale, x), roomy(range))?;
        mesh!(chart, axes);
        let mut ends = Vec::new();
        for (curve, color) in curves.iter().zip(COLORS.iter().cycle()) {
            chart.draw_series(LineSeries::new(curve.points.iter().copied(), color.stroke_width(2)))?;
            chart.draw_series([Circle::new(curve.here, 4, color.filled())])?;
            let end = curve.points.last().expect("a curve has points");
            ends.push((chart.backend_coord(end), curve.letter));
        }
        letters(area, ends)
    })
}

/// Letters at the ends of curves, moved down where they would cover each other.
fn letters(area: &Area, mut ends: Vec<((i32, i32), char)>) -> Drawn {
    ends.sort_by_key(|((_, y), _)| *y);
    let mut next = i32::MIN;
    for ((x, y), letter) in ends {
        let y = y.max(next);
        area.draw_text(&letter.to_string(), &style(HPos::Left, VPos::Center), (x + 8, y))?;
        next = y + 13;
    }
    Ok(())
}

/// A surface seen from above, in ten steps of colour.
pub struct Surface<'a> {
    pub axes: Axes<'a>,
    /// What the colours stand for.
    pub answer: &'a str,
    /// From the first cell to the last, along both features.
    pub sides: [(f64, f64); 2],
    /// How the values of both are spread.
    pub scales: [Scale; 2],
    /// For each cell upwards the values to the right.
    pub cells: Vec<Vec<f64>>,
    /// The real row.
    pub here: (f64, f64),
}

/// The surface and what its colours mean.
pub fn surface(surface: &Surface) -> Markup {
    let Surface { axes, answer, sides, scales, cells, here } = surface;
    let (low, high) = bounds(cells.iter().flatten().copied());
    let step = |value: f64| ((value - low) / (high - low).max(1e-12) * STEPS.len() as f64) as usize;
    let color = |value: f64| step(value).min(STEPS.len() - 1);
    draw((WIDTH, HEIGHT), &format!("{answer} over {} and {}", axes.x, axes.y), |area| {
        let (left, right) = area.split_horizontally(WIDTH as i32 - 76);
        let axis = |k: usize| Axis::new(scales[k], sides[k]);
        let mut chart = chart(&left, 8).build_cartesian_2d(axis(0), axis(1))?;
        for (j, row) in cells.iter().enumerate() {
            let place = |axis: Axis, k: usize, count: usize| axis.at(k as f64 / count as f64);
            let (bottom, top) = (place(axis(1), j, cells.len()), place(axis(1), j + 1, cells.len()));
            let mut done = 0;
            // Neighbours of one colour as one rectangle: a tenth of the size.
            for run in row.chunk_by(|a, b| color(*a) == color(*b)) {
                let ends = [done, done + run.len()].map(|k| place(axis(0), k, row.len()));
                let corners = [(ends[0], bottom), (ends[1], top)];
                chart.draw_series([Rectangle::new(corners, STEPS[color(run[0])].filled())])?;
                done += run.len();
            }
        }
        mesh!(chart, axes, TRANSPARENT);
        chart.draw_series([Circle::new(*here, 6, WHITE.filled()), Circle::new(*here, 4, COLORS[1].filled())])?;
        colors(&right, (low, high))
    })
}

/// The colours from low to high with the values between them.
fn colors(area: &Area, (low, high): (f64, f64)) -> Drawn {
    let (top, height) = (16, (HEIGHT as i32 - 76) / STEPS.len() as i32);
    for (k, color) in STEPS.iter().rev().enumerate() {
        let y = top + k as i32 * height;
        area.draw(&Rectangle::new([(8, y), (22, y + height)], color.filled()))?;
    }
    let decimals = (1.0 - (high - low).max(1e-9).log10().floor()).max(0.0) as usize;
    for k in (0..=STEPS.len()).step_by(2) {
        let value = high - (high - low) * k as f64 / STEPS.len() as f64;
        let at = (27, top + k as i32 * height);
        area.draw_text(&format!("{value:.decimals$}"), &style(HPos::Left, VPos::Center), at)?;
    }
    Ok(())
}

/// Named lines, such as a loss over the epochs; `marks` are drawn as upright lines.
pub fn lines(axes: &Axes, lines: &[(&str, Vec<Vec<f64>>)], marks: &[usize]) -> Markup {
    let length = lines.iter().flat_map(|(_, runs)| runs).map(Vec::len).max().unwrap_or(0);
    let range = bounds(lines.iter().flat_map(|(_, runs)| runs.iter().flatten().copied()));
    draw((WIDTH, HEIGHT), &format!("{} over {}", axes.y, axes.x), |area| {
        let mut chart = chart(area, 12).build_cartesian_2d(1.0..(length as f64).max(2.0), roomy(range))?;
        mesh!(chart, axes);
        for mark in marks {
            let x = *mark as f64 + 0.5;
            let ends = [(x, roomy(range).start), (x, roomy(range).end)];
            chart.draw_series([PathElement::new(ends, BLACK.mix(0.5))])?;
        }
        for ((name, runs), color) in lines.iter().zip(COLORS) {
            for values in runs {
                let points = values.iter().enumerate().map(|(k, value)| (k as f64 + 1.0, *value));
                chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
            }
            let sample = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(3));
            chart.draw_series(std::iter::empty::<Circle<(f64, f64), i32>>())?.label(*name).legend(sample);
        }
        if lines.len() > 1 {
            let mut labels = chart.configure_series_labels();
            labels.label_font(("sans-serif", LETTERS)).position(SeriesLabelPosition::UpperRight).draw()?;
        }
        Ok(())
    })
}

/// What became of a round.
pub struct Step {
    pub round: usize,
    pub lambda: f64,
    pub certified: bool,
}

/// How lambda grew, on a logarithmic axis: discs where a round certified, crosses where it did not.
pub fn escalation(members: &[Vec<Step>]) -> Markup {
    let steps = || members.iter().flatten();
    let last = steps().map(|step| step.round).max().unwrap_or(1) as f64;
    let (low, high) = bounds(steps().map(|step| step.lambda.log10()));
    draw((WIDTH, HEIGHT), "lambda over the rounds", |area| {
        let mut chart = chart(area, 12).build_cartesian_2d(0.5..last + 0.5, low - 0.5..high + 0.5)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc("round")
            .y_desc("lambda")
            .x_labels(last.min(10.0) as usize)
            .y_labels((high - low).min(6.0) as usize + 2)
            .label_style(("sans-serif", LETTERS))
            .x_label_formatter(&|x| if x.fract() == 0.0 { number(*x) } else { String::new() })
            .y_label_formatter(&|y| if y.fract() == 0.0 { number(10_f64.powf(*y)) } else { String::new() })
            .draw()?;
        for steps in members {
            let at = |step: &Step| (step.round as f64, step.lambda.log10());
            chart.draw_series(LineSeries::new(steps.iter().map(at), BLACK.mix(0.4)))?;
            for step in steps {
                match step.certified {
                    true => chart.draw_series([Circle::new(at(step), 6, COLORS[2].filled())]).map(drop)?,
                    false => chart.draw_series([Cross::new(at(step), 5, COLORS[1].stroke_width(3))]).map(drop)?,
                }
            }
        }
        Ok(())
    })
}

/// A derivative: what is proved of it and the least that was met.
pub struct Bound {
    pub name: String,
    pub proved: f64,
    pub met: Option<f64>,
}

/// For each input how small the derivative is proved not to be (bar) and the smallest one met (disc).
pub fn bounds_chart(bounds_of: &[Bound]) -> Markup {
    let count = bounds_of.len() as i32;
    let height = 64 + 24 * count;
    draw((WIDTH, height as u32), "least derivatives: proved and met", |area| {
        let values = || bounds_of.iter().flat_map(|bound| [Some(bound.proved), bound.met, Some(0.0)]).flatten();
        let range = roomy(bounds(values()));
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(44)
            .y_label_area_size(112)
            .build_cartesian_2d(range, 0.0..f64::from(count))?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .y_labels(0)
            .x_labels(5)
            .x_desc("least derivative")
            .label_style(("sans-serif", LETTERS))
            .x_label_formatter(&|x| tick(*x))
            .draw()?;
        let zero = [(0.0, 0.0), (0.0, f64::from(count))];
        chart.draw_series([PathElement::new(zero, BLACK.stroke_width(2))])?;
        for (k, bound) in bounds_of.iter().enumerate() {
            let y = f64::from(count) - k as f64 - 0.5;
            let met = bound.met.unwrap_or(bound.proved);
            let color = if bound.proved >= 0.0 { COLORS[2] } else { COLORS[1] };
            chart.draw_series([PathElement::new([(bound.proved, y), (met, y)], color.stroke_width(2))])?;
            let ends = [(bound.proved, y - 0.3), (bound.proved, y + 0.3)];
            chart.draw_series([PathElement::new(ends, color.stroke_width(4))])?;
            chart.draw_series(bound.met.map(|met| Circle::new((met, y), 4, color.filled())))?;
            let at = chart.backend_coord(&(0.0, y)).1;
            area.draw_text(&shortened(&bound.name, 15), &style(HPos::Right, VPos::Center), (112, at))?;
        }
        Ok(())
    })
}

/// The output between and around two inputs that show a violation; their values are spread by `scale`.
pub fn violation(axes: &Axes, scale: Scale, points: &[(f64, f64)], pair: [(f64, f64); 2]) -> Markup {
    let description = format!("{} along {}: the two inputs of a counterexample", axes.y, axes.x);
    draw((WIDTH, HEIGHT), &description, |area| {
        let x = bounds(points.iter().map(|point| point.0));
        let range = bounds(points.iter().map(|point| point.1));
        let upwards = roomy((range.0, range.1 + 0.1 * (range.1 - range.0)));
        let mut chart = chart(area, 16).build_cartesian_2d(Axis::new(scale, x), upwards)?;
        mesh!(chart, axes);
        let (from, to) = (pair[0].0.min(pair[1].0), pair[0].0.max(pair[1].0));
        let between = points.iter().filter(|point| (from..=to).contains(&point.0)).copied();
        chart.draw_series(LineSeries::new(points.iter().copied(), COLORS[0].stroke_width(2)))?;
        chart.draw_series(LineSeries::new(between, COLORS[1].stroke_width(4)))?;
        for (at, name) in pair.iter().zip(["1", "2"]) {
            chart.draw_series([Circle::new(*at, 5, COLORS[1].filled())])?;
            let (x, y) = chart.backend_coord(at);
            area.draw_text(name, &style(HPos::Center, VPos::Bottom), (x, y - 8))?;
        }
        Ok(())
    })
}

/// The scores of a method's runs.
pub struct Dots {
    pub name: String,
    pub values: Vec<f64>,
    pub mean: f64,
    /// Of the mean.
    pub interval: Option<(f64, f64)>,
    pub published: Option<f64>,
}

/// Height of a method: its name, and below it its runs.
const LINE: i32 = 42;

/// For each method its runs (discs), their mean (upright line) with its interval (bar), and the published number (square).
pub fn dots(x: &str, methods: &[Dots]) -> Markup {
    let count = methods.len() as i32;
    let seen = methods.iter().flat_map(|method| method.values.iter().copied().chain(method.published));
    let (low, high) = bounds(seen);
    // Wide enough for most intervals; the one of two runs is thirteen standard errors long.
    let room = (0.3 * (high - low)).max(1e-3 * (1e-3 + high.abs()));
    let range = low - room..high + room;
    draw((WIDTH, (60 + LINE * count) as u32), x, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(18)
            .x_label_area_size(44)
            .y_label_area_size(10)
            .build_cartesian_2d(range.clone(), 0.0..f64::from(LINE * count))?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.15))
            .y_labels(0)
            .x_labels(5)
            .x_desc(x)
            .label_style(("sans-serif", LETTERS))
            .x_label_formatter(&|x| tick(*x))
            .draw()?;
        for (k, method) in methods.iter().enumerate() {
            let y = f64::from(LINE * (count - k as i32) - 28);
            if let Some((from, to)) = method.interval {
                let corners = [(from.max(range.start), y - 5.0), (to.min(range.end), y + 5.0)];
                chart.draw_series([Rectangle::new(corners, COLORS[4].mix(0.35).filled())])?;
            }
            // Runs that came out alike are to be seen all the same.
            let place = |(i, value): (usize, &f64)| (*value, y + [0.0, 4.0, -4.0, 2.0, -2.0][i % 5]);
            let disc = |at| Circle::new(at, 4, COLORS[0].mix(0.55).filled());
            chart.draw_series(method.values.iter().enumerate().map(place).map(disc))?;
            chart.draw_series([PathElement::new(
                [(method.mean, y - 9.0), (method.mean, y + 9.0)],
                BLACK.stroke_width(2),
            )])?;
            if let Some(published) = method.published {
                let (x, y) = chart.backend_coord(&(published, y));
                let corners = [(x, y - 7), (x + 7, y), (x, y + 7), (x - 7, y), (x, y - 7)];
                area.draw(&PathElement::new(corners, COLORS[1].stroke_width(2)))?;
            }
            let (left, middle) = chart.backend_coord(&(range.start, y));
            area.draw_text(&ends(&method.name, 52), &style(HPos::Left, VPos::Center), (left + 3, middle - 20))?;
        }
        Ok(())
    })
}

fn draw(size: (u32, u32), description: &str, paint: impl FnOnce(&Area) -> Drawn) -> Markup {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        paint(&area).and_then(|()| Ok(area.present()?)).expect("drawing into a string does not fail");
    }
    drawing(&svg, description)
}

fn chart<'a, 'b>(area: &'a Area<'b>, right: u32) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart.margin(8).margin_right(right).x_label_area_size(44).y_label_area_size(62);
    chart
}

fn style(horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    ("sans-serif", LETTERS).into_font().color(&BLACK).pos(Pos::new(horizontal, vertical))
}

/// A value beside an axis; one that should be 0 is often not quite.
fn tick(x: f64) -> String {
    if x.abs() < 1e-12 { "0".into() } else { number(x) }
}

/// The smallest and the largest value; of none, 0 and 1.
pub fn bounds(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let finite = || values.clone().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

/// A range with some room at both ends, even if it is a single value.
fn roomy((low, high): (f64, f64)) -> std::ops::Range<f64> {
    let room = 0.05 * (high - low).max(1e-6 * (1.0 + high.abs()));
    low - room..high + room
}
