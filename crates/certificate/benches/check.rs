//! Checking a proof of the size of a COMPAS block: 100 neurons, 13 inputs. `leaves` of them are checked, each with a
//! multiplier for every neuron that is not decided.

use certificate::{
    Activation, Affine, Block, CertificateWriter, Conclusion, Direction, Domain, Header, Model, ModelFeature,
    Multipliers, Network, Proof, Query, Split, Step, Target, check,
};
use divan::Bencher;
use divan::counter::ItemsCount;

const INPUTS: usize = 13;
const NEURONS: usize = 100;

fn main() {
    divan::main();
}

/// Weights between -1/4 and 1/4 with all the digits that an `f32` has.
fn weights(count: usize) -> Vec<f32> {
    let golden = 0.618_034_f32;
    (0..count).map(|k| ((k + 1) as f32 * golden).fract() / 2.0 - 0.25).collect()
}

/// A block whose positive path weights are all but one from unstable neurons; the last neuron is always active.
fn model() -> Model {
    let mut first = weights(INPUTS * NEURONS);
    let second: Vec<_> = first.chunks(INPUTS).map(|row| if row[0] < 0.0 { -1.0 } else { 1.0 }).chain([64.0]).collect();
    first.extend([1.0].into_iter().chain([0.0; INPUTS - 1]));
    let mut bias = weights(NEURONS);
    bias.push(1.0);
    let first = Affine::new(INPUTS, first, bias).unwrap();
    let second = Affine::new(NEURONS + 1, second, vec![0.0]).unwrap();
    let direction = |j| if j == 0 { Direction::Increasing } else { Direction::Free };
    let feature = |j| ModelFeature::linear(format!("x{j}"), direction(j), 0.0, 1.0);
    Model {
        network: Network::new(vec![Block::new(first, Activation::Relu, second).unwrap()], vec![]).unwrap(),
        features: (0..INPUTS).map(feature).collect(),
        domain: Domain::unit_cube(INPUTS),
        target: Target::Regression { column: "y".into(), minimum: 0.0, maximum: 1.0 },
    }
}

fn certificate(model: &Model, leaves: usize) -> Vec<u8> {
    let block = &model.network.blocks()[0];
    // Half of what is allowed, in units of 2^-40.
    let multiplier = |i: usize| {
        let upper: f32 = block.first().bias()[i] + block.first().row(i).iter().map(|w| w.max(0.0)).sum::<f32>();
        (block.path_weight(0, i, 0) / f64::from(upper) * f64::exp2(39.0)) as i64
    };
    let leaf = |decided: usize| {
        let multipliers = (decided..NEURONS).map(|i| (i, multiplier(i))).collect();
        Step::Bound(Multipliers { exponent: -40, multipliers })
    };
    let parts = (0..leaves - 1).flat_map(|i| [Step::Split(Split::Neuron(i)), leaf(i + 1)]);
    let steps = parts.chain([leaf(leaves - 1)]).collect();
    let header = Header::new(model, &model.specification(), std::slice::from_ref(&model.domain), Conclusion::Certified);
    let mut writer = CertificateWriter::new(Vec::new(), &header).unwrap();
    let query = Query { row: 0, input: 0, direction: Direction::Increasing };
    writer.proof(&Proof { block: 0, query, at_least: 0.0, steps }).unwrap();
    writer.finish().unwrap()
}

#[divan::bench(args = [1, 51])]
fn leaves(bencher: Bencher, leaves: usize) {
    let model = model();
    let certificate = certificate(&model, leaves);
    bencher.counter(ItemsCount::new(leaves)).bench(|| check(&certificate[..], &model).unwrap());
}
