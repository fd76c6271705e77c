//! Every program gets what it reads, or a reason; and nothing is wrong with what is saved and exported.

mod common;

use std::path::Path;

use clap::ValueEnum;
use common::{adapter, refused, run, text, train};
use harness::doctor::examine;
use harness::export::{Reader, export};
use harness::session::Session;
use methods::METHODS;
use peft_core::peft_file::AdapterFile;
use peft_core::{StateDict, tensor_file};
use serde_json::Value;
use tasks::Dtype;
use tch::Device;

fn read(folder: &Path) -> (Value, StateDict) {
    let config = std::fs::read(folder.join("adapter_config.json")).unwrap();
    let (tensors, _) = tensor_file::read(&folder.join("adapter_model.safetensors")).unwrap();
    (serde_json::from_slice(&config).unwrap(), tensors)
}

#[test]
fn every_method_goes_where_it_can_and_says_why_not_elsewhere() {
    let trained = train("every", &[]);
    let out = tempfile::tempdir().unwrap();
    let mut session = Session::load("builtin:mini", Dtype::F32, Device::Cpu, false).unwrap();
    for info in METHODS {
        let source = adapter(trained.path(), info.name);
        assert_eq!(examine(&source, None), [], "{}", info.name);
        assert_eq!(examine(&source, Some(&mut session.learner)), [], "{}", info.name);
        for &reader in Reader::value_variants() {
            let file = AdapterFile::read(&source).unwrap();
            let to = out.path().join(info.name).join(reader.title());
            let written = export(&mut session.learner, file, reader, "builtin:mini", &to);
            let native = reader == Reader::Peft && info.peft.is_some();
            if native || info.capabilities.lora_export {
                let written = written.unwrap_or_else(|error| panic!("{}: {error}", info.name));
                assert_eq!(written.rank.is_none(), native, "{}", info.name);
                let (config, tensors) = read(&to);
                assert!(native || config["peft_type"] == "LORA" && config["use_rslora"] == false);
                assert!(!tensors.is_empty());
                assert_eq!(examine(&to, None), [], "{} for {}", info.name, reader.title());
            } else {
                let error = written.unwrap_err();
                let (said, hint) = (error.to_string(), error.hint().unwrap());
                assert!(said.contains(info.name) && said.contains(reader.title()), "{said}");
                assert!(hint.contains("merge-into-base"), "{hint}");
                assert!(!to.exists(), "nothing is written for {}", info.name);
            }
        }
    }
}

/// What was trained over four bits is written for the base as it is: there a residual method's update is the difference
/// from its start, while over a stored residual it is the whole product.
#[test]
fn adapters_of_a_quantized_base_leave_for_the_base_as_it_is() {
    let trained = train("lora,pissa", &["--quantize", "nf4"]);
    let out = tempfile::tempdir().unwrap();
    let mut session = Session::load("builtin:mini", Dtype::F32, Device::Cpu, false).unwrap();
    for method in ["lora", "pissa"] {
        let source = adapter(trained.path(), method);
        assert_eq!(examine(&source, Some(&mut session.learner)), [], "{method}");
        let (_, own) = read(&source);
        let to = out.path().join(method);
        let file = AdapterFile::read(&source).unwrap();
        let rank = export(&mut session.learner, file, Reader::Vllm, "builtin:mini", &to).unwrap().rank;
        let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
        assert_eq!(rank, Some(own[name].size()[0]), "{method}: a file holds the start beside what it became");
    }
}

/// Sites of different ranks: PEFT and mistral.rs take their patterns, vLLM has one factor, llama.cpp one α.
#[test]
fn ranks_that_differ_mean_the_same_everywhere() {
    let settings = ["--set", "methods.lora.rank_pattern={ up_proj = 3 }"];
    let trained = train("lora", &settings);
    let source = adapter(trained.path(), "lora");
    let out = tempfile::tempdir().unwrap();
    let written = |program: &str| {
        let to = out.path().join(program);
        let args = ["export", source.to_str().unwrap(), "--for", program, "--out", to.to_str().unwrap()];
        let output = run(&args);
        assert!(output.status.success(), "{}", text(&output));
        read(&to)
    };
    let (_, own) = read(&source);
    let name =
        |module: &str, tensor: &str| format!("base_model.model.model.layers.1.{module}.{tensor}.weight");
    // lora: r = 16 and α = 32, so 32/16 at q_proj and 32/3 at up_proj.
    for (module, rank, scaling) in [("self_attn.q_proj", 16.0, 2.0), ("mlp.up_proj", 3.0, 32.0 / 3.0)] {
        let product =
            |tensors: &StateDict| tensors[&name(module, "lora_B")].matmul(&tensors[&name(module, "lora_A")]);
        let update = product(&own) * scaling;
        let is = |found: tch::Tensor| {
            let apart = (&found - &update).abs().max() / update.abs().max();
            assert!(apart.double_value(&[]) < 1e-5, "{module}");
        };
        let number = |config: &Value, key: &str| config[key].as_f64().unwrap();
        for program in ["vllm", "mistralrs"] {
            let (config, tensors) = written(program);
            is(product(&tensors) * (number(&config, "lora_alpha") / number(&config, "r")));
            let pattern = |key: &str, default: &str| {
                let path = format!("model.layers.1.{module}");
                config[key][path.as_str()].as_f64().unwrap_or_else(|| number(&config, default))
            };
            let (alpha, rank) = (pattern("alpha_pattern", "lora_alpha"), pattern("rank_pattern", "r"));
            is(product(&tensors) * (alpha / rank));
        }
        let (config, tensors) = written("llamacpp");
        is(product(&tensors) * (number(&config, "lora_alpha") / rank));
    }
}

/// What is written is what was read, whatever stands in the way.
#[test]
fn a_rank_that_no_server_takes_is_refused() {
    let trained = train("vera", &["--set", "method.rank=600"]);
    let source = adapter(trained.path(), "vera");
    let out = tempfile::tempdir().unwrap();
    let to = out.path().join("vllm");
    let args = ["export", source.to_str().unwrap(), "--for", "vllm", "--out", to.to_str().unwrap()];
    refused(&args, &["rank 600", "512 is the most it takes"]);
    assert!(!to.join("adapter_config.json").exists());
}
