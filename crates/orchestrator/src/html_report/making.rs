//! How good the network is, what was proved part by part, how it was made, and of what.

use certificate::Target;
use milp::QueryReport;
use train::data::{Part, Task};
use train::{Scores, constant_loss};

use super::finished_run::{FinishedRun, Member};
use super::markup::{Markup, Section, caution, code, facts, gallery, heading, image, list, listing, paragraph, table};
use super::numbers::number;
use super::plots::{self, Axes, Bound, Step};
use crate::escalation::Round;
use crate::report::{FinalScores, input_name, repair_text, score_text, stop_reason};
use crate::teacher;

/// Inputs of a block that are drawn; a longer list is a table only.
const DRAWN: usize = 30;

/// Scores with all that has to be said about them.
pub fn scores(run: &FinishedRun) -> Option<Section> {
    let (validation, test) = (run.summary.validation?, run.summary.test?);
    let line = |name: String, part: &Part, scores: &Scores| -> Vec<Markup> {
        vec![
            name.into(),
            part.len().to_string().into(),
            format!("{:.4}", scores.loss).into(),
            score_text(scores).into(),
        ]
    };
    let mut lines = Vec::new();
    let mut both = |when: &str, scores: &FinalScores| {
        lines.push(line(format!("validation{when}"), &run.data.validation, &scores.validation));
        lines.push(line(format!("test{when}"), &run.data.test, &scores.test));
    };
    both("", &FinalScores { validation, test });
    if let Some(before) = &run.summary.before_repair {
        both(", before the repair", before);
    }
    let same_for_all = Scores::of_f64(run.data.task, &constant(run), &run.data.test.y);
    lines.push(line("test, the same answer for everybody".into(), &run.data.test, &same_for_all));
    let mut remarks = caveats(run);
    remarks.push(precision(run, &test));
    let parts = [
        table(&["rows", "number", "loss", "score"], lines),
        list(remarks.into_iter().map(Markup::from)),
        caution(
            "The scores are about these rows. Whether they tell something about other people, places or years, no split can show.",
        ),
    ];
    Some(Section::new("scores", "Quality of the predictions", parts))
}

/// The best answer that does not look at the inputs, once for every test row: the mean of the targets fitted on, as a logit where
/// outputs are logits.
fn constant(run: &FinishedRun) -> Vec<f64> {
    let y = &run.data.fit.y;
    let mean = y.iter().map(|y| f64::from(*y)).sum::<f64>() / y.len() as f64;
    let output = match run.data.task {
        Task::Binary => (mean / (1.0 - mean)).ln(),
        Task::Regression { .. } => mean,
    };
    vec![output; run.data.test.len()]
}

fn caveats(run: &FinishedRun) -> Vec<String> {
    let accepted = |round: &Round| round.repair.as_ref().is_some_and(|repair| repair.accepted);
    let choice = if run.last_rounds().any(accepted) {
        "The last epoch of a round is delivered; whether its repair is acceptable was judged on the validation rows."
    } else {
        "The epoch was chosen on the validation rows, so their scores are somewhat too good."
    };
    let fitted = run.data.fit.len();
    let mut remarks = vec![
        choice.to_owned(),
        format!("The test rows played no part in any choice. Fitted on {fitted} rows, split “{}”.", run.data.split),
    ];
    remarks.extend(run.summary.changed_decisions.as_ref().map(|changed| changed.words(run.data.test.len())));
    remarks.extend(teacher::remark(run.config.train.distil));
    if run.last_rounds().any(|round| round.all_rows && certified(round)) {
        remarks.push(format!(
            "Then everything was settled, and the network was trained and repaired once more, on these and the validation rows \
             together ({} rows). That one is delivered and has the test scores; the validation scores are those of the network \
             before, because this one has seen the rows.",
            fitted + run.data.validation.len()
        ));
    }
    remarks
}

