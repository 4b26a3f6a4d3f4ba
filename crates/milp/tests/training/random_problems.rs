//! Random small problems of every kind against an enumeration of all their networks that shares no code with the module. More of them:
//! `RANDOM_FIRST=1000 RANDOM_COUNT=400 cargo test --release -p milp --test training random_problems -- --nocapture`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use certificate::{Direction, Window};
use milp::training::{Constraint, End, Gate, Gates, LayerWeights};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// An array with its sides: channels, rows, columns.
type Sides = [usize; 3];

/// A layer with weights as enumeration sees it.
struct Slot {
    outputs: usize,
    inputs: usize,
    /// Weights per input gate.
    places: usize,
    group: Option<usize>,
    /// Which slot reads each of its units, and the weight places in a row that do.
    readers: Option<(usize, usize)>,
    parameters: Parameters,
}

struct Plan {
    slots: Vec<Slot>,
    groups: Vec<f64>,
    /// Cost and channels.
    opens: Vec<(f64, usize)>,
}

fn after(layer: &Layer, [c, h, w]: Sides) -> Sides {
    let slide = |window: &Window, channels: usize| {
        let along = |side: usize, part: usize| (side + 2 * window.padding - part) / window.stride + 1;
        [channels, along(h, window.height), along(w, window.width)]
    };
    match layer {
        Layer::Dense(p) => [p.outputs, 1, 1],
        Layer::Convolution(window, p) => slide(window, p.outputs),
        Layer::MaxPool(window) | Layer::AveragePool(window) => slide(window, c),
        Layer::Flatten => [c * h * w, 1, 1],
        _ => [c, h, w],
    }
}

impl Plan {
    fn new(problem: &Problem) -> Self {
        let mut plan = Self { slots: vec![], groups: vec![], opens: vec![] };
        let s = problem.input;
        // The last slot with its number of units, if everything since then keeps units apart.
        let mut last: Option<usize> = None;
        plan.walk(&problem.layers, &mut [s.channels, s.height, s.width], None, &mut last);
        plan
    }

    fn walk(&mut self, layers: &[Layer], sides: &mut Sides, group: Option<usize>, last: &mut Option<usize>) {
        for layer in layers {
            let [c, h, w] = *sides;
            match layer {
                Layer::Dense(p) => self.slot(p, c * h * w, 1, group, last),
                Layer::Convolution(window, p) => {
                    let area = window.height * window.width;
                    self.slot(p, c * area, area, group, last);
                }
                Layer::Gate(cost) => {
                    let channels = self.slots[last.unwrap()].outputs;
                    self.opens.push((*cost, channels));
                }
                Layer::Optional { cost, layers } => {
                    self.groups.push(*cost);
                    let g = self.groups.len() - 1;
                    self.walk(layers, sides, Some(g), last);
                    *last = None;
                }
                _ => {}
            }
            *sides = after(layer, *sides);
        }
    }

    fn slot(&mut self, p: &Parameters, inputs: usize, places: usize, group: Option<usize>, last: &mut Option<usize>) {
        let k = self.slots.len();
        if let Some(before) = *last {
            let per_unit = inputs / self.slots[before].outputs;
            self.slots[before].readers = Some((k, per_unit));
        }
        self.slots.push(Slot { outputs: p.outputs, inputs, places, group, readers: None, parameters: p.clone() });
        *last = Some(k);
    }
}

fn values_of(domain: &WeightDomain, k: usize) -> Vec<f64> {
    match domain {
        WeightDomain::Fixed(values) => vec![values[k]],
        WeightDomain::Grid { lower, step, steps } => (0..=*steps).map(|j| lower + step * f64::from(j)).collect(),
        WeightDomain::Real { .. } => unreachable!("only grids are enumerated"),
    }
}

/// A network: weights and biases of each slot, which groups are kept, which channels open.
struct Net<'a> {
    weights: &'a [LayerWeights],
    kept: &'a [bool],
    open: &'a [Vec<bool>],
}

/// Value and derivative on their way; `None` where a step is within its margin.
struct Run<'a> {
    net: &'a Net<'a>,
    /// Choices at ties, as bits; and how many ties there were.
    choices: u32,
    ties: u32,
    slot: usize,
    group: usize,
    gate: usize,
}

