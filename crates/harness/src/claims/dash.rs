//! LoRA-Dash: the directions a task moves most.

use super::estimate::listed;
use super::pissa::{PLAIN, lora};
use super::{Bench, Claim, Finding, Verdict};
use crate::Result;

pub(super) const DIRECTIONS: Claim = Claim {
    name: "dash-directions",
    arxiv: "2409.01035",
    sentence: "directions chosen by their change rate beat random ones and those of the smallest singular values",
    paper: "an ablation; no figure verified",
    trains: true,
    check: directions,
};

fn directions(bench: &mut Bench<'_>) -> Result<Finding> {
    let (_, rate) = lora(bench)?;
    let arm = |bench: &Bench<'_>, choice: &str| {
        let choice = format!("method.choice={choice}");
        let settings = [PLAIN[0], PLAIN[1], "method.launch=0.25", choice.as_str()];
        bench.at_rate("lora-dash", "nlu", &settings, rate)
    };
    let own = arm(bench, "task-specific")?;
    let mut estimates = Vec::new();
    for other in ["random", "bottom"] {
        let other_arm = arm(bench, other)?;
        estimates.push(bench.gain(&format!("points more than {other}"), &own, &other_arm)?);
    }
    Ok(Finding {
        ours: listed(&estimates, 100.0, 1),
        verdict: Verdict::all(estimates.iter().map(|estimate| estimate.above(0.0))),
        how: format!(
            "accuracy; 8 directions after a quarter of the steps, r = α = 16, learning rate {rate:.0e} (tuned for LoRA); {}",
            bench.size("nlu")
        ),
        estimates,
    })
}
