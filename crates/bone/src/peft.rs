//! What both methods share in files: PEFT's type `MISS`, and `BONE` before it.

use peft_core::{Error, Result, StateDict};
use serde_json::{Map, Value, json};

use crate::Layout;

/// Name of the trainable tensor, in the store and in files of [`Layout::Miss`].
pub const BLOCK: &str = "miss_block";

/// The keys of `adapter_config.json`; `init_weights` is `true`, `"mini"` or `"bat"`.
pub fn fields(layout: Layout, rank: i64, init_weights: Value) -> Map<String, Value> {
    let common = json!({ "r": rank, "init_weights": init_weights, "bias": "none", "modules_to_save": null });
    let Value::Object(mut map) = common else { unreachable!("an object literal") };
    let peft_type = match layout {
        Layout::Miss => "MISS",
        Layout::Bone => "BONE",
    };
    map.insert("peft_type".to_owned(), json!(peft_type));
    if layout == Layout::Miss {
        map.insert("mini_r".to_owned(), json!(1));
        map.insert("miss_dropout".to_owned(), json!(0.0));
    }
    map
}

/// The layout that the config is written in.
pub fn layout(config: &Map<String, Value>) -> Layout {
    if config.get("peft_type").is_some_and(|name| name == "BONE") { Layout::Bone } else { Layout::Miss }
}

/// A key of the config, or PEFT's default.
pub fn field<T: serde::de::DeserializeOwned>(
    config: &Map<String, Value>,
    key: &str,
    default: T,
) -> Result<T> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|error| Error::config(key, value, error.to_string())),
    }
}

/// The tensors under the names of `layout`.
pub fn rename(tensors: StateDict, layout: Layout) -> StateDict {
    match layout {
        Layout::Miss => tensors,
        Layout::Bone => tensors.into_iter().map(|(name, t)| (name.replace(BLOCK, "bone_block"), t)).collect(),
    }
}

/// The tensors of a file of either layout under the names of the store.
pub fn read_names(tensors: StateDict) -> StateDict {
    let current = |name: String| match name.strip_suffix("bone_block") {
        Some(path) => format!("{path}{BLOCK}"),
        None => name,
    };
    tensors.into_iter().map(|(name, t)| (current(name), t)).collect()
}
