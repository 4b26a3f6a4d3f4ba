//! Random small blocks: the programme against the enumeration of all activation patterns.

use certificate::exact::approximate;
use certificate::{
    Activation, Affine, Block, Direction, Domain, IntegerFeature, Interval, Query, Rows, Verdict, exact,
};
use milp::solver::{Cbc, Microlp};
use milp::{DirectedDerivative, Engine, Method, Mode, Options, QueryReport, verify_query};
use num_rational::BigRational;
use num_traits::{Signed, Zero};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

mod enumeration;
mod proofs;

use enumeration::{block, minimum, random_block};

const UP: Direction = Direction::Increasing;
const ENGINES: [Engine; 3] = [Engine::BranchAndBound, Engine::Milp(&Cbc), Engine::Milp(&Microlp)];

fn any_block(rng: &mut ChaCha8Rng) -> Block {
    let size = (rng.random_range(1..=4), rng.random_range(1..=12));
    random_block(rng, size)
}

/// Decides a query; if the answer comes with a proof, that is checked.
fn decide(block: &Block, domain: &Domain, engine: Engine, mode: Mode, samples: usize) -> QueryReport {
    let query = Query { row: 0, input: 0, direction: UP };
    let options = Options { mode, samples, query_time_limit_s: 20.0, ..Options::default() };
    let report = verify_query(block, domain, query, engine, &options).unwrap();
    proofs::check_query(block, domain, &report);
    report
}

fn check_refutation(block: &Block, domain: &Domain, report: &QueryReport) {
    let Verdict::Refuted(pair) = &report.verdict else { panic!("{report:?}") };
    assert!(certificate::contains(domain, &pair.lower) && certificate::contains(domain, &pair.upper));
    let value = |x: &[BigRational]| exact::block(block, x).unwrap().swap_remove(pair.row);
    assert!(pair.drop.is_positive());
    assert_eq!(value(&pair.lower) - value(&pair.upper), pair.drop);
}

#[test]
fn the_programme_finds_the_enumerated_minimum() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (mut negative, mut zero, mut positive) = (0, 0, 0);
    for case in 0..300 {
        let block = any_block(&mut rng);
        let lower = if rng.random_bool(0.5) { 0.0 } else { -1.0 };
        let domain = Domain::from_box(vec![Interval::new(lower, 1.0); block.inputs()]).unwrap();
        let query = Query { row: 0, input: 0, direction: UP };
        let derivative = DirectedDerivative::new(&block, &Rows::OUTPUTS, &domain, query).unwrap();
        let expected = minimum(&derivative);
        for engine in ENGINES {
            let name = engine.name();
            let minimum = decide(&block, &domain, engine, Mode::Minimum, 20);
            if !derivative.neurons.is_empty() {
                let found = minimum.incumbent.unwrap();
                assert!((found - approximate(&expected)).abs() < 1e-9, "{case} {name}: {expected} {minimum:?}");
                assert!(
                    minimum.lower_bound <= found && minimum.lower_bound > found - 1e-5,
                    "{case} {name}: {minimum:?}"
                );
            }
            // Without samples the solver has to do all the work.
            let sign = decide(&block, &domain, engine, Mode::Sign, 0);
            for report in [&minimum, &sign, &decide(&block, &domain, engine, Mode::Sign, 50)] {
                assert_eq!(report.verdict.is_certified(), !expected.is_negative(), "{case} {name}: {report:?}");
                if expected.is_negative() {
                    check_refutation(&block, &domain, report);
                }
            }
        }
        match (expected.is_negative(), expected.is_zero()) {
            (true, _) => negative += 1,
            (_, true) => zero += 1,
            _ => positive += 1,
        }
    }
    assert!(negative > 50 && zero > 30 && positive > 30, "{negative} {zero} {positive}");
}

