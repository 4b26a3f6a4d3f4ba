//! Whether one method is better than another: the command `compare`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use certificate::{Model, write_atomically};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use train::data::DataSet;
use train::trees::{Rows, Trees, Tuned, Tuning, tune};

use crate::comparison::{Metric, Paired, Summary, ensemble, score};
use crate::config::Config;
use crate::error::{Error, Result, exit_code};
use crate::mean::{digits, signed};
use crate::progress::Progress;
use crate::resplits::{Place, places, sizes};
use crate::run_folder::RunFolder;
use crate::{Format, SUMMARY, complete, interrupt, repair, report};

/// What `compare` takes.
#[derive(Args)]
pub struct CompareArgs {
    /// The first method: a configuration, a TOML file.
    config: PathBuf,
    /// The second method: another configuration about the same data, or the same file with --set-other.
    #[arg(required_unless_present = "trees", conflicts_with = "trees")]
    other: Option<PathBuf>,
    /// The second method: monotone boosted trees, tuned by cross-validation inside the training part; with `--trees=fit`
    /// inside the fitting rows alone.
    #[arg(long, value_name = "ROWS", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "training")]
    trees: Option<TrainingRows>,
    /// Number of random re-splits.
    #[arg(long, default_value_t = 10)]
    splits: usize,
    /// Number of seeds per method and split, counted on from the configuration's; of the trees from 0.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Number of settings tried for the trees on each split.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    trees_settings: u16,
    /// Override a key of the configuration, of both where there are two; can be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Override a key of the second configuration only.
    #[arg(long = "set-other", value_name = "KEY=VALUE", requires = "other")]
    other_overrides: Vec<String>,
    /// Folder of the comparison; by default runs/compare/FIRST-SECOND.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// What is printed on standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// No progress on standard error.
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TrainingRows {
    /// Fitting and validation rows: all that is not tested on.
    Training,
    /// The rows that the weights of a network are fitted on.
    Fit,
}

/// `comparison.json`: what was found out. Everything but the outputs on single rows.
#[derive(Serialize)]
struct Comparison {
    format_version: u32,
    program: &'static str,
    commit: &'static str,
    data: Data,
    methods: [MethodRecord; 2],
    metric: Metric,
    /// How the test rows were used.
    test_rows: &'static str,
    /// Each method's models one by one; scores are means over seeds.
    single: Table,
    /// The mean of the outputs over seeds, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    ensemble: Option<Table>,
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct Data {
    name: String,
    sha256: String,
    official_split: String,
    official_split_seed: Option<u64>,
    random_split: String,
    fit: usize,
    validation: usize,
    test: usize,
}

#[derive(Serialize)]
struct MethodRecord {
    name: String,
    description: String,
    overrides: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certified: Option<Certified>,
}

/// How many runs of a method were certified, and at which lambda.
#[derive(Serialize)]
struct Certified {
    runs: usize,
    of: usize,
    lambdas: Vec<f64>,
}

#[derive(Serialize)]
struct Table {
    /// Never part of the summary: one test set that everybody has looked at.
    official: Row,
    resplits: Vec<Row>,
    summary: Option<Summary>,
}

#[derive(Serialize)]
struct Row {
    split: String,
    paired: Paired,
    /// McNemar's exact test, where one model stands against one.
    p_value: Option<f64>,
}

/// One model and its score on the test rows.
#[derive(Serialize)]
struct Run {
    method: String,
    split: String,
    seed: u64,
    score: f64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lambda: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tuned: Option<Tuned>,
}

/// A run with the outputs of its model on the test rows.
struct Tested {
    run: Run,
    outputs: Vec<f64>,
}

const TEST_ROWS: &str = "nothing in these runs was chosen with the test rows";

/// What is compared.
struct Method {
    name: String,
    description: String,
    overrides: Vec<String>,
    kind: Kind,
}

enum Kind {
    Network(Box<Config>),
    Trees { rows: Rows, settings: usize },
}

/// Runs the command and gives its exit status.
///
/// # Errors
/// If a configuration is wrong, the two are not about the same data, no random split has the official sizes, or a run fails.
pub fn compare(args: &CompareArgs) -> Result<u8> {
    let methods = methods(args)?;
    let Kind::Network(first) = &methods[0].kind else { unreachable!("the first method is a configuration") };
    let manifest = &first.data.manifest;
    let official = load(first)?;
    if let Kind::Network(second) = &methods[1].kind {
        same_data(first, &official, second)?;
    }
    for method in &methods {
        if let Kind::Network(config) = &method.kind {
            train::Trainer::new(config.training(0, 0, config.escalation.lambda), &official)?;
        }
    }
    let places = places(manifest, &official, args.splits, "compare on the official split alone with --splits 0")?;
    let default_out = || Path::new("runs/compare").join(format!("{}-{}", methods[0].name, methods[1].name));
    let out = args.out.clone().unwrap_or_else(default_out);
    keep_manifest(manifest, &out)?;

    let mut comparer =
        Comparer { out: &out, seeds: args.seeds, progress: Progress::new(args.quiet), interrupt: &interrupt::flag() };
    comparer.progress.say(&format!("folder: {}", out.display()));
    let mut runs = Vec::new();
    let (mut single, mut together) = (Vec::new(), Vec::new());
    for place in &places {
        let data = DataSet::load(manifest, Some(&place.split), place.seed)?;
        let mut outputs = Vec::new();
        for method in &methods {
            let Some(found) = comparer.run(method, place, &data)? else {
                comparer.progress.say("interrupted; the same command goes on from here");
                return Ok(exit_code::INTERRUPTED);
            };
            outputs.push(found.iter().map(|tested| tested.outputs.clone()).collect::<Vec<_>>());
            runs.extend(found.into_iter().map(|tested| tested.run));
        }
        let row = |first: &[Vec<f64>], second: &[Vec<f64>]| {
            let paired = Paired::new(data.task, first, second, &data.test.y);
            let p_value = paired.discordant.filter(|_| first.len() == 1).map(|counts| counts.p_value());
            Row { split: place.name.clone(), paired, p_value }
        };
        single.push(row(&outputs[0], &outputs[1]));
        together.push(row(&[ensemble(&outputs[0])], &[ensemble(&outputs[1])]));
    }

    let table = |mut rows: Vec<Row>| {
        let official_row = rows.remove(0);
        let paired: Vec<Paired> = rows.iter().map(|row| row.paired.clone()).collect();
        let training_rows = official.fit.len() + official.validation.len();
        let summary = Summary::of(&paired, official.test.len(), training_rows);
        Table { official: official_row, resplits: rows, summary }
    };
    let comparison = Comparison {
        format_version: 1,
        program: env!("CARGO_PKG_VERSION"),
        commit: env!("BUILD_COMMIT"),
        data: Data {
            name: official.name.clone(),
            sha256: official.sha256.clone(),
            official_split: official.split.clone(),
            official_split_seed: official.split_seed,
            random_split: places.last().expect("the official split at least").split.clone(),
            fit: official.fit.len(),
            validation: official.validation.len(),
            test: official.test.len(),
        },
        methods: methods.map(|method| record(method, &runs)),
        metric: Metric::of(official.task),
        test_rows: TEST_ROWS,
        single: table(single),
        ensemble: (args.seeds > 1).then(|| table(together)),
        runs,
    };
    let file = out.join("comparison.json");
    write_json(&file, &comparison)?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string(&comparison).expect("a comparison is plain data")),
        Format::Text => println!("{}written     {}", text(&comparison), file.display()),
    }
    Ok(exit_code::CERTIFIED)
}

