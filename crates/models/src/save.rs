//! Writing a model as transformers would.

use std::io::Write;
use std::path::Path;

use peft_core::tensor_file::{self, Metadata};
use peft_core::{Adaptable, Error, Layout, Part, Result, StateDict};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::files::ModelFiles;

/// What goes with a model and is copied as it is.
const COMPANIONS: [&str; 8] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
];

impl Decoder {
    /// Writes `config.json`, `model.safetensors` and, copied from `companions`, the files of the tokenizer to
    /// `folder`. An active adapter is merged into the weights written; the model itself stays as it is.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&mut self, folder: &Path, companions: Option<&ModelFiles>) -> Result<()> {
        let (kind, tensors) = (self.kind(), self.state_dict());
        write(folder, self.config(), self.config().architecture(), kind, &tensors, companions)
    }

    /// All tensors in force, adapters merged, by their names and in the layout of the model's files.
    pub fn state_dict(&mut self) -> StateDict {
        let kind = self.kind();
        state_dict(self, kind)
    }
}

/// A folder as transformers would write it.
pub(crate) fn write(
    folder: &Path,
    config: &ModelConfig,
    architecture: &str,
    kind: Kind,
    tensors: &StateDict,
    companions: Option<&ModelFiles>,
) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
    for name in COMPANIONS {
        if let Some(bytes) = companions.map(|files| files.find(name)).transpose()?.flatten() {
            write_bytes(&folder.join(name), &bytes)?;
        }
    }
    let config =
        serde_json::to_vec_pretty(&saved_config(config, architecture, kind)).expect("JSON values print");
    write_bytes(&folder.join("config.json"), &config)?;
    let metadata = Metadata::from([("format".to_owned(), "pt".to_owned())]);
    tensor_file::write(&folder.join("model.safetensors"), tensors, &metadata)
}

/// All tensors of `model` in force.
pub(crate) fn state_dict(model: &mut dyn Adaptable, kind: Kind) -> StateDict {
    let mut all = StateDict::new();
    let own = |t: &Tensor| t.detach().to_kind(kind);
    tch::no_grad(|| {
        for part in model.parts() {
            match part {
                Part::Parameter(parameter) => {
                    all.insert(parameter.name().to_owned(), own(&parameter.value()));
                }
                Part::Linear(linear) => {
                    let weight = own(&linear.effective_weight());
                    let stored = if linear.layout() == Layout::InOut { weight.tr() } else { weight };
                    all.insert(format!("{}.weight", linear.name()), stored);
                    if let Some(bias) = linear.bias() {
                        all.insert(bias.name().to_owned(), own(&bias.value()));
                    }
                }
            }
        }
    });
    all
}

/// The config that a model was made from, with the kind it has now.
fn saved_config(config: &ModelConfig, architecture: &str, kind: Kind) -> Map<String, Value> {
    let mut json = config.json().clone();
    let kind = match kind {
        Kind::BFloat16 => "bfloat16",
        Kind::Half => "float16",
        Kind::Double => "float64",
        _ => "float32",
    };
    let keys = ["dtype", "torch_dtype"];
    for key in keys.into_iter().filter(|key| json.contains_key(*key)).collect::<Vec<_>>() {
        json.insert(key.to_owned(), json!(kind));
    }
    if !keys.iter().any(|key| json.contains_key(*key)) {
        json.insert("torch_dtype".to_owned(), json!(kind));
    }
    json.insert("architectures".to_owned(), json!([architecture]));
    json.remove("quantization_config"); // what is written is dense
    json
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    tensor_file::write_atomically(path, |file| {
        file.write_all(bytes).map_err(|source| Error::io(path, source))
    })
}
