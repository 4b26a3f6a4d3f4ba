use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use certificate::{Direction, Shape};
use milp::training::{self, Gates, Loss, Products, WeightDomain};
use serde::{Deserialize, Serialize};

use crate::config::{Source, check_name, manifest_path, read};
use crate::error::{Error, Result};

/// A training as a mixed-integer programme.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names the run: its folder is `runs/<name>/<number>`.
    pub name: String,
    /// From which the initial points of gradient training are derived.
    #[serde(default)]
    pub seed: u64,
    /// Channels, rows and columns of an inline sample that is an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<[usize; 3]>,
    /// What is summed over the samples.
    pub loss: Loss,
    /// How products of weights and activations are written.
    pub products: Products,
    /// Where the samples come from, if it is a data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Source>,
    /// Which part of the data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<Select>,
    /// Where the samples come from, if they are images of digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Images>,
    /// The samples themselves.
    #[serde(default, rename = "sample", skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
    /// The network, first layer to last.
    #[serde(rename = "layer")]
    pub layers: Vec<Layer>,
    /// Which features the outputs have to follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monotone: Option<Monotone>,
    /// What else the network has to satisfy.
    #[serde(default, rename = "constraint", skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// Who solves it, and for how long.
    #[serde(default)]
    pub solver: Solver,
    /// Gradient training of the same network, to start from and to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient: Option<Gradient>,
    /// Further trainings with other penalties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<ElasticNetPath>,
}

/// `[select]`: which part of the data set is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Select {
    /// The inputs, by the names that a model file gives them (`race=Hispanic`); all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
    /// Which of the rows to fit on.
    pub rows: Rows,
    /// Seed of the draw, where `rows` is a number.
    #[serde(default)]
    pub seed: u64,
}

/// Rows of a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Rows {
    /// So many, drawn without replacement.
    Drawn(usize),
    /// These, by their number in the file, counted from 0 without the header.
    Listed(Vec<usize>),
}

/// `[images]`: handwritten digits of MNIST, made smaller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// The digits to tell apart, in the order of the classes.
    pub digits: Vec<u8>,
    /// Rows and columns of an image; a divisor of 28.
    pub side: usize,
    /// How many of each digit are drawn.
    pub each: usize,
    /// Seed of the draw.
    #[serde(default)]
    pub seed: u64,
}

/// `[[sample]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The inputs.
    pub x: Vec<f64>,
    /// The class, counted from 0, or what the outputs should be.
    pub y: Answer,
}

/// One number, or one for each output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    One(f64),
    Each(Vec<f64>),
}

/// `[[layer]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Layer {
    Dense(Parameters),
    Convolution(Parameters),
    MaxPool(Window),
    AveragePool(Window),
    Flatten {},
    Relu {},
    Step {
        /// A power of two.
        margin: f64,
    },
    Gate {
        /// Of every open channel.
        cost: f64,
    },
    Optional {
        /// Of keeping the layers.
        cost: f64,
        layers: Vec<Layer>,
    },
}

/// The trained part of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Number of units, or of filters.
    pub outputs: usize,
    /// What the weights may be.
    pub weights: Domain,
    /// What the biases may be; as the weights, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub biases: Option<Domain>,
    /// Cost of each weight's absolute value.
    #[serde(default)]
    pub l1: f64,
    /// Cost of each weight's square.
    #[serde(default)]
    pub l2: f64,
    /// What may be switched off, and what it costs where it is not.
    #[serde(default)]
    pub gates: Gates,
    /// Of a convolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// What weights may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Domain {
    /// Every number from the first to the second.
    Real([f64; 2]),
    /// The whole numbers from the first to the second.
    Integers([i32; 2]),
    /// `lower + step k` for `k` from 0 to `steps`.
    Grid { lower: f64, step: f64, steps: u32 },
    /// These numbers, one for each weight.
    Fixed(Vec<f64>),
}

/// A window that slides over an image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub height: usize,
    pub width: usize,
    #[serde(default = "one")]
    pub stride: usize,
    #[serde(default)]
    pub padding: usize,
}

