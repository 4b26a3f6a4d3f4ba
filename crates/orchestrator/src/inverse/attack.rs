use clap::{Args, ValueEnum};
use milp::{Distance, Margin, Nearest, Question};
use train::data::{DataSet, Part};

use super::Common;
use super::subject::Subject;
use crate::error::Result;

/// What `attack` takes.
#[derive(Args)]
pub struct AttackArgs {
    #[command(flatten)]
    common: Common,
    /// Where to start: one value for each attribute in its own unit, with commas between; categories by name.
    #[arg(
        long,
        value_name = "VALUES",
        value_delimiter = ',',
        allow_hyphen_values = true,
        required_unless_present = "row"
    )]
    input: Vec<String>,
    /// Where to start: a row of the run's data, counted from 1.
    #[arg(long, conflicts_with = "input")]
    row: Option<usize>,
    /// Which rows are counted.
    #[arg(long, value_enum, default_value_t = Rows::Test)]
    data: Rows,
    /// What is to be as small as possible.
    #[arg(long, value_enum, default_value_t = Norm::L1)]
    distance: Norm,
    /// The class to reach, by name or by number from 1; any other one if none is named.
    #[arg(long)]
    target: Option<String>,
    /// How much more than every other class, times the ratio, the class has to score.
    #[arg(long, default_value_t = 0.001)]
    difference: f64,
    /// No attribute may change by more than this.
    #[arg(long)]
    largest_change: Option<f64>,
    /// No more attributes than this may change.
    #[arg(long)]
    most_changed: Option<usize>,
    /// Attributes that must not change, with commas between.
    #[arg(long, value_delimiter = ',')]
    fixed: Vec<String>,
    /// Measure each attribute in parts of its range, instead of in its own unit.
    #[arg(long)]
    scaled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rows {
    Fit,
    Validation,
    Test,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Norm {
    /// The sum of all changes.
    L1,
    /// The largest change.
    Linf,
    /// The number of attributes that change.
    L0,
}

/// Runs the command and gives its exit status: 0 answered, 3 undecided.
///
/// # Errors
/// If the model cannot be read or the question makes no sense.
pub fn attack(args: &AttackArgs) -> Result<u8> {
    let Common { model, continuous, range, .. } = &args.common;
    let subject = Subject::load(model, *continuous, *range)?;
    subject.classes()?;
    let point = match args.row {
        Some(row) => subject.row(model, part(args.data), row)?,
        None => subject.point(&args.input)?,
    };
    let question = Question::Nearest(Nearest {
        units: subject.units(args.scaled),
        distance: match args.distance {
            Norm::L1 => Distance::L1,
            Norm::Linf => Distance::Linf,
            Norm::L0 => Distance::L0,
        },
        target: args.target.as_deref().map(|name| subject.class(name)).transpose()?,
        margin: Margin { ratio: args.common.ratio, difference: args.difference },
        largest_change: args.largest_change,
        most_changed: args.most_changed,
        fixed: subject.inputs_of(&args.fixed)?,
        point: point.clone(),
    });
    args.common.answer(&subject, &question, Some(&point))
}

fn part(rows: Rows) -> fn(&DataSet) -> &Part {
    match rows {
        Rows::Fit => |data| &data.fit,
        Rows::Validation => |data| &data.validation,
        Rows::Test => |data| &data.test,
    }
}
