use std::fmt::Write;
use std::path::Path;

use train::data::Part;
use train::smooth::{ErrorTree, Loss, OutputActivation, Relu, Score, Scores};

use super::count::Counted;
use super::{Findings, Summary, picture};

/// A relative error above this is large.
const LARGE_ERROR: f64 = 0.2;

/// Writing to a string cannot fail.
macro_rules! line {
    ($text:expr, $($format:tt)*) => { writeln!($text, $($format)*).expect("a string takes everything") };
}

/// The relative errors of the delivered network, and where the large ones are.
pub struct Errors {
    train: Vec<f64>,
    test: Vec<f64>,
    train_tree: ErrorTree,
    test_tree: ErrorTree,
}

impl Errors {
    /// None for classes.
    pub fn of(findings: &Findings) -> Option<Self> {
        let Findings { config, data, problem, best, .. } = findings;
        if config.smooth.loss.of_classes() {
            return None;
        }
        let errors = |part: &Part| problem.relative_errors(&best.parameters, Relu::Exact, part);
        let tree = |part: &Part, errors: &[f64]| {
            ErrorTree::grow(data, part, &errors.iter().map(|error| *error > LARGE_ERROR).collect::<Vec<_>>())
        };
        let (train, test) = (errors(&data.fit), errors(&data.test));
        let (train_tree, test_tree) = (tree(&data.fit, &train), tree(&data.test, &test));
        Some(Self { train, test, train_tree, test_tree })
    }

    /// Names and contents of the pictures beside the report.
    pub fn pictures(&self) -> Vec<(&'static str, String)> {
        vec![
            ("errors.svg", picture::box_plots(&[("train", &self.train), ("test", &self.test)])),
            ("error_tree_train.svg", picture::tree(&self.train_tree)),
            ("error_tree_test.svg", picture::tree(&self.test_tree)),
        ]
    }
}

/// The whole report, in Markdown.
pub fn render(findings: &Findings, errors: Option<&Errors>) -> String {
    let Findings { config, data, summary, .. } = findings;
    let starts = &summary.starts;
    let mut text = String::new();
    line!(text, "# {}: best objective {:.4} of {} starts\n", config.name, starts.best_objective, starts.starts);
    line!(
        text,
        "- Best: {:.4}, start {}; norm of the gradient {:.1e}.",
        starts.best_objective,
        starts.best,
        summary.gradient_norm
    );
    line!(text, "- Median: {:.4}.", starts.median_objective);
    let percent = 100.0 * starts.within_one_percent as f64 / starts.starts as f64;
    line!(
        text,
        "- Within 1 % of the best: {} of {} starts ({percent:.0} %).",
        starts.within_one_percent,
        starts.starts
    );
    line!(
        text,
        "- On the plateau, where everybody gets the same answer: {}. Failed: {}.",
        starts.plateau,
        starts.failed
    );
    if summary.status != "finished" {
        line!(text, "- Interrupted: of {} starts asked for, {} had finished.", config.smooth.starts, starts.starts);
    }
    line!(text, "\n## Scores of the best\n");
    scores_table(&mut text, summary);
    line!(
        text,
        "\nThe best is the start with the smallest objective on the {} rows to fit on. Nothing was chosen with the {} test rows. \
         The network in `model.safetensors` is the one with exact ReLU; both have the same weights.",
        data.fit.len(),
        data.test.len()
    );
    if let Some(counted) = &summary.counted {
        line!(text, "\n## The last layer with the fewest errors\n\n{}", counted_text(counted));
    }
    if let Some(errors) = errors {
        large_errors(&mut text, errors);
    }
    programme(&mut text, findings);
    text
}

fn counted_text(counted: &Counted) -> String {
    let Counted { wrong_before, wrong, at_least, train, test, seconds } = counted;
    let optimal = if wrong == at_least { ", and no other one has fewer" } else { "" };
    format!(
        "With the layers before it as they are, {wrong} instead of {wrong_before} of the rows to fit on are not right by the margin \
         (the solver: at least {at_least}{optimal}; {seconds:.0} s). {:.2} % of them are right, and {:.2} % of the test rows. In \
         `counted.safetensors`.",
        100.0 * train,
        100.0 * test
    )
}

