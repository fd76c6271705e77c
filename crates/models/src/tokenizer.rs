//! Text to tokens and back.

use peft_core::{Error, Result};
use serde_json::Value;
use tokenizers::tokenizer::DecodeStream;
use tokenizers::{
    DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

use crate::files::ModelFiles;

const TOKENIZER: &str = "tokenizer.json";

/// A model's tokenizer.
#[derive(Clone, Debug)]
pub struct Tokenizer(tokenizers::Tokenizer);

/// Whether the tokenizer adds what its model expects around a text (`<s>` before it, say).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Yes.
    Added,
    /// No: the tokens of the text alone.
    None,
}

impl Tokenizer {
    /// The `tokenizer.json` in `files`.
    ///
    /// # Errors
    /// If there is none or it is not understood.
    pub fn load(files: &ModelFiles) -> Result<Self> {
        let bytes = files.find(TOKENIZER)?.ok_or_else(|| files.absent(TOKENIZER))?;
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|error| Error::format(files.place(TOKENIZER), error))?;
        // A file may ask for truncation or padding; both belong to the task here.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| Error::format(files.place(TOKENIZER), error))?;
        Ok(Self(tokenizer))
    }

    /// The tokens of `text`.
    ///
    /// # Errors
    /// If the tokenizer cannot represent it.
    pub fn encode(&self, text: &str, frame: Frame) -> Result<Vec<i64>> {
        let encoding = self.0.encode_fast(text, frame == Frame::Added);
        let encoding = encoding.map_err(|error| Error::config("text", text, error.to_string()))?;
        Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
    }

    /// The text of `tokens`, special tokens left out.
    ///
    /// # Errors
    /// If the decoder of the tokenizer fails.
    pub fn decode(&self, tokens: &[i64]) -> Result<String> {
        let ids: Vec<u32> = tokens.iter().map(|&id| id as u32).collect();
        self.0
            .decode(&ids, true)
            .map_err(|error| Error::config("tokens", format!("{ids:?}"), error.to_string()))
    }

    /// Text of tokens that come one by one.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream(self.0.decode_stream(true))
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.0.get_vocab_size(true)
    }

    /// The id of `token`.
    pub fn id(&self, token: &str) -> Option<i64> {
        self.0.token_to_id(token).map(i64::from)
    }

    /// The library's own type.
    pub fn inner(&self) -> &tokenizers::Tokenizer {
        &self.0
    }
}

/// Decodes as tokens come; holds a character back until its last byte is there.
pub struct TextStream<'a>(
    DecodeStream<
        'a,
        ModelWrapper,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >,
);

impl TextStream<'_> {
    /// What `token` adds to the text.
    ///
    /// # Errors
    /// If the decoder of the tokenizer fails.
    pub fn push(&mut self, token: i64) -> Result<String> {
        let chunk = self.0.step(token as u32);
        Ok(chunk.map_err(|error| Error::config("token", token, error.to_string()))?.unwrap_or_default())
    }
}

/// Tokens with a meaning of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a text.
    pub bos: Option<i64>,
    /// Each of these ends one.
    pub eos: Vec<i64>,
    /// Fills rows.
    pub pad: Option<i64>,
}

impl SpecialTokens {
    /// As `generation_config.json` says, else `config.json`, else the tokenizer's own files.
    ///
    /// # Errors
    /// If one of these files cannot be read.
    pub fn load(files: &ModelFiles, tokenizer: Option<&Tokenizer>) -> Result<Self> {
        let numbers = [files.find_json("generation_config.json")?, files.find_json("config.json")?];
        let names = [files.find_json("special_tokens_map.json")?, files.find_json("tokenizer_config.json")?];
        let of = |kind: &str| -> Vec<i64> {
            let id = format!("{kind}_token_id");
            let by_number = numbers.iter().flatten().filter_map(|json| json.get(&id)).map(ids);
            let name = format!("{kind}_token");
            let by_name = names.iter().flatten().filter_map(|json| content(json.get(&name)?));
            let by_name = by_name.filter_map(|token| Some(vec![tokenizer?.id(token)?]));
            by_number.chain(by_name).find(|ids| !ids.is_empty()).unwrap_or_default()
        };
        Ok(Self { bos: of("bos").first().copied(), eos: of("eos"), pad: of("pad").first().copied() })
    }
}

/// One id or a list of them.
fn ids(value: &Value) -> Vec<i64> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_i64).collect(),
        other => other.as_i64().into_iter().collect(),
    }
}

/// A token is written as text, or as an object with its settings.
fn content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}
