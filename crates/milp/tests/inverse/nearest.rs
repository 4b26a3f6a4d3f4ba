use certificate::{Affine, Domain, IntegerFeature, Interval, Layer, Layered, Shape};
use milp::{Condition, Distance, Inverse, Margin, Nearest, Outcome, Proof, Question, Tightening};
use num_traits::{Signed, ToPrimitive};
use rand::RngExt;

use super::patterns::cells;
use super::*;

pub fn nearest(point: &[f64], distance: Distance, margin: Margin) -> Nearest {
    Nearest {
        point: point.to_vec(),
        units: vec![1.0; point.len()],
        distance,
        target: None,
        margin,
        largest_change: None,
        most_changed: None,
        fixed: vec![],
    }
}

const TIE: Margin = Margin { ratio: 1.0, difference: 0.0 };
/// The thesis' margin, with a difference that rules out two dead outputs.
const FACTOR: Margin = Margin { ratio: 1.2, difference: 0.1 };

fn class(outputs: &[f64]) -> usize {
    usize::from(outputs[1] > outputs[0])
}

/// The least distance to the other class of two over all activation patterns.
pub fn by_patterns(network: &Layered, domain: &Domain, question: &Nearest, target: usize) -> Option<f64> {
    let mut least: Option<f64> = None;
    for (mut programme, outputs) in cells(network, domain) {
        let Margin { ratio, difference } = question.margin;
        let ((a, c), (b, d)) = (&outputs[target], &outputs[1 - target]);
        let terms: Vec<_> = a.iter().zip(b).map(|(a, b)| a - ratio * b).enumerate().collect();
        programme.row("wins", terms, (difference - c + ratio * d, f64::INFINITY));
        let farthest = programme.continuous("farthest", (0.0, 1e3), 0.0);
        for (j, x) in question.point.iter().enumerate() {
            let change = programme.continuous(format!("change{j}"), (0.0, 1e3), 0.0);
            for sign in [1.0, -1.0] {
                let name = format!("moved{j}{sign}");
                programme.row(name, [(change, 1.0), (j, -sign)], (-sign * x, f64::INFINITY));
            }
            programme.row(format!("most{j}"), [(farthest, 1.0), (change, -1.0)], (0.0, f64::INFINITY));
            if question.distance == Distance::L1 {
                programme.columns[change].objective = 1.0;
            }
        }
        if question.distance == Distance::Linf {
            programme.columns[farthest].objective = 1.0;
        }
        if let Some(found) = solve(&programme, &milp::solver::Cbc).incumbent {
            least = Some(least.map_or(found.objective, |least| least.min(found.objective)));
        }
    }
    least
}

#[test]
fn continuous_answers_are_those_of_all_patterns() {
    let mut rng = rng(11);
    let (mut found, mut nothing) = (0, 0);
    for case in 0..16 {
        let network = network(&mut rng, &[4, 3, 3, 2], case % 2 == 0);
        let domain = cube(4, 1.0);
        let inverse = inverse(&network, &domain);
        let x: Vec<f64> = (0..4).map(|_| rng.random_range(-1.0..1.0)).collect();
        let target = 1 - class(&network.evaluate(&x));
        for distance in [Distance::L1, Distance::Linf] {
            let margin = if case % 2 == 0 { FACTOR } else { TIE };
            let question = Nearest { target: Some(target), ..nearest(&x, distance, margin) };
            let expected = by_patterns(&network, &domain, &question, target);
            let answer = inverse.answer(&Question::Nearest(question), MINUTE).unwrap();
            match (expected, &answer.witness) {
                (Some(expected), Some(witness)) => {
                    found += 1;
                    let distance = witness.value.to_f64().unwrap();
                    assert!((distance - expected).abs() < 1e-5, "{distance} instead of {expected}");
                    assert!(matches!(answer.outcome, Outcome::Optimal(Proof::Own { .. })), "{:?}", answer.outcome);
                    assert!(answer.bound <= distance && answer.bound > distance - 1e-5, "{}", answer.bound);
                }
                (None, None) => {
                    nothing += 1;
                    let only_margin = vec![Condition::Margin];
                    assert!(
                        matches!(&answer.outcome, Outcome::Infeasible(Proof::Own { .. }, conflict) if *conflict == only_margin),
                        "{:?}",
                        answer.outcome
                    );
                }
                _ => panic!("expected {expected:?}, found {answer:?}"),
            }
        }
    }
    assert!(found > 10 && nothing > 2, "{found} {nothing}");
}

