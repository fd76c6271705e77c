use peft_core::{
    AdamW, AdamWConfig, Adaptable, AdaptedLinear, Attachment, Checkpoint, Continuation, Gradients, Mode,
    Phase, Result,
};
use tch::Tensor;

use crate::Toy;

/// The loop of the harness in miniature, one step at a time.
#[derive(Debug)]
pub struct Course {
    config: AdamWConfig,
    optimizer: AdamW,
    phases: Vec<Phase>,
    phase: usize,
    phase_step: u64,
    step: u64,
    entered: bool,
}

/// Sections of a checkpoint.
const OPTIMIZER: &str = "optimizer";
const PLACE: &str = "place";

impl Course {
    /// Before the first of `steps` steps.
    ///
    /// # Errors
    /// Whatever the method refuses.
    pub fn new(attachment: &mut Attachment, steps: u64) -> Result<Self> {
        let mut config = AdamWConfig { lr: 1e-2, ..AdamWConfig::default() };
        attachment.configure_optimizer(&mut config);
        Ok(Self {
            optimizer: AdamW::new(config.clone()),
            config,
            phases: attachment.phases(steps)?,
            phase: 0,
            phase_step: 0,
            step: 0,
            entered: false,
        })
    }

    /// Where a run of `steps` stood when `checkpoint` was made; `attachment` was made anew.
    ///
    /// # Errors
    /// If the checkpoint does not fit.
    pub fn resume(
        checkpoint: &Checkpoint,
        toy: &mut Toy,
        attachment: &mut Attachment,
        steps: u64,
    ) -> Result<Self> {
        attachment.load_training_state(checkpoint)?;
        let mut course = Self::new(attachment, steps)?;
        (course.phase, course.phase_step, course.step) = checkpoint.value(PLACE)?;
        attachment.enter_phase(toy, course.phase, &course.phases[course.phase].trains, true)?;
        course.entered = true;
        let moments = checkpoint.tensors(OPTIMIZER);
        course.optimizer.load_state(&moments, attachment.store(), checkpoint.origin())?;
        Ok(course)
    }

    /// Everything that it takes to go on from here.
    pub fn checkpoint(&self, attachment: &Attachment) -> Checkpoint {
        let mut checkpoint = Checkpoint::new();
        attachment.save_training_state(&mut checkpoint);
        checkpoint.put_tensors(OPTIMIZER, self.optimizer.state());
        checkpoint.put(PLACE, &(self.phase, self.phase_step, self.step));
        checkpoint
    }

    /// The next step, on `rows` rows of input, and the loss before it; `None` after the last.
    ///
    /// # Errors
    /// Whatever the method refuses.
    pub fn step(&mut self, toy: &mut Toy, attachment: &mut Attachment, rows: i64) -> Result<Option<f64>> {
        while self.phases.get(self.phase).is_some_and(|phase| self.entered && phase.steps == self.phase_step)
        {
            (self.phase, self.phase_step, self.entered) = (self.phase + 1, 0, false);
        }
        let Some(phase) = self.phases.get(self.phase) else { return Ok(None) };
        if !self.entered {
            attachment.enter_phase(toy, self.phase, &phase.trains, false)?;
            if phase.optimizer == Continuation::Restart {
                self.optimizer = AdamW::new(self.config.clone());
            }
            self.entered = true;
        }
        if phase.weight_grads {
            toy.linears().into_iter().for_each(AdaptedLinear::start_probe);
        }
        let loss = toy.loss(rows, Mode::Train { seed: self.step });
        let objective = attachment.regularizer().map_or_else(|| loss.shallow_clone(), |extra| &loss + extra);
        let probes: Vec<Tensor> =
            toy.linears().iter().filter_map(|l| l.probe().map(Tensor::shallow_clone)).collect();
        let mut gradients = Gradients::default();
        let of_weights =
            gradients.accumulate(&objective, attachment.store(), &probes.iter().collect::<Vec<_>>())?;
        for (site, gradient) in of_weights.iter().enumerate() {
            attachment.observe_weight_grad(site, gradient, 1.0)?;
        }
        toy.linears().into_iter().for_each(AdaptedLinear::end_probe);
        if phase.updates {
            attachment.step(&mut self.optimizer, &gradients, 1.0);
        }
        attachment.after_step(self.step, self.phase_step, &gradients)?;
        self.step += 1;
        self.phase_step += 1;
        Ok(Some(loss.double_value(&[])))
    }
}
