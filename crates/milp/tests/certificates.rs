//! Certificates of branch and bound, changed in many ways: none of a false claim is accepted. And networks, changed until
//! their claim is false: then none is certified.

use certificate::exact::{approximate, rational};
use certificate::{
    Block, CertificateWriter, CheckError, Checked, Conclusion, Direction, Domain, Header, IntegerFeature, Interval,
    Model, Proof, Query, Rows, Split, Step, Verdict, check, exact,
};
use milp::{DirectedDerivative, Engine, Mode, Options, QueryReport, verify_query};
use num_rational::BigRational;
use num_traits::Signed;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

mod enumeration;
mod proofs;

use enumeration::{minimum, random_block};

/// A question, and the exact answer.
#[derive(Clone)]
struct Question {
    block: Block,
    domain: Domain,
    query: Query,
    minimum: BigRational,
}

impl Question {
    fn new(block: Block, domain: Domain, query: Query) -> Self {
        let minimum = minimum(&DirectedDerivative::new(&block, &Rows::OUTPUTS, &domain, query).unwrap());
        Self { block, domain, query, minimum }
    }

    fn about(&self, block: Block) -> Self {
        Self::new(block, self.domain.clone(), self.query)
    }

    fn over(&self, sides: &[Interval], one_hot: &[Vec<usize>], integer: &[IntegerFeature]) -> Self {
        let domain = Domain::new(sides.to_vec(), one_hot.to_vec(), integer.to_vec()).unwrap();
        Self::new(self.block.clone(), domain, self.query)
    }

    fn model(&self) -> Model {
        proofs::model(&self.block, &self.domain, self.query)
    }

    fn ask(&self, mode: Mode, samples: usize) -> QueryReport {
        let options = Options { mode, samples, ..Options::default() };
        verify_query(&self.block, &self.domain, self.query, Engine::BranchAndBound, &options).unwrap()
    }

    /// The smallest number from 0 on that is more than the minimum.
    fn too_much(&self) -> f64 {
        let near = approximate(&self.minimum);
        if rational(near) > self.minimum { near.max(0.0) } else { near.next_up().max(0.0) }
    }
}

fn random_domain(rng: &mut ChaCha8Rng, inputs: usize) -> Domain {
    let mut sides = vec![Interval::new(if rng.random() { 0.0 } else { -1.0 }, 1.0); inputs];
    let (mut one_hot, mut integer) = (vec![], vec![]);
    if inputs > 2 && rng.random() {
        sides[1..3].fill(Interval::new(0.0, 1.0));
        one_hot.push(vec![2, 1]);
    }
    for input in 0..inputs {
        if !one_hot.concat().contains(&input) && rng.random_bool(if input == 0 { 0.2 } else { 0.6 }) {
            integer.push(IntegerFeature { input, steps: rng.random_range(1..=2) });
        }
    }
    Domain::new(sides, one_hot, integer).unwrap()
}

/// A question whose answer is yes, mostly only just: a neuron that is always active lifts the minimum.
fn true_question(rng: &mut ChaCha8Rng) -> Question {
    let (inputs, hidden) = (rng.random_range(2..=4), rng.random_range(3..=8));
    let (block, domain) = (random_block(rng, (inputs, hidden)), random_domain(rng, inputs));
    let plain = Question::new(block, domain, Query { row: 0, input: 0, direction: Direction::Increasing });
    let lift = -approximate(&plain.minimum) as f32;
    let lift = if rational(lift.into()) < -&plain.minimum { lift.next_up() } else { lift };
    let lift = if rng.random_bool(0.2) { lift + 0.1 } else { lift };
    let (first, second) = (plain.block.first(), plain.block.second().row(0));
    let ahead = (0..inputs).map(|j| if j == 0 { 1.0 } else { 0.0 });
    let weight = first.weight().iter().copied().chain(ahead).collect();
    plain.about(enumeration::block(inputs, weight, [first.bias(), &[2.0]].concat(), [second, &[lift]].concat()))
}

