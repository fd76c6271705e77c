//! The oracles of MiLoRA: exact parts of W, whichever components, and rounding measured in units of W.

use milora::MILORA;
use peft_core::{Adaptable, AsLoaded, Attachment, MethodInfo, Result, StateDict, Storage, Targets, linalg};
use peft_testkit::{Rounded, Tolerance, Toy, Trained, assert_close};
use tch::{Kind, Tensor};

fn run(settings: &str, storage: &dyn Storage, steps: u64) -> Result<Trained> {
    let find = |_: &str| -> MethodInfo { unreachable!("MiLoRA needs no other run") };
    let settings = format!("rank = 4\nalpha = 8.0\n{settings}");
    Trained::run(&MILORA, &settings.parse().unwrap(), &find, (Kind::Float, storage), steps, 0)
}

/// s·B₀·A₀ of every site beside its weight.
fn parts(run: &mut Trained) -> Vec<(Tensor, Tensor)> {
    let tensors = run.attachment.store().adapter_tensors();
    let of = |site: &str, tensor: &str| tensors[&format!("{site}.{tensor}.weight")].shallow_clone();
    let part = |site: &str| of(site, "lora_B_start").matmul(&of(site, "lora_A_start")) * 2.0;
    Toy::new(Kind::Float).linears().into_iter().map(|l| (part(l.name()), l.frozen().dense())).collect()
}

fn norm(t: &Tensor) -> f64 {
    t.norm().double_value(&[])
}

#[test]
fn the_minor_part_is_the_smallest_there_is() {
    let [minor, middle, principal] = ["minor", "middle", "principal"]
        .map(|components| parts(&mut run(&format!("components = '{components}'"), &AsLoaded, 0).unwrap()));
    for (((minor, weight), (middle, _)), (principal, _)) in minor.iter().zip(&middle).zip(&principal) {
        let s = linalg::svd(weight).unwrap().s;
        let smallest = s.narrow(0, s.size()[0] - 4, 4).square().sum(None).double_value(&[]).sqrt();
        assert!((norm(minor) - smallest).abs() < 1e-5);
        assert!(norm(minor) < norm(middle) && norm(middle) < norm(principal));
        // What is left has lost its r smallest singular values and no others.
        let left = linalg::svd(&(weight - minor)).unwrap().s;
        let kept = left.size()[0] - 4;
        assert_close("kept", &left.narrow(0, 0, kept), &s.narrow(0, 0, kept), Tolerance::F32);
        assert!(left.narrow(0, kept, 4).max().double_value(&[]) < 1e-5);
    }
}

/// In single precision vectors of neighbouring singular values mix by about ε·σ₁/gap, 6e-5 for a gap of σ₁/1000, on both
/// sides of a part, and a factor of 2.
const SUBSPACE: Tolerance = Tolerance { atol: 0.0, rtol: 2.4e-4 };

#[test]
fn both_decompositions_give_the_same_part() {
    for components in ["minor", "middle", "principal", "random"] {
        let of = |svd: &str| {
            parts(&mut run(&format!("components = '{components}'\nsvd = '{svd}'"), &AsLoaded, 0).unwrap())
        };
        for ((gram, _), (full, _)) in of("gram").iter().zip(of("full")) {
            assert_close(components, gram, &full, SUBSPACE);
        }
    }
}

#[test]
fn the_factors_are_balanced_and_orthogonal_to_the_principal_directions() {
    let run = run("", &AsLoaded, 0).unwrap();
    let tensors = run.attachment.store().adapter_tensors();
    for linear in Toy::new(Kind::Float).linears() {
        let of = |tensor: &str| &tensors[&format!("{}.{tensor}.weight", linear.name())];
        let (a, b) = (of("lora_A"), of("lora_B"));
        assert_close("BᵀB = AAᵀ", &b.tr().matmul(b), &a.matmul(&a.tr()), Tolerance::F32);
        let all = linalg::svd(&linear.frozen().dense()).unwrap();
        let principal = all.u.narrow(1, 0, all.len() - 4);
        assert!(principal.tr().matmul(b).abs().max().double_value(&[]) < 1e-5);
    }
}

/// On a dense base the start is exact. A stored residual differs from W by what storing rounds, at most half a unit in
/// the last place of W's magnitude (bf16: 2⁻⁸ of it), and f32's rounding of the sum; compared with s·B₀·A₀, which is
/// smaller than that for most entries of a large model, it would say nothing.
#[test]
fn rounding_is_measured_in_units_of_the_weight() {
    let mut dense = run("", &AsLoaded, 0).unwrap();
    for linear in dense.toy.linears() {
        assert_eq!(linear.effective_weight(), linear.frozen().dense());
    }
    let mut stored = run("", &Rounded, 0).unwrap();
    for (linear, original) in stored.toy.linears().into_iter().zip(Toy::new(Kind::Float).linears()) {
        let weight = original.frozen().dense();
        let (frozen, error) = (linear.frozen().dense(), (linear.effective_weight() - &weight).abs());
        let half_ulp = frozen.abs() * 2f64.powi(-8) + 1e-6;
        assert!(bool::try_from(error.le_tensor(&half_ulp).all()).unwrap());
        assert!(error.max().double_value(&[]) > 1e-5, "something was rounded");
    }
}

#[test]
fn a_file_that_lacks_its_start_is_refused() {
    let trained = run("", &AsLoaded, 3).unwrap();
    let tensors = trained.attachment.store().adapter_tensors();
    let bare: StateDict = tensors.into_iter().filter(|(name, _)| !name.contains("start")).collect();
    let method = (MILORA.build)("rank = 4\nalpha = 8.0".parse().unwrap()).unwrap();
    let mut toy = Toy::new(Kind::Float);
    let loaded = Attachment::load(&mut toy, "a", method, &Targets::default(), &AsLoaded, (&bare, "theirs"));
    let error = loaded.unwrap_err().to_string();
    assert!(error.contains("theirs lacks the part of the weight"), "{error}");
    assert_eq!((MILORA.peft.unwrap().read)(&serde_json::Map::new()).unwrap(), None);
}

#[test]
fn a_rank_beyond_the_shape_is_refused() {
    let find = |_: &str| -> MethodInfo { unreachable!("MiLoRA needs no other run") };
    let settings = "rank = 17".parse().unwrap();
    let error =
        Trained::run(&MILORA, &settings, &find, (Kind::Float, &AsLoaded), 0, 0).unwrap_err().to_string();
    assert!(error.contains("at most 16 fits"), "{error}");
}

/// The constant part sees the whole input: with dropout the expected output at the start is the base's.
#[test]
fn dropout_reaches_the_trained_part_only() {
    let run = run("dropout = 0.5", &AsLoaded, 0).unwrap();
    let mut toy = run.toy;
    let linear = toy.linears().remove(0);
    let adapter = linear.adapter("default").unwrap().as_delta().unwrap();
    let x = Tensor::ones([1, 16], (Kind::Float, tch::Device::Cpu));
    let draws = 4000;
    let outputs: Tensor = (0..draws).map(|seed| adapter.apply(&x, peft_core::Mode::Train { seed })).sum();
    let (mean, one) =
        (outputs / f64::from(draws as u32), adapter.apply(&x, peft_core::Mode::Train { seed: 0 }));
    // The mean of n draws is within five standard deviations of 0, each about the size of one draw.
    let bound = 5.0 * one.abs().max().double_value(&[]) / f64::from(draws as u32).sqrt();
    assert!(one.abs().max().double_value(&[]) > 1e-3);
    assert!(mean.abs().max().double_value(&[]) < bound, "{mean}");
}
