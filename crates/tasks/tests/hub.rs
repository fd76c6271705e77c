//! Data of the hub: what task files say of it. That files are fetched is tested through the binary (`harness/tests/hub_data.rs`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tasks::{Data, Error, PROVIDED, Place, Split, Task, TaskConfig, provided};

/// Invented rows, see `data/make_hub.py`.
fn rows(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hub").join(part)
}

fn small(name: &str) -> TaskConfig {
    let config = provided(name).unwrap();
    let taken = "data.files.splits.validation";
    let hashed = config.to_toml().contains("hashed_of_train");
    if hashed { config.with(&[(taken, "\"none\"")], "test").unwrap() } else { config }
}

#[test]
fn a_repository_and_a_folder_give_the_same_items() {
    for name in ["rte", "gsm8k", "gsm8k-lori", "mbpp", "squad2", "math500"] {
        let ours = Task::load(small(name), Some(&rows("folder"))).unwrap();
        let on_hub = small(name).at(&Place::Stated).unwrap();
        let theirs = Task::load(on_hub, Some(&rows("repo"))).unwrap();
        assert!(!ours.items(Split::Test).is_empty(), "{name}");
        for split in Split::ALL {
            let asked = |task: &Task| -> Vec<_> {
                let parts =
                    |item: &tasks::Item| (item.prompt.clone(), item.second.clone(), item.response.clone());
                task.items(split).iter().map(parts).collect()
            };
            assert_eq!(asked(&ours), asked(&theirs), "{name}, {split:?}");
        }
        let fields = |task: &Task| task.items(Split::Test)[0].fields.clone();
        assert_eq!(fields(&ours), fields(&theirs), "{name}");
    }
}

#[test]
fn what_a_provided_task_says_of_the_hub_holds_together() {
    let mut found = 0;
    for (name, text) in PROVIDED {
        let config = provided(name).unwrap();
        let Data::Files(files) = &config.data else { continue };
        let Some(hub) = &files.hub else { continue };
        found += 1;
        assert!(hub.revision.len() == 40, "{name}: a revision that never changes");
        for ours in hub.names.keys() {
            let uses = text.matches(&format!("\"{}\"", ours.display())).count();
            assert!(uses > 1, "{name}: no split reads `{}`", ours.display());
        }
        // With and without each preset, but for what is said to be missing.
        let presets = config.presets.keys().map(|preset| config.preset(preset).unwrap());
        for config in std::iter::once(config.clone()).chain(presets) {
            match config.at(&Place::Stated) {
                Ok(at) => assert_eq!(at.clone().at(&Place::Stated).unwrap(), at, "{name}: once is enough"),
                Err(error) => {
                    assert!(matches!(error, Error::NotOnHub { .. }) && *name == "alpaca", "{error}");
                }
            }
        }
    }
    assert!(found > 15, "{found}");
}

#[test]
fn a_place_decides_what_is_read() {
    let names = |config: &TaskConfig| -> BTreeSet<String> {
        let Data::Files(files) = &config.data else { panic!("it reads files") };
        files.splits.paths().map(|path| path.display().to_string()).collect()
    };
    let gsm8k = provided("gsm8k").unwrap();
    let at = |place: &str| gsm8k.clone().at(&place.parse().unwrap()).unwrap();
    let repo = |config: &TaskConfig| match &config.data {
        Data::Files(files) => files.hub.as_ref().map(|hub| format!("{}@{}", hub.repo, hub.revision)),
        Data::Builtin(_) => None,
    };
    let folder = at("some/where");
    assert_eq!((names(&folder), repo(&folder)), (names(&gsm8k), None));
    let mirror = at("hf:me/mirror@v1");
    let parquet = ["main/test-00000-of-00001.parquet", "main/train-00000-of-00001.parquet"];
    assert_eq!(names(&mirror), parquet.map(str::to_owned).into());
    assert_eq!(repo(&mirror).unwrap(), "me/mirror@v1");
    // Without a word on the hub, names are the same.
    let viggo = provided("viggo").unwrap();
    let mirror = viggo.clone().at(&"hf:me/mirror".parse().unwrap()).unwrap();
    assert_eq!((names(&mirror), repo(&mirror).unwrap()), (names(&viggo), "me/mirror@main".to_owned()));
}

#[test]
fn mistakes_are_named() {
    let gsm8k = tasks::PROVIDED.iter().find(|(name, _)| *name == "gsm8k").unwrap().1;
    let failure = |from: &str, to: &str| {
        assert!(gsm8k.contains(from));
        TaskConfig::parse(&gsm8k.replacen(from, to, 1), "x.toml").unwrap_err()
    };
    let error = failure("repo = \"openai/gsm8k\"", "repo = \"openai gsm8k\"");
    let line = gsm8k.lines().position(|line| line.starts_with("repo")).unwrap() + 1;
    assert!(error.to_string().starts_with(&format!("`x.toml` line {line}: `hf:openai gsm8k@")), "{error}");
    assert!(error.hint().unwrap().contains("huggingface.co/datasets/OWNER/NAME"));
    let error = failure("[data.files.hub.names]", "fields = { qestion = \"q\" }\n[data.files.hub.names]");
    assert!(error.to_string().ends_with("`[data.files.fields]` has no `qestion`"), "{error}");
    assert_eq!(error.hint().unwrap(), "did you mean `question`?");
    let error = failure("[data.files.hub]", "[data.files.hub]\nrevison = \"x\"");
    assert_eq!(error.hint().unwrap(), "did you mean `revision`?");

    let error = provided("alpaca").unwrap().at(&Place::Stated).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`alpaca_1k/alpaca_data_1k.json`, which its repository hf:tatsu-lab/alpaca")
    );
    assert!(error.hint().unwrap().contains("`--preset reference`"), "{error:?}");
}