/// Questions that differ in the network, the domain, the direction or the input; the answer to most is no.
fn variants(rng: &mut ChaCha8Rng, question: &Question) -> Vec<Question> {
    let Question { block, domain, query, .. } = question;
    let (sides, one_hot, integer) = (domain.input_box(), domain.one_hot(), domain.integer());
    let grouped = one_hot.concat();
    let alone: Vec<usize> = (0..block.inputs()).filter(|j| !grouped.contains(j)).collect();
    let mut variants: Vec<_> = (0..4).map(|_| question.about(with_another_weight(rng, block))).collect();
    for more in [1e-9, rng.random_range(0.0..2.0)] {
        let mut larger = sides.to_vec();
        for &j in &alone {
            let end = if rng.random() { &mut larger[j].lower } else { &mut larger[j].upper };
            *end += if *end > 0.0 { more } else { -more };
        }
        variants.push(question.over(&larger, one_hot, integer));
    }
    if !one_hot.is_empty() {
        variants.push(question.over(sides, &[], integer));
    }
    if let [first, others @ ..] = integer {
        variants.push(question.over(sides, one_hot, others));
        variants.push(question.over(
            sides,
            one_hot,
            &[&[IntegerFeature { steps: first.steps + 1, ..*first }], others].concat(),
        ));
    }
    let asked = |query| Question::new(block.clone(), domain.clone(), query);
    variants.push(asked(Query { direction: Direction::Decreasing, ..*query }));
    variants.extend(alone.get(1).map(|&input| asked(Query { input, ..*query })));
    variants
}

fn with_another_weight(rng: &mut ChaCha8Rng, block: &Block) -> Block {
    let (first, second) = (block.first(), block.second().row(0));
    let mut layers = [first.weight().to_vec(), first.bias().to_vec(), second.to_vec()];
    let numbers = &mut layers[rng.random_range(0..3)];
    let k = rng.random_range(0..numbers.len());
    let w = numbers[k];
    let others = [w.next_down(), w.next_up(), -w, 0.0, 2.0 * w, w - 0.01, w + 0.01, w + 1.0];
    numbers[k] = others[rng.random_range(0..others.len())];
    let [weight, bias, second] = layers;
    enumeration::block(block.inputs(), weight, bias, second)
}

// ---------------------------------------------------------------------------------------------------------------------
// Changes of proofs

/// Where the subtree that begins at `at` ends; groups have two members.
fn end(steps: &[Step], at: usize) -> usize {
    let parts = match steps.get(at) {
        None => return at,
        Some(Step::Split(_)) => 2,
        Some(Step::Tighten(_)) => 1,
        Some(Step::Bound(_) | Step::Empty(_)) => 0,
    };
    (0..parts).fold(at + 1, |at, _| end(steps, at))
}

fn change(rng: &mut ChaCha8Rng, steps: &mut Vec<Step>) {
    let (place, other) = (rng.random_range(0..steps.len()), rng.random_range(0..steps.len()));
    let (middle, end) = (end(steps, place + 1), end(steps, place));
    match rng.random_range(0..12) {
        // Mostly a leaf or a tightening.
        0 => drop(steps.remove(place)),
        1 => steps.insert(place, steps[other].clone()),
        2 => steps.swap(place, other),
        // The two parts of a split change places.
        3 if matches!(steps[place], Step::Split(_)) && middle <= end => {
            steps[place + 1..end].rotate_left(middle - place - 1)
        }
        // A leaf instead of a subtree.
        4 => {
            if matches!(steps[other], Step::Bound(_) | Step::Empty(_)) {
                steps.splice(place..end, [steps[other].clone()]);
            }
        }
        5 => steps.retain(|step| !matches!(step, Step::Tighten(_))),
        _ => {
            let mut value = serde_json::to_value(&steps[place]).unwrap();
            let mut numbers = Vec::new();
            collect(&mut value, &mut numbers);
            if !numbers.is_empty() {
                let k = rng.random_range(0..numbers.len());
                *numbers[k] = another(rng, numbers[k]);
            }
            // An index may have become negative.
            steps[place] = serde_json::from_value(value).unwrap_or(steps[place].clone());
        }
    }
}

