//! Adapters of any method are merged by what they add to the weights: once, and exactly; or refused with the reason.

#![allow(clippy::result_large_err, reason = "errors are those of the harness")]

mod common;

use std::path::Path;

use common::{adapter, refused, run, text, train};
use harness::session::{Session, load_decoder};
use harness::updates::updates;
use merging::{Contribution, Recipe, Update, Updates, merge};
use methods::METHODS;
use peft_core::peft_file::AdapterFile;
use peft_core::{Adaptable, AsLoaded, Seeds};
use tasks::Dtype;
use tch::{Device, Kind, Tensor};

/// Weights are f32, and an update is a sum of products of some hundred of them, in two orders.
const F32: f64 = 1e-5;

fn open() -> Session {
    Session::load("builtin:mini", Dtype::F32, Device::Cpu, false).unwrap()
}

fn of(file: &AdapterFile) -> harness::Result<Updates> {
    updates(file, &mut || Ok(Box::new(open().learner)))
}

/// Every linear weight in force.
fn weights(model: &mut dyn Adaptable) -> Vec<(String, Tensor)> {
    let weight = |linear: &mut peft_core::AdaptedLinear| {
        (linear.name().to_owned(), linear.effective_weight().to_kind(Kind::Double))
    };
    tch::no_grad(|| model.linears().into_iter().map(weight).collect())
}

fn assert_close(what: &str, got: &Tensor, want: &Tensor) {
    let error = (got - want).abs().max().double_value(&[]);
    let allowed = F32 * want.abs().max().double_value(&[]).max(1.0);
    assert!(error <= allowed, "{what}: off by {error:e}");
}

/// Through its own slot, and as a merge of one with the weights 1 and ½.
fn scales_once(session: &mut Session, name: &str, file: &AdapterFile) {
    let base = weights(&mut session.learner);
    let (attachment, ..) = harness::adapter::attach(&mut session.learner, "own", file, None).unwrap();
    session.learner.activate(&attachment.active());
    let own = weights(&mut session.learner);
    attachment.detach(&mut session.learner);
    let own_updates = of(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(base.iter().zip(&own).any(|((_, w), (_, own))| w != own), "{name}: the adapter does something");
    for (how, weight) in [("cat", 1.0), ("linear", 1.0), ("ties", 1.0), ("cat", 0.5)] {
        let recipe = Recipe::named(how, 0.5, merging::Election::Total, None).unwrap();
        let one = Contribution { updates: &own_updates, weight };
        for recipe in [recipe, recipe.whole()] {
            let merged = merge(&[one], &recipe, &Seeds::new(0)).unwrap();
            let attachment = merging::attach(&mut session.learner, "merged", merged, &AsLoaded).unwrap();
            session.learner.activate(&attachment.active());
            for (((site, w), (_, own)), (_, merged)) in
                base.iter().zip(&own).zip(weights(&mut session.learner))
            {
                let want = w + (own - w) * weight;
                assert_close(&format!("{name} by {how} at {weight}, `{site}`"), &merged, &want);
            }
            attachment.detach(&mut session.learner);
        }
    }
}

/// Whatever else it is, a saved model is the base and the sum of the updates.
fn sums_into_a_model(trained: &Path, methods: [&str; 2]) {
    let [one, other] = methods.map(|name| adapter(trained, name));
    let model = trained.join(methods.join("-"));
    let args = ["merge", one.to_str().unwrap(), other.to_str().unwrap(), "--weights", "1,0.5"];
    let into = ["--into-model", model.to_str().unwrap(), "--threads", "1"];
    let output = run(&[&args[..], &into[..]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let saved = weights(&mut load_decoder(&model, Kind::Float, Device::Cpu).unwrap());
    let all = [&one, &other].map(|folder| of(&AdapterFile::read(folder).unwrap()).unwrap());
    for ((site, saved), (_, base)) in saved.iter().zip(weights(&mut open().learner)) {
        let part = |updates: &Updates, weight: f64| {
            updates
                .get(site)
                .map_or(Tensor::from(0.0), |update| update.weight().to_kind(Kind::Double) * weight)
        };
        assert_close(site, saved, &(base + part(&all[0], 1.0) + part(&all[1], 0.5)));
    }
}

#[test]
fn every_method_is_merged_by_its_effective_weight_or_refused() {
    tch::set_num_threads(1);
    let trained = train("every", &[]);
    let mut session = open();
    let mut dense = Vec::new();
    for info in METHODS {
        let file = AdapterFile::read(&adapter(trained.path(), info.name)).unwrap();
        if info.name == "full" {
            let said = of(&file).unwrap_err().to_string();
            assert!(said.contains("weights of the base themselves"), "{said}");
            continue;
        }
        scales_once(&mut session, info.name, &file);
        let is_dense = of(&file).unwrap().values().any(|update| matches!(update, Update::Dense(_)));
        assert_eq!(is_dense, !info.capabilities.lora_export, "{}", info.name);
        dense.extend(is_dense.then_some(info.name));
    }
    assert!(dense.contains(&"dora") && dense.contains(&"rosa"), "{dense:?}");

    sums_into_a_model(trained.path(), ["lora", "dora"]);
    sums_into_a_model(trained.path(), ["bat", "pissa"]);

    let folder = |name: &str| adapter(trained.path(), name).to_str().unwrap().to_owned();
    let (lora, dora, full) = (folder("lora"), folder("dora"), folder("full"));
    let out = trained.path().join("out").to_str().unwrap().to_owned();
    let two = ["merge", &lora, &dora, "--out", &out];
    let merge = |more: &[&'static str]| [&two[..], more].concat();
    refused(&merge(&[]), &["no product of two thin matrices", "--into-model"]);
    refused(&merge(&["--how", "ties"]), &["it has none", "_svd"]);
    refused(&merge(&["--how", "svd"]), &["--rank"]);
    refused(&merge(&["--rank", "4"]), &["`--rank 4` is for `svd`"]);
    refused(&["merge", &lora, &full, "--out", &out], &["embeddings and norms"]);
    let output = run(&merge(&["--how", "ties_svd", "--rank", "8"]));
    assert!(output.status.success(), "{}", text(&output));
    let file = AdapterFile::read(Path::new(&out)).unwrap();
    assert!(of(&file).unwrap().values().all(|update| update.factors().rank() == 8));
    let output = run(&["interference", &lora, &dora]);
    assert!(output.status.success(), "{}", text(&output));
}
