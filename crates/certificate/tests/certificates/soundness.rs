//! Laws: nothing false is ever accepted, what an honest prover finds is, and no bytes make the checker panic.

use certificate::{
    Activation, Affine, Block, Boundary, CertificateWriter, Checked, Conclusion, Direction, Domain, ExactMultipliers,
    IntegerFeature, Interval, Model, Multipliers, Network, Proof, Query, Split, Step, Tighten, check, exact, interval,
};
use num_rational::BigRational;
use num_traits::Zero;
use proptest::prelude::*;

use crate::accepted::{INTEGER, NOTHING, QUERY, refutation, refuted};
use crate::models::*;
use crate::prover::{Dice, Prover};

const DIRECTIONS: [Direction; 2] = [UP, DOWN];

/// A block with few digits; one weight in four is zero.
fn random_block(dice: &mut Dice, (inputs, hidden, outputs): (usize, usize, usize)) -> Block {
    let mut number = |zeros: bool| match dice.roll(4) {
        0 if zeros => 0.0,
        _ => (dice.roll(17) as f32 - 8.0) / 4.0,
    };
    let weights: Vec<_> = (0..inputs * hidden).map(|_| number(true)).collect();
    let bias: Vec<_> = (0..hidden).map(|_| number(false)).collect();
    let second: Vec<_> = (0..hidden * outputs).map(|_| number(true)).collect();
    block(inputs, &weights, &bias, &second)
}

/// Input 0 is a plain or an integer feature and the queried one; the last two may be a group, another one an integer.
fn random_domain(dice: &mut Dice, inputs: usize) -> Domain {
    let side = |dice: &mut Dice| {
        let lower = (dice.roll(17) as f64 - 8.0) / 4.0;
        Interval::new(lower, lower + (1 + dice.roll(12)) as f64 / 4.0)
    };
    let mut sides: Vec<_> = (0..inputs).map(|_| side(dice)).collect();
    let (mut groups, mut integers) = (Vec::new(), Vec::new());
    if inputs >= 3 && dice.roll(2) == 0 {
        groups.push(vec![inputs - 1, inputs - 2]);
        sides[inputs - 2..].fill(Interval::new(0.0, 1.0));
    }
    for input in [0, 1] {
        if dice.roll(2) == 0 && groups.iter().flatten().all(|&member| member != input) {
            integers.push(IntegerFeature { input, steps: 1 + dice.roll(4) as u32 });
        }
    }
    Domain::new(sides, groups, integers).unwrap()
}

/// A random point of the domain, in which `whole` moves freely even if it is an integer feature.
fn random_point(dice: &mut Dice, domain: &Domain, whole: usize) -> Vec<BigRational> {
    let mut x: Vec<_> = domain
        .input_box()
        .iter()
        .map(|side| {
            let share = BigRational::new(dice.roll(1025).into(), 1024.into());
            exact::rational(side.lower) + exact::rational(side.upper - side.lower) * share
        })
        .collect();
    for group in domain.one_hot() {
        group.iter().for_each(|&j| x[j] = BigRational::zero());
        x[*dice.pick(group)] = exact::rational(1.0);
    }
    for feature in domain.integer().iter().filter(|feature| feature.input != whole) {
        let side = domain.input_box()[feature.input];
        let share = BigRational::new(dice.roll(feature.steps as usize + 1).into(), feature.steps.into());
        x[feature.input] = exact::rational(side.lower) + exact::rational(side.upper - side.lower) * share;
    }
    x
}

/// The derivative at a point that is on no hyperplane of a neuron that matters.
fn derivative(block: &Block, query: Query, x: &[BigRational]) -> Option<f64> {
    let t = exact::affine(block.first(), x);
    let sign = if query.direction == DOWN { -1.0 } else { 1.0 };
    let mut sum = 0.0;
    for (i, t) in t.iter().enumerate() {
        let c = sign * block.path_weight(query.row, i, query.input);
        if c != 0.0 && t.is_zero() {
            return None;
        }
        if t > &BigRational::zero() {
            sum += c;
        }
    }
    Some(sum)
}

/// The least derivative among random points.
fn sampled(dice: &mut Dice, block: &Block, domain: &Domain, query: Query, points: usize) -> f64 {
    let values = (0..points).filter_map(|_| derivative(block, query, &random_point(dice, domain, query.input)));
    values.fold(f64::INFINITY, f64::min)
}

/// Fails if points of the domain refute what was accepted.
fn assert_true(dice: &mut Dice, model: &Model, checked: &Checked) {
    for proved in &checked.proved {
        let found = sampled(dice, &model.network.blocks()[proved.block], &model.domain, proved.query, 100);
        assert!(found >= proved.at_least, "accepted {proved:?}, but the derivative is {found} somewhere");
    }
}

