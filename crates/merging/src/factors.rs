use std::collections::BTreeMap;

use peft_core::low_rank::{LoraFields, Ranks, Scaling, flag, starts_from_zero};
use peft_core::peft_file::AdapterFile;
use peft_core::{Error, Result, Site, SiteShape};
use tch::{Kind, Tensor};

/// The update of one module, `ΔW = s·B·A`.
#[derive(Debug)]
pub struct Factors {
    /// B, `[out, r]`.
    pub b: Tensor,
    /// A, `[r, in]`.
    pub a: Tensor,
    /// s.
    pub scaling: f64,
}

const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

impl Factors {
    /// r.
    pub fn rank(&self) -> i64 {
        self.a.size()[0]
    }

    /// The same with zeros up to rank `rank`.
    pub(crate) fn padded(&self, rank: i64) -> Self {
        let missing = rank - self.rank();
        Self {
            b: self.b.constant_pad_nd([0, missing]),
            a: self.a.constant_pad_nd([0, 0, 0, missing]),
            scaling: self.scaling,
        }
    }

    /// ΔW, `[out, in]`.
    pub fn update(&self) -> Tensor {
        self.b.matmul(&self.a) * self.scaling
    }
}

/// Whether [`updates`] can read `file` without its base: its layout is that of LoRA, and nothing in it is relative to more
/// than that.
///
/// # Errors
/// [`Error::Format`] if it has no type.
pub fn is_plain(file: &AdapterFile) -> Result<bool> {
    Ok(file.peft_type()? == "LORA" && !flag(&file.config, "use_dora") && starts_from_zero(&file.config))
}

/// The updates of a file of plain LoRA layout, by module.
///
/// # Errors
/// [`Error::Unsupported`] for what is more than a sum of such products, with the reason; [`Error::StateDict`] for factors
/// without their counterpart or of another rank than the configuration says.
pub fn updates(file: &AdapterFile) -> Result<BTreeMap<String, Factors>> {
    let refuse = |what: &str, reason: &str| {
        Err(Error::Unsupported {
            what: format!("merging {}: {what}", file.origin),
            reason: reason.to_owned(),
        })
    };
    let peft_type = file.peft_type()?;
    if peft_type != "LORA" {
        return refuse(peft_type, "what it adds to the weights is known beside its base alone");
    }
    if flag(&file.config, "use_dora") {
        return refuse("`use_dora`", "magnitudes rescale the whole weight, which no sum of updates can hold");
    }
    if !starts_from_zero(&file.config) {
        return refuse("`init_lora_weights`", "its update is relative to an edited base");
    }
    let fields = LoraFields::read(&file.config)?;
    let kind =
        if flag(&file.config, "use_rslora") { Scaling::AlphaOverSqrtRank } else { Scaling::AlphaOverRank };
    let ranks = Ranks::new(kind, fields.rank, fields.alpha, &fields.rank_pattern, &fields.alpha_pattern)?;

    let (mut missing, mut mismatched, mut found) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (name, a) in file.tensors.iter().filter(|(name, _)| name.ends_with(A)) {
        let module = name.trim_end_matches(A);
        let Some(b) = file.tensors.get(&format!("{module}{B}")) else {
            missing.push(format!("{module}{B}"));
            continue;
        };
        let shape = SiteShape { out_features: b.size()[0], in_features: a.size()[1] };
        let site = Site { index: found.len(), name: module.to_owned(), shape };
        let rank = ranks.rank(&site);
        if (a.size()[0], b.size()[1]) != (rank, rank) {
            mismatched.push(format!(
                "{module}: A has {} rows, B {} columns, r is {rank}",
                a.size()[0],
                b.size()[1]
            ));
            continue;
        }
        let own = |tensor: &Tensor| tensor.detach().to_kind(Kind::Float);
        found.insert(module.to_owned(), Factors { b: own(b), a: own(a), scaling: ranks.scaling(&site) });
    }
    let whole = |name: &&String| ["embed_tokens", "wte", "lm_head"].iter().any(|part| name.contains(part));
    if let Some(name) = file.tensors.keys().filter(whole).find(|name| !name.contains(".lora_")) {
        return refuse(
            &format!("`{name}`"),
            "it holds a whole embedding or output head, perhaps of another vocabulary, and no sum of updates does",
        );
    }
    let known = |name: &String| {
        [A, B].iter().any(|leaf| name.strip_suffix(leaf).is_some_and(|module| found.contains_key(module)))
    };
    let unexpected: Vec<String> =
        file.tensors.keys().filter(|name| !known(name) && !name.ends_with(A)).cloned().collect();
    if missing.is_empty() && unexpected.is_empty() && mismatched.is_empty() {
        return Ok(found);
    }
    Err(Error::StateDict { origin: file.origin.clone(), missing, unexpected, mismatched })
}
