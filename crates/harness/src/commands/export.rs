//! `export`: an adapter in a form that another program reads.

use peft_core::peft_file::AdapterFile;

use super::{print, use_threads};
use crate::Result;
use crate::cli::ExportArgs;
use crate::export::export;
use crate::queue::check_writable;
use crate::session::Session;

pub(super) fn execute(args: &ExportArgs) -> Result<()> {
    use_threads(args.model.threads);
    let file = AdapterFile::read(&args.adapter)?;
    let stated = file.config.get("base_model_name_or_path").and_then(|value| value.as_str());
    let name = args.model.name_or(stated);
    let mut session = Session::open(&args.model, name)?;
    check_writable(&args.out)?;
    let base = stated.unwrap_or(name).to_owned();
    let done = export(&mut session.learner, file, args.reader, &base, &args.out)?;
    let form = match done.rank {
        Some(rank) => format!("plain LoRA of rank {rank}"),
        None => "its own form".to_owned(),
    };
    print(&format!(
        "{}: {} for {} as {form}, {} layers; read back, it is the same update to {:.1e}",
        args.out.display(),
        done.method.name,
        args.reader.title(),
        done.sites,
        done.error
    ));
    if let Some(advice) = done.rank.and_then(|rank| args.reader.advice(rank)) {
        print(&advice);
    }
    Ok(())
}
