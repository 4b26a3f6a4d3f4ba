//! Two-layer networks with weight decay: no local search from any start is below the optimum of the convex programme, and the
//! best of many comes near it.

use milp::training::two_layer_optimum;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Adam on `1/2 |f - y|^2 + decay/2 (|w|^2 + |v|^2)`, the bias being the weight of a last feature.
fn local_search(rows: &[Vec<f64>], y: &[f64], decay: f64, units: usize, seed: u64) -> f64 {
    let d = rows[0].len();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Per unit its weights, then what it counts.
    let mut w: Vec<f64> = (0..units * (d + 1)).map(|_| rng.random_range(-1.0..1.0)).collect();
    let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
    let expand = |w: &[f64]| {
        let mut gradient: Vec<f64> = w.iter().map(|w| decay * w).collect();
        let mut value = 0.5 * decay * w.iter().map(|w| w * w).sum::<f64>();
        for (x, y) in rows.iter().zip(y) {
            let t: Vec<f64> = w.chunks(d + 1).map(|unit| x.iter().zip(unit).map(|(x, w)| x * w).sum::<f64>()).collect();
            let error = t.iter().zip(w.chunks(d + 1)).map(|(t, unit)| t.max(0.0) * unit[d]).sum::<f64>() - y;
            value += 0.5 * error * error;
            for ((t, gradient), unit) in t.iter().zip(gradient.chunks_mut(d + 1)).zip(w.chunks(d + 1)) {
                if *t > 0.0 {
                    (0..d).for_each(|k| gradient[k] += error * unit[d] * x[k]);
                    gradient[d] += error * t;
                }
            }
        }
        (value, gradient)
    };
    let mut best = f64::INFINITY;
    for step in 1..=3000 {
        let (value, gradient) = expand(&w);
        best = best.min(value);
        let rate = 0.02 * (1.0 - f64::from(step) / 3001.0);
        for k in 0..w.len() {
            m[k] = 0.9 * m[k] + 0.1 * gradient[k];
            v[k] = 0.99 * v[k] + 0.01 * gradient[k] * gradient[k];
            w[k] -= rate * m[k] / (v[k].sqrt() + 1e-9);
        }
    }
    best
}

#[test]
fn no_local_search_is_below_the_convex_optimum() {
    for seed in 0..4 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let features = 1 + seed as usize % 2;
        let samples: Vec<Vec<f64>> =
            (0..6).map(|_| (0..features).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
        let y: Vec<f64> = samples.iter().map(|_| rng.random_range(-1.0..1.0)).collect();
        let decay = 0.05;
        let optimum = two_layer_optimum(&samples, &y, decay).unwrap();
        assert!(optimum.bound <= optimum.objective + 1e-9 && optimum.objective - optimum.bound < 1e-5, "{optimum:?}");
        let rows: Vec<Vec<f64>> = samples.iter().map(|x| x.iter().copied().chain([1.0]).collect()).collect();
        let found: Vec<f64> = (0..6).map(|start| local_search(&rows, &y, decay, 12, 100 * seed + start)).collect();
        let best = found.iter().copied().fold(f64::INFINITY, f64::min);
        println!("seed {seed}: convex {:.6}, best of {} starts {best:.6}", optimum.objective, found.len());
        assert!(found.iter().all(|value| *value >= optimum.bound - 1e-9), "{found:?} {optimum:?}");
        assert!(best <= optimum.objective + 0.02, "{found:?} {optimum:?}");
    }
}
