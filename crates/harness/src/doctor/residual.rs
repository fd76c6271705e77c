use peft_core::low_rank::{LoraFields, Ranks, Scaling, flag, starts_from_zero};
use peft_core::{Adaptable, Site, linalg};
use tch::{Kind, Tensor};

use super::patient::{CONFIG, TENSORS};
use super::{Check, Finding, Patient};
use crate::solver::CausalLm;

/// A and B that hold a part of the weight itself (PiSSA, OLoRA and their kin) and belong to a base without it: over the
/// base as it is, that part counts twice.
pub struct ResidualStart;

const NAME: &str = "residual";
const ADVICE: &str = "write it as the plain LoRA that it equals: `harness export --for peft`";

impl Check for ResidualStart {
    fn findings(&self, patient: &Patient, model: Option<&mut CausalLm>) -> Vec<Finding> {
        let config = &patient.file.config;
        if !patient.is_lora() {
            return Vec::new();
        }
        if !starts_from_zero(config) {
            let start = &config["init_lora_weights"];
            let what =
                format!("`init_lora_weights = {start}`: it belongs to a base that only PEFT makes anew");
            return vec![Finding::error(NAME, CONFIG, what, ADVICE).warning()];
        }
        let Some(model) = model.filter(|_| !flag(config, "use_dora")) else { return Vec::new() };
        let (mut same, mut all) = (0, 0);
        for linear in model.linears() {
            let site = Site { index: 0, name: linear.name().to_owned(), shape: linear.shape() };
            if let Some(alike) = holds_the_weight(patient, &site, &linear.frozen().dense()) {
                same += usize::from(alike);
                all += 1;
            }
        }
        if 2 * same <= all {
            return Vec::new();
        }
        let what = format!(
            "at {same} of {all} layers B·A is a part of the weight itself: it belongs to a base without that part, \
             and the flag that says so (`init_lora_weights`) is lost"
        );
        let advice = format!("put the flag back (`\"pissa\"`, `\"olora\"`), then {ADVICE}");
        vec![Finding::error(NAME, TENSORS, what, advice)]
    }
}

/// Whether `s·B·A` is what W does between the spaces of A and B: `Qᵦᵀ·W·Qₐ = Qᵦᵀ·(s·B·A)·Qₐ` with orthonormal bases Q of
/// the columns of B and the rows of A. An update that was trained from zero has nothing to do with it.
fn holds_the_weight(patient: &Patient, site: &Site, weight: &Tensor) -> Option<bool> {
    /// ‖difference‖ / ‖s·B·A‖ : at the start of such a method 0, for an update that knows nothing of W about 1 or more.
    const ALIKE: f64 = 0.5;
    let tensor = |name: &str| {
        let found = patient.file.tensors.get(&format!("{}.{name}.weight", site.name))?;
        Some(found.to_kind(Kind::Float).to_device(weight.device()))
    };
    let (a, b) = (tensor("lora_A")?, tensor("lora_B")?);
    let fits = a.size().last() == weight.size().last() && b.size().first() == weight.size().first();
    if !fits || a.size()[0] != b.size()[1] || b.count_nonzero(None).int64_value(&[]) == 0 {
        return None;
    }
    let config = &patient.file.config;
    let fields = LoraFields::read(config).ok()?;
    let rule = if flag(config, "use_rslora") { Scaling::AlphaOverSqrtRank } else { Scaling::AlphaOverRank };
    let ranks =
        Ranks::new(rule, fields.rank, fields.alpha, &fields.rank_pattern, &fields.alpha_pattern).ok()?;
    let (columns, _) = linalg::qr(&b).ok()?;
    let (rows, _) = linalg::qr(&a.tr()).ok()?;
    let between = |w: &Tensor| columns.tr().matmul(w).matmul(&rows);
    let update = between(&(b.matmul(&a) * ranks.scaling(site)));
    let difference = between(&weight.to_kind(Kind::Float)) - &update;
    Some(difference.norm().double_value(&[]) < ALIKE * update.norm().double_value(&[]))
}
