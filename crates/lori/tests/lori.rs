//! The oracles of LoRI: what freezing, masking, resetting and redrawing must do.

use lori::{LORI_D, LORI_S};
use peft_core::{AsLoaded, MethodInfo, StateDict, tensor_file};
use peft_testkit::{Tolerance, Trained, assert_close};
use tch::{Kind, Tensor};

fn find(name: &str) -> MethodInfo {
    [LORI_D, LORI_S].into_iter().find(|info| info.name == name).unwrap()
}

fn train(info: &MethodInfo, settings: &str, steps: u64) -> Trained {
    let settings = settings.parse().unwrap();
    Trained::run(info, &settings, &find, (Kind::Float, &AsLoaded), steps, 0).unwrap()
}

fn tensors(run: &Trained) -> StateDict {
    run.attachment.store().adapter_tensors().into_iter().map(|(n, t)| (n, t.copy())).collect()
}

fn up(tensors: &StateDict) -> impl Iterator<Item = (&String, &Tensor)> {
    tensors.iter().filter(|(name, _)| name.ends_with("lora_B.weight"))
}

fn density(tensors: &StateDict) -> f64 {
    let (nonzero, all) = up(tensors)
        .fold((0, 0), |(n, a), (_, b)| (n + b.count_nonzero(None).int64_value(&[]), a + b.numel() as i64));
    nonzero as f64 / all as f64
}

const BASE: &str = "rank = 4\nalpha = 8.0\n";

#[test]
fn a_never_moves() {
    let (start, end) = (tensors(&train(&LORI_D, BASE, 0)), tensors(&train(&LORI_D, BASE, 8)));
    for (name, tensor) in start.iter().filter(|(name, _)| name.contains("lora_A")) {
        assert_close(name, &end[name], tensor, Tolerance::EXACT);
    }
    assert!(up(&end).all(|(_, b)| b.abs().max().double_value(&[]) > 0.0));
}

#[test]
fn outside_the_mask_b_is_exactly_zero() {
    let run = train(&LORI_S, &format!("{BASE}sparsity = 0.9"), 20);
    for (_, entry) in run.attachment.store().trainables() {
        let outside = entry.mask().expect("every B is masked").logical_not();
        assert_eq!(entry.tensor.masked_select(&outside).abs().sum(Kind::Float).double_value(&[]), 0.0);
    }
    let density = density(&tensors(&run));
    assert!((density - 0.1).abs() < 0.01, "{density}");
}

/// The largest entries of the calibration run, by a sort over all sites.
#[test]
fn the_mask_is_the_calibration_runs() {
    let calibration = tensors(&train(&LORI_D, BASE, 6));
    let run = train(&LORI_S, &format!("{BASE}sparsity = 0.75"), 6);
    let mut all: Vec<f32> =
        up(&calibration).flat_map(|(_, b)| Vec::<f32>::try_from(b.abs().reshape(-1)).unwrap()).collect();
    all.sort_by(|a, b| b.total_cmp(a));
    let threshold = f64::from(all[all.len() / 4 - 1]);
    for (_, entry) in run.attachment.store().trainables() {
        assert_eq!(entry.mask().unwrap(), &calibration[&entry.name].abs().ge(threshold), "{}", entry.name);
    }
}

#[test]
fn fresh_and_same_a() {
    let calibration = tensors(&train(&LORI_D, BASE, 6));
    let a_of = |settings: &str| tensors(&train(&LORI_S, &format!("{BASE}{settings}"), 6));
    let (fresh, same) = (a_of(""), a_of("a = 'same'"));
    for (name, tensor) in calibration.iter().filter(|(name, _)| name.contains("lora_A")) {
        assert_eq!(&same[name], tensor, "{name}");
        assert_ne!(&fresh[name], tensor, "{name}");
        // A fresh draw has the same distribution: nothing beyond the bound 1/√in.
        let bound = 1.0 / (tensor.size()[1] as f64).sqrt();
        assert!(fresh[name].abs().max().double_value(&[]) <= bound);
    }
}

/// With nothing masked out, the second run is LoRI-D under the same A, step for step.
#[test]
fn a_full_mask_is_lori_d() {
    let dense = tensors(&train(&LORI_D, BASE, 7));
    let sparse = tensors(&train(&LORI_S, &format!("{BASE}sparsity = 0.0\na = 'same'"), 7));
    for (name, tensor) in &dense {
        assert_close(name, &sparse[name], tensor, Tolerance::EXACT);
    }
}

