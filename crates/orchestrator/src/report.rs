//! `report.md`: what was found out, for people.

use std::fmt::Write;

use certificate::exact::approximate;
use certificate::{Checked, Counterexample, Direction, Domain, Interval, Model, Specification, Target, Verdict};
use milp::{NetworkReport, RepairEnd};
use serde::{Deserialize, Serialize};
use train::Scores;
use train::data::{DataSet, DomainKind};

use crate::config::Config;
use crate::ensemble::Delivery;
use crate::escalation::{Round, StopReason};
use crate::picture::{self, Slice};
use crate::repair::{self, ChangedDecisions, Repair};
use crate::teacher;

/// Writing to a string cannot fail.
macro_rules! line {
    ($text:expr, $($format:tt)*) => { writeln!($text, $($format)*).expect("a string takes everything") };
}

/// The scores of the network delivered, computed in `f64` from the exported weights.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct FinalScores {
    /// On the validation rows; of a network that was fitted on them, that of the one before.
    pub validation: Scores,
    /// On the test rows.
    pub test: Scores,
}

impl FinalScores {
    /// Evaluates the exported network on both parts; on the validation rows the one `validated` there, if it is another.
    pub fn of(model: &Model, validated: Option<&Model>, data: &DataSet) -> Self {
        let score = |model: &Model, part| repair::scores(&model.network, part, data);
        Self { validation: score(validated.unwrap_or(model), &data.validation), test: score(model, &data.test) }
    }
}

/// What the network delivered is worth.
pub struct Results {
    /// Its scores.
    pub scores: FinalScores,
    /// Those before its repair, if it was repaired.
    pub before_repair: Option<FinalScores>,
    /// The test rows that it made the network decide otherwise.
    pub changed_decisions: Option<ChangedDecisions>,
    /// Whether it is the last epoch's, and not the one with the best score.
    pub last_epoch: bool,
    /// Whether it was fitted on the validation rows too.
    pub all_rows: bool,
    /// What the repair changed most visibly; its picture lies beside the report.
    pub slice: Option<Slice>,
}

/// The whole report, in Markdown.
pub fn render(
    config: &Config,
    data: &DataSet,
    delivery: &Delivery,
    model: &Model,
    report: &NetworkReport,
    results: &Results,
) -> String {
    let mut text = String::new();
    verdict(&mut text, config, data, delivery, &report.verdict);
    scores_table(&mut text, config, data, results);
    if let Some(slice) = &results.slice {
        repair_picture(&mut text, data, slice);
    }
    bounds_tables(&mut text, model, report);
    history(&mut text, &delivery.members);
    claims(&mut text, config, model);
    text
}

/// The domain and the directions that a certificate is about, in the raw units of the model's features.
pub fn domain_and_directions(model: &Model, checked: &Checked) -> String {
    let mut text = String::new();
    let sides = checked.domain.input_box();
    for (j, feature) in model.features.iter().enumerate() {
        let (lower, upper) = (feature.raw(sides[j].lower), feature.raw(sides[j].upper));
        let direction = word(checked.specification.directions.0[j]);
        let kind = if checked.domain.one_hot().iter().flatten().any(|&member| member == j) {
            ", one of its group"
        } else if checked.domain.integer().iter().any(|integer| integer.input == j) {
            ", whole numbers"
        } else {
            ""
        };
        line!(text, "  {} from {lower} to {upper}{kind}: {direction}", feature.name);
    }
    for (r, _) in checked.specification.rows.as_combinations().into_iter().flatten().enumerate() {
        line!(text, "  claimed is {}", checked.specification.rows.describe(r));
    }
    for difference in differences(model, &checked.domain, &checked.specification) {
        line!(text, "WARNING: {difference}.");
    }
    text
}

