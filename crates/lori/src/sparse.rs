use tch::{Device, Tensor};

use peft_core::{
    Attached, Continuation, Error, Method, MethodInfo, ModelShape, Need, Param, Params, PeftFormat, Phase,
    PhaseContext, Place, Purpose, Result, Seeds, Site, StateDict, init, parse_settings, resolve_settings,
    tensor_file,
};

use crate::dense::Factors;
use crate::{FreshOrSame, Keep, LORI_D, SparseConfig, mask};

/// The registry entry.
pub const LORI_S: MethodInfo = MethodInfo {
    name: "lori-s",
    variant: "s",
    build: |table| Ok(Box::new(LoriS::new(parse_settings("lori-s", table)?)?)),
    resolve: |table| resolve_settings::<SparseConfig>("lori-s", table),
    count,
    count_formula: "int((1 - sparsity)·Σ r·out) over each group of sites, and ties",
    peft: Some(PeftFormat {
        peft_type: "LORA",
        write: |table| Ok(parse_settings::<SparseConfig>("lori-s", table.clone())?.dense().to_peft().write()),
        read: |_| Ok(None),
    }),
    ..LORI_D
};

fn count(table: &toml::Table, model: ModelShape<'_>) -> Result<u64> {
    let config = parse_settings::<SparseConfig>("lori-s", table.clone())?;
    let ranks = config.dense().ranks()?;
    let mut groups = std::collections::BTreeMap::<String, u64>::new();
    for site in model.sites {
        *groups.entry(config.granularity.group(site)).or_default() +=
            ranks.count_up(std::slice::from_ref(site));
    }
    Ok(groups.values().map(|&entries| mask::kept(config.sparsity, entries)).sum())
}

/// `W_eff = W + s·B·A` with a frozen random A and a B that trains only inside a mask.
///
/// The mask restricts the gradient and the weight decay, never the forward pass: B starts at 0, so outside the mask it
/// stays 0; values loaded there (continual learning) stay and act.
#[derive(Debug)]
pub struct LoriS {
    config: SparseConfig,
    factors: Factors,
    /// Handles to A and B of each site, in order.
    placed: Vec<(Site, Param, Param)>,
    /// The mask of each site, where it is known before training.
    masks: Option<Vec<Tensor>>,
    /// The adapter of the calibration run.
    calibrated: Option<StateDict>,
}

impl LoriS {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: SparseConfig) -> Result<Self> {
        config.check()?;
        let factors = Factors::new(&config.dense())?;
        Ok(Self { config, factors, placed: Vec::new(), masks: None, calibrated: None })
    }

    /// The masks from a file, from the calibration run, or drawn from `seeds`, if they are known before training.
    fn known_masks(&self, sites: &[Site], seeds: &Seeds) -> Result<Option<Vec<Tensor>>> {
        if self.config.keep == Keep::Random {
            // The largest of random numbers are a random choice.
            let draw = |site: &Site| {
                let shape = [site.shape.out_features, self.factors.ranks.rank(site)];
                init::normal(&shape, 1.0, &mut seeds.child("mask").child(&site.name).rng(), Device::Cpu)
            };
            let drawn: Vec<Tensor> = sites.iter().map(draw).collect();
            return mask::masks(sites, &drawn, self.config.sparsity, self.config.granularity).map(Some);
        }
        if let Some(path) = &self.config.mask {
            let (tensors, _) = tensor_file::read(path)?;
            let of =
                |site: &Site| named(&tensors, &format!("mask.{}", site.name), &path.display().to_string());
            return sites.iter().map(|site| Ok(of(site)?.not_equal(0))).collect::<Result<_>>().map(Some);
        }
        let Some(adapter) = &self.calibrated else { return Ok(None) };
        let up = sites
            .iter()
            .map(|site| named(adapter, &format!("{}.lora_B.weight", site.name), "the calibration run"))
            .collect::<Result<Vec<_>>>()?;
        mask::masks(sites, &up, self.config.sparsity, self.config.granularity).map(Some)
    }
}

impl Method for LoriS {
    fn needs(&self) -> Option<Need> {
        let calibrated_elsewhere = self.config.keep == Keep::Largest
            && self.config.mask.is_none()
            && self.config.calibration_steps.is_none();
        calibrated_elsewhere.then(|| {
            let settings = toml::Table::try_from(self.config.dense()).expect("settings are a table");
            Need { method: LORI_D.name, settings }
        })
    }

    fn provide(&mut self, adapter: &StateDict) -> Result<()> {
        self.calibrated = Some(adapter.iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect());
        Ok(())
    }

    fn begin(&mut self, sites: &[Site], shared: &mut Params<'_>) -> Result<()> {
        self.factors.ranks.check(sites)?;
        if shared.purpose() == Purpose::Train {
            self.masks = self.known_masks(sites, shared.seeds())?;
        }
        Ok(())
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let site = place.site;
        let (a, b, attached) = self.factors.attach(site, params)?;
        if let Some(masks) = &self.masks {
            params.mask(&b, &masks[site.index])?;
        }
        if let (FreshOrSame::Same, Some(adapter)) = (self.config.a, &self.calibrated) {
            let name = format!("{}.lora_A.weight", site.name);
            tch::no_grad(|| {
                Ok::<_, Error>(a.tensor().f_copy_(&named(adapter, &name, "the calibration run")?)?)
            })?;
        }
        self.placed.push((site.clone(), a, b));
        Ok(attached)
    }

    fn phases(&mut self, steps: u64) -> Result<Vec<Phase>> {
        let Some(length) = self.config.calibration_steps else { return Ok(vec![Phase::new("train", steps)]) };
        let calibration = length.steps(steps, "calibration_steps")?;
        if calibration == 0 || calibration == steps {
            let reason =
                format!("a run of {steps} steps must have at least one step before and one after the mask");
            return Err(Error::config("calibration_steps", calibration, reason));
        }
        Ok(vec![
            Phase { lr: self.config.calibration_lr, ..Phase::new("calibrate", calibration) },
            Phase {
                schedule: Continuation::Restart,
                optimizer: Continuation::Restart,
                ..Phase::new("train", steps - calibration)
            },
        ])
    }

    fn enter_phase(&mut self, index: usize, context: &mut PhaseContext<'_>) -> Result<()> {
        if index == 0 || context.resumed {
            return Ok(());
        }
        let sites: Vec<Site> = self.placed.iter().map(|(site, ..)| site.clone()).collect();
        let up: Vec<Tensor> = self.placed.iter().map(|(_, _, b)| b.tensor()).collect();
        let masks = mask::masks(&sites, &up, self.config.sparsity, self.config.granularity)?;
        for ((_, a, b), mask) in self.placed.iter().zip(&masks) {
            context.mask(b, mask)?;
            let _ = b.tensor().detach().zero_();
            if self.config.a == FreshOrSame::Fresh {
                context.redraw(a);
            }
        }
        Ok(())
    }
}

fn named(tensors: &StateDict, name: &str, origin: &str) -> Result<Tensor> {
    tensors.get(name).map(Tensor::shallow_clone).ok_or_else(|| Error::StateDict {
        origin: origin.to_owned(),
        missing: vec![name.to_owned()],
        unexpected: Vec::new(),
        mismatched: Vec::new(),
    })
}