/// Boxes with sides of length zero, one-hot groups and integer features, in both modes, every proof checked.
#[test]
fn branch_and_bound_is_exact_on_thousands_of_blocks() {
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    let (mut negative, mut positive) = (0, 0);
    for case in 0..2000 {
        let block = {
            let size = (rng.random_range(2..=4), rng.random_range(1..=9));
            random_block(&mut rng, size)
        };
        let inputs = block.inputs();
        let mut sides: Vec<_> = (0..inputs).map(|_| Interval::new(-f64::from(rng.random_range(0..=1)), 1.0)).collect();
        let (mut one_hot, mut integer) = (vec![], vec![]);
        match rng.random_range(0..5) {
            0 => sides[1] = Interval::new(0.5, 0.5),
            1 if inputs > 2 => {
                (sides[1], sides[2]) = (Interval::new(0.0, 1.0), Interval::new(0.0, 1.0));
                one_hot.push(vec![1, 2]);
            }
            2 => integer.push(IntegerFeature { input: inputs - 1, steps: rng.random_range(1..=5) }),
            _ => {}
        }
        let domain = Domain::new(sides, one_hot, integer).unwrap();
        let derivative =
            DirectedDerivative::new(&block, &Rows::OUTPUTS, &domain, Query { row: 0, input: 0, direction: UP })
                .unwrap();
        let expected = minimum(&derivative);
        let sign = decide(&block, &domain, Engine::BranchAndBound, Mode::Sign, 0);
        let least = decide(&block, &domain, Engine::BranchAndBound, Mode::Minimum, 10);
        for report in [&sign, &least] {
            assert_eq!(report.verdict.is_certified(), !expected.is_negative(), "{case}: {expected} {report:?}");
            if expected.is_negative() {
                check_refutation(&block, &domain, report);
            }
        }
        if !derivative.neurons.is_empty() {
            let found = approximate(&expected);
            assert!((least.incumbent.unwrap() - found).abs() < 1e-12, "{case}: {expected} {least:?}");
            assert!(least.lower_bound <= found && least.lower_bound > found - 1e-7, "{case}: {expected} {least:?}");
        }
        *if expected.is_negative() { &mut negative } else { &mut positive } += 1;
    }
    println!("{negative} refuted and {positive} certified blocks, all as enumerated");
    assert!(negative > 500 && positive > 500, "{negative} {positive}");
}

/// The block in which every input but the first is the mean of some copies: it has the same cells, and the same derivatives
/// along the first.
fn with_copies(block: &Block, copies: usize) -> Block {
    let (first, inputs) = (block.first(), block.inputs());
    let copied = |w: &f32| std::iter::repeat_n(w / copies as f32, copies);
    let row = |i: usize| {
        let row = first.row(i);
        row[..1].iter().copied().chain(row[1..].iter().flat_map(copied)).collect::<Vec<f32>>()
    };
    let weight = (0..first.bias().len()).flat_map(row).collect();
    enumeration::block(1 + copies * (inputs - 1), weight, first.bias().to_vec(), block.second().row(0).to_vec())
}

/// So many inputs that open cells are looked for with rounded numbers first, against the enumeration with few, where none
/// are rounded.
#[test]
fn branch_and_bound_is_exact_with_many_inputs() {
    let mut rng = ChaCha8Rng::seed_from_u64(22);
    let (mut negative, mut positive) = (0, 0);
    for case in 0..120 {
        let hidden = rng.random_range(2..=9);
        let few = random_block(&mut rng, (3, hidden));
        let many = with_copies(&few, 32);
        let [lower, upper] = [-f64::from(rng.random_range(0..=1)), 1.0];
        let boxed = |block: &Block| Domain::from_box(vec![Interval::new(lower, upper); block.inputs()]).unwrap();
        let (narrow, wide) = (boxed(&few), boxed(&many));
        let query = Query { row: 0, input: 0, direction: UP };
        let derivative = DirectedDerivative::new(&few, &Rows::OUTPUTS, &narrow, query).unwrap();
        let expected = minimum(&derivative);
        for engine in [Engine::BranchAndBound, Engine::Milp(&Cbc)] {
            let report = decide(&many, &wide, engine, Mode::Sign, 0);
            assert_eq!(report.verdict.is_certified(), !expected.is_negative(), "{case}: {expected} {report:?}");
            if expected.is_negative() {
                check_refutation(&many, &wide, &report);
            }
        }
        let least = decide(&many, &wide, Engine::BranchAndBound, Mode::Minimum, 10);
        if !derivative.neurons.is_empty() {
            let found = approximate(&expected);
            assert!((least.incumbent.unwrap() - found).abs() < 1e-12, "{case}: {expected} {least:?}");
        }
        *if expected.is_negative() { &mut negative } else { &mut positive } += 1;
    }
    assert!(negative > 30 && positive > 30, "{negative} {positive}");
}

