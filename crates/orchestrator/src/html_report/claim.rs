//! What is claimed of the network, about which inputs, and how to check it.

use certificate::{Checked, Conclusion, Direction, Target, Verdict};
use train::data::{DomainKind, FeatureKind};

use super::finished_run::{FinishedRun, MODEL};
use super::inputs::{Line, inputs_table};
use super::markup::{Markup, Section, banner, caution, code, facts, heading, list, listing, paragraph, strong};
use super::response::{Answer, monotone};
use crate::report::{reason, score_text};
use crate::{certification, exit_code};

/// The answer in a few words.
pub fn headline(run: &FinishedRun) -> &'static str {
    match &run.report.verdict {
        Verdict::Certified { .. } if monotone(&run.model).is_empty() => "nothing was claimed",
        Verdict::Certified { .. } => "proved to be monotone",
        Verdict::Refuted(_) => "proved NOT to be monotone",
        Verdict::Undecided { .. } => "not certified",
    }
}

/// The answer first: in plain words, with the scores.
pub fn verdict(run: &FinishedRun) -> Markup {
    let mut parts = vec![paragraph(run.data.title.as_str())];
    parts.push(match &run.report.verdict {
        Verdict::Certified { .. } if monotone(&run.model).is_empty() => {
            paragraph("No input of this model has a direction, so its certificate is empty: it says nothing.")
        }
        Verdict::Certified { .. } => paragraph(
            "For every input within the ranges below, and not only for those in the data, this was proved of the model:",
        ),
        Verdict::Refuted(pair) => paragraph(format!(
            "There are two inputs that differ in {} alone and for \
             which the output goes the wrong way; they are drawn under “Counterexamples”. Nobody may say that this model is monotone.",
            run.model.features[pair.input].name
        )),
        Verdict::Undecided { limit, .. } => paragraph(format!(
            "Whether the statements below hold is not known: neither a proof nor a counterexample was found ({}). Nobody may say \
             that this model is monotone.",
            reason(limit)
        )),
    });
    parts.push(list(statements(run)));
    parts.push(paragraph(format!(
        "On test rows, which played no part in any choice: {}. A certificate says nothing about how good the predictions are.",
        run.summary.test.as_ref().map_or("no score".into(), score_text)
    )));
    let title = format!("{}: {}", run.config.name, headline(run));
    banner(run.report.verdict.word(), &title, parts)
}

/// One sentence for each feature with a direction, in words that nobody can take for a claim where nothing was proved.
fn statements(run: &FinishedRun) -> Vec<Markup> {
    let answer = Answer::of(&run.model).name();
    let statement = |&j: &usize| {
        let name = run.model.features[j].name.as_str();
        let rises = run.model.features[j].direction == Direction::Decreasing;
        let rest = match (&run.report.verdict, rises) {
            (Verdict::Certified { .. }, false) => format!(" grows, {answer} never falls."),
            (Verdict::Certified { .. }, true) => format!(" grows, {answer} never rises."),
            (_, false) => format!(" grows, {answer} should never fall: "),
            (_, true) => format!(" grows, {answer} should never rise: "),
        };
        let end = match &run.report.verdict {
            Verdict::Certified { .. } => "".into(),
            Verdict::Refuted(pair) if pair.input == j => strong("it does."),
            Verdict::Refuted(_) | Verdict::Undecided { .. } => "not proved.".into(),
        };
        Markup::from(["If nothing but ".into(), strong(name), rest.into(), end])
    };
    monotone(&run.model).iter().map(statement).collect()
}

/// What is claimed, and what is not.
pub fn claimed(run: &FinishedRun) -> Option<Section> {
    let yes = match &run.report.verdict {
        Verdict::Certified { .. } => "What is claimed",
        _ => "What would have been claimed",
    };
    let parts = [
        heading(yes),
        list(claims(run)),
        heading("What is not claimed"),
        list(
            [
                "That the model is accurate. A model that gives everybody the same answer has a certificate.",
                "That it is fair, and nothing about cause and effect.",
                "Anything about inputs outside the ranges. Whoever uses the model has to notice them.",
                "Anything about the data, or about what is done to the inputs before the model and to its answer after it.",
                "The last digits on a computer. The proof is about the model's formula with exactly the stored weights, calculated \
                 without rounding; a computer rounds every step, and steps of about one millionth of a range can show a wiggle.",
            ]
            .map(Markup::from),
        ),
    ];
    Some(Section::new("claims", "What is claimed, and what is not", parts))
}

fn claims(run: &FinishedRun) -> Vec<Markup> {
    let domain = match run.config.data.domain {
        DomainKind::Box => {
            "It is about every input in its range, independently of the others, whether such a case is plausible or not: also \
             about parts of whole numbers and about mixtures of categories."
        }
        DomainKind::OneHot => {
            "It is about every input in its range and exactly one category of each column, whether such a case is plausible or \
             not: also about parts of whole numbers."
        }
        DomainKind::OneHotInteger => {
            "It is about every input in its range, exactly one category of each column and whole numbers where there are whole \
             numbers, whether such a case is plausible or not."
        }
    };
    let output = match &run.model.target {
        Target::Binary { column, positive } => format!(
            "The output is the logit of the probability that {column} is {positive}. The probability itself rises and falls with it, \
             and so does every decision by a threshold that is the same for all."
        ),
        Target::Regression { column, .. } => format!("The output is the prediction of {column}."),
        Target::Classes { column, .. } => format!("The outputs are one score for each class of {column}."),
    };
    let words = [
        "“Never falls” and “never rises” allow that the output stays the same. They include that \
         several of these inputs change at once, each in its direction. Inputs called free may act in any way.",
        domain,
        &output,
    ];
    let proved = "This is a proof and not a test on samples: if it is valid, there is no exception left to find.";
    let proved = run.report.verdict.is_certified().then_some(proved);
    words.into_iter().chain(proved).map(Markup::from).collect()
}

