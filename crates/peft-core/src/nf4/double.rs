//! Scales of blocks, and their own quantization.

use tch::{Kind, Tensor};

use super::codebook::{dynamic_map, nearest};

/// `absmax [blocks]`.
#[derive(Debug)]
pub(super) enum Scales {
    /// f32.
    Plain(Tensor),
    /// 8 bits each.
    Nested(Nested),
}

/// `absmax = map[codes]·absmax' + offset`, `absmax'` for every 256 blocks.
#[derive(Debug)]
pub(super) struct Nested {
    /// `[blocks]`, uint8.
    pub codes: Tensor,
    /// `[ceil(blocks / 256)]`, f32.
    pub absmax: Tensor,
    /// `[256]`, f32.
    pub map: Tensor,
    /// Their mean, taken off before quantization.
    pub offset: f64,
    /// Blocks that share one `absmax`.
    pub block_size: i64,
}

const NESTED_BLOCK: i64 = 256;

impl Scales {
    /// As f32, `[blocks]`.
    pub fn values(&self) -> Tensor {
        match self {
            Self::Plain(absmax) => absmax.shallow_clone(),
            Self::Nested(nested) => nested.values(),
        }
    }

    /// Bytes of storage.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Plain(absmax) => 4 * absmax.numel(),
            Self::Nested(nested) => nested.codes.numel() + 4 * (nested.absmax.numel() + nested.map.numel()),
        }
    }

    /// Another handle.
    pub fn share(&self) -> Self {
        match self {
            Self::Plain(absmax) => Self::Plain(absmax.shallow_clone()),
            Self::Nested(nested) => Self::Nested(Nested {
                codes: nested.codes.shallow_clone(),
                absmax: nested.absmax.shallow_clone(),
                map: nested.map.shallow_clone(),
                ..*nested
            }),
        }
    }
}

impl Nested {
    /// Quantizes `absmax [blocks]`, f32.
    pub fn quantize(absmax: &Tensor) -> Self {
        let offset = absmax.mean(Kind::Float);
        let (scaled, nested) = normalized(&(absmax - &offset), NESTED_BLOCK);
        let map = dynamic_map(absmax.device());
        let codes = nearest(&scaled, &map).to_kind(Kind::Uint8);
        Self { codes, absmax: nested, map, offset: offset.double_value(&[]), block_size: NESTED_BLOCK }
    }

    fn values(&self) -> Tensor {
        let levels = self.map.index_select(0, &self.codes.to_kind(Kind::Int));
        scale_blocks(levels, &self.absmax, self.block_size) + self.offset
    }
}

/// `values [n]` divided by the largest magnitude of their block, and these magnitudes, `[ceil(n / block_size)]`.
pub(super) fn normalized(values: &Tensor, block_size: i64) -> (Tensor, Tensor) {
    let count = values.size()[0];
    let blocks = blocks_of(count, block_size);
    let padded = values.constant_pad_nd([0, blocks * block_size - count]).view([blocks, block_size]);
    let absmax = padded.abs().amax([1], false);
    // A block of zeros stays one; the product is that of bitsandbytes, bit for bit.
    let inverse = absmax.reciprocal().masked_fill(&absmax.eq(0.0), 0.0);
    ((padded * inverse.unsqueeze(1)).view(-1).narrow(0, 0, count), absmax)
}

/// How many blocks hold `count` values.
pub(super) fn blocks_of(count: i64, block_size: i64) -> i64 {
    (count + block_size - 1) / block_size
}

/// Multiplies each block of `values [n]` with its scale.
pub(super) fn scale_blocks(values: Tensor, scales: &Tensor, block_size: i64) -> Tensor {
    let count = values.size()[0];
    let whole = count / block_size;
    let _ = values
        .narrow(0, 0, whole * block_size)
        .view([whole, block_size])
        .g_mul_(&scales.narrow(0, 0, whole).unsqueeze(1));
    if whole * block_size < count {
        let rest = count - whole * block_size;
        let _ = values.narrow(0, whole * block_size, rest).g_mul_(&scales.narrow(0, whole, 1));
    }
    values
}
