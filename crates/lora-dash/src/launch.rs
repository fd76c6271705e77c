use tch::{Device, Kind, Tensor};

use peft_core::low_rank::Dropout;
use peft_core::{
    Attached, Delta, Error, Length, Param, Params, Phase, PhaseContext, Place, Result, Role, Roles, Saved,
    Site, StateDict,
};

use crate::dash::factors;
use crate::{Choice, Dash, Directions};

const INDEX: &str = "lora_dash_index";
const U: &str = "lora_dash_u";
const V: &str = "lora_dash_v";
/// State of the run: δ of all directions at the launch, and which were chosen.
const RATES: &str = "delta_score";
const CHOSEN: &str = "chosen";

/// When directions are chosen, and how.
#[derive(Clone, Copy, Debug)]
pub struct LaunchSettings {
    /// s.
    pub directions: i64,
    /// t.
    pub launch: Length,
    /// How they are chosen.
    pub choice: Choice,
    /// ε.
    pub epsilon: f64,
}

impl LaunchSettings {
    /// Checks s ≥ 1 and ε > 0.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        if self.directions < 1 {
            return Err(Error::config("directions", self.directions, "at least one direction is needed"));
        }
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return Err(Error::config("epsilon", self.epsilon, "a positive number is needed"));
        }
        Ok(())
    }

    /// t in a run of `steps`.
    fn step(&self, steps: u64) -> Result<u64> {
        /// B = 0 tells no direction from another, and the first step of a warm-up may have a learning rate of 0: so
        /// a fraction is never less than this, however short the run.
        const FIRST_UPDATE: u64 = 2;
        let step = match self.launch {
            Length::Fraction(fraction) if fraction > 0.0 => {
                self.launch.steps(steps, "launch")?.max(FIRST_UPDATE)
            }
            length => length.steps(steps, "launch")?,
        };
        if step >= steps {
            let reason = format!("a run of {steps} steps has none left for the directions");
            return Err(Error::config("launch", step, reason));
        }
        Ok(step)
    }
}

/// What LoRA-Dash adds to a method whose updates are low-rank: for t optimizer steps nothing; then a coefficient for each
/// of the s singular directions that the update has changed most.
#[derive(Debug)]
pub struct Launch {
    settings: LaunchSettings,
    /// Of the coefficients.
    role: Role,
    placed: Vec<Placed>,
    /// The phase that begins with the launch.
    dash: usize,
}

#[derive(Debug)]
struct Placed {
    site: Site,
    update: Box<dyn Delta>,
    u: Param,
    v: Param,
    rates: Param,
    chosen: Param,
}

impl Launch {
    /// Coefficients train in the role `role`, which no tensor of the method itself may have: they have no gradient, and
    /// no moments, before the launch.
    ///
    /// # Errors
    /// As [`LaunchSettings::check`].
    pub fn new(settings: LaunchSettings, role: Role) -> Result<Self> {
        settings.check()?;
        Ok(Self { settings, role, placed: Vec::new(), dash: 0 })
    }

    /// Puts directions beside `update`; `watched` is the same update once more, without dropout.
    ///
    /// # Errors
    /// [`Error::Site`] if the weight has fewer directions.
    pub fn attach<D: Delta + 'static>(
        &mut self,
        place: Place<'_>,
        params: &mut Params<'_>,
        (update, watched): (D, D),
        dropout: Option<Dropout>,
    ) -> Result<Attached> {
        let (site, s) = (place.site, self.settings.directions);
        let most = site.shape.in_features.min(site.shape.out_features);
        if s > most {
            let reason = format!("{s} directions are more than its weight has; at most {most} fit");
            return Err(Error::site(&site.name, reason));
        }
        let zeros = |size: &[i64], kind| Tensor::zeros(size, (kind, place.weight.device()));
        let index = params.trainable(INDEX, self.role, &zeros(&[s], Kind::Float))?;
        let u = zeros(&[site.shape.out_features, s], Kind::Float);
        let v = zeros(&[s, site.shape.in_features], Kind::Float);
        let u = params.buffer(U, &u, Saved::Adapter)?;
        let v = params.buffer(V, &v, Saved::Adapter)?;
        let rates = params.buffer(RATES, &zeros(&[most], Kind::Float), Saved::Checkpoint)?;
        let chosen = params.buffer(CHOSEN, &zeros(&[s], Kind::Int64), Saved::Checkpoint)?;
        let dash = Dash { update, u: u.tensor(), v: v.tensor(), index: index.tensor(), dropout };
        self.placed.push(Placed { site: site.clone(), update: Box::new(watched), u, v, rates, chosen });
        Ok(Attached::new(dash))
    }

    /// `prelaunch`, in which `before` trains, and `dash`, in which everything does.
    ///
    /// # Errors
    /// [`Error::Config`] if the run ends before the launch.
    pub fn phases(&mut self, steps: u64, before: Roles) -> Result<Vec<Phase>> {
        let launch = self.settings.step(steps)?;
        let dash = Phase::new("dash", steps - launch);
        self.dash = usize::from(launch > 0);
        if launch == 0 {
            return Ok(vec![dash]);
        }
        Ok(vec![Phase { trains: before, ..Phase::new("prelaunch", launch) }, dash])
    }

    /// Launches where phase `index` is the one for it and the run does not resume within it.
    ///
    /// # Errors
    /// As [`Directions::choose`].
    pub fn enter_phase(&self, index: usize, context: &PhaseContext<'_>) -> Result<()> {
        if index == self.dash && !context.resumed { self.choose(context) } else { Ok(()) }
    }

    /// Chooses the directions of every site that has none yet: an adapter from a file keeps its own.
    fn choose(&self, context: &PhaseContext<'_>) -> Result<()> {
        let LaunchSettings { epsilon, directions, choice, .. } = self.settings;
        for placed in self.placed.iter().filter(|placed| !is_launched(&placed.u)) {
            let (b, a) = factors(&*placed.update);
            let seeds = context.seeds.child(&placed.site.name);
            let weight = (context.frozen)(&placed.site);
            let found = Directions::choose(&weight, (&b, &a), epsilon, directions, choice, &seeds)?;
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

    /// Before the launch there is nothing but the method's own tensors in a file.
    pub fn export(tensors: StateDict) -> StateDict {
        let mut file = tensors;
        let idle: Vec<String> = (file.iter())
            .filter_map(|(name, tensor)| name.strip_suffix(U).map(|module| (module.to_owned(), tensor)))
            .filter(|(_, tensor)| !is_launched(tensor))
            .map(|(module, _)| module)
            .collect();
        for module in idle {
            for tensor in [INDEX, U, V] {
                file.remove(&format!("{module}{tensor}"));
            }
        }
        file
    }

    /// The reverse of [`Self::export`].
    pub fn import(&self, mut tensors: StateDict, sites: &[Site]) -> StateDict {
        let s = self.settings.directions;
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
        tensors
    }
}

/// Singular vectors have norm 1, so zeros are none.
fn is_launched(u: &Tensor) -> bool {
    u.any().int64_value(&[]) != 0
}
