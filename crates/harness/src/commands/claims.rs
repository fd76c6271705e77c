//! `claims`: the central claim of each paper, checked here.

use std::time::Instant;

use compare::table::{TerminalStyle, duration, listing};
use serde_json::{Value, json};

use super::{print, use_threads};
use crate::claims::{Bench, CLAIMS, Claim, Finding, Plan, find};
use crate::cli::ClaimsArgs;
use crate::progress::Display;
use crate::queue::check_writable;
use crate::{Error, Result, interrupt};

pub(super) fn execute(args: &ClaimsArgs) -> Result<()> {
    use_threads(args.threads);
    let chosen: Vec<&Claim> = if args.only.is_empty() {
        CLAIMS.iter().filter(|claim| !args.fast || !claim.trains).collect()
    } else {
        args.only.iter().map(|name| find(name)).collect::<Result<_>>()?
    };
    check_writable(&args.out)?;
    let plan = Plan { seeds: args.seeds, steps: args.steps, out: args.out.clone() };
    let (display, base) = (Display::choose(args.quiet), plan.base_args());
    let mut bench = Bench::new(&plan, &base, display);
    let (mut found, mut failures): (Vec<Checked<'_>>, Vec<String>) = (Vec::new(), Vec::new());
    for (index, claim) in chosen.iter().enumerate() {
        if interrupt::asked() {
            return Err(Error::Interrupted);
        }
        display.say(&format!("claim {} of {}: {}", index + 1, chosen.len(), claim.name));
        let started = Instant::now();
        match (claim.check)(&mut bench) {
            Ok(finding) => {
                display.say(&format!("{}: {} · {}", claim.name, finding.verdict.label(), finding.ours));
                found.push(Checked { claim, finding, seconds: started.elapsed().as_secs_f64() });
                write(args, &found)?;
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                display.say(&format!("{}: {error}", claim.name));
                failures.push(format!("{}: {error}", claim.name));
            }
        }
    }
    if args.json {
        print(&text(&found));
    } else {
        print(&table(&found));
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "{} claims could not be checked:\n  {}",
        failures.len(),
        failures.join("\n  ")
    )))
}

struct Checked<'a> {
    claim: &'a Claim,
    finding: Finding,
    seconds: f64,
}

/// After every claim: what is measured is kept, whatever becomes of the next.
fn write(args: &ClaimsArgs, found: &[Checked<'_>]) -> Result<()> {
    Ok(compare::write_whole(&args.out.join("claims.json"), (text(found) + "\n").as_bytes())?)
}

fn text(found: &[Checked<'_>]) -> String {
    let rows: Vec<Value> = found
        .iter()
        .map(|Checked { claim, finding, seconds }| json!({ "claim": claim, "finding": finding, "seconds": seconds }))
        .collect();
    serde_json::to_string_pretty(&rows).expect("it prints")
}

/// Of the table where nothing says how wide it may be.
const WIDTH: u16 = 160;

fn table(found: &[Checked<'_>]) -> String {
    let header = ["claim", "says", "paper's figure", "ours [95 %]", "verdict", "time"];
    let rows = found.iter().map(|Checked { claim, finding, seconds }| {
        vec![
            claim.name.to_owned(),
            format!("{} (arXiv {})", claim.sentence, claim.arxiv),
            claim.paper.to_owned(),
            finding.ours.clone(),
            finding.verdict.label().to_owned(),
            duration(*seconds),
        ]
    });
    let how = found.iter().map(|Checked { claim, finding, .. }| format!("{}: {}", claim.name, finding.how));
    let how: Vec<String> = how.collect();
    let style = TerminalStyle::detect();
    // Sentences would make lines without end where there is no terminal.
    let style = TerminalStyle { width: style.width.or(Some(WIDTH)), ..style };
    format!("{}\n\n{}", listing(&header, rows, style), how.join("\n"))
}
