//! Cases of kind `quant`: 4-bit codes and scales, and what `PiSSA` leaves to them.

use peft_core::nf4::{LEVELS, Nf4Tensor, STATE_SUFFIX, dynamic_map};
use peft_core::{
    Adaptable, AdaptedLinear, Attachment, FrozenWeight, Layout, Nf4, Part, Seeds, StateDict, Targets, linalg,
};
use tch::{Device, Kind, Tensor};

use super::{Case, Checks};
use crate::{Error, Result};

pub(super) fn run(case: &Case, checks: &mut Checks) -> Result<()> {
    let given = case.tensors("batches.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let plain = Nf4 { block_size: case.field("blocksize")?, double_quantization: false };
    if case.method != "none" {
        return residual(case, plain, &given, &expected, checks);
    }
    checks.tensor("codebook", &Tensor::from_slice(&LEVELS), &expected["codebook"]);
    checks.tensor("dynamic_map", &dynamic_map(Device::Cpu), &expected["dynamic_map"]);
    let double = Nf4 { double_quantization: true, ..plain };
    for (name, weight) in given.iter().filter_map(|(key, w)| Some((key.strip_prefix("weight.")?, w))) {
        codes(name, &plain.quantize(weight), "", "plain", &expected, checks);
        if expected.contains_key(&format!("dq_codes.{name}")) {
            codes(name, &double.quantize(weight), "dq_", "double", &expected, checks);
        }
    }
    if case.has("serialized.safetensors") {
        files(&case.tensors("serialized.safetensors")?, &expected, checks)?;
    }
    Ok(())
}

/// What was made of one weight.
fn codes(name: &str, got: &Nf4Tensor, prefix: &str, kind: &str, expected: &StateDict, checks: &mut Checks) {
    let stored: StateDict = got.stored().into_iter().map(|(s, t)| (s.to_owned(), t)).collect();
    let mut check = |quantity: &str, got: &Tensor| {
        let key = format!("{quantity}.{name}");
        match expected.get(&key) {
            Some(want) => checks.tensor(&format!("{key} ({kind})"), got, want),
            None => checks.absent(&key, "the case does not hold it"),
        }
    };
    let count = got.dense().numel() as i64;
    check("codes", &got.codes().narrow(0, 0, count));
    check("packed", &stored[""]);
    check(&format!("{prefix}absmax"), &got.absmax());
    check(&format!("{prefix}dequantized"), &got.dense());
    if let Some(nested) = stored.get(".nested_absmax") {
        check("dq_codes", &stored[".absmax"]);
        check("dq_nested_absmax", nested);
        check("dq_offset", &Tensor::from(got.offset().unwrap_or(f64::NAN) as f32));
    }
}

/// Checkpoints of others are read, and written back as they were.
fn files(file: &StateDict, expected: &StateDict, checks: &mut Checks) -> Result<()> {
    for name in file.keys().filter(|name| name.ends_with(".weight")) {
        let read = Nf4Tensor::read(name, file, Kind::Float, Device::Cpu)?;
        let (kind, rest) = name.split_once('.').unwrap_or(("", name));
        let prefix = if kind == "double" { "dq_" } else { "" };
        let want = &expected[&format!("{prefix}dequantized.{}", rest.trim_end_matches(".weight"))];
        checks.tensor(&format!("{name} read"), &read.dense(), want);
        for (suffix, tensor) in read.stored() {
            let part = format!("{name}{suffix}");
            match file.get(&part) {
                Some(want) if suffix == STATE_SUFFIX => {
                    checks.share(
                        &format!("{part} written"),
                        f64::from(u8::from(json(&tensor) != json(want))),
                        0.0,
                    );
                }
                Some(want) => checks.tensor(&format!("{part} written"), &tensor, want),
                None => checks.absent(&part, "the checkpoint has no such tensor"),
            }
        }
    }
    Ok(())
}

/// Bytes as what they say: spaces between words differ.
fn json(bytes: &Tensor) -> Option<serde_json::Value> {
    serde_json::from_slice(&Vec::<u8>::try_from(bytes).ok()?).ok()
}

/// A model of one layer.
struct One(AdaptedLinear);

impl Adaptable for One {
    fn parts(&mut self) -> Vec<Part<'_>> {
        vec![Part::Linear(&mut self.0)]
    }
}

/// The share of codes that may differ where the errors agree: two decompositions differ by rounding, which turns a value on
/// a threshold.
const OTHER_CODES: f64 = 2e-3;

/// What the method attached to a quantized base leaves, after every number of iterations.
fn residual(
    case: &Case,
    storage: Nf4,
    given: &StateDict,
    expected: &StateDict,
    checks: &mut Checks,
) -> Result<()> {
    let weight = given
        .get("weight")
        .ok_or_else(|| Error::Usage("batches.safetensors holds no `weight`".to_owned()))?;
    let lost = weight - storage.quantize(weight).dense();
    let mut errors = vec![norms(&lost)?];
    for iterations in 1..=case.field::<u32>("iterations")? {
        let mut settings = toml::Table::new();
        settings.insert("rank".to_owned(), case.field::<i64>("r")?.into());
        settings.insert("alpha".to_owned(), case.field::<f64>("alpha")?.into());
        settings.insert("quantization_iterations".to_owned(), i64::from(iterations).into());
        let method = (methods::find(&case.method)?.build)(settings)?;
        let mut model = One(AdaptedLinear::new("weight", weight, None, Layout::OutIn));
        let attachment =
            Attachment::new(&mut model, "default", method, &Targets::default(), &storage, &Seeds::new(0))?;
        model.activate(&attachment.active());
        errors.push(norms(&(weight - model.0.effective_weight()))?);
        if iterations == case.field::<u32>("iterations")? {
            outcome(&model.0, &attachment, storage, expected, checks);
        }
    }
    let (frobenius, nuclear): (Vec<f64>, Vec<f64>) = errors.into_iter().unzip();
    checks.tensor("error_fro", &Tensor::from_slice(&frobenius), &expected["error_fro"]);
    checks.tensor("error_nuc", &Tensor::from_slice(&nuclear), &expected["error_nuc"]);
    Ok(())
}

fn outcome(
    linear: &AdaptedLinear,
    attachment: &Attachment,
    storage: Nf4,
    expected: &StateDict,
    checks: &mut Checks,
) {
    let frozen = linear.frozen().dense();
    let stored = storage.quantize(&frozen); // the same codes again
    let codes = stored.codes().narrow(0, 0, frozen.numel() as i64);
    let other = codes.ne_tensor(&expected["codes"]).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
    checks.share("codes (share that differs)", other, OTHER_CODES);
    if other == 0.0 {
        checks.tensor("absmax", &stored.absmax(), &expected["absmax"]);
        checks.tensor("dequantized", &frozen, &expected["dequantized"]);
    }
    let tensor = |name: &str| {
        let entry = attachment.store().find(&format!("weight.{name}.weight")).expect("a method of low rank");
        entry.tensor.detach()
    };
    let product = tensor("lora_B").matmul(&tensor("lora_A"));
    checks.tensor("product", &product, &expected["product"]);
}

/// Frobenius and nuclear norm.
fn norms(error: &Tensor) -> Result<(f64, f64)> {
    let singular = linalg::svd(error)?.s;
    let number = |t: Tensor| t.to_kind(Kind::Double).double_value(&[]);
    Ok((number(error.square().sum(Kind::Double).sqrt()), number(singular.sum(Kind::Double))))
}
