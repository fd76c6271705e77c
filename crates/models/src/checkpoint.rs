//! Weights from safetensors files, single or in shards.

use std::collections::{BTreeMap, BTreeSet};

use peft_core::nf4::{self, Nf4Tensor};
use peft_core::tensor_file::TensorFile;
use peft_core::{Error, Result, Seeds, StateDict};
use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};

use crate::ModelConfig;
use crate::decoder::Decoder;
use crate::files::ModelFiles;
use crate::weights::{Fresh, Init, Outline, Weights};

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PICKLE: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Ends of the names of tensors that a file may hold in excess: tables that are computed here.
const HARMLESS: [&str; 4] =
    ["rotary_emb.inv_freq", "embeddings.position_ids", ".attn.bias", ".attn.masked_bias"];

/// Beginnings of the names of heads, of pretraining and of tasks, that a new head replaces.
const HEADS: [&str; 10] = [
    "bert.pooler.",
    "classifier.",
    "cls.",
    "lm_head.",
    "lm_predictions.",
    "mask_predictions.",
    "pooler.",
    "qa_outputs.",
    "roberta.pooler.",
    "score.",
];

/// The tensors of a model on disk. They are mapped, and copied one by one as they are asked for.
#[derive(Debug)]
struct Checkpoint<'a> {
    origin: String,
    shards: Vec<TensorFile>,
    shard_of: BTreeMap<String, usize>,
    kind: Kind,
    device: Device,
    /// What a file of the bare stack leaves out at the beginning of its names.
    base: &'static str,
    new: Option<NewTensors<'a>>,
    read: BTreeSet<String>,
    missing: Vec<String>,
    mismatched: Vec<String>,
    failure: Option<Error>,
}

impl Decoder {
    /// The model in `files`, with tensors of `kind` (what the config says where `None`) on `device`.
    ///
    /// # Errors
    /// For a config that is not understood, a file that is missing or truncated, and, naming all of them, tensors
    /// that are missing, unexpected or of another shape.
    pub fn load(files: &ModelFiles, kind: Option<Kind>, device: Device) -> Result<Self> {
        let config = ModelConfig::load(files)?;
        load(files, &config, kind, device, None, |weights, kind| Self::new(&config, weights, kind, device))
    }
}

/// Tensors of a head that may be drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewTensors<'a> {
    /// Streams, by the names of tensors.
    pub(crate) seeds: &'a Seeds,
    /// Their σ.
    pub(crate) std: f64,
    /// The module that is drawn even if the files hold one.
    pub(crate) always: &'static str,
    /// A module inside the body's name that the files may lack.
    pub(crate) pooler: Option<&'static str>,
}

/// The model that `build` makes of the tensors in `files`; with `new`, those outside the body may be missing there, and
/// others outside the body are left out.
pub(crate) fn load<M>(
    files: &ModelFiles,
    config: &ModelConfig,
    kind: Option<Kind>,
    device: Device,
    new: Option<NewTensors<'_>>,
    build: impl FnOnce(&mut dyn Weights, Kind) -> Result<M>,
) -> Result<M> {
    let kind = kind.unwrap_or(config.kind());
    let mut checkpoint = Checkpoint::open(files, config.base(), kind, device)?;
    checkpoint.new = new;
    let model = build(&mut checkpoint, kind)?;
    checkpoint.finish()?;
    Ok(model)
}

impl ModelConfig {
    /// The config in `files`.
    ///
    /// # Errors
    /// If there is none, or as [`ModelConfig::parse`].
    pub fn load(files: &ModelFiles) -> Result<Self> {
        const NAME: &str = "config.json";
        Self::parse(files.find_json(NAME)?.ok_or_else(|| files.absent(NAME))?)
    }
}

impl Checkpoint<'_> {
    fn open(files: &ModelFiles, base: &'static str, kind: Kind, device: Device) -> Result<Self> {
        let (shards, shard_of) = match files.find_json(INDEX)? {
            Some(index) => open_shards(files, &index)?,
            None => {
                let whole = open_whole(files)?;
                let names = whole.names().iter().map(|name| (name.clone(), 0)).collect();
                (vec![whole], names)
            }
        };
        let origin = match &shards[..] {
            [whole] => whole.path().display().to_string(),
            _ => files.place(INDEX).display().to_string(),
        };
        Ok(Self {
            origin,
            shards,
            shard_of,
            kind,
            device,
            base,
            new: None,
            read: BTreeSet::new(),
            missing: Vec::new(),
            mismatched: Vec::new(),
            failure: None,
        })
    }

    /// What the file calls the tensor called `name`: the same, or without the name of the body, or by the names that norms
    /// had before transformers 1.
    fn find(&self, name: &str) -> Option<String> {
        let bare = name.strip_prefix(self.base).unwrap_or(name);
        let old = |name: &str| {
            let norm = name.strip_suffix(".weight").map(|norm| format!("{norm}.gamma"));
            norm.or_else(|| name.strip_suffix(".bias").map(|norm| format!("{norm}.beta")))
        };
        let names = [Some(name.to_owned()), Some(bare.to_owned()), old(name), old(bare)];
        names.into_iter().flatten().find(|name| self.shard_of.contains_key(name))
    }

    /// The tensor that the files call `name`, or its size if that is not `shape`.
    fn read(&mut self, name: String, shape: &[i64]) -> Result<std::result::Result<Tensor, Vec<i64>>> {
        let shard = &self.shards[self.shard_of[&name]];
        let size = shard.size(&name)?;
        let tensor =
            if size == shape { Ok(shard.tensor_as(&name, self.kind, self.device)?) } else { Err(size) };
        self.read.insert(name);
        Ok(tensor)
    }

    /// The tensor `name` of a new head, if it is one and the files do not hold it.
    fn draw(&self, name: &str, shape: &[i64], init: Init) -> Option<Tensor> {
        let NewTensors { seeds, std, always, pooler } = self.new?;
        let of_head = !name.starts_with(self.base) || pooler.is_some_and(|pooler| name.starts_with(pooler));
        let absent = of_head && self.find(name).is_none();
        (absent || name.starts_with(always))
            .then(|| Fresh { std, seeds, kind: self.kind, device: self.device }.tensor(name, shape, init))
    }

    /// Whether a tensor of the files may be left out.
    fn spare(&self, name: &str) -> bool {
        let outside = self.new.is_some() && HEADS.iter().any(|head| name.starts_with(head));
        outside || HARMLESS.iter().any(|end| name.ends_with(end))
    }

    /// Whether everything fitted.
    fn finish(mut self) -> Result<()> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let unread = self.shard_of.keys().filter(|name| !self.read.contains(*name)).cloned();
        let unexpected: Vec<String> = unread.filter(|name| !self.spare(name)).collect();
        if self.missing.is_empty() && unexpected.is_empty() && self.mismatched.is_empty() {
            return Ok(());
        }
        let Self { origin, missing, mismatched, .. } = self;
        Err(Error::StateDict { origin, missing, unexpected, mismatched })
    }
}

