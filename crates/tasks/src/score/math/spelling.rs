//! When two answers are the same but for how they are written: `is_equiv` of Hendrycks et al., rule by rule in their
//! order, with its oddities.

use std::iter;
use std::str::Split;

/// Whether both read the same after normalization. Where one cannot be normalized, both must be the same text.
pub fn equivalent(one: &str, other: &str) -> bool {
    match (normalize(one), normalize(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// None where the reference stops with an error.
fn normalize(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    for (from, to) in [
        ("\n", ""),
        (r"\!", ""),
        (r"\\", r"\"),
        ("tfrac", "frac"),
        ("dfrac", "frac"),
        (r"\left", ""),
        (r"\right", ""),
        (r"^{\circ}", ""),
        (r"^\circ", ""),
        (r"\$", ""),
    ] {
        text = text.replace(from, to);
    }
    text = without_unit(text)?;
    for (from, to) in [(r"\%", ""), (" .", " 0."), ("{.", "{0.")] {
        text = text.replace(from, to);
    }
    if text.starts_with('.') {
        text.insert(0, '0');
    }
    let value = match split_in_two(&text, '=') {
        Some((name, value)) if name.chars().count() <= 2 => value,
        _ => &text,
    };
    let value = braced_fractions(braced_roots(value)?.replace(' ', ""))?;
    Some(slash_as_fraction(if value == "0.5" { r"\frac{1}{2}".to_owned() } else { value }))
}

/// A unit stands in `\text{ ` at the right.
fn without_unit(text: String) -> Option<String> {
    match split(&text, r"\text{ ") {
        (_, units) if units.clone().count() > 1 => None,
        (value, _) => Some(value.to_owned()),
    }
}

/// Both sides of a character that occurs once.
fn split_in_two(text: &str, at: char) -> Option<(&str, &str)> {
    text.split_once(at).filter(|(_, right)| !right.contains(at))
}

/// `\sqrt3` becomes `\sqrt{3}`.
fn braced_roots(text: &str) -> Option<String> {
    let root = |part: &str| {
        let mut characters = part.chars();
        match characters.next()? {
            '{' => Some(format!(r"\sqrt{part}")),
            first => Some(format!(r"\sqrt{{{first}}}{}", characters.as_str())),
        }
    };
    let (before, parts) = split(text, r"\sqrt");
    iter::once(Some(before.to_owned())).chain(parts.map(root)).collect()
}

/// `\frac12` and `\frac1{2}` become `\frac{1}{2}`. Where one has a single character after it, nothing changes at all.
fn braced_fractions(text: String) -> Option<String> {
    let fraction = |part: &str| {
        let mut characters = part.chars();
        match (characters.next(), characters.next(), characters.as_str()) {
            (Some(over), Some('{'), rest) if over != '{' => format!(r"\frac{{{over}}}{{{rest}"),
            (Some(over), Some(under), rest) if over != '{' => format!(r"\frac{{{over}}}{{{under}}}{rest}"),
            _ => format!(r"\frac{part}"),
        }
    };
    let (before, parts) = split(&text, r"\frac");
    match parts.clone().find(|part| part.chars().count() < 2 && *part != "{") {
        Some("") => None,
        Some(_) => Some(text),
        None => Some(iter::once(before.to_owned()).chain(parts.map(fraction)).collect()),
    }
}

/// What stands before the first command, and what follows each.
fn split<'a>(text: &'a str, command: &'a str) -> (&'a str, Split<'a, &'a str>) {
    let mut parts = text.split(command);
    (parts.next().expect("splitting gives a part"), parts)
}

/// `3/4`, of two whole numbers, becomes `\frac{3}{4}`.
fn slash_as_fraction(text: String) -> String {
    let plain = |number: &str| {
        let digits = number.strip_prefix('-').unwrap_or(number);
        !digits.is_empty()
            && digits.bytes().all(|c| c.is_ascii_digit())
            && (!digits.starts_with('0') || number == "0")
    };
    match split_in_two(&text, '/') {
        Some((over, under)) if plain(over) && plain(under) => format!(r"\frac{{{over}}}{{{under}}}"),
        _ => text,
    }
}
