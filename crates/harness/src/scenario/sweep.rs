//! The cells of an agenda, run or found.

use compare::Run;

use super::agenda::{Agenda, Subject};
use crate::cli::RunArgs;
use crate::progress::Display;
use crate::queue::Queue;
use crate::{Error, Result, interrupt};

/// What came of an agenda.
#[derive(Debug, Default)]
pub struct Swept {
    /// The run of each cell; none where it failed, was left out or not reached.
    pub runs: Vec<Option<Run>>,
    /// A sentence for each cell that failed.
    pub failures: Vec<String>,
}

/// Runs the cells at `places`, all over one loaded base, each unless it is there already. A cell that fails is recorded and
/// does not stop the others, those apart that start from it; Ctrl-C does.
///
/// # Errors
/// If a record cannot be written.
pub fn sweep(agenda: &Agenda, places: &[usize], args: &RunArgs, display: Display) -> Result<Swept> {
    let mut queue = Queue::new(args, display)?.apart();
    let mut swept = Swept { runs: vec![None; agenda.cells.len()], failures: Vec::new() };
    let last_use = last_use(agenda, places);
    let mut keys = vec![None; agenda.cells.len()];
    let mut task = None;
    for (count, &place) in places.iter().enumerate() {
        let cell = &agenda.cells[place];
        let (experiment, seed) = (&cell.experiment, cell.seed);
        if task.replace(&experiment.task.name).is_some_and(|last| *last != experiment.task.name) {
            queue.leave_task();
        }
        if interrupt::asked() {
            break;
        }
        display.say(&format!("{} of {}: {}", count + 1, places.len(), agenda.label(cell)));
        let outcome = match (cell.needs, cell.subject) {
            (Some(needs), _) if swept.runs[needs].is_none() => {
                let needed = agenda.cells[needs].experiment.method.info.name;
                Err(Error::Usage(format!("the {needed} run that it starts from failed")))
            }
            (_, Subject::Base) => queue.base_of(experiment, seed).cloned(),
            (_, Subject::Method) => queue.cell(experiment, seed).map(|key| {
                let run = queue.finished(&key).run.clone();
                keys[place] = Some(key);
                run
            }),
        };
        match (outcome, cell.subject) {
            (Ok(run), _) => swept.runs[place] = Some(run),
            (Err(Error::Interrupted), _) => break,
            (Err(error), subject) => {
                if subject == Subject::Method {
                    queue.failed(experiment, seed, &error)?;
                } else {
                    display.say(&format!("failed: {}: {error}", agenda.label(cell)));
                }
                let hint = error.hint().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
                swept.failures.push(format!("{}: {error}{hint}", agenda.label(cell)));
            }
        }
        for (key, _) in keys.iter_mut().zip(&last_use).filter(|(_, last)| **last == place) {
            key.take().into_iter().for_each(|key: String| queue.forget(&key));
        }
    }
    Ok(swept)
}

/// The place after which a cell's adapter is needed no more, by place.
fn last_use(agenda: &Agenda, places: &[usize]) -> Vec<usize> {
    let mut last: Vec<usize> = (0..agenda.cells.len()).collect();
    for &place in places {
        if let Some(needs) = agenda.cells[place].needs {
            last[needs] = last[needs].max(place);
        }
    }
    last
}
