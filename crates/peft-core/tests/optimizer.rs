//! AdamW: masks, packing, roles, saved state. (Agreement with torch.optim is a golden case.)

use peft_core::{AdamW, AdamWConfig, Clip, Gradients, ParamStore, Params, Role, Seeds, init};
use tch::{Device, Kind, Tensor};

fn draw(name: &str, shape: &[i64]) -> Tensor {
    init::normal(shape, 1.0, &mut Seeds::new(0).child(name).rng(), Device::Cpu)
}

/// Two tensors, `u` of role Up with an optional mask, `d` of role Down.
fn store(mask: Option<&Tensor>) -> ParamStore {
    let mut store = ParamStore::default();
    let mut params = Params::new(&mut store, Some("m"), &Seeds::new(0), Device::Cpu);
    let u = params.trainable("u", Role::Up, &draw("u", &[6, 4])).unwrap();
    params.trainable("d", Role::Down, &draw("d", &[4, 5])).unwrap();
    if let Some(mask) = mask {
        params.mask(&u, mask).unwrap();
    }
    store
}

fn mask() -> Tensor {
    draw("mask", &[6, 4]).gt(0.3)
}

/// Gradients ∂/∂p of Σ p·w(step), so they are known and differ from step to step.
fn gradients(store: &ParamStore, step: i64) -> Gradients {
    let loss: Tensor = store
        .training()
        .map(|(_, e)| (&e.tensor * draw(&format!("{}{step}", e.name), &e.tensor.size())).sum(Kind::Float))
        .sum();
    let mut gradients = Gradients::default();
    gradients.accumulate(&loss, store, &[]).unwrap();
    gradients
}

fn run(optimizer: &mut AdamW, store: &ParamStore, steps: std::ops::Range<i64>) {
    for step in steps {
        optimizer.step(store, &gradients(store, step), 1.0);
    }
}

fn config() -> AdamWConfig {
    AdamWConfig { lr: 0.05, weight_decay: 0.1, clip: Clip::PerTensor(0.7), ..AdamWConfig::default() }
}

/// The oracle of LoRI-S: the trajectory of a dense optimizer whose gradient is masked (and, so that decay cannot
/// reach it, whose entries outside the mask start at zero) is the packed one, bit by bit.
#[test]
fn packed_moments_take_the_dense_trajectory() {
    let mask = mask();
    let (packed, dense) = (store(Some(&mask)), store(None));
    let value = |s: &ParamStore| s.find("m.u").unwrap().tensor.detach();
    for s in [&packed, &dense] {
        let _ = value(s).masked_fill_(&mask.logical_not(), 0.0);
    }
    let (mut a, mut b) = (AdamW::new(config()), AdamW::new(config()));
    for step in 0..8 {
        a.step(&packed, &gradients(&packed, step), 1.0);
        // The clipping norm of the masked gradient sums the same numbers in another order (zeros in between).
        let mut masked = Gradients::default();
        let loss: Tensor = dense
            .training()
            .map(|(_, e)| {
                let weight = draw(&format!("{}{step}", e.name), &e.tensor.size());
                let weight = if e.name == "m.u" { weight * mask.to_kind(Kind::Float) } else { weight };
                (&e.tensor * weight).sum(Kind::Float)
            })
            .sum();
        masked.accumulate(&loss, &dense, &[]).unwrap();
        b.step(&dense, &masked, 1.0);
    }
    let (a, b) = (value(&packed), value(&dense));
    let ulps = (&a - &b).abs().max().double_value(&[]);
    assert!(ulps <= 2.0 * f64::from(f32::EPSILON), "{ulps:e}");
    assert_eq!(a.masked_select(&mask.logical_not()).abs().max().double_value(&[]), 0.0);
}

#[test]
fn outside_the_mask_neither_decay_nor_update_reaches() {
    let mask = mask();
    let store = store(Some(&mask));
    let before = store.find("m.u").unwrap().tensor.detach().copy();
    let mut optimizer = AdamW::new(config());
    run(&mut optimizer, &store, 0..5);
    let after = store.find("m.u").unwrap().tensor.detach();
    let outside = mask.logical_not();
    assert_eq!(after.masked_select(&outside), before.masked_select(&outside));
    assert!(bool::try_from((after - before).masked_select(&mask).ne(0.0).all()).unwrap());
    let inside = mask.sum(Kind::Int64).int64_value(&[]).cast_unsigned();
    assert_eq!(optimizer.state_bytes(), 8 * (inside + 20), "two f32 moments for each entry that trains");
}

#[test]
fn saved_state_continues_exactly() {
    let mask = mask();
    let (whole, cut) = (store(Some(&mask)), store(Some(&mask)));
    let mut optimizer = AdamW::new(config());
    run(&mut optimizer, &whole, 0..6);

    let mut first = AdamW::new(config());
    run(&mut first, &cut, 0..3);
    let mut second = AdamW::new(config());
    second.load_state(&first.state(), &cut, "state").unwrap();
    run(&mut second, &cut, 3..6);
    assert_eq!(whole.checkpoint_tensors(), cut.checkpoint_tensors());

    let mut state = first.state();
    let _ = state.remove("m.u.exp_avg_sq").unwrap();
    let error = AdamW::new(config()).load_state(&state, &cut, "state").unwrap_err().to_string();
    assert!(error.contains("m.u.exp_avg_sq"), "{error}");
}

#[test]
fn roles_have_their_own_rates() {
    let mut plus = config();
    plus.clip = Clip::None;
    plus.weight_decay = 0.0;
    plus.lr_ratio.insert(Role::Up, 4.0);
    let store = store(None);
    let before = store.adapter_tensors().into_iter().map(|(n, t)| (n, t.copy())).collect::<Vec<_>>();
    AdamW::new(plus).step(&store, &gradients(&store, 0), 0.5);
    let moved = |name: &str| {
        let before = &before.iter().find(|(n, _)| n == name).unwrap().1;
        (store.find(name).unwrap().tensor.detach() - before).abs()
    };
    // Adam's first step has size lr wherever the gradient is far from 0 (here beyond 1e-4, against ε = 1e-8).
    for (name, size) in [("m.u", 0.05 * 4.0 * 0.5), ("m.d", 0.05 * 0.5)] {
        let moved = moved(name);
        assert!((moved.min().double_value(&[]) - size).abs() < 1e-4, "{name}: {moved}");
        assert!((moved.max().double_value(&[]) - size).abs() < 1e-4, "{name}: {moved}");
    }
}

#[test]
fn what_has_no_gradient_rests() {
    let mut store = store(None);
    let mut optimizer = AdamW::new(config());
    run(&mut optimizer, &store, 0..2);
    let rest = store.find("m.d").unwrap().tensor.detach().copy();
    store.train(&peft_core::Roles::only([Role::Up]));
    run(&mut optimizer, &store, 2..4);
    assert_eq!(
        store.find("m.d").unwrap().tensor.detach(),
        rest,
        "moments of a resting tensor do not move it"
    );
}
