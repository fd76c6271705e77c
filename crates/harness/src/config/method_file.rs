use std::collections::BTreeMap;

use peft_core::{AdamWConfig, Clip, Length, MethodInfo, Role, ScheduleKind};
use serde::{Deserialize, Serialize};
use tasks::{ClipScope, Reduction, Schedule, Training};

use crate::Result;

/// A method with all its settings.
#[derive(Clone, Debug)]
pub struct MethodConfig {
    /// The registry entry.
    pub info: &'static MethodInfo,
    /// Hyper-parameters, every default filled in.
    pub settings: toml::Table,
    /// How it is optimized.
    pub optimizer: OptimizerConfig,
}

/// `[optimizer]` of a method file. What is absent is as the task says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Learning rate.
    pub lr: f64,
    /// β₁, β₂ of AdamW.
    pub betas: (f64, f64),
    /// ε of AdamW.
    pub eps: f64,
    /// Learning rates by role that replace `lr`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lr_by_role: BTreeMap<Role, f64>,
    /// Factors of the learning rate by role.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lr_ratio: BTreeMap<Role, f64>,
    /// Decoupled weight decay by role.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weight_decay_by_role: BTreeMap<Role, f64>,
    /// Decoupled weight decay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Course of the learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleKind>,
    /// Warm-up: steps, or a fraction of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Length>,
    /// Clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// How token losses become the loss of a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduction: Option<Reduction>,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        let AdamWConfig { lr, betas, eps, .. } = AdamWConfig::default();
        Self {
            lr,
            betas,
            eps,
            lr_by_role: BTreeMap::new(),
            lr_ratio: BTreeMap::new(),
            weight_decay_by_role: BTreeMap::new(),
            weight_decay: None,
            schedule: None,
            warmup: None,
            clip: None,
            reduction: None,
        }
    }
}

impl OptimizerConfig {
    /// The optimizer's settings on a task.
    pub fn adamw(&self, task: &Training) -> AdamWConfig {
        AdamWConfig {
            lr: self.lr,
            betas: self.betas,
            eps: self.eps,
            weight_decay: self.weight_decay.unwrap_or(task.weight_decay),
            lr_ratio: self.lr_ratio.clone(),
            lr_by_role: self.lr_by_role.clone(),
            weight_decay_by_role: self.weight_decay_by_role.clone(),
            clip: self.clip.unwrap_or_else(|| clip_of(task)),
        }
    }

    /// The schedule on a task.
    pub fn schedule(&self, task: &Training) -> ScheduleKind {
        self.schedule.unwrap_or(match task.schedule {
            Schedule::Constant => ScheduleKind::Constant,
            Schedule::Linear => ScheduleKind::Linear,
            Schedule::Cosine => ScheduleKind::Cosine,
        })
    }

    /// The warm-up on a task.
    pub fn warmup(&self, task: &Training) -> Length {
        self.warmup.unwrap_or(match task.warmup {
            tasks::Amount::Steps(steps) => Length::Steps(steps),
            tasks::Amount::Fraction(fraction) => Length::Fraction(fraction),
        })
    }

    /// The reduction on a task.
    pub fn reduction(&self, task: &Training) -> Reduction {
        self.reduction.unwrap_or(task.reduction)
    }
}

fn clip_of(task: &Training) -> Clip {
    task.clip.map_or(Clip::None, |clip| match clip.scope {
        ClipScope::Global => Clip::Global(clip.norm),
        ClipScope::PerTensor => Clip::PerTensor(clip.norm),
    })
}

impl MethodConfig {
    /// From a table of hyper-parameters with an optional table `optimizer` among them.
    ///
    /// # Errors
    /// For an unknown entry or a value of no use.
    pub fn new(info: &'static MethodInfo, mut table: toml::Table) -> Result<Self> {
        let optimizer = match table.remove("optimizer") {
            Some(toml::Value::Table(section)) => {
                peft_core::parse_settings(&format!("{}.optimizer", info.name), section)?
            }
            Some(other) => {
                let reason = "a table is expected: `optimizer.lr = 1e-3`";
                return Err(peft_core::Error::config("method.optimizer", other, reason).into());
            }
            None => OptimizerConfig::default(),
        };
        let settings = (info.resolve)(table)?;
        (info.build)(settings.clone())?;
        Ok(Self { info, settings, optimizer })
    }

    /// The whole as one table, as [`Self::new`] reads it.
    pub fn to_table(&self) -> toml::Table {
        let mut table = self.settings.clone();
        let optimizer = toml::Table::try_from(&self.optimizer).expect("settings are a table");
        table.insert("optimizer".to_owned(), toml::Value::Table(optimizer));
        table
    }
}
