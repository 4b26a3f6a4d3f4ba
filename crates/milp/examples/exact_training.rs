//! Which trainings finish: every line is one problem with its size, its optimum, what is proved of it, and the time. Then the
//! convex programme of two-layer networks.
//!
//! ```text
//! cargo run --release -p milp --example exact_training -- 60 [WORD]     # seconds per problem; only lines with the word
//! ```

mod breast_cancer;

use std::time::Instant;

use certificate::{Shape, Window};
use milp::solver::Cbc;
use milp::training::{
    Layer, Loss, Options, Parameters, Problem, Products, Targets, WeightDomain, train, two_layer_optimum,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn dense(outputs: usize, domain: &WeightDomain) -> Layer {
    Layer::Dense(Parameters::new(outputs, domain.clone(), domain.clone()))
}

fn exclusive_or(hidden: usize, domain: &WeightDomain, products: Products) -> Problem {
    Problem {
        input: Shape::list(2),
        layers: vec![dense(hidden, domain), Layer::Relu, dense(1, domain)],
        samples: vec![vec![0.0, 0.0], vec![0.0, 1.0], vec![1.0, 0.0], vec![1.0, 1.0]],
        targets: Targets::Values(vec![vec![0.0], vec![1.0], vec![1.0], vec![0.0]]),
        loss: Loss::L1,
        products,
        constraints: vec![],
    }
}

/// `n` points of the plane with random labels: the hardest of all, because there is nothing to be learnt.
fn random(n: usize, hidden: usize, domain: &WeightDomain, products: Products) -> Problem {
    let mut rng = ChaCha8Rng::seed_from_u64(n as u64);
    let samples = (0..n).map(|_| (0..2).map(|_| f64::from(rng.random_range(-8..=8)) / 8.0).collect()).collect();
    let classes = (0..n).map(|i| if i < 2 { i } else { rng.random_range(0..2) }).collect();
    let problem = exclusive_or(hidden, domain, products);
    Problem { samples, targets: Targets::Classes(classes), loss: Loss::Hinge, ..problem }
}

/// Breast cancer with other layers.
fn patients(n: usize, layers: Vec<Layer>, products: Products) -> Problem {
    Problem { layers, products, ..breast_cancer::problem(&[0, 1, 2, 3, 4, 5, 6, 7, 8], n) }
}

/// Bright bars across a noisy image, lying or standing: a convolution with pooling.
fn bars(n: usize) -> Problem {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let image = |i: usize, rng: &mut ChaCha8Rng| {
        let at = rng.random_range(0..3);
        let on = |k: usize| if i.is_multiple_of(2) { k / 3 == at } else { k % 3 == at };
        (0..9).map(|k| f64::from(u8::from(on(k))) + f64::from(rng.random_range(0..=2)) / 8.0).collect()
    };
    let samples = (0..n).map(|i| image(i, &mut rng)).collect();
    let ternary = WeightDomain::integers(-1, 1);
    let kernel = Parameters::new(1, ternary.clone(), ternary.clone());
    Problem {
        input: Shape { channels: 1, height: 3, width: 3 },
        layers: vec![
            Layer::Convolution(Window { height: 1, width: 3, stride: 1, padding: 0 }, kernel),
            Layer::Relu,
            Layer::MaxPool(Window { height: 3, width: 1, stride: 1, padding: 0 }),
            Layer::Flatten,
            dense(1, &WeightDomain::integers(-2, 2)),
        ],
        samples,
        targets: Targets::Classes((0..n).map(|i| i % 2).collect()),
        loss: Loss::Hinge,
        products: Products::OneHot,
        constraints: vec![],
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let time_limit_s = std::env::args().nth(1).map_or(Ok(60.0), |text| text.parse())?;
    let word = std::env::args().nth(2).unwrap_or_default();
    let (ternary, quinary, real) =
        (WeightDomain::integers(-1, 1), WeightDomain::integers(-2, 2), WeightDomain::real(4.0));
    let penalised =
        |outputs| Layer::Dense(Parameters { l1: 0.01, ..Parameters::new(outputs, real.clone(), real.clone()) });
    let binary = Products::BinaryExpansion;
    let mut problems = vec![
        ("xor, 2-2-1 one-hot {-1..1}".to_owned(), exclusive_or(2, &ternary, Products::OneHot)),
        ("xor, 2-4-1 one-hot {-2..2}".to_owned(), exclusive_or(4, &quinary, Products::OneHot)),
        ("xor, 2-4-1 binary {-2..2}".to_owned(), exclusive_or(4, &quinary, binary)),
        ("xor, 2-2-1 absorbed real".to_owned(), exclusive_or(2, &real, Products::Absorbed)),
    ];
    for n in [8, 12, 16] {
        problems.push((format!("random {n}, 2-2-1 one-hot {{-1..1}}"), random(n, 2, &ternary, Products::OneHot)));
        problems.push((format!("random {n}, 2-2-1 binary {{-1..1}}"), random(n, 2, &ternary, binary)));
        problems.push((format!("random {n}, 2-2-1 absorbed real"), random(n, 2, &real, Products::Absorbed)));
    }
    for n in [16, 32, 64] {
        problems.push((format!("cancer {n}, 2-2-1 real, signs + -"), breast_cancer::problem(&[1, 5], n)));
        let nine = breast_cancer::problem(&[0, 1, 2, 3, 4, 5, 6, 7, 8], n);
        problems.push((format!("cancer {n}, 9-2-1 real, signs + -"), nine));
        let layers = vec![penalised(2), Layer::Relu, dense(1, &real)];
        problems.push((format!("cancer {n}, 9-2-1 real, all signs"), patients(n, layers, Products::Absorbed)));
        let layers = vec![dense(2, &ternary), Layer::Relu, dense(1, &ternary)];
        problems.push((format!("cancer {n}, 9-2-1 one-hot {{-1..1}}"), patients(n, layers, Products::OneHot)));
    }
    let layers = vec![penalised(2), Layer::Relu, dense(1, &WeightDomain::real(1.0))];
    let relaxed = patients(16, layers, Products::McCormick { pieces: 2 });
    problems.push(("cancer 16, 9-2-1 McCormick, 2 pieces".to_owned(), relaxed));
    for n in [4, 8, 16] {
        problems.push((format!("bars {n}, convolution, max pooling"), bars(n)));
    }
    println!("| problem | columns / integers / rows | objective | bound | end | programmes | seconds |");
    println!("|---|---|---|---|---|---|---|");
    for (name, problem) in problems.into_iter().filter(|(name, _)| name.contains(&word)) {
        let optimum = train(&problem, &Cbc, &Options { time_limit_s, ..Options::default() }, &|_| ())?.optimum;
        let number = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.6}"));
        println!(
            "| {name} | {}/{}/{} | {} | {} | {:?} | {} | {:.1} |",
            optimum.size.columns,
            optimum.size.integers,
            optimum.size.rows,
            number(optimum.objective),
            number(optimum.bound),
            optimum.end,
            optimum.programmes,
            optimum.seconds
        );
    }
    if "convex".contains(&word) {
        convex()?;
    }
    Ok(())
}

/// Two-layer networks with weight decay on random points.
fn convex() -> milp::Result<()> {
    println!("\n| convex programme | patterns | objective | bound | seconds |\n|---|---|---|---|---|");
    for (n, features) in [(20, 1), (50, 1), (100, 1), (10, 2), (20, 2), (30, 2), (10, 3), (15, 3)] {
        let mut rng = ChaCha8Rng::seed_from_u64(n as u64);
        let mut number = || f64::from(rng.random_range(-1.0..1.0_f32));
        let samples: Vec<Vec<f64>> = (0..n).map(|_| (0..features).map(|_| number()).collect()).collect();
        let targets: Vec<f64> = (0..n).map(|_| number()).collect();
        let begin = Instant::now();
        let optimum = two_layer_optimum(&samples, &targets, 0.05)?;
        let (value, bound, seconds) = (optimum.objective, optimum.bound, begin.elapsed().as_secs_f64());
        println!(
            "| {n} samples, {features} features | {} | {value:.6} | {bound:.6} | {seconds:.1} |",
            optimum.patterns
        );
    }
    Ok(())
}
