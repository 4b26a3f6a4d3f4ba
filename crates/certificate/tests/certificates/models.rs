//! Small models and certificates as text.

use certificate::{
    Activation, Affine, Block, CheckError, Checked, Conclusion, Direction, Domain, Header, Interval, Model,
    ModelFeature, MonotoneFeatures, Network, Target, check,
};

pub const UP: Direction = Direction::Increasing;
pub const DOWN: Direction = Direction::Decreasing;
pub const FREE: Direction = Direction::Free;

/// A ReLU block without output biases.
pub fn block(inputs: usize, weights: &[f32], bias: &[f32], second: &[f32]) -> Block {
    let first = Affine::new(inputs, weights.to_vec(), bias.to_vec()).unwrap();
    let second = Affine::new(bias.len(), second.to_vec(), vec![0.0; second.len() / bias.len()]).unwrap();
    Block::new(first, Activation::Relu, second).unwrap()
}

pub fn box_domain(sides: &[(f64, f64)]) -> Domain {
    Domain::from_box(sides.iter().map(|&(lower, upper)| Interval::new(lower, upper)).collect()).unwrap()
}

pub fn model(network: Network, domain: Domain, directions: &[Direction]) -> Model {
    let feature = |(j, direction): (usize, &Direction)| ModelFeature::linear(format!("x{j}"), *direction, 0.0, 1.0);
    Model {
        network,
        features: directions.iter().enumerate().map(feature).collect(),
        domain,
        target: Target::Regression { column: "y".into(), minimum: 0.0, maximum: 1.0 },
    }
}

/// A model of one block.
pub fn single(block: Block, domain: Domain, directions: &[Direction]) -> Model {
    model(Network::new(vec![block], vec![]).unwrap(), domain, directions)
}

/// An example for many tests: on the unit square, the derivative in the first input is
/// `[x0 + x1 >= 1/4] - 1/2 [x0 >= 3/4] + 1/4`, whose least value is 1/4.
pub fn example() -> Model {
    let block = block(2, &[1.0, 1.0, 1.0, 0.0, 1.0, 0.0], &[-0.25, -0.75, 1.0], &[1.0, -0.5, 0.25]);
    single(block, Domain::unit_cube(2), &[UP, FREE])
}

pub fn header(model: &Model, boxes: &[Domain], verdict: Conclusion) -> Header {
    let directions = MonotoneFeatures(model.features.iter().map(|feature| feature.direction).collect());
    let domains: Vec<_> = std::iter::once(&model.domain).chain(boxes).cloned().collect();
    Header::new(model, &directions.into(), &domains, verdict)
}

/// The certificate with these lines between the first and the last.
pub fn text(header: &Header, lines: &[impl AsRef<str>]) -> String {
    let mut text = serde_json::to_string(header).unwrap() + "\n";
    for line in lines {
        text += line.as_ref();
        text += "\n";
    }
    text + &format!("{{\"end\":{{\"steps\":{}}}}}\n", lines.len())
}

/// The certificate that a model of one block is monotone.
pub fn certified(model: &Model, lines: &[impl AsRef<str>]) -> String {
    text(&header(model, &[], Conclusion::Certified), lines)
}

pub fn read(certificate: &str, model: &Model) -> Result<Checked, CheckError> {
    check(certificate.as_bytes(), model)
}
