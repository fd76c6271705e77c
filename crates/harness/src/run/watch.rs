//! What is seen of a cell while it trains, and what of that outlives the process.

use std::time::{Duration, Instant};

use compare::{Curves, Point};
use peft_core::{Attachment, Checkpoint, Continuation, Phase, StateDict};
use serde::{Deserialize, Serialize};
use tasks::{Encoded, Select, Split};
use tch::Tensor;

use crate::board::Board;
use crate::checkpoint::Keeper;
use crate::evaluate::{self, Examiner};
use crate::memory::PeakMemory;
use crate::progress::{Display, Progress};
use crate::solver::Solver;
use crate::train::{Between, Flow, Observer, PhaseReport, Standing, StepReport};
use crate::{Result, interrupt};

/// What a run has gathered besides its parameters.
#[derive(Default)]
pub(super) struct SoFar {
    /// Losses, learning rates, validation scores.
    pub curves: Curves,
    /// The best validation score (larger is better) and the adapter that had it.
    pub best: Option<(f64, StateDict)>,
    /// The step after which the validation split should have been scored, but the run was asked to stop.
    pub unscored: Option<u64>,
    /// Steps that earlier processes did.
    pub earlier_steps: u64,
    /// Seconds that they took.
    pub earlier_seconds: f64,
    /// Their peak of memory.
    pub earlier_peak: Option<u64>,
    /// The phase in progress, as it was after the last step.
    pub phase: Option<PhaseReport>,
    /// Tokens per second of each step, for a run that is shown in TensorBoard.
    pub speed: Vec<Point>,
    /// Remarks for the record.
    pub notes: Vec<String>,
}

/// Sections of a checkpoint.
const GATHERED: &str = "gathered";
const BEST: &str = "best";
const BEST_SCORE: &str = "best_score";
const VALUE: &str = "value";

/// What of it JSON can say.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gathered {
    curves: Curves,
    unscored: Option<u64>,
    seconds: f64,
    peak_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    speed: Vec<Point>,
}

impl SoFar {
    /// The newest checkpoint of `keeper`, if there is one, with what the run called `name` had gathered by then.
    ///
    /// # Errors
    /// As [`Keeper::newest`].
    pub fn resume(
        keeper: Option<&Keeper>,
        name: &str,
        display: Display,
    ) -> Result<(Option<Checkpoint>, Self)> {
        let mut so_far = Self::default();
        let checkpoint = match keeper {
            Some(keeper) => keeper.newest(&mut so_far.notes)?,
            None => None,
        };
        for note in &so_far.notes {
            display.warn(&format!("{name}: {note}"));
        }
        if let Some(checkpoint) = &checkpoint {
            so_far.load(checkpoint)?;
            let step = so_far.earlier_steps;
            display.say(&format!("{name}: goes on after step {step}, from {}", checkpoint.origin()));
            so_far.notes.push(format!("resumed after step {step} from a checkpoint"));
        }
        Ok((checkpoint, so_far))
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let Gathered { curves, unscored, seconds, peak_bytes, speed } = checkpoint.value(GATHERED)?;
        (self.curves, self.unscored, self.speed) = (curves, unscored, speed);
        (self.earlier_seconds, self.earlier_peak) = (seconds, peak_bytes);
        let mut standing = Standing::read(checkpoint)?;
        (self.earlier_steps, self.phase) = (standing.step, standing.phases.pop());
        let score = checkpoint.tensors(BEST_SCORE).remove(VALUE).map(|score| score.double_value(&[]));
        self.best = score.map(|score| (score, checkpoint.tensors(BEST)));
        Ok(())
    }

    /// How fast the last step was, which is in `phases`.
    fn clock(&mut self, step: u64, phases: &[PhaseReport]) {
        let Some(phase) = phases.last() else { return };
        let before =
            self.phase.take().filter(|before| before.name == phase.name && before.steps < phase.steps);
        let (tokens, time) = before.map_or((0, Duration::ZERO), |before| (before.tokens, before.time));
        let seconds = phase.time.saturating_sub(time).as_secs_f64();
        self.speed.push(Point::new(step, (phase.tokens - tokens) as f64 / seconds));
        self.phase = Some(phase.clone());
    }

    /// Puts it into `checkpoint`, with what this process has added.
    fn save(&self, checkpoint: &mut Checkpoint, elapsed: Duration, peak_bytes: Option<u64>) {
        let gathered = Gathered {
            curves: self.curves.clone(),
            unscored: self.unscored,
            seconds: self.earlier_seconds + elapsed.as_secs_f64(),
            peak_bytes: peak_bytes.max(self.earlier_peak),
            speed: self.speed.clone(),
        };
        checkpoint.put(GATHERED, &gathered);
        if let Some((score, tensors)) = &self.best {
            checkpoint.put_tensors(BEST_SCORE, [(VALUE.to_owned(), Tensor::from(*score))].into());
            let handles = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
            checkpoint.put_tensors(BEST, handles.collect());
        }
    }
}

