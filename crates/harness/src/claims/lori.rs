//! LoRI: frozen random A keep tasks apart, sparse B forget less.

use std::collections::BTreeMap;

use compare::stats::{Scores, Settings, effect};
use merging::{Factors, interference};
use peft_core::{Seeds, StateDict, init};
use tch::Device;
use toml::toml;

use super::estimate::{listed, slope};
use super::stand::{Layers, cosine, write};
use super::{Bench, Claim, Estimate, Finding};
use crate::Result;
use crate::continual::{References, learn};

pub(super) const ORTHOGONALITY: Claim = Claim {
    name: "lori-orthogonality",
    arxiv: "2504.07448",
    sentence: "independent frozen A make updates of tasks nearly orthogonal: |cos| falls as 1/√in",
    paper: "slope -1/2 (a consequence of its argument; its text was unverified)",
    trains: false,
    check: |_| orthogonality("lori-d", Draws::Own),
};

pub(super) const INTERFERENCE: Claim = Claim {
    name: "lori-interference",
    arxiv: "2504.07448",
    sentence: "LoRI's adapters of two tasks interfere less than LoRA's",
    paper: "86.6 safety after merging, the highest (unverified)",
    trains: true,
    check: interfere,
};

pub(super) const FORGETTING: Claim = Claim {
    name: "lori-forgetting",
    arxiv: "2504.07448",
    sentence: "LoRI-S forgets less of a task than LoRA when it learns another",
    paper: "no figure verified",
    trains: true,
    check: forget,
};

/// Whether each task draws its A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draws {
    /// As LoRI does.
    Own,
    /// One for both tasks: what the claim is not about.
    Shared,
}

/// The slope of log |cos(ΔW₁, ΔW₂)| over log in, with equal B: the worst case, in which only A tells tasks apart.
///
/// # Errors
/// As attaching.
pub fn orthogonality(method: &str, draws: Draws) -> Result<Finding> {
    const WIDTHS: [i64; 7] = [64, 128, 256, 512, 1024, 2048, 4096];
    const REPEATS: u64 = 200;
    const OUT: i64 = 16;
    const RANK: i64 = 8;
    let sizes = WIDTHS.map(|width| [OUT, width]);
    let (mut slopes, mut widest) = (Vec::new(), Vec::new());
    for repeat in 0..REPEATS {
        let seeds = Seeds::new(repeat);
        let update = |task: &str| -> Result<Vec<tch::Tensor>> {
            let mut layers = Layers::drawn(&sizes, &seeds);
            let weights = layers.weights();
            let settings = toml! { rank = RANK alpha = 16.0 };
            let attachment = layers.attach(method, settings, &seeds.child(task))?;
            let b = init::normal(&[OUT, RANK], 1.0, &mut seeds.child("b").rng(), Device::Cpu);
            for site in attachment.sites() {
                write(&attachment, &site.name, "lora_B.weight", &b);
            }
            Ok(layers
                .effective()
                .into_iter()
                .zip(weights)
                .map(|(changed, weight)| changed - weight)
                .collect())
        };
        let (one, other) = (update("one")?, update(if draws == Draws::Own { "other" } else { "one" })?);
        let cosines: Vec<f64> = one.iter().zip(&other).map(|(one, other)| cosine(one, other).abs()).collect();
        let points: Vec<(f64, f64)> =
            WIDTHS.iter().zip(&cosines).map(|(&width, cosine)| ((width as f64).ln(), cosine.ln())).collect();
        slopes.push(slope(&points));
        widest.push(cosines[WIDTHS.len() - 1]);
    }
    let estimate = Estimate::of_mean("slope of log |cos| over log in", &slopes);
    let widest = Estimate::of_mean("mean |cos| at in = 4096", &widest);
    Ok(Finding {
        ours: format!("{}; {}", estimate.text(1.0, 3), widest.text(1.0, 4)),
        verdict: estimate.within(-0.6, -0.4),
        how: format!(
            "{REPEATS} pairs of random updates with equal B, r = {RANK}, in = 64 to 4096; holds within -0.5 ± 0.1"
        ),
        estimates: vec![estimate, widest],
    })
}

const TASKS: [&str; 2] = ["nlu", "safety"];

