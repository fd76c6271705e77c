//! `merge-into-base`: a model with an adapter in its weights.

use peft_core::peft_file::AdapterFile;
use peft_core::{Adaptable, device};
use tasks::Dtype;

use super::{print, use_threads};
use crate::cli::MergeIntoBaseArgs;
use crate::config::{parse_dtype, parse_quantization};
use crate::queue::check_writable;
use crate::session::Session;
use crate::{Result, adapter};

pub(super) fn execute(args: &MergeIntoBaseArgs) -> Result<()> {
    use_threads(args.model.threads);
    check_writable(&args.out)?;
    let file = AdapterFile::read(&args.adapter)?;
    let stated = file.config.get("base_model_name_or_path").and_then(|value| value.as_str());
    let name = args.model.model.as_deref().or(stated).unwrap_or("builtin:mini").to_owned();
    let dtype = args.model.dtype.as_deref().map_or(Ok(Dtype::F32), parse_dtype)?;
    let quantize = args.model.quantize.as_deref().map_or(Ok(None), parse_quantization)?;
    let mut session = Session::load(&name, dtype, device::parse(&args.model.device)?, false)?;
    let (attachment, info, _) = adapter::attach(&mut session.learner, "default", &file, quantize)?;
    session.learner.activate(&attachment.active());
    session.learner.decoder.save(&args.out, Some(&session.files))?;
    let sites = attachment.sites().len();
    print(&format!("{}: {name} with {} merged into {sites} layers", args.out.display(), info.name));
    Ok(())
}
