//! Random small problems of every kind against the enumeration of all their networks. More of them:
//! `RANDOM_FIRST=1000 RANDOM_COUNT=400 cargo test --release -p milp --test training random_problems -- --nocapture`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use certificate::{Direction, Window};
use milp::training::{Constraint, End, Gate, Gates, LayerWeights};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::enumeration::{Net, Plan, Sides, after, least_of_problem, networks, run, sample_loss, satisfied, values_of};
use super::*;

fn pick<T: Clone>(rng: &mut ChaCha8Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())].clone()
}

fn grid(lower: f64, step: f64, steps: u32) -> WeightDomain {
    WeightDomain::Grid { lower, step, steps }
}

/// With 0 on the grid where a gate asks for it.
fn domain(rng: &mut ChaCha8Rng, count: usize, with_zero: bool) -> WeightDomain {
    let zero = [
        grid(-1.0, 1.0, 2),
        grid(-1.0, 1.0, 2),
        grid(0.0, 1.0, 1),
        grid(-0.5, 0.5, 1),
        grid(-1.0, 0.5, 3),
        grid(-2.0, 2.0, 2),
        grid(0.0, 0.75, 2),
        grid(-0.25, 0.25, 4),
        grid(0.0, 1.0, 0),
        grid(-3.0, 1.0, 4),
    ];
    let other = [grid(-1.0, 2.0, 1), grid(0.5, 1.0, 1), grid(-1.5, 0.25, 1), grid(-0.75, 1.0, 2), grid(1.5, 1.0, 0)];
    match rng.random_range(0..10) {
        0 => WeightDomain::Fixed(
            (0..count).map(|_| if with_zero { 0.0 } else { f64::from(rng.random_range(-4..=4)) / 4.0 }).collect(),
        ),
        1 if !with_zero => WeightDomain::Fixed((0..count).map(|_| pick(rng, &[1.0, -1.0])).collect()),
        2 | 3 if !with_zero => pick(rng, &other),
        _ => pick(rng, &zero),
    }
}

fn parameters(rng: &mut ChaCha8Rng, outputs: usize, inputs: usize, in_group: bool) -> Parameters {
    let mut gates = Gates::default();
    let cost = |rng: &mut ChaCha8Rng| Some(pick(rng, &[0.0, 0.0625, 0.125, 0.25]));
    if rng.random_bool(0.3) {
        gates.units = cost(rng);
    }
    if rng.random_bool(0.25) {
        gates.inputs = cost(rng);
    }
    if rng.random_bool(0.15) && outputs * inputs <= 4 {
        gates.weights = cost(rng);
    }
    let zero_w = in_group || gates != Gates::default();
    let zero_b = in_group || gates.units.is_some();
    let mut p = Parameters::new(outputs, domain(rng, outputs * inputs, zero_w), domain(rng, outputs, zero_b));
    p.gates = gates;
    if rng.random_bool(0.2) {
        p.l1 = pick(rng, &[0.03125, 0.25]);
    }
    if rng.random_bool(0.2) {
        p.l2 = pick(rng, &[0.03125, 0.25]);
    }
    p
}

/// Layers on top of each other.
struct Stack<'r> {
    rng: &'r mut ChaCha8Rng,
    sides: Sides,
    layers: Vec<Layer>,
}

