//! LoRA-FA against PEFT's optimizer, and against the least-squares problem that it solves.

use std::path::Path;

use baselines::LORA_FA;
use peft_core::{
    AdamW, AdamWConfig, AsLoaded, Attachment, Gradients, MethodInfo, Roles, Seeds, StateDict, Targets,
    tensor_file,
};
use peft_testkit::{Tolerance, Toy, Trained, assert_close};
use tch::{Device, Kind, Tensor};

const SITE: &str = "model.layers.0.self_attn.q_proj";
const SETTINGS: &str = "rank = 4\nalpha = 8.0\n";

/// One site of the toy, `[16, 16]`, with this A.
fn attach(settings: &str, a: Option<&Tensor>) -> (Toy, Attachment) {
    let mut toy = Toy::new(Kind::Float);
    let method = (LORA_FA.build)(settings.parse().unwrap()).unwrap();
    let targets = Targets::names([SITE]);
    let mut attachment =
        Attachment::new(&mut toy, "default", method, &targets, &AsLoaded, &Seeds::new(0)).unwrap();
    if let Some(a) = a {
        let mut tensors = attachment.store().adapter_tensors();
        tensors.insert(format!("{SITE}.lora_A.weight"), a.shallow_clone());
        attachment.fill(&mut toy, (&tensors, "golden")).unwrap();
    }
    attachment.enter_phase(&mut toy, 0, &Roles::All, false).unwrap();
    (toy, attachment)
}

fn b(attachment: &Attachment) -> Tensor {
    attachment.store().find(&format!("{SITE}.lora_B.weight")).unwrap().tensor.detach()
}

/// Gradients in which that of B is `gradient`.
fn gradients(attachment: &Attachment, gradient: &Tensor) -> Gradients {
    let b = &attachment.store().find(&format!("{SITE}.lora_B.weight")).unwrap().tensor;
    let mut gradients = Gradients::default();
    gradients.accumulate(&(b * gradient).sum(Kind::Float), attachment.store(), &[]).unwrap();
    gradients
}

#[test]
fn steps_are_those_of_pefts_optimizer() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lora_fa.safetensors");
    let golden: StateDict = tensor_file::read(&path).unwrap().0;
    let (_, attachment) = attach(SETTINGS, Some(&golden["a"]));
    let mut optimizer = AdamW::new(AdamWConfig { lr: 1e-2, eps: 1e-12, ..AdamWConfig::default() });
    for step in 0..6 {
        attachment.step(&mut optimizer, &gradients(&attachment, &golden[&format!("gradient.{step}")]), 1.0);
        assert_close("B", &b(&attachment), &golden[&format!("b.{step}")], Tolerance::F32_GRADIENT);
    }
}

/// Of all changes D of B, the preconditioned gradient brings s·D·A closest to the gradient of the weight.
#[test]
fn the_direction_solves_the_least_squares_problem() {
    let (_, attachment) = attach(SETTINGS, None);
    let a = attachment.store().find(&format!("{SITE}.lora_A.weight")).unwrap().tensor.detach();
    let of_weight = Tensor::randn([16, 16], (Kind::Float, Device::Cpu));
    let of_b = of_weight.mm(&a.tr()) * 2.0; // s = 2
    // Plain descent without moments: what AdamW's first step normalizes is read back from its first moment.
    let mut optimizer = AdamW::new(AdamWConfig { betas: (0.0, 0.0), ..AdamWConfig::default() });
    attachment.step(&mut optimizer, &gradients(&attachment, &of_b), 1.0);
    let direction = &optimizer.state()[&format!("{SITE}.lora_B.weight.exp_avg")];
    // D = argmin ‖2·D·A - G‖: the normal equations say that what is left is orthogonal to the rows of A.
    let left = direction.mm(&a) * 2.0 - of_weight;
    assert!(left.mm(&a.tr()).abs().max().double_value(&[]) < 1e-4);
    assert!(left.abs().max().double_value(&[]) > 0.1, "rank 4 cannot follow a full gradient");
}

#[test]
fn a_never_moves_and_the_setting_matters() {
    let run = |gradient: &str| {
        let find = |_: &str| -> MethodInfo { unreachable!("LoRA-FA needs no other run") };
        let settings = format!("{SETTINGS}gradient = '{gradient}'").parse().unwrap();
        let start = Trained::run(&LORA_FA, &settings, &find, (Kind::Float, &AsLoaded), 0, 0).unwrap();
        let end = Trained::run(&LORA_FA, &settings, &find, (Kind::Float, &AsLoaded), 8, 0).unwrap();
        let (start, end) =
            (start.attachment.store().adapter_tensors(), end.attachment.store().adapter_tensors());
        for (name, tensor) in &start {
            assert_eq!(*tensor == end[name], name.contains("lora_A"), "{name}");
        }
        end
    };
    assert_ne!(run("projected"), run("plain"));
}
