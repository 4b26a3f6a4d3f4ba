use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Activation, Affine, Block, Boundary, Direction, Domain, Error, Interval, MonotoneFeatures, Network, Result, Scale,
    Specification, write_atomically,
};

/// A trained network with what is needed to use it and to say what was proved about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The network, in scaled units.
    pub network: Network,
    /// One per input.
    pub features: Vec<ModelFeature>,
    /// Where the claim has to hold.
    pub domain: Domain,
    /// What the output means.
    pub target: Target,
}

/// An input of a model: its name, its direction and how the raw value becomes the network's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFeature {
    /// The column, or `column=value` for one member of a one-hot group.
    pub name: String,
    /// The direction in which every output has to follow it.
    pub direction: Direction,
    /// Raw value that becomes 0.
    pub minimum: f64,
    /// Raw value that becomes 1.
    pub maximum: f64,
    /// How the values between them are spread.
    #[serde(default, skip_serializing_if = "Scale::is_linear")]
    pub scale: Scale,
}

impl ModelFeature {
    /// A feature whose values from `minimum` to `maximum` are scaled in proportion.
    pub fn linear(name: impl Into<String>, direction: Direction, minimum: f64, maximum: f64) -> Self {
        Self { name: name.into(), direction, minimum, maximum, scale: Scale::Linear }
    }

    /// The raw value that the network's input `x` stands for.
    pub fn raw(&self, x: f64) -> f64 {
        self.scale.from_unit(Interval::new(self.minimum, self.maximum), x)
    }

    /// The network's input for a raw value.
    pub fn scaled(&self, raw: f64) -> f64 {
        self.scale.to_unit(Interval::new(self.minimum, self.maximum), raw)
    }
}

/// What the output of a model means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// The logit of the probability that `column` has the value `positive`.
    Binary {
        /// The target column.
        column: String,
        /// The value whose probability is predicted.
        positive: String,
    },
    /// `(column - minimum) / (maximum - minimum)`.
    Regression {
        /// The target column.
        column: String,
        /// Raw value that becomes 0.
        minimum: f64,
        /// Raw value that becomes 1.
        maximum: f64,
    },
    /// One output for each class; the largest says which.
    Classes {
        /// The target column.
        column: String,
        /// What the classes are called, in the order of the outputs.
        classes: Vec<String>,
    },
}

const VERSION: u32 = 1;
const FORMAT: &str = "monotone-network";
/// The one entry of the safetensors metadata; a single entry keeps the file's bytes reproducible.
const METADATA: &str = "model";
/// Larger files are refused before they are read.
const LARGEST: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    activations: Vec<Activation>,
    boundaries: Vec<Boundary>,
    features: Vec<ModelFeature>,
    domain: Domain,
    target: Target,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    sha256: String,
    header: Header,
}

impl Model {
    /// The directions of the inputs.
    pub fn monotone_features(&self) -> MonotoneFeatures {
        MonotoneFeatures(self.features.iter().map(|f| f.direction).collect())
    }

    /// What the file itself asks of the network: that every output follows the directions.
    pub fn specification(&self) -> Specification {
        self.monotone_features().into()
    }

