//! Bone and Bat: what a step costs, and how much rank a small block moves.

use std::time::Instant;

use peft_core::{AdamW, AdamWConfig, Adaptable, Attachment, Gradients, Mode, Seeds, init};
use tch::{Device, Kind, Tensor};
use toml::toml;

use super::estimate::listed;
use super::stand::{Layers, rank as rank_of, scramble};
use super::{Bench, Claim, Estimate, Finding};
use crate::{Error, Result, interrupt};

pub(super) const RANK: Claim = Claim {
    name: "bat-rank",
    arxiv: "2409.15371",
    sentence: "Bat's update has a rank above the size r of its blocks",
    paper: "above r; no figure (an independent check of the form: 12 at r = 4)",
    trains: false,
    check: |_| rank("bat"),
};

pub(super) const STEP: Claim = Claim {
    name: "bone-step",
    arxiv: "2409.15371",
    sentence: "a training step of Bone is cheaper than one of LoRA with as many parameters",
    paper: "897 s against 942 s, 0.95 (verified; PEFT's benchmark, 7.3 against 9.2 M parameters)",
    trains: false,
    check: step,
};

/// The rank of the update of `method` with random blocks, r = 8.
///
/// # Errors
/// As attaching.
pub fn rank(method: &str) -> Result<Finding> {
    const SIZE: i64 = 8;
    let mut layers = Layers::builtin()?;
    let weights = layers.weights();
    let attachment = layers.attach(method, toml! { rank = SIZE }, &Seeds::new(0))?;
    scramble(&attachment, 0.1, &Seeds::new(1));
    let mut ranks = Vec::new();
    for (weight, changed) in weights.iter().zip(layers.effective()) {
        ranks.push(rank_of(&(changed - weight.to_kind(Kind::Double)))? as f64);
    }
    let estimate = Estimate::range(format!("rank of {method}'s update at r = {SIZE}"), &ranks);
    Ok(Finding {
        ours: listed(std::slice::from_ref(&estimate), 1.0, 0),
        verdict: estimate.above(SIZE as f64),
        how: format!(
            "random blocks in all {} layers of the built-in model; the interval is the range over layers",
            ranks.len()
        ),
        estimates: vec![estimate],
    })
}

/// Layers of the timed stack, their width, and tokens of a step.
const STACK: (usize, i64, i64) = (4, 1024, 512);
/// With as many parameters in a square layer: r·out and r·(in + out).
const RANKS: [i64; 2] = [64, 32];
const PAIRS: usize = 150;
const WARM_UP: usize = 5;

/// Whole steps (forward, backward, AdamW) of both, in turns, each pair in the other order than the one before.
fn step(bench: &mut Bench<'_>) -> Result<Finding> {
    let (depth, width, tokens) = STACK;
    let mut layers = Layers::drawn(&vec![[width, width]; depth], &Seeds::new(0));
    let seeds = Seeds::new(1);
    let mut bone = Side::new(layers.attach("bone", toml! { rank = (RANKS[0]) }, &seeds)?);
    let mut lora = Side::new(layers.attach("lora", toml! { rank = (RANKS[1]) alpha = 64.0 }, &seeds)?);
    let counts = [&bone, &lora].map(|side| side.attachment.store().count_trainable());
    assert_eq!(counts[0], counts[1], "both have as many parameters");
    let x = init::normal(&[tokens, width], 1.0, &mut seeds.child("x").rng(), Device::Cpu);
    let mut logs = Vec::new();
    let mut progress = bench.progress("bone-step", (PAIRS + WARM_UP) as u64);
    for pair in 0..PAIRS + WARM_UP {
        if interrupt::asked() {
            return Err(Error::Interrupted);
        }
        let (of_bone, of_lora) = if pair % 2 == 0 {
            let first = bone.step(&mut layers, &x)?;
            (first, lora.step(&mut layers, &x)?)
        } else {
            let first = lora.step(&mut layers, &x)?;
            (bone.step(&mut layers, &x)?, first)
        };
        if pair >= WARM_UP {
            logs.push(of_bone / of_lora);
        }
        progress.step(0, "");
    }
    drop(progress);
    let estimate = Estimate::of_median("median time of Bone's step over LoRA's", &logs);
    Ok(Finding {
        ours: listed(std::slice::from_ref(&estimate), 1.0, 3),
        verdict: estimate.below(1.0),
        how: format!(
            "{PAIRS} interleaved pairs of steps on {depth} layers of {width} × {width} with {tokens} tokens, r = {} and {}, {} \
             parameters each; one run, on whatever else this machine does",
            RANKS[0], RANKS[1], counts[0]
        ),
        estimates: vec![estimate],
    })
}

/// One of the two that are timed.
struct Side {
    attachment: Attachment,
    optimizer: AdamW,
}

impl Side {
    fn new(attachment: Attachment) -> Self {
        Self { attachment, optimizer: AdamW::new(AdamWConfig { lr: 1e-4, ..AdamWConfig::default() }) }
    }

    /// Seconds of a step.
    fn step(&mut self, layers: &mut Layers, x: &Tensor) -> Result<f64> {
        layers.activate(&self.attachment.active());
        let started = Instant::now();
        // The input has a gradient, as it has inside a model.
        let mut y = x.detach().set_requires_grad(true);
        for layer in &layers.0 {
            y = layer.forward(&y, Mode::Train { seed: 0 });
        }
        let loss = y.square().mean(Kind::Float);
        let mut gradients = Gradients::default();
        gradients.accumulate(&loss, self.attachment.store(), &[])?;
        self.attachment.step(&mut self.optimizer, &gradients, 1.0);
        Ok(started.elapsed().as_secs_f64())
    }
}
