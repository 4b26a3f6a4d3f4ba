//! Real breast-cancer samples by the recipe of the measured table: attributes on [0, 1], hinge loss, 0.01 times the absolute
//! values of the hidden weights, all of them and the biases up to 4, one unit that counts upwards and one that counts down.

use milp::training::{End, LayerWeights, Start};

use super::*;

#[path = "../../examples/breast_cancer/mod.rs"]
mod samples;

/// The objective for all weights in one row: per unit the weights and the bias, then the output's bias.
fn objective(problem: &Problem, classes: &[usize], w: &[f64], inputs: usize) -> f64 {
    let unit = |j: usize| &w[j * (inputs + 1)..][..inputs + 1];
    let t = |x: &[f64], j: usize| x.iter().zip(unit(j)).map(|(x, w)| x * w).sum::<f64>() + unit(j)[inputs];
    let loss = |(x, class): (&Vec<f64>, &usize)| {
        let f = t(x, 0).max(0.0) - t(x, 1).max(0.0) + w[2 * (inputs + 1)];
        (1.0 - if *class == 1 { f } else { -f }).max(0.0)
    };
    let sizes = (0..2).flat_map(|j| &unit(j)[..inputs]).map(|w| 0.01 * w.abs());
    problem.samples.iter().zip(classes).map(loss).sum::<f64>() + sizes.sum::<f64>()
}

/// Minimises by subgradient steps with a falling length from a few random starts: some local optimum.
fn local_search(problem: &Problem, inputs: usize, seed: u64) -> (f64, Vec<LayerWeights>) {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let Targets::Classes(classes) = &problem.targets else { unreachable!() };
    let signs = [1.0, -1.0];
    let objective = |w: &[f64]| objective(problem, classes, w, inputs);
    let mut best = (f64::INFINITY, Vec::new());
    for _ in 0..8 {
        // Per unit the weights and the bias; the output's bias at the end.
        let mut w: Vec<f64> = (0..2 * (inputs + 1) + 1).map(|_| rng.random_range(-1.0..1.0)).collect();
        for step in 0..2000 {
            let mut gradient = vec![0.0; w.len()];
            for (x, class) in problem.samples.iter().zip(classes) {
                let y = if *class == 1 { 1.0 } else { -1.0 };
                let t = |j: usize| {
                    let unit = &w[j * (inputs + 1)..][..inputs + 1];
                    x.iter().zip(unit).map(|(x, w)| x * w).sum::<f64>() + unit[inputs]
                };
                let f = (0..2).map(|j| signs[j] * t(j).max(0.0)).sum::<f64>() + w[w.len() - 1];
                if y * f < 1.0 {
                    for j in (0..2).filter(|j| t(*j) > 0.0) {
                        for k in 0..=inputs {
                            gradient[j * (inputs + 1) + k] -= y * signs[j] * x.get(k).copied().unwrap_or(1.0);
                        }
                    }
                    *gradient.last_mut().unwrap() -= y;
                }
            }
            let rate = 0.1 / f64::from(step + 10).sqrt();
            for (k, (w, g)) in w.iter_mut().zip(gradient).enumerate() {
                let is_weight = k < 2 * (inputs + 1) && k % (inputs + 1) < inputs;
                *w = (*w - rate * (g + if is_weight { 0.01 * w.signum() } else { 0.0 })).clamp(-4.0, 4.0);
            }
        }
        if objective(&w) < best.0 {
            best = (objective(&w), w);
        }
    }
    let (value, w) = best;
    let unit = |j: usize| &w[j * (inputs + 1)..][..inputs + 1];
    let hidden = LayerWeights {
        weights: [&unit(0)[..inputs], &unit(1)[..inputs]].concat(),
        biases: vec![unit(0)[inputs], unit(1)[inputs]],
    };
    (value, vec![hidden, LayerWeights { weights: signs.to_vec(), biases: vec![w[w.len() - 1]] }])
}

/// The second value is one that Gurobi, HiGHS and another build of CBC agree on.
#[test]
fn the_optimum_is_proved_and_gradient_training_is_never_below_it() {
    for (attributes, n, expected) in [(&[1, 5][..], 16, 0.038361), (&[0, 1, 2, 3, 4, 5, 6, 7, 8][..], 32, 0.115775)] {
        let problem = samples::problem(attributes, n);
        let trained = solve(&problem);
        let optimum = &trained.optimum;
        assert_eq!(optimum.end, End::Optimal, "{optimum:?}");
        assert!((optimum.objective.unwrap() - expected).abs() < 2e-6, "{optimum:?}");
        let (value, start) = local_search(&problem, attributes.len(), 3);
        assert!(value >= optimum.bound.unwrap() - 1e-6, "{value} {optimum:?}");
        // Begun from there, the search ends with the same.
        let options = Options { start: Some(start), ..Options::default() };
        let again = train(&problem, &Cbc, &options, &|_| ()).unwrap().optimum;
        let Start::Given { objective } = again.start else { panic!("{again:?}") };
        assert!((objective - value).abs() < 1e-4, "{objective} {value}");
        assert!((again.objective.unwrap() - optimum.objective.unwrap()).abs() < 1e-3, "{optimum:?} {again:?}");
    }
}
