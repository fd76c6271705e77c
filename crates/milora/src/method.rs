use serde_json::{Map, Value};
use tch::Tensor;

use peft_core::low_rank::Ranks;
use peft_core::residual::{self, Residual, Settings};
use peft_core::{
    Attached, Capabilities, Error, FileTensors, Method, MethodInfo, Paper, Params, PeftFormat, Place, Result,
    Site, StateDict, parse_settings, resolve_settings,
};

use crate::Config;

/// The registry entry.
pub const MILORA: MethodInfo = MethodInfo {
    name: "milora",
    family: "milora",
    variant: "",
    folder: "milora",
    paper: Paper {
        title: "MiLoRA: Harnessing Minor Singular Components for Parameter-Efficient LLM Finetuning",
        arxiv: "2406.09044",
    },
    build: |table| Ok(Box::new(Milora::new(parse_settings("milora", table)?)?)),
    resolve: |table| resolve_settings::<Config>("milora", table),
    count: |table, model| {
        Ok(parse_settings::<Config>("milora", table.clone())?.ranks()?.count_both(model.sites))
    },
    count_formula: "r·(in + out)",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: true,
        identity_at_start: true,
    },
    // PEFT does not know MiLoRA, but reads the plain LoRA of rank 2r that it equals.
    peft: Some(PeftFormat { peft_type: "LORA", write: write_peft, read: |_| Ok(None) }),
};

/// `W_eff = (W - s·B₀·A₀) + s·B·A` with `s·B₀·A₀` r singular components of W, the smallest ones by default.
#[derive(Debug)]
pub struct Milora {
    config: Config,
    ranks: Ranks,
    residual: Residual,
}

impl Milora {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self { ranks: config.ranks()?, config, residual: Residual::default() })
    }
}

impl Method for Milora {
    fn begin(&mut self, sites: &[Site], _shared: &mut Params<'_>) -> Result<()> {
        self.ranks.check(sites)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let (rank, scaling) = (self.ranks.rank(place.site), self.ranks.scaling(place.site));
        let settings = Settings { rank, scaling, dropout: self.config.dropout, rounds: 1 };
        let (components, decomposition) = (self.config.components, self.config.svd.into());
        let mut rng = params.rng("components");
        self.residual.attach(place, params, settings, &mut |weight| {
            residual::split(weight, rank, scaling, components, decomposition, &mut rng)
        })
    }

    fn export(&self, tensors: StateDict) -> StateDict {
        Residual::export(tensors)
    }

    /// A file of rank r without its start is refused: nothing in a plain LoRA says that it belongs to another base.
    fn import(
        &mut self,
        file: FileTensors<'_>,
        sites: &[Site],
        _weight: &dyn Fn(&Site) -> Tensor,
    ) -> Result<StateDict> {
        let ranks = &self.ranks;
        self.residual.import(file, sites, &|site| ranks.rank(site), &|site| {
            let reason =
                format!("{} lacks the part of the weight that the adapter started from", file.origin);
            Err(Error::site(&site.name, reason))
        })
    }
}

/// The plain LoRA of rank 2r.
fn write_peft(table: &toml::Table) -> Result<Map<String, Value>> {
    Ok(residual::doubled(parse_settings::<Config>("milora", table.clone())?.to_peft()).write())
}
