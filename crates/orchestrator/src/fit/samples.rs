//! What is trained on, wherever it comes from, in the units of the network.

use certificate::{Direction, Interval, ModelFeature, Shape, Target};
use milp::training::{Loss, Targets};
use train::Stream;
use train::data::{Part, Task};
use train::seeds::shuffle;

use super::config::{Answer, Config, Images, Rows, Sample, Select, outputs};
use super::digits;
use crate::config::{Source, config_error};
use crate::error::{Error, Result};

/// Samples with what a model file says about inputs and outputs.
pub struct Samples {
    /// Of one sample.
    pub shape: Shape,
    /// To train on.
    pub train: (Vec<Vec<f64>>, Targets),
    /// To score on; nothing is chosen with them.
    pub test: Option<(Vec<Vec<f64>>, Targets)>,
    /// One per input, with the directions that the data set declares.
    pub features: Vec<ModelFeature>,
    /// Where the inputs may lie.
    pub input_box: Vec<Interval>,
    /// What the outputs mean.
    pub target: Target,
    /// For people.
    pub source: String,
}

/// Whether the outputs are compared with numbers.
fn is_regression(loss: Loss) -> bool {
    matches!(loss, Loss::L1 | Loss::Squared)
}

impl Samples {
    /// Reads them.
    ///
    /// # Errors
    /// If the data cannot be read, or have no such feature or row, or their targets do not suit the loss.
    pub fn load(config: &Config) -> Result<Self> {
        match (&config.data, &config.select, &config.images) {
            (Some(data), Some(select), _) => of_data_set(config, data, select),
            (.., Some(images)) => of_images(config, images),
            _ => inline(config),
        }
    }

    /// The place of a feature.
    ///
    /// # Errors
    /// If there is none of this name, with the nearest one.
    pub fn feature(&self, name: &str) -> Result<usize> {
        let names: Vec<&str> = self.features.iter().map(|feature| feature.name.as_str()).collect();
        position(&names, name, "monotone.features")
    }
}

fn position(names: &[&str], name: &str, place: &str) -> Result<usize> {
    names.iter().position(|known| *known == name).ok_or_else(|| {
        let known: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        config_error(place, &format!("unknown feature `{name}`, expected one of {}", known.join(", ")))
    })
}

fn wrong<T>(place: &str, message: impl Into<String>) -> Result<T> {
    Err(Error::Config { place: place.into(), message: message.into() })
}

/// What the outputs of a network that tells classes apart mean.
fn of_classes(config: &Config, column: &str, classes: Vec<String>) -> Target {
    match (outputs(&config.layers).last(), &classes[..]) {
        (Some(1), [_, positive]) => Target::Binary { column: column.into(), positive: positive.clone() },
        _ => Target::Classes { column: column.into(), classes },
    }
}

fn of_data_set(config: &Config, wanted: &Source, select: &Select) -> Result<Samples> {
    let data = wanted.load()?;
    let names: Vec<&str> = data.features.iter().map(|feature| feature.name.as_str()).collect();
    let inputs = match &select.features {
        None => (0..names.len()).collect(),
        Some(chosen) => {
            chosen.iter().map(|name| position(&names, name, "select.features")).collect::<Result<Vec<_>>>()?
        }
    };
    if inputs.is_empty() || inputs.iter().enumerate().any(|(k, j)| inputs[..k].contains(j)) {
        return wrong("select.features", "expected at least one feature, and none of them twice");
    }
    let regression = is_regression(config.loss);
    let target = match (data.task, &data.target, regression) {
        (Task::Binary, Target::Binary { column, positive }, false) => {
            of_classes(config, column, vec![format!("not {positive}"), positive.clone()])
        }
        (Task::Regression { .. }, target, true) => target.clone(),
        (Task::Binary, ..) => return wrong("loss", "the target is a class; use hinge, zero_one or cross_entropy"),
        _ => return wrong("loss", "the target is a number; use l1 or squared"),
    };
    let rows = rows(select, &data.fit)?;
    let all: Vec<usize> = (0..data.test.len()).collect();
    let take = |part: &Part, rows: &[usize]| {
        let x = |row: &usize| inputs.iter().map(|j| f64::from(part.x[row * names.len() + j])).collect();
        let y = || rows.iter().map(|row| part.y[*row]);
        let targets = match regression {
            true => Targets::Values(y().map(|y| vec![f64::from(y)]).collect()),
            false => Targets::Classes(y().map(|y| usize::from(y > 0.5)).collect()),
        };
        (rows.iter().map(x).collect::<Vec<_>>(), targets)
    };
    Ok(Samples {
        shape: Shape::list(inputs.len()),
        train: take(&data.fit, &rows),
        test: (!all.is_empty()).then(|| take(&data.test, &all)),
        features: inputs.iter().map(|j| data.features[*j].of_a_model()).collect(),
        input_box: vec![Interval::new(0.0, 1.0); inputs.len()],
        target,
        source: format!(
            "{} of the {} rows to fit on of {}, split {}",
            rows.len(),
            data.fit.len(),
            data.name,
            data.split
        ),
    })
}

