mod training_state;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tch::{Device, Tensor};

use crate::{
    Active, AdamW, AdamWConfig, Adaptable, Adapter, Attached, Base, FileTensors, FrozenWeight, Gradients,
    Method, Mode, ParamStore, Params, Part, Phase, PhaseContext, Place, Purpose, Result, Role, Roles, Seeds,
    Site, StateDict, Step, StepReport, Storage, Targets,
};

/// A method attached to a model: its tensors, its state, and the sites it adapts.
#[derive(Debug)]
pub struct Attachment {
    name: String,
    method: Box<dyn Method>,
    store: ParamStore,
    sites: Vec<Site>,
    seeds: Seeds,
    fingerprint: String,
    replaced: u64,
    modules_to_save: Vec<String>,
}

impl Attachment {
    /// Attaches `method` to the layers of `model` that `targets` selects, under the adapter name `name`, and stores
    /// the frozen weights of these layers as `storage` says. Tensors are drawn from `seeds` by module path and name.
    ///
    /// # Errors
    /// Whatever the selection or the method refuses. The model carries nothing then.
    pub fn new(
        model: &mut dyn Adaptable,
        name: &str,
        method: Box<dyn Method>,
        targets: &Targets,
        storage: &dyn Storage,
        seeds: &Seeds,
    ) -> Result<Self> {
        Self::with_file(None, model, name, method, targets, storage, seeds)
    }

