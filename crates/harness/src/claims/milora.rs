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
    let ratio = |what: &str, other: &[[f64; 2]], figure: usize| {
        let logs: Vec<f64> =
            own.iter().zip(other).map(|(own, other)| (own[figure] / other[figure]).ln()).collect();
        Estimate::of_mean(format!("log of MiLoRA's {} over {what}'s", FIGURES[figure]), &logs)
    };
    // Rates differ, and a smaller step changes less of everything: the share of the update speaks of directions alone.
    let estimates: Vec<Estimate> =
        [0, 1].into_iter().flat_map(|f| [ratio("LoRA", &of_lora, f), ratio("PiSSA", &of_pissa, f)]).collect();
    Ok(Finding {
        ours: listed(&estimates, 1.0, 2),
        verdict: Verdict::all(estimates.iter().map(|estimate| estimate.below(0.0))),
        how: format!(
            "change: ‖UᵀΔW·V‖ of the top {TOP} directions over the norm of their singular values; share: the same over ‖ΔW‖; all \
             layers together, r = α = 16, learning rates {rate:.0e}, {lora_rate:.0e}, {pissa_rate:.0e} tuned by validation loss; \
             holds where both are less; {}",
            bench.size("nlu")
        ),
        estimates,
    })
}

const FIGURES: [&str; 2] = ["change", "share"];

/// By seed: how far the block of the top directions moved, in units of that block and of the whole update.
fn changes(bench: &mut Bench<'_>, arm: &Experiment) -> Result<Vec<[f64; 2]>> {
    let mut found = Vec::new();
    for seed in bench.seeds() {
        let (mut moved, mut block, mut whole) = (0.0, 0.0, 0.0);
        for (weight, changed) in trained(bench, arm, seed)? {
            let top = linalg::svd(&weight)?.slice(0, TOP);
            let update = changed - weight;
            moved += norm(&top.u.tr().matmul(&update).matmul(&top.vt.tr())).powi(2);
            block += norm(&top.s).powi(2);
            whole += norm(&update).powi(2);
        }
        found.push([(moved / block).sqrt(), (moved / whole).sqrt()]);
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
