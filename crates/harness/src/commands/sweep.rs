//! `sweep`: methods × tasks × seeds × settings.

use std::path::Path;

use compare::table::{TerminalStyle, listing};
use compare::{Run, Store, distinct, latest};
use serde_json::json;

use super::{print, run, scenario, use_threads};
use crate::cells::Cells;
use crate::cli::{RunArgs, SweepArgs};
use crate::config::{Grid, Overlay, Sweep};
use crate::progress::Display;
use crate::queue::check_writable;
use crate::scenario::{Agenda, Shard, Subject, Swept, emit, figure, most_shards, sweep};
use crate::{Error, Result, interrupt};

/// Shards of `--emit`, where there is enough to do.
const SHARDS: usize = 4;

pub(super) fn execute(args: &SweepArgs) -> Result<()> {
    let file = Sweep::read(&args.file)?;
    if args.run.scenario.is_some() {
        return Err(Error::Usage("a sweep has no `--scenario`: its file says what is run".to_owned()));
    }
    use_threads(args.run.model.threads);
    let mut over = args.run.within(&file.suite, &file.methods, &file.tasks, file.seeds);
    // One folder whenever it is given: a sweep is taken up again, and its shards write into one.
    let out = over.out.get_or_insert_with(|| Path::new("runs").join(&file.name)).clone();
    if let Some(how) = args.emit {
        let agenda = Agenda::new(&over, &file.grid, &file.settings)?;
        let shards = args.shards.map_or(SHARDS, |n| n as usize).min(most_shards(&agenda));
        print(&emit(how, &file.name, &command(&out), shards));
        return Ok(());
    }
    if args.plan {
        let agenda = Agenda::new(&over, &file.grid, &file.settings)?;
        return plan(&agenda, args.shard, &out, over.packing);
    }
    match args.shard {
        None => whole(&over, &file.name, &file.grid, &file.settings),
        Some(shard) => part(&over, &file, shard),
    }
}

/// All cells, the table of them, and `summary.json`.
pub(super) fn whole(args: &RunArgs, name: &str, grid: &Grid, settings: &Overlay) -> Result<()> {
    let agenda = Agenda::new(args, grid, settings)?;
    let folder = args.out.as_deref().expect("set by the caller");
    check_writable(folder)?;
    let all: Vec<usize> = (0..agenda.cells.len()).collect();
    let Swept { runs, failures } = sweep(&agenda, &all, args, Display::choose(args.quiet))?;
    if let Some((key, by_value)) = by_value(&agenda, &runs) {
        scenario::draw(folder, &figure(name, &key, &by_value)?)?;
    }
    let runs = latest(distinct(runs.into_iter().flatten().collect())).runs;
    let notes = json!({ "grid": grid.axes() });
    scenario::finish(folder, args, name, runs, &notes, failures)
}

/// The cells of a shard. Their table is printed and not kept: it is a part.
fn part(args: &RunArgs, file: &Sweep, shard: Shard) -> Result<()> {
    let agenda = Agenda::new(args, &file.grid, &file.settings)?;
    let folder = args.out.as_deref().expect("set by the caller");
    check_writable(folder)?;
    let (places, display) = (shard.of(&agenda), Display::choose(args.quiet));
    display.say(&format!("shard {shard}: {} of {} cells", places.len(), agenda.cells.len()));
    let Swept { runs, failures } = sweep(&agenda, &places, args, display)?;
    let runs = latest(distinct(runs.into_iter().flatten().collect())).runs;
    if !runs.is_empty() {
        print(&run::table(&runs)?);
    }
    if interrupt::asked() {
        return Err(Error::Interrupted);
    }
    display.say("the same command without `--shard` makes one table of all shards, once they are done");
    run::outcome(&failures)
}

/// Lists the cells, those of a shard or all.
fn plan(agenda: &Agenda, shard: Option<Shard>, out: &Path, packing: bool) -> Result<()> {
    let places = shard.map_or_else(|| (0..agenda.cells.len()).collect(), |shard| shard.of(agenda));
    let cells = Cells::new(out.join("cells"), Store::new(out.join("records")));
    let mut described = cells.described()?;
    described.retain(|_, [around, _]| {
        around["version"] == env!("CARGO_PKG_VERSION") && around["packing"] == packing
    });
    let finished = agenda.finished(&described);
    let axes = agenda.axis_names();
    let header: Vec<&str> =
        ["task", "method", "seed"].into_iter().chain(axes.iter().copied()).chain(["state"]).collect();
    let rows = places.iter().map(|&place| {
        let cell = &agenda.cells[place];
        let (method, seed) = match cell.subject {
            Subject::Base => (compare::BASE, "–".to_owned()),
            Subject::Method => (cell.experiment.method.info.name, cell.seed.to_string()),
        };
        let mut row = vec![cell.experiment.task.name.clone(), method.to_owned(), seed];
        row.extend(agenda.values(cell).map(|value| value.unwrap_or_else(|| "any".to_owned())));
        row.push(if finished[place] { "finished" } else { "to do" }.to_owned());
        row
    });
    print(&listing(&header, rows.collect::<Vec<_>>(), TerminalStyle::detect()));
    let done = places.iter().filter(|&&place| finished[place]).count();
    print(&format!(
        "{done} of {} cells are finished in {}, by their settings; model and data are compared when it runs.",
        places.len(),
        out.display()
    ));
    Ok(())
}

/// The command line that was given, without what only `--emit` means, and with the folder that all shards share.
fn command(out: &Path) -> Vec<String> {
    let mut words = Vec::new();
    let mut given = std::env::args().skip(1);
    while let Some(word) = given.next() {
        let name = word.split('=').next().unwrap_or_default();
        if ["--emit", "--shards"].contains(&name) {
            if name == word {
                given.next();
            }
            continue;
        }
        words.push(word);
    }
    if !words.iter().any(|word| word == "--out" || word.starts_with("--out=")) {
        words.extend(["--out".to_owned(), out.display().to_string()]);
    }
    words
}

/// A value of an axis and the runs with it.
type Valued = (String, Vec<Run>);

/// The runs by the values of the axis, where there is but this one.
fn by_value(agenda: &Agenda, runs: &[Option<Run>]) -> Option<(String, Vec<Valued>)> {
    let [key] = agenda.grid().keys().collect::<Vec<_>>()[..] else { return None };
    let by_value = agenda.grid().axes()[key].iter().enumerate().map(|(point, value)| {
        let here = agenda.cells.iter().zip(runs).filter(|(cell, _)| cell.points.contains(&point));
        (value.to_string(), here.filter_map(|(_, run)| run.clone()).collect())
    });
    Some((key.to_owned(), by_value.collect()))
}
