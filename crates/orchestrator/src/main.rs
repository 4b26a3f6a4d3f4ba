//! Trains partially monotone networks, verifies them and escalates the penalty until every block certifies.

mod axis;
mod baseline;
mod batch;
mod certification;
mod compare;
mod comparison;
mod config;
mod data_command;
mod ensemble;
mod error;
mod escalation;
mod fit;
mod html_report;
mod interrupt;
mod inverse;
mod mean;
mod multistart;
mod picture;
mod picture_files;
mod progress;
mod repair;
mod report;
mod resplits;
mod run_folder;
mod run_options;
mod summary;
mod teacher;
mod tensorboard;
mod verify;
mod violations;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use certificate::{Conclusion, Model, Query};
use clap::{Args, Parser, Subcommand, ValueEnum};
use milp::Control;
use serde::Serialize;
use train::data::DataSet;

use config::Config;
use ensemble::Delivery;
use error::{Error, Result, exit_code};
use escalation::StopReason;
use picture::Slice;
use progress::Progress;
use report::FinalScores;
use run_folder::RunFolder;
use run_options::Format;
use summary::{SUMMARY, Summary};

/// Train a partially monotone network and prove that it is monotone.
///
/// Exit status: 0 every block certified; 1 a counterexample, or lambda exhausted; 2 bad usage, configuration or data;
/// 3 undecided because a limit was reached; 70 internal fault; 130 interrupted.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Option<RunArgs>,
}

#[derive(Subcommand)]
enum Command {
    /// Train, certify, escalate; `orchestrator CONFIG` is short for it.
    Run(RunArgs),
    /// Print the resolved configuration.
    Config(ConfigArgs),
    /// Check a certificate again, exactly and without a solver.
    ///
    /// Exit status: 0 a valid proof that the model is monotone; 1 a valid counterexample; 2 not valid; 3 valid, but
    /// it says that nothing was shown.
    Check(CheckArgs),
    /// Certify or refute the network in a model file, whoever trained it.
    ///
    /// Exit status: 0 certified; 1 refuted; 3 undecided. The certificate has been checked by then.
    Verify(verify::VerifyArgs),
    /// Say how bad the violations of a run's network are: the least derivatives, or with --data or --row the rows that
    /// have a violating partner.
    ///
    /// Exit status: 0 none; 1 a violation; 3 undecided.
    Violations(violations::ViolationsArgs),
    /// Write a finished run as one web page, for people who answer for the model: the verdict first, drawings, and how to
    /// check it. The certificate is checked again before.
    ///
    /// Exit status: 0 written, whatever the verdict; 2 no finished run, or its files do not fit together.
    Report(html_report::ReportArgs),
    /// Find the nearest input of another class, and prove that none is nearer.
    ///
    /// Exit status: 0 answered, also if there is none; 2 bad usage or a question that makes no sense; 3 undecided.
    Attack(inverse::AttackArgs),
    /// Find the input to which an output responds most.
    ///
    /// Exit status: 0 answered; 2 bad usage or a question that makes no sense; 3 undecided.
    Visualize(inverse::VisualizeArgs),
    /// Say which of two methods is better on the same data, and how sure one can be of it: a configuration against
    /// another one or against monotone boosted trees, over the official split and random re-splits.
    ///
    /// The same command goes on where it was stopped. Exit status: 0 compared, whatever came out; 2 bad usage,
    /// configuration or data; 130 interrupted.
    Compare(compare::CompareArgs),
    /// Train a model that published tables set beside a certified network, on the data of a configuration.
    ///
    /// One that was stopped is begun anew. Exit status: 0 trained; 2 bad usage, configuration or data; 3 a non-negative network that was not certified; 130
    /// interrupted.
    Baseline(baseline::BaselineArgs),
    /// Run a whole experiment, all methods and seeds, as worker processes, and print its table.
    ///
    /// The same command goes on where it was stopped. Exit status: 0 all runs finished; 1 some failed twice; 2 bad usage or
    /// experiment; 130 interrupted.
    Batch(batch::BatchArgs),
    /// Do one run of a batch, for a cluster's job script.
    #[command(hide = true)]
    BatchTask(batch::TaskArgs),
    /// Print the table of a batch, as far as it is.
    Table(batch::TableArgs),
    /// Train a small dense ReLU network as a smooth programme, from many starting points.
    ///
    /// Exit status: 0 trained; 2 bad usage, configuration or data, or no start with a finite end; 130 interrupted.
    Multistart(multistart::MultistartArgs),
    /// Train a small network as a mixed-integer programme, and prove how far it can be from the best one.
    ///
    /// Exit status: 0 proven optimal within the tolerance, and certified where `[monotone]` asks for it; 2 bad usage,
    /// configuration or data, or constraints that contradict each other; 3 stopped with a gap; 130 interrupted, with the best
    /// network known by then in the folder.
    Fit(fit::FitArgs),
    /// List the data sets, download the table of one, or check it.
    Data(data_command::DataArgs),
    /// Print the mixed-integer programme of one query, for any other solver.
    Export(ExportArgs),
}

