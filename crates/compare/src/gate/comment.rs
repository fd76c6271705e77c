//! A check as a comment on a change.

use super::check::{Gate, Verdict};
use crate::table::markdown;

/// Markdown: the outcome, what failed, one row for each cell, and every comparison to unfold.
pub fn comment(gate: &Gate, notes: &[String]) -> String {
    let reasons = gate.reasons();
    let open = gate.checks.iter().filter(|check| matches!(check.verdict, Verdict::Open(_))).count();
    let title = match (reasons.len(), open) {
        (0, 0) => format!("passed, {} comparisons", gate.checks.len()),
        (0, open) => format!("{open} of {} comparisons could not be made", gate.checks.len()),
        (1, _) => "1 comparison failed".to_owned(),
        (failed, _) => format!("{failed} comparisons failed"),
    };
    let mut lines = vec![format!("### Check against the baseline: {title}"), String::new()];
    lines.extend(reasons.iter().map(|reason| format!("- ❌ {reason}")));
    if !reasons.is_empty() {
        lines.push(String::new());
    }
    lines.push(markdown(&gate.overview()));
    lines.extend(notes.iter().flat_map(|note| [note.clone(), String::new()]));
    lines.push("<details><summary>Every comparison</summary>\n".to_owned());
    lines.push(markdown(&gate.table()));
    lines.push("</details>".to_owned());
    lines.join("\n") + "\n"
}
