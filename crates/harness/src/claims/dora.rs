//! DoRA: magnitude and direction move against each other.

use std::collections::BTreeMap;

use compare::stats::{Sample, Settings, Statistic, nonlinear};
use peft_core::linalg;
use tch::{Kind, Tensor};

use super::estimate::listed;
use super::milora::trained;
use super::pissa::{PLAIN, lora};
use super::stand::Layers;
use super::{Bench, Claim, Estimate, Finding};
use crate::Result;
use crate::config::Experiment;

pub(super) const CORRELATION: Claim = Claim {
    name: "dora-correlation",
    arxiv: "2402.09353",
    sentence: "under DoRA changes of magnitude and of direction are negatively correlated, as under full fine-tuning",
    paper: "-0.31; full fine-tuning -0.62, LoRA +0.83 (unverified)",
    trains: true,
    check: correlation,
};

fn correlation(bench: &mut Bench<'_>) -> Result<Finding> {
    let (lora, rate) = lora(bench)?;
    let dora = bench.at_rate("dora", "nlu", &PLAIN, rate)?;
    let estimates = vec![of(bench, "DoRA's correlation", &dora)?, of(bench, "LoRA's", &lora)?];
    Ok(Finding {
        ours: listed(&estimates, 1.0, 2),
        verdict: estimates[0].below(0.0),
        how: format!(
            "Pearson's, over the adapted layers, each relative to the mean of its kind of projection; bootstrap over layers and \
             seeds; r = α = 16, learning rate {rate:.0e}; {}",
            bench.size("nlu")
        ),
        estimates,
    })
}

/// Of the mean change of a row's norm with the mean change of its direction, by layer and seed.
fn of(bench: &mut Bench<'_>, what: &str, arm: &Experiment) -> Result<Estimate> {
    let names: Vec<String> = Layers::builtin()?.0.iter().map(|layer| layer.name().to_owned()).collect();
    let kind = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let mut points: Vec<Vec<[f64; 2]>> = vec![Vec::new(); names.len()];
    for seed in bench.seeds() {
        for (layer, (before, after)) in trained(bench, arm, seed)?.into_iter().enumerate() {
            points[layer].push(moved(&before, &after));
        }
    }
    let mut sums: BTreeMap<String, ([f64; 2], f64)> = BTreeMap::new();
    for (name, points) in names.iter().zip(&points) {
        let (sum, count) = sums.entry(kind(name)).or_default();
        for point in points {
            *sum = [sum[0] + point[0], sum[1] + point[1]];
            *count += 1.0;
        }
    }
    let rows = names.iter().zip(&points).map(|(name, points)| {
        let (sum, count) = &sums[&kind(name)];
        points.iter().map(|point| vec![[0, 1].map(|i| point[i] * count / sum[i])]).collect::<Vec<_>>()
    });
    let sample = Sample::from_rows(Statistic::Pearson, rows);
    let interval = nonlinear::interval(&sample, &Settings::default());
    // Where nothing varies, nothing is known of the correlation.
    let (low, high) = interval.map_or((-1.0, 1.0), |interval| (interval.low, interval.high));
    Ok(Estimate { what: what.to_owned(), value: sample.value(), low, high })
}

/// Mean over rows of |‖w'‖ - ‖w‖| and of 1 - cos(w', w).
fn moved(before: &Tensor, after: &Tensor) -> [f64; 2] {
    let norms = [before, after].map(linalg::row_norms);
    let dots = (before * after).sum_dim_intlist(1, false, Kind::Double);
    let mean = |t: Tensor| t.mean(Kind::Double).double_value(&[]);
    [mean((&norms[1] - &norms[0]).abs()), mean(1.0 - dots / (&norms[0] * &norms[1]))]
}
