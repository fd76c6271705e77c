use baselines::{Vera, VeraConfig};
use dora::{Decomposed, MagnitudeOf, NormGradient};
use serde::{Deserialize, Serialize};

use peft_core::{
    Attached, Capabilities, Method, MethodInfo, ModelShape, Paper, Params, Place, Result, Site,
    parse_settings, resolve_settings,
};

/// The registry entry.
pub const DVORA: MethodInfo = MethodInfo {
    name: "dvora",
    family: "dvora",
    variant: "",
    folder: "methods",
    paper: Paper { title: "DoRA: Weight-Decomposed Low-Rank Adaptation (section 5.4)", arxiv: "2402.09353" },
    build: |table| Ok(Box::new(Dvora::new(parse_settings("dvora", table)?)?)),
    resolve: |table| resolve_settings::<DvoraConfig>("dvora", table),
    count,
    count_formula: "2·out + r",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: false,
        identity_at_start: true,
    },
    peft: None,
};

fn count(table: &toml::Table, model: ModelShape<'_>) -> Result<u64> {
    let config: DvoraConfig = parse_settings("dvora", table.clone())?;
    Ok(model.sites.iter().map(|site| (2 * site.shape.out_features + config.rank).cast_unsigned()).sum())
}

/// Settings of DVoRA: those of VeRA and of the decomposition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DvoraConfig {
    /// r ≥ 1.
    pub rank: i64,
    /// Start of λ_d.
    pub d_initial: f64,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
    /// As VeRA's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection_prng_key: Option<u32>,
    /// As VeRA's.
    pub save_projection: bool,
    /// Whether n is differentiated.
    pub norm_gradient: NormGradient,
    /// Which weight's row norms m starts from, where the base is stored with loss.
    pub magnitude: MagnitudeOf,
}

impl Default for DvoraConfig {
    /// Those of its parts.
    fn default() -> Self {
        let VeraConfig { rank, d_initial, dropout, projection_prng_key, save_projection } =
            VeraConfig::default();
        let (norm_gradient, magnitude) = (NormGradient::default(), MagnitudeOf::default());
        Self { rank, d_initial, dropout, projection_prng_key, save_projection, norm_gradient, magnitude }
    }
}

/// `W_eff = diag(m/n)·(W + diag(λ_b)·B·diag(λ_d)·A)`: DoRA over VeRA.
#[derive(Debug)]
pub struct Dvora {
    vera: Vera,
    norm_gradient: NormGradient,
    magnitude: MagnitudeOf,
}

impl Dvora {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`].
    pub fn new(config: DvoraConfig) -> Result<Self> {
        let DvoraConfig { rank, d_initial, dropout, projection_prng_key, save_projection, .. } = config;
        let vera = Vera::new(VeraConfig { rank, d_initial, dropout, projection_prng_key, save_projection })?;
        Ok(Self { vera, norm_gradient: config.norm_gradient, magnitude: config.magnitude })
    }
}

impl Method for Dvora {
    fn begin(&mut self, sites: &[Site], shared: &mut Params<'_>) -> Result<()> {
        self.vera.begin(sites, shared)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let mut delta = self.vera.delta(place.site, params)?;
        let dropout = delta.dropout.take();
        let decomposed = Decomposed::attach(delta, place, params, self.magnitude, self.norm_gradient)?;
        Ok(Attached::new(decomposed.with_dropout(dropout)))
    }
}
