use indexmap::IndexMap;
use serde::Deserialize;
use tasks::TaskConfig;
use toml::{Table, Value};

use crate::{Error, Result};

/// Settings laid over task and method files: the content of a `--config` file, and part of a suite.
///
/// ```toml
/// [task]                        # every task
/// training.steps = 100
/// [tasks.math]                  # this task
/// training.steps = 300
/// [method]                      # every method
/// rank = 8
/// [methods.lora]                # this method
/// optimizer.lr = 1e-3
/// [methods.lora.on.math]        # this method on this task
/// optimizer.lr = 5e-3
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overlay {
    task: Table,
    tasks: IndexMap<String, Table>,
    method: Table,
    methods: IndexMap<String, Table>,
    #[serde(skip)]
    origin: String,
    #[serde(skip)]
    text: String,
}

/// A suite: tasks, and what it lays over them and over methods.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// Names of provided tasks, or files.
    pub tasks: Vec<String>,
    /// What it changes.
    #[serde(default)]
    pub settings: Overlay,
}

/// `key=value` from the command line: `task.training.steps=30`, `method.rank=8`, `methods.lora.rank=8`.
#[derive(Clone, Debug)]
pub struct Assignment {
    path: Vec<String>,
    value: Value,
}

impl Overlay {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Config`] with the line.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let mut overlay: Self = toml::from_str(text).map_err(|error| syntax(&error, text, origin))?;
        overlay.locate(text, origin);
        overlay.check_methods()?;
        Ok(overlay)
    }

    /// Overrides given on the command line.
    ///
    /// # Errors
    /// [`Error::Config`] for a path that does not begin with `task`, `tasks`, `method` or `methods`.
    pub fn from_assignments(assignments: &[Assignment]) -> Result<Self> {
        let flags = Self { origin: "--set".to_owned(), ..Self::default() };
        flags.of_same_file(assignments)
    }

    /// Overrides that stand in the file of this overlay.
    ///
    /// # Errors
    /// As [`Self::from_assignments`].
    pub fn of_same_file(&self, assignments: &[Assignment]) -> Result<Self> {
        let mut root = Value::Table(Table::new());
        for Assignment { path, value, .. } in assignments {
            merge(&mut root, nested(path, value.clone()));
            if !["task", "tasks", "method", "methods"].contains(&path[0].as_str()) || path.len() < 2 {
                let (key, is_flag) = (path.join("."), self.text.is_empty());
                let origin =
                    if is_flag { format!("{} {key}={value}", self.origin) } else { self.origin.clone() };
                let reason = format!("`{key}`: the key must begin with `task.` or `method.`");
                let hint = Some("for example `method.rank` or `task.training.steps`".to_owned());
                return Err(Error::Config { origin, line: self.line_of(&key), reason, hint });
            }
        }
        let overlay: Self = root.try_into().map_err(|error: toml::de::Error| Error::Config {
            origin: self.origin.clone(),
            line: None,
            reason: error.message().to_owned(),
            hint: None,
        })?;
        overlay.located(&self.text, &self.origin)
    }

    /// As part of the file `origin`, whose methods exist.
    pub(super) fn located(mut self, text: &str, origin: &str) -> Result<Self> {
        self.locate(text, origin);
        self.check_methods()?;
        Ok(self)
    }

    fn locate(&mut self, text: &str, origin: &str) {
        text.clone_into(&mut self.text);
        origin.clone_into(&mut self.origin);
    }

    /// A method that does not exist is a typing mistake.
    fn check_methods(&self) -> Result<()> {
        for name in self.methods.keys() {
            methods::find(name).map_err(|error| self.at(name, error.to_string(), error.hint()))?;
        }
        Ok(())
    }

    /// Lays this over a task.
    ///
    /// # Errors
    /// [`Error::Config`] for an entry that tasks do not have.
    pub fn over_task(&self, task: &TaskConfig) -> Result<TaskConfig> {
        let mut leaves = Vec::new();
        collect(&self.task, "", &mut leaves);
        if let Some(own) = self.tasks.get(&task.name) {
            collect(own, "", &mut leaves);
        }
        if leaves.is_empty() {
            return Ok(task.clone());
        }
        let overrides: Vec<(&str, &str)> = leaves.iter().map(|(p, v)| (p.as_str(), v.as_str())).collect();
        task.with(&overrides, &self.origin).map_err(|error| match error {
            tasks::Error::Config { reason, hint, .. } => self.at(&quoted(&reason), reason, hint),
            other => other.into(),
        })
    }

    /// Lays this over the settings of the method `name` on `task`.
    pub fn over_method(&self, settings: &mut Table, name: &str, task: &str) {
        let mut all = Value::Table(std::mem::take(settings));
        merge(&mut all, Value::Table(self.method.clone()));
        if let Some(own) = self.methods.get(name) {
            let mut own = own.clone();
            let on = own.remove("on");
            merge(&mut all, Value::Table(own));
            if let Some(Value::Table(mut on)) = on
                && let Some(here) = on.remove(task)
            {
                merge(&mut all, here);
            }
        }
        if let Value::Table(table) = all {
            *settings = table;
        }
    }

    /// If `error` speaks of an entry that stands in this overlay, says where.
    pub fn locate_error(&self, error: peft_core::Error) -> Error {
        let mentioned = match &error {
            peft_core::Error::Unknown { name, .. } => name.clone(),
            peft_core::Error::Config { field, .. } => field.clone(),
            _ => quoted(&error.to_string()),
        };
        match self.line_of(&mentioned) {
            Some(_) => self.at(&mentioned, error.to_string(), error.hint()),
            None => error.into(),
        }
    }

    /// Whether `key` is set somewhere in here.
    pub fn mentions(&self, key: &str) -> bool {
        self.line_of(key).is_some()
    }

    /// An error about the entry `key` of this overlay.
    pub fn at(&self, key: &str, reason: String, hint: Option<String>) -> Error {
        Error::Config { origin: self.origin.clone(), line: self.line_of(key), reason, hint }
    }

    /// The 1-based line of the first key called `key`.
    fn line_of(&self, key: &str) -> Option<usize> {
        let last = key.rsplit('.').next().unwrap_or(key);
        let is_key = |line: &str| {
            let head = line.split(['=', '#']).next().unwrap_or_default();
            head.split(['.', '[', ']', ' ', '\t', '{', ',', '"', '\''])
                .any(|part| !part.is_empty() && part == last)
        };
        self.text.lines().position(is_key).map(|index| index + 1)
    }
}

impl Suite {
    /// Reads a suite.
    ///
    /// # Errors
    /// [`Error::Config`] with the line.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let mut suite: Self = toml::from_str(text).map_err(|error| syntax(&error, text, origin))?;
        suite.settings = suite.settings.located(text, origin)?;
        Ok(suite)
    }
}

impl Assignment {
    /// Parses `key=value`; a value that is no TOML is a string.
    ///
    /// # Errors
    /// [`Error::Config`] without `=`.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((path, value)) = text.split_once('=') else {
            return Err(Error::Config {
                origin: format!("--set {text}"),
                line: None,
                reason: "expected `key=value`".to_owned(),
                hint: None,
            });
        };
        let parsed = format!("v = {}", value.trim()).parse().ok().and_then(|mut t: Table| t.remove("v"));
        Ok(Self {
            value: parsed.unwrap_or_else(|| Value::String(value.trim().to_owned())),
            path: path.trim().split('.').map(str::to_owned).collect(),
        })
    }

    /// `path`, such as `method.rank`, set to `value`.
    pub fn new(path: &str, value: Value) -> Self {
        Self { path: path.trim().split('.').map(str::to_owned).collect(), value }
    }
}

/// Lays `over` over `under`, table by table.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Table(under), Value::Table(over)) => {
            for (key, value) in over {
                match under.get_mut(&key) {
                    Some(present) => merge(present, value),
                    None => {
                        under.insert(key, value);
                    }
                }
            }
        }
        (under, over) => *under = over,
    }
}

fn nested(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |inner, key| Value::Table(Table::from_iter([(key.clone(), inner)])))
}

/// Dotted paths and values, as TOML text, of everything that is not a table.
fn collect(table: &Table, prefix: &str, leaves: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => collect(inner, &path, leaves),
            other => leaves.push((path, other.to_string())),
        }
    }
}

/// The first name in backticks.
fn quoted(message: &str) -> String {
    message.split('`').nth(1).unwrap_or_default().to_owned()
}

