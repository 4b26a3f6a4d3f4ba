//! Networks as Burn modules: chains of two-layer blocks whose cut links stay zero.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use certificate::{Activation, Affine, Block, Direction, Network};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::architecture::{BlockShape, ChainShape};
use crate::tangent::activate;

/// The trainable parameters of one affine layer, `y = x W + b`.
#[derive(Module, Debug)]
struct Layer {
    /// `[inputs, outputs]`
    weight: Param<Tensor<2>>,
    /// `[outputs]`
    bias: Param<Tensor<1>>,
}

/// Trained linear combinations of the free inputs that the monotone branch sees in their place.
#[derive(Module, Debug)]
struct Reduction {
    /// The combinations, `[free inputs, k] `.
    combine: Layer,
    /// From the combinations to the monotone branch's hidden neurons, `[k, hidden]`.
    onto: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct BlockParameters {
    first: Layer,
    second: Layer,
    reduction: Option<Reduction>,
}

/// The trainable parameters of a chain of blocks: a Burn module. What it computes is defined by [`Chain`].
#[derive(Module, Debug)]
pub struct Parameters {
    blocks: Vec<BlockParameters>,
}

/// A chain of two-layer blocks with trainable parameters and cut links.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The trainable parameters.
    pub parameters: Parameters,
    shape: ChainShape,
    /// Per block, 1 where a link exists and 0 where it is cut: `[inputs, hidden]` and `[hidden, outputs]`.
    links: Vec<[Tensor<2>; 2]>,
}

/// The weights of an affine layer as they act: cut links are zero, reductions folded in.
#[derive(Debug, Clone)]
pub struct LayerWeights {
    /// `[inputs, outputs]`
    pub weight: Tensor<2>,
    /// `[outputs]`
    pub bias: Tensor<1>,
}

impl LayerWeights {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.clone()) + self.bias.clone().unsqueeze()
    }

    fn to_affine(&self) -> Affine {
        let [inputs, outputs] = self.weight.dims();
        let columns = floats(self.weight.clone().transpose());
        // Adding 0 turns the -0 of a cut link into 0.
        let weight = columns.into_iter().map(|w| w + 0.0).collect::<Vec<_>>();
        debug_assert_eq!(weight.len(), inputs * outputs);
        Affine::new(inputs, weight, floats(self.bias.clone())).expect("weights were checked finite")
    }
}

/// The weights of a block as they act, tracked by autodiff when the parameters are.
#[derive(Debug, Clone)]
pub struct BlockWeights {
    /// To the hidden neurons.
    pub first: LayerWeights,
    /// The activation of the hidden neurons.
    pub activation: Activation,
    /// To the outputs.
    pub second: LayerWeights,
    /// The first so many hidden neurons form the monotone branch; the others see free inputs only.
    pub monotone_hidden: usize,
}

impl BlockWeights {
    /// The weights of a network's blocks, for evaluation.
    pub fn of_network(network: &Network, device: &Device) -> Vec<Self> {
        let layer = |affine: &Affine| LayerWeights {
            weight: matrix(affine.weight().to_vec(), [affine.outputs(), affine.inputs()], device).transpose(),
            bias: Tensor::from_data(TensorData::new(affine.bias().to_vec(), [affine.outputs()]), device),
        };
        let block = |block: &Block| Self {
            first: layer(block.first()),
            activation: block.activation(),
            second: layer(block.second()),
            monotone_hidden: block.hidden(),
        };
        network.blocks().iter().map(block).collect()
    }
}

impl Chain {
    /// A chain with freshly drawn parameters: weights and biases uniform in `+-1/sqrt(fan-in)`, links that are cut not
    /// counted in the fan-in.
    pub fn init(shape: ChainShape, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let parameters = Parameters { blocks: shape.blocks.iter().map(|b| init_block(b, rng, device)).collect() };
        let links = shape.blocks.iter().map(|block| links(block, device)).collect();
        Self { parameters, shape, links }
    }

    /// The shape it was made from.
    pub fn shape(&self) -> &ChainShape {
        &self.shape
    }

    /// The weights as they act, one entry per block.
    pub fn weights(&self) -> Vec<BlockWeights> {
        let blocks = self.parameters.blocks.iter().zip(&self.shape.blocks).zip(&self.links);
        let weights = blocks.map(|((parameters, shape), [first_links, second_links])| BlockWeights {
            first: acting_first(parameters, shape, first_links.clone()),
            activation: shape.activation,
            second: LayerWeights {
                weight: parameters.second.weight.val() * second_links.clone(),
                bias: parameters.second.bias.val(),
            },
            monotone_hidden: shape.hidden[0],
        });
        weights.collect()
    }