impl Stack<'_> {
    fn push(&mut self, layer: Layer) {
        self.sides = after(&layer, self.sides);
        self.layers.push(layer);
    }

    fn size(&self) -> usize {
        self.sides.iter().product()
    }

    fn dense(&mut self, outputs: usize, in_group: bool) -> Layer {
        let inputs = self.size();
        Layer::Dense(parameters(self.rng, outputs, inputs, in_group))
    }

    fn push_dense(&mut self, outputs: usize) {
        let layer = self.dense(outputs, false);
        self.push(layer);
    }

    fn push_some(&mut self, probability: f64, layer: Layer) {
        if self.rng.random_bool(probability) {
            self.push(layer);
        }
    }

    fn window(&mut self) -> Window {
        let [_, h, w] = self.sides;
        let padding = usize::from(self.rng.random_bool(0.4));
        let low = padding + 1;
        // Padding is less than either side of the window.
        let mut side = |n: usize| {
            if n + 2 * padding < low { low } else { self.rng.random_range(low..=(n + 2 * padding).min(2).max(low)) }
        };
        let (height, width) = (side(h), side(w));
        Window { height, width, stride: self.rng.random_range(1..=2), padding }
    }

    fn push_pool(&mut self, probability: f64) {
        if self.rng.random_bool(probability) {
            let at = self.window();
            let mean = at.padding == 0 && self.rng.random_bool(0.5);
            self.push(if mean { Layer::AveragePool(at) } else { Layer::MaxPool(at) });
        }
    }

    fn push_convolution(&mut self, filters: usize) {
        self.push_pool(0.2);
        let at = self.window();
        let inputs = self.sides[0] * at.height * at.width;
        let p = parameters(self.rng, filters, inputs, false);
        self.push(Layer::Convolution(at, p));
        self.push_some(0.2, Layer::Gate(0.125));
        if self.rng.random_bool(0.8) {
            let relu = self.rng.random_bool(0.8);
            self.push(if relu { Layer::Relu } else { Layer::Step { margin: 0.25 } });
        }
        self.push_pool(0.5);
        self.push_some(0.6, Layer::Flatten);
    }

    /// Optional layers, sometimes two alike, sometimes first.
    fn push_optional(&mut self) {
        if self.rng.random_bool(0.5) {
            self.push_dense(1);
            self.push(Layer::Relu);
        }
        let size = self.size();
        let mut inside = vec![self.dense(size, true)];
        if self.rng.random_bool(0.7) {
            inside.push(Layer::Relu);
        }
        let optional = Layer::Optional { cost: pick(self.rng, &[0.0, 0.125]), layers: inside };
        self.push(optional.clone());
        self.push_some(0.5, optional);
    }
}

fn architecture(rng: &mut ChaCha8Rng) -> (Shape, Vec<Layer>) {
    let image = [
        Shape { channels: 1, height: 1, width: 3 },
        Shape { channels: 1, height: 2, width: 2 },
        Shape { channels: 2, height: 1, width: 2 },
    ];
    let kind = rng.random_range(0..12);
    let input = if (4..=6).contains(&kind) { pick(rng, &image) } else { Shape::list(rng.random_range(1..=2)) };
    let outputs = pick(rng, &[1, 1, 1, 2, 3]);
    let hidden = rng.random_range(1..=2);
    let mut stack = Stack { rng, sides: [input.channels, input.height, input.width], layers: Vec::new() };
    match kind {
        0 => {}
        1 | 2 => {
            stack.push_dense(hidden);
            stack.push(Layer::Relu);
        }
        3 => {
            stack.push_dense(hidden);
            stack.push_some(0.3, Layer::Gate(0.125));
            let margin = pick(stack.rng, &[0.25, 0.125, 0.5]);
            stack.push(Layer::Step { margin });
        }
        4..=6 => stack.push_convolution(hidden),
        7 | 8 => stack.push_optional(),
        9 => {
            stack.push_dense(hidden);
            let gate = Layer::Gate(pick(stack.rng, &[0.0, 0.125]));
            let first = stack.rng.random_bool(0.5);
            for layer in if first { [gate, Layer::Relu] } else { [Layer::Relu, gate] } {
                stack.push(layer);
            }
        }
        10 => {
            for _ in 0..2 {
                stack.push_dense(1);
                stack.push(Layer::Relu);
            }
        }
        _ => {
            stack.push_dense(hidden);
            stack.push_some(0.5, Layer::Relu);
        }
    }
    stack.push_dense(outputs);
    if kind == 11 {
        stack.push_some(0.5, Layer::Relu);
    }
    (input, stack.layers)
}

