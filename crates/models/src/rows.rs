//! Passes over a matrix, block by block, so that the second pass finds the first one's rows in cache.

use tch::{Device, Tensor};

/// What the tensors of one block may occupy together: half of a usual second-level cache, per thread.
const CACHE_BYTES: usize = 1 << 20;

/// Ranges `(start, length)` that cover the `rows` of tensors with `bytes_per_row` in all.
///
/// On a GPU there is one: a kernel launch costs more there than a pass over memory saves.
pub fn blocks(rows: i64, bytes_per_row: usize, device: Device) -> impl Iterator<Item = (i64, i64)> {
    let length = match device {
        Device::Cpu => {
            let cache = CACHE_BYTES * tch::get_num_threads().max(1) as usize;
            (cache / bytes_per_row.max(1)).max(1) as i64
        }
        _ => rows.max(1),
    };
    (0..rows).step_by(length as usize).map(move |start| (start, length.min(rows - start)))
}

/// `x [.., n]` as rows `[T, n]`, contiguous.
pub fn flat(x: &Tensor) -> Tensor {
    let features = *x.size().last().expect("an activation has a feature axis");
    x.contiguous().view([-1, features])
}

/// Bytes of one row of `x [T, n]`.
pub fn bytes(x: &Tensor) -> usize {
    x.size()[1] as usize * x.kind().elt_size_in_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_row_once() {
        for (rows, bytes) in [(0, 4), (1, 1 << 30), (10_000, 4096), (7, 0)] {
            let mut next = 0;
            for (start, length) in blocks(rows, bytes, Device::Cpu) {
                assert_eq!(start, next);
                assert!(length > 0);
                next += length;
            }
            assert_eq!(next, rows);
        }
    }
}
