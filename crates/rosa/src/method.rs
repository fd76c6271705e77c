use tch::{Kind, Tensor};

use peft_core::low_rank::{Dropout, Ranks};
use peft_core::{
    AdamWConfig, Attached, Capabilities, FileTensors, LowRank, Method, MethodInfo, Paper, Params, Phase,
    PhaseContext, Place, Result, Role, Roles, Site, StateDict, copy_strictly, parse_settings,
    resolve_settings,
};

use crate::RosaConfig;
use crate::sparse::{Sparse, rest};

/// The registry entry.
pub const ROSA: MethodInfo = MethodInfo {
    name: "rosa",
    family: "rosa",
    variant: "",
    folder: "rosa",
    paper: Paper {
        title: "RoSA: Accurate Parameter-Efficient Fine-Tuning via Robust Adaptation",
        arxiv: "2401.04679",
    },
    build: |table| Ok(Box::new(Rosa::new(parse_settings("rosa", table)?)?)),
    resolve: |table| resolve_settings::<RosaConfig>("rosa", table),
    count: |table, model| {
        let config: RosaConfig = parse_settings("rosa", table.clone())?;
        Ok(config.ranks()?.count_both(model.sites) + config.sparse().count(model.sites))
    },
    count_formula: "r·(in + out) + int(d·in·out)",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: false,
        identity_at_start: true,
    },
    peft: None,
};

/// `W_eff = W + s·B·A + S` with a sparse S whose mask gradients choose.
#[derive(Debug)]
pub struct Rosa {
    config: RosaConfig,
    ranks: Ranks,
    /// None at density 0, where RoSA is LoRA.
    sparse: Option<Sparse>,
}

impl Rosa {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`].
    pub fn new(config: RosaConfig) -> Result<Self> {
        config.check()?;
        let sparse = (config.density > 0.0).then(|| Sparse::new(config.sparse()));
        Ok(Self { ranks: config.ranks()?, sparse, config })
    }
}

impl Method for Rosa {
    fn begin(&mut self, sites: &[Site], shared: &mut Params<'_>) -> Result<()> {
        self.ranks.check(sites)?;
        self.sparse.as_mut().map_or(Ok(()), |sparse| sparse.begin(sites, shared))
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let (site, rank) = (place.site, self.ranks.rank(place.site));
        let mut rng = params.rng("rosa_A.weight");
        let drawn = self.config.init.draw(rank, site.shape.in_features, &mut rng, params.device());
        let a = params.trainable("rosa_A.weight", Role::Down, &drawn)?;
        let zeros = Tensor::zeros([site.shape.out_features, rank], (Kind::Float, params.device()));
        let b = params.trainable("rosa_B.weight", Role::Up, &zeros)?;
        let dropout = Dropout::new(self.config.dropout, params.seeds())?;
        let low_rank = LowRank { dropout, ..LowRank::new(a.tensor(), b.tensor(), self.ranks.scaling(site)) };
        match &mut self.sparse {
            Some(sparse) => sparse.attach(site, low_rank, params),
            None => Ok(Attached::new(low_rank)),
        }
    }

    fn configure_optimizer(&self, config: &mut AdamWConfig) {
        for role in [Role::Down, Role::Up] {
            *config.lr_ratio.entry(role).or_insert(1.0) *= self.config.lr_ratio;
        }
    }

    fn phases(&mut self, steps: u64) -> Result<Vec<Phase>> {
        let Some(sparse) = &mut self.sparse else { return Ok(vec![Phase::new("low_rank", steps)]) };
        let factors = || Roles::only([Role::Down, Role::Up]);
        let alone = self.config.low_rank_steps.steps(steps, "low_rank_steps")?;
        let collecting = sparse.collecting(steps)?;
        let both = rest(steps, alone + collecting)?;
        let all = [
            Phase { trains: factors(), ..Phase::new("low_rank", alone) },
            Phase { trains: factors(), weight_grads: true, ..Phase::new("low_rank+collect", collecting) },
            Phase::new("low_rank+sparse", both),
        ];
        Ok(sparse.planned(all.into_iter()))
    }

    fn enter_phase(&mut self, index: usize, context: &mut PhaseContext<'_>) -> Result<()> {
        self.sparse.as_mut().map_or(Ok(()), |sparse| sparse.enter_phase(index, context))
    }

    fn observe_weight_grad(&mut self, site: &Site, gradient: &Tensor, scale: f64) -> Result<()> {
        if let Some(sparse) = &mut self.sparse {
            sparse.observe(site, gradient, scale);
        }
        Ok(())
    }

    fn training_state(&self) -> StateDict {
        self.sparse.as_ref().map(Sparse::training_state).unwrap_or_default()
    }

    fn restore_training_state(&mut self, state: &StateDict, origin: &str) -> Result<()> {
        match &mut self.sparse {
            Some(sparse) => sparse.restore_training_state(state, origin),
            None => copy_strictly(&StateDict::new(), state, origin),
        }
    }

    fn export(&self, tensors: StateDict) -> StateDict {
        match &self.sparse {
            Some(sparse) => sparse.export(tensors),
            None => tensors,
        }
    }

    fn import(
        &mut self,
        file: FileTensors<'_>,
        sites: &[Site],
        _weight: &dyn Fn(&Site) -> Tensor,
    ) -> Result<StateDict> {
        match &mut self.sparse {
            Some(sparse) => sparse.import(file, sites),
            None => Ok(file.shallow_clone()),
        }
    }
}