impl Run<'_> {
    fn layers(&mut self, layers: &[Layer], sides: &mut Sides, x: &mut Vec<(f64, f64)>) -> bool {
        layers.iter().all(|layer| self.layer(layer, sides, x))
    }

    /// Which of `n` tied.
    fn choose(&mut self, n: u32) -> u32 {
        let bits = 32 - (n - 1).leading_zeros();
        let k = (self.choices >> self.ties) & ((1 << bits) - 1);
        self.ties += bits;
        k.min(n - 1)
    }

    fn layer(&mut self, layer: &Layer, sides: &mut Sides, x: &mut Vec<(f64, f64)>) -> bool {
        let [c, h, w] = *sides;
        let to = after(layer, *sides);
        let under = |window: &Window, r: usize, q: usize| {
            let mut places = Vec::new();
            for i in 0..window.height {
                for j in 0..window.width {
                    let (y, z) = ((r * window.stride + i) as isize, (q * window.stride + j) as isize);
                    let (y, z) = (y - window.padding as isize, z - window.padding as isize);
                    if y >= 0 && z >= 0 && (y as usize) < h && (z as usize) < w {
                        places.push((i * window.width + j, y as usize * w + z as usize));
                    }
                }
            }
            places
        };
        match layer {
            Layer::Dense(p) => {
                let weights = &self.net.weights[self.slot];
                self.slot += 1;
                let row = |o: usize| {
                    let mut t = (weights.biases[o], 0.0);
                    for (j, (v, d)) in x.iter().enumerate() {
                        let a = weights.weights[o * x.len() + j];
                        t = (t.0 + a * v, t.1 + a * d);
                    }
                    t
                };
                *x = (0..p.outputs).map(row).collect();
            }
            Layer::Convolution(window, p) => {
                let weights = &self.net.weights[self.slot];
                self.slot += 1;
                let area = window.height * window.width;
                let mut out = Vec::new();
                for o in 0..p.outputs {
                    for r in 0..to[1] {
                        for q in 0..to[2] {
                            let mut t = (weights.biases[o], 0.0);
                            for channel in 0..c {
                                for (k, at) in under(window, r, q) {
                                    let a = weights.weights[(o * c + channel) * area + k];
                                    let (v, d) = x[channel * h * w + at];
                                    t = (t.0 + a * v, t.1 + a * d);
                                }
                            }
                            out.push(t);
                        }
                    }
                }
                *x = out;
            }
            Layer::MaxPool(window) | Layer::AveragePool(window) => {
                let mut out = Vec::new();
                for channel in 0..c {
                    for r in 0..to[1] {
                        for q in 0..to[2] {
                            let all: Vec<_> =
                                under(window, r, q).iter().map(|(_, at)| x[channel * h * w + at]).collect();
                            if matches!(layer, Layer::AveragePool(_)) {
                                let n = (window.height * window.width) as f64;
                                let sum = all.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                                out.push((sum.0 / n, sum.1 / n));
                                continue;
                            }
                            let largest = all.iter().map(|v| v.0).fold(f64::NEG_INFINITY, f64::max);
                            let mut tied: Vec<f64> =
                                all.iter().filter(|v| v.0 >= largest - 1e-9).map(|v| v.1).collect();
                            tied.sort_by(f64::total_cmp);
                            tied.dedup();
                            let k = if tied.len() > 1 { self.choose(tied.len() as u32) } else { 0 };
                            out.push((largest, tied[k as usize]));
                        }
                    }
                }
                *x = out;
            }
            Layer::Flatten => {}
            Layer::Relu => {
                for v in x.iter_mut() {
                    let tie = v.0.abs() < 1e-9 && v.1 != 0.0;
                    let on = if tie { self.choose(2) == 1 } else { v.0 > 0.0 };
                    *v = if on { *v } else { (0.0, 0.0) };
                }
            }
            Layer::Step { margin } => {
                for v in x.iter_mut() {
                    if v.0 > -margin && v.0 < 0.0 {
                        return false;
                    }
                    *v = (f64::from(v.0 >= 0.0), 0.0);
                }
            }
            Layer::Gate(_) => {
                let open = &self.net.open[self.gate];
                self.gate += 1;
                let per = x.len() / open.len();
                x.iter_mut().enumerate().filter(|(k, _)| !open[k / per]).for_each(|(_, v)| *v = (0.0, 0.0));
            }
            Layer::Optional { layers, .. } => {
                self.group += 1;
                let kept = self.net.kept[self.group - 1];
                let (before, mut inner) = (x.clone(), *sides);
                let fits = self.layers(layers, &mut inner, x);
                if !kept {
                    *x = before;
                } else if !fits {
                    return false;
                }
            }
        }
        *sides = to;
        true
    }
}