#[test]
fn no_sample_contradicts_a_certificate() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let mut certified = 0;
    for _ in 0..60 {
        let block = any_block(&mut rng);
        let domain = Domain::unit_cube(block.inputs());
        if !decide(&block, &domain, Engine::BranchAndBound, Mode::Sign, 100).verdict.is_certified() {
            continue;
        }
        certified += 1;
        for _ in 0..200 {
            let mut x: Vec<f64> = (0..block.inputs()).map(|_| rng.random()).collect();
            let before = block.evaluate(&x)[0];
            x[0] += rng.random_range(0.0..1.0) * (1.0 - x[0]);
            assert!(block.evaluate(&x)[0] >= before - 1e-12);
        }
    }
    assert!(certified > 10, "{certified}");
}

#[test]
fn discrete_inputs_give_the_minimum_over_their_values() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut gained = 0;
    let mut cases = 0;
    while cases < 60 {
        let block = any_block(&mut rng);
        if block.inputs() != 4 {
            continue;
        }
        cases += 1;
        let cube = Domain::unit_cube(4);
        let one_hot = Domain::new(cube.input_box().to_vec(), vec![vec![1, 2]], vec![]).unwrap();
        let integer = vec![IntegerFeature { input: 3, steps: 3 }];
        let both = Domain::new(cube.input_box().to_vec(), vec![vec![1, 2]], integer).unwrap();
        let on_cube = decide(&block, &cube, Engine::BranchAndBound, Mode::Sign, 50).verdict.is_certified();
        for domain in [&one_hot, &both] {
            let query = Query { row: 0, input: 0, direction: UP };
            let derivative = DirectedDerivative::new(&block, &Rows::OUTPUTS, domain, query).unwrap();
            let expected = minimum(&derivative);
            for engine in ENGINES {
                for report in [
                    decide(&block, domain, engine, Mode::Sign, 0),
                    decide(&block, domain, engine, Mode::Sign, 50),
                    decide(&block, domain, engine, Mode::Minimum, 50),
                ] {
                    assert_eq!(
                        report.verdict.is_certified(),
                        !expected.is_negative(),
                        "{cases}: {expected} {report:?}"
                    );
                    if expected.is_negative() {
                        check_refutation(&block, domain, &report);
                    }
                    assert!(!on_cube || report.verdict.is_certified());
                    gained += usize::from(!on_cube && report.verdict.is_certified());
                }
                let minimum = decide(&block, domain, engine, Mode::Minimum, 0);
                if !derivative.neurons.is_empty() {
                    assert!((minimum.incumbent.unwrap() - approximate(&expected)).abs() < 1e-9, "{minimum:?}");
                }
            }
        }
    }
    assert!(gained > 0, "the smaller domain should certify more somewhere");
}

#[test]
fn an_integer_input_is_refuted_between_its_own_values_only() {
    // f(x) = x - 4 max(0, x - 0.25) + 4 max(0, x - 0.5) falls from 0.25 to 0.5 and nowhere else: -0.75 there.
    let wiggle = block(1, vec![1.0; 3], vec![0.0, -0.25, -0.5], vec![1.0, -4.0, 4.0]);
    let with =
        |steps| Domain::new(vec![Interval::new(0.0, 1.0)], vec![], vec![IntegerFeature { input: 0, steps }]).unwrap();
    let fine = decide(&wiggle, &with(4), Engine::BranchAndBound, Mode::Sign, 100);
    check_refutation(&wiggle, &with(4), &fine);
    let coarse = decide(&wiggle, &with(1), Engine::BranchAndBound, Mode::Sign, 100);
    assert!(matches!(coarse.verdict, Verdict::Undecided { .. }), "{coarse:?}");
}

