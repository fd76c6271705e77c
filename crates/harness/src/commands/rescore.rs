//! `rescore`: stored answers by the present rules.

use compare::MetricValue;
use compare::table::{TerminalStyle, listing};

use super::print;
use crate::cli::RescoreArgs;
use crate::rescore::{Outcomes, Rescorer, paths};
use crate::{Error, Result};

const HEADER: [&str; 7] = ["task", "method", "seed", "metric", "was", "is", "items changed"];

pub(super) fn execute(args: &RescoreArgs) -> Result<()> {
    let mut rescorer = Rescorer::new(args.task.as_deref(), &args.tasks)?;
    let (mut rows, mut changed, mut same, mut others, mut refused) = (Vec::new(), 0, 0, 0, Vec::new());
    for path in paths(&args.records)? {
        match rescorer.score(&path) {
            Ok(Outcomes::Same) => same += 1,
            Ok(Outcomes::OfAnotherTask) => others += 1,
            Ok(Outcomes::Changed(change)) => {
                changed += 1;
                let record = &change.new.record;
                let items = format!("{} of {}", change.items(), change.new.outcomes().map_or(0, <[_]>::len));
                rows.extend(change.metrics().into_iter().map(|(was, is)| {
                    let name = was.or(is).map(|metric| metric.name.clone()).unwrap_or_default();
                    let (task, method) = (record.task.clone(), record.method.clone());
                    vec![task, method, record.seed.to_string(), name, shown(was), shown(is), items.clone()]
                }));
            }
            Err(error) => {
                let hint = error.hint().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
                refused.push(format!("{}: {error}{hint}", path.display()));
            }
        }
    }
    if !rows.is_empty() {
        print(&listing(&HEADER, rows, TerminalStyle::detect()));
    }
    let plural = |count: usize| if count == 1 { "record" } else { "records" };
    if let (0, 0, Some(task)) = (changed + same, refused.len(), &args.task) {
        return Err(Error::Failed(format!("no record is of task `{task}`; {others} are of others")));
    }
    let left = if others > 0 { format!("; {others} of other tasks were left alone") } else { String::new() };
    print(&format!(
        "{changed} {} scored anew, the next revision beside each; {same} as they were{left}.",
        plural(changed)
    ));
    match refused.len() {
        0 => Ok(()),
        count => Err(Error::Failed(format!(
            "{count} {} cannot be scored again:\n  {}",
            plural(count),
            refused.join("\n  ")
        ))),
    }
}

/// `0.7480 (version 2)`.
fn shown(metric: Option<&MetricValue>) -> String {
    metric
        .map_or_else(|| "–".to_owned(), |metric| format!("{:.4} (version {})", metric.value, metric.version))
}