/// Outputs and derivatives at a point with given choices; how many bits of choice there are.
fn run(problem: &Problem, net: &Net, x: &[f64], input: Option<usize>, choices: u32) -> Option<(Vec<(f64, f64)>, u32)> {
    let mut run = Run { net, choices, ties: 0, slot: 0, group: 0, gate: 0 };
    let mut x: Vec<_> = x.iter().enumerate().map(|(j, x)| (*x, f64::from(input == Some(j)))).collect();
    let s = problem.input;
    run.layers(&problem.layers, &mut [s.channels, s.height, s.width], &mut x).then_some((x, run.ties))
}

fn sample_loss(problem: &Problem, f: &[f64], i: usize) -> f64 {
    match &problem.targets {
        Targets::Values(y) => {
            let errors = f.iter().zip(&y[i]).map(|(f, y)| f - y);
            if problem.loss == Loss::L1 { errors.map(f64::abs).sum() } else { errors.map(|e| e * e).sum() }
        }
        Targets::Classes(classes) => {
            let class = classes[i];
            let margins: Vec<f64> = if f.len() == 1 {
                vec![if class == 1 { f[0] } else { -f[0] }]
            } else {
                (0..f.len()).filter(|k| *k != class).map(|k| f[class] - f[k]).collect()
            };
            let least = margins.iter().copied().fold(f64::INFINITY, f64::min);
            match problem.loss {
                Loss::Hinge => (1.0 - least).max(0.0),
                Loss::ZeroOne { margin } => f64::from(least < margin - 1e-9),
                _ => (1.0 + margins.iter().map(|m| (-m).exp()).sum::<f64>()).ln(),
            }
        }
    }
}

/// Every gate with its cost and whether weights like these need it.
fn gates(plan: &Plan, net: &Net) -> Vec<(Gate, f64, bool)> {
    let mut all = Vec::new();
    for (l, (slot, given)) in plan.slots.iter().zip(net.weights).enumerate() {
        let row = |unit: usize| &given.weights[unit * slot.inputs..][..slot.inputs];
        if let Some(cost) = slot.parameters.gates.units {
            for unit in 0..slot.outputs {
                let own = given.biases[unit] != 0.0 || row(unit).iter().any(|w| *w != 0.0);
                let read = slot.readers.is_some_and(|(k, per)| {
                    let reader = &plan.slots[k];
                    // What cannot be 0 says nothing.
                    let free = match &reader.parameters.weights {
                        WeightDomain::Fixed(_) => false,
                        domain => values_of(domain, 0).contains(&0.0),
                    };
                    let rows = net.weights[k].weights.chunks(reader.inputs);
                    free && rows.into_iter().any(|row| row[unit * per..][..per].iter().any(|w| *w != 0.0))
                });
                all.push((Gate::Unit { layer: l, unit }, cost, own || read));
            }
        }
        if let Some(cost) = slot.parameters.gates.inputs {
            for input in 0..slot.inputs / slot.places {
                let needed = (0..slot.outputs)
                    .any(|unit| row(unit)[input * slot.places..][..slot.places].iter().any(|w| *w != 0.0));
                all.push((Gate::Input { layer: l, input }, cost, needed));
            }
        }
        if let Some(cost) = slot.parameters.gates.weights {
            for (k, w) in given.weights.iter().enumerate() {
                let gate = Gate::Weight { layer: l, unit: k / slot.inputs, input: k % slot.inputs };
                all.push((gate, cost, *w != 0.0));
            }
        }
    }
    all
}

