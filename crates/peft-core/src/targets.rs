use std::collections::BTreeSet;

use regex::Regex;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Adaptable, AdaptedLinear, Error, Result, Site};

/// Which linear layers a run adapts, by PEFT's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// What to adapt.
    pub modules: Modules,
    /// What of that to leave out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Modules>,
    /// Only in these layers (first numbered component of the path).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<u32>>,
    /// Modules that train as a whole and are stored with the adapter, such as a task head. A name selects the module
    /// whose path equals it or ends with `.` + name, with all that is in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules_to_save: Vec<String>,
}

/// A selection of modules: a list, a regular expression, or all linear layers.
///
/// In files: a list of names; or a string, which is `all-linear` or a regular expression for the whole path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Modules {
    /// Every linear layer except the output head.
    #[default]
    AllLinear,
    /// A name selects the module whose path equals it or ends with `.` + name.
    Names(Vec<String>),
    /// A regular expression that must match the whole path.
    Regex(String),
}

/// A linear layer as the selection sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Module path.
    pub name: &'a str,
    /// Whether it is the output head, which `all-linear` leaves out.
    pub is_head: bool,
}

impl Targets {
    /// Selection by names.
    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { modules: Modules::Names(names.into_iter().map(Into::into).collect()), ..Self::default() }
    }

    /// The selected layers of `model` that are `free`, as sites.
    ///
    /// # Errors
    /// As [`Self::select`].
    pub fn sites(
        &self,
        model: &mut dyn Adaptable,
        free: impl Fn(&AdaptedLinear) -> bool,
    ) -> Result<Vec<Site>> {
        let linears = model.linears();
        let candidates: Vec<Candidate<'_>> =
            linears.iter().map(|l| Candidate { name: l.name(), is_head: l.is_head() }).collect();
        let selected = self.select(&candidates)?.into_iter().map(|i| &linears[i]).filter(|l| free(l));
        let site = |(index, linear): (usize, &&mut AdaptedLinear)| Site {
            index,
            name: linear.name().to_owned(),
            shape: linear.shape(),
        };
        Ok(selected.enumerate().map(site).collect())
    }

    /// The entry of `modules_to_save` that the tensor called `name` belongs to.
    pub fn saves(&self, name: &str) -> Option<&str> {
        let mut modules = name.match_indices('.').map(|(end, _)| &name[..end]);
        let saved = |module: &str| self.modules_to_save.iter().find(|save| ends_with_component(module, save));
        modules.find_map(saved).map(String::as_str)
    }

    /// Positions of the selected candidates, in order.
    ///
    /// # Errors
    /// [`Error::Unmatched`] for a name or pattern, also among the exclusions, that matches nothing; for an empty
    /// selection.
    pub fn select(&self, candidates: &[Candidate<'_>]) -> Result<Vec<usize>> {
        let mut selected = self.modules.matches("target", candidates)?;
        if let Some(exclude) = &self.exclude {
            let excluded = exclude.matches("exclusion", candidates)?;
            selected.retain(|index| !excluded.contains(index));
        }
        if let Some(layers) = &self.layers {
            selected.retain(|&index| {
                let layer = candidates[index].name.split('.').find_map(|part| part.parse().ok());
                layer.is_some_and(|layer: u32| layers.contains(&layer))
            });
        }
        if selected.is_empty() {
            let names = candidates.iter().map(|c| c.name);
            return Err(Error::Unmatched {
                what: "the selection",
                pattern: self.to_string(),
                reason: None,
                known: endings(names),
            });
        }
        Ok(selected.into_iter().collect())
    }
}

impl std::fmt::Display for Targets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.modules)?;
        if let Some(exclude) = &self.exclude {
            write!(f, " without {exclude}")?;
        }
        if let Some(layers) = &self.layers {
            write!(f, " in layers {layers:?}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Modules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AllLinear => write!(f, "all-linear"),
            Self::Names(names) => write!(f, "{}", names.join(",")),
            Self::Regex(regex) => write!(f, "{regex}"),
        }
    }
}

