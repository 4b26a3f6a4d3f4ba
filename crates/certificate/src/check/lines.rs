use std::io::{BufRead, Read};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::fault::{Fault, Result, printable};
use crate::proof::{BlockQuery, End, FORMAT, Undecided, VERSION};
use crate::{Counterexample, ExactMultipliers, Header, Multipliers, Split, Step, Tighten};

/// Longest line that is read; a leaf that names ten thousand neurons has a hundredth of that.
pub(super) const LONGEST_LINE: u64 = 1 << 24;

/// The lines of a certificate, one at a time.
pub(super) struct Lines<R> {
    from: R,
    bytes: Vec<u8>,
    /// Of the last line read, counted from 1.
    pub number: u64,
}

/// A line after the header.
pub(super) enum Line {
    Query(BlockQuery, f64),
    Step(Step),
    Counterexample(Counterexample),
    Undecided,
    End(End),
}

impl Line {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Query(..) => "a query",
            Self::Step(_) => "a step",
            Self::Counterexample(_) => "a counterexample",
            Self::Undecided => "an undecided verdict",
            Self::End(_) => "the last line",
        }
    }
}

/// A line after the header as it stands in the file: one of these, `at_least` together with `query`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    query: Option<BlockQuery>,
    at_least: Option<f64>,
    split: Option<Split>,
    tighten: Option<Tighten>,
    bound: Option<Multipliers>,
    empty: Option<ExactMultipliers>,
    counterexample: Option<Counterexample>,
    undecided: Option<Undecided>,
    end: Option<End>,
}

impl Fields {
    /// The one thing that the line says.
    fn line(self) -> Option<Line> {
        let query = match (self.query, self.at_least) {
            (Some(query), Some(at_least)) => Some(Line::Query(query, at_least)),
            (None, None) => None,
            _ => return None,
        };
        let said = [
            query,
            self.split.map(|split| Line::Step(Step::Split(split))),
            self.tighten.map(|tighten| Line::Step(Step::Tighten(tighten))),
            self.bound.map(|multipliers| Line::Step(Step::Bound(multipliers))),
            self.empty.map(|multipliers| Line::Step(Step::Empty(multipliers))),
            self.counterexample.map(Line::Counterexample),
            self.undecided.map(|_| Line::Undecided),
            self.end.map(Line::End),
        ];
        let mut said = said.into_iter().flatten();
        said.next().filter(|_| said.next().is_none())
    }
}

impl<R: BufRead> Lines<R> {
    pub fn new(from: R) -> Self {
        Self { from, bytes: Vec::new(), number: 0 }
    }

    /// The first line. A file of another version is named as such even if its header has other fields.
    pub fn header(&mut self) -> Result<Header> {
        #[derive(Deserialize)]
        struct Kind {
            format: String,
            version: u32,
        }
        let Kind { format, version } = self.read()?;
        if format != FORMAT || version != VERSION {
            return Err(Fault::Version { format, version });
        }
        parse(&self.bytes)
    }

    /// A line after the header.
    pub fn line(&mut self) -> Result<Line> {
        let fields: Fields = self.read()?;
        fields.line().ok_or_else(|| Fault::Syntax("expected one thing on a line".into()))
    }

    /// Whether nothing is left.
    pub fn are_over(&mut self) -> Result<bool> {
        Ok(self.from.fill_buf()?.is_empty())
    }

    fn read<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.number += 1;
        self.bytes.clear();
        (&mut self.from).take(LONGEST_LINE + 1).read_until(b'\n', &mut self.bytes)?;
        if self.bytes.len() as u64 > LONGEST_LINE {
            return Err(Fault::TooLong);
        }
        match self.bytes.last() {
            Some(b'\n') => parse(&self.bytes),
            _ => Err(Fault::CutShort),
        }
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| Fault::Syntax(printable(&error.to_string())))
}
