use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{Entry, Error, Gradients, ParamId, ParamStore, Result, Role, StateDict};

/// Settings of [`AdamW`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// η: learning rate, before the schedule.
    pub lr: f64,
    /// β₁, β₂.
    pub betas: (f64, f64),
    /// ε, added to √v̂.
    pub eps: f64,
    /// λ: decoupled weight decay.
    pub weight_decay: f64,
    /// Factors of the learning rate by role (LoRA+: `{ up = 16 }`); 1 where not given.
    pub lr_ratio: BTreeMap<Role, f64>,
    /// Learning rates by role that replace `lr`.
    pub lr_by_role: BTreeMap<Role, f64>,
    /// Weight decay by role, where it is not `weight_decay`.
    pub weight_decay_by_role: BTreeMap<Role, f64>,
    /// Clipping of gradients.
    pub clip: Clip,
}

impl Default for AdamWConfig {
    /// PyTorch's defaults, without weight decay.
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            lr_ratio: BTreeMap::new(),
            lr_by_role: BTreeMap::new(),
            weight_decay_by_role: BTreeMap::new(),
            clip: Clip::None,
        }
    }
}

impl AdamWConfig {
    /// The learning rate of `role`.
    pub fn lr_of(&self, role: Role) -> f64 {
        let lr = self.lr_by_role.get(&role).copied().unwrap_or(self.lr);
        lr * self.lr_ratio.get(&role).copied().unwrap_or(1.0)
    }

    /// The weight decay of `role`.
    pub fn weight_decay_of(&self, role: Role) -> f64 {
        self.weight_decay_by_role.get(&role).copied().unwrap_or(self.weight_decay)
    }
}

/// How gradients are clipped: by the factor min(1, max_norm/(norm + 1e-6)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clip {
    /// Not at all.
    #[default]
    None,
    /// By the norm over all tensors together.
    Global(f64),
    /// By the norm of each tensor (LoRI).
    PerTensor(f64),
}

impl Clip {
    /// The factor for a tensor of norm `own` when all together have norm `all`.
    pub fn factor(self, own: f64, all: f64) -> f64 {
        /// As `torch.nn.utils.clip_grad_norm_`.
        const EPSILON: f64 = 1e-6;
        let limited = |max_norm: f64, norm: f64| (max_norm / (norm + EPSILON)).min(1.0);
        match self {
            Self::None => 1.0,
            Self::Global(max_norm) => limited(max_norm, all),
            Self::PerTensor(max_norm) => limited(max_norm, own),
        }
    }
}

/// AdamW (Loshchilov and Hutter, arXiv 1711.05101) with decoupled weight decay, one step count for each tensor:
///
/// m ← β₁m + (1-β₁)g, v ← β₂v + (1-β₂)g², p ← p(1 - ηλ) - η·(m/(1-β₁ᵗ))/(√v/√(1-β₂ᵗ) + ε)
///
/// A tensor without a gradient is skipped altogether. Of a masked tensor only the entries inside the mask exist
/// here: their moments are packed to `[nnz]`, and neither decay nor update reaches the others.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    moments: BTreeMap<String, Moments>,
}

#[derive(Debug)]
struct Moments {
    /// Flat positions of the entries that train, `[nnz]`; all where `None`.
    packed: Option<Tensor>,
    first: Tensor,
    second: Tensor,
    steps: u64,
}

/// What a step did.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// L2 norm of all gradients together, after masking, before clipping.
    pub grad_norm: f64,
}

