//! Questions about the inputs of a trained network: the commands `attack` and `visualize`.

mod attack;
mod picture;
mod subject;
mod visualize;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certificate::Limit;
use certificate::exact::approximate;
use clap::{Args, ValueEnum};
use milp::{Answer, Complementarity, Condition, Inverse, Outcome, Proof, Question, Tightening, Witness};
use serde::Serialize;

pub use attack::{AttackArgs, attack};
pub use visualize::{VisualizeArgs, visualize};

use crate::error::{Error, Result, exit_code};
use crate::{Format, picture_files};
use subject::{Subject, Value};

/// What both commands take.
#[derive(Args)]
struct Common {
    /// A model, or the folder of a run with one.
    model: PathBuf,
    /// Let integer features take every value of their range.
    #[arg(long)]
    continuous: bool,
    /// Range of all numeric features in their own units instead of that of the data, as in `0:10`.
    #[arg(long, value_name = "FROM:TO", value_parser = subject::range)]
    range: Option<(f64, f64)>,
    /// A class wins with at least so many times the score of every other class; only for scores that cannot be negative.
    #[arg(long, default_value_t = 1.0)]
    ratio: f64,
    /// How the units are bounded before the search: fewer binaries for more time.
    #[arg(long, value_enum, default_value_t = Bounds::Interval)]
    tightening: Bounds,
    /// Seconds for each class, once to search and once to prove.
    #[arg(long, default_value_t = 60.0)]
    time_limit: f64,
    /// Folder for `answer.json` and the picture.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Draw the inputs as an image with so many rows and columns, as in `28x28`.
    #[arg(long, value_name = "ROWSxCOLUMNS", value_parser = subject::sides)]
    image: Option<(usize, usize)>,
    /// Write the programme to this file instead of solving it: `.lp`, `.mps`, or `.mod` (AMPL).
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// How "either on or off" is written in an exported programme.
    #[arg(long, value_enum, default_value_t = Form::BigM)]
    form: Form,
    /// What is printed on standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bounds {
    Interval,
    Lp,
    Milp,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A binary for each unit, and constants from its bounds.
    BigM,
    /// No binaries: special ordered sets, in AMPL a product that has to be 0.
    Complementarity,
}

impl Common {
    fn time_limit(&self) -> Duration {
        Duration::from_secs_f64(self.time_limit.clamp(0.0, 1e9))
    }

    fn inverse<'a>(&self, subject: &'a Subject) -> Result<Inverse<'a>> {
        let tightening = match self.tightening {
            Bounds::Interval => Tightening::Interval,
            Bounds::Lp => Tightening::Lp,
            Bounds::Milp => Tightening::Milp,
        };
        let names = subject.input_names();
        Ok(Inverse::new(&subject.network, &subject.domain, &names, tightening, self.time_limit())?)
    }

    /// Writes the programme of a question in the format that the file's name asks for.
    fn write_programme(&self, inverse: &Inverse, question: &Question, file: &Path) -> Result<u8> {
        let form = match self.form {
            Form::BigM => Complementarity::BigM,
            Form::Complementarity => Complementarity::Sos1,
        };
        let programme = inverse.programme(question, form)?;
        let text = match file.extension().and_then(|extension| extension.to_str()) {
            Some("lp") => programme.to_lp(),
            Some("mps") => programme.to_mps(),
            Some("mod") => programme.to_ampl(),
            _ => {
                let message = "expected a file name that ends in .lp, .mps or .mod".into();
                return Err(Error::Config { place: format!("--export {}", file.display()), message });
            }
        };
        certificate::write_atomically(file, text.as_bytes())?;
        Ok(exit_code::CERTIFIED)
    }

    fn answer(&self, subject: &Subject, question: &Question, from: Option<&[f64]>) -> Result<u8> {
        let inverse = self.inverse(subject)?;
        if let Some(file) = &self.export {
            return self.write_programme(&inverse, question, file);
        }
        let answer = inverse.answer(question, self.time_limit())?;
        let findings = Findings::new(subject, &inverse, question, from, &answer);
        let json = serde_json::to_string_pretty(&findings).expect("findings are plain data");
        let mut picture = None;
        if let Some(folder) = &self.out {
            fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.clone(), source })?;
            certificate::write_atomically(&folder.join("answer.json"), json.as_bytes())?;
            if let Some(witness) = &answer.witness {
                let file = folder.join("answer.svg");
                let drawn = match self.image {
                    Some(sides) => picture::images(sides, from, &witness.approximate())?,
                    None => picture::bars(&findings),
                };
                picture_files::write(&file, &drawn)?;
                picture = Some(file);
            }
        }
        match self.format {
            Format::Json => println!("{json}"),
            Format::Text => print!("{}", findings.text(picture.as_deref())),
        }
        let undecided = matches!(answer.outcome, Outcome::Undecided(_));
        Ok(if undecided { exit_code::UNDECIDED } else { exit_code::CERTIFIED })
    }
}

/// What is printed and written.
#[derive(Serialize)]
struct Findings {
    /// `optimal`, `infeasible` or `undecided`.
    outcome: &'static str,
    /// Who vouches for it, or which limit was reached.
    why: String,
    /// Conditions that exclude each other.
    conflict: Vec<&'static str>,
    /// `distance` or `output`.
    measure: &'static str,
    /// The distance, or the output.
    value: Option<f64>,
    /// No distance is smaller, no output larger. Absent where there is nothing at all.
    proven_bound: Option<f64>,
    /// The class to start from.
    from_class: Option<String>,
    /// The class of the input that was found.
    class: Option<String>,
    attributes: Vec<Attribute>,
    outputs: Vec<Output>,
    /// Units that may be on or off.
    unstable: usize,
    seconds: f64,
}

