//! The programme against forward passes of random networks: with the weights fixed, it gives the same numbers.

use certificate::{Direction, Shape, Window};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::encode::Encoded;
use super::*;
use crate::solver::{Cbc, Limits, Solver};

/// Convolutions with padding and strides, both kinds of pooling, a gate layer and optional layers.
fn convolutional() -> Problem {
    let real = WeightDomain::real(1.0);
    let parameters = |outputs| Parameters::new(outputs, real.clone(), real.clone());
    let window = |side, stride, padding| Window { padding, ..Window::square(side, stride) };
    let grid = Parameters::new(2, WeightDomain::integers(-1, 1), WeightDomain::integers(-1, 1));
    let deeper = Parameters::new(3, WeightDomain::Grid { lower: -1.0, step: 0.5, steps: 4 }, real.clone());
    let inner = Parameters::new(3, WeightDomain::integers(-1, 1), real.clone());
    Problem {
        input: Shape { channels: 2, height: 4, width: 3 },
        layers: vec![
            Layer::AveragePool(Window { height: 2, width: 1, stride: 1, padding: 0 }),
            Layer::Convolution(window(2, 1, 1), parameters(2)),
            Layer::Relu,
            Layer::MaxPool(window(2, 2, 0)),
            Layer::Gate(0.5),
            Layer::Convolution(Window { height: 1, width: 2, stride: 1, padding: 0 }, grid),
            Layer::Relu,
            Layer::Flatten,
            Layer::Dense(deeper),
            Layer::Relu,
            Layer::Optional { cost: 0.25, layers: vec![Layer::Dense(inner), Layer::Relu] },
            Layer::Dense(Parameters::new(2, WeightDomain::integers(-1, 1), real)),
        ],
        samples: Vec::new(),
        targets: Targets::Values(Vec::new()),
        loss: Loss::L1,
        products: Products::OneHot,
        constraints: Vec::new(),
    }
}

fn random_weights(rng: &mut ChaCha8Rng, encoded: &Encoded) -> Vec<LayerWeights> {
    let number = |rng: &mut ChaCha8Rng, domain: &WeightDomain| match domain {
        WeightDomain::Grid { lower, step, steps } => lower + step * f64::from(rng.random_range(0..=*steps)),
        _ => f64::from(rng.random_range(-1.0..1.0_f32)),
    };
    let layer = |layer: &weight::LayerColumns| LayerWeights {
        weights: layer.weights.iter().map(|_| number(rng, &layer.parameters.weights)).collect(),
        biases: layer.biases.iter().map(|_| number(rng, &layer.parameters.biases)).collect(),
    };
    encoded.layers.iter().map(layer).collect()
}

