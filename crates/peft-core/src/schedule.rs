use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// The learning-rate factor over the optimizer steps of a run, as transformers computes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// 1 after warm-up.
    Constant,
    /// 1 after warm-up, where step 0 of w warm-up steps already has 1/(w + 1): the LoRI repository's.
    ConstantLori,
    /// 1 falling to 0 at the last step.
    #[default]
    Linear,
    /// Half a cosine from 1 to 0.
    Cosine,
}

/// A [`ScheduleKind`] with its lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its shape.
    pub kind: ScheduleKind,
    /// Steps over which the factor rises linearly from 0.
    pub warmup_steps: u64,
    /// Steps of the run.
    pub total_steps: u64,
}

impl Schedule {
    /// The factor for 0-based optimizer step `step`.
    pub fn factor(&self, step: u64) -> f64 {
        let (i, warmup) = (step as f64, self.warmup_steps as f64);
        if self.kind == ScheduleKind::ConstantLori {
            return ((i + 1.0) / (warmup + 1.0)).min(1.0);
        }
        if step < self.warmup_steps {
            return i / warmup;
        }
        let decay_steps = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let progress = (i - warmup) / decay_steps;
        match self.kind {
            ScheduleKind::Constant | ScheduleKind::ConstantLori => 1.0,
            ScheduleKind::Linear => (1.0 - progress).max(0.0),
            ScheduleKind::Cosine => (0.5 * (1.0 + (PI * progress).cos())).max(0.0),
        }
    }
}

/// Warm-up steps for a ratio of the run: ⌈total·ratio⌉, as transformers rounds.
pub fn warmup_steps(total_steps: u64, ratio: f64) -> u64 {
    (total_steps as f64 * ratio).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(kind: ScheduleKind, warmup_steps: u64) -> Vec<f64> {
        let schedule = Schedule { kind, warmup_steps, total_steps: 4 };
        (0..6).map(|step| schedule.factor(step)).collect()
    }

    #[test]
    fn by_hand() {
        assert_eq!(factors(ScheduleKind::Constant, 2), [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(factors(ScheduleKind::ConstantLori, 1), [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(factors(ScheduleKind::Linear, 0), [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]);
        let cosine = factors(ScheduleKind::Cosine, 0);
        assert!((cosine[2] - 0.5).abs() < 1e-15 && cosine[4] < 1e-15);
        assert_eq!(warmup_steps(100, 0.03), 3);
        assert_eq!(warmup_steps(7, 0.03), 1);
    }
}
