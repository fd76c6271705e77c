//! Adapters written here compute the same in HF PEFT, and what PEFT writes computes the same here. Needs a Python with
//! `peft`, `$PYTHON` or `python3`; without one the test says so and passes.
#![allow(clippy::print_stderr)]

use std::path::Path;
use std::process::Command;

use methods::{METHODS, find};
use peft_core::peft_file::{self, AdapterFile, Provenance};
use peft_core::{Adaptable, AsLoaded, Attachment, MethodInfo, Mode, Seeds, StateDict, init, tensor_file};
use peft_testkit::{Tolerance, Toy, Trained, assert_close};
use tch::{Device, Kind};

fn python() -> Option<String> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found =
        Command::new(&python).args(["-c", "import peft"]).output().is_ok_and(|out| out.status.success());
    if !found {
        eprintln!("skipped: `{python}` has no `peft`");
    }
    found.then_some(python)
}

/// Settings in which as much as possible differs from the defaults.
fn settings(info: &MethodInfo) -> toml::Table {
    const PATTERNS: &str = "rank = 4\nalpha = 6.0\nrank_pattern = { up_proj = 3 }\nalpha_pattern = { 'layers.1.mlp.down_proj' = 5.0 }\n";
    let text = match info.name {
        "vera" => "rank = 6\nprojection_prng_key = 3\nsave_projection = false".to_owned(),
        "dora" => format!("{PATTERNS}scaling = 'alpha-over-sqrt-rank'\nmagnitude_only = ['down_proj']"),
        "pissa" => format!("{PATTERNS}init = 'pissa_niter_1'"),
        "adalora" => {
            "initial_rank = 4\ntarget_rank = 2\nalpha = 6.0\ninterval = 1\nfine_tuning = 2".to_owned()
        }
        "bone" => "rank = 5\ndropout = 0.1".to_owned(),
        "bat" => "rank = 4".to_owned(),
        "lori-s" => format!("{PATTERNS}sparsity = 0.5"),
        _ => PATTERNS.to_owned(),
    };
    text.parse().unwrap()
}

/// An input for every layer of the toy.
fn inputs(toy: &mut Toy) -> StateDict {
    let draw = |name: &str, columns| {
        init::normal(&[5, columns], 1.0, &mut Seeds::new(0).child(name).rng(), Device::Cpu)
    };
    (toy.linears().iter())
        .map(|linear| (linear.name().to_owned(), draw(linear.name(), linear.shape().in_features)))
        .collect()
}

/// The adapter's outputs and effective weights.
fn results(toy: &mut Toy) -> StateDict {
    let inputs = inputs(toy);
    let of = |linear: &&mut peft_core::AdaptedLinear| {
        let name = linear.name().to_owned();
        let output = linear.forward(&inputs[&name], Mode::Eval).detach();
        [(format!("output.{name}"), output), (format!("merged.{name}"), linear.effective_weight().detach())]
    };
    toy.linears().iter().flat_map(of).collect()
}

fn assert_same(what: &str, found: &StateDict, expected: &StateDict) {
    assert_eq!(found.len(), expected.len());
    for (name, tensor) in expected {
        assert_close(&format!("{what}: {name}"), &found[name], tensor, Tolerance::F32);
    }
}

fn write(folder: &Path, name: &str, tensors: &StateDict) {
    tensor_file::write(&folder.join(name), tensors, &tensor_file::Metadata::new()).unwrap();
}

fn write_base(folder: &Path) {
    let mut toy = Toy::new(Kind::Float);
    let mut base: StateDict =
        toy.linears().iter().filter_map(|l| Some((l.bias()?.name().to_owned(), l.bias()?.value()))).collect();
    base.extend(toy.linears().iter().map(|l| (format!("{}.weight", l.name()), l.frozen().dense())));
    write(folder, "base.safetensors", &base);
    write(folder, "inputs.safetensors", &inputs(&mut toy));
}

/// Trains, writes the adapter, returns what it computes.
fn write_adapter(
    folder: &Path,
    info: &MethodInfo,
    config: serde_json::Map<String, serde_json::Value>,
) -> StateDict {
    let find = |name: &str| *find(name).unwrap();
    let mut run = Trained::run(info, &settings(info), &find, (Kind::Float, &AsLoaded), 6, 0).unwrap();
    let names: Vec<String> = run.toy.linears().iter().map(|l| l.name().to_owned()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let about = Provenance { base_model: "toy".to_owned(), task_type: None, fan_in_fan_out: false };
    let file = peft_file::adapter_file(&run.attachment, &names, config, &about, tensor_file::Metadata::new());
    file.write(&folder.join(info.name)).unwrap();
    results(&mut run.toy)
}

/// Reads an adapter that PEFT wrote, knowing nothing but what is in it.
fn read_back(folder: &Path) -> StateDict {
    let file = AdapterFile::read(folder).unwrap();
    let peft_type = file.peft_type().unwrap();
    let claims = |info: &MethodInfo| {
        let format = info.peft.filter(|format| format.peft_type == peft_type)?;
        (info.build)((format.read)(&file.config).unwrap()?).ok()
    };
    let method = METHODS.iter().find_map(claims).expect("a method claims the file");
    let mut toy = Toy::new(Kind::Float);
    let (targets, tensors) = (file.targets().unwrap(), (&file.tensors, file.origin.as_str()));
    let attachment = Attachment::load(&mut toy, "default", method, &targets, &AsLoaded, tensors).unwrap();
    toy.activate(&attachment.active());
    results(&mut toy)
}

#[test]
fn peft_computes_the_same_and_so_do_we_with_what_it_writes() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    write_base(folder.path());
    let expected: Vec<(&MethodInfo, StateDict)> = (METHODS.iter())
        .filter_map(|info| Some((info, (info.peft?.write)(&settings(info)).unwrap())))
        .map(|(info, config)| (info, write_adapter(folder.path(), info, config)))
        .collect();

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peft_roundtrip.py");
    let run = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

    for (info, expected) in expected {
        let adapter = folder.path().join(info.name);
        let (theirs, _) = tensor_file::read(&adapter.join("peft.safetensors")).unwrap();
        assert_same(&format!("{} in PEFT", info.name), &theirs, &expected);
        let again = read_back(&adapter.join("again"));
        assert_same(&format!("{} from PEFT", info.name), &again, &expected);
    }
}
