use std::fmt::Write;

use certificate::Layered;
use milp::training::{LayerWeights, Mode, Targets};
use serde::Serialize;

use super::config::{Config, Form};
use super::samples::Samples;
use super::{PathPoint, Record, search};

/// Writing to a string cannot fail.
macro_rules! line {
    ($text:expr, $($format:tt)*) => { writeln!($text, $($format)*).expect("a string takes everything") };
}

/// How good a network is on some samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// Share of the samples whose class has the largest output, and larger than any other; with one output, whose sign is right.
    Accuracy(f64),
    /// Mean of `|f - y|` over samples and outputs, in the units of the network.
    MeanAbsoluteError(f64),
}

impl Score {
    /// `None` where there are no samples.
    pub fn of(network: &Layered, (samples, targets): &(Vec<Vec<f64>>, Targets)) -> Self {
        let outputs = samples.iter().map(|x| network.evaluate(x));
        let count = samples.len().max(1) as f64;
        match targets {
            Targets::Classes(classes) => {
                let right = outputs.zip(classes).filter(|(f, class)| match f[..] {
                    [f] => (f > 0.0) == (**class == 1),
                    _ => (0..f.len()).all(|k| k == **class || f[k] < f[**class]),
                });
                Self::Accuracy(right.count() as f64 / count)
            }
            Targets::Values(values) => {
                let error = |(f, y): (Vec<f64>, &Vec<f64>)| {
                    f.iter().zip(y).map(|(f, y)| (f - y).abs()).sum::<f64>() / y.len() as f64
                };
                Self::MeanAbsoluteError(outputs.zip(values).map(error).sum::<f64>() / count)
            }
        }
    }

    fn text(self) -> String {
        match self {
            Self::Accuracy(share) => format!("{:.2} % right", 100.0 * share),
            Self::MeanAbsoluteError(error) => format!("mean absolute error {error:.4}"),
        }
    }
}

/// How many weights, biases left out, are not 0.
pub fn nonzero(weights: &[LayerWeights]) -> usize {
    weights.iter().flat_map(|layer| &layer.weights).filter(|w| **w != 0.0).count()
}

/// For each layer but the last the units that do anything: they have a weight or a bias, and the next layer reads them.
pub fn used(weights: &[LayerWeights]) -> Vec<Vec<usize>> {
    let of_layer = |pair: &[LayerWeights]| {
        let [layer, next] = pair else { unreachable!("windows of two") };
        let (units, inputs) = (layer.biases.len(), layer.weights.len() / layer.biases.len());
        let width = next.weights.len() / next.biases.len();
        let alive = |unit: &usize| {
            let row = &layer.weights[unit * inputs..][..inputs];
            layer.biases[*unit] != 0.0 || row.iter().any(|w| *w != 0.0)
        };
        // After flattening, or by a convolution, a unit is read in several places.
        let places = width / units;
        let read = |unit: &usize| {
            let row = |row: &[f64]| row[unit * places..(unit + 1) * places].iter().any(|w| *w != 0.0);
            !width.is_multiple_of(units) || next.weights.chunks(width).any(row)
        };
        (0..units).filter(alive).filter(read).collect()
    };
    weights.windows(2).map(of_layer).collect()
}

fn number(value: Option<f64>) -> String {
    value.map_or("none".into(), |value| format!("{value:.6}"))
}

/// What a run came to, in a line or two.
fn verdict(record: &Record) -> String {
    let stopped = if record.interrupted { "Stopped. " } else { "" };
    let what = if record.is_certified_training { "monotone network of this kind" } else { "network of this kind" };
    let found = match record.status {
        "optimal" => {
            format!("Proven optimal: no {what} has an objective below {}, up to the tolerance.", number(record.bound))
        }
        "gap" => format!(
            "Not proven optimal: a {what} may have an objective as low as {}, {} below what was found.",
            number(record.bound),
            number(record.gap)
        ),
        _ => match record.bound {
            Some(bound) => format!("No {what} was found. The objective of any is at least {bound:.6}."),
            None => format!("No {what} was found."),
        },
    };
    format!("{stopped}{found}")
}

