//! `merge`: several adapters into one.

use std::path::PathBuf;

use merging::{Contribution, Election, Recipe, merge};
use peft_core::Seeds;
use peft_core::peft_file::AdapterFile;

use super::print;
use crate::cli::{MergeArgs, Vote};
use crate::queue::check_writable;
use crate::{Error, Result};

pub(super) fn execute(args: &MergeArgs) -> Result<()> {
    let election = match args.election {
        Vote::Total => Election::Total,
        Vote::Frequency => Election::Frequency,
    };
    let recipe = Recipe::named(&args.how, args.density, election, args.rank)?;
    let weights = if args.weights.is_empty() { vec![1.0; args.adapters.len()] } else { args.weights.clone() };
    if weights.len() != args.adapters.len() {
        let (weights, adapters) = (weights.len(), args.adapters.len());
        return Err(Error::Usage(format!(
            "{weights} weights for {adapters} adapters: one for each is needed"
        )));
    }
    check_writable(&args.out)?;
    let read = |folder: &PathBuf| Ok(AdapterFile::read(folder)?);
    let files = args.adapters.iter().map(read).collect::<Result<Vec<_>>>()?;
    let contributions: Vec<_> =
        files.iter().zip(weights).map(|(file, weight)| Contribution { file, weight }).collect();
    let (file, merged) = merge(&contributions, &recipe, &Seeds::new(args.seed))?;
    file.write(&args.out)?;
    let rank = merged.values().map(merging::Factors::rank).max().unwrap_or(0);
    print(&format!(
        "{}: {} adapters merged by {} in {} modules, rank {rank}",
        args.out.display(),
        contributions.len(),
        args.how,
        merged.len()
    ));
    Ok(())
}