impl Modules {
    fn matches(&self, what: &'static str, candidates: &[Candidate<'_>]) -> Result<BTreeSet<usize>> {
        let found = |hit: &dyn Fn(&Candidate<'_>) -> bool| -> BTreeSet<usize> {
            candidates.iter().enumerate().filter(|(_, c)| hit(c)).map(|(i, _)| i).collect()
        };
        let unmatched = |pattern: &str, reason: Option<String>| Error::Unmatched {
            what,
            pattern: pattern.to_owned(),
            reason,
            known: endings(candidates.iter().map(|c| c.name)),
        };
        match self {
            Self::AllLinear => Ok(found(&|c| !c.is_head)),
            Self::Names(names) => {
                let mut all = BTreeSet::new();
                for name in names {
                    let hits = found(&|c| ends_with_component(c.name, name));
                    if hits.is_empty() {
                        return Err(unmatched(name, refused(name)));
                    }
                    all.extend(hits);
                }
                Ok(all)
            }
            Self::Regex(pattern) => {
                let regex = Regex::new(&format!("^(?:{pattern})$"))
                    .map_err(|error| Error::config(what, pattern, error.to_string()))?;
                let hits = found(&|c| regex.is_match(c.name));
                if hits.is_empty() {
                    let reason = "a string is a regular expression for the whole module path".to_owned();
                    return Err(unmatched(pattern, refused(pattern).or(Some(reason))));
                }
                Ok(hits)
            }
        }
    }
}

/// Why a plausible target can never be adapted.
fn refused(name: &str) -> Option<String> {
    let last = name.rsplit('.').next().unwrap_or(name);
    match last {
        "embed_tokens" | "wte" | "wpe" | "word_embeddings" => {
            Some("adapters on embeddings are not supported".to_owned())
        }
        "lm_head" => Some("the output head is tied to the embedding, which cannot be adapted".to_owned()),
        _ => None,
    }
}

/// Whether `path` equals `name` or ends with `.name`.
pub fn ends_with_component(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The distinct last components of `names` and the names themselves: what a target may be called.
pub(crate) fn endings<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let last: BTreeSet<&str> = names.clone().map(|n| n.rsplit('.').next().unwrap_or(n)).collect();
    last.into_iter().chain(names).map(str::to_owned).collect()
}

impl Serialize for Modules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Names(names) => names.serialize(serializer),
            other => serializer.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for Modules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Modules;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "a list of module names, `all-linear`, or a regular expression")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Modules, E> {
                Ok(if text == "all-linear" { Modules::AllLinear } else { Modules::Regex(text.to_owned()) })
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Modules, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(Modules::Names)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = [
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.mlp.up_proj",
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.mlp.up_proj",
        "lm_head",
    ];

    fn select(toml: &str) -> Result<Vec<usize>> {
        let targets: Targets = toml::from_str(toml).unwrap();
        let candidates = NAMES.map(|name| Candidate { name, is_head: name == "lm_head" });
        targets.select(&candidates)
    }

    #[test]
    fn peft_matching_rules() {
        assert_eq!(select("modules = ['q_proj']").unwrap(), [0, 2]);
        assert_eq!(select("modules = ['layers.1.self_attn.q_proj', 'up_proj']").unwrap(), [1, 2, 3]);
        assert_eq!(select("modules = 'all-linear'").unwrap(), [0, 1, 2, 3]);
        assert_eq!(select("modules = ['lm_head']").unwrap(), [4]);
        assert_eq!(select(r"modules = '.*\.(q|up)_proj'").unwrap(), [0, 1, 2, 3]);
        assert_eq!(select("modules = 'all-linear'\nexclude = ['up_proj']").unwrap(), [0, 2]);
        assert_eq!(select("modules = 'all-linear'\nlayers = [1]").unwrap(), [2, 3]);
    }

    #[test]
    fn what_matches_nothing_is_an_error_with_near_names() {
        let error = select("modules = ['q_proj', 'upproj']").unwrap_err();
        assert_eq!(error.to_string(), "target `upproj` matches no linear layer of the model");
        assert!(error.hint().unwrap().contains("`up_proj`"));
        for toml in [
            "modules = 'q_proj'", // a regular expression must match the whole path
            "modules = ['proj']",
            "modules = 'all-linear'\nexclude = ['k_proj']",
            "modules = 'all-linear'\nlayers = [7]",
            "modules = ['q_proj']\nexclude = ['q_proj']",
            "modules = []",
        ] {
            assert!(matches!(select(toml), Err(Error::Unmatched { .. })), "{toml}");
        }
        assert!(matches!(select("modules = '('"), Err(Error::Config { .. })));
    }

    #[test]
    fn embeddings_are_refused_with_the_reason() {
        let Error::Unmatched { reason, .. } = select("modules = ['embed_tokens']").unwrap_err() else {
            panic!()
        };
        assert!(reason.unwrap().contains("embeddings are not supported"));
    }

    #[test]
    fn round_trip() {
        for toml in
            ["modules = [\"q_proj\"]\n", "modules = \"all-linear\"\n", "modules = \".*q\"\nlayers = [1]\n"]
        {
            let targets: Targets = toml::from_str(toml).unwrap();
            assert_eq!(toml::to_string(&targets).unwrap(), toml);
        }
    }
}
