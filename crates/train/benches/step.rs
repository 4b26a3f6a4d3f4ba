//! Training steps of the original repository's COMPAS network (13-100-10 clamp, 20-100-1, both branches), batch 256,
//! with the penalty at 1,024 points on every block output and without. One iteration is an epoch of 16 steps.

use divan::counter::ItemsCount;
use train::data::DataSet;
use train::penalty::{GradientPenalty, Pooling};
use train::{Architecture, Backend, Trainer, Training};

fn main() {
    divan::main();
}

fn settings(hidden: usize, lambda: f64) -> Training {
    Training {
        architecture: Architecture::TwoBranch { hidden, bottleneck: 10, reduce_free: None },
        backend: Backend::Cpu,
        seed: 0,
        round: 0,
        lambda,
        penalty: GradientPenalty { margin: 0.2, pooling: Pooling::Mean },
        samples: 1024,
        epochs: u32::MAX,
        batch_size: 256,
        learning_rate: 5e-3,
        average_last: 0.0,
        candidates: 1,
    }
}

fn epoch(bencher: divan::Bencher, hidden: usize, lambda: f64) {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/compas/manifest.toml");
    let data = DataSet::load(manifest.as_ref(), None, None).expect("COMPAS travels with the repository");
    let settings = settings(hidden, lambda);
    let steps = data.fit.len().div_ceil(settings.batch_size);
    let mut trainer = Trainer::new(settings, &data).expect("a valid architecture");
    bencher.counter(ItemsCount::new(steps)).bench_local(|| trainer.run_epoch().expect("the training stays finite"));
}

#[divan::bench(args = [40, 100])]
fn with_penalty(bencher: divan::Bencher, hidden: usize) {
    epoch(bencher, hidden, 100.0);
}

#[divan::bench(args = [40, 100])]
fn without_penalty(bencher: divan::Bencher, hidden: usize) {
    epoch(bencher, hidden, 0.0);
}
