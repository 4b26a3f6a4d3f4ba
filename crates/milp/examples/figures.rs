//! The paper's figures about single blocks, measured on models that were trained for it:
//!
//! ```text
//! cargo run --release -p milp --example figures -- time FOLDER SECONDS-PER-QUERY MODEL...
//! cargo run --release -p milp --example figures -- worst-derivative FOLDER MODEL...
//! ```
//!
//! `time` (Figure 3): how long branch and bound, CBC and microlp take for the sign of each query of the first block, one after the
//! other on one thread, in CPU seconds. `worst-derivative` (Figure 7): the least derivative itself, proved from both sides.
//! Each writes a table and a picture into FOLDER. A model file is named `X-SEED.safetensors`, where X is the number on the
//! horizontal axis: hidden neurons, or lambda.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use certificate::{Model, interval};
use cpu_time::ThreadTime;
use milp::solver::{Cbc, Microlp};
use milp::{Engine, Mode, Options, verify_query};
use plotters::prelude::*;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["time", folder, seconds, ref models @ ..] => {
            let seconds = seconds.parse()?;
            one_thread.install(|| time(Path::new(folder), seconds, &of_block(models)?).map_err(|e| e.to_string()))?;
        }
        ["worst-derivative", folder, ref models @ ..] => {
            one_thread
                .install(|| worst_derivative(Path::new(folder), &of_block(models)?).map_err(|e| e.to_string()))?;
        }
        _ => return Err("expected: time FOLDER SECONDS MODEL... or worst-derivative FOLDER MODEL...".into()),
    }
    Ok(())
}

/// A model with the number and the seed in its name.
struct Trained {
    x: f64,
    seed: u32,
    model: Model,
}

fn of_block(files: &[&str]) -> std::result::Result<Vec<Trained>, String> {
    let read = |file: &&str| -> Result<Trained> {
        let path = PathBuf::from(file);
        let stem = path.file_stem().ok_or("no file name")?.to_string_lossy().into_owned();
        let (x, seed) = stem.split_once('-').ok_or("expected X-SEED.safetensors")?;
        Ok(Trained { x: x.parse()?, seed: seed.parse()?, model: Model::load(&path)? })
    };
    let mut trained = files
        .iter()
        .map(|file| read(file).map_err(|e| format!("{file}: {e}")))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    trained.sort_by(|a, b| a.x.total_cmp(&b.x).then(a.seed.cmp(&b.seed)));
    Ok(trained)
}

/// Asks all queries of a model's first block with one engine: a table line each, and the CPU seconds together. None if one was
/// left undecided.
fn ask(trained: &Trained, engine: Engine, options: &Options, csv: &mut String) -> Result<Option<f64>> {
    let Trained { x, seed, model } = trained;
    let domains = interval::block_domains(&model.network, &model.domain);
    let mut total = Some(0.0);
    for query in &model.specification().queries(&model.network)?[0] {
        let start = ThreadTime::now();
        let report = verify_query(&model.network.blocks()[0], &domains[0], *query, engine, options)?;
        let seconds = start.elapsed().as_secs_f64();
        let (word, value) = (report.verdict.word(), report.incumbent.map_or(String::new(), |value| value.to_string()));
        writeln!(
            csv,
            "{x},{seed},{},{},{word},{},{value},{},{seconds:.6}",
            engine.name(),
            query.input,
            report.lower_bound,
            report.unstable
        )?;
        let decided = report.verdict.is_certified() || report.verdict.is_refuted();
        total = total.filter(|_| decided).map(|total| total + seconds);
    }
    Ok(total)
}

const HEAD: &str = "x,seed,engine,input,verdict,proven_lower_bound,least_known,unstable_neurons,cpu_seconds\n";

fn time(folder: &Path, seconds: f64, trained: &[Trained]) -> Result<()> {
    // All work is left to the engines.
    let options = Options { samples: 0, query_time_limit_s: seconds, ..Options::default() };
    let engines = [
        ("branch and bound", BLUE, Engine::BranchAndBound),
        ("CBC", ORANGE, Engine::Milp(&Cbc)),
        ("microlp", GREEN, Engine::Milp(&Microlp)),
    ];
    let mut csv = String::from(HEAD);
    let mut points: [Vec<(f64, Option<f64>)>; 3] = Default::default();
    for trained in trained {
        for (k, (name, _, engine)) in engines.iter().enumerate() {
            // An engine that settled no network of a smaller width is not asked again.
            let last: Vec<_> = points[k].iter().filter(|(x, _)| *x < trained.x).collect();
            let width = last.last().map(|(x, _)| *x);
            if width.is_some() && last.iter().filter(|(x, _)| Some(*x) == width).all(|(_, total)| total.is_none()) {
                continue;
            }
            let total = ask(trained, *engine, &options, &mut csv)?;
            eprintln!("{} neurons, seed {}: {name} {total:?}", trained.x, trained.seed);
            points[k].push((trained.x, total));
        }
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("figure.csv"), csv)?;
    let series: Vec<_> = engines.iter().zip(points).map(|((name, color, _), points)| (*name, *color, points)).collect();
    draw_time(&folder.join("figure.svg"), &series)
}

