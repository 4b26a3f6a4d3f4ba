//! The smooth programme on the breast-cancer table (342 rows, 9 inputs): value and gradient at one point, and all of a descent.
//! One thread.

use std::sync::atomic::AtomicBool;

use train::data::DataSet;
use train::smooth::{Inputs, Loss, OutputActivation, Problem, Settings, Shape, multistart};

fn main() {
    divan::main();
}

const NETWORKS: [&[usize]; 4] = [&[3], &[10], &[3, 3], &[8, 8]];

fn data() -> DataSet {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/wbc/manifest.toml");
    DataSet::load(manifest.as_ref(), Some("file_order"), None).expect("the table travels with the repository")
}

fn shape(hidden: &[usize]) -> Shape {
    Shape { hidden: hidden.to_vec(), output: OutputActivation::Relu }
}

/// Of four starts some end on the plateau, as they do in a real run.
fn settings() -> Settings {
    Settings {
        loss: Loss::ExpectedCorrect,
        inputs: Inputs::Raw,
        epsilon: 1e-3,
        weight_decay: 0.01,
        starts: 4,
        iterations: 10_000,
    }
}

#[divan::bench(args = NETWORKS)]
fn value_and_gradient(bencher: divan::Bencher, hidden: &[usize]) {
    let (data, settings) = (data(), settings());
    let problem = Problem::new(&data, &shape(hidden), &settings).expect("a valid programme");
    let parameters: Vec<f64> = (0..problem.parameters()).map(|k| (k as f64).sin()).collect();
    let mut gradient = vec![0.0; parameters.len()];
    bencher.bench_local(|| problem.value_and_gradient(&parameters, &mut gradient));
}

#[divan::bench(args = NETWORKS, sample_count = 3)]
fn four_starts(bencher: divan::Bencher, hidden: &[usize]) {
    let (data, settings) = (data(), settings());
    let problem = Problem::new(&data, &shape(hidden), &settings).expect("a valid programme");
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be had");
    bencher.bench_local(|| one_thread.install(|| multistart(&problem, 0, &AtomicBool::new(false), &|_| ())));
}