    /// Attaches `method` as a place for the tensors of `file` and fills it with them.
    ///
    /// # Errors
    /// As [`Self::new`], and [`crate::Error::StateDict`] for tensors that do not match exactly. The model carries
    /// nothing then.
    pub fn load<'f>(
        model: &mut dyn Adaptable,
        name: &str,
        method: Box<dyn Method>,
        targets: &Targets,
        storage: &dyn Storage,
        file: impl Into<FileTensors<'f>>,
    ) -> Result<Self> {
        let file = Some(file.into());
        Self::with_file(file, model, name, method, targets, storage, &Seeds::new(0))
    }

    fn with_file(
        file: Option<FileTensors<'_>>,
        model: &mut dyn Adaptable,
        name: &str,
        method: Box<dyn Method>,
        targets: &Targets,
        storage: &dyn Storage,
        seeds: &Seeds,
    ) -> Result<Self> {
        let purpose = if file.is_some() { Purpose::Load } else { Purpose::Train };
        let mut attachment = Self {
            name: name.to_owned(),
            method,
            store: ParamStore::new(purpose),
            sites: Vec::new(),
            seeds: seeds.clone(),
            fingerprint: String::new(),
            replaced: 0,
            modules_to_save: Vec::new(),
        };
        match attachment.build(model, targets, storage, file) {
            Ok(()) => Ok(attachment),
            Err(error) => {
                attachment.detach(model);
                Err(error)
            }
        }
    }

    /// Selects the sites, attaches the method at each, fills in what `file` holds.
    fn build(
        &mut self,
        model: &mut dyn Adaptable,
        targets: &Targets,
        storage: &dyn Storage,
        file: Option<FileTensors<'_>>,
    ) -> Result<()> {
        let device = device_of(model);
        self.tune_whole(model, targets, storage, device)?;
        self.replaced = self.store.count_saved();
        // The file of a method that trains whole layers names no targets.
        if self.replaced == 0 || targets.modules != crate::Modules::Names(Vec::new()) {
            self.sites = targets.sites(model, |linear| linear.adapter(&self.name).is_none())?;
        }
        let given = file.map(|file| self.import(model, file)).transpose()?;
        self.attach_sites(model, storage, device)?;
        match (given, file) {
            (Some(tensors), Some(file)) => self.store.load_adapter(&tensors, file.origin),
            _ => Ok(()),
        }
    }

    fn attach_sites(
        &mut self,
        model: &mut dyn Adaptable,
        storage: &dyn Storage,
        device: Device,
    ) -> Result<()> {
        self.method.begin(&self.sites, &mut Params::new(&mut self.store, None, &self.seeds, device))?;

        let mut hasher = blake3::Hasher::new();
        let mut sites = self.sites.iter().peekable();
        for linear in model.linears() {
            let Some(site) = sites.next_if(|site| site.name == linear.name()) else { continue };
            hasher.update(site.name.as_bytes()).update(linear.fingerprint().as_bytes());
            let weight = linear.frozen().dense();
            let store = |weight: &Tensor| storage.round_trip(weight);
            let place = Place { site, weight: &weight, store: &store, is_lossy: storage.is_lossy() };
            let mut params = Params::new(&mut self.store, Some(&site.name), &self.seeds, device);
            let attached = tch::no_grad(|| self.method.attach(place, &mut params))?;
            let replaced = attached.frozen.is_some();
            linear.carry(&self.name, attached, storage)?;
            if storage.is_lossy() && !replaced && linear.frozen().as_dense().is_some() {
                linear.store(storage);
            }
        }
        hasher.finalize().to_hex()[..16].clone_into(&mut self.fingerprint);
        Ok(())
    }

    /// Parameters that train as a whole, because the method or `modules_to_save` says so.
    fn tune_whole(
        &mut self,
        model: &mut dyn Adaptable,
        targets: &Targets,
        storage: &dyn Storage,
        device: Device,
    ) -> Result<()> {
        let mut saved = BTreeSet::new();
        let mut known = Vec::new();
        for part in model.parts() {
            match part {
                Part::Parameter(parameter) => {
                    saved.extend(targets.saves(parameter.name()));
                    self.tune_parameter(parameter, targets, device)?;
                }
                Part::Linear(linear) => {
                    let weight_name = format!("{}.weight", linear.name());
                    saved.extend(targets.saves(&weight_name));
                    known.push(linear.name().to_owned());
                    if let Some(role) = self.role_of_whole(&weight_name, targets) {
                        let beside = targets.saves(&weight_name).is_some();
                        if (storage.is_lossy() && !beside) || linear.frozen().as_dense().is_none() {
                            return Err(crate::Error::Unsupported {
                                what: format!("training `{weight_name}` itself on a quantized base"),
                                reason: "its steps are far smaller than the distance of two stored values"
                                    .to_owned(),
                            });
                        }
                        let mut params =
                            Params::new(&mut self.store, Some(linear.name()), &self.seeds, device);
                        let weight = params.trainable("weight", role, &linear.frozen().dense())?.tensor();
                        linear.carry(&self.name, Attached::new(WholeWeight(weight)), &crate::AsLoaded)?;
                    }
                    if let Some(bias) = linear.bias_mut() {
                        self.tune_parameter(bias, targets, device)?;
                    }
                }
            }
        }
        if let Some(name) = targets.modules_to_save.iter().find(|name| !saved.contains(name.as_str())) {
            let (what, reason) = ("module to save", Some("nor any other part of it".to_owned()));
            return Err(crate::Error::Unmatched { what, pattern: name.clone(), reason, known });
        }
        self.modules_to_save = saved.into_iter().map(str::to_owned).collect();
        Ok(())
    }

    /// The role of a tensor of the base that trains as a whole.
    fn role_of_whole(&self, name: &str, targets: &Targets) -> Option<Role> {
        self.method.trains_base(name).or_else(|| targets.saves(name).map(|_| Role::Head))
    }

    fn tune_parameter(
        &mut self,
        parameter: &mut crate::Parameter,
        targets: &Targets,
        device: Device,
    ) -> Result<()> {
        let Some(role) = self.role_of_whole(parameter.name(), targets) else { return Ok(()) };
        let (module, leaf) = parameter.name().rsplit_once('.').unwrap_or(("", parameter.name()));
        let mut params = Params::new(&mut self.store, Some(module), &self.seeds, device);
        let tuned = params.trainable(leaf, role, parameter.frozen())?.tensor();
        parameter.tune(&self.name, tuned);
        Ok(())
    }

    /// The modules that train as a whole beside the adapted layers and are stored with the adapter.
    pub fn modules_to_save(&self) -> &[String] {
        &self.modules_to_save
    }

    /// How many of the adapter's values stand in place of values of the base, because these train as a whole.
    pub fn count_replaced(&self) -> u64 {
        self.replaced
    }

    /// Overwrites the adapter's tensors with those of `file`.
    ///
    /// # Errors
    /// [`crate::Error::StateDict`] for tensors that do not match exactly; whatever the method refuses. Nothing is
    /// changed then.
    pub fn fill<'f>(&mut self, model: &mut dyn Adaptable, file: impl Into<FileTensors<'f>>) -> Result<()> {
        let file = file.into();
        let tensors = self.import(model, file)?;
        self.store.load_adapter(&tensors, file.origin)
    }

    /// The adapter's tensors as a file holds them.
    pub fn file_tensors(&self) -> StateDict {
        self.method.export(self.store.adapter_tensors())
    }

    /// As [`Method::peft_state`].
    pub fn peft_state(&self) -> Map<String, Value> {
        self.method.peft_state()
    }

    fn import(&mut self, model: &mut dyn Adaptable, file: FileTensors<'_>) -> Result<StateDict> {
        let weights = frozen_weights(model);
        tch::no_grad(|| self.method.import(file, &self.sites, &|site| weights[&site.name].dense()))
    }

    /// Takes the adapter off the model.
    pub fn detach(&self, model: &mut dyn Adaptable) {
        for part in model.parts() {
            match part {
                Part::Linear(linear) => linear.drop_adapter(&self.name),
                Part::Parameter(parameter) => parameter.drop_adapter(&self.name),
            }
        }
    }

    /// Name of the adapter.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its [`Active`] value.
    pub fn active(&self) -> Active {
        Active::One(self.name.clone())
    }

    /// The adapted sites, in model order.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// The tensors.
    pub fn store(&self) -> &ParamStore {
        &self.store
    }

    /// The tensors.
    pub fn store_mut(&mut self) -> &mut ParamStore {
        &mut self.store
    }

    /// Hash of the adapted weights of the base.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// As [`Method::configure_optimizer`].
    pub fn configure_optimizer(&self, config: &mut AdamWConfig) {
        self.method.configure_optimizer(config);
    }

    /// The phases of a run of `steps`.
    ///
    /// # Errors
    /// As [`Method::phases`].
    ///
    /// # Panics
    /// If the method's phases do not sum to `steps`.
    pub fn phases(&mut self, steps: u64) -> Result<Vec<Phase>> {
        let phases = self.method.phases(steps)?;
        let sum: u64 = phases.iter().map(|phase| phase.steps).sum();
        assert_eq!(sum, steps, "the phases of a method must sum to the steps of the run");
        Ok(phases)
    }

    /// Enters phase `index`: the method changes its state, then exactly `trains` requires gradients.
    ///
    /// # Errors
    /// As [`Method::enter_phase`].
    pub fn enter_phase(
        &mut self,
        model: &mut dyn Adaptable,
        index: usize,
        trains: &Roles,
        resumed: bool,
    ) -> Result<()> {
        let weights = frozen_weights(model);
        let frozen = |site: &Site| weights[&site.name].dense();
        let mut context = PhaseContext {
            store: &mut self.store,
            seeds: self.seeds.child("phase").nth(index as u64),
            resumed,
            frozen: &frozen,
        };
        tch::no_grad(|| self.method.enter_phase(index, &mut context))?;
        self.store.train(trains);
        Ok(())
    }

    /// As [`Method::observe_weight_grad`].
    ///
    /// # Errors
    /// As there.
    pub fn observe_weight_grad(&mut self, site: usize, gradient: &Tensor, scale: f64) -> Result<()> {
        self.method.observe_weight_grad(&self.sites[site], gradient, scale)
    }

    /// As [`Method::regularizer`].
    pub fn regularizer(&self) -> Option<Tensor> {
        self.method.regularizer()
    }

    /// One step of `optimizer` along `gradients`, as the method directs it ([`Method::precondition`]); `lr_factor` is the
    /// schedule's.
    pub fn step(&self, optimizer: &mut AdamW, gradients: &Gradients, lr_factor: f64) -> StepReport {
        optimizer.step_along(&self.store, gradients, lr_factor, |id, g| self.method.precondition(id, g))
    }

    /// As [`Method::after_step`].
    ///
    /// # Errors
    /// As there.
    pub fn after_step(&mut self, index: u64, phase_index: u64, gradients: &Gradients) -> Result<()> {
        let step = Step { index, phase_index, gradients, store: &self.store };
        tch::no_grad(|| self.method.after_step(step))
    }

    /// As [`Method::telemetry`].
    pub fn telemetry(&self) -> Vec<(String, f64)> {
        self.method.telemetry()
    }
}

