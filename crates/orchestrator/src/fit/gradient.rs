//! Gradient training of the same network on the same objective: Adam from many random points, then every weight to its domain.
//!
//! What the exact search is compared with, and where it may begin. Constraints are not imposed.

use certificate::{Affine, Convolution, Layered, Shape};
use milp::training::{Layer, LayerWeights, Loss, Parameters, Problem, Products, Targets, WeightDomain};
use rayon::prelude::*;
use train::Stream;
use train::seeds::unit;

use super::config::Gradient;

/// What all starts gave.
pub struct Descents {
    /// Objective of each start, in the domain of the weights.
    pub objectives: Vec<f64>,
    /// The weights of the best.
    pub weights: Vec<LayerWeights>,
}

impl Descents {
    /// The smallest objective.
    pub fn best(&self) -> f64 {
        self.objectives.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Trains from every start; `None` where a layer is a step, a gate or optional, which gradients say nothing about.
pub fn train(problem: &Problem, settings: &Gradient, seed: u64) -> Option<Descents> {
    let graph = Graph::new(problem)?;
    let descend = |start| {
        let weights = graph.descend(settings.steps, seed, start);
        (graph.objective(&weights), weights)
    };
    let found: Vec<(f64, Vec<f64>)> = (0..settings.starts).into_par_iter().map(descend).collect();
    let best = found.iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Descents { weights: graph.split(&best.1), objectives: found.iter().map(|(value, _)| *value).collect() })
}

/// What a layer does to a list of numbers.
enum Step {
    /// Sums of weights times numbers, and biases: for every number of the result its unit, and pairs of a place in the unit's
    /// row and the number that the weight there meets.
    Affine {
        slot: usize,
        sums: Vec<(usize, Vec<(usize, usize)>)>,
    },
    Relu,
    /// The largest of some numbers each.
    Max(Vec<Vec<usize>>),
    /// The mean of some numbers each.
    Mean(Vec<Vec<usize>>),
}

/// Where the parameters of a layer are in the list of all of them: its weights row by row, then its biases.
struct Slot<'a> {
    parameters: &'a Parameters,
    inputs: usize,
    /// Weights per unit that belong to one input gate.
    places: usize,
    begin: usize,
}

impl Slot<'_> {
    fn bias(&self, unit: usize) -> usize {
        self.begin + self.parameters.outputs * self.inputs + unit
    }

    fn end(&self) -> usize {
        self.bias(self.parameters.outputs)
    }
}

struct Graph<'a> {
    problem: &'a Problem,
    steps: Vec<Step>,
    slots: Vec<Slot<'a>>,
}

impl<'a> Graph<'a> {
    fn new(problem: &'a Problem) -> Option<Self> {
        let mut graph = Self { problem, steps: Vec::new(), slots: Vec::new() };
        let mut shape = problem.input;
        for layer in &problem.layers {
            shape = graph.add(layer, shape)?;
        }
        Some(graph)
    }

    fn add(&mut self, layer: &'a Layer, shape: Shape) -> Option<Shape> {
        let after = shape_after(layer, shape)?;
        let positions = || {
            (0..after.channels)
                .flat_map(move |o| (0..after.height).flat_map(move |r| (0..after.width).map(move |c| (o, r, c))))
        };
        let under = |window: &certificate::Window| {
            let places = |(channel, r, c)| {
                window.places(shape, r, c).map(move |(_, row, column)| shape.index(channel, row, column))
            };
            positions().map(|at| places(at).collect()).collect()
        };
        match layer {
            Layer::Dense(parameters) => {
                let all: Vec<_> = (0..shape.size()).map(|j| (j, j)).collect();
                let sums = (0..parameters.outputs).map(|unit| (unit, all.clone())).collect();
                self.add_affine(parameters, (shape.size(), 1), sums);
            }
            Layer::Convolution(window, parameters) => {
                let places = window.height * window.width;
                let sum = |(unit, r, c)| {
                    let of_channel = |channel| {
                        let under = window.places(shape, r, c);
                        under.map(move |(place, row, column)| {
                            (channel * places + place, shape.index(channel, row, column))
                        })
                    };
                    (unit, (0..shape.channels).flat_map(of_channel).collect())
                };
                self.add_affine(parameters, (shape.channels * places, places), positions().map(sum).collect());
            }
            Layer::MaxPool(window) => self.steps.push(Step::Max(under(window))),
            Layer::AveragePool(window) => self.steps.push(Step::Mean(under(window))),
            Layer::Relu => self.steps.push(Step::Relu),
            Layer::Flatten => {}
            Layer::Step { .. } | Layer::Gate(_) | Layer::Optional { .. } => return None,
        }
        Some(after)
    }