/// All indices, exponents and multipliers of a step.
fn collect<'a>(value: &'a mut Value, numbers: &mut Vec<&'a mut Value>) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| collect(value, numbers)),
        Value::Object(values) => values.values_mut().for_each(|value| collect(value, numbers)),
        number => numbers.push(number),
    }
}

fn another(rng: &mut ChaCha8Rng, number: &Value) -> Value {
    let k = rng.random_range(0..8);
    match number.as_i64() {
        Some(m) => {
            let far = 1 << rng.random_range(0..40);
            [m + 1, m - 1, -m, 0, 2 * m, m + m / 8, m + far, m - far][k].into()
        }
        None => {
            let digits = number.as_str().unwrap();
            let negated = digits.strip_prefix('-').map_or(format!("-{digits}"), str::to_owned);
            [negated, "0".into(), "1".into(), "-1".into(), format!("{digits}0"), format!("{digits}1")][k % 6]
                .clone()
                .into()
        }
    }
}

/// Fails if what was accepted is false.
fn judge(question: &Question, certificate: &[u8]) -> Result<Checked, CheckError> {
    let checked = check(certificate, &question.model())?;
    assert_eq!(checked.specification, question.model().specification());
    let least = match &checked.domain {
        domain if *domain == question.domain => question.minimum.clone(),
        other => Question::new(question.block.clone(), other.clone(), question.query).minimum,
    };
    for proved in &checked.proved {
        let text = String::from_utf8_lossy(certificate);
        assert!(rational(proved.at_least) <= least, "the minimum is {least}\n{:?}\n{text}", question.block);
    }
    Ok(checked)
}

#[test]
fn no_certificate_of_a_false_claim_is_accepted() {
    let mut rng = ChaCha8Rng::seed_from_u64(31);
    // Claims that are false and true, rejected and accepted; damaged files; steps of the proofs before all changes.
    let (mut claims, mut damaged, mut kinds) = ([[0; 2]; 2], [0; 2], [0; 6]);
    let mut questions = 0;
    while questions < 90 {
        let question = true_question(&mut rng);
        let report = question.ask(if rng.random() { Mode::Sign } else { Mode::Minimum }, 0);
        let steps = report.proof.unwrap();
        if steps.len() < 4 {
            continue;
        }
        questions += 1;
        steps.iter().for_each(|step| kinds[kind(step)] += 1);
        let others = variants(&mut rng, &question);
        for (k, question) in std::iter::once(&question).chain(&others).enumerate() {
            let model = question.model();
            let certificate = |steps, at_least| {
                let query = Query { row: 0, ..question.query };
                proofs::write(&model, &[Proof { block: 0, query, at_least, steps }])
            };
            for attempt in 0..20 {
                let mut steps = steps.clone();
                for _ in 0..attempt / 5 {
                    if !steps.is_empty() {
                        change(&mut rng, &mut steps);
                    }
                }
                let at_least = match rng.random_range(0..4) {
                    0 => question.too_much(),
                    1 if k == 0 => question.too_much() + rng.random_range(0.0..0.5),
                    _ => report.lower_bound,
                };
                let accepted = judge(question, &certificate(steps, at_least)).is_ok();
                claims[usize::from(rational(at_least) <= question.minimum)][usize::from(accepted)] += 1;
            }
            let mut bytes = certificate(steps.clone(), report.lower_bound);
            for _ in 0..8 {
                let place = rng.random_range(0..bytes.len());
                let old = bytes[place];
                let digit = b"0123456789-.,[]"[rng.random_range(0..15)];
                bytes[place] = if rng.random() { digit } else { old ^ (1 << rng.random_range(0..8)) };
                damaged[usize::from(judge(question, &bytes).is_ok())] += 1;
                bytes[place] = old;
            }
        }
    }
    let [[rejected, accepted], [unproved, proved]] = claims;
    println!(
        "false claims: {rejected} rejected, {accepted} accepted; true ones: {unproved} and {proved}; damaged bytes: {damaged:?}"
    );
    assert_eq!(accepted, 0);
    assert!(rejected > 5000 && unproved + proved > 2000 && proved > 300 && damaged[1] > 20, "{claims:?} {damaged:?}");
    assert!(kinds.iter().all(|steps| *steps > 10), "{kinds:?}");
}