fn frozen_weights(model: &mut dyn Adaptable) -> BTreeMap<String, Box<dyn FrozenWeight>> {
    model.linears().into_iter().map(|l| (l.name().to_owned(), l.frozen().share())).collect()
}

fn device_of(model: &mut dyn Adaptable) -> Device {
    model.linears().first().map_or(Device::Cpu, |linear| linear.frozen().dense().device())
}

/// `W_eff` is a tensor of its own: full fine-tuning of a layer.
#[derive(Debug)]
struct WholeWeight(Tensor);

impl Adapter for WholeWeight {
    fn effective_weight(&self, _frozen: &Tensor) -> Tensor {
        self.0.shallow_clone()
    }

    fn forward(&self, x: &Tensor, base: Base<'_>, _mode: Mode) -> Tensor {
        x.linear(&self.0.to_kind(x.kind()), base.bias)
    }

    fn as_weight(&self) -> Option<&Tensor> {
        Some(&self.0)
    }
}

/// Roles of the parameters of a language model by their names: what [`Method::trains_base`] of a method that trains
/// everything answers.
pub fn role_of_base(name: &str) -> Role {
    let (module, leaf) = name.rsplit_once('.').unwrap_or(("", name));
    let last = module.rsplit('.').next().unwrap_or(module).to_lowercase();
    match leaf {
        "bias" => Role::Bias,
        _ if last.contains("norm") || last.starts_with("ln_") => Role::Norm,
        _ if last.contains("embed") || last == "wte" || last == "wpe" => Role::Embedding,
        _ => Role::Weight,
    }
}
