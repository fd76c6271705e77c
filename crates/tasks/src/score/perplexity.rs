//! How well a model foretells a text.
//!
//! The answer says what the text cost: `12.5 nats, 30 tokens, 124 characters`.

use super::{Aggregate, Better, Metric, Scores};

pub const METRICS: &[Metric] = &[
    lower(
        "perplexity",
        Aggregate::Perplexity,
        "The exponential of the nats per token over all texts. Depends on the tokenizer: compare it only between models \
         that share one.",
    ),
    lower(
        "bits_per_character",
        Aggregate::BitsPerCharacter,
        "Bits (nats over ln 2) per Unicode character over all texts; tokenizers may differ.",
    ),
    lower(
        "nats_per_token",
        Aggregate::NatsPerToken,
        "The mean negative log-likelihood of a token over all texts.",
    ),
];

const fn lower(name: &'static str, aggregate: Aggregate, description: &'static str) -> Metric {
    Metric { better: Better::Lower, aggregate, ..Metric::fraction(name, description) }
}

pub fn score(output: &str) -> Result<Scores, String> {
    parse(output)
        .ok_or_else(|| format!("`{output}` is not of the form `12.5 nats, 30 tokens, 124 characters`"))
}

fn parse(output: &str) -> Option<Scores> {
    let mut parts = output.trim().split(", ");
    let mut part = |unit: &str| parts.next()?.strip_suffix(unit)?.strip_suffix(' ');
    let nats = part("nats")?.parse().ok().filter(|nats: &f64| nats.is_finite())?;
    let tokens: u32 = part("tokens")?.parse().ok()?;
    let characters: u32 = part("characters")?.parse().ok()?;
    let scores = [("nats", nats), ("tokens", f64::from(tokens)), ("characters", f64::from(characters))];
    parts.next().is_none().then(|| Scores::from(scores))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_is_read_and_nothing_else() {
        let scores = score("12.5 nats, 30 tokens, 124 characters").unwrap();
        assert_eq!((scores["nats"], scores["tokens"], scores["characters"]), (12.5, 30.0, 124.0));
        for text in [
            "",
            "12.5 nats",
            "NaN nats, 30 tokens, 124 characters",
            "12.5 nats, 30.5 tokens, 124 characters",
            "12.5 nats, 30 tokens, 124 characters, 7 lines",
            "30 tokens, 12.5 nats, 124 characters",
        ] {
            assert!(score(text).unwrap_err().contains("is not of the form"), "{text}");
        }
    }
}
