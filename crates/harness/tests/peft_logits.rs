//! Adapters that a run saved compute the same in HF PEFT on transformers' model, and PEFT's compute the same here. Needs
//! a Python with `peft` and `transformers`, `$PYTHON` or `python3`; without one the test says so and passes.
#![allow(clippy::print_stderr)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{adapter, train};
use harness::adapter::attach;
use harness::session::Session;
use peft_core::peft_file::AdapterFile;
use peft_core::tensor_file::{self, Metadata};
use peft_core::{Active, Adaptable, Mode, StateDict};
use tasks::Dtype;
use tch::{Device, Kind, Tensor};

/// Largest difference of logits: two f32 programs that sum in different orders.
const TOLERANCE: f64 = 1e-4;

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

/// The logits with the adapter of `folder`, unmerged.
fn adapted(session: &mut Session, folder: &Path, ids: &Tensor) -> Tensor {
    let file = AdapterFile::read(folder).unwrap();
    let (attachment, ..) = attach(&mut session.learner, "default", &file, None).unwrap();
    session.learner.activate(&attachment.active());
    let logits = logits(session, ids);
    session.learner.activate(&Active::None);
    attachment.detach(&mut session.learner);
    logits
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

#[test]
fn peft_computes_the_same() {
    let Some(python) = python() else { return };
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/models/mini");
    let run = train("lora,lori-s,dora,pissa", &["--set", "method.optimizer.lr=2e-2"]);
    let folder = tempfile::tempdir().unwrap();
    let methods = ["lora", "lori-d", "lori-s", "dora", "pissa"];
    for method in methods {
        let to = folder.path().join("ours").join(method);
        std::fs::create_dir_all(&to).unwrap();
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            std::fs::copy(adapter(run.path(), method).join(name), to.join(name)).unwrap();
        }
    }
    let ids = (Tensor::arange(3 * 40, (Kind::Int64, Device::Cpu)) * 7919).remainder(1000).view([3, 40]);
    let all = StateDict::from([("ids".to_owned(), ids.shallow_clone())]);
    tensor_file::write(&folder.path().join("ids.safetensors"), &all, &Metadata::new()).unwrap();

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peft_logits.py");
    let output = Command::new(python).arg(script).arg(&model).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = |name: &str| {
        let path: PathBuf = folder.path().join(format!("{name}.logits.safetensors"));
        tensor_file::read(&path).unwrap().0.remove("logits").unwrap()
    };

    let mut session = Session::load("builtin:mini", Dtype::F32, Device::Cpu, false).unwrap();
    let base = logits(&mut session, &ids);
    assert!(difference(&base, &theirs("base")) < TOLERANCE);
    let checks = methods.map(|name| (name, folder.path().join("ours").join(name)));
    for (name, adapter) in checks.into_iter().chain([("theirs", folder.path().join("theirs"))]) {
        let ours = adapted(&mut session, &adapter, &ids);
        let found = difference(&ours, &theirs(name));
        assert!(found < TOLERANCE, "{name}: {found:e}");
        assert!(difference(&ours, &base) > 100.0 * TOLERANCE, "{name} changes nothing");
    }
}