fn one() -> usize {
    1
}

/// `[monotone]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monotone {
    /// How it is asked for.
    pub form: Form,
    /// Directions by the names of features; those of the manifest if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<BTreeMap<String, Direction>>,
    /// With `form = "certified"`, the largest number of trainings before the sign form has to do.
    #[serde(default = "default_rounds")]
    pub rounds: usize,
}

fn default_rounds() -> usize {
    20
}

/// How a network is made monotone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// By the signs of the weights: sufficient, not necessary.
    Sign,
    /// By derivatives at points where branch and bound finds a violation, until it finds none.
    Certified,
}

/// `[[constraint]]`; layers with weights, units and inputs are counted from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Constraint {
    /// A weight lies between two numbers.
    Weight { layer: usize, unit: usize, input: usize, lower: f64, upper: f64 },
    /// An output at a point lies between two numbers.
    Output {
        /// In the units of the network.
        at: Vec<f64>,
        #[serde(default = "one")]
        output: usize,
        lower: f64,
        upper: f64,
    },
    /// At most so many inputs of the first layer are used; needs `gates.inputs` there.
    AtMostInputs { count: usize },
    /// At most so many units of a layer are used; needs `gates.units` there.
    AtMostUnits { layer: usize, count: usize },
}

/// `[solver]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Solver {
    pub name: SolverName,
    /// Wall-clock time of one training.
    pub time_limit_s: f64,
    /// A network whose objective is within this of the bound counts as optimal.
    pub gap_tol: f64,
    /// Time for a proof of the bound that trusts no solver; 0 for none.
    pub proof_time_limit_s: f64,
}

impl Default for Solver {
    fn default() -> Self {
        let training::Options { time_limit_s, gap_tol, proof_time_limit_s, .. } = training::Options::default();
        Self { name: SolverName::Cbc, time_limit_s, gap_tol, proof_time_limit_s }
    }
}

/// Who solves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SolverName {
    /// COIN-OR CBC.
    Cbc,
    /// microlp, in pure Rust; for small problems.
    Microlp,
    /// HiGHS; cargo feature `highs`.
    Highs,
}

impl SolverName {
    /// The solver itself, if it is compiled in.
    pub fn get(self) -> Option<&'static dyn milp::solver::Solver> {
        match self {
            Self::Cbc => Some(&milp::solver::Cbc),
            Self::Microlp => Some(&milp::solver::Microlp),
            #[cfg(feature = "highs")]
            Self::Highs => Some(&milp::solver::Highs),
            #[cfg(not(feature = "highs"))]
            Self::Highs => None,
        }
    }
}

/// `[gradient]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gradient {
    /// Number of random initial points.
    pub starts: u32,
    /// Steps of Adam from each.
    pub steps: u32,
    /// Whether the search for the optimum begins with the best of them.
    pub warm_start: bool,
}

impl Default for Gradient {
    fn default() -> Self {
        Self { starts: 20, steps: 2000, warm_start: true }
    }
}

/// `[path]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElasticNetPath {
    /// What `l1` becomes in every layer where it is above 0.
    pub l1: Vec<f64>,
}