fn methods(args: &CompareArgs) -> Result<[Method; 2]> {
    let network = |path: &Path, overrides: Vec<String>| -> Result<Method> {
        let config = Config::load(path, &overrides)?;
        let description = path.display().to_string();
        Ok(Method { name: config.name.clone(), description, overrides, kind: Kind::Network(Box::new(config)) })
    };
    let first = network(&args.config, args.overrides.clone())?;
    let mut second = match (&args.other, args.trees) {
        (Some(other), _) => network(other, [args.overrides.clone(), args.other_overrides.clone()].concat())?,
        (None, rows) => {
            let (rows, words) = match rows {
                Some(TrainingRows::Fit) => (Rows::Fit, "fitting rows"),
                _ => (Rows::FitAndValidation, "training part"),
            };
            let settings = usize::from(args.trees_settings);
            let description =
                format!("monotone boosted trees, the best of {settings} settings by cross-validation in the {words}");
            Method { name: "trees".into(), description, overrides: Vec::new(), kind: Kind::Trees { rows, settings } }
        }
    };
    if second.name == first.name {
        second.name += "-other";
    }
    Ok([first, second])
}

fn load(config: &Config) -> Result<DataSet> {
    config.data.load()
}

/// Both configurations have to mean the same table and the same official split of it.
fn same_data(first: &Config, official: &DataSet, second: &Config) -> Result<()> {
    let refused = |message: String| Err(Error::Config { place: "compare".into(), message });
    let (a, b) = (&first.data.manifest, &second.data.manifest);
    if a != b {
        return refused(format!(
            "the two configurations are about different data sets, {} and {}: only methods on the same rows can be compared",
            a.display(),
            b.display()
        ));
    }
    let other = load(second)?;
    let parts = |data: &DataSet| [&data.fit, &data.validation, &data.test].map(|part| part.rows.clone());
    if parts(official) != parts(&other) {
        let words = |data: &DataSet| {
            let seed = data.split_seed.map_or(String::new(), |seed| format!(" with seed {seed}"));
            format!("`{}`{seed} ({})", data.split, sizes(data))
        };
        return refused(format!(
            "the two configurations split the rows differently, {} and {}: give both the same data.split and data.split_seed",
            words(official),
            words(&other)
        ));
    }
    Ok(())
}

