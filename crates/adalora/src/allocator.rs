use tch::{Kind, Tensor};

use peft_core::low_rank::Dropout;
use peft_core::{Error, Param, Params, Purpose, Result, Role, Saved, Site, Step, init};

use crate::importance::Importance;
use crate::{Budget, Config, Moment, Triplets};

/// The tensors of one site, as the allocator sees them.
#[derive(Debug)]
pub struct Allotment {
    pub site: Site,
    pub a: Param,
    pub e: Param,
    pub b: Param,
    /// Triplets that are there for good, `[r]`: all until they are settled.
    pub rank_pattern: Param,
    /// Absent where nothing will train.
    tracked: Option<Tracked>,
}

#[derive(Debug)]
struct Tracked {
    a: Importance,
    e: Importance,
    b: Importance,
    /// Of the last allocation, `[r]`.
    score: Param,
}

impl Allotment {
    /// Registers the tensors of `site` with `rank` triplets.
    pub fn new(site: &Site, rank: i64, params: &mut Params<'_>) -> Result<Self> {
        /// Standard deviation of A and B, from the reference code.
        const DEVIATION: f32 = 0.02;
        let device = params.device();
        let normal = |name, size: [i64; 2], params: &Params<'_>| {
            init::normal(&size, DEVIATION, &mut params.rng(name), device)
        };
        let a = normal("lora_A", [rank, site.shape.in_features], params);
        let b = normal("lora_B", [site.shape.out_features, rank], params);
        let e = Tensor::zeros([rank, 1], (Kind::Float, device));
        let all = Tensor::ones([rank], (Kind::Bool, device));
        let tracked = (params.purpose() == Purpose::Train).then(|| Tracked::new(&a, &e, &b, params));
        Ok(Self {
            site: site.clone(),
            a: params.trainable("lora_A", Role::Down, &a)?,
            e: params.trainable("lora_E", Role::Diagonal, &e)?,
            b: params.trainable("lora_B", Role::Up, &b)?,
            rank_pattern: params.buffer("rank_pattern", &all, Saved::Checkpoint)?,
            tracked: tracked.transpose()?,
        })
    }

    /// Only the first `count` triplets are there: a file that was loaded holds no more.
    pub fn hold(&self, count: i64) {
        let pattern = self.rank_pattern.tensor();
        let _ = pattern.narrow(0, count, pattern.size()[0] - count).fill_(0);
    }

    /// The adapter of the site.
    pub fn triplets(&self, scaling: f64, dropout: Option<Dropout>) -> Triplets {
        Triplets { a: self.a.tensor(), e: self.e.tensor(), b: self.b.tensor(), scaling, dropout }
    }

    fn tracked(&self) -> &Tracked {
        self.tracked.as_ref().expect("an adapter attached for loading does not train")
    }

    fn measure(&self, step: &Step<'_>, decays: (f64, f64)) {
        let Tracked { a, e, b, .. } = self.tracked();
        for (param, importance) in [(&self.a, a), (&self.e, e), (&self.b, b)] {
            if let Some(gradient) = step.gradient(param.id()) {
                importance.update(param, gradient, decays);
            }
        }
    }

    /// Importance of each triplet: that of its entry of E, plus the means over its row of A and its column of B.
    fn score(&self) -> Tensor {
        let Tracked { a, e, b, score } = self.tracked();
        let mut score = score.tensor();
        score.copy_(&(e.mean_over(1) + a.mean_over(1) + b.mean_over(0)));
        score
    }

    /// Takes out of E what `kept [r]` leaves out.
    fn prune(&self, kept: &Tensor) {
        let _ = self.e.tensor().masked_fill_(&kept.logical_not().unsqueeze(1), 0.0);
    }
}

impl Tracked {
    fn new(a: &Tensor, e: &Tensor, b: &Tensor, params: &mut Params<'_>) -> Result<Self> {
        Ok(Self {
            a: Importance::new("lora_A", a, params)?,
            e: Importance::new("lora_E", e, params)?,
            b: Importance::new("lora_B", b, params)?,
            score: params.buffer("triplet_score", &e.squeeze_dim(1), Saved::Checkpoint)?,
        })
    }
}

/// Does what the budget asks for after `step`.
///
/// # Errors
/// [`Error::Config`] if the settled ranks are not within the budget.
pub fn allocate(sites: &[Allotment], budget: Budget, config: &Config, step: &Step<'_>) -> Result<()> {
    let n = step.index + 1;
    let moment = budget.moment(n);
    if matches!(moment, Moment::Measure | Moment::Allocate) {
        let decays = (config.sensitivity_decay, config.uncertainty_decay);
        for site in sites {
            site.measure(step, decays);
        }
    }
    match moment {
        Moment::Measure => {}
        Moment::Allocate => {
            prune(sites, budget.initial - budget.after(n));
        }
        Moment::Settle => {
            for (site, kept) in sites.iter().zip(prune(sites, budget.initial - budget.target)) {
                site.rank_pattern.tensor().copy_(&kept);
            }
            check_settled(sites, budget, step)?;
        }
        Moment::Settled => sites.iter().for_each(|site| site.prune(&site.rank_pattern)),
    }
    Ok(())
}

/// Prunes the `surplus` triplets of lowest score over all sites, and those that tie with them; what is kept, by site.
fn prune(sites: &[Allotment], surplus: i64) -> Vec<Tensor> {
    let scores: Vec<Tensor> = sites.iter().map(Allotment::score).collect();
    if surplus == 0 {
        return scores.iter().map(|score| score.ones_like().to_kind(Kind::Bool)).collect();
    }
    let (threshold, _) = Tensor::cat(&scores, 0).kthvalue(surplus, 0, false);
    let kept: Vec<Tensor> = scores.iter().map(|score| score.gt_tensor(&threshold)).collect();
    sites.iter().zip(&kept).for_each(|(site, kept)| site.prune(kept));
    kept
}

/// How many triplets take part.
pub fn count_active(sites: &[Allotment]) -> i64 {
    let entries: Vec<Tensor> = sites.iter().map(|site| site.e.detach()).collect();
    Tensor::cat(&entries, 0).count_nonzero(None).int64_value(&[])
}

/// That the tensors that train next, not only the patterns, are pruned to the target.
fn check_settled(sites: &[Allotment], budget: Budget, step: &Step<'_>) -> Result<()> {
    let entries: Vec<Tensor> =
        sites.iter().map(|site| step.store.entry(site.e.id()).tensor.detach()).collect();
    let kept = Tensor::cat(&entries, 0).count_nonzero(None).int64_value(&[]);
    if kept < 1 || kept > budget.target {
        let reason = format!(
            "after the last allocation {kept} triplets remain instead of {} (of {}); scores tie or are not finite",
            budget.target, budget.initial
        );
        return Err(Error::config("target_rank", budget.target / sites.len() as i64, reason));
    }
    Ok(())
}
