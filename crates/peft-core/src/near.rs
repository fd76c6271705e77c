//! Did-you-mean.

/// The known names most like `name`, best first, at most `count`; none if nothing is alike.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, count: usize) -> Vec<&'a str> {
    /// Below this Jaro-Winkler similarity two names have little in common (`lora` and `rosa` are at 0.67).
    const ALIKE: f64 = 0.65;
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by_key(|(_, candidate)| *candidate);
    scored.into_iter().take(count).map(|(_, candidate)| candidate).collect()
}

/// A hint: the nearest names, or all of them if nothing is near and there are few.
pub fn suggestion(name: &str, known: &[String]) -> String {
    let near = nearest(name, known.iter().map(String::as_str), 3);
    let quoted = |names: &[&str]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    if near.is_empty() {
        let all: Vec<&str> = known.iter().take(30).map(String::as_str).collect();
        format!("known: {}", quoted(&all))
    } else {
        format!("did you mean {}?", quoted(&near))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_obvious_and_nothing_far() {
        let known = ["q_proj", "k_proj", "v_proj", "gate_proj"];
        assert_eq!(nearest("q_prj", known, 1), ["q_proj"]);
        assert!(nearest("xyz", known, 3).is_empty());
        let owned = known.map(str::to_owned);
        assert!(suggestion("xyz", &owned).contains("known: `q_proj`"));
    }
}