/// How much of a score may be chance, or what it is in the target's unit.
fn precision(run: &FinishedRun, test: &Scores) -> String {
    match (test.accuracy, &run.model.target) {
        (Some(share), _) => {
            let points = 100.0 * (share * (1.0 - share) / run.data.test.len() as f64).sqrt();
            format!(
                "With {} test rows, chance alone moves the share that is right by about {points:.1} points (one standard error). \
                 Smaller differences between two models mean nothing on this split.",
                run.data.test.len()
            )
        }
        (None, Target::Regression { column, minimum, maximum }) => {
            let error = test.loss.sqrt() * (maximum - minimum);
            format!(
                "The rmse is a typical error, as a part of the target's range; on the test rows it is {} of {column}.",
                number(error)
            )
        }
        (None, _) => "Smaller losses are better.".into(),
    }
}

fn certified(round: &Round) -> bool {
    round.delivered().is_some_and(|check| check.report.verdict.is_certified())
}

/// The least derivatives, block by block.
pub fn bounds(run: &FinishedRun) -> Option<Section> {
    let mut parts = vec![
        paragraph(
            "The network is verified in parts, called blocks, one after the other; each takes what the one before gives, in channels. \
             A block is monotone if no derivative, counted in the direction of its input, is negative anywhere in its box. Proved is the \
             lower bound. 0 means: proved not to be negative, and the search stopped there; the true value may be larger. The smallest \
             value met comes from a sample or the search and proves nothing.",
        ),
        paragraph(
            "Numbers are for scaled inputs, from 0 to 1 over their ranges, and the smallest over a block's outputs.",
        ),
    ];
    for (k, queries) in run.report.queries.iter().enumerate() {
        parts.push(heading(format!("Block {}", k + 1)));
        if queries.is_empty() {
            parts.push(paragraph("Nothing has to be proved about this block."));
            continue;
        }
        let inputs = inputs(queries);
        let bounds: Vec<Bound> = inputs.iter().map(|&input| bound(run, k, input, queries)).collect();
        let line = |(input, bound): (&usize, &Bound)| {
            let of_input = || queries.iter().filter(|query| query.query.input == *input);
            let certified = of_input().filter(|query| query.verdict.is_certified()).count();
            let met = bound.met.map_or("-".into(), |met| format!("{met:.4}"));
            let cells = [format!("{certified} of {}", of_input().count()), format!("{:.4}", bound.proved), met];
            std::iter::once(bound.name.as_str().into()).chain(cells.map(Markup::from)).collect()
        };
        let headings = ["input", "outputs certified", "proven lower bound", "smallest value met"];
        parts.push(table(&headings, inputs.iter().zip(&bounds).map(line)));
        let differ = bounds.iter().any(|bound| bound.proved != 0.0 || bound.met.is_some());
        if differ && bounds.len() <= DRAWN {
            let caption =
                "Bar: proved not to be smaller. Disc: smallest value met. Left of the upright line is the wrong side.";
            parts.push(gallery([(plots::bounds_chart(&bounds), caption.into())]));
        }
    }
    Some(Section::new("bounds", "What was proved, block by block", parts))
}

fn inputs(queries: &[QueryReport]) -> Vec<usize> {
    let mut inputs: Vec<usize> = queries.iter().map(|query| query.query.input).collect();
    inputs.sort_unstable();
    inputs.dedup();
    inputs
}

fn bound(run: &FinishedRun, k: usize, input: usize, queries: &[QueryReport]) -> Bound {
    let of_input = || queries.iter().filter(|query| query.query.input == input);
    let met = of_input().filter_map(|query| query.incumbent).fold(f64::INFINITY, f64::min);
    Bound {
        name: input_name(&run.model, k, input),
        proved: of_input().map(|query| query.lower_bound).fold(f64::INFINITY, f64::min),
        met: met.is_finite().then_some(met),
    }
}

