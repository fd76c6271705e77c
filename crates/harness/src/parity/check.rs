use std::collections::BTreeMap;

use serde::Serialize;
use tch::{Kind, Tensor};

use super::case::Allowed;

/// One compared quantity.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its name in the case.
    pub quantity: String,
    /// Largest absolute difference; infinite for NaN.
    pub max_abs: f64,
    /// That, relative to the largest magnitude expected.
    pub max_rel: f64,
    /// Absolute part of the tolerance.
    pub atol: f64,
    /// Relative part of the tolerance.
    pub rtol: f64,
    /// Whether it agrees.
    pub pass: bool,
    /// What is wrong beyond a difference of values.
    pub note: Option<String>,
}

/// Collects checks under the tolerances of a case.
#[derive(Debug)]
pub struct Checks {
    tolerance: BTreeMap<String, Allowed>,
    checks: Vec<Check>,
}

/// Where the case names no tolerance.
const FALLBACK: Allowed = Allowed { atol: 1e-6, rtol: 1e-4 };

impl Checks {
    /// No check yet.
    pub fn new(tolerance: BTreeMap<String, Allowed>) -> Self {
        Self { tolerance, checks: Vec::new() }
    }

    /// What was collected.
    pub fn into_checks(self) -> Vec<Check> {
        self.checks
    }

    /// The group of `name`: the first word of the part before the first dot that has a tolerance.
    fn allowed(&self, name: &str) -> Allowed {
        let head = name.split('.').next().unwrap_or(name);
        head.split('_')
            .find_map(|word| self.tolerance.get(word))
            .or_else(|| self.tolerance.get("default"))
            .copied()
            .unwrap_or(FALLBACK)
    }

    /// Compares tensors: integers and booleans must be equal, floats agree within the tolerance of `name`.
    pub fn tensor(&mut self, name: &str, got: &Tensor, want: &Tensor) {
        let exact = !want.is_floating_point();
        let allowed = if exact { Allowed { atol: 0.0, rtol: 0.0 } } else { self.allowed(name) };
        let (got, want) = (host(got), host(want));
        if got.size() != want.size() {
            let note = format!("shape {:?} instead of {:?}", got.size(), want.size());
            return self.push(name, f64::INFINITY, f64::INFINITY, allowed, Some(note));
        }
        if want.numel() == 0 {
            return self.push(name, 0.0, 0.0, allowed, None);
        }
        let difference = (&got - &want).abs().max().double_value(&[]);
        let difference = if difference.is_nan() { f64::INFINITY } else { difference };
        let scale = want.abs().max().double_value(&[]);
        self.push(name, difference, scale, allowed, None);
    }

    /// Notes a share that must not exceed `most`.
    pub fn share(&mut self, name: &str, got: f64, most: f64) {
        self.push(name, got, 1.0, Allowed { atol: most, rtol: 0.0 }, None);
    }

    /// Compares numbers.
    pub fn number(&mut self, name: &str, got: f64, want: f64) {
        self.tensor(name, &Tensor::from(got), &Tensor::from(want));
    }

    /// Compares counts.
    pub fn count(&mut self, name: &str, got: u64, want: i64) {
        self.tensor(name, &Tensor::from(got.cast_signed()), &Tensor::from(want));
    }

    /// A quantity that the case expects and this program does not have, or the reverse.
    pub fn absent(&mut self, name: &str, note: &str) {
        self.push(
            name,
            f64::INFINITY,
            f64::INFINITY,
            Allowed { atol: 0.0, rtol: 0.0 },
            Some(note.to_owned()),
        );
    }

    fn push(&mut self, name: &str, difference: f64, scale: f64, allowed: Allowed, note: Option<String>) {
        let relative = if difference == 0.0 { 0.0 } else { difference / scale };
        let pass = note.is_none() && difference <= allowed.atol + allowed.rtol * scale;
        self.checks.push(Check {
            quantity: name.to_owned(),
            max_abs: difference,
            max_rel: relative,
            atol: allowed.atol,
            rtol: allowed.rtol,
            pass,
            note,
        });
    }
}

fn host(tensor: &Tensor) -> Tensor {
    tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Double)
}
