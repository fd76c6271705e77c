//! Any low-rank update as plain LoRA.

use indexmap::IndexMap;
use peft_core::low_rank::LoraFields;
use peft_core::peft_file::{self, AdapterFile};
use peft_core::tensor_file::Metadata;
use peft_core::{Adaptable, Attachment, Delta, MethodInfo, Site, StateDict};
use tch::Tensor;

use super::Reader;
use crate::adapter::{Provenance, about};
use crate::updates::shrunk;
use crate::{Error, Result};

/// `ΔW = B·A` at every site, nothing else.
#[derive(Debug)]
pub struct PlainLora {
    reader: Reader,
    sites: Vec<(Site, Tensor, Tensor)>,
}

/// Reads the factors off the adapter `source` on `model`.
///
/// # Errors
/// [`Error::CannotExport`] where the update has none, or of a rank that the reader does not take.
pub fn plain_lora(
    model: &mut dyn Adaptable,
    source: &Attachment,
    method: &'static MethodInfo,
    reader: Reader,
) -> Result<PlainLora> {
    let refuse = |reason: String| Error::CannotExport { reader: reader.title(), method: method.name, reason };
    if source.count_replaced() > 0 || source.sites().is_empty() {
        return Err(refuse("it trains weights of the base themselves, which no adapter holds".to_owned()));
    }
    let linears = model.linears();
    let factors = |site: &Site| {
        let linear = linears.iter().find(|linear| linear.name() == site.name)?;
        let (b, a) = linear.adapter(source.name())?.as_delta().and_then(Delta::factors)?;
        Some((site.clone(), b, a))
    };
    let mut sites = Vec::new();
    for site in source.sites() {
        let Some((site, b, a)) = tch::no_grad(|| factors(site)) else {
            let reason = format!(
                "what it changes at `{}` is no product of two thin matrices, as LoRA's is",
                site.name
            );
            return Err(refuse(reason));
        };
        let (b, a) = shrunk(&b, &a);
        sites.push((site, b, a));
    }
    let plain = PlainLora { reader, sites };
    match reader.largest_rank() {
        Some(largest) if plain.rank() > largest => {
            Err(refuse(format!("as LoRA it has rank {}, and {largest} is the most it takes", plain.rank())))
        }
        _ => Ok(plain),
    }
}

impl PlainLora {
    /// Of the largest site.
    pub fn rank(&self) -> i64 {
        self.sites.iter().map(|(_, _, a)| a.size()[0]).max().unwrap_or(0)
    }

    /// α = r, so that the factor of a site of full rank is 1 for every reader.
    fn fields(&self) -> LoraFields {
        let rank = self.rank();
        let lower = self.sites.iter().filter(|(_, _, a)| a.size()[0] < rank);
        let rank_pattern: IndexMap<String, i64> =
            lower.map(|(site, _, a)| (site.name.clone(), a.size()[0])).collect();
        // With α of a site its rank, its factor is 1 too; llama.cpp has one α, so there B makes up for it.
        let alpha_pattern = match self.reader {
            Reader::Llamacpp => IndexMap::new(),
            _ => rank_pattern.iter().map(|(site, rank)| (site.clone(), *rank as f64)).collect(),
        };
        LoraFields { rank, alpha: rank as f64, dropout: 0.0, rank_pattern, alpha_pattern }
    }

    /// The file.
    ///
    /// # Errors
    /// If the reader cannot make a factor of the configuration.
    pub fn file(
        &self,
        model: &mut dyn Adaptable,
        source: &Attachment,
        made_by: &Provenance<'_>,
    ) -> Result<AdapterFile> {
        let config = self.fields().write();
        let mut tensors = StateDict::new();
        for (site, b, a) in &self.sites {
            let scaling = self.reader.scaling(&config, site, a.size()[0])?;
            tensors.insert(format!("{}.lora_A.weight", site.name), a.shallow_clone());
            tensors.insert(format!("{}.lora_B.weight", site.name), b / scaling);
        }
        let (names, about) = about(model, made_by.base_model);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let metadata = Metadata::from([("exported_from".to_owned(), made_by.method.name.to_owned())]);
        Ok(peft_file::file_of(source, &names, config, tensors, &about, metadata))
    }
}
