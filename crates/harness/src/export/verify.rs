//! What was written, read back.

use std::path::Path;

use peft_core::peft_file::{self, AdapterFile};
use peft_core::{Adaptable, AsLoaded, Attachment, Site};
use tch::{Kind, Tensor};

use super::Reader;
use crate::{Error, Result, adapter};

/// Folding a scaling into B rounds each of its entries once, and a sum of products rounds at most as often as it has
/// terms: far below this part of the largest entry at any rank in use.
const ALLOWED: f64 = 1e-5;
const WRITTEN: &str = "written";

/// Reads `folder` back and compares the update that `reader` makes of it with that of `source`: the largest difference at
/// a site relative to its update's largest entry.
///
/// # Errors
/// [`Error::Failed`] if it is more than rounding.
pub fn check(
    model: &mut dyn Adaptable,
    source: &Attachment,
    reader: Reader,
    plain: bool,
    folder: &Path,
) -> Result<f64> {
    let mut file = AdapterFile::read(folder)?;
    // What other programs do not look at must not be needed.
    file.metadata.remove(peft_file::METHOD);
    file.metadata.remove(peft_file::SETTINGS);
    if plain {
        return compare(model, source, &file, reader);
    }
    let written = native_updates(model, &file)?;
    largest_difference(&updates(model, source.name()), &written, &file.origin, reader)
}

/// Compares the update that `reader` makes of `file`, a plain LoRA, with that of `source`, as the export itself does.
///
/// # Errors
/// [`Error::Failed`] if it differs by more than rounding.
pub fn compare(
    model: &mut dyn Adaptable,
    source: &Attachment,
    file: &AdapterFile,
    reader: Reader,
) -> Result<f64> {
    let written = plain_updates(file, source, reader)?;
    largest_difference(&updates(model, source.name()), &written, &file.origin, reader)
}

fn largest_difference(own: &Updates, written: &Updates, origin: &str, reader: Reader) -> Result<f64> {
    let mut largest: f64 = 0.0;
    for ((site, own), (_, written)) in own.iter().zip(written) {
        let scale = own.abs().max().double_value(&[]).max(f64::from(f32::MIN_POSITIVE));
        let error = (own - written).abs().max().double_value(&[]) / scale;
        if error.is_nan() || error > ALLOWED {
            return Err(Error::Failed(format!(
                "{origin}: {} would make another update of it: at `{site}` {error:.1e} of its largest entry apart",
                reader.title()
            )));
        }
        largest = largest.max(error);
    }
    Ok(largest)
}

type Updates = Vec<(String, Tensor)>;

/// `W_eff - W` in double precision, at every site that carries `name`.
fn updates(model: &mut dyn Adaptable, name: &str) -> Updates {
    let of = |linear: &&mut peft_core::AdaptedLinear| {
        let adapter = linear.adapter(name)?;
        let frozen = linear.frozen().dense().to_kind(Kind::Double);
        let update = match adapter.as_delta().map(|delta| delta.factors().ok_or(delta)) {
            // Residual methods are a small difference of large products.
            Some(Ok((b, a))) => b.to_kind(Kind::Double).matmul(&a.to_kind(Kind::Double)),
            Some(Err(delta)) => delta.weight().to_kind(Kind::Double),
            None => adapter.effective_weight(&linear.frozen().dense()).to_kind(Kind::Double) - frozen,
        };
        Some((linear.name().to_owned(), update))
    };
    tch::no_grad(|| model.linears().iter().filter_map(of).collect())
}

/// `s·B·A` with the reader's s.
fn plain_updates(file: &AdapterFile, source: &Attachment, reader: Reader) -> Result<Updates> {
    let of = |site: &Site| {
        let tensor = |name: &str| file.tensors[&format!("{}.{name}.weight", site.name)].to_kind(Kind::Double);
        let (b, a) = (tensor("lora_B"), tensor("lora_A"));
        let scaling = reader.scaling(&file.config, site, a.size()[0])?;
        Ok((site.name.clone(), b.matmul(&a) * scaling))
    };
    source.sites().iter().map(of).collect()
}

/// As PEFT reads its own types: by the configuration alone.
fn native_updates(model: &mut dyn Adaptable, file: &AdapterFile) -> Result<Updates> {
    let (written, ..) = adapter::attach_over(model, WRITTEN, file, &AsLoaded)?;
    let updates = updates(model, WRITTEN);
    written.detach(model);
    Ok(updates)
}
