//! The trained network as a model file that every other command takes.

use certificate::{
    Activation, Affine, Block, Convolution, Direction, Domain, Layer, Layered, Model, MonotoneFeatures, Network, Shape,
};

use super::samples::Samples;
use crate::error::Result;

/// The model, or why there is none. Directions are those asked for, or those that the data set declares.
pub fn model(
    network: &Layered,
    samples: &Samples,
    directions: Option<&MonotoneFeatures>,
) -> Result<std::result::Result<Model, String>> {
    let network = match chain(network) {
        Ok(network) => network,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut features = samples.features.clone();
    if let Some(MonotoneFeatures(directions)) = directions {
        features.iter_mut().zip(directions).for_each(|(feature, direction)| feature.direction = *direction);
    }
    let domain = Domain::new(samples.input_box.clone(), Vec::new(), Vec::new())?;
    Ok(Ok(Model { network, features, domain, target: samples.target.clone() }))
}

/// Whether a feature is asked to move the outputs in one direction.
pub fn moves(direction: &Direction) -> bool {
    *direction != Direction::Free
}

/// The same function as a chain of blocks. Convolutions become dense layers, with the same weights at every position.
fn chain(network: &Layered) -> std::result::Result<Network, String> {
    let (mut affine, mut activations) = (Vec::new(), Vec::new());
    for (k, layer) in network.layers().iter().enumerate() {
        let (before, after) = (network.shape(k), network.shape(k + 1));
        match layer {
            Layer::Flatten => continue,
            Layer::Dense(_) | Layer::Convolution(_) if affine.len() > activations.len() => {
                return Err("two layers with weights follow each other without an activation".into());
            }
            Layer::Dense(dense) => affine.push(dense.clone()),
            Layer::Convolution(convolution) => affine.push(unrolled(convolution, before, after)),
            Layer::Relu if affine.len() > activations.len() => activations.push(Activation::Relu),
            Layer::Clamp { lower: 0.0, upper: 1.0 } if affine.len() > activations.len() => {
                activations.push(Activation::Clamp);
            }
            Layer::MaxPool(_) | Layer::AveragePool(_) => return Err("model files hold no pooling".into()),
            _ => return Err("model files hold layers with weights, each with one relu or step behind it".into()),
        }
    }
    let ends_activated = affine.len() == activations.len();
    if let ([first, second], [activation @ Activation::Clamp]) = (&affine[..], &activations[..]) {
        let block = Block::new(first.clone(), *activation, second.clone()).map_err(|e| e.to_string())?;
        return Network::new(vec![block], Vec::new()).map_err(|e| e.to_string());
    }
    if activations.contains(&Activation::Clamp) {
        return Err("model files hold steps in networks of one hidden layer only".into());
    }
    Network::from_layers(affine, ends_activated).map_err(|e| e.to_string())
}

fn unrolled(Convolution { window, kernel }: &Convolution, before: Shape, after: Shape) -> Affine {
    let places = window.height * window.width;
    let mut weights = vec![0.0; after.size() * before.size()];
    let mut biases = vec![0.0; after.size()];
    for unit in 0..after.channels {
        for (r, c) in (0..after.height).flat_map(|r| (0..after.width).map(move |c| (r, c))) {
            let output = after.index(unit, r, c);
            biases[output] = kernel.bias()[unit];
            for channel in 0..before.channels {
                for (place, row, column) in window.places(before, r, c) {
                    let input = before.index(channel, row, column);
                    weights[output * before.size() + input] = kernel.row(unit)[channel * places + place];
                }
            }
        }
    }
    Affine::new(before.size(), weights, biases).expect("a convolution that fits its input has finite weights")
}

#[cfg(test)]
mod tests {
    use super::*;
    use certificate::Window;

    /// An unrolled convolution gives what the convolution gives, with padding and two channels.
    #[test]
    fn a_convolution_becomes_a_dense_layer() {
        let kernel = Affine::new(8, (0..24).map(|k| (k as f32 - 9.5) / 8.0).collect(), vec![0.25, -0.5, 0.0]).unwrap();
        let window = Window { height: 2, width: 2, stride: 2, padding: 1 };
        let second = Affine::new(27, (0..27).map(|k| (k as f32 - 13.0) / 4.0).collect(), vec![1.0]).unwrap();
        let layers =
            vec![Layer::Convolution(Convolution { window, kernel }), Layer::Relu, Layer::Flatten, Layer::Dense(second)];
        let layered = Layered::new(Shape { channels: 2, height: 4, width: 4 }, layers).unwrap();
        let network = chain(&layered).unwrap();
        for i in 0..4 {
            let x: Vec<f64> = (0..32).map(|k| f64::from((7 * k + 3 * i) % 16) / 16.0).collect();
            assert_eq!(network.evaluate(&x), layered.evaluate(&x));
        }
    }

    #[test]
    fn what_a_model_file_cannot_hold_is_said() {
        let dense = |inputs| Layer::Dense(Affine::new(inputs, vec![1.0; inputs], vec![0.0]).unwrap());
        let said =
            |layers| chain(&Layered::new(Shape { channels: 1, height: 1, width: 2 }, layers).unwrap()).unwrap_err();
        let pool = Layer::MaxPool(Window { height: 1, width: 2, stride: 1, padding: 0 });
        assert!(said(vec![pool, Layer::Flatten, dense(1)]).contains("no pooling"));
        assert!(said(vec![dense(2), dense(1)]).contains("without an activation"));
        assert!(said(vec![Layer::Relu, dense(2)]).contains("each with one relu"));
    }
}