/// Leaves a copy of the manifest in the folder, by which a changed one is noticed: runs of both would be mixed.
fn keep_manifest(manifest: &Path, out: &Path) -> Result<()> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Io { path, source }
    };
    let text = std::fs::read(manifest).map_err(io(manifest))?;
    std::fs::create_dir_all(out).map_err(io(out))?;
    let copy = out.join("manifest.toml");
    match std::fs::read(&copy) {
        Ok(found) if found != text => Err(Error::RunFolder {
            path: copy,
            message: "the data set's manifest has changed since this comparison was begun; choose another --out".into(),
        }),
        Ok(_) => Ok(()),
        Err(_) => Ok(write_atomically(&copy, &text)?),
    }
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).expect("records are plain data");
    text.push(b'\n');
    Ok(write_atomically(path, &text)?)
}

/// Runs methods, or finds what earlier invocations left.
struct Comparer<'a> {
    out: &'a Path,
    seeds: u64,
    progress: Progress,
    interrupt: &'a AtomicBool,
}

impl Comparer<'_> {
    /// The models of a method on a split, with their outputs on the test rows. `None` if it was interrupted.
    fn run(&mut self, method: &Method, place: &Place, data: &DataSet) -> Result<Option<Vec<Tested>>> {
        match &method.kind {
            Kind::Network(config) => {
                let mut config = config.clone();
                config.data.split = Some(place.split.clone());
                config.data.split_seed = place.seed;
                // Its own, because the two may scale the features differently.
                let data = config.data.load()?;
                let mut found = Vec::new();
                for k in 0..self.seeds {
                    let Some(run) = self.network(method, &config, place, &data, config.seed + k)? else {
                        return Ok(None);
                    };
                    found.push(run);
                }
                Ok(Some(found))
            }
            Kind::Trees { rows, settings } => self.trees(method, *rows, *settings, place, data),
        }
    }

    fn network(
        &mut self,
        method: &Method,
        config: &Config,
        place: &Place,
        data: &DataSet,
        seed: u64,
    ) -> Result<Option<Tested>> {
        let mut config = config.clone();
        config.seed = seed;
        let path = self.out.join(&method.name).join(format!("{}-{seed}", place.name));
        let begun = path.join("config.toml").exists();
        let folder = if begun {
            RunFolder::resume(&config, Some(&path))?
        } else {
            RunFolder::create(&config.name, &config.to_toml(), Some(&path))?
        };
        let summary = match folder.read_json::<crate::Summary>(SUMMARY)? {
            Some(summary) => summary,
            None if self.interrupt.load(Ordering::Relaxed) => return Ok(None),
            None => {
                self.progress.say(&format!("split {}: {}, seed {seed}", place.name, method.name));
                let complete = complete(&config, &method.overrides, data, &folder, &mut self.progress, self.interrupt);
                let (summary, _) = complete?;
                if self.interrupt.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                summary
            }
        };
        let model = path.join("model.safetensors");
        if !model.exists() {
            let message = format!("the run ended without a model: {}", report::stop_reason(&summary.stop_reason));
            return Err(Error::RunFolder { path, message });
        }
        let outputs = repair::outputs(&Model::load(&model)?.network, &data.test, data);
        let run = Run {
            method: method.name.clone(),
            split: place.name.clone(),
            seed,
            score: score(data.task, &outputs, &data.test.y),
            seconds: summary.seconds,
            verdict: Some(summary.verdict),
            lambda: summary.lambda,
            tuned: None,
        };
        Ok(Some(Tested { run, outputs }))
    }

    /// Trees are tuned once per split, which is what takes time, and fitted again whenever they are asked for.
    fn trees(
        &mut self,
        method: &Method,
        rows: Rows,
        settings: usize,
        place: &Place,
        data: &DataSet,
    ) -> Result<Option<Vec<Tested>>> {
        let path = self.out.join(&method.name).join(format!("{}.json", place.name));
        let tuning = Tuning { configurations: settings, seed: place.seed.unwrap_or(0), ..Tuning::default() };
        let stored = match std::fs::read(&path) {
            Ok(bytes) => Some(stored_tuning(&path, &bytes, rows, tuning)?),
            Err(_) => None,
        };
        let record = match stored {
            Some(record) => record,
            None => {
                let what = format!("split {}: tuning {}", place.name, method.name);
                let bar = self.progress.start_tuning(&what, tuning.fits());
                let start = Instant::now();
                let tuned = tune(data, rows, &tuning, self.interrupt, || bar.inc(1));
                bar.finish_and_clear();
                let Some(tuned) = tuned else { return Ok(None) };
                let seconds = start.elapsed().as_secs_f64();
                let record = TuningRecord { format_version: 1, rows, tuning, tuned, seconds };
                let folder = path.parent().expect("it was just joined");
                std::fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.into(), source })?;
                write_json(&path, &record)?;
                record
            }
        };
        let fit = |seed| {
            let outputs = Trees::fit(data, rows, &record.tuned.settings, seed).outputs(&data.test);
            let run = Run {
                method: method.name.clone(),
                split: place.name.clone(),
                seed,
                score: score(data.task, &outputs, &data.test.y),
                seconds: record.seconds,
                verdict: None,
                lambda: None,
                tuned: Some(record.tuned),
            };
            Tested { run, outputs }
        };
        Ok(Some((0..self.seeds).map(fit).collect()))
    }
}

