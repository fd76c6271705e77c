use crate::SiteShape;
use crate::{AdaptedLinear, Parameter, Storage};

/// Which adapter of a model is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Active {
    /// The base model.
    #[default]
    None,
    /// The adapter of this name.
    One(String),
}

/// A part of a model that adapters can reach.
#[derive(Debug)]
pub enum Part<'a> {
    /// A linear layer (its bias comes with it).
    Linear(&'a mut AdaptedLinear),
    /// Anything else.
    Parameter(&'a mut Parameter),
}

/// What a model must offer: its parts, in a fixed order.
pub trait Adaptable {
    /// All parts.
    fn parts(&mut self) -> Vec<Part<'_>>;

    /// All linear layers.
    fn linears(&mut self) -> Vec<&mut AdaptedLinear> {
        self.parts()
            .into_iter()
            .filter_map(|part| match part {
                Part::Linear(linear) => Some(linear),
                Part::Parameter(_) => None,
            })
            .collect()
    }

    /// Puts an adapter, or none, in force.
    fn activate(&mut self, active: &Active) {
        for part in self.parts() {
            match part {
                Part::Linear(linear) => linear.activate(active),
                Part::Parameter(parameter) => parameter.activate(active),
            }
        }
    }

    /// Stores the weights of the layers as `storage` says, all but the output head and those that are stored in
    /// another form already.
    fn store(&mut self, storage: &dyn Storage) {
        if !storage.is_lossy() {
            return;
        }
        for linear in self.linears() {
            if !linear.is_head() && linear.frozen().as_dense().is_some() {
                linear.store(storage);
            }
        }
    }

    /// Merges the active adapter into every layer that carries it.
    fn merge(&mut self) {
        for linear in self.linears() {
            if linear.carries_active() {
                linear.merge();
            }
        }
    }

    /// Undoes [`Self::merge`], exactly.
    fn unmerge(&mut self) {
        for linear in self.linears() {
            linear.unmerge();
        }
    }

    /// Number of values in the base, a tied tensor counted once.
    fn count_parameters(&mut self) -> u64 {
        let count = |part: &Part<'_>| match part {
            Part::Parameter(parameter) => parameter.frozen().numel() as u64,
            Part::Linear(linear) => {
                let SiteShape { out_features, in_features } = linear.shape();
                let bias = linear.bias().map_or(0, |bias| bias.frozen().numel());
                (out_features * in_features) as u64 + bias as u64
            }
        };
        self.parts().iter().map(count).sum()
    }
}