/// The rounds, the curves, and what a repair changed.
pub fn training(run: &FinishedRun) -> Option<Section> {
    let mut parts = vec![paragraph(format!(
        "The network learns from the data and is penalised where it moves the wrong way. The weight of this penalty is lambda: it is \
             multiplied by {} and the training repeated until the network can be proved monotone. This run stopped because {}.",
        run.config.escalation.lambda_growth,
        stop_reason(&run.summary.stop_reason)
    ))];
    if run.members.len() > 1 {
        parts.push(paragraph(format!(
            "What is delivered is the mean of {} networks, trained one by one; a mean of monotone functions is monotone.",
            run.members.len()
        )));
    }
    parts.push(rounds_table(run));
    parts.extend(repairs(run));
    let mut figures = Vec::new();
    let steps: Vec<Vec<Step>> = run.members.iter().map(steps).collect();
    // A single lambda is better said than drawn.
    if steps.iter().any(|steps| steps.iter().any(|step| step.lambda != steps[0].lambda)) {
        let caption = "Lambda in each round. Disc: the round's network was certified. Cross: it was not.";
        figures.push((plots::escalation(&steps), caption.into()));
    }
    figures.extend(curves(run));
    parts.push(gallery(figures));
    if let Some(svg) = &run.repair_picture {
        let description = "The output along one input, before and after the repair";
        parts.push(heading("What the repair changed"));
        parts.push(gallery([(
            image(svg, description),
            format!("{description}: the validation row and the input, among those tried, where the network moved the wrong way most."),
        )]));
    }
    Some(Section::new("training", "How it was trained and repaired", parts))
}

fn steps(member: &Member) -> Vec<Step> {
    let step = |(k, round): (usize, &Round)| Step { round: k + 1, lambda: round.lambda, certified: certified(round) };
    member.rounds.iter().filter(|round| round.lambda > 0.0).enumerate().map(step).collect()
}

/// Every round with the number of its member, counted from 1.
fn rounds(run: &FinishedRun) -> impl Iterator<Item = (usize, &Round)> {
    run.members.iter().enumerate().flat_map(|(m, member)| member.rounds.iter().map(move |round| (m + 1, round)))
}

fn rounds_table(run: &FinishedRun) -> Markup {
    let line = |(member, round): (usize, &Round)| {
        let on_all = if round.all_rows { ", on all training rows" } else { "" };
        let verdict = round.delivered().map_or("-", |check| check.report.verdict.word());
        let cells = [
            format!("{}{on_all}", round.round + 1),
            member.to_string(),
            number(round.lambda),
            number(round.learning_rate),
            verdict.into(),
            format!("{:.1} s", round.training_s),
            format!("{:.1} s", round.verification_s),
        ];
        cells.map(Markup::from).to_vec()
    };
    let headings = ["round", "network", "lambda", "learning rate", "verdict", "training", "repair and verification"];
    table(&headings, rounds(run).map(line))
}

fn repairs(run: &FinishedRun) -> Option<Markup> {
    let line = |(member, round): (usize, &Round)| {
        let seen = if round.all_rows { "; these rows were fitted on too" } else { "" };
        let repair = round.repair.as_ref()?;
        Some(Markup::from(format!(
            "Network {member}, round {}: {}{seen}.",
            round.round + 1,
            repair_text(repair).replace("->", "to")
        )))
    };
    let lines: Vec<_> = rounds(run).filter_map(line).collect();
    (!lines.is_empty()).then(|| list(lines))
}

/// Loss and penalty over all epochs, one round after the other.
fn curves(run: &FinishedRun) -> Vec<(Markup, String)> {
    let recorded: Vec<_> =
        run.members.iter().map(|member| &member.metrics).filter(|metrics| !metrics.is_empty()).collect();
    let Some(first) = recorded.first() else { return Vec::new() };
    let begins = |k: &usize| (first[*k - 1].round, first[*k - 1].attempt) != (first[*k].round, first[*k].attempt);
    let starts: Vec<usize> = (1..first.len()).filter(begins).collect();
    let of_each = |value: fn(&train::Epoch) -> f64| -> Vec<Vec<f64>> {
        recorded.iter().map(|metrics| metrics.iter().map(|line| value(&line.record)).collect()).collect()
    };
    let losses = [("fitting", of_each(|epoch| epoch.loss)), ("validation", of_each(|epoch| epoch.validation.loss))];
    let penalty = [("penalty", of_each(|epoch| epoch.penalty))];
    let rounds = match (starts.len(), recorded.len()) {
        (0, _) => "",
        (_, 1) => " An upright line is the start of another round or attempt.",
        _ => " An upright line is the start of another round or attempt of the first network.",
    };
    let seen = match run.last_rounds().any(|round| round.all_rows) {
        true => " In the last round the validation rows were fitted on too.",
        false => "",
    };
    let yardstick = number(constant_loss(&run.data));
    let mut figures = vec![(
        plots::lines(&Axes { x: "epoch", y: "loss" }, &losses, &starts),
        format!("Loss over the epochs; with the same answer for everybody it would be {yardstick}.{rounds}{seen}"),
    )];
    // Without a weight it is not even computed.
    if run.members.iter().flat_map(|member| &member.metrics).any(|line| line.record.penalty > 0.0) {
        figures.push((
            plots::lines(&Axes { x: "epoch", y: "penalty" }, &penalty, &starts),
            format!("Penalty for moving the wrong way, without its weight lambda.{rounds}"),
        ));
    }
    figures
}

