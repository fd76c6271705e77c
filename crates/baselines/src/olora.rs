use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use peft_core::low_rank::{LoraFields, Ranks, Scaling, flag};
use peft_core::residual::{self, Factors, Residual, Settings};
use peft_core::{
    Attached, Capabilities, Error, FileTensors, Method, MethodInfo, Paper, Params, PeftFormat, Place, Result,
    Site, StateDict, linalg, parse_settings, resolve_settings,
};

/// The registry entry.
pub const OLORA: MethodInfo = MethodInfo {
    name: "olora",
    family: "olora",
    variant: "",
    folder: "baselines",
    paper: Paper {
        title: "OLoRA: Orthonormal Low-Rank Adaptation of Large Language Models",
        arxiv: "2406.01775",
    },
    build: |table| Ok(Box::new(Olora::new(parse_settings("olora", table)?)?)),
    resolve: |table| resolve_settings::<OloraConfig>("olora", table),
    count: |table, model| {
        Ok(parse_settings::<OloraConfig>("olora", table.clone())?.ranks()?.count_both(model.sites))
    },
    count_formula: "r·(in + out)",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: true,
        identity_at_start: true,
    },
    peft: Some(PeftFormat { peft_type: "LORA", write: write_peft, read: read_peft }),
};

/// Settings of OLoRA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OloraConfig {
    /// 1 ≤ r ≤ min(in, out).
    pub rank: i64,
    /// α > 0; s = α/r.
    pub alpha: f64,
    /// Probability of zeroing an entry of the trained branch's input, in [0, 1).
    pub dropout: f64,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
    /// α by module name.
    pub alpha_pattern: IndexMap<String, f64>,
}

impl Default for OloraConfig {
    /// PEFT's rank and α.
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 8.0,
            dropout: 0.0,
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
        }
    }
}

impl OloraConfig {
    fn ranks(&self) -> Result<Ranks> {
        Ranks::new(Scaling::AlphaOverRank, self.rank, self.alpha, &self.rank_pattern, &self.alpha_pattern)
    }
}

/// `W_eff = (W - s·B₀·A₀) + s·B·A` with B₀ the first r columns of Q and A₀ the first r rows of R, W = Q·R.
#[derive(Debug)]
pub struct Olora {
    config: OloraConfig,
    ranks: Ranks,
    residual: Residual,
}

impl Olora {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: OloraConfig) -> Result<Self> {
        Ok(Self { ranks: config.ranks()?, config, residual: Residual::default() })
    }
}

impl Method for Olora {
    fn begin(&mut self, sites: &[Site], _shared: &mut Params<'_>) -> Result<()> {
        self.ranks.check(sites)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let (rank, scaling) = (self.ranks.rank(place.site), self.ranks.scaling(place.site));
        let settings = Settings { rank, scaling, dropout: self.config.dropout, rounds: 1 };
        self.residual.attach(place, params, settings, &mut |weight| leading(weight, rank))
    }

    fn export(&self, tensors: StateDict) -> StateDict {
        Residual::export(tensors)
    }

    fn import(
        &mut self,
        file: FileTensors<'_>,
        sites: &[Site],
        weight: &dyn Fn(&Site) -> Tensor,
    ) -> Result<StateDict> {
        let ranks = &self.ranks;
        self.residual
            .import(file, sites, &|site| ranks.rank(site), &|site| leading(&weight(site), ranks.rank(site)))
    }
}

/// The first r columns of Q and rows of R of the reduced decomposition `W = Q·R`: only the r reflections of the first r
/// columns of W are needed, O(out·r² + out·r·in) instead of O(out·in·min(out, in)).
fn leading(weight: &Tensor, rank: i64) -> Result<Factors> {
    let weight = weight.to_kind(Kind::Float);
    let (q, _) = linalg::qr(&weight.narrow(1, 0, rank))?;
    let r = q.tr().matmul(&weight).triu(0); // below the diagonal is rounding
    Ok(Factors { b: q, a: r })
}

fn fields(config: OloraConfig) -> LoraFields {
    let OloraConfig { rank, alpha, dropout, rank_pattern, alpha_pattern } = config;
    LoraFields { rank, alpha, dropout, rank_pattern, alpha_pattern }
}

/// The plain LoRA of rank 2r.
fn write_peft(table: &toml::Table) -> Result<Map<String, Value>> {
    Ok(residual::doubled(fields(parse_settings("olora", table.clone())?)).write())
}

/// A file that PEFT wrote after training from `init_lora_weights = "olora"`.
fn read_peft(config: &Map<String, Value>) -> Result<Option<toml::Table>> {
    if config.get("init_lora_weights").is_none_or(|init| init != "olora") {
        return Ok(None);
    }
    if flag(config, "use_rslora") || flag(config, "use_dora") {
        return Err(Error::Unsupported {
            what: "`init_lora_weights = olora` with `use_rslora` or `use_dora`".to_owned(),
            reason: "OLoRA is defined with s = α/r and without magnitudes".to_owned(),
        });
    }
    let LoraFields { rank, alpha, dropout, rank_pattern, alpha_pattern } = LoraFields::read(config)?;
    let config = OloraConfig { rank, alpha, dropout, rank_pattern, alpha_pattern };
    Ok(Some(toml::Table::try_from(config).expect("settings are a table")))
}
