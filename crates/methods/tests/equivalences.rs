//! Methods that are each other at particular settings, step for step.

use methods::{METHODS, find};
use peft_core::{Adaptable, AsLoaded, Dense, FrozenWeight, Gradients, Mode, Nf4, StateDict, Storage, linalg};
use peft_testkit::{Tolerance, Trained, assert_close};
use tch::{Kind, Tensor};

const STEPS: u64 = 6;

/// The method on the toy, before its first step.
fn attach(name: &str, settings: &str) -> Trained {
    let find = |name: &str| *find(name).unwrap();
    Trained::run(&find(name), &settings.parse().unwrap(), &find, (Kind::Float, &AsLoaded), 0, 0).unwrap()
}

fn tensors(run: &Trained) -> StateDict {
    run.attachment.store().adapter_tensors()
}

/// Starts `other` where `run` starts.
fn start_alike(run: &Trained, other: &mut Trained) {
    other.attachment.store_mut().load_adapter(&tensors(run), "the other method").unwrap();
}

/// Same tensors, same losses, after the same steps.
fn assert_same_run(mut a: Trained, mut b: Trained, tolerance: Tolerance) {
    a.train(STEPS).unwrap();
    b.train(STEPS).unwrap();
    assert_same(&a, &b, tolerance);
}

fn assert_same(a: &Trained, b: &Trained, tolerance: Tolerance) {
    assert_close("losses", &Tensor::from_slice(&a.losses), &Tensor::from_slice(&b.losses), tolerance);
    let (a, b) = (tensors(a), tensors(b));
    for (name, tensor) in b.iter().filter(|(name, _)| a.contains_key(*name)) {
        assert_close(name, &a[name], tensor, tolerance);
    }
}

/// Adam divides by √v: a relative difference of two roundings in a gradient stays one in the step, and six steps of size
/// 1e-2 move tensors of size 0.1 to 1.
const STEPPED: Tolerance = Tolerance { atol: 1e-6, rtol: 1e-4 };

#[test]
fn rslora_is_lora_at_alpha_times_the_root_of_the_rank() {
    let (rslora, mut lora) =
        (attach("rslora", "rank = 4\nalpha = 6.0"), attach("lora", "rank = 4\nalpha = 12.0"));
    start_alike(&rslora, &mut lora);
    assert_same_run(rslora, lora, Tolerance::EXACT);
}

/// A has few rows at small ranks, so norms scatter by some per cent around the law, and slopes with them.
const SCATTER: f64 = 0.05;

/// The gradient of B at the start is s·(dyᵀ·x)·Aᵀ, whose norm grows like s·√r: one step of plain descent moves the output
/// by its square. With α/r both shrink as r grows, with α/√r they do not.
#[test]
fn rank_stabilization_makes_gradients_independent_of_the_rank() {
    let slope = |name: &str| {
        let ranks = [4i64, 16, 64, 256, 1024];
        let log_norms = ranks.map(|rank| {
            let run = attach(name, &format!("rank = {rank}\nalpha = 8.0"));
            let mut gradients = Gradients::default();
            gradients.accumulate(&run.toy.loss(64, Mode::Eval), run.attachment.store(), &[]).unwrap();
            gradients.norm().ln()
        });
        let log_ranks = ranks.map(|rank| (rank as f64).ln());
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (x, y) = (mean(&log_ranks), mean(&log_norms));
        let covariance: f64 = log_ranks.iter().zip(&log_norms).map(|(a, b)| (a - x) * (b - y)).sum();
        covariance / log_ranks.iter().map(|a| (a - x).powi(2)).sum::<f64>()
    };
    assert!((slope("lora") + 0.5).abs() < SCATTER, "{}", slope("lora"));
    assert!(slope("rslora").abs() < SCATTER, "{}", slope("rslora"));
}

/// Sets m to the row norms of the present direction, so that W_eff = V.
fn reset_magnitudes(run: &mut Trained, update: impl Fn(&StateDict, &str) -> Tensor) {
    let tensors = tensors(run);
    for linear in run.toy.linears() {
        let v = linear.frozen().dense() + update(&tensors, linear.name());
        let m = &tensors[&format!("{}.lora_magnitude_vector", linear.name())];
        tch::no_grad(|| m.shallow_clone().copy_(&linalg::row_norms(&v)));
    }
}

#[test]
fn dora_with_the_norm_for_magnitude_is_lora() {
    let (lora, mut dora) = (attach("lora", "rank = 4\nalpha = 8.0"), attach("dora", "rank = 4\nalpha = 8.0"));
    let mut both = tensors(&lora);
    both.extend(tensors(&dora).into_iter().filter(|(name, _)| name.contains("magnitude")));
    dora.attachment.store_mut().load_adapter(&both, "LoRA").unwrap();
    step_with_reset_magnitudes(lora, dora, |tensors, site| {
        let of = |tensor: &str| &tensors[&format!("{site}.{tensor}.weight")];
        of("lora_B").matmul(of("lora_A")) * 2.0
    });
}

