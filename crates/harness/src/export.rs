//! Adapters in a form that another program reads.
//!
//! What a method's update is in other words, it says itself ([`peft_core::Delta::factors`]); what a program understands is
//! in [`Reader`]. Where the program knows the method, the file is the method's own. Elsewhere it is the plain LoRA that
//! equals the update, if there is one, with every factor folded into B, so that nothing is left to interpretation.

mod low_rank;
mod reader;
mod verify;

use std::path::Path;

use peft_core::peft_file::{self, AdapterFile};
use peft_core::{Adaptable, AsLoaded, Attachment, Layout, MethodInfo};

use crate::adapter::{self, Provenance};
use crate::{Error, Result};

pub use reader::Reader;
pub use verify::compare;

/// Name of the adapter on the model while it is exported.
const SOURCE: &str = "source";

/// What was written.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The method of the adapter.
    pub method: &'static MethodInfo,
    /// Adapted layers.
    pub sites: usize,
    /// Largest rank of a plain LoRA; none where the method's own form was written.
    pub rank: Option<i64>,
    /// What was read back from the file as the program reads it, against the adapter: the largest difference between
    /// effective weights of a site, relative to the largest entry of the site's update.
    pub error: f64,
}

/// Writes the adapter of `file` to `folder` for `reader`, reads it back by that program's rules and compares. `model` is
/// the model it was made for; `base_model` is what the file will call it.
///
/// # Errors
/// [`Error::CannotExport`] with the reason; whatever attaching the adapter to the model refuses; [`Error::Failed`] if the
/// file does not hold the same update.
pub fn export(
    model: &mut dyn Adaptable,
    file: AdapterFile,
    reader: Reader,
    base_model: &str,
    folder: &Path,
) -> Result<Exported> {
    let file = modernized(file)?;
    let quantize = adapter::quantization_of(&file)?;
    // Over the base as it is: whoever serves it decides how that is stored.
    let (source, method, settings) = adapter::attach_over(model, SOURCE, &file, &AsLoaded)?;
    let provenance = Provenance { method, settings: &settings, base_model, task_type: "CAUSAL_LM", quantize };
    let written = write(model, &source, &provenance, reader, folder).and_then(|rank| {
        let error = verify::check(model, &source, reader, rank.is_some(), folder)?;
        Ok(Exported { method, sites: source.sites().len(), rank, error })
    });
    source.detach(model);
    written
}

/// Writes the method's own form, or plain LoRA, whose rank it returns.
fn write(
    model: &mut dyn Adaptable,
    source: &Attachment,
    provenance: &Provenance<'_>,
    reader: Reader,
    folder: &Path,
) -> Result<Option<i64>> {
    let method = provenance.method;
    if reader == Reader::Peft && method.peft.is_some() {
        adapter::adapter_file(model, source, provenance)?.write(folder)?;
        return Ok(None);
    }
    refuse_transposed(model, source, method, reader)?;
    let plain = low_rank::plain_lora(model, source, method, reader)?;
    plain.file(model, source, provenance)?.write(folder)?;
    Ok(Some(plain.rank()))
}

/// The file as PEFT writes it today, if it has a type that PEFT has given another name: then the configuration alone says
/// what it is.
fn modernized(mut file: AdapterFile) -> Result<AdapterFile> {
    let current = file.peft_type()?.to_owned();
    if file.config["peft_type"] != current.as_str() {
        file.config.insert("peft_type".to_owned(), current.into());
        file.metadata.remove(peft_file::METHOD);
        file.metadata.remove(peft_file::SETTINGS);
    }
    Ok(file)
}

fn refuse_transposed(
    model: &mut dyn Adaptable,
    source: &Attachment,
    method: &'static MethodInfo,
    reader: Reader,
) -> Result<()> {
    let transposed = model.linears().iter().any(|linear| {
        linear.layout() == Layout::InOut && source.sites().iter().any(|site| site.name == linear.name())
    });
    if transposed && !reader.knows_transposed_layers() {
        let reason = "it takes the factors of layers that are stored transposed (Conv1D) the wrong way round";
        return Err(Error::CannotExport {
            reader: reader.title(),
            method: method.name,
            reason: reason.into(),
        });
    }
    Ok(())
}
