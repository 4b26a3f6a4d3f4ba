//! The two patients that the thesis names, on a network of its architecture (9-3-3-2, ReLU outputs): `configs/wbc.toml`,
//! seed 0. Grades from 1 to 10 are 0 to 1 in ninths.

use certificate::{Affine, Domain, IntegerFeature, Interval, Layer, Layered, Shape};
use milp::{Distance, Margin, Nearest, Outcome, Proof, Question};
use num_traits::ToPrimitive;

use super::nearest::by_patterns;
use super::*;

const BENIGN: [u32; 9] = [2, 1, 1, 1, 2, 1, 3, 1, 1];
const MALIGNANT: [u32; 9] = [6, 10, 10, 10, 8, 10, 7, 10, 7];
const MARGIN: Margin = Margin { ratio: 1.2, difference: 0.01 };

fn dnn3() -> Layered {
    let first = [
        2.6979806,
        -7.919391,
        0.7898079,
        8.01075,
        2.2964444,
        -3.3678808,
        2.0054433,
        -0.35789996,
        1.6744865,
        8.265563,
        -3.570347,
        0.044311177,
        4.2213535,
        -5.994366,
        -4.686685,
        -4.312713,
        1.0694541,
        -3.111878,
        6.083083,
        -3.401636,
        -0.64892495,
        8.151069,
        0.5036746,
        0.6436761,
        0.5201843,
        0.5424175,
        1.8780769,
    ];
    let second =
        [-0.83189124, -0.9712624, 2.203033, 0.008721974, 0.0061343764, 0.0005816278, 1.3704469, 1.1893921, -1.4275216];
    let third = [-0.9639767, 0.027715253, 2.8041437, 2.3580556, 0.0059440266, -1.2115062];
    let biases = [
        vec![1.4451412, -0.6381984, -0.74380755],
        vec![0.056763217, 0.019252453, 2.0006292],
        vec![0.81804156, 0.31368592],
    ];
    let weights = [(9, first.to_vec()), (3, second.to_vec()), (3, third.to_vec())];
    let layers = weights
        .into_iter()
        .zip(biases)
        .flat_map(|((inputs, weight), bias)| [Layer::Dense(Affine::new(inputs, weight, bias).unwrap()), Layer::Relu]);
    Layered::new(Shape::list(9), layers.collect()).unwrap()
}

fn scaled(grades: &[u32]) -> Vec<f64> {
    grades.iter().map(|grade| f64::from(grade - 1) / 9.0).collect()
}

fn grades() -> Domain {
    let integer = (0..9).map(|input| IntegerFeature { input, steps: 9 }).collect();
    Domain::new(vec![Interval::new(0.0, 1.0); 9], vec![], integer).unwrap()
}

fn ask(patient: &[u32], distance: Distance) -> Nearest {
    Nearest {
        point: scaled(patient),
        units: vec![9.0; 9],
        distance,
        target: None,
        margin: MARGIN,
        largest_change: None,
        most_changed: None,
        fixed: vec![],
    }
}

/// Class 1 is malignant. The scores of benign patients are far apart, so ties do not matter.
fn wins(outputs: &[f64], target: usize) -> bool {
    outputs[target] >= MARGIN.ratio * outputs[1 - target] + MARGIN.difference
}

#[test]
fn at_most_two_changed_grades_are_those_of_brute_force() {
    let (network, domain) = (dnn3(), grades());
    let inverse = inverse(&network, &domain);
    for (patient, target) in [(BENIGN, 1), (MALIGNANT, 0)] {
        let outputs = network.evaluate(&scaled(&patient));
        assert!(outputs[1 - target] > outputs[target], "{outputs:?}");
        let (mut points, mut shortest, mut fewest) = (0, u32::MAX, u32::MAX);
        let mut visit = |grades: &[u32; 9]| {
            points += 1;
            if wins(&network.evaluate(&scaled(grades)), target) {
                shortest = shortest.min(grades.iter().zip(&patient).map(|(a, b)| a.abs_diff(*b)).sum());
                fewest = fewest.min(grades.iter().zip(&patient).filter(|(a, b)| a != b).count() as u32);
            }
        };
        visit(&patient);
        for i in 0..9 {
            for a in (1..=10).filter(|a| *a != patient[i]) {
                let mut once = patient;
                once[i] = a;
                visit(&once);
                for j in i + 1..9 {
                    for b in (1..=10).filter(|b| *b != patient[j]) {
                        let mut twice = once;
                        twice[j] = b;
                        visit(&twice);
                    }
                }
            }
        }
        assert_eq!(points, 2998);
        for (distance, expected) in [(Distance::L1, shortest), (Distance::L0, fewest)] {
            let question = Nearest { most_changed: Some(2), ..ask(&patient, distance) };
            let answer = inverse.answer(&Question::Nearest(question), MINUTE).unwrap();
            println!("{patient:?} {distance:?}: {:?}, {} s", answer.outcome, answer.seconds);
            match answer.witness {
                Some(witness) => assert_eq!(witness.value.to_f64().unwrap(), f64::from(expected)),
                None => assert_eq!(expected, u32::MAX),
            }
            assert!(
                matches!(
                    answer.outcome,
                    Outcome::Optimal(Proof::Own { .. }) | Outcome::Infeasible(Proof::Own { .. }, _)
                ),
                "{:?}",
                answer.outcome
            );
        }
    }
}

#[test]
fn continuous_answers_are_those_of_all_256_patterns() {
    let network = dnn3();
    let domain = Domain::from_box(vec![Interval::new(0.0, 1.0); 9]).unwrap();
    let inverse = inverse(&network, &domain);
    for (patient, target) in [(BENIGN, 1), (MALIGNANT, 0)] {
        for distance in [Distance::L1, Distance::Linf] {
            let question = Nearest { units: vec![1.0; 9], ..ask(&patient, distance) };
            let expected = by_patterns(&network, &domain, &question, target);
            let answer = inverse.answer(&Question::Nearest(question), MINUTE).unwrap();
            println!("{patient:?} {distance:?}: {expected:?}, {} s", answer.seconds);
            match (answer.witness, expected) {
                (Some(witness), Some(expected)) => {
                    assert!((witness.value.to_f64().unwrap() - expected).abs() < 1e-6, "{expected}");
                    assert!((answer.bound - expected).abs() < 1e-5, "{} {expected}", answer.bound);
                }
                (witness, expected) => assert!(witness.is_none() && expected.is_none()),
            }
        }
    }
}
