use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What the training computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// `burn-flex`: the default, plain CPU.
    Cpu,
    /// `burn-ndarray`: a second CPU backend, to compare with.
    Ndarray,
    /// `burn-wgpu`: any GPU with a Vulkan, Metal or DirectX driver; cargo feature `wgpu`.
    Wgpu,
    /// `burn-cuda`: NVIDIA GPUs; cargo feature `cuda`.
    Cuda,
}

impl Backend {
    /// The device, with autodiff.
    ///
    /// # Errors
    /// If the backend is not compiled in.
    pub fn device(self) -> Result<Device> {
        let device = match self {
            Self::Cpu => Device::flex(),
            // Deprecated upstream in favour of flex; kept for comparison as long as Burn carries it.
            #[allow(deprecated)]
            Self::Ndarray => Device::ndarray(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
            #[cfg(not(feature = "wgpu"))]
            Self::Wgpu => return Err(Error::BackendNotCompiledIn("wgpu")),
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::cuda(0),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda => return Err(Error::BackendNotCompiledIn("cuda")),
        };
        Ok(device.autodiff())
    }
}
