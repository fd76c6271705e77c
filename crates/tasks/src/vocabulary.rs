//! A tokenizer and its special tokens.

use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::Path;
use tokenizers::{
    EncodeInput, Encoding, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy,
};

use crate::encode::Row;

/// The names of the special tokens, as `special_tokens_map.json` gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Beginning of a sequence.
    pub bos: Option<String>,
    /// End of a sequence.
    pub eos: Option<String>,
    /// Fills rows.
    pub pad: Option<String>,
}

/// A tokenizer that knows its special tokens. Text is encoded as it stands: what comes before and after a text is
/// the task's rule, never the tokenizer's.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: u32,
}

impl TextTokenizer {
    /// A tokenizer with the special tokens of these names.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for a name that is no token.
    pub fn new(mut tokenizer: Tokenizer, special: &SpecialTokens) -> Result<Self> {
        // Files may ask for padding and truncation; both are the task's.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| failed(&error))?;
        let id = |name: &Option<String>| {
            name.as_ref()
                .map(|name| {
                    tokenizer.token_to_id(name).ok_or_else(|| Error::Tokenizer {
                        reason: format!("the special token `{name}` is no token"),
                    })
                })
                .transpose()
        };
        let (bos, eos, pad) = (id(&special.bos)?, id(&special.eos)?, id(&special.pad)?);
        // A padded position is masked and never counts: any token serves where none is named.
        Ok(Self { pad: pad.or(eos).unwrap_or(0), tokenizer, bos, eos })
    }

    /// Reads `tokenizer.json` of a Hugging Face folder, and the special tokens from `special_tokens_map.json` or
    /// `tokenizer_config.json` (the first that names one).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Tokenizer`].
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read(&path).map_err(|source| Error::Io { path, source })
        };
        let mut maps = Vec::new();
        for name in ["special_tokens_map.json", "tokenizer_config.json"] {
            if dir.join(name).exists() {
                maps.push((name, read(name)?));
            }
        }
        Self::from_files(&read("tokenizer.json")?, &maps)
    }

    /// The same from the files' bytes: `tokenizer.json`, then those that may name special tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn from_files(tokenizer_json: &[u8], maps: &[(&str, Vec<u8>)]) -> Result<Self> {
        let mut special = SpecialTokens::default();
        for (name, bytes) in maps {
            let map: Value = serde_json::from_slice(bytes)
                .map_err(|error| Error::Tokenizer { reason: format!("`{name}`: {error}") })?;
            for (slot, key) in [
                (&mut special.bos, "bos_token"),
                (&mut special.eos, "eos_token"),
                (&mut special.pad, "pad_token"),
            ] {
                let entry = &map[key];
                let content = entry.as_str().or_else(|| entry["content"].as_str());
                *slot = slot.take().or_else(|| content.map(ToOwned::to_owned));
            }
        }
        Self::new(Tokenizer::from_bytes(tokenizer_json).map_err(|error| failed(&error))?, &special)
    }

    /// The tokens of a text, without any special token around it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.tokenizer.encode_fast(text, false).map_err(|error| failed(&error))?.get_ids().to_vec())
    }

    /// The text of tokens, without special tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, true).map_err(|error| failed(&error))
    }

    /// The beginning-of-sequence token.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The end-of-sequence token.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token that fills rows.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// Tokens in the vocabulary, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The files of a Hugging Face folder, name and content: `tokenizer.json`, `tokenizer_config.json`,
    /// `special_tokens_map.json`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn files(&self, model_max_length: usize) -> Result<[(&'static str, String); 3]> {
        let name = |id: Option<u32>| id.and_then(|id| self.tokenizer.id_to_token(id));
        let special = json!({
            "bos_token": name(self.bos),
            "eos_token": name(self.eos),
            "pad_token": name(Some(self.pad)),
        });
        let mut config = special.clone();
        config["clean_up_tokenization_spaces"] = json!(false);
        config["model_max_length"] = json!(model_max_length);
        config["tokenizer_class"] = json!("PreTrainedTokenizerFast");
        let pretty = |value| serde_json::to_string_pretty(value).expect("JSON values can be written") + "\n";
        Ok([
            ("tokenizer.json", self.tokenizer.to_string(true).map_err(|error| failed(&error))? + "\n"),
            ("tokenizer_config.json", pretty(&config)),
            ("special_tokens_map.json", pretty(&special)),
        ])
    }
}

/// A tokenizer that puts its model's special tokens around a text, and between two.
#[derive(Debug)]
pub(crate) struct Framed {
    whole: Tokenizer,
    cut: Tokenizer,
    windows: bool,
}

/// What is cut off a row that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The end of the longer text, token by token.
    End,
    /// Its beginning.
    Start,
    /// Nothing: the second text is read through windows that share so many tokens.
    Windows { stride: usize },
}

impl TextTokenizer {
    /// The tokenizer that frames, with rows of at most `max_length` tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the special tokens alone fill a row.
    pub(crate) fn framed(&self, max_length: usize, cut: Cut) -> Result<Framed> {
        let (strategy, direction, stride) = match cut {
            Cut::End => (TruncationStrategy::LongestFirst, TruncationDirection::Right, 0),
            Cut::Start => (TruncationStrategy::LongestFirst, TruncationDirection::Left, 0),
            Cut::Windows { stride } => (TruncationStrategy::OnlySecond, TruncationDirection::Right, stride),
        };
        let mut tokenizer = self.tokenizer.clone();
        let truncation = TruncationParams { max_length, strategy, direction, stride };
        tokenizer.with_truncation(Some(truncation)).map_err(|error| failed(&error))?;
        let windows = matches!(cut, Cut::Windows { .. });
        Ok(Framed { whole: self.tokenizer.clone(), cut: tokenizer, windows })
    }
}

impl Framed {
    /// Whether a long second text becomes several rows.
    pub fn has_windows(&self) -> bool {
        self.windows
    }

    /// The rows of a text or two, and the tokens of one row that nothing were cut off.
    pub fn encode(&self, first: &str, second: Option<&str>) -> Result<(Vec<Row>, usize)> {
        let input = || match second {
            Some(second) => EncodeInput::Dual(first.into(), second.into()),
            None => EncodeInput::Single(first.into()),
        };
        let encode = |tokenizer: &Tokenizer| tokenizer.encode_char_offsets(input(), true);
        let whole = encode(&self.whole).map_err(|error| failed(&error))?.len();
        let mut encoding = encode(&self.cut).map_err(|error| failed(&error))?;
        let further = if self.windows { encoding.take_overflowing() } else { Vec::new() };
        let located = usize::from(second.is_some());
        let rows = std::iter::once(encoding).chain(further).map(|encoding| row(&encoding, located));
        Ok((rows.collect(), whole))
    }
}

/// A row with the places of the text numbered `located`.
fn row(encoding: &Encoding, located: usize) -> Row {
    let types = encoding.get_type_ids();
    let sequences = encoding.get_sequence_ids();
    let places = sequences.into_iter().zip(encoding.get_offsets());
    Row {
        tokens: encoding.get_ids().to_vec(),
        types: if types.iter().all(|kind| *kind == 0) { Vec::new() } else { types.to_vec() },
        places: places.map(|(text, place)| (text == Some(located)).then_some(*place)).collect(),
    }
}

fn failed(error: &tokenizers::Error) -> Error {
    Error::Tokenizer { reason: error.to_string() }
}