/// Every gate that there is.
fn named_gates(plan: &Plan) -> Vec<Gate> {
    let mut named: Vec<Gate> = Vec::new();
    for (l, slot) in plan.slots.iter().enumerate() {
        let g = slot.parameters.gates;
        if g.units.is_some() {
            named.extend((0..slot.outputs).map(|unit| Gate::Unit { layer: l, unit }));
        }
        if g.inputs.is_some() {
            named.extend((0..slot.inputs / slot.places).map(|input| Gate::Input { layer: l, input }));
        }
        if g.weights.is_some() {
            named.extend((0..slot.outputs * slot.inputs).map(|k| Gate::Weight {
                layer: l,
                unit: k / slot.inputs,
                input: k % slot.inputs,
            }));
        }
    }
    named.extend((0..plan.groups.len()).map(Gate::Optional));
    for (layer, (_, n)) in plan.opens.iter().enumerate() {
        named.extend((0..*n).map(|channel| Gate::Activation { layer, channel }));
    }
    named
}

fn constraints(rng: &mut ChaCha8Rng, problem: &Problem) -> Vec<Constraint> {
    let plan = Plan::new(problem);
    let inputs = problem.input.size();
    let outputs = plan.slots.last().unwrap().outputs;
    let steps = problem.layers.iter().any(|l| matches!(l, Layer::Step { .. }));
    let named = named_gates(&plan);
    let mut list = Vec::new();
    for _ in 0..rng.random_range(1..=2) {
        let direction = pick(rng, &[Direction::Increasing, Direction::Decreasing]);
        let input = rng.random_range(0..inputs);
        match rng.random_range(0..6) {
            0 => {
                let layer = rng.random_range(0..plan.slots.len());
                let slot = &plan.slots[layer];
                let (lower, upper) = pick(
                    rng,
                    &[(0.0, 9.0), (-9.0, 0.0), (0.5, 2.0), (-0.5, 0.5), (-1.0, f64::INFINITY), (-0.25, 0.25)],
                );
                list.push(Constraint::Weight {
                    layer,
                    unit: rng.random_range(0..slot.outputs),
                    input: rng.random_range(0..slot.inputs),
                    lower,
                    upper,
                });
            }
            1 => {
                let point = (0..inputs).map(|_| f64::from(rng.random_range(-4..=4)) / 4.0).collect();
                let (lower, upper) =
                    pick(rng, &[(0.0, 9.0), (-9.0, 0.0), (0.5, 2.0), (-0.5, 0.5), (-1.0, f64::INFINITY), (0.25, 0.25)]);
                list.push(Constraint::Output { point, output: rng.random_range(0..outputs), lower, upper });
            }
            2 if !steps => {
                let near = rng.random_bool(0.4);
                let shift = if near { 0.0 } else { 0.0371 };
                let point =
                    (0..inputs).map(|j| f64::from(rng.random_range(-4..=4)) / 4.0 + shift * (j as f64 + 1.0)).collect();
                list.push(Constraint::Anchored { point, input, direction });
            }
            3 if matches!(problem.layers[..], [Layer::Dense(_), Layer::Relu, Layer::Dense(_)]) => {
                list.push(Constraint::Monotone { input, direction });
            }
            4 | 5 if !named.is_empty() => {
                let some: Vec<Gate> = (0..rng.random_range(1..=3)).map(|_| pick(rng, &named)).collect();
                if rng.random_bool(0.6) {
                    list.push(Constraint::Clause(some.into_iter().map(|g| (g, rng.random_bool(0.5))).collect()));
                } else {
                    let mut gates: Vec<Gate> = Vec::new();
                    for g in some {
                        if !gates.contains(&g) {
                            gates.push(g);
                        }
                    }
                    let count = rng.random_range(0..=gates.len());
                    list.push(Constraint::AtMost { gates, count });
                }
            }
            _ => {}
        }
    }
    list
}

