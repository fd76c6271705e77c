//! Merges whose results are known. Against PEFT: the golden cases of kind `merge`.

use merging::{Election, Factors, Recipe, combine, interference};
use peft_core::{Seeds, init, linalg};
use tch::{Device, Kind, Tensor};

/// Products of at most 20 terms in f32, in two orders.
const F32: f64 = 1e-5;

fn draw(name: &str, shape: &[i64]) -> Tensor {
    init::normal(shape, 1.0, &mut Seeds::new(0).child(name).rng(), Device::Cpu)
}

fn adapter(name: &str, rank: i64, scaling: f64) -> Factors {
    Factors { b: draw(&format!("{name} b"), &[7, rank]), a: draw(&format!("{name} a"), &[rank, 9]), scaling }
}

fn recipe(name: &str, density: f64) -> Recipe {
    Recipe::named(name, density, Election::Total, None).unwrap()
}

fn merged(recipe: &Recipe, parts: &[(&Factors, f64)], seed: u64) -> Tensor {
    combine(recipe, parts, &mut Seeds::new(seed).rng()).unwrap().update()
}

fn assert_close(what: &str, got: &Tensor, want: &Tensor) {
    let error = (got - want).abs().max().double_value(&[]);
    assert!(error <= F32 * want.abs().max().double_value(&[]).max(1.0), "{what}: off by {error:e}");
}

fn entry(value: f32) -> Factors {
    let one = Tensor::from_slice(&[1.0f32]).view([1, 1]);
    Factors { b: one, a: Tensor::from_slice(&[value]).view([1, 1]), scaling: 1.0 }
}

#[test]
fn one_adapter_at_weight_one_is_itself() {
    let one = adapter("one", 3, 2.0);
    for name in ["cat", "linear", "svd", "magnitude_prune_svd", "ties_svd", "dare_linear_svd"] {
        assert_close(name, &merged(&recipe(name, 1.0), &[(&one, 1.0)], 0), &one.update());
    }
}

#[test]
fn concatenation_is_the_weighted_sum_of_any_ranks() {
    let (one, two) = (adapter("one", 3, 2.0), adapter("two", 5, 0.5));
    let want = one.update() * 0.4 - two.update() * 0.7;
    assert_close("cat", &merged(&recipe("cat", 1.0), &[(&one, 0.4), (&two, -0.7)], 0), &want);
    let whole = Recipe::named("svd", 1.0, Election::Total, Some(7)).unwrap();
    assert_close("svd of full rank", &merged(&whole, &[(&one, 0.4), (&two, -0.7)], 0), &want);
}

/// Two equal adapters at one half each are one in the space of updates, and two in that of factors: the convention of
/// square roots adds cross terms.
#[test]
fn the_linear_merge_of_factors_has_cross_terms() {
    let (one, two) = (adapter("one", 3, 2.0), adapter("one", 3, 2.0));
    let halves = [(&one, 0.5), (&two, 0.5)];
    assert_close("cat", &merged(&recipe("cat", 1.0), &halves, 0), &one.update());
    assert_close("linear", &merged(&recipe("linear", 1.0), &halves, 0), &(one.update() * 2.0));
    let negative = merged(&recipe("linear", 1.0), &[(&one, -1.0)], 0);
    assert_close("a negative weight", &negative, &-one.update());
}

#[test]
fn truncation_leaves_the_smallest_singular_values() {
    let parts = [adapter("one", 3, 2.0), adapter("two", 3, 0.5)];
    let parts = [(&parts[0], 1.0), (&parts[1], 1.0)];
    let sum = merged(&recipe("cat", 1.0), &parts, 0);
    let short = Recipe::named("svd", 1.0, Election::Total, Some(2)).unwrap();
    let left = (&sum - merged(&short, &parts, 0)).square().sum(Kind::Double).sqrt().double_value(&[]);
    let singular = linalg::svd(&sum).unwrap().s;
    let want = singular.narrow(0, 2, 5).square().sum(Kind::Double).sqrt().double_value(&[]);
    assert!((left - want).abs() < F32 * want, "{left} and {want}");
}

#[test]
fn ties_elects_signs_and_averages_who_agrees() {
    let ties = recipe("ties_svd", 1.0);
    let of = |values: &[f32]| {
        let all: Vec<Factors> = values.iter().map(|value| entry(*value)).collect();
        let parts: Vec<(&Factors, f64)> = all.iter().map(|factors| (factors, 1.0)).collect();
        merged(&ties, &parts, 0).double_value(&[0, 0])
    };
    for (values, want) in [(vec![3.0, -1.0], 3.0), (vec![1.0, -1.0], 1.0), (vec![2.0, 4.0, -1.0], 3.0)] {
        assert!((of(&values) - want).abs() < F32, "{values:?}: {}", of(&values));
    }
    // By their number, the two small ones win.
    let frequent = Recipe::named("ties_svd", 1.0, Election::Frequency, None).unwrap();
    let all = [entry(-1.0), entry(-2.0), entry(9.0)];
    let parts: Vec<(&Factors, f64)> = all.iter().map(|factors| (factors, 1.0)).collect();
    assert!((merged(&frequent, &parts, 0).double_value(&[0, 0]) + 1.5).abs() < F32);
}