/// `trees/<split>.json`: what tuning found on a split.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TuningRecord {
    format_version: u32,
    rows: Rows,
    tuning: Tuning,
    tuned: Tuned,
    seconds: f64,
}

fn stored_tuning(path: &Path, bytes: &[u8], rows: Rows, tuning: Tuning) -> Result<TuningRecord> {
    let refused = |message: String| Err(Error::RunFolder { path: path.into(), message });
    match serde_json::from_slice::<TuningRecord>(bytes) {
        Ok(record) if (record.rows, record.tuning) == (rows, tuning) => Ok(record),
        Ok(_) => refused("the trees there were tuned in another way; choose another --out".into()),
        Err(e) => refused(format!("{e}; it was damaged or comes from another version: choose another --out")),
    }
}

fn record(method: Method, runs: &[Run]) -> MethodRecord {
    let of_method = || runs.iter().filter(|run| run.method == method.name);
    let certified = matches!(method.kind, Kind::Network(_)).then(|| {
        let certified = || of_method().filter(|run| run.verdict.as_deref() == Some("certified"));
        let mut lambdas: Vec<f64> = certified().filter_map(|run| run.lambda).collect();
        lambdas.sort_by(f64::total_cmp);
        Certified { runs: certified().count(), of: of_method().count(), lambdas }
    });
    MethodRecord { name: method.name, description: method.description, overrides: method.overrides, certified }
}

