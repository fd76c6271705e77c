//! The shards of a sweep as a job array, or side by side on one machine.

use clap::ValueEnum;
use compare::report::quoted;

/// What starts the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Emit {
    /// A script for `sbatch`: a job array, a shard for each job.
    Slurm,
    /// A line for GNU parallel: a process for each shard.
    Parallel,
}

/// The text that runs `command` (`sweep FILE --out DIR …`) in `shards` parts.
pub fn emit(how: Emit, name: &str, command: &[String], shards: usize) -> String {
    let command = command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let threads = |threads: &str| {
        if command.contains("--threads") { String::new() } else { format!(" --threads {threads}") }
    };
    match how {
        Emit::Slurm => {
            let job = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
            let threads = threads("\"$SLURM_CPUS_PER_TASK\"");
            format!(
                "#!/bin/bash
#SBATCH --job-name={job}
#SBATCH --array=1-{shards}
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
# Two minutes before its time is over a job writes a checkpoint and ends; submitted again, the array goes on.
# When all jobs are done, this makes one table of all cells: harness {command}
exec harness {command}{threads} --shard \"$SLURM_ARRAY_TASK_ID/{shards}\""
            )
        }
        Emit::Parallel => {
            let numbers = (1..=shards).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
            let threads = threads("1");
            format!("parallel --jobs {shards} harness {command}{threads} --shard {{}}/{shards} ::: {numbers}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_safe_and_threads_are_those_asked_for() {
        let words = ["sweep", "my sweep.toml", "--threads", "2"].map(str::to_owned);
        let line = emit(Emit::Parallel, "x", &words, 2);
        assert_eq!(line, "parallel --jobs 2 harness sweep 'my sweep.toml' --threads 2 --shard {}/2 ::: 1 2");
        let script = emit(Emit::Slurm, "x y", &["sweep".to_owned()], 3);
        assert!(script.contains("--job-name=x-y\n#SBATCH --array=1-3\n"), "{script}");
    }
}
