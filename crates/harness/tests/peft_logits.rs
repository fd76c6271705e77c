//! Adapters that a run saved compute the same in HF PEFT on transformers' model; what PEFT makes of them, and what it
//! makes itself, computes the same here. Needs a Python with `peft` and `transformers`, `$PYTHON` or `python3`; without
//! one the test says so and passes.
#![allow(clippy::print_stderr)]

mod common;

use std::path::Path;
use std::process::Command;

use common::{adapter, train};
use harness::adapter::attach;
use harness::export::{Reader, export};
use harness::session::Session;
use methods::METHODS;
use peft_core::peft_file::AdapterFile;
use peft_core::tensor_file::{self, Metadata};
use peft_core::{Active, Adaptable, Mode, StateDict};
use tasks::Dtype;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

/// Largest difference of logits: two f32 programs that sum in different orders.
const TOLERANCE: f64 = 1e-4;

/// Settings in which as much as possible differs from the defaults, and a rate at which six steps change the logits by
/// more than rounding.
const SETTINGS: &str = r"
[method]
optimizer.lr = 2e-2
[methods.lora]
rank = 4
alpha = 6.0
rank_pattern = { up_proj = 3 }
alpha_pattern = { 'layers.1.mlp.down_proj' = 5.0 }
[methods.rslora]
rank = 4
alpha = 6.0
rank_pattern = { up_proj = 3 }
[methods.dora]
rank = 4
scaling = 'alpha-over-sqrt-rank'
magnitude_only = ['down_proj']
[methods.pissa]
rank = 8
alpha = 4.0
[methods.adalora]
initial_rank = 6
target_rank = 3
alpha = 8.0
interval = 1
[methods.vera]
rank = 16
projection_prng_key = 3
save_projection = false
[methods.bone]
rank = 7
[methods.bat]
rank = 8
";

fn python() -> Option<String> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python)
        .args(["-c", "import peft, transformers"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: `{python}` has no `peft` and `transformers`");
    }
    found.then_some(python)
}

fn logits(session: &mut Session, ids: &Tensor) -> Tensor {
    tch::no_grad(|| {
        let decoder = &session.learner.decoder;
        let hidden = decoder.hidden(ids, None, Mode::Eval, models::Activations::Keep).unwrap();
        decoder.logits(&hidden, Mode::Eval).to_kind(Kind::Float)
    })
}

/// The logits with the adapter of `folder`, unmerged, and the method it was taken for.
fn adapted(session: &mut Session, folder: &Path, ids: &Tensor) -> (Tensor, &'static str) {
    let file = AdapterFile::read(folder).unwrap();
    let (attachment, info, _) = attach(&mut session.learner, "default", &file, None).unwrap();
    session.learner.activate(&attachment.active());
    let logits = logits(session, ids);
    session.learner.activate(&Active::None);
    attachment.detach(&mut session.learner);
    (logits, info.name)
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// Trains every method, puts the adapters of those that have a form in PEFT below `folder/ours`, and what is
/// exported for other programs below `folder/exported`, as `METHOD.PROGRAM`. All adapters as they were trained are in the folder returned.
fn write_adapters(folder: &Path, session: &mut Session) -> TempDir {
    let copy = |run: &Path, method: &str, name: &str| {
        let to = folder.join("ours").join(name);
        std::fs::create_dir_all(&to).unwrap();
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            std::fs::copy(adapter(run, method).join(file), to.join(file)).unwrap();
        }
    };
    let settings = folder.join("settings.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    let options = ["--max-steps", "6", "--config", settings.to_str().unwrap()];
    let trained = train("every", &options);
    for info in METHODS {
        if info.peft.is_some() {
            copy(trained.path(), info.name, info.name);
        }
        // PEFT follows the rules of both: patterns of rank and α for the one, of rank alone for the other.
        for reader in [Reader::Vllm, Reader::Llamacpp] {
            let to = folder.join("exported").join(format!("{}.{}", info.name, reader.title()));
            let file = AdapterFile::read(&adapter(trained.path(), info.name)).unwrap();
            let written = export(&mut session.learner, file, reader, "mini", &to);
            assert_eq!(written.is_ok(), info.capabilities.lora_export, "{}", info.name);
        }
    }
    let old = train("bone", &[options.as_slice(), &["--set", "methods.bone.layout=bone"]].concat());
    copy(old.path(), "bone", "bone.old");
    let kept = adapter(trained.path(), "bone.old");
    std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
    std::fs::rename(adapter(old.path(), "bone"), kept).unwrap();
    trained
}

#[test]
fn peft_computes_the_same_and_so_do_we_with_what_it_writes() {
    let Some(python) = python() else { return };
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/models/mini");
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::load("builtin:mini", Dtype::F32, Device::Cpu, false).unwrap();
    let trained = write_adapters(folder.path(), &mut session);
    let ids = (Tensor::arange(3 * 40, (Kind::Int64, Device::Cpu)) * 7919).remainder(1000).view([3, 40]);
    let all = StateDict::from([("ids".to_owned(), ids.shallow_clone())]);
    tensor_file::write(&folder.path().join("ids.safetensors"), &all, &Metadata::new()).unwrap();

    let base = logits(&mut session, &ids);
    let adapters = |side: &str| -> Vec<String> {
        let entries = std::fs::read_dir(folder.path().join(side)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut found = Vec::new();
    for side in ["ours", "exported"] {
        for name in adapters(side) {
            let (method, variant) = name.split_once('.').unwrap_or((&name, ""));
            let source = adapter(trained.path(), if variant == "old" { &name } else { method });
            let (logits, known) = adapted(&mut session, &source, &ids);
            assert_eq!(method, known);
            found.push((format!("{side}.{name}"), logits));
        }
    }

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peft_logits.py");
    let output = Command::new(python).arg(script).arg(&model).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in adapters("theirs") {
        let (logits, method) = adapted(&mut session, &folder.path().join("theirs").join(&name), &ids);
        if let Some(made) = name.strip_suffix(".made") {
            assert_eq!(made, method);
        }
        found.push((format!("theirs.{name}"), logits));
    }

    let expected = |name: &str| {
        let path = folder.path().join(format!("{name}.safetensors"));
        tensor_file::read(&path).unwrap().0.remove("logits").unwrap()
    };
    assert!(difference(&base, &expected("base")) < TOLERANCE);
    for (name, logits) in &found {
        let apart = difference(logits, &expected(name));
        assert!(apart < TOLERANCE, "{name}: {apart:e}");
        assert!(difference(logits, &base) > 100.0 * TOLERANCE, "{name} changes nothing");
    }
    let known = METHODS.iter().filter(|info| info.peft.is_some()).count();
    let exported = METHODS.iter().filter(|info| info.capabilities.lora_export).count();
    // Those known to PEFT and an old one, both ways; those that PEFT made; two programs.
    assert_eq!(found.len(), 2 * (known + 1) + 9 + 2 * exported);
}
