//! Where the sparse part lies: at the largest entries of what was collected of ∂loss/∂W.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use peft_core::{Error, Param, Result, Site, StateDict, copy_strictly, tensor_file};

/// What is averaged over the micro-batches of the collecting steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// (∂loss/∂W)², the diagonal of the empirical Fisher information.
    #[default]
    #[serde(alias = "mean_squared")]
    MeanSquared,
    /// ∂loss/∂W: gradients of opposite sign cancel.
    Mean,
}

/// The `count` entries of `score` of largest magnitude, as ascending flat positions `[count]` of kind Int64.
///
/// Source: RoSA (arXiv 2401.04679) algorithm 1; each weight by itself, exactly `count`, among equals any.
pub fn largest(score: &Tensor, count: i64) -> Tensor {
    score.abs().reshape(-1).topk(count, 0, true, false).1.sort(0, false).0
}

/// Running means by site, while collecting.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    by_site: BTreeMap<String, (Tensor, u32)>,
}

impl Collected {
    /// Adds the gradient of a micro-batch whose share in the step's loss is `share`: the mean is over micro-batches,
    /// so each counts with the gradient of its own loss.
    pub fn add(&mut self, site: &Site, gradient: &Tensor, share: f64, score: Score) {
        let gradient = gradient.detach().to_kind(Kind::Float) / share;
        let new = match score {
            Score::MeanSquared => gradient.square(),
            Score::Mean => gradient,
        };
        match self.by_site.get_mut(&site.name) {
            None => {
                self.by_site.insert(site.name.clone(), (new, 1));
            }
            Some((mean, count)) => {
                *count += 1;
                *mean += (new - &*mean) / f64::from(*count);
            }
        }
    }

    /// `<site>.mean [out, in]` and `<site>.count` of every site with something collected.
    pub fn state(&self) -> StateDict {
        self.by_site
            .iter()
            .flat_map(|(site, (mean, count))| {
                let count = Tensor::from(i64::from(*count));
                [(mean_of(site), mean.shallow_clone()), (count_of(site), count)]
            })
            .collect()
    }

    /// The reverse of [`Self::state`] for an adapter with a sparse part at `placed`.
    ///
    /// # Errors
    /// [`Error::StateDict`] for tensors that fit no site.
    pub fn from_state(state: &StateDict, placed: &[(Site, Param)], origin: &str) -> Result<Self> {
        let mut own = StateDict::new();
        for (site, positions) in placed.iter().filter(|(site, _)| state.contains_key(&mean_of(&site.name))) {
            let shape = [site.shape.out_features, site.shape.in_features];
            own.insert(mean_of(&site.name), Tensor::zeros(shape, (Kind::Float, positions.device())));
            own.insert(count_of(&site.name), Tensor::from(0i64));
        }
        copy_strictly(&own, state, origin)?;
        let of = |(site, _): &(Site, Param)| {
            let count = own.get(&count_of(&site.name))?.int64_value(&[]) as u32;
            Some((site.name.clone(), (own[&mean_of(&site.name)].shallow_clone(), count)))
        };
        Ok(Self { by_site: placed.iter().filter_map(of).collect() })
    }

    /// Takes the mean of `site`.
    ///
    /// # Errors
    /// [`Error::Site`] if there is none, or if it is not finite.
    pub fn take(&mut self, site: &Site) -> Result<Tensor> {
        let (mean, _) = self.by_site.remove(&site.name).ok_or_else(|| {
            Error::site(
                &site.name,
                "has no mask: `collection_steps` is 0, `mask` is not given, and no file holds one",
            )
        })?;
        if mean.isfinite().all().int64_value(&[]) == 0 {
            return Err(Error::site(&site.name, "a gradient that was collected for the mask is not finite"));
        }
        Ok(mean)
    }
}

fn mean_of(site: &str) -> String {
    format!("{site}.mean")
}

fn count_of(site: &str) -> String {
    format!("{site}.count")
}

/// The masks of a file, as flat positions by site.
///
/// # Errors
/// If the file cannot be read, or lacks a site, or holds a mask of another shape or another number of entries.
pub(crate) fn read(path: &Path, sites: &[(Site, i64)]) -> Result<BTreeMap<String, Tensor>> {
    let (tensors, _) = tensor_file::read(path)?;
    let mut masks = BTreeMap::new();
    for (site, count) in sites {
        let name = format!("mask.{}", site.name);
        let bad = |reason: String| Error::format(path, format!("`{name}`: {reason}"));
        let mask = tensors.get(&name).ok_or_else(|| bad("is missing".to_owned()))?;
        let shape = [site.shape.out_features, site.shape.in_features];
        if mask.size() != shape {
            return Err(bad(format!("expected shape {shape:?}, found {:?}", mask.size())));
        }
        let positions = mask.reshape(-1).nonzero().view(-1);
        if positions.numel() as i64 != *count {
            return Err(bad(format!("expected {count} entries by `density`, found {}", positions.numel())));
        }
        masks.insert(site.name.clone(), positions);
    }
    Ok(masks)
}
