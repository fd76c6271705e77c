//! Every provided pack.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tables::{Cell, Grade, Pack, Procedure, Row, Scale, TableRun, provided, provided_names};
use tasks::{Amount, Training};

fn packs() -> Vec<Pack> {
    let read = |name: &String| provided(name).unwrap_or_else(|error| panic!("{error} {:?}", error.hint()));
    provided_names().iter().map(read).collect()
}

fn runs(pack: &Pack) -> Vec<TableRun> {
    [Scale::Paper, Scale::Mini].into_iter().flat_map(|scale| pack.runs(scale)).collect()
}

fn configs(folder: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(folder)
}

#[test]
fn they_parse_under_their_names() {
    let names = provided_names();
    for (name, pack) in names.iter().zip(packs()) {
        assert_eq!(*name, pack.name);
    }
    for paper in [
        "lori",
        "dora",
        "pissa",
        "milora",
        "adalora",
        "rslora",
        "bone",
        "lora-dash",
        "rosa",
        "spectral",
        "pe-rlhf",
    ] {
        assert!(names.iter().any(|name| name.starts_with(&format!("{paper}-"))), "{paper} has no table");
    }
    for lori in ["lori-1", "lori-2", "lori-3", "lori-fig3", "lori-fig4"] {
        assert!(names.iter().any(|name| name == lori), "{lori}");
    }
}

#[test]
fn methods_and_tasks_have_files() {
    for pack in packs() {
        for run in runs(&pack) {
            let method = configs("methods").join(format!("{}.toml", run.method));
            assert!(method.exists() || run.method == "base", "{}: {}", pack.name, method.display());
            let tasks = [Some(run.task.as_str()), run.trained_on.split(':').next()];
            let first = match &run.procedure {
                Procedure::Continual { first } => first.split(':').next(),
                _ => None,
            };
            for task in tasks.into_iter().chain([first]).flatten() {
                let file = configs("tasks").join(format!("{task}.toml"));
                assert!(file.exists(), "{}: {}", pack.name, file.display());
            }
        }
    }
}

/// Settings that methods have besides those in their files. What the methods themselves think of them is a matter of
/// planning the runs, which needs libtorch.
const MORE: [&str; 11] = [
    "dropout",
    "init",
    "collection_steps",
    "calibration_steps",
    "calibration_lr",
    "optimizer.lr",
    "optimizer.schedule",
    "optimizer.warmup",
    "optimizer.clip",
    "optimizer.reduction",
    "optimizer.weight_decay",
];

#[test]
fn settings_are_known() {
    for pack in packs() {
        for run in runs(&pack) {
            run.task_config().unwrap_or_else(|error| panic!("{}: {error}", pack.name));
            let text = std::fs::read_to_string(configs("methods").join(format!("{}.toml", run.method)));
            let file: toml::Table = text.unwrap_or_default().parse().unwrap();
            for assignment in &run.overrides {
                assert!(
                    ["task.", "methods."].iter().any(|side| assignment.starts_with(side)),
                    "{assignment}"
                );
            }
            for (key, _) in run.method_overrides() {
                let known = file.contains_key(key) || MORE.contains(&key);
                assert!(known, "{}: {} has no setting `{key}`", pack.name, run.method);
            }
        }
    }
}

#[test]
fn every_row_with_a_method_and_a_task_is_planned_once() {
    for pack in packs() {
        assert!(!pack.runs(Scale::Mini).is_empty(), "{}", pack.name);
        let planned = pack.runs(Scale::Paper);
        let places: BTreeSet<_> = planned.iter().map(|run| (&run.row, &run.task, &run.preset)).collect();
        assert_eq!(places.len(), planned.len(), "{}", pack.name);
        for (key, row) in &pack.rows {
            for (name, column) in &pack.columns {
                let scored = row.columns.is_empty() || row.columns.contains(name);
                let can = scored && column.task.is_some() && row.method.is_some();
                let can = can && pack.models[&row.model].name.is_some();
                let times =
                    planned.iter().filter(|run| run.row == *key && run.columns.contains(name)).count();
                assert_eq!(times, usize::from(can), "{}: {key}, {name}", pack.name);
            }
        }
    }
}

