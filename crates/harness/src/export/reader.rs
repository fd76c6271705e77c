use clap::ValueEnum;
use peft_core::Site;
use peft_core::low_rank::{LoraFields, Ranks, Scaling, flag};
use serde_json::{Map, Value};

use crate::Result;

/// A program that reads adapters in the format of Hugging Face PEFT, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reader {
    /// Hugging Face PEFT.
    Peft,
    /// vLLM.
    Vllm,
    /// mistral.rs.
    Mistralrs,
    /// llama.cpp, through its `convert_lora_to_gguf.py`.
    Llamacpp,
}

impl Reader {
    /// As its authors write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Peft => "PEFT",
            Self::Vllm => "vLLM",
            Self::Mistralrs => "mistral.rs",
            Self::Llamacpp => "llama.cpp",
        }
    }

    /// The factor that it multiplies `B·A` of a site with, where A has `rows` rows.
    ///
    /// PEFT and mistral.rs follow the patterns of rank and α. vLLM has one factor for the whole adapter and knows no
    /// patterns (`vllm/lora/peft_helper.py`). llama.cpp divides one α by the rank of each tensor, whatever `use_rslora` says
    /// (`convert_lora_to_gguf.py`, `llama-adapter.h`).
    ///
    /// # Errors
    /// If the configuration holds values that cannot be.
    pub fn scaling(self, config: &Map<String, Value>, site: &Site, rows: i64) -> Result<f64> {
        let fields = LoraFields::read(config)?;
        let rule = if flag(config, "use_rslora") && self != Self::Llamacpp {
            Scaling::AlphaOverSqrtRank
        } else {
            Scaling::AlphaOverRank
        };
        Ok(match self {
            Self::Peft | Self::Mistralrs => {
                Ranks::new(rule, fields.rank, fields.alpha, &fields.rank_pattern, &fields.alpha_pattern)?
                    .scaling(site)
            }
            Self::Vllm => rule.factor(fields.alpha, fields.rank),
            Self::Llamacpp => rule.factor(fields.alpha, rows),
        })
    }

    /// The largest rank it can be started for.
    pub fn largest_rank(self) -> Option<i64> {
        match self {
            Self::Vllm => Some(512), // `MaxLoRARanks` in `vllm/config/lora.py`
            Self::Peft | Self::Mistralrs | Self::Llamacpp => None,
        }
    }

    /// Whether it reads adapters of layers that a model stores transposed.
    pub fn knows_transposed_layers(self) -> bool {
        self != Self::Llamacpp
    }

    /// What to do with a plain LoRA of this rank.
    pub fn advice(self, rank: i64) -> Option<String> {
        /// What vLLM can be told, and what it and mistral.rs take without being told.
        const VLLM_RANKS: [i64; 9] = [1, 8, 16, 32, 64, 128, 256, 320, 512];
        const VLLM_DEFAULT: i64 = 16;
        const MISTRALRS_DEFAULT: i64 = 256;
        match self {
            Self::Vllm if rank > VLLM_DEFAULT => {
                let room = VLLM_RANKS.into_iter().find(|&room| room >= rank)?;
                Some(format!("serve it with `--max-lora-rank {room}`"))
            }
            Self::Mistralrs if rank > MISTRALRS_DEFAULT => {
                Some(format!("serve it with `--lora-max-rank {rank}`"))
            }
            Self::Llamacpp => Some("convert it with `convert_lora_to_gguf.py --base MODEL DIR`".to_owned()),
            _ => None,
        }
    }
}
