//! One setting, varied.

use compare::Run;

use crate::cli::RunArgs;
use crate::config::{AblationPlan, resolve};
use crate::progress::Display;
use crate::queue::Queue;
use crate::{Result, interrupt};

/// Runs everything once for each value of the setting. Returns the runs by value, and a sentence for each cell that failed.
///
/// # Errors
/// For a setting that does not exist; if a record cannot be written.
pub fn ablate(
    args: &RunArgs,
    plan: &AblationPlan,
    display: Display,
) -> Result<(Vec<(String, Vec<Run>)>, Vec<String>)> {
    let (mut all, mut failures) = (Vec::new(), Vec::new());
    let arguments = plan.values.iter().map(|value| {
        let mut args = args.clone();
        args.set.push(format!("{}={value}", plan.setting));
        (value.to_string(), args)
    });
    let arguments: Vec<(String, RunArgs)> = arguments.collect();
    // Misspelt settings show before anything runs.
    let experiments = arguments.iter().map(|(_, args)| resolve(args)).collect::<Result<Vec<_>>>()?;
    for ((value, args), experiments) in arguments.iter().zip(&experiments) {
        display.say(&format!("{} = {value}", plan.setting));
        let mut queue = Queue::new(args, display)?;
        queue.run(experiments)?;
        all.push((value.clone(), queue.runs()));
        failures.extend(queue.failures().iter().map(|failure| format!("{value}: {failure}")));
        if interrupt::asked() {
            break;
        }
    }
    Ok((all, failures))
}
