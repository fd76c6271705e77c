//! What the registry declares of a method is what is found by trying, no less and no more.

mod common;

use common::settings;
use methods::{METHODS, find};
use peft_core::peft_file::{self, AdapterFile, Provenance};
use peft_core::{Adaptable, AsLoaded, Attachment, MethodInfo, StateDict, tensor_file};
use peft_testkit::{Tolerance, Toy, Trained, probe};
use tch::Kind;

#[test]
fn capabilities_are_what_is_found_by_trying() {
    let find = |name: &str| *find(name).unwrap();
    for info in METHODS {
        for settings in settings(info) {
            let found = probe(info, &settings, &find);
            assert_eq!(found, info.capabilities, "{} with {settings}", info.name);
        }
    }
}

#[test]
fn a_form_in_peft_is_one_that_its_configuration_alone_tells_how_to_read() {
    for info in METHODS {
        for settings in settings(info) {
            let known = reads_by_its_configuration(info, &settings);
            assert_eq!(known, info.peft.is_some(), "{} with {settings}", info.name);
        }
    }
}

/// Whether an adapter of `info`, written and read back without what only we write beside it, computes the same.
fn reads_by_its_configuration(info: &MethodInfo, settings: &toml::Table) -> bool {
    let by_name = |name: &str| *find(name).unwrap();
    let mut run = Trained::run(info, settings, &by_name, (Kind::Float, &AsLoaded), 6, 0).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(&mut run, info, settings).write(folder.path()).unwrap();
    let file = AdapterFile::read(folder.path()).unwrap();
    let Ok(peft_type) = file.peft_type() else { return false };
    let claims = |other: &&MethodInfo| {
        let format = other.peft.filter(|format| format.peft_type == peft_type)?;
        (format.read)(&file.config).unwrap().map(|settings| (other.build)(settings).unwrap())
    };
    let Some(method) = METHODS.iter().collect::<Vec<_>>().iter().find_map(claims) else { return false };
    let mut toy = Toy::new(Kind::Float);
    let (targets, tensors) = (file.targets().unwrap(), (&file.tensors, file.origin.as_str()));
    let loaded = Attachment::load(&mut toy, "default", method, &targets, &AsLoaded, tensors).unwrap();
    toy.activate(&loaded.active());
    let (ours, again) = (weights(&mut run.toy), weights(&mut toy));
    ours.iter().all(|(name, weight)| Tolerance::F32.check(&again[name], weight).is_ok())
}

/// As the harness writes it, without the method's name and settings in the header.
fn write(run: &mut Trained, info: &MethodInfo, settings: &toml::Table) -> AdapterFile {
    let config = match info.peft {
        Some(format) => (format.write)(settings).unwrap(),
        None => [("peft_type".to_owned(), info.name.to_uppercase().replace('-', "_").into())]
            .into_iter()
            .collect(),
    };
    let names: Vec<String> = run.toy.linears().iter().map(|l| l.name().to_owned()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let about = Provenance { base_model: "toy".to_owned(), task_type: None, fan_in_fan_out: false };
    peft_file::adapter_file(&run.attachment, &names, config, &about, tensor_file::Metadata::new())
}

fn weights(toy: &mut Toy) -> StateDict {
    toy.linears().iter().map(|l| (l.name().to_owned(), l.effective_weight().detach())).collect()
}
