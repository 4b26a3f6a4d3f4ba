//! What the network answers at real rows, and where it goes the wrong way.

use certificate::exact::approximate;
use certificate::{Counterexample, Direction, ModelFeature, Scale, Verdict};
use train::data::FeatureKind;

use super::finished_run::FinishedRun;
use super::inputs::{Line, inputs_table};
use super::markup::{Markup, Section, caution, gallery, heading, paragraph};
use super::numbers::number;
use super::plots::{self, Axes, Curve, Surface, bounds};
use super::response::{Answer, Row, monotone, typical_rows};
use crate::report::input_name;

/// Features of which every pair is drawn.
const PAIRED: usize = 4;
/// Counterexamples to single blocks that are drawn.
const DRAWN: usize = 6;
/// Points on the way between two inputs.
const POINTS: usize = 120;

/// The answer along each feature with a direction, at several rows.
pub fn slices(run: &FinishedRun) -> Option<Section> {
    let features = monotone(&run.model);
    if features.is_empty() {
        return None;
    }
    let answer = Answer::of(&run.model);
    let rows = typical_rows(&run.model, &run.data);
    let curve = |row: &Row, feature: usize| Curve {
        letter: row.letter,
        points: answer.along(&row.x, feature),
        here: (run.raw(feature, row.x[feature]), answer.at(&row.x)),
    };
    let drawings: Vec<(usize, Vec<Curve>)> =
        features.iter().map(|&j| (j, rows.iter().map(|row| curve(row, j)).collect())).collect();
    let all = || drawings.iter().flat_map(|(_, curves)| curves).flat_map(|curve| &curve.points).map(|point| point.1);
    let range = bounds(all());
    let axis = answer.axis();
    let figure = |(j, curves): &(usize, Vec<Curve>)| {
        let ModelFeature { name, scale, .. } = &run.model.features[*j];
        let picture = plots::slices(&Axes { x: name, y: &axis }, *scale, curves, range);
        (picture, format!("If nothing but {name} changes: {}", seen(run, *j)))
    };
    let parts = [
        paragraph(format!(
            "Each line is one real row of the validation data: {} as one input goes through its range while all others stay as they \
             are in that row. The disc is the row itself. All drawings have the same upright scale, so that a flat line means little \
             effect. These are examples to look at; the proof is about all inputs.",
            answer.name()
        )),
        gallery(drawings.iter().map(figure)),
        heading("The rows"),
        caution("These are real rows of the data. Consider whom they are about before this page is passed on."),
        rows_table(run, &rows, &answer),
    ];
    Some(Section::new("slices", "The answer along each input with a direction", parts))
}

fn seen(run: &FinishedRun, feature: usize) -> &'static str {
    let up = run.model.features[feature].direction.sign() > 0.0;
    match (&run.report.verdict, up) {
        (Verdict::Certified { .. }, true) => "no line ever falls.",
        (Verdict::Certified { .. }, false) => "no line ever rises.",
        (_, true) => "no line should fall.",
        (_, false) => "no line should rise.",
    }
}

fn rows_table(run: &FinishedRun, rows: &[Row], answer: &Answer) -> Markup {
    let line = |free: bool, name: &str, value: &dyn Fn(&Row) -> String| Line {
        free,
        cells: std::iter::once(name.into()).chain(rows.iter().map(|row| value(row).into())).collect(),
    };
    let mut lines = vec![
        line(false, "row of the data file", &|row| row.number.to_string()),
        line(false, &answer.axis(), &|row| number((1e2 * answer.at(&row.x)).round() / 1e2)),
    ];
    let mut column_before = None;
    for (j, feature) in run.data.features.iter().enumerate() {
        let free = |j: usize| run.model.features[j].direction == Direction::Free;
        match &feature.kind {
            FeatureKind::Category { column } if column_before == Some(column) => {}
            FeatureKind::Category { column } => {
                lines.push(line(members(run, column).all(free), column, &|row| category(run, column, row)));
                column_before = Some(column);
            }
            _ => lines.push(line(free(j), &feature.name, &|row| number(run.raw(j, row.x[j])))),
        }
    }
    let letters: Vec<String> = rows.iter().map(|row| row.letter.to_string()).collect();
    let headings: Vec<&str> = std::iter::once("").chain(letters.iter().map(String::as_str)).collect();
    inputs_table(&headings, lines, "their values in these rows")
}

