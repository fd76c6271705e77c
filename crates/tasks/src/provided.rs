//! The files that come with the program.

use crate::error::suggest;
use crate::{Error, Result, TaskConfig};

/// Task files by name, in the order of listings.
pub const PROVIDED: &[(&str, &str)] = &[
    ("nlu", include_str!("../../../configs/tasks/nlu.toml")),
    ("math", include_str!("../../../configs/tasks/math.toml")),
    ("code", include_str!("../../../configs/tasks/code.toml")),
    ("safety", include_str!("../../../configs/tasks/safety.toml")),
    ("gsm8k", include_str!("../../../configs/tasks/gsm8k.toml")),
    ("gsm8k-lori", include_str!("../../../configs/tasks/gsm8k-lori.toml")),
    ("viggo", include_str!("../../../configs/tasks/viggo.toml")),
];

/// The built-in suite.
pub const SUITE_MINI: &str = include_str!("../../../configs/suites/mini.toml");

/// How the built-in model is made.
pub const PRETRAIN_MINI: &str = include_str!("../../../configs/pretrain/mini.toml");

/// A task file that comes with the program.
///
/// # Errors
/// [`Error::Config`] with the nearest name when there is none of this name.
pub fn provided(name: &str) -> Result<TaskConfig> {
    let Some((_, text)) = PROVIDED.iter().find(|(known, _)| *known == name) else {
        return Err(Error::Config {
            origin: "configs/tasks".to_owned(),
            line: None,
            reason: format!("no task is called `{name}`"),
            hint: suggest(name, PROVIDED.iter().map(|(known, _)| *known)),
        });
    };
    TaskConfig::parse(text, &format!("configs/tasks/{name}.toml"))
}
