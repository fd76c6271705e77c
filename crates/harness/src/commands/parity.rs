//! `parity`: golden cases.

use super::print;
use crate::cli::ParityArgs;
use crate::parity::{Check, Verdict, find, run};
use crate::{Error, Result, interrupt};

pub(super) fn execute(args: &ParityArgs) -> Result<()> {
    let folders = find(&args.cases)?;
    if args.save_adapter.is_some() && folders.len() != 1 {
        return Err(Error::Usage(format!("--save-adapter is for one case, not for {}", folders.len())));
    }
    let mut verdicts = Vec::new();
    for folder in &folders {
        if interrupt::asked() {
            return Err(Error::Interrupted);
        }
        let verdict = run(folder, args.save_adapter.as_deref());
        if !args.json {
            print(&lines(&verdict));
        }
        verdicts.push(verdict);
    }
    if args.json {
        print(&serde_json::to_string_pretty(&verdicts).expect("verdicts print"));
    }
    let failed: Vec<&str> = verdicts.iter().filter(|v| !v.pass).map(|v| v.case.as_str()).collect();
    if !args.json {
        print(&format!("{} of {} cases pass", verdicts.len() - failed.len(), verdicts.len()));
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::Failed(format!("failed: {}", failed.join(", ")))) }
}

fn lines(verdict: &Verdict) -> String {
    let mut lines = vec![format!(
        "{} {} ({}{})",
        if verdict.pass { "pass" } else { "FAIL" },
        verdict.case,
        verdict.kind,
        if verdict.method.is_empty() || verdict.method == "none" {
            String::new()
        } else {
            format!(", {}", verdict.method)
        },
    )];
    lines.extend(verdict.checks.iter().map(line));
    lines.extend(verdict.error.iter().map(|error| format!("  FAIL {error}")));
    lines.join("\n")
}

fn line(check: &Check) -> String {
    let Check { quantity, max_abs, max_rel, atol, rtol, pass, note } = check;
    let verdict = if *pass { "  ok  " } else { "  FAIL" };
    match note {
        Some(note) => format!("{verdict} {quantity:<72} {note}"),
        None => format!(
            "{verdict} {quantity:<72} abs {max_abs:9.2e}  rel {max_rel:9.2e}  allowed {atol:.0e} + {rtol:.0e}·max"
        ),
    }
}
