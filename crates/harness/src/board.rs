//! What TensorBoard sees of a run: its curves, in one event file that a run which is taken up again begins anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use compare::{Curves, Point, RunRecord};
use jiff::Timestamp;
use peft_core::Phase;

use crate::events::EventFile;
use crate::{Error, Result};

/// The curves of one run as TensorBoard has them.
///
/// | tag | over steps |
/// |---|---|
/// | `train/loss`, `train/learning_rate`, `train/tokens_per_second` | of each step |
/// | `validation/…` | metrics and loss, where they were measured |
/// | `train/phase`, `phase-2-NAME/loss`, … | where the method has several phases: which one, and the training curves of each |
#[derive(Debug)]
pub struct Board {
    folder: PathBuf,
    /// The configuration, as it stands beside the curves.
    about: String,
    file: Option<EventFile>,
    /// Names of the phases, each with its last step.
    phases: Vec<(String, u64)>,
    /// Points written, by curve.
    written: BTreeMap<String, usize>,
    clock: Clock,
}

/// When steps were done. Of those that earlier processes did only the sum is known, and it is spread evenly.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// When this process began, or the last of the steps was done.
    pub began: Timestamp,
    /// Steps done by then.
    pub earlier_steps: u64,
    /// Seconds they took.
    pub earlier_seconds: f64,
}

impl Clock {
    fn of(&self, step: u64) -> f64 {
        let seconds = |time: Timestamp| time.as_microsecond() as f64 / 1e6;
        if step > self.earlier_steps {
            return seconds(Timestamp::now());
        }
        let left = (self.earlier_steps - step) as f64 / (self.earlier_steps as f64).max(1.0);
        seconds(self.began) - left * self.earlier_seconds
    }
}

impl Board {
    /// In `folder`; nothing is written before there is something to show.
    pub fn new(folder: &Path, about: String, clock: Clock) -> Self {
        let (folder, written) = (folder.to_owned(), BTreeMap::new());
        Self { folder, about, file: None, phases: Vec::new(), written, clock }
    }

    /// The curves of a run that is over, unless they are in `folder` already.
    ///
    /// # Errors
    /// As [`Self::show`].
    pub fn of_record(folder: &Path, about: String, record: &RunRecord) -> Result<()> {
        if EventFile::is_in(folder) {
            return Ok(());
        }
        let seconds: f64 = record.phases.iter().filter_map(|phase| phase.seconds).sum();
        let steps: Vec<_> = record.phases.iter().map(|phase| (phase.name.as_str(), phase.steps)).collect();
        let all = steps.iter().map(|(_, steps)| steps).sum();
        let began = record.created_at + std::time::Duration::from_secs_f64(seconds);
        let mut board =
            Self::new(folder, about, Clock { began, earlier_steps: all, earlier_seconds: seconds });
        board.divide(steps);
        board.show(&record.curves, &[])
    }

    /// The phases that the run goes through.
    pub fn plan(&mut self, phases: &[Phase]) {
        self.divide(phases.iter().map(|phase| (phase.name, phase.steps)));
    }

    fn divide<'a>(&mut self, phases: impl IntoIterator<Item = (&'a str, u64)>) {
        let mut last = 0;
        let until = |(name, steps): (&str, u64)| {
            last += steps;
            (name.to_owned(), last)
        };
        self.phases = phases.into_iter().map(until).collect();
    }

    /// Writes what has been added to the curves; all of them the first time, in place of an older file. `speed` is in tokens
    /// per second.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn show(&mut self, curves: &Curves, speed: &[Point]) -> Result<()> {
        let folder = self.folder.clone();
        self.write(curves, speed).map_err(|source| Error::Output { path: folder, source })
    }

    fn write(&mut self, curves: &Curves, speed: &[Point]) -> std::io::Result<()> {
        let training = [
            ("loss", &curves.loss[..]),
            ("learning_rate", &curves.learning_rate),
            ("tokens_per_second", speed),
        ];
        let validation = curves.validation.iter().map(|(name, points)| (name.as_str(), &points[..]));
        let all =
            training.map(|curve| ("train", curve)).into_iter().chain(validation.map(|c| ("validation", c)));
        for (group, (name, points)) in all {
            let tag = format!("{group}/{name}");
            let written = self.written.get(&tag).copied().unwrap_or_default();
            for point in &points[written.min(points.len())..] {
                let mut values = vec![(tag.clone(), point.value.unwrap_or(f64::NAN))];
                if let Some((phase, label)) = self.phase_of(point.step).filter(|_| group == "train") {
                    values.push((format!("{label}/{name}"), values[0].1));
                    values.extend((name == "loss").then(|| ("train/phase".to_owned(), phase as f64)));
                }
                let wall_time = self.clock.of(point.step);
                self.file()?.scalars(wall_time, point.step, &values)?;
            }
            self.written.insert(tag, points.len());
        }
        Ok(())
    }

    /// The phase of a step, counted from 1, and how its curves begin; none where there is but one.
    fn phase_of(&self, step: u64) -> Option<(usize, String)> {
        let index =
            self.phases.iter().position(|(_, last)| step <= *last).filter(|_| self.phases.len() > 1)?;
        Some((index + 1, format!("phase-{}-{}", index + 1, self.phases[index].0)))
    }

    fn file(&mut self) -> std::io::Result<&mut EventFile> {
        if self.file.is_none() {
            let began = self.clock.of(0);
            let mut file = EventFile::replace(&self.folder, began)?;
            // Markdown shows what is indented as it stands.
            let lines: Vec<String> = self.about.lines().map(|line| format!("    {line}")).collect();
            file.text(began, "configuration", &lines.join("\n"))?;
            self.file = Some(file);
        }
        Ok(self.file.as_mut().expect("opened just now"))
    }
}
