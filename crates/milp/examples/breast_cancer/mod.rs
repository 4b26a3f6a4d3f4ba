//! Samples of the Wisconsin breast-cancer table as training problems.

use certificate::Shape;
use milp::training::{Layer, Loss, Parameters, Problem, Products, Targets, WeightDomain};

const TABLE: &str = include_str!("../../../../datasets/wbc/breast-cancer-wisconsin.data");

/// Complete rows: nine grades from 1 to 10 on [0, 1], and whether the sample is malignant.
fn rows() -> Vec<(Vec<f64>, usize)> {
    let row = |line: &str| {
        let fields: Vec<f64> = line.split(',').map(|field| field.parse().ok()).collect::<Option<_>>()?;
        Some((fields[1..10].iter().map(|grade| (grade - 1.0) / 9.0).collect(), usize::from(fields[10] == 4.0)))
    };
    TABLE.lines().filter_map(row).collect()
}

/// The first rows of `numpy.random.default_rng(5).permutation(683)`.
const ORDER: [usize; 64] = [
    229, 115, 89, 619, 37, 71, 232, 299, 565, 230, 577, 315, 185, 625, 350, 557, 400, 31, 583, 541, 122, 578, 474, 358,
    459, 426, 80, 444, 543, 161, 113, 311, 466, 233, 177, 34, 334, 615, 224, 188, 374, 61, 46, 258, 112, 329, 276, 680,
    475, 28, 628, 425, 3, 631, 669, 421, 510, 203, 213, 211, 433, 568, 562, 269,
];

/// `n` samples with these attributes: hinge loss and 0.01 L1 on the hidden weights; two absorbed units, one up, one down.
pub fn problem(attributes: &[usize], n: usize) -> Problem {
    let rows = rows();
    let chosen = ORDER[..n].iter().map(|k| &rows[*k]);
    let (samples, classes) = chosen.map(|(x, y)| (attributes.iter().map(|a| x[*a]).collect(), *y)).unzip();
    let real = WeightDomain::real(4.0);
    let hidden = Parameters { l1: 0.01, ..Parameters::new(2, real.clone(), real.clone()) };
    Problem {
        input: Shape::list(attributes.len()),
        layers: vec![
            Layer::Dense(hidden),
            Layer::Relu,
            Layer::Dense(Parameters::new(1, WeightDomain::Fixed(vec![1.0, -1.0]), real)),
        ],
        samples,
        targets: Targets::Classes(classes),
        loss: Loss::Hinge,
        products: Products::OneHot,
        constraints: vec![],
    }
}