fn write(model: &Model, boxes: &[Domain], proofs: &[Proof]) -> Vec<u8> {
    let mut writer = CertificateWriter::new(Vec::new(), &header(model, boxes, Conclusion::Certified)).unwrap();
    proofs.iter().for_each(|proof| writer.proof(proof).unwrap());
    writer.finish().unwrap()
}

/// Changes a proof somewhere, or what it claims to prove.
fn mutate(dice: &mut Dice, proof: &mut Proof) {
    let neuron = |dice: &mut Dice| dice.roll(5);
    let place = dice.roll(proof.steps.len());
    match dice.roll(9) {
        0 => proof.at_least += [0.0625, 0.5, 4.0][dice.roll(3)],
        1 => drop(proof.steps.remove(place)),
        2 => proof.steps.insert(place, proof.steps[dice.roll(proof.steps.len())].clone()),
        3 => {
            let other = dice.roll(proof.steps.len());
            proof.steps.swap(place, other);
        }
        4 => proof.steps[place] = Step::Bound(Multipliers { exponent: 0, multipliers: vec![] }),
        5 => {
            let multipliers = vec![(neuron(dice), (dice.roll(5) as i64 - 2).into())];
            proof.steps[place] = Step::Empty(ExactMultipliers { multipliers });
        }
        6 => proof.steps[place] = Step::Split(Split::Neuron(neuron(dice))),
        7 => {
            let entry = |dice: &mut Dice| (neuron(dice), vec![(neuron(dice), dice.roll(5) as i64 - 1)]);
            let (upper, lower) = (vec![entry(dice)], vec![entry(dice)]);
            proof.steps.insert(place, Step::Tighten(Tighten { exponent: dice.roll(3) as i32 - 1, upper, lower }));
        }
        _ => match &mut proof.steps[place] {
            Step::Split(Split::Neuron(i)) => *i = neuron(dice),
            Step::Split(Split::Integer { at, .. }) => *at = dice.roll(4) as u64,
            Step::Split(Split::Group(g)) => *g = dice.roll(2),
            Step::Tighten(tighten) => tighten.exponent += dice.roll(5) as i32 - 2,
            Step::Bound(bound) if dice.roll(2) == 0 => bound.exponent += dice.roll(5) as i32 - 2,
            Step::Bound(bound) => bound.multipliers.iter_mut().for_each(|(_, m)| *m += dice.roll(3) as i64 - 1),
            Step::Empty(empty) => empty.multipliers.iter_mut().for_each(|(_, m)| *m += dice.roll(3) as i64 - 1),
        },
    }
}

/// A model of one block, the query of its first input, and a bound that is about the truth.
fn problem(dice: &mut Dice) -> (Model, Query, f64) {
    let (inputs, hidden) = (2 + dice.roll(3), 2 + dice.roll(4));
    let block = random_block(dice, (inputs, hidden, 1));
    let domain = random_domain(dice, inputs);
    let query = Query { row: 0, input: 0, direction: *dice.pick(&DIRECTIONS) };
    let mut directions = vec![FREE; inputs];
    directions[0] = query.direction;
    let truth = sampled(dice, &block, &domain, query, 60);
    (single(block, domain, &directions), query, if truth.is_finite() { truth } else { 0.0 })
}

fn rolls() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 3000)
}

