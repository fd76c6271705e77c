//! Which run a checkpoint belongs to.

use peft_core::{Attachment, StateDict, tensor_file};
use serde_json::{Value, json};
use tasks::{Sequence, Split, Target};

use crate::config::Experiment;
use crate::run::Prepared;

/// Everything that decides the bits of a run: two runs with one identity are the same run.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity(Value);

impl Identity {
    /// Of the run that is about to train `attachment`, in the state it starts from: drawn from the seed, taken from an
    /// earlier run, decomposed from the weights.
    pub fn new(
        experiment: &Experiment,
        seed: u64,
        model: &str,
        prepared: &Prepared,
        attachment: &Attachment,
    ) -> Self {
        Self(json!({
            "configuration": experiment.to_json(),
            "seed": seed,
            "model": model,
            "data": {
                "train": hash_of_sequences(&prepared.train.sequences),
                "validation": prepared.task.digest(Split::Validation),
            },
            "start": hash_of_tensors(&attachment.store().checkpoint_tensors()),
        }))
    }

    /// Of no run.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(Value::Null)
    }

    /// As a checkpoint holds it.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// In what the run of a checkpoint, whose identity is `theirs`, is another one: a sentence for each entry.
    pub fn differences(&self, theirs: &Value) -> Vec<String> {
        let mut sentences = Vec::new();
        compare("", Some(theirs), Some(&self.0), &mut sentences);
        sentences
    }
}

fn compare(path: &str, theirs: Option<&Value>, ours: Option<&Value>, sentences: &mut Vec<String>) {
    match (theirs, ours) {
        (Some(theirs), Some(ours)) if theirs == ours => {}
        (Some(Value::Object(theirs)), Some(Value::Object(ours))) => {
            let added = ours.keys().filter(|key| !theirs.contains_key(*key));
            for key in theirs.keys().chain(added) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, theirs.get(key), ours.get(key), sentences);
            }
        }
        (theirs, ours) => {
            let say = |value: Option<&Value>| value.map_or("absent".to_owned(), |value| format!("`{value}`"));
            sentences.push(format!("`{path}` was {} and is {}", say(theirs), say(ours)));
        }
    }
}

fn hash_of_sequences(sequences: &[Sequence]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    for Sequence { tokens, types, target } in sequences {
        for ids in [tokens, types] {
            add(&ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>());
        }
        match target {
            Target::Tokens(labels) | Target::Text(labels) => {
                add(&labels.iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<u8>>());
            }
            other => add(format!("{other:?}").as_bytes()),
        }
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

fn hash_of_tensors(tensors: &StateDict) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, tensor) in tensors {
        hasher.update(name.as_bytes()).update(format!("{:?}", tensor.size()).as_bytes());
        hasher.update(&tensor_file::bytes_of(tensor));
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_by_path_and_values() {
        let ours = Identity(json!({ "seed": 1, "task": { "steps": 3, "lr": 1e-3 }, "new": true }));
        assert!(ours.differences(ours.json()).is_empty());
        let theirs = json!({ "seed": 1, "task": { "steps": 4, "lr": 1e-3, "old": "x" } });
        assert_eq!(
            ours.differences(&theirs),
            [
                "`task.steps` was `4` and is `3`",
                "`task.old` was `\"x\"` and is absent",
                "`new` was absent and is `true`"
            ]
        );
    }
}