/// What is printed.
pub fn summary_text(record: &Record) -> String {
    let mut text = String::new();
    line!(text, "objective   {}", number(record.objective));
    line!(text, "bound       {}", number(record.bound));
    line!(text, "gap         {}", number(record.gap));
    line!(text, "verdict     {}", verdict(record));
    if record.mode == Mode::Relaxation {
        line!(text, "mode        relaxation: only the bound means anything");
    }
    if let Some(word) = record.certification {
        line!(text, "monotone    {word}");
    }
    for (name, score) in [("train", record.train), ("test", record.test)] {
        if let Some(score) = score {
            line!(text, "{name:<11} {}", score.text());
        }
    }
    if let Some(gradient) = &record.gradient {
        line!(text, "gradient    {:.6}, best of {} starts", gradient.best, gradient.starts);
    }
    line!(text, "time        {:.1} s", record.seconds);
    line!(text, "report      {}", record.run.join("fit.md").display());
    text
}

/// The whole report, in Markdown.
pub fn render(config: &Config, samples: &Samples, record: &Record) -> String {
    let mut text = String::new();
    line!(text, "# {}: {}\n", config.name, verdict(record));
    outcome(&mut text, config, samples, record);
    if let Some(weights) = record.weights {
        network(&mut text, record, weights);
    }
    notes(&mut text, record);
    if !record.rounds.is_empty() {
        line!(text, "\n## Rounds of certified training\n\n| round | objective | bound | verdict |\n|---|---|---|---|");
        for (k, round) in record.rounds.iter().enumerate() {
            let verdict = round.verdict.unwrap_or("no network");
            line!(text, "| {} | {} | {} | {verdict} |", k + 1, number(round.objective), number(round.bound));
        }
    }
    if let Some(gradient) = &record.gradient {
        line!(text, "\n## Gradient training\n");
        line!(
            text,
            "Adam on the same objective from {} random points, weights then moved to the nearest number allowed: best {:.6}, median {:.6}.",
            gradient.starts,
            gradient.best,
            gradient.median
        );
        if let Some(reached) = gradient.reached {
            line!(text, "{reached} of {} came within 1 % of the exact objective.", gradient.starts);
        }
        if config.is_constrained() {
            line!(text, "Constraints were not imposed on it, so it may be below the bound.");
        }
    }
    if !record.path.is_empty() {
        path_table(&mut text, &record.path);
    }
    text
}

fn outcome(text: &mut String, config: &Config, samples: &Samples, record: &Record) {
    let mode = match record.mode {
        Mode::Exact => "exact: every network of the problem, and nothing else, is a solution of the programme",
        Mode::Relaxation => {
            "relaxation: only the bound means anything, and a gap may stay however long the search goes on"
        }
    };
    line!(text, "| | |\n|---|---|");
    line!(text, "| samples | {} |", samples.source);
    line!(text, "| mode | {mode} |");
    line!(text, "| objective, by forward pass of the stored network | {} |", number(record.objective));
    for (name, part) in [("loss", record.loss), ("elastic net", record.penalty), ("cost of gates", record.structure)] {
        line!(text, "| of it {name} | {} |", number(part));
    }
    line!(text, "| bound | {} |", number(record.bound));
    line!(text, "| gap | {} (up to {} counts as none) |", number(record.gap), config.solver.gap_tol);
    if let Some(optimum) = record.optimum {
        line!(text, "| end | {} |", search::word(&optimum.end));
        if let Some(own) = optimum.own_bound {
            line!(text, "| bound that trusts no solver | {own:.6} |");
        }
        let size = optimum.size;
        line!(
            text,
            "| programme | {} columns, {} integers ({} of activations), {} rows |",
            size.columns,
            size.integers,
            size.activations,
            size.rows
        );
        line!(
            text,
            "| solver | {} {}, {} programmes, {:.1} s |",
            optimum.solver,
            optimum.solver_version,
            optimum.programmes,
            optimum.seconds
        );
    }
    for (name, score) in [("on the samples", record.train), ("on the test rows", record.test)] {
        if let Some(score) = score {
            line!(text, "| {name} | {} |", score.text());
        }
    }
    if let Some(monotone) = &config.monotone {
        let form = match (monotone.form, record.by_anchors) {
            (Form::Sign, _) => "asked for by the signs of weights".into(),
            (Form::Certified, Some(false)) => {
                format!("asked for by signs after {} rounds without a certificate", monotone.rounds)
            }
            (Form::Certified, _) => format!("asked for at points, {} rounds", record.rounds.len()),
        };
        let verdict = record.certification.unwrap_or("no network to certify");
        line!(text, "| monotone | {verdict}; {form} |");
    }
}