#[test]
fn dvora_with_the_norm_for_magnitude_is_vera() {
    let settings = "rank = 8\nprojection_prng_key = 1";
    let (vera, dvora) = (attach("vera", settings), attach("dvora", settings));
    step_with_reset_magnitudes(vera, dvora, |tensors, site| {
        let of = |tensor: &str| &tensors[&format!("{site}.{tensor}")];
        let (lambda_b, lambda_d) = (of("vera_lambda_b"), of("vera_lambda_d"));
        let a = tensors["vera_A"].narrow(1, 0, if site.contains("down_proj") { 24 } else { 16 });
        let b = tensors["vera_B"].narrow(0, 0, lambda_b.size()[0]);
        (lambda_b.unsqueeze(1) * b).matmul(&(lambda_d.unsqueeze(1) * a))
    });
}

/// One step at a time, so that m can be set in between.
fn step_with_reset_magnitudes(
    mut plain: Trained,
    mut decomposed: Trained,
    update: impl Fn(&StateDict, &str) -> Tensor,
) {
    for _ in 0..STEPS {
        reset_magnitudes(&mut decomposed, &update);
        plain.train(1).unwrap();
        decomposed.train(1).unwrap();
    }
    assert_same(&decomposed, &plain, STEPPED);
}

#[test]
fn milora_of_the_principal_components_is_pissa() {
    let settings = "rank = 4\nalpha = 8.0";
    let milora = attach("milora", &format!("{settings}\ncomponents = 'principal'\nsvd = 'full'"));
    assert_same_run(milora, attach("pissa", settings), Tolerance::EXACT);
}

#[test]
fn lora_fa_with_the_plain_gradient_is_lori_d() {
    let settings = "rank = 4\nalpha = 8.0";
    let (lori, mut lora_fa) =
        (attach("lori-d", settings), attach("lora-fa", &format!("{settings}\ngradient = 'plain'")));
    start_alike(&lori, &mut lora_fa);
    assert_same_run(lora_fa, lori, Tolerance::EXACT);
}

#[test]
fn lora_plus_of_ratio_one_is_lora() {
    let (lora, mut plus) = (attach("lora", "rank = 4"), attach("lora-plus", "rank = 4\nlr_ratio = 1.0"));
    start_alike(&lora, &mut plus);
    assert_same_run(plus, lora, Tolerance::EXACT);
}

#[test]
fn rosa_without_a_sparse_part_is_lora() {
    let mut rosa = attach("rosa", "rank = 4\nalpha = 8.0\ndensity = 0.0");
    let mut lora = attach("lora", "rank = 4\nalpha = 8.0");
    let renamed = |tensors: StateDict, from: &str, to: &str| -> StateDict {
        tensors.into_iter().map(|(name, tensor)| (name.replace(from, to), tensor)).collect()
    };
    let start = renamed(tensors(&rosa), "rosa_", "lora_");
    lora.attachment.store_mut().load_adapter(&start, "RoSA").unwrap();
    rosa.train(STEPS).unwrap();
    lora.train(STEPS).unwrap();
    assert_eq!(rosa.losses, lora.losses);
    assert_eq!(renamed(tensors(&rosa), "rosa_", "lora_"), tensors(&lora));
}

/// `A[k, i] = 1` where i mod r = k, frozen, and s = 1: then `B = Dᵀ`.
#[test]
fn bone_is_lora_with_a_frozen_a_of_zeros_and_ones() {
    let (mut bone, mut lori) = (attach("bone", "rank = 4"), attach("lori-d", "rank = 4\nalpha = 4.0"));
    let mut start = tensors(&lori);
    for (name, tensor) in start.iter_mut().filter(|(name, _)| name.ends_with("lora_A.weight")) {
        let [rank, width] = tensor.size()[..] else { panic!("{name}") };
        *tensor = Tensor::eye(rank, (Kind::Float, tch::Device::Cpu)).repeat([1, width / rank]);
        assert_eq!(tensor.size(), [rank, width]);
    }
    lori.attachment.store_mut().load_adapter(&start, "blocks").unwrap();
    bone.train(STEPS).unwrap();
    lori.train(STEPS).unwrap();
    let (bone, lori) = (tensors(&bone), tensors(&lori));
    for (name, block) in &bone {
        let module = name.strip_suffix(".miss_block").unwrap();
        assert_close(name, &block.tr(), &lori[&format!("{module}.lora_B.weight")], STEPPED);
    }
}

/// What NF4 reconstructs, kept dense.
#[derive(Debug)]
struct Reconstructed;

impl Storage for Reconstructed {
    fn freeze(&self, weight: &Tensor) -> Box<dyn FrozenWeight> {
        Box::new(Dense::new(&Nf4::PLAIN.round_trip(weight)))
    }

    fn is_lossy(&self) -> bool {
        true
    }
}

/// Methods do not see how the weight is stored, only what it is.
#[test]
fn four_bits_train_like_the_weights_that_they_stand_for() {
    for info in METHODS.iter().filter(|info| info.capabilities.quantized_base) {
        let settings = (info.resolve)(toml::Table::new()).unwrap();
        let mut small = toml::Table::new();
        for key in ["rank", "initial_rank", "target_rank"] {
            if settings.contains_key(key) {
                small.insert(key.to_owned(), toml::Value::Integer(4));
            }
        }
        if settings.contains_key("density") {
            small.insert("density".to_owned(), toml::Value::Float(0.1));
        }
        let run = |storage: &dyn Storage| {
            let find = |name: &str| *find(name).unwrap();
            Trained::run(info, &small, &find, (Kind::Float, storage), 2 * STEPS, 0).expect(info.name)
        };
        assert_same(&run(&Nf4::PLAIN), &run(&Reconstructed), STEPPED);
    }
}
