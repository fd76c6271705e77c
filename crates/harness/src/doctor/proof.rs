use peft_core::peft_file::AdapterFile;
use peft_core::{Active, Adaptable, AsLoaded, Error as CoreError};
use tch::{Kind, Tensor};

use super::patient::TENSORS;
use super::{Check, Finding, Patient};
use crate::export::{self, Reader};
use crate::part::{Part, Tokens};
use crate::solver::CausalLm;
use crate::{Error, Result, adapter, evaluate};

/// On the model: it loads, was made for this base, PEFT reads the same update, and merged weights compute the same.
pub struct Proof;

const ADAPTER: &str = "patient";

impl Check for Proof {
    fn findings(&self, patient: &Patient, model: Option<&mut CausalLm>) -> Vec<Finding> {
        let Some(model) = model else { return Vec::new() };
        let failed = prove(&patient.file, model).err();
        failed.map(finding).into_iter().collect()
    }
}

fn finding(error: Error) -> Finding {
    let hint = error.hint();
    let advice = |otherwise: &str| hint.clone().unwrap_or_else(|| otherwise.to_owned());
    let (check, advice) = match &error {
        Error::Core(CoreError::WrongBase { .. }) => ("base", advice("")),
        Error::MergeDiffers { .. } => {
            ("merge", advice("use the adapter unmerged, or merge into a model in f32"))
        }
        Error::Failed(_) => ("scale", advice("write it anew with `harness export --for peft`")),
        _ => ("loads", advice("give the model that the adapter was made for")),
    };
    Finding::error(check, TENSORS, error.to_string(), advice)
}

fn prove(file: &AdapterFile, model: &mut CausalLm) -> Result<()> {
    let (attachment, ..) = adapter::attach_over(model, ADAPTER, file, &AsLoaded)?;
    model.activate(&attachment.active());
    let plain = merging::is_plain(file)?;
    let proven = read_alike(file, model, &attachment, plain).and_then(|()| merge_alike(model));
    model.activate(&Active::None);
    attachment.detach(model);
    proven
}

/// What PEFT makes of a plain LoRA by its configuration is what is attached here.
fn read_alike(
    file: &AdapterFile,
    model: &mut CausalLm,
    attachment: &peft_core::Attachment,
    plain: bool,
) -> Result<()> {
    if plain {
        export::compare(model, attachment, file, Reader::Peft)?;
    }
    Ok(())
}

fn merge_alike(model: &mut CausalLm) -> Result<()> {
    const ROWS: i64 = 2;
    const COLUMNS: i64 = 24;
    let columns = COLUMNS.min(model.decoder.context());
    let vocabulary = model.decoder.config().decoder()?.stack.vocab_size;
    let device = model.decoder.device();
    let ids = Tensor::arange(ROWS * columns, (Kind::Int64, device)) * 7919;
    let ids = ids.remainder(vocabulary).view([ROWS, columns]);
    let part = Part {
        tokens: Tokens { mask: ids.ones_like(), types: None, ids: ids.shallow_clone() },
        labels: ids,
        divisor: 1.0,
    };
    let done = evaluate::merge_and_check(model, &part);
    model.unmerge();
    done
}
