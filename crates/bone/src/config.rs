use serde::{Deserialize, Serialize};

use peft_core::{Error, Result};

/// Settings of Bone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// r ≥ 1: rows of the block.
    pub rank: i64,
    /// m ≥ 1: columns of the block, repeated along the outputs (MiSS-mini); as many as outputs where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mini_rank: Option<i64>,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
    /// How adapter files are written.
    pub layout: Layout,
}

/// Settings of Bat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatConfig {
    /// r ≥ 1: rows and columns of a block; divides the inputs and outputs of every adapted layer.
    pub rank: i64,
    /// How adapter files are written.
    pub layout: Layout,
}

/// The two ways in which PEFT has written these adapters. Both are read without being asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// `MISS` and `miss_block`: PEFT 0.18 and later.
    #[default]
    Miss,
    /// `BONE` and `bone_block`: PEFT 0.14 to 0.18.
    Bone,
}

/// PEFT's and the paper's.
const RANK: i64 = 64;

impl Default for Config {
    fn default() -> Self {
        Self { rank: RANK, mini_rank: None, dropout: 0.0, layout: Layout::default() }
    }
}

impl Default for BatConfig {
    fn default() -> Self {
        Self { rank: RANK, layout: Layout::default() }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<()> {
        positive("rank", self.rank)?;
        self.mini_rank.map_or(Ok(()), |mini| positive("mini_rank", mini))?;
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::config("dropout", self.dropout, "a probability below 1 is needed"));
        }
        if self.layout == Layout::Bone && self.mini_rank.is_some() {
            return Err(Error::config("layout", "bone", "that layout knows no `mini_rank`"));
        }
        Ok(())
    }
}

impl BatConfig {
    pub(crate) fn check(&self) -> Result<()> {
        positive("rank", self.rank)
    }
}

fn positive(field: &str, value: i64) -> Result<()> {
    if value < 1 { Err(Error::config(field, value, "at least 1 is needed")) } else { Ok(()) }
}