fn open_whole(files: &ModelFiles) -> Result<TensorFile> {
    let opened = files.tensors(WHOLE);
    if let Err(Error::Io { source, .. }) = &opened
        && source.kind() == std::io::ErrorKind::NotFound
        && let Some(pickle) = PICKLE.into_iter().find(|name| matches!(files.find(name), Ok(Some(_))))
    {
        let reason = format!(
            "{} is wanted: a pickle can run any program when it is read",
            files.place(WHOLE).display()
        );
        return Err(Error::Unsupported { what: files.place(pickle).display().to_string(), reason });
    }
    opened
}

/// `index` holds `weight_map`: tensor name to file name.
fn open_shards(
    files: &ModelFiles,
    index: &Map<String, Value>,
) -> Result<(Vec<TensorFile>, BTreeMap<String, usize>)> {
    let bad = |reason: &str| Error::format(files.place(INDEX), reason);
    let map = index.get("weight_map").and_then(Value::as_object).ok_or_else(|| bad("no `weight_map`"))?;
    let mut names = BTreeMap::new();
    for (tensor, file) in map {
        names.insert(tensor, file.as_str().ok_or_else(|| bad("`weight_map` must name files"))?);
    }
    let distinct: BTreeSet<&str> = names.values().copied().collect();
    let shards: Vec<TensorFile> = distinct.iter().map(|file| files.tensors(file)).collect::<Result<_>>()?;
    let mut shard_of = BTreeMap::new();
    for (i, shard) in shards.iter().enumerate() {
        shard_of.extend(shard.names().iter().map(|name| (name.clone(), i)));
    }
    match names.keys().find(|name| !shard_of.contains_key(**name)) {
        Some(name) => Err(bad(&format!("`{name}` is not in `{}`", names[name]))),
        None => Ok((shards, shard_of)),
    }
}

impl Weights for Checkpoint<'_> {
    fn tensor(&mut self, name: &str, shape: &[i64], init: Init) -> Tensor {
        if let Some(new) = self.draw(name, shape, init) {
            return new;
        }
        let found = self.find(name);
        match found.map(|found| self.read(found, shape)) {
            Some(Ok(Ok(tensor))) => return tensor,
            Some(Ok(Err(size))) => {
                self.refuse(name, &format!("expected shape {shape:?}, found {size:?}"));
            }
            Some(Err(error)) => self.failure = self.failure.take().or(Some(error)),
            None => self.missing.push(name.to_owned()),
        }
        // The model will not be used; this stands in for the tensor until everything that is wrong is known.
        Outline.tensor(name, shape, init)
    }

    fn holds(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn quantized(&mut self, name: &str, shape: [i64; 2]) -> Option<Nf4Tensor> {
        let weight = self.find(name)?;
        self.shard_of.get(&format!("{weight}{}", nf4::STATE_SUFFIX))?;
        let of_weight =
            |part: &&String| **part == weight || part.strip_prefix(&weight).is_some_and(nf4::is_part);
        let parts: Vec<String> = self.shard_of.keys().filter(of_weight).cloned().collect();
        let tensors = parts.into_iter().map(|part| {
            let tensor = self.shards[self.shard_of[&part]].tensor(&part)?;
            self.read.insert(part.clone());
            Ok((part, tensor))
        });
        let read = tensors
            .collect::<Result<StateDict>>()
            .and_then(|tensors| Nf4Tensor::read(&weight, &tensors, self.kind, self.device));
        match read {
            Ok(stored) if stored.shape() == shape => Some(stored),
            Ok(stored) => {
                self.refuse(name, &format!("expected shape {shape:?}, found {:?} in 4 bits", stored.shape()));
                None
            }
            Err(error) => {
                self.failure = self.failure.take().or(Some(error));
                None
            }
        }
    }

    fn refuse(&mut self, name: &str, reason: &str) {
        self.mismatched.push(format!("{name}: {reason}"));
    }
}
