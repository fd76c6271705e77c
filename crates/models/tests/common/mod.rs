//! Shared by the integration tests.
#![allow(dead_code, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use models::{Decoder, ModelFiles};
use peft_core::{
    Adaptable, AsLoaded, Attached, Attachment, Error, Method, Params, Place, Result, Role, Seeds, StateDict,
    Targets, role_of_base, tensor_file,
};
use tch::{Device, Kind, Tensor};

/// `../shared/<path>` beside the workspace, or a line that says what is skipped.
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if found.exists() {
        return Some(found);
    }
    eprintln!("SKIPPED: ../shared/{path} is not there");
    None
}

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

pub const GOLDEN: [&str; 2] = ["llama-tied-biased-llama3", "llama-linear"];

pub fn load(folder: &Path, kind: Kind) -> Decoder {
    // These models are tiny: a second thread only waits, and on a busy machine everything waits for it.
    tch::set_num_threads(1);
    Decoder::load(&ModelFiles::Folder(folder.to_owned()), Some(kind), Device::Cpu).unwrap()
}

pub fn tensors(path: &Path) -> StateDict {
    tensor_file::read(path).unwrap().0
}

/// `max|got - want| <= atol + rtol·max|want|`, the maximum over the whole tensor.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    pub atol: f64,
    pub rtol: f64,
}

impl Tolerance {
    pub fn check(self, what: &str, got: &Tensor, want: &Tensor) {
        assert_eq!(got.size(), want.size(), "{what}");
        let (got, want) = (got.to_kind(Kind::Double), want.to_kind(Kind::Double));
        let error = (got - &want).abs().max().double_value(&[]);
        let allowed = self.atol + self.rtol * want.abs().max().double_value(&[]);
        assert!(error <= allowed, "{what}: off by {error:e}, allowed {allowed:e}");
    }
}

/// Trains every tensor of the base.
#[derive(Debug)]
pub struct Everything;

impl Method for Everything {
    fn attach(&mut self, place: Place<'_>, _: &mut Params<'_>) -> Result<Attached> {
        Err(Error::site(&place.site.name, "every layer trains as a whole"))
    }

    fn trains_base(&self, name: &str) -> Option<Role> {
        Some(role_of_base(name))
    }
}

pub fn attach(model: &mut Decoder, method: impl Method + 'static) -> Attachment {
    let targets = Targets::default();
    let attachment =
        Attachment::new(model, "test", Box::new(method), &targets, &AsLoaded, &Seeds::new(0)).unwrap();
    model.activate(&attachment.active());
    attachment
}

/// `ids [rows, length]` in 3..vocabulary.
pub fn random_ids(model: &Decoder, rows: i64, length: i64) -> Tensor {
    let vocab_size = model.vocab_size();
    Tensor::randint_low(3, vocab_size, [rows, length], (Kind::Int64, Device::Cpu))
}
