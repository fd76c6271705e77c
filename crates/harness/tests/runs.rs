//! What a run leaves behind, and what must not change it.

mod common;

use std::path::Path;

use common::{adapter, adapter_on, records, run, text, train, train_on};
use peft_core::StateDict;

fn tensors(folder: &Path) -> StateDict {
    peft_core::tensor_file::read(&folder.join("adapter_model.safetensors")).unwrap().0
}

/// The largest difference relative to the largest value, over all tensors.
fn distance(a: &StateDict, b: &StateDict) -> f64 {
    assert!(a.keys().eq(b.keys()));
    let of = |(x, y): (&tch::Tensor, &tch::Tensor)| {
        (x - y).abs().max().double_value(&[]) / x.abs().max().double_value(&[]).max(1e-9)
    };
    a.values().zip(b.values()).map(of).fold(0.0, f64::max)
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    for method in ["lora", "lori-s"] {
        let [one, two] = [train(method, &[]), train(method, &[])];
        let [one, two] = [one, two].map(|folder| tensors(&adapter(folder.path(), method)));
        assert_eq!(one, two, "{method}");
    }
    let [one, two] = [train("lora", &[]), train("lora", &["--seed", "1"])];
    let other = two.path().join("adapters/nlu/lora/seed-1");
    assert!(distance(&tensors(&adapter(one.path(), "lora")), &tensors(&other)) > 0.1);
}

/// Parts of a step share its divisor, so rows of different length weigh by their tokens. AdamW divides a gradient by
/// its own size, so where a gradient is small its rounding is not: entries may be off by a part of one step's move.
#[test]
fn micro_batches_packing_and_recomputation_change_nothing() {
    const TOLERANCE: f64 = 2e-3;
    let whole = train_on("math", "lora", &[]);
    let want = tensors(&adapter_on("math", whole.path(), "lora"));
    for more in [["--micro-batch", "5"].as_slice(), &["--gradient-checkpointing"], &["--packing"]] {
        let parts = train_on("math", "lora", more);
        let found = distance(&want, &tensors(&adapter_on("math", parts.path(), "lora")));
        assert!(found < TOLERANCE, "{more:?}: {found:e}");
        let [a, b] = [&whole, &parts].map(|folder| losses(folder.path()));
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 1e-5 * a.abs(), "{more:?}: loss {a} and {b}");
        }
    }
}

fn losses(folder: &Path) -> Vec<f64> {
    let record = records(folder).into_iter().find(|record| record["method"] != "base").unwrap();
    let points = record["curves"]["loss"].as_array().unwrap().clone();
    assert_eq!(points.len(), 3);
    points.iter().map(|point| point["value"].as_f64().unwrap()).collect()
}

#[test]
fn lori_s_brings_the_run_it_needs() {
    let folder = train("lori-s", &[]);
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["schema"], 1);
    let rows = summary["rows"].as_array().unwrap();
    let named: Vec<(&str, &str)> =
        rows.iter().map(|row| (row["method"].as_str().unwrap(), row["variant"].as_str().unwrap())).collect();
    assert_eq!(named, [("base", ""), ("lori", "d"), ("lori", "s")]);
    let [base, dense, sparse] = [&rows[0], &rows[1], &rows[2]];
    assert!(base["train_seconds"].is_null() && base["trainable_parameters"] == 0);
    assert!(sparse["train_seconds"].as_f64() > dense["train_seconds"].as_f64());
    for key in [
        "task",
        "metric",
        "value",
        "ci_low",
        "ci_high",
        "n_items",
        "seeds",
        "trainable_percent",
        "peak_bytes",
    ] {
        assert!(!sparse[key].is_null(), "{key}");
    }

    let trained = dense["trainable_parameters"].as_u64().unwrap();
    let saved = tensors(&adapter(folder.path(), "lori-s"));
    let up = |name: &&String| name.contains("lora_B");
    let kept: i64 = saved.keys().filter(up).map(|name| saved[name].nonzero().size()[0]).sum();
    let allowed = sparse["trainable_parameters"].as_i64().unwrap();
    assert!(kept <= allowed && kept > allowed / 2, "{kept} of {allowed}");
    assert_eq!(allowed, trained as i64 / 10);
}

