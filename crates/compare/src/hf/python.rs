//! What Python's `json` writes and JSON does not know: `NaN`, `Infinity`, `-Infinity`.

/// The text with each of these words, outside strings, as `null`: no number was measured.
pub(crate) fn without_nan(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['"', 'N', 'I', '-']) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let (kept, length) = if rest.starts_with('"') {
            let end = string_end(rest);
            (&rest[..end], end)
        } else if let Some(word) =
            ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word))
        {
            ("null", word.len())
        } else {
            (&rest[..1], 1)
        };
        out.push_str(kept);
        rest = &rest[length..];
    }
    out + rest
}

/// Length of the string literal at the start of `text`, quotes included.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (position, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return position + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::without_nan;

    #[test]
    fn only_bare_words_change() {
        let text = r#"{"NaN": NaN, "a": [-Infinity, Infinity, -1.5, null], "say \"NaN\\": "Infinity ü"}"#;
        let json = r#"{"NaN": null, "a": [null, null, -1.5, null], "say \"NaN\\": "Infinity ü"}"#;
        assert_eq!(without_nan(text), json);
        assert_eq!(without_nan("\"open"), "\"open");
        assert_eq!(without_nan(""), "");
    }
}
