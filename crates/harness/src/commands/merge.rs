//! `merge`: several adapters into one, or into a model.

use std::path::PathBuf;

use merging::{Contribution, Space, Updates, merge};
use peft_core::peft_file::AdapterFile;
use peft_core::{Adaptable, AsLoaded, Seeds};

use super::{print, use_threads};
use crate::adapter::quantization_of;
use crate::cli::{MergeArgs, ModelArgs};
use crate::queue::check_writable;
use crate::session::Session;
use crate::updates::updates;
use crate::{Error, Result};

pub(super) fn execute(args: &MergeArgs) -> Result<()> {
    use_threads(args.model.threads);
    let recipe = args.merging.recipe(args.rank)?;
    if let (Some(rank), false) = (args.rank, matches!(recipe.space, Space::Updates(_))) {
        let how = &args.merging.how;
        return Err(Error::Usage(format!(
            "`--rank {rank}` is for `svd` and the ways with `_svd`; `{how}` truncates nothing"
        )));
    }
    let count = args.adapters.len();
    let weights = args.merging.weights_of(count)?;
    let target = args.out.as_ref().or(args.into_model.as_ref()).expect("clap asks for one of them");
    check_writable(target)?;
    let read = |folder: &PathBuf| Ok(AdapterFile::read(folder)?);
    let files = args.adapters.iter().map(read).collect::<Result<Vec<_>>>()?;
    merging::check_bases(&files)?;
    same_storage(&files)?;
    let all = files.iter().map(|file| updates_of(file, &args.model)).collect::<Result<Vec<Updates>>>()?;
    let contributions: Vec<_> =
        all.iter().zip(weights).map(|(updates, weight)| Contribution { updates, weight }).collect();
    let (modules, how) = (modules(&all), &args.merging.how);
    let what = format!("{}: {count} adapters merged by {how} in {modules} modules", target.display());
    let seeds = Seeds::new(args.merging.seed);
    if let Some(folder) = &args.into_model {
        let recipe = if args.rank.is_some() { recipe } else { recipe.whole() };
        let merged = merge(&contributions, &recipe, &seeds)?;
        let base = base_of(&files[0], &args.model);
        let mut session = Session::open(&args.model, base)?;
        let attachment = merging::attach(&mut session.learner, "merged", merged, &AsLoaded)?;
        session.learner.activate(&attachment.active());
        session.learner.decoder.save(folder, Some(&session.files))?;
        print(&format!("{what}, into the weights of {base}"));
        return Ok(());
    }
    let merged = merge(&contributions, &recipe, &seeds)?;
    merging::plain_file(&files, &merged)?.write(target)?;
    print(&format!("{what}, rank {}", merging::rank(&merged)));
    Ok(())
}

/// What `file` adds to its base, which is loaded where the file alone does not say.
pub(super) fn updates_of(file: &AdapterFile, args: &ModelArgs) -> Result<Updates> {
    let base = base_of(file, args);
    let open = &mut || -> Result<Box<dyn Adaptable>> { Ok(Box::new(Session::open(args, base)?.learner)) };
    updates(file, open).map_err(|error| match error {
        Error::Core(source @ peft_core::Error::Io { .. }) if args.model.is_none() => Error::Usage(format!(
            "{}: its base `{base}` is needed, and {source}; give `--model`",
            file.origin
        )),
        other => other,
    })
}

/// The base that the command line names, or else the file.
pub(super) fn base_of<'a>(file: &'a AdapterFile, args: &'a ModelArgs) -> &'a str {
    args.name_or(file.config.get("base_model_name_or_path").and_then(|value| value.as_str()))
}

/// One adapter cannot be over two kinds of storage.
fn same_storage(files: &[AdapterFile]) -> Result<()> {
    let stored = files.iter().map(quantization_of).collect::<Result<Vec<_>>>()?;
    match stored.iter().position(|one| *one != stored[0]) {
        None => Ok(()),
        Some(other) => Err(Error::Usage(format!(
            "{} and {} were trained over a base that was stored differently (`quantize`), so their updates do not add up",
            files[0].origin, files[other].origin
        ))),
    }
}

fn modules(all: &[Updates]) -> usize {
    let names: std::collections::BTreeSet<&String> = all.iter().flat_map(Updates::keys).collect();
    names.len()
}
