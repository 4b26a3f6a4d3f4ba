use certificate::{Affine, Convolution, Domain, IntegerFeature, Interval, Layer, Layered, Shape, Window};
use milp::solver::{Cbc, Microlp, Solver, Status};
use milp::{Complementarity, Extreme, Inverse, Kind, Outcome, Question, Tightening};
use num_traits::ToPrimitive;
use rand::RngExt;

use super::patterns::maximum;
use super::*;

fn largest(output: usize) -> Question {
    Question::Extreme(Extreme { output, margin: None })
}

/// One network for every kind of layer.
fn every_layer(seed: u64) -> Vec<(&'static str, Layered)> {
    let mut rng = rng(seed);
    let image = Shape { channels: 2, height: 3, width: 3 };
    let kernel = |inputs, rng: &mut _| Convolution {
        window: Window { height: 2, width: 2, stride: 1, padding: 1 },
        kernel: dense(rng, inputs, 2),
    };
    let mut build = |input: Shape, middle: Vec<Layer>| {
        let probe = Layered::new(input, middle.clone()).unwrap();
        let mut layers = middle;
        layers.extend([Layer::Flatten, Layer::Dense(dense(&mut rng, probe.outputs(), 2))]);
        Layered::new(input, layers).unwrap()
    };
    let mut weights = super::rng(seed + 100);
    let mut hidden = || Layer::Dense(dense(&mut weights, 4, 5));
    let flat = Shape::list(4);
    let mut kernels = super::rng(seed + 200);
    vec![
        ("relu", build(flat, vec![hidden(), Layer::Relu])),
        ("leaky relu", build(flat, vec![hidden(), Layer::LeakyRelu(0.3)])),
        ("clamp", build(flat, vec![hidden(), Layer::Clamp { lower: -0.3, upper: 0.7 }])),
        ("relu of the inputs", build(flat, vec![Layer::Relu, hidden(), Layer::LeakyRelu(0.1)])),
        ("convolution", build(image, vec![Layer::Convolution(kernel(8, &mut kernels)), Layer::Relu])),
        ("max pooling", build(image, vec![Layer::MaxPool(Window::square(2, 1))])),
        (
            "max pooling of units",
            build(
                image,
                vec![Layer::Convolution(kernel(8, &mut kernels)), Layer::Relu, Layer::MaxPool(Window::square(2, 2))],
            ),
        ),
        (
            "average pooling, then clamp",
            build(image, vec![Layer::AveragePool(Window::square(3, 1)), Layer::Clamp { lower: -0.1, upper: 0.2 }]),
        ),
        ("average pooling, then relu", build(image, vec![Layer::AveragePool(Window::square(2, 1)), Layer::Relu])),
        ("no activation", build(flat, vec![hidden()])),
    ]
}

/// With the inputs fixed, the smallest and the largest output of the programme are that of the network.
#[test]
fn a_fixed_input_forces_the_outputs() {
    let mut rng = rng(1);
    for seed in 0..3 {
        for (name, network) in every_layer(seed) {
            let domain = cube(network.inputs(), 1.0);
            let inverse = inverse(&network, &domain);
            for complementarity in [Complementarity::BigM, Complementarity::Sos1] {
                if complementarity == Complementarity::BigM {
                    assert_eq!(inverse.unstable() == 0, ["max pooling", "no activation"].contains(&name), "{name}");
                }
                let x: Vec<f64> = (0..network.inputs()).map(|_| rng.random_range(-1.0..1.0)).collect();
                for (k, expected) in network.evaluate(&x).into_iter().enumerate() {
                    let mut programme = inverse.programme(&largest(k), complementarity).unwrap();
                    for (column, x) in programme.columns.iter_mut().zip(&x) {
                        (column.lower, column.upper) = (*x, *x);
                    }
                    for sign in [1.0, -1.0] {
                        programme.columns.iter_mut().for_each(|column| column.objective *= sign);
                        let solved = solve(&programme, &Cbc);
                        assert_eq!(solved.status, Status::Optimal, "{name}");
                        let found = -solved.incumbent.unwrap().objective * sign;
                        assert!((found - expected).abs() < 1e-6, "{name}: {found} instead of {expected}");
                        programme.columns.iter_mut().for_each(|column| column.objective *= sign);
                    }
                }
            }
        }
    }
}

