//! The oracles of OLoRA.

use baselines::OLORA;
use peft_core::{Adaptable, AsLoaded, Attachment, MethodInfo, StateDict, Targets, linalg};
use peft_testkit::{Tolerance, Toy, Trained, assert_close};
use tch::{Kind, Tensor};

const RANK: i64 = 4;

fn run(alpha: f64, steps: u64) -> Trained {
    let find = |_: &str| -> MethodInfo { unreachable!("OLoRA needs no other run") };
    let settings = format!("rank = {RANK}\nalpha = {alpha:?}").parse().unwrap();
    Trained::run(&OLORA, &settings, &find, (Kind::Float, &AsLoaded), steps, 0).unwrap()
}

/// A₀, B₀ and W of every site.
fn starts(run: &Trained) -> Vec<[Tensor; 3]> {
    let tensors = run.attachment.store().adapter_tensors();
    let of = |site: &str, tensor: &str| tensors[&format!("{site}.{tensor}.weight")].shallow_clone();
    Toy::new(Kind::Float)
        .linears()
        .into_iter()
        .map(|l| [of(l.name(), "lora_A_start"), of(l.name(), "lora_B_start"), l.frozen().dense()])
        .collect()
}

#[test]
fn the_start_is_the_leading_part_of_the_qr_decomposition() {
    for [a, b, weight] in starts(&run(8.0, 0)) {
        let identity = Tensor::eye(RANK, (Kind::Float, tch::Device::Cpu));
        assert_close("BᵀB", &b.tr().matmul(&b), &identity, Tolerance::F32);
        assert_eq!(a.tril(-1).abs().max().double_value(&[]), 0.0, "A is upper trapezoidal");
        // Up to the signs of pairs, which the product does not see.
        let (q, r) = linalg::qr(&weight).unwrap();
        let whole = q.narrow(1, 0, RANK).matmul(&r.narrow(0, 0, RANK));
        assert_close("B·A", &b.matmul(&a), &whole, Tolerance::F32);
    }
}

/// B₀·A₀ is W on the first r inputs, so what is left of them is (1 - s)·W.
#[test]
fn the_first_columns_are_left_by_one_minus_s() {
    for (alpha, s) in [(4.0, 1.0), (8.0, 2.0)] {
        for [a, b, weight] in starts(&run(alpha, 0)) {
            let residual = &weight - b.matmul(&a) * s;
            let first = |t: &Tensor| t.narrow(1, 0, RANK);
            assert_close("columns", &first(&residual), &(first(&weight) * (1.0 - s)), Tolerance::F32);
        }
    }
}

#[test]
fn files_of_rank_r_get_their_start_from_the_base() {
    let mut trained = run(8.0, 5);
    let halves: StateDict = (trained.attachment.store().adapter_tensors().into_iter())
        .filter(|(name, _)| !name.contains("start"))
        .collect();
    let config = serde_json::json!({ "init_lora_weights": "olora", "r": RANK, "lora_alpha": 8 });
    let settings = (OLORA.peft.unwrap().read)(config.as_object().unwrap()).unwrap().unwrap();
    let mut toy = Toy::new(Kind::Float);
    let (method, targets) = ((OLORA.build)(settings).unwrap(), Targets::default());
    let loaded = Attachment::load(&mut toy, "a", method, &targets, &AsLoaded, (&halves, "peft")).unwrap();
    toy.activate(&loaded.active());
    for (ours, theirs) in toy.linears().iter().zip(trained.toy.linears()) {
        assert_eq!(ours.effective_weight(), theirs.effective_weight());
    }
}
