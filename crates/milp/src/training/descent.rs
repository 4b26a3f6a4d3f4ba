//! Gradient training of the same network on the same objective: Adam from many random points, then every weight to its domain.
//!
//! What the exact search is compared with, and where it may begin. Constraints are not imposed.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::layout::{Layout, Slot, Sums, shape_after, sums, under};
use super::{Layer, LayerWeights, Loss, Parameters, Problem, Products, Targets, WeightDomain, loss};
use crate::Result;

/// What all starts gave.
#[derive(Debug, Clone, PartialEq)]
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

/// Trains by so many steps of Adam from every start, whose generator draws its first weights; `None` where there is no start, or a
/// layer is a step, a gate or optional, which gradients say nothing about.
///
/// # Errors
/// If a layer does not fit what it is given.
pub fn descend(
    problem: &Problem,
    starts: u32,
    steps: u32,
    generator: impl Fn(u32) -> ChaCha8Rng + Sync,
) -> Result<Option<Descents>> {
    let Some(graph) = Graph::new(problem)? else { return Ok(None) };
    let found: Vec<(f64, Vec<f64>)> = (0..starts)
        .into_par_iter()
        .map(|start| graph.descend(steps, generator(start)))
        .map(|weights| (graph.objective(&weights), weights))
        .collect();
    let Some(best) = found.iter().min_by(|a, b| a.0.total_cmp(&b.0)) else { return Ok(None) };
    Ok(Some(Descents { weights: graph.split(&best.1), objectives: found.iter().map(|(value, _)| *value).collect() }))
}

/// What a layer does to a list of numbers.
enum Step {
    Affine {
        slot: usize,
        sums: Sums,
    },
    Relu,
    /// The largest of some numbers each.
    Max(Vec<Vec<usize>>),
    /// The mean of some numbers each.
    Mean(Vec<Vec<usize>>),
}

/// The network as a chain of steps. The parameters of all layers are one list, layer by layer: weights row by row, then biases.
struct Graph<'a> {
    problem: &'a Problem,
    layout: Layout<'a>,
    steps: Vec<Step>,
    /// Where the parameters of each layer begin in the list.
    begins: Vec<usize>,
}

impl<'a> Graph<'a> {
    fn new(problem: &'a Problem) -> Result<Option<Self>> {
        let mut graph = Self { problem, layout: Layout::new(problem)?, steps: Vec::new(), begins: Vec::new() };
        let (mut shape, mut end) = (problem.input, 0);
        for layer in &problem.layers {
            let after = shape_after(layer, shape)?;
            graph.steps.push(match layer {
                Layer::Dense(_) | Layer::Convolution(..) => {
                    let slot = graph.begins.len();
                    graph.begins.push(end);
                    let Slot { parameters, inputs, .. } = &graph.layout.slots[slot];
                    end += parameters.outputs * (inputs + 1);
                    Step::Affine { slot, sums: sums(layer, shape, after) }
                }
                Layer::MaxPool(window) => Step::Max(under(window, shape, after)),
                Layer::AveragePool(window) => Step::Mean(under(window, shape, after)),
                Layer::Relu => Step::Relu,
                Layer::Flatten => continue,
                Layer::Step { .. } | Layer::Gate(_) | Layer::Optional { .. } => return Ok(None),
            });
            shape = after;
        }
        Ok(Some(graph))
    }

    /// The layers with weights, and where their parameters begin.
    fn slots(&self) -> impl Iterator<Item = (&Slot<'a>, usize)> {
        self.layout.slots.iter().zip(self.begins.iter().copied())
    }

    /// A layer, where its weights begin and where its biases.
    fn slot(&self, k: usize) -> (&Slot<'a>, usize, usize) {
        let (slot, begin) = (&self.layout.slots[k], self.begins[k]);
        (slot, begin, begin + slot.parameters.outputs * slot.inputs)
    }

    /// Whether all that is left of a layer's weights are signs.
    fn is_absorbed(&self, slot: usize) -> bool {
        self.problem.products == Products::Absorbed && slot + 1 == self.begins.len()
    }

