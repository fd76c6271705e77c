//! A task with its items.

use crate::config::{Data, TaskConfig};
use crate::item::{Fields, Item, PerSplit, Split};
use crate::read::DataFile;
use crate::{Error, Result, files, mini};
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
    /// Generates or reads the items. `data_dir` is where a task's files are looked for.
    ///
    /// # Errors
    /// [`Error::NoDataDir`]; whatever reading a file can give; [`Error::TooFewItems`].
    pub fn load(config: TaskConfig, data_dir: Option<&Path>) -> Result<Self> {
        let (drafts, files) = match &config.data {
            Data::Builtin(builtin) => (mini::drafts(builtin)?, Vec::new()),
            Data::Files(description) => {
                let root = data_dir.ok_or_else(|| Error::NoDataDir { task: config.name.clone() })?;
                let (fields, read) = files::load(&config.name, description, root)?;
                (fields.map(|fields| fields.into_iter().map(|f| (files::key(&f), None, f)).collect()), read)
            }
        };
        let items = PerSplit {
            train: render(&config, Split::Train, drafts.train),
            validation: render(&config, Split::Validation, drafts.validation),
            test: render(&config, Split::Test, drafts.test),
        };
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

    /// The files that were read; none for a generated task.
    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// SHA-256 in hexadecimal of what a model sees of a split: every prompt and response in order.
    pub fn digest(&self, split: Split) -> String {
        let mut hash = Sha256::new();
        for text in self.items(split).iter().flat_map(|item| [&item.prompt, &item.response]) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hex::encode(hash.finalize())
    }
}

/// Key, cluster and fields of an item before rendering.
pub(crate) type Raw = (String, Option<String>, Fields);

fn render(config: &TaskConfig, split: Split, raw: Vec<Raw>) -> Vec<Item> {
    let fill = |template: &crate::Template, fields: &Fields| {
        template.render(fields).expect("templates are checked against the fields when the file is parsed")
    };
    raw.into_iter()
        .enumerate()
        .map(|(index, (key, cluster, fields))| Item {
            id: format!("{}-{index:05}", split.name()),
            cluster,
            key,
            prompt: fill(&config.prompt.template, &fields),
            response: fill(&config.prompt.response, &fields),
            fields,
        })
        .collect()
}