/// An attribute in its own unit.
#[derive(Serialize)]
struct Attribute {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Value>,
    value: Value,
    changed: bool,
    /// The range of a number.
    #[serde(skip)]
    range: Option<(f64, f64)>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<f64>,
    value: f64,
}

impl Findings {
    fn new(subject: &Subject, inverse: &Inverse, question: &Question, from: Option<&[f64]>, answer: &Answer) -> Self {
        let (outcome, why, conflict) = match &answer.outcome {
            Outcome::Optimal(proof) => ("optimal", vouched(*proof), Vec::new()),
            Outcome::Infeasible(proof, conflict) => {
                ("infeasible", vouched(*proof), conflict.iter().map(|condition| word(*condition)).collect())
            }
            Outcome::Undecided(Limit::Time) => ("undecided", "the time limit was reached".into(), Vec::new()),
            Outcome::Undecided(limit) => ("undecided", format!("{limit:?}"), Vec::new()),
        };
        let at_start = from.map(|x| subject.network.evaluate(x));
        let output = |(k, value): (usize, f64)| Output {
            name: subject.output_name(k),
            from: at_start.as_ref().map(|outputs| outputs[k]),
            value,
        };
        let found = answer.witness.as_ref();
        let outputs = |witness: &Witness| -> Vec<f64> { witness.outputs.iter().map(approximate).collect() };
        Self {
            outcome,
            why,
            conflict,
            measure: if matches!(question, Question::Nearest(_)) { "distance" } else { "output" },
            value: found.map(|witness| approximate(&witness.value)),
            proven_bound: answer.bound.is_finite().then_some(answer.bound),
            from_class: at_start.as_ref().and_then(|outputs| subject.class_of(outputs)),
            class: found.and_then(|witness| subject.class_of(&outputs(witness))),
            attributes: found.map_or(Vec::new(), |witness| attributes(subject, from, &witness.approximate())),
            outputs: found.map_or(Vec::new(), |w| outputs(w).into_iter().enumerate().map(output).collect()),
            unstable: inverse.unstable(),
            seconds: answer.seconds,
        }
    }

    fn text(&self, picture: Option<&Path>) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| text += &format!("{name:<11} {value}\n");
        if let Some(class) = &self.from_class {
            line("from", class.clone());
        }
        let bound = self.proven_bound.map_or("none".into(), plain);
        match (self.value, self.outcome) {
            (Some(value), "optimal") => {
                line("found", self.class.clone().unwrap_or_else(|| "an input".into()));
                line(self.measure, format!("{}, nothing better ({})", plain(value), self.why));
            }
            (Some(value), _) => {
                line("found", self.class.clone().unwrap_or_else(|| "an input".into()));
                let proven = if self.measure == "distance" { "none is below" } else { "none is above" };
                line(self.measure, format!("{}; undecided: {}; proved: {proven} {bound}", plain(value), self.why));
            }
            (None, "infeasible") => {
                line("found", format!("there is none ({})", self.why));
                line("conflict", self.conflict.join(" and "));
            }
            (None, _) => line("found", format!("nothing: {}; proven bound of the {}: {bound}", self.why, self.measure)),
        }
        for Attribute { name, from, value, changed, .. } in &self.attributes {
            match from {
                Some(from) if *changed => line("", format!("{name:<28} {from} -> {value}")),
                Some(_) => line("", format!("{name:<28} {value}")),
                None => line("", format!("{name:<28} {value}")),
            }
        }
        for Output { name, from, value } in &self.outputs {
            let before = from.map_or(String::new(), |from| format!("{} -> ", plain(from)));
            line("output", format!("{name:<28} {before}{}", plain(*value)));
        }
        line("time", format!("{:.2} s, {} units may be on or off", self.seconds, self.unstable));
        if let Some(file) = picture {
            line("picture", file.display().to_string());
        }
        text
    }
}

fn attributes(subject: &Subject, from: Option<&[f64]>, to: &[f64]) -> Vec<Attribute> {
    let before = from.map(|x| subject.values(x));
    let attribute = |(a, (name, value)): (usize, (String, Value))| {
        let from = before.as_ref().map(|before| before[a].1.clone());
        let changed = from.as_ref().is_some_and(|from| !from.close_to(&value));
        Attribute { name, changed, from, value, range: subject.range_of(a) }
    };
    subject.values(to).into_iter().enumerate().map(attribute).collect()
}

fn vouched(proof: Proof) -> String {
    match proof {
        Proof::Own { nodes } => format!("proved without trust in a solver, {nodes} linear programmes"),
        Proof::SecondSolver => "said by two solvers".into(),
    }
}

fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::Margin => "the class and its margin",
        Condition::LargestChange => "the limit on each change",
        Condition::MostChanged => "the limit on the number of changes",
        Condition::Fixed => "the fixed attributes",
    }
}

/// A number for people: six digits, no tail of zeros.
fn plain(value: f64) -> String {
    let rounded = format!("{value:.6}");
    let short = rounded.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".into() } else { short.into() }
}
