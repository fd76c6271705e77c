//! What an adapter adds to the weights of its base, whatever its method.

use merging::{Factors, Update, Updates, is_plain};
use peft_core::peft_file::AdapterFile;
use peft_core::{Adaptable, AdaptedLinear, AsLoaded, Attachment, Delta};
use tch::{Kind, Tensor};

use crate::adapter::{attach, attach_over, quantization_of};
use crate::{Error, Result};

const SOURCE: &str = "source";

/// Whether the updates of `file` stand in it alone, so that its base need not be loaded.
///
/// # Errors
/// If the file does not say what it is.
pub fn is_selfcontained(file: &AdapterFile) -> Result<bool> {
    Ok(is_plain(file)? && quantization_of(file)?.is_none())
}

/// `ΔW = W_eff − W` of every layer that the adapter in `file` adapts: as factors, exactly, where the method has them, else
/// dense. `base` gives the model it was made for, and is asked only where it matters; a model may come back changed from an
/// adapter over 4 bits, so `base` is called anew for each file.
///
/// # Errors
/// [`peft_core::Error::Unsupported`] with the reason where the adapter is more than an update of layers; whatever attaching
/// it refuses.
pub fn updates(file: &AdapterFile, base: &mut dyn FnMut() -> Result<Box<dyn Adaptable>>) -> Result<Updates> {
    if is_selfcontained(file)? {
        return low_rank(file);
    }
    let mut model = base()?;
    if quantization_of(file)?.is_none() {
        return beside_base(&mut *model, file);
    }
    let refuse = |reason: &str| Err(refused(file, reason));
    let (attachment, ..) = attach(&mut *model, SOURCE, file, quantization_of(file)?)?;
    if model.linears().iter().any(|linear| linear.holds_residual()) {
        return refuse(
            "what its base stores in 4 bits is what its start left of the weights, and no other adapter's",
        );
    }
    drop(attachment);
    if is_plain(file)? {
        low_rank(file)
    } else {
        refuse("its update is relative to weights in 4 bits, which the merge would not be over")
    }
}

/// Those of a file of plain LoRA layout.
///
/// # Errors
/// As [`merging::updates`].
pub fn low_rank(file: &AdapterFile) -> Result<Updates> {
    let factors = merging::updates(file)?;
    Ok(factors.into_iter().map(|(module, factors)| (module, Update::LowRank(factors))).collect())
}

/// The same of an adapter over weights that are stored as they were loaded.
///
/// # Errors
/// As [`updates`].
pub fn beside_base(model: &mut dyn Adaptable, file: &AdapterFile) -> Result<Updates> {
    let (attachment, ..) = attach_over(model, SOURCE, file, &AsLoaded)?;
    let read = of_attachment(model, &attachment).map_err(|reason| refused(file, reason));
    attachment.detach(model);
    read
}

/// Those of an attached adapter, or why it is more than that.
fn of_attachment(model: &mut dyn Adaptable, attachment: &Attachment) -> Result<Updates, &'static str> {
    if !attachment.modules_to_save().is_empty() {
        return Err("it holds a trained head or other whole modules, of which there can be only one");
    }
    if attachment.count_replaced() > 0 {
        return Err(
            "it trains weights of the base themselves, embeddings and norms among them, which no update of \
                    layers holds",
        );
    }
    let of = |linear: &&mut AdaptedLinear| {
        let update = update(linear, attachment.name())?;
        Some((linear.name().to_owned(), update))
    };
    Ok(tch::no_grad(|| model.linears().iter().filter_map(of).collect()))
}

fn update(linear: &AdaptedLinear, name: &str) -> Option<Update> {
    let adapter = linear.adapter(name)?;
    if let Some((b, a)) = adapter.as_delta().and_then(Delta::factors) {
        let (b, a) = shrunk(&b, &a);
        return Some(Update::LowRank(Factors { b, a, scaling: 1.0 }));
    }
    let frozen = linear.frozen().dense();
    // A small difference of large numbers.
    let update = match adapter.as_delta() {
        Some(delta) => delta.weight().detach(),
        None => {
            adapter.effective_weight(&frozen).detach().to_kind(Kind::Double) - frozen.to_kind(Kind::Double)
        }
    };
    Some(Update::Dense(update.to_kind(Kind::Float)))
}

/// Without the components that add nothing (AdaLoRA's pruned ones, say), but never without any.
pub fn shrunk(b: &Tensor, a: &Tensor) -> (Tensor, Tensor) {
    let (b, a) = (b.detach().to_kind(Kind::Float), a.detach().to_kind(Kind::Float));
    let there = b.any_dim(0, false).logical_and(&a.any_dim(1, false));
    let kept = there.nonzero().view(-1);
    let kept = if kept.numel() == 0 { kept.new_zeros([1], (Kind::Int64, kept.device())) } else { kept };
    (b.index_select(1, &kept), a.index_select(0, &kept))
}

fn refused(file: &AdapterFile, reason: &str) -> Error {
    let what = format!("merging {}", file.origin);
    peft_core::Error::Unsupported { what, reason: reason.to_owned() }.into()
}