    /// SHA-256 over everything that the file says: structure, features, domain and every bit of every weight.
    pub fn sha256(&self) -> String {
        let header = serde_json::to_string(&self.header()).expect("a header of plain numbers and strings");
        let mut hash = Sha256::new();
        hash.update((header.len() as u64).to_le_bytes());
        hash.update(header);
        for (name, shape, data) in self.tensors() {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            shape.iter().for_each(|side| hash.update((*side as u64).to_le_bytes()));
            hash.update(data);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Writes `model.safetensors`: weights as tensors `blocks.K.first.weight` and so on (`[outputs, inputs]`), all else
    /// as JSON in the metadata, with the hash.
    ///
    /// # Errors
    /// If a scaling does not increase or the file cannot be written; an old file is then untouched.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.check().map_err(|reason| Error::ModelFile { path: path.to_path_buf(), reason })?;
        let sealed = Sealed { sha256: self.sha256(), header: self.header() };
        let metadata = serde_json::to_string(&sealed).expect("a header of plain numbers and strings");
        let tensors = self.tensors();
        let view = |shape: &[usize], data| TensorView::new(Dtype::F32, shape.to_vec(), data).expect("shapes fit");
        let views = tensors.iter().map(|(name, shape, data)| (name.as_str(), view(shape, data)));
        let bytes = safetensors::serialize(views, Some(HashMap::from([(METADATA.into(), metadata)])))
            .expect("tensors fit their shapes");
        write_atomically(path, &bytes)
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, is cut short, of another version, inconsistent, or its hash does not fit.
    pub fn load(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let length = fs::metadata(path).map_err(io)?.len();
        let parsed = if length > LARGEST {
            Err(format!("{length} bytes; a model file has at most {LARGEST}"))
        } else {
            Self::parse(&fs::read(path).map_err(io)?)
        };
        parsed.map_err(|reason| Error::ModelFile { path: path.to_path_buf(), reason })
    }

    fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let text = |e: &dyn std::fmt::Display| format!("not a complete model file ({e}); export it again");
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| text(&e))?;
        let sealed = metadata.metadata().as_ref().and_then(|m| m.get(METADATA));
        let sealed = sealed.ok_or_else(|| format!("the metadata has no entry {METADATA:?}: not a {FORMAT} file"))?;
        let Sealed { sha256, header } = serde_json::from_str(sealed).map_err(|e| text(&e))?;
        if header.format != FORMAT || header.version != VERSION {
            let Header { format, version, .. } = header;
            return Err(format!("expected {FORMAT} version {VERSION}, found {format} version {version}"));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| text(&e))?;
        let blocks = header.activations.iter().enumerate().map(|(k, activation)| {
            let layer = |name: &str| read_layer(&tensors, &format!("blocks.{k}.{name}"));
            Block::new(layer("first")?, *activation, layer("second")?).map_err(|e| e.to_string())
        });
        let blocks = blocks.collect::<std::result::Result<_, _>>()?;
        let network = Network::new(blocks, header.boundaries).map_err(|e| e.to_string())?;
        if tensors.len() != 4 * network.blocks().len() {
            return Err(format!("{} tensors for {} blocks", tensors.len(), network.blocks().len()));
        }
        for (what, found) in [("features", header.features.len()), ("domain", header.domain.inputs())] {
            if found != network.inputs() {
                return Err(format!("{what}: {found} entries for {} inputs", network.inputs()));
            }
        }
        let model = Self { network, features: header.features, domain: header.domain, target: header.target };
        model.check()?;
        let found = model.sha256();
        if found != sha256 {
            return Err(format!("the content has hash {found}, the file says {sha256}: it was changed or damaged"));
        }
        Ok(model)
    }

    /// What the types alone do not ensure: scalings that increase, and no monotone feature in a one-hot group, where it
    /// cannot move alone.
    fn check(&self) -> std::result::Result<(), String> {
        let increases = |minimum: f64, maximum: f64| minimum.is_finite() && maximum.is_finite() && minimum < maximum;
        for feature in &self.features {
            if !increases(feature.minimum, feature.maximum) {
                let ModelFeature { name, minimum, maximum, .. } = feature;
                return Err(format!("feature {name}: expected minimum < maximum, found {minimum} and {maximum}"));
            }
        }
        if let Target::Regression { column, minimum, maximum } = &self.target
            && !increases(*minimum, *maximum)
        {
            return Err(format!("target {column}: expected minimum < maximum, found {minimum} and {maximum}"));
        }
        if let Target::Classes { column, classes } = &self.target
            && classes.len() != self.network.outputs()
        {
            return Err(format!("target {column}: {} classes for {} outputs", classes.len(), self.network.outputs()));
        }
        match self.domain.one_hot().iter().flatten().find(|j| self.features[**j].direction != Direction::Free) {
            Some(&j) => Err(format!("feature {} is monotone but in a one-hot group", self.features[j].name)),
            None => Ok(()),
        }
    }

    fn header(&self) -> Header {
        Header {
            format: FORMAT.into(),
            version: VERSION,
            activations: self.network.blocks().iter().map(Block::activation).collect(),
            boundaries: self.network.boundaries().to_vec(),
            features: self.features.clone(),
            domain: self.domain.clone(),
            target: self.target.clone(),
        }
    }

