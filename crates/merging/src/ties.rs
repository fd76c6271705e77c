use tch::{Kind, Tensor};

/// How the sign of an entry is elected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Election {
    /// By the sum of the values.
    #[default]
    Total,
    /// By the sum of the signs.
    Frequency,
}

/// `Σ c_t·x_t` over the entries that agree with the elected sign, divided by their number (at least 1). A sum of zero
/// elects plus.
pub(crate) fn elect(tensors: &[Tensor], coefficients: &[f64], election: Election) -> Tensor {
    let stacked = Tensor::stack(tensors, 0);
    let votes = match election {
        Election::Total => stacked.sum_dim_intlist(0, false, None::<Kind>),
        Election::Frequency => stacked.sign().sum_dim_intlist(0, false, None::<Kind>),
    };
    let elected = votes.ge(0.0).to_kind(Kind::Float) * 2.0 - 1.0;
    let agrees = stacked.sign().eq_tensor(&elected).to_kind(Kind::Float);
    let shape: Vec<i64> =
        std::iter::once(tensors.len() as i64).chain(std::iter::repeat_n(1, tensors[0].dim())).collect();
    let coefficients = Tensor::from_slice(coefficients).to_kind(Kind::Float).view(shape.as_slice());
    let sum =
        (stacked * &agrees * coefficients.to_device(agrees.device())).sum_dim_intlist(0, false, None::<Kind>);
    sum / agrees.sum_dim_intlist(0, false, None::<Kind>).clamp_min(1.0)
}
