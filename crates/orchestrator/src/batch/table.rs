//! What a batch found, one line for each method.

use std::path::{Path, PathBuf};

use certificate::Model;
use clap::{Args, ValueEnum};

use super::Folder;
use super::sweep::{Run, Sweep};
use crate::error::{Error, Result, exit_code};
use crate::{SUMMARY, Summary};

/// What `table` takes.
#[derive(Args)]
pub struct TableArgs {
    /// The folder of a batch, or its experiment if the batch is in runs/NAME.
    batch: PathBuf,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = TableFormat::Text)]
    format: TableFormat,
}

/// How a table is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// Columns for a terminal.
    Text,
    /// A table in Markdown.
    Markdown,
    /// Comma-separated values.
    Csv,
    /// A LaTeX tabular.
    Latex,
}

/// Prints what a batch has found so far.
///
/// # Errors
/// If there is no batch, or one of its files is damaged.
pub fn table(args: &TableArgs) -> Result<u8> {
    let path = if args.batch.join("batch.json").exists() {
        args.batch.clone()
    } else {
        let (sweep, _) = Sweep::load(&args.batch)?;
        Path::new("runs").join(sweep.name)
    };
    print!("{}", Table::of(&Folder::read(&path)?)?.render(args.format));
    Ok(exit_code::CERTIFIED)
}

/// A table of texts.
pub struct Table {
    title: String,
    lines: Vec<Vec<String>>,
}

const HEAD: [&str; 9] = [
    "method",
    "parameters",
    "seeds",
    "certified",
    "lambda",
    "validation",
    "test (mean ± standard error, 95 % interval)",
    "seconds",
    "published",
];

impl Table {
    /// The finished runs of a batch.
    pub fn of(folder: &Folder) -> Result<Self> {
        let mut methods: Vec<(&Run, Vec<Finished>, usize)> = Vec::new();
        for run in &folder.runs {
            if methods.last().is_none_or(|(first, ..)| first.method != run.method) {
                methods.push((run, Vec::new(), 0));
            }
            let (_, finished, asked) = methods.last_mut().expect("one was just added");
            *asked += 1;
            if let Some(found) = read(&folder.run_folder(run))? {
                finished.push(found);
            }
        }
        let lines = methods.into_iter().map(|(run, finished, asked)| line(run, &finished, asked)).collect();
        Ok(Self { title: folder.header.title.clone(), lines })
    }

    /// Headings and cells.
    pub fn cells(&self) -> Vec<Vec<String>> {
        std::iter::once(HEAD.map(String::from).to_vec()).chain(self.lines.iter().cloned()).collect()
    }

    /// As text.
    pub fn render(&self, format: TableFormat) -> String {
        let head: Vec<String> = HEAD.map(String::from).to_vec();
        let all: Vec<&Vec<String>> = [&head].into_iter().chain(&self.lines).collect();
        match format {
            TableFormat::Text => {
                let width = |k: usize| all.iter().map(|line| line[k].chars().count()).max().unwrap_or(0);
                let padded = |line: &&Vec<String>| {
                    let cells = line.iter().enumerate().map(|(k, cell)| format!("{cell:<width$}", width = width(k)));
                    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
                };
                format!("{}\n\n{}", self.title, all.iter().map(padded).collect::<String>())
            }
            TableFormat::Markdown => {
                let row = |line: &[String]| format!("| {} |\n", line.join(" | ").replace('\n', " "));
                let rule = format!("|{}\n", "---|".repeat(HEAD.len()));
                row(&head) + &rule + &self.lines.iter().map(|line| row(line)).collect::<String>()
            }
            TableFormat::Csv => {
                let cell = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
                all.iter().map(|line| line.iter().map(cell).collect::<Vec<_>>().join(",") + "\n").collect()
            }
            TableFormat::Latex => {
                let cell = |cell: &String| {
                    let escaped = cell.replace('%', "\\%").replace('_', "\\_").replace('&', "\\&");
                    escaped.replace('±', "$\\pm$")
                };
                let row = |line: &Vec<String>| line.iter().map(cell).collect::<Vec<_>>().join(" & ") + " \\\\\n";
                let body: String = self.lines.iter().map(row).collect();
                format!(
                    "\\begin{{tabular}}{{l{}}}\n\\hline\n{}\\hline\n{body}\\hline\n\\end{{tabular}}\n",
                    "r".repeat(HEAD.len() - 1),
                    row(&head)
                )
            }
        }
    }
}