    /// Name, shape and little-endian bytes of every tensor.
    fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<u8>)> {
        let bytes = |numbers: &[f32]| numbers.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        let mut tensors = Vec::new();
        for (k, block) in self.network.blocks().iter().enumerate() {
            for (name, layer) in [("first", block.first()), ("second", block.second())] {
                let shape = vec![layer.outputs(), layer.inputs()];
                tensors.push((format!("blocks.{k}.{name}.weight"), shape, bytes(layer.weight())));
                tensors.push((format!("blocks.{k}.{name}.bias"), vec![layer.outputs()], bytes(layer.bias())));
            }
        }
        tensors
    }
}

fn read_layer(tensors: &SafeTensors, name: &str) -> std::result::Result<Affine, String> {
    let read = |part: &str, rank: usize| {
        let name = format!("{name}.{part}");
        let tensor = tensors.tensor(&name).map_err(|e| e.to_string())?;
        if tensor.dtype() != Dtype::F32 || tensor.shape().len() != rank {
            return Err(format!(
                "{name}: expected f32 of rank {rank}, found {:?} {:?}",
                tensor.dtype(),
                tensor.shape()
            ));
        }
        let numbers = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Ok((tensor.shape().to_vec(), numbers.collect::<Vec<_>>()))
    };
    let (shape, weight) = read("weight", 2)?;
    let (outputs, bias) = read("bias", 1)?;
    if shape[0] != outputs[0] {
        return Err(format!("{name}: {} rows of weights but {} biases", shape[0], outputs[0]));
    }
    Affine::new(shape[1], weight, bias).map_err(|e| format!("{name}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let layer = |inputs, outputs, scale: f32| {
            let weight = (0..inputs * outputs).map(|k| scale * (k as f32 - 2.5)).collect();
            Affine::new(inputs, weight, vec![0.125; outputs]).unwrap()
        };
        let block = |inputs| Block::new(layer(inputs, 3, 0.1), Activation::Relu, layer(3, 2, 0.7)).unwrap();
        let boundary = Boundary { activation: Activation::Clamp, monotone: vec![true, false] };
        let feature = |name: &str, direction, scale| ModelFeature {
            name: name.into(),
            direction,
            minimum: 0.0,
            maximum: 38.0,
            scale,
        };
        Model {
            network: Network::new(vec![block(2), block(2)], vec![boundary]).unwrap(),
            features: vec![
                feature("priors", Direction::Increasing, Scale::Symlog),
                feature("age", Direction::Free, Scale::Linear),
            ],
            domain: Domain::from_box(vec![Interval::new(0.0, 1.0); 2]).unwrap(),
            target: Target::Binary { column: "recid".into(), positive: "1".into() },
        }
    }

    #[test]
    fn a_saved_model_is_read_back_bit_for_bit_and_reproducibly() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
        model().save(&first).unwrap();
        let loaded = Model::load(&first).unwrap();
        assert_eq!(loaded, model());
        loaded.save(&second).unwrap();
        assert_eq!(fs::read(first).unwrap(), fs::read(second).unwrap());
    }

    /// Every byte of the file is either read back to the same model or rejected.
    #[test]
    fn a_flipped_byte_or_a_cut_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        model().save(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        for k in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[k] ^= 1 << (k % 8);
            if let Ok(read) = Model::parse(&changed) {
                assert_eq!(read, model(), "byte {k}");
            }
            assert!(Model::parse(&bytes[..k]).is_err(), "cut after {k} bytes");
        }
    }

    #[test]
    fn a_changed_weight_is_named_as_a_wrong_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        model().save(&path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let message = Model::load(&path).unwrap_err().to_string();
        assert!(message.contains("model.safetensors") && message.contains("hash"), "{message}");
    }

    /// With a falling scaling the certified claim would be the opposite of what its reader understands.
    #[test]
    fn a_scaling_that_does_not_increase_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (minimum, maximum) in [(38.0, 0.0), (1.0, 1.0), (0.0, f64::NAN)] {
            let mut model = model();
            (model.features[0].minimum, model.features[0].maximum) = (minimum, maximum);
            let message = model.save(&folder.path().join("m.safetensors")).unwrap_err().to_string();
            assert!(message.contains("priors"), "{message}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("model.safetensors");
        assert!(matches!(model().save(&path), Err(Error::Io { .. })));
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