#[test]
fn calibration_within_the_run() {
    let settings = format!("{BASE}sparsity = 0.75\ncalibration_steps = 4\n");
    let (same, fresh) = (train(&LORI_S, &format!("{settings}a = 'same'"), 10), train(&LORI_S, &settings, 10));
    let start = tensors(&train(&LORI_S, &settings, 0));
    for (name, tensor) in start.iter().filter(|(name, _)| name.contains("lora_A")) {
        assert_eq!(&tensors(&same)[name], tensor);
        assert_ne!(&tensors(&fresh)[name], tensor);
    }
    assert!((density(&tensors(&same)) - 0.25).abs() < 0.01);
    let base = train(&LORI_D, BASE, 1).losses[0];
    assert!((fresh.losses[4] - base).abs() < 1e-6, "after the reset the model is the base again");
    for (steps, reason) in [(4u64, "at least one step"), (3, "only 3 steps")] {
        let table = settings.parse().unwrap();
        let error = Trained::run(&LORI_S, &table, &find, (Kind::Float, &AsLoaded), steps, 0).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

/// As many entries as the largest, of every matrix alike, others under another seed, and no other run is needed.
#[test]
fn a_random_mask_has_the_density_and_nothing_of_a_calibration() {
    let settings = format!("{BASE}sparsity = 0.75\nkeep = 'random'\n");
    assert!((LORI_S.build)(settings.parse().unwrap()).unwrap().needs().is_none());
    let masks = |seed| -> Vec<Tensor> {
        let run = Trained::run(&LORI_S, &settings.parse().unwrap(), &find, (Kind::Float, &AsLoaded), 2, seed)
            .unwrap();
        run.attachment.store().trainables().map(|(_, entry)| entry.mask().unwrap().copy()).collect()
    };
    let (first, again, other) = (masks(0), masks(0), masks(1));
    assert_eq!(first, again);
    assert_ne!(first, other);
    let kept = |mask: &Tensor| mask.sum(Kind::Int64).int64_value(&[]);
    let all: usize = first.iter().map(Tensor::numel).sum();
    assert_eq!(first.iter().map(kept).sum::<i64>(), (0.25 * all as f64) as i64);
    for mask in &first {
        // Five standard deviations of a share of a quarter.
        let (n, share) = (mask.numel() as f64, kept(mask) as f64 / mask.numel() as f64);
        assert!((share - 0.25).abs() < 5.0 * (0.25 * 0.75 / n).sqrt(), "{share} of {n}");
    }
}

#[test]
fn masks_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("masks.safetensors");
    let donor = train(&LORI_S, &format!("{BASE}sparsity = 0.75"), 6);
    let masks: StateDict = donor
        .attachment
        .store()
        .trainables()
        .map(|(_, e)| {
            (
                format!("mask.{}", e.name.trim_end_matches(".lora_B.weight")),
                e.mask().unwrap().to_kind(Kind::Uint8),
            )
        })
        .collect();
    tensor_file::write(&path, &masks, &tensor_file::Metadata::new()).unwrap();
    let settings = format!("{BASE}mask = '{}'", path.display());
    let run = train(&LORI_S, &settings, 3);
    assert_eq!(run.attachment.store().count_trainable(), donor.attachment.store().count_trainable());

    let mut short = masks;
    let (name, _) = short.pop_last().unwrap();
    tensor_file::write(&path, &short, &tensor_file::Metadata::new()).unwrap();
    let error =
        Trained::run(&LORI_S, &settings.parse().unwrap(), &find, (Kind::Float, &AsLoaded), 1, 0).unwrap_err();
    assert!(error.to_string().contains(&name), "{error}");
}

#[test]
fn settings_that_contradict_are_refused() {
    for (settings, field) in [
        ("sparsity = 1.0", "sparsity"),
        ("mask = 'x'\ncalibration_steps = 3", "mask"),
        ("keep = 'random'\ncalibration_steps = 3", "keep"),
        ("keep = 'random'\na = 'same'", "keep"),
        ("calibration_lr = 0.1", "calibration_lr"),
        ("rank = 0", "rank"),
    ] {
        let error = (LORI_S.build)(settings.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field} =")), "{error}");
    }
}
