//! The page about an experiment: its table first, then every seed, how it was done, and how to do it again.

use super::claim::quoted;
use super::experiment::{Experiment, FinishedSeed, Method, Rows, Unit};
use super::markup::{
    Markup, Section, banner, caution, code, document, facts, gallery, heading, list, listing, paragraph, table,
};
use super::numbers::number;
use super::plots::{self, Dots};
use crate::batch::Run;
use crate::config::{Config, Deliver, Repairing};
use crate::mean::Mean;
use crate::report::score_text;

/// The whole page.
pub fn page(experiment: &Experiment) -> String {
    let sections: Vec<Section> = [
        Some(results(experiment)),
        scores(experiment),
        Some(protocol(experiment)),
        Some(methods(experiment)),
        failures(experiment),
        Some(again(experiment)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let title = format!("{}: {}", experiment.contents.name, headline(experiment));
    document(&title, header(experiment, &title), &sections)
}

/// How many runs there are.
struct Counts {
    asked: usize,
    finished: usize,
    certified: usize,
    /// Baselines that have no certificate, because they are monotone by construction or do not claim to be.
    without: usize,
}

impl Counts {
    fn of(experiment: &Experiment) -> Self {
        Self {
            asked: experiment.contents.runs.len(),
            finished: experiment.finished().count(),
            certified: experiment.finished().filter(|seed| seed.is_certified()).count(),
            without: experiment.finished().filter(|seed| !seed.is_verified()).count(),
        }
    }
}

fn headline(experiment: &Experiment) -> String {
    let Counts { asked, finished, certified, without } = Counts::of(experiment);
    let verified = finished - without;
    let beside = if without > 0 { format!(", {without} baselines beside them") } else { String::new() };
    match (asked == finished, certified == verified) {
        (true, true) => format!("all {certified} runs certified{beside}"),
        (true, false) => format!("{certified} of {verified} runs certified{beside}"),
        (false, _) => format!("{certified} runs certified{beside}, {finished} of {asked} finished"),
    }
}

fn header(experiment: &Experiment, title: &str) -> Markup {
    let Counts { asked, finished, certified, without } = Counts::of(experiment);
    let mut parts = vec![paragraph(experiment.contents.title.as_str())];
    if finished < asked {
        parts.push(caution(format!(
            "{} of {asked} runs are not finished; {} of them failed. What follows is about the others and may change.",
            asked - finished,
            experiment.failures().len()
        )));
    }
    if finished > without {
        parts.push(paragraph(
            "Before this page was written, the certificate of every run that counts as certified, and the counterexample of every \
             one that counts as refuted, was read and found valid by a small program that shares no code with the search, in exact \
             arithmetic.",
        ));
    }
    let kind = if certified + without == asked { "certified" } else { "undecided" };
    banner(kind, title, parts)
}

/// The table of the batch.
fn results(experiment: &Experiment) -> Section {
    let whole = &experiment.contents.table;
    let headings: Vec<String> = whole.columns.iter().map(|heading| heading.lines.join(" ")).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows = whole.lines.iter().map(|line| line.iter().map(|cell| cell.text.as_str().into()).collect());
    let errors = match experiment.is_over_resplits() {
        true => {
            "over the seeds, each with a random re-split of its own: they say how much other rows and another initialisation change. \
             Re-splits overlap, so they are rather too small; errors in brackets are corrected for that, and rather too large."
        }
        false => {
            "over the seeds: they say how much another initialisation changes, not how much another test set would."
        }
    };
    let parts = [
        table(&headings, rows),
        paragraph(format!(
            "A score is in per cent of rows that are right, or an rmse in scaled units. Errors (±), and intervals by Student's t, are \
             {errors} Published numbers stand as they were printed."
        )),
    ];
    Section::new("table", "The table", parts)
}

/// All seeds as dots, a picture for each data set and kind of rows.
fn scores(experiment: &Experiment) -> Option<Section> {
    let mut kinds: Vec<(&str, Unit)> = Vec::new();
    for kind in experiment.methods.iter().filter_map(Method::kind) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let mut figures = Vec::new();
    for kind in &kinds {
        let methods: Vec<&Method> = experiment.methods.iter().filter(|method| method.kind() == Some(*kind)).collect();
        for (rows, name) in [(Rows::Test, "test"), (Rows::Validation, "validation")] {
            let lines: Vec<Dots> = methods.iter().filter_map(|method| dots(method, rows)).collect();
            let unit = match kind.1 {
                Unit::Right => "per cent right",
                Unit::Rmse => "rmse, scaled",
            };
            let data = kind.0;
            let caption = match rows {
                Rows::Test => format!("{data}, test rows, which played no part in any choice."),
                Rows::Validation => format!("{data}, validation rows. Choices were made on them; see the protocol."),
            };
            figures.push((plots::dots(&format!("{unit}, {name} rows"), &lines), caption));
        }
    }
    let legend = paragraph(
        "A disc is a run with one seed. The upright line is the mean, the bar its 95 % interval, cut off where it leaves the picture. A \
         square standing on its corner is the published number, if it is one and about these rows.",
    );
    (!figures.is_empty()).then(|| Section::new("scores", "Seed by seed", [legend, gallery(figures)]))
}

fn dots(method: &Method, rows: Rows) -> Option<Dots> {
    let values = method.scores(rows);
    let mean = Mean::of(&values)?;
    let (name, published) = (method.name.clone(), method.published_score(rows));
    Some(Dots { name, values, mean: mean.value, interval: mean.interval(), published })
}

/// What holds for all runs.
fn protocol(experiment: &Experiment) -> Section {
    let seeds = experiment.methods.iter().map(|method| method.runs.len());
    let seeds = either(seeds.clone().min(), seeds.max());
    let splits = match experiment.is_over_resplits() {
        true => ", and which random re-split of the rows its runs have, the same for all methods.",
        false => ". Unless a method says otherwise, all its runs have the same split.",
    };
    let points = [
        format!("{} methods, {seeds} seeds each; each run is a process of its own.", experiment.methods.len()),
        "The test rows played no part in any choice. On the validation rows it was decided which network of a run is delivered, or \
         whether a repair is acceptable: their scores can be somewhat too good."
            .into(),
        format!("A seed decides initialisation, batches and samples{splits}"),
        "A run is certified if its network was proved to be monotone on its whole domain, and refuted if there are two inputs that show \
         the opposite. Scores are of the delivered networks, certified or not."
            .into(),
    ];
    let mut parts = vec![list(points.map(Markup::from))];
    parts.push(table(&["data set", "split", "to fit", "to validate", "to test", "SHA-256"], data_sets(experiment)));
    Section::new("protocol", "What was run, and by which protocol", parts)
}

fn either(low: Option<usize>, high: Option<usize>) -> String {
    match (low, high) {
        (Some(low), Some(high)) if low != high => format!("{low} to {high}"),
        (low, _) => low.unwrap_or(0).to_string(),
    }
}

fn data_sets(experiment: &Experiment) -> Vec<Vec<Markup>> {
    let line = |seed: &FinishedSeed| {
        let data = &seed.record.data;
        let split = match data.split_seed {
            Some(seed) => format!("{}, drawn with seed {seed}", data.split),
            None => data.split.clone(),
        };
        let counts = [data.fit, data.validation, data.test].map(|count| count.to_string().into());
        let mut cells = vec![data.name.as_str().into(), split.into()];
        cells.extend(counts);
        cells.push(code(&data.sha256[..16.min(data.sha256.len())]));
        cells
    };
    distinct(experiment.finished().map(line))
}

/// Each once, in the order in which they come.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// Each method with its settings and its runs.
fn methods(experiment: &Experiment) -> Section {
    let mut parts = Vec::new();
    for method in &experiment.methods {
        parts.push(heading(method.name.as_str()));
        parts.push(facts(about(method)));
        parts.push(table(
            &["seed", "verdict", "lambda", "rounds", "validation", "test", "seconds", "folder"],
            method.runs.iter().map(|(run, seed)| run_line(run, seed.as_ref(), experiment)),
        ));
    }
    Section::new("methods", "Method by method", parts)
}

fn about(method: &Method) -> Vec<(&'static str, Markup)> {
    let (first, _) = &method.runs[0];
    let set: Vec<&str> = first.overrides.iter().map(String::as_str).filter(|text| !text.starts_with("seed=")).collect();
    let mut facts = vec![("configuration", code(first.config.display().to_string()))];
    if !set.is_empty() {
        facts.push(("set in it", code(set.join("  "))));
    }
    if let Some(seed) = method.finished().next() {
        let text = match &seed.config {
            Ok(config) => how(config),
            Err(error) => format!("its configuration cannot be read: {error}"),
        };
        facts.push(("protocol", text.into()));
    }
    let finished = method.finished().count();
    facts.push(("certified", format!("{} of {finished}", method.certified()).into()));
    let lambdas: Vec<String> =
        method.lambdas().iter().map(|(lambda, runs)| format!("{} in {runs}", number(*lambda))).collect();
    if !lambdas.is_empty() {
        facts.push(("lambda at the end", format!("{} of {finished} runs", lambdas.join(", ")).into()));
    }
    if !method.published.is_empty() {
        facts.push(("published", method.published.as_str().into()));
    }
    facts
}

/// How a network was made, as the configuration has it.
fn how(config: &Config) -> String {
    let Config { train, escalation, certify, repair, .. } = config;
    let mut parts = Vec::new();
    parts.push(match escalation.lambda {
        0.0 => format!("{} epochs without penalty", train.epochs),
        lambda => format!(
            "{} epochs a round, lambda from {}, times {} after each of at most {} rounds",
            train.epochs,
            number(lambda),
            number(escalation.lambda_growth),
            escalation.round_limit
        ),
    });
    parts.push(match (certify.deliver, certify.during_training) {
        (Deliver::Last, _) => "the last epoch is delivered".into(),
        (Deliver::BestCertified, 0) => {
            format!(
                "after a round up to {} of its epochs are verified, best validation score first",
                certify.candidates
            )
        }
        (Deliver::BestCertified, every) => {
            let when = if every == 1 { "every epoch".into() } else { format!("every {every} epochs") };
            format!("verified after {when}; of those that certify the best on the validation rows is delivered")
        }
    });
    parts.push(match repair.method {
        Repairing::Off => "no repair".into(),
        _ if certify.deliver == Deliver::Last => "repaired if it has to be".to_owned(),
        _ => "the last epoch is repaired if none certifies".into(),
    });
    if train.distil > 0.0 {
        parts.push("taught by monotone boosted trees".into());
    }
    if train.all_rows {
        parts.push("then once more on fitting and validation rows together".into());
    }
    if config.ensemble > 1 {
        parts.push(format!("mean of {} networks", config.ensemble));
    }
    parts.join("; ") + "."
}

fn run_line(run: &Run, seed: Option<&FinishedSeed>, experiment: &Experiment) -> Vec<Markup> {
    let score = |scores: &Option<train::Scores>| scores.as_ref().map_or("-".into(), score_text);
    let failed = || experiment.failures().iter().any(|failure| failure.id == run.id);
    let found = match seed.map(|seed| &seed.summary) {
        Some(summary) => [
            summary.verdict.clone(),
            summary.lambda.map_or("-".into(), number),
            summary.rounds.to_string(),
            score(&summary.validation),
            score(&summary.test),
            format!("{:.1}", summary.seconds),
        ],
        None => [if failed() { "failed" } else { "not finished" }, "-", "-", "-", "-", "-"].map(String::from),
    };
    let number = run.overrides.iter().find_map(|text| text.strip_prefix("seed=")).unwrap_or("-");
    let mut cells = vec![number.into()];
    cells.extend(found.map(Markup::from));
    cells.push(code(format!("runs/{}", run.id)));
    cells
}

/// What failed, and what it said.
fn failures(experiment: &Experiment) -> Option<Section> {
    let failures = experiment.failures();
    let mut parts = vec![paragraph("These runs ended without a result. The same command tries them again.")];
    for failure in &failures {
        let status = failure.exit_status.map_or("killed".into(), |status| format!("exit status {status}"));
        parts.push(heading(format!("{}: {} tries, {status}", failure.id, failure.tries)));
        let said = if failure.said.is_empty() { "(it said nothing)" } else { &failure.said };
        parts.push(listing(said));
    }
    (!failures.is_empty()).then(|| Section::new("failures", "Failures", parts))
}

/// The commands, and with what it was run.
fn again(experiment: &Experiment) -> Section {
    let folder = quoted(&experiment.contents.path.display().to_string());
    let is_folder = experiment.typed == experiment.contents.path;
    let sweep = if is_folder { "SWEEP".into() } else { quoted(&experiment.typed.display().to_string()) };
    let mut parts = vec![paragraph("The whole experiment, in another folder, and its table:")];
    parts.push(listing(format!("orchestrator batch {sweep} --out FOLDER\norchestrator table {folder}")));
    if is_folder {
        parts.push(paragraph([
            "SWEEP is the sweep file with ".into(),
            code(format!("name = {:?}", experiment.contents.name)),
            ".".into(),
        ]));
    }
    parts.push(paragraph("A single run, the first of each method:"));
    let command = |method: &Method| {
        let (run, _) = &method.runs[0];
        let set: String = run.overrides.iter().map(|text| format!(" --set {}", quoted(text))).collect();
        format!("orchestrator run {}{set}", quoted(&run.config.display().to_string()))
    };
    parts.push(listing(experiment.methods.iter().map(command).collect::<Vec<_>>().join("\n")));
    let first = &experiment.methods[0].runs[0].0;
    parts.push(paragraph("A page about a single run, and a check of its proof:"));
    let run = quoted(&experiment.contents.run_folder(first).display().to_string());
    parts.push(listing(format!(
        "orchestrator report {run}\norchestrator check {run}/certificate.jsonl {run}/model.safetensors"
    )));
    let programs = distinct(experiment.finished().map(|seed| {
        let record = &seed.record;
        format!("orchestrator {} (commit {})", record.program, record.commit)
    }));
    let computers = distinct(experiment.finished().map(|seed| {
        let hardware = &seed.record.hardware;
        let processor = hardware.processor.as_deref().unwrap_or("unknown processor");
        format!("{processor}, {} threads, {} {}", hardware.threads, hardware.system, hardware.architecture)
    }));
    let page = format!("orchestrator {} (commit {})", env!("CARGO_PKG_VERSION"), env!("BUILD_COMMIT"));
    parts.push(facts([
        ("program", programs.join("; ").into()),
        ("computer", computers.join("; ").into()),
        ("this page", page.into()),
    ]));
    Section::new("again", "How to run it again", parts)
}
