//! Branch and bound against CBC and microlp on trained blocks, alternating, on one thread, in CPU time:
//!
//! ```text
//! cargo bench -p milp --bench engines [-- PART-OF-A-NAME [SECONDS-PER-QUERY]]
//! ```
//!
//! Prints one line per query and the ratios per block. Not a timed test: what counts is the ratio in one run. Verdicts
//! that contradict each other end it with an error.

use std::fs;
use std::path::Path;

use certificate::{Model, interval};
use cpu_time::ThreadTime;
use milp::solver::{Cbc, Microlp};
use milp::{Engine, Options, QueryReport, verify_query};

/// Runs of branch and bound per query; the median counts.
const REPEATS: usize = 5;
/// The pure-Rust solver is left out above this number of unstable neurons, where it hardly ever ends in time.
const MICROLP_UP_TO: usize = 40;

fn timed(run: impl Fn() -> QueryReport) -> (f64, QueryReport) {
    let start = ThreadTime::now();
    let report = run();
    (start.elapsed().as_secs_f64(), report)
}

fn show(report: &QueryReport) -> &'static str {
    report.verdict.word()
}

fn bench(path: &Path, seconds: f64) {
    let model = Model::load(path).expect("a model of this repository");
    let name = path.file_stem().expect("a file").to_string_lossy();
    let domains = interval::block_domains(&model.network, &model.domain);
    let queries = model.specification().queries(&model.network).expect("a monotone network");
    // All work is left to the engines.
    let options = Options { samples: 0, query_time_limit_s: seconds, ..Options::default() };
    let (mut own_total, mut ratios) = (0.0, Vec::new());
    for query in &queries[0] {
        let run = |engine| {
            timed(|| {
                verify_query(&model.network.blocks()[0], &domains[0], *query, engine, &options).expect("a valid query")
            })
        };
        let mut own = Vec::new();
        let mut others = Vec::new();
        for repeat in 0..REPEATS {
            let (time, report) = run(Engine::BranchAndBound);
            if repeat == 0 {
                let microlp = report.unstable <= MICROLP_UP_TO;
                others.push(("cbc", run(Engine::Milp(&Cbc))));
                if microlp {
                    others.push(("microlp", run(Engine::Milp(&Microlp))));
                }
            }
            own.push((time, report));
            if time > 2.0 {
                break;
            }
        }
        own.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (time, report) = own.swap_remove(own.len() / 2);
        own_total += time;
        let proof = report.proof.as_ref().map_or(0, Vec::len);
        print!(
            "{name} x{}: {} unstable, {} in {:.4} s ({} nodes, {proof} steps)",
            query.input,
            report.unstable,
            show(&report),
            time,
            report.nodes
        );
        for (other, (other_time, answer)) in others {
            let ratio = other_time / time;
            print!("; {other} {} in {other_time:.3} s, {ratio:.1} times", show(&answer));
            let pair = (&report.verdict, &answer.verdict);
            assert!(
                !(pair.0.is_certified() && pair.1.is_refuted() || pair.0.is_refuted() && pair.1.is_certified()),
                "contradiction: {pair:?}"
            );
            if other == "cbc" {
                ratios.push((other_time, ratio));
            }
        }
        println!();
    }
    let total: f64 = ratios.iter().map(|r| r.0).sum();
    let mean = (ratios.iter().map(|r| r.1.ln()).sum::<f64>() / ratios.len() as f64).exp();
    println!(
        "== {name}: all {} queries {own_total:.4} s; cbc {total:.3} s, {:.1} times; per query {mean:.1} times (geometric mean)",
        ratios.len(),
        total / own_total
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let part = arguments.next().unwrap_or_default();
    let seconds = arguments.next().map_or(60.0, |text| text.parse().expect("seconds"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/blocks");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("the folder is here").map(|e| e.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "safetensors") && file.to_string_lossy().contains(&part));
    files.sort();
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
    one_thread.install(|| files.iter().for_each(|file| bench(file, seconds)));
}
