use serde::{Deserialize, Serialize};

use peft_core::{
    Attached, Capabilities, Error, Method, MethodInfo, Paper, Params, Place, Result, Role, parse_settings,
    resolve_settings, role_of_base,
};

/// The registry entry.
pub const FULL: MethodInfo = MethodInfo {
    name: "full",
    family: "full",
    variant: "",
    folder: "baselines",
    paper: Paper { title: "Decoupled Weight Decay Regularization (the optimizer)", arxiv: "1711.05101" },
    build: |table| Ok(Box::new(Full::new(parse_settings("full", table)?))),
    resolve: |table| resolve_settings::<FullConfig>("full", table),
    count: |table, model| {
        let _: FullConfig = parse_settings("full", table.clone())?;
        Ok(model.base_parameters)
    },
    count_formula: "every parameter of the base",
    capabilities: Capabilities {
        merge: true,
        quantized_base: false,
        lora_export: false,
        identity_at_start: true,
    },
    peft: None,
};

/// Settings of full fine-tuning: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FullConfig {}

/// Every parameter of the base trains; the base itself stays beneath as a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Full;

impl Full {
    /// There is nothing to check.
    pub fn new(_config: FullConfig) -> Self {
        Self
    }
}

impl Method for Full {
    fn attach(&mut self, place: Place<'_>, _params: &mut Params<'_>) -> Result<Attached> {
        Err(Error::site(&place.site.name, "full fine-tuning has no adapters; every weight trains as a whole"))
    }

    fn trains_base(&self, name: &str) -> Option<Role> {
        Some(role_of_base(name))
    }
}
