//! Small models of which it is known whether they are monotone.

use certificate::{
    Activation, Affine, Block, Boundary, Conclusion, Direction, Domain, Header, IntegerFeature, Interval, Model,
    ModelFeature, Network, Target, interval,
};

/// A model of which it is known whether it is monotone.
pub struct Known {
    /// The name that the seeds with its proofs begin with.
    pub name: &'static str,
    pub model: Model,
    pub monotone: bool,
    /// First lines of certificates that say the one or the other.
    certified: String,
    refuted: String,
}

fn block(inputs: usize, weights: &[f32], bias: &[f32], second: &[f32]) -> Block {
    let first = Affine::new(inputs, weights.to_vec(), bias.to_vec()).expect("shapes fit");
    let second = Affine::new(bias.len(), second.to_vec(), vec![0.0; second.len() / bias.len()]).expect("shapes fit");
    Block::new(first, Activation::Relu, second).expect("widths fit")
}

/// Increasing in the first input; the others are free.
fn model(network: Network, domain: Domain) -> Model {
    let feature = |j| {
        ModelFeature::linear(format!("x{j}"), if j == 0 { Direction::Increasing } else { Direction::Free }, 0.0, 1.0)
    };
    let target = Target::Regression { column: "y".into(), minimum: 0.0, maximum: 1.0 };
    Model { features: (0..domain.inputs()).map(feature).collect(), network, domain, target }
}

fn single(block: Block, domain: Domain) -> Model {
    model(Network::new(vec![block], vec![]).expect("one block"), domain)
}

/// `[x0 + x1 >= threshold] - 1/2 [x0 >= 3/4] + 1/4` on the unit square: not negative up to the threshold 3/4.
fn plain(threshold: f32) -> Model {
    let block = block(2, &[1.0, 1.0, 1.0, 0.0, 1.0, 0.0], &[-threshold, -0.75, 1.0], &[1.0, -0.5, 0.25]);
    single(block, Domain::unit_cube(2))
}

/// `[t0 >= 0] - [t1 >= 0]` with an integer input `x1` from 0 to 3 and a group of `x2` and `x3`. If `x2` is 1, it is not
/// negative at the grid points of `x1`, but between them. If `x3` is 1, then `t0 = x0 + 2 x1 + rest` and
/// `t1 = x0 + 8 x1`: not negative from `rest` = 0 on.
fn discrete(rest: f32) -> Model {
    let weights = [1.0, 2.0, -3.5, rest, 1.0, 8.0, -10.0, 0.0];
    let sides = [1.0, 3.0, 1.0, 1.0].map(|upper| Interval::new(0.0, upper));
    let integer = vec![IntegerFeature { input: 0, steps: 1 }, IntegerFeature { input: 1, steps: 3 }];
    let domain = Domain::new(sides.to_vec(), vec![vec![2, 3]], integer).expect("a domain");
    single(block(4, &weights, &[0.0, 0.0], &[1.0, -1.0]), domain)
}

/// Two channels, `x0 + 1/2` and `2 x1 - 1`, clamped; then `1/2 [y0 >= 3/4] - 1/2 [y0 + y1 >= threshold]`: not negative
/// from the threshold 7/4 on, because `y1` is at most 1.
fn chain(threshold: f32) -> Model {
    let first = Affine::new(2, vec![1.0, 0.0, 0.0, 2.0], vec![0.5, 0.0]).expect("shapes fit");
    let second = Affine::new(2, vec![1.0, 0.0, 0.0, 1.0], vec![0.0, -1.0]).expect("shapes fit");
    let first = Block::new(first, Activation::Relu, second).expect("widths fit");
    let second = block(2, &[1.0, 0.0, 1.0, 1.0], &[-0.75, -threshold], &[0.5, -0.5]);
    let boundary = Boundary { activation: Activation::Clamp, monotone: vec![true, false] };
    model(Network::new(vec![first, second], vec![boundary]).expect("two blocks"), Domain::unit_cube(2))
}

/// All models. Of each kind one that is monotone and one that just is not.
pub fn all() -> Vec<Known> {
    let known = |name, model, monotone| Known {
        name,
        certified: header(&model, Conclusion::Certified),
        refuted: header(&model, Conclusion::Refuted),
        model,
        monotone,
    };
    let little = 1.0 / 1024.0;
    vec![
        known("plain", plain(0.75), true),
        known("plain", plain(0.75 + little), false),
        known("discrete", discrete(0.0), true),
        known("discrete", discrete(-little), false),
        known("chain", chain(1.75), true),
        known("chain", chain(1.75 - little), false),
    ]
}

fn header(model: &Model, verdict: Conclusion) -> String {
    let domains = interval::block_domains(&model.network, &model.domain);
    let header = Header::new(model, &model.specification(), &domains, verdict);
    serde_json::to_string(&header).expect("a header of numbers and words") + "\n"
}

impl Known {
    /// A certificate made of bytes. A header of this model and the last line are added if they are not there, so that
    /// changes to a proof are not all refused because of a count or a hash.
    pub fn certificate(&self, bytes: &[u8]) -> Vec<u8> {
        let has = |word: &str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
        let header = match (has("\"format\""), has("\"counterexample\"")) {
            (true, _) => "",
            (false, true) => &self.refuted,
            (false, false) => &self.certified,
        };
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        let end = if has("\"end\"") { String::new() } else { format!("{{\"end\":{{\"steps\":{lines}}}}}\n") };
        [header.as_bytes(), bytes, end.as_bytes()].concat()
    }
}
