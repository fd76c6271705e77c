//! In which settings two packs differ.

mod sample;

use compare::table::{TerminalStyle, terminal};
use tables::{Difference, Pack, SettingsDiff, Side, diff, provided};

fn of<'a>(diff: &'a SettingsDiff, setting: &str) -> Option<&'a Difference> {
    diff.differences.iter().find(|difference| difference.setting == setting)
}

fn said(values: &[&str]) -> Side {
    Side::Said(values.iter().map(|value| (*value).to_owned()).collect())
}

#[test]
fn a_pack_does_not_differ_from_itself() {
    for name in tables::provided_names() {
        let pack = provided(&name).unwrap();
        let same = diff(&pack, &pack);
        assert!(same.differences.is_empty() && same.equal > 1, "{name}: {same:?}");
    }
}

#[test]
fn the_sides_are_told_apart() {
    let own = sample::pack();
    let other = sample::PACK
        .replace("settings.method = { rank = 8 }", "settings.method = { rank = 16, dropout = 0.1 }")
        .replace("[columns.svamp]", "[settings.task.training]\nepochs = 5\n[columns.svamp]")
        .replace("chosen = \"\\\"f32\\\"\"", "chosen = \"whatever\"")
        .replace("setting = \"task.decoding.strategy\"", "setting = \"the weather\"");
    let diff = diff(&own, &Pack::parse(&other, "other.toml").unwrap());
    let rank = of(&diff, "method.lora.rank").unwrap();
    assert_eq!((&rank.first, &rank.second), (&said(&["8"]), &said(&["16"])));
    let dropout = of(&diff, "method.lora.dropout").unwrap();
    assert_eq!((&dropout.first, &dropout.second), (&Side::Absent, &said(&["0.1"])));
    let epochs = of(&diff, "task.training.epochs").unwrap();
    assert_eq!((&epochs.first, &epochs.second), (&said(&["3"]), &said(&["5"])));
    // What the paper does counts, where we do otherwise.
    let beams = of(&diff, "task.decoding.strategy").unwrap();
    assert_eq!(
        (&beams.first, &beams.second),
        (&said(&["4 beams"]), &Side::Default(vec!["\"greedy\"".to_owned()]))
    );
    assert_eq!(of(&diff, "model"), None);
    assert_eq!(of(&diff, "task.training.batch_size"), None);
    // `task.training.dtype` is the task file's in both, and said by neither paper.
    assert_eq!(of(&diff, "task.training.dtype").map(|d| &d.first), None);
}

/// LoRI trains on code twice and on safety once; three passes over GSM8K are its task file's own.
#[test]
fn every_task_has_its_say() {
    let there = diff(&provided("lori-2").unwrap(), &provided("dora-1").unwrap());
    assert_eq!(of(&there, "task.training.epochs").unwrap().first, said(&["2", "1", "3"]));
}

#[test]
fn dora_and_milora() {
    let (dora, milora) = (provided("dora-1").unwrap(), provided("milora-1").unwrap());
    let there = diff(&dora, &milora);
    let alpha = of(&there, "method.lora.alpha");
    assert_eq!(alpha, None, "both give LoRA 64");
    let select = of(&there, "task.training.select").unwrap();
    assert_eq!(select.first, said(&["\"best_validation\""]));
    assert_eq!(select.second, Side::Unsaid(vec!["\"last\"".to_owned()]));
    let back = diff(&milora, &dora);
    assert_eq!((back.equal, back.differences.len()), (there.equal, there.differences.len()));
    insta::assert_snapshot!(terminal(&there.table(), TerminalStyle::PLAIN));
}
