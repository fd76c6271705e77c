//! The fused low-rank layer against finite differences and against autograd of its definition, in double precision.

use autograd::{Gradcheck, gradcheck};
use peft_core::low_rank::{self, Dropout, Plan};
use peft_core::{Adapter, Base, Delta, Dense, LowRank, Mode, Seeds, init};
use tch::{Device, Kind, Tensor};

/// Sums of at most 20 products in double precision, in two orders.
const F64: f64 = 1e-12;

const IN: i64 = 5;
const OUT: i64 = 4;
const RANK: i64 = 2;

fn draw(name: &str, shape: &[i64]) -> Tensor {
    init::normal(shape, 1.0, &mut Seeds::new(0).child(name).rng(), Device::Cpu).to_kind(Kind::Double)
}

struct Case {
    weight: Dense,
    bias: Tensor,
    start: bool,
    dropout: f64,
}

impl Case {
    fn update(&self, a: &Tensor, b: &Tensor) -> LowRank {
        LowRank {
            a: a.shallow_clone(),
            b: b.shallow_clone(),
            scaling: 1.7,
            dropout: Dropout::new(self.dropout, &Seeds::new(1)).unwrap(),
            start: self.start.then(|| (draw("b0", &[OUT, RANK]), draw("a0", &[RANK, IN]))),
        }
    }

    fn base(&self) -> Base<'_> {
        Base { weight: &self.weight, bias: Some(&self.bias) }
    }
}

/// With and without a constant start, with and without dropout, in both orders of multiplication.
fn each_case(check: impl Fn(&Case, i64, Mode)) {
    for (start, dropout) in [(false, 0.0), (true, 0.0), (false, 0.4), (true, 0.4)] {
        let case =
            Case { weight: Dense::new(&draw("w", &[OUT, IN])), bias: draw("bias", &[OUT]), start, dropout };
        for rows in [2, 9] {
            check(&case, rows, Mode::Train { seed: 3 });
            check(&case, rows, Mode::Eval);
        }
    }
    assert_eq!((Plan::cheaper(2, OUT, IN), Plan::cheaper(9, OUT, IN)), (Plan::Factored, Plan::Folded));
}

fn leaves(rows: i64) -> [Tensor; 3] {
    let leaf = |name: &str, shape: &[i64]| draw(name, shape).set_requires_grad(true);
    [leaf("x", &[rows, IN]), leaf("a", &[RANK, IN]), leaf("b", &[OUT, RANK])]
}

#[test]
fn gradients_agree_with_finite_differences() {
    each_case(|case, rows, mode| {
        gradcheck(Gradcheck::default(), &leaves(rows), |t| {
            vec![low_rank::linear(&t[0], case.base(), &case.update(&t[1], &t[2]), mode)]
        })
        .unwrap();
    });
}

#[test]
fn forward_and_backward_agree_with_the_definition() {
    each_case(|case, rows, mode| {
        let run = |forward: &dyn Fn(&Tensor, &LowRank) -> Tensor| {
            let [x, a, b] = leaves(rows);
            let y = forward(&x, &case.update(&a, &b));
            let loss = (&y * draw("weights", &y.size())).sum(None);
            let gradients = Tensor::run_backward(&[loss], &[&x, &a, &b], false, false);
            (y, gradients)
        };
        let (ours, our_gradients) = run(&|x, update| low_rank::linear(x, case.base(), update, mode));
        let (theirs, their_gradients) = run(&|x, update| case.base().linear(x) + update.apply(x, mode));
        for (ours, theirs) in our_gradients.iter().zip(&their_gradients).chain([(&ours, &theirs)]) {
            assert!((ours - theirs).abs().max().double_value(&[]) < F64);
        }
        if mode == Mode::Eval {
            let [x, a, b] = leaves(rows);
            let update = case.update(&a, &b);
            let weight = update.effective_weight(case.base().weight.as_dense().unwrap());
            let by_weight = x.linear(&weight, Some(&case.bias));
            assert!((&ours - by_weight).abs().max().double_value(&[]) < F64);
            let (up, down) = update.factors().unwrap();
            assert!((up.matmul(&down) - update.weight()).abs().max().double_value(&[]) < F64);
        }
    });
}

#[test]
fn a_frozen_factor_gets_nothing_and_keeps_no_input() {
    let case = Case {
        weight: Dense::new(&draw("w", &[OUT, IN])),
        bias: draw("bias", &[OUT]),
        start: false,
        dropout: 0.0,
    };
    for rows in [2, 9] {
        let [x, a, b] = leaves(rows);
        let update = case.update(&a.detach(), &b);
        let y = low_rank::linear(&x, case.base(), &update, Mode::Eval);
        // What backward needs is kept apart from x: overwriting x after forward does not disturb it.
        let [fresh, ..] = leaves(rows);
        let expected = {
            let y = low_rank::linear(&fresh, case.base(), &update, Mode::Eval);
            Tensor::run_backward(&[y.square().sum(None)], &[&b], false, false)
        };
        let loss = y.square().sum(None);
        tch::no_grad(|| {
            let _ = x.shallow_clone().zero_();
        });
        let gradients = Tensor::run_backward(&[loss], &[&b], false, false);
        assert_eq!(gradients, expected);
    }
}

#[test]
fn dropout_repeats_for_a_seed_and_differs_between_sites_and_steps() {
    let x = draw("x", &[50, IN]);
    let apply = |salt: u64, seed: u64| {
        let update = LowRank {
            dropout: Dropout::new(0.5, &Seeds::new(salt)).unwrap(),
            ..LowRank::new(draw("a", &[RANK, IN]), draw("b", &[OUT, RANK]), 1.0)
        };
        update.apply(&x, Mode::Train { seed })
    };
    assert_eq!(apply(0, 0), apply(0, 0));
    assert_ne!(apply(0, 0), apply(0, 1));
    assert_ne!(apply(0, 0), apply(1, 0));
    assert!(Dropout::new(1.0, &Seeds::new(0)).is_err());
}

/// In bf16 a folded update of a thousandth would vanish in rounding; the factored order keeps it.
#[test]
fn a_small_update_survives_a_bf16_base() {
    let weight = Dense::new(&Tensor::ones([OUT, IN], (Kind::BFloat16, Device::Cpu)));
    let float = |name: &str, shape: &[i64]| draw(name, shape).to_kind(Kind::Float);
    let update = LowRank::new(float("a", &[RANK, IN]) * 1e-3, float("b", &[OUT, RANK]), 1.0);
    let x = Tensor::eye(IN, (Kind::BFloat16, Device::Cpu)).repeat([20, 1]) * 1e-2;
    let base = Base { weight: &weight, bias: None };
    let moved = low_rank::linear(&x, base, &update, Mode::Eval) - base.linear(&x);
    assert!(moved.abs().max().double_value(&[]) > 0.0);
}
