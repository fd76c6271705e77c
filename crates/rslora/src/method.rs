use serde_json::{Map, Value};

use peft_core::low_rank::{LoraFields, Ranks, ZeroStart, flag, starts_from_zero};
use peft_core::{
    Attached, Capabilities, Method, MethodInfo, Paper, Params, PeftFormat, Place, Result, Site,
    parse_settings, resolve_settings,
};

use crate::Config;

/// The registry entry.
pub const RSLORA: MethodInfo = MethodInfo {
    name: "rslora",
    family: "rslora",
    variant: "",
    folder: "rslora",
    paper: Paper {
        title: "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA",
        arxiv: "2312.03732",
    },
    build: |table| Ok(Box::new(RsLora::new(parse_settings("rslora", table)?)?)),
    resolve: |table| resolve_settings::<Config>("rslora", table),
    count: |table, model| {
        Ok(parse_settings::<Config>("rslora", table.clone())?.ranks()?.count_both(model.sites))
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

/// `W_eff = W + s·B·A`, s = α/√r.
#[derive(Debug)]
pub struct RsLora {
    config: Config,
    ranks: Ranks,
}

impl RsLora {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`].
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self { ranks: config.ranks()?, config })
    }
}

impl Method for RsLora {
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
    let mut config = parse_settings::<Config>("rslora", table.clone())?.to_peft().write();
    config.insert("use_rslora".to_owned(), Value::Bool(true));
    Ok(config)
}

/// LoRA with the flag `use_rslora` and no other.
fn read_peft(config: &Map<String, Value>) -> Result<Option<toml::Table>> {
    if !flag(config, "use_rslora") || flag(config, "use_dora") || !starts_from_zero(config) {
        return Ok(None);
    }
    let config = Config::from_peft(LoraFields::read(config)?);
    Ok(Some(toml::Table::try_from(config).expect("settings are a table")))
}
