//! The oracles of DoRA: the definition in double precision, the gradients with and without the norm's, the edges.

use autograd::{Gradcheck, gradcheck};
use dora::{Decomposed, NormGradient};
use peft_core::low_rank::Dropout;
use peft_core::{Adapter, Base, Dense, LowRank, Mode, Seeds, init, linalg};
use tch::{Device, Kind, Tensor};

/// Sums of at most 20 products in double precision, in two orders, and a root.
const F64: f64 = 1e-12;

const IN: i64 = 5;
const OUT: i64 = 4;
const RANK: i64 = 2;
/// Rows of input for which each order of multiplication is the cheaper one.
const ROWS: [i64; 2] = [2, 9];
const GRADIENTS: [NormGradient; 2] = [NormGradient::Detached, NormGradient::Full];

fn draw(name: &str, shape: &[i64]) -> Tensor {
    init::normal(shape, 1.0, &mut Seeds::new(0).child(name).rng(), Device::Cpu).to_kind(Kind::Double)
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

struct Layer {
    weight: Dense,
    bias: Option<Tensor>,
    gradient: NormGradient,
}

impl Layer {
    fn new(gradient: NormGradient, bias: bool) -> Self {
        Self {
            weight: Dense::new(&draw("w", &[OUT, IN])),
            bias: bias.then(|| draw("bias", &[OUT])),
            gradient,
        }
    }

    fn base(&self) -> Base<'_> {
        Base { weight: &self.weight, bias: self.bias.as_ref() }
    }

    fn dense(&self) -> Tensor {
        peft_core::FrozenWeight::dense(&self.weight)
    }

    /// Over inputs x, A, B, m.
    fn adapter(&self, t: &[Tensor]) -> Decomposed<LowRank> {
        let delta = LowRank::new(t[1].shallow_clone(), t[2].shallow_clone(), 1.7);
        Decomposed::new(delta, t[3].shallow_clone(), &self.dense(), self.gradient)
    }

    fn fused(&self, t: &[Tensor]) -> Tensor {
        self.adapter(t).forward(&t[0], self.base(), Mode::Eval)
    }

    fn defined(&self, t: &[Tensor]) -> Tensor {
        t[0].linear(&self.adapter(t).effective_weight(&self.dense()), self.bias.as_ref())
    }
}

fn leaves(rows: i64) -> Vec<Tensor> {
    let shapes: [(&str, &[i64]); 4] =
        [("x", &[rows, IN]), ("a", &[RANK, IN]), ("b", &[OUT, RANK]), ("m", &[OUT])];
    shapes.iter().map(|(name, shape)| draw(name, shape).set_requires_grad(true)).collect()
}

fn gradients(y: &Tensor, inputs: &[Tensor]) -> Vec<Tensor> {
    let loss = (y * draw("cotangent", &y.size())).sum(None);
    Tensor::run_backward(&[loss], &inputs.iter().collect::<Vec<_>>(), true, false)
}

/// The paper's gradient is that of the function: finite differences must agree.
#[test]
fn the_full_gradient_agrees_with_finite_differences() {
    for bias in [false, true] {
        let layer = Layer::new(NormGradient::Full, bias);
        for rows in ROWS {
            gradcheck(Gradcheck::default(), &leaves(rows), |t| vec![layer.fused(t)]).unwrap();
        }
    }
}

#[test]
fn both_gradients_are_autograds_of_the_definition() {
    for gradient in GRADIENTS {
        for (bias, rows) in [(false, ROWS[0]), (true, ROWS[0]), (false, ROWS[1]), (true, ROWS[1])] {
            let (layer, inputs) = (Layer::new(gradient, bias), leaves(rows));
            let (fused, defined) = (layer.fused(&inputs), layer.defined(&inputs));
            assert!(distance(&fused, &defined) < F64);
            for (ours, theirs) in gradients(&fused, &inputs).iter().zip(gradients(&defined, &inputs)) {
                assert!(distance(ours, &theirs) < F64, "{gradient:?}");
            }
        }
    }
}

/// ∂L/∂V = diag(m/n)·∂L/∂W_eff where n is constant; without its part along V where it is not.
#[test]
fn gradients_of_the_direction() {
    for gradient in GRADIENTS {
        let (layer, t) = (Layer::new(gradient, false), leaves(2));
        let frozen = layer.dense().set_requires_grad(true);
        let effective = layer.adapter(&t).effective_weight(&frozen);
        let cotangent = draw("cotangent", &[OUT, IN]);
        let of_v =
            &Tensor::run_backward(&[(&effective * &cotangent).sum(None)], &[&frozen, &t[3]], false, false);
        let v = (&frozen + t[2].matmul(&t[1]) * 1.7).detach();
        let n = linalg::row_norms(&v);
        let along = (&of_v[0] * &v).sum_dim_intlist(1, false, None);
        match gradient {
            NormGradient::Full => assert!(along.abs().max().double_value(&[]) < F64, "orthogonal to V"),
            NormGradient::Detached => {
                let scaled = (t[3].detach() / &n).unsqueeze(1) * &cotangent;
                assert!(distance(&of_v[0], &scaled) < F64);
            }
        }
        let of_m = (cotangent * v).sum_dim_intlist(1, false, None) / n;
        assert!(distance(&of_v[1], &of_m) < F64);
    }
}