/// The largest and, as the largest of minus the outputs, the smallest output over a box, by enumeration of all patterns, by
/// two solvers, with and without constants.
#[test]
fn extremes_are_those_of_the_enumeration() {
    let mut rng = rng(2);
    for case in 0..4 {
        let network = network(&mut rng, &[3, 4, 3, 2], case % 2 == 0);
        let domain = cube(3, 1.0);
        let minus = Affine::new(2, vec![-1.0, 0.0, 0.0, -1.0], vec![0.0; 2]).unwrap();
        let layers = [network.layers(), &[Layer::Dense(minus)]].concat();
        let negated = Layered::new(Shape::list(3), layers).unwrap();
        for (network, tightening) in [
            (&network, Tightening::Interval),
            (&network, Tightening::Lp),
            (&network, Tightening::Milp),
            (&negated, Tightening::Interval),
        ] {
            let inverse = Inverse::new(network, &domain, &names(3), tightening, MINUTE).unwrap();
            for output in 0..2 {
                let expected = maximum(network, &domain, output);
                let answer = inverse.answer(&largest(output), MINUTE).unwrap();
                let value = answer.witness.unwrap().value.to_f64().unwrap();
                assert!((value - expected).abs() < 1e-6, "{value} instead of {expected}");
                assert!(matches!(answer.outcome, Outcome::Optimal(milp::Proof::Own { .. })), "{:?}", answer.outcome);
                assert!(answer.bound >= value && answer.bound < value + 1e-5, "{} {value}", answer.bound);
                for (solver, complementarity) in
                    [(&Microlp as &dyn Solver, Complementarity::BigM), (&Cbc, Complementarity::Sos1)]
                {
                    let programme = inverse.programme(&largest(output), complementarity).unwrap();
                    let solved = solve(&programme, solver);
                    assert_eq!(solved.status, Status::Optimal, "{}", solver.name());
                    let found = -solved.incumbent.unwrap().objective;
                    assert!((found - expected).abs() < 1e-5, "{}: {found}", solver.name());
                }
            }
        }
    }
}

/// Each step of the ladder leaves fewer units open, and none that a point of the box contradicts.
#[test]
fn tightening_closes_units() {
    let mut rng = rng(3);
    let mut counts = [0; 3];
    for _ in 0..10 {
        let network = network(&mut rng, &[2, 5, 5, 5, 1], false);
        let domain = cube(2, 1.0);
        let count = |tightening| Inverse::new(&network, &domain, &names(2), tightening, MINUTE).unwrap().unstable();
        let open = [Tightening::Interval, Tightening::Lp, Tightening::Milp].map(count);
        assert!(open[0] >= open[1] && open[1] >= open[2], "{open:?}");
        counts.iter_mut().zip(open).for_each(|(sum, open)| *sum += open);
        // With no time the bounds are those of interval arithmetic.
        let rushed = Inverse::new(&network, &domain, &names(2), Tightening::Milp, Duration::ZERO).unwrap();
        assert_eq!(rushed.unstable(), open[0]);
    }
    assert!(counts[0] > counts[1] && counts[1] > counts[2], "{counts:?}");
}