#[test]
fn a_merged_model_answers_like_its_adapter() {
    let folder = train("lora", &[]);
    let good = adapter(folder.path(), "lora");
    let out = folder.path().join("merged");
    let (good, merged) = (good.to_str().unwrap(), out.to_str().unwrap());
    let done = run(&["merge-into-base", "--adapter", good, "--out", merged]);
    assert!(done.status.success(), "{}", text(&done));
    let say = |more: &[&str]| {
        let mut args = vec!["generate", " the deer is", "--max-new-tokens", "12"];
        args.extend(more);
        let output = run(&args);
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let adapted = say(&["--adapter", good]);
    assert_eq!(adapted, say(&["--model", merged]));
    assert!(adapted.len() > " the deer is\n".len());
    assert!(out.join("tokenizer.json").exists());
}

/// What was stored in four bits stays so in everything that is done with the adapter.
#[test]
fn an_adapter_over_four_bits_remembers_them() {
    let folder = train("pissa", &["--quantize", "nf4"]);
    let record = records(folder.path()).into_iter().find(|record| record["method"] == "pissa").unwrap();
    assert_eq!(record["config"]["task"]["training"]["quantize"], "nf4");
    let adapter = adapter(folder.path(), "pissa");
    let adapter = adapter.to_str().unwrap();
    let out = folder.path().join("merged");
    let merged = out.to_str().unwrap();
    assert!(run(&["merge-into-base", "--adapter", adapter, "--out", merged]).status.success());
    let say = |more: &[&str]| {
        let mut args = vec!["generate", " the deer is", "--max-new-tokens", "12"];
        args.extend(more);
        text(&run(&args))
    };
    assert_eq!(say(&["--adapter", adapter]), say(&["--model", merged]));
    // The merged weights are those over four bits, not those of the model as it was.
    let merged = peft_core::tensor_file::read(&out.join("model.safetensors")).unwrap().0;
    let dense =
        peft_core::tensor_file::read(Path::new("../../configs/models/mini/model.safetensors")).unwrap().0;
    let norm = "model.layers.0.input_layernorm.weight";
    assert_eq!(merged[norm].to_kind(tch::Kind::Float), dense[norm].to_kind(tch::Kind::Float));
    let weight = "model.layers.0.mlp.up_proj.weight";
    let moved = (&merged[weight] - &dense[weight]).abs().max().double_value(&[]);
    assert!(moved > 1e-3, "{moved}");
    // What the command line says wins over what the file says: here the residual's storage, which loses something.
    let over_dense = folder.path().join("over-dense");
    let more = ["--out", over_dense.to_str().unwrap(), "--quantize", "none"];
    assert!(run(&[["merge-into-base", "--adapter", adapter].as_slice(), &more].concat()).status.success());
    let over_dense = peft_core::tensor_file::read(&over_dense.join("model.safetensors")).unwrap().0;
    let apart = (&merged[weight] - &over_dense[weight]).abs().max().double_value(&[]);
    assert!(apart > 1e-3, "{apart}");
}

#[test]
fn the_validation_split_makes_a_curve_and_chooses() {
    let more = ["--set", "tasks.nlu.training.eval_every=1", "--set", "task.training.select=best_validation"];
    let folder = train("lora", &more);
    let record = records(folder.path()).into_iter().find(|record| record["method"] == "lora").unwrap();
    for curve in ["accuracy", "loss"] {
        let points = record["curves"]["validation"][curve].as_array().unwrap();
        assert_eq!(points.len(), 3, "{curve}");
    }
}

#[test]
fn every_provided_configuration_parses_and_builds() {
    let output = run(&["show", "--method", "every"]);
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    for info in methods::METHODS {
        assert_eq!(said.matches(&format!("# {} on ", info.name)).count(), 4, "{}", info.name);
    }
    for listing in ["methods", "tasks", "models"] {
        assert!(run(&["list", listing]).status.success());
    }
    let plan = run(&["plan", "--method", "lori", "--task", "nlu"]);
    assert!(plan.status.success() && text(&plan).contains("28 layers can be adapted"), "{}", text(&plan));
}

/// The count that a training log of LoRI's code prints for Llama-3-8B, from its config.json alone.
#[test]
fn a_plan_counts_from_a_config_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = serde_json::json!({
        "model_type": "llama", "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192, "rope_theta": 500_000.0, "tie_word_embeddings": false,
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let model = folder.path().to_str().unwrap();
    let args = ["plan", "--method", "lora,lori", "--task", "math", "--model", model, "--quiet"];
    let output = run(&[args.as_slice(), &["--set", "method.rank=32"]].concat());
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for count in ["83886080", "44040192", "4404019"] {
        assert!(said.contains(count), "{count}: {said}");
    }
    assert!(said.contains("Counts only"), "{said}");
}

/// LoRI-S goes on from what the first task left: A stays, and B moves only inside the mask of the second task, its decay too.
#[test]
fn a_second_task_moves_only_what_its_mask_lets_move() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let small: Vec<String> = ["nlu", "safety"].iter().flat_map(|task| common::small(task)).collect();
    let mut args =
        vec!["continual", "--method", "lori-s", "--task", "safety,nlu", "--max-steps", "3", "--quiet"];
    args.extend(["--threads", "1", "--joint", "--out", &out, "--set", "task.training.weight_decay=0.5"]);
    args.extend(small.iter().map(String::as_str));
    let output = run(&args);
    assert!(output.status.success(), "{}", text(&output));

    let stage = |name: &str| folder.path().join("adapters").join(name).join("lori-s/seed-0");
    let (first, second) = (tensors(&stage("safety")), tensors(&stage("safety-nlu")));
    let masks = peft_core::tensor_file::read(&stage("safety-nlu").join("masks.safetensors")).unwrap().0;
    let (mut kept, mut moved) = (0, 0);
    for (name, before) in &first {
        let after = &second[name];
        if name.contains("lora_A") {
            assert_eq!(before, after, "{name}");
            continue;
        }
        let module = name.trim_start_matches("base_model.model.").trim_end_matches(".lora_B.weight");
        let outside = masks[&format!("mask.{module}")].to_kind(tch::Kind::Bool).logical_not();
        assert_eq!(before.masked_select(&outside), after.masked_select(&outside), "{name}");
        kept += before.masked_select(&outside).count_nonzero(None::<i64>).int64_value(&[]);
        moved += before.ne_tensor(after).sum(tch::Kind::Int64).int64_value(&[]);
    }
    assert!(kept > 0 && moved > 0, "{kept} values of the first task stay, {moved} move");

    let matrix = std::fs::read_to_string(folder.path().join("continual.json")).unwrap();
    let matrix: serde_json::Value = serde_json::from_str(&matrix).unwrap();
    assert_eq!(matrix[0]["sequence"]["after"].as_array().unwrap().len(), 2);
    assert_eq!(matrix[0]["joint"].as_array().unwrap().len(), 2);
    let mut tasks: Vec<String> = records(folder.path())
        .iter()
        .filter(|record| record["method"] == "lori-s")
        .map(|record| record["task"].as_str().unwrap().to_owned())
        .collect();
    tasks.sort();
    assert_eq!(tasks, ["safety", "safety-nlu", "safety-nlu-jointly"], "no table takes one for another");
}