/// Places of the wanted rows among those to fit on.
fn rows(select: &Select, fit: &Part) -> Result<Vec<usize>> {
    match &select.rows {
        Rows::Drawn(count) if (1..=fit.len()).contains(count) => {
            let mut order: Vec<usize> = (0..fit.len()).collect();
            shuffle(&mut Stream::Batches.generator(select.seed, 0, 0), &mut order, *count);
            order.truncate(*count);
            Ok(order)
        }
        Rows::Drawn(count) => wrong("select.rows", format!("there are 1 to {} rows to draw, found {count}", fit.len())),
        Rows::Listed(rows) => {
            let place = |row: &usize| match fit.rows.iter().position(|known| known == row) {
                Some(place) => Ok(place),
                None => wrong("select.rows", format!("row {row} is none of those to fit on in this split")),
            };
            rows.iter().map(place).collect()
        }
    }
}

fn of_images(config: &Config, images: &Images) -> Result<Samples> {
    if is_regression(config.loss) {
        return wrong("loss", "a digit is a class; use hinge, zero_one or cross_entropy");
    }
    let (train, test) = digits::load(images)?;
    let side = images.side;
    let pixel = |k: usize| {
        ModelFeature::linear(format!("row {} column {}", k / side + 1, k % side + 1), Direction::Free, 0.0, 255.0)
    };
    Ok(Samples {
        shape: Shape { channels: 1, height: side, width: side },
        source: format!("{} MNIST images of the digits {:?}, {side} x {side}", train.images.len(), images.digits),
        train: (train.images, Targets::Classes(train.classes)),
        test: Some((test.images, Targets::Classes(test.classes))),
        features: (0..side * side).map(pixel).collect(),
        input_box: vec![Interval::new(0.0, 1.0); side * side],
        target: of_classes(config, "digit", images.digits.iter().map(u8::to_string).collect()),
    })
}

fn inline(config: &Config) -> Result<Samples> {
    let samples = &config.samples;
    let inputs = samples[0].x.len();
    let shape = match config.shape {
        Some([channels, height, width]) => Shape { channels, height, width },
        None => Shape::list(inputs),
    };
    for (i, Sample { x, .. }) in samples.iter().enumerate() {
        if x.is_empty() || x.len() != shape.size() || x.iter().any(|x| !x.is_finite()) {
            let expected = shape.size();
            return wrong("[[sample]]", format!("sample {}: expected {expected} finite numbers, found {x:?}", i + 1));
        }
    }
    let side = |j: usize| {
        let of_input = || samples.iter().map(|sample| sample.x[j]);
        Interval::new(of_input().fold(f64::INFINITY, f64::min), of_input().fold(f64::NEG_INFINITY, f64::max))
    };
    // As the samples stand: no scaling.
    let feature = |j: usize| ModelFeature::linear(format!("x{}", j + 1), Direction::Free, 0.0, 1.0);
    let (targets, target) = inline_targets(config)?;
    Ok(Samples {
        shape,
        train: (samples.iter().map(|sample| sample.x.clone()).collect(), targets),
        test: None,
        features: (0..shape.size()).map(feature).collect(),
        input_box: (0..shape.size()).map(side).collect(),
        target,
        source: format!("{} samples of the configuration", samples.len()),
    })
}

fn inline_targets(config: &Config) -> Result<(Targets, Target)> {
    let each = |sample: &Sample| match &sample.y {
        Answer::One(y) => vec![*y],
        Answer::Each(y) => y.clone(),
    };
    let values: Vec<Vec<f64>> = config.samples.iter().map(each).collect();
    if is_regression(config.loss) {
        let target = Target::Regression { column: "y".into(), minimum: 0.0, maximum: 1.0 };
        return Ok((Targets::Values(values), target));
    }
    let class = |(i, y): (usize, &Vec<f64>)| match y[..] {
        [y] if y >= 0.0 && y.fract() == 0.0 && y < 1e6 => Ok(y as usize),
        _ => wrong("[[sample]]", format!("sample {}: expected a class, counted from 0, as y, found {y:?}", i + 1)),
    };
    let classes = values.iter().enumerate().map(class).collect::<Result<Vec<_>>>()?;
    let count = outputs(&config.layers).last().map_or(2, |outputs| (*outputs).max(2));
    let target = of_classes(config, "class", (0..count).map(|class| class.to_string()).collect());
    Ok((Targets::Classes(classes), target))
}