    /// Adam with a falling step, and every number kept between its ends.
    fn descend(&self, steps: u32, mut rng: ChaCha8Rng) -> Vec<f64> {
        const RATE: f64 = 0.05;
        let (mut w, mut sides) = (Vec::new(), Vec::new());
        for (k, Slot { parameters, inputs, .. }) in self.layout.slots.iter().enumerate() {
            let reach = (6.0 / (inputs + parameters.outputs) as f64).sqrt();
            let weights = (0..parameters.outputs * inputs).map(|j| (parameters.weights.side(j), self.is_absorbed(k)));
            let biases = (0..parameters.outputs).map(|j| (parameters.biases.side(j), false));
            for (side, is_sign) in weights.chain(biases) {
                let drawn = 2.0 * rng.random::<f64>() - 1.0;
                let (lower, upper) = if is_sign { (drawn.signum(), drawn.signum()) } else { (side.lower, side.upper) };
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
        for k in (0..self.begins.len()).filter(|k| !self.is_absorbed(*k)) {
            let (Slot { parameters, .. }, begin, first_bias) = self.slot(k);
            for (j, number) in w[begin..first_bias].iter_mut().enumerate() {
                *number = nearest(&parameters.weights, j, *number);
            }
            for (j, number) in w[first_bias..][..parameters.outputs].iter_mut().enumerate() {
                *number = nearest(&parameters.biases, j, *number);
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
                    let (slot, begin, first_bias) = self.slot(*slot);
                    let sum = |(unit, terms): &(usize, Vec<(usize, usize)>)| {
                        let row = &w[begin + unit * slot.inputs..];
                        w[first_bias + unit]
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
        for k in 0..self.begins.len() {
            let (slot, begin, first_bias) = self.slot(k);
            let Parameters { l1, l2, .. } = *slot.parameters;
            for k in begin..first_bias {
                let sign = if w[k] == 0.0 { 0.0 } else { w[k].signum() };
                gradient[k] += l1 * sign + 2.0 * l2 * w[k];
            }
        }
        for (i, x) in self.problem.samples.iter().enumerate() {
            let values = self.forward(w, x);
            let mut by = loss_slope(self.problem.loss, &values[self.steps.len()], &self.problem.targets, i);
            for (step, given) in self.steps.iter().zip(&values).rev() {
                let mut before = vec![0.0; given.len()];
                match step {
                    Step::Affine { slot, sums } => {
                        let (slot, begin, first_bias) = self.slot(*slot);
                        for ((unit, terms), by) in sums.iter().zip(&by) {
                            let row = begin + unit * slot.inputs;
                            gradient[first_bias + unit] += by;
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
        let Problem { loss, targets, samples, .. } = self.problem;
        let of_sample =
            |(i, x): (usize, &Vec<f64>)| loss::value(*loss, &self.forward(w, x)[self.steps.len()], targets, i);
        let fit: f64 = samples.iter().enumerate().map(of_sample).sum();
        let weights = self.split(w);
        let structure = self.layout.slots.iter().zip(&weights).map(|(slot, layer)| open_gates(slot, layer));
        fit + self.problem.penalty(&self.layout, &weights) + structure.sum::<f64>()
    }

    fn split(&self, w: &[f64]) -> Vec<LayerWeights> {
        let of = |(slot, begin): (&Slot, usize)| {
            let (weights, rest) = w[begin..].split_at(slot.parameters.outputs * slot.inputs);
            LayerWeights { weights: weights.to_vec(), biases: rest[..slot.parameters.outputs].to_vec() }
        };
        self.slots().map(of).collect()
    }
}

/// Cost of the gates of a layer that its weights need open.
fn open_gates(slot: &Slot, layer: &LayerWeights) -> f64 {
    let Slot { parameters: Parameters { gates, outputs, .. }, inputs, places, .. } = slot;
    let used = |unit: &usize| {
        layer.biases[*unit] != 0.0 || layer.weights[unit * inputs..][..*inputs].iter().any(|w| *w != 0.0)
    };
    let read = |gate: &usize| {
        let of_gate = |k: &usize| k % inputs / places == *gate;
        (0..layer.weights.len()).filter(of_gate).any(|k| layer.weights[k] != 0.0)
    };
    let cost = |each: Option<f64>, open: usize| each.map_or(0.0, |each| each * open as f64);
    cost(gates.units, (0..*outputs).filter(used).count())
        + cost(gates.inputs, (0..inputs / places).filter(read).count())
        + cost(gates.weights, layer.weights.iter().filter(|w| **w != 0.0).count())
}

fn largest(group: &[usize], values: &[f64]) -> usize {
    *group.iter().max_by(|a, b| values[**a].total_cmp(&values[**b])).expect("a window covers something")
}

/// The nearest 32-bit number of a domain.
fn nearest(domain: &WeightDomain, k: usize, number: f64) -> f64 {
    let side = domain.side(k);
    let number = match domain {
        WeightDomain::Grid { step, .. } => side.lower + step * ((number - side.lower) / step).round(),
        _ => number,
    };
    f64::from(number.clamp(side.lower, side.upper) as f32)
}

/// A subgradient of the loss of sample `i` in the outputs. Errors are counted, but their slope is that of the hinge.
fn loss_slope(loss: Loss, f: &[f64], targets: &Targets, i: usize) -> Vec<f64> {
    match targets {
        Targets::Values(values) => {
            let errors = f.iter().zip(&values[i]).map(|(f, y)| f - y);
            if loss == Loss::L1 { errors.map(f64::signum).collect() } else { errors.map(|e| 2.0 * e).collect() }
        }
        Targets::Classes(classes) if f.len() == 1 => {
            let sign = if classes[i] == 1 { 1.0 } else { -1.0 };
            vec![sign * margin_slopes(loss, &[sign * f[0]])[0]]
        }
        Targets::Classes(classes) => {
            let class = classes[i];
            let others: Vec<usize> = (0..f.len()).filter(|k| *k != class).collect();
            let margins: Vec<f64> = others.iter().map(|k| f[class] - f[*k]).collect();
            let mut gradient = vec![0.0; f.len()];
            for (k, slope) in others.iter().zip(margin_slopes(loss, &margins)) {
                gradient[class] += slope;
                gradient[*k] -= slope;
            }
            gradient
        }
    }
}

/// The slope of a loss of classes in each margin.
fn margin_slopes(loss: Loss, margins: &[f64]) -> Vec<f64> {
    if loss == Loss::CrossEntropy {
        // exp(-m) over 1 + sum of exp(-m), with the largest term taken out.
        let largest = margins.iter().fold(0.0_f64, |a, m| a.max(-m));
        let terms: Vec<f64> = margins.iter().map(|m| (-m - largest).exp()).collect();
        let sum = terms.iter().sum::<f64>() + (-largest).exp();
        return terms.iter().map(|term| -term / sum).collect();
    }
    let least = (0..margins.len()).min_by(|a, b| margins[*a].total_cmp(&margins[*b])).expect("there is another class");
    let mut slopes = vec![0.0; margins.len()];
    if margins[least] < 1.0 {
        slopes[least] = -1.0;
    }
    slopes
}

#[cfg(test)]
mod tests {
    use certificate::{Shape, Window};
    use rand::SeedableRng;

    use super::*;
    use crate::solver::Cbc;
    use crate::training::{Options, Start, train};

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
            let graph = Graph::new(&problem).unwrap().unwrap();
            let w = graph.descend(0, ChaCha8Rng::seed_from_u64(3));
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
        let generator = |start| ChaCha8Rng::seed_from_u64(u64::from(start));
        let found = descend(&problem, 4, 200, generator).unwrap().unwrap();
        let options = Options { start: Some(found.weights.clone()), ..Default::default() };
        let optimum = train(&problem, &Cbc, &options, &|_| ()).unwrap().optimum;
        let Start::Given { objective } = optimum.start else { panic!("{optimum:?}") };
        assert!((objective - found.best()).abs() < 1e-6, "{objective} {:?}", found.objectives);
        assert!(found.best() >= optimum.bound.unwrap() - 1e-6);
    }
}