/// The outputs of the programme with fixed weights are those of the network that is read off it, on every sample.
fn forward_values_agree(problem: &Problem, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let point = |rng: &mut ChaCha8Rng| (0..problem.input.size()).map(|_| rng.random_range(-1.0..1.0)).collect();
    let samples: Vec<Vec<f64>> = (0..2).map(|_| point(&mut rng)).collect();
    let outputs = layout::Layout::new(problem).unwrap().outputs;
    let y = samples.iter().map(|_| (0..outputs).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
    let problem = Problem { samples, targets: Targets::Values(y), ..problem.clone() };
    let encoded = Encoded::new(&problem).unwrap();
    let weights = encoded.ordered(&random_weights(&mut rng, &encoded));
    let programme = encoded.fix(&weights).unwrap();
    assert!(programme.columns.iter().filter(|column| column.kind == crate::Kind::Integer).count() > 10);
    let outcome = Cbc.solve(&programme, &Limits::time(std::time::Duration::from_secs(60)));
    let values = outcome.incumbent.expect("every network is a solution").values;
    let fitted = encoded.read(&values).unwrap();
    for (sample, outputs) in problem.samples.iter().zip(&encoded.outputs) {
        for (network, programme) in fitted.network.evaluate(sample).iter().zip(outputs) {
            assert!((network - programme.value(&values)).abs() < 1e-4, "seed {seed}: {network}");
        }
    }
    assert!((fitted.objective() - outcome.bound).abs() < 1e-3, "seed {seed}: {} {}", fitted.objective(), outcome.bound);
}

#[test]
fn a_programme_with_fixed_weights_is_the_network() {
    for seed in 0..6 {
        let problem = convolutional();
        let products = if seed % 2 == 0 { Products::OneHot } else { Products::BinaryExpansion };
        forward_values_agree(&Problem { products, ..problem }, seed);
    }
}

/// The derivative at a point, by differences of the real network, has the sign that an anchored constraint asks for; and
/// networks that do not have it are no solutions.
#[test]
fn anchored_constraints_are_about_the_derivative() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut seen = [0, 0];
    for _ in 0..30 {
        let mut problem = convolutional();
        // Small enough to be quick, with pooling and a skip on the way.
        problem.input = Shape { channels: 1, height: 1, width: 4 };
        let grid = |outputs| Parameters::new(outputs, WeightDomain::integers(-1, 1), WeightDomain::integers(-1, 1));
        let row = |width| Window { height: 1, width, stride: 1, padding: 0 };
        problem.layers = vec![
            Layer::Convolution(row(2), grid(2)),
            Layer::Relu,
            Layer::MaxPool(row(2)),
            Layer::Flatten,
            Layer::Optional { cost: 0.0, layers: vec![Layer::Dense(grid(4)), Layer::Relu] },
            Layer::Dense(grid(1)),
        ];
        let point: Vec<f64> = (0..4).map(|_| rng.random_range(-1.0..1.0)).collect();
        let unconstrained = problem.clone();
        let free = Encoded::new(&unconstrained).unwrap();
        let weights = free.ordered(&random_weights(&mut rng, &free));
        problem.constraints =
            vec![Constraint::Anchored { point: point.clone(), input: 1, direction: Direction::Decreasing }];
        // Keep the optional layer, so that the network is the one that the weights say.
        let keep = Constraint::Clause(vec![(Gate::Optional(0), true)]);
        problem.constraints.push(keep);
        let encoded = Encoded::new(&problem).unwrap();
        let kept = vec![true];
        let layout = layout::Layout::new(&problem).unwrap();
        let network = layout::network(&problem, &layout, &weights, &kept, &[]).unwrap();
        let step = 1e-6;
        let mut moved = point.clone();
        moved[1] += step;
        let slope = (network.evaluate(&moved)[0] - network.evaluate(&point)[0]) / step;
        let fixed = encoded.fix(&weights).unwrap();
        let feasible = Cbc.solve(&fixed, &Limits::time(std::time::Duration::from_secs(60))).incumbent.is_some();
        assert_eq!(feasible, slope <= 1e-4, "{slope} {weights:?}");
        seen[usize::from(feasible && slope < -1e-4)] += usize::from(slope.abs() > 1e-4);
    }
    assert!(seen.iter().all(|count| *count > 2), "{seen:?}");
}

/// Two hidden units with fixed weights bend at one half, one to the left and one to the right. Both on at once have no point
/// between them: a constraint there must not exclude the constant, for which the third unit makes up on either side.
#[test]
fn an_anchor_on_hyperplanes_excludes_no_monotone_network() {
    let fixed = |values: &[f64]| WeightDomain::Fixed(values.to_vec());
    let hidden = Parameters::new(3, fixed(&[-1.0, 1.0, 1.0]), fixed(&[0.5, -0.5, 0.0]));
    let output = Parameters::new(1, WeightDomain::integers(-1, 1), fixed(&[0.0]));
    let samples: Vec<Vec<f64>> = [0.0, 0.25, 0.5, 0.75, 1.0].map(|x| vec![x]).to_vec();
    let problem = Problem {
        input: Shape::list(1),
        layers: vec![Layer::Dense(hidden), Layer::Relu, Layer::Dense(output)],
        targets: Targets::Values(vec![vec![0.5]; samples.len()]),
        samples,
        loss: Loss::L1,
        products: Products::OneHot,
        constraints: vec![Constraint::Anchored { point: vec![0.5], input: 0, direction: Direction::Increasing }],
    };
    let trained = train(&problem, &Cbc, &Options::default(), &|_| ()).unwrap();
    assert_eq!(trained.optimum.objective, Some(0.0));
    assert_eq!(trained.fitted.unwrap().weights[1].weights, [1.0, -1.0, 1.0]);
}
