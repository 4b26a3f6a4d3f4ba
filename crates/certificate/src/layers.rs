//! Feed-forward networks of any of the usual layers, as the mixed-integer programmes of trained networks see them.
//!
//! A [`Network`] is what can be certified; every one of them is a [`Layered`] network, but not the other way round.

use std::ops::{Add, Mul, Sub};

use num_rational::BigRational;

use crate::exact::rational;
use crate::{Activation, Affine, Error, Network, Result};

/// Sides of an array. Its numbers are stored channel by channel, each of them row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of channels.
    pub channels: usize,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
}

impl Shape {
    /// A list of `length` numbers.
    pub fn list(length: usize) -> Self {
        Self { channels: length, height: 1, width: 1 }
    }

    /// How many numbers it holds.
    pub fn size(self) -> usize {
        self.channels * self.height * self.width
    }

    /// Where the number of a channel, row and column is stored.
    pub fn index(self, channel: usize, row: usize, column: usize) -> usize {
        (channel * self.height + row) * self.width + column
    }
}

/// A window that slides over rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its rows.
    pub height: usize,
    /// Its columns.
    pub width: usize,
    /// By how much it moves, in both directions.
    pub stride: usize,
    /// Rows and columns of zeros around the input.
    pub padding: usize,
}

impl Window {
    /// A square window without padding.
    pub fn square(side: usize, stride: usize) -> Self {
        Self { height: side, width: side, stride, padding: 0 }
    }

    /// Rows and columns of positions at which it fits into the padded input.
    fn positions(self, input: Shape) -> Option<[usize; 2]> {
        let along = |side: usize, window: usize| {
            let room = (side + 2 * self.padding).checked_sub(window)?;
            (window > 0 && self.padding < window).then(|| room.checked_div(self.stride)).flatten().map(|n| n + 1)
        };
        Some([along(input.height, self.height)?, along(input.width, self.width)?])
    }

    /// For the position in row `r` and column `c` the places of the input under it: place in the window, row, column.
    /// Padding is left out.
    pub fn places(self, input: Shape, r: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let inside = move |at: usize, offset: usize, side: usize| {
            (at * self.stride + offset).checked_sub(self.padding).filter(|place| *place < side)
        };
        (0..self.height * self.width).filter_map(move |k| {
            let row = inside(r, k / self.width, input.height)?;
            Some((k, row, inside(c, k % self.width, input.width)?))
        })
    }
}

/// A convolution: the same weights at every position of its window.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    /// The window.
    pub window: Window,
    /// One row for each output channel over the window's numbers: `[outputs, inputs * height * width]`, input channel by
    /// input channel.
    pub kernel: Affine,
}

/// One layer.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// `W x + b`
    Dense(Affine),
    /// The same over a sliding window.
    Convolution(Convolution),
    /// The largest number under the window, padding left out.
    MaxPool(Window),
    /// The mean of the numbers under the window; without padding.
    AveragePool(Window),
    /// The array as a list.
    Flatten,
    /// `max(0, t)`
    Relu,
    /// `max(0, t) - slope max(0, -t)`
    LeakyRelu(f32),
    /// `min(upper, max(lower, t))`, also called hardtanh.
    Clamp {
        /// The smallest value.
        lower: f32,
        /// The largest value.
        upper: f32,
    },
}

impl Layer {
    fn name(&self) -> &'static str {
        match self {
            Self::Dense(_) => "dense",
            Self::Convolution(_) => "convolution",
            Self::MaxPool(_) => "max pooling",
            Self::AveragePool(_) => "average pooling",
            Self::Flatten => "flatten",
            Self::Relu => "relu",
            Self::LeakyRelu(_) => "leaky relu",
            Self::Clamp { .. } => "clamp",
        }
    }

    /// What the layer makes of an input of this shape.
    fn output(&self, input: Shape) -> std::result::Result<Shape, String> {
        let pooled = |window: &Window, channels: usize| {
            let [height, width] = window.positions(input).ok_or("the window does not fit its input")?;
            Ok(Shape { channels, height, width })
        };
        match self {
            Self::Dense(affine) if affine.inputs() == input.size() => Ok(Shape::list(affine.outputs())),
            Self::Dense(affine) => Err(format!("takes {} numbers, is given {}", affine.inputs(), input.size())),
            Self::Convolution(Convolution { window, kernel }) => {
                let expected = input.channels * window.height * window.width;
                if kernel.inputs() != expected {
                    return Err(format!("its kernel has {} numbers, needs {expected}", kernel.inputs()));
                }
                pooled(window, kernel.outputs())
            }
            Self::AveragePool(window) if window.padding > 0 => Err("padding would count as zeros; leave it out".into()),
            Self::MaxPool(window) | Self::AveragePool(window) => pooled(window, input.channels),
            Self::Flatten => Ok(Shape::list(input.size())),
            Self::Relu => Ok(input),
            Self::LeakyRelu(slope) if (0.0..1.0).contains(slope) => Ok(input),
            Self::LeakyRelu(slope) => Err(format!("expected a slope from 0 to below 1, found {slope}")),
            Self::Clamp { lower, upper } if lower < upper && lower.is_finite() && upper.is_finite() => Ok(input),
            Self::Clamp { lower, upper } => Err(format!("expected lower < upper, found {lower} and {upper}")),
        }
    }
}