#[test]
fn columns_of_one_training_are_trained_alike() {
    for pack in packs() {
        let planned = pack.runs(Scale::Paper);
        let mut first: BTreeMap<(&str, &str), (&TableRun, Training)> = BTreeMap::new();
        for run in &planned {
            let mut training = run.task_config().unwrap().training;
            // How often a run looks at its validation split does not change what it learns.
            training.eval_every = Amount::Steps(0);
            let place = (run.row.as_str(), run.trained_on.as_str());
            let (twin, expected) = first.entry(place).or_insert_with(|| (run, training.clone()));
            assert_eq!(*expected, training, "{}: {} and {}", pack.name, run.task, twin.task);
            assert_eq!(run.model, twin.model);
            assert_eq!(of_method(run), of_method(twin), "{}: {} and {}", pack.name, run.task, twin.task);
        }
    }
}

fn of_method(run: &TableRun) -> Vec<(&str, &str)> {
    run.method_overrides().collect()
}

/// Whether a number was copied wrongly shows where the paper prints an average. The tolerance is what rounding of the parts
/// and of the average to the last digit can make.
#[test]
fn averages_are_those_of_their_cells() {
    let mut checked = 0;
    for pack in packs() {
        for (name, column) in &pack.columns {
            for (key, row) in &pack.rows {
                let (Some(printed), Some(mean)) = (row.cells.get(name), mean(&pack, row, name)) else {
                    continue;
                };
                if column.average_of.is_empty() {
                    continue;
                }
                let tolerance = 1.01 * 0.1_f64.powi(i32::try_from(column.decimals).unwrap());
                let off = (printed.value - mean).abs();
                let known = KNOWN_TO_BE_OFF.contains(&(pack.name.as_str(), key.as_str()));
                assert!(
                    known || off <= tolerance,
                    "{}: {key}: {} is printed, {mean} is the mean",
                    pack.name,
                    printed.value
                );
                assert!(!known || off > tolerance, "{}: {key} is not off", pack.name);
                checked += 1;
            }
        }
    }
    assert!(checked > 40, "{checked} averages were checked");
}

/// Averages that the papers print and that are not those of their cells.
const KNOWN_TO_BE_OFF: [(&str, &str); 1] = [("bone-5", "llama2-7b-dora")];

fn mean(pack: &Pack, row: &Row, column: &str) -> Option<f64> {
    let parts = &pack.columns[column].average_of;
    if parts.is_empty() {
        return row.cells.get(column).map(|cell: &Cell| cell.value);
    }
    let sum = parts.iter().map(|part| mean(pack, row, part)).sum::<Option<f64>>()?;
    Some(sum / parts.len() as f64)
}

#[test]
fn every_number_says_where_it_was_found() {
    for pack in packs() {
        for row in pack.rows.values() {
            for cell in row.cells.values() {
                assert!(!pack.found(row, cell).is_empty(), "{}: {}", pack.name, row.label);
            }
        }
    }
}

#[test]
fn no_number_of_loris_own_tables_is_called_verified() {
    for name in ["lori-1", "lori-2", "lori-3", "lori-fig3", "lori-fig4"] {
        let pack = provided(name).unwrap();
        let own = pack.rows.values().filter(|row| row.origin != tables::Origin::Reproduction);
        for (row, cell) in own.flat_map(|row| row.cells.values().map(move |cell| (row, cell))) {
            assert_eq!(pack.grade(row, cell), Grade::Unverified, "{name}: {}", row.label);
        }
    }
}

#[test]
fn a_wrong_name_gets_the_nearest() {
    let error = provided("lory-3").unwrap_err();
    assert_eq!(error.to_string(), "no table is called `lory-3`");
    assert_eq!(error.hint().unwrap(), "did you mean `lori-3`?");
}
