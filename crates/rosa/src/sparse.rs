//! The sparse part, which RoSA and SpA share: from collecting gradients to files.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use peft_core::{
    Attached, Error, FileTensors, LowRank, Param, Params, Phase, PhaseContext, Purpose, Result, Role, Saved,
    Site, StateDict,
};

use crate::mask::{self, Collected};
use crate::{Csr, RobustUpdate, SpaConfig};

const VALUES: &str = "rosa_spa.values";
const POSITIONS: &str = "rosa_spa.positions";
const ROW_OFFS: &str = "rosa_spa.row_offs";
const COL_IDX: &str = "rosa_spa.col_idx";
const ROW_IDX: &str = "rosa_spa.row_idx";

/// The sparse parts of all sites.
#[derive(Debug)]
pub(crate) struct Sparse {
    config: SpaConfig,
    placed: Vec<(Site, Param)>,
    /// Positions by site, from a file.
    given: BTreeMap<String, Tensor>,
    collected: Collected,
    /// Whether what was collected came from a checkpoint.
    restored: bool,
    /// The phase that collects.
    collects: Option<usize>,
    /// The phase that begins with the mask.
    last: usize,
}

impl Sparse {
    pub fn new(config: SpaConfig) -> Self {
        Self {
            config,
            placed: Vec::new(),
            given: BTreeMap::new(),
            collected: Collected::default(),
            restored: false,
            collects: None,
            last: 0,
        }
    }

    pub fn begin(&mut self, sites: &[Site], shared: &Params<'_>) -> Result<()> {
        let counted = |site: &Site| (site.clone(), self.config.entries(site.shape));
        let sites: Vec<(Site, i64)> = sites.iter().map(counted).collect();
        if let Some((site, _)) = sites.iter().find(|(_, entries)| *entries == 0) {
            let reason = format!("a share of {} of its entries is none", self.config.density);
            return Err(Error::site(&site.name, reason));
        }
        if let (Some(path), Purpose::Train) = (&self.config.mask, shared.purpose()) {
            self.given = mask::read(path, &sites)?;
        }
        Ok(())
    }

    pub fn attach(&mut self, site: &Site, low_rank: LowRank, params: &mut Params<'_>) -> Result<Attached> {
        let entries = self.config.entries(site.shape);
        let zeros = Tensor::zeros([entries], (Kind::Float, params.device()));
        let values = params.trainable(VALUES, Role::Sparse, &zeros)?.tensor();
        let positions = match self.given.remove(&site.name) {
            Some(given) => given,
            None => Tensor::full([entries], -1, (Kind::Int64, Device::Cpu)),
        };
        let positions = params.buffer(POSITIONS, &positions, Saved::Adapter)?;
        let update = RobustUpdate { low_rank, values, positions: positions.tensor(), shape: site.shape };
        self.placed.push((site.clone(), positions));
        Ok(Attached::new(update))
    }

    /// Steps that collect; none where a file holds the mask.
    pub fn collecting(&self, steps: u64) -> Result<u64> {
        if self.config.mask.is_some() {
            return Ok(0);
        }
        self.config.collection_steps.steps(steps, "collection_steps")
    }

    /// The phases that have steps.
    pub fn planned(&mut self, phases: impl Iterator<Item = Phase>) -> Vec<Phase> {
        let phases: Vec<Phase> = phases.filter(|phase| phase.steps > 0).collect();
        self.collects = phases.iter().position(|phase| phase.weight_grads);
        self.last = phases.len() - 1;
        phases
    }

    /// Fixes the masks when the sparse part begins. An adapter that has masks keeps them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when a run resumes while collecting without what was collected; [`Error::Site`] where there
    /// is nothing to go by.
    pub fn enter_phase(&mut self, index: usize, context: &PhaseContext<'_>) -> Result<()> {
        if context.resumed && self.collects == Some(index) && !self.restored {
            return Err(Error::Unsupported {
                what: "resuming between two steps that collect gradients, without what they collected"
                    .to_owned(),
                reason: "fewer gradients would choose another mask".to_owned(),
            });
        }
        if index != self.last || context.resumed {
            return Ok(());
        }
        for (site, positions) in &self.placed {
            if !has_mask(positions) {
                let score = self.collected.take(site)?;
                positions.tensor().copy_(&mask::largest(&score, positions.size()[0]));
            }
        }
        self.collected = Collected::default();
        Ok(())
    }

