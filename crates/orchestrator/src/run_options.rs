use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What every command takes that makes a run folder from a configuration.
#[derive(Args)]
pub struct RunOptions {
    /// Override a key of the configuration, as in `--set seed=3`; can be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Folder of the run; by default the next number under runs/NAME.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// What is printed on standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// No progress on standard error.
    #[arg(long, short)]
    pub quiet: bool,
}

/// What is printed on standard output.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A few lines for people.
    Text,
    /// One JSON object and nothing else.
    Json,
}
