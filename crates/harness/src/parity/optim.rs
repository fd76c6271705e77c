//! Cases of kind `optim`: AdamW step by step, clipping factors, groups of learning rates.

use std::collections::BTreeMap;

use peft_core::{AdamW, AdamWConfig, Gradients, ParamStore, Params, Seeds, peft_file};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::case::clip_of;
use super::{Case, Checks};
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(untagged)]
enum Config {
    AdamW {
        name: String,
        lr: f64,
        betas: (f64, f64),
        eps: f64,
        weight_decay: f64,
        b_starts_at_step: Option<u64>,
    },
    Clip {
        name: String,
        kind: String,
        max_norm: f64,
    },
}

pub(super) fn run(case: &Case, checks: &mut Checks) -> Result<()> {
    if case.fields.contains_key("param_groups") {
        return groups(case, checks);
    }
    let given = case.tensors("batches.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    for config in case.field::<Vec<Config>>("configs")? {
        match config {
            Config::AdamW { name, lr, betas, eps, weight_decay, b_starts_at_step } => {
                let settings = AdamWConfig { lr, betas, eps, weight_decay, ..AdamWConfig::default() };
                adamw(&name, settings, b_starts_at_step.unwrap_or(0), &given, &expected, checks)?;
            }
            Config::Clip { name, kind, max_norm } => {
                let clip =
                    clip_of(&kind, max_norm).ok_or_else(|| Error::Usage(format!("unknown clip `{kind}`")))?;
                clipping(&name, clip, &given, &expected, checks);
            }
        }
    }
    Ok(())
}

/// Feeds the given gradients: the gradient of Σ p·g with respect to p is g.
fn adamw(
    name: &str,
    settings: AdamWConfig,
    b_starts: u64,
    given: &peft_core::StateDict,
    expected: &peft_core::StateDict,
    checks: &mut Checks,
) -> Result<()> {
    let starts: Vec<(&str, &Tensor)> =
        given.iter().filter_map(|(key, start)| Some((key.strip_prefix("param.")?, start))).collect();
    let mut store = ParamStore::default();
    let mut params = Params::new(&mut store, None, &Seeds::new(0), Device::Cpu);
    for (param, start) in &starts {
        // The role does not matter: all share one group.
        params.trainable(param, peft_core::Role::Weight, start)?;
    }
    let mut optimizer = AdamW::new(settings);
    let mut trajectory: BTreeMap<&str, Vec<Tensor>> = BTreeMap::new();
    let steps = given[&format!("grads.{}", starts[0].0)].size()[0];
    for step in 0..steps {
        let mut loss = Tensor::zeros([], (Kind::Float, Device::Cpu));
        for (param, _) in &starts {
            if *param != "b" || step.cast_unsigned() >= b_starts {
                let gradient = given[&format!("grads.{param}")].get(step);
                loss += (&store.find(param).expect("registered").tensor * gradient).sum(Kind::Float);
            }
        }
        let mut gradients = Gradients::default();
        gradients.accumulate(&loss, &store, &[])?;
        optimizer.step(&store, &gradients, 1.0);
        for (param, _) in &starts {
            let value = store.find(param).expect("registered").tensor.detach().copy();
            trajectory.entry(param).or_default().push(value);
        }
    }
    for (param, values) in trajectory {
        let key = format!("trajectory.{name}.{param}");
        match expected.get(&key) {
            Some(want) => checks.tensor(&key, &Tensor::stack(&values, 0), want),
            None => checks.absent(&key, "the case does not hold it"),
        }
    }
    Ok(())
}

fn clipping(
    name: &str,
    clip: peft_core::Clip,
    given: &peft_core::StateDict,
    expected: &peft_core::StateDict,
    checks: &mut Checks,
) {
    let norm = |t: &Tensor| t.norm().to_kind(Kind::Double).double_value(&[]);
    let norms: Vec<f64> = given.values().map(norm).collect();
    let all = norms.iter().map(|n| n * n).sum::<f64>().sqrt();
    if let Some(want) = expected.get(&format!("norm.{name}")) {
        checks.number(&format!("norm.{name}"), all, want.double_value(&[]));
    }
    for ((key, gradient), own) in given.iter().zip(norms) {
        let tensor = key.trim_start_matches("grad.");
        if let Some(want) = expected.get(&format!("norm.{name}.{tensor}")) {
            checks.number(&format!("norm.{name}.{tensor}"), own, want.double_value(&[]));
        }
        let key = format!("clipped.{name}.{tensor}");
        match expected.get(&key) {
            Some(want) => checks.tensor(&key, &(gradient * clip.factor(own, all)), want),
            None => checks.absent(&key, "the case does not hold it"),
        }
    }
}

/// Which learning rate each tensor gets, through the method's own settings.
fn groups(case: &Case, checks: &mut Checks) -> Result<()> {
    #[derive(Deserialize)]
    struct Group {
        names: Vec<String>,
        lr: f64,
        weight_decay: f64,
    }
    let mut settings = toml::Table::new();
    for key in ["lr_ratio", "lr_embedding"] {
        settings.insert(key.to_owned(), toml::Value::Float(case.field(key)?));
    }
    let method = (methods::find(&case.method)?.build)(settings)?;
    let mut config = AdamWConfig {
        lr: case.field("lr")?,
        weight_decay: case.field("weight_decay")?,
        ..AdamWConfig::default()
    };
    method.configure_optimizer(&mut config);
    for group in case.field::<Vec<Group>>("param_groups")? {
        for name in group.names {
            match peft_file::role_of(&name) {
                Some(role) => {
                    checks.number(&format!("lr.{name}"), config.lr_of(role), group.lr);
                    checks.number(
                        &format!("weight_decay.{name}"),
                        config.weight_decay_of(role),
                        group.weight_decay,
                    );
                }
                None => checks.absent(&name, "a tensor of unknown role"),
            }
        }
    }
    Ok(())
}
