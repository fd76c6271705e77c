use peft_core::{Active, Adaptable, Attachment, MethodInfo, Result, Seeds, Storage, Targets};
use tch::Kind;

use crate::{Course, Toy};

/// A toy with an adapter that has trained for some steps.
#[derive(Debug)]
pub struct Trained {
    /// The model; the adapter is active.
    pub toy: Toy,
    /// The adapter.
    pub attachment: Attachment,
    /// Loss before each step.
    pub losses: Vec<f64>,
}

impl Trained {
    /// Attaches `info` with `settings` to all linear layers and trains for `steps` (0: only attaches), first doing
    /// the run it needs, if any.
    ///
    /// # Errors
    /// Whatever the method refuses.
    pub fn run(
        info: &MethodInfo,
        settings: &toml::Table,
        find: &dyn Fn(&str) -> MethodInfo,
        (kind, storage): (Kind, &dyn Storage),
        steps: u64,
        seed: u64,
    ) -> Result<Self> {
        let mut toy = Toy::new(kind);
        let mut method = (info.build)(settings.clone())?;
        if let Some(need) = method.needs() {
            // At least one step, or there is nothing to take over.
            let other = find(need.method);
            let run = Self::run(&other, &need.settings, find, (kind, storage), steps.max(2), seed)?;
            method.provide(&run.attachment.store().adapter_tensors())?;
        }
        let targets = Targets::default();
        let seeds = Seeds::new(seed).child(info.name);
        let attachment = Attachment::new(&mut toy, "default", method, &targets, storage, &seeds)?;
        toy.activate(&attachment.active());
        let mut trained = Self { toy, attachment, losses: Vec::new() };
        if steps > 0 {
            trained.train(steps)?;
        }
        Ok(trained)
    }

    /// Trains for `steps` more, with a fresh optimizer.
    ///
    /// # Errors
    /// Whatever the method refuses.
    pub fn train(&mut self, steps: u64) -> Result<()> {
        const ROWS: i64 = 64;
        let mut course = Course::new(&mut self.attachment, steps)?;
        while let Some(loss) = course.step(&mut self.toy, &mut self.attachment, ROWS)? {
            self.losses.push(loss);
        }
        self.toy.activate(&Active::None);
        self.toy.activate(&self.attachment.active());
        Ok(())
    }
}