/// The least cost of gates that weights allow and constraints accept.
fn structure(problem: &Problem, plan: &Plan, net: &Net) -> f64 {
    let mut cost = 0.0;
    let mut known: Vec<(Gate, bool)> = Vec::new();
    for (k, kept) in net.kept.iter().enumerate() {
        cost += if *kept { plan.groups[k] } else { 0.0 };
        known.push((Gate::Optional(k), *kept));
    }
    for (layer, open) in net.open.iter().enumerate() {
        for (channel, on) in open.iter().enumerate() {
            cost += if *on { plan.opens[layer].0 } else { 0.0 };
            known.push((Gate::Activation { layer, channel }, *on));
        }
    }
    let gates = gates(plan, net);
    let speaks = problem.constraints.iter().any(|c| matches!(c, Constraint::Clause(_) | Constraint::AtMost { .. }));
    if !speaks {
        return cost + gates.iter().filter(|gate| gate.2).map(|gate| gate.1).sum::<f64>();
    }
    let group_off = |gate: &Gate| match gate {
        Gate::Unit { layer, .. } | Gate::Input { layer, .. } | Gate::Weight { layer, .. } => {
            plan.slots[*layer].group.is_some_and(|g| !net.kept[g])
        }
        _ => false,
    };
    let free: Vec<usize> = (0..gates.len()).filter(|k| !gates[*k].2 && !group_off(&gates[*k].0)).collect();
    let mut best = f64::INFINITY;
    for code in 0..1_u32 << free.len() {
        let on = |k: usize| gates[k].2 || free.iter().position(|f| *f == k).is_some_and(|bit| code >> bit & 1 == 1);
        let mut state = known.clone();
        state.extend((0..gates.len()).map(|k| (gates[k].0, on(k))));
        let of = |gate: &Gate| state.iter().find(|(g, _)| g == gate).unwrap().1;
        let holds = problem.constraints.iter().all(|c| match c {
            Constraint::Clause(literals) => literals.iter().any(|(gate, on)| of(gate) == *on),
            Constraint::AtMost { gates, count } => gates.iter().filter(|gate| of(gate)).count() <= *count,
            _ => true,
        });
        if holds {
            let sum: f64 = (0..gates.len()).filter(|k| on(*k)).map(|k| gates[k].1).sum();
            best = best.min(cost + sum);
        }
    }
    best
}

fn satisfied(problem: &Problem, plan: &Plan, net: &Net) -> bool {
    problem.constraints.iter().all(|c| match c {
        Constraint::Weight { layer, unit, input, lower, upper } => {
            let w = net.weights[*layer].weights[unit * plan.slots[*layer].inputs + input];
            *lower <= w && w <= *upper
        }
        Constraint::Monotone { input, direction } => {
            let (first, second) = (&net.weights[0], &net.weights[1]);
            let units = plan.slots[0].outputs;
            (0..units).all(|j| {
                let w = first.weights[j * plan.slots[0].inputs + input] * direction.sign();
                (0..plan.slots[1].outputs).all(|o| second.weights[o * units + j] * w >= 0.0)
            })
        }
        Constraint::Anchored { point, input, direction } => {
            let mut choices = 0;
            loop {
                let (out, ties) = run(problem, net, point, Some(*input), choices).unwrap();
                if out.iter().all(|(_, d)| d * direction.sign() >= -1e-9) {
                    return true;
                }
                choices += 1;
                if ties > 16 || choices >= 1 << ties.max(1) {
                    return false;
                }
            }
        }
        Constraint::Output { point, output, lower, upper } => run(problem, net, point, None, 0)
            .is_some_and(|(out, _)| out[*output].0 >= lower - 1e-9 && out[*output].0 <= upper + 1e-9),
        _ => true,
    })
}

