use indexmap::IndexMap;
use serde::Deserialize;
use toml::Value;

use super::overlay::syntax;
use super::provided::sweep_file;
use super::{Grid, Overlay};
use crate::Result;

/// Methods × tasks × seeds × settings, in one file of `configs/sweeps` or of the user's.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Its name.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// Suite of its tasks.
    pub suite: String,
    /// Only these tasks of it; all where empty.
    pub tasks: Vec<String>,
    /// Methods, as `--method` names them.
    pub methods: Vec<String>,
    /// Number of seeds.
    pub seeds: u64,
    /// What it lays over the suite, at every point of the grid.
    pub settings: Overlay,
    /// What is varied.
    pub grid: Grid,
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    description: String,
    #[serde(default = "mini")]
    suite: String,
    #[serde(default)]
    tasks: Vec<String>,
    methods: Vec<String>,
    #[serde(default = "one")]
    seeds: u64,
    #[serde(default)]
    settings: Overlay,
    #[serde(default)]
    grid: IndexMap<String, Vec<Value>>,
}

fn mini() -> String {
    "mini".to_owned()
}

fn one() -> u64 {
    1
}

impl Sweep {
    /// A provided sweep by name, or a file.
    ///
    /// # Errors
    /// For an unknown name, or a file that does not parse.
    pub fn read(name: &str) -> Result<Self> {
        if std::path::Path::new(name).extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(name).map_err(|source| peft_core::Error::io(name, source))?;
            return Self::parse(&text, name);
        }
        Self::parse(sweep_file(name)?, &format!("configs/sweeps/{name}.toml"))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`crate::Error::Config`] with the line.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| syntax(&error, text, origin))?;
        let File { name, description, suite, tasks, methods, seeds, settings, grid } = file;
        let settings = settings.located(text, origin)?;
        if seeds == 0 {
            return Err(settings.at("seeds", "`seeds` must be 1 at least".to_owned(), None));
        }
        let grid = Grid::new(grid, &settings)?;
        Ok(Self { name, description, suite, tasks, methods, seeds, settings, grid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = 'x'\ndescription = ''\nmethods = ['lora']\n";

    fn refused(rest: &str) -> String {
        let error = Sweep::parse(&format!("{HEAD}{rest}"), "x.toml").unwrap_err();
        format!("{error} {}", error.hint().unwrap_or_default())
    }

    #[test]
    fn every_combination_once() {
        let sweep = Sweep::parse(
            &format!("{HEAD}[grid]\n'method.rank' = [4, 8]\n'task.training.steps' = [1, 2, 3]"),
            "x.toml",
        )
        .unwrap();
        let points = sweep.grid.points().unwrap();
        let values: Vec<Vec<i64>> = points
            .iter()
            .map(|point| point.values.iter().map(|value| value.as_integer().unwrap()).collect())
            .collect();
        assert_eq!(values, [[4, 1], [4, 2], [4, 3], [8, 1], [8, 2], [8, 3]]);
        assert_eq!([sweep.grid.stride(0), sweep.grid.stride(1)], [3, 1]);
        assert_eq!(Sweep::parse(HEAD, "x.toml").unwrap().grid.points().unwrap().len(), 1);
    }

    #[test]
    fn mistakes_are_located() {
        assert!(
            refused("[gird]\n").contains("x.toml line 4: unknown field `gird`"),
            "{}",
            refused("[gird]\n")
        );
        assert!(refused("[gird]\n").contains("did you mean `grid`"));
        assert!(
            refused("\n[grid]\n'method.rank' = [4, 4]")
                .contains("line 6: `method.rank` has the value 4 twice")
        );
        assert!(refused("[grid]\n'method.rank' = []").contains("needs a value at least"));
        assert!(refused("[grid]\n'rank' = [4]").contains("line 5: `rank`: the key must begin with"));
        assert!(refused("[grid]\n'methods.lroa.rank' = [4]").contains("line 5: unknown method `lroa`"));
        assert!(refused("seeds = 0").contains("line 4: `seeds` must be 1"));
    }

    #[test]
    fn every_provided_sweep_parses() {
        assert!(!super::super::sweeps().is_empty());
        for name in super::super::sweeps() {
            assert_eq!(Sweep::read(&name).unwrap().name, name);
        }
    }
}
