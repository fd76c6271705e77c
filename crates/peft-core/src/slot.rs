use std::cell::OnceCell;
use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::{
    Active, Adapter, Attached, Base, Delta, Dense, Error, FrozenWeight, Mode, Parameter, Result, SiteShape,
    Storage,
};

/// How a model stores the weight of a linear layer in its files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `[out, in]`.
    #[default]
    OutIn,
    /// `[in, out]`: GPT-2's `Conv1D`, PEFT's `fan_in_fan_out`.
    InOut,
}

/// The slot: a frozen linear layer that can carry named adapters. Models are built from these.
#[derive(Debug)]
pub struct AdaptedLinear {
    name: String,
    shape: SiteShape,
    layout: Layout,
    is_head: bool,
    frozen: Box<dyn FrozenWeight>,
    bias: Option<Parameter>,
    adapters: BTreeMap<String, Box<dyn Adapter>>,
    /// Present where a residual replaced the weight: adds back what `frozen` lacks. It stays when the residual's adapter
    /// goes, so that the base remains the base.
    anchor: Option<Box<dyn Delta>>,
    active: Active,
    merged: Option<Dense>,
    probe: Option<Tensor>,
    fingerprint: OnceCell<String>,
}

impl AdaptedLinear {
    /// A layer called `name` with `weight [out, in]` (a transposed view for [`Layout::InOut`]).
    pub fn new(name: impl Into<String>, weight: &Tensor, bias: Option<&Tensor>, layout: Layout) -> Self {
        let size = [weight.size()[0], weight.size()[1]];
        Self::stored(name, Box::new(Dense::new(weight)), size, bias, layout)
    }

    /// A layer called `name` whose weight, of `size` `[out, in]`, is stored in some form already.
    pub fn stored(
        name: impl Into<String>,
        frozen: Box<dyn FrozenWeight>,
        size: [i64; 2],
        bias: Option<&Tensor>,
        layout: Layout,
    ) -> Self {
        let name = name.into();
        let bias = bias.map(|bias| Parameter::new(format!("{name}.bias"), bias));
        Self {
            shape: SiteShape { out_features: size[0], in_features: size[1] },
            layout,
            is_head: false,
            frozen,
            bias,
            adapters: BTreeMap::new(),
            anchor: None,
            active: Active::None,
            merged: None,
            probe: None,
            fingerprint: OnceCell::new(),
            name,
        }
    }

    /// Marks the layer as the output head, which `all-linear` leaves out.
    #[must_use]
    pub fn head(self) -> Self {
        Self { is_head: true, ..self }
    }

    /// Module path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shape of the weight.
    pub fn shape(&self) -> SiteShape {
        self.shape
    }

    /// Layout in the model's files.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether it is the output head.
    pub fn is_head(&self) -> bool {
        self.is_head
    }

    /// The frozen weight.
    pub fn frozen(&self) -> &dyn FrozenWeight {
        &*self.frozen
    }

    /// Whether what is stored in place of the weight is what a residual left of it.
    pub fn holds_residual(&self) -> bool {
        self.anchor.is_some()
    }

    /// The bias, if there is one.
    pub fn bias(&self) -> Option<&Parameter> {
        self.bias.as_ref()
    }

    /// The bias, if there is one.
    pub fn bias_mut(&mut self) -> Option<&mut Parameter> {
        self.bias.as_mut()
    }

    /// Names of the adapters carried.
    pub fn adapters(&self) -> impl Iterator<Item = &str> {
        self.adapters.keys().map(String::as_str)
    }

    /// The adapter called `name`.
    pub fn adapter(&self, name: &str) -> Option<&dyn Adapter> {
        self.adapters.get(name).map(|adapter| &**adapter)
    }