/// Adds a constant to the derivative, so that it is at least 0 and the claim is not trivially false.
fn lifted(model: Model, truth: f64) -> Model {
    let old = &model.network.blocks()[0];
    let sign = if model.features[0].direction == DOWN { -1.0 } else { 1.0 };
    let inputs = old.inputs();
    let (mut weights, mut bias) = (old.first().weight().to_vec(), old.first().bias().to_vec());
    weights.extend((0..inputs).map(|j| if j == 0 { 1.0 } else { 0.0 }));
    bias.push(64.0);
    let mut second = old.second().row(0).to_vec();
    second.push(sign * (-truth).max(0.0) as f32);
    let network = Network::new(vec![block(inputs, &weights, &bias, &second)], vec![]).unwrap();
    Model { network, ..model }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    /// A claim above what some point of the domain has is rejected, however it is argued.
    #[test]
    fn a_false_claim_is_never_accepted(rolls in rolls()) {
        let dice = &mut Dice::new(rolls);
        let (model, query, truth) = problem(dice);
        let model = lifted(model, truth);
        let above = truth.max(0.0) + [0.0625, 0.25, 1.0][dice.roll(3)];
        // The argument is about a true claim and honest where it can be, or about the false one and lies where it must.
        let argued = if dice.roll(2) == 0 { truth.max(0.0) } else { above };
        let block = &model.network.blocks()[0];
        let mut proof = Prover::new(block, &model.domain, query, argued, dice).prove(0);
        proof.at_least = above;
        for _ in 0..30 {
            prop_assert!(check(&write(&model, &[], &[proof.clone()])[..], &model).is_err());
            mutate(dice, &mut proof);
            proof.at_least = proof.at_least.max(above);
            if proof.steps.is_empty() {
                break;
            }
        }
    }

    /// Whatever is accepted, changed or not, is true at every point that is tried; and an honest proof is accepted.
    #[test]
    fn what_is_accepted_is_true(rolls in rolls()) {
        let dice = &mut Dice::new(rolls);
        let (model, query, truth) = problem(dice);
        let model = lifted(model, truth);
        let block = &model.network.blocks()[0];
        let mut prover = Prover::new(block, &model.domain, query, truth.max(0.0), dice);
        let mut proof = prover.prove(0);
        let honest = prover.honest;
        let certificate = write(&model, &[], &[proof.clone()]);
        let result = check(&certificate[..], &model);
        // Thirds are not exact in the prover.
        if honest && model.domain.integer().iter().all(|feature| feature.steps != 3) {
            let error = result.as_ref().err().map(ToString::to_string);
            prop_assert!(error.is_none(), "{error:?}\n{}", String::from_utf8(certificate).unwrap());
        }
        if let Ok(checked) = result {
            assert_true(dice, &model, &checked);
        }
        for _ in 0..10 {
            mutate(dice, &mut proof);
            if proof.steps.is_empty() {
                break;
            }
            if let Ok(checked) = check(&write(&model, &[], &[proof.clone()])[..], &model) {
                assert_true(dice, &model, &checked);
            }
        }
    }

    /// Two blocks, sometimes with a box that is too small or a query left out.
    #[test]
    fn an_accepted_network_is_monotone(rolls in rolls()) {
        let dice = &mut Dice::new(rolls);
        let (model, boxes, proofs) = two_block_problem(dice);
        if check(&write(&model, &boxes, &proofs)[..], &model).is_ok() {
            for _ in 0..200 {
                let lower = random_point(dice, &model.domain, usize::MAX);
                let mut upper = lower.clone();
                upper[0] = random_point(dice, &model.domain, usize::MAX).swap_remove(0);
                let (lower, upper) = if lower[0] <= upper[0] { (lower, upper) } else { (upper, lower) };
                let value = |x: &[BigRational]| exact::network(&model.network, x).unwrap();
                prop_assert!(value(&lower) <= value(&upper), "{model:?} falls between {lower:?} and {upper:?}");
            }
        }
    }

    #[test]
    fn random_bytes_are_rejected(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(check(&bytes[..], &example()).is_err());
    }

    /// Bytes of a valid file replaced, removed, doubled; numbers replaced by extreme ones; lines exchanged.
    #[test]
    fn damaged_files_never_panic(rolls in rolls()) {
        let dice = &mut Dice::new(rolls);
        let (refuted, pair) = refuted();
        let all = [
            (certified(&example(), &[QUERY, r#"{"bound":{"exponent":-1,"multipliers":[[0,1],[1,-1]]}}"#]), example()),
            (certified(&crate::accepted::integer(3.0), &INTEGER), crate::accepted::integer(3.0)),
            (certified(&crate::accepted::one_hot(), &[QUERY, r#"{"split":{"group":0}}"#, NOTHING, NOTHING]), crate::accepted::one_hot()),
            (refutation(&refuted, &pair), refuted),
        ];
        let (text, model) = dice.pick(&all);
        let mut bytes = text.clone().into_bytes();
        for _ in 0..=dice.roll(4) {
            damage(dice, &mut bytes);
            if let Ok(checked) = check(&bytes[..], model)
                && checked.domain == model.domain
            {
                assert_true(dice, model, &checked);
            }
        }
    }
}

fn two_block_problem(dice: &mut Dice) -> (Model, Vec<Domain>, Vec<Proof>) {
    let activation = *dice.pick(&[Activation::Clamp, Activation::Relu]);
    let monotone = vec![true, dice.roll(2) == 0];
    let first = random_block(dice, (2, 3, 2));
    // Mostly with positive path weights, so that something is monotone, and mostly with the links cut.
    let sign = |w: f32, dice: &mut Dice| if dice.roll(12) == 0 { w } else { w.abs() };
    let positive = |layer: &Affine, dice: &mut Dice| layer.weight().iter().map(|w| sign(*w, dice)).collect::<Vec<_>>();
    let (mut inner, mut outer) = (positive(first.first(), dice), positive(first.second(), dice));
    if !monotone[1] && dice.roll(6) != 0 {
        // Neuron 2 does not see input 0 and is all that output 1 sees.
        inner[4] = 0.0;
        (outer[3], outer[4]) = (0.0, 0.0);
    }
    let first = block(2, &inner, first.first().bias(), &outer);
    let second = random_block(dice, (2, 3, 1));
    let (inner, outer) = (positive(second.first(), dice), positive(second.second(), dice));
    let second = block(2, &inner, second.first().bias(), &outer);
    let boundary = Boundary { activation, monotone: monotone.clone() };
    let network = Network::new(vec![first, second], vec![boundary]).unwrap();
    let model = model(network, Domain::unit_cube(2), &[UP, FREE]);

    let box_2 = interval::block_domains(&model.network, &model.domain).swap_remove(1);
    let shrink = [1.0, 1.0, 0.5][dice.roll(3)];
    let round = |side: &Interval| ((side.lower * 16.0).floor() / 16.0, (side.upper * shrink * 16.0).ceil() / 16.0);
    let sides: Vec<_> = box_2.input_box().iter().map(round).collect();
    let sides: Vec<_> = sides.into_iter().map(|(lower, upper)| (lower, upper.max(lower))).collect();
    let box_2 = box_domain(&sides);
    let mut proofs = Vec::new();
    for (k, (domain, inputs, rows)) in
        [(&model.domain, vec![true, false], monotone.clone()), (&box_2, monotone, vec![true])].into_iter().enumerate()
    {
        for (input, _) in inputs.iter().enumerate().filter(|(_, monotone)| **monotone) {
            for (row, _) in rows.iter().enumerate().filter(|(_, monotone)| **monotone) {
                let side = domain.input_box()[input];
                if side.lower < side.upper && dice.roll(30) != 0 {
                    let query = Query { row, input, direction: UP };
                    proofs.push(Prover::new(&model.network.blocks()[k], domain, query, 0.0, dice).prove(k));
                }
            }
        }
    }
    (model, vec![box_2], proofs)
}

fn damage(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let place = dice.roll(bytes.len().max(1));
    match dice.roll(6) {
        _ if bytes.len() < 10 => {}
        0 => bytes[place] = dice.roll(256) as u8,
        1 => bytes[place] ^= 1 << dice.roll(8),
        2 => drop(bytes.remove(place)),
        3 => {
            let end = (place + dice.roll(40)).min(bytes.len());
            let part = bytes[place..end].to_vec();
            bytes.splice(place..place, part);
        }
        4 => {
            // A number becomes another.
            let digits: Vec<_> = (0..bytes.len()).filter(|&k| bytes[k].is_ascii_digit()).collect();
            let Some(&k) = digits.get(dice.roll(digits.len().max(1))) else { return };
            let numbers = [
                "0",
                "-0",
                "-1",
                "2",
                "18446744073709551615",
                "9223372036854775807",
                "-9223372036854775808",
                "2147483647",
                "1e400",
                "1e-400",
                "1100",
                "0.5",
            ];
            bytes.splice(k..=k, dice.pick(&numbers).bytes());
        }
        _ => {
            let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let (a, b) = (dice.roll(lines.len()), dice.roll(lines.len()));
            lines.swap(a, b);
            *bytes = lines.join(&b'\n');
        }
    }
}

/// How often the laws above are about something: of random problems many have to be proved and accepted.
#[test]
fn the_prover_proves_something() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut accepted, mut steps, mut composed) = (0, [0; 4], 0);
    for _ in 0..200 {
        let dice = &mut Dice::new(rolls().new_tree(&mut runner).unwrap().current());
        let (model, query, truth) = problem(dice);
        let model = lifted(model, truth);
        let proof = Prover::new(&model.network.blocks()[0], &model.domain, query, truth.max(0.0), dice).prove(0);
        if check(&write(&model, &[], std::slice::from_ref(&proof))[..], &model).is_ok() {
            accepted += 1;
            for step in &proof.steps {
                match step {
                    Step::Split(_) => steps[0] += 1,
                    Step::Tighten(_) => steps[1] += 1,
                    Step::Bound(bound) => steps[2] += usize::from(!bound.multipliers.is_empty()),
                    Step::Empty(_) => steps[3] += 1,
                }
            }
        }
        let (model, boxes, proofs) = two_block_problem(dice);
        composed += usize::from(check(&write(&model, &boxes, &proofs)[..], &model).is_ok());
    }
    assert!(accepted > 80 && steps.iter().all(|count| *count > 50) && composed > 20, "{accepted} {steps:?} {composed}");
}
