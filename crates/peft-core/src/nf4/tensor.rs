//! One quantized weight.

use autograd::Function;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::codebook::{LEVELS, ZERO, nearest, pairs};
use super::double::{Nested, Scales, blocks_of, normalized, scale_blocks};
use super::{Nf4, linear::Nf4Linear};
use crate::{Error, FrozenWeight, Result, StateDict};

/// `W [out, in]` as codes and scales.
#[derive(Debug)]
pub struct Nf4Tensor {
    /// Two codes a byte, the first in the high half; `[ceil(out·in / 2), 1]`, uint8.
    packed: Tensor,
    scales: Scales,
    /// What a byte stands for.
    pairs: Tensor,
    shape: [i64; 2],
    block_size: i64,
    kind: Kind,
}

/// In a checkpoint, the weight `<name>` has its shape and block size beside it as `<name>` + this, JSON as bytes.
pub const STATE_SUFFIX: &str = ".quant_state.bitsandbytes__nf4";

const ABSMAX: &str = ".absmax";
const MAP: &str = ".quant_map";
const NESTED_ABSMAX: &str = ".nested_absmax";
const NESTED_MAP: &str = ".nested_quant_map";

/// Whether `name` is a tensor that stands beside a quantized weight in a checkpoint.
pub fn is_part(name: &str) -> bool {
    [ABSMAX, MAP, NESTED_ABSMAX, NESTED_MAP, STATE_SUFFIX].iter().any(|suffix| name.ends_with(suffix))
}

/// What bitsandbytes writes as `quant_state`.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    quant_type: String,
    blocksize: i64,
    dtype: String,
    shape: Vec<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nested_blocksize: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nested_dtype: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nested_offset: Option<f64>,
}

impl Nf4Tensor {
    pub(super) fn quantize(weight: &Tensor, format: Nf4) -> Self {
        let device = weight.device();
        let values = weight.detach().to_kind(Kind::Float).contiguous().view(-1);
        let (scaled, absmax) = normalized(&values, format.block_size);
        let codes = nearest(&scaled, &Tensor::from_slice(&LEVELS).to_device(device)).to_kind(Kind::Uint8);
        let odd = codes.size()[0] % 2;
        let zero = Tensor::full([odd], ZERO, (Kind::Uint8, device));
        let halves = Tensor::cat(&[codes, zero], 0).view([-1, 2]);
        let packed = halves.select(1, 0) * 16 + halves.select(1, 1);
        let scales = if format.double_quantization {
            Scales::Nested(Nested::quantize(&absmax))
        } else {
            Scales::Plain(absmax)
        };
        let size = weight.size();
        Self {
            packed: packed.unsqueeze(1),
            scales,
            pairs: pairs(device),
            shape: [size[0], size[1]],
            block_size: format.block_size,
            kind: weight.kind(),
        }
    }

    /// The weight `name` as a checkpoint of bitsandbytes holds it; `kind` is that of what is computed with it.
    ///
    /// # Errors
    /// [`Error::Format`] if a part is missing or malformed.
    pub fn read(name: &str, tensors: &StateDict, kind: Kind, device: Device) -> Result<Self> {
        let part = |suffix: &str| {
            let part = format!("{name}{suffix}");
            tensors.get(&part).ok_or_else(|| Error::format(name, format!("a 4-bit weight without `{part}`")))
        };
        let bytes = Vec::<u8>::try_from(part(STATE_SUFFIX)?.view(-1)).expect("a byte tensor");
        let state: State = serde_json::from_slice(&bytes)
            .map_err(|error| Error::format(name, format!("`{name}{STATE_SUFFIX}`: {error}")))?;
        let &[rows, columns] = state.shape.as_slice() else {
            return Err(Error::format(name, format!("a 4-bit weight of shape {:?}", state.shape)));
        };
        let packed = part("")?;
        let count = rows * columns;
        let blocks = blocks_of(count, state.blocksize.max(1));
        if packed.numel() as i64 != (count + 1) / 2 || part(ABSMAX)?.numel() as i64 != blocks {
            let reason = format!(
                "{} bytes and {} scales do not fit shape {:?} in blocks of {}",
                packed.numel(),
                part(ABSMAX)?.numel(),
                state.shape,
                state.blocksize
            );
            return Err(Error::format(name, reason));
        }
        if state.quant_type != "nf4"
            || Vec::<f32>::try_from(part(MAP)?.view(-1)).is_ok_and(|map| map != LEVELS)
        {
            return Err(Error::format(name, format!("`{}` with another table than NF4's", state.quant_type)));
        }
        let to = |tensor: &Tensor| tensor.to_device(device).copy();
        let scales = match state.nested_offset {
            None => Scales::Plain(to(part(ABSMAX)?).view(-1)),
            Some(offset) => Scales::Nested(Nested {
                codes: to(part(ABSMAX)?).view(-1),
                absmax: to(part(NESTED_ABSMAX)?).view(-1),
                map: to(part(NESTED_MAP)?).view(-1),
                offset,
                block_size: state.nested_blocksize.unwrap_or(256),
            }),
        };
        Ok(Self {
            packed: to(packed).view([-1, 1]),
            scales,
            pairs: pairs(device),
            shape: [rows, columns],
            block_size: state.blocksize,
            kind,
        })
    }

