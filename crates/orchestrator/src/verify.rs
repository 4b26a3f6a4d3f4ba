//! Certifies or refutes the network in a model file, whoever trained it: the command `verify`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use certificate::exact::approximate;
use certificate::{
    Conclusion, Counterexample, Direction, Domain, IntegerFeature, Interval, Limit, Model, MonotoneFeatures, Rows,
    Specification, Verdict,
};
use clap::Args;
use milp::{Control, NetworkReport, Options, QueryReport};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, exit_code};
use crate::progress::Progress;
use crate::{Format, certification, config, report};

/// What `verify` takes.
#[derive(Args)]
pub struct VerifyArgs {
    /// The model, a `model.safetensors`.
    model: PathBuf,
    /// What to claim instead of what the model file states: a TOML file with any of `input_box`, `one_hot`, `integer`,
    /// `directions` and `rows`.
    #[arg(long, value_name = "FILE")]
    domain: Option<PathBuf>,
    /// Folder for `certificate.jsonl`; by default that of the model.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Seconds for each query.
    #[arg(long, default_value_t = 60.0)]
    time_limit: f64,
    /// What is printed on standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// A claim as a file states it, in scaled units and with inputs counted from 0, as in a certificate. What it leaves out is
/// as in the model file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    input_box: Option<Vec<Interval>>,
    one_hot: Option<Vec<Vec<usize>>>,
    integer: Option<Vec<IntegerFeature>>,
    directions: Option<Vec<Direction>>,
    rows: Option<Vec<Vec<f32>>>,
}

/// What was found.
#[derive(Serialize)]
struct Findings {
    verdict: &'static str,
    /// Why it is undecided.
    limit: Option<Limit>,
    /// In which ways the claim is not that of the model file.
    differences: Vec<String>,
    queries: Vec<QueryFindings>,
    counterexample: Option<Counterexample>,
    /// The certificate; none if there is no proof and no counterexample.
    certificate: Option<PathBuf>,
    seconds: f64,
}

#[derive(Serialize)]
struct QueryFindings {
    block: usize,
    row: String,
    input: String,
    verdict: &'static str,
    proven_lower_bound: f64,
    nodes: u64,
    seconds: f64,
}

/// Runs the command and gives its exit status: 0 certified, 1 refuted, 3 undecided, 130 interrupted.
///
/// # Errors
/// If the model or the claim cannot be read or do not fit, or if a certificate of another claim is in the way.
pub fn verify(args: &VerifyArgs) -> Result<u8> {
    let start = Instant::now();
    let model = Model::load(&args.model)?;
    let (domain, specification) = match &args.domain {
        Some(file) => read_claim(file, &model)?,
        None => (model.domain.clone(), model.specification()),
    };
    let number = specification.queries(&model.network)?.iter().map(Vec::len).sum();
    let folder = args.out.as_deref().or(args.model.parent()).unwrap_or(Path::new(""));
    fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.into(), source })?;
    let path = folder.join(certification::FILE);
    let known = known(&path, &model, (&domain, &specification))?;

    let progress = Progress::new(args.format == Format::Json);
    let interrupt = crate::interrupt::flag();
    let bar = progress.start_queries(0, 1, number);
    let tell = |_: usize, _: &QueryReport| bar.inc(1);
    let control = Control { interrupt: Some(&interrupt), progress: Some(&tell) };
    let options = Options { query_time_limit_s: args.time_limit, total_time_limit_s: f64::MAX, ..Options::default() };
    // Under another name first: an attempt that fails must not replace a proof.
    let fresh = path.with_extension("new");
    let report = certification::certify(&model, (&domain, &specification), &options, control, &fresh)?;
    progress.end_queries();
    let decided = !matches!(report.verdict, Verdict::Undecided { .. });
    if decided {
        fs::rename(&fresh, &path).map_err(|source| Error::Io { path: path.clone(), source })?;
    } else if fresh.exists() {
        fs::remove_file(&fresh).map_err(|source| Error::Io { path: fresh, source })?;
    }

    let findings = Findings {
        verdict: report.verdict.word(),
        limit: match &report.verdict {
            Verdict::Undecided { limit, .. } => Some(limit.clone()),
            _ => None,
        },
        differences: report::differences(&model, &domain, &specification),
        queries: table(&model, &specification, &report),
        counterexample: match &report.verdict {
            Verdict::Refuted(pair) => Some(pair.clone()),
            _ => None,
        },
        certificate: (decided || known).then_some(path),
        seconds: start.elapsed().as_secs_f64(),
    };
    match args.format {
        Format::Json => println!("{}", serde_json::to_string(&findings).expect("findings are plain data")),
        Format::Text => print!("{}", text(&model, &specification, &findings)),
    }
    Ok(match report.verdict {
        Verdict::Certified { .. } => exit_code::CERTIFIED,
        Verdict::Refuted(_) => exit_code::REFUTED,
        Verdict::Undecided { .. } if interrupt.load(Ordering::Relaxed) => exit_code::INTERRUPTED,
        Verdict::Undecided { .. } => exit_code::UNDECIDED,
    })
}

/// Whether a proof or a counterexample of this claim is there already. Anything else there is somebody's and stays.
fn known(path: &Path, model: &Model, (domain, specification): (&Domain, &Specification)) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let message = match certification::recheck(path, model) {
        Ok(found) if (&found.domain, &found.specification) == (domain, specification) => {
            return Ok(found.conclusion != Conclusion::Undecided);
        }
        Ok(_) => "this is a certificate of another claim".to_owned(),
        Err(error) => format!("this file is in the way ({error})"),
    };
    let message = format!("{message}; choose another folder with --out, or move it away");
    Err(Error::RunFolder { path: path.into(), message })
}