impl Config {
    /// Reads a configuration file and applies `key=value` overrides. Whether a programme can be made of it is seen only with the
    /// samples.
    ///
    /// # Errors
    /// As those of the other configurations.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut config: Self = read(path, overrides)?;
        if let Some(data) = &mut config.data {
            data.manifest = manifest_path(path, &data.manifest);
        }
        config.check().map_err(|message| Error::Config { place: path.display().to_string(), message })?;
        Ok(config)
    }

    /// The resolved configuration as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration of plain values")
    }

    fn check(&self) -> std::result::Result<(), String> {
        check_name(&self.name)?;
        let sources = [self.data.is_some(), self.images.is_some(), !self.samples.is_empty()];
        if sources.iter().filter(|given| **given).count() != 1 {
            return Err(
                "expected samples from one place: a table [data], a table [images], or [[sample]] tables".into()
            );
        }
        if self.data.is_some() != self.select.is_some() {
            return Err(
                "[data] and [select] belong together: a data set, and which of its rows, as in rows = 16".into()
            );
        }
        if self.layers.is_empty() {
            return Err("expected at least one table [[layer]]".into());
        }
        if self.shape.is_some() && self.samples.is_empty() {
            return Err("shape is for [[sample]] tables; leave it out".into());
        }
        let Solver { name, time_limit_s, gap_tol, proof_time_limit_s } = self.solver;
        let numbers = [
            ("solver.time_limit_s", time_limit_s, "above 0", time_limit_s > 0.0),
            ("solver.gap_tol", gap_tol, "above 0", gap_tol > 0.0),
            ("solver.proof_time_limit_s", proof_time_limit_s, "from 0 on", proof_time_limit_s >= 0.0),
        ];
        for (key, value, expected, holds) in numbers {
            if !(value.is_finite() && holds) {
                return Err(format!("{key} must be a finite number {expected}, found {value}"));
            }
        }
        if name.get().is_none() {
            return Err("solver.name = \"highs\" is not compiled in; build with --features highs".into());
        }
        if self.gradient.as_ref().is_some_and(|gradient| gradient.starts == 0 || gradient.steps == 0) {
            return Err("gradient.starts and gradient.steps must be at least 1; leave [gradient] out for none".into());
        }
        let path = self.path.iter().flat_map(|path| &path.l1);
        if let Some(l1) = path.clone().find(|l1| !(l1.is_finite() && **l1 >= 0.0)) {
            return Err(format!("path.l1 must hold finite numbers from 0 on, found {l1}"));
        }
        if path.count() > 0 && !penalised(&self.layers) {
            return Err("[path] changes l1 where it is above 0, and it is 0 in every layer; give one an l1".into());
        }
        self.layers().map(drop)
    }

    /// The layers as the programme takes them.
    pub fn layers(&self) -> std::result::Result<Vec<training::Layer>, String> {
        self.layers.iter().map(Layer::resolve).collect()
    }

    /// The constraints but for monotone features, on a network with inputs of this shape.
    pub fn constraints(&self, shape: Shape) -> std::result::Result<Vec<training::Constraint>, String> {
        self.constraints.iter().map(|constraint| constraint.resolve(&self.layers, shape)).collect()
    }

    /// Whether the network has to satisfy anything.
    pub fn is_constrained(&self) -> bool {
        self.monotone.is_some() || !self.constraints.is_empty()
    }

    /// The settings of one training.
    pub fn options(&self) -> training::Options {
        let Solver { time_limit_s, gap_tol, proof_time_limit_s, .. } = self.solver;
        training::Options { time_limit_s, gap_tol, proof_time_limit_s, start: None }
    }
}

/// Whether a file is a configuration of this kind: it has tables `[[layer]]`. What is wrong with it is said elsewhere.
pub fn is_meant_by(path: &Path) -> bool {
    let table = fs::read_to_string(path).ok().and_then(|text| toml::from_str::<toml::Table>(&text).ok());
    table.is_some_and(|table| table.contains_key("layer"))
}

fn penalised(layers: &[Layer]) -> bool {
    layers.iter().any(|layer| match layer {
        Layer::Dense(parameters) | Layer::Convolution(parameters) => parameters.l1 > 0.0,
        Layer::Optional { layers, .. } => penalised(layers),
        _ => false,
    })
}