/// Layers one after another.
#[derive(Debug, Clone, PartialEq)]
pub struct Layered {
    layers: Vec<Layer>,
    /// Shape of the input and of what each layer gives.
    shapes: Vec<Shape>,
}

impl Layered {
    /// A network from its layers.
    ///
    /// # Errors
    /// If there is no layer, or one does not fit what it is given; the message names it, counted from 1.
    pub fn new(input: Shape, layers: Vec<Layer>) -> Result<Self> {
        if layers.is_empty() || input.size() == 0 {
            return Err(Error::Structure("expected at least one input and one layer".into()));
        }
        let mut shapes = vec![input];
        for (k, layer) in layers.iter().enumerate() {
            let place = |reason| Error::Structure(format!("layer {} ({}): {reason}", k + 1, layer.name()));
            shapes.push(layer.output(shapes[k]).map_err(place)?);
        }
        Ok(Self { layers, shapes })
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Shape of what layer `k` is given; with `k` the number of layers, of the output.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn shape(&self, k: usize) -> Shape {
        self.shapes[k]
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.shapes[0].size()
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.shapes[self.layers.len()].size()
    }

    /// The outputs at `x` in `f64`.
    ///
    /// # Panics
    /// If `x` does not have one entry per input.
    pub fn evaluate(&self, x: &[f64]) -> Vec<f64> {
        self.values(x, f64::from, |sum, count| sum / count as f64)
    }

    /// The outputs at `x`, exactly.
    ///
    /// # Panics
    /// If `x` does not have one entry per input.
    pub fn evaluate_exactly(&self, x: &[BigRational]) -> Vec<BigRational> {
        self.values(x, |w| rational(f64::from(w)), |sum, count| sum / BigRational::from_integer(count.into()))
    }

    /// `number` reads a weight, `mean` divides a sum by the number of its terms.
    fn values<T>(&self, x: &[T], number: impl Fn(f32) -> T, mean: impl Fn(T, usize) -> T) -> Vec<T>
    where
        T: Clone + PartialOrd + Add<Output = T> + Sub<Output = T> + Mul<Output = T>,
    {
        assert_eq!(x.len(), self.inputs(), "one number per input");
        let zero = number(0.0);
        let larger = |a: T, b: T| if a < b { b } else { a };
        let smaller = |a: T, b: T| if b < a { b } else { a };
        let dot = |kernel: &Affine, i: usize, terms: &mut dyn Iterator<Item = (usize, T)>| {
            let row = kernel.row(i);
            let weighted = terms.filter(|(k, _)| row[*k] != 0.0).map(|(k, x)| number(row[k]) * x);
            weighted.fold(number(kernel.bias()[i]), |sum, term| sum + term)
        };
        let mut values = x.to_vec();
        for (layer, shapes) in self.layers.iter().zip(self.shapes.windows(2)) {
            let (input, output) = (shapes[0], shapes[1]);
            let map = |values: &[T], f: &dyn Fn(&T) -> T| values.iter().map(f).collect::<Vec<_>>();
            // Every position of the output with the numbers under a window there.
            let positions = (0..output.channels).flat_map(|channel| {
                (0..output.height).flat_map(move |r| (0..output.width).map(move |c| (channel, r, c)))
            });
            values = match layer {
                Layer::Dense(affine) => {
                    (0..affine.outputs()).map(|i| dot(affine, i, &mut values.iter().cloned().enumerate())).collect()
                }
                Layer::Convolution(Convolution { window, kernel }) => positions
                    .map(|(o, r, c)| {
                        let mut terms = (0..input.channels).flat_map(|channel| {
                            let values = &values;
                            window.places(input, r, c).map(move |(k, row, column)| {
                                let place = channel * window.height * window.width + k;
                                (place, values[input.index(channel, row, column)].clone())
                            })
                        });
                        dot(kernel, o, &mut terms)
                    })
                    .collect(),
                Layer::MaxPool(window) | Layer::AveragePool(window) => positions
                    .map(|(channel, r, c)| {
                        let under = window.places(input, r, c);
                        let under = under.map(|(_, row, column)| values[input.index(channel, row, column)].clone());
                        if matches!(layer, Layer::MaxPool(_)) {
                            under.reduce(&larger).expect("a window is never over padding alone")
                        } else {
                            mean(
                                under.reduce(|a, b| a + b).expect("a window has a place"),
                                window.height * window.width,
                            )
                        }
                    })
                    .collect(),
                Layer::Flatten => values,
                Layer::Relu => map(&values, &|t| larger(t.clone(), zero.clone())),
                Layer::LeakyRelu(slope) => map(&values, &|t| {
                    larger(t.clone(), zero.clone()) + number(*slope) * smaller(t.clone(), zero.clone())
                }),
                Layer::Clamp { lower, upper } => {
                    map(&values, &|t| smaller(number(*upper), larger(number(*lower), t.clone())))
                }
            };
        }
        values
    }
}

impl TryFrom<&Network> for Layered {
    type Error = Error;