/// How anybody checks it without trusting those who made it.
pub fn recheck(run: &FinishedRun) -> Option<Section> {
    let mut parts = Vec::new();
    match &run.checked {
        Some(checked) => {
            let what = match checked.conclusion {
                Conclusion::Certified => "the proof",
                _ => "the counterexample",
            };
            parts.push(paragraph(format!(
                "Before this page was written, a small program that shares no code with the search read {what} and found it valid, in \
                 exact arithmetic. Check it again, on any computer and without the data:"
            )));
        }
        None => parts.push(caution("The run is undecided, so there is no proof to check.")),
    }
    if run.certificate_sha256.is_some() {
        let files = [certification::FILE, MODEL].map(|name| quoted(&run.file(name)));
        parts.push(listing(format!("orchestrator check {}", files.join(" "))));
        let status = match run.report.verdict {
            Verdict::Certified { .. } => exit_code::CERTIFIED,
            Verdict::Refuted(_) => exit_code::REFUTED,
            Verdict::Undecided { .. } => exit_code::UNDECIDED,
        };
        let answer = run.checked.as_ref().map_or("This certificate proves nothing".into(), Checked::to_string);
        parts.push(paragraph([
            "It has to answer “".into(),
            strong(answer.split('.').next().unwrap_or_default()),
            format!("” with exit status {status}, and to list the ranges and directions that stand below.").into(),
        ]));
    }
    parts.push(paragraph("Whether these are the files that this page is about, their fingerprints say:"));
    let hash = |text: &str| code(text);
    let mut fingerprints = vec![
        ("model, as the certificate names it", hash(&run.model.sha256())),
        ("file model.safetensors", hash(&run.model_file_sha256)),
    ];
    if let Some(sha256) = &run.certificate_sha256 {
        fingerprints.push(("file certificate.jsonl", hash(sha256)));
    }
    parts.push(facts(fingerprints));
    parts.push(paragraph([
        "All are SHA-256; ".into(),
        code("sha256sum FILE"),
        " prints that of a file. The model in use has to be this one: one that differs in a single digit has another fingerprint."
            .into(),
    ]));
    Some(Section::new("check", "Check it yourself", parts))
}

/// A path or an argument as a shell takes it.
pub fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=,".contains(c);
    if path.chars().all(plain) { path.into() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

/// Every input with its direction and range.
pub fn features(run: &FinishedRun) -> Option<Section> {
    let row = |(j, feature): (usize, &certificate::ModelFeature)| {
        let (side, direction) = (run.model.domain.input_box()[j], feature.direction);
        let range = match &run.data.features[j].kind {
            FeatureKind::Category { .. } => "one of the categories".into(),
            kind => {
                let whole =
                    if matches!(kind, FeatureKind::Integer { .. }) { ", whole numbers in the data" } else { "" };
                let scale = if feature.scale.is_linear() { "" } else { ", on a scale of ln(1 + x)" };
                format!("{} to {}{whole}{scale}", run.raw(j, side.lower), run.raw(j, side.upper))
            }
        };
        let name =
            if direction == Direction::Free { feature.name.as_str().into() } else { strong(feature.name.as_str()) };
        let cells = vec![name, direction_words(direction).into(), range.into(), status(run, j, direction).into()];
        Line { free: direction == Direction::Free, cells }
    };
    let lines = run.model.features.iter().enumerate().map(row).collect();
    let headings = ["input", "the output must", "range", "result"];
    let about = "nothing is claimed about them, but whatever is claimed holds only while they are in their ranges";
    let mut parts = vec![inputs_table(&headings, lines, about)];
    for feature in run.data.features.iter().filter(|feature| feature.clamped > 0) {
        parts.push(caution(format!(
            "In {} rows of the data {} lies outside its range and was moved to its end.",
            feature.clamped, feature.name
        )));
    }
    Some(Section::new("features", "Inputs, directions and ranges", parts))
}

fn direction_words(direction: Direction) -> &'static str {
    match direction {
        Direction::Increasing => "not fall when it grows",
        Direction::Decreasing => "not rise when it grows",
        Direction::Free => "(free)",
    }
}

fn status(run: &FinishedRun, feature: usize, direction: Direction) -> &'static str {
    match &run.report.verdict {
        _ if direction == Direction::Free => "nothing claimed",
        Verdict::Certified { .. } => "proved",
        Verdict::Refuted(pair) if pair.input == feature => "counterexample",
        Verdict::Refuted(_) | Verdict::Undecided { .. } => "not proved",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_the_shell() {
        assert_eq!(quoted("runs/compas/001/model.safetensors"), "runs/compas/001/model.safetensors");
        assert_eq!(quoted("my runs/it's $HOME"), r"'my runs/it'\''s $HOME'");
    }
}