/// The inputs that stand for the categories of a column.
fn members<'a>(run: &'a FinishedRun, column: &'a str) -> impl Iterator<Item = usize> + 'a {
    let of_column = move |kind: &FeatureKind| matches!(kind, FeatureKind::Category { column: own } if own == column);
    (0..run.data.features.len()).filter(move |j| of_column(&run.data.features[*j].kind))
}

/// The value of a categorical column.
fn category(run: &FinishedRun, column: &str, row: &Row) -> String {
    let chosen = members(run, column).max_by(|a, b| row.x[*a].total_cmp(&row.x[*b]));
    let name = chosen.map_or("", |j| run.data.features[j].name.as_str());
    name.strip_prefix(&format!("{column}=")).unwrap_or(name).into()
}

/// The answer over pairs of features with a direction, at the middle row.
pub fn surfaces(run: &FinishedRun) -> Option<Section> {
    let answer = Answer::of(&run.model);
    let rows = typical_rows(&run.model, &run.data);
    let row = &rows[rows.len() / 2];
    let all = monotone(&run.model);
    let mut features = all.clone();
    features.sort_by(|a, b| answer.spread(&row.x, *b).total_cmp(&answer.spread(&row.x, *a)));
    features.truncate(PAIRED);
    features.sort_unstable();
    if features.len() < 2 {
        return None;
    }
    let name = |j: usize| run.model.features[j].name.as_str();
    let axis = answer.axis();
    let figure = |pair: (usize, usize)| {
        let (first, second) = pair;
        let picture = plots::surface(&Surface {
            axes: Axes { x: name(first), y: name(second) },
            answer: &axis,
            sides: [first, second].map(|j| (answer.raw(j, 0.0), answer.raw(j, 1.0))),
            scales: [first, second].map(|j| run.model.features[j].scale),
            cells: answer.over(&row.x, pair),
            here: (run.raw(first, row.x[first]), run.raw(second, row.x[second])),
        });
        (picture, format!("{axis} over {} and {}", name(first), name(second)))
    };
    let pairs = features.iter().enumerate().flat_map(|(k, i)| features[k + 1..].iter().map(move |j| (*i, *j)));
    let left_out = match all.len() - features.len() {
        0 => String::new(),
        rest => format!(" Drawn are the {PAIRED} inputs with the largest effect there; {rest} are left out."),
    };
    let parts = [
        paragraph(format!(
            "Seen from above: two inputs change, the others stay as in row {} (row {} of the data file, marked by the disc). One colour \
             is one step of {}; every drawing has its own scale.{left_out}",
            row.letter,
            row.number,
            answer.name()
        )),
        gallery(pairs.map(figure)),
    ];
    Some(Section::new("surfaces", "Two inputs at once", parts))
}

/// Pairs of inputs for which an output goes the wrong way: of the network, and of single blocks.
pub fn counterexamples(run: &FinishedRun) -> Option<Section> {
    let mut parts = Vec::new();
    if let Verdict::Refuted(pair) = &run.report.verdict {
        parts.extend(of_the_network(run, pair));
    }
    let mut of_blocks: Vec<(usize, &Counterexample)> = Vec::new();
    for (k, queries) in run.report.queries.iter().enumerate() {
        for query in queries {
            if let Verdict::Refuted(pair) = &query.verdict {
                of_blocks.push((k, pair));
            }
        }
    }
    if !of_blocks.is_empty() {
        parts.extend(of_the_blocks(run, of_blocks));
    }
    (!parts.is_empty()).then(|| Section::new("counterexamples", "Counterexamples", parts))
}

