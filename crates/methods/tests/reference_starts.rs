//! Own initializations and file forms against those of the reference implementations, from the golden cases beside the
//! workspace; without them each test says so and passes.

use std::path::{Path, PathBuf};

use methods::{METHODS, find};
use peft_core::peft_file::AdapterFile;
use peft_core::{
    Adaptable, AdaptedLinear, AsLoaded, Attachment, FileTensors, Layout, MethodInfo, Part, Result, Seeds,
    StateDict, linalg, tensor_file,
};
use peft_testkit::{Tolerance, assert_close, shared};
use tch::Tensor;

/// The projections of a case's model, without what is between them.
#[derive(Debug)]
struct Layers(Vec<AdaptedLinear>);

impl Adaptable for Layers {
    fn parts(&mut self) -> Vec<Part<'_>> {
        self.0.iter_mut().map(Part::Linear).collect()
    }
}

impl Layers {
    fn read(case: &Path) -> Self {
        let (tensors, _) = tensor_file::read(&case.join("model/model.safetensors")).unwrap();
        let projections = tensors.iter().filter(|(name, _)| name.ends_with("_proj.weight"));
        let linear = |(name, weight): (&String, &Tensor)| {
            AdaptedLinear::new(name.trim_end_matches(".weight"), weight, None, Layout::OutIn)
        };
        Self(projections.map(linear).collect())
    }
}

struct Case {
    folder: PathBuf,
    info: &'static MethodInfo,
    settings: toml::Table,
    expected: StateDict,
}

impl Case {
    fn read(name: &str) -> Option<Self> {
        let folder = shared(&format!("parity/{name}"))?;
        let (info, settings) = Self::method(&AdapterFile::read(&folder.join("adapter_init")).unwrap(), name);
        let (expected, _) = tensor_file::read(&folder.join("expected.safetensors")).unwrap();
        Some(Self { folder, info, settings, expected })
    }

    /// What PEFT's configuration means; nothing in the files of MiLoRA says that they are any.
    fn method(file: &AdapterFile, case: &str) -> (&'static MethodInfo, toml::Table) {
        if case.starts_with("milora") {
            let settings = format!("rank = {}\nalpha = {}.0", file.config["r"], file.config["lora_alpha"]);
            return (find("milora").unwrap(), settings.parse().unwrap());
        }
        let peft_type = file.peft_type().unwrap();
        let formats = METHODS.iter().filter_map(|info| Some((info, info.peft?)));
        formats
            .filter(|(_, format)| format.peft_type == peft_type)
            .find_map(|(info, format)| Some((info, (format.read)(&file.config).unwrap()?)))
            .expect("a method claims the file")
    }

    fn file(&self, folder: &str) -> AdapterFile {
        AdapterFile::read(&self.folder.join(folder)).unwrap()
    }

    fn attach(&self) -> (Layers, Attachment) {
        let mut layers = Layers::read(&self.folder);
        let (method, targets) =
            ((self.info.build)(self.settings.clone()).unwrap(), self.file("adapter_init").targets().unwrap());
        let attachment =
            Attachment::new(&mut layers, "default", method, &targets, &AsLoaded, &Seeds::new(0)).unwrap();
        (layers, attachment)
    }

    fn load(&self, file: &AdapterFile, start: Option<&StateDict>) -> Result<(Layers, Attachment)> {
        let mut layers = Layers::read(&self.folder);
        let method = (self.info.build)(self.settings.clone()).unwrap();
        let tensors = FileTensors { tensors: &file.tensors, start, origin: &file.origin };
        let targets = file.targets().unwrap();
        let attachment = Attachment::load(&mut layers, "default", method, &targets, &AsLoaded, tensors)?;
        layers.activate(&attachment.active());
        Ok((layers, attachment))
    }

    /// The merged weights after training.
    fn check_merged(&self, layers: &mut Layers, tolerance: Tolerance) {
        let mut compared = 0;
        for linear in layers.linears() {
            if let Some(expected) = self.expected.get(&format!("merged.{}.weight", linear.name())) {
                assert_close(linear.name(), &linear.effective_weight(), expected, tolerance);
                compared += 1;
            }
        }
        assert!(compared > 0, "the case holds merged weights");
    }
}

/// Tolerance of the cases for merged weights.
const MERGED: Tolerance = Tolerance { atol: 1e-6, rtol: 5e-5 };
/// Two decompositions in single precision: vectors of singular values with a gap of a hundredth of σ₁ mix by 6e-6.
const DECOMPOSED: Tolerance = Tolerance { atol: 1e-6, rtol: 1e-4 };

const RESIDUAL: [&str; 6] = ["pissa", "pissa-scaled", "milora", "milora-scaled", "olora", "olora-scaled"];

