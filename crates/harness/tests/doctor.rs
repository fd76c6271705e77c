//! Every way to fail in silence is found and named. That healthy adapters have no finding is in `export.rs`.

mod common;

use std::fs;
use std::path::Path;

use common::{adapter, run, text, train};
use harness::doctor::{Finding, Severity, examine};
use harness::session::Session;
use peft_core::{StateDict, tensor_file};
use serde_json::{Map, Value, json};
use tasks::Dtype;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

fn session() -> Session {
    Session::load("builtin:mini", Dtype::F32, Device::Cpu, false).unwrap()
}

/// A copy of an adapter, to be broken.
struct Copy(TempDir);

impl Copy {
    fn of(adapter: &Path) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for name in [CONFIG, TENSORS] {
            fs::copy(adapter.join(name), copy.path().join(name)).unwrap();
        }
        Self(copy)
    }

    fn config(self, change: impl Fn(&mut Map<String, Value>)) -> Self {
        let path = self.0.path().join(CONFIG);
        let mut config: Map<String, Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(path, Value::Object(config).to_string()).unwrap();
        self
    }

    fn tensors(self, change: impl Fn(&mut StateDict)) -> Self {
        let path = self.0.path().join(TENSORS);
        let (mut tensors, metadata) = tensor_file::read(&path).unwrap();
        change(&mut tensors);
        tensor_file::write(&path, &tensors, &metadata).unwrap();
        self
    }

    /// Without what only we write beside the tensors, as another program would leave it.
    fn foreign(self) -> Self {
        let path = self.0.path().join(TENSORS);
        let (tensors, _) = tensor_file::read(&path).unwrap();
        tensor_file::write(&path, &tensors, &tensor_file::Metadata::new()).unwrap();
        self
    }

    /// Examines it, and checks that `check` found something of this severity that says `words`.
    fn shows(self, session: Option<&mut Session>, severity: Severity, check: &str, words: &[&str]) {
        let findings = examine(self.0.path(), session.map(|session| &mut session.learner));
        let told = |finding: &Finding| {
            let line = finding.to_string();
            finding.severity == severity
                && finding.check == check
                && words.iter().all(|word| line.contains(word))
        };
        assert!(findings.iter().any(told), "{check} {words:?}: {findings:#?}");
    }
}

fn each(tensors: &mut StateDict, tensor: &str, change: impl Fn(&Tensor) -> Tensor) {
    tensors.iter_mut().filter(|(name, _)| name.contains(tensor)).for_each(|(_, t)| *t = change(t));
}

