use std::collections::HashMap;

use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::data::DataSet;
use crate::training::{Candidate, Epoch, Trainer, Training};
use crate::{Error, Result};

/// What a checkpoint holds beside the tensors. Random numbers are drawn anew for every epoch, so the epoch is the whole
/// random state.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    next_epoch: u32,
    last: Option<Epoch>,
    candidates: Vec<Epoch>,
    /// For each block.
    witnesses: Vec<usize>,
}

const VERSION: u32 = 3;
const HEADER: &str = "checkpoint";

impl<'a> Trainer<'a> {
    /// The whole state after the last epoch: parameters, optimiser, candidates and witnesses, as one safetensors file.
    ///
    /// # Errors
    /// If Burn cannot encode its records.
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        let broken = |e: &dyn std::fmt::Display| Error::Checkpoint(e.to_string());
        let parameters = self.chain.parameters.clone().into_record().into_bytes().map_err(|e| broken(&e))?;
        let optimizer = self.optimizer.into_bytes().map_err(|e| broken(&e))?;
        let header = Header {
            version: VERSION,
            next_epoch: self.next_epoch,
            last: self.last.as_ref().map(|last| last.epoch.clone()),
            candidates: self.candidates.iter().map(|c| c.epoch.clone()).collect(),
            witnesses: self.witnesses.iter().map(Vec::len).collect(),
        };
        let candidates: Vec<u8> =
            self.candidates.iter().flat_map(|c| c.network.to_flat()).flat_map(f32::to_le_bytes).collect();
        let view = |bytes| TensorView::new(Dtype::U8, vec![<[u8]>::len(bytes)], bytes).map_err(|e| broken(&e));
        let average: Vec<u8> = self.average.iter().flat_map(|w| w.to_le_bytes()).collect();
        let witnesses: Vec<u8> = self.witnesses.iter().flatten().flatten().flat_map(|x| x.to_le_bytes()).collect();
        let tensors = [
            ("average", view(&average)?),
            ("candidates", view(&candidates)?),
            ("optimizer", view(&optimizer)?),
            ("parameters", view(&parameters)?),
            ("witnesses", view(&witnesses)?),
        ];
        let header = serde_json::to_string(&header).map_err(|e| broken(&e))?;
        safetensors::serialize(tensors, Some(HashMap::from([(HEADER.into(), header)]))).map_err(|e| broken(&e))
    }

    /// A trainer that continues where [`checkpoint`](Self::checkpoint) was taken. `settings` and `data` must be those
    /// of the trainer that took it.
    ///
    /// # Errors
    /// If the bytes are no checkpoint of such a trainer.
    pub fn resume(settings: Training, data: &'a DataSet, bytes: &[u8]) -> Result<Self> {
        let broken = |e: &dyn std::fmt::Display| Error::Checkpoint(format!("{e}; delete it to train this round anew"));
        let mut trainer = Self::new(settings, data)?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| broken(&e))?;
        let header = metadata.metadata().as_ref().and_then(|m| m.get(HEADER)).ok_or_else(|| broken(&"no header"))?;
        let header: Header = serde_json::from_str(header).map_err(|e| broken(&e))?;
        if header.version != VERSION {
            return Err(broken(&format!("version {} instead of {VERSION}", header.version)));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| broken(&e))?;
        let part = |name: &str| tensors.tensor(name).map(|t| t.data().to_vec()).map_err(|e| broken(&e));
        let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(part("parameters")?)).map_err(|e| broken(&e))?;
        let record_of_optimizer = OptimizerRecord::from_bytes(Bytes::from_bytes_vec(part("optimizer")?));
        trainer.chain.parameters = trainer.chain.parameters.clone().load_record(record);
        trainer.optimizer = trainer.optimizer.load_record(record_of_optimizer.map_err(|e| broken(&e))?);
        trainer.next_epoch = header.next_epoch;

        let template = trainer.chain.to_network().ok_or_else(|| broken(&"a parameter is not finite"))?;
        let numbers = |name: &str| -> Result<Vec<f32>> {
            let bytes = part(name)?;
            Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        };
        trainer.average = numbers("average")?;
        let points = numbers("witnesses")?;
        let mut rest = points.as_slice();
        let widths: Vec<_> = trainer.chain.shape().blocks.iter().map(|block| block.inputs.len()).collect();
        if header.witnesses.len() != widths.len() {
            return Err(broken(&"the witnesses are those of another architecture"));
        }
        for ((pool, count), width) in trainer.witnesses.iter_mut().zip(&header.witnesses).zip(widths) {
            let (own, others) = rest
                .split_at_checked(count.saturating_mul(width))
                .ok_or_else(|| broken(&"the witnesses are cut short"))?;
            *pool = own.chunks_exact(width).map(<[f32]>::to_vec).collect();
            rest = others;
        }
        let numbers = numbers("candidates")?;
        let size = template.to_flat().len();
        if numbers.len() != size * header.candidates.len() || trainer.average.len() != size {
            return Err(broken(&"the candidates or the average are cut short"));
        }
        let networks = numbers.chunks_exact(size).map(|flat| template.with_flat(flat));
        let network = |flat: &[f32]| template.with_flat(flat).map_err(|e| broken(&e));
        trainer.last = match header.last {
            Some(epoch) => Some(Candidate { epoch, network: network(&trainer.average)? }),
            None => None,
        };
        let candidates = header.candidates.into_iter().zip(networks);
        trainer.candidates = candidates
            .map(|(epoch, network)| Ok(Candidate { epoch, network: network.map_err(|e| broken(&e))? }))
            .collect::<Result<_>>()?;
        Ok(trainer)
    }
}
