//! The built-in vocabulary: byte-level BPE in which a word is one token and a number is its digits.

use super::corpus::Corpus;
use super::documents::LINES;
use super::pretrain::PretrainData;
use crate::vocabulary::{SpecialTokens, TextTokenizer};
use crate::{Error, Result};
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer, TokenizerBuilder};

/// The pieces no token crosses: a word with the space before it, one digit, one line end, one other sign.
/// So the first digit of a number carries the space, and the start of a number is marked.
const PIECES: &str = r" ?[A-Za-z]+| ?[0-9]|\n| ?[^\sA-Za-z0-9]|\s";

const PAD: &str = "<pad>";
const BOS: &str = "<bos>";
const EOS: &str = "<eos>";

/// Trains the vocabulary on the beginning of the corpus. The same data give the same vocabulary to the byte.
///
/// # Errors
/// [`Error::Tokenizer`] when the text yields fewer tokens than `vocab_size`.
pub fn train_tokenizer(data: &PretrainData) -> Result<TextTokenizer> {
    let failed = |error: tokenizers::Error| Error::Tokenizer { reason: error.to_string() };
    let size = data.tokenizer.vocab_size;
    let split = Split::new(SplitPattern::Regex(PIECES.to_owned()), SplitDelimiterBehavior::Isolated, false)
        .map_err(failed)?;
    let bytes = ByteLevel::new(false, false, false);
    let pieces =
        Sequence::new(vec![PreTokenizerWrapper::Split(split), PreTokenizerWrapper::ByteLevel(bytes)]);
    let mut tokenizer =
        TokenizerBuilder::<BPE, tokenizers::NormalizerWrapper, _, ByteLevel, ByteLevel>::new()
            .with_model(BPE::default())
            .with_normalizer(None)
            .with_pre_tokenizer(Some(pieces))
            .with_post_processor(None)
            .with_decoder(Some(bytes))
            .build()
            .map_err(failed)?;
    let mut trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(size)
        .min_frequency(1)
        .special_tokens([PAD, BOS, EOS].map(|token| AddedToken::from(token, true)).to_vec())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let corpus = Corpus::new(&data.corpus);
    let documents = (0..data.tokenizer.documents).map(|index| corpus.document(index).text);
    let lines = LINES.iter().flat_map(|line| vec![format!(" {line}"); data.tokenizer.small_talk_copies]);
    tokenizer.train(&mut trainer, documents.chain(lines)).map_err(failed)?;

    let trained = tokenizer.get_vocab_size(true);
    if trained != size {
        return Err(Error::Tokenizer { reason: format!("the text yields {trained} tokens, not {size}") });
    }
    let json = tokenizer.to_string(false).map_err(failed)?;
    let special =
        SpecialTokens { bos: Some(BOS.to_owned()), eos: Some(EOS.to_owned()), pad: Some(PAD.to_owned()) };
    TextTokenizer::new(Tokenizer::from_bytes(json).map_err(failed)?, &special)
}
