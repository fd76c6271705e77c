use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use peft_core::low_rank::{Dropout, LoraFields, Ranks, flag};
use peft_core::{
    Attached, Capabilities, LowRank, Method, MethodInfo, Paper, Params, PeftFormat, Place, Result, Role,
    Site, init, parse_settings, resolve_settings,
};

use crate::{Config, Init};

/// The registry entry.
pub const LORA: MethodInfo = MethodInfo {
    name: "lora",
    family: "lora",
    variant: "",
    folder: "lora",
    paper: Paper { title: "LoRA: Low-Rank Adaptation of Large Language Models", arxiv: "2106.09685" },
    build: |table| Ok(Box::new(Lora::new(parse_settings("lora", table)?)?)),
    resolve: |table| resolve_settings::<Config>("lora", table),
    count: |table, model| {
        Ok(parse_settings::<Config>("lora", table.clone())?.ranks()?.count_both(model.sites))
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

/// `W_eff = W + s·B·A`, s = α/r.
#[derive(Debug)]
pub struct Lora {
    config: Config,
    ranks: Ranks,
}

impl Lora {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`].
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self { ranks: config.ranks()?, config })
    }
}

impl Method for Lora {
    fn begin(&mut self, sites: &[Site], _shared: &mut Params<'_>) -> Result<()> {
        self.ranks.check(sites)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let (rank, shape) = (self.ranks.rank(place.site), place.site.shape);
        let mut rng = params.rng("lora_A.weight");
        let size = [rank, shape.in_features];
        let start = match self.config.init {
            Init::KaimingUniform => init::kaiming_uniform_sqrt5(&size, &mut rng, params.device()),
            Init::Gaussian => init::normal(&size, 1.0 / rank as f32, &mut rng, params.device()),
        };
        let a = params.trainable("lora_A.weight", Role::Down, &start)?;
        let zeros = Tensor::zeros([shape.out_features, rank], (Kind::Float, params.device()));
        let b = params.trainable("lora_B.weight", Role::Up, &zeros)?;
        let dropout = Dropout::new(self.config.dropout, params.seeds())?;
        let scaling = self.ranks.scaling(place.site);
        Ok(Attached::new(LowRank { dropout, ..LowRank::new(a.tensor(), b.tensor(), scaling) }))
    }
}

fn write_peft(table: &toml::Table) -> Result<Map<String, Value>> {
    Ok(parse_settings::<Config>("lora", table.clone())?.to_peft().write())
}

/// Plain LoRA: none of the flags by which PEFT tells the variants apart.
fn read_peft(config: &Map<String, Value>) -> Result<Option<toml::Table>> {
    let init = config.get("init_lora_weights");
    let plain = init.is_none_or(|v| v.is_boolean() || v.is_null() || v == "gaussian");
    if flag(config, "use_dora") || flag(config, "use_rslora") || !plain {
        return Ok(None);
    }
    let config = Config::from_peft(LoraFields::read(config)?);
    Ok(Some(toml::Table::try_from(config).expect("settings are a table")))
}