#[derive(Args)]
struct CheckArgs {
    /// The certificate, a `certificate.jsonl` of a run.
    certificate: PathBuf,
    /// The model that it is about, a `model.safetensors`.
    model: PathBuf,
}

#[derive(Args)]
struct ExportArgs {
    /// The model, a `model.safetensors` of a run.
    model: PathBuf,
    /// The block, counted from 1 as in the report.
    #[arg(long, default_value_t = 1)]
    block: usize,
    /// The output of the block, counted from 1.
    #[arg(long, default_value_t = 1)]
    output: usize,
    /// The monotone input of the block, counted from 1.
    #[arg(long, default_value_t = 1)]
    input: usize,
    /// The file format.
    #[arg(long, value_enum, default_value_t = ProgrammeFormat::Lp)]
    format: ProgrammeFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProgrammeFormat {
    /// CPLEX LP: readable.
    Lp,
    /// Free-format MPS: understood by every solver.
    Mps,
}

#[derive(Args)]
struct ConfigArgs {
    /// The configuration, a TOML file.
    config: PathBuf,
    /// Override a key, as in `--set train.epochs=50`; can be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

// Options one by one, not as `RunOptions`: an optional group, which `orchestrator CONFIG` needs, must not have another one in it.
#[derive(Args)]
struct RunArgs {
    /// The configuration, a TOML file.
    config: PathBuf,
    /// Override a key of the configuration, as in `--set seed=3`; can be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Folder of the run; by default the next number under runs/NAME.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// What is printed on standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// No progress on standard error.
    #[arg(long, short)]
    quiet: bool,
    /// Go on with the newest run of this configuration, or with the one in --out.
    #[arg(long)]
    resume: bool,
    /// Stop at the next checkpoint when standard input ends: a batch holds the other end.
    #[arg(long, hide = true)]
    follow_stdin: bool,
}

fn main() -> ExitCode {
    // In `orchestrator check ... | head` the reader goes away early; that is no fault of anybody's.
    sigpipe::reset();
    interrupt::listen();
    let cli = Cli::parse();
    // A panic is a fault of the program; its message has been printed when it gets here.
    let code = std::panic::catch_unwind(|| dispatch(cli)).unwrap_or(exit_code::INTERNAL);
    ExitCode::from(code)
}

fn dispatch(cli: Cli) -> u8 {
    let result = match (cli.command, cli.run) {
        (Some(Command::Run(args)), _) | (None, Some(args)) => run(&args),
        (Some(Command::Config(args)), _) => resolve(&args).map(|config| {
            print!("{config}");
            exit_code::CERTIFIED
        }),
        (Some(Command::Check(args)), _) => check(&args),
        (Some(Command::Verify(args)), _) => verify::verify(&args),
        (Some(Command::Violations(args)), _) => violations::violations(&args),
        (Some(Command::Report(args)), _) => html_report::html_report(&args),
        (Some(Command::Attack(args)), _) => inverse::attack(&args),
        (Some(Command::Visualize(args)), _) => inverse::visualize(&args),
        (Some(Command::Compare(args)), _) => compare::compare(&args),
        (Some(Command::Baseline(args)), _) => baseline::baseline(&args),
        (Some(Command::Batch(args)), _) => batch::batch(&args),
        (Some(Command::BatchTask(args)), _) => batch::task(&args),
        (Some(Command::Table(args)), _) => batch::table(&args),
        (Some(Command::Multistart(args)), _) => multistart::multistart(&args),
        (Some(Command::Fit(args)), _) => fit::fit(&args),
        (Some(Command::Data(args)), _) => data_command::data(&args),
        (Some(Command::Export(args)), _) => export(&args),
        (None, None) => unreachable!("clap asks for a configuration where there is no command"),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        let mut said = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(source) = cause {
            let text = source.to_string();
            // Some messages hold that of their cause already.
            if !said.contains(text.trim_end()) {
                eprintln!("  because: {}", text.trim_end());
            }
            said = text;
            cause = source.source();
        }
        exit_code::USAGE
    })
}

/// A configuration of any kind with all defaults.
fn resolve(args: &ConfigArgs) -> Result<String> {
    if multistart::is_meant_by(&args.config) {
        return Ok(multistart::Config::load(&args.config, &args.overrides)?.to_toml());
    }
    if fit::is_meant_by(&args.config) {
        return Ok(fit::Config::load(&args.config, &args.overrides)?.to_toml());
    }
    Ok(Config::load(&args.config, &args.overrides)?.to_toml())
}

fn run(args: &RunArgs) -> Result<u8> {
    let config = Config::load(&args.config, &args.overrides)?;
    let data = config.data.load()?;
    // Before anything is written, so that an architecture or a backend that cannot be had leaves no folder behind.
    train::Trainer::new(config.training(0, 0, config.escalation.lambda), &data)?;
    let out = args.out.as_deref();
    let folder = if args.resume {
        RunFolder::resume(&config, out)?
    } else {
        RunFolder::create(&config.name, &config.to_toml(), out)?
    };
    let mut progress = Progress::new(args.quiet);
    progress.say(&format!("run folder: {}", folder.path().display()));
    let interrupt = interrupt::flag();
    if args.follow_stdin {
        interrupt::follow_stdin();
    }
    let (summary, delivery) = complete(&config, &args.overrides, &data, &folder, &mut progress, &interrupt)?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string(&summary).expect("a summary is plain data")),
        Format::Text => summary.print(&delivery, folder.path()),
    }
    Ok(summary.exit_code)
}

