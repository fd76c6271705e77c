//! What training changes in a store, and the way back.

use std::collections::BTreeMap;

use super::{Entry, Kept, ParamId, ParamStore};
use crate::{Error, Result, Seeds, StateDict, state_dict};

impl ParamStore {
    /// Detached handles to all tensors, and the masks as `<name>.mask`.
    pub fn checkpoint_tensors(&self) -> StateDict {
        let mut all = self.collect(|_| true);
        for entry in &self.entries {
            if let Some(mask) = entry.mask() {
                all.insert(format!("{}.mask", entry.name), mask.shallow_clone());
            }
        }
        all
    }

    /// The reverse of [`Self::checkpoint_tensors`]: a tensor without a mask there has none here either.
    ///
    /// # Errors
    /// [`Error::StateDict`] naming `origin`; nothing is copied then.
    pub fn load_checkpoint(&mut self, tensors: &StateDict, origin: &str) -> Result<()> {
        let is_mask = |name: &str| {
            name.strip_suffix(".mask").is_some_and(|n| self.find(n).is_some_and(|e| e.role().is_some()))
        };
        let (masks, values): (Vec<_>, Vec<_>) = tensors.iter().partition(|(name, _)| is_mask(name));
        let values: StateDict = values.into_iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect();
        state_dict::copy_strictly(&self.collect(|_| true), &values, origin)?;
        for entry in &mut self.entries {
            if let Kept::Trainable { mask, .. } = &mut entry.kept {
                *mask = None;
            }
        }
        for (name, mask) in masks {
            let index = self.by_name[name.trim_end_matches(".mask")];
            self.set_mask(ParamId(index), mask)?;
        }
        Ok(())
    }

    /// The streams of the tensors registered by [`super::Params::drawn`], by name: a method may have drawn anew.
    pub fn draws(&self) -> BTreeMap<String, Seeds> {
        let drawn = |entry: &Entry| Some((entry.name.clone(), entry.draw.as_ref()?.seeds.clone()));
        self.entries.iter().filter_map(drawn).collect()
    }

    /// The reverse of [`Self::draws`]; the values are those that [`Self::load_checkpoint`] copies.
    ///
    /// # Errors
    /// [`Error::StateDict`] naming `origin` if other tensors were drawn there; nothing is changed then.
    pub fn load_draws(&mut self, draws: &BTreeMap<String, Seeds>, origin: &str) -> Result<()> {
        let own = self.draws();
        let missing: Vec<String> = own.keys().filter(|name| !draws.contains_key(*name)).cloned().collect();
        let unexpected: Vec<String> = draws.keys().filter(|name| !own.contains_key(*name)).cloned().collect();
        if !(missing.is_empty() && unexpected.is_empty()) {
            let origin = format!("{origin}: random streams");
            return Err(Error::StateDict { origin, missing, unexpected, mismatched: Vec::new() });
        }
        for entry in &mut self.entries {
            if let (Some(draw), Some(seeds)) = (&mut entry.draw, draws.get(&entry.name)) {
                draw.seeds = seeds.clone();
            }
        }
        Ok(())
    }
}
