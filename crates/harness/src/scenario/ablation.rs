//! One setting, varied.

use compare::Run;

use crate::cli::RunArgs;
use crate::config::{AblationPlan, resolve};
use crate::progress::Display;
use crate::queue::Queue;
use crate::{Result, interrupt};

/// What came of a setting varied.
#[derive(Debug, Default)]
pub struct Varied {
    /// The runs by value.
    pub by_value: Vec<(String, Vec<Run>)>,
    /// A sentence for each cell that failed.
    pub failures: Vec<String>,
}

/// Runs everything once for each value of the setting.
///
/// # Errors
/// For a setting that does not exist; if a record cannot be written.
pub fn ablate(args: &RunArgs, plan: &AblationPlan, display: Display) -> Result<Varied> {
    let mut varied = Varied::default();
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
        varied.by_value.push((value.clone(), queue.runs()));
        varied.failures.extend(queue.failures().iter().map(|failure| format!("{value}: {failure}")));
        if interrupt::asked() {
            break;
        }
    }
    Ok(varied)
}