/// Integer inputs 1 to 10, of which at most two may change, against all such points.
#[test]
fn few_changes_are_those_of_brute_force() {
    let mut rng = rng(12);
    let (mut found, mut nothing) = (0, 0);
    let sides = vec![Interval::new(0.0, 1.0); 5];
    let integer = (0..5).map(|input| IntegerFeature { input, steps: 9 }).collect();
    let domain = Domain::new(sides, vec![], integer).unwrap();
    for case in 0..20 {
        let network = network(&mut rng, &[5, 6, 2], false);
        let start: Vec<u32> = (0..5).map(|_| rng.random_range(0..=9)).collect();
        let at = |steps: &[u32]| network.evaluate(&steps.iter().map(|k| f64::from(*k) / 9.0).collect::<Vec<_>>());
        let target = 1 - class(&at(&start));
        let margin = Margin { ratio: 1.0, difference: 0.05 };
        let limit = (case % 3 == 0).then_some(4.0);
        let (mut fewest, mut shortest) = (f64::INFINITY, f64::INFINITY);
        for (i, j) in (0..5).flat_map(|i| (0..i).map(move |j| (i, j))) {
            for (a, b) in (0..=9).flat_map(|a| (0..=9).map(move |b| (a, b))) {
                let mut steps = start.clone();
                (steps[i], steps[j]) = (a, b);
                let changes: Vec<f64> =
                    steps.iter().zip(&start).map(|(a, b)| f64::from(a.abs_diff(*b))).filter(|c| *c > 0.0).collect();
                let outputs = at(&steps);
                let within = limit.is_none_or(|limit| changes.iter().all(|change| *change <= limit));
                if within && outputs[target] - outputs[1 - target] >= 0.05 {
                    fewest = fewest.min(changes.len() as f64);
                    shortest = shortest.min(changes.iter().sum());
                }
            }
        }
        let point: Vec<f64> = start.iter().map(|k| f64::from(*k) / 9.0).collect();
        for (distance, expected) in [(Distance::L0, fewest), (Distance::L1, shortest)] {
            let question = Nearest {
                units: vec![9.0; 5],
                most_changed: Some(2),
                largest_change: limit,
                ..nearest(&point, distance, margin)
            };
            let answer = inverse(&network, &domain).answer(&Question::Nearest(question), MINUTE).unwrap();
            match &answer.witness {
                Some(witness) => {
                    found += 1;
                    assert_eq!(witness.value.to_f64().unwrap(), expected);
                    assert!(
                        witness
                            .point
                            .iter()
                            .all(|x| (x * num_rational::BigRational::from_integer(9.into())).is_integer())
                    );
                    assert!(matches!(answer.outcome, Outcome::Optimal(Proof::Own { .. })), "{:?}", answer.outcome);
                }
                None => {
                    nothing += 1;
                    assert_eq!(expected, f64::INFINITY);
                    assert!(matches!(answer.outcome, Outcome::Infeasible(..)), "{:?}", answer.outcome);
                }
            }
        }
    }
    assert!(found > 10 && nothing > 2, "{found} {nothing}");
}

/// f(x) = x0 + x1 - 1 with a single output, and a colour that adds 2 if it is the third.
fn hand_made() -> (Layered, Domain) {
    let affine = Affine::new(5, vec![1.0, 1.0, 0.0, 0.0, 2.0], vec![-1.0]).unwrap();
    let network = Layered::new(Shape::list(5), vec![Layer::Dense(affine)]).unwrap();
    let domain = Domain::new(vec![Interval::new(0.0, 1.0); 5], vec![vec![2, 3, 4]], vec![]).unwrap();
    (network, domain)
}