#[test]
fn what_is_wrong_with_files_is_named() {
    use Severity::{Error, Warning};
    let trained = train("lora,dora,adalora,bone,pissa", &[]);
    let copy = |method: &str| Copy::of(&adapter(trained.path(), method));

    let cut = copy("lora");
    let bytes = fs::read(cut.0.path().join(TENSORS)).unwrap();
    fs::write(cut.0.path().join(TENSORS), &bytes[..bytes.len() - 9]).unwrap();
    cut.shows(None, Error, "readable", &[TENSORS, "truncated"]);

    let typed = |name: &'static str| copy("lora").foreign().config(|c| c["peft_type"] = json!(name));
    typed("lora").shows(None, Error, "peft-type", &["`peft_type = lora`", "did you mean `LORA`"]);
    let untyped = copy("lora").foreign().config(|c| drop(c.remove("peft_type")));
    untyped.shows(None, Error, "peft-type", &["there is no `peft_type`"]);
    let old = copy("bone").foreign().config(|c| c["peft_type"] = json!("BONE"));
    old.shows(None, Warning, "peft-type", &["PEFT calls `BONE` `MISS` by now", "--for peft"]);

    let bare = |tensors: &mut StateDict| {
        *tensors = std::mem::take(tensors)
            .into_iter()
            .map(|(name, t)| (name.trim_start_matches("base_model.model.").to_owned(), t))
            .collect();
    };
    copy("lora").tensors(bare).shows(None, Error, "prefix", &["put `base_model.model.` before"]);
    let twice = copy("lora").tensors(|tensors| {
        let all = std::mem::take(tensors).into_iter();
        *tensors = all.map(|(name, t)| (format!("base_model.model.{name}"), t)).collect();
    });
    twice.shows(None, Error, "prefix", &["twice"]);

    let no_alpha = copy("lora").foreign().config(|c| drop(c.remove("lora_alpha")));
    no_alpha.shows(None, Error, "scale", &["`lora_alpha` is absent"]);
    let other_alpha = copy("lora").config(|c| c["lora_alpha"] = json!(7));
    other_alpha.shows(None, Error, "scale", &["`lora_alpha = 7`", "trained with `32`"]);
    let other_rule = copy("lora").config(|c| c["use_rslora"] = json!(true));
    other_rule.shows(None, Error, "scale", &["`use_rslora = true`", "trained with `false`"]);

    let other_rank = copy("lora").foreign().config(|c| c["r"] = json!(8));
    other_rank.shows(None, Error, "rank", &["rank 16, the configuration says 8"]);
    let half = copy("lora").tensors(|tensors| {
        tensors.retain(|name, _| !name.contains("layers.2.mlp.up_proj.lora_B"));
    });
    half.shows(None, Error, "rank", &["layers.2.mlp.up_proj", "without `lora_B`"]);
    let unpruned = copy("adalora").config(|c| {
        c["rank_pattern"]["model.layers.0.mlp.down_proj.lora_E"] = json!([true, false]);
    });
    unpruned.shows(None, Error, "rank", &["layers.0.mlp.down_proj", "the configuration says 1"]);

    let broken = copy("lora").tensors(|tensors| each(tensors, "layers.1.mlp.up_proj.lora_B", |t| t / 0.0));
    broken.shows(None, Error, "values", &["layers.1.mlp.up_proj.lora_B.weight", "NaN or infinite"]);
    let idle = copy("lora").tensors(|tensors| each(tensors, "lora_B", Tensor::zeros_like));
    idle.shows(None, Warning, "values", &["every `lora_B` is zero"]);

    let dash = copy("lora").tensors(|tensors| {
        let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_index.weight";
        tensors.insert(name.to_owned(), Tensor::ones([1, 8], (Kind::Float, Device::Cpu)));
    });
    dash.shows(None, Error, "disguise", &["lora_index", "an adapter of LoRA-Dash"]);
    let spectral = copy("lora").config(|c| drop(c.insert("spectral_top".to_owned(), json!(true))));
    spectral.shows(None, Error, "disguise", &["spectral_top", "an adapter of Spectral Adapter"]);
    let head = copy("lora").tensors(|tensors| {
        let ones = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
        tensors.insert("base_model.model.score.weight".to_owned(), ones);
    });
    head.shows(None, Error, "disguise", &["score.weight", "merge them into the base"]);
    let masked = copy("dora").foreign().config(|c| c["use_dora"] = json!(false));
    masked.shows(None, Error, "disguise", &["magnitudes of DoRA"]);
    let without = copy("dora").tensors(|tensors| tensors.retain(|name, _| !name.contains("magnitude")));
    without.shows(None, Error, "disguise", &["there are no magnitudes"]);

    let flagged = residual(copy("pissa")).config(|c| c["init_lora_weights"] = json!("pissa"));
    flagged.shows(None, Warning, "residual", &["init_lora_weights", "--for peft"]);
}

/// PiSSA as PEFT saves it: A and B over a base without what they started from.
fn residual(pissa: Copy) -> Copy {
    let half = |config: &mut Map<String, Value>| {
        for key in ["r", "lora_alpha"] {
            config[key] = json!(config[key].as_i64().unwrap() / 2);
        }
    };
    pissa.foreign().config(half).tensors(|tensors| {
        each(tensors, "lora_A", |a| a.narrow(0, 0, a.size()[0] / 2).contiguous());
        each(tensors, "lora_B", |b| b.narrow(1, 0, b.size()[1] / 2).contiguous());
    })
}

