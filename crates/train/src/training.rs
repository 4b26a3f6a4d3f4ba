use std::sync::Arc;

use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use certificate::interval::block_domains;
use certificate::{Activation, Domain, Interval, Network};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::data::{DataSet, Part, Task};
use crate::loss::{Scores, loss};
use crate::model::{BlockWeights, Chain, floats};
use crate::penalty::GradientPenalty;
use crate::seeds::Stream;
use crate::{Backend, Result};

/// How one network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Which network.
    pub architecture: Architecture,
    /// Where to compute.
    pub backend: Backend,
    /// From which every random stream is derived.
    pub seed: u64,
    /// Which round of an escalation this is; rounds draw different random numbers.
    pub round: u32,
    /// Weight of the gradient penalty; 0 leaves it out.
    pub lambda: f64,
    /// The gradient penalty.
    pub penalty: GradientPenalty,
    /// Uniform points per block and step.
    pub samples: usize,
    /// Passes over the fitting rows.
    pub epochs: u32,
    /// Rows per step.
    pub batch_size: usize,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Share of the epochs, the last ones, whose weights are averaged (stochastic weight averaging, Izmailov et al. 2018);
    /// 0 keeps each epoch's own weights. The average so far is what is scored, kept and certified.
    pub average_last: f64,
    /// How many of the best epochs are kept for certification.
    pub candidates: usize,
}

/// What one epoch came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from 0.
    pub epoch: u32,
    /// Mean loss over the fitting rows, as seen while training.
    pub loss: f64,
    /// Mean penalty over the steps, without lambda.
    pub penalty: f64,
    /// On the validation rows, after the epoch.
    pub validation: Scores,
}

/// The network after one epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The epoch.
    pub epoch: Epoch,
    /// Its network.
    pub network: Network,
}

/// Trains one network, an epoch at a time.
pub struct Trainer<'a> {
    settings: Training,
    data: &'a DataSet,
    device: Device,
    pub(crate) chain: Chain,
    pub(crate) optimizer: ModuleOptimizer,
    pub(crate) next_epoch: u32,
    /// The numbers of the last epoch's network, averaged over the last epochs.
    pub(crate) average: Vec<f32>,
    pub(crate) last: Option<Candidate>,
    /// The best epochs so far, best first.
    pub(crate) candidates: Vec<Candidate>,
    /// For each block points where it was found not to be monotone, or nearly so, the newest last.
    pub(crate) witnesses: Vec<Vec<Vec<f32>>>,
    one_thread: Arc<ThreadPool>,
    domain: Domain,
    fit: Part,
    validation: [Tensor<2>; 2],
}

