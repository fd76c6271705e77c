use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use peft_core::{
    Attached, Capabilities, Error, FileTensors, Method, MethodInfo, ModelShape, Params, PeftFormat, Place,
    Result, Role, Site, StateDict, parse_settings, resolve_settings,
};

use crate::method::PAPER;
use crate::peft::{BLOCK, field, fields, layout, read_names, rename};
use crate::{BatConfig, GuidedBlocks};

/// The registry entry.
pub const BAT: MethodInfo = MethodInfo {
    name: "bat",
    family: "bat",
    variant: "",
    folder: "bone",
    paper: PAPER,
    build: |table| Ok(Box::new(Bat::new(parse_settings("bat", table)?)?)),
    resolve: |table| resolve_settings::<BatConfig>("bat", table),
    count,
    count_formula: "r·out",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: false,
        identity_at_start: true,
    },
    peft: Some(PeftFormat { peft_type: "MISS", write: write_peft, read: read_peft }),
};

fn count(table: &toml::Table, model: ModelShape<'_>) -> Result<u64> {
    let config: BatConfig = parse_settings("bat", table.clone())?;
    Ok(model.sites.iter().map(|site| (config.rank * site.shape.out_features).cast_unsigned()).sum())
}

/// `W_eff[a, b] = W[a, b]·(I + D[a]) + D[a]` by blocks.
#[derive(Debug)]
pub struct Bat {
    config: BatConfig,
}

impl Bat {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: BatConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }
}

impl Method for Bat {
    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let (rank, shape) = (self.config.rank, place.site.shape);
        for (features, side) in [(shape.in_features, "inputs"), (shape.out_features, "outputs")] {
            if features % rank != 0 {
                let reason = format!("`rank = {rank}` does not divide its {features} {side}");
                return Err(Error::site(&place.site.name, reason));
            }
        }
        let size = [shape.out_features / rank, rank, rank];
        let zeros = Tensor::zeros(size, (Kind::Float, params.device()));
        let blocks = params.trainable(BLOCK, Role::Block, &zeros)?.tensor();
        Ok(Attached::new(GuidedBlocks { blocks }))
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
    let config: BatConfig = parse_settings("bat", table.clone())?;
    Ok(fields(config.layout, config.rank, json!("bat")))
}

fn read_peft(config: &Map<String, Value>) -> Result<Option<toml::Table>> {
    if config.get("init_weights").is_none_or(|kind| kind != "bat") {
        return Ok(None);
    }
    let config = BatConfig { rank: field(config, "r", 64)?, layout: layout(config) };
    Ok(Some(toml::Table::try_from(config).expect("settings are a table")))
}
