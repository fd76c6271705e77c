mod training_state;

use std::collections::BTreeMap;
use std::ops::Deref;

use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::init::{Draw, Initializer};
use crate::{Error, Result, Role, Roles, Seeds, StateDict, state_dict};

/// Position of a tensor in its [`ParamStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParamId(usize);

/// A handle to a registered tensor: reads see what the optimizer wrote.
#[derive(Debug)]
pub struct Param {
    id: ParamId,
    tensor: Tensor,
}

impl Param {
    /// Its position in the store, for masks and gradients.
    pub fn id(&self) -> ParamId {
        self.id
    }

    /// Another handle.
    pub fn tensor(&self) -> Tensor {
        self.tensor.shallow_clone()
    }
}

impl Clone for Param {
    fn clone(&self) -> Self {
        Self { id: self.id, tensor: self.tensor() }
    }
}

impl Deref for Param {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.tensor
    }
}

/// Where a tensor that does not train is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// Part of the adapter: in adapter files and checkpoints.
    Adapter,
    /// State of the training run: in checkpoints only.
    Checkpoint,
}

/// What an entry of the store is.
#[derive(Debug)]
pub enum Kept {
    /// Trains when the phase trains its role.
    Trainable {
        /// Decides the optimizer group.
        role: Role,
        /// Entries that train, in the shape of the tensor (kind Bool); all where `None`.
        mask: Option<Tensor>,
    },
    /// Never trains.
    Buffer(Saved),
}

/// A tensor of an adapter.
#[derive(Debug)]
pub struct Entry {
    /// Module path and tensor name: `model.layers.0.self_attn.q_proj.lora_A.weight`.
    pub name: String,
    /// The values.
    pub tensor: Tensor,
    /// What it is.
    pub kept: Kept,
    /// Whether it belongs to the whole adapter and not to one site.
    pub shared: bool,
    /// How it was drawn, for tensors that can be drawn again instead of being stored.
    pub draw: Option<Draw>,
}

impl Entry {
    /// Its role, if it is trainable.
    pub fn role(&self) -> Option<Role> {
        match self.kept {
            Kept::Trainable { role, .. } => Some(role),
            Kept::Buffer(_) => None,
        }
    }

    /// Its mask, if it is trainable and has one.
    pub fn mask(&self) -> Option<&Tensor> {
        match &self.kept {
            Kept::Trainable { mask, .. } => mask.as_ref(),
            Kept::Buffer(_) => None,
        }
    }

    /// Whether it is written to adapter files.
    pub fn in_adapter(&self) -> bool {
        !matches!(self.kept, Kept::Buffer(Saved::Checkpoint))
    }

    /// How many of its values train.
    pub fn count_trainable(&self) -> u64 {
        match &self.kept {
            Kept::Trainable { mask: Some(mask), .. } => {
                mask.sum(Kind::Int64).int64_value(&[]).cast_unsigned()
            }
            Kept::Trainable { mask: None, .. } => self.tensor.numel() as u64,
            Kept::Buffer(_) => 0,
        }
    }
}

/// What an adapter is attached for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To be trained: its start matters.
    #[default]
    Train,
    /// To be overwritten by a file at once: only names and shapes matter, so nothing costly needs computing.
    Load,
}

/// All tensors of one adapter, in the order of registration.
#[derive(Debug, Default)]
pub struct ParamStore {
    entries: Vec<Entry>,
    by_name: BTreeMap<String, usize>,
    purpose: Purpose,
}

impl ParamStore {
    /// An empty store.
    pub fn new(purpose: Purpose) -> Self {
        Self { purpose, ..Self::default() }
    }

    /// The entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of `id`.
    pub fn entry(&self, id: ParamId) -> &Entry {
        &self.entries[id.0]
    }