    /// Replaces the weight matrices one by one; `replacement` is told the block, the layer and the weights. Cut links have to
    /// stay zero.
    pub(crate) fn map_weights(&mut self, replacement: impl Fn(usize, usize, Tensor<2>) -> Tensor<2>) {
        for (k, block) in self.parameters.blocks.iter_mut().enumerate() {
            for (l, layer) in [&mut block.first, &mut block.second].into_iter().enumerate() {
                layer.weight = layer.weight.clone().map(|weight| {
                    let trained = weight.is_require_grad();
                    Tensor::from_inner(replacement(k, l, weight.inner())).set_require_grad(trained)
                });
            }
        }
    }

    /// The outputs of the network.
    ///
    /// # Shapes
    /// `x` is `[n, inputs]`, the result `[n, outputs]`. `weights` come from [`weights`](Self::weights).
    pub fn forward(&self, weights: &[BlockWeights], x: Tensor<2>) -> Tensor<2> {
        let mut value = x;
        for (k, block) in weights.iter().enumerate() {
            value = block.second.forward(activate(block.activation, block.first.forward(value)));
            if let Some(boundary) = self.shape.boundaries.get(k) {
                value = activate(boundary.activation, value);
            }
        }
        value
    }

    /// The network as plain numbers, for certification and export. `None` if a parameter is not finite.
    pub fn to_network(&self) -> Option<Network> {
        let finite = |layer: &LayerWeights| {
            let numbers = floats(layer.weight.clone()).into_iter().chain(floats(layer.bias.clone()));
            numbers.into_iter().all(f32::is_finite)
        };
        let weights = self.weights();
        if !weights.iter().all(|block| finite(&block.first) && finite(&block.second)) {
            return None;
        }
        let block = |block: &BlockWeights| {
            Block::new(block.first.to_affine(), block.activation, block.second.to_affine()).expect("layers fit")
        };
        let blocks = weights.iter().map(block).collect();
        Some(Network::new(blocks, self.shape.boundaries.clone()).expect("blocks fit"))
    }
}

/// The numbers of a tensor, row-major.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("tensors hold f32")
}

pub(crate) fn matrix(data: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(data, shape), device)
}

pub(crate) fn indicator(shape: [usize; 2], device: &Device, is_one: impl Fn(usize, usize) -> bool) -> Tensor<2> {
    let entries = (0..shape[0]).flat_map(|i| (0..shape[1]).map(move |j| (i, j)));
    matrix(entries.map(|(i, j)| if is_one(i, j) { 1.0 } else { 0.0 }).collect(), shape, device)
}

fn links(block: &BlockShape, device: &Device) -> [Tensor<2>; 2] {
    let (inputs, hidden, outputs) = (block.inputs.len(), block.hidden.iter().sum(), block.outputs.iter().sum());
    let device = device.clone().inner();
    [
        indicator([inputs, hidden], &device, |i, h| block.first_link(i, h)),
        indicator([hidden, outputs], &device, |h, o| block.second_link(h, o)),
    ]
}

fn acting_first(parameters: &BlockParameters, shape: &BlockShape, links: Tensor<2>) -> LayerWeights {
    let weight = parameters.first.weight.val() * links;
    let bias = parameters.first.bias.val();
    let Some(reduction) = &parameters.reduction else {
        return LayerWeights { weight, bias };
    };
    // x_free C R + c R: the reduction followed by its links is itself affine in the free inputs.
    let device = weight.device().inner();
    let (inputs, [monotone, free]) = (shape.inputs.len(), shape.hidden);
    let places: Vec<usize> = (0..inputs).filter(|j| shape.inputs[*j] == Direction::Free).collect();
    let place = indicator([inputs, places.len()], &device, |j, q| places[q] == j);
    let spread = indicator([monotone, monotone + free], &device, |h, g| h == g);
    let onto = reduction.onto.val().matmul(spread);
    let through = place.matmul(reduction.combine.weight.val()).matmul(onto.clone());
    let offset = reduction.combine.bias.val().unsqueeze::<2>().matmul(onto).squeeze_dim::<1>(0);
    LayerWeights { weight: weight + through, bias: bias + offset }
}

