use indexmap::IndexMap;

use crate::{Error, Result, Site};

/// A default and per-site overrides, in the order given: PEFT's `rank_pattern` and `alpha_pattern`.
///
/// A key applies to a site whose path equals it, or ends with it on a component boundary, or matches it as a
/// regular expression in that place; the first key that applies wins.
#[derive(Clone, Debug)]
pub struct Patterned<T> {
    default: T,
    what: &'static str,
    overrides: Vec<(String, regex::Regex, T)>,
}

impl<T: Copy> Patterned<T> {
    /// `what` names the pattern in errors: `rank_pattern`.
    ///
    /// # Errors
    /// If a key is not a regular expression.
    pub fn new(what: &'static str, default: T, overrides: &IndexMap<String, T>) -> Result<Self> {
        let overrides = overrides
            .iter()
            .map(|(key, value)| {
                let regex = regex::Regex::new(&format!(r"^(?:.*\.)?(?:{key})$"))
                    .map_err(|error| Error::config(what, key, error.to_string()))?;
                Ok((key.clone(), regex, *value))
            })
            .collect::<Result<_>>()?;
        Ok(Self { default, what, overrides })
    }

    /// The value for `site`.
    pub fn of(&self, site: &str) -> T {
        self.overrides.iter().find(|(_, regex, _)| regex.is_match(site)).map_or(self.default, |(_, _, v)| *v)
    }

    /// Refuses keys that apply to no site: they are typing mistakes.
    ///
    /// # Errors
    /// [`Error::Unmatched`].
    pub fn check(&self, sites: &[Site]) -> Result<()> {
        for (key, regex, _) in &self.overrides {
            if !sites.iter().any(|site| regex.is_match(&site.name)) {
                return Err(Error::Unmatched {
                    what: self.what,
                    pattern: key.clone(),
                    reason: None,
                    known: crate::targets::endings(sites.iter().map(|s| s.name.as_str())),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_that_applies_wins() {
        let overrides: IndexMap<String, i64> = [
            ("layers.1.self_attn.q_proj".into(), 6),
            ("q_proj".into(), 2),
            (r"layers\.\d+\.mlp\..*".into(), 3),
        ]
        .into_iter()
        .collect();
        let rank = Patterned::new("rank_pattern", 4, &overrides).unwrap();
        assert_eq!(rank.of("model.layers.1.self_attn.q_proj"), 6);
        assert_eq!(rank.of("model.layers.11.self_attn.q_proj"), 2);
        assert_eq!(rank.of("model.layers.0.mlp.up_proj"), 3);
        assert_eq!(rank.of("model.layers.0.self_attn.my_q_proj"), 4, "only on a component boundary");
    }
}
