//! `gate`: new records against a baseline.

use std::path::Path;

use compare::gate::{Bounds, gate};
use compare::stats::Settings;
use compare::table::{TerminalStyle, terminal};

use super::print;
use crate::cli::GateArgs;
use crate::{Error, Result};

pub(super) fn execute(args: &GateArgs) -> Result<()> {
    let newest = |path: &Path| Ok::<_, Error>(compare::latest(compare::collect(path)?).runs);
    let (baseline, new) = (newest(&args.baseline)?, newest(&args.new)?);
    let settings = Settings { confidence: args.confidence, ..Settings::default() };
    let gate = gate(&baseline, &new, &Bounds { settings, slowdown: Some(args.max_slowdown) })?;
    print(terminal(&gate.table(), TerminalStyle::detect()).trim_end());
    let failures = gate.reasons();
    if failures.is_empty() {
        print(&format!("The gate is passed: {} checks.", gate.checks.len()));
        return Ok(());
    }
    Err(Error::Failed(format!("the gate is not passed:\n  {}", failures.join("\n  "))))
}
