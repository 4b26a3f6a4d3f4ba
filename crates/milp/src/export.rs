//! A programme as text, so that any query can be handed to another solver. Numbers are written so that reading them
//! gives the same `f64` back.

use std::fmt::Write;

use crate::programme::{Column, Kind, Programme, Row};

/// How MPS and LP call the sides of a row.
enum Sense {
    Free,
    Equal(f64),
    AtMost(f64),
    AtLeast(f64),
    Range(f64, f64),
}

impl Row {
    fn sense(&self) -> Sense {
        match (self.lower.is_finite(), self.upper.is_finite()) {
            (false, false) => Sense::Free,
            (true, true) if self.lower == self.upper => Sense::Equal(self.lower),
            (false, true) => Sense::AtMost(self.upper),
            (true, false) => Sense::AtLeast(self.lower),
            (true, true) => Sense::Range(self.lower, self.upper),
        }
    }
}

/// `write!` into a string cannot fail.
const INFALLIBLE: &str = "writing to a string cannot fail";

impl Programme {
    /// The programme in free MPS format.
    pub fn to_mps(&self) -> String {
        let mut text = format!("NAME {}\nROWS\n N objective\n", self.name);
        let mut line = |arguments: std::fmt::Arguments| writeln!(text, "{arguments}").expect(INFALLIBLE);
        for row in &self.rows {
            let letter = match row.sense() {
                Sense::Free => 'N',
                Sense::Equal(_) => 'E',
                Sense::AtMost(_) => 'L',
                Sense::AtLeast(_) | Sense::Range(..) => 'G',
            };
            line(format_args!(" {letter} {}", row.name));
        }
        let mut entries = vec![Vec::new(); self.columns.len()];
        for row in &self.rows {
            row.terms.iter().for_each(|(j, a)| entries[*j].push((&row.name, a)));
        }
        line(format_args!("COLUMNS"));
        for (kind, markers) in [(Kind::Continuous, None), (Kind::Integer, Some(("INTORG", "INTEND")))] {
            if let Some((begin, _)) = markers {
                line(format_args!(" marker 'MARKER' '{begin}'"));
            }
            for (column, entries) in self.columns.iter().zip(&entries).filter(|(c, _)| c.kind == kind) {
                line(format_args!(" {} objective {:?}", column.name, column.objective));
                entries.iter().for_each(|(row, a)| line(format_args!(" {} {row} {a:?}", column.name)));
            }
            if let Some((_, end)) = markers {
                line(format_args!(" marker 'MARKER' '{end}'"));
            }
        }
        line(format_args!("RHS"));
        // The right-hand side of the objective is minus its constant.
        line(format_args!(" rhs objective {:?}", -self.objective_constant));
        for row in &self.rows {
            if let Sense::Equal(side) | Sense::AtMost(side) | Sense::AtLeast(side) | Sense::Range(side, _) = row.sense()
            {
                line(format_args!(" rhs {} {side:?}", row.name));
            }
        }
        line(format_args!("RANGES"));
        for row in &self.rows {
            if let Sense::Range(lower, upper) = row.sense() {
                line(format_args!(" range {} {:?}", row.name, upper - lower));
            }
        }
        line(format_args!("BOUNDS"));
        for column in &self.columns {
            match (column.lower.is_finite(), column.upper.is_finite()) {
                (false, false) => line(format_args!(" FR bound {}", column.name)),
                (lower, upper) => {
                    if lower {
                        line(format_args!(" LO bound {} {:?}", column.name, column.lower));
                    } else {
                        line(format_args!(" MI bound {}", column.name));
                    }
                    if upper {
                        line(format_args!(" UP bound {} {:?}", column.name, column.upper));
                    } else {
                        line(format_args!(" PL bound {}", column.name));
                    }
                }
            }
        }
        if !self.sos1.is_empty() {
            line(format_args!("SOS"));
            for (k, pair) in self.sos1.iter().enumerate() {
                line(format_args!(" S1 set{k}"));
                for (weight, j) in pair.iter().enumerate() {
                    line(format_args!(" {} {}", self.columns[*j].name, weight + 1));
                }
            }
        }
        line(format_args!("ENDATA"));
        text
    }

