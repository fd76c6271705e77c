mod delta;
mod fused;
mod projection;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use peft_core::low_rank::Dropout;
use peft_core::{
    Attached, Capabilities, Error, Method, MethodInfo, ModelShape, Paper, Params, PeftFormat, Place, Result,
    Role, Site, parse_settings, resolve_settings,
};

pub use delta::VeraDelta;
use projection::Projections;

/// The registry entry.
pub const VERA: MethodInfo = MethodInfo {
    name: "vera",
    family: "vera",
    variant: "",
    folder: "baselines",
    paper: Paper { title: "VeRA: Vector-based Random Matrix Adaptation", arxiv: "2310.11454" },
    build: |table| Ok(Box::new(Vera::new(parse_settings("vera", table)?)?)),
    resolve: |table| resolve_settings::<VeraConfig>("vera", table),
    count,
    count_formula: "out + r",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: true,
        identity_at_start: true,
    },
    peft: Some(PeftFormat { peft_type: "VERA", write: write_peft, read: read_peft }),
};

fn count(table: &toml::Table, model: ModelShape<'_>) -> Result<u64> {
    let config: VeraConfig = parse_settings("vera", table.clone())?;
    Ok(model.sites.iter().map(|site| (site.shape.out_features + config.rank).cast_unsigned()).sum())
}

/// Settings of VeRA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VeraConfig {
    /// r ≥ 1: far above LoRA's, since the matrices cost no parameters.
    pub rank: i64,
    /// Start of λ_d.
    pub d_initial: f64,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
    /// Draws the projections as PEFT does, from libtorch's generator under this key, so that every run has the same;
    /// without it they come from the run's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection_prng_key: Option<u32>,
    /// Whether files hold the projections, or leave them to the key.
    pub save_projection: bool,
}

impl Default for VeraConfig {
    /// PEFT's, but with projections of the run's own.
    fn default() -> Self {
        Self { rank: 256, d_initial: 0.1, dropout: 0.0, projection_prng_key: None, save_projection: true }
    }
}

/// `W_eff = W + diag(λ_b)·B·diag(λ_d)·A` with random A, B that all sites share.
#[derive(Debug)]
pub struct Vera {
    config: VeraConfig,
    projections: Option<Projections>,
}

impl Vera {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: VeraConfig) -> Result<Self> {
        if config.rank < 1 {
            return Err(Error::config("rank", config.rank, "a rank is at least 1"));
        }
        if !config.d_initial.is_finite() {
            return Err(Error::config("d_initial", config.d_initial, "a finite number is needed"));
        }
        if !config.save_projection && config.projection_prng_key.is_none() {
            let reason = "without `projection_prng_key` the projections cannot be drawn again, so files must hold them";
            return Err(Error::config("save_projection", false, reason));
        }
        Ok(Self { config, projections: None })
    }

    /// Registers λ_b `[out]` and λ_d `[r]` of a site.
    ///
    /// # Errors
    /// [`Error::Config`] for a dropout outside [0, 1).
    ///
    /// # Panics
    /// Before [`Method::begin`].
    pub fn delta(&self, site: &Site, params: &mut Params<'_>) -> Result<VeraDelta> {
        let options = (Kind::Float, params.device());
        let zeros = Tensor::zeros([site.shape.out_features], options);
        let lambda_b = params.trainable("vera_lambda_b", Role::Diagonal, &zeros)?;
        let start = Tensor::full([self.config.rank], self.config.d_initial, options);
        let lambda_d = params.trainable("vera_lambda_d", Role::Diagonal, &start)?;
        let projections = self.projections.as_ref().expect("`begin` comes before `attach`");
        Ok(VeraDelta {
            a: projections.a.narrow(1, 0, site.shape.in_features),
            b: projections.b.narrow(0, 0, site.shape.out_features),
            lambda_d: lambda_d.tensor(),
            lambda_b: lambda_b.tensor(),
            dropout: Dropout::new(self.config.dropout, params.seeds())?,
        })
    }
}

impl Method for Vera {
    fn begin(&mut self, sites: &[Site], shared: &mut Params<'_>) -> Result<()> {
        self.projections = Some(Projections::register(&self.config, sites, shared)?);
        Ok(())
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        Ok(Attached::new(self.delta(place.site, params)?))
    }
}

fn write_peft(table: &toml::Table) -> Result<Map<String, Value>> {
    let config: VeraConfig = parse_settings("vera", table.clone())?;
    let value = json!({
        "peft_type": "VERA",
        "r": config.rank,
        "d_initial": config.d_initial,
        "vera_dropout": config.dropout,
        // Only read where the file does not hold the projections.
        "projection_prng_key": config.projection_prng_key.unwrap_or(0),
        "save_projection": config.save_projection,
        "init_weights": true,
        "bias": "none",
        "modules_to_save": null,
    });
    let Value::Object(map) = value else { unreachable!("an object literal") };
    Ok(map)
}

fn read_peft(config: &Map<String, Value>) -> Result<Option<toml::Table>> {
    /// PEFT's names of what we call otherwise.
    #[derive(Deserialize)]
    #[serde(default)]
    struct Fields {
        r: i64,
        d_initial: f64,
        vera_dropout: f64,
        projection_prng_key: u32,
        save_projection: bool,
    }
    impl Default for Fields {
        fn default() -> Self {
            Self { r: 256, d_initial: 0.1, vera_dropout: 0.0, projection_prng_key: 0, save_projection: true }
        }
    }
    let fields: Fields = serde_json::from_value(Value::Object(config.clone()))
        .map_err(|error| Error::config("adapter_config", "VERA", error.to_string()))?;
    let config = VeraConfig {
        rank: fields.r,
        d_initial: fields.d_initial,
        dropout: fields.vera_dropout,
        projection_prng_key: Some(fields.projection_prng_key),
        save_projection: fields.save_projection,
    };
    Ok(Some(toml::Table::try_from(config).expect("settings are a table")))
}
