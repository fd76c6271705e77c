use tch::Tensor;

use peft_core::low_rank::{Dropout, Ranks, ZeroStart};
use peft_core::{
    Attached, Capabilities, FileTensors, LowRank, Method, MethodInfo, Paper, Params, Phase, PhaseContext,
    Place, Result, Role, Roles, Site, StateDict, parse_settings, resolve_settings,
};

use crate::{Config, Launch};

/// The registry entry.
pub const LORA_DASH: MethodInfo = MethodInfo {
    name: "lora-dash",
    family: "lora-dash",
    variant: "",
    folder: "lora-dash",
    paper: Paper {
        title: "Unleashing the Power of Task-Specific Directions in Parameter Efficient Fine-tuning",
        arxiv: "2409.01035",
    },
    build: |table| Ok(Box::new(LoraDash::new(parse_settings("lora-dash", table)?)?)),
    resolve: |table| resolve_settings::<Config>("lora-dash", table),
    count: |table, model| {
        let config: Config = parse_settings("lora-dash", table.clone())?;
        let coefficients = config.directions.cast_unsigned() * model.sites.len() as u64;
        Ok(config.ranks()?.count_both(model.sites) + coefficients)
    },
    count_formula: "r·(in + out) + s",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: true,
        identity_at_start: true,
    },
    peft: None,
};

/// LoRA for t optimizer steps; then also a coefficient for each of the s singular directions that it changed most.
#[derive(Debug)]
pub struct LoraDash {
    config: Config,
    ranks: Ranks,
    launch: Launch,
}

impl LoraDash {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`].
    pub fn new(config: Config) -> Result<Self> {
        let launch = Launch::new(config.launch_settings(), Role::Diagonal)?;
        Ok(Self { ranks: config.ranks()?, launch, config })
    }
}

impl Method for LoraDash {
    fn begin(&mut self, sites: &[Site], _shared: &mut Params<'_>) -> Result<()> {
        self.ranks.check(sites)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let (rank, scaling) = (self.ranks.rank(place.site), self.ranks.scaling(place.site));
        let start = ZeroStart { rank, scaling, init: self.config.init, dropout: 0.0 };
        let update = start.attach(place.site, params)?;
        let watched = LowRank::new(update.a.shallow_clone(), update.b.shallow_clone(), scaling);
        let dropout = Dropout::new(self.config.dropout, params.seeds())?;
        self.launch.attach(place, params, (update, watched), dropout)
    }

    fn phases(&mut self, steps: u64) -> Result<Vec<Phase>> {
        self.launch.phases(steps, Roles::only([Role::Down, Role::Up]))
    }

    fn enter_phase(&mut self, index: usize, context: &mut PhaseContext<'_>) -> Result<()> {
        self.launch.enter_phase(index, context)
    }

    fn export(&self, tensors: StateDict) -> StateDict {
        Launch::export(tensors)
    }

    fn import(
        &mut self,
        file: FileTensors<'_>,
        sites: &[Site],
        _weight: &dyn Fn(&Site) -> Tensor,
    ) -> Result<StateDict> {
        Ok(self.launch.import(file.shallow_clone(), sites))
    }
}
