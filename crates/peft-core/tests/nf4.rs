//! NF4 against its bounds and against what bitsandbytes' own tests expect.

use peft_core::nf4::{LEVELS, dynamic_map};
use peft_core::{Dense, FrozenWeight, Nf4, StateDict, Storage, generator};
use tch::{Device, Kind, Tensor};

const SIZE: i64 = 1024;

fn normal(seed: i64, size: [i64; 2]) -> Tensor {
    generator::seeded(seed, || Tensor::randn(size, (Kind::Float, Device::Cpu)))
}

fn number(tensor: &Tensor) -> f64 {
    tensor.double_value(&[])
}

/// What a checkpoint would hold of `weight`.
fn file(weight: &dyn FrozenWeight) -> StateDict {
    weight.stored().into_iter().map(|(suffix, tensor)| (format!("w{suffix}"), tensor)).collect()
}

/// Mean error over N(0, 1) by block size, and seven standard deviations of it over draws of 1024²: the figures of
/// bitsandbytes 0.50 (`tests/test_functional.py`, `test_4bit_quant`).
#[test]
fn errors_over_normal_values_are_those_of_bitsandbytes() {
    let expected = [
        (32, 0.067_746, 0.189_726),
        (64, 0.072_798, 0.203_339),
        (128, 0.076_831, 0.215_237),
        (256, 0.080_337, 0.226_105),
        (512, 0.083_547, 0.236_079),
        (1024, 0.086_610, 0.245_370),
        (2048, 0.089_592, 0.254_163),
        (4096, 0.092_547, 0.262_473),
    ];
    // The spread of the mean of 1024² errors of about 0.06 each is 6e-5; blocks share a scale, so it is wider.
    let (absolute_spread, relative_spread) = (1e-3, 4e-3);
    let weight = normal(3, [SIZE, SIZE]);
    for (block_size, absolute, relative) in expected {
        let stored = Nf4 { block_size, double_quantization: false }.round_trip(&weight);
        let error = (&weight - stored).abs();
        let found = number(&error.mean(Kind::Float));
        assert!((found - absolute).abs() < absolute_spread, "block {block_size}: {found}, not {absolute}");
        let found = number(&(&error / (weight.abs() + 1e-8)).mean(Kind::Float));
        assert!((found - relative).abs() < relative_spread, "block {block_size}: {found}, not {relative}");
    }
}

/// Half the widest gap between levels, times the largest magnitude of the block.
#[test]
fn no_value_moves_further_than_half_a_gap() {
    let weight = normal(4, [96, 64]);
    let gap = LEVELS.windows(2).map(|pair| f64::from(pair[1] - pair[0])).fold(0.0, f64::max);
    let blocks = weight.view([-1, 64]);
    let bound = blocks.abs().amax([1].as_slice(), true) * (gap / 2.0 + 1e-6);
    let error = (Nf4::PLAIN.round_trip(&weight).view([-1, 64]) - blocks).abs();
    assert_eq!(number(&error.gt_tensor(&bound).sum(Kind::Int64)), 0.0);
    assert!(number(&(error / bound).max()) > 0.9, "the bound is tight");
}

#[test]
fn quantizing_again_changes_nothing() {
    for block_size in [32, 64, 4096] {
        let format = Nf4 { block_size, double_quantization: false };
        let once = format.quantize(&normal(5, [48, 40]));
        let twice = format.quantize(&once.dense());
        assert_eq!(once.codes(), twice.codes());
        assert_eq!(once.absmax(), twice.absmax());
    }
}

/// Zero, and the largest magnitude of each block, are levels.
#[test]
fn zeros_and_extremes_are_exact() {
    let weight = normal(6, [8, 64]);
    let _ = weight.narrow(1, 5, 3).zero_();
    let _ = weight.get(2).zero_();
    let stored = Nf4::PLAIN.round_trip(&weight);
    assert_eq!(number(&stored.narrow(1, 5, 3).abs().max()), 0.0);
    assert_eq!(number(&stored.get(2).abs().max()), 0.0, "a block of zeros is one of zeros, not of NaN");
    let (largest, at) = weight.abs().max_dim(1, true);
    assert_eq!(stored.gather(1, &at, false).abs(), largest);
}

