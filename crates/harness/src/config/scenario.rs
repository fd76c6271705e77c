use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use toml::Value;

use super::Overlay;
use super::provided::scenario_file;
use crate::{Error, Result};

/// A comparison with everything it needs: a table, figure or ablation in one file of `configs/scenarios`.
///
/// Without one of the plans it is the single-task table of its methods.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// Suite of its tasks.
    pub suite: String,
    /// Only these tasks of it; all where empty.
    #[serde(default)]
    pub tasks: Vec<String>,
    /// Methods, as `--method` names them.
    pub methods: Vec<String>,
    /// Number of seeds.
    pub seeds: u64,
    /// What it lays over the suite.
    #[serde(default)]
    pub settings: Overlay,
    /// Adapters merged.
    pub merge: Option<MergePlan>,
    /// Tasks learned one after another.
    pub continual: Option<ContinualPlan>,
    /// A setting varied.
    pub ablation: Option<AblationPlan>,
    /// What `harness check` does with it.
    pub check: Option<CheckPlan>,
}

/// A check of one tree against the baseline of another: how closely each cell is looked at besides its scores, and what is
/// allowed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckPlan {
    /// Threads of one operation, whatever the machine has: another number adds in another order.
    pub threads: u32,
    /// Steps of the runs that are repeated, counted and compared loss by loss.
    pub steps: u64,
    /// Validation items whose loss is compared.
    pub validation: usize,
    /// Coverage of the intervals of scores; tests decide at what is left.
    pub confidence: f64,
    /// Share of answers that another processor changes, for the simulation of the tests' error rates.
    pub discordance: f64,
    /// How steps are timed.
    pub pace: PacePlan,
}

/// How steps are timed, and how much slower they may get.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacePlan {
    /// Sequences of a step.
    pub sequences: usize,
    /// Pairs of a step and the frozen floor.
    pub pairs: u64,
    /// How many times longer a step may take, relative to the floor.
    pub slowdown: f64,
    /// The same on another processor than the baseline's.
    pub slowdown_elsewhere: f64,
}

/// Which adapters are merged, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergePlan {
    /// Tasks whose adapters are merged, group by group.
    pub combinations: Vec<Vec<String>>,
    /// Weights tried on the validation splits.
    pub weights: Vec<f64>,
    /// Whose weights are chosen among these.
    #[serde(default)]
    pub search: Search,
    /// Ways to merge by method; `other` for methods that are not named.
    pub ways: IndexMap<String, Vec<String>>,
    /// Share of the entries that pruning keeps.
    #[serde(default = "density")]
    pub density: f64,
}

/// How weights are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Search {
    /// One for all adapters of a merge.
    #[default]
    Common,
    /// One for each adapter: from the best common one, a task at a time.
    Each,
    /// None is chosen: the test score is measured with every common weight, for a curve.
    Every,
}

/// Which tasks are learned one after another.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContinualPlan {
    /// Tasks in their order, sequence by sequence.
    pub sequences: Vec<Vec<String>>,
    /// Share of every earlier task's training items that a later stage also sees.
    #[serde(default)]
    pub replay: f64,
    /// Whether all tasks are also learned at once.
    #[serde(default)]
    pub joint: bool,
}

/// Which setting is varied.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AblationPlan {
    /// As `--set` names it.
    pub setting: String,
    /// Its values.
    pub values: Vec<Value>,
}

fn density() -> f64 {
    0.7
}

impl Scenario {
    /// A provided scenario by name, or a file.
    ///
    /// # Errors
    /// For an unknown name, or a file that does not parse.
    pub fn read(name: &str) -> Result<Self> {
        if std::path::Path::new(name).extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(name).map_err(|source| peft_core::Error::io(name, source))?;
            return Self::parse(&text, name);
        }
        Self::parse(scenario_file(name)?, &format!("configs/scenarios/{name}.toml"))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Config`] with the line; also for more than one plan, and for empty ones.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let mut scenario: Self =
            toml::from_str(text).map_err(|error| super::overlay::syntax(&error, text, origin))?;
        scenario.settings = scenario.settings.located(text, origin)?;
        let refuse = |reason: &str| {
            let (origin, reason) = (origin.to_owned(), reason.to_owned());
            Err(Error::Config { origin, line: None, reason, hint: None })
        };
        let plans = [
            scenario.merge.is_some(),
            scenario.continual.is_some(),
            scenario.ablation.is_some(),
            scenario.check.is_some(),
        ];
        if plans.into_iter().filter(|is| *is).count() > 1 {
            return refuse("a scenario has one of `merge`, `continual`, `ablation` and `check`");
        }
        if let Some(plan) = &scenario.check {
            let pace = &plan.pace;
            if plan.threads == 0
                || plan.steps == 0
                || pace.sequences == 0
                || pace.pairs < CheckPlan::FEWEST_PAIRS
            {
                return refuse("`check` needs a thread, a step, a sequence and 20 pairs at least");
            }
            if !(0.5..1.0).contains(&plan.confidence) || !(0.0..1.0).contains(&plan.discordance) {
                return refuse(
                    "`check.confidence` lies from 0.5 up to 1, `check.discordance` from 0 up to 1",
                );
            }
            if pace.slowdown < 1.0 || pace.slowdown_elsewhere < pace.slowdown {
                return refuse("`check.pace.slowdown` is 1 at least, and `slowdown_elsewhere` no less");
            }
        }
        if let Some(plan) = &scenario.merge
            && (plan.weights.is_empty() || plan.combinations.iter().any(|tasks| tasks.len() < 2))
        {
            return refuse("`merge` needs a weight at least, and combinations of two tasks at least");
        }
        if scenario.ablation.as_ref().is_some_and(|plan| plan.values.is_empty()) {
            return refuse("`ablation` needs a value at least");
        }
        Ok(scenario)
    }
}

impl CheckPlan {
    /// Fewer have no interval worth the name.
    const FEWEST_PAIRS: u64 = 20;
}

impl MergePlan {
    /// How adapters of `method` are merged.
    pub fn ways(&self, method: &str) -> &[String] {
        self.ways.get(method).or_else(|| self.ways.get("other")).map_or(&[], Vec::as_slice)
    }
}