/// Signs of singular vectors and of columns of Q are free, so products are compared.
#[test]
fn residual_methods_start_where_the_reference_does() {
    for name in RESIDUAL {
        let Some(case) = Case::read(name) else { return };
        let (_, attachment) = case.attach();
        let (ours, theirs) = (attachment.store().adapter_tensors(), case.file("adapter_init").tensors);
        for site in attachment.sites() {
            let product = |tensors: &StateDict| {
                let of = |tensor: &str| &tensors[&format!("{}.{tensor}.weight", site.name)];
                of("lora_B").matmul(of("lora_A"))
            };
            assert_close(&format!("{name}: {}", site.name), &product(&ours), &product(&theirs), DECOMPOSED);
        }
    }
}

/// PEFT's own files of rank r, whose start is computed again from the base.
#[test]
fn files_without_their_start_compute_the_trained_weights() {
    for name in ["pissa", "pissa-scaled", "olora", "olora-scaled"] {
        let Some(case) = Case::read(name) else { return };
        let (mut layers, _) = case.load(&case.file("adapter_final"), None).unwrap();
        case.check_merged(&mut layers, DECOMPOSED);
    }
    for name in ["pissa-fast", "milora"] {
        let Some(case) = Case::read(name) else { return };
        let error = case.load(&case.file("adapter_final"), None).unwrap_err().to_string();
        assert!(error.contains("start"), "{name}: {error}");
    }
}

/// With the file from before training, every residual method's file is complete, and what we write is what PEFT's
/// conversion writes, bit by bit.
#[test]
fn our_files_are_pefts_conversion() {
    for name in RESIDUAL.into_iter().chain(["pissa-fast"]) {
        let Some(case) = Case::read(name) else { return };
        let start = case.file("adapter_init").tensors;
        let (mut layers, attachment) = case.load(&case.file("adapter_final"), Some(&start)).unwrap();
        case.check_merged(&mut layers, MERGED);
        let converted = case.file("adapter_final_lora");
        assert_eq!(attachment.file_tensors(), converted.tensors, "{name}");
        let config = (case.info.peft.unwrap().write)(&case.settings).unwrap();
        for key in ["r", "lora_alpha", "use_rslora", "init_lora_weights"] {
            assert_eq!(config[key], converted.config[key], "{name}: {key}");
        }
        let (_, again) = case.load(&converted, None).unwrap();
        assert_eq!(again.store().adapter_tensors(), attachment.store().adapter_tensors(), "{name}");
    }
}

#[test]
fn dora_has_the_norms_and_merged_weights_of_the_reference() {
    for name in ["dora", "dora-warm"] {
        let Some(case) = Case::read(name) else { return };
        for (folder, when) in [("adapter_init", "init"), ("adapter_final", "final")] {
            let (mut layers, attachment) = case.load(&case.file(folder), None).unwrap();
            let tensors = attachment.store().adapter_tensors();
            for site in attachment.sites() {
                let of = |tensor: &str| &tensors[&format!("{}.{tensor}", site.name)];
                let linear = layers.linears().into_iter().find(|l| l.name() == site.name).unwrap();
                let scaled = linear.effective_weight() / of("lora_magnitude_vector").unsqueeze(1);
                // W_eff = diag(m/n)·V, so the rows of V are those of W_eff/m times n.
                let update = of("lora_B.weight").matmul(of("lora_A.weight")) * 2.0;
                let v = linear.frozen().dense() + update;
                let n = linalg::row_norms(&v) / linalg::row_norms(&scaled);
                let expected = &case.expected[&format!("weight_norm_{when}.{}", site.name)];
                assert_close(&format!("{name}: {}", site.name), &n, expected, MERGED);
            }
            if when == "final" {
                case.check_merged(&mut layers, MERGED);
            }
        }
    }
}

#[test]
fn vera_draws_the_reference_projections_by_key() {
    for name in ["vera", "vera-warm"] {
        let Some(case) = Case::read(name) else { return };
        let (_, attachment) = case.attach();
        let theirs = case.file("adapter_init").tensors;
        for projection in ["vera_A", "vera_B"] {
            assert_eq!(attachment.store().find(projection).unwrap().tensor, theirs[projection], "{name}");
        }
        let (mut layers, _) = case.load(&case.file("adapter_final"), None).unwrap();
        case.check_merged(&mut layers, MERGED);
    }
}

#[test]
fn rslora_files_have_the_scale_of_the_root() {
    for name in ["rslora", "rslora-warm"] {
        let Some(case) = Case::read(name) else { return };
        assert_eq!(case.info.name, "rslora");
        let (mut layers, _) = case.load(&case.file("adapter_final"), None).unwrap();
        case.check_merged(&mut layers, MERGED);
    }
}
