use std::collections::BTreeMap;

use tch::Tensor;

use crate::Active;

/// A tensor of the base model outside the weights of linear layers: a norm, an embedding, a bias.
///
/// It can be fine-tuned as a whole under an adapter's name; without that adapter it is what it was.
#[derive(Debug)]
pub struct Parameter {
    name: String,
    frozen: Tensor,
    tuned: BTreeMap<String, Tensor>,
    active: Active,
}

impl Parameter {
    /// A frozen parameter.
    pub fn new(name: impl Into<String>, value: &Tensor) -> Self {
        Self { name: name.into(), frozen: value.detach(), tuned: BTreeMap::new(), active: Active::None }
    }

    /// Name in the model's files.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value in force, in the kind of the base.
    pub fn value(&self) -> Tensor {
        let value = match &self.active {
            Active::One(name) => self.tuned.get(name).unwrap_or(&self.frozen),
            Active::None => &self.frozen,
        };
        value.to_kind(self.frozen.kind())
    }

    /// The value of the base model.
    pub fn frozen(&self) -> &Tensor {
        &self.frozen
    }

    pub(crate) fn tune(&mut self, adapter: &str, value: Tensor) {
        self.tuned.insert(adapter.to_owned(), value);
    }

    pub(crate) fn drop_adapter(&mut self, name: &str) {
        self.tuned.remove(name);
    }

    pub(crate) fn activate(&mut self, active: &Active) {
        self.active = active.clone();
    }
}