    fn add_affine(
        &mut self,
        parameters: &'a Parameters,
        (inputs, places): (usize, usize),
        sums: Vec<(usize, Vec<(usize, usize)>)>,
    ) {
        self.steps.push(Step::Affine { slot: self.slots.len(), sums });
        let begin = self.slots.last().map_or(0, Slot::end);
        self.slots.push(Slot { parameters, inputs, places, begin });
    }

    /// Whether all that is left of a layer's weights are signs.
    fn is_absorbed(&self, slot: usize) -> bool {
        self.problem.products == Products::Absorbed && slot + 1 == self.slots.len()
    }

    /// Adam with a falling step, and every number kept between its ends.
    fn descend(&self, steps: u32, seed: u64, start: u32) -> Vec<f64> {
        const RATE: f64 = 0.05;
        let mut rng = Stream::Starts.generator(seed, start, 0);
        let (mut w, mut sides) = (Vec::new(), Vec::new());
        for (k, Slot { parameters, inputs, .. }) in self.slots.iter().enumerate() {
            let reach = (6.0 / (inputs + parameters.outputs) as f64).sqrt();
            let weights = (0..parameters.outputs * inputs).map(|j| (side(&parameters.weights, j), self.is_absorbed(k)));
            let biases = (0..parameters.outputs).map(|j| (side(&parameters.biases, j), false));
            for ((lower, upper), is_sign) in weights.chain(biases) {
                let drawn = 2.0 * unit(&mut rng) - 1.0;
                let (lower, upper) = if is_sign { (drawn.signum(), drawn.signum()) } else { (lower, upper) };
                w.push((reach * drawn).clamp(lower, upper));
                sides.push((lower, upper));
            }
        }
        let (mut mean, mut square) = (vec![0.0; w.len()], vec![0.0; w.len()]);
        let mut gradient = vec![0.0; w.len()];
        for step in 0..steps {
            self.slope(&w, &mut gradient);
            let rate = RATE * (1.0 - f64::from(step) / f64::from(steps));
            for k in 0..w.len() {
                mean[k] = 0.9 * mean[k] + 0.1 * gradient[k];
                square[k] = 0.99 * square[k] + 0.01 * gradient[k] * gradient[k];
                w[k] = (w[k] - rate * mean[k] / (square[k].sqrt() + 1e-9)).clamp(sides[k].0, sides[k].1);
            }
        }
        for (k, slot) in self.slots.iter().enumerate().filter(|(k, _)| !self.is_absorbed(*k)) {
            let first_bias = slot.bias(0);
            for (j, number) in w[slot.begin..first_bias].iter_mut().enumerate() {
                *number = nearest(&self.slots[k].parameters.weights, j, *number);
            }
            for (j, number) in w[first_bias..slot.end()].iter_mut().enumerate() {
                *number = nearest(&slot.parameters.biases, j, *number);
            }
        }
        w
    }

