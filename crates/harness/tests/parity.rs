//! Golden cases of the reference implementations that must pass, where they lie beside the workspace.

mod common;

use std::path::{Path, PathBuf};

use common::{run, text};

const CASES: [&str; 72] = [
    "model-llama",
    "model-llama3-tied",
    "generate-llama",
    "full",
    "lora",
    "lora-warm",
    "lora-patterns-warm",
    "lora-plus",
    "lora-plus-warm",
    "lori-d",
    "lori-d-warm",
    "lori-s",
    "lori-s-matrix",
    "lori-s-warm",
    "rslora",
    "rslora-warm",
    "dora",
    "dora-warm",
    "pissa",
    "pissa-fast",
    "pissa-scaled",
    "milora",
    "milora-scaled",
    "olora",
    "olora-scaled",
    "adalora",
    "adalora-warm",
    "bone",
    "bone-warm",
    "bat",
    "bat-warm",
    "vera",
    "vera-warm",
    "lora-dash",
    "lora-dash-warm",
    "spectral-a",
    "spectral-a-warm",
    "spectral-r",
    "spectral-r-warm",
    "rosa",
    "rosa-mean",
    "rosa-warm",
    "spa",
    "nf4",
    "qpissa",
    "qlora-nf4-warm",
    "merge-lora",
    "merge-lori",
    "merge-rslora",
    "optim-adamw",
    "optim-clip",
    "optim-loraplus-groups",
    "schedule",
    "lora-qwen2-warm",
    "lora-gpt2-warm",
    "lora-encoder-cls",
    "model-mistral-window",
    "model-qwen2",
    "model-qwen3",
    "model-gemma2",
    "model-gpt2",
    "model-gptj",
    "model-opt",
    "model-bert-cls2",
    "model-bert-cls3",
    "model-bert-cls1",
    "model-roberta-cls",
    "model-deberta-v2-cls",
    "model-deberta-v3-cls",
    "model-bart",
    "generate-gpt2",
    "rlhf-reward-model",
];

/// `../shared/parity/<name>` beside the workspace, or a line that says what is skipped.
#[allow(clippy::print_stderr)]
fn golden(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/parity").join(name);
    if !path.exists() {
        eprintln!("skipped: ../shared/parity/{name} is not there");
    }
    path.exists().then_some(path)
}

#[test]
fn golden_cases_pass() {
    let Some(folder) = golden("") else { return };
    let cases = CASES.map(|case| folder.join(case).display().to_string());
    let mut args = vec!["parity"];
    args.extend(cases.iter().map(String::as_str));
    let output = run(&args);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("72 of 72 cases pass"), "{}", text(&output));
}

#[test]
fn a_wrong_result_fails() {
    let Some(folder) = golden("lora") else { return };
    let copy = tempfile::tempdir().unwrap();
    let status =
        std::process::Command::new("cp").args(["-r"]).arg(&folder).arg(copy.path()).status().unwrap();
    assert!(status.success());
    let path = copy.path().join("lora/expected.safetensors");
    let (mut tensors, metadata) = peft_core::tensor_file::read(&path).unwrap();
    let loss = tensors.get_mut("loss").unwrap();
    *loss = &*loss * 1.001;
    peft_core::tensor_file::write(&path, &tensors, &metadata).unwrap();
    let output = run(&["parity", copy.path().join("lora").to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(text(&output).contains("FAIL loss"), "{}", text(&output));
}
