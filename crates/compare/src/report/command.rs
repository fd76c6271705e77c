//! How to make a run again: its configuration as a file, and the command line that reads it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::entry::Entry;
use crate::record::RunRecord;

/// The configuration as a `--config` file: `[task]`, and `[methods.…]` for the run and those it needs. `None` for runs that
/// were not made by this project's loop.
pub(super) fn config(record: &RunRecord, needed: &[&RunRecord]) -> Option<String> {
    let mut root = toml::Table::new();
    root.insert("task".into(), to_toml(record.config.get("task")?)?);
    let mut methods = toml::Table::new();
    for record in needed.iter().chain([&record]) {
        // The unadapted model has no method.
        if let Some(method) = record.config.get("method") {
            methods.insert(method.get("name")?.as_str()?.to_owned(), to_toml(method.get("settings")?)?);
        }
    }
    if !methods.is_empty() {
        root.insert("methods".into(), toml::Value::Table(methods));
    }
    toml::to_string(&root).ok()
}

/// How a shell repeats the runs of an entry.
#[derive(Debug, Serialize)]
pub(super) struct Shell {
    /// Lines that write the configuration to a file.
    file: String,
    /// The command line, once for each stretch of seeds.
    command: String,
}

/// The way to repeat the runs of an entry; `None` for the unadapted model, which is scored beside any run, and for runs of
/// others.
pub(super) fn shell(entry: &Entry<'_>, config: &str) -> Option<Shell> {
    let record = entry.record();
    let name = |part: &str| record.config.get(part)?.get("name")?.as_str();
    let (task, method) = (name("task")?, name("method")?);
    let file = format!("{method}-{task}.toml");
    let mut words = vec!["cargo harness --method".to_owned(), quoted(method)];
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), quoted(value)]);
    if let Some(suite) = &record.suite {
        option("--suite", suite);
    }
    option("--task", task);
    if record.config["task"]["data"].get("files").is_some() {
        let repos: Option<BTreeSet<&String>> = record.files.iter().map(|file| file.repo.as_ref()).collect();
        match repos.unwrap_or_default().iter().collect::<Vec<_>>()[..] {
            // A placeholder: folders differ from machine to machine.
            [] => option("--data", "DIR"),
            [repo] => option("--data", &format!("hf:{repo}")),
            // One for each of several tasks, whose files say which.
            _ => {}
        }
    }
    option("--config", &file);
    let environment = &record.environment;
    if let Some(device) = environment.device.as_deref().and_then(device) {
        option("--device", &device);
    }
    if let Some(threads) = environment.threads {
        option("--threads", &threads.to_string());
    }
    let command = |words: &[String], seed: u64, seeds: u64| {
        let seeds = if seeds > 1 { format!(" --seeds {seeds}") } else { String::new() };
        format!("{} --seed {seed}{seeds}", words.join(" "))
    };
    let stretches = consecutive(&entry.seeds()).into_iter();
    let commands: Vec<String> = stretches.map(|(first, count)| command(&words, first, count)).collect();
    Some(Shell {
        file: format!("cat > {} <<'END_OF_CONFIG'\n{config}END_OF_CONFIG", quoted(&file)),
        command: commands.join("\n"),
    })
}

/// Stretches of seeds that follow each other: the first and how many.
fn consecutive(seeds: &[u64]) -> Vec<(u64, u64)> {
    let mut stretches: Vec<(u64, u64)> = Vec::new();
    for &seed in seeds {
        match stretches.last_mut() {
            Some((first, count)) if *first + *count == seed => *count += 1,
            _ => stretches.push((seed, 1)),
        }
    }
    stretches
}

/// `Cpu` and `Cuda(0)` as the command line has them.
fn device(recorded: &str) -> Option<String> {
    match recorded.to_ascii_lowercase().as_str() {
        "cpu" => Some("cpu".into()),
        other => Some(format!("cuda:{}", other.strip_prefix("cuda(")?.strip_suffix(')')?)),
    }
}

/// The word as a shell takes it for one.
pub fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-:/@".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// What TOML has no word for, null, is left out.
fn to_toml(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => toml::Value::Boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => toml::Value::Integer(integer),
            None => toml::Value::Float(number.as_f64()?),
        },
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Array(values) => toml::Value::Array(values.iter().filter_map(to_toml).collect()),
        Value::Object(object) => toml::Value::Table(
            object.iter().filter_map(|(key, value)| Some((key.clone(), to_toml(value)?))).collect(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_safe_in_a_shell() {
        assert_eq!(
            ["lori-d", "a b", "it's", "$(x)", ""].map(quoted),
            ["lori-d", "'a b'", r"'it'\''s'", "'$(x)'", "''"]
        );
    }

    #[test]
    fn seeds_in_stretches() {
        assert_eq!(consecutive(&[0, 1, 2, 7]), [(0, 3), (7, 1)]);
        assert_eq!(consecutive(&[u64::MAX]), [(u64::MAX, 1)]);
    }

    #[test]
    fn devices_as_on_the_command_line() {
        assert_eq!(
            ["Cpu", "Cuda(1)", "cpu", "Example GPU"].map(|d| device(d).unwrap_or_default()),
            ["cpu", "cuda:1", "cpu", ""]
        );
    }
}
