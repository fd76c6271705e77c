//! One linear layer, to attach to and to merge into.

use peft_core::{Adaptable, AdaptedLinear, AsLoaded, Attachment, Layout, Part, Seeds, Targets, init};
use tch::Device;

/// A model of one layer.
#[derive(Debug)]
pub struct Layer(AdaptedLinear);

impl Adaptable for Layer {
    fn parts(&mut self) -> Vec<Part<'_>> {
        vec![Part::Linear(&mut self.0)]
    }
}

impl Layer {
    /// With normal weights of the usual size, `[out, in]`.
    pub fn random(shape: [i64; 2]) -> Self {
        let weight = init::normal(&shape, 0.02, &mut Seeds::new(0).rng(), Device::Cpu);
        Self(AdaptedLinear::new("layer", &weight, None, Layout::OutIn))
    }

    /// Attaches `method`, with settings laid over its defaults, and puts it in force.
    ///
    /// # Panics
    /// If it cannot be attached.
    pub fn attach(&mut self, method: &str, settings: toml::Table) -> Attachment {
        let method =
            (methods::find(method).expect("a method of the registry").build)(settings).expect("settings fit");
        let targets = Targets::default();
        let attachment =
            Attachment::new(self, "default", method, &targets, &AsLoaded, &Seeds::new(0)).expect("it fits");
        self.activate(&attachment.active());
        attachment
    }
}
