//! The exclusive or has a network without loss; that is proved in every exact mode, and bounded by the relaxation.

use milp::training::{End, Mode};

use super::*;

fn xor(problem: Problem, loss: Loss) -> Problem {
    let samples = vec![vec![0.0, 0.0], vec![0.0, 1.0], vec![1.0, 0.0], vec![1.0, 1.0]];
    let targets = if matches!(loss, Loss::L1 | Loss::Squared) {
        Targets::Values(vec![vec![0.0], vec![1.0], vec![1.0], vec![0.0]])
    } else {
        Targets::Classes(vec![0, 1, 1, 0])
    };
    Problem { samples, targets, loss, ..problem }
}

fn without_loss(problem: &Problem) -> Trained {
    let trained = solve(problem);
    let optimum = &trained.optimum;
    assert_eq!((&optimum.end, optimum.mode), (&End::Optimal, Mode::Exact), "{problem:?} {optimum:?}");
    assert!(optimum.loss.unwrap() < 1e-4, "{optimum:?}");
    trained
}

#[test]
fn every_exact_mode_proves_that_there_is_no_loss() {
    let (ternary, quinary) = (WeightDomain::integers(-1, 1), WeightDomain::integers(-2, 2));
    for loss in [Loss::L1, Loss::Squared] {
        for products in [Products::OneHot, Products::BinaryExpansion] {
            without_loss(&xor(Problem { products, ..dense(2, &[2], &ternary) }, loss));
        }
        let real = Problem { products: Products::Absorbed, ..dense(2, &[2], &WeightDomain::real(4.0)) };
        without_loss(&xor(real, loss));
    }
    // A margin of 1 on both sides needs an output weight of 2 in absolute value.
    let grids = [Products::OneHot, Products::BinaryExpansion].map(|products| (products, quinary.clone()));
    for (products, domain) in grids.into_iter().chain([(Products::Absorbed, WeightDomain::real(4.0))]) {
        for loss in [Loss::Hinge, Loss::ZeroOne { margin: 0.5 }] {
            without_loss(&xor(Problem { products, ..dense(2, &[2], &domain) }, loss));
        }
    }
    // Two hidden layers.
    without_loss(&xor(dense(2, &[2, 2], &ternary), Loss::L1));
}

/// Steps with weights of a grid and with real ones; the margin keeps samples away from the step.
#[test]
fn steps_are_exact_for_real_weights() {
    for domain in [WeightDomain::integers(-2, 2), WeightDomain::real(2.0)] {
        let mut problem = dense(2, &[2], &domain);
        problem.layers[1] = Layer::Step { margin: 0.25 };
        without_loss(&xor(problem.clone(), Loss::L1));
        without_loss(&xor(problem, Loss::Hinge));
    }
}

#[test]
fn the_relaxation_says_so_and_gives_a_lower_bound() {
    let real = WeightDomain::real(1.0);
    // With |w| <= 1 and hinge there is a loss, for two units at most that of the real optimum.
    let absorbed = solve(&xor(Problem { products: Products::Absorbed, ..dense(2, &[2], &real) }, Loss::Hinge));
    assert_eq!(absorbed.optimum.end, End::Optimal);
    // The box matters, and the record says where.
    assert!(absorbed.optimum.loss.unwrap() > 0.1 && !absorbed.optimum.active_sides.is_empty());
    let bounds: Vec<f64> = [1, 2, 4]
        .map(|pieces| {
            let relaxed =
                xor(Problem { products: Products::McCormick { pieces }, ..dense(2, &[2], &real) }, Loss::Hinge);
            let optimum = solve(&relaxed).optimum;
            assert_eq!(optimum.mode, Mode::Relaxation);
            // Here the absorbed weights are in the same box, so its networks are among the absorbed ones.
            assert!(optimum.objective.unwrap() >= absorbed.optimum.bound.unwrap() - 1e-4);
            assert!(optimum.bound.unwrap() <= absorbed.optimum.objective.unwrap() + 1e-4, "{optimum:?}");
            optimum.bound.unwrap()
        })
        .to_vec();
    assert!(bounds.windows(2).all(|pair| pair[0] <= pair[1] + 1e-6), "{bounds:?}");
}

#[test]
fn a_proof_of_our_own_confirms_the_bound() {
    let problem = xor(dense(2, &[2], &WeightDomain::integers(-1, 1)), Loss::Hinge);
    let options = Options { proof_time_limit_s: 60.0, ..Options::default() };
    let optimum = train(&problem, &Cbc, &options, &|_| ()).unwrap().optimum;
    let (own, objective) = (optimum.own_bound.unwrap(), optimum.objective.unwrap());
    assert!(objective > 0.5 && own <= objective && objective - own <= 1e-3, "{optimum:?}");
}
