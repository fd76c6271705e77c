//! Power before a run: how many items and seeds tell two methods apart.
//!
//! A difference `d` of two means has variance `V = g·v/N + 2σ²/S`: `v` is the variance of one item's difference, `N`
//! items, `S` seeds, `σ` the standard deviation of a method's score between seeds, and `g = ρ + (1 − ρ)/S` what is
//! left of an item's variance after averaging seeds whose results on it correlate by `ρ`. The test rejects when
//! `|d̂| > t √V₀`, where `V₀` has the variance under no difference and `V₁` the one under `d`:
//!
//! - paired right/wrong: `v₀ = ψ`, `v₁ = ψ − d²`, with the discordance `ψ`, the share of items on which exactly one is
//!   right (Connor, Biometrics 1987);
//! - unpaired: `v₀ = 2p̄(1 − p̄)`, `v₁ = p(1 − p) + q(1 − q)` with `q = p + d`, `p̄ = (p + q)/2` (Fleiss).
//!
//! `t` is the normal quantile, or Student's with Satterthwaite's degrees of freedom where seeds contribute.

use std::f64::consts::SQRT_2;

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{Scores, crossed, standard_normal};
use crate::error::{Error, Result};

/// How two methods are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pairing {
    /// On the same items; `discordance` is the share on which exactly one of the two is right.
    Paired {
        /// Between 0 and 1, at least the difference.
        discordance: f64,
    },
    /// On different items, or without per-item outcomes; `base_rate` is the weaker method's score.
    Unpaired {
        /// Between 0 and 1.
        base_rate: f64,
    },
}

/// What seeds do to a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeedNoise {
    /// Standard deviation of a method's score between seeds (a fraction).
    pub sd: f64,
    /// Correlation between seeds of one item's difference; at 1 more seeds do not make items more certain.
    pub item_correlation: f64,
}

impl Default for SeedNoise {
    /// Nothing known: no noise between seeds, and no help from them.
    fn default() -> Self {
        Self { sd: 0.0, item_correlation: 1.0 }
    }
}

/// An experiment to be planned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// How the methods are compared.
    pub pairing: Pairing,
    /// What seeds add.
    pub noise: SeedNoise,
    /// Seeds of each method.
    pub seeds: u32,
    /// Level of the test.
    pub alpha: f64,
    /// Wanted chance of finding the difference.
    pub power: f64,
}

impl Plan {
    /// One seed, level 0.05, power 0.8, nothing known of seeds.
    pub fn new(pairing: Pairing) -> Self {
        Self { pairing, noise: SeedNoise::default(), seeds: 1, alpha: 0.05, power: 0.8 }
    }

    /// A plan from two methods that were run already, for more of the same: their discordance, and what their seeds say
    /// of the noise. One seed says nothing of it.
    ///
    /// # Errors
    /// [`Error::Power`] for scores that are not right/wrong.
    ///
    /// # Panics
    /// When the shapes differ.
    pub fn of_pilot(a: &Scores, b: &Scores) -> Result<Self> {
        if !a.is_binary() || !b.is_binary() || !a.is_one_item_per_cell() || !b.is_one_item_per_cell() {
            return Err(Error::Power {
                reason: "the pilot's scores are not right/wrong of single items".into(),
            });
        }
        assert_eq!((a.clusters(), a.seeds()), (b.clusters(), b.seeds()), "paired scores have one shape");
        let differing = a.cells().iter().zip(b.cells()).filter(|(a, b)| a != b).count();
        let plan = Self::new(Pairing::Paired { discordance: differing as f64 / a.cells().len() as f64 });
        if a.seeds() < 2 || a.clusters() < 2 {
            return Ok(plan);
        }
        let parts = crossed::paired_difference(a, b);
        // The difference carries the noise of both methods.
        let noise = SeedNoise { sd: parts.seed_sd() / SQRT_2, item_correlation: parts.cluster_correlation() };
        Ok(Self { noise, seeds: a.seeds() as u32, ..plan })
    }

    /// The chance that a test on `items` items rejects "no difference".
    ///
    /// # Errors
    /// [`Error::Power`] for impossible settings: a difference that is 0 or larger than the discordance, no seed, …
    pub fn power(&self, difference: f64, items: u64) -> Result<f64> {
        self.check(difference)?;
        let (v0, v1) = self.item_variances(difference);
        let per_item = self.items_factor() / items.max(1) as f64;
        let seeds = self.seed_variance();
        let error = |v: f64| (v * per_item + seeds).sqrt();
        let threshold = self.critical(v0 * per_item, items) * error(v0);
        let beyond = |shift: f64| standard_normal().cdf((shift - threshold) / error(v1));
        Ok(beyond(difference.abs()) + beyond(-difference.abs()))
    }

