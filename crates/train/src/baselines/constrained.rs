use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::data::{DataSet, Part};
use crate::loss::{Scores, loss};
use crate::training::{average, scalar, select, tensors};
use crate::{Epoch, Stream, Training};

/// A network that is monotone at every step of its training, because of the signs of its weights.
pub trait Constrained: Send {
    /// What Adam moves.
    type Parameters: Module;
    /// The network in plain numbers.
    type Network: Send;

    /// What Adam moves.
    fn parameters(&mut self) -> &mut Self::Parameters;

    /// Moves parameters that a step of Adam has brought to where they must not be to the nearest place where they may be.
    fn project(&mut self);

    /// The outputs of the network.
    ///
    /// # Shapes
    /// `x` is `[n, inputs]`, the result `[n, 1]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2>;

    /// The weights and biases as they act, in some fixed order; `None` if one is not finite. The mean of several networks'
    /// numbers is again a network of this kind.
    fn numbers(&self) -> Option<Vec<f32>>;

    /// The network with these weights and biases; `None` if one is not finite.
    fn network(&self, numbers: &[f32]) -> Option<Self::Network>;

    /// The output for each row, in `f64`.
    fn outputs(network: &Self::Network, part: &Part) -> Vec<f64>;
}

/// Trains a [`Constrained`] network, an epoch at a time, and keeps the best epoch. The same seed gives the same network, bit for
/// bit.
pub struct ConstrainedTrainer<'a, M: Constrained> {
    settings: Training,
    data: &'a DataSet,
    device: Device,
    pub(super) model: M,
    optimizer: ModuleOptimizer,
    next_epoch: u32,
    average: Vec<f32>,
    best: Option<(Epoch, M::Network)>,
    one_thread: ThreadPool,
}

impl<'a, M: Constrained> ConstrainedTrainer<'a, M> {
    /// A trainer of a fresh network. Of the settings the penalty and the number of candidates play no part.
    pub(super) fn new(model: M, settings: Training, data: &'a DataSet, device: Device) -> Self {
        let one_thread = ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
        let optimizer = AdamConfig::new().with_epsilon(1e-8).init();
        Self { settings, data, device, model, optimizer, next_epoch: 0, average: Vec::new(), best: None, one_thread }
    }

    /// Whether every epoch was run.
    pub fn is_finished(&self) -> bool {
        self.next_epoch >= self.settings.epochs
    }

    /// The epoch with the best validation score so far, and its network.
    pub fn best(&self) -> Option<&(Epoch, M::Network)> {
        self.best.as_ref()
    }

    /// The same, when nothing more is to be run.
    pub fn into_best(self) -> Option<(Epoch, M::Network)> {
        self.best
    }

    /// Runs one epoch. `None` if the training broke down: the loss or a parameter is no longer finite.
    ///
    /// Computes on one thread, as [`Trainer`](crate::Trainer) does.
    ///
    /// # Panics
    /// If the data have no validation rows.
    pub fn run_epoch(&mut self) -> Option<Epoch> {
        let mut rows: Vec<usize> = (0..self.data.fit.len()).collect();
        rows.shuffle(&mut Stream::Batches.generator(self.settings.seed, self.settings.round, self.next_epoch));
        let mut loss_sum = 0.0;
        for batch in rows.chunks(self.settings.batch_size) {
            let loss = self.step(batch);
            if !loss.is_finite() {
                return None;
            }
            loss_sum += loss * batch.len() as f64;
        }
        average(&mut self.average, self.model.numbers()?, self.next_epoch, &self.settings);
        let network = self.model.network(&self.average)?;
        let outputs = M::outputs(&network, &self.data.validation);
        let validation = Scores::of_f64(self.data.task, &outputs, &self.data.validation.y);
        let epoch = Epoch { epoch: self.next_epoch, loss: loss_sum / rows.len() as f64, penalty: 0.0, validation };
        if self.best.as_ref().is_none_or(|(best, _)| epoch.is_better_than(best)) {
            self.best = Some((epoch.clone(), network));
        }
        self.next_epoch += 1;
        Some(epoch)
    }

    /// One step of Adam on the loss, and back to where the parameters may be; returns the loss.
    fn step(&mut self, batch: &[usize]) -> f64 {
        let Self { settings, data, device, model, optimizer, one_thread, .. } = self;
        one_thread.install(|| {
            let width = data.features.len();
            let [x, y] = tensors(&select(&data.fit, batch, width), width, device);
            let loss = loss(data.task, model.forward(x), y);
            let parameters = model.parameters();
            let gradients = GradientsParams::from_grads(loss.backward(), parameters);
            *parameters = optimizer.step(settings.learning_rate, parameters.clone(), gradients);
            model.project();
            scalar(loss)
        })
    }
}