fn network(text: &mut String, record: &Record, weights: &[LayerWeights]) {
    line!(text, "\n## The network\n\n![the network](network.svg)\n");
    let all: usize = weights.iter().map(|layer| layer.weights.len()).sum();
    line!(text, "{} of {all} weights are not 0.", nonzero(weights));
    for (k, (units, layer)) in used(weights).iter().zip(weights).enumerate() {
        line!(text, "Layer {}: {} of {} units are used.", k + 1, units.len(), layer.biases.len());
    }
    line!(
        text,
        "\nBlue weights are positive, orange ones negative; what is not used is grey, and weights of 0 are not drawn."
    );
    match &record.no_model {
        Some(reason) => line!(text, "There is no `model.safetensors`: {reason}. The weights are in `optimum.json`."),
        None => line!(text, "The same is in `model.safetensors`, for `verify`, `attack` and the other commands."),
    }
}

fn notes(text: &mut String, record: &Record) {
    let Some(optimum) = record.optimum else { return };
    if optimum.active_sides.is_empty() && optimum.warnings.is_empty() {
        return;
    }
    line!(text, "\n## What to know\n");
    if !optimum.active_sides.is_empty() {
        line!(
            text,
            "- Optimal within the box of the weights only; these lie on a side of it: {}.",
            optimum.active_sides.join(", ")
        );
    }
    optimum.warnings.iter().for_each(|warning| line!(text, "- {warning}."));
}

fn path_table(text: &mut String, path: &[PathPoint]) {
    line!(text, "\n## Sparsity against accuracy\n");
    line!(text, "| l1 | weights not 0 | units used | objective | bound | loss | samples | test rows | seconds |");
    line!(text, "|---|---|---|---|---|---|---|---|---|");
    let count = |n: Option<usize>| n.map_or("-".into(), |n| n.to_string());
    let score = |score: Option<Score>| score.map_or("-".into(), Score::text);
    for point in path {
        line!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {:.1} |",
            point.l1,
            count(point.weights),
            count(point.units),
            number(point.objective),
            number(point.bound),
            number(point.loss),
            score(point.train),
            score(point.test),
            point.seconds
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three units: one is read, one has no weights, one is not read.
    #[test]
    fn units_that_do_nothing_are_not_counted() {
        let first = LayerWeights { weights: vec![1.0, 0.0, 0.0, 0.0, 0.5, 0.5], biases: vec![0.0; 3] };
        let second = LayerWeights { weights: vec![2.0, 3.0, 0.0], biases: vec![0.0] };
        let weights = [first.clone(), second];
        assert_eq!((used(&weights), nonzero(&weights)), (vec![vec![0]], 5));
        // Filters that are read in two places each.
        let flattened = LayerWeights { weights: vec![0.0, 1.0, 0.0, 0.0, 0.0, 1.0], biases: vec![0.0] };
        assert_eq!(used(&[first, flattened]), [[0, 2]]);
    }
}