/// The least objective of all networks; infinite where there is none.
fn least_of_problem(problem: &Problem) -> f64 {
    let plan = Plan::new(problem);
    let mut best = f64::INFINITY;
    let bits = plan.groups.len() + plan.opens.iter().map(|o| o.1).sum::<usize>();
    for code in 0..1_u32 << bits {
        let mut bit = (0..bits).map(|k| code >> k & 1 == 1);
        let kept: Vec<bool> = plan.groups.iter().map(|_| bit.next().unwrap()).collect();
        let open: Vec<Vec<bool>> =
            plan.opens.iter().map(|(_, n)| (0..*n).map(|_| bit.next().unwrap()).collect()).collect();
        let mut choices: Vec<Vec<f64>> = Vec::new();
        let mut possible = true;
        for slot in &plan.slots {
            let off = slot.group.is_some_and(|g| !kept[g]);
            let mut add = |domain: &WeightDomain, k| {
                let values = values_of(domain, k);
                possible &= !off || values.contains(&0.0);
                choices.push(if off { vec![0.0] } else { values });
            };
            (0..slot.inputs * slot.outputs).for_each(|k| add(&slot.parameters.weights, k));
            (0..slot.outputs).for_each(|k| add(&slot.parameters.biases, k));
        }
        if !possible {
            continue;
        }
        let mut at = vec![0; choices.len()];
        'networks: loop {
            let mut number = choices.iter().zip(&at).map(|(values, k)| values[*k]);
            let weights: Vec<LayerWeights> = (plan.slots.iter())
                .map(|slot| LayerWeights {
                    weights: number.by_ref().take(slot.inputs * slot.outputs).collect(),
                    biases: number.by_ref().take(slot.outputs).collect(),
                })
                .collect();
            let net = Net { weights: &weights, kept: &kept, open: &open };
            let mut value = 0.0;
            for (slot, layer) in plan.slots.iter().zip(&weights) {
                let p = &slot.parameters;
                value += layer.weights.iter().map(|w| p.l1 * w.abs() + p.l2 * w * w).sum::<f64>();
            }
            for (i, x) in problem.samples.iter().enumerate() {
                let Some((out, _)) = run(problem, &net, x, None, 0) else {
                    value = f64::INFINITY;
                    break;
                };
                let out: Vec<f64> = out.iter().map(|o| o.0).collect();
                value += sample_loss(problem, &out, i);
            }
            if value < best && satisfied(problem, &plan, &net) {
                best = best.min(value + structure(problem, &plan, &net));
            }
            for k in 0..at.len() {
                at[k] += 1;
                if at[k] < choices[k].len() {
                    continue 'networks;
                }
                at[k] = 0;
            }
            break;
        }
    }
    best
}

/// How many networks enumeration has to look at.
fn networks(problem: &Problem) -> f64 {
    let plan = Plan::new(problem);
    let bits = plan.groups.len() + plan.opens.iter().map(|o| o.1).sum::<usize>();
    let count = |domain: &WeightDomain, n: usize| (values_of(domain, 0).len() as f64).powi(n as i32);
    let slots = plan.slots.iter().map(|slot| {
        let p = &slot.parameters;
        count(&p.weights, slot.inputs * slot.outputs) * count(&p.biases, slot.outputs)
    });
    slots.product::<f64>() * f64::from(1_u32 << bits)
}

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