    /// What was collected so far; the masks are in the store.
    pub fn training_state(&self) -> StateDict {
        self.collected.state()
    }

    /// The reverse of [`Self::training_state`].
    ///
    /// # Errors
    /// [`Error::StateDict`] for tensors that fit no site.
    pub fn restore_training_state(&mut self, state: &StateDict, origin: &str) -> Result<()> {
        self.collected = Collected::from_state(state, &self.placed, origin)?;
        self.restored = true;
        Ok(())
    }

    pub fn observe(&mut self, site: &Site, gradient: &Tensor, share: f64) {
        self.collected.add(site, gradient, share, self.config.score);
    }

    /// Positions as compressed rows; nothing of the sparse part before there is a mask.
    pub fn export(&self, tensors: StateDict) -> StateDict {
        let mut file = tensors;
        for (site, _) in &self.placed {
            let name = |tensor: &str| format!("{}.{tensor}", site.name);
            let Some(positions) = file.remove(&name(POSITIONS)) else { continue };
            if has_mask(&positions) {
                let Csr { row_offs, col_idx, row_idx } = Csr::from_positions(&positions, site.shape);
                for (tensor, value) in [(ROW_OFFS, row_offs), (COL_IDX, col_idx), (ROW_IDX, row_idx)] {
                    file.insert(name(tensor), value);
                }
            } else {
                file.remove(&name(VALUES));
            }
        }
        file
    }

    /// The reverse of [`Self::export`].
    ///
    /// # Errors
    /// [`Error::StateDict`] if an index is missing, [`Error::Format`] if indices are wrong.
    pub fn import(&self, file: FileTensors<'_>, sites: &[Site]) -> Result<StateDict> {
        let mut tensors = file.shallow_clone();
        for site in sites {
            let name = |tensor: &str| format!("{}.{tensor}", site.name);
            let has = |tensor: &str| tensors.contains_key(&name(tensor));
            if ![VALUES, POSITIONS, ROW_OFFS, COL_IDX].into_iter().any(has) {
                let entries = self.config.entries(site.shape);
                let zeros = Tensor::zeros([entries], (Kind::Float, Device::Cpu));
                tensors.insert(name(POSITIONS), zeros.to_kind(Kind::Int64) - 1);
                tensors.insert(name(VALUES), zeros);
                continue;
            }
            if has(POSITIONS) || !(has(ROW_OFFS) || has(COL_IDX)) {
                continue; // as the store holds it; what is missing there is named when it is copied
            }
            let mut take = |tensor: &str| {
                tensors.remove(&name(tensor)).ok_or_else(|| Error::StateDict {
                    origin: file.origin.to_owned(),
                    missing: vec![name(tensor)],
                    unexpected: vec![],
                    mismatched: vec![],
                })
            };
            let (row_offs, col_idx) = (take(ROW_OFFS)?, take(COL_IDX)?);
            let positions = Csr::positions(&row_offs, &col_idx, site.shape)
                .map_err(|reason| Error::format(file.origin, format!("`{}`: {reason}", name("rosa_spa"))))?;
            tensors.remove(&name(ROW_IDX));
            tensors.insert(name(POSITIONS), positions);
        }
        Ok(tensors)
    }
}

/// Positions are -1 until a mask gives them.
fn has_mask(positions: &Tensor) -> bool {
    positions.min().int64_value(&[]) >= 0
}

impl SpaConfig {
    /// Values of the sparse parts of all `sites`.
    pub(crate) fn count(&self, sites: &[Site]) -> u64 {
        sites.iter().map(|site| self.entries(site.shape).cast_unsigned()).sum()
    }
}

/// What is left of a run of `steps` for the sparse part.
///
/// # Errors
/// [`Error::Config`] if nothing is.
pub(crate) fn rest(steps: u64, before: u64) -> Result<u64> {
    if before >= steps {
        let reason = format!("a run of {steps} steps has none left for the sparse part");
        return Err(Error::config("collection_steps", before, reason));
    }
    Ok(steps - before)
}
