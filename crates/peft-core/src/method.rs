use std::fmt::Debug;

use serde_json::{Map, Value};
use tch::Tensor;

use crate::peft_file::AdapterFile;
use crate::{
    AdamWConfig, Adapter, Delta, Error, Gradients, Param, ParamId, ParamStore, Params, Phase, Result, Role,
    Seeds, Site, StateDict,
};

/// A method's plan for a whole model. Only [`Method::attach`] is required.
///
/// Life of a method: `needs`/`provide` → `begin` → `attach` at every site → for each of `phases`: `enter_phase`,
/// then for each step `observe_weight_grad` (where the phase asks) and `regularizer` per micro-batch, `after_step`
/// after the update. A run that goes on from a checkpoint calls `restore_training_state` after `attach`, and enters the
/// phase it stopped in as resumed.
pub trait Method: Debug {
    /// Another run whose output this one starts from.
    fn needs(&self) -> Option<Need> {
        None
    }

    /// Hands over what [`Self::needs`] asked for: the tensors of the other run's adapter.
    ///
    /// # Errors
    /// If they are not what was asked for.
    fn provide(&mut self, _adapter: &StateDict) -> Result<()> {
        panic!("provide is called only after needs")
    }

    /// Sees all sites before the first is attached; registers tensors they share.
    ///
    /// # Errors
    /// If the settings cannot work on these sites.
    fn begin(&mut self, _sites: &[Site], _shared: &mut Params<'_>) -> Result<()> {
        Ok(())
    }

    /// Makes the adapter of one site.
    ///
    /// # Errors
    /// [`Error::Site`] if the shape cannot be adapted.
    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached>;

    /// Whether the base parameter called `name` trains as a whole, and as what.
    fn trains_base(&self, _name: &str) -> Option<Role> {
        None
    }

    /// Adjusts the optimizer's settings by role (LoRA+'s ratio of learning rates).
    fn configure_optimizer(&self, _config: &mut AdamWConfig) {}

    /// The run, cut into phases; their steps sum to `steps`.
    ///
    /// # Errors
    /// If the settings leave no room for a phase.
    fn phases(&mut self, steps: u64) -> Result<Vec<Phase>> {
        Ok(vec![Phase::new("train", steps)])
    }

    /// Before the first step of phase `index`.
    ///
    /// # Errors
    /// If the state cannot be carried over.
    fn enter_phase(&mut self, _index: usize, _context: &mut PhaseContext<'_>) -> Result<()> {
        Ok(())
    }

    /// `∂loss/∂W [out, in]` of one site and micro-batch, in phases with `weight_grads`; `scale` is the share of the
    /// micro-batch in the step's loss, already contained in `gradient`.
    ///
    /// # Errors
    /// If the gradient is unusable.
    fn observe_weight_grad(&mut self, _site: &Site, _gradient: &Tensor, _scale: f64) -> Result<()> {
        Ok(())
    }

    /// A term added once per step to the training loss, never to the evaluation loss.
    fn regularizer(&self) -> Option<Tensor> {
        None
    }

    /// After the optimizer moved.
    ///
    /// # Errors
    /// If the state is inconsistent.
    fn after_step(&mut self, _step: Step<'_>) -> Result<()> {
        Ok(())
    }

    /// What the optimizer takes for the gradient of `id`, from the gradient after masking and clipping: LoRA-FA solves
    /// for the direction that comes closest to full fine-tuning.
    fn precondition(&self, _id: ParamId, gradient: Tensor) -> Tensor {
        gradient
    }

    /// The tensors of the adapter for a file, from those of the store, where a file holds them in another form.
    fn export(&self, tensors: StateDict) -> StateDict {
        tensors
    }

    /// Keys of PEFT's `adapter_config.json` that the run decided and not the settings (AdaLoRA's ranks); they replace
    /// those of [`PeftFormat::write`].
    fn peft_state(&self) -> Map<String, Value> {
        Map::new()
    }

    /// The reverse of [`Self::export`], also for what other tools write. Called before `begin` when an adapter is
    /// attached for loading, or at any time after `attach`. `weight` gives the weight of a site, dense.
    ///
    /// # Errors
    /// If the file lacks something that cannot be made up for.
    fn import(
        &mut self,
        file: FileTensors<'_>,
        _sites: &[Site],
        _weight: &dyn Fn(&Site) -> Tensor,
    ) -> Result<StateDict> {
        Ok(file.shallow_clone())
    }

