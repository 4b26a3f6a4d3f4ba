//! Pictures of an input that was found: bars for attributes, images for pixels.

use plotters::prelude::*;

use super::subject::Value;
use super::{Attribute, Findings};
use crate::error::{Error, Result};

const BLUE_INK: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);
const GREY: RGBColor = RGBColor(120, 120, 120);

/// Height of one attribute.
const LINE: i32 = 34;
/// Where the bars begin and end.
const BARS: (i32, i32) = (230, 600);
const WIDTH: i32 = 760;

/// A bar for each attribute over its range: where it was, and where it has to go.
pub fn bars(findings: &Findings) -> String {
    let mut text = String::new();
    let height = 80 + LINE * findings.attributes.len() as i32;
    draw_bars(findings, &mut text, height).expect("drawing into a string does not fail");
    text
}

type Drawn<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn draw_bars(findings: &Findings, text: &mut String, height: i32) -> Drawn {
    let area = SVGBackend::with_string(text, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let style = |size: i32, color: RGBColor| ("sans-serif", size).into_font().color(&color);
    let write = |text: &str, at: (i32, i32), size: i32, color: RGBColor| area.draw_text(text, &style(size, color), at);
    let title = match (&findings.from_class, &findings.class, findings.value) {
        (Some(from), Some(to), Some(value)) => format!("{from} -> {to}: {} {}", findings.measure, super::plain(value)),
        (_, Some(class), Some(value)) => format!("largest {} for {class}: {}", findings.measure, super::plain(value)),
        (_, _, value) => format!("{} {}", findings.measure, value.map_or(String::new(), super::plain)),
    };
    write(&title, (16, 12), 18, BLACK)?;
    for (a, attribute) in findings.attributes.iter().enumerate() {
        let top = 48 + LINE * a as i32;
        let Attribute { name, from, value, changed, range } = attribute;
        let ink = if *changed { ORANGE } else { BLACK };
        write(name, (16, top + 6), 14, ink)?;
        if let (Some((low, high)), Value::Number(to)) = (range, value) {
            let place = |x: f64| BARS.0 + (f64::from(BARS.1 - BARS.0) * (x - low) / (high - low)).round() as i32;
            area.draw(&Rectangle::new([(BARS.0, top + 11), (BARS.1, top + 13)], GREY.mix(0.35).filled()))?;
            if let Some(Value::Number(from)) = from {
                area.draw(&Rectangle::new([(BARS.0, top + 4), (place(*from), top + 11)], BLUE_INK.filled()))?;
                let ink = if *changed { ORANGE } else { BLUE_INK };
                area.draw(&Rectangle::new([(BARS.0, top + 13), (place(*to), top + 20)], ink.filled()))?;
            } else {
                area.draw(&Rectangle::new([(BARS.0, top + 6), (place(*to), top + 18)], BLUE_INK.filled()))?;
            }
        }
        let said = match from {
            Some(from) if *changed => format!("{from} -> {value}"),
            _ => value.to_string(),
        };
        write(&said, (BARS.1 + 16, top + 6), 14, ink)?;
    }
    let foot = height - 24;
    if findings.attributes.iter().any(|attribute| attribute.from.is_some()) {
        write("upper bar: before", (BARS.0, foot), 12, BLUE_INK)?;
        write("lower bar: after", (BARS.0 + 130, foot), 12, ORANGE)?;
    }
    area.present()?;
    Ok(())
}

/// Side of a pixel.
const PIXEL: i32 = 8;
const GAP: i32 = 24;

/// The image that was found; beside it the one to start from and what changed, brighter as red and darker as blue.
///
/// # Errors
/// If the inputs are not as many as the pixels.
pub fn images((rows, columns): (usize, usize), from: Option<&[f64]>, to: &[f64]) -> Result<String> {
    if rows * columns != to.len() {
        let message = format!("{rows}x{columns} are {} pixels, the network has {} inputs", rows * columns, to.len());
        return Err(Error::Config { place: "--image".into(), message });
    }
    let mut pictures: Vec<(&str, Vec<RGBColor>)> = Vec::new();
    let level = |share: f64| (255.0 * share.clamp(0.0, 1.0)).round() as u8;
    let grey = |x: &f64| RGBColor(level(*x), level(*x), level(*x));
    if let Some(from) = from {
        pictures.push(("before", from.iter().map(grey).collect()));
    }
    pictures.push(("found", to.iter().map(grey).collect()));
    if let Some(from) = from {
        let most = from.iter().zip(to).map(|(a, b)| (a - b).abs()).fold(1e-9, f64::max);
        let change = |(a, b): (&f64, &f64)| {
            let share = (b - a) / most;
            let rest = level(1.0 - share.abs());
            if share > 0.0 { RGBColor(255, rest, rest) } else { RGBColor(rest, rest, 255) }
        };
        pictures.push(("change", from.iter().zip(to).map(change).collect()));
    }
    let side = (columns as i32 * PIXEL, rows as i32 * PIXEL);
    let mut text = String::new();
    let mut draw = || -> Drawn {
        let width = GAP + pictures.len() as i32 * (side.0 + GAP);
        let area = SVGBackend::with_string(&mut text, (width as u32, (side.1 + 2 * GAP) as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        for (k, (name, pixels)) in pictures.iter().enumerate() {
            let left = GAP + k as i32 * (side.0 + GAP);
            area.draw_text(name, &("sans-serif", 14).into_font().color(&BLACK), (left, 4))?;
            for (i, color) in pixels.iter().enumerate() {
                let (x, y) = (left + (i % columns) as i32 * PIXEL, GAP + (i / columns) as i32 * PIXEL);
                area.draw(&Rectangle::new([(x, y), (x + PIXEL, y + PIXEL)], color.filled()))?;
            }
            area.draw(&Rectangle::new([(left, GAP), (left + side.0, GAP + side.1)], GREY))?;
        }
        area.present()?;
        Ok(())
    };
    draw().expect("drawing into a string does not fail");
    Ok(text)
}
