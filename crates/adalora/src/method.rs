use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tch::Tensor;

use peft_core::low_rank::Dropout;
use peft_core::{
    Attached, Capabilities, Error, FileTensors, Method, MethodInfo, ModelShape, Paper, Params, PeftFormat,
    Phase, Place, Result, Site, StateDict, Step, copy_strictly, parse_settings, resolve_settings,
};

use crate::allocator::{Allotment, allocate, count_active};
use crate::triplets::distance_from_orthogonal;
use crate::{Budget, Config, Moment, Triplets, peft};

/// The registry entry.
pub const ADALORA: MethodInfo = MethodInfo {
    name: "adalora",
    family: "adalora",
    variant: "",
    folder: "adalora",
    paper: Paper {
        title: "AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning",
        arxiv: "2303.10512",
    },
    build: |table| Ok(Box::new(AdaLora::new(parse_settings("adalora", table)?)?)),
    resolve: |table| resolve_settings::<Config>("adalora", table),
    count,
    count_formula: "r₀·(in + out + 1)",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: true,
        identity_at_start: true,
    },
    peft: Some(PeftFormat { peft_type: "ADALORA", write: peft::write, read: peft::read }),
};

fn count(table: &toml::Table, model: ModelShape<'_>) -> Result<u64> {
    let rank = parse_settings::<Config>("adalora", table.clone())?.initial_rank;
    let of = |site: &Site| rank * (site.shape.in_features + site.shape.out_features + 1);
    Ok(model.sites.iter().map(|site| of(site).cast_unsigned()).sum())
}

/// Steps done, in checkpoints; the moving averages and the patterns are in the store.
const DONE: &str = "steps_done";

/// `W_eff = W + c·B·(A∘E)` with a budget of triplets that the whole model shares.
#[derive(Debug)]
pub struct AdaLora {
    config: Config,
    sites: Vec<Allotment>,
    /// Triplets by site of a file to be loaded; pruned ones are absent.
    held: BTreeMap<String, i64>,
    /// Once the length of the run is known.
    budget: Option<Budget>,
    /// Steps done.
    done: u64,
}

impl AdaLora {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self { config, sites: Vec::new(), held: BTreeMap::new(), budget: None, done: 0 })
    }

    /// Registers the triplets of a site.
    ///
    /// # Errors
    /// [`Error::Config`] for a dropout outside [0, 1).
    pub fn triplets(&mut self, site: &Site, params: &mut Params<'_>) -> Result<Triplets> {
        let allotment = Allotment::new(site, self.config.initial_rank, params)?;
        if let Some(held) = self.held.get(&site.name) {
            allotment.hold(*held);
        }
        let dropout = Dropout::new(self.config.dropout, params.seeds())?;
        let triplets = allotment.triplets(self.config.scaling(), dropout);
        self.sites.push(allotment);
        Ok(triplets)
    }
}

impl Method for AdaLora {
    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        Ok(Attached::new(self.triplets(place.site, params)?))
    }

    fn phases(&mut self, steps: u64) -> Result<Vec<Phase>> {
        let total = self.config.total_steps.unwrap_or(steps);
        let budget = Budget::new(&self.config, self.sites.len(), total)?;
        if budget.last > steps {
            let reason = format!("ranks are settled after step {}, but the run has {steps}", budget.last);
            return Err(Error::config("total_steps", total, reason));
        }
        self.budget = Some(budget);
        Ok(vec![Phase::new("train", steps)])
    }

    fn regularizer(&self) -> Option<Tensor> {
        let gamma = self.config.orthogonality;
        let factors =
            || self.sites.iter().flat_map(|site| [site.a.tensor(), site.b.tr()]).collect::<Vec<_>>();
        (gamma > 0.0).then(|| distance_from_orthogonal(&factors()) * gamma)
    }

    fn after_step(&mut self, step: Step<'_>) -> Result<()> {
        let budget = self.budget.expect("phases are asked for before the first step");
        allocate(&self.sites, budget, &self.config, &step)?;
        self.done = step.index + 1;
        Ok(())
    }

    /// Without the triplets that are pruned for good.
    fn export(&self, mut tensors: StateDict) -> StateDict {
        for site in &self.sites {
            let kept = site.rank_pattern.nonzero().view(-1);
            for (tensor, axis) in [("lora_A", 0), ("lora_E", 0), ("lora_B", 1)] {
                if let Some(tensor) = tensors.get_mut(&format!("{}.{tensor}", site.site.name)) {
                    *tensor = tensor.index_select(axis, &kept);
                }
            }
        }
        tensors
    }

    /// Pruned triplets, which a file does not hold, become zeros behind the others.
    fn import(
        &mut self,
        file: FileTensors<'_>,
        sites: &[Site],
        _weight: &dyn Fn(&Site) -> Tensor,
    ) -> Result<StateDict> {
        let mut tensors = file.shallow_clone();
        let named = |site: &Site, tensor: &str| format!("{}.{tensor}", site.name);
        for site in sites {
            let Some(held) = tensors.get(&named(site, "lora_E")).map(|e| e.size()[0]) else { continue };
            let most = self.config.initial_rank;
            if held > most {
                let reason = format!("{}: {held} triplets, more than `initial_rank = {most}`", file.origin);
                return Err(Error::site(&site.name, reason));
            }
            match self.sites.iter().find(|own| own.site.name == site.name) {
                Some(own) => own.hold(held),
                None => {
                    self.held.insert(site.name.clone(), held);
                }
            }
            let missing = most - held;
            let paddings: [(&str, &[i64]); 3] =
                [("lora_A", &[0, 0, 0, missing]), ("lora_E", &[0, 0, 0, missing]), ("lora_B", &[0, missing])];
            for (tensor, padding) in paddings {
                if let Some(tensor) = tensors.get_mut(&named(site, tensor)) {
                    *tensor = tensor.constant_pad_nd(padding);
                }
            }
        }
        Ok(tensors)
    }

    fn peft_state(&self) -> Map<String, Value> {
        let patterns = self.sites.iter().map(|site| (site.site.name.as_str(), &*site.rank_pattern));
        peft::state(self.budget, patterns)
    }

    fn training_state(&self) -> StateDict {
        StateDict::from([(DONE.to_owned(), Tensor::from(self.done.cast_signed()))])
    }

    fn restore_training_state(&mut self, state: &StateDict, origin: &str) -> Result<()> {
        let done = Tensor::from(0i64);
        copy_strictly(&StateDict::from([(DONE.to_owned(), done.shallow_clone())]), state, origin)?;
        self.done = done.int64_value(&[]).cast_unsigned();
        Ok(())
    }

    fn telemetry(&self) -> Vec<(String, f64)> {
        let Some(budget) = self.budget.filter(|_| self.done > 0) else { return Vec::new() };
        let pruned = budget.moment(self.done) != Moment::Measure;
        vec![
            ("budget".to_owned(), budget.after(self.done) as f64),
            ("masked".to_owned(), f64::from(u8::from(pruned))),
            ("triplets".to_owned(), count_active(&self.sites) as f64),
        ]
    }
}
