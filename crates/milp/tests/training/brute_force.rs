//! Every network with integer weights, one after another.

use std::ops::Range;

use certificate::{Affine, Convolution, Layer as Given, Layered, Window};
use milp::solver::{Microlp, Solver};
use milp::training::{End, LayerWeights};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn random(seed: u64, samples: usize, problem: Problem) -> Problem {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let inputs = problem.input.size();
    let point = |rng: &mut ChaCha8Rng| (0..inputs).map(|_| f64::from(rng.random_range(-4..=4)) / 4.0).collect();
    let points: Vec<Vec<f64>> = (0..samples).map(|_| point(&mut rng)).collect();
    let targets = if matches!(problem.loss, Loss::L1 | Loss::Squared) {
        Targets::Values((0..samples).map(|_| vec![f64::from(rng.random_range(-6..=6)) / 4.0]).collect())
    } else {
        // Both classes occur.
        Targets::Classes((0..samples).map(|i| if i < 2 { i } else { rng.random_range(0..2) }).collect())
    };
    Problem { samples: points, targets, ..problem }
}

fn loss(problem: &Problem, f: f64, i: usize) -> f64 {
    match (&problem.targets, problem.loss) {
        (Targets::Values(y), Loss::L1) => (f - y[i][0]).abs(),
        (Targets::Values(y), _) => (f - y[i][0]).powi(2),
        (Targets::Classes(y), loss) => {
            let margin = if y[i] == 1 { f } else { -f };
            match loss {
                Loss::Hinge => (1.0 - margin).max(0.0),
                Loss::ZeroOne { margin: delta } => f64::from(margin < delta - 1e-9),
                _ => (1.0 + (-margin).exp()).ln(),
            }
        }
    }
}

/// The least objective of all networks with one hidden layer of two units and weights -1, 0 and 1.
fn least(problem: &Problem, l1: f64, l2: f64, per_unit: f64) -> f64 {
    let inputs = problem.input.size();
    let unit_size = inputs + 1;
    let units: Vec<Vec<f64>> = (0..3_usize.pow(unit_size as u32))
        .map(|code| (0..unit_size).map(|k| (code / 3_usize.pow(k as u32) % 3) as f64 - 1.0).collect())
        .collect();
    let activations: Vec<Vec<f64>> = (units.iter())
        .map(|unit| {
            let t = |x: &Vec<f64>| x.iter().zip(unit).map(|(x, w)| x * w).sum::<f64>() + unit[inputs];
            problem.samples.iter().map(|x| t(x).max(0.0)).collect()
        })
        .collect();
    let cost = |w: f64| l1 * w.abs() + l2 * w * w;
    let mut best = f64::INFINITY;
    for (p, first) in units.iter().enumerate() {
        for (q, second) in units.iter().enumerate().skip(p) {
            for code in 0..27 {
                let [v1, v2, c] = [code % 3, code / 3 % 3, code / 9].map(|k| f64::from(k) - 1.0);
                let f = |i: usize| v1 * activations[p][i] + v2 * activations[q][i] + c;
                let fit: f64 = (0..problem.samples.len()).map(|i| loss(problem, f(i), i)).sum();
                // A unit is used where it does anything at all.
                let used = |unit: &[f64], v: f64| v != 0.0 && unit.iter().any(|w| *w != 0.0);
                let units = [(first, v1), (second, v2)].iter().filter(|(unit, v)| used(unit, *v)).count();
                let fit = fit + per_unit * units as f64;
                let weights = first[..inputs].iter().chain(&second[..inputs]).chain([&v1, &v2]);
                best = best.min(fit + weights.map(|w| cost(*w)).sum::<f64>());
            }
        }
    }
    best
}

fn penalised(mut problem: Problem, (l1, l2): (f64, f64)) -> Problem {
    for layer in &mut problem.layers {
        if let Layer::Dense(parameters) = layer {
            (parameters.l1, parameters.l2) = (l1, l2);
        }
    }
    problem
}

