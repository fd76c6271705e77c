//! An agenda cut into parts that processes work on at the same time.

use std::str::FromStr;

use super::agenda::{Agenda, Cell, Subject};

/// Part `index` of `count`, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Self { index, count }),
            Some((_, count)) if count > 0 => {
                Err(format!("shards are counted from 1: `1/{count}` to `{count}/{count}`"))
            }
            _ => Err("expected `i/n`, such as `1/4`".to_owned()),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl Shard {
    /// Places of the cells of this part, in the order of the agenda.
    ///
    /// The same in every process: cells that need one another are in one part, each cell is in exactly one, and the work is
    /// spread by giving the largest group that is left to the part that has least.
    pub fn of(self, agenda: &Agenda) -> Vec<usize> {
        let mut groups = groups(&agenda.cells);
        let steps_known = agenda.cells.iter().all(|cell| cell.experiment.task.training.steps.is_some());
        let work = |group: &Vec<usize>| {
            group.iter().map(|&place| work(&agenda.cells[place], steps_known)).sum::<u64>()
        };
        groups.sort_by_key(|group| std::cmp::Reverse(work(group)));
        let mut parts = vec![(0, Vec::new()); self.count];
        for group in groups {
            let (load, cells) =
                parts.iter_mut().min_by_key(|(load, _)| *load).expect("a shard is one of some");
            *load += work(&group);
            cells.extend(group);
        }
        let mut own = parts.swap_remove(self.index - 1).1;
        own.sort_unstable();
        own
    }
}

/// How long a cell takes, beside others: sequences trained on, or one for each where they are not known beforehand.
fn work(cell: &Cell, steps_known: bool) -> u64 {
    let training = &cell.experiment.task.training;
    match (cell.subject, training.steps) {
        (Subject::Base, _) => 0,
        (Subject::Method, Some(steps)) if steps_known => steps * training.batch_size as u64,
        (Subject::Method, _) => 1,
    }
}

/// How many parts an agenda can be cut into.
pub fn most_shards(agenda: &Agenda) -> usize {
    groups(&agenda.cells).len()
}

/// Cells that belong together, in the order of the agenda: those that start from the same run, with that run; and the
/// unadapted model with the cell that comes after it, which is on its task.
fn groups(cells: &[Cell]) -> Vec<Vec<usize>> {
    let mut root: Vec<usize> = (0..cells.len()).collect();
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); cells.len()];
    for (place, cell) in cells.iter().enumerate() {
        let after_base = place.checked_sub(1).filter(|&before| cells[before].subject == Subject::Base);
        // What a cell needs stands before it, so its group is known by now.
        let joined: Vec<usize> = cell.needs.into_iter().chain(after_base).map(|other| root[other]).collect();
        let first = joined.iter().copied().min().unwrap_or(place);
        for known in &mut root {
            if joined.contains(known) {
                *known = first;
            }
        }
        root[place] = first;
    }
    for (place, root) in root.into_iter().enumerate() {
        groups[root].push(place);
    }
    groups.retain(|group| !group.is_empty());
    groups
}
