//! A set of our results as the folder of result files that PEFT's app reads.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::context::{Context, UnknownMemory};
use super::export::{export, file_name};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::name::component;
use crate::record::RunRecord;
use crate::run::LeftOut;
use crate::stats::Settings;
use crate::store::{Existing, write_atomically};

/// Result files written, and what the format has no place for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// The files.
    pub written: Vec<PathBuf>,
    /// Entries that were not written, by the id of their first run, with the reason.
    pub left_out: Vec<LeftOut>,
}

/// Writes each entry to `<folder>/<task>/<experiment>.json`, one folder for each task as the app compares within a folder.
///
/// `adapter` finds the `adapter_config.json` of a run. Memory that was not measured is written as 0 and listed in
/// `compare.zero_means_unknown`.
///
/// # Errors
/// [`Error::Io`], and those of [`Entry::pooled`]; what the format cannot hold is left out instead.
pub fn export_folder(
    folder: &Path,
    entries: &[Entry<'_>],
    adapter: impl Fn(&RunRecord) -> Option<Map<String, Value>>,
    settings: &Settings,
) -> Result<Exported> {
    let mut exported = Exported::default();
    for entry in entries {
        let record = entry.record();
        let context =
            Context::of_imported(record).unwrap_or_else(|| Context::of_own(record, adapter(record)));
        let context = Context { unknown_memory: UnknownMemory::Zero, ..context };
        match export(entry, &context, settings) {
            Ok(file) => {
                let folder = folder.join(component(&record.task));
                fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
                // The format's name, made safe for every file system.
                let path = folder.join(component(&file_name(&context.experiment)));
                let mut json = serde_json::to_vec_pretty(&file).expect("a result is plain data");
                json.push(b'\n');
                write_atomically(&path, &json, Existing::Replace)?;
                exported.written.push(path);
            }
            Err(Error::Exchange { reason, .. }) => {
                exported.left_out.push(LeftOut { id: record.id.clone(), reason });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(exported)
}