    /// `x [.., in] -> [.., out]` through the active adapter.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let bias = self.bias_value();
        if let Some(merged) = &self.merged {
            return merged.linear(x, bias.as_ref());
        }
        let base = Base { weight: &*self.frozen, bias: bias.as_ref() };
        let active = match &self.active {
            Active::One(name) => self.adapters.get(name),
            Active::None => None,
        };
        match (active, &self.probe) {
            (Some(adapter), None) => adapter.forward(x, base, mode),
            (Some(adapter), Some(probe)) => probed(x, probe, &**adapter, bias.as_ref(), mode),
            (None, _) => self.bare(x, base),
        }
    }

    /// The base's function; where a residual replaced the weight, the anchor adds what it lacks.
    fn bare(&self, x: &Tensor, base: Base<'_>) -> Tensor {
        let y = base.linear(x);
        match &self.anchor {
            Some(anchor) => {
                let kind = y.kind();
                (y + anchor.apply(x, Mode::Eval)).to_kind(kind)
            }
            None => y,
        }
    }

    fn bias_value(&self) -> Option<Tensor> {
        self.bias.as_ref().map(Parameter::value)
    }

    /// `W_eff [out, in]` of the active adapter, in the adapter's kind; `W` itself if none is active.
    pub fn effective_weight(&self) -> Tensor {
        let frozen = self.frozen.dense();
        match &self.active {
            Active::One(name) if self.adapters.contains_key(name) => {
                self.adapters[name].effective_weight(&frozen)
            }
            _ => match &self.anchor {
                Some(anchor) => frozen.to_kind(Kind::Float) + anchor.weight(),
                None => frozen,
            },
        }
    }

    /// The weight `[out, in]` if [`Self::forward`] is nothing but `x·Wᵀ + b` with a tensor at hand: no adapter in
    /// force, a merged one, or a weight that trains as a whole. A fused loss multiplies with it directly.
    pub fn plain_weight(&self) -> Option<Tensor> {
        if let Some(merged) = &self.merged {
            return merged.as_dense().map(Tensor::shallow_clone);
        }
        let active = match &self.active {
            Active::One(name) => self.adapters.get(name),
            Active::None => None,
        };
        match active {
            Some(adapter) => adapter.as_weight().map(Tensor::shallow_clone),
            None if self.anchor.is_some() => None,
            None => self.frozen.as_dense().map(Tensor::shallow_clone),
        }
    }

    /// Replaces the forward pass by one product with `W_eff`, rounded once to the kind of the base.
    pub fn merge(&mut self) {
        let kind = self.frozen.kind();
        self.merged = Some(Dense::new(&tch::no_grad(|| self.effective_weight().to_kind(kind))));
    }

    /// Undoes [`Self::merge`]; exact, since the frozen weight was never touched.
    pub fn unmerge(&mut self) {
        self.merged = None;
    }

    /// Stores the frozen weight as `storage` says.
    pub fn store(&mut self, storage: &dyn Storage) {
        self.fingerprint();
        self.frozen = storage.freeze(&self.frozen.dense());
    }

    /// Starts to measure ∂loss/∂W: the following passes run through a leaf that can be asked for its gradient.
    pub fn start_probe(&mut self) {
        self.probe = Some(self.frozen.dense().detach().to_kind(Kind::Float).set_requires_grad(true));
    }

    /// The leaf, while measuring.
    pub fn probe(&self) -> Option<&Tensor> {
        self.probe.as_ref()
    }

    /// Ends measuring.
    pub fn end_probe(&mut self) {
        self.probe = None;
    }

    /// Hash of the weight, the same for f32 and bf16 copies of one model.
    pub fn fingerprint(&self) -> &str {
        self.fingerprint.get_or_init(|| fingerprint(&self.frozen.dense()))
    }

    pub(crate) fn carry(&mut self, name: &str, attached: Attached, storage: &dyn Storage) -> Result<()> {
        if self.adapters.contains_key(name) {
            return Err(Error::site(&self.name, format!("already carries an adapter called `{name}`")));
        }
        let alone =
            "a residual on a quantized base replaces the frozen weight, so it must be the only adapter";
        if self.anchor.is_some() || (attached.frozen.is_some() && !self.adapters.is_empty()) {
            return Err(Error::site(&self.name, alone));
        }
        if let Some(frozen) = &attached.frozen {
            self.fingerprint();
            self.frozen = storage.freeze(frozen);
        }
        self.anchor = attached.anchor;
        self.adapters.insert(name.to_owned(), attached.adapter);
        Ok(())
    }

    pub(crate) fn drop_adapter(&mut self, name: &str) {
        self.adapters.remove(name);
        self.merged = None;
        if let Some(bias) = &mut self.bias {
            bias.drop_adapter(name);
        }
    }

    pub(crate) fn carries_active(&self) -> bool {
        matches!(&self.active, Active::One(name) if self.adapters.contains_key(name))
    }

    pub(crate) fn activate(&mut self, active: &Active) {
        self.active = active.clone();
        self.merged = None;
        if let Some(bias) = &mut self.bias {
            bias.activate(active);
        }
    }
}

/// The definition, with the frozen weight as a leaf.
fn probed(x: &Tensor, probe: &Tensor, adapter: &dyn Adapter, bias: Option<&Tensor>, mode: Mode) -> Tensor {
    let kind = x.kind();
    let (x, bias) = (x.to_kind(probe.kind()), bias.map(|bias| bias.to_kind(probe.kind())));
    let y = match adapter.as_delta() {
        Some(delta) => x.linear(probe, bias.as_ref()) + delta.apply(&x, mode),
        None => x.linear(&adapter.effective_weight(probe), bias.as_ref()),
    };
    y.to_kind(kind)
}

fn fingerprint(weight: &Tensor) -> String {
    let weight = weight.to_kind(Kind::BFloat16).to_device(tch::Device::Cpu).contiguous();
    let mut bytes = vec![0u8; weight.numel() * 2];
    weight.view(-1).copy_data_u8(&mut bytes, weight.numel());
    let mut hasher = blake3::Hasher::new();
    for extent in weight.size() {
        hasher.update(&extent.to_le_bytes());
    }
    hasher.update(&bytes);
    hasher.finalize().to_hex()[..16].to_owned()
}
