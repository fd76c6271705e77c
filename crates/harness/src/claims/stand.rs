//! Methods on layers without a model around them.

use peft_core::{
    Adaptable, AdaptedLinear, AsLoaded, Attachment, Layout, Part, Roles, Seeds, Targets, init, linalg,
};
use tch::{Device, Kind, Tensor, no_grad};

use crate::Result;
use crate::session::Session;

/// Linear layers, one after another or none of the other's affair.
#[derive(Debug)]
pub struct Layers(pub Vec<AdaptedLinear>);

impl Adaptable for Layers {
    fn parts(&mut self) -> Vec<Part<'_>> {
        self.0.iter_mut().map(Part::Linear).collect()
    }
}

impl Layers {
    /// Layers of these `[out, in]` with normal weights of variance 1/in.
    pub fn drawn(sizes: &[[i64; 2]], seeds: &Seeds) -> Self {
        let layer = |(index, &[out, inp]): (usize, &[i64; 2])| {
            let name = format!("layers.{index}.linear");
            let std = (1.0 / inp as f64).sqrt() as f32;
            let weight = init::normal(&[out, inp], std, &mut seeds.child(&name).rng(), Device::Cpu);
            AdaptedLinear::new(name, &weight, None, Layout::OutIn)
        };
        Self(sizes.iter().enumerate().map(layer).collect())
    }

    /// The layers of the built-in model but its head, as they are.
    pub fn builtin() -> Result<Self> {
        let mut session = Session::load("builtin:mini", tasks::Dtype::F32, Device::Cpu, false)?;
        let copies = session.learner.linears().into_iter().filter(|linear| !linear.is_head());
        let copy = |linear: &mut AdaptedLinear| {
            AdaptedLinear::new(linear.name(), &linear.frozen().dense().copy(), None, Layout::OutIn)
        };
        Ok(Self(copies.map(copy).collect()))
    }

    /// The weights `[out, in]`.
    pub fn weights(&self) -> Vec<Tensor> {
        self.0.iter().map(|layer| layer.frozen().dense().detach().copy()).collect()
    }

    /// Attaches the method `name` and puts it in force; all its tensors train.
    pub fn attach(&mut self, name: &str, settings: toml::Table, seeds: &Seeds) -> Result<Attachment> {
        let method = (methods::find(name)?.build)(settings)?;
        let mut attachment =
            Attachment::new(self, name, method, &Targets::default(), &AsLoaded, &seeds.child(name))?;
        attachment.store_mut().train(&Roles::All);
        self.activate(&attachment.active());
        Ok(attachment)
    }

    /// The weights in force, `[out, in]`, in double precision.
    pub fn effective(&self) -> Vec<Tensor> {
        no_grad(|| self.0.iter().map(|layer| layer.effective_weight().to_kind(Kind::Double)).collect())
    }
}

/// Writes `value` over the tensor of `attachment` that is called `<site>.<leaf>`, if there is one.
pub fn write(attachment: &Attachment, site: &str, leaf: &str, value: &Tensor) -> bool {
    let found = attachment.store().find(&format!("{site}.{leaf}"));
    if let Some(entry) = found {
        no_grad(|| entry.tensor.shallow_clone().copy_(value));
    }
    found.is_some()
}

/// Draws everything that trains from a normal distribution.
pub fn scramble(attachment: &Attachment, std: f32, seeds: &Seeds) {
    for (_, entry) in attachment.store().trainables() {
        let size = entry.tensor.size();
        let value = init::normal(&size, std, &mut seeds.child(&entry.name).rng(), entry.tensor.device());
        no_grad(|| entry.tensor.shallow_clone().copy_(&value));
    }
}

/// How many singular values of `matrix` are more than rounding: f32 weights keep seven digits.
pub fn rank(matrix: &Tensor) -> Result<i64> {
    const ROUNDING: f64 = 1e-5;
    let s = linalg::svd(&matrix.to_kind(Kind::Double))?.s;
    Ok(s.gt(ROUNDING * s.max().double_value(&[])).sum(Kind::Int64).int64_value(&[]))
}

/// ‖t‖_F.
pub fn norm(t: &Tensor) -> f64 {
    t.to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[]).sqrt()
}

/// ⟨a, b⟩ / (‖a‖·‖b‖).
pub fn cosine(a: &Tensor, b: &Tensor) -> f64 {
    (a * b).sum(Kind::Double).double_value(&[]) / (norm(a) * norm(b))
}
