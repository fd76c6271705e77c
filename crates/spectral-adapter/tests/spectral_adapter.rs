//! The oracles of Spectral Adapter: exact starts, gradients there, rank, rotations, and sums of adapters.

use peft_core::{Adaptable, AsLoaded, Delta, MethodInfo, SiteShape, init, linalg};
use peft_core::{Seeds, StateDict};
use peft_testkit::{Tolerance, Trained, assert_close};
use spectral_adapter::{Additive, Rotational, SPECTRAL_A, SPECTRAL_R, Triplets, rotation};
use tch::{Device, Kind, Tensor};

const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

fn find(_: &str) -> MethodInfo {
    unreachable!("Spectral Adapter needs no other run")
}

fn draw(name: &str, shape: &[i64]) -> Tensor {
    init::normal(shape, 1.0, &mut Seeds::new(6).child(name).rng(), Device::Cpu).to_kind(Kind::Double)
}

fn triplets(weight: &Tensor, start: i64, rank: i64) -> Triplets {
    let svd = linalg::svd(weight).unwrap().slice(start, rank);
    Triplets { u: svd.u, s: svd.s, v: svd.vt.tr() }
}

fn rank_of(weight: &Tensor) -> i64 {
    let s = linalg::svd(weight).unwrap().s;
    s.gt(1e-9 * s.double_value(&[0])).sum(Kind::Int64).int64_value(&[])
}

const DOUBLE: Tolerance = Tolerance { atol: 1e-12, rtol: 1e-12 };

#[test]
fn at_the_start_nothing_differs_bit_by_bit() {
    for info in [SPECTRAL_A, SPECTRAL_R] {
        let settings = "rank = 4\nstart = 2".parse().unwrap();
        let mut run = Trained::run(&info, &settings, &find, (Kind::Float, &AsLoaded), 0, 0).unwrap();
        for linear in run.toy.linears() {
            assert_eq!(linear.effective_weight(), linear.frozen().dense());
        }
    }
}

/// `(U + B)·S·(V + Aᵀ)ᵀ + (W - U·S·Vᵀ)`, and what its derivative is at A = B = 0.
#[test]
fn expanded_is_factored_and_zeros_have_gradients() {
    let weight = draw("w", &[9, 7]);
    let Triplets { u, s, v } = triplets(&weight, 0, 3);
    let (a, b) = (draw("a", &[3, 7]), draw("b", &[9, 3]));
    let factored = ((&u + &b) * &s).matmul(&(v.tr() + &a)) - (&u * &s).matmul(&v.tr());
    let adapter = Additive { triplets: triplets(&weight, 0, 3), a, b };
    assert_close("expanded", &adapter.weight(), &factored, DOUBLE);
    let (up, down) = adapter.factors().unwrap();
    assert_eq!((up.size(), down.size()), (vec![9, 6], vec![6, 7]));
    assert_close("rank 2r", &up.matmul(&down), &factored, DOUBLE);
    assert_eq!(rank_of(&adapter.weight()), 6);

    let a = Tensor::zeros([3, 7], OPTIONS).set_requires_grad(true);
    let b = Tensor::zeros([9, 3], OPTIONS).set_requires_grad(true);
    let adapter = Additive { triplets: triplets(&weight, 0, 3), a, b };
    let gradient = draw("g", &[9, 7]);
    (adapter.weight() * &gradient).sum(Kind::Double).backward();
    assert_close("∂/∂B", &adapter.b.grad(), &(gradient.matmul(&v) * &s), DOUBLE);
    assert_close("∂/∂A", &adapter.a.grad(), &(u * &s).tr().matmul(&gradient), DOUBLE);
}

/// The construction of the paper's rank capacity: the update can lower the rank of W by 2r.
#[test]
fn it_can_take_away_twice_its_rank() {
    let weight = draw("w", &[8, 12]);
    let (first, second) = (triplets(&weight, 0, 2), triplets(&weight, 2, 2));
    let b = &second.u * (-(&second.s / &first.s)) - &first.u;
    let a = (&second.v - &first.v).tr();
    let adapter = Additive { triplets: first, a, b };
    assert_eq!((rank_of(&weight), rank_of(&(&weight + adapter.weight()))), (8, 4));
}

