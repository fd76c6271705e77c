//! Which entries of B stay: the largest by magnitude, with one threshold for each group of sites.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use peft_core::{Error, Result, Site};

/// How sites are grouped under one threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// All sites together.
    #[default]
    Model,
    /// Attention and MLP apart.
    Module,
    /// Each kind of projection, across layers.
    Projection,
    /// Each layer.
    Layer,
    /// Each matrix.
    Matrix,
}

impl Granularity {
    /// Name of the group of `site`.
    pub fn group(self, site: &Site) -> String {
        match self {
            Self::Model => String::new(),
            Self::Module => site.module().to_owned(),
            Self::Projection => site.projection().to_owned(),
            Self::Layer => site.layer().map(|layer| layer.to_string()).unwrap_or_default(),
            Self::Matrix => site.name.clone(),
        }
    }
}

/// Number of entries that stay, of `entries`: int((1 - sparsity)·entries) in double precision, as the reference
/// computes it.
pub(crate) fn kept(sparsity: f64, entries: u64) -> u64 {
    ((1.0 - sparsity) * entries as f64) as u64
}

/// The mask of each site (kind Bool, shape of its B): |B| ≥ τ, where τ is the k-th largest |B| of the site's group and
/// k = int((1 - sparsity)·entries of the group). Ties at τ stay, so a mask may hold more than k.
///
/// Source: LoRI (arXiv 2504.07448) section 3.2; `extract_mask.py` of its repository.
///
/// # Errors
/// [`Error::Site`] if τ would be 0: the mask would be full, because nothing has trained yet.
pub fn masks(sites: &[Site], up: &[Tensor], sparsity: f64, granularity: Granularity) -> Result<Vec<Tensor>> {
    let magnitudes: Vec<Tensor> = up.iter().map(|b| b.detach().abs()).collect();
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, site) in sites.iter().enumerate() {
        groups.entry(granularity.group(site)).or_default().push(index);
    }
    let mut masks: Vec<Option<Tensor>> = sites.iter().map(|_| None).collect();
    for members in groups.values() {
        let flat: Vec<Tensor> = members.iter().map(|&i| magnitudes[i].reshape(-1)).collect();
        let all = Tensor::cat(&flat, 0);
        let entries = all.numel() as u64;
        let keep = kept(sparsity, entries);
        let threshold = (keep > 0).then(|| {
            let ascending = (entries - keep + 1).cast_signed();
            all.kthvalue(ascending, 0, false).0
        });
        if threshold.as_ref().is_some_and(|t| t.double_value(&[]) == 0.0) {
            let reason = format!(
                "only {} of {entries} entries of B have moved",
                all.count_nonzero(0).int64_value(&[])
            );
            return Err(Error::site(
                &sites[members[0]].name,
                format!("cannot keep {keep} entries: {reason}"),
            ));
        }
        for &i in members {
            masks[i] = Some(match &threshold {
                Some(threshold) => magnitudes[i].ge_tensor(threshold),
                None => magnitudes[i].zeros_like().to_kind(Kind::Bool),
            });
        }
    }
    Ok(masks.into_iter().map(|mask| mask.expect("every site is in a group")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use peft_core::{Seeds, SiteShape, init};
    use tch::Device;

    fn sites() -> (Vec<Site>, Vec<Tensor>) {
        let names = [
            "model.layers.0.self_attn.q_proj",
            "model.layers.0.mlp.up_proj",
            "model.layers.1.self_attn.q_proj",
            "model.layers.1.mlp.up_proj",
        ];
        let sites: Vec<Site> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let shape = SiteShape { out_features: 10 + index as i64, in_features: 6 };
                Site { index, name: (*name).to_owned(), shape }
            })
            .collect();
        let mut rng = Seeds::new(5).rng();
        // Different scales, so that one threshold for all gives different densities.
        let up = sites
            .iter()
            .map(|s| init::normal(&[s.shape.out_features, 4], 1.0 + s.index as f32, &mut rng, Device::Cpu))
            .collect();
        (sites, up)
    }

    fn counts(masks: &[Tensor]) -> Vec<i64> {
        masks.iter().map(|m| m.sum(Kind::Int64).int64_value(&[])).collect()
    }

    /// Against a sort of all magnitudes.
    #[test]
    fn one_threshold_for_the_model() {
        let (sites, up) = sites();
        let masks = masks(&sites, &up, 0.9, Granularity::Model).unwrap();
        let mut all: Vec<f32> =
            up.iter().flat_map(|b| Vec::<f32>::try_from(b.abs().reshape(-1)).unwrap()).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        let keep = ((1.0 - 0.9) * all.len() as f64) as usize;
        for (mask, b) in masks.iter().zip(&up) {
            let by_sort = b.abs().ge(f64::from(all[keep - 1]));
            assert_eq!(mask, &by_sort);
        }
        let counts = counts(&masks);
        assert_eq!(counts.iter().sum::<i64>(), keep as i64);
        assert!(counts[0] < counts[3], "densities differ between matrices: {counts:?}");
    }

    #[test]
    fn granularities_keep_their_share_in_every_group() {
        let (sites, up) = sites();
        let share = |entries: i64| (0.25 * entries as f64) as i64;
        let of = |granularity| counts(&masks(&sites, &up, 0.75, granularity).unwrap());
        assert_eq!(of(Granularity::Matrix), [share(40), share(44), share(48), share(52)]);
        let by_projection = of(Granularity::Projection);
        assert_eq!(by_projection[0] + by_projection[2], share(88));
        assert_eq!(by_projection[1] + by_projection[3], share(96));
        assert_eq!(of(Granularity::Module), by_projection, "here modules and projections coincide");
        let by_layer = of(Granularity::Layer);
        assert_eq!(by_layer[0] + by_layer[1], share(84));
    }

    #[test]
    fn edges() {
        let (sites, up) = sites();
        // int((1 - 0.9)·10) is 0 in double precision, though 10 % of 10 is 1: as the reference computes it.
        assert_eq!((kept(0.9, 10), kept(0.9, 44_040_192)), (0, 4_404_019));
        let none = masks(&sites, &up, 0.999, Granularity::Matrix).unwrap();
        assert_eq!(counts(&none), [0, 0, 0, 0]);
        let ties: Vec<Tensor> = up.iter().map(Tensor::ones_like).collect();
        let full: i64 = counts(&masks(&sites, &ties, 0.9, Granularity::Model).unwrap()).iter().sum();
        assert_eq!(full, 184, "ties stay");
        let zeros: Vec<Tensor> = up.iter().map(Tensor::zeros_like).collect();
        let error = masks(&sites, &zeros, 0.9, Granularity::Model).unwrap_err().to_string();
        assert!(error.contains("only 0 of 184 entries of B have moved"), "{error}");
    }
}