impl Layer {
    fn resolve(&self) -> std::result::Result<training::Layer, String> {
        Ok(match self {
            Self::Dense(parameters) if parameters.window.is_some() => {
                return Err("a dense layer has no window; make its kind \"convolution\"".into());
            }
            Self::Dense(parameters) => training::Layer::Dense(parameters.resolve()?),
            Self::Convolution(parameters) => {
                let window =
                    parameters.window.ok_or("a convolution needs a window, as in { height = 2, width = 2 }")?;
                training::Layer::Convolution(window.into(), parameters.resolve()?)
            }
            Self::MaxPool(window) => training::Layer::MaxPool((*window).into()),
            Self::AveragePool(window) => training::Layer::AveragePool((*window).into()),
            Self::Flatten {} => training::Layer::Flatten,
            Self::Relu {} => training::Layer::Relu,
            Self::Step { margin } => training::Layer::Step { margin: *margin },
            Self::Gate { cost } => training::Layer::Gate(*cost),
            Self::Optional { cost, layers } => {
                let layers = layers.iter().map(Self::resolve).collect::<std::result::Result<_, _>>()?;
                training::Layer::Optional { cost: *cost, layers }
            }
        })
    }
}

impl Parameters {
    fn resolve(&self) -> std::result::Result<training::Parameters, String> {
        let biases = match (&self.biases, &self.weights) {
            (Some(biases), _) => biases,
            (None, Domain::Fixed(_)) => return Err("fixed weights say nothing about biases; give `biases` too".into()),
            (None, weights) => weights,
        };
        Ok(training::Parameters {
            outputs: self.outputs,
            weights: self.weights.resolve()?,
            biases: biases.resolve()?,
            l1: self.l1,
            l2: self.l2,
            gates: self.gates,
        })
    }
}

impl Domain {
    fn resolve(&self) -> std::result::Result<WeightDomain, String> {
        Ok(match self {
            Self::Real([lower, upper]) => WeightDomain::Real { lower: *lower, upper: *upper },
            Self::Integers([lower, upper]) if lower > upper => {
                return Err(format!("integers = [{lower}, {upper}]: expected the smaller number first"));
            }
            Self::Integers([lower, upper]) => WeightDomain::integers(*lower, *upper),
            Self::Grid { lower, step, steps } => WeightDomain::Grid { lower: *lower, step: *step, steps: *steps },
            Self::Fixed(values) => WeightDomain::Fixed(values.clone()),
        })
    }
}

impl From<Window> for certificate::Window {
    fn from(Window { height, width, stride, padding }: Window) -> Self {
        Self { height, width, stride, padding }
    }
}

impl Constraint {
    fn resolve(&self, layers: &[Layer], shape: Shape) -> std::result::Result<training::Constraint, String> {
        let from_zero = |what: &str, number: usize| {
            number.checked_sub(1).ok_or_else(|| format!("[[constraint]]: {what} is counted from 1, found 0"))
        };
        Ok(match self {
            Self::Weight { layer, unit, input, lower, upper } => training::Constraint::Weight {
                layer: from_zero("layer", *layer)?,
                unit: from_zero("unit", *unit)?,
                input: from_zero("input", *input)?,
                lower: *lower,
                upper: *upper,
            },
            Self::Output { at, output, lower, upper } => training::Constraint::Output {
                point: at.clone(),
                output: from_zero("output", *output)?,
                lower: *lower,
                upper: *upper,
            },
            Self::AtMostInputs { count } => {
                let inputs = if matches!(layers[0], Layer::Convolution(_)) { shape.channels } else { shape.size() };
                let gates = (0..inputs).map(|input| training::Gate::Input { layer: 0, input }).collect();
                training::Constraint::AtMost { gates, count: *count }
            }
            Self::AtMostUnits { layer, count } => {
                let k = from_zero("layer", *layer)?;
                let units =
                    outputs(layers).get(k).copied().ok_or(format!("[[constraint]]: there is no layer {layer}"))?;
                let gates = (0..units).map(|unit| training::Gate::Unit { layer: k, unit }).collect();
                training::Constraint::AtMost { gates, count: *count }
            }
        })
    }
}

/// Number of units of each layer with weights.
pub fn outputs(layers: &[Layer]) -> Vec<usize> {
    let of = |layer: &Layer| match layer {
        Layer::Dense(parameters) | Layer::Convolution(parameters) => vec![parameters.outputs],
        Layer::Optional { layers, .. } => outputs(layers),
        _ => Vec::new(),
    };
    layers.iter().flat_map(of).collect()
}
