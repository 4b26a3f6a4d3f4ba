//! What follows from the list of layers alone: shapes, which layer reads which, and the network that given weights make.

use certificate::{Affine, Convolution, Layered, Shape, Window};

use super::{Layer, LayerWeights, Parameters, Problem};
use crate::{Error, Result};

/// A layer with weights.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    pub parameters: &'a Parameters,
    /// Weights per unit.
    pub inputs: usize,
    /// Weights per unit that belong to one input gate: all of an input channel.
    pub places: usize,
    /// Weights per unit that read the same unit of the layer before.
    pub values_per_unit: usize,
    /// The layer with weights whose units it reads, if that is only one.
    pub source: Option<usize>,
    /// The optional layers that it is one of.
    pub group: Option<usize>,
    /// Margin of the step function that its units go through.
    pub step: Option<f64>,
}

/// A layer of activation gates.
#[derive(Debug, Clone, Copy)]
pub(super) struct GateLayer {
    pub cost: f64,
    pub channels: usize,
    /// Whose units it switches off.
    pub slot: usize,
}

/// The layers of a problem in the order in which everything else counts them.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    pub slots: Vec<Slot<'a>>,
    /// Cost of each [`Layer::Optional`].
    pub groups: Vec<f64>,
    pub gates: Vec<GateLayer>,
    pub outputs: usize,
    /// Whether there is a step function.
    pub steps: bool,
}

/// What stands since the last layer with weights.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Since {
    /// Pooling and flattening, with which every increasing affine map commutes.
    Affine,
    /// ReLUs, too, which keep a zero a zero.
    Relu,
    /// Something else.
    Other,
}

struct Walk<'a> {
    layout: Layout<'a>,
    last: Option<usize>,
    since: Since,
}

impl<'a> Layout<'a> {
    /// # Errors
    /// If a layer does not fit what it is given; the message says which.
    pub fn new(problem: &'a Problem) -> Result<Self> {
        let layout = Layout { slots: Vec::new(), groups: Vec::new(), gates: Vec::new(), outputs: 0, steps: false };
        let mut walk = Walk { layout, last: None, since: Since::Other };
        let shape = walk.layers(&problem.layers, problem.input, None)?;
        if walk.layout.slots.is_empty() {
            return Err(Error::Training("expected at least one dense layer or convolution".into()));
        }
        walk.layout.outputs = shape.size();
        Ok(walk.layout)
    }
}

impl<'a> Walk<'a> {
    fn layers(&mut self, layers: &'a [Layer], mut shape: Shape, group: Option<usize>) -> Result<Shape> {
        for layer in layers {
            shape = self.layer(layer, shape, group)?;
        }
        Ok(shape)
    }

    fn layer(&mut self, layer: &'a Layer, shape: Shape, group: Option<usize>) -> Result<Shape> {
        match layer {
            Layer::Dense(parameters) => self.slot(parameters, shape.size(), 1, group),
            Layer::Convolution(window, parameters) => {
                let places = window.height * window.width;
                self.slot(parameters, shape.channels * places, places, group)
            }
            Layer::Step { margin } => {
                let power_of_two = margin.is_finite() && *margin > 0.0 && margin.log2().fract() == 0.0;
                let (Some(last), Since::Affine, true) = (self.last, self.since, power_of_two) else {
                    return wrong(
                        "a step needs a margin that is a power of two, and before it a dense layer or a convolution with at most pooling in between",
                    );
                };
                self.layout.slots[last].step = Some(*margin);
                self.layout.steps = true;
                self.since = Since::Other;
            }
            Layer::Gate(cost) => {
                let (Some(slot), Since::Affine | Since::Relu) = (self.last, self.since) else {
                    return wrong(
                        "a gate layer needs a dense layer or a convolution before it, with at most pooling and a relu in between",
                    );
                };
                let channels = self.layout.slots[slot].parameters.outputs;
                self.layout.gates.push(GateLayer { cost: *cost, channels, slot });
            }
            Layer::Optional { cost, layers } => {
                if group.is_some() {
                    return wrong("optional layers cannot be parts of optional layers");
                }
                self.layout.groups.push(*cost);
                // What is left out must not change the layer before it.
                self.since = Since::Other;
                let after = self.layers(layers, shape, Some(self.layout.groups.len() - 1))?;
                if after != shape {
                    return wrong(&format!(
                        "optional layers have to keep the shape {shape:?}, these make {after:?} of it"
                    ));
                }
                (self.last, self.since) = (None, Since::Other);
            }
            Layer::Relu => self.since = if self.since == Since::Affine { Since::Relu } else { self.since },
            Layer::MaxPool(_) | Layer::AveragePool(_) | Layer::Flatten => {}
        }
        shape_after(layer, shape)
    }

    fn slot(&mut self, parameters: &'a Parameters, inputs: usize, places: usize, group: Option<usize>) {
        let source = self.last;
        // The array may have been flattened since, so its sides do not say it.
        let values_per_unit = source.map_or(1, |source| inputs / self.layout.slots[source].parameters.outputs.max(1));
        self.layout.slots.push(Slot { parameters, inputs, places, values_per_unit, source, group, step: None });
        (self.last, self.since) = (Some(self.layout.slots.len() - 1), Since::Affine);
    }
}

fn wrong<T>(what: &str) -> Result<T> {
    Err(Error::Training(what.into()))
}