/// A random architecture, and the number of its outputs.
fn architecture(rng: &mut ChaCha8Rng) -> (Shape, Vec<Layer>) {
    let image = [
        Shape { channels: 1, height: 1, width: 3 },
        Shape { channels: 1, height: 2, width: 2 },
        Shape { channels: 2, height: 1, width: 2 },
    ];
    let kind = rng.random_range(0..12);
    let input = if (4..=6).contains(&kind) { pick(rng, &image) } else { Shape::list(rng.random_range(1..=2)) };
    let s = std::cell::RefCell::new([input.channels, input.height, input.width]);
    let mut layers: Vec<Layer> = Vec::new();
    let outputs = pick(rng, &[1, 1, 1, 2, 3]);
    let hidden = rng.random_range(1..=2);
    let push = |layers: &mut Vec<Layer>, layer: Layer| {
        let to = after(&layer, *s.borrow());
        *s.borrow_mut() = to;
        layers.push(layer);
    };
    let size = || s.borrow().iter().product::<usize>();
    let dense = |rng: &mut ChaCha8Rng, n: usize, g: bool| Layer::Dense(parameters(rng, n, size(), g));
    let window = |rng: &mut ChaCha8Rng, pad: bool| {
        let [_, h, w] = *s.borrow();
        let padding = usize::from(pad && rng.random_bool(0.4));
        let low = padding + 1;
        // Padding is less than either side of the window.
        let side = |rng: &mut ChaCha8Rng, n: usize| {
            if n + 2 * padding < low { low } else { rng.random_range(low..=(n + 2 * padding).min(2).max(low)) }
        };
        Window { height: side(rng, h), width: side(rng, w), stride: rng.random_range(1..=2), padding }
    };
    match kind {
        0 => {}
        1 | 2 => {
            let layer = dense(rng, hidden, false);
            push(&mut layers, layer);
            push(&mut layers, Layer::Relu);
        }
        3 => {
            let layer = dense(rng, hidden, false);
            push(&mut layers, layer);
            if rng.random_bool(0.3) {
                push(&mut layers, Layer::Gate(0.125));
            }
            push(&mut layers, Layer::Step { margin: pick(rng, &[0.25, 0.125, 0.5]) });
        }
        4..=6 => {
            if rng.random_bool(0.2) {
                let at = window(rng, true);
                push(
                    &mut layers,
                    if at.padding == 0 && rng.random_bool(0.5) { Layer::AveragePool(at) } else { Layer::MaxPool(at) },
                );
            }
            let at = window(rng, true);
            let c = s.borrow()[0];
            let area = at.height * at.width;
            let p = parameters(rng, hidden, c * area, false);
            push(&mut layers, Layer::Convolution(at, p));
            if rng.random_bool(0.2) {
                push(&mut layers, Layer::Gate(0.125));
            }
            if rng.random_bool(0.8) {
                push(&mut layers, if rng.random_bool(0.8) { Layer::Relu } else { Layer::Step { margin: 0.25 } });
            }
            if rng.random_bool(0.5) {
                let at = window(rng, true);
                push(
                    &mut layers,
                    if at.padding == 0 && rng.random_bool(0.5) { Layer::AveragePool(at) } else { Layer::MaxPool(at) },
                );
            }
            if rng.random_bool(0.6) {
                push(&mut layers, Layer::Flatten);
            }
        }
        7 | 8 => {
            // Optional layers, sometimes two alike, sometimes first.
            if rng.random_bool(0.5) {
                let layer = dense(rng, 1, false);
                push(&mut layers, layer);
                push(&mut layers, Layer::Relu);
            }
            let n = size();
            let mut inside = vec![dense(rng, n, true)];
            if rng.random_bool(0.7) {
                inside.push(Layer::Relu);
            }
            let optional = Layer::Optional { cost: pick(rng, &[0.0, 0.125]), layers: inside };
            push(&mut layers, optional.clone());
            if rng.random_bool(0.5) {
                push(&mut layers, optional);
            }
        }
        9 => {
            let layer = dense(rng, hidden, false);
            push(&mut layers, layer);
            let gate = Layer::Gate(pick(rng, &[0.0, 0.125]));
            if rng.random_bool(0.5) {
                push(&mut layers, gate);
                push(&mut layers, Layer::Relu);
            } else {
                push(&mut layers, Layer::Relu);
                push(&mut layers, gate);
            }
        }
        10 => {
            for _ in 0..2 {
                let layer = dense(rng, 1, false);
                push(&mut layers, layer);
                push(&mut layers, Layer::Relu);
            }
        }
        _ => {
            let layer = dense(rng, hidden, false);
            push(&mut layers, layer);
            if rng.random_bool(0.5) {
                push(&mut layers, Layer::Relu);
            }
        }
    }
    let last = dense(rng, outputs, false);
    push(&mut layers, last);
    if kind == 11 && rng.random_bool(0.5) {
        push(&mut layers, Layer::Relu);
    }
    (input, layers)
}

fn constraints(rng: &mut ChaCha8Rng, problem: &Problem) -> Vec<Constraint> {
    let plan = Plan::new(problem);
    let inputs = problem.input.size();
    let outputs = plan.slots.last().unwrap().outputs;
    let steps = problem.layers.iter().any(|l| matches!(l, Layer::Step { .. }));
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