fn problem(seed: u64) -> (Problem, Option<Vec<LayerWeights>>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rng = &mut rng;
    loop {
        let (input, layers) = architecture(rng);
        let products = pick(rng, &[Products::OneHot, Products::BinaryExpansion]);
        let loss =
            pick(rng, &[Loss::L1, Loss::Hinge, Loss::ZeroOne { margin: 0.125 }, Loss::Squared, Loss::CrossEntropy]);
        let mut problem = Problem {
            input,
            layers,
            samples: vec![],
            targets: Targets::Values(vec![]),
            loss,
            products,
            constraints: vec![],
        };
        if networks(&problem) > 30_000.0 {
            continue;
        }
        let count = rng.random_range(2..=4);
        let mut samples: Vec<Vec<f64>> = (0..count)
            .map(|_| (0..input.size()).map(|_| f64::from(rng.random_range(-4..=4)) / 4.0).collect())
            .collect();
        if rng.random_bool(0.3) {
            samples[0].fill(0.0);
        }
        if rng.random_bool(0.3) {
            samples[1] = samples[0].clone();
        }
        let plan = Plan::new(&problem);
        let outputs = plan.slots.last().unwrap().outputs;
        problem.targets = if matches!(loss, Loss::L1 | Loss::Squared) {
            Targets::Values(
                (0..count).map(|_| (0..outputs).map(|_| f64::from(rng.random_range(-6..=6)) / 4.0).collect()).collect(),
            )
        } else {
            let n = outputs.max(2);
            Targets::Classes((0..count).map(|i| if i < 2 { i } else { rng.random_range(0..n) }).collect())
        };
        problem.samples = samples;
        if rng.random_bool(0.5) {
            problem.constraints = constraints(rng, &problem);
        }
        let start = rng.random_bool(0.3).then(|| {
            let mut draw = |domain: &WeightDomain, n: usize| (0..n).map(|k| pick(rng, &values_of(domain, k))).collect();
            plan.slots
                .iter()
                .map(|slot| LayerWeights {
                    weights: draw(&slot.parameters.weights, slot.inputs * slot.outputs),
                    biases: draw(&slot.parameters.biases, slot.outputs),
                })
                .collect()
        });
        return (problem, start);
    }
}

/// What is wrong with the answer, if anything; and whether the search ended.
fn judge(problem: &Problem, start: Option<Vec<LayerWeights>>) -> (Option<String>, &'static str) {
    let expected = least_of_problem(problem);
    let options = Options { time_limit_s: 20.0, start, ..Options::default() };
    let found = catch_unwind(AssertUnwindSafe(|| train(problem, &Cbc, &options, &|_| ())));
    let Ok(found) = found else { return (Some("panic".into()), "panic") };
    let trained = match found {
        Err(milp::Error::Contradictory(named)) => {
            return (
                (expected < f64::INFINITY).then(|| format!("called contradictory {named:?}, optimum {expected}")),
                "contradictory",
            );
        }
        Err(error) => return (Some(format!("error {error}, optimum {expected}")), "error"),
        Ok(trained) => trained,
    };
    let optimum = &trained.optimum;
    if let Some(bound) = optimum.bound
        && bound > expected + 1e-6
    {
        return (Some(format!("BOUND {bound} above optimum {expected}; {optimum:?}")), "ended");
    }
    if let Some(objective) = optimum.objective {
        if objective < expected - 2e-4 {
            return (
                Some(format!("objective {objective} below optimum {expected}; {:?} {optimum:?}", trained.fitted)),
                "ended",
            );
        }
        // By a forward pass of its own.
        let fitted = trained.fitted.as_ref().unwrap();
        let net = Net { weights: &fitted.weights, kept: &fitted.kept, open: &fitted.open };
        let mut loss = 0.0;
        for (i, x) in problem.samples.iter().enumerate() {
            let Some((out, _)) = run(problem, &net, x, None, 0) else {
                return (Some("a sample is within a margin".into()), "ended");
            };
            let by_network = fitted.network.evaluate(x);
            if out.iter().zip(&by_network).any(|(a, b)| (a.0 - b).abs() > 1e-5) {
                return (Some(format!("network gives {by_network:?}, weights {out:?}; {fitted:?}")), "ended");
            }
            loss += sample_loss(problem, &out.iter().map(|o| o.0).collect::<Vec<_>>(), i);
        }
        if (loss - fitted.loss).abs() > 1e-4 {
            return (Some(format!("loss {} is {loss}", fitted.loss)), "ended");
        }
        let plan = Plan::new(problem);
        if !satisfied(problem, &plan, &net) {
            return (Some(format!("constraints are not satisfied: {fitted:?}")), "ended");
        }
    }
    match optimum.end {
        End::Optimal => {
            let objective = optimum.objective.unwrap();
            (
                (objective > expected + 2e-4).then(|| format!("objective {objective} above {expected}; {optimum:?}")),
                "optimal",
            )
        }
        End::TimeLimit => (None, "time"),
        _ => (
            Some(format!("ended with {:?}, optimum {expected}; {optimum:?} {:?}", optimum.end, trained.fitted)),
            "other",
        ),
    }
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let first = number("RANDOM_FIRST", 0);
    first..first + number("RANDOM_COUNT", count)
}

