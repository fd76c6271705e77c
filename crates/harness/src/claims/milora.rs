//! MiLoRA: what pretraining knows best is touched least.

use peft_core::linalg;
use tch::{Kind, Tensor};

use super::estimate::listed;
use super::pissa::{PLAIN, RATE, lora};
use super::stand::{Layers, norm};
use super::{Bench, Claim, Estimate, Finding, Verdict};
use crate::Result;
use crate::config::Experiment;

pub(super) const DIRECTIONS: Claim = Claim {
    name: "milora-directions",
    arxiv: "2406.09044",
    sentence: "MiLoRA changes the top singular directions of the weights less than LoRA and PiSSA do",
    paper: "no figure verified (its text was unavailable)",
    trains: true,
    check: directions,
};

/// Singular directions that count as the top.
const TOP: i64 = 16;

fn directions(bench: &mut Bench<'_>) -> Result<Finding> {
    let (lora, lora_rate) = lora(bench)?;
    let (pissa, pissa_rate) = bench.tuned("pissa", "nlu", &PLAIN, RATE)?;
    let (milora, rate) = bench.tuned("milora", "nlu", &PLAIN, RATE)?;
    let [own, of_lora, of_pissa] = [milora, lora, pissa].map(|arm| changes(bench, &arm));
    let (own, of_lora, of_pissa) = (own?, of_lora?, of_pissa?);
    let ratio = |what: &str, other: &[f64]| {
        let logs: Vec<f64> = own.iter().zip(other).map(|(own, other)| (own / other).ln()).collect();
        Estimate::of_mean(format!("log of MiLoRA's change over {what}'s"), &logs)
    };
    let estimates = vec![ratio("LoRA", &of_lora), ratio("PiSSA", &of_pissa)];
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    Ok(Finding {
        ours: format!(
            "{}; changes {:.3}, {:.3}, {:.3}",
            listed(&estimates, 1.0, 2),
            mean(&own),
            mean(&of_lora),
            mean(&of_pissa)
        ),
        verdict: Verdict::all(estimates.iter().map(|estimate| estimate.below(0.0))),
        how: format!(
            "‖UᵀΔW·V‖ of the top {TOP} directions over the norm of their singular values, all layers together, r = α = 16, \
             learning rates {rate:.0e}, {lora_rate:.0e}, {pissa_rate:.0e} tuned by validation loss; {}",
            bench.size("nlu")
        ),
        estimates,
    })
}

/// By seed: how far the block of the top directions moved, in units of that block.
fn changes(bench: &mut Bench<'_>, arm: &Experiment) -> Result<Vec<f64>> {
    let mut found = Vec::new();
    for seed in bench.seeds() {
        let (mut moved, mut all) = (0.0, 0.0);
        for (weight, changed) in trained(bench, arm, seed)? {
            let top = linalg::svd(&weight)?.slice(0, TOP);
            moved += norm(&top.u.tr().matmul(&(changed - weight)).matmul(&top.vt.tr())).powi(2);
            all += norm(&top.s).powi(2);
        }
        found.push((moved / all).sqrt());
    }
    Ok(found)
}

/// The weights of all adapted layers before and after training, in double precision.
pub(super) fn trained(bench: &mut Bench<'_>, arm: &Experiment, seed: u64) -> Result<Vec<(Tensor, Tensor)>> {
    let mut layers = Layers::builtin()?;
    let weights = layers.weights().into_iter().map(|weight| weight.to_kind(Kind::Double));
    let weights: Vec<Tensor> = weights.collect();
    let seeds = peft_core::Seeds::new(seed);
    let mut attachment = layers.attach(arm.method.info.name, arm.method.settings.clone(), &seeds)?;
    attachment.store_mut().load_adapter(&bench.cell(arm, seed)?.adapter, "the trained cell")?;
    Ok(weights.into_iter().zip(layers.effective()).collect())
}