    /// What the run has made of the method so far and the store does not hold, for checkpoints: running sums, counters.
    /// What `attach` and `phases` make again from the settings does not belong here.
    fn training_state(&self) -> StateDict {
        StateDict::new()
    }

    /// The reverse of [`Self::training_state`], in a method that was attached anew. Called before `phases`; `origin` is for
    /// errors.
    ///
    /// # Errors
    /// [`Error::StateDict`] if `state` is not what [`Self::training_state`] gives.
    fn restore_training_state(&mut self, state: &StateDict, origin: &str) -> Result<()> {
        crate::copy_strictly(&StateDict::new(), state, origin)
    }

    /// Scalars worth plotting.
    fn telemetry(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}

/// The tensors of an adapter file, under our names.
#[derive(Clone, Copy, Debug)]
pub struct FileTensors<'a> {
    /// What the file holds.
    pub tensors: &'a StateDict,
    /// The same adapter before its first step, for files of residual methods that do not hold it (PEFT's).
    pub start: Option<&'a StateDict>,
    /// For errors.
    pub origin: &'a str,
}

impl FileTensors<'_> {
    /// Other handles to the tensors.
    pub fn shallow_clone(&self) -> StateDict {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }
}

impl<'a> From<(&'a StateDict, &'a str)> for FileTensors<'a> {
    fn from((tensors, origin): (&'a StateDict, &'a str)) -> Self {
        Self { tensors, start: None, origin }
    }
}

impl<'a> From<&'a AdapterFile> for FileTensors<'a> {
    fn from(file: &'a AdapterFile) -> Self {
        (&file.tensors, file.origin.as_str()).into()
    }
}

/// The output of another run that a method starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    /// Exact registry name of the other run's method.
    pub method: &'static str,
    /// Settings to change in that method's configuration for the same task, if any.
    pub settings: toml::Table,
}

/// One site on its way to being adapted.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Name, shape, position.
    pub site: &'a Site,
    /// Its weight `[out, in]`, dense, before storage.
    pub weight: &'a Tensor,
    /// The round trip through the storage of the base (identity, bf16, NF4).
    pub store: &'a dyn Fn(&Tensor) -> Tensor,
    /// Whether that round trip changes values.
    pub is_lossy: bool,
}

/// What [`Method::attach`] returns: `W = frozen + anchor`, adapted by `adapter`.
#[derive(Debug)]
pub struct Attached {
    /// What to store in place of `W` (residual methods on a lossy base).
    pub frozen: Option<Tensor>,
    /// What `frozen` lacks.
    pub anchor: Option<Box<dyn Delta>>,
    /// The reparametrization.
    pub adapter: Box<dyn Adapter>,
}

impl Attached {
    /// An adapter over the untouched weight.
    pub fn new(adapter: impl Adapter + 'static) -> Self {
        Self { frozen: None, anchor: None, adapter: Box::new(adapter) }
    }
}

/// What a method may use when a phase begins.
pub struct PhaseContext<'a> {
    /// The adapter's tensors.
    pub store: &'a mut ParamStore,
    /// Streams of this phase.
    pub seeds: Seeds,
    /// Whether the run resumes within this phase: the state is loaded already, choose nothing anew.
    pub resumed: bool,
    /// The frozen weight of a site, dense, on request.
    pub frozen: &'a dyn Fn(&Site) -> Tensor,
}

impl PhaseContext<'_> {
    /// Draws a random frozen tensor anew, from the stream of this phase.
    pub fn redraw(&mut self, drawn: &Param) {
        self.store.redraw(drawn.id(), &self.seeds);
    }

    /// Restricts training of `trainable` to the entries where `mask` is true.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn mask(&mut self, trainable: &Param, mask: &Tensor) -> Result<()> {
        self.store.set_mask(trainable.id(), mask)
    }
}

/// One optimizer step, just taken.
#[derive(Debug)]
pub struct Step<'a> {
    /// 0-based, within the run.
    pub index: u64,
    /// 0-based, within the phase.
    pub phase_index: u64,
    /// The gradients that were applied, after masking, before clipping.
    pub gradients: &'a Gradients,
    /// The tensors after the step.
    pub store: &'a ParamStore,
}