pub(super) fn syntax(error: &toml::de::Error, text: &str, origin: &str) -> Error {
    let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
    let message = error.message();
    let hint = message.strip_prefix("unknown field `").and_then(|rest| {
        let (name, expected) = rest.split_once('`')?;
        let known: Vec<String> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Some(peft_core::near::suggestion(name, &known))
    });
    Error::Config { origin: origin.to_owned(), line, reason: message.to_owned(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(texts: &[&str]) -> Result<Overlay> {
        let parsed = texts.iter().map(|t| Assignment::parse(t)).collect::<Result<Vec<_>>>()?;
        Overlay::from_assignments(&parsed)
    }

    #[test]
    fn the_most_specific_wins() {
        let text = "[method]\nrank = 8\n[methods.lora]\noptimizer.lr = 1e-3\n[methods.lora.on.math]\noptimizer.lr = 5e-3\n";
        let overlay = Overlay::parse(text, "file").unwrap();
        let of = |method: &str, task: &str| {
            let mut settings: Table = "rank = 16\noptimizer.lr = 1.0\noptimizer.eps = 2.0".parse().unwrap();
            overlay.over_method(&mut settings, method, task);
            (
                settings["rank"].clone(),
                settings["optimizer"]["lr"].clone(),
                settings["optimizer"]["eps"].clone(),
            )
        };
        let values = |lr: f64| (Value::Integer(8), Value::Float(lr), Value::Float(2.0));
        assert_eq!(of("lora", "math"), values(5e-3));
        assert_eq!(of("lora", "nlu"), values(1e-3));
        assert_eq!(of("lori-d", "math"), values(1.0));
    }

    #[test]
    fn mistakes_are_located() {
        let error = Overlay::parse("[task]\n\n[tsks]\n", "my.toml").unwrap_err();
        assert_eq!(error.to_string().split(':').next().unwrap(), "my.toml line 3");
        assert!(error.hint().unwrap().contains("`tasks`"));
        let error = Overlay::parse("\n[methods.lroa]\nrank = 3\n", "my.toml").unwrap_err();
        assert!(error.to_string().starts_with("my.toml line 2: unknown method"), "{error}");
        let overlay = Overlay::parse("[task]\ntraining.stps = 3\n", "my.toml").unwrap();
        let error = overlay.over_task(&tasks::provided("math").unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("my.toml line 2:"), "{error}");
    }

    #[test]
    fn assignments() {
        let overlay =
            assigned(&["method.rank=4", "task.training.steps=7", "task.training.select=last"]).unwrap();
        let task = overlay.over_task(&tasks::provided("math").unwrap()).unwrap();
        assert_eq!(task.training.steps, Some(7));
        assert!(assigned(&["rank=4"]).unwrap_err().hint().unwrap().contains("method.rank"));
        assert!(assigned(&["method.rank"]).is_err());
        assert!(
            assigned(&["task.training.steps.x=1"])
                .unwrap()
                .over_task(&tasks::provided("math").unwrap())
                .is_err()
        );
    }
}