#[test]
fn the_optimum_is_that_of_brute_force() {
    let losses = [Loss::L1, Loss::Squared, Loss::Hinge, Loss::ZeroOne { margin: 0.125 }, Loss::CrossEntropy];
    for seed in 0..8 {
        let loss = losses[seed as usize % 5];
        // Tangents take several programmes.
        let samples = if matches!(loss, Loss::Squared | Loss::CrossEntropy) { 4 } else { 8 - 4 * (seed as usize / 5) };
        let products = if seed % 2 == 0 { Products::OneHot } else { Products::BinaryExpansion };
        let costs = [(0.0, 0.0), (0.03125, 0.0), (0.03125, 0.0625)][seed as usize % 3];
        let problem = Problem { loss, products, ..dense(2, &[2], &WeightDomain::integers(-1, 1)) };
        let mut problem = penalised(random(seed, samples, problem), costs);
        let per_unit = if seed < 4 { 0.0 } else { 0.125 };
        if let (Layer::Dense(first), true) = (&mut problem.layers[0], per_unit > 0.0) {
            first.gates.units = Some(per_unit);
        }
        let optimum = solve(&problem).optimum;
        let expected = least(&problem, costs.0, costs.1, per_unit);
        assert_eq!(optimum.end, End::Optimal, "seed {seed}: {optimum:?}");
        assert!((optimum.objective.unwrap() - expected).abs() < 2e-4, "seed {seed}: {expected} {optimum:?}");
        assert!(optimum.bound.unwrap() <= expected + 1e-6, "seed {seed}: {expected} {optimum:?}");
    }
}

/// Every solver finds what brute force finds, for a network of two units.
fn solvers_agree(seeds: Range<u64>, inputs: usize, samples: usize) {
    let solvers: &[&dyn Solver] = &[
        &Cbc,
        &Microlp,
        #[cfg(feature = "highs")]
        &milp::solver::Highs,
    ];
    for seed in seeds {
        let loss = [Loss::L1, Loss::Hinge][seed as usize % 2];
        let products = [Products::OneHot, Products::BinaryExpansion][seed as usize / 2 % 2];
        let problem = Problem { loss, products, ..dense(inputs, &[2], &WeightDomain::integers(-1, 1)) };
        let problem = random(seed, samples, problem);
        let expected = least(&problem, 0.0, 0.0, 0.0);
        for &solver in solvers {
            let options = Options { time_limit_s: 600.0, ..Options::default() };
            let optimum = train(&problem, solver, &options, &|_| ()).unwrap().optimum;
            assert_eq!(optimum.end, End::Optimal, "seed {seed}: {optimum:?}");
            assert!((optimum.objective.unwrap() - expected).abs() < 1e-4, "seed {seed}: {expected} {optimum:?}");
            assert!((optimum.bound.unwrap() - expected).abs() < 2e-4, "seed {seed}: {expected} {optimum:?}");
        }
    }
}

/// Fewer samples, because microlp is slow.
#[test]
fn solvers_agree_on_few_samples() {
    solvers_agree(0..4, 1, 4);
}

#[test]
#[ignore = "minutes: cargo test --release -p milp --test training many_seeds -- --ignored"]
fn solvers_agree_over_many_seeds() {
    solvers_agree(0..40, 2, 8);
}

/// The least loss of every network that `build` makes of `count` numbers -1, 0 and 1.
fn least_of_all(problem: &Problem, count: usize, build: impl Fn(&[f32]) -> Vec<Given>) -> f64 {
    let one = |code: usize| {
        let numbers: Vec<f32> = (0..count).map(|k| (code / 3_usize.pow(k as u32) % 3) as f32 - 1.0).collect();
        let network = Layered::new(problem.input, build(&numbers)).unwrap();
        let outputs = problem.samples.iter().map(|x| network.evaluate(x));
        let Targets::Classes(classes) = &problem.targets else { unreachable!() };
        let loss = |(f, class): (Vec<f64>, &usize)| match (&f[..], problem.loss) {
            (&[f], Loss::Hinge) => (1.0 - if *class == 1 { f } else { -f }).max(0.0),
            (f, loss) => {
                let margins = (0..f.len()).filter(|k| k != class).map(|k| f[*class] - f[k]);
                match loss {
                    Loss::Hinge => margins.map(|m| (1.0 - m).max(0.0)).fold(0.0, f64::max),
                    Loss::ZeroOne { margin } => f64::from(margins.fold(f64::INFINITY, f64::min) < margin - 1e-9),
                    _ => (1.0 + margins.map(|m| (-m).exp()).sum::<f64>()).ln(),
                }
            }
        };
        outputs.zip(classes).map(loss).sum::<f64>()
    };
    (0..3_usize.pow(count as u32)).map(one).fold(f64::INFINITY, f64::min)
}