#[test]
fn rows_have_the_norm_of_the_magnitude_and_forget_their_own() {
    let (layer, t) = (Layer::new(NormGradient::Detached, false), leaves(2));
    let effective = layer.adapter(&t).effective_weight(&layer.dense());
    assert!(distance(&linalg::row_norms(&effective), &t[3].abs()) < F64);

    // W and ΔW together may have any scale.
    let delta = LowRank::new(t[1].shallow_clone(), &t[2] * 3.0, 1.7);
    let weight = layer.dense() * 3.0;
    let scaled = Decomposed::new(delta, t[3].shallow_clone(), &weight, NormGradient::Detached);
    assert!(distance(&scaled.effective_weight(&weight), &effective) < F64);
}

#[test]
fn at_the_start_the_weight_is_the_frozen_one_bit_by_bit() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let weight = draw("w", &[300, 200]).to_kind(kind);
        let (a, b) =
            (draw("a", &[8, 200]).to_kind(Kind::Float), Tensor::zeros([300, 8], (Kind::Float, Device::Cpu)));
        let m = Decomposed::<LowRank>::magnitude_of(&weight).to_kind(Kind::Float);
        let adapter = Decomposed::new(LowRank::new(a, b, 2.0), m, &weight, NormGradient::Detached);
        assert_eq!(adapter.effective_weight(&weight), weight.to_kind(Kind::Float));
        let x = draw("x", &[3, 200]).to_kind(kind);
        let base = Dense::new(&weight);
        let base = Base { weight: &base, bias: None };
        assert_eq!(adapter.forward(&x, base, Mode::Eval), base.linear(&x));
    }
}

/// A row of zeros has no direction (n = 0): its factor is 1, so it is zero and stays finite. A row with m = 0 over a
/// direction that exists gives 0, and its magnitude still has a gradient.
#[test]
fn rows_without_direction_or_magnitude() {
    for gradient in GRADIENTS {
        for rows in ROWS {
            let mut layer = Layer::new(gradient, true);
            let weight = layer.dense().copy();
            let _ = weight.get(1).zero_();
            layer.weight = Dense::new(&weight);
            let t = leaves(rows);
            tch::no_grad(|| {
                let _ = t[2].get(1).zero_(); // no direction at all
                let _ = t[3].get(1).zero_();
                let _ = t[3].get(2).zero_(); // a direction without magnitude
            });
            let (fused, defined) = (layer.fused(&t), layer.defined(&t));
            assert!(distance(&fused, &defined) < F64);
            let bias = layer.bias.as_ref().unwrap();
            for row in [1, 2] {
                assert!(distance(&fused.select(1, row), &bias.get(row).expand([rows], false)) < F64);
            }
            let ours = gradients(&fused, &t);
            assert!(ours.iter().all(|g| bool::try_from(g.isfinite().all()).unwrap()), "{gradient:?}");
            assert_eq!(ours[3].double_value(&[1]), 0.0);
            assert!(ours[3].double_value(&[2]) != 0.0);
            if gradient == NormGradient::Detached {
                // (Differentiating the definition's norm at 0 gives NaN.)
                let theirs = gradients(&defined, &t);
                assert!(distance(&ours[3].get(2), &theirs[3].get(2)) < F64);
                assert!(distance(&ours[1], &theirs[1]) < F64);
            }
        }
    }
}

#[test]
fn dropout_reaches_the_base_term_too() {
    let (layer, t) = (Layer::new(NormGradient::Detached, true), leaves(9));
    let forward = |p: f64| {
        let dropout = Dropout { p, salt: 3 };
        let adapter = layer.adapter(&t).with_dropout(Some(dropout));
        (adapter.forward(&t[0], layer.base(), Mode::Train { seed: 5 }), &t[0] * dropout.mask(&t[0], 5))
    };
    let (y, dropped) = forward(0.0);
    assert!(distance(&y, &layer.fused(&t)) < F64, "without dropout the two ways of computing agree");

    let (y, dropped) = {
        drop(dropped);
        forward(0.4)
    };
    let n = linalg::row_norms(&(layer.dense() + t[2].matmul(&t[1]) * 1.7).detach());
    let c = &t[3] / n;
    let low_rank = dropped.matmul(&t[1].tr()).matmul(&t[2].tr()) * 1.7;
    let expected =
        layer.base().linear(&t[0]) + (&c - 1.0) * dropped.matmul(&layer.dense().tr()) + &c * low_rank;
    assert!(distance(&y, &expected) < F64);
    for (ours, theirs) in gradients(&y, &t).iter().zip(gradients(&expected, &t)) {
        assert!(distance(ours, &theirs) < F64);
    }
}

/// The output is kept instead of a copy of it: changing it in place afterwards is an error, not a wrong gradient.
#[test]
fn an_output_changed_in_place_is_noticed() {
    let (layer, t) = (Layer::new(NormGradient::Detached, false), leaves(2));
    let y = layer.fused(&t);
    let loss = y.sum(None);
    tch::no_grad(|| {
        let _ = y.shallow_clone().zero_();
    });
    let error = Tensor::f_run_backward(&[loss], &[&t[3]], false, false).unwrap_err().to_string();
    assert!(error.contains("modified in place"), "{error}");
}