/// In which ways a claim is not the one that the model file itself makes, in words.
pub fn differences(model: &Model, domain: &Domain, specification: &Specification) -> Vec<String> {
    let mut differences = Vec::new();
    if *domain != model.domain {
        let inside = |(stated, own): (&Interval, &Interval)| own.lower <= stated.lower && stated.upper <= own.upper;
        let sides = || domain.input_box().iter().zip(model.domain.input_box());
        let what = if domain.input_box() == model.domain.input_box() {
            "other one-hot groups or whole numbers"
        } else if sides().all(inside) {
            "smaller ranges"
        } else if sides().all(|(stated, own)| inside((own, stated))) {
            "larger ranges"
        } else {
            "other ranges"
        };
        differences.push(format!("this is about {what} than the model file states"));
    }
    let own = model.features.iter().map(|feature| feature.direction);
    let changed =
        model.features.iter().zip(own.zip(&specification.directions.0)).filter(|(_, (own, found))| own != *found);
    let changed: Vec<_> = changed
        .map(|(feature, (own, found))| format!("{} is {} here and {} there", feature.name, word(*found), word(own)))
        .collect();
    if !changed.is_empty() {
        differences.push(format!("these are not the directions that the model file states: {}", changed.join(", ")));
    }
    if !specification.rows.are_outputs() {
        differences.push("this is about combinations of the outputs only, not about every output by itself".into());
    }
    differences
}

/// What an input of block `k` is called.
pub fn input_name(model: &Model, k: usize, input: usize) -> String {
    if k == 0 { model.features[input].name.clone() } else { format!("channel {}", input + 1) }
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Increasing => "increasing",
        Direction::Decreasing => "decreasing",
        Direction::Free => "free",
    }
}

fn verdict(text: &mut String, config: &Config, data: &DataSet, delivery: &Delivery, verdict: &Verdict) {
    line!(text, "# {}: {}\n", config.name, headline(verdict));
    line!(text, "{}\n", data.title);
    match verdict {
        Verdict::Certified { .. } => {
            line!(
                text,
                "For every pair of inputs of the domain that differ only in the features below, moved in their"
            );
            line!(
                text,
                "direction, the output does not move the other way. Every block of the network was proved to have"
            );
            line!(text, "this property.\n");
        }
        Verdict::Refuted(pair) => counterexample(text, data, pair),
        Verdict::Undecided { limit, .. } => {
            line!(text, "Neither a proof nor a counterexample of the whole network was found ({}).\n", reason(limit));
        }
    }
    line!(text, "| feature | direction |\n|---|---|");
    for feature in data.features.iter().filter(|f| f.direction != Direction::Free) {
        let (direction, range) = (word(feature.direction), feature.range);
        line!(text, "| {} ({} to {}) | {direction} |", feature.name, range.lower, range.upper);
    }
    line!(text, "\nThe run stopped because {}.\n", stop_reason(&delivery.stop));
}

fn headline(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Certified { .. } => "certified monotone",
        Verdict::Refuted(_) => "NOT monotone",
        Verdict::Undecided { .. } => "not certified",
    }
}

/// Why nothing was shown, as the end of a sentence.
pub fn reason(limit: &certificate::Limit) -> String {
    match limit {
        certificate::Limit::Time => "the time limit was reached".into(),
        certificate::Limit::Nodes => "the node limit was reached".into(),
        certificate::Limit::Interrupted => "the verification was stopped".into(),
        certificate::Limit::Composition => {
            "a block is not monotone on its own box, which does not settle the whole network".into()
        }
        certificate::Limit::Numerical(detail) => format!("numerical trouble: {detail}"),
    }
}

/// Why a run ended, as the end of a sentence.
pub fn stop_reason(stop: &StopReason) -> String {
    match stop {
        StopReason::Certified => "every block certifies".into(),
        StopReason::LambdaLimit(limit) => format!("lambda would have grown above its limit {limit}"),
        StopReason::RoundLimit(limit) => format!("the limit of {limit} rounds was reached"),
        StopReason::TimeLimit(limit) => format!("its {limit} seconds were used up"),
        StopReason::Interrupted => "it was interrupted; go on with --resume".into(),
        StopReason::NoEscalation => "a baseline, there was nothing to escalate".into(),
    }
}

fn counterexample(text: &mut String, data: &DataSet, pair: &Counterexample) {
    line!(
        text,
        "The two inputs below differ in **{}** only, moved in its direction, and the output",
        data.features[pair.input].name
    );
    line!(text, "falls by {:.3e} (computed without rounding).\n", approximate(&pair.drop));
    line!(text, "| feature | first | second |\n|---|---|---|");
    for (j, feature) in data.features.iter().enumerate() {
        let [a, b] = [&pair.lower[j], &pair.upper[j]].map(|x| feature.raw(approximate(x)));
        line!(text, "| {} | {a} | {b} |", feature.name);
    }
    line!(text, "");
}

