//! A table as text, Markdown, CSV or LaTeX.

use clap::ValueEnum;

use super::columns::Cell;
use super::table::{Heading, Table};

/// How a table is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// Columns for a terminal.
    Text,
    /// A table in Markdown.
    Markdown,
    /// Comma-separated values, one number in a field: means, errors and counts have columns of their own.
    Csv,
    /// A LaTeX tabular.
    Latex,
}

impl Table {
    /// As text.
    pub fn render(&self, format: TableFormat) -> String {
        match format {
            TableFormat::Text => self.text(),
            TableFormat::Markdown => self.markdown(),
            TableFormat::Csv => self.csv(),
            TableFormat::Latex => self.latex(),
        }
    }

    fn text(&self) -> String {
        let height = self.columns.iter().map(|heading| heading.lines.len()).max().unwrap_or(0);
        let head = |k: usize| self.columns.iter().map(move |h| h.lines.get(k).map_or("", String::as_str)).collect();
        let rows: Vec<Vec<&str>> = (0..height).map(head).chain(self.lines.iter().map(|line| texts(line))).collect();
        let width = |k: usize| rows.iter().map(|row| row[k].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let padded = |row: &Vec<&str>| {
            let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned() + "\n"
        };
        format!("{}\n\n{}", self.title, rows.iter().map(padded).collect::<String>())
    }

    fn markdown(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let row = |texts: Vec<&str>| format!("| {} |\n", texts.into_iter().map(cell).collect::<Vec<_>>().join(" | "));
        let heads: Vec<String> = self.columns.iter().map(Heading::words).collect();
        let rule = format!("|{}\n", "---|".repeat(self.columns.len()));
        let body: String = self.lines.iter().map(|line| row(texts(line))).collect();
        row(heads.iter().map(String::as_str).collect()) + &rule + &body
    }

    fn csv(&self) -> String {
        let quoted = |field: &String| match field.contains([',', '"', '\n']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field.clone(),
        };
        let record = |fields: Vec<String>| fields.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n";
        let names = |heading: &Heading| {
            let words = heading.words();
            let name = move |part: &&str| if part.is_empty() { words.clone() } else { format!("{words}: {part}") };
            heading.parts.iter().map(name).collect::<Vec<_>>()
        };
        let head = record(self.columns.iter().flat_map(names).collect());
        let fields = |line: &Vec<Cell>| record(line.iter().flat_map(|cell| cell.values.clone()).collect());
        head + &self.lines.iter().map(fields).collect::<String>()
    }

    fn latex(&self) -> String {
        let row = |texts: Vec<&str>| texts.into_iter().map(escaped).collect::<Vec<_>>().join(" & ") + " \\\\\n";
        let heads: Vec<String> = self.columns.iter().map(Heading::words).collect();
        let head = row(heads.iter().map(String::as_str).collect());
        let body: String = self.lines.iter().map(|line| row(texts(line))).collect();
        let places = format!("l{}", "r".repeat(self.columns.len() - 1));
        format!("\\begin{{tabular}}{{{places}}}\n\\hline\n{head}\\hline\n{body}\\hline\n\\end{{tabular}}\n")
    }
}

impl Heading {
    fn words(&self) -> String {
        self.lines.join(" ")
    }
}

fn texts(line: &[Cell]) -> Vec<&str> {
    line.iter().map(|cell| cell.text.as_str()).collect()
}

/// Text in LaTeX.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let number_follows = characters.peek().is_some_and(char::is_ascii_digit);
        match c {
            '%' | '_' | '&' | '#' | '$' | '{' | '}' => escaped.extend(['\\', c]),
            '\\' => escaped += "\\textbackslash{}",
            '~' => escaped += "\\textasciitilde{}",
            '^' => escaped += "\\textasciicircum{}",
            '±' => escaped += "$\\pm$",
            // A minus, not a hyphen.
            '-' if before == ' ' && number_follows => escaped += "$-$",
            _ => escaped.push(c),
        }
        before = c;
    }
    escaped
}
