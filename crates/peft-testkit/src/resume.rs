//! The law of checkpoints: a run that goes on from one ends with the bits of a run that never stopped.

use std::collections::{BTreeMap, BTreeSet};

use peft_core::{Adaptable, Attachment, Checkpoint, Result, tensor_file};

use crate::{Bench, Course, Trained};

/// Enough for every phase of every method to have steps, and for AdaLoRA to settle its ranks before the end.
const STEPS: u64 = 8;

/// How a run ended: everything a checkpoint holds, by name, in bytes; and what was seen on the way.
type End = BTreeMap<String, Vec<u8>>;

impl Bench<'_> {
    /// Stops after every step, in every phase and between phases; goes on from the files in a model and an adapter made
    /// anew; and compares parameters, masks, optimizer, method state, random streams, losses and telemetry.
    ///
    /// # Panics
    /// If anything differs.
    pub fn resumes_bit_for_bit(&self) {
        if let Err(sentence) = self.resumes_from(|_| {}) {
            panic!("{} on {:?} stored by {:?}: {sentence}", self.info.name, self.kind, self.storage);
        }
    }

    /// The same from checkpoints to which `damage` was done before they were written.
    ///
    /// # Errors
    /// What differs, after which step: for damage that matters, something must.
    pub fn resumes_from(&self, damage: impl Fn(&mut Checkpoint)) -> Result<(), String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let of = |step: usize| folder.path().join(step.to_string());
        let undisturbed = self.whole(|_, _| {}).expect("the method trains");
        let whole = self.whole(|step, checkpoint| {
            damage(checkpoint);
            checkpoint.write(&of(step)).expect("a temporary folder can be written");
        });
        compare("writing checkpoints", &undisturbed, &whole.expect("the method trains"))?;
        for step in 1..=STEPS as usize {
            let resumed = Checkpoint::read(&of(step))
                .and_then(|checkpoint| self.rest(&checkpoint, &undisturbed.1[..step]))
                .map_err(|error| format!("resumed after step {step}: {error}"))?;
            compare(&format!("resuming after step {step}"), &undisturbed, &resumed)?;
        }
        Ok(())
    }

    fn start(&self) -> Result<Trained> {
        Trained::run(&self.info, self.settings, self.find, (self.kind, self.storage), 0, 0)
    }

    /// An uninterrupted run; `watch` sees a checkpoint after each step.
    fn whole(&self, mut watch: impl FnMut(usize, &mut Checkpoint)) -> Result<(End, Vec<f64>)> {
        let Trained { mut toy, mut attachment, mut losses } = self.start()?;
        let mut course = Course::new(&mut attachment, STEPS)?;
        while let Some(loss) = course.step(&mut toy, &mut attachment, rows(&losses))? {
            losses.push(loss);
            watch(losses.len(), &mut course.checkpoint(&attachment));
        }
        Ok((end(&course, &attachment), losses))
    }

    /// The rest of a run from `checkpoint`, whose losses so far are `before`.
    fn rest(&self, checkpoint: &Checkpoint, before: &[f64]) -> Result<(End, Vec<f64>)> {
        let Trained { mut toy, mut attachment, .. } = self.start()?;
        toy.activate(&attachment.active());
        let mut course = Course::resume(checkpoint, &mut toy, &mut attachment, STEPS)?;
        let mut losses = before.to_vec();
        while let Some(loss) = course.step(&mut toy, &mut attachment, rows(&losses))? {
            losses.push(loss);
        }
        Ok((end(&course, &attachment), losses))
    }
}

/// Another input for each step.
fn rows(losses: &[f64]) -> i64 {
    64 - losses.len() as i64
}

fn end(course: &Course, attachment: &Attachment) -> End {
    let last = course.checkpoint(attachment);
    let mut end: End =
        last.all_tensors().iter().map(|(name, t)| (name.clone(), tensor_file::bytes_of(t))).collect();
    let telemetry = attachment.telemetry();
    end.extend(telemetry.into_iter().map(|(name, value)| (name, value.to_le_bytes().to_vec())));
    let draws = format!("{:?}", attachment.store().draws());
    end.insert("random streams".to_owned(), draws.into_bytes());
    end
}

fn compare(what: &str, whole: &(End, Vec<f64>), other: &(End, Vec<f64>)) -> Result<(), String> {
    let bits = |losses: &[f64]| losses.iter().map(|loss| loss.to_bits()).collect::<Vec<_>>();
    if bits(&whole.1) != bits(&other.1) {
        return Err(format!("{what} changed losses {:?} to {:?}", whole.1, other.1));
    }
    let names: BTreeSet<&String> = whole.0.keys().chain(other.0.keys()).collect();
    let changed: Vec<&str> = names
        .into_iter()
        .filter(|name| whole.0.get(*name) != other.0.get(*name))
        .map(String::as_str)
        .collect();
    if changed.is_empty() { Ok(()) } else { Err(format!("{what} changed {}", changed.join(", "))) }
}
