use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use peft_core::low_rank::Init;
use peft_core::{
    AdamWConfig, Attached, Error, Method, MethodInfo, Paper, Params, PeftFormat, Place, Result, Role, Site,
    parse_settings, resolve_settings,
};

use crate::{Config, LORA, Lora};

/// The registry entry.
pub const LORA_PLUS: MethodInfo = MethodInfo {
    name: "lora-plus",
    family: "lora-plus",
    paper: Paper { title: "LoRA+: Efficient Low Rank Adaptation of Large Models", arxiv: "2402.12354" },
    build: |table| Ok(Box::new(LoraPlus::new(parse_settings("lora-plus", table)?)?)),
    resolve: |table| resolve_settings::<PlusConfig>("lora-plus", table),
    count: |table, model| {
        let config = parse_settings::<PlusConfig>("lora-plus", table.clone())?.lora();
        Ok(config.ranks()?.count_both(model.sites))
    },
    peft: Some(PeftFormat {
        peft_type: "LORA",
        write: |table| {
            let config = parse_settings::<PlusConfig>("lora-plus", table.clone())?.lora();
            Ok(config.to_peft().write())
        },
        // A file of LoRA+ is a file of LoRA: nothing in it says how it was trained.
        read: |_| Ok(None),
    }),
    ..LORA
};

/// Settings of LoRA+: those of LoRA and the ratio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlusConfig {
    /// r ≥ 1.
    pub rank: i64,
    /// α > 0; s = α/r.
    pub alpha: f64,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
    /// Distribution of A.
    pub init: Init,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
    /// α by module name.
    pub alpha_pattern: IndexMap<String, f64>,
    /// λ = η_B/η_A ≥ 1: learning rate of B and of all vectors over that of A.
    pub lr_ratio: f64,
    /// Learning rate of the factors of an embedding.
    pub lr_embedding: f64,
}

impl Default for PlusConfig {
    /// The ratio of PEFT's documentation; the embedding rate of the authors' code.
    fn default() -> Self {
        let Config { rank, alpha, dropout, init, rank_pattern, alpha_pattern } = Config::default();
        Self { rank, alpha, dropout, init, rank_pattern, alpha_pattern, lr_ratio: 16.0, lr_embedding: 1e-6 }
    }
}

impl PlusConfig {
    fn lora(self) -> Config {
        let Self { rank, alpha, dropout, init, rank_pattern, alpha_pattern, .. } = self;
        Config { rank, alpha, dropout, init, rank_pattern, alpha_pattern }
    }
}

/// LoRA whose B learns `lr_ratio` times as fast as its A.
#[derive(Debug)]
pub struct LoraPlus {
    lora: Lora,
    lr_ratio: f64,
    lr_embedding: f64,
}

impl LoraPlus {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: PlusConfig) -> Result<Self> {
        let (lr_ratio, lr_embedding) = (config.lr_ratio, config.lr_embedding);
        if !(lr_ratio.is_finite() && lr_ratio > 0.0) {
            return Err(Error::config("lr_ratio", lr_ratio, "a positive number is needed"));
        }
        Ok(Self { lora: Lora::new(config.lora())?, lr_ratio, lr_embedding })
    }
}

impl Method for LoraPlus {
    fn begin(&mut self, sites: &[Site], shared: &mut Params<'_>) -> Result<()> {
        self.lora.begin(sites, shared)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        self.lora.attach(place, params)
    }

    /// PEFT's groups: `lora_B` and everything one-dimensional is fast; factors of an embedding have their own rate.
    fn configure_optimizer(&self, config: &mut AdamWConfig) {
        for role in [Role::Up, Role::Magnitude, Role::Bias, Role::Diagonal, Role::Norm] {
            config.lr_ratio.insert(role, self.lr_ratio);
        }
        config.lr_by_role.insert(Role::Embedding, self.lr_embedding);
    }
}