    /// The numbers after every step, beginning with the sample.
    fn forward(&self, w: &[f64], x: &[f64]) -> Vec<Vec<f64>> {
        let mut values = vec![x.to_vec()];
        for step in &self.steps {
            let given = &values[values.len() - 1];
            values.push(match step {
                Step::Affine { slot, sums } => {
                    let slot = &self.slots[*slot];
                    let sum = |(unit, terms): &(usize, Vec<(usize, usize)>)| {
                        let row = &w[slot.begin + unit * slot.inputs..];
                        w[slot.bias(*unit)]
                            + terms.iter().map(|(place, index)| row[*place] * given[*index]).sum::<f64>()
                    };
                    sums.iter().map(sum).collect()
                }
                Step::Relu => given.iter().map(|t| t.max(0.0)).collect(),
                Step::Max(groups) => groups.iter().map(|group| given[largest(group, given)]).collect(),
                Step::Mean(groups) => {
                    let mean = |group: &Vec<usize>| group.iter().map(|j| given[*j]).sum::<f64>() / group.len() as f64;
                    groups.iter().map(mean).collect()
                }
            });
        }
        values
    }

    /// A subgradient of loss and elastic net.
    fn slope(&self, w: &[f64], gradient: &mut [f64]) {
        gradient.fill(0.0);
        for slot in &self.slots {
            let Parameters { l1, l2, .. } = *slot.parameters;
            for k in slot.begin..slot.bias(0) {
                let sign = if w[k] == 0.0 { 0.0 } else { w[k].signum() };
                gradient[k] += l1 * sign + 2.0 * l2 * w[k];
            }
        }
        for (i, x) in self.problem.samples.iter().enumerate() {
            let values = self.forward(w, x);
            let mut by = loss(self.problem.loss, &values[self.steps.len()], &self.problem.targets, i).1;
            for (step, given) in self.steps.iter().zip(&values).rev() {
                let mut before = vec![0.0; given.len()];
                match step {
                    Step::Affine { slot, sums } => {
                        let slot = &self.slots[*slot];
                        for ((unit, terms), by) in sums.iter().zip(&by) {
                            let row = slot.begin + unit * slot.inputs;
                            gradient[slot.bias(*unit)] += by;
                            for (place, index) in terms {
                                gradient[row + place] += by * given[*index];
                                before[*index] += by * w[row + place];
                            }
                        }
                    }
                    Step::Relu => (0..given.len()).filter(|j| given[*j] > 0.0).for_each(|j| before[j] = by[j]),
                    Step::Max(groups) => {
                        groups.iter().zip(&by).for_each(|(group, by)| before[largest(group, given)] += by);
                    }
                    Step::Mean(groups) => {
                        for (group, by) in groups.iter().zip(&by) {
                            group.iter().for_each(|j| before[*j] += by / group.len() as f64);
                        }
                    }
                }
                by = before;
            }
        }
    }

    /// Loss, elastic net, and the cost of every gate that cannot be closed.
    fn objective(&self, w: &[f64]) -> f64 {
        let samples = self.problem.samples.iter().enumerate();
        let fit = samples.map(|(i, x)| {
            let outputs = &self.forward(w, x)[self.steps.len()];
            loss(self.problem.loss, outputs, &self.problem.targets, i).0
        });
        let costs = self.slots.iter().map(|slot| {
            let Parameters { l1, l2, gates, outputs, .. } = *slot.parameters;
            let weights = &w[slot.begin..slot.bias(0)];
            let elastic: f64 = weights.iter().map(|w| l1 * w.abs() + l2 * w * w).sum();
            let nonzero = |w: &&f64| **w != 0.0;
            let used = |unit: &usize| {
                let row = &weights[unit * slot.inputs..][..slot.inputs];
                w[slot.bias(*unit)] != 0.0 || row.iter().any(|w| *w != 0.0)
            };
            let read = |gate: &usize| {
                let of_gate = |k: &usize| k % slot.inputs / slot.places == *gate;
                (0..weights.len()).filter(of_gate).any(|k| weights[k] != 0.0)
            };
            elastic
                + gates.units.map_or(0.0, |cost| cost * (0..outputs).filter(used).count() as f64)
                + gates.inputs.map_or(0.0, |cost| cost * (0..slot.inputs / slot.places).filter(read).count() as f64)
                + gates.weights.map_or(0.0, |cost| cost * weights.iter().filter(nonzero).count() as f64)
        });
        fit.sum::<f64>() + costs.sum::<f64>()
    }