#[test]
fn a_tiny_shift_of_the_minimum_decides() {
    let mut rng = ChaCha8Rng::seed_from_u64(10);
    let mut tried = 0;
    while tried < 6 {
        let hidden = 10;
        let weight: Vec<f32> = (0..hidden * 3).map(|_| rng.random_range(-1.0..1.0_f32)).collect();
        let bias: Vec<f32> = (0..hidden).map(|_| rng.random_range(-0.5..0.5_f32)).collect();
        let second: Vec<f32> = (0..hidden).map(|_| rng.random_range(-1.0..1.0_f32)).collect();
        let domain = Domain::unit_cube(3);
        let least = |block: &Block| {
            let derivative =
                DirectedDerivative::new(block, &Rows::OUTPUTS, &domain, Query { row: 0, input: 0, direction: UP })
                    .unwrap();
            minimum(&derivative)
        };
        let plain = least(&block(3, weight.clone(), bias.clone(), second.clone()));
        // Neurons that are always on move the minimum: the second takes what the first lost to rounding.
        for shift in [-1e-3, -1e-4, -1e-5, -1e-6, -1e-7, -1e-8, 1e-8, 1e-6] {
            let coarse = (shift - approximate(&plain)) as f32;
            let fine = (shift - approximate(&plain) - f64::from(coarse)) as f32;
            let (mut weight, mut bias, mut second) = (weight.clone(), bias.clone(), second.clone());
            for add in [coarse, fine] {
                weight.extend([1.0, 0.0, 0.0]);
                bias.push(1.0);
                second.push(add);
            }
            let shifted = block(3, weight, bias, second);
            let least = least(&shifted);
            assert!((approximate(&least) - shift).abs() < 0.1 * shift.abs(), "{shift}: {}", approximate(&least));
            for engine in ENGINES {
                for mode in [Mode::Sign, Mode::Minimum] {
                    let report = decide(&shifted, &domain, engine, mode, 0);
                    assert_eq!(report.verdict.is_certified(), shift > 0.0, "{} {shift}: {report:?}", engine.name());
                    assert_eq!(report.verdict.is_refuted(), shift < 0.0, "{} {shift}: {report:?}", engine.name());
                }
            }
        }
        tried += 1;
    }
}

#[test]
fn positive_weights_certify_and_one_flipped_sign_is_refuted() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for _ in 0..10 {
        let mut positive = |count: usize| (0..count).map(|_| rng.random_range(0.1..1.0_f32)).collect::<Vec<_>>();
        let (weight, second) = (positive(8 * 3), positive(8));
        let bias = vec![-0.5; 8];
        let domain = Domain::unit_cube(3);
        let report = decide(
            &block(3, weight.clone(), bias.clone(), second.clone()),
            &domain,
            Engine::BranchAndBound,
            Mode::Sign,
            0,
        );
        assert!(report.verdict.is_certified() && report.method == Method::Signs);
        // A path that is on before the others: t = -x1 + ... falls with x0 alone.
        let (mut weight, mut bias, mut second) = (weight, bias, second);
        weight.extend([-1.0, 0.0, 0.0]);
        bias.push(0.4);
        second.push(1.0);
        let flipped = block(3, weight, bias, second);
        let report = decide(&flipped, &domain, Engine::BranchAndBound, Mode::Sign, 0);
        check_refutation(&flipped, &domain, &report);
        let Verdict::Refuted(pair) = report.verdict else { unreachable!() };
        assert_eq!((pair.input, pair.row), (0, 0));
        let digits = pair.lower.iter().chain(&pair.upper).map(|x| x.to_string().len()).max();
        assert!(digits < Some(12), "{pair:?}");
    }
}

#[test]
fn a_monotone_block_without_biases_is_certified() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let mut certified = 0;
    for (case, lower) in [0.0, -1.0].into_iter().cycle().take(40).enumerate() {
        let (hidden, inputs) = (8, 3);
        let mut weight: Vec<f32> = (0..hidden * inputs).map(|_| rng.random_range(-1.0..1.0_f32)).collect();
        let mut second: Vec<f32> = (0..hidden).map(|_| rng.random_range(-0.3..0.3_f32)).collect();
        // x0 and -x0: together a slope of one everywhere but at x0 = 0.
        weight.extend([1.0, 0.0, 0.0, -1.0, 0.0, 0.0]);
        second.extend([0.6, -0.6]);
        let block = block(inputs, weight, vec![0.0; hidden + 2], second);
        let domain = Domain::from_box(vec![Interval::new(lower, 1.0); inputs]).unwrap();
        let derivative =
            DirectedDerivative::new(&block, &Rows::OUTPUTS, &domain, Query { row: 0, input: 0, direction: UP })
                .unwrap();
        let expected = minimum(&derivative);
        let closed = derivative.sign_bound();
        let report = decide(&block, &domain, Engine::BranchAndBound, Mode::Sign, 0);
        assert_eq!(report.verdict.is_certified(), !expected.is_negative(), "{case}: {report:?}");
        certified += usize::from(report.verdict.is_certified() && closed.is_negative());
    }
    assert!(certified > 5, "{certified}");
}

