use adalora::AdaLora;
use lora_dash::{Choice, Launch, LaunchSettings};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use peft_core::{
    Attached, Capabilities, FileTensors, Length, Method, MethodInfo, ModelShape, Paper, Params, Phase,
    PhaseContext, Place, Result, Role, Roles, Site, StateDict, Step, parse_settings, resolve_settings,
};

/// The registry entry.
pub const ADALORA_DASH: MethodInfo = MethodInfo {
    name: "adalora-dash",
    family: "adalora-dash",
    variant: "",
    folder: "methods",
    paper: Paper {
        title: "Unleashing the Power of Task-Specific Directions in Parameter Efficient Fine-tuning (Dash \
                over AdaLoRA)",
        arxiv: "2409.01035",
    },
    build: |table| Ok(Box::new(AdaLoraDash::new(parse_settings("adalora-dash", table)?)?)),
    resolve: |table| resolve_settings::<AdaLoraDashConfig>("adalora-dash", table),
    count,
    count_formula: "r₀·(in + out + 1) + s",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: true,
        identity_at_start: true,
    },
    peft: None,
};

fn count(table: &toml::Table, model: ModelShape<'_>) -> Result<u64> {
    let config: AdaLoraDashConfig = parse_settings("adalora-dash", table.clone())?;
    let triplet = |site: &Site| site.shape.in_features + site.shape.out_features + 1;
    let of = |site: &Site| config.initial_rank * triplet(site) + config.directions;
    Ok(model.sites.iter().map(|site| of(site).cast_unsigned()).sum())
}

/// Settings of AdaLoRA-Dash: those of AdaLoRA, and of the directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaLoraDashConfig {
    /// r₀ ≥ target_rank: triplets of every site at the start.
    pub initial_rank: i64,
    /// r_T ≥ 1: triplets of a site at the end, on average.
    pub target_rank: i64,
    /// α > 0; c = α/(r₀ + 1e-5), of the triplets alone.
    pub alpha: f64,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
    /// t_i: steps before the budget falls.
    pub warmup: Length,
    /// t_f: steps after the last allocation, in which the ranks stay.
    pub fine_tuning: Length,
    /// ΔT ≥ 1: steps from one allocation to the next.
    pub interval: u64,
    /// β₁ of the sensitivity's moving average, in [0, 1).
    pub sensitivity_decay: f64,
    /// β₂ of the uncertainty's moving average, in [0, 1).
    pub uncertainty_decay: f64,
    /// γ ≥ 0: weight of the orthogonality in the training loss.
    pub orthogonality: f64,
    /// T: steps that the schedule is made for; those of the run where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<u64>,
    /// s: how many directions are trained, 1 ≤ s ≤ min(in, out).
    pub directions: i64,
    /// t: optimizer steps before the directions are chosen.
    pub launch: Length,
    /// How they are chosen.
    pub choice: Choice,
    /// ε > 0, added to the singular values.
    pub epsilon: f64,
}

impl Default for AdaLoraDashConfig {
    /// Those of its parts: the launch is when the budget begins to fall.
    fn default() -> Self {
        let lora_dash::Config { directions, launch, choice, epsilon, .. } = lora_dash::Config::default();
        let adalora::Config {
            initial_rank,
            target_rank,
            alpha,
            dropout,
            warmup,
            fine_tuning,
            interval,
            sensitivity_decay,
            uncertainty_decay,
            orthogonality,
            total_steps,
        } = adalora::Config::default();
        Self {
            initial_rank,
            target_rank,
            alpha,
            dropout,
            warmup,
            fine_tuning,
            interval,
            sensitivity_decay,
            uncertainty_decay,
            orthogonality,
            total_steps,
            directions,
            launch,
            choice,
            epsilon,
        }
    }
}

impl AdaLoraDashConfig {
    fn adalora(&self) -> adalora::Config {
        adalora::Config {
            initial_rank: self.initial_rank,
            target_rank: self.target_rank,
            alpha: self.alpha,
            dropout: self.dropout,
            warmup: self.warmup,
            fine_tuning: self.fine_tuning,
            interval: self.interval,
            sensitivity_decay: self.sensitivity_decay,
            uncertainty_decay: self.uncertainty_decay,
            orthogonality: self.orthogonality,
            total_steps: self.total_steps,
        }
    }

    fn launch(&self) -> LaunchSettings {
        let Self { directions, launch, choice, epsilon, .. } = *self;
        LaunchSettings { directions, launch, choice, epsilon }
    }
}

/// `W_eff = W + c·B·(A∘E) + U·diag(d)·V`: coefficients for the directions that AdaLoRA's update has changed most.
#[derive(Debug)]
pub struct AdaLoraDash {
    adalora: AdaLora,
    launch: Launch,
}

impl AdaLoraDash {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`].
    pub fn new(config: AdaLoraDashConfig) -> Result<Self> {
        // E is the diagonal here, and trains before the launch.
        let launch = Launch::new(config.launch(), Role::Magnitude)?;
        Ok(Self { adalora: AdaLora::new(config.adalora())?, launch })
    }
}

impl Method for AdaLoraDash {
    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let mut triplets = self.adalora.triplets(place.site, params)?;
        let dropout = triplets.dropout.take();
        let watched = triplets.shallow_clone();
        self.launch.attach(place, params, (triplets, watched), dropout)
    }

    fn phases(&mut self, steps: u64) -> Result<Vec<Phase>> {
        self.adalora.phases(steps)?; // one, over which it lays its schedule
        self.launch.phases(steps, Roles::only([Role::Down, Role::Up, Role::Diagonal]))
    }

    fn enter_phase(&mut self, index: usize, context: &mut PhaseContext<'_>) -> Result<()> {
        self.launch.enter_phase(index, context)
    }

    fn regularizer(&self) -> Option<Tensor> {
        self.adalora.regularizer()
    }

    fn after_step(&mut self, step: Step<'_>) -> Result<()> {
        self.adalora.after_step(step)
    }

    fn export(&self, tensors: StateDict) -> StateDict {
        Launch::export(self.adalora.export(tensors))
    }

    fn import(
        &mut self,
        file: FileTensors<'_>,
        sites: &[Site],
        weight: &dyn Fn(&Site) -> Tensor,
    ) -> Result<StateDict> {
        let tensors = self.adalora.import(file, sites, weight)?;
        Ok(self.launch.import(tensors, sites))
    }

    fn training_state(&self) -> StateDict {
        self.adalora.training_state()
    }

    fn restore_training_state(&mut self, state: &StateDict, origin: &str) -> Result<()> {
        self.adalora.restore_training_state(state, origin)
    }

    fn telemetry(&self) -> Vec<(String, f64)> {
        self.adalora.telemetry()
    }
}