impl<'a> Trainer<'a> {
    /// A trainer with freshly drawn parameters.
    ///
    /// # Errors
    /// If the architecture cannot be built for the data or the backend is not compiled in.
    pub fn new(settings: Training, data: &'a DataSet) -> Result<Self> {
        let device = settings.backend.device()?;
        let shape = settings.architecture.shape(&data.directions().0)?;
        let mut rng = Stream::Initialisation.generator(settings.seed, settings.round, 0);
        let chain = Chain::init(shape, &mut rng, &device);
        let plain = device.clone().inner();
        Ok(Self {
            data,
            witnesses: vec![Vec::new(); chain.shape().blocks.len()],
            chain,
            optimizer: AdamConfig::new().with_epsilon(1e-8).init(),
            next_epoch: 0,
            average: Vec::new(),
            last: None,
            candidates: Vec::new(),
            one_thread: Arc::new(ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started")),
            domain: Domain::unit_cube(data.features.len()),
            fit: data.fit.clone(),
            validation: tensors(&data.validation, data.features.len(), &plain),
            device,
            settings,
        })
    }

    /// How it trains.
    pub fn settings(&self) -> &Training {
        &self.settings
    }

    /// The epoch that is run next.
    pub fn next_epoch(&self) -> u32 {
        self.next_epoch
    }

    /// Whether every epoch was run.
    pub fn is_finished(&self) -> bool {
        self.next_epoch >= self.settings.epochs
    }

    /// The best epochs so far by validation score, best first.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The network of the last epoch that was run, averaged if its weights are; none before the first.
    pub fn last(&self) -> Option<&Candidate> {
        self.last.as_ref()
    }

    /// Takes in a point of a block's box where an output does not, or hardly, follow an input. From then on half of the
    /// points of that block's penalty lie around such witnesses; the oldest are forgotten.
    ///
    /// # Panics
    /// If there is no such block, or it does not take such points.
    pub fn add_witness(&mut self, block: usize, point: &[f64]) {
        assert_eq!(point.len(), self.chain.shape().blocks[block].inputs.len());
        let pool = &mut self.witnesses[block];
        if pool.len() == WITNESSES {
            pool.remove(0);
        }
        pool.push(point.iter().map(|x| *x as f32).collect());
    }

    /// Runs one epoch and gives its network. `None` if the training broke down: a loss or a parameter is no longer finite.
    ///
    /// Computes on one thread: the matrices are so small that a second one makes it slower, and the result then does
    /// not depend on the number of cores.
    pub fn run_epoch(&mut self) -> Option<Candidate> {
        let one_thread = self.one_thread.clone();
        one_thread.install(|| self.run_epoch_here())
    }

    fn run_epoch_here(&mut self) -> Option<Candidate> {
        let epoch = self.next_epoch;
        let mut samples = Stream::Samples.generator(self.settings.seed, self.settings.round, epoch);
        let mut rows: Vec<usize> = (0..self.fit.y.len()).collect();
        rows.shuffle(&mut Stream::Batches.generator(self.settings.seed, self.settings.round, epoch));
        let (mut loss_sum, mut penalty_sum, mut steps) = (0.0, 0.0, 0);
        for batch in rows.chunks(self.settings.batch_size) {
            let (loss, penalty) = self.step(batch, &mut samples);
            if !(loss.is_finite() && penalty.is_finite()) {
                return None;
            }
            loss_sum += loss * batch.len() as f64;
            penalty_sum += penalty;
            steps += 1;
        }
        let network = self.averaged(self.chain.to_network()?)?;
        let validation = self.score_validation(&network);
        let record =
            Epoch { epoch, loss: loss_sum / rows.len() as f64, penalty: penalty_sum / f64::from(steps), validation };
        let candidate = Candidate { epoch: record, network };
        self.keep(candidate.clone());
        self.last = Some(candidate.clone());
        self.next_epoch += 1;
        Some(candidate)
    }

    /// One step of Adam on `loss + lambda * penalty`; returns both.
    fn step(&mut self, batch: &[usize], rng: &mut ChaCha8Rng) -> (f64, f64) {
        let weights = self.chain.weights();
        let [x, y] =
            tensors(&select(&self.fit, batch, self.data.features.len()), self.data.features.len(), &self.device);
        let fit = loss(self.data.task, self.chain.forward(&weights, x), y);
        let mut objective = fit.clone();
        let mut penalty = None;
        if self.settings.lambda > 0.0 {
            let boxes = self.boxes();
            let blocks = self.chain.shape().blocks.iter().zip(&weights).zip(&boxes).zip(&self.witnesses);
            let blocks = blocks.map(|(((shape, block), sides), witnesses)| {
                let points = penalty_points(sides, witnesses, self.settings.samples, rng, &self.device);
                self.settings.penalty.of_block(block, points, &shape.inputs, shape.outputs[0])
            });
            let pooled = self.settings.penalty.pool_blocks(blocks.collect());
            // A derivative that lost its graph would silently train nothing.
            assert!(pooled.is_tracked(), "the gradient penalty is not differentiable");
            objective = objective + pooled.clone() * self.settings.lambda;
            penalty = Some(pooled);
        }
        let gradients = GradientsParams::from_grads(objective.backward(), &self.chain.parameters);
        let parameters = self.chain.parameters.clone();
        self.chain.parameters = self.optimizer.step(self.settings.learning_rate, parameters, gradients);
        (scalar(fit), penalty.map_or(0.0, scalar))
    }

    /// The box of every block for the current weights. With a clamp between blocks it is always the unit cube.
    fn boxes(&self) -> Vec<Vec<Interval>> {
        let shape = self.chain.shape();
        if shape.boundaries.iter().all(|b| b.activation == Activation::Clamp) {
            return shape.blocks.iter().map(|b| vec![Interval::new(0.0, 1.0); b.inputs.len()]).collect();
        }
        match self.chain.to_network() {
            Some(network) => {
                block_domains(&network, &self.domain).into_iter().map(|d| d.input_box().to_vec()).collect()
            }
            // The loss will show that the weights are not finite; any box will do until then.
            None => shape.blocks.iter().map(|b| vec![Interval::new(0.0, 1.0); b.inputs.len()]).collect(),
        }
    }

    /// The network whose numbers are the mean of those from the first averaged epoch up to `network`, which is this epoch's.
    /// `None` if it is no longer finite.
    fn averaged(&mut self, network: Network) -> Option<Network> {
        average(&mut self.average, network.to_flat(), self.next_epoch, &self.settings);
        network.with_flat(&self.average).ok()
    }

    /// The scores of a network of this trainer on any rows. Changes nothing.
    pub fn score(&self, network: &Network, part: &Part) -> Scores {
        let rows = tensors(part, self.data.features.len(), &self.device.clone().inner());
        self.one_thread.install(|| self.score_tensors(network, rows))
    }

    fn score_validation(&self, network: &Network) -> Scores {
        self.score_tensors(network, self.validation.clone())
    }

    /// `x` is `[n, inputs]`, `y` is `[n, 1]`.
    fn score_tensors(&self, network: &Network, [x, y]: [Tensor<2>; 2]) -> Scores {
        let outputs = self.chain.forward(&BlockWeights::of_network(network, &x.device()), x);
        Scores::of(self.data.task, &floats(outputs), &floats(y))
    }

    fn keep(&mut self, candidate: Candidate) {
        let better = |kept: &Candidate| !candidate.epoch.is_better_than(&kept.epoch);
        let place = self.candidates.partition_point(better);
        self.candidates.insert(place, candidate);
        self.candidates.truncate(self.settings.candidates);
    }
}

impl Epoch {
    /// The order in which epochs are tried: by validation score, then by validation loss, then the later one.
    pub fn is_better_than(&self, other: &Self) -> bool {
        let key = |e: &Self| (e.validation.rank(), -e.validation.loss, e.epoch);
        key(self) > key(other)
    }
}

/// Makes `average` the mean of the numbers from the first averaged epoch up to `current`, which are this epoch's; in an epoch
/// before it these themselves.
///
/// Steps of Adam circle around a minimum; the average sits nearer to it, and violates monotonicity less.
pub(crate) fn average(average: &mut Vec<f32>, current: Vec<f32>, epoch: u32, settings: &Training) {
    let averaged = (settings.average_last * f64::from(settings.epochs)).round() as u32;
    let first = settings.epochs - averaged.min(settings.epochs);
    if epoch <= first || averaged == 0 {
        *average = current;
        return;
    }
    let share = 1.0 / (epoch - first + 1) as f32;
    average.iter_mut().zip(&current).for_each(|(a, w)| *a += share * (w - *a));
}

/// The loss of the best constant prediction, as a yardstick for a training that went nowhere.
pub fn constant_loss(data: &DataSet) -> f64 {
    let mean = data.fit.y.iter().map(|y| f64::from(*y)).sum::<f64>() / data.fit.y.len() as f64;
    let constant = match data.task {
        Task::Binary => (mean / (1.0 - mean)).ln(),
        Task::Regression { .. } => mean,
    };
    Scores::of(data.task, &vec![constant as f32; data.validation.y.len()], &data.validation.y).loss
}

pub(crate) fn scalar(tensor: Tensor<1>) -> f64 {
    f64::from(tensor.into_scalar::<f32>())
}

pub(crate) fn select(part: &Part, rows: &[usize], width: usize) -> Part {
    let x = rows.iter().flat_map(|r| &part.x[r * width..(r + 1) * width]).copied().collect();
    Part { x, y: rows.iter().map(|r| part.y[*r]).collect(), rows: rows.to_vec() }
}

pub(crate) fn tensors(part: &Part, width: usize, device: &Device) -> [Tensor<2>; 2] {
    let rows = part.y.len();
    let tensor = |data: &[f32], columns| Tensor::from_data(TensorData::new(data.to_vec(), [rows, columns]), device);
    [tensor(&part.x, width), tensor(&part.y, 1)]
}

/// Most witnesses kept for a block.
const WITNESSES: usize = 1024;
/// How far the points around a witness lie from it, as a part of each side of the box.
const SPREAD: f32 = 0.05;

/// `n` points of a box, `[n, sides]`: uniform, or, if there are witnesses, every other one around one of them.
fn penalty_points(
    sides: &[Interval],
    witnesses: &[Vec<f32>],
    n: usize,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Tensor<2> {
    let sides: Vec<(f32, f32)> = sides.iter().map(|s| (s.lower as f32, (s.upper - s.lower) as f32)).collect();
    let mut points = Vec::with_capacity(n * sides.len());
    for k in 0..n {
        let witness = (k % 2 == 1 && !witnesses.is_empty()).then(|| &witnesses[rng.random_range(0..witnesses.len())]);
        for (j, (lower, length)) in sides.iter().enumerate() {
            let share = rng.random::<f32>();
            points.push(match witness {
                Some(x) => (x[j] + SPREAD * length * (2.0 * share - 1.0)).clamp(*lower, lower + length),
                None => lower + length * share,
            });
        }
    }
    Tensor::from_data(TensorData::new(points, [n, sides.len()]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::penalty::Pooling;

    fn settings(lambda: f64, architecture: Architecture) -> Training {
        Training {
            architecture,
            backend: Backend::Cpu,
            seed: 3,
            round: 0,
            lambda,
            penalty: GradientPenalty { margin: 0.2, pooling: Pooling::Mean },
            samples: 64,
            epochs: 6,
            batch_size: 32,
            learning_rate: 5e-3,
            average_last: 0.5,
            candidates: 3,
        }
    }

    fn two_branch() -> Architecture {
        Architecture::TwoBranch { hidden: 6, bottleneck: 3, reduce_free: None }
    }

    fn example() -> DataSet {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/example/manifest.toml");
        DataSet::load(manifest.as_ref(), None, None).unwrap()
    }

    fn train(trainer: &mut Trainer) -> Vec<Epoch> {
        std::iter::from_fn(|| if trainer.is_finished() { None } else { trainer.run_epoch() }).map(|c| c.epoch).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_network_and_another_seed_another() {
        let data = example();
        let run = |seed| {
            let mut trainer = Trainer::new(Training { seed, ..settings(10.0, two_branch()) }, &data).unwrap();
            let epochs = train(&mut trainer);
            (epochs, trainer.chain.to_network().unwrap())
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3).1, run(4).1);
    }

    /// Interrupted after any epoch and resumed from its checkpoint, a training ends bit for bit as if undisturbed.
    #[test]
    fn a_resumed_training_ends_as_if_undisturbed() {
        let data = example();
        for architecture in [two_branch(), Architecture::Paper { depth: 3, width: 8, reduce_free: Some(2) }] {
            let settings = settings(10.0, architecture);
            let start = || {
                let mut trainer = Trainer::new(settings.clone(), &data).unwrap();
                let inputs = trainer.chain.shape().blocks[1].inputs.len();
                (0..3).for_each(|k| trainer.add_witness(1, &vec![0.25 * f64::from(k); inputs]));
                trainer
            };
            let mut undisturbed = start();
            let expected = train(&mut undisturbed);
            for stop in 1..expected.len() {
                let mut first = start();
                (0..stop).for_each(|_| assert!(first.run_epoch().is_some()));
                let mut second = Trainer::resume(settings.clone(), &data, &first.checkpoint().unwrap()).unwrap();
                assert_eq!(second.last(), first.last());
                assert_eq!(train(&mut second), expected[stop..], "stopped after {stop}");
                assert_eq!(second.chain.to_network(), undisturbed.chain.to_network());
                assert_eq!(second.average, undisturbed.average);
                assert_eq!(second.last(), undisturbed.last());
                assert_eq!(second.witnesses, undisturbed.witnesses);
                assert_eq!(second.candidates(), undisturbed.candidates());
            }
        }
    }

    #[test]
    fn a_damaged_checkpoint_is_an_error() {
        let data = example();
        let mut trainer = Trainer::new(settings(1.0, two_branch()), &data).unwrap();
        trainer.run_epoch().unwrap();
        let bytes = trainer.checkpoint().unwrap();
        for cut in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
            assert!(Trainer::resume(settings(1.0, two_branch()), &data, &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_penalty_makes_the_sampled_derivatives_positive() {
        let data = example();
        let final_penalty = |lambda| {
            let settings = Training { epochs: 40, ..settings(lambda, two_branch()) };
            let mut trainer = Trainer::new(settings, &data).unwrap();
            train(&mut trainer);
            let weights =
                BlockWeights::of_network(&trainer.chain.to_network().unwrap(), &trainer.device.clone().inner());
            let shape = trainer.chain.shape();
            let mut rng = Stream::Samples.generator(99, 0, 0);
            let device = trainer.device.clone().inner();
            let of_block = |k: usize| {
                let sides = vec![Interval::new(0.0, 1.0); shape.blocks[k].inputs.len()];
                let points = penalty_points(&sides, &[], 500, &mut rng, &device);
                let penalty = GradientPenalty { margin: 0.0, pooling: Pooling::Max };
                scalar(penalty.of_block(&weights[k], points, &shape.blocks[k].inputs, shape.blocks[k].outputs[0]))
            };
            (0..2).map(of_block).sum::<f64>()
        };
        assert!(final_penalty(0.0) > 1e-2);
        assert!(final_penalty(100.0) < 1e-3);
    }

    #[test]
    fn every_other_point_lies_around_a_witness() {
        let sides = [Interval::new(0.0, 1.0), Interval::new(-2.0, 2.0)];
        let device = Backend::Cpu.device().unwrap().inner();
        let points = |witnesses: &[Vec<f32>]| {
            let mut rng = Stream::Samples.generator(5, 0, 0);
            floats(penalty_points(&sides, witnesses, 400, &mut rng, &device))
        };
        let near = |x: &[f32]| (x[0] - 1.0).abs() <= SPREAD && (x[1] - 0.5).abs() <= 4.0 * SPREAD;
        let around = points(&[vec![1.0, 0.5]]);
        assert!(around.chunks(2).skip(1).step_by(2).all(near));
        assert!(around.chunks(2).step_by(2).filter(|x| near(x)).count() < 20);
        assert!(around.chunks(2).all(|x| sides.iter().zip(x).all(|(s, x)| s.contains(f64::from(*x)))));
        assert!(points(&[]).chunks(2).filter(|x| near(x)).count() < 20);
    }

    #[test]
    fn an_exploding_training_is_noticed() {
        let data = example();
        let settings = Training { learning_rate: 1e30, ..settings(1.0, two_branch()) };
        let mut trainer = Trainer::new(settings, &data).unwrap();
        assert!((0..6).any(|_| trainer.run_epoch().is_none()));
    }

    #[test]
    fn candidates_are_ranked_by_score_then_loss_then_recency() {
        let epoch = |epoch, accuracy, loss| Epoch {
            epoch,
            loss: 0.0,
            penalty: 0.0,
            validation: Scores { loss, accuracy: Some(accuracy), rmse: None },
        };
        assert!(epoch(0, 0.7, 0.9).is_better_than(&epoch(1, 0.6, 0.1)));
        assert!(epoch(0, 0.7, 0.5).is_better_than(&epoch(1, 0.7, 0.6)));
        assert!(epoch(1, 0.7, 0.5).is_better_than(&epoch(0, 0.7, 0.5)));
    }
}
