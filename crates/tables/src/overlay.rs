//! Settings in the words of suites and of `--set`, and what of them applies to one run.

use indexmap::{IndexMap, IndexSet};
use serde::Deserialize;
use toml::{Table, Value};

/// Settings as a suite writes them: of every task, of one task, of every method, of one method, of one method on one task.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overlay {
    /// Laid over every task.
    pub task: Table,
    /// Laid over one task.
    pub tasks: IndexMap<String, Table>,
    /// Laid over every method.
    pub method: Table,
    /// Laid over one method; a table `on` in it is laid over the method on one task.
    pub methods: IndexMap<String, Table>,
}

/// Settings of one run, as tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resolved {
    pub(crate) task: Table,
    pub(crate) method: Table,
}

impl Resolved {
    /// What `overlays`, weakest first, say about `method` on `task`.
    pub(crate) fn new<'a>(overlays: impl IntoIterator<Item = &'a Overlay>, method: &str, task: &str) -> Self {
        let mut resolved = Self::default();
        for overlay in overlays {
            lay_over(&mut resolved.task, &overlay.task);
            if let Some(own) = overlay.tasks.get(task) {
                lay_over(&mut resolved.task, own);
            }
            lay_over(&mut resolved.method, &overlay.method);
            if let Some(own) = overlay.methods.get(method) {
                let mut own = own.clone();
                let on = own.remove("on");
                lay_over(&mut resolved.method, &own);
                if let Some(Value::Table(on)) = on
                    && let Some(Value::Table(here)) = on.get(task)
                {
                    lay_over(&mut resolved.method, here);
                }
            }
        }
        resolved
    }

    /// As values of `--set` for `method`.
    pub(crate) fn assignments(&self, method: &str) -> Vec<String> {
        let leaves = leaves(&self.task, "task").into_iter();
        let leaves = leaves.chain(leaves_of(&self.method, method));
        leaves.map(|(path, value)| format!("{path}={value}")).collect()
    }
}

fn leaves_of(settings: &Table, method: &str) -> Vec<(String, Value)> {
    leaves(settings, &format!("methods.{method}"))
}

/// What `overlays` say by name of other methods than `method`, as values of `--set`: its run may need a run of theirs, whose
/// settings are not the row's.
pub(crate) fn of_others(overlays: &[&Overlay], method: &str, task: &str) -> Vec<String> {
    let named: IndexSet<&String> = overlays.iter().flat_map(|overlay| overlay.methods.keys()).collect();
    let others = named.into_iter().filter(|name| *name != method);
    let said = others.flat_map(|other| {
        let by_name =
            overlays.iter().map(|overlay| Overlay { methods: overlay.methods.clone(), ..Overlay::default() });
        let resolved = Resolved::new(&by_name.collect::<Vec<_>>(), other, task);
        leaves_of(&resolved.method, other)
    });
    said.map(|(path, value)| format!("{path}={value}")).collect()
}

/// Lays `over` over `under`, table by table.
fn lay_over(under: &mut Table, over: &Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Table(present)), Value::Table(value)) => lay_over(present, value),
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Dotted paths and values of everything that is not a table.
pub(crate) fn leaves(table: &Table, prefix: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => found.extend(leaves(inner, &path)),
            other => found.push((path, other.clone())),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_and_the_last_win() {
        let pack: Overlay = toml::from_str(
            "task.training.epochs = 3\ntasks.boolq.training.epochs = 4\nmethod.alpha = 64\nmethod.optimizer.lr = 1e-4\n\
             [methods.dora]\nrank = 16\n[methods.dora.on.boolq]\nrank = 32\n",
        )
        .unwrap();
        let row: Overlay = toml::from_str("method.optimizer.lr = 2e-4").unwrap();
        let of = |method, task| Resolved::new([&pack, &row], method, task).assignments(method);
        assert_eq!(
            of("dora", "boolq"),
            [
                "task.training.epochs=4",
                "methods.dora.alpha=64",
                "methods.dora.optimizer.lr=0.0002",
                "methods.dora.rank=32"
            ]
        );
        assert_eq!(
            of("lora", "piqa"),
            ["task.training.epochs=3", "methods.lora.alpha=64", "methods.lora.optimizer.lr=0.0002"]
        );
        // The row's settings are those of its own method.
        assert_eq!(of_others(&[&pack, &row], "lora", "boolq"), ["methods.dora.rank=32"]);
    }
}
