use tch::{Kind, Tensor};

use peft_core::SiteShape;

/// Positions of a sparse matrix in compressed rows, as files of the reference code hold them.
#[derive(Debug)]
pub struct Csr {
    /// Where each row starts among the values, `[out + 1]`, Int.
    pub row_offs: Tensor,
    /// Column of each value, `[nnz]`: Int16 where all columns fit, else Int.
    pub col_idx: Tensor,
    /// Rows by descending number of values, `[out]`, in the kind that all rows fit: an order for kernels that balance
    /// their load, which reading does not need.
    pub row_idx: Tensor,
}

/// The narrowest kind of the file format for indices below `bound`.
fn index_kind(bound: i64) -> Kind {
    if bound <= 1 << 15 { Kind::Int16 } else { Kind::Int }
}

impl Csr {
    /// From ascending flat positions in a matrix of `shape`.
    pub fn from_positions(positions: &Tensor, shape: SiteShape) -> Self {
        let SiteShape { out_features, in_features } = shape;
        let rows = positions.divide_scalar_mode(in_features, "floor");
        let counts = rows.bincount(None::<&Tensor>, out_features);
        let zero = Tensor::zeros([1], (Kind::Int64, positions.device()));
        Self {
            row_offs: Tensor::cat(&[zero, counts.cumsum(0, Kind::Int64)], 0).to_kind(Kind::Int),
            col_idx: positions.remainder(in_features).to_kind(index_kind(in_features)),
            row_idx: counts.argsort_stable(true, 0, true).to_kind(index_kind(out_features)),
        }
    }

    /// Ascending flat positions, `[nnz]` of kind Int64; or what is wrong with the indices.
    ///
    /// # Errors
    /// A sentence, if the indices are not those of a matrix of `shape` in compressed rows.
    pub fn positions(row_offs: &Tensor, col_idx: &Tensor, shape: SiteShape) -> Result<Tensor, String> {
        let SiteShape { out_features, in_features } = shape;
        let (offsets, columns) = (row_offs.to_kind(Kind::Int64), col_idx.to_kind(Kind::Int64));
        let nnz = columns.numel() as i64;
        if offsets.size() != [out_features + 1] {
            return Err(format!(
                "row_offs: expected {} entries, found {:?}",
                out_features + 1,
                offsets.size()
            ));
        }
        let counts = offsets.diff(1, 0, None::<&Tensor>, None::<&Tensor>);
        let ends = (offsets.int64_value(&[0]), offsets.int64_value(&[out_features]));
        if ends != (0, nnz) || counts.min().int64_value(&[]) < 0 {
            return Err(format!("row_offs does not ascend from 0 to the number of values, {nnz}"));
        }
        if nnz == 0 {
            return Ok(columns);
        }
        if columns.min().int64_value(&[]) < 0 || columns.max().int64_value(&[]) >= in_features {
            return Err(format!("col_idx holds a column outside 0..{in_features}"));
        }
        let rows = Tensor::arange(out_features, (Kind::Int64, offsets.device()));
        let positions = rows.repeat_interleave_self_tensor(&counts, 0, nnz) * in_features + columns;
        let steps = positions.diff(1, 0, None::<&Tensor>, None::<&Tensor>);
        if nnz > 1 && steps.min().int64_value(&[]) <= 0 {
            return Err("the columns of a row do not ascend".to_owned());
        }
        Ok(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// With rows that hold nothing, at the ends too.
    #[test]
    fn round_trip_with_empty_rows() {
        let shape = SiteShape { out_features: 5, in_features: 4 };
        let positions = Tensor::from_slice(&[4i64, 6, 7, 12]);
        let csr = Csr::from_positions(&positions, shape);
        assert_eq!(Vec::<i32>::try_from(&csr.row_offs).unwrap(), [0, 0, 3, 3, 4, 4]);
        assert_eq!(Vec::<i16>::try_from(&csr.col_idx).unwrap(), [0, 2, 3, 0]);
        assert_eq!(Vec::<i16>::try_from(&csr.row_idx).unwrap(), [1, 3, 0, 2, 4]);
        assert_eq!(Csr::positions(&csr.row_offs, &csr.col_idx, shape).unwrap(), positions);
    }

    #[test]
    fn wide_matrices_have_wide_indices() {
        let last = |n: i64| Tensor::from_slice(&[n - 1]);
        for (in_features, kind) in [(1 << 15, Kind::Int16), ((1 << 15) + 1, Kind::Int)] {
            let shape = SiteShape { out_features: 1, in_features };
            let csr = Csr::from_positions(&last(in_features), shape);
            assert_eq!((csr.col_idx.kind(), csr.row_idx.kind()), (kind, Kind::Int16));
            assert_eq!(Csr::positions(&csr.row_offs, &csr.col_idx, shape).unwrap(), last(in_features));
        }
    }

    #[test]
    fn indices_that_are_no_matrix_are_refused() {
        let shape = SiteShape { out_features: 2, in_features: 3 };
        let t = |values: &[i64]| Tensor::from_slice(values).to_device(Device::Cpu);
        for (offsets, columns, reason) in [
            (&[0i64, 1][..], &[0i64][..], "expected 3 entries"),
            (&[0, 1, 3], &[0, 1], "does not ascend"),
            (&[0, 2, 1], &[0], "does not ascend"),
            (&[0, 1, 2], &[0, 3], "outside"),
            (&[0, 2, 2], &[1, 1], "do not ascend"),
        ] {
            let error = Csr::positions(&t(offsets), &t(columns), shape).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
