//! Spectral Adapter: how much rank can change, and what a rotation keeps.

use peft_core::{Seeds, linalg};
use tch::{Kind, Tensor};
use toml::toml;

use super::estimate::listed;
use super::stand::{Layers, rank, scramble, write};
use super::{Claim, Estimate, Finding, Verdict};
use crate::Result;

pub(super) const CAPACITY: Claim = Claim {
    name: "spectral-capacity",
    arxiv: "2405.13952",
    sentence: "at rank r Spectral-A can change the rank of a weight by 2r, LoRA by r",
    paper: "2r against r (verified; a theorem)",
    trains: false,
    check: |_| capacity("spectral-a"),
};

pub(super) const SINGULAR_VALUES: Claim = Claim {
    name: "spectral-rotation",
    arxiv: "2405.13952",
    sentence: "Spectral-R keeps all singular values of the weight",
    paper: "kept exactly (verified; a theorem)",
    trains: false,
    check: |_| singular_values("spectral-r"),
};

const RANK: i64 = 8;

/// Sets each method to what takes most rank away: LoRA to minus the top r triplets; Spectral-A to
/// `B = -U₂·diag(σ₂/σ₁) - U₁`, `Aᵀ = V₂ - V₁` with the next r triplets, so that `W' = W - U₁Σ₁V₁ᵀ - U₂Σ₂V₂ᵀ`.
///
/// # Errors
/// As attaching.
pub fn capacity(method: &str) -> Result<Finding> {
    let mut layers = Layers::builtin()?;
    let mut lost = Vec::new();
    let (weights, attachment) = (layers.weights(), layers.attach(method, settings(method), &Seeds::new(0))?);
    for (weight, site) in weights.iter().zip(attachment.sites()) {
        let weight = weight.to_kind(Kind::Double);
        let own = |name: &str| {
            let entry = attachment.store().find(&format!("{}.{name}", site.name))?;
            Some(entry.tensor.detach().to_kind(Kind::Double))
        };
        let (b, a) = match (own("spectral_u"), own("spectral_s"), own("spectral_v")) {
            (Some(u), Some(s), Some(v)) => {
                // The next triplets are those of what the method's own leave: signs and ties are its affair.
                let next = linalg::svd(&(weight - (&u * &s).matmul(&v.tr())))?.slice(0, RANK);
                (-(&next.u * (&next.s / &s)) - u, next.vt - v.tr())
            }
            _ => {
                let first = linalg::svd(&weight)?.slice(0, RANK);
                (-(&first.u * &first.s), first.vt)
            }
        };
        write(&attachment, &site.name, "lora_B.weight", &b);
        write(&attachment, &site.name, "lora_A.weight", &a);
    }
    for (weight, changed) in weights.iter().zip(layers.effective()) {
        lost.push((rank(weight)? - rank(&changed)?) as f64);
    }
    let estimate = Estimate::range(format!("rank taken away by {method} at r = {RANK}"), &lost);
    Ok(Finding {
        ours: listed(std::slice::from_ref(&estimate), 1.0, 0),
        verdict: estimate.within(2.0 * RANK as f64, 2.0 * RANK as f64),
        how: format!(
            "numerical ranks of all {} layers of the built-in model, before and after the construction that takes most \
             away; the interval is the range over layers",
            lost.len()
        ),
        estimates: vec![estimate],
    })
}

/// Draws the rotations (or whatever `method` trains) at random and compares singular values.
///
/// # Errors
/// As attaching.
pub fn singular_values(method: &str) -> Result<Finding> {
    /// Of the largest singular value; the update is computed in f32.
    const ROUNDING: f64 = 1e-5;
    let mut layers = Layers::builtin()?;
    let (weights, attachment) = (layers.weights(), layers.attach(method, settings(method), &Seeds::new(0))?);
    scramble(&attachment, 0.5, &Seeds::new(1));
    let mut moved = Vec::new();
    let mut turned = Vec::new();
    for (weight, changed) in weights.iter().zip(layers.effective()) {
        let weight = weight.to_kind(Kind::Double);
        let (before, after) = (linalg::svd(&weight)?.s, linalg::svd(&changed)?.s);
        let largest = |t: Tensor| t.abs().max().double_value(&[]);
        moved.push(largest(&before - &after) / largest(before.shallow_clone()));
        turned.push(super::stand::norm(&(&changed - &weight)) / super::stand::norm(&weight));
    }
    let estimate = Estimate::range("largest change of a singular value over the largest one", &moved);
    let turned = Estimate::range("while the weight moved by (of its norm)", &turned);
    let verdict = Verdict::all([estimate.below(ROUNDING), turned.above(100.0 * ROUNDING)]);
    Ok(Finding {
        ours: format!(
            "{:.1e} [{:.1e}, {:.1e}], {}",
            estimate.value,
            estimate.low,
            estimate.high,
            turned.text(1.0, 2)
        ),
        verdict,
        how: format!(
            "random generators of the rotations at r = {RANK} in all {} layers of the built-in model, in f32; holds below \
             {ROUNDING:.0e}; the interval is the range over layers",
            moved.len()
        ),
        estimates: vec![estimate, turned],
    })
}

fn settings(method: &str) -> toml::Table {
    let mut settings = toml! { rank = RANK };
    if !method.starts_with("spectral") {
        settings.insert("alpha".to_owned(), toml::Value::Float(RANK as f64));
    }
    settings
}
