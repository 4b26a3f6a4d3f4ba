//! Certified exact training on samples whose best network is not monotone.

use certificate::{
    CertificateWriter, Conclusion, Direction, Domain, Header, Model, ModelFeature, MonotoneFeatures, Network, Proof,
    Target, Verdict, check,
};
use milp::NetworkReport;
use milp::training::{Certified, Constraint, train_certified};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Up, and down again: the best network falls in the end.
fn hill() -> Problem {
    Problem {
        samples: [0.0, 0.5, 1.0].map(|x| vec![x]).to_vec(),
        targets: Targets::Values([0.0, 0.5, 0.0].map(|y| vec![y]).to_vec()),
        ..dense(1, &[2], &WeightDomain::integers(-2, 2))
    }
}

fn directions() -> MonotoneFeatures {
    MonotoneFeatures(vec![Direction::Increasing])
}

fn certify(problem: &Problem, rounds: usize) -> Certified {
    let domain = Domain::unit_cube(1);
    train_certified(problem, &domain, &directions(), &Cbc, &Options::default(), rounds, &|_| ()).unwrap()
}

/// The proofs of the search, in a file, as the checker sees them.
fn checker_accepts(network: &Network, report: &NetworkReport) {
    let feature = |(j, direction): (usize, &Direction)| ModelFeature::linear(format!("x{j}"), *direction, 0.0, 1.0);
    let model = Model {
        features: directions().0.iter().enumerate().map(feature).collect(),
        network: network.clone(),
        domain: Domain::unit_cube(1),
        target: Target::Regression { column: "y".into(), minimum: 0.0, maximum: 1.0 },
    };
    let header = Header::new(&model, &model.specification(), &report.domains, Conclusion::Certified);
    let mut writer = CertificateWriter::new(Vec::new(), &header).unwrap();
    for (block, queries) in report.queries.iter().enumerate() {
        for query in queries {
            let steps = query.proof.clone().expect("branch and bound proves what it certifies");
            writer.proof(&Proof { block, query: query.query, at_least: query.lower_bound, steps }).unwrap();
        }
    }
    let checked = check(&writer.finish().unwrap()[..], &model).unwrap();
    assert_eq!(checked.conclusion, Conclusion::Certified);
}

#[test]
fn it_ends_with_a_certificate_and_the_best_monotone_network() {
    let problem = hill();
    let unconstrained = solve(&problem).optimum.objective.unwrap();
    let found = certify(&problem, 30);
    // The first network is refuted, the last one certified, and bounds only grow.
    assert!(matches!(found.rounds[0].verdict, Some(Verdict::Refuted(_))), "{:?}", found.rounds);
    assert!(found.by_anchors && found.rounds.len() > 1, "{:?}", found.rounds);
    let bounds: Vec<f64> = found.rounds.iter().map(|round| round.bound.unwrap()).collect();
    assert!(bounds.windows(2).all(|pair| pair[0] <= pair[1] + 1e-4), "{bounds:?}");
    let (network, report) = found.certified.as_ref().unwrap();
    checker_accepts(network, report);
    let objective = found.trained.as_ref().unwrap().optimum.objective.unwrap();
    assert!(objective > unconstrained + 0.1 && found.gap.unwrap() < 1e-3, "{unconstrained} {objective}");
    // Networks in sign form are monotone, so the best of them is no better.
    let sign_form = Constraint::Monotone { input: 0, direction: Direction::Increasing };
    let sufficient = solve(&Problem { constraints: vec![sign_form], ..problem }).optimum.objective.unwrap();
    assert!(objective <= sufficient + 1e-6, "{objective} {sufficient}");
}

/// With real weights rounds may not end; there is a certified network and a valid gap all the same.
#[test]
fn real_weights_end_with_a_certificate_too() {
    let layers = dense(1, &[2], &WeightDomain::real(2.0)).layers;
    let problem = Problem { layers, products: Products::Absorbed, ..hill() };
    let found = certify(&problem, 4);
    let (network, report) = found.certified.as_ref().unwrap();
    checker_accepts(network, report);
    // 0.5 in the middle and 0 at the end cost 0.5 for every function that does not fall.
    let objective = found.trained.as_ref().unwrap().optimum.objective.unwrap();
    assert!((objective - 0.5).abs() < 1e-3 && found.bound.unwrap() <= 0.5 + 1e-6, "{:?}", found.rounds);
}

/// Without rounds for anchors the sign form has to do, and the gap is honest.
#[test]
fn the_sign_form_is_the_way_out() {
    let found = certify(&hill(), 1);
    assert!(!found.by_anchors && found.rounds.len() == 2);
    let (network, report) = found.certified.as_ref().unwrap();
    checker_accepts(network, report);
    assert!(found.gap.unwrap() > 0.0 && found.bound.unwrap() <= found.trained.unwrap().optimum.objective.unwrap());
}

/// All networks of one input, two units and weights -1, 0 and 1; monotone where no piece between two bends falls.
#[test]
fn no_monotone_network_of_a_grid_is_below_the_bound() {
    let value = |p: &[f64], x: f64| p[6] + (0..2).map(|j| p[4 + j] * (p[j] * x + p[2 + j]).max(0.0)).sum::<f64>();
    let is_monotone = |p: &[f64]| {
        let bends = (0..2).filter(|j| p[*j] != 0.0).map(|j| -p[2 + j] / p[j]).filter(|x| (0.0..1.0).contains(x));
        let mut ends: Vec<f64> = bends.chain([0.0, 1.0]).collect();
        ends.sort_by(f64::total_cmp);
        ends.windows(2).all(|piece| value(p, piece[1]) >= value(p, piece[0]))
    };
    let networks: Vec<Vec<f64>> =
        (0..3_usize.pow(7)).map(|code| (0..7).map(|k| (code / 3_usize.pow(k) % 3) as f64 - 1.0).collect()).collect();
    let monotone: Vec<_> = networks.iter().filter(|p| is_monotone(p)).collect();
    let mut refuted = 0;
    for seed in 0..5 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let samples: Vec<Vec<f64>> = (0..4).map(|_| vec![f64::from(rng.random_range(0..=4)) / 4.0]).collect();
        // Falls for the most part.
        let y: Vec<f64> = samples.iter().map(|x| 1.0 - x[0] + f64::from(rng.random_range(-2..=2)) / 4.0).collect();
        let loss = |p: &[f64]| samples.iter().zip(&y).map(|(x, y)| (value(p, x[0]) - y).abs()).sum::<f64>();
        let best = monotone.iter().map(|p| loss(p)).fold(f64::INFINITY, f64::min);
        let problem = dense(1, &[2], &WeightDomain::integers(-1, 1));
        let targets = Targets::Values(y.iter().map(|y| vec![*y]).collect());
        let found = certify(&Problem { samples: samples.clone(), targets, ..problem }, 25);
        let (network, report) = found.certified.expect("a constant is monotone");
        checker_accepts(&network, &report);
        let objective = found.trained.unwrap().optimum.objective.unwrap();
        assert!(found.bound.unwrap() <= best + 1e-6, "seed {seed}: {best} {:?}", found.rounds);
        assert!(found.by_anchors && (objective - best).abs() < 1e-4, "seed {seed}: {best} {objective}");
        refuted += found.rounds.len() - 1;
    }
    assert!(refuted >= 3, "{refuted}");
}