#[test]
fn reports_travel_as_json() {
    let mut rng = ChaCha8Rng::seed_from_u64(13);
    for _ in 0..10 {
        let block = any_block(&mut rng);
        let report = decide(&block, &Domain::unit_cube(block.inputs()), Engine::BranchAndBound, Mode::Sign, 20);
        let report = QueryReport { proof: None, ..report };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<QueryReport>(&text).unwrap(), report);
    }
}

#[test]
fn a_pinned_input_and_a_missing_path_hold_at_once() {
    let falling = block(2, vec![1.0, 0.0], vec![0.0], vec![-1.0]);
    let pinned = Domain::from_box(vec![Interval::new(0.5, 0.5), Interval::new(0.0, 1.0)]).unwrap();
    assert!(decide(&falling, &pinned, Engine::BranchAndBound, Mode::Sign, 10).verdict.is_certified());
    assert!(decide(&falling, &Domain::unit_cube(2), Engine::BranchAndBound, Mode::Minimum, 10).verdict.is_refuted());
    let query = Query { row: 0, input: 1, direction: UP };
    let report =
        verify_query(&falling, &Domain::unit_cube(2), query, Engine::BranchAndBound, &Options::default()).unwrap();
    assert!(report.verdict.is_certified() && report.method == Method::Signs);
}

/// Found in review: tolerances of a solver are absolute, so without scaling small path weights certified anything. The
/// same random blocks with weights scaled by powers of two, which changes no sign, get the same verdicts.
#[test]
fn verdicts_do_not_depend_on_the_scale_of_the_weights() {
    let mut rng = ChaCha8Rng::seed_from_u64(77);
    let mut refuted = 0;
    for _ in 0..25 {
        let (inputs, hidden) = (3, 8);
        let numbers =
            |rng: &mut ChaCha8Rng, n: usize| (0..n).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        let (first, bias) = (numbers(&mut rng, inputs * hidden), numbers(&mut rng, hidden));
        let mut second = numbers(&mut rng, hidden);
        // Mostly rising, so that both verdicts occur.
        second.iter_mut().enumerate().for_each(|(i, w)| *w = (w.abs() + 0.1) * first[i * inputs].signum());
        second[0] = -second[0];
        let verdict = |outer: f32, inner: f32| {
            let scaled = |numbers: &[f32], by: f32| numbers.iter().map(|w| w * by).collect::<Vec<_>>();
            let first = Affine::new(inputs, scaled(&first, inner), scaled(&bias, inner)).unwrap();
            let second = Affine::new(hidden, scaled(&second, outer), vec![0.0]).unwrap();
            let block = Block::new(first, Activation::Relu, second).unwrap();
            let query = Query { row: 0, input: 0, direction: Direction::Increasing };
            let options = Options { samples: 0, ..Options::default() };
            let domain = Domain::unit_cube(inputs);
            let refuted = ENGINES.map(|engine| {
                let report = verify_query(&block, &domain, query, engine, &options).unwrap();
                assert!(!matches!(report.verdict, Verdict::Undecided { .. }), "{:?}", report.verdict);
                proofs::check_query(&block, &domain, &report);
                report.verdict.is_refuted()
            });
            assert!(refuted.iter().all(|r| *r == refuted[0]));
            refuted[0]
        };
        let expected = verdict(1.0, 1.0);
        refuted += usize::from(expected);
        for (outer, inner) in [(-30, 0), (0, -30), (-60, -20), (30, 0), (20, 20)] {
            assert_eq!(verdict(2f32.powi(outer), 2f32.powi(inner)), expected, "{outer} {inner}");
        }
    }
    assert!((3..22).contains(&refuted), "{refuted}");
}

#[test]
fn a_tolerance_that_would_decide_is_refused() {
    let layer = Affine::new(1, vec![1.0], vec![0.0]).unwrap();
    let block = Block::new(layer.clone(), Activation::Relu, layer).unwrap();
    let query = Query { row: 0, input: 0, direction: Direction::Increasing };
    for certify_tol in [-1.0, 0.0, f64::NAN, f64::INFINITY] {
        let options = Options { certify_tol, ..Options::default() };
        assert!(
            verify_query(&block, &Domain::unit_cube(1), query, Engine::Milp(&Cbc), &options).is_err(),
            "{certify_tol}"
        );
    }
}