/// One-hot groups and evenly spaced values against all points of the domain.
#[test]
fn discrete_inputs_take_only_their_values() {
    let mut rng = rng(4);
    for _ in 0..10 {
        let network = network(&mut rng, &[5, 6, 2], false);
        let sides = [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [-1.0, 2.0], [0.25, 0.75]];
        let sides = sides.map(|[lower, upper]| Interval::new(lower, upper)).to_vec();
        let integer = vec![IntegerFeature { input: 3, steps: 7 }, IntegerFeature { input: 4, steps: 3 }];
        let domain = Domain::new(sides, vec![vec![0, 1, 2]], integer).unwrap();
        let mut expected = f64::NEG_INFINITY;
        for code in 0..3 * 8 * 4 {
            let mut x = [0.0; 5];
            x[code % 3] = 1.0;
            x[3] = -1.0 + 3.0 * (code / 3 % 8) as f64 / 7.0;
            x[4] = 0.25 + 0.5 * (code / 24) as f64 / 3.0;
            expected = expected.max(network.evaluate(&x)[1]);
        }
        let answer = inverse(&network, &domain).answer(&largest(1), MINUTE).unwrap();
        let witness = answer.witness.unwrap();
        assert!(certificate::contains(&domain, &witness.point));
        assert!((witness.value.to_f64().unwrap() - expected).abs() < 1e-9);
        assert!(matches!(answer.outcome, Outcome::Optimal(_)));
    }
}

/// What a large constant does to a solver, on purpose, and that no programme of ours has one.
#[test]
fn large_constants_break_solvers_and_are_never_used() {
    let mut rng = rng(5);
    let (mut refused, mut wrong) = ([0; 3], [0; 3]);
    for case in 0..10 {
        let network = network(&mut rng, &[4, 6, 6, 2], false);
        let domain = cube(4, 1.0);
        let programme = inverse(&network, &domain).programme(&largest(0), Complementarity::BigM).unwrap();
        let constants = programme.rows.iter().flat_map(|row| row.terms.iter().map(|(_, a)| a.abs()));
        assert!(constants.fold(0.0, f64::max) < 1e3, "{case}");
        let right = -solve(&programme, &Cbc).incumbent.unwrap().objective;
        for (k, constant) in [1e4, 1e7, 1e9].into_iter().enumerate() {
            let found = solve(&careless(&programme, constant), &Cbc);
            match found.incumbent.map(|incumbent| -incumbent.objective) {
                Some(value) if found.status == Status::Optimal => {
                    wrong[k] += usize::from((value - right).abs() > 1e-4 * right.abs().max(1.0));
                }
                // An answer that does not fit its own programme is not let through.
                _ => refused[k] += 1,
            }
        }
    }
    println!("of 10 with constants 1e4, 1e7, 1e9: wrong optimum {wrong:?}, no usable answer {refused:?}");
    assert!(wrong[2] + refused[2] > 0);
    let large = Affine::new(1, vec![2e6], vec![0.0]).unwrap();
    let network = Layered::new(Shape::list(1), vec![Layer::Dense(large), Layer::Relu]).unwrap();
    let domain = cube(1, 1.0);
    let refused = Inverse::new(&network, &domain, &names(1), Tightening::Interval, MINUTE).unwrap_err();
    assert!(refused.to_string().contains("l2_n0"), "{refused}");
}

/// The programme with this constant in place of every one that was derived.
fn careless(programme: &Programme, constant: f64) -> Programme {
    let mut careless = programme.clone();
    for row in &mut careless.rows {
        if row.name.starts_with("if_on") {
            row.terms[1].1 = -constant;
        } else if row.name.starts_with("if_off") {
            row.terms[1].1 = constant;
            row.upper = constant;
        }
    }
    for column in careless.columns.iter_mut().filter(|column| column.kind == Kind::Continuous) {
        if column.lower == 0.0 && column.name.starts_with('l') {
            column.upper = constant;
        }
    }
    careless
}

#[test]
fn names_are_readable_and_unique() {
    let mut rng = rng(6);
    let network = network(&mut rng, &[3, 2, 1], false);
    let domain = cube(3, 1.0);
    let names = ["race=Other".to_owned(), "l2_n0".to_owned(), "race Other".to_owned()];
    let inverse = Inverse::new(&network, &domain, &names, Tightening::Interval, MINUTE).unwrap();
    let programme = inverse.programme(&largest(0), Complementarity::Sos1).unwrap();
    programme.validate().unwrap();
    let first: Vec<_> = programme.columns[..3].iter().map(|column| column.name.as_str()).collect();
    assert_eq!(first, ["race_Other", "x1_l2_n0", "x2_race_Other"]);
}
