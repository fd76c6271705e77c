//! rsLoRA: gradients and learning that do not depend on the rank.

use peft_core::{Adaptable, Gradients, Mode, Role, Roles, Seeds, init};
use tch::{Device, Kind, Tensor, no_grad};
use toml::toml;

use super::bench::mean_loss;
use super::estimate::{listed, slope};
use super::stand::{Layers, norm};
use super::{Bench, Claim, Estimate, Finding, Verdict};
use crate::Result;

pub(super) const STABILITY: Claim = Claim {
    name: "rslora-stability",
    arxiv: "2312.03732",
    sentence: "rsLoRA's gradient norm and first step do not depend on r; LoRA's fall with it",
    paper: "slopes over r: 0 and 0; LoRA -1/2 and -1 (what follows from its theorem; figures unverified)",
    trains: false,
    check: |_| stability("rslora"),
};

pub(super) const LEARNING: Claim = Claim {
    name: "rslora-learning",
    arxiv: "2312.03732",
    sentence: "a higher rank lowers rsLoRA's training loss more than LoRA's, at one learning rate",
    paper: "rsLoRA improves with r from 4 to 2048, LoRA does not (curves; unverified)",
    trains: true,
    check: learning,
};

/// Slopes over log r of the gradient norm of B at the start, and of what one step of SGD along it changes of the output.
///
/// # Errors
/// As attaching.
pub fn stability(method: &str) -> Result<Finding> {
    let own = slopes(method)?;
    let lora = slopes("lora")?;
    let (names, of) = (["gradient norm", "first step"], |slopes: &[[f64; 2]], index: usize| -> Vec<f64> {
        slopes.iter().map(|slopes| slopes[index]).collect()
    });
    let mut estimates = Vec::new();
    for (name, slopes) in [(method, &own), ("lora", &lora)] {
        for (index, figure) in names.iter().enumerate() {
            estimates.push(Estimate::of_mean(format!("slope of {name}'s {figure}"), &of(slopes, index)));
        }
    }
    Ok(Finding {
        ours: listed(&estimates, 1.0, 2),
        verdict: Verdict::all([
            estimates[0].within(-0.1, 0.1),
            estimates[1].within(-0.1, 0.1),
            estimates[2].within(-0.6, -0.4),
            estimates[3].within(-1.1, -0.9),
        ]),
        how: format!(
            "a layer of {WIDTH} × {WIDTH}, one token, a random loss, r = 16 to 512, {REPEATS} draws; holds within ± 0.1 of 0, 0, -1/2, -1"
        ),
        estimates,
    })
}

const WIDTH: i64 = 512;
const REPEATS: u64 = 60;
/// A norm of fewer random rows varies too much for its logarithm to have the mean that the theorem speaks of.
const RANKS: [i64; 6] = [16, 32, 64, 128, 256, 512];

fn slopes(method: &str) -> Result<Vec<[f64; 2]>> {
    /// The step is watched at the token that it is taken for, as in the theorem.
    const TOKENS: i64 = 1;
    const RATE: f64 = 1e-2;
    let mut found = Vec::new();
    for repeat in 0..REPEATS {
        let seeds = Seeds::new(repeat);
        let draw =
            |name: &str| init::normal(&[TOKENS, WIDTH], 1.0, &mut seeds.child(name).rng(), Device::Cpu);
        let (x, direction) = (draw("x"), draw("direction"));
        let (mut norms, mut moves) = (Vec::new(), Vec::new());
        for rank in RANKS {
            let mut layers = Layers::drawn(&[[WIDTH, WIDTH]], &seeds);
            let mut attachment =
                layers.attach(method, toml! { rank = rank alpha = 16.0 }, &seeds.nth(rank as u64))?;
            attachment.store_mut().train(&Roles::only([Role::Up]));
            let output = |layers: &Layers| layers.0[0].forward(&x, Mode::Train { seed: 0 });
            let before = output(&layers);
            let mut gradients = Gradients::default();
            let loss = (&before * &direction).sum(Kind::Float);
            gradients.accumulate(&loss, attachment.store(), &[])?;
            norms.push(gradients.norm());
            for (id, gradient) in gradients.iter() {
                let tensor: &Tensor = &attachment.store().entry(id).tensor;
                no_grad(|| tensor.shallow_clone().copy_(&(tensor - gradient * RATE)));
            }
            layers.activate(&attachment.active());
            moves.push(norm(&(output(&layers) - before)));
        }
        let over_rank = |values: &[f64]| {
            let points = RANKS.iter().zip(values).map(|(&rank, value)| ((rank as f64).ln(), value.ln()));
            slope(&points.collect::<Vec<_>>())
        };
        found.push([over_rank(&norms), over_rank(&moves)]);
    }
    Ok(found)
}

/// The change of the loss from r = 4 to r = 64, of both.
fn learning(bench: &mut Bench<'_>) -> Result<Finding> {
    const LAST: std::ops::Range<f64> = 0.75..1.0;
    const RATE: f64 = 2e-3;
    let mut changes = Vec::new();
    for method in ["rslora", "lora"] {
        let mut losses = Vec::new();
        for rank in ["method.rank=4", "method.rank=64"] {
            let arm = bench.at_rate(method, "nlu", &[rank, "method.alpha=16"], RATE)?;
            losses.push(bench.each(&arm, |finished| Ok(mean_loss(finished, LAST)))?);
        }
        changes.push(losses[1].iter().zip(&losses[0]).map(|(high, low)| high - low).collect::<Vec<_>>());
    }
    let own = Estimate::of_mean("rsLoRA's loss at r = 64 less at r = 4", &changes[0]);
    let lora = Estimate::of_mean("LoRA's", &changes[1]);
    let both: Vec<f64> = changes[0].iter().zip(&changes[1]).map(|(own, lora)| own - lora).collect();
    let difference = Estimate::of_mean("difference", &both);
    let verdict = Verdict::all([own.below(0.0), difference.below(0.0)]);
    let estimates = vec![own, lora, difference];
    Ok(Finding {
        ours: listed(&estimates, 1.0, 3),
        verdict,
        how: format!(
            "AdamW, α = 16, learning rate {RATE:.0e}, training loss of the last quarter; {}",
            bench.size("nlu")
        ),
        estimates,
    })
}
