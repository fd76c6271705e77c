//! The one training loop goes on from a checkpoint with the bits it would have had: every method, after every step, in every
//! phase, with a schedule, clipping, decay and data that depend on where the run stands.

#[path = "../../methods/tests/common/mod.rs"]
mod fit_for_the_toy;

use std::path::Path;

use harness::Result;
use harness::train::{
    Between, Feed, Flow, Learner, Observer, Settings, StepData, StepReport, train, train_from,
};
use methods::METHODS;
use peft_core::{
    AdamWConfig, Adaptable, AsLoaded, Attachment, Checkpoint, Clip, Length, MethodInfo, Mode, Part,
    ScheduleKind, Seeds, Targets,
};
use peft_testkit::Toy;
use tasks::Position;
use tch::{Kind, Tensor};

const STEPS: u64 = 8;

struct ToyLearner(Toy);

impl Adaptable for ToyLearner {
    fn parts(&mut self) -> Vec<Part<'_>> {
        self.0.parts()
    }
}

impl Learner for ToyLearner {
    /// Rows of the input.
    type Part = i64;

    fn loss(&self, rows: &i64, mode: Mode) -> Result<Tensor> {
        Ok(self.0.loss(*rows, mode) / 2.0)
    }
}

/// Two parts a step, three steps an epoch, each of its own size.
#[derive(Default)]
struct Rows(Position);

impl Feed<i64> for Rows {
    fn next_step(&mut self) -> Result<StepData<i64>> {
        if self.0.batch == 3 {
            self.0 = Position { epoch: self.0.epoch + 1, batch: 0 };
        }
        self.0.batch += 1;
        let rows = 20 + 7 * self.0.epoch.cast_signed() + self.0.batch as i64;
        Ok(StepData { parts: vec![rows, rows - 5], tokens: rows.cast_unsigned(), samples: 2 })
    }

    fn restart(&mut self) {
        self.0 = Position::default();
    }

    fn position(&self) -> Option<Position> {
        Some(self.0)
    }

    fn seek(&mut self, position: Position) {
        self.0 = position;
    }
}

/// What was reported of each step, in bits; writes a checkpoint after each where there is a folder.
struct Watch<'a> {
    folder: Option<&'a Path>,
    seen: Vec<(u64, u64, [u64; 3])>,
    last: Checkpoint,
}

impl<'a> Watch<'a> {
    fn new(folder: Option<&'a Path>) -> Self {
        Self { folder, seen: Vec::new(), last: Checkpoint::new() }
    }
}

impl Observer<ToyLearner> for Watch<'_> {
    fn step_done(&mut self, report: StepReport, _: &mut ToyLearner, _: &Attachment) -> Result<Flow> {
        let StepReport { step, phase_step, loss, grad_norm, lr, .. } = report;
        self.seen.push((step, phase_step, [loss, grad_norm, lr].map(f64::to_bits)));
        Ok(Flow::Continue)
    }

    fn between_steps(&mut self, between: &Between<'_>, attachment: &Attachment, _: Flow) -> Result<()> {
        let mut checkpoint = Checkpoint::new();
        attachment.save_training_state(&mut checkpoint);
        between.save(&mut checkpoint);
        if let Some(folder) = self.folder {
            checkpoint.write(&folder.join(between.step.to_string()))?;
        }
        self.last = checkpoint;
        Ok(())
    }
}

fn settings() -> Settings {
    Settings {
        steps: STEPS,
        optimizer: AdamWConfig {
            lr: 1e-2,
            weight_decay: 0.1,
            clip: Clip::Global(0.5),
            ..AdamWConfig::default()
        },
        schedule: ScheduleKind::Cosine,
        warmup: Length::Steps(0),
        seeds: Seeds::new(1),
    }
}

/// The method on a toy, given what it needs.
fn attach(info: &MethodInfo, table: &toml::Table) -> (ToyLearner, Attachment) {
    let mut learner = ToyLearner(Toy::new(Kind::Float));
    let mut method = (info.build)(table.clone()).unwrap();
    if let Some(need) = method.needs() {
        let (mut other, mut needed) = attach(methods::find(need.method).unwrap(), &need.settings);
        train(&mut other, &mut needed, &mut Rows::default(), &settings(), &mut Watch::new(None)).unwrap();
        method.provide(&needed.store().adapter_tensors()).unwrap();
    }
    let (targets, seeds) = (Targets::default(), Seeds::new(7));
    let attachment = Attachment::new(&mut learner, "default", method, &targets, &AsLoaded, &seeds).unwrap();
    (learner, attachment)
}

#[test]
fn every_method_goes_on_with_the_same_bits() {
    for info in METHODS {
        for table in fit_for_the_toy::settings_with_phases(info) {
            let folder = tempfile::tempdir().unwrap();
            let run = |from: Option<&Checkpoint>, watch: &mut Watch<'_>| {
                let (mut learner, mut attachment) = attach(info, &table);
                train_from(from, &mut learner, &mut attachment, &mut Rows::default(), &settings(), watch)
                    .unwrap_or_else(|error| panic!("{}: {error}", info.name))
            };
            let mut whole = Watch::new(Some(folder.path()));
            let trained = run(None, &mut whole);
            for step in 1..=STEPS {
                let what = format!("{} with {table} after step {step}", info.name);
                let checkpoint = Checkpoint::read(&folder.path().join(step.to_string())).unwrap();
                let mut rest = Watch::new(None);
                let resumed = run(Some(&checkpoint), &mut rest);
                assert_eq!(rest.seen, whole.seen[step as usize..], "{what}");
                let last = if step < STEPS { &rest.last } else { &checkpoint };
                assert_eq!(last.all_tensors(), whole.last.all_tensors(), "{what}");
                let work = |trained: &harness::train::Trained| {
                    let one = |p: &harness::train::PhaseReport| (p.name.clone(), p.steps, p.tokens, p.lr);
                    trained.phases.iter().map(one).collect::<Vec<_>>()
                };
                assert_eq!(work(&resumed), work(&trained), "{what}");
            }
        }
    }
}

#[test]
fn a_checkpoint_with_other_phases_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let info = methods::find("lora-dash").unwrap();
    let table = "rank = 4\nlaunch = 2".parse().unwrap();
    let (mut learner, mut attachment) = attach(info, &table);
    let mut watch = Watch::new(Some(folder.path()));
    train(&mut learner, &mut attachment, &mut Rows::default(), &settings(), &mut watch).unwrap();
    let checkpoint = Checkpoint::read(&folder.path().join("8")).unwrap();
    let (mut learner, mut attachment) = attach(info, &"rank = 4\nlaunch = 5".parse().unwrap());
    let mut watch = Watch::new(None);
    let from = Some(&checkpoint);
    let error =
        train_from(from, &mut learner, &mut attachment, &mut Rows::default(), &settings(), &mut watch)
            .unwrap_err()
            .to_string();
    assert!(error.contains("its phases are not those of this run"), "{error}");
}