#[test]
fn conditions_and_conflicts_of_a_network_made_by_hand() {
    let (network, domain) = hand_made();
    let inverse = inverse(&network, &domain);
    let start = [0.25, 0.25, 1.0, 0.0, 0.0];
    let margin = Margin { ratio: 1.0, difference: 0.5 };
    let base = |distance| nearest(&start, distance, margin);
    let answer = |question: Nearest| inverse.answer(&Question::Nearest(question), MINUTE).unwrap();
    let value = |question: Nearest| answer(question).witness.unwrap().value.to_f64().unwrap();
    // A change of colour is one change of size 1, and as large as what the numbers would need.
    assert_eq!(value(base(Distance::L0)), 1.0);
    assert!((value(base(Distance::L1)) - 1.0).abs() < 1e-6);
    assert!((value(base(Distance::Linf)) - 0.5).abs() < 1e-6);
    // Without a change of colour both numbers have to move.
    let without_colour = |distance| Nearest { fixed: vec![3], ..base(distance) };
    assert_eq!(value(without_colour(Distance::L0)), 2.0);
    let only = Nearest { fixed: vec![0, 2], ..base(Distance::L1) };
    let conflict = |question: Nearest| match answer(question).outcome {
        Outcome::Infeasible(Proof::Own { .. }, conflict) => conflict,
        other => panic!("{other:?}"),
    };
    assert_eq!(conflict(only), [Condition::Margin, Condition::Fixed]);
    let tight = Nearest { largest_change: Some(0.25), ..base(Distance::L1) };
    assert_eq!(conflict(tight), [Condition::Margin, Condition::LargestChange]);
    let few = Nearest { most_changed: Some(1), ..without_colour(Distance::L1) };
    assert_eq!(conflict(few), [Condition::Margin, Condition::MostChanged, Condition::Fixed]);
    let impossible = Nearest { margin: Margin { ratio: 1.0, difference: 10.0 }, ..base(Distance::L1) };
    assert_eq!(conflict(impossible), [Condition::Margin]);
    // Every witness is evaluated exactly.
    let witness = answer(base(Distance::Linf)).witness.unwrap();
    assert!(
        (&witness.outputs[0] - certificate::exact::rational(0.5)).is_positive()
            || witness.outputs[0].to_f64() == Some(0.5)
    );
}

#[test]
fn nonsense_is_refused_and_no_time_is_no_answer() {
    let (network, domain) = hand_made();
    let inverse = inverse(&network, &domain);
    let start = [0.25, 0.25, 1.0, 0.0, 0.0];
    let base = nearest(&start, Distance::L1, TIE);
    let message = |question: Nearest| inverse.answer(&Question::Nearest(question), MINUTE).unwrap_err().to_string();
    assert!(message(Nearest { point: vec![0.0; 4], ..base.clone() }).contains("expected 5 numbers, found 4"));
    let outside = vec![1.5, 0.25, 1.0, 0.0, 0.0];
    assert!(message(Nearest { point: outside, ..base.clone() }).contains("input 0 of the point is 1.5"));
    let two = vec![0.25, 0.25, 1.0, 1.0, 0.0];
    assert!(message(Nearest { point: two, ..base.clone() }).contains("exactly one has to be 1"));
    assert!(message(Nearest { target: Some(2), ..base.clone() }).contains("class 2"));
    assert!(message(Nearest { fixed: vec![9], ..base.clone() }).contains("fixed input 9"));
    assert!(message(Nearest { largest_change: Some(f64::NAN), ..base.clone() }).contains("largest change"));
    assert!(message(Nearest { margin: FACTOR, ..base.clone() }).contains("use a difference"));
    let negative = Margin { ratio: 0.5, difference: 0.0 };
    assert!(message(Nearest { margin: negative, ..base.clone() }).contains("ratio of at least 1"));
    let answer = inverse.answer(&Question::Nearest(base), Duration::ZERO).unwrap();
    assert!(matches!(answer.outcome, Outcome::Undecided(certificate::Limit::Time)), "{:?}", answer.outcome);
    assert!(answer.bound <= 0.5 && answer.witness.is_none());
    let wrong = Inverse::new(&network, &domain, &names(3), Tightening::Interval, MINUTE).unwrap_err();
    assert!(wrong.to_string().contains("expected width 5, found 3"), "{wrong}");
}
