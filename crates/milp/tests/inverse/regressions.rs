//! One small test per reported fault.

use certificate::{Affine, Domain, IntegerFeature, Interval, Layer, Layered, Shape};
use milp::{Distance, Extreme, Inverse, Margin, Nearest, Outcome, Proof, Question, Tightening};
use num_traits::ToPrimitive;

use super::nearest::nearest;
use super::*;

/// A first layer that gives the same number twice, and a second one that adds both up: `2 x - 1.5`.
#[test]
fn a_number_that_occurs_twice_counts_twice() {
    let twice = Affine::new(1, vec![1.0, 1.0], vec![0.0; 2]).unwrap();
    let sum = Affine::new(2, vec![1.0, 1.0], vec![-1.5]).unwrap();
    let network = Layered::new(Shape::list(1), vec![Layer::Dense(twice), Layer::Dense(sum)]).unwrap();
    let domain = Domain::unit_cube(1);
    for tightening in [Tightening::Interval, Tightening::Lp, Tightening::Milp] {
        let inverse = Inverse::new(&network, &domain, &names(1), tightening, MINUTE).unwrap();
        let answer = inverse.answer(&Question::Extreme(Extreme { output: 0, margin: None }), MINUTE).unwrap();
        assert!(answer.bound >= 0.5 && answer.bound < 0.5 + 1e-6, "{tightening:?}: {}", answer.bound);
        let margin = Margin { ratio: 1.0, difference: 0.1 };
        let question = Nearest { target: Some(1), ..nearest(&[0.0], Distance::L1, margin) };
        let answer = inverse.answer(&Question::Nearest(question), MINUTE).unwrap();
        assert!((answer.bound - 0.8).abs() < 1e-6 && answer.bound <= 0.8, "{tightening:?}: {}", answer.bound);
        assert!((answer.witness.unwrap().value.to_f64().unwrap() - 0.8).abs() < 1e-6);
    }
}

/// A single change to a needle at x0 = 4 is enough; samples find two changes, and the time is too short for a proof. A
/// distance that counts changes says nothing about how far one of them goes.
#[test]
fn a_count_of_changes_is_no_reach() {
    let first = Affine::new(3, vec![1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0, 1.0], vec![-4.0, 4.0, -7.0]).unwrap();
    let second = Affine::new(3, vec![-1000.0, -1000.0, 0.0, 0.0, 0.0, 1.0], vec![1.0, 0.0]).unwrap();
    let third = Affine::new(2, vec![0.5, 1.0], vec![-0.1]).unwrap();
    let layers = vec![Layer::Dense(first), Layer::Relu, Layer::Dense(second), Layer::Relu, Layer::Dense(third)];
    let network = Layered::new(Shape::list(3), layers).unwrap();
    let domain = cube(3, 5.0);
    let inverse = inverse(&network, &domain);
    for microseconds in [1, 100, 500, 1_000, 2_000, 4_000, 8_000, 5_000_000] {
        let margin = Margin { ratio: 1.0, difference: 0.1 };
        let question =
            Nearest { target: Some(1), largest_change: Some(5.0), ..nearest(&[0.0; 3], Distance::L0, margin) };
        let answer = inverse.answer(&Question::Nearest(question), Duration::from_micros(microseconds)).unwrap();
        assert!(answer.bound <= 1.0, "{microseconds}: {}", answer.bound);
    }
}

/// A limit that is a whole number of very small steps admits all of them.
#[test]
fn a_limit_of_many_steps_is_counted_exactly() {
    let (steps, upper, k, limit) = (21_460_472_u32, 0.6641980778053527, 20_287_612_u32, 0.6278982537597871);
    let first = Affine::new(2, vec![0.0, 1.0, 0.0, -1.0, 1.0, 0.0], vec![-0.25, 0.25, 0.0]).unwrap();
    let second = Affine::new(3, vec![-1000.0, -1000.0, 1.0], vec![0.0]).unwrap();
    let layers = vec![Layer::Dense(first), Layer::Relu, Layer::Dense(second)];
    let network = Layered::new(Shape::list(2), layers).unwrap();
    let sides = vec![Interval::new(0.0, upper), Interval::new(0.0, 0.6)];
    let domain = Domain::new(sides, vec![], vec![IntegerFeature { input: 0, steps }]).unwrap();
    let at = |k: u32| upper * f64::from(k) / f64::from(steps);
    let margin = Margin { ratio: 1.0, difference: (at(k) + at(k - 1)) / 2.0 };
    let question = Nearest { target: Some(1), largest_change: Some(limit), ..nearest(&[0.0; 2], Distance::L1, margin) };
    let answer = inverse(&network, &domain).answer(&Question::Nearest(question), Duration::from_secs(5)).unwrap();
    assert!(!matches!(answer.outcome, Outcome::Infeasible(..)), "{:?}", answer.outcome);
    // x1 has to move by 1/4.
    assert!(answer.bound <= at(k) + 0.25, "{}", answer.bound);
}

/// Attributes may be called as our own rows and columns are, or as words of a file format.
#[test]
fn names_of_attributes_do_not_clash_with_ours() {
    let network = network(&mut rng(21), &[6, 4, 2], false);
    let integer = vec![IntegerFeature { input: 1, steps: 4 }];
    let domain = Domain::new(vec![Interval::new(-1.0, 1.0); 6], vec![], integer).unwrap();
    let names = ["wins", "a", "a_steps", "change_a", "free", "a"].map(String::from);
    let inverse = Inverse::new(&network, &domain, &names, Tightening::Interval, MINUTE).unwrap();
    let margin = Margin { ratio: 1.0, difference: 0.01 };
    let question = Question::Nearest(nearest(&[0.5, 0.0, 0.5, -0.5, 0.0, 0.5], Distance::L1, margin));
    let answer = inverse.answer(&question, MINUTE).unwrap();
    assert!(matches!(answer.outcome, Outcome::Optimal(Proof::Own { .. }) | Outcome::Infeasible(..)), "{answer:?}");
    inverse.programme(&question, milp::Complementarity::BigM).unwrap().validate().unwrap();
    let boundless = Nearest { largest_change: Some(f64::MAX), ..nearest(&[0.0; 6], Distance::L1, margin) };
    let refused = inverse.answer(&Question::Nearest(boundless), MINUTE).unwrap_err().to_string();
    assert!(refused.contains("largest change"), "{refused}");
}