/// A name and a colour, and for each network its width and, where it was decided, its seconds.
type Series = (&'static str, RGBColor, Vec<(f64, Option<f64>)>);

/// Seconds over width on a logarithmic axis; the line joins the medians of a width.
fn draw_time(path: &Path, series: &[Series]) -> Result<()> {
    let all = || series.iter().flat_map(|(_, _, points)| points);
    let decided = || all().filter_map(|(_, total)| *total);
    let (low, high) = (decided().fold(f64::MAX, f64::min), decided().fold(0.0, f64::max));
    let widest = all().map(|(x, _)| *x).fold(0.0, f64::max);
    let area = SVGBackend::new(path, (720, 440)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(0.0..1.05 * widest, (low / 2.0..high * 2.0).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("hidden neurons")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_desc("CPU seconds for all features of a block")
        .y_label_formatter(&|y| if *y < 0.001 { format!("{y:.0e}") } else { y.to_string() })
        .draw()?;
    for (name, color, points) in series {
        let mut by_width: BTreeMap<u64, Vec<Option<f64>>> = BTreeMap::new();
        points.iter().for_each(|(x, total)| by_width.entry(*x as u64).or_default().push(*total));
        let median = |(x, totals): (&u64, &Vec<Option<f64>>)| {
            let mut totals: Vec<f64> = totals.iter().map(|total| total.unwrap_or(f64::INFINITY)).collect();
            totals.sort_by(f64::total_cmp);
            (*x as f64, totals[totals.len() / 2])
        };
        let medians = by_width.iter().map(median).filter(|(_, y)| y.is_finite());
        chart
            .draw_series(LineSeries::new(medians, color.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        let dots = points.iter().filter_map(|(x, total)| total.map(|y| Circle::new((*x, y), 3, color.filled())));
        chart.draw_series(dots)?;
    }
    let place = SeriesLabelPosition::UpperLeft;
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK.mix(0.3)).position(place).draw()?;
    area.present()?;
    Ok(())
}

fn worst_derivative(folder: &Path, trained: &[Trained]) -> Result<()> {
    let options = Options { mode: Mode::Minimum, query_time_limit_s: 600.0, ..Options::default() };
    let mut csv = String::from(HEAD);
    let mut worst: BTreeMap<(u64, usize), Vec<f64>> = BTreeMap::new();
    let (mut names, mut inputs) = (Vec::new(), Vec::new());
    for trained in trained {
        let before = csv.len();
        ask(trained, Engine::BranchAndBound, &options, &mut csv)?;
        names = trained.model.features.iter().map(|feature| feature.name.clone()).collect();
        for line in csv[before..].lines() {
            let cells: Vec<&str> = line.split(',').collect();
            let (input, bound): (usize, f64) = (cells[3].parse()?, cells[5].parse()?);
            worst.entry((trained.x.to_bits(), input)).or_default().push(bound);
            inputs.push(input);
        }
        eprintln!("lambda {}, seed {}", trained.x, trained.seed);
    }
    inputs.sort_unstable();
    inputs.dedup();
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("figure.csv"), csv)?;
    let series = inputs.into_iter().map(|input| {
        let of_input = worst.iter().filter(|((_, other), _)| *other == input);
        let mean = of_input.map(|((x, _), y)| (f64::from_bits(*x), y.iter().sum::<f64>() / y.len() as f64));
        let mut line: Vec<(f64, f64)> = mean.collect();
        line.sort_by(|a, b| a.0.total_cmp(&b.0));
        (names[input].clone(), line)
    });
    draw_worst(&folder.join("figure.svg"), &series.collect::<Vec<_>>())
}

/// The least derivative over lambda, one line for each feature: the mean over seeds.
fn draw_worst(path: &Path, series: &[(String, Vec<(f64, f64)>)]) -> Result<()> {
    let all = || series.iter().flat_map(|(_, line)| line);
    // Roots keep zero where it is and both the deep and the shallow visible.
    let root = |y: f64| y.signum() * y.abs().sqrt();
    let (low, high) = all().map(|(_, y)| root(*y)).fold((0.0, 0.0), |(l, h): (f64, f64), y| (l.min(y), h.max(y)));
    // A lambda of 0 stands one step left of the smallest.
    let exponent = |x: f64| if x > 0.0 { x.log10() } else { -2.0 };
    let ends = all().map(|(x, _)| exponent(*x)).fold((0.0, 0.0), |(l, h): (f64, f64), x| (l.min(x), h.max(x)));
    let area = SVGBackend::new(path, (720, 440)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(ends.0 - 0.2..ends.1 + 0.2, 1.05 * low..high + 0.05 * (high - low))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("lambda")
        .x_label_formatter(&|x| match x.fract() == 0.0 {
            true if *x == -2.0 => "0".into(),
            true => 10f64.powf(*x).to_string(),
            false => String::new(),
        })
        .y_desc("least derivative (root scale)")
        .y_label_formatter(&|y| format!("{:.2}", y.signum() * y * y))
        .draw()?;
    chart.draw_series(LineSeries::new([(ends.0 - 0.2, 0.0), (ends.1 + 0.2, 0.0)], BLACK.stroke_width(1)))?;
    let colors = [BLUE, ORANGE, GREEN, RGBColor(204, 121, 167), RGBColor(86, 180, 233), RGBColor(230, 159, 0)];
    for ((name, line), color) in series.iter().zip(colors.into_iter().cycle()) {
        let points = || line.iter().map(|(x, y)| (exponent(*x), root(*y)));
        chart
            .draw_series(LineSeries::new(points(), color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        chart.draw_series(points().map(|point| Circle::new(point, 3, color.filled())))?;
    }
    let place = SeriesLabelPosition::LowerRight;
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK.mix(0.3)).position(place).draw()?;
    area.present()?;
    Ok(())
}