/// Runs an escalation in its folder, from wherever it is to its end, and leaves everything that a run leaves.
fn complete(
    config: &Config,
    overrides: &[String],
    data: &DataSet,
    folder: &RunFolder,
    progress: &mut Progress,
    interrupt: &AtomicBool,
) -> Result<(Summary, Delivery)> {
    let start = Instant::now();
    folder.write_json("run.json", &RunRecord::new(config.seed, data, overrides, "running", None))?;
    let delivery = ensemble::run(config, data, folder, progress, interrupt)?;
    folder.write_json("run.json", &RunRecord::new(config.seed, data, overrides, "finished", Some(delivery.stop)))?;
    let summary = deliver(config, data, folder, &delivery, interrupt, start)?;
    // The last file, and only of a run that was not stopped: where it is, there is nothing left to do.
    if !interrupt.load(Ordering::Relaxed) {
        folder.write_json(SUMMARY, &summary)?;
    }
    Ok((summary, delivery))
}

/// Checks a certificate and says what it proves.
fn check(args: &CheckArgs) -> Result<u8> {
    let model = Model::load(&args.model)?;
    let checked = certification::recheck(&args.certificate, &model)?;
    println!("{checked}");
    print!("{}", report::domain_and_directions(&model, &checked));
    Ok(match checked.conclusion {
        Conclusion::Certified => exit_code::CERTIFIED,
        Conclusion::Refuted => exit_code::REFUTED,
        Conclusion::Undecided => exit_code::UNDECIDED,
    })
}

/// Prints the programme whose minimum is the worst-case derivative of a query, times a power of two.
fn export(args: &ExportArgs) -> Result<u8> {
    let model = Model::load(&args.model)?;
    let queries = model.specification().queries(&model.network)?;
    let wanted = |q: &&Query| (q.row + 1, q.input + 1) == (args.output, args.input);
    let query = args.block.checked_sub(1).and_then(|k| queries.get(k)?.iter().find(wanted));
    let Some(query) = query else {
        let message = format!(
            "nothing has to be proved about output {} and input {} of block {}; the model has {} blocks, the report lists their queries",
            args.output,
            args.input,
            args.block,
            queries.len()
        );
        return Err(Error::Config { place: args.model.display().to_string(), message });
    };
    let k = args.block - 1;
    let domains = certificate::interval::block_domains(&model.network, &model.domain);
    let options = milp::Options::default();
    let engine = milp::Engine::BranchAndBound;
    let verifier = milp::QueryVerifier::new(
        &model.network.blocks()[k],
        &certificate::Rows::OUTPUTS,
        &domains[k],
        *query,
        engine,
        &options,
    )?;
    let programme = verifier.programme();
    print!("{}", if args.format == ProgrammeFormat::Lp { programme.to_lp() } else { programme.to_mps() });
    Ok(exit_code::CERTIFIED)
}

