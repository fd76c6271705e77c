use serde_json::{Map, Value};

use peft_core::low_rank::{LoraFields, Ranks, ZeroStart, flag, starts_from_zero};
use peft_core::{
    Attached, Capabilities, Method, MethodInfo, Paper, Params, PeftFormat, Place, Result, Site,
    parse_settings, resolve_settings,
};

use crate::Config;

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
        let (rank, scaling) = (self.ranks.rank(place.site), self.ranks.scaling(place.site));
        let start = ZeroStart { rank, scaling, init: self.config.init, dropout: self.config.dropout };
        Ok(Attached::new(start.attach(place.site, params)?))
    }
}

fn write_peft(table: &toml::Table) -> Result<Map<String, Value>> {
    Ok(parse_settings::<Config>("lora", table.clone())?.to_peft().write())
}

/// Plain LoRA: none of the flags by which PEFT tells the variants apart.
fn read_peft(config: &Map<String, Value>) -> Result<Option<toml::Table>> {
    if flag(config, "use_dora") || flag(config, "use_rslora") || !starts_from_zero(config) {
        return Ok(None);
    }
    let config = Config::from_peft(LoraFields::read(config)?);
    Ok(Some(toml::Table::try_from(config).expect("settings are a table")))
}