fn interfere(bench: &mut Bench<'_>) -> Result<Finding> {
    let lori = pairs(bench, "lori-d")?;
    let lora = pairs(bench, "lora")?;
    let effect = effect::paired(&lori, &lora, &Settings::default());
    let what = format!("|cos| of LoRI less LoRA's ({:.4} against {:.4})", lori.mean(), lora.mean());
    let estimate = Estimate::new(what, effect.difference, effect.interval);
    Ok(Finding {
        ours: listed(std::slice::from_ref(&estimate), 1.0, 4),
        verdict: estimate.below(0.0),
        how: format!(
            "cosine of the updates for {} and {} in each adapted layer, over layers and seeds; {}",
            TASKS[0],
            TASKS[1],
            bench.size("each")
        ),
        estimates: vec![estimate],
    })
}

/// |cos| of a method's updates for both tasks, by layer and seed.
fn pairs(bench: &mut Bench<'_>, method: &str) -> Result<Scores> {
    let arms = [bench.arm(method, TASKS[0], &[])?, bench.arm(method, TASKS[1], &[])?];
    let mut rows: BTreeMap<String, Vec<[f64; 1]>> = BTreeMap::new();
    for seed in bench.seeds() {
        let one = factors(&bench.cell(&arms[0], seed)?.adapter);
        let other = factors(&bench.cell(&arms[1], seed)?.adapter);
        for (module, figures) in interference(&one, &other)?.1 {
            rows.entry(module).or_default().push([figures.cosine.abs()]);
        }
    }
    Ok(Scores::from_rows(rows.into_values()))
}

/// The products of an adapter, without their scale, which no cosine sees.
fn factors(adapter: &StateDict) -> BTreeMap<String, Factors> {
    let of = |(name, a): (&String, &tch::Tensor)| {
        let module = name.strip_suffix(".lora_A.weight")?;
        let b = adapter.get(&format!("{module}.lora_B.weight"))?;
        Some((module.to_owned(), Factors { b: b.shallow_clone(), a: a.shallow_clone(), scaling: 1.0 }))
    };
    adapter.iter().filter_map(of).collect()
}

/// What learning nlu takes from safety, by seed.
fn forget(bench: &mut Bench<'_>) -> Result<Finding> {
    let [lora, lori] = ["lora", "lori-s"].map(|method| sequences(bench, method));
    let (lora, lori) = (lora?, lori?);
    let difference = |index: usize| -> Vec<f64> {
        lori.iter().zip(&lora).map(|(lori, lora)| lori[index] - lora[index]).collect()
    };
    let mean = |rows: &[[f64; 2]], index: usize| {
        100.0 * rows.iter().map(|row| row[index]).sum::<f64>() / rows.len() as f64
    };
    let what = format!("points forgotten less LoRA's ({:.1} against {:.1})", mean(&lori, 0), mean(&lora, 0));
    let forgotten = Estimate::of_mean(what, &difference(0));
    let what =
        format!("score on the new task less LoRA's ({:.1} against {:.1})", mean(&lori, 1), mean(&lora, 1));
    let learned = Estimate::of_mean(what, &difference(1));
    let verdict = forgotten.below(0.0);
    let estimates = vec![forgotten, learned];
    Ok(Finding {
        ours: listed(&estimates, 100.0, 1),
        verdict,
        how: format!(
            "one adapter learns safety, then nlu; pairs scored on safety before and after; {}",
            bench.size("each")
        ),
        estimates,
    })
}

/// By seed: the fall of the first task's score through the second, and the second's score.
fn sequences(bench: &mut Bench<'_>, method: &str) -> Result<Vec<[f64; 2]>> {
    let (first, second) = (bench.arm(method, TASKS[1], &[])?, bench.arm(method, TASKS[0], &[])?);
    let mut rows = Vec::new();
    for seed in bench.seeds() {
        let learned = learn(bench.queue()?, &[&first, &second], seed, References::default())?;
        let score = |stage: usize, task: usize| {
            let value = learned.sequence.after[stage][task].as_ref();
            value.map_or(f64::NAN, |value| value.value)
        };
        rows.push([score(0, 0) - score(1, 0), score(1, 1)]);
    }
    Ok(rows)
}