    /// "To tell `difference` apart you need this many items" with the plan's seeds.
    ///
    /// # Errors
    /// [`Error::Power`] for impossible settings, and when the noise between seeds alone hides the difference.
    ///
    /// ```
    /// use compare::stats::power::{Pairing, Plan};
    /// // one point apart, methods that disagree on 20 % of the items
    /// let items = Plan::new(Pairing::Paired { discordance: 0.2 }).items_needed(0.01)?;
    /// assert_eq!(items, 15696);
    /// # Ok::<(), compare::Error>(())
    /// ```
    pub fn items_needed(&self, difference: f64) -> Result<u64> {
        const MOST: u64 = 1 << 40;
        if self.power(difference, MOST)? < self.power {
            return Err(Error::Power {
                reason: format!(
                    "with {} seeds that differ by {} the difference {difference} stays hidden; more seeds would help",
                    self.seeds, self.noise.sd
                ),
            });
        }
        let (mut low, mut high) = (0, MOST);
        while high - low > 1 {
            let middle = u64::midpoint(low, high);
            if self.power(difference, middle)? < self.power {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(high)
    }

    /// "To tell `difference` apart on `items` items you need this many seeds" of each method; at least two where seeds
    /// differ, as one says nothing of the noise between them.
    ///
    /// # Errors
    /// [`Error::Power`] for impossible settings, and when the items alone hide the difference.
    ///
    /// ```
    /// use compare::stats::power::{Pairing, Plan, SeedNoise};
    /// // two points apart, seeds that differ by one point and see each item alike half of the time
    /// let noise = SeedNoise { sd: 0.01, item_correlation: 0.5 };
    /// let plan = Plan { noise, ..Plan::new(Pairing::Paired { discordance: 0.1 }) };
    /// assert_eq!(plan.seeds_needed(0.02, 2000)?, 10);
    /// # Ok::<(), compare::Error>(())
    /// ```
    pub fn seeds_needed(&self, difference: f64, items: u64) -> Result<u32> {
        const MOST: u32 = 10_000;
        let fewest = if self.noise.sd > 0.0 { 2 } else { 1 };
        for seeds in fewest..=MOST {
            if (Self { seeds, ..*self }).power(difference, items)? >= self.power {
                return Ok(seeds);
            }
        }
        let reason = format!(
            "on {items} items {MOST} seeds do not tell a difference of {difference}; more items would help"
        );
        Err(Error::Power { reason })
    }

    /// The smallest difference that `items` items find with the wanted power: the inverse of [`Plan::items_needed`].
    ///
    /// # Errors
    /// [`Error::Power`] for impossible settings, and when no possible difference is large enough.
    pub fn detectable_difference(&self, items: u64) -> Result<f64> {
        let largest = match self.pairing {
            Pairing::Paired { discordance } => discordance,
            Pairing::Unpaired { base_rate } => 1.0 - base_rate,
        };
        let (mut low, mut high) = (0.0, largest);
        if self.power(high, items)? < self.power {
            return Err(Error::Power { reason: format!("{items} items are too few to find any difference") });
        }
        while high - low > 1e-9 {
            let middle = f64::midpoint(low, high);
            if self.power(middle, items)? < self.power {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(high)
    }

    fn item_variances(&self, difference: f64) -> (f64, f64) {
        match self.pairing {
            Pairing::Paired { discordance } => (discordance, discordance - difference * difference),
            Pairing::Unpaired { base_rate: p } => {
                let q = p + difference.abs();
                let middle = f64::midpoint(p, q);
                (2.0 * middle * (1.0 - middle), p * (1.0 - p) + q * (1.0 - q))
            }
        }
    }

    fn items_factor(&self) -> f64 {
        self.noise.item_correlation + (1.0 - self.noise.item_correlation) / f64::from(self.seeds)
    }

    fn seed_variance(&self) -> f64 {
        2.0 * self.noise.sd.powi(2) / f64::from(self.seeds)
    }

    fn critical(&self, item_variance: f64, items: u64) -> f64 {
        let level = 1.0 - self.alpha / 2.0;
        let seed_variance = self.seed_variance();
        if seed_variance == 0.0 || self.seeds < 2 || items < 2 {
            return standard_normal().inverse_cdf(level);
        }
        let parts =
            seed_variance.powi(2) / f64::from(self.seeds - 1) + item_variance.powi(2) / (items - 1) as f64;
        let freedom = (seed_variance + item_variance).powi(2) / parts;
        StudentsT::new(0.0, 1.0, freedom).expect("degrees of freedom are positive").inverse_cdf(level)
    }

    fn check(&self, difference: f64) -> Result<()> {
        let unit = 0.0..=1.0;
        let (rate, name, room) = match self.pairing {
            Pairing::Paired { discordance } => (discordance, "discordance", discordance),
            Pairing::Unpaired { base_rate } => (base_rate, "base_rate", 1.0 - base_rate),
        };
        let problem = if !unit.contains(&rate) {
            format!("`{name}` is `{rate}`, expected a fraction")
        } else if difference == 0.0 || !difference.is_finite() {
            format!("the difference is `{difference}`")
        } else if difference.abs() > room {
            format!("a difference of `{difference}` is impossible with {name} `{rate}`")
        } else if self.seeds == 0 {
            "there is no seed".to_owned()
        } else if !unit.contains(&self.noise.item_correlation)
            || self.noise.sd.is_nan()
            || self.noise.sd < 0.0
        {
            format!("seed noise `{:?}` is impossible", self.noise)
        } else if !(self.alpha > 0.0 && self.alpha < 1.0 && self.power > 0.0 && self.power < 1.0) {
            format!("level `{}` and power `{}` must lie between 0 and 1", self.alpha, self.power)
        } else {
            return Ok(());
        };
        Err(Error::Power { reason: problem })
    }
}
