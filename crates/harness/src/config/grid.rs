use indexmap::IndexMap;
use toml::Value;

use super::{Assignment, Overlay};
use crate::Result;

/// Settings varied, each over its values: the axes of a grid.
///
/// ```toml
/// [grid]
/// "method.rank" = [4, 16]
/// "methods.lora.optimizer.lr" = [1e-3, 4e-3]
/// ```
#[derive(Clone, Debug)]
pub struct Grid {
    axes: IndexMap<String, Vec<Value>>,
    /// Of the file in which the axes stand.
    file: Overlay,
}

/// A value for each axis.
#[derive(Clone, Debug)]
pub struct Point {
    /// The values, in the order of the axes.
    pub values: Vec<Value>,
    /// Them as settings.
    pub settings: Overlay,
}

impl Grid {
    /// Axes that stand in the file of the overlay `file`. Without any there is one point.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a key that is no setting, and for an axis that is empty or says a value twice.
    pub fn new(axes: IndexMap<String, Vec<Value>>, file: &Overlay) -> Result<Self> {
        for (key, values) in &axes {
            let repeated = values.iter().enumerate().find(|(index, value)| values[..*index].contains(value));
            let reason = match (values.is_empty(), repeated) {
                (true, _) => "needs a value at least".to_owned(),
                (false, Some((_, value))) => format!("has the value {value} twice"),
                (false, None) => continue,
            };
            return Err(file.at(key, format!("`{key}` {reason}"), None));
        }
        let grid = Self { axes, file: file.clone() };
        grid.points()?;
        Ok(grid)
    }

    /// Names of the axes.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.axes.keys().map(String::as_str)
    }

    /// The axes.
    pub fn axes(&self) -> &IndexMap<String, Vec<Value>> {
        &self.axes
    }

    /// Every combination of values; the last axis moves fastest.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a key that is no setting.
    pub fn points(&self) -> Result<Vec<Point>> {
        let mut combinations = vec![Vec::new()];
        for values in self.axes.values() {
            let longer = |start: &Vec<Value>| {
                values
                    .iter()
                    .map(|value| [&start[..], std::slice::from_ref(value)].concat())
                    .collect::<Vec<_>>()
            };
            combinations = combinations.iter().flat_map(longer).collect();
        }
        let point = |values: Vec<Value>| {
            let assigned = self.axes.keys().zip(&values);
            let assignments: Vec<_> =
                assigned.map(|(key, value)| Assignment::new(key, value.clone())).collect();
            Ok(Point { settings: self.file.of_same_file(&assignments)?, values })
        };
        combinations.into_iter().map(point).collect()
    }

    /// How far apart in [`Self::points`] two points are that differ by a step along the axis at `position`.
    pub fn stride(&self, position: usize) -> usize {
        self.axes.values().skip(position + 1).map(Vec::len).product()
    }

    /// An error about the axis `key`.
    pub fn at(&self, key: &str, reason: String, hint: &str) -> crate::Error {
        self.file.at(key, reason, Some(hint.to_owned()))
    }
}