fn kind(step: &Step) -> usize {
    match step {
        Step::Split(Split::Neuron(_)) => 0,
        Step::Split(Split::Group(_)) => 1,
        Step::Split(Split::Integer { .. }) => 2,
        Step::Tighten(_) => 3,
        Step::Bound(_) => 4,
        Step::Empty(_) => 5,
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Changes of networks

/// Whether the answer is yes. Yes and no are checked, in two ways each.
fn holds(question: &Question, samples: usize) -> bool {
    let (report, model) = (question.ask(Mode::Sign, samples), question.model());
    match &report.verdict {
        Verdict::Certified { .. } => proofs::check_query(&question.block, &question.domain, &report),
        Verdict::Refuted(pair) => {
            let value = |x: &[BigRational]| exact::network(&model.network, x).unwrap().swap_remove(0);
            assert!([&pair.lower, &pair.upper].iter().all(|x| certificate::contains(&question.domain, x)));
            assert!(pair.drop.is_positive() && value(&pair.lower) - value(&pair.upper) == pair.drop, "{pair:?}");
            let domains = std::slice::from_ref(&question.domain);
            let header = Header::new(&model, &model.specification(), domains, Conclusion::Refuted);
            let mut writer = CertificateWriter::new(Vec::new(), &header).unwrap();
            writer.counterexample(pair).unwrap();
            assert_eq!(check(&writer.finish().unwrap()[..], &model).unwrap().counterexample.as_ref(), Some(pair));
        }
        Verdict::Undecided { .. } => panic!("{report:?}"),
    }
    assert_eq!(report.verdict.is_certified(), !question.minimum.is_negative(), "{report:?}");
    report.verdict.is_certified()
}

/// One weight of the second layer is moved twice as far each time until the claim fails, and then halfway between what
/// holds and what fails until these are neighbours.
#[test]
fn a_certified_network_is_refuted_after_a_nudge() {
    let mut rng = ChaCha8Rng::seed_from_u64(32);
    let mut nudged = 0;
    while nudged < 12 {
        let question = true_question(&mut rng);
        if question.domain.integer().iter().any(|feature| feature.input == 0) {
            continue;
        }
        let samples = if nudged % 2 == 0 { 0 } else { 50 };
        let (first, second) = (question.block.first(), question.block.second().row(0));
        let k = rng.random_range(0..second.len());
        let holds_with = |w: f32| {
            let mut second = second.to_vec();
            second[k] = w;
            let (weight, bias) = (first.weight().to_vec(), first.bias().to_vec());
            holds(&question.about(enumeration::block(first.inputs(), weight, bias, second)), samples)
        };
        let mut held = second[k];
        assert!(holds_with(held));
        let down = if first.row(k)[0] > 0.0 { -1.0 } else { 1.0 };
        let mut moved = (-20..4).map(|power| held + down * f32::exp2(power as f32));
        let Some(mut failed) = moved.find(|w| !holds_with(*w)) else { continue };
        while failed != held.next_up() && failed != held.next_down() {
            let middle = held + 0.5 * (failed - held);
            let end = if holds_with(middle) { &mut held } else { &mut failed };
            *end = middle;
        }
        nudged += 1;
    }
}
