use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use peft_core::linalg::{self, Randomized};
use peft_core::low_rank::{LoraFields, Ranks, flag};
use peft_core::residual::{self, Components, Decomposition, Factors, Residual, Settings};
use peft_core::{
    Attached, Capabilities, Error, FileTensors, Method, MethodInfo, Paper, Params, PeftFormat, Place, Result,
    Site, StateDict, parse_settings, resolve_settings,
};

use crate::{Config, Init};

/// The registry entry.
pub const PISSA: MethodInfo = MethodInfo {
    name: "pissa",
    family: "pissa",
    variant: "",
    folder: "pissa",
    paper: Paper {
        title: "PiSSA: Principal Singular Values and Singular Vectors Adaptation of Large Language Models",
        arxiv: "2404.02948",
    },
    build: |table| Ok(Box::new(Pissa::new(parse_settings("pissa", table)?)?)),
    resolve: |table| resolve_settings::<Config>("pissa", table),
    count: |table, model| {
        Ok(parse_settings::<Config>("pissa", table.clone())?.ranks()?.count_both(model.sites))
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

/// `W_eff = (W - s·B₀·A₀) + s·B·A` with `s·B₀·A₀` the r principal components of W.
#[derive(Debug)]
pub struct Pissa {
    config: Config,
    ranks: Ranks,
    residual: Residual,
}

impl Pissa {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self { ranks: config.ranks()?, config, residual: Residual::default() })
    }
}

impl Method for Pissa {
    fn begin(&mut self, sites: &[Site], _shared: &mut Params<'_>) -> Result<()> {
        self.ranks.check(sites)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let (rank, scaling) = (self.ranks.rank(place.site), self.ranks.scaling(place.site));
        let rounds = self.config.quantization_iterations;
        let settings = Settings { rank, scaling, dropout: 0.0, rounds };
        let decomposition = match self.config.init {
            Init::Full => Decomposition::Full,
            Init::Fast(iterations) => {
                Decomposition::Randomized(Randomized { iterations, ..Randomized::default() })
            }
        };
        let mut rng = params.rng("svd");
        self.residual.attach(place, params, settings, &mut |weight| {
            residual::split(weight, rank, scaling, Components::Principal, decomposition, &mut rng)
        })
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
        let (init, ranks) = (self.config.init, &self.ranks);
        self.residual.import(file, sites, &|site| ranks.rank(site), &|site| match init {
            Init::Full => repeated(site, &weight(site), ranks.rank(site), ranks.scaling(site)),
            Init::Fast(_) => Err(Error::Unsupported {
                what: format!("{}: `{init}` without the adapter's start", file.origin),
                reason: "a randomized decomposition cannot be repeated, so the base that A and B belong to is unknown"
                    .to_owned(),
            }),
        })
    }
}

/// Gaps between singular values, relative to the largest, from which on single precision tells their vectors apart.
const SEPARATED: f64 = 1e-5;

/// The start that another program found by a full decomposition: unique if σᵣ and σᵣ₊₁ are apart.
fn repeated(site: &Site, weight: &Tensor, rank: i64, scaling: f64) -> Result<Factors> {
    let all = linalg::svd(&weight.to_kind(Kind::Float))?;
    if rank < all.len() {
        let [largest, last, next] = [0, rank - 1, rank].map(|i| all.s.double_value(&[i]));
        if last - next <= SEPARATED * largest {
            let reason = format!(
                "the file lacks the adapter's start, and singular values {rank} and {} ({last:e}, {next:e}) are too \
                 close to compute it again",
                rank + 1
            );
            return Err(Error::site(&site.name, reason));
        }
    }
    Ok(residual::balanced(&all.slice(0, rank.min(all.len())), scaling))
}

/// The plain LoRA of rank 2r.
fn write_peft(table: &toml::Table) -> Result<Map<String, Value>> {
    Ok(residual::doubled(parse_settings::<Config>("pissa", table.clone())?.to_peft()).write())
}

/// A file that PEFT wrote after training from `init_lora_weights = "pissa"`: A and B for the base without its principal
/// part.
fn read_peft(config: &Map<String, Value>) -> Result<Option<toml::Table>> {
    let named = config.get("init_lora_weights").and_then(Value::as_str).unwrap_or_default();
    let Ok(init) = Init::try_from(named.to_owned()) else { return Ok(None) };
    if flag(config, "use_rslora") || flag(config, "use_dora") {
        return Err(Error::Unsupported {
            what: format!("`init_lora_weights = {named}` with `use_rslora` or `use_dora`"),
            reason: "PiSSA is defined with s = α/r and without magnitudes".to_owned(),
        });
    }
    let config = Config::from_peft(LoraFields::read(config)?, init);
    Ok(Some(toml::Table::try_from(config).expect("settings are a table")))
}
