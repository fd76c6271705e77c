use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// A stretch of a run: an integer counts optimizer steps, a number below 1 is a fraction of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// Optimizer steps.
    Steps(u64),
    /// Of the run, in [0, 1).
    Fraction(f64),
}

impl Length {
    /// Optimizer steps in a run of `total`; a fraction is rounded to the nearest step.
    ///
    /// # Errors
    /// [`Error::Config`] naming `field`, if it is longer than the run.
    pub fn steps(self, total: u64, field: &str) -> Result<u64> {
        let steps = match self {
            Self::Steps(steps) => steps,
            Self::Fraction(fraction) => (total as f64 * fraction).round() as u64,
        };
        if steps > total {
            return Err(Error::config(field, steps, format!("the run has only {total} steps")));
        }
        Ok(steps)
    }
}

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Steps(steps) => serializer.serialize_u64(*steps),
            Self::Fraction(fraction) => serializer.serialize_f64(*fraction),
        }
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Length;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "a number of steps, or a fraction below 1")
            }

            fn visit_u64<E: de::Error>(self, steps: u64) -> std::result::Result<Length, E> {
                Ok(Length::Steps(steps))
            }

            fn visit_i64<E: de::Error>(self, steps: i64) -> std::result::Result<Length, E> {
                u64::try_from(steps).map(Length::Steps).map_err(|_| E::custom("a length cannot be negative"))
            }

            fn visit_f64<E: de::Error>(self, fraction: f64) -> std::result::Result<Length, E> {
                if (0.0..1.0).contains(&fraction) {
                    Ok(Length::Fraction(fraction))
                } else {
                    Err(E::custom("a fraction of the run is below 1; steps are written without a point"))
                }
            }
        }
        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Holder {
        length: Length,
    }

    fn parse(value: &str) -> Option<Length> {
        toml::from_str::<Holder>(&format!("length = {value}")).ok().map(|h| h.length)
    }

    #[test]
    fn steps_and_fractions() {
        assert_eq!(parse("30"), Some(Length::Steps(30)));
        assert_eq!(parse("0.25"), Some(Length::Fraction(0.25)));
        assert_eq!((parse("1.5"), parse("-1"), parse("'a'")), (None, None, None));
        assert_eq!(Length::Fraction(0.25).steps(30, "x").unwrap(), 8);
        assert!(Length::Steps(31).steps(30, "x").is_err());
    }
}