/// Shows progress, keeps curves, scores the validation split now and then.
pub(super) struct Watch<'a> {
    pub progress: Progress,
    pub every: u64,
    pub total: u64,
    pub examiner: Examiner<'a>,
    pub validation: &'a Encoded,
    pub select: Select,
    pub so_far: SoFar,
    pub keeper: Option<Keeper>,
    pub board: Option<Board>,
    /// Of this process's part of the run.
    pub started: Instant,
    /// What samples memory, and its value before the model was loaded.
    pub memory: (&'a PeakMemory, Option<u64>),
}

impl Observer<Box<dyn Solver>> for Watch<'_> {
    fn adjust_phases(&mut self, phases: &mut [Phase]) {
        self.board.iter_mut().for_each(|board| board.plan(phases));
    }

    fn phase_begins(&mut self, _index: usize, phase: &Phase, _attachment: &mut Attachment) -> Result<()> {
        // What was best before the parameters were reset is not comparable.
        if phase.optimizer == Continuation::Restart {
            self.so_far.best = None;
        }
        Ok(())
    }

    fn resumed(&mut self, learner: &mut Box<dyn Solver>, attachment: &Attachment) -> Result<()> {
        if let Some(step) = self.so_far.unscored.take() {
            self.validate(step, &mut **learner, attachment)?;
        }
        // Asked to stop once more: the next step must not come before that score.
        if self.so_far.unscored.is_some() { Err(crate::Error::Interrupted) } else { Ok(()) }
    }

    fn step_done(
        &mut self,
        report: StepReport,
        learner: &mut Box<dyn Solver>,
        attachment: &Attachment,
    ) -> Result<Flow> {
        let done = report.step + 1;
        self.so_far.curves.loss.push(Point::new(done, report.loss));
        self.so_far.curves.learning_rate.push(Point::new(done, report.lr));
        self.progress.step(report.tokens, &format!("loss {:.4}", report.loss));
        let due = self.every > 0 && (done.is_multiple_of(self.every) || done == self.total);
        if due && !self.validation.sequences.is_empty() {
            self.validate(done, &mut **learner, attachment)?;
        }
        Ok(if interrupt::asked() { Flow::Stop } else { Flow::Continue })
    }

    fn between_steps(&mut self, between: &Between<'_>, attachment: &Attachment, flow: Flow) -> Result<()> {
        if let Some(board) = &mut self.board {
            self.so_far.clock(between.step, between.phases);
            board.show(&self.so_far.curves, &self.so_far.speed)?;
        }
        let due = |keeper: &&mut Keeper| keeper.is_due(between.step, self.total, flow);
        let Some(keeper) = self.keeper.as_mut().filter(due) else { return Ok(()) };
        let mut checkpoint = Checkpoint::new();
        attachment.save_training_state(&mut checkpoint);
        between.save(&mut checkpoint);
        let (memory, before) = self.memory;
        self.so_far.save(&mut checkpoint, self.started.elapsed(), memory.over(before));
        keeper.write(between.step, checkpoint)
    }
}

impl Watch<'_> {
    fn validate(&mut self, done: u64, learner: &mut dyn Solver, attachment: &Attachment) -> Result<()> {
        learner.merge();
        let scored = self.examiner.score(learner, Split::Validation, "validation");
        let pad = self.examiner.text.tokenizer.pad();
        let loss = evaluate::mean_loss(learner, &self.validation.sequences, evaluate::BATCH_SIZE, pad);
        learner.unmerge();
        let scored = match scored {
            Err(crate::Error::Interrupted) => {
                self.so_far.unscored = Some(done); // the run stops here, and makes up for it when it goes on
                return Ok(());
            }
            other => other?,
        };
        for metric in &scored.metrics {
            if let Some(value) = scored.on_validation(metric)? {
                self.so_far
                    .curves
                    .validation
                    .entry(metric.name.clone())
                    .or_default()
                    .push(Point::new(done, value));
            }
        }
        self.so_far.curves.validation.entry("loss".to_owned()).or_default().push(Point::new(done, loss?));
        let primary = &scored.metrics[0];
        if let (Select::BestValidation, Some(value)) = (self.select, scored.on_validation(primary)?) {
            let value = if primary.better == compare::Better::Higher { value } else { -value };
            if self.so_far.best.as_ref().is_none_or(|(best, _)| value > *best) {
                let tensors = attachment.store().adapter_tensors();
                self.so_far.best = Some((value, tensors.into_iter().map(|(n, t)| (n, t.copy())).collect()));
            }
        }
        Ok(())
    }
}
