//! RoSA: low rank and sparse together.

use super::estimate::listed;
use super::pissa::{RATE, lora};
use super::{Bench, Claim, Finding, Verdict};
use crate::Result;

pub(super) const PARAMETERS: Claim = Claim {
    name: "rosa-parameters",
    arxiv: "2401.04679",
    sentence: "RoSA beats LoRA and SpA with as many parameters",
    paper: "GSM8K 31.2 against 28.4 (LoRA) and 26.2 (SpA) with 41 M (read off a figure)",
    trains: true,
    check: parameters,
};

fn parameters(bench: &mut Bench<'_>) -> Result<Finding> {
    // Half of LoRA's budget of r = 16 each for r = 8 and for the sparse part.
    let rosa = [
        "method.rank=8",
        "method.alpha=8",
        "method.density=0.08153",
        "method.lr_ratio=1",
        "method.low_rank_steps=0.1",
    ];
    let (lora, lora_rate) = lora(bench)?;
    let (rosa, rosa_rate) = bench.tuned("rosa", "nlu", &rosa, RATE)?;
    let (spa, spa_rate) = bench.tuned("spa", "nlu", &["method.density=0.16306"], RATE)?;
    let mut counts = Vec::new();
    for arm in [&rosa, &lora, &spa] {
        counts.push(bench.cell(arm, 0)?.run.record.parameters.trainable.unwrap_or_default());
    }
    let estimates = vec![
        bench.gain("points more than LoRA", &rosa, &lora)?,
        bench.gain("points more than SpA", &rosa, &spa)?,
    ];
    Ok(Finding {
        ours: listed(&estimates, 100.0, 1),
        verdict: Verdict::all(estimates.iter().map(|estimate| estimate.above(0.0))),
        how: format!(
            "accuracy; RoSA {}, LoRA {}, SpA {} parameters at {rosa_rate:.0e}, {lora_rate:.0e}, {spa_rate:.0e}, tuned by validation loss; {}",
            counts[0],
            counts[1],
            counts[2],
            bench.size("nlu")
        ),
        estimates,
    })
}