fn init_block(shape: &BlockShape, rng: &mut ChaCha8Rng, device: &Device) -> BlockParameters {
    let (inputs, hidden, outputs) = (shape.inputs.len(), shape.hidden.iter().sum(), shape.outputs.iter().sum());
    let free = shape.inputs.iter().filter(|d| **d == Direction::Free).count();
    let reduced = shape.reduce_free.unwrap_or(0);
    let fan_in = |h: usize| {
        let extra = if h < shape.hidden[0] { reduced } else { 0 };
        extra + (0..inputs).filter(|i| shape.first_link(*i, h)).count()
    };
    let mut first = init_layer([inputs, hidden], fan_in, |i, h| shape.first_link(i, h), rng, device);
    if shape.identity {
        first = Layer {
            weight: Param::from_tensor(Tensor::eye(inputs, device)).set_require_grad(false),
            bias: Param::from_tensor(Tensor::zeros([inputs], device)).set_require_grad(false),
        };
    }
    let reduction = shape.reduce_free.map(|k| {
        let monotone = shape.hidden[0];
        let first_fan_in = fan_in(0);
        Reduction {
            combine: init_layer([free, k], |_| free, |_, _| true, rng, device),
            onto: init_layer([k, monotone], |_| first_fan_in, |_, _| true, rng, device).weight,
        }
    });
    let fan_in = |o: usize| (0..hidden).filter(|h| shape.second_link(*h, o)).count();
    let second = init_layer([hidden, outputs], fan_in, |h, o| shape.second_link(h, o), rng, device);
    BlockParameters { first, second, reduction }
}

/// Uniform in `+-1/sqrt(fan-in)`, zero where there is no link.
fn init_layer(
    [inputs, outputs]: [usize; 2],
    fan_in: impl Fn(usize) -> usize,
    link: impl Fn(usize, usize) -> bool,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Layer {
    let limits: Vec<f32> = (0..outputs).map(|o| 1.0 / (fan_in(o).max(1) as f32).sqrt()).collect();
    let mut draw = |o: usize| (2.0 * rng.random::<f32>() - 1.0) * limits[o];
    let mut weight = Vec::with_capacity(inputs * outputs);
    for i in 0..inputs {
        weight.extend((0..outputs).map(|o| if link(i, o) { draw(o) } else { 0.0 }));
    }
    let bias: Vec<f32> = (0..outputs).map(draw).collect();
    Layer {
        weight: Param::from_tensor(matrix(weight, [inputs, outputs], device)),
        bias: Param::from_tensor(Tensor::from_data(TensorData::new(bias, [outputs]), device)),
    }
}

#[cfg(test)]
mod tests {
    use certificate::{MonotoneFeatures, Specification};
    use rand::SeedableRng;

    use super::*;
    use crate::{Architecture, Backend};

    const INPUTS: [Direction; 5] =
        [Direction::Free, Direction::Increasing, Direction::Free, Direction::Decreasing, Direction::Free];

    fn chains() -> Vec<Chain> {
        let architectures = [
            Architecture::Paper { depth: 1, width: 8, reduce_free: None },
            Architecture::Paper { depth: 2, width: 8, reduce_free: Some(2) },
            Architecture::Paper { depth: 3, width: 8, reduce_free: Some(2) },
            Architecture::TwoBranch { hidden: 6, bottleneck: 3, reduce_free: None },
            Architecture::TwoBranch { hidden: 6, bottleneck: 3, reduce_free: Some(1) },
        ];
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let device = Backend::Cpu.device().unwrap();
        architectures.iter().map(|a| Chain::init(a.shape(&INPUTS).unwrap(), &mut rng, &device)).collect()
    }

    /// The exported network is the trained one, and every link that has to be cut is.
    #[test]
    fn export_computes_the_same_and_has_its_links_cut() {
        for chain in chains() {
            let mut rng = ChaCha8Rng::seed_from_u64(6);
            let points: Vec<f32> = (0..20 * INPUTS.len()).map(|_| rng.random()).collect();
            let x = matrix(points.clone(), [20, INPUTS.len()], &Backend::Cpu.device().unwrap());
            let outputs = floats(chain.forward(&chain.weights(), x));
            let network = chain.to_network().unwrap();
            for (x, output) in points.chunks(INPUTS.len()).zip(outputs) {
                let exact = network.evaluate(&x.iter().map(|v| f64::from(*v)).collect::<Vec<_>>())[0];
                assert!((exact - f64::from(output)).abs() < 1e-5, "{exact} {output}");
            }
            Specification::from(MonotoneFeatures(INPUTS.to_vec())).queries(&network).unwrap();
        }
    }

    /// A free branch that a monotone feature reached would make the certificate worthless.
    #[test]
    fn free_channels_do_not_depend_on_monotone_features() {
        for chain in chains() {
            let network = chain.to_network().unwrap();
            let Some(boundary) = network.boundaries().first() else { continue };
            let at = |x: f64| network.blocks()[0].evaluate(&[0.3, x, 0.1, 1.0 - x, 0.9]);
            let (low, high) = (at(0.0), at(1.0));
            for (channel, monotone) in boundary.monotone.iter().enumerate() {
                assert_eq!(low[channel] == high[channel], !monotone, "channel {channel}");
            }
        }
    }
}