fn scores_table(text: &mut String, summary: &Summary) {
    line!(text, "| network | train | test |\n|---|---|---|");
    for (name, Scores { train, test }) in rows(summary) {
        line!(text, "| {name} | {} | {} |", score_text(train), score_text(test));
    }
}

fn rows(summary: &Summary) -> [(&'static str, Scores); 2] {
    [("smooth ReLU", summary.smooth), ("exact ReLU", summary.relu)]
}

fn score_text(score: Score) -> String {
    match score {
        Score::Accuracy(share) => format!("{:.2} % right", 100.0 * share),
        Score::RelativeError { mean, median, largest } => {
            let [mean, median, largest] = [mean, median, largest].map(|error| 100.0 * error);
            format!("relative error {mean:.2} % (median {median:.2} %, largest {largest:.1} %)")
        }
    }
}

fn large_errors(text: &mut String, errors: &Errors) {
    line!(text, "\n## Relative errors of the exact-ReLU network\n");
    line!(text, "![box plots](errors.svg)\n");
    line!(
        text,
        "Box: quartiles and median. Whiskers: the outermost values within one and a half times the box's height. Circles: values \
         beyond. Cross: mean."
    );
    for (part, tree) in [("train", &errors.train_tree), ("test", &errors.test_tree)] {
        line!(text, "\n## Where the error is above {:.0} %: {part}\n", 100.0 * LARGE_ERROR);
        line!(text, "```\n{tree}```\n\n![tree](error_tree_{part}.svg)");
    }
    line!(text, "\nThe trees describe the rows they were grown on; they predict nothing.");
}

fn programme(text: &mut String, findings: &Findings) {
    let Findings { config, data, summary, .. } = findings;
    let smooth = &config.smooth;
    let loss = match smooth.loss {
        Loss::LeastSquares => "(output - y)^2",
        Loss::ExpectedCorrect => "-softmax(outputs)_y",
        Loss::CrossEntropy => "-ln softmax(outputs)_y",
    };
    let output = match config.network.output {
        OutputActivation::Relu => "ReLU",
        OutputActivation::Linear => "linear",
    };
    let hidden = config.network.hidden.iter().map(|width| format!("{width}-")).collect::<String>();
    let outputs = if smooth.loss.of_classes() { 2 } else { 1 };
    line!(text, "\n## The programme\n");
    line!(
        text,
        "Minimise the sum of {loss} over the rows plus {} times the squares of all {} weights and biases of a {}-{hidden}{outputs} network \
         with {output} output, ReLU in its hyperbolic form (t + sqrt(t^2 + {})) / 2; L-BFGS from {} points, at most {} iterations \
         each, seed {}.",
        smooth.weight_decay,
        summary.parameters,
        data.features.len(),
        smooth.epsilon,
        smooth.starts,
        smooth.iterations,
        config.seed
    );
    line!(
        text,
        "\nData: {}, split `{}`, SHA-256 {}. Every start is in `starts.json`.",
        data.title,
        data.split,
        data.sha256
    );
}

/// What is printed.
pub fn summary_text(summary: &Summary, report: &Path) -> String {
    let starts = &summary.starts;
    let mut text = String::new();
    line!(text, "best        {:.4} (start {} of {})", starts.best_objective, starts.best, starts.starts);
    line!(text, "median      {:.4}", starts.median_objective);
    line!(
        text,
        "starts      {} within 1 % of the best, {} on the plateau, {} failed",
        starts.within_one_percent,
        starts.plateau,
        starts.failed
    );
    for (name, Scores { train, test }) in rows(summary) {
        line!(text, "{name:<11} train {}, test {}", score_text(train), score_text(test));
    }
    if let Some(Counted { wrong_before, wrong, at_least, train, test, .. }) = &summary.counted {
        let (train, test) = (100.0 * train, 100.0 * test);
        line!(
            text,
            "last layer  {wrong} instead of {wrong_before} wrong, at least {at_least}; train {train:.2} % right, test {test:.2} % right"
        );
    }
    line!(text, "time        {:.1} s", summary.seconds);
    line!(text, "report      {}", report.display());
    text
}
