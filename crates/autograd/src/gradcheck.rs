use tch::{Kind, Tensor};

use crate::Error;

/// Settings of [`gradcheck`].
#[derive(Clone, Copy, Debug)]
pub struct Gradcheck {
    /// Step of the central difference.
    pub step: f64,
    /// Allowed absolute difference.
    pub atol: f64,
    /// Allowed difference relative to the numeric gradient.
    pub rtol: f64,
}

impl Default for Gradcheck {
    /// The truncation error of a central difference is O(step²) and its rounding error O(ε/step): at 1e-6 both
    /// stay below 1e-9 for values of order one.
    fn default() -> Self {
        Self { step: 1e-6, atol: 1e-7, rtol: 1e-5 }
    }
}

/// Compares backward with central differences, entry by entry.
///
/// `f` maps the inputs (kind Double) to outputs of any shape. They are reduced to Σᵢ⟨wᵢ, fᵢ⟩ with fixed weights wᵢ
/// that differ in every entry, so a gradient that mixes up outputs or positions is seen. Inputs that do not
/// require a gradient are held constant.
///
/// # Errors
/// [`Error::GradcheckMismatch`] with the first entry outside `|a - n| <= atol + rtol·|n|`.
pub fn gradcheck(
    settings: Gradcheck,
    inputs: &[Tensor],
    f: impl Fn(&[Tensor]) -> Vec<Tensor>,
) -> Result<(), Error> {
    for (input, tensor) in inputs.iter().enumerate() {
        if tensor.kind() != Kind::Double {
            return Err(Error::GradcheckKind { input, kind: tensor.kind() });
        }
    }
    let objective = |inputs: &[Tensor]| -> Tensor {
        f(inputs).iter().map(|out| (out * weights(out)).sum(Kind::Double)).sum()
    };

    let leaves: Vec<Tensor> =
        inputs.iter().map(|t| t.detach().copy().set_requires_grad(t.requires_grad())).collect();
    objective(&leaves).f_backward()?;

    for (input, original) in inputs.iter().enumerate().filter(|(_, t)| t.requires_grad()) {
        let gradient = leaves[input].grad();
        let probes: Vec<Tensor> = inputs.iter().map(|t| t.detach().copy()).collect();
        let flat = probes[input].view(-1);
        for index in 0..i64::try_from(original.numel()).expect("a tensor that fits in memory") {
            let at = |delta: f64| {
                let start = flat.double_value(&[index]);
                let mut entry = flat.get(index);
                let _ = entry.fill_(start + delta);
                let value = tch::no_grad(|| objective(&probes).double_value(&[]));
                let _ = entry.fill_(start);
                value
            };
            let numeric = (at(settings.step) - at(-settings.step)) / (2.0 * settings.step);
            let analytic = if gradient.defined() { gradient.reshape(-1).double_value(&[index]) } else { 0.0 };
            if (analytic - numeric).abs() > settings.atol + settings.rtol * numeric.abs() {
                return Err(Error::GradcheckMismatch { input, index, analytic, numeric });
            }
        }
    }
    Ok(())
}

/// cos(1), cos(2), … in the shape of `out`: bounded, no two alike, no randomness.
fn weights(out: &Tensor) -> Tensor {
    let count = i64::try_from(out.numel()).expect("a tensor that fits in memory");
    Tensor::arange_start(1, count + 1, (Kind::Double, out.device())).cos().view_(out.size())
}
