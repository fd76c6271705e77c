use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use peft_core::low_rank::Dropout;
use peft_core::{
    Attached, Capabilities, Error, FileTensors, Method, MethodInfo, ModelShape, Paper, Params, PeftFormat,
    Place, Result, Role, Site, StateDict, parse_settings, resolve_settings,
};

use crate::peft::{BLOCK, field, fields, layout, read_names, rename};
use crate::{Config, SharedBlock};

/// The registry entry.
pub const BONE: MethodInfo = MethodInfo {
    name: "bone",
    family: "bone",
    variant: "",
    folder: "bone",
    paper: PAPER,
    build: |table| Ok(Box::new(Bone::new(parse_settings("bone", table)?)?)),
    resolve: |table| resolve_settings::<Config>("bone", table),
    count,
    count_formula: "r·out; r·m with `mini_rank` m",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: true,
        identity_at_start: true,
    },
    peft: Some(PeftFormat { peft_type: "MISS", write: write_peft, read: read_peft }),
};

pub(crate) const PAPER: Paper = Paper {
    title: "MiSS: Revisiting the Trade-off in LoRA with an Efficient Shard-Sharing Structure",
    arxiv: "2409.15371",
};

fn count(table: &toml::Table, model: ModelShape<'_>) -> Result<u64> {
    let config: Config = parse_settings("bone", table.clone())?;
    let of = |site: &Site| config.rank * config.mini_rank.unwrap_or(site.shape.out_features);
    Ok(model.sites.iter().map(|site| of(site).cast_unsigned()).sum())
}

/// `W_eff[o, i] = W[o, i] + D[i mod r, o mod m]`.
#[derive(Debug)]
pub struct Bone {
    config: Config,
}

impl Bone {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }
}

impl Method for Bone {
    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let Config { rank, mini_rank, dropout, .. } = self.config;
        let (site, shape) = (place.site, place.site.shape);
        if rank > shape.in_features {
            let reason = format!("`rank = {rank}` is more than its {} inputs", shape.in_features);
            return Err(Error::site(&site.name, reason));
        }
        let mini = mini_rank.unwrap_or(shape.out_features);
        if mini > shape.out_features || shape.out_features % mini != 0 {
            let reason = format!("`mini_rank = {mini}` does not divide its {} outputs", shape.out_features);
            return Err(Error::site(&site.name, reason));
        }
        let zeros = Tensor::zeros([rank, mini], (Kind::Float, params.device()));
        Ok(Attached::new(SharedBlock {
            block: params.trainable(BLOCK, Role::Block, &zeros)?.tensor(),
            out_features: shape.out_features,
            in_features: shape.in_features,
            dropout: Dropout::new(dropout, params.seeds())?,
        }))
    }

    fn export(&self, tensors: StateDict) -> StateDict {
        rename(tensors, self.config.layout)
    }

    fn import(
        &mut self,
        file: FileTensors<'_>,
        _sites: &[Site],
        _weight: &dyn Fn(&Site) -> Tensor,
    ) -> Result<StateDict> {
        Ok(read_names(file.shallow_clone()))
    }
}

fn write_peft(table: &toml::Table) -> Result<Map<String, Value>> {
    let config: Config = parse_settings("bone", table.clone())?;
    config.check()?;
    let init_weights = if config.mini_rank.is_some() { json!("mini") } else { json!(true) };
    let mut map = fields(config.layout, config.rank, init_weights);
    if let Some(mini) = config.mini_rank {
        map.insert("mini_r".to_owned(), json!(mini));
    }
    if let Some(dropout) = map.get_mut("miss_dropout") {
        *dropout = json!(config.dropout);
    }
    Ok(map)
}

fn read_peft(config: &Map<String, Value>) -> Result<Option<toml::Table>> {
    let init_weights = config.get("init_weights").unwrap_or(&Value::Null);
    let mini_rank = match init_weights {
        Value::String(kind) if kind == "bat" => return Ok(None),
        Value::String(kind) if kind == "mini" => Some(field(config, "mini_r", 1)?),
        Value::Bool(_) | Value::Null => None,
        other => return Err(Error::config("init_weights", other, "not a kind of MiSS known here")),
    };
    let config = Config {
        rank: field(config, "r", 64)?,
        mini_rank,
        dropout: field(config, "miss_dropout", 0.0)?,
        layout: layout(config),
    };
    Ok(Some(toml::Table::try_from(config).expect("settings are a table")))
}