/// Mean over draws of what DARE makes of one adapter: off by 1/√draws of an entry's spread, which at density ½ is its size.
#[test]
fn random_pruning_keeps_the_expectation() {
    const DRAWS: u64 = 2000;
    let one = adapter("one", 3, 1.0);
    let dare = recipe("dare_linear_svd", 0.5);
    let dare = Recipe { space: merging::Space::Updates(Some(7)), ..dare };
    let mean =
        (0..DRAWS).map(|seed| merged(&dare, &[(&one, 1.0)], seed)).reduce(|sum, next| sum + next).unwrap();
    let mean = mean / DRAWS as f64;
    let spread = one.update().abs() / (DRAWS as f64).sqrt();
    let outside = (mean - one.update()).abs().gt_tensor(&(spread * 5.0)).sum(Kind::Int64).int64_value(&[]);
    assert_eq!(outside, 0);
}

#[test]
fn what_cannot_be_merged_is_refused_with_the_reason() {
    let (one, two) = (adapter("one", 3, 1.0), adapter("two", 4, 1.0));
    let error = combine(&recipe("linear", 1.0), &[(&one, 1.0), (&two, 1.0)], &mut Seeds::new(0).rng());
    assert!(error.unwrap_err().to_string().contains("[3, 4]"));
    let error = Recipe::named("linaer", 1.0, Election::Total, None).unwrap_err();
    assert!(error.hint().unwrap().contains("linear"));
    assert!(Recipe::named("ties", 1.5, Election::Total, None).unwrap_err().to_string().contains("density"));
}

fn adapters(factors: Vec<(&str, Factors)>) -> std::collections::BTreeMap<String, Factors> {
    factors.into_iter().map(|(name, factors)| (name.to_owned(), factors)).collect()
}

/// Everything against the dense updates.
#[test]
fn interference_is_that_of_the_updates() {
    let one = adapters(vec![("x", adapter("one", 3, 2.0)), ("y", adapter("two", 2, 0.5))]);
    let other = adapters(vec![("x", adapter("three", 2, 1.5)), ("y", adapter("four", 2, 1.0))]);
    let (total, modules) = interference(&one, &other).unwrap();
    let flat = |all: &std::collections::BTreeMap<String, Factors>| {
        Tensor::cat(&all.values().map(|f| f.update().view(-1)).collect::<Vec<_>>(), 0).to_kind(Kind::Double)
    };
    let (a, b) = (flat(&one), flat(&other));
    let norm = |t: &Tensor| t.norm().double_value(&[]);
    let cosine = a.dot(&b).double_value(&[]) / (norm(&a) * norm(&b));
    assert!((total.cosine - cosine).abs() < F32, "{} is not {cosine}", total.cosine);
    assert!((total.norms[0] - norm(&a)).abs() < F32 * norm(&a));
    let opposite = (&a * &b).lt(0.0).sum(Kind::Double).double_value(&[]) / a.numel() as f64;
    assert!((total.conflicts - opposite).abs() < 1e-9);

    let svd = |name: &str, all: &std::collections::BTreeMap<String, Factors>, rank| {
        linalg::svd(&all[name].update()).unwrap().slice(0, rank)
    };
    let (x, y) = (svd("x", &one, 3), svd("x", &other, 2));
    let shared = x.u.tr().matmul(&y.u).square().sum(Kind::Double).double_value(&[]) / 2.0;
    assert!((modules["x"].written - shared).abs() < F32, "{} is not {shared}", modules["x"].written);
    let shared = x.vt.matmul(&y.vt.tr()).square().sum(Kind::Double).double_value(&[]) / 2.0;
    assert!((modules["x"].read - shared).abs() < F32, "{} is not {shared}", modules["x"].read);
}

#[test]
fn an_update_agrees_with_itself_and_a_zero_with_nothing() {
    let one = adapters(vec![("x", adapter("one", 3, 2.0))]);
    let zero = Factors { b: Tensor::zeros([7, 2], (Kind::Float, Device::Cpu)), ..adapter("one", 2, 1.0) };
    let (same, _) = interference(&one, &one).unwrap();
    for (what, value) in [("cosine", same.cosine), ("written", same.written), ("read", same.read)] {
        assert!((value - 1.0).abs() < F32, "{what}: {value}");
    }
    assert!(same.conflicts.abs() < f64::EPSILON);
    let (none, _) = interference(&one, &adapters(vec![("x", zero)])).unwrap();
    assert_eq!([none.cosine, none.written, none.read, none.conflicts], [0.0; 4]);
    let smaller = Factors { b: draw("s", &[5, 2]), a: draw("t", &[2, 9]), scaling: 1.0 };
    let error = interference(&one, &adapters(vec![("x", smaller)])).unwrap_err().to_string();
    assert!(error.contains('x') && error.contains("different sizes"), "{error}");
}