fn scores_table(text: &mut String, config: &Config, data: &DataSet, results: &Results) {
    line!(text, "## Quality of the predictions\n");
    line!(text, "| rows | number | loss | score |\n|---|---|---|---|");
    let mut rows = |when: &str, scores: &FinalScores| {
        for (name, part, score) in
            [("validation", &data.validation, scores.validation), ("test", &data.test, scores.test)]
        {
            line!(text, "| {name}{when} | {} | {:.4} | {} |", part.len(), score.loss, score_text(&score));
        }
    };
    rows("", &results.scores);
    if let Some(before) = &results.before_repair {
        rows(", before the repair", before);
    }
    let choice = match results.last_epoch {
        true => {
            "The last epoch of a round is delivered; whether its repair is acceptable was judged on the validation rows"
        }
        false => "The epoch was chosen on the validation rows",
    };
    line!(
        text,
        "\n{choice}. The test rows played no part in any choice. Fitted on {} rows, split `{}`.\n",
        data.fit.len(),
        data.split
    );
    if let Some(changed) = &results.changed_decisions {
        line!(text, "{}\n", changed.words(data.test.len()));
    }
    if let Some(remark) = teacher::remark(config.train.distil) {
        line!(text, "{remark}\n");
    }
    if results.all_rows {
        line!(
            text,
            "Then everything was settled, and the network was trained and repaired once more, on these and the validation"
        );
        line!(
            text,
            "rows together ({} rows). That one is delivered and has the test scores; the validation scores are those of the",
            data.fit.len() + data.validation.len()
        );
        line!(text, "network before, because this one has seen the rows.\n");
    }
}

fn repair_picture(text: &mut String, data: &DataSet, slice: &Slice) {
    line!(text, "## What the repair changed\n");
    line!(text, "![The output along one feature, before and after the repair]({})\n", picture::FILE);
    line!(
        text,
        "The output along {} for one validation row whose other features stay as they are: the row and the feature,",
        data.features[slice.feature].name
    );
    line!(text, "among those tried, where the network moved the wrong way most before the repair.\n");
}

