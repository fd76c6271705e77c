use tch::{Kind, Tensor};

use peft_core::{
    Attached, FileTensors, LowRank, Method, MethodInfo, Params, Phase, PhaseContext, Place, Result, Roles,
    Site, StateDict, parse_settings, resolve_settings,
};

use crate::sparse::{self, Sparse};
use crate::{ROSA, SpaConfig};

/// The registry entry.
pub const SPA: MethodInfo = MethodInfo {
    name: "spa",
    family: "spa",
    build: |table| Ok(Box::new(Spa::new(parse_settings("spa", table)?)?)),
    resolve: |table| resolve_settings::<SpaConfig>("spa", table),
    count: |table, model| Ok(parse_settings::<SpaConfig>("spa", table.clone())?.count(model.sites)),
    count_formula: "int(d·in·out)",
    ..ROSA
};

/// `W_eff = W + S`: the sparse part of RoSA alone.
#[derive(Debug)]
pub struct Spa {
    sparse: Sparse,
}

impl Spa {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`].
    pub fn new(config: SpaConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { sparse: Sparse::new(config) })
    }
}

impl Method for Spa {
    fn begin(&mut self, sites: &[Site], shared: &mut Params<'_>) -> Result<()> {
        self.sparse.begin(sites, shared)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let shape = place.site.shape;
        let empty = |size: [i64; 2]| Tensor::zeros(size, (Kind::Float, params.device()));
        let none = LowRank::new(empty([0, shape.in_features]), empty([shape.out_features, 0]), 1.0);
        self.sparse.attach(place.site, none, params)
    }

    fn phases(&mut self, steps: u64) -> Result<Vec<Phase>> {
        let collecting = self.sparse.collecting(steps)?;
        let rest = sparse::rest(steps, collecting)?;
        let only_look = Phase {
            trains: Roles::only([]),
            weight_grads: true,
            updates: false,
            ..Phase::new("collect", collecting)
        };
        Ok(self.sparse.planned([only_look, Phase::new("sparse", rest)].into_iter()))
    }

    fn enter_phase(&mut self, index: usize, context: &mut PhaseContext<'_>) -> Result<()> {
        self.sparse.enter_phase(index, context)
    }

    fn observe_weight_grad(&mut self, site: &Site, gradient: &Tensor, scale: f64) -> Result<()> {
        self.sparse.observe(site, gradient, scale);
        Ok(())
    }

    fn training_state(&self) -> StateDict {
        self.sparse.training_state()
    }

    fn restore_training_state(&mut self, state: &StateDict, origin: &str) -> Result<()> {
        self.sparse.restore_training_state(state, origin)
    }

    fn export(&self, tensors: StateDict) -> StateDict {
        self.sparse.export(tensors)
    }

    fn import(
        &mut self,
        file: FileTensors<'_>,
        sites: &[Site],
        _weight: &dyn Fn(&Site) -> Tensor,
    ) -> Result<StateDict> {
        self.sparse.import(file, sites)
    }
}