    /// `[out, in]`.
    pub fn shape(&self) -> [i64; 2] {
        self.shape
    }

    /// The codes, one a byte, `[out·in]` (and one of zero behind an odd number).
    pub fn codes(&self) -> Tensor {
        let high = self.packed.divide_scalar_mode(16, "floor");
        let low = &self.packed - &high * 16;
        Tensor::cat(&[high, low], 1).to_kind(Kind::Uint8).view(-1)
    }

    /// The scale of each block, f32.
    pub fn absmax(&self) -> Tensor {
        self.scales.values()
    }

    /// What double quantization takes off each `absmax`.
    pub fn offset(&self) -> Option<f64> {
        match &self.scales {
            Scales::Plain(_) => None,
            Scales::Nested(nested) => Some(nested.offset),
        }
    }

    pub(super) fn another(&self) -> Self {
        Self {
            packed: self.packed.shallow_clone(),
            scales: self.scales.share(),
            pairs: self.pairs.shallow_clone(),
            ..*self
        }
    }

    fn state(&self) -> State {
        let nested = match &self.scales {
            Scales::Plain(_) => None,
            Scales::Nested(nested) => Some(nested),
        };
        State {
            quant_type: "nf4".to_owned(),
            blocksize: self.block_size,
            dtype: if self.kind == Kind::BFloat16 { "bfloat16" } else { "float32" }.to_owned(),
            shape: self.shape.to_vec(),
            nested_blocksize: nested.map(|nested| nested.block_size),
            nested_dtype: nested.map(|_| "float32".to_owned()),
            nested_offset: nested.map(|nested| nested.offset),
        }
    }
}

impl FrozenWeight for Nf4Tensor {
    fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let inputs: Vec<&Tensor> = std::iter::once(x).chain(bias).collect();
        Nf4Linear(self).apply1(&inputs).expect("a product is new")
    }

    fn grad_input(&self, dy: &Tensor) -> Tensor {
        dy.matmul(&self.dense())
    }

    fn as_dense(&self) -> Option<&Tensor> {
        None
    }

    fn dense(&self) -> Tensor {
        let indices = self.packed.view(-1).to_kind(Kind::Int);
        let levels = self.pairs.index_select(0, &indices).view_dtype(Kind::Float);
        let levels = levels.narrow(0, 0, self.shape[0] * self.shape[1]);
        scale_blocks(levels, &self.scales.values(), self.block_size).view(self.shape).to_kind(self.kind)
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn bytes(&self) -> u64 {
        (self.packed.numel() + self.scales.bytes()) as u64
    }

    fn share(&self) -> Box<dyn FrozenWeight> {
        Box::new(self.another())
    }

    fn stored(&self) -> Vec<(&'static str, Tensor)> {
        let state = serde_json::to_vec(&self.state()).expect("a state prints");
        let mut parts = vec![
            ("", self.packed.shallow_clone()),
            (MAP, Tensor::from_slice(&LEVELS)),
            (STATE_SUFFIX, Tensor::from_slice(&state)),
        ];
        match &self.scales {
            Scales::Plain(absmax) => parts.push((ABSMAX, absmax.shallow_clone())),
            Scales::Nested(nested) => parts.extend([
                (ABSMAX, nested.codes.shallow_clone()),
                (NESTED_ABSMAX, nested.absmax.shallow_clone()),
                (NESTED_MAP, nested.map.shallow_clone()),
            ]),
        }
        parts
    }
}