/// What a layer makes of an array of this shape.
pub(super) fn shape_after(layer: &Layer, shape: Shape) -> Result<Shape> {
    let zeros = |parameters: &Parameters, inputs: usize| {
        Affine::new(inputs, vec![0.0; inputs * parameters.outputs], vec![0.0; parameters.outputs])
    };
    let same = match layer {
        Layer::Dense(parameters) => certificate::Layer::Dense(zeros(parameters, shape.size())?),
        Layer::Convolution(window, parameters) => {
            let kernel = zeros(parameters, shape.channels * window.height * window.width)?;
            certificate::Layer::Convolution(Convolution { window: *window, kernel })
        }
        Layer::MaxPool(window) => certificate::Layer::MaxPool(*window),
        Layer::AveragePool(window) => certificate::Layer::AveragePool(*window),
        Layer::Flatten => certificate::Layer::Flatten,
        Layer::Relu | Layer::Step { .. } | Layer::Gate(_) | Layer::Optional { .. } => return Ok(shape),
    };
    Ok(Layered::new(shape, vec![same])?.shape(1))
}

/// For every number that a layer with weights gives, its unit, and for each weight that counts in it the weight's place in the
/// unit's row with the place of the number that it meets.
pub(super) type Sums = Vec<(usize, Vec<(usize, usize)>)>;

/// The sums of a layer with weights.
///
/// # Panics
/// If it has none.
pub(super) fn sums(layer: &Layer, shape: Shape, after: Shape) -> Sums {
    match layer {
        Layer::Dense(parameters) => {
            let terms: Vec<_> = (0..shape.size()).map(|j| (j, j)).collect();
            (0..parameters.outputs).map(|unit| (unit, terms.clone())).collect()
        }
        Layer::Convolution(window, _) => {
            let area = window.height * window.width;
            let terms = |(unit, r, c)| {
                let of_channel = |channel: usize| {
                    let under = window.places(shape, r, c);
                    under.map(move |(place, row, column)| (channel * area + place, shape.index(channel, row, column)))
                };
                (unit, (0..shape.channels).flat_map(of_channel).collect())
            };
            positions(after).map(terms).collect()
        }
        _ => unreachable!("only dense layers and convolutions have weights"),
    }
}

/// For every number that pooling gives, the places of those under its window.
pub(super) fn under(window: &Window, shape: Shape, after: Shape) -> Vec<Vec<usize>> {
    let places = |(channel, r, c)| {
        window.places(shape, r, c).map(|(_, row, column)| shape.index(channel, row, column)).collect()
    };
    positions(after).map(places).collect()
}

/// Channel, row and column of every number of an array, in their order.
fn positions(of: Shape) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..of.channels).flat_map(move |o| (0..of.height).flat_map(move |r| (0..of.width).map(move |c| (o, r, c))))
}

/// The trained network. `kept` says which optional layers stay, `open` which channels of the gate layers.
pub(super) fn network(
    problem: &Problem,
    layout: &Layout,
    weights: &[LayerWeights],
    kept: &[bool],
    open: &[Vec<bool>],
) -> Result<Layered> {
    let mut weights = weights.to_vec();
    for (gate, open) in layout.gates.iter().zip(open) {
        let layer = &mut weights[gate.slot];
        for (unit, _) in open.iter().enumerate().filter(|(_, open)| !**open) {
            let inputs = layout.slots[gate.slot].inputs;
            layer.weights[unit * inputs..][..inputs].fill(0.0);
            layer.biases[unit] = 0.0;
        }
    }
    for (slot, layer) in layout.slots.iter().zip(&mut weights) {
        if let Some(margin) = slot.step {
            layer.weights.iter_mut().for_each(|w| *w /= margin);
            layer.biases.iter_mut().for_each(|b| *b = *b / margin + 1.0);
        }
    }
    let mut affine = layout.slots.iter().zip(&weights).map(|(slot, layer)| {
        let narrow = |numbers: &[f64]| numbers.iter().map(|w| *w as f32).collect();
        Affine::new(slot.inputs, narrow(&layer.weights), narrow(&layer.biases))
    });
    let mut kept = kept.iter();
    let mut layers = Vec::new();
    build(&problem.layers, &mut affine, &mut kept, &mut layers)?;
    Ok(Layered::new(problem.input, layers)?)
}

fn build(
    layers: &[Layer],
    affine: &mut dyn Iterator<Item = certificate::Result<Affine>>,
    kept: &mut std::slice::Iter<bool>,
    built: &mut Vec<certificate::Layer>,
) -> Result<()> {
    const ONE_EACH: &str = "there is one map for each layer with weights";
    for layer in layers {
        built.push(match layer {
            Layer::Dense(_) => certificate::Layer::Dense(affine.next().expect(ONE_EACH)?),
            Layer::Convolution(window, _) => {
                let kernel = affine.next().expect(ONE_EACH)?;
                certificate::Layer::Convolution(Convolution { window: *window, kernel })
            }
            Layer::MaxPool(window) => certificate::Layer::MaxPool(*window),
            Layer::AveragePool(window) => certificate::Layer::AveragePool(*window),
            Layer::Flatten => certificate::Layer::Flatten,
            Layer::Relu => certificate::Layer::Relu,
            Layer::Step { .. } => certificate::Layer::Clamp { lower: 0.0, upper: 1.0 },
            Layer::Gate(_) => continue,
            Layer::Optional { layers, .. } => {
                let stays = *kept.next().expect("there is one gate for all optional layers");
                let mut inside = Vec::new();
                build(layers, affine, kept, &mut inside)?;
                built.extend(if stays { inside } else { Vec::new() });
                continue;
            }
        });
    }
    Ok(())
}