/// The tables for people.
fn text(comparison: &Comparison) -> String {
    let Comparison { data, methods: [first, second], .. } = comparison;
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{}", line.trim_end()).expect("a string takes everything");
    line(format!(
        "data        {}: {} rows to fit, {} to validate, {} to test",
        data.name, data.fit, data.validation, data.test
    ));
    for (place, method) in [("first", first), ("second", second)] {
        let overrides: String = method.overrides.iter().map(|text| format!(" --set {text}")).collect();
        line(format!("{place:<11} {}: {}{overrides}", method.name, method.description));
    }
    line(format!("score       {}; {}", comparison.metric.words(), comparison.test_rows));
    let tables = [(&comparison.single, "single models")]
        .into_iter()
        .chain(comparison.ensemble.as_ref().map(|table| (table, "ensembles: the mean of the outputs over seeds")));
    for (table, title) in tables {
        line(format!("\n{title}"));
        let counts = if comparison.metric == Metric::AccuracyPercent { COUNTS } else { "" };
        line(format!("split          first    second  difference  ± rows, seeds{counts}"));
        for row in std::iter::once(&table.official).chain(&table.resplits) {
            let p = row.p_value.map_or(String::new(), |p| format!("{p:.2}"));
            line(format!("{} {p}", cells(&row.split, &row.paired)));
        }
        if let Some(summary) = &table.summary {
            let Summary { first, second, difference, discordant, .. } = *summary;
            line(cells("re-splits", &Paired { first, second, difference, standard_error: None, discordant }));
            if let (Some(error), Some(corrected)) = (summary.standard_error, summary.corrected_standard_error) {
                let (digits, n) = (digits(first), summary.splits);
                let difference = signed(difference, digits);
                line(format!(
                    "difference  {difference} ± {error:.digits$} over {n} re-splits; ± {corrected:.digits$} with the \
                     correction of Nadeau and Bengio for their overlap"
                ));
            }
        }
    }
    line(String::new());
    for method in [first, second] {
        if let Some(Certified { runs, of, lambdas }) = &method.certified {
            let at = match (lambdas.first(), lambdas.last()) {
                (Some(least), Some(most)) if least == most => format!(", lambda {least}"),
                (Some(least), Some(most)) => format!(", lambda {least} to {most}"),
                _ => String::new(),
            };
            line(format!("certified   {}: {runs} of {of} runs{at}", method.name));
        }
    }
    text
}

/// The columns of a binary target.
const COUNTS: &str = "  right: only first  only second  p";

fn cells(name: &str, paired: &Paired) -> String {
    let Paired { first, second, difference, standard_error, discordant } = paired;
    let counts = discordant.map_or_else(String::new, |counts| {
        let (first, second) = (counts.only_first, counts.only_second);
        format!("  {first:>17}  {second:>11} ")
    });
    let digits = digits(*first);
    let difference = signed(*difference, digits);
    let error = standard_error.map_or_else(String::new, |error| format!("± {error:.digits$}"));
    format!("{name:<11} {first:>8.digits$}  {second:>8.digits$}  {difference:>10}  {error:>13}{counts}")
}