#[test]
fn random_problems_of_every_kind_have_the_optimum_of_enumeration() {
    let (mut wrong, mut ends) = (Vec::new(), std::collections::BTreeMap::new());
    for seed in seeds(20) {
        let (problem, start) = problem(seed);
        let begin = std::time::Instant::now();
        let (fault, end) = judge(&problem, start.clone());
        *ends.entry(end).or_insert(0) += 1;
        if begin.elapsed().as_secs_f64() > 10.0 {
            println!("seed {seed}: {:.1} s, {end}", begin.elapsed().as_secs_f64());
        }
        if let Some(fault) = fault {
            println!("seed {seed}: {fault}\n  {problem:?}\n  start {start:?}\n");
            wrong.push(seed);
        }
    }
    println!("{ends:?}");
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Grids become boxes: no network of the grid is below the bound for the box.
#[test]
fn no_network_of_a_grid_is_below_the_bound_for_its_box() {
    let (mut wrong, mut ends) = (Vec::new(), std::collections::BTreeMap::new());
    for seed in seeds(15) {
        let (problem, start) = problem(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut relaxed = problem.clone();
        let pieces = rng.random_range(0..=3);
        if pieces > 0 {
            relaxed.products = Products::McCormick { pieces };
        }
        let mut slot = 0;
        let mut widen = |p: &mut Parameters| {
            for domain in [&mut p.weights, &mut p.biases] {
                if let WeightDomain::Grid { lower, step, steps } = *domain
                    && (slot == 0 || pieces > 0)
                    && rng.random_bool(0.7)
                {
                    *domain = WeightDomain::Real { lower, upper: lower + step * f64::from(steps) };
                }
            }
            slot += 1;
        };
        for layer in &mut relaxed.layers {
            match layer {
                Layer::Dense(p) | Layer::Convolution(_, p) => widen(p),
                Layer::Optional { layers, .. } => layers.iter_mut().for_each(|layer| {
                    if let Layer::Dense(p) = layer {
                        widen(p);
                    }
                }),
                _ => {}
            }
        }
        let expected = least_of_problem(&problem);
        let end = match train(&relaxed, &Cbc, &Options { time_limit_s: 10.0, start, ..Options::default() }, &|_| ()) {
            Err(milp::Error::Contradictory(named)) => {
                if expected < f64::INFINITY {
                    println!("seed {seed}: {named:?}, but {expected}\n  {relaxed:?}");
                    wrong.push(seed);
                }
                "contradictory".into()
            }
            Err(error) => format!("{error}").chars().take(40).collect(),
            Ok(trained) => {
                let o = trained.optimum;
                if o.bound.is_some_and(|bound| bound > expected + 1e-6) {
                    println!("seed {seed}: BOUND {:?} above {expected}: {o:?}\n  {relaxed:?}", o.bound);
                    wrong.push(seed);
                }
                if let End::Numerical(said) = &o.end {
                    println!("seed {seed}: {said} {relaxed:?} {:?}", trained.fitted);
                }
                format!("{:?}", o.end).chars().take(9).collect::<String>()
            }
        };
        *ends.entry(end).or_insert(0) += 1;
    }
    println!("{ends:?}");
    assert!(wrong.is_empty(), "{wrong:?}");
}
