use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use peft_core::low_rank::{LoraFields, Ranks, Scaling, ZeroStart, flag, starts_from_zero};
use peft_core::{
    Attached, Capabilities, Error, FileTensors, LowRank, Method, MethodInfo, ModelShape, Paper, Params,
    Patterned, PeftFormat, Place, Result, Site, StateDict, parse_settings, resolve_settings,
};

use crate::{Config, Decomposed};

/// The registry entry.
pub const DORA: MethodInfo = MethodInfo {
    name: "dora",
    family: "dora",
    variant: "",
    folder: "dora",
    paper: Paper { title: "DoRA: Weight-Decomposed Low-Rank Adaptation", arxiv: "2402.09353" },
    build: |table| Ok(Box::new(Dora::new(parse_settings("dora", table)?)?)),
    resolve: |table| resolve_settings::<Config>("dora", table),
    count,
    count_formula: "r·(in + out) + out; out where only the magnitude trains",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: false,
        identity_at_start: true,
    },
    peft: Some(PeftFormat { peft_type: "LORA", write: write_peft, read: read_peft }),
};

fn count(table: &toml::Table, model: ModelShape<'_>) -> Result<u64> {
    let config: Config = parse_settings("dora", table.clone())?;
    let (ranks, alone) = (config.ranks()?, config.magnitude_only()?);
    let of = |site: &Site| {
        let factors = if alone.of(&site.name) { 0 } else { ranks.count_both(std::slice::from_ref(site)) };
        factors + site.shape.out_features.cast_unsigned()
    };
    Ok(model.sites.iter().map(of).sum())
}

/// `W_eff = diag(m/n)·(W + s·B·A)`, n the row norms of the sum.
#[derive(Debug)]
pub struct Dora {
    config: Config,
    ranks: Ranks,
    magnitude_only: Patterned<bool>,
    sites: Vec<Site>,
}

impl Dora {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: Config) -> Result<Self> {
        let (ranks, magnitude_only) = (config.ranks()?, config.magnitude_only()?);
        Ok(Self { config, ranks, magnitude_only, sites: Vec::new() })
    }

    fn update(&self, site: &Site, params: &mut Params<'_>) -> Result<LowRank> {
        if self.magnitude_only.of(&site.name) {
            let nothing = |size: [i64; 2]| Tensor::zeros(size, (Kind::Float, params.device()));
            let (a, b) = (nothing([0, site.shape.in_features]), nothing([site.shape.out_features, 0]));
            return Ok(LowRank::new(a, b, 1.0));
        }
        let (rank, scaling) = (self.ranks.rank(site), self.ranks.scaling(site));
        ZeroStart { rank, scaling, init: self.config.init, dropout: self.config.dropout }.attach(site, params)
    }

    /// Names of A and B of a site that has none: in files they are there and zero, as PEFT wants them.
    fn absent(site: &Site) -> [String; 2] {
        ["lora_A.weight", "lora_B.weight"].map(|tensor| format!("{}.{tensor}", site.name))
    }
}

impl Method for Dora {
    fn begin(&mut self, sites: &[Site], _shared: &mut Params<'_>) -> Result<()> {
        self.sites = sites.to_vec();
        self.ranks.check(sites)?;
        self.magnitude_only.check(sites)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let mut update = self.update(place.site, params)?;
        let dropout = update.dropout.take();
        let Config { magnitude, norm_gradient, .. } = self.config;
        let decomposed = Decomposed::attach(update, place, params, magnitude, norm_gradient)?;
        Ok(Attached::new(decomposed.with_dropout(dropout)))
    }

    fn export(&self, mut tensors: StateDict) -> StateDict {
        for site in self.sites.iter().filter(|site| self.magnitude_only.of(&site.name)) {
            let (rank, shape) = (self.ranks.rank(site), site.shape);
            let sizes = [[rank, shape.in_features], [shape.out_features, rank]];
            for (name, size) in Self::absent(site).into_iter().zip(sizes) {
                tensors.insert(name, Tensor::zeros(size, (Kind::Float, tch::Device::Cpu)));
            }
        }
        tensors
    }

    fn import(
        &mut self,
        file: FileTensors<'_>,
        sites: &[Site],
        _weight: &dyn Fn(&Site) -> Tensor,
    ) -> Result<StateDict> {
        let mut tensors = file.shallow_clone();
        for site in sites.iter().filter(|site| self.magnitude_only.of(&site.name)) {
            for name in Self::absent(site) {
                if tensors.remove(&name).is_some_and(|t| t.count_nonzero(None).int64_value(&[]) > 0) {
                    let reason =
                        format!("{}: `{name}` is not zero, but only the magnitude trains here", file.origin);
                    return Err(Error::site(&site.name, reason));
                }
            }
        }
        Ok(tensors)
    }
}

fn write_peft(table: &toml::Table) -> Result<Map<String, Value>> {
    let config = parse_settings::<Config>("dora", table.clone())?;
    let mut fields = config.to_peft().write();
    fields.insert("use_dora".to_owned(), Value::Bool(true));
    let rank_stabilized = config.scaling == Scaling::AlphaOverSqrtRank;
    fields.insert("use_rslora".to_owned(), Value::Bool(rank_stabilized));
    Ok(fields)
}

fn read_peft(config: &Map<String, Value>) -> Result<Option<toml::Table>> {
    if !flag(config, "use_dora") {
        return Ok(None);
    }
    if !starts_from_zero(config) {
        return Err(Error::Unsupported {
            what: format!("`use_dora` with `init_lora_weights = {}`", config["init_lora_weights"]),
            reason: "the direction would be that of a base without its principal part".to_owned(),
        });
    }
    let rank_stabilized = flag(config, "use_rslora");
    let scaling = if rank_stabilized { Scaling::AlphaOverSqrtRank } else { Scaling::AlphaOverRank };
    let config = Config::from_peft(LoraFields::read(config)?, scaling);
    Ok(Some(toml::Table::try_from(config).expect("settings are a table")))
}
