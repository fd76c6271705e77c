use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use peft_core::init::Initializer;
use peft_core::low_rank::{Dropout, Ranks};
use peft_core::{
    Attached, Capabilities, LowRank, Method, MethodInfo, Paper, Param, Params, PeftFormat, Place, Result,
    Role, Site, parse_settings, resolve_settings,
};

use crate::DenseConfig;

/// The registry entry.
pub const LORI_D: MethodInfo = MethodInfo {
    name: "lori-d",
    family: "lori",
    variant: "d",
    folder: "lori",
    paper: Paper {
        title: "LoRI: Reducing Cross-Task Interference in Multi-Task Low-Rank Adaptation",
        arxiv: "2504.07448",
    },
    build: |table| Ok(Box::new(LoriD::new(&parse_settings("lori-d", table)?)?)),
    resolve: |table| resolve_settings::<DenseConfig>("lori-d", table),
    count: |table, model| {
        Ok(parse_settings::<DenseConfig>("lori-d", table.clone())?.ranks()?.count_up(model.sites))
    },
    count_formula: "r·out",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: true,
        identity_at_start: true,
    },
    peft: Some(PeftFormat {
        peft_type: "LORA",
        write: write_peft,
        // A file of LoRI is a file of LoRA; ours names its method in the metadata.
        read: |_| Ok(None),
    }),
};

fn write_peft(table: &toml::Table) -> Result<Map<String, Value>> {
    Ok(parse_settings::<DenseConfig>("lori-d", table.clone())?.to_peft().write())
}

/// `W_eff = W + s·B·A` with a frozen random A.
#[derive(Debug)]
pub struct LoriD {
    factors: Factors,
}

impl LoriD {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`].
    pub fn new(config: &DenseConfig) -> Result<Self> {
        Ok(Self { factors: Factors::new(config)? })
    }
}

impl Method for LoriD {
    fn begin(&mut self, sites: &[Site], _shared: &mut Params<'_>) -> Result<()> {
        self.factors.ranks.check(sites)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        self.factors.attach(place.site, params).map(|(_, _, attached)| attached)
    }
}

/// What both variants put at a site.
#[derive(Debug)]
pub(crate) struct Factors {
    pub ranks: Ranks,
    dropout: f64,
}

impl Factors {
    pub fn new(config: &DenseConfig) -> Result<Self> {
        Ok(Self { ranks: config.ranks()?, dropout: config.dropout })
    }

    /// A drawn and frozen, B zero and trainable.
    pub fn attach(&self, site: &Site, params: &mut Params<'_>) -> Result<(Param, Param, Attached)> {
        let rank = self.ranks.rank(site);
        let a = params.drawn(
            "lora_A.weight",
            Initializer::KaimingUniformSqrt5,
            &[rank, site.shape.in_features],
        )?;
        let zeros = Tensor::zeros([site.shape.out_features, rank], (Kind::Float, params.device()));
        let b = params.trainable("lora_B.weight", Role::Up, &zeros)?;
        let dropout = Dropout::new(self.dropout, params.seeds())?;
        let update = LowRank { dropout, ..LowRank::new(a.tensor(), b.tensor(), self.ranks.scaling(site)) };
        Ok((a, b, Attached::new(update)))
    }
}
