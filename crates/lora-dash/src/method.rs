use tch::{Device, Kind, Tensor};

use peft_core::low_rank::{Dropout, Ranks, ZeroStart};
use peft_core::{
    Attached, Capabilities, Error, FileTensors, LowRank, Method, MethodInfo, Paper, Param, Params, Phase,
    PhaseContext, Place, Result, Role, Roles, Saved, Site, StateDict, parse_settings, resolve_settings,
};

use crate::{Config, Dash, Directions};

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

const INDEX: &str = "lora_dash_index";
const U: &str = "lora_dash_u";
const V: &str = "lora_dash_v";
/// State of the run: δ of all directions at the launch, and which were chosen.
const RATES: &str = "delta_score";
const CHOSEN: &str = "chosen";

/// LoRA for t optimizer steps; then also a coefficient for each of the s singular directions that it changed most.
#[derive(Debug)]
pub struct LoraDash {
    config: Config,
    ranks: Ranks,
    placed: Vec<Placed>,
    /// The phase that begins with the launch.
    dash: usize,
}

#[derive(Debug)]
struct Placed {
    site: Site,
    update: LowRank,
    u: Param,
    v: Param,
    rates: Param,
    chosen: Param,
}

impl LoraDash {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self { ranks: config.ranks()?, config, placed: Vec::new(), dash: 0 })
    }

    /// Chooses the directions of every site that has none yet: an adapter from a file keeps its own.
    fn launch(&self, context: &PhaseContext<'_>) -> Result<()> {
        let Config { epsilon, directions, choice, .. } = self.config;
        for placed in self.placed.iter().filter(|placed| !is_launched(&placed.u)) {
            let (b, a) = (&placed.update.b * placed.update.scaling, &placed.update.a);
            let seeds = context.seeds.child(&placed.site.name);
            let weight = (context.frozen)(&placed.site);
            let found = Directions::choose(&weight, (&b, a), epsilon, directions, choice, &seeds)?;
            for (param, value) in [
                (&placed.u, found.u),
                (&placed.v, found.v),
                (&placed.rates, found.rates),
                (&placed.chosen, found.chosen),
            ] {
                param.tensor().copy_(&value);
            }
        }
        Ok(())
    }
}

/// Singular vectors have norm 1, so zeros are none.
fn is_launched(u: &Tensor) -> bool {
    u.any().int64_value(&[]) != 0
}

impl Method for LoraDash {
    fn begin(&mut self, sites: &[Site], _shared: &mut Params<'_>) -> Result<()> {
        self.ranks.check(sites)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let (site, s) = (place.site, self.config.directions);
        let most = site.shape.in_features.min(site.shape.out_features);
        if s > most {
            let reason = format!("{s} directions are more than its weight has; at most {most} fit");
            return Err(Error::site(&site.name, reason));
        }
        let (rank, scaling) = (self.ranks.rank(site), self.ranks.scaling(site));
        let update =
            ZeroStart { rank, scaling, init: self.config.init, dropout: 0.0 }.attach(site, params)?;

        let zeros = |size: &[i64], kind| Tensor::zeros(size, (kind, place.weight.device()));
        let index = params.trainable(INDEX, Role::Diagonal, &zeros(&[s], Kind::Float))?;
        let u = zeros(&[site.shape.out_features, s], Kind::Float);
        let v = zeros(&[s, site.shape.in_features], Kind::Float);
        let u = params.buffer(U, &u, Saved::Adapter)?;
        let v = params.buffer(V, &v, Saved::Adapter)?;
        let rates = params.buffer(RATES, &zeros(&[most], Kind::Float), Saved::Checkpoint)?;
        let chosen = params.buffer(CHOSEN, &zeros(&[s], Kind::Int64), Saved::Checkpoint)?;

        let dash = Dash {
            a: update.a.shallow_clone(),
            b: update.b.shallow_clone(),
            scaling,
            u: u.tensor(),
            v: v.tensor(),
            index: index.tensor(),
            dropout: Dropout::new(self.config.dropout, params.seeds())?,
        };
        self.placed.push(Placed { site: site.clone(), update, u, v, rates, chosen });
        Ok(Attached::new(dash))
    }

    fn phases(&mut self, steps: u64) -> Result<Vec<Phase>> {
        let launch = self.config.launch_step(steps)?;
        let dash = Phase::new("dash", steps - launch);
        self.dash = usize::from(launch > 0);
        if launch == 0 {
            return Ok(vec![dash]);
        }
        // d has no gradient before the launch, so its moments start there.
        let trains = Roles::only([Role::Down, Role::Up]);
        Ok(vec![Phase { trains, ..Phase::new("prelaunch", launch) }, dash])
    }

    fn enter_phase(&mut self, index: usize, context: &mut PhaseContext<'_>) -> Result<()> {
        if index == self.dash && !context.resumed { self.launch(context) } else { Ok(()) }
    }

    /// Before the launch there is nothing but LoRA in a file.
    fn export(&self, tensors: StateDict) -> StateDict {
        let mut file = tensors;
        let idle: Vec<String> = (file.iter())
            .filter(|(_, tensor)| !is_launched(tensor))
            .filter_map(|(name, _)| name.strip_suffix(U).map(str::to_owned))
            .collect();
        for module in idle {
            for tensor in [INDEX, U, V] {
                file.remove(&format!("{module}{tensor}"));
            }
        }
        file
    }

    fn import(
        &mut self,
        file: FileTensors<'_>,
        sites: &[Site],
        _weight: &dyn Fn(&Site) -> Tensor,
    ) -> Result<StateDict> {
        let mut tensors = file.shallow_clone();
        let s = self.config.directions;
        for site in sites {
            let name = |tensor: &str| format!("{}.{tensor}", site.name);
            if [INDEX, U, V].iter().any(|tensor| tensors.contains_key(&name(tensor))) {
                continue;
            }
            let sizes = [vec![s], vec![site.shape.out_features, s], vec![s, site.shape.in_features]];
            for (tensor, size) in [INDEX, U, V].into_iter().zip(sizes) {
                tensors.insert(name(tensor), Tensor::zeros(size, (Kind::Float, Device::Cpu)));
            }
        }
        Ok(tensors)
    }
}
