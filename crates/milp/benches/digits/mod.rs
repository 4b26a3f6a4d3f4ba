//! A dense network that reads handwritten digits, 784-40-20-10, trained here in a few seconds: what the bench and the example
//! ask questions about.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use certificate::{Affine, Direction, Domain, Interval, Model, ModelFeature, Network, Target};
use flate2::read::GzDecoder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const WIDTHS: [usize; 4] = [784, 40, 20, 10];
const ROWS: usize = 10_000;
const EPOCHS: usize = 3;
const RATE: f32 = 0.03;

/// Images with grey values from 0 to 1, and which digit each is.
pub struct Digits {
    pub images: Vec<Vec<f32>>,
    pub labels: Vec<u8>,
}

impl Digits {
    /// The first images of MNIST's training or test file under `DATASETS_DIR`; nothing if that is not there.
    pub fn load(part: &str, count: usize) -> Option<Self> {
        let folder = PathBuf::from(env::var_os("DATASETS_DIR")?).join("mnist");
        let images = unpacked(&folder.join(format!("{part}-images-idx3-ubyte.gz")))?;
        let labels = unpacked(&folder.join(format!("{part}-labels-idx1-ubyte.gz")))?;
        let image = |pixels: &[u8]| pixels.iter().map(|p| f32::from(*p) / 255.0).collect();
        let images = images[16..].chunks(784).take(count).map(image).collect();
        Some(Self { images, labels: labels[8..].iter().copied().take(count).collect() })
    }
}

fn unpacked(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(file).ok()?).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A trained network, by stochastic gradient descent on the cross-entropy with a little weight decay.
pub fn train() -> Option<Model> {
    let digits = Digits::load("train", ROWS)?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut layers: Vec<(Vec<f32>, Vec<f32>)> = WIDTHS
        .windows(2)
        .map(|pair| {
            let size = (2.0 / pair[0] as f32).sqrt();
            let weight = (0..pair[0] * pair[1]).map(|_| size * rng.random_range(-1.0..1.0_f32)).collect();
            (weight, vec![0.0; pair[1]])
        })
        .collect();
    for _ in 0..EPOCHS * ROWS {
        let k = rng.random_range(0..ROWS);
        step(&mut layers, &digits.images[k], usize::from(digits.labels[k]));
    }
    let affine = |((weight, bias), inputs): ((Vec<f32>, Vec<f32>), usize)| Affine::new(inputs, weight, bias).ok();
    let layers: Option<Vec<_>> = layers.into_iter().zip(WIDTHS).map(affine).collect();
    let feature = |k: usize| ModelFeature::linear(format!("pixel_{}_{}", k / 28, k % 28), Direction::Free, 0.0, 255.0);
    Some(Model {
        network: Network::from_layers(layers?, false).ok()?,
        features: (0..784).map(feature).collect(),
        domain: Domain::from_box(vec![Interval::new(0.0, 1.0); 784]).ok()?,
        target: Target::Classes { column: "digit".into(), classes: (0..10).map(|k| k.to_string()).collect() },
    })
}

fn step(layers: &mut [(Vec<f32>, Vec<f32>)], x: &[f32], label: usize) {
    let mut activations = vec![x.to_vec()];
    for (k, (weight, bias)) in layers.iter().enumerate() {
        let input = &activations[k];
        let dot = |(row, b): (&[f32], &f32)| row.iter().zip(input).map(|(w, x)| w * x).sum::<f32>() + b;
        let last = k + 1 == layers.len();
        let outputs = weight.chunks(input.len()).zip(bias).map(dot).map(|t| if last { t } else { t.max(0.0) });
        activations.push(outputs.collect());
    }
    let outputs = &activations[layers.len()];
    let largest = outputs.iter().copied().fold(f32::MIN, f32::max);
    let total: f32 = outputs.iter().map(|t| (t - largest).exp()).sum();
    let mut slope: Vec<f32> = outputs.iter().map(|t| (t - largest).exp() / total).collect();
    slope[label] -= 1.0;
    for k in (0..layers.len()).rev() {
        let input = &activations[k];
        let (weight, bias) = &mut layers[k];
        let mut before = vec![0.0; input.len()];
        for ((row, b), s) in weight.chunks_mut(input.len()).zip(bias).zip(&slope) {
            for ((w, x), d) in row.iter_mut().zip(input).zip(&mut before) {
                *d += s * *w;
                *w -= RATE * (s * x + 1e-4 * *w);
            }
            *b -= RATE * s;
        }
        before.iter_mut().zip(input).for_each(|(d, x)| *d = if *x > 0.0 { *d } else { 0.0 });
        slope = before;
    }
}

/// Which digit the network sees.
pub fn seen(model: &Model, image: &[f32]) -> usize {
    let x: Vec<f64> = image.iter().map(|p| f64::from(*p)).collect();
    let outputs = model.network.evaluate(&x);
    (0..10).max_by(|a, b| outputs[*a].total_cmp(&outputs[*b])).expect("ten digits")
}