/// What a repair did, in a few words.
pub fn repair_text(repair: &Repair) -> String {
    let cost = format!(
        "validation loss {:.4} -> {:.4}, {} -> {}, {:.1} s",
        repair.before.loss,
        repair.after.loss,
        score_text(&repair.before),
        score_text(&repair.after),
        repair.seconds
    );
    match &repair.end {
        RepairEnd::Certified if repair.cuts() == 0 => "monotone as trained: nothing was repaired".into(),
        RepairEnd::Certified if repair.accepted => {
            format!("repaired: {} violated activation patterns cut off; {cost}", repair.cuts())
        }
        RepairEnd::Certified => {
            format!("the repair costs too much ({} patterns cut off; {cost}): a larger lambda is needed", repair.cuts())
        }
        RepairEnd::Infeasible { block, row, input } => {
            format!(
                "no repair: the conditions on output {} of block {} contradict each other in input {}",
                row + 1,
                block + 1,
                input + 1
            )
        }
        RepairEnd::Undecided { queries, limit } => {
            let names = queries
                .iter()
                .take(5)
                .map(|(block, q)| format!("block {} output {} input {}", block + 1, q.row + 1, q.input + 1));
            let more = if queries.len() > 5 { ", ..." } else { "" };
            format!(
                "no repair ({}); {} queries are open: {}{more}",
                reason(limit),
                queries.len(),
                names.collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// The score in words.
pub fn score_text(scores: &Scores) -> String {
    match (scores.accuracy, scores.rmse) {
        (Some(accuracy), _) => format!("{:.2} % right", 100.0 * accuracy),
        (_, Some(rmse)) => format!("rmse {rmse:.4}"),
        _ => String::new(),
    }
}

fn bounds_tables(text: &mut String, model: &Model, report: &NetworkReport) {
    line!(text, "## What was proved, block by block\n");
    line!(text, "Least derivative of a block's outputs in each monotone input, in the input's direction and in scaled");
    line!(
        text,
        "units. The proof is the lower bound; the smallest value met is a sample and proves nothing. Later blocks"
    );
    line!(text, "take the outputs of the one before, called channels.\n");
    for (k, queries) in report.queries.iter().enumerate() {
        line!(text, "### Block {}\n", k + 1);
        line!(text, "| input | outputs certified | proven lower bound | smallest value met |\n|---|---|---|---|");
        let mut inputs: Vec<usize> = queries.iter().map(|q| q.query.input).collect();
        inputs.dedup();
        for input in inputs {
            let of_input = || queries.iter().filter(move |q| q.query.input == input);
            let certified = of_input().filter(|q| q.verdict.is_certified()).count();
            let bound = of_input().map(|q| q.lower_bound).fold(f64::INFINITY, f64::min);
            let met = of_input().filter_map(|q| q.incumbent).fold(f64::INFINITY, f64::min);
            let met = if met.is_finite() { format!("{met:.4}") } else { "-".into() };
            let name = input_name(model, k, input);
            line!(text, "| {name} | {certified} of {} | {bound:.4} | {met} |", of_input().count());
        }
        line!(text, "");
    }
}

fn history(text: &mut String, members: &[Vec<Round>]) {
    line!(text, "## Rounds\n");
    if members.len() > 1 {
        line!(
            text,
            "The network delivered is the mean of {} networks, trained one by one. A sum of monotone",
            members.len()
        );
        line!(text, "functions is monotone: the proof above holds the proofs of all members, side by side, and a last");
        line!(text, "block that adds their outputs with positive weights. No query was about two members together.\n");
    }
    line!(
        text,
        "| member | round | lambda | learning rate | epochs verified | verdict | training | repair and verification |"
    );
    line!(text, "|---|---|---|---|---|---|---|---|");
    for (member, round) in members.iter().enumerate().flat_map(|(m, rounds)| rounds.iter().map(move |r| (m + 1, r))) {
        let verdict = round.delivered().map_or("-", |check| check.report.verdict.word());
        let Round { lambda, learning_rate, checks, training_s, verification_s, during_training, .. } = round;
        let counts = during_training;
        let verified = match counts.refuted_by_samples + counts.verified {
            0 => checks.len().to_string(),
            looked_at => format!("{looked_at}, {} certified", counts.certified),
        };
        line!(
            text,
            "| {member} | {}{} | {lambda} | {learning_rate} | {verified} | {verdict} | {training_s:.1} s | {verification_s:.1} s |",
            round.round + 1,
            if round.all_rows { ", on all training rows" } else { "" }
        );
    }
    line!(text, "");
    for (member, rounds) in members.iter().enumerate() {
        for round in rounds {
            if let Some(repair) = &round.repair {
                let whose = if members.len() > 1 { format!("Member {}, round", member + 1) } else { "Round".into() };
                let seen = if round.all_rows { "; these rows were fitted on too" } else { "" };
                line!(text, "- {whose} {}: {}{seen}.", round.round + 1, repair_text(repair));
            }
        }
    }
    line!(text, "");
}

fn claims(text: &mut String, config: &Config, model: &Model) {
    let domain = match config.data.domain {
        DomainKind::Box => "every input from its smallest to its largest value, independently of the others",
        DomainKind::OneHot => "every input in its range, exactly one category of each column",
        DomainKind::OneHotInteger => "every input in its range, exactly one category of each column, whole numbers",
    };
    let output = match &model.target {
        Target::Binary { column, positive } => format!("the logit of the probability that {column} is {positive}"),
        Target::Regression { column, .. } => format!("the prediction of {column}"),
        Target::Classes { column, .. } => format!("one score for each class of {column}"),
    };
    line!(text, "## What is claimed, and what is not\n");
    line!(text, "- Output: {output}. Domain: {domain}.");
    line!(
        text,
        "- The claim is about real numbers and the network whose weights are exactly the stored ones. A computer"
    );
    line!(
        text,
        "  that evaluates the network rounds; steps of about one millionth of a range can show a wiggle in the last"
    );
    line!(text, "  digits.");
    line!(
        text,
        "- Proofs and counterexamples rest on no solver and on no rounding: `certificate.jsonl` holds all steps, and"
    );
    line!(
        text,
        "  a small program checked them in exact arithmetic before this report was written. Check them again with"
    );
    line!(text, "  `orchestrator check certificate.jsonl model.safetensors`.");
    line!(text, "- Nothing is claimed about inputs outside the domain, nor about the data or the world.");
    line!(
        text,
        "\nModel: `model.safetensors`, SHA-256 of its content `{}`, {} parameters.",
        model.sha256(),
        model.network.parameters()
    );
}
