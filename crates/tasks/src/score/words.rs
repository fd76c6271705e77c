//! Words as the reference implementations split them.

/// White space as Python's `str.split` and `str.strip` see it.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Python's `text.split()`.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// The text with every run of white space as one space, and none at the ends.
pub fn squeeze(text: &str) -> String {
    words(text).collect::<Vec<_>>().join(" ")
}