    fn split(&self, w: &[f64]) -> Vec<LayerWeights> {
        let of = |slot: &Slot| LayerWeights {
            weights: w[slot.begin..slot.bias(0)].to_vec(),
            biases: w[slot.bias(0)..slot.end()].to_vec(),
        };
        self.slots.iter().map(of).collect()
    }
}

/// What a layer makes of an array, if it fits.
fn shape_after(layer: &Layer, shape: Shape) -> Option<Shape> {
    let layer = match layer {
        Layer::Dense(parameters) => return Some(Shape::list(parameters.outputs)),
        Layer::Convolution(window, parameters) => {
            let inputs = shape.channels * window.height * window.width;
            let zeros = Affine::new(inputs, vec![0.0; inputs * parameters.outputs], vec![0.0; parameters.outputs]);
            certificate::Layer::Convolution(Convolution { window: *window, kernel: zeros.ok()? })
        }
        Layer::MaxPool(window) => certificate::Layer::MaxPool(*window),
        Layer::AveragePool(window) => certificate::Layer::AveragePool(*window),
        Layer::Flatten => return Some(Shape::list(shape.size())),
        _ => return Some(shape),
    };
    Some(Layered::new(shape, vec![layer]).ok()?.shape(1))
}

fn largest(group: &[usize], values: &[f64]) -> usize {
    *group.iter().max_by(|a, b| values[**a].total_cmp(&values[**b])).expect("a window covers something")
}

/// Ends of what number `k` may be.
fn side(domain: &WeightDomain, k: usize) -> (f64, f64) {
    match domain {
        WeightDomain::Real { lower, upper } => (*lower, *upper),
        WeightDomain::Grid { lower, step, steps } => (*lower, lower + step * f64::from(*steps)),
        WeightDomain::Fixed(values) => (values[k], values[k]),
    }
}

/// The nearest 32-bit number of a domain.
fn nearest(domain: &WeightDomain, k: usize, number: f64) -> f64 {
    let (lower, upper) = side(domain, k);
    let number = match domain {
        WeightDomain::Grid { step, .. } => lower + step * ((number - lower) / step).round(),
        _ => number,
    };
    f64::from(number.clamp(lower, upper) as f32)
}

/// The loss of sample `i` at some outputs, and its subgradient. Errors are counted, but their slope is that of the hinge.
fn loss(loss: Loss, f: &[f64], targets: &Targets, i: usize) -> (f64, Vec<f64>) {
    match targets {
        Targets::Values(values) => {
            let errors: Vec<f64> = f.iter().zip(&values[i]).map(|(f, y)| f - y).collect();
            match loss {
                Loss::L1 => (errors.iter().map(|e| e.abs()).sum(), errors.iter().map(|e| e.signum()).collect()),
                _ => (errors.iter().map(|e| e * e).sum(), errors.iter().map(|e| 2.0 * e).collect()),
            }
        }
        Targets::Classes(classes) if f.len() == 1 => {
            let sign = if classes[i] == 1 { 1.0 } else { -1.0 };
            let (value, slope) = of_margins(loss, &[sign * f[0]]);
            (value, vec![sign * slope[0]])
        }
        Targets::Classes(classes) => {
            let class = classes[i];
            let others: Vec<usize> = (0..f.len()).filter(|k| *k != class).collect();
            let margins: Vec<f64> = others.iter().map(|k| f[class] - f[*k]).collect();
            let (value, slopes) = of_margins(loss, &margins);
            let mut gradient = vec![0.0; f.len()];
            for (k, slope) in others.iter().zip(slopes) {
                gradient[class] += slope;
                gradient[*k] -= slope;
            }
            (value, gradient)
        }
    }
}