fn of_the_network(run: &FinishedRun, pair: &Counterexample) -> Vec<Markup> {
    let name = &run.model.features[pair.input].name;
    let value = |x: &num_rational::BigRational, j: usize| number(run.raw(j, approximate(x)));
    let line = |(j, feature): (usize, &ModelFeature)| Line {
        free: feature.direction == Direction::Free,
        cells: vec![feature.name.as_str().into(), value(&pair.lower[j], j).into(), value(&pair.upper[j], j).into()],
    };
    let lines = run.model.features.iter().enumerate().map(line).collect();
    let network = |x: &[f64]| run.model.network.evaluate(x)[pair.row];
    let whole = run.model.domain.input_box()[pair.input];
    let axes = Axes { x: name, y: "output of the network" };
    let answer = Answer::of(&run.model);
    let answers = [&pair.lower, &pair.upper].map(|x| answer.at(&x.iter().map(approximate).collect::<Vec<_>>()));
    let figure = |sides, caption: &str| (drawn(run, &axes, pair, sides, true, &network), caption.to_owned());
    vec![
        heading("Of the whole network"),
        paragraph(format!(
            "The two inputs below differ in {name} only, moved in its direction, and the output moves the wrong way by {}, computed \
             without rounding: {}, from {} to {}. They need not be plausible: the claim was about all combinations in the ranges.",
            number(approximate(&pair.drop)),
            answer.axis(),
            number(answers[0]),
            number(answers[1])
        )),
        gallery([
            figure(around(pair, whole), "The output between and around the two inputs."),
            figure((whole.lower, whole.upper), "The same over the whole range of the input."),
        ]),
        inputs_table(&["input", "first", "second"], lines, "their values, the same in both"),
    ]
}

fn of_the_blocks(run: &FinishedRun, mut pairs: Vec<(usize, &Counterexample)>) -> Vec<Markup> {
    pairs.sort_by(|a, b| b.1.drop.cmp(&a.1.drop));
    let number_of = pairs.len();
    let drawn_are = if number_of > DRAWN { "; drawn are those with the largest errors" } else { "" };
    let figure = |(k, pair): (usize, &Counterexample)| {
        let block = &run.model.network.blocks()[k];
        let name = input_name(&run.model, k, pair.input);
        let y = format!("output {} of block {}", pair.row + 1, k + 1);
        let output = |x: &[f64]| block.evaluate(x)[pair.row];
        let side = run.report.domains[k].input_box()[pair.input];
        let axes = Axes { x: &name, y: &y };
        let picture = drawn(run, &axes, pair, around(pair, side), k == 0, &output);
        (
            picture,
            format!(
                "Block {}, output {}: wrong by {} along {name}.",
                k + 1,
                pair.row + 1,
                number(approximate(&pair.drop))
            ),
        )
    };
    vec![
        heading("Of single blocks"),
        paragraph(format!(
            "The network is verified part by part, and {number_of} questions about single parts (blocks) have a counterexample. One in a \
             block alone does not show that the whole network is wrong. The file counterexamples.json has all of them as exact \
             fractions{drawn_are}."
        )),
        gallery(pairs.into_iter().take(DRAWN).map(figure)),
    ]
}

/// From half their distance before two inputs to as far behind them, within the range.
fn around(pair: &Counterexample, side: certificate::Interval) -> (f64, f64) {
    let [a, b] = [&pair.lower, &pair.upper].map(|x| approximate(&x[pair.input]));
    let room = 0.5 * (b - a).abs();
    ((a.min(b) - room).max(side.lower), (a.max(b) + room).min(side.upper))
}

/// An output along the input of a pair, between two values of it; `raw` if it is a feature with a unit of its own.
fn drawn(
    run: &FinishedRun,
    axes: &Axes,
    pair: &Counterexample,
    (from, to): (f64, f64),
    raw: bool,
    output: &dyn Fn(&[f64]) -> f64,
) -> Markup {
    let base: Vec<f64> = pair.lower.iter().map(approximate).collect();
    let at = |x: f64| {
        let mut point = base.clone();
        point[pair.input] = x;
        (if raw { run.raw(pair.input, x) } else { x }, output(&point))
    };
    let ends = [&pair.lower, &pair.upper].map(|x| approximate(&x[pair.input]));
    let mut places: Vec<f64> =
        (0..=POINTS).map(|k| from + (to - from) * k as f64 / POINTS as f64).chain(ends).collect();
    places.sort_by(f64::total_cmp);
    let points: Vec<_> = places.into_iter().map(at).collect();
    let scale = if raw { run.model.features[pair.input].scale } else { Scale::Linear };
    plots::violation(axes, scale, &points, ends.map(at))
}