#[test]
fn a_power_of_two_scales_the_scales_alone() {
    let weight = normal(7, [16, 64]);
    let (one, eight) = (Nf4::PLAIN.quantize(&weight), Nf4::PLAIN.quantize(&(weight * 8.0)));
    assert_eq!(one.codes(), eight.codes());
    assert_eq!(one.absmax() * 8.0, eight.absmax());
}

#[test]
fn double_quantization_loses_little_and_stores_less() {
    let weight = normal(8, [SIZE, SIZE]);
    let (plain, double) = (Nf4::PLAIN.quantize(&weight), Nf4::DOUBLE.quantize(&weight));
    assert_eq!(plain.codes(), double.codes());
    let map = dynamic_map(Device::Cpu);
    let gap = number(&(map.narrow(0, 1, 255) - map.narrow(0, 0, 255)).max()) / 2.0;
    let spread = number(&(plain.absmax() - plain.absmax().mean(Kind::Float)).abs().max());
    let moved = number(&(plain.absmax() - double.absmax()).abs().max());
    assert!(moved <= gap * spread * 1.001, "{moved} over {gap}·{spread}");
    let bits = |weight: &dyn FrozenWeight| weight.bytes() as f64 * 8.0 / (SIZE * SIZE) as f64;
    assert!((bits(&plain) - 4.5).abs() < 1e-9, "{}", bits(&plain));
    assert!((bits(&double) - 4.127).abs() < 0.01, "{}", bits(&double));
}

#[test]
fn what_is_written_is_read() {
    let weight = normal(9, [37, 41]);
    for format in [Nf4::PLAIN, Nf4::DOUBLE] {
        let stored = format.quantize(&weight);
        let read = peft_core::nf4::Nf4Tensor::read("w", &file(&stored), Kind::Float, Device::Cpu).unwrap();
        assert_eq!(read.dense(), stored.dense());
    }
}

#[test]
fn a_broken_checkpoint_is_refused_with_the_part() {
    let read = |tensors: &StateDict| {
        peft_core::nf4::Nf4Tensor::read("w", tensors, Kind::Float, Device::Cpu).unwrap_err().to_string()
    };
    let whole = file(&Nf4::DOUBLE.quantize(&normal(10, [16, 64])));
    for part in whole.keys().filter(|part| *part != "w") {
        let mut rest: StateDict = whole.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
        rest.remove(part);
        assert!(read(&rest).contains(&format!("without `{part}`")), "{part}: {}", read(&rest));
    }
    let mut short: StateDict = whole.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
    short.insert("w".to_owned(), whole["w"].narrow(0, 0, 100));
    assert!(read(&short).contains("100 bytes"), "{}", read(&short));
}

/// Gradients are those of the dense product with what is stored.
#[test]
fn products_and_their_gradients_are_those_of_the_dense_weight() {
    let weight = normal(11, [24, 64]);
    let stored = Nf4::PLAIN.quantize(&weight);
    let dense = Dense::new(&stored.dense());
    let leaf = |seed, size| normal(seed, size).set_requires_grad(true);
    let gradients = |weight: &dyn FrozenWeight| {
        let (x, bias) = (leaf(12, [5, 64]), leaf(13, [1, 24]));
        let y = weight.linear(&x, Some(&bias.view(-1)));
        y.square().sum(Kind::Float).backward();
        (y.detach(), x.grad(), bias.grad())
    };
    let (ours, theirs) = (gradients(&stored), gradients(&dense));
    assert_eq!(ours.0, theirs.0);
    assert!(ours.1.allclose(&theirs.1, 1e-6, 1e-6, false) && ours.2.allclose(&theirs.2, 1e-6, 1e-6, false));
}

#[test]
fn a_bf16_weight_computes_in_bf16() {
    let weight = normal(14, [16, 64]).to_kind(Kind::BFloat16);
    let stored = Nf4::PLAIN.quantize(&weight);
    assert_eq!(stored.kind(), Kind::BFloat16);
    let dense = Nf4::PLAIN.quantize(&weight.to_kind(Kind::Float)).dense();
    assert_eq!(stored.dense(), dense.to_kind(Kind::BFloat16));
}