    /// The programme in CPLEX LP format, for people.
    pub fn to_lp(&self) -> String {
        let term = |(j, a): (usize, f64)| format!(" {a:+?} {}", self.columns[j].name);
        let sum = |terms: &[(usize, f64)]| match terms {
            // An empty sum is no expression in this format.
            [] => format!(" 0 {}", self.columns[0].name),
            terms => terms.iter().map(|t| term(*t)).collect(),
        };
        let costs: Vec<_> = self.columns.iter().enumerate().map(|(j, c)| (j, c.objective)).collect();
        let costs: Vec<_> = costs.into_iter().filter(|(_, c)| *c != 0.0).collect();
        let mut text = format!(
            "\\ {}\nMinimize\n objective:{} {:+?}\nSubject To\n",
            self.name,
            sum(&costs),
            self.objective_constant
        );
        let mut line = |arguments: std::fmt::Arguments| writeln!(text, "{arguments}").expect(INFALLIBLE);
        for row in &self.rows {
            let (name, sum) = (&row.name, sum(&row.terms));
            match row.sense() {
                Sense::Free => {}
                Sense::Equal(side) => line(format_args!(" {name}:{sum} = {side:?}")),
                Sense::AtMost(side) => line(format_args!(" {name}:{sum} <= {side:?}")),
                Sense::AtLeast(side) => line(format_args!(" {name}:{sum} >= {side:?}")),
                Sense::Range(lower, upper) => {
                    line(format_args!(" {name}_lower:{sum} >= {lower:?}"));
                    line(format_args!(" {name}_upper:{sum} <= {upper:?}"));
                }
            }
        }
        line(format_args!("Bounds"));
        for column in &self.columns {
            line(format_args!(" {:?} <= {} <= {:?}", column.lower, column.name, column.upper));
        }
        line(format_args!("General"));
        self.columns.iter().filter(|c| c.kind == Kind::Integer).for_each(|c| line(format_args!(" {}", c.name)));
        if !self.sos1.is_empty() {
            line(format_args!("SOS"));
            for (k, [a, b]) in self.sos1.iter().enumerate() {
                let (a, b) = (&self.columns[*a].name, &self.columns[*b].name);
                line(format_args!(" set{k}: S1:: {a}:1 {b}:2"));
            }
        }
        line(format_args!("End"));
        text
    }

    /// The programme as an AMPL model without data, for non-linear solvers, too: of two columns in a special ordered set the
    /// product is asked to be at most 0 (the thesis' 4.15 to 4.17).
    pub fn to_ampl(&self) -> String {
        let number = |x: f64| match x {
            f64::INFINITY => "Infinity".to_owned(),
            f64::NEG_INFINITY => "-Infinity".to_owned(),
            x => format!("{x:?}"),
        };
        let sum = |terms: &[(usize, f64)]| -> String {
            let term = |(j, a): &(usize, f64)| {
                format!(" {} {:?}*{}", if *a < 0.0 { '-' } else { '+' }, a.abs(), self.columns[*j].name)
            };
            if terms.is_empty() { " 0".into() } else { terms.iter().map(term).collect() }
        };
        let mut text = format!("# {}\n", self.name);
        let mut line = |arguments: std::fmt::Arguments| writeln!(text, "{arguments}").expect(INFALLIBLE);
        for Column { name, lower, upper, kind, .. } in &self.columns {
            let integer = if *kind == Kind::Integer { ", integer" } else { "" };
            line(format_args!("var {name}, >= {}, <= {}{integer};", number(*lower), number(*upper)));
        }
        let costs: Vec<_> = self.columns.iter().enumerate().map(|(j, c)| (j, c.objective)).collect();
        let costs: Vec<_> = costs.into_iter().filter(|(_, c)| *c != 0.0).collect();
        line(format_args!("minimize objective:{} + {:?};", sum(&costs), self.objective_constant));
        for row in &self.rows {
            let (name, sum) = (&row.name, sum(&row.terms));
            match row.sense() {
                Sense::Free => {}
                Sense::Equal(side) => line(format_args!("subject to {name}:{sum} = {side:?};")),
                Sense::AtMost(side) => line(format_args!("subject to {name}:{sum} <= {side:?};")),
                Sense::AtLeast(side) => line(format_args!("subject to {name}:{sum} >= {side:?};")),
                Sense::Range(lower, upper) => line(format_args!("subject to {name}: {lower:?} <={sum} <= {upper:?};")),
            }
        }
        for (k, [a, b]) in self.sos1.iter().enumerate() {
            let (a, b) = (&self.columns[*a].name, &self.columns[*b].name);
            line(format_args!("subject to either{k}: {a} * {b} <= 0;"));
        }
        text
    }
}
