//! The contract of `Function`, clause by clause.

use std::sync::Arc;

use autograd::{Error, Function, Gradcheck, Needs, SavedTensor, gradcheck};
use tch::{Device, Kind, Tensor};

const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);

fn leaf(shape: &[i64], start: f64) -> Tensor {
    let n: i64 = shape.iter().product();
    let t = (Tensor::arange(n, DOUBLE) * 0.37 + start).sin().reshape(shape);
    t.set_requires_grad(true)
}

/// (x·wᵀ, Σx): two outputs, two inputs.
struct LinearAndSum;

impl Function for LinearAndSum {
    type Saved = (SavedTensor, SavedTensor);

    fn forward(&self, inputs: &[&Tensor], _: Needs<'_>) -> (Vec<Tensor>, Self::Saved) {
        let [x, w] = inputs else { panic!("two inputs") };
        (vec![x.matmul(&w.tr()), x.sum(None)], (SavedTensor::new(x), SavedTensor::new(w)))
    }

    fn backward((x, w): &Self::Saved, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let (x, w) = (x.unpack(), w.unpack());
        let dx = needs.then(0, || {
            let mut dx = x.zeros_like();
            if let Some(dy) = &grads[0] {
                dx += dy.matmul(w);
            }
            if let Some(ds) = &grads[1] {
                dx += ds;
            }
            dx
        });
        let dw = grads[0].as_ref().and_then(|dy| needs.then(1, || dy.tr().matmul(x)));
        vec![dx, dw]
    }
}

/// y = 2x, with a mistake on demand and a token by which a test counts live saved values.
struct Twice(Mistake, Arc<()>);

#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    None,
    Panic,
    Count,
    Factor,
    Shape,
}

impl Function for Twice {
    type Saved = (Mistake, SavedTensor, Arc<()>);

    fn forward(&self, inputs: &[&Tensor], _: Needs<'_>) -> (Vec<Tensor>, Self::Saved) {
        let y = inputs[0] * 2.0;
        let saved = SavedTensor::new(&y);
        (vec![y], (self.0, saved, self.1.clone()))
    }

    fn backward(
        (mistake, y, _): &Self::Saved,
        grads: &[Option<Tensor>],
        _: Needs<'_>,
    ) -> Vec<Option<Tensor>> {
        let _ = y.unpack();
        let dy = grads[0].as_ref().expect("the only output");
        match mistake {
            Mistake::None => vec![Some(dy * 2.0)],
            Mistake::Panic => panic!("on purpose"),
            Mistake::Count => vec![],
            Mistake::Factor => vec![Some(dy * 2.001)],
            Mistake::Shape => vec![Some(dy.sum_dim_intlist(0, false, None).unsqueeze(0).repeat([3, 1]))],
        }
    }
}

fn twice(x: &Tensor, mistake: Mistake) -> Tensor {
    Twice(mistake, Arc::default()).apply1(&[x]).unwrap()
}

#[test]
fn gradients_agree_with_finite_differences_and_autograd() {
    let (x, w) = (leaf(&[3, 4], 0.1), leaf(&[2, 4], 1.3));
    let inputs = [x.shallow_clone(), w.shallow_clone()];
    gradcheck(Gradcheck::default(), &inputs, |t| LinearAndSum.apply(&[&t[0], &t[1]]).unwrap()).unwrap();

    let loss = |y: &Tensor, s: &Tensor| y.square().sum(None) + s * 3.0;
    let [y, s] = &LinearAndSum.apply(&[&x, &w]).unwrap()[..] else { panic!() };
    let ours = Tensor::run_backward(&[loss(y, s)], &[&x, &w], false, false);
    let theirs = Tensor::run_backward(&[loss(&x.matmul(&w.tr()), &x.sum(None))], &[&x, &w], false, false);
    assert_eq!(ours, theirs);
}

#[test]
fn gradcheck_sees_a_wrong_factor() {
    let inputs = [leaf(&[2, 2], 0.5)];
    let error = gradcheck(Gradcheck::default(), &inputs, |t| vec![twice(&t[0], Mistake::Factor)]);
    assert!(matches!(error, Err(Error::GradcheckMismatch { input: 0, .. })), "{error:?}");
    let single = [inputs[0].to_kind(Kind::Float)];
    let error = gradcheck(Gradcheck::default(), &single, |t| vec![t[0].shallow_clone()]);
    assert!(matches!(error, Err(Error::GradcheckKind { .. })), "{error:?}");
}

#[test]
fn unused_outputs_arrive_as_none_and_constants_get_nothing() {
    let (x, w) = (leaf(&[3, 4], 0.1), leaf(&[2, 4], 1.3));
    LinearAndSum.apply(&[&x, &w]).unwrap()[1].backward();
    assert_eq!(x.grad(), x.ones_like().detach());
    assert!(!w.grad().defined());

    let constant = w.detach();
    let y = &LinearAndSum.apply(&[&x, &constant]).unwrap()[0];
    y.sum(None).backward();
    assert!(!constant.grad().defined());
}