/// Writes model, certificate, counterexamples and report, and sums up. Whatever was found out before, the verdict is that
/// of the certificate of the stored model.
fn deliver(
    config: &Config,
    data: &DataSet,
    folder: &RunFolder,
    delivery: &Delivery,
    interrupt: &AtomicBool,
    start: Instant,
) -> Result<Summary> {
    let mut certification_seconds = delivery.certification_s();
    let mut summary = Summary {
        run: folder.path().to_path_buf(),
        verdict: "undecided".into(),
        stop_reason: delivery.stop,
        rounds: delivery.rounds(),
        lambda: delivery.lambda(),
        ensemble: config.ensemble,
        parameters: None,
        validation: None,
        test: None,
        before_repair: None,
        changed_decisions: None,
        best_test_epoch: summary::best_test_epoch(folder, delivery)?,
        training_seconds: Some(delivery.training_s()),
        certification_seconds: None,
        seconds: 0.0,
        exit_code: exit_code::UNDECIDED,
    };
    if let Some(model) = &delivery.model {
        summary.parameters = Some(model.network.parameters());
        let scores = FinalScores::of(model, delivery.validated.as_ref(), data);
        (summary.validation, summary.test) = (Some(scores.validation), Some(scores.test));
        let model_file = folder.path().join("model.safetensors");
        model.save(&model_file)?;
        let control = Control { interrupt: Some(interrupt), progress: None };
        let certificate = folder.path().join(certification::FILE);
        let stored = Model::load(&model_file)?;
        let claim = (&stored.domain, &stored.specification());
        let certifying = Instant::now();
        let report = certification::certify(&stored, claim, &config.verification(), control, &certificate)?;
        certification_seconds += certifying.elapsed().as_secs_f64();
        let verdict = &report.verdict;
        summary.verdict = verdict.word().into();
        let exhausted = matches!(delivery.stop, StopReason::LambdaLimit(_) | StopReason::RoundLimit(_));
        let refuted = || report.queries.iter().flatten().filter(|q| q.verdict.is_refuted());
        if verdict.is_certified() {
            summary.exit_code = exit_code::CERTIFIED;
        } else if verdict.is_refuted() || exhausted && refuted().next().is_some() {
            summary.exit_code = exit_code::REFUTED;
        }
        folder.write_json("verdict.json", &report)?;
        folder.write_json("counterexamples.json", &refuted().collect::<Vec<_>>())?;
        // What was fitted on the validation rows has no score there, before its repair as little as after.
        let comparable = delivery.unrepaired.as_ref().filter(|_| delivery.validated.is_none());
        summary.before_repair = comparable.map(|before| FinalScores::of(before, None, data));
        let changed_decisions =
            delivery.unrepaired.as_ref().and_then(|before| repair::ChangedDecisions::of(before, model, data));
        let slice = match &delivery.unrepaired {
            Some(before) => {
                let slice = Slice::worst(before, model, data);
                picture_files::write(&folder.path().join(picture::FILE), &slice.to_svg(data))?;
                Some(slice)
            }
            None => None,
        };
        let accepted = |round: &escalation::Round| round.repair.as_ref().is_some_and(|repair| repair.accepted);
        let last_epoch = delivery.members.iter().any(|rounds| rounds.last().is_some_and(accepted));
        let (before_repair, all_rows) = (summary.before_repair, delivery.validated.is_some());
        let results = report::Results { scores, before_repair, changed_decisions, last_epoch, all_rows, slice };
        folder.write("report.md", report::render(config, data, delivery, model, &report, &results).as_bytes())?;
        summary.changed_decisions = results.changed_decisions;
    }
    let cut_short = interrupt.load(Ordering::Relaxed) && summary.exit_code == exit_code::UNDECIDED;
    if delivery.stop == StopReason::Interrupted || cut_short {
        summary.exit_code = exit_code::INTERRUPTED;
    }
    summary.certification_seconds = Some(certification_seconds);
    summary.seconds = start.elapsed().as_secs_f64();
    Ok(summary)
}

/// `run.json`: what is needed to judge a run and to repeat it.
#[derive(Serialize)]
struct RunRecord<'a> {
    format_version: u32,
    program: &'static str,
    commit: &'static str,
    status: &'a str,
    stop_reason: Option<StopReason>,
    overrides: &'a [String],
    seed: u64,
    data: DataRecord<'a>,
    hardware: Hardware,
}

#[derive(Serialize)]
struct DataRecord<'a> {
    name: &'a str,
    file: &'a Path,
    sha256: &'a str,
    split: &'a str,
    split_seed: Option<u64>,
    fit: usize,
    validation: usize,
    test: usize,
}

#[derive(Serialize)]
struct Hardware {
    system: &'static str,
    architecture: &'static str,
    processor: Option<String>,
    threads: usize,
}

impl<'a> RunRecord<'a> {
    fn new(seed: u64, data: &'a DataSet, overrides: &'a [String], status: &'a str, stop: Option<StopReason>) -> Self {
        let cpu_info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpu_info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": "));
        Self {
            format_version: 1,
            program: env!("CARGO_PKG_VERSION"),
            commit: env!("BUILD_COMMIT"),
            status,
            stop_reason: stop,
            overrides,
            seed,
            data: DataRecord {
                name: &data.name,
                file: &data.file,
                sha256: &data.sha256,
                split: &data.split,
                split_seed: data.split_seed,
                fit: data.fit.len(),
                validation: data.validation.len(),
                test: data.test.len(),
            },
            hardware: Hardware {
                system: std::env::consts::OS,
                architecture: std::env::consts::ARCH,
                processor: processor.map(|(_, name)| name.to_owned()),
                threads: std::thread::available_parallelism().map_or(1, usize::from),
            },
        }
    }
}