/// Where the data and the model come from.
pub fn card(run: &FinishedRun) -> Option<Section> {
    let FinishedRun { data, manifest, record, model, .. } = run;
    let files = manifest.continued.iter().map(|continued| &continued.file);
    let files: Vec<String> =
        std::iter::once(&manifest.file).chain(files).map(|file| file.display().to_string()).collect();
    let split = match data.split_seed {
        Some(seed) => format!("{}, drawn with seed {seed}", data.split),
        None => data.split.clone(),
    };
    let mut about_data: Vec<(&str, Markup)> = vec![
        ("data set", format!("{} ({})", data.title, data.name).into()),
        ("source", manifest.source.text.as_str().into()),
    ];
    about_data.extend(manifest.source.url.iter().map(|url| ("address", url.as_str().into())));
    about_data.extend([
        ("licence", manifest.licence.as_str().into()),
        ("file", files.join(", ").into()),
        ("SHA-256 of the data", code(data.sha256.as_str())),
        (
            "rows",
            format!("{} to fit, {} to validate, {} to test", data.fit.len(), data.validation.len(), data.test.len())
                .into(),
        ),
        ("split", split.into()),
        ("target", target(&model.target).into()),
    ]);
    let hardware = &record.hardware;
    let processor = hardware.processor.as_deref().unwrap_or("unknown processor");
    let networks =
        if run.config.ensemble > 1 { format!("mean of {} networks, ", run.config.ensemble) } else { String::new() };
    let about_model: Vec<(&str, Markup)> = vec![
        (
            "network",
            format!("{networks}{} blocks, {} parameters", model.network.blocks().len(), model.network.parameters())
                .into(),
        ),
        ("fingerprint", code(model.sha256())),
        ("seed", record.seed.to_string().into()),
        ("program", format!("orchestrator {} (commit {})", record.program, record.commit).into()),
        ("this page", format!("orchestrator {} (commit {})", env!("CARGO_PKG_VERSION"), env!("BUILD_COMMIT")).into()),
        (
            "computer",
            format!("{processor}, {} threads, {} {}", hardware.threads, hardware.system, hardware.architecture).into(),
        ),
        ("time", format!("{:.1} s", run.summary.seconds).into()),
    ];
    let parts = [heading("Data"), facts(about_data), heading("Model"), facts(about_model)];
    Some(Section::new("card", "Data and model", parts))
}

fn target(target: &Target) -> String {
    match target {
        Target::Binary { column, positive } => format!("whether {column} is {positive}"),
        Target::Regression { column, minimum, maximum } => {
            format!("{column}, scaled from {} to {}", number(*minimum), number(*maximum))
        }
        Target::Classes { column, classes } => format!("{column}: {}", classes.join(", ")),
    }
}

/// Everything that was set, by whomever.
pub fn settings(run: &FinishedRun) -> Option<Section> {
    let overrides = match run.record.overrides.as_slice() {
        [] => paragraph("Nothing was overridden on the command line."),
        overrides => {
            let lines: Vec<String> = overrides.iter().map(|text| format!("--set {text}")).collect();
            Markup::from([paragraph("Overridden on the command line:"), listing(lines.join("\n"))])
        }
    };
    let parts = [overrides, paragraph("The configuration with all defaults:"), listing(run.config.to_toml())];
    Some(Section::new("settings", "Settings", parts))
}
