//! `merge-into-base`: a model with an adapter in its weights.

use peft_core::Adaptable;
use peft_core::peft_file::AdapterFile;

use super::{print, use_threads};
use crate::cli::MergeIntoBaseArgs;
use crate::config::storage_or;
use crate::queue::check_writable;
use crate::session::Session;
use crate::{Result, adapter};

pub(super) fn execute(args: &MergeIntoBaseArgs) -> Result<()> {
    use_threads(args.model.threads);
    check_writable(&args.out)?;
    let file = AdapterFile::read(&args.adapter)?;
    let stated = file.config.get("base_model_name_or_path").and_then(|value| value.as_str());
    let name = args.model.name_or(stated);
    let mut session = Session::open(&args.model, name)?;
    let quantize = storage_or(&args.storage, adapter::quantization_of(&file)?)?;
    let (attachment, info, _) = adapter::attach(&mut session.learner, "default", &file, quantize)?;
    session.learner.activate(&attachment.active());
    session.learner.decoder.save(&args.out, Some(&session.files))?;
    let sites = attachment.sites().len();
    print(&format!("{}: {name} with {} merged into {sites} layers", args.out.display(), info.name));
    Ok(())
}
