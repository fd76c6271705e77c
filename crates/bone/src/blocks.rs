//! Sums over the shards of a row, and their transpose: repeating a block along a row. The last shard may be cut short.

use tch::{Kind, Tensor};

/// `S_j = Σ x_i over i ≡ j (mod width)`; `x [T, n] -> [T, width]`, n ≥ width, summed in `kind`.
pub fn block_sums(x: &Tensor, width: i64, kind: Kind) -> Tensor {
    let (tokens, features) = (x.size()[0], x.size()[1]);
    if features == width {
        return x.to_kind(kind);
    }
    let (shards, rest) = (features / width, features % width);
    let whole = x.narrow(1, 0, shards * width).view([tokens, shards, width]);
    let sums = whole.sum_dim_intlist(1, false, kind);
    if rest > 0 {
        let _ = sums.narrow(1, 0, rest).g_add_(&x.narrow(1, shards * width, rest));
    }
    sums
}

/// `block [T, width] -> [T, features]`: column i holds column i mod width.
pub fn tiled(block: &Tensor, features: i64) -> Tensor {
    let width = block.size()[1];
    if features == width {
        return block.shallow_clone();
    }
    block.repeat([1, (features + width - 1) / width]).narrow(1, 0, features)
}

/// `y += tiled(block)` in place; `y [T, n]`.
pub fn add_tiles(y: &mut Tensor, block: &Tensor) {
    let (tokens, features) = (y.size()[0], y.size()[1]);
    let width = block.size()[1];
    let (shards, rest) = (features / width, features % width);
    let _ = y.narrow(1, 0, shards * width).view([tokens, shards, width]).g_add_(&block.unsqueeze(1));
    if rest > 0 {
        let _ = y.narrow(1, shards * width, rest).g_add_(&block.narrow(1, 0, rest));
    }
}