impl Step<'_> {
    /// The gradient of `id`.
    pub fn gradient(&self, id: ParamId) -> Option<&Tensor> {
        self.gradients.of(id)
    }
}

/// What a crate tells the world about its method.
#[derive(Clone, Copy, Debug)]
pub struct MethodInfo {
    /// Exact name: `lori-s`.
    pub name: &'static str,
    /// Groups variants: `--method lori` runs all of family `lori`.
    pub family: &'static str,
    /// Within the family: `s`; empty where there is none.
    pub variant: &'static str,
    /// Folder of the crate under `crates/`.
    pub folder: &'static str,
    /// Where it was published.
    pub paper: Paper,
    /// Builds it from its section of a method file.
    pub build: fn(toml::Table) -> Result<Box<dyn Method>>,
    /// Its settings with every default filled in.
    pub resolve: fn(toml::Table) -> Result<toml::Table>,
    /// Trainable values on a model of this shape.
    pub count: fn(&toml::Table, ModelShape<'_>) -> Result<u64>,
    /// The same as a formula, per site: `r·(in + out)`.
    pub count_formula: &'static str,
    /// What can be done with it.
    pub capabilities: Capabilities,
    /// How it is written for PEFT, if PEFT knows it.
    pub peft: Option<PeftFormat>,
}

/// What counting needs to know of a model.
#[derive(Clone, Copy, Debug)]
pub struct ModelShape<'a> {
    /// The adapted sites.
    pub sites: &'a [Site],
    /// Values of the whole base.
    pub base_parameters: u64,
}

/// A publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    /// Title.
    pub title: &'static str,
    /// arXiv identifier.
    pub arxiv: &'static str,
}

/// What can be done with a method's adapters; the laws check each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `W_eff` can be written into the base without loss beyond rounding.
    pub merge: bool,
    /// Works over a 4-bit base.
    pub quantized_base: bool,
    /// Has an exact plain-LoRA form.
    pub lora_export: bool,
    /// The model computes the base's function before the first step.
    pub identity_at_start: bool,
}

/// How a method's adapters are written as PEFT files.
#[derive(Clone, Copy, Debug)]
pub struct PeftFormat {
    /// `peft_type`.
    pub peft_type: &'static str,
    /// The keys of `adapter_config.json` that depend on the method.
    pub write: fn(&toml::Table) -> Result<Map<String, Value>>,
    /// The method's settings from an `adapter_config.json` of this `peft_type`, or `None` if it belongs to another
    /// method.
    pub read: fn(&Map<String, Value>) -> Result<Option<toml::Table>>,
}

/// Reads a method's section: unknown keys are errors that name what exists.
///
/// # Errors
/// [`Error::Unknown`] or [`Error::Toml`] naming `method.<name>`.
pub fn parse_settings<T: serde::de::DeserializeOwned>(method: &str, table: toml::Table) -> Result<T> {
    let parsed: std::result::Result<T, toml::de::Error> = table.try_into();
    parsed.map_err(|source| unknown_key(method, &source).unwrap_or_else(|| toml_error(method, source)))
}

fn toml_error(method: &str, source: toml::de::Error) -> Error {
    Error::Toml { origin: format!("settings of method `{method}`"), source: Box::new(source) }
}

/// A method's section with every default filled in.
///
/// # Errors
/// As [`parse_settings`].
pub fn resolve_settings<T>(method: &str, table: toml::Table) -> Result<toml::Table>
where
    T: serde::de::DeserializeOwned + serde::Serialize,
{
    let settings: T = parse_settings(method, table)?;
    Ok(toml::Table::try_from(settings).expect("settings are a table"))
}

/// serde says "unknown field `x`, expected one of `a`, `b`": make it an [`Error::Unknown`] so that a hint follows.
fn unknown_key(method: &str, source: &toml::de::Error) -> Option<Error> {
    let (name, expected) = source.message().strip_prefix("unknown field `")?.split_once('`')?;
    let known = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some(Error::Unknown { what: format!("setting of method `{method}`"), name: name.to_owned(), known })
}