/// Summary of a run that has finished, and the number of parameters of its model if it has one.
type Finished = (Summary, Option<usize>);

fn read(path: &Path) -> Result<Option<Finished>> {
    let file = path.join(SUMMARY);
    let Ok(text) = std::fs::read_to_string(&file) else { return Ok(None) };
    let damaged = |e: serde_json::Error| Error::RunFolder { path: file.clone(), message: e.to_string() };
    let summary = serde_json::from_str(&text).map_err(damaged)?;
    let model = path.join("model.safetensors");
    let parameters = if model.exists() { Some(Model::load(&model)?.network.parameters()) } else { None };
    Ok(Some((summary, parameters)))
}

fn line(run: &Run, finished: &[Finished], asked: usize) -> Vec<String> {
    let certified = finished.iter().filter(|(summary, _)| summary.verdict == "certified").count();
    let range = |values: Vec<f64>, digits: usize| {
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
        match values.len() {
            0 => "-".to_owned(),
            _ if format!("{low:.digits$}") == format!("{high:.digits$}") => format!("{low:.digits$}"),
            _ => format!("{low:.digits$} to {high:.digits$}"),
        }
    };
    let scores = |pick: fn(&Summary) -> Option<train::Scores>| -> Vec<f64> {
        let score = |scores: train::Scores| scores.accuracy.map(|a| 100.0 * a).or(scores.rmse);
        finished.iter().filter_map(|(summary, _)| pick(summary).and_then(score)).collect()
    };
    let seeds = if finished.len() == asked { asked.to_string() } else { format!("{} of {asked}", finished.len()) };
    vec![
        run.method.clone(),
        range(finished.iter().filter_map(|(_, n)| n.map(|n| n as f64)).collect(), 0),
        seeds,
        format!("{certified} of {}", finished.len()),
        range(finished.iter().filter_map(|(summary, _)| summary.lambda).collect(), 0),
        mean(&scores(|summary| summary.validation), false),
        mean(&scores(|summary| summary.test), true),
        range(finished.iter().map(|(summary, _)| summary.seconds).collect(), 0),
        run.published.clone(),
    ]
}

/// Mean, standard error and, if asked for, the 95 % interval of Student's t.
fn mean(values: &[f64], interval: bool) -> String {
    let n = values.len() as f64;
    if values.is_empty() {
        return "-".into();
    }
    let mean = values.iter().sum::<f64>() / n;
    // Errors are around 0.1, per cents around 70.
    let digits = if mean.abs() < 1.0 { 4 } else { 2 };
    if values.len() == 1 {
        return format!("{mean:.digits$}");
    }
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
    let error = (variance / n).sqrt();
    let text = format!("{mean:.digits$} ± {error:.digits$}");
    if !interval {
        return text;
    }
    let reach = student(values.len() - 1) * error;
    format!("{text}, {:.digits$} to {:.digits$}", mean - reach, mean + reach)
}

/// The 97.5 % quantile of Student's t.
pub fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 20] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086,
    ];
    // Beyond the table the expansion in 1 / freedom (Abramowitz and Stegun 26.7.5) is good to four digits.
    let (z, n): (f64, f64) = (1.959964, freedom as f64);
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * n * n);
    TABLE.get(freedom.wrapping_sub(1)).copied().unwrap_or(z + (z.powi(3) + z) / (4.0 * n) + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_intervals_by_hand() {
        assert_eq!(mean(&[], true), "-");
        assert_eq!(mean(&[68.0], true), "68.00");
        // Standard deviation 1, standard error 1/sqrt 3, and 4.303 of them on either side.
        assert_eq!(mean(&[67.0, 68.0, 69.0], true), "68.00 ± 0.58, 65.52 to 70.48");
        assert_eq!(mean(&[0.1, 0.2], false), "0.1500 ± 0.0500");
        assert!((student(9) - 2.262).abs() < 1e-9 && (student(30) - 2.0423).abs() < 1e-3);
    }
}