/// A loss of classes, and its slope in each margin.
fn of_margins(loss: Loss, margins: &[f64]) -> (f64, Vec<f64>) {
    if loss == Loss::CrossEntropy {
        // 1 + sum of exp(-m), with the largest term taken out.
        let largest = margins.iter().fold(0.0_f64, |a, m| a.max(-m));
        let terms: Vec<f64> = margins.iter().map(|m| (-m - largest).exp()).collect();
        let sum = terms.iter().sum::<f64>() + (-largest).exp();
        return (largest + sum.ln(), terms.iter().map(|term| -term / sum).collect());
    }
    let least = (0..margins.len()).min_by(|a, b| margins[*a].total_cmp(&margins[*b])).expect("there is another class");
    let mut slopes = vec![0.0; margins.len()];
    if margins[least] < 1.0 {
        slopes[least] = -1.0;
    }
    let value = match loss {
        // As exact training counts, which allows for rounding.
        Loss::ZeroOne { margin } => f64::from(margins[least] < margin - 1e-5),
        _ => (1.0 - margins[least]).max(0.0),
    };
    (value, slopes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use certificate::Window;

    fn problem(loss: Loss, targets: Targets, outputs: usize) -> Problem {
        let real = WeightDomain::real(2.0);
        let parameters =
            |outputs| Parameters { l1: 0.1, l2: 0.05, ..Parameters::new(outputs, real.clone(), real.clone()) };
        let window = |height, width| Window { height, width, stride: 1, padding: 0 };
        Problem {
            input: Shape { channels: 1, height: 3, width: 4 },
            layers: vec![
                Layer::Convolution(window(2, 2), parameters(2)),
                Layer::Relu,
                Layer::MaxPool(window(1, 2)),
                Layer::AveragePool(window(2, 1)),
                Layer::Flatten,
                Layer::Dense(parameters(outputs)),
            ],
            samples: (0..3).map(|i| (0..12).map(|k| f64::from((7 * k + 5 * i) % 11) / 11.0).collect()).collect(),
            targets,
            loss,
            products: Products::OneHot,
            constraints: vec![],
        }
    }

    /// The slope is that of differences, through every kind of layer and every loss with one.
    #[test]
    fn slopes_are_those_of_differences() {
        let values = || Targets::Values(vec![vec![0.3, -1.0], vec![2.0, 0.1], vec![0.0, 0.7]]);
        for (loss, targets, outputs) in [
            (Loss::L1, values(), 2),
            (Loss::Squared, values(), 2),
            (Loss::Hinge, Targets::Classes(vec![0, 2, 1]), 3),
            (Loss::CrossEntropy, Targets::Classes(vec![0, 2, 1]), 3),
            (Loss::CrossEntropy, Targets::Classes(vec![0, 1, 1]), 1),
        ] {
            let problem = problem(loss, targets, outputs);
            let graph = Graph::new(&problem).unwrap();
            let w = graph.descend(0, 3, 1);
            let mut gradient = vec![0.0; w.len()];
            graph.slope(&w, &mut gradient);
            for k in 0..w.len() {
                let at = |step: f64| {
                    let mut moved = w.clone();
                    moved[k] += step;
                    graph.objective(&moved)
                };
                let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!((difference - gradient[k]).abs() < 1e-5, "{loss:?} {k}: {difference} {}", gradient[k]);
            }
        }
    }

    /// What exact training says of the weights that were found, through its own forward pass.
    #[test]
    fn the_objective_is_that_of_exact_training() {
        let problem = Problem { layers: Vec::new(), ..problem(Loss::Hinge, Targets::Classes(vec![0, 1, 1]), 1) };
        let grid = WeightDomain::integers(-1, 1);
        let dense =
            |outputs| Layer::Dense(Parameters { l1: 0.1, ..Parameters::new(outputs, grid.clone(), grid.clone()) });
        let problem = Problem { layers: vec![dense(1), Layer::Relu, dense(1)], ..problem };
        let found = train(&problem, &Gradient { starts: 4, steps: 200, warm_start: true }, 0).unwrap();
        let options = milp::training::Options { start: Some(found.weights.clone()), ..Default::default() };
        let optimum = milp::training::train(&problem, &milp::solver::Cbc, &options).unwrap().optimum;
        let milp::training::Start::Given { objective } = optimum.start else { panic!("{optimum:?}") };
        assert!((objective - found.best()).abs() < 1e-6, "{objective} {:?}", found.objectives);
        assert!(found.best() >= optimum.bound.unwrap() - 1e-6);
    }
}