    /// The entry called `name`.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name).map(|&index| &self.entries[index])
    }

    /// Trainable entries with their ids.
    pub fn trainables(&self) -> impl Iterator<Item = (ParamId, &Entry)> {
        self.entries.iter().enumerate().filter(|(_, e)| e.role().is_some()).map(|(i, e)| (ParamId(i), e))
    }

    /// Entries that require a gradient in the present phase.
    pub fn training(&self) -> impl Iterator<Item = (ParamId, &Entry)> {
        self.trainables().filter(|(_, e)| e.tensor.requires_grad())
    }

    /// Lets exactly the tensors of `roles` require gradients.
    pub fn train(&mut self, roles: &Roles) {
        for entry in &mut self.entries {
            if let Some(role) = entry.role() {
                entry.tensor = entry.tensor.set_requires_grad(roles.contains(role));
            }
        }
    }

    /// Restricts training of `id` to the entries where `mask` is true.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn set_mask(&mut self, id: ParamId, mask: &Tensor) -> Result<()> {
        let entry = &mut self.entries[id.0];
        if mask.size() != entry.tensor.size() {
            return Err(Error::site(
                &entry.name,
                format!("mask of shape {:?} for a tensor of shape {:?}", mask.size(), entry.tensor.size()),
            ));
        }
        let Kept::Trainable { mask: slot, .. } = &mut entry.kept else {
            panic!("`{}` does not train, so it has no mask", entry.name)
        };
        *slot = Some(mask.to_kind(Kind::Bool).to_device(entry.tensor.device()).contiguous());
        Ok(())
    }

    /// Overwrites a tensor registered by [`Params::drawn`] with a new draw from `seeds`.
    pub fn redraw(&mut self, id: ParamId, seeds: &Seeds) {
        let entry = &mut self.entries[id.0];
        let Some(draw) = &mut entry.draw else { panic!("`{}` was not drawn", entry.name) };
        draw.seeds = seeds.child(&entry.name);
        let values = draw.values(&entry.tensor.size(), entry.tensor.device());
        tch::no_grad(|| entry.tensor.copy_(&values));
    }

    /// Number of values that train (inside masks).
    pub fn count_trainable(&self) -> u64 {
        self.entries.iter().map(Entry::count_trainable).sum()
    }

    /// Number of values in the adapter file, frozen ones included.
    pub fn count_saved(&self) -> u64 {
        self.entries.iter().filter(|e| e.in_adapter()).map(|e| e.tensor.numel() as u64).sum()
    }

    /// Detached handles to the tensors of the adapter.
    pub fn adapter_tensors(&self) -> StateDict {
        self.collect(Entry::in_adapter)
    }

    /// Copies `tensors` into the adapter's tensors. Names and shapes must match exactly; kinds may differ only
    /// among floating-point kinds.
    ///
    /// # Errors
    /// [`Error::StateDict`] naming `origin`; nothing is copied then.
    pub fn load_adapter(&mut self, tensors: &StateDict, origin: &str) -> Result<()> {
        let expected = self.adapter_tensors();
        state_dict::copy_strictly(&expected, tensors, origin)
    }

    fn collect(&self, keep: impl Fn(&Entry) -> bool) -> StateDict {
        self.entries.iter().filter(|e| keep(e)).map(|e| (e.name.clone(), e.tensor.detach())).collect()
    }

    fn add(&mut self, entry: Entry) -> Result<ParamId> {
        let index = self.entries.len();
        if self.by_name.insert(entry.name.clone(), index).is_some() {
            return Err(Error::site(&entry.name, "a tensor of this name is registered already"));
        }
        self.entries.push(entry);
        Ok(ParamId(index))
    }
}

/// The way for a method to put tensors into the store: names are relative to the site at hand.
#[derive(Debug)]
pub struct Params<'a> {
    store: &'a mut ParamStore,
    prefix: Option<&'a str>,
    seeds: Seeds,
    device: Device,
}

impl<'a> Params<'a> {
    /// For the tensors of the site called `prefix`, or of the whole adapter where that is `None`.
    pub fn new(store: &'a mut ParamStore, prefix: Option<&'a str>, seeds: &Seeds, device: Device) -> Self {
        let seeds = seeds.child(prefix.unwrap_or(""));
        Self { store, prefix, seeds, device }
    }

    /// Registers a trainable tensor (kind Float, own contiguous storage).
    ///
    /// # Errors
    /// If the name is taken.
    pub fn trainable(&mut self, name: &str, role: Role, value: &Tensor) -> Result<Param> {
        let tensor = self.own(value, Kind::Float).set_requires_grad(true);
        let kept = Kept::Trainable { role, mask: None };
        let id = self.register(name, &tensor, kept)?;
        Ok(Param { id, tensor })
    }

    /// Registers a tensor that does not train (own contiguous storage).
    ///
    /// # Errors
    /// If the name is taken.
    pub fn buffer(&mut self, name: &str, value: &Tensor, saved: Saved) -> Result<Param> {
        let tensor = self.own(value, value.kind());
        let id = self.register(name, &tensor, Kept::Buffer(saved))?;
        Ok(Param { id, tensor })
    }

    /// Registers a random tensor of the adapter that does not train.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn drawn(&mut self, name: &str, initializer: Initializer, shape: &[i64]) -> Result<Param> {
        let draw = Draw { initializer, seeds: self.seeds.child(name) };
        let param = self.buffer(name, &draw.values(shape, self.device), Saved::Adapter)?;
        self.store.entries[param.id.0].draw = Some(draw);
        Ok(param)
    }

    /// Restricts training of `trainable` to the entries where `mask` is true.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn mask(&mut self, trainable: &Param, mask: &Tensor) -> Result<()> {
        self.store.set_mask(trainable.id, mask)
    }

    /// The stream for drawing the tensor called `name`.
    pub fn rng(&self, name: &str) -> ChaCha8Rng {
        self.seeds.child(name).rng()
    }

    /// The sub-tree of this site.
    pub fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    /// What the adapter is attached for.
    pub fn purpose(&self) -> Purpose {
        self.store.purpose
    }

    /// Where tensors live.
    pub fn device(&self) -> Device {
        self.device
    }

    fn own(&self, value: &Tensor, kind: Kind) -> Tensor {
        value.detach().to_device(self.device).to_kind(kind).contiguous().copy()
    }

    fn register(&mut self, name: &str, tensor: &Tensor, kept: Kept) -> Result<ParamId> {
        let full = match self.prefix {
            Some(prefix) => format!("{prefix}.{name}"),
            None => name.to_owned(),
        };
        let shared = self.prefix.is_none();
        self.store.add(Entry { name: full, tensor: tensor.shallow_clone(), kept, shared, draw: None })
    }
}
