//! A task with its items.

use crate::config::{Data, Files, Leaked, SamePrompt, TaskConfig};
use crate::item::{Fields, Item, PerSplit, Split};
use crate::overlap::drop_leaked;
use crate::place::{Found, Place};
use crate::read::DataFile;
use crate::{Error, Result, borrow, files, mini};
use indexmap::IndexMap;
use sha2::{Digest, Sha256};
use std::path::Path;

/// A task file and the items it describes, all splits in memory.
#[derive(Debug, Clone)]
pub struct Task {
    config: TaskConfig,
    items: PerSplit<Vec<Item>>,
    files: Vec<DataFile>,
}

impl Task {
    /// Generates or reads the items, from below `data_dir` or else from where the task's file says.
    ///
    /// # Errors
    /// As [`Task::load_from`].
    pub fn load(config: TaskConfig, data_dir: Option<&Path>) -> Result<Self> {
        Self::load_from(config, &data_dir.into())
    }

    /// Generates or reads the items. What a task takes from another is looked for in the same way.
    ///
    /// # Errors
    /// [`Error::NoDataDir`]; [`Error::Hub`] and those of [`TaskConfig::at`]; whatever reading a file can give;
    /// [`Error::TooFewItems`].
    pub fn load_from(config: TaskConfig, place: &Place) -> Result<Self> {
        let config = config.at(place)?;
        let (drafts, mut files) = match &config.data {
            Data::Builtin(builtin) => (mini::drafts(builtin)?, Vec::new()),
            Data::Files(description) => {
                let (items, read) = read_files(&config.name, description, place)?;
                let raw = |fields: Fields| RawItem { key: files::key(&fields), cluster: None, fields };
                (items.map(|items| items.into_iter().map(raw).collect()), read)
            }
        };
        let mut items = PerSplit {
            train: render(&config, Split::Train, drafts.train),
            validation: render(&config, Split::Validation, drafts.validation),
            test: render(&config, Split::Test, drafts.test),
        };
        let lent = borrow::fill(&config, &mut items, place)?;
        files.extend(lent);
        if let Data::Files(description) = &config.data {
            if description.leaked == Leaked::Drop {
                drop_leaked(&mut items);
            }
            if description.same_prompt == SamePrompt::Collapse {
                items.train = collapse(items.train);
            }
        }
        Ok(Self { config, items, files })
    }

    /// The task file.
    pub fn config(&self) -> &TaskConfig {
        &self.config
    }

    /// The items of one split, always in the same order.
    pub fn items(&self, split: Split) -> &[Item] {
        self.items.of(split)
    }

    /// The items of one split, of which there must be some.
    ///
    /// # Errors
    /// [`Error::NoSplit`].
    pub fn require(&self, split: Split) -> Result<&[Item]> {
        match self.items(split) {
            [] => Err(Error::NoSplit { task: self.config.name.clone(), split: split.name() }),
            items => Ok(items),
        }
    }

    /// The files that were read; none for a generated task.
    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// SHA-256 in hexadecimal of a split: every prompt, second text, response and field in order.
    pub fn digest(&self, split: Split) -> String {
        let mut hash = Sha256::new();
        for item in self.items(split) {
            let fields = item.fields.iter().flat_map(|(name, value)| [name, value]);
            let texts =
                std::iter::once(&item.prompt).chain(&item.second).chain(std::iter::once(&item.response));
            for text in texts.chain(fields) {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
        }
        hex::encode(hash.finalize())
    }
}

/// The fields of all items, and the files they were read from; none where all are another task's.
fn read_files(task: &str, files: &Files, place: &Place) -> Result<(PerSplit<Vec<Fields>>, Vec<DataFile>)> {
    if files.splits.paths().next().is_none() {
        return Ok((PerSplit::default(), Vec::new()));
    }
    let Found { root, repo } = place.find(task, files)?;
    let (items, mut read) = files::load(task, files, &root)?;
    for file in &mut read {
        file.repo.clone_from(&repo);
    }
    Ok((items, read))
}

/// An item before its templates are filled.
pub(crate) struct RawItem {
    pub key: String,
    pub cluster: Option<String>,
    pub fields: Fields,
}

fn render(config: &TaskConfig, split: Split, raw: Vec<RawItem>) -> Vec<Item> {
    let fill = |template: &crate::Template, fields: &Fields| {
        template.render(fields).expect("templates are checked against the fields when the file is parsed")
    };
    raw.into_iter()
        .enumerate()
        .map(|(index, RawItem { key, cluster, fields })| Item {
            id: format!("{}-{index:05}", split.name()),
            cluster,
            key,
            prompt: fill(&config.prompt.template, &fields),
            second: config.prompt.second.as_ref().map(|second| fill(second, &fields)),
            response: fill(&config.prompt.response, &fields),
            fields,
        })
        .collect()
}

/// One item of each prompt: the last one, in the place of the first.
fn collapse(items: Vec<Item>) -> Vec<Item> {
    let by_prompt: IndexMap<_, _> =
        items.into_iter().map(|item| ((item.prompt.clone(), item.second.clone()), item)).collect();
    by_prompt.into_values().collect()
}