#[test]
fn rotations_are_rotations() {
    let generator = draw("d", &[5, 5]);
    let r = rotation(&generator);
    let identity = Tensor::eye(5, OPTIONS);
    assert_close("RᵀR", &r.tr().matmul(&r), &identity, DOUBLE);
    assert!((r.det().double_value(&[]) - 1.0).abs() < 1e-12);
    assert!((&r + &identity).det().abs().double_value(&[]) > 1e-6, "no eigenvalue -1");
    let k = (&generator - generator.tr()) / 2.0;
    let cayley = (&identity - &k).matmul(&(&identity + &k).inverse());
    assert_close("Cayley", &r, &cayley, DOUBLE);
    assert_eq!(rotation(&(&generator + generator.tr())), identity, "symmetric generators turn nothing");
}

#[test]
fn turning_keeps_every_singular_value_unless_they_are_scaled() {
    let weight = draw("w", &[9, 7]);
    let (left, right) = (draw("l", &[4, 4]), draw("r", &[4, 4]));
    let turned = |scale: Option<Tensor>| {
        let (left, right) = (left.copy(), right.copy());
        &weight + Rotational { triplets: triplets(&weight, 1, 4), left, right, scale }.weight()
    };
    let values = |weight: &Tensor| linalg::svd(weight).unwrap().s;
    assert_close("σ", &values(&turned(None)), &values(&weight), DOUBLE);

    let Triplets { u, s, v } = triplets(&weight, 1, 4);
    let c = draw("c", &[4]).abs() + 0.5;
    let expected = (u.matmul(&rotation(&left)) * (&s * &c)).matmul(&(v.matmul(&rotation(&right))).tr())
        + (&weight - (&u * &s).matmul(&v.tr()));
    assert_close("definition", &turned(Some(c)), &expected, DOUBLE);
}

/// Which sign a decomposition gives a pair of vectors must not matter to a saved adapter: the vectors go with it.
#[test]
fn the_vectors_are_saved() {
    for (info, more) in [(SPECTRAL_A, ""), (SPECTRAL_R, "train_scale = true")] {
        let settings = format!("rank = 4\n{more}").parse().unwrap();
        let run = Trained::run(&info, &settings, &find, (Kind::Float, &AsLoaded), 2, 0).unwrap();
        let file: StateDict = run.attachment.file_tensors();
        for site in run.attachment.sites() {
            let SiteShape { out_features, in_features } = site.shape;
            let size = |tensor: &str| file[&format!("{}.{tensor}", site.name)].size();
            assert_eq!(size("spectral_u"), [out_features, 4]);
            assert_eq!((size("spectral_s"), size("spectral_v")), (vec![4], vec![in_features, 4]));
        }
    }
}

/// On disjoint columns the first terms of two updates have orthogonal outputs, and sums do not depend on order.
#[test]
fn disjoint_columns_stay_apart() {
    let weight = draw("w", &[12, 10]);
    let concept = |k: i64| Additive {
        triplets: triplets(&weight, 3 * k, 3),
        a: draw(&format!("a{k}"), &[3, 10]),
        b: Tensor::zeros([12, 3], OPTIONS),
    };
    let (first, second) = (concept(0).weight(), concept(1).weight());
    assert_close("outputs", &first.tr().matmul(&second), &Tensor::zeros([10, 10], OPTIONS), DOUBLE);
}

#[test]
fn triplets_that_do_not_exist_are_refused() {
    for (settings, reason) in [
        ("rank = 17", "triplets 0..17 were asked for, and its weight has 16"),
        ("rank = 4\nstart = 13\ncounted_from = 'smallest'", "13..17"),
    ] {
        let run =
            Trained::run(&SPECTRAL_A, &settings.parse().unwrap(), &find, (Kind::Float, &AsLoaded), 0, 0);
        let error = run.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    for (settings, field) in [("start = -1", "start"), ("rank = 0", "rank")] {
        let error = (SPECTRAL_R.build)(settings.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field} =")), "{error}");
    }
}