impl AdamW {
    /// A fresh optimizer.
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, moments: BTreeMap::new() }
    }

    /// The settings.
    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// Changes the learning rate of roles without a rate of their own.
    pub fn set_lr(&mut self, lr: f64) {
        self.config.lr = lr;
    }

    /// Moves every tensor of `store` that has a gradient; `lr_factor` is the schedule's.
    pub fn step(&mut self, store: &ParamStore, gradients: &Gradients, lr_factor: f64) -> StepReport {
        self.step_along(store, gradients, lr_factor, |_, gradient| gradient)
    }

    /// As [`Self::step`], with each gradient turned by `precondition` after clipping. The gradient of a masked tensor
    /// is packed to its entries inside the mask, `[nnz]`.
    pub fn step_along(
        &mut self,
        store: &ParamStore,
        gradients: &Gradients,
        lr_factor: f64,
        precondition: impl Fn(ParamId, Tensor) -> Tensor,
    ) -> StepReport {
        let _guard = tch::no_grad_guard();
        let work: Vec<(ParamId, Tensor)> =
            gradients.iter().map(|(id, gradient)| (id, self.pack(store.entry(id), gradient))).collect();
        let norms: Vec<f64> = norms(work.iter().map(|(_, gradient)| gradient));
        let all = norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
        for ((id, gradient), own) in work.into_iter().zip(norms) {
            let clip = self.config.clip.factor(own, all);
            let clipped = if clip < 1.0 { gradient * clip } else { gradient };
            self.update(store.entry(id), &precondition(id, clipped), lr_factor);
        }
        StepReport { grad_norm: all }
    }

    /// The entries of `gradient` that train, `[nnz]` or the tensor itself; starts the moments at the first call.
    fn pack(&mut self, entry: &Entry, gradient: &Tensor) -> Tensor {
        let moments = self.moments.entry(entry.name.clone()).or_insert_with(|| {
            let packed = entry.mask().map(|mask| mask.view(-1).nonzero().view(-1));
            let size = packed.as_ref().map_or_else(|| gradient.size(), Tensor::size);
            let zeros = || Tensor::zeros(&size, (Kind::Float, gradient.device()));
            Moments { packed, first: zeros(), second: zeros(), steps: 0 }
        });
        match &moments.packed {
            Some(positions) => gradient.reshape(-1).index_select(0, positions),
            None => gradient.shallow_clone(),
        }
    }

    fn update(&mut self, entry: &Entry, gradient: &Tensor, lr_factor: f64) {
        let role = entry.role().expect("only trainable tensors have gradients");
        let (lr, decay) = (self.config.lr_of(role) * lr_factor, self.config.weight_decay_of(role));
        let ((beta1, beta2), eps) = (self.config.betas, self.config.eps);
        let moments = self.moments.get_mut(&entry.name).expect("packed just before");
        moments.steps += 1;

        let _ = moments.first.lerp_(gradient, 1.0 - beta1);
        let _ = moments.second.g_mul_scalar_(beta2);
        moments.second += (gradient * gradient).g_mul_scalar_(1.0 - beta2);

        let t = i32::try_from(moments.steps).unwrap_or(i32::MAX);
        let (bias1, bias2) = (1.0 - beta1.powi(t), 1.0 - beta2.powi(t));
        let denominator = (moments.second.sqrt().g_div_scalar_(bias2.sqrt())).g_add_scalar_(eps);
        let change = (&moments.first / denominator).g_mul_scalar_(-lr / bias1);

        let mut values = entry.tensor.detach();
        match &moments.packed {
            None => {
                if decay != 0.0 {
                    let _ = values.g_mul_scalar_(1.0 - lr * decay);
                }
                values += change;
            }
            Some(positions) => {
                let mut flat = values.view(-1);
                let mut inside = flat.index_select(0, positions);
                if decay != 0.0 {
                    let _ = inside.g_mul_scalar_(1.0 - lr * decay);
                }
                inside += change;
                let _ = flat.index_copy_(0, positions, &inside);
            }
        }
    }

    /// Bytes held by the moments.
    pub fn state_bytes(&self) -> u64 {
        self.moments.values().map(|m| 8 * m.first.numel() as u64).sum()
    }

    /// The state: `<tensor>.exp_avg`, `<tensor>.exp_avg_sq`, `<tensor>.step`.
    pub fn state(&self) -> StateDict {
        self.moments
            .iter()
            .flat_map(|(name, m)| {
                [
                    (format!("{name}.exp_avg"), m.first.shallow_clone()),
                    (format!("{name}.exp_avg_sq"), m.second.shallow_clone()),
                    (format!("{name}.step"), Tensor::from(m.steps.cast_signed())),
                ]
            })
            .collect()
    }

    /// The reverse of [`Self::state`], for the tensors (and masks) of `store`.
    ///
    /// # Errors
    /// [`Error::StateDict`] naming `origin` if a tensor is unknown, incomplete or of the wrong size.
    pub fn load_state(&mut self, state: &StateDict, store: &ParamStore, origin: &str) -> Result<()> {
        let mut moments = BTreeMap::new();
        for (key, first) in state {
            let Some(name) = key.strip_suffix(".exp_avg") else { continue };
            let (second, steps) = (format!("{name}.exp_avg_sq"), format!("{name}.step"));
            let problem = |missing: Vec<String>, unexpected: Vec<String>, mismatched: Vec<String>| {
                Error::StateDict { origin: origin.to_owned(), missing, unexpected, mismatched }
            };
            let entry = store.find(name).ok_or_else(|| problem(vec![], vec![key.clone()], vec![]))?;
            let (Some(second), Some(steps)) = (state.get(&second), state.get(&steps)) else {
                return Err(problem(vec![second, steps], vec![], vec![]));
            };
            let packed = entry.mask().map(|mask| mask.view(-1).nonzero().view(-1));
            let size = packed.as_ref().map_or_else(|| entry.tensor.size(), Tensor::size);
            if first.size() != size || second.size() != size {
                let sentence = format!("{key}: expected shape {size:?}, found {:?}", first.size());
                return Err(problem(vec![], vec![], vec![sentence]));
            }
            let own = |t: &Tensor| t.to_device(entry.tensor.device()).to_kind(Kind::Float).copy();
            let steps = steps.int64_value(&[]).cast_unsigned();
            moments
                .insert(name.to_owned(), Moments { packed, first: own(first), second: own(second), steps });
        }
        self.moments = moments;
        Ok(())
    }
}

/// L2 norms, read back from the device at once.
fn norms<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Vec<f64> {
    let norms: Vec<Tensor> = tensors.map(|t| t.norm().to_kind(Kind::Double)).collect();
    if norms.is_empty() {
        return Vec::new();
    }
    Vec::try_from(Tensor::stack(&norms, 0).to_device(tch::Device::Cpu)).expect("a vector of doubles")
}
