//! Certified exact training: train, verify, ask for the right derivative where the network went the wrong way, train again.
//!
//! Every constraint that is added holds for all monotone networks, so the bound of every round is one on all of them; the first
//! network that is certified is the best monotone one, up to the gap.

use certificate::exact::approximate;
use certificate::{
    Counterexample, Direction, Domain, Layer as Given, Layered, MonotoneFeatures, Network, Specification, Verdict,
};

use super::{Constraint, Options, Problem, Standing, Trained, Watch, train};
use crate::network::{Control, NetworkReport, verify_network};
use crate::solver::Solver;
use crate::verify::Engine;
use crate::{Error, Result};

/// What one round gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Of the network that was trained.
    pub objective: Option<f64>,
    /// No monotone network has a smaller objective.
    pub bound: Option<f64>,
    /// What was found out about the network.
    pub verdict: Option<Verdict>,
}

/// A network that is certified, if there is one, and how far it can be from the best monotone one.
#[derive(Debug, Clone, PartialEq)]
pub struct Certified {
    /// The certified network with the record of its training.
    pub trained: Option<Trained>,
    /// The same as a chain of blocks, with the report and the proofs that it is monotone.
    pub certified: Option<(Network, NetworkReport)>,
    /// No monotone network of the problem has a smaller objective; the best bound of all rounds.
    pub bound: Option<f64>,
    /// Objective of the certified network minus the bound, at least 0.
    pub gap: Option<f64>,
    /// Whether anchored constraints were enough. If not, the network is the best in sign form, and a gap may stay.
    pub by_anchors: bool,
    /// One after another.
    pub rounds: Vec<Round>,
}

/// Trains until branch and bound certifies that every output follows the features in their directions over the domain, for at
/// most `round_limit` rounds; after that, or where the search has no answer, one more in sign form, where there is one hidden
/// layer. With weights of a grid the rounds end by themselves: each excludes the network before.
///
/// # Errors
/// As [`train`] and [`verify_network`]; if the network is not made of dense layers and ReLUs, or the domain is no box.
pub fn train_certified(
    problem: &Problem,
    domain: &Domain,
    directions: &MonotoneFeatures,
    solver: &dyn Solver,
    options: &Options,
    round_limit: usize,
    watch: Watch,
) -> Result<Certified> {
    if !domain.one_hot().is_empty() || !domain.integer().is_empty() {
        return Err(Error::Training(
            "certified training needs a box: between the values of an integer feature a derivative need not have the sign".into(),
        ));
    }
    let mut problem = problem.clone();
    let mut result =
        Certified { trained: None, certified: None, bound: None, gap: None, by_anchors: true, rounds: Vec::new() };
    let specification = Specification::from(directions.clone());
    let decide = |trained: &Trained| -> Result<Option<(Network, NetworkReport)>> {
        let Some(fitted) = &trained.fitted else { return Ok(None) };
        let network = chain(&fitted.network)?;
        let engine = Engine::BranchAndBound;
        let report =
            verify_network(&network, domain, &specification, engine, &crate::Options::default(), Control::default())?;
        Ok(Some((network, report)))
    };
    let mut last = round_limit == 0;
    loop {
        if last {
            result.by_anchors = false;
            if problem.layers.len() != 3 {
                break;
            }
            let moving = directions.0.iter().enumerate().filter(|(_, direction)| **direction != Direction::Free);
            let sign_form = moving.map(|(input, direction)| Constraint::Monotone { input, direction: *direction });
            problem.constraints = [problem.constraints, sign_form.collect()].concat();
        }
        let before = result.bound;
        // The sign form excludes monotone networks, so what is said of it says nothing about all of them.
        let best_bound = |bound: Option<f64>| before.into_iter().chain(bound.filter(|_| !last)).reduce(f64::max);
        let within = |standing: Standing| watch(Standing { best: None, bound: best_bound(standing.bound), ..standing });
        let trained = match train(&problem, solver, options, &within) {
            // The sign form is more than is asked for.
            Err(Error::Contradictory(_)) if last => break,
            trained => trained?,
        };
        let decided = decide(&trained)?;
        result.bound = best_bound(trained.optimum.bound);
        let verdict = decided.as_ref().map(|(_, report)| report.verdict.clone());
        let optimum = &trained.optimum;
        result.rounds.push(Round { objective: optimum.objective, bound: optimum.bound, verdict: verdict.clone() });
        match (verdict, decided) {
            (Some(Verdict::Certified { .. }), certified) => {
                result.gap = optimum.objective.zip(result.bound).map(|(objective, bound)| (objective - bound).max(0.0));
                result.trained = Some(trained);
                result.certified = certified;
                break;
            }
            (Some(Verdict::Refuted(pair)), Some((network, _))) if !last => {
                let point = steepest(&network, &pair);
                problem.constraints.push(Constraint::Anchored {
                    point,
                    input: pair.input,
                    direction: directions.0[pair.input],
                });
                last = result.rounds.len() == round_limit;
            }
            // No network, or none that is decided: the sign form may be easier.
            _ if !last => last = true,
            _ => break,
        }
    }
    Ok(result)
}

/// Dense layers and ReLUs as a chain of blocks.
fn chain(network: &Layered) -> Result<Network> {
    let (mut affine, mut rectified) = (Vec::new(), true);
    for layer in network.layers() {
        match (layer, rectified) {
            (Given::Dense(layer), true) => affine.push(layer.clone()),
            (Given::Relu, false) => {}
            _ => {
                return Err(Error::Training(
                    "only networks of dense layers with relus in between can be certified".into(),
                ));
            }
        }
        rectified = *layer == Given::Relu;
    }
    Ok(Network::from_layers(affine, rectified)?)
}

/// Between the two points of a counterexample, where the output falls fastest: inside a cell with the wrong derivative.
fn steepest(network: &Network, pair: &Counterexample) -> Vec<f64> {
    const PIECES: u32 = 64;
    let [from, to] = [&pair.lower, &pair.upper].map(|point| point.iter().map(approximate).collect::<Vec<f64>>());
    let at = |share: f64| -> Vec<f64> { from.iter().zip(&to).map(|(a, b)| a + share * (b - a)).collect() };
    let share = |k: u32| f64::from(k) / f64::from(PIECES);
    let rise = |k: u32| network.evaluate(&at(share(k + 1)))[pair.row] - network.evaluate(&at(share(k)))[pair.row];
    let rises: Vec<f64> = (0..PIECES).map(rise).collect();
    let worst = (0..rises.len()).min_by(|a, b| rises[*a].total_cmp(&rises[*b])).expect("there are pieces");
    at(share(worst as u32) + 0.5 / f64::from(PIECES))
}