#[test]
fn a_convolution_with_pooling_is_trained_to_its_optimum() {
    let window = |width| Window { height: 1, width, stride: 1, padding: 0 };
    let ternary = WeightDomain::integers(-1, 1);
    for seed in 0..4 {
        let parameters = || Parameters::new(1, ternary.clone(), ternary.clone());
        let (pool, given) = if seed % 2 == 0 {
            (Layer::MaxPool(window(2)), Given::MaxPool(window(2)))
        } else {
            (Layer::AveragePool(window(2)), Given::AveragePool(window(2)))
        };
        let layers = vec![
            Layer::Convolution(window(2), parameters()),
            Layer::Relu,
            pool,
            Layer::Flatten,
            Layer::Dense(parameters()),
        ];
        let problem = Problem { loss: Loss::Hinge, layers, ..dense(3, &[1], &ternary) };
        let problem = random(seed, 6, Problem { input: Shape { channels: 1, height: 1, width: 3 }, ..problem });
        // Kernel and its bias, a weight on what is pooled and a bias.
        let build = |w: &[f32]| {
            let kernel = Affine::new(2, w[..2].to_vec(), vec![w[2]]).unwrap();
            let last = Affine::new(1, w[3..4].to_vec(), vec![w[4]]).unwrap();
            let convolution = Given::Convolution(Convolution { window: window(2), kernel });
            vec![convolution, Given::Relu, given.clone(), Given::Flatten, Given::Dense(last)]
        };
        let (optimum, expected) = (solve(&problem).optimum, least_of_all(&problem, 5, build));
        assert_eq!(optimum.end, End::Optimal);
        assert!((optimum.objective.unwrap() - expected).abs() < 1e-6, "seed {seed}: {expected} {optimum:?}");
    }
}

/// Three classes by a linear network.
#[test]
fn several_classes_are_told_apart_as_well_as_can_be() {
    let ternary = WeightDomain::integers(-1, 1);
    for (seed, loss) in [Loss::Hinge, Loss::ZeroOne { margin: 0.25 }, Loss::CrossEntropy].into_iter().enumerate() {
        let layers = vec![Layer::Dense(Parameters::new(3, ternary.clone(), ternary.clone()))];
        let mut problem = random(seed as u64, 6, Problem { loss, layers, ..dense(1, &[], &ternary) });
        problem.targets = Targets::Classes(vec![0, 1, 2, 2, 1, 0]);
        let build = |w: &[f32]| vec![Given::Dense(Affine::new(1, w[..3].to_vec(), w[3..].to_vec()).unwrap())];
        let (optimum, expected) = (solve(&problem).optimum, least_of_all(&problem, 6, build));
        assert_eq!(optimum.end, End::Optimal, "{optimum:?}");
        assert!((optimum.objective.unwrap() - expected).abs() < 2e-4, "{loss:?}: {expected} {optimum:?}");
    }
}

/// Whatever a search starts from, it ends with the same optimum.
#[test]
fn a_start_changes_nothing_but_the_way() {
    for seed in 0..3 {
        let problem = random(seed, 4, Problem { loss: Loss::Hinge, ..dense(2, &[2], &WeightDomain::integers(-1, 1)) });
        let expected = least(&problem, 0.0, 0.0, 0.0);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut numbers = |n: usize| (0..n).map(|_| f64::from(rng.random_range(-1..=1))).collect::<Vec<f64>>();
        let mut layer = |n, m| LayerWeights { weights: numbers(n * m), biases: numbers(m) };
        let start = vec![layer(2, 2), layer(2, 1)];
        let optimum =
            train(&problem, &Cbc, &Options { start: Some(start), ..Options::default() }, &|_| ()).unwrap().optimum;
        assert_eq!(optimum.end, End::Optimal, "{optimum:?}");
        assert!(matches!(optimum.start, milp::training::Start::Given { objective } if objective >= expected - 1e-9));
        assert!((optimum.objective.unwrap() - expected).abs() < 1e-4, "seed {seed}: {expected} {optimum:?}");
    }
}
