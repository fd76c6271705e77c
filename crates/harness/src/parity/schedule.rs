//! Cases of kind `schedule`: learning-rate factors and the rounding of warm-up ratios.

use std::collections::BTreeMap;

use peft_core::{Schedule, ScheduleKind, warmup_steps};
use serde::Deserialize;
use tch::Tensor;

use super::{Case, Checks};
use crate::Result;

#[derive(Deserialize)]
struct Lengths {
    #[serde(default)]
    warmup_steps: u64,
    #[serde(default)]
    total_steps: u64,
}

#[derive(Deserialize)]
struct Ratio {
    total_steps: u64,
    warmup_ratio: f64,
    warmup_steps: u64,
}

pub(super) fn run(case: &Case, checks: &mut Checks) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let steps: u64 = case.field("steps")?;
    for (name, lengths) in case.field::<BTreeMap<String, Lengths>>("schedules")? {
        let kind = match name.split('_').next() {
            Some("cosine") => ScheduleKind::Cosine,
            Some("linear") => ScheduleKind::Linear,
            Some("constant") => ScheduleKind::Constant,
            Some("lori") => ScheduleKind::ConstantLori,
            _ => {
                checks.absent(&name, "an unknown schedule");
                continue;
            }
        };
        let Lengths { warmup_steps, total_steps } = lengths;
        let schedule = Schedule { kind, warmup_steps, total_steps };
        let factors: Vec<f64> = (0..steps).map(|step| schedule.factor(step)).collect();
        let key = format!("factor.{name}");
        match expected.get(&key) {
            Some(want) => checks.tensor(&key, &Tensor::from_slice(&factors), want),
            None => checks.absent(&key, "the case does not hold it"),
        }
    }
    for ratio in case.field::<Vec<Ratio>>("warmup_ratio")? {
        let name = format!("warmup_steps.{}x{}", ratio.total_steps, ratio.warmup_ratio);
        checks.count(
            &name,
            warmup_steps(ratio.total_steps, ratio.warmup_ratio),
            ratio.warmup_steps.cast_signed(),
        );
    }
    Ok(())
}