/// The claim that a file states about a model.
fn read_claim(file: &Path, model: &Model) -> Result<(Domain, Specification)> {
    let text = fs::read_to_string(file).map_err(|source| Error::Io { path: file.into(), source })?;
    let wrong = |message: String| Error::Config { place: file.display().to_string(), message };
    let stated: Stated =
        toml::from_str(&text).map_err(|error| config::config_error(&file.display().to_string(), &error.to_string()))?;
    stated.resolve(model).map_err(wrong)
}

impl Stated {
    /// What is claimed of the model; if it makes no sense, the key and what was expected.
    fn resolve(self, model: &Model) -> std::result::Result<(Domain, Specification), String> {
        let inputs = model.network.inputs();
        let lengths = [
            ("input_box", "intervals such as { lower = 0, upper = 1 }", self.input_box.as_ref().map(Vec::len)),
            ("directions", "of \"increasing\", \"decreasing\" and \"free\"", self.directions.as_ref().map(Vec::len)),
        ];
        for (key, what, found) in lengths {
            if let Some(found) = found.filter(|found| *found != inputs) {
                let names: Vec<_> = model.features.iter().map(|feature| feature.name.as_str()).collect();
                let names = names.join(", ");
                return Err(format!("{key}: expected {inputs} {what}, one per input ({names}), found {found}"));
            }
        }
        let own = &model.domain;
        let input_box = self.input_box.unwrap_or_else(|| own.input_box().to_vec());
        // The steps would be cut from another interval and be whole numbers no more.
        let moved = |feature: &&IntegerFeature| input_box[feature.input] != own.input_box()[feature.input];
        if let (None, Some(feature)) = (&self.integer, own.integer().iter().find(moved)) {
            let name = &model.features[feature.input].name;
            return Err(format!(
                "input_box: input {} ({name}) takes whole numbers, and its interval is not that of the model; state \
                 `integer` too, with the number of steps in the new interval",
                feature.input
            ));
        }
        let one_hot = self.one_hot.unwrap_or_else(|| own.one_hot().to_vec());
        let integer = self.integer.unwrap_or_else(|| own.integer().to_vec());
        let domain = Domain::new(input_box, one_hot, integer)
            .map_err(|error| format!("input_box, one_hot, integer: {error} (inputs are counted from 0)"))?;
        let directions = self.directions.map_or_else(|| model.monotone_features(), MonotoneFeatures);
        if let Some(&j) = domain.one_hot().iter().flatten().find(|j| directions.0[**j] != Direction::Free) {
            let name = &model.features[j].name;
            return Err(format!(
                "directions: input {j} ({name}) is in a one-hot group and cannot move alone; make it \"free\""
            ));
        }
        let rows = self.rows.map_or(Ok(Rows::OUTPUTS), Rows::combinations).map_err(|error| error.to_string())?;
        rows.require_width(model.network.outputs()).map_err(|error| error.to_string())?;
        Ok((domain, Specification { directions, rows }))
    }
}

fn table(model: &Model, specification: &Specification, report: &NetworkReport) -> Vec<QueryFindings> {
    let all = report.queries.iter().enumerate().flat_map(|(k, queries)| queries.iter().map(move |q| (k, q)));
    let row = |(k, report): (usize, &QueryReport)| QueryFindings {
        block: k + 1,
        row: specification.rows_of(&model.network, k).describe(report.query.row),
        input: report::input_name(model, k, report.query.input),
        verdict: report.verdict.word(),
        proven_lower_bound: report.lower_bound,
        nodes: report.nodes,
        seconds: report.seconds,
    };
    all.map(row).collect()
}

fn text(model: &Model, specification: &Specification, findings: &Findings) -> String {
    let reason = findings.limit.as_ref().map_or(String::new(), |limit| format!(" ({})", report::reason(limit)));
    let mut text = format!("verdict     {}{reason}\n", findings.verdict);
    let mut line = |line: String| text += &(line + "\n");
    for difference in &findings.differences {
        line(format!("claim       {difference}"));
    }
    if findings.limit == Some(Limit::Time) {
        line("to go on    give each query more seconds with --time-limit".into());
    }
    if !findings.queries.is_empty() {
        let width = findings.queries.iter().map(|query| query.row.chars().count()).fold(3, usize::max);
        line(format!("block  {:<width$}  {:<24} verdict    proven bound      nodes     time", "row", "input"));
        for QueryFindings { block, row, input, verdict, proven_lower_bound, nodes, seconds } in &findings.queries {
            line(format!(
                "{block:>5}  {row:<width$}  {input:<24} {verdict:<9} {proven_lower_bound:>13.6} {nodes:>10} {seconds:>6.2} s"
            ));
        }
    }
    if let Some(pair) = &findings.counterexample {
        let (row, name) = (specification.rows.describe(pair.row), &model.features[pair.input].name);
        line(format!("{row} falls by {:.3e} when nothing but {name} moves in its direction", approximate(&pair.drop)));
        for (feature, (a, b)) in model.features.iter().zip(pair.lower.iter().zip(&pair.upper)) {
            let raw = |x| feature.raw(approximate(x));
            line(match a == b {
                true => format!("  {}: {}", feature.name, raw(a)),
                false => format!("  {}: {} -> {}", feature.name, raw(a), raw(b)),
            });
        }
    }
    match (&findings.certificate, &findings.limit) {
        (Some(path), None) => line(format!("certificate {} (checked)", path.display())),
        (Some(path), Some(_)) => line(format!("certificate {} (an earlier one, kept; it is valid)", path.display())),
        (None, _) => {}
    }
    line(format!("time        {:.1} s", findings.seconds));
    text
}