    /// # Errors
    /// If an activation is smooth: there is no mixed-integer programme of it.
    fn try_from(network: &Network) -> Result<Self> {
        let activation = |activation: Activation| match activation {
            Activation::Relu => Ok(Layer::Relu),
            Activation::Clamp => Ok(Layer::Clamp { lower: 0.0, upper: 1.0 }),
            smooth => Err(Error::NotPiecewiseLinear(smooth.name())),
        };
        let mut layers = Vec::new();
        for (k, block) in network.blocks().iter().enumerate() {
            layers.push(Layer::Dense(block.first().clone()));
            layers.push(activation(block.activation())?);
            layers.push(Layer::Dense(block.second().clone()));
            if let Some(boundary) = network.boundaries().get(k) {
                layers.push(activation(boundary.activation)?);
            }
        }
        Self::new(Shape::list(network.inputs()), layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(side: usize) -> Shape {
        Shape { channels: 1, height: side, width: side }
    }

    fn convolution(weight: &[f32], side: usize, stride: usize, padding: usize) -> Layer {
        let kernel = Affine::new(weight.len(), weight.to_vec(), vec![0.5]).unwrap();
        let window = Window { padding, ..Window::square(side, stride) };
        Layer::Convolution(Convolution { window, kernel })
    }

    /// Worked out by hand.
    #[test]
    fn known_values_of_every_layer() {
        let x: Vec<f64> = (1..=9).map(f64::from).collect();
        let value = |layer: Layer| Layered::new(image(3), vec![layer]).unwrap().evaluate(&x);
        // 1 2 3 / 4 5 6 / 7 8 9, kernel 1 0 / 0 -1: each number minus the one below and to the right of it.
        assert_eq!(value(convolution(&[1.0, 0.0, 0.0, -1.0], 2, 1, 0)), [-3.5; 4]);
        // With padding the window at the corners sees one number, at its lower right or upper left end.
        assert_eq!(value(convolution(&[1.0, 0.0, 0.0, -1.0], 2, 3, 1)), [-0.5, 0.5, 0.5, 9.5]);
        assert_eq!(value(Layer::MaxPool(Window::square(2, 1))), [5.0, 6.0, 8.0, 9.0]);
        assert_eq!(value(Layer::MaxPool(Window { padding: 1, ..Window::square(2, 2) })), [1.0, 3.0, 7.0, 9.0]);
        assert_eq!(value(Layer::AveragePool(Window::square(2, 1))), [3.0, 4.0, 6.0, 7.0]);
        assert_eq!(value(Layer::Flatten), x);
        let clamped = value(Layer::Clamp { lower: 2.5, upper: 7.0 });
        assert_eq!(clamped, [2.5, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 7.0, 7.0]);
        let signs = Layered::new(Shape::list(2), vec![Layer::LeakyRelu(0.25)]).unwrap();
        assert_eq!(signs.evaluate(&[-4.0, 4.0]), [-1.0, 4.0]);
    }

    #[test]
    fn two_channels_are_summed_channel_by_channel() {
        let shape = Shape { channels: 2, height: 1, width: 2 };
        let kernel = Affine::new(4, vec![1.0, 10.0, 100.0, 1000.0, -1.0, 0.0, 0.0, 0.0], vec![0.0, 0.0]).unwrap();
        let window = Window { height: 1, width: 2, stride: 1, padding: 0 };
        let network = Layered::new(shape, vec![Layer::Convolution(Convolution { window, kernel })]).unwrap();
        assert_eq!(network.evaluate(&[1.0, 2.0, 3.0, 4.0]), [4321.0, -1.0]);
    }

    #[test]
    fn exact_values_are_those_without_rounding() {
        let layers = vec![
            convolution(&[0.5, -0.25, 1.0, 2.0], 2, 1, 1),
            Layer::LeakyRelu(0.125),
            Layer::AveragePool(Window::square(3, 1)),
            Layer::MaxPool(Window::square(2, 2)),
            Layer::Flatten,
            Layer::Dense(Affine::new(1, vec![1.0, -1.0], vec![0.0, 0.25]).unwrap()),
            Layer::Clamp { lower: -1.0, upper: 1e6 },
        ];
        let network = Layered::new(image(3), layers).unwrap();
        let x = [-1.0, 0.25, 0.5, 2.0, -3.0, 0.75, 1.0, 1.5, -0.5];
        let exact = network.evaluate_exactly(&x.map(rational));
        for (exact, value) in exact.iter().zip(network.evaluate(&x)) {
            assert!((crate::exact::approximate(exact) - value).abs() < 1e-12);
        }
        // A mean over nine numbers is no dyadic number.
        assert!(exact.iter().any(|value| (value.denom() % 3u8) == 0.into()), "{exact:?}");
    }

    #[test]
    fn a_chain_of_blocks_is_a_layered_network() {
        let layer = |inputs, numbers: &[f32]| {
            Affine::new(inputs, numbers.to_vec(), vec![0.25; numbers.len() / inputs]).unwrap()
        };
        let layers = vec![layer(2, &[1.0, -1.0, 0.5, 2.0]), layer(2, &[1.0, -2.0]), layer(1, &[-1.0, 1.0])];
        for relu_output in [false, true] {
            let network = Network::from_layers(layers.clone(), relu_output).unwrap();
            let layered = Layered::try_from(&network).unwrap();
            for x in [[0.0, 0.0], [1.0, -1.0], [-2.0, 3.0], [0.5, 0.125]] {
                let hidden = layers[0].evaluate(&x).into_iter().map(|t| t.max(0.0)).collect::<Vec<_>>();
                let hidden = layers[1].evaluate(&hidden).into_iter().map(|t| t.max(0.0)).collect::<Vec<_>>();
                let outputs = layers[2].evaluate(&hidden).into_iter();
                let outputs: Vec<_> = outputs.map(|t| if relu_output { t.max(0.0) } else { t }).collect();
                assert_eq!(network.evaluate(&x), outputs);
                assert_eq!(layered.evaluate(&x), outputs);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let message = |layers| Layered::new(image(3), layers).unwrap_err().to_string();
        let dense = Layer::Dense(Affine::identity(4));
        assert!(message(vec![Layer::Relu, dense]).contains("layer 2 (dense): takes 4 numbers, is given 9"));
        assert!(message(vec![Layer::MaxPool(Window::square(4, 1))]).contains("layer 1 (max pooling)"));
        assert!(message(vec![Layer::MaxPool(Window::square(2, 0))]).contains("max pooling"));
        assert!(message(vec![convolution(&[1.0; 9], 2, 1, 0)]).contains("kernel has 9 numbers, needs 4"));
        assert!(message(vec![Layer::LeakyRelu(f32::NAN)]).contains("slope"));
        assert!(message(vec![Layer::Clamp { lower: 1.0, upper: 1.0 }]).contains("lower < upper"));
        assert!(message(vec![]).contains("at least one"));
    }
}
