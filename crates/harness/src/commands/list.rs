//! `list`: what there is.

use compare::table::TerminalStyle;
use tasks::Head;

use super::print;
use crate::cli::Listing;
use crate::config::{Scenario, Sweep, scenarios, suites, sweeps};
use crate::{Result, builtin};

pub(super) fn execute(what: Listing) -> Result<()> {
    match what {
        Listing::Methods => print(&methods_table()),
        Listing::Tasks => print(&tasks_table()?),
        Listing::Scenarios => print(&scenarios_table()?),
        Listing::Sweeps => print(&sweeps_table()?),
        Listing::Models => print(&models_table()),
    }
    Ok(())
}

fn methods_table() -> String {
    let yes = |capability: bool| if capability { "yes" } else { "–" };
    let rows = methods::METHODS.iter().map(|info| {
        vec![
            info.name.to_owned(),
            info.family.to_owned(),
            yes(info.capabilities.merge).to_owned(),
            yes(info.capabilities.quantized_base).to_owned(),
            yes(info.capabilities.lora_export).to_owned(),
            info.peft.map_or("–", |format| format.peft_type).to_owned(),
            info.count_formula.to_owned(),
            format!("arXiv {}", info.paper.arxiv),
        ]
    });
    let header =
        ["method", "family", "merges", "4-bit base", "as LoRA", "PEFT type", "trainable per site", "paper"];
    let exact =
        "Unmerging gives back the base to the bit for every method: its weights are never written to.";
    format!("{}\n\n{exact}", grid(&header, rows))
}

fn tasks_table() -> Result<String> {
    let mut rows = Vec::new();
    for (name, _) in tasks::PROVIDED {
        let task = tasks::provided(name)?;
        let metric = task.scoring.metrics.first().map(|metric| metric.name.clone()).unwrap_or_default();
        let answer = match task.head {
            None => "a text",
            Some(Head::Classes(_)) => "a class",
            Some(Head::Value) => "a value",
            Some(Head::Span(_)) => "a span",
        };
        let presets = task.presets.keys().cloned().collect::<Vec<_>>().join(", ");
        rows.push(vec![
            task.name.clone(),
            task.data.source(),
            answer.to_owned(),
            metric,
            presets,
            task.description.clone(),
        ]);
    }
    let header = ["task", "data", "answer", "metric", "presets", "description"];
    let table = grid(&header, rows.into_iter());
    Ok(format!("{table}\n\nsuites: {}", suites().join(", ")))
}

fn scenarios_table() -> Result<String> {
    let rows = scenarios().into_iter().map(|name| {
        let Scenario { suite, methods, seeds, description, .. } = Scenario::read(&name)?;
        Ok(vec![name, suite, methods.join(", "), seeds.to_string(), description])
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    Ok(grid(&["scenario", "suite", "methods", "seeds", "description"], rows.into_iter()))
}

fn sweeps_table() -> Result<String> {
    let rows = sweeps().into_iter().map(|name| {
        let Sweep { suite, methods, seeds, description, grid, .. } = Sweep::read(&name)?;
        let varied = grid.keys().collect::<Vec<_>>().join(", ");
        Ok(vec![name, suite, methods.join(", "), varied, seeds.to_string(), description])
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    Ok(grid(&["sweep", "suite", "methods", "varied", "seeds", "description"], rows.into_iter()))
}

fn models_table() -> String {
    let builtin = builtin::models()
        .into_iter()
        .map(|model| vec![format!("builtin:{}", model.name), "compiled in".to_owned()]);
    let families = models::ModelConfig::families().collect::<Vec<_>>().join(", ");
    let folder = vec!["DIR".to_owned(), format!("a folder in Hugging Face layout: {families}")];
    grid(&["model", "what"], builtin.chain([folder]))
}

fn grid(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    compare::table::listing(header, rows, TerminalStyle::detect())
}
