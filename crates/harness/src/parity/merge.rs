//! Cases of kind `merge`: combinations of adapters, as updates, as factors, and as logits of the model with the result.

use merging::{Contribution, Election, Recipe, Update, Updates, merge, plain_file};
use peft_core::peft_file::AdapterFile;
use peft_core::{Adaptable, Seeds};
use serde::Deserialize;

use super::subject::Subject;
use super::{Case, Checks};
use crate::adapter::attach;
use crate::solver::CausalLm;
use crate::updates::updates;
use crate::{Error, Result};

#[derive(Deserialize)]
struct Combination {
    name: String,
    r#type: String,
    adapters: Vec<String>,
    weights: Vec<f64>,
    density: Option<f64>,
    majority_sign_method: Option<String>,
    svd_rank: Option<i64>,
}

pub(super) fn run(case: &Case, checks: &mut Checks) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    for combination in case.field::<Vec<Combination>>("combinations")? {
        let election = match combination.majority_sign_method.as_deref() {
            None | Some("total") => Election::Total,
            Some("frequency") => Election::Frequency,
            Some(other) => return Err(Error::Usage(format!("unknown majority_sign_method `{other}`"))),
        };
        let density = combination.density.unwrap_or(1.0);
        let recipe = Recipe::named(&combination.r#type, density, election, combination.svd_rank)?;
        let read = |name: &String| Ok(AdapterFile::read(&case.folder.join("adapters").join(name))?);
        let files = combination.adapters.iter().map(read).collect::<Result<Vec<_>>>()?;
        // Every case is of plain files, so no base is asked for.
        let no_base = &mut || Err(Error::Usage("a case of plain LoRA files is expected".to_owned()));
        let all = files.iter().map(|file| updates(file, no_base)).collect::<Result<Vec<Updates>>>()?;
        let contributions: Vec<_> = all
            .iter()
            .zip(&combination.weights)
            .map(|(updates, weight)| Contribution { updates, weight: *weight })
            .collect();
        let merged = merge(&contributions, &recipe, &Seeds::new(0))?;
        let file = plain_file(&files, &merged)?;
        let name = &combination.name;
        for (module, update) in &merged {
            let Update::LowRank(factors) = update else { continue };
            let tensors = [
                ("delta", factors.update()),
                ("lora_A", factors.a.shallow_clone()),
                ("lora_B", factors.b.shallow_clone()),
            ];
            for (quantity, got) in tensors {
                let key = format!("{quantity}.{name}.{module}");
                match expected.get(&key) {
                    Some(want) => checks.tensor(&key, &got, want),
                    // Factors are given only where they are unique.
                    None if quantity == "delta" => checks.absent(&key, "the case does not hold it"),
                    None => {}
                }
            }
        }
        let wanted = expected.keys().filter_map(|key| key.strip_prefix(&format!("delta.{name}.")));
        for module in wanted.filter(|module| !merged.contains_key(*module)) {
            checks.absent(&format!("delta.{name}.{module}"), "the module is not merged");
        }
        if let Some(want) = expected.get(&format!("logits.{name}")) {
            logits(case, checks, name, &file, want)?;
        }
    }
    Ok(())
}

/// The merged file, written, read and attached.
fn logits(
    case: &Case,
    checks: &mut Checks,
    name: &str,
    file: &AdapterFile,
    want: &tch::Tensor,
) -> Result<()> {
    let folder = tempfile::tempdir().map_err(|source| peft_core::Error::io(std::env::temp_dir(), source))?;
    file.write(folder.path())?;
    let mut learner = CausalLm::load(&case.folder.join("model"))?;
    let (attachment, ..) = attach(&mut learner, "merged", &AdapterFile::read(folder.path())?, None)?;
    learner.activate(&attachment.active());
    let part = CausalLm::step(&case.tensors("batches.safetensors")?, 0)?;
    for (_, got) in learner.outputs(&part)? {
        let quantity = format!("logits.{name}");
        checks.tensor(
            &quantity,
            &CausalLm::specified(&part, "logits", &got),
            &CausalLm::specified(&part, "logits", want),
        );
    }
    Ok(())
}
