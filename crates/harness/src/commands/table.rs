//! `table`: ours beside a paper's.

use compare::stats::Settings;
use compare::table::{Table, TerminalStyle, listing, markdown, terminal};
use tables::{Measured, Pack, Report, Skipped, diff, provided, provided_names, report};

use super::{print, use_threads};
use crate::cli::{Scale, TableArgs};
use crate::progress::Display;
use crate::queue::default_folder;
use crate::scenario::{Asked, measure};
use crate::{Error, Result, interrupt};

pub(super) fn execute(args: &TableArgs) -> Result<()> {
    match &args.names[..] {
        [] => list(),
        [word, first, second] if word == "diff" => {
            show(&diff(&provided(first)?, &provided(second)?).table());
            Ok(())
        }
        [word, ..] if word == "diff" => {
            Err(Error::Usage("two tables differ: `table diff dora-1 milora-1`".to_owned()))
        }
        names => {
            let packs = names.iter().map(|name| Ok(provided(name)?)).collect::<Result<Vec<Pack>>>()?;
            let mut failures = Vec::new();
            for pack in &packs {
                failures.extend(one(pack, args)?);
            }
            if failures.is_empty() {
                return Ok(());
            }
            Err(Error::Failed(format!("{} not run:\n  {}", failures.len(), failures.join("\n  "))))
        }
    }
}

fn list() -> Result<()> {
    let rows = provided_names().into_iter().map(|name| {
        let pack = provided(&name)?;
        let paper = &pack.paper;
        Ok(vec![
            name,
            paper.item.clone(),
            paper.title.clone(),
            format!("arXiv {}", paper.arxiv),
            paper.about.clone(),
        ])
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    print(&listing(&["table", "of", "paper", "where", "what"], rows, TerminalStyle::detect()));
    Ok(())
}

/// Runs and prints one table; a sentence for each of its runs that failed.
fn one(pack: &Pack, args: &TableArgs) -> Result<Vec<String>> {
    let mut over = args.run.clone();
    use_threads(over.model.threads);
    let scale = match args.scale {
        Scale::Paper => tables::Scale::Paper,
        Scale::Mini => tables::Scale::Mini,
    };
    let display = Display::choose(over.quiet);
    over.out = Some(over.out.unwrap_or_else(|| default_folder(&pack.name)));
    let asked: Vec<Asked> = pack.runs(scale).iter().map(|run| Asked::new(run, &over)).collect();
    if scale == tables::Scale::Paper {
        for Skipped { row, column, reason } in pack.skipped() {
            let place = [row, column].into_iter().flatten().collect::<Vec<_>>().join(" · ");
            display.say(&format!("not run: {place}: {reason}"));
        }
    }
    // What is misspelt shows before anything runs.
    let planned = asked.iter().map(|asked| Ok((asked, asked.experiment()?))).collect::<Result<Vec<_>>>()?;
    if args.plan {
        let rows = planned.iter().map(|(asked, experiment)| {
            let training = &experiment.task.training;
            let run = &asked.run;
            vec![
                run.label.clone(),
                run.task.clone(),
                run.method.clone(),
                training.model.clone(),
                run.seeds.to_string(),
            ]
        });
        print(&listing(
            &["row", "task", "method", "model", "seeds"],
            rows.collect::<Vec<_>>(),
            TerminalStyle::detect(),
        ));
        return Ok(Vec::new());
    }
    let (mut all, mut failures) = (Vec::new(), Vec::new());
    for row in asked.chunk_by(|a, b| a.run.row == b.run.row) {
        let mut failed = |what: &str, error: &Error| {
            let sentence = format!("{} · {} · {what}: {error}", pack.name, row[0].run.label);
            display.say(&format!("not run: {sentence}"));
            failures.push(sentence);
        };
        match measure(row, display) {
            Ok(each) => {
                for (asked, runs) in row.iter().zip(each) {
                    match runs {
                        Ok(runs) => all.push((&asked.run, runs)),
                        Err(Error::Interrupted) => return Err(Error::Interrupted),
                        Err(error) => failed(&asked.run.task, &error),
                    }
                }
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => failed("all tasks", &error),
        }
        if interrupt::asked() {
            return Err(Error::Interrupted);
        }
    }
    let measured: Vec<Measured<'_>> = all.iter().map(|(run, runs)| Measured { run, runs }).collect();
    let report: Report<'_> = report(pack, scale, &measured, &Settings::default())?;
    let tables = [report.table(), report.order_table(), pack.unsaid_table()];
    let folder = over.out.as_deref().expect("set above");
    let text: Vec<String> = tables.iter().map(markdown).collect();
    let path = folder.join(format!("{}.md", pack.name));
    compare::write_whole(&path, text.join("\n").as_bytes())?;
    tables.iter().for_each(show);
    display.say(&format!("records and adapters: {}", folder.display()));
    Ok(failures)
}

fn show(table: &Table) {
    print(&terminal(table, TerminalStyle::detect()));
}
