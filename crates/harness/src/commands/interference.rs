//! `interference`: how far adapters get in each other's way, pair by pair.

use std::collections::BTreeMap;
use std::path::Path;

use compare::plot::{Figure, Matrix, Plot, Square};
use compare::table::{TerminalStyle, listing};
use merging::{Factors, Interference, interference};
use peft_core::peft_file::AdapterFile;

use super::merge::updates_of;
use super::{print, use_threads};
use crate::cli::InterferenceArgs;
use crate::{Error, Result};

const HEADER: [&str; 7] = ["", "cosine", "written", "read", "conflicts", "norm", "norm"];

pub(super) fn execute(args: &InterferenceArgs) -> Result<()> {
    if args.adapters.len() < 2 {
        return Err(Error::Usage("two adapters at least are compared".to_owned()));
    }
    use_threads(args.model.threads);
    let read = |folder: &std::path::PathBuf| {
        let updates = updates_of(&AdapterFile::read(folder)?, &args.model)?;
        Ok(updates.into_iter().map(|(module, update)| (module, update.factors())).collect())
    };
    let adapters: Vec<BTreeMap<String, Factors>> = args.adapters.iter().map(read).collect::<Result<_>>()?;
    let names: Vec<String> = args.adapters.iter().map(|folder| short(folder, &args.adapters)).collect();
    let mut cosines = vec![vec![Some(1.0); adapters.len()]; adapters.len()];
    let mut rows = Vec::new();
    for i in 0..adapters.len() {
        for j in i + 1..adapters.len() {
            let (total, modules) = interference(&adapters[i], &adapters[j])?;
            (cosines[i][j], cosines[j][i]) = (Some(total.cosine), Some(total.cosine));
            rows.push(row(format!("{} · {}", names[i], names[j]), &total));
            if args.modules {
                rows.extend(modules.iter().map(|(module, one)| row(format!("  {module}"), one)));
            }
        }
    }
    print(&listing(&HEADER, rows, TerminalStyle::detect()));
    print(
        "cosine of the updates; share of the spaces they write to and read from that is common; share of the entries both \
         move that they move in opposite directions; Frobenius norms",
    );
    if let Some(path) = &args.plot {
        compare::write_whole(path, figure(&names, &cosines).svg().as_bytes())?;
    }
    Ok(())
}

fn row(name: String, figures: &Interference) -> Vec<String> {
    let Interference { cosine, written, read, conflicts, norms } = figures;
    let share = |value: &f64| format!("{:.1} %", 100.0 * value);
    let norms = norms.iter().map(|norm| format!("{norm:.3}"));
    [name, format!("{cosine:+.4}"), share(written), share(read), share(conflicts)]
        .into_iter()
        .chain(norms)
        .collect()
}

fn figure(names: &[String], cosines: &[Vec<Option<f64>>]) -> Figure {
    let square = |cosine: &Option<f64>| {
        cosine.map(|cosine| Square {
            shade: cosine.abs().min(1.0),
            text: format!("{cosine:+.3}"),
            note: String::new(),
        })
    };
    Figure {
        name: "interference".to_owned(),
        title: "Cosine of the updates of adapters".to_owned(),
        caption: "0: they do not interfere to first order.".to_owned(),
        plot: Plot::Matrix(Matrix {
            rows: names.to_vec(),
            columns: names.to_vec(),
            cells: cosines.iter().map(|row| row.iter().map(square).collect()).collect(),
        }),
    }
}

/// The part of a path in which it differs from the others, or all of it.
pub(super) fn short(folder: &Path, all: &[std::path::PathBuf]) -> String {
    let parts: Vec<&std::ffi::OsStr> = folder.iter().collect();
    let differs = |index: usize| {
        all.iter().any(|other| other.iter().collect::<Vec<_>>().get(index) != parts.get(index))
    };
    let own: Vec<String> = (0..parts.len())
        .filter(|&index| differs(index))
        .map(|index| parts[index].to_string_lossy().into_owned())
        .collect();
    if own.is_empty() { folder.display().to_string() } else { own.join("/") }
}
