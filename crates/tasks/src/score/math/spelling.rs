//! When two answers are the same but for how they are written: `is_equiv` of Hendrycks et al., rule by rule in their
//! order, with its oddities.

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
    for (from, to) in [(r"\%", ""), ("%", ""), (" .", " 0."), ("{.", "{0.")] {
        text = text.replace(from, to);
    }
    if text.starts_with('.') {
        text.insert(0, '0');
    }
    if let Some((_, value)) = split_in_two(&text, '=').filter(|(name, _)| name.chars().count() <= 2) {
        text = value.to_owned();
    }
    text = braced_roots(&text)?.replace(' ', "");
    text = braced_fractions(text)?;
    if text == "0.5" {
        text = r"\frac{1}{2}".to_owned();
    }
    Some(slash_as_fraction(text))
}

/// A unit stands in `\text{ ` at the right.
fn without_unit(text: String) -> Option<String> {
    let mut parts = text.split(r"\text{ ");
    let value = parts.next()?.to_owned();
    let unit = parts.next();
    match (unit, parts.next()) {
        (_, Some(_)) => None,
        (Some(_), None) => Some(value),
        (None, None) => Some(text),
    }
}

/// Both sides of a character that occurs once.
fn split_in_two(text: &str, at: char) -> Option<(&str, &str)> {
    text.split_once(at).filter(|(_, right)| !right.contains(at))
}

/// `\sqrt3` becomes `\sqrt{3}`.
fn braced_roots(text: &str) -> Option<String> {
    let mut parts = text.split(r"\sqrt");
    let mut braced = parts.next()?.to_owned();
    for part in parts {
        let first = part.chars().next()?;
        if first == '{' {
            braced += &format!(r"\sqrt{part}");
        } else {
            braced += &format!(r"\sqrt{{{first}}}{}", &part[first.len_utf8()..]);
        }
    }
    Some(braced)
}

/// `\frac12` and `\frac1{2}` become `\frac{1}{2}`. Where one has a single character after it, nothing changes at all.
fn braced_fractions(text: String) -> Option<String> {
    let mut parts = text.split(r"\frac");
    let mut braced = parts.next()?.to_owned();
    for part in parts {
        let mut characters = part.chars();
        let first = characters.next()?;
        if first == '{' {
            braced += &format!(r"\frac{part}");
            continue;
        }
        let Some(second) = characters.next() else { return Some(text) };
        let rest = characters.as_str();
        if second == '{' {
            braced += &format!(r"\frac{{{first}}}{{{rest}");
        } else {
            braced += &format!(r"\frac{{{first}}}{{{second}}}{rest}");
        }
    }
    Some(braced)
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
