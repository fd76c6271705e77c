//! `show`: the effective configuration.

use super::print;
use crate::Result;
use crate::cli::RunArgs;
use crate::config::resolve;

pub(super) fn execute(args: &RunArgs) -> Result<()> {
    for experiment in resolve(args)? {
        let (task, method) = (&experiment.task.name, experiment.method.info.name);
        print(&format!("# {method} on {task}\n{}", experiment.to_toml()));
    }
    Ok(())
}