#[test]
fn gradients_accumulate_and_chain() {
    let x = leaf(&[2], 0.0);
    let y = twice(&twice(&x, Mistake::None).sin(), Mistake::None);
    y.sum(None).backward();
    let expected = (&x * 2.0).cos() * 4.0;
    assert!(x.grad().allclose(&expected.detach(), 1e-12, 0.0, false));
    twice(&x, Mistake::None).sum(None).backward();
    assert!(x.grad().allclose(&(expected.detach() + 2.0), 1e-12, 0.0, false));
}

#[test]
fn saved_values_are_released() {
    let token = Arc::new(());
    let alive = || Arc::strong_count(&token) - 1;
    let twice = |x: &Tensor| Twice(Mistake::None, token.clone()).apply1(&[x]).unwrap();
    let x = leaf(&[1000], 0.0);

    let hidden = tch::no_grad(|| twice(&x));
    assert!(!hidden.requires_grad());
    assert_eq!(alive(), 0, "no_grad keeps nothing");
    let _constant = twice(&x.detach());
    assert_eq!(alive(), 0, "a constant input keeps nothing");

    let y = twice(&x);
    assert_eq!(alive(), 1);
    drop(y);
    assert_eq!(alive(), 0, "dropping the graph frees it: no reference cycle through the saved output");

    let y = twice(&x).sum(None);
    y.backward();
    assert_eq!(alive(), 0, "backward frees although the result is alive");
    let again = y.f_backward().unwrap_err().to_string();
    assert!(again.contains("second time"), "{again}");

    let y = twice(&x).sum(None);
    let first = Tensor::run_backward(&[&y], &[&x], true, false);
    let second = Tensor::run_backward(&[&y], &[&x], false, false);
    assert_eq!(first, second, "keep_graph allows another run");
    assert_eq!(alive(), 0);
}

#[test]
fn failures_in_backward_are_errors() {
    let x = leaf(&[2], 0.0);
    let fails = |mistake| twice(&x, mistake).sum(None).f_backward().unwrap_err().to_string();
    let panicked = fails(Mistake::Panic);
    assert!(panicked.contains("on purpose") && panicked.contains("Twice"), "{panicked}");
    assert!(fails(Mistake::Count).contains("0 gradients for 1 inputs"));
    assert!(fails(Mistake::Shape).contains("shape"), "libtorch checks the shape of what backward returns");

    let y = twice(&x, Mistake::None).sum(None);
    let error = Tensor::f_run_backward(&[&y], &[&x], false, true).unwrap_err().to_string();
    assert!(error.contains("double backward"), "{error}");
}

#[test]
fn a_saved_tensor_changed_in_place_is_noticed() {
    let x = leaf(&[2], 0.0);
    let mut y = twice(&x, Mistake::None);
    let sum = y.sum(None);
    tch::no_grad(|| {
        let _ = y.fill_(7.0);
    });
    let error = sum.f_backward().unwrap_err().to_string();
    assert!(error.contains("modified in place"), "{error}");
}

struct Identity;

impl Function for Identity {
    type Saved = ();
    fn forward(&self, inputs: &[&Tensor], _: Needs<'_>) -> (Vec<Tensor>, ()) {
        (vec![inputs[0].shallow_clone()], ())
    }
    fn backward((): &(), grads: &[Option<Tensor>], _: Needs<'_>) -> Vec<Option<Tensor>> {
        grads.iter().map(|g| g.as_ref().map(Tensor::shallow_clone)).collect()
    }
}

#[test]
fn returning_an_input_is_refused() {
    let error = Identity.apply1(&[&leaf(&[2], 0.0)]).unwrap_err();
    assert!(matches!(error, Error::Alias { output: 0, input: 0, .. }), "{error}");
}

struct View;

impl Function for View {
    type Saved = ();
    fn forward(&self, inputs: &[&Tensor], _: Needs<'_>) -> (Vec<Tensor>, ()) {
        (vec![inputs[0].view([4]), inputs[0].argmax(0, false)], ())
    }
    fn backward((): &(), grads: &[Option<Tensor>], _: Needs<'_>) -> Vec<Option<Tensor>> {
        assert!(grads[1].is_none(), "integers have no gradient");
        vec![grads[0].as_ref().map(|g| g.view([2, 2]))]
    }
}

#[test]
fn views_and_integer_outputs_work() {
    let x = leaf(&[2, 2], 0.0);
    let out = View.apply(&[&x]).unwrap();
    assert!(!out[1].requires_grad());
    (out[0].square()).sum(None).backward();
    assert!(x.grad().allclose(&(&x * 2.0).detach(), 1e-12, 0.0, false));
}

/// The device thread of libtorch runs backward on a GPU; needs one to say anything.
#[test]
fn works_on_cuda() {
    if !tch::Cuda::is_available() {
        eprintln!("skipped: no CUDA device");
        return;
    }
    let x = leaf(&[3, 4], 0.1).detach().to(Device::Cuda(0)).set_requires_grad(true);
    let w = leaf(&[2, 4], 1.3).detach().to(Device::Cuda(0)).set_requires_grad(true);
    gradcheck(Gradcheck::default(), &[x, w], |t| LinearAndSum.apply(&[&t[0], &t[1]]).unwrap()).unwrap();
    let y = leaf(&[2], 0.0).detach().to(Device::Cuda(0)).set_requires_grad(true);
    assert!(twice(&y, Mistake::Panic).sum(None).f_backward().is_err());
}
