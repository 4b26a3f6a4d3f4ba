//! A finished run, or a whole experiment, as one web page for people who answer for a model and do not program: the command
//! `report`.
//!
//! The page needs no network and no script. What it says about monotonicity it does not take from the run's records alone:
//! the certificate is checked again before a line is written.

mod behaviour;
mod claim;
mod experiment;
mod experiment_page;
mod finished_run;
mod inputs;
mod making;
mod markup;
mod numbers;
mod plots;
mod response;

pub use numbers::number;

use std::path::PathBuf;

use certificate::write_atomically;
use clap::Args;

use crate::error::{Result, exit_code};
use experiment::Experiment;
use finished_run::FinishedRun;

/// What `report` takes.
#[derive(Args)]
pub struct ReportArgs {
    /// Folder of a finished run or of a batch, or an experiment if its batch is in runs/NAME.
    about: PathBuf,
    /// The page; by default `report.html` in the folder of the run or the batch.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command and gives its exit status: 0 if the page was written, whatever it says.
///
/// # Errors
/// If the folder holds neither a finished run nor a batch, its files contradict each other, or the data of a run cannot be had
/// any more.
pub fn html_report(args: &ReportArgs) -> Result<u8> {
    let (folder, page) = match Experiment::load(&args.about)? {
        Some(experiment) => (experiment.contents.path.clone(), experiment_page::page(&experiment)),
        None => (args.about.clone(), page(&FinishedRun::load(&args.about)?)),
    };
    let out = args.out.clone().unwrap_or_else(|| folder.join("report.html"));
    write_atomically(&out, page.as_bytes())?;
    println!("report      {}", out.display());
    Ok(exit_code::CERTIFIED)
}

/// The whole page: what was found first, how it came about last.
fn page(run: &FinishedRun) -> String {
    let sections = [
        claim::claimed(run),
        claim::recheck(run),
        claim::features(run),
        behaviour::slices(run),
        behaviour::surfaces(run),
        behaviour::counterexamples(run),
        making::scores(run),
        making::bounds(run),
        making::training(run),
        making::card(run),
        making::settings(run),
    ];
    let title = format!("{}: {}", run.config.name, claim::headline(run));
    let sections: Vec<_> = sections.into_iter().flatten().collect();
    markup::document(&title, claim::verdict(run), &sections)
}
