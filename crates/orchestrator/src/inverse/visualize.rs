use clap::Args;
use milp::{Extreme, Margin, Question};

use super::Common;
use super::subject::Subject;
use crate::error::Result;

/// What `visualize` takes.
#[derive(Args)]
pub struct VisualizeArgs {
    #[command(flatten)]
    common: Common,
    /// The output to make as large as possible: a class by name, or an output's number from 1.
    #[arg(long, default_value = "1")]
    output: String,
    /// Ask that the output beats every other one, times the ratio, by so much.
    #[arg(long)]
    difference: Option<f64>,
}

/// Runs the command and gives its exit status: 0 answered, 3 undecided.
///
/// # Errors
/// If the model cannot be read or the question makes no sense.
pub fn visualize(args: &VisualizeArgs) -> Result<u8> {
    let Common { model, continuous, range, ratio, .. } = &args.common;
    let subject = Subject::load(model, *continuous, *range)?;
    let output = if subject.outputs() == 1 { 0 } else { subject.class(&args.output)? };
    let margin = args.difference.map(|difference| Margin { ratio: *ratio, difference });
    args.common.answer(&subject, &Question::Extreme(Extreme { output, margin }), None)
}