#[test]
fn what_is_wrong_on_a_model_is_named() {
    use Severity::Error;
    let targets = ["--set", "task.training.targets=['q_proj','up_proj']"];
    let pattern = ["--set", "methods.lora.alpha_pattern={ up_proj = 8.0 }"];
    let trained = train("lora,pissa", &[targets, pattern].concat());
    let copy = |method: &str| Copy::of(&adapter(trained.path(), method));
    let mut session = session();
    let on = &mut session;

    let misspelt = copy("lora").config(|c| c["target_modules"] = json!(["q_proj", "up_prj"]));
    misspelt.shows(
        Some(on),
        Error,
        "targets",
        &["`up_prj` matches no linear layer", "did you mean `up_proj`"],
    );
    let pattern = copy("lora").config(|c| c["target_modules"] = json!("q_proj"));
    pattern.shows(Some(on), Error, "targets", &["regular expression"]);
    let ranked = copy("lora").config(|c| c["rank_pattern"] = json!({ "k_proj": 4 }));
    ranked.shows(Some(on), Error, "targets", &["rank_pattern `k_proj` matches no"]);
    let partial = copy("lora").tensors(|tensors| tensors.retain(|name, _| !name.contains("layers.2.mlp")));
    partial.shows(Some(on), Error, "targets", &["1 of 8 targets have no tensors", "layers.2.mlp.up_proj"]);
    let fewer = copy("lora").config(|c| c["target_modules"] = json!(["q_proj"]));
    fewer.shows(Some(on), Error, "targets", &["which are no targets", "add them to `target_modules`"]);

    let forgotten = copy("lora").config(|c| drop(c.remove("alpha_pattern")));
    forgotten.shows(Some(on), Error, "scale", &["PEFT would make another update", "mlp.up_proj"]);

    let lost = residual(copy("pissa"));
    lost.shows(Some(on), Error, "residual", &["8 of 8 layers", "part of the weight itself"]);

    let loud = copy("lora").tensors(|tensors| each(tensors, "lora_B", |b| b.sign() * 1e37));
    loud.shows(Some(on), Error, "merge", &["merging changed the logits"]);
    let narrow = copy("lora").foreign().tensors(|tensors| {
        each(tensors, "q_proj.lora_A", |a| a.narrow(1, 0, 80).contiguous());
    });
    narrow.shows(Some(on), Error, "loads", &["expected shape [16, 160], found [16, 80]"]);
}

#[test]
fn the_command_fails_where_something_is_wrong() {
    let trained = train("lora", &[]);
    let good = adapter(trained.path(), "lora");
    let path = good.to_str().unwrap();
    let output = run(&["doctor", path, "--model", "builtin:mini"]);
    assert!(output.status.success() && text(&output).contains("nothing wrong"), "{}", text(&output));
    let json = run(&["doctor", path, "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout).unwrap(), json!([]));

    let other = tempfile::tempdir().unwrap();
    let out = other.path().to_str().unwrap();
    let merged = run(&["merge-into-base", "--adapter", path, "--out", out]);
    assert!(merged.status.success(), "{}", text(&merged));
    let wrong = run(&["doctor", path, "--model", out]);
    assert!(!wrong.status.success());
    assert!(text(&wrong).contains("error [base]"), "{}", text(&wrong));

    let broken = Copy::of(&good).config(|c| drop(c.remove("lora_alpha")));
    let output = run(&["doctor", broken.0.path().to_str().unwrap(), "--json"]);
    assert!(!output.status.success());
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["severity", "check", "what", "place", "advice"] {
        assert!(findings[0][key].is_string(), "{findings}");
    }
}
