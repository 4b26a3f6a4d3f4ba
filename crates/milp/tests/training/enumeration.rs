//! All networks of a small problem, one after another, by code that shares nothing with the module.

use certificate::Window;
use milp::training::{Constraint, Gate, LayerWeights};

use super::*;

/// An array with its sides: channels, rows, columns.
pub type Sides = [usize; 3];

/// A layer with weights as enumeration sees it.
pub struct Slot {
    pub outputs: usize,
    pub inputs: usize,
    /// Weights per input gate.
    pub places: usize,
    pub group: Option<usize>,
    /// Which slot reads each of its units, and the weight places in a row that do.
    readers: Option<(usize, usize)>,
    pub parameters: Parameters,
}

pub struct Plan {
    pub slots: Vec<Slot>,
    pub groups: Vec<f64>,
    /// Cost and channels.
    pub opens: Vec<(f64, usize)>,
}

pub fn after(layer: &Layer, [c, h, w]: Sides) -> Sides {
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
    pub fn new(problem: &Problem) -> Self {
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

pub fn values_of(domain: &WeightDomain, k: usize) -> Vec<f64> {
    match domain {
        WeightDomain::Fixed(values) => vec![values[k]],
        WeightDomain::Grid { lower, step, steps } => (0..=*steps).map(|j| lower + step * f64::from(j)).collect(),
        WeightDomain::Real { .. } => unreachable!("only grids are enumerated"),
    }
}

/// A network: weights and biases of each slot, which groups are kept, which channels open.
pub struct Net<'a> {
    pub weights: &'a [LayerWeights],
    pub kept: &'a [bool],
    pub open: &'a [Vec<bool>],
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
        let to = after(layer, *sides);
        match layer {
            Layer::Dense(p) => {
                let weights = &self.net.weights[self.slot];
                self.slot += 1;
                let row = |o: usize| sum(weights.biases[o], x.iter().zip(&weights.weights[o * x.len()..]));
                *x = (0..p.outputs).map(row).collect();
            }
            Layer::Convolution(window, _) => *x = self.convolution(window, *sides, to, x),
            Layer::MaxPool(window) => *x = self.largest(window, *sides, to, x),
            Layer::AveragePool(window) => *x = mean(window, *sides, to, x),
            Layer::Flatten => {}
            Layer::Relu => {
                for v in x.iter_mut() {
                    let tie = v.0.abs() < 1e-9 && v.1 != 0.0;
                    let on = if tie { self.choose(2) == 1 } else { v.0 > 0.0 };
                    *v = if on { *v } else { (0.0, 0.0) };
                }
            }
            Layer::Step { margin } => {
                if x.iter().any(|v| v.0 > -margin && v.0 < 0.0) {
                    return false;
                }
                x.iter_mut().for_each(|v| *v = (f64::from(v.0 >= 0.0), 0.0));
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

    fn convolution(&mut self, window: &Window, [c, h, w]: Sides, to: Sides, x: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let weights = &self.net.weights[self.slot];
        self.slot += 1;
        let area = window.height * window.width;
        let at = |(o, r, q): (usize, usize, usize)| {
            let places = under(window, [c, h, w], r, q);
            let terms = (0..c).flat_map(|channel| places.iter().map(move |(k, at)| (channel, k, at)));
            let terms = terms
                .map(|(channel, k, at)| (&x[channel * h * w + at], &weights.weights[(o * c + channel) * area + k]));
            sum(weights.biases[o], terms)
        };
        positions(to).map(at).collect()
    }

    fn largest(&mut self, window: &Window, from: Sides, to: Sides, x: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let mut out = Vec::new();
        for (channel, r, q) in positions(to) {
            let all: Vec<_> =
                under(window, from, r, q).iter().map(|(_, at)| x[channel * from[1] * from[2] + at]).collect();
            let largest = all.iter().map(|v| v.0).fold(f64::NEG_INFINITY, f64::max);
            let mut tied: Vec<f64> = all.iter().filter(|v| v.0 >= largest - 1e-9).map(|v| v.1).collect();
            tied.sort_by(f64::total_cmp);
            tied.dedup();
            let k = if tied.len() > 1 { self.choose(tied.len() as u32) } else { 0 };
            out.push((largest, tied[k as usize]));
        }
        out
    }
}

/// A weighted sum with its derivative.
fn sum<'a>(bias: f64, terms: impl Iterator<Item = (&'a (f64, f64), &'a f64)>) -> (f64, f64) {
    terms.fold((bias, 0.0), |(value, slope), ((v, d), w)| (value + w * v, slope + w * d))
}

fn mean(window: &Window, from: Sides, to: Sides, x: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let share = 1.0 / (window.height * window.width) as f64;
    let at = |(channel, r, q): (usize, usize, usize)| {
        let places = under(window, from, r, q);
        sum(0.0, places.iter().map(|(_, at)| (&x[channel * from[1] * from[2] + at], &share)))
    };
    positions(to).map(at).collect()
}

fn positions([c, h, w]: Sides) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..c).flat_map(move |channel| (0..h).flat_map(move |r| (0..w).map(move |q| (channel, r, q))))
}

/// What lies under a window: places in it, and in a channel.
fn under(window: &Window, [_, h, w]: Sides, r: usize, q: usize) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    for (_, i, j) in positions([1, window.height, window.width]) {
        let (y, z) = (r * window.stride + i, q * window.stride + j);
        if let (Some(y), Some(z)) = (y.checked_sub(window.padding), z.checked_sub(window.padding))
            && y < h
            && z < w
        {
            places.push((i * window.width + j, y * w + z));
        }
    }
    places
}

/// Outputs and derivatives at a point with given choices; how many bits of choice there are.
pub fn run(
    problem: &Problem,
    net: &Net,
    x: &[f64],
    input: Option<usize>,
    choices: u32,
) -> Option<(Vec<(f64, f64)>, u32)> {
    let mut run = Run { net, choices, ties: 0, slot: 0, group: 0, gate: 0 };
    let mut x: Vec<_> = x.iter().enumerate().map(|(j, x)| (*x, f64::from(input == Some(j)))).collect();
    let s = problem.input;
    run.layers(&problem.layers, &mut [s.channels, s.height, s.width], &mut x).then_some((x, run.ties))
}

pub fn sample_loss(problem: &Problem, f: &[f64], i: usize) -> f64 {
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

pub fn satisfied(problem: &Problem, plan: &Plan, net: &Net) -> bool {
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
pub fn least_of_problem(problem: &Problem) -> f64 {
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
pub fn networks(problem: &Problem) -> f64 {
    let plan = Plan::new(problem);
    let bits = plan.groups.len() + plan.opens.iter().map(|o| o.1).sum::<usize>();
    let count = |domain: &WeightDomain, n: usize| (values_of(domain, 0).len() as f64).powi(n as i32);
    let slots = plan.slots.iter().map(|slot| {
        let p = &slot.parameters;
        count(&p.weights, slot.inputs * slot.outputs) * count(&p.biases, slot.outputs)
    });
    slots.product::<f64>() * f64::from(1_u32 << bits)
}
