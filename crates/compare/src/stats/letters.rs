//! Compact letter display: tied groups as letters.

use std::collections::BTreeSet;

/// One string of letters for each of `n` rows, best row first: two rows share a letter exactly when they do not differ.
///
/// Insert and absorb (Piepho, J. Comput. Graph. Stat. 2004): start with one group of all; for every differing pair
/// split each group that holds both; drop groups contained in another. `a` goes to the best row's first group.
///
/// ```
/// // 0 and 2 differ, 1 is between them
/// let letters = compare::stats::letters::display(3, |i, j| (i, j) == (0, 2));
/// assert_eq!(letters, ["a", "ab", "b"]);
/// ```
pub fn display(n: usize, differ: impl Fn(usize, usize) -> bool) -> Vec<String> {
    let mut groups: Vec<BTreeSet<usize>> = vec![(0..n).collect()];
    for i in 0..n {
        for j in i + 1..n {
            if differ(i, j) {
                groups = split(groups, i, j);
            }
        }
    }
    groups.sort();
    let mut letters = vec![String::new(); n];
    for (index, group) in groups.iter().enumerate() {
        for &row in group {
            letters[row].push_str(&letter(index));
        }
    }
    letters
}

/// Inserts the split of `i` and `j`, then absorbs.
fn split(groups: Vec<BTreeSet<usize>>, i: usize, j: usize) -> Vec<BTreeSet<usize>> {
    let (both, mut kept): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(|g| g.contains(&i) && g.contains(&j));
    for group in both {
        for leave_out in [i, j] {
            let mut part = group.clone();
            part.remove(&leave_out);
            if !kept.iter().any(|other| part.is_subset(other)) {
                kept.retain(|other| !other.is_subset(&part));
                kept.push(part);
            }
        }
    }
    kept
}

/// `a … z`, `A … Z`, then numbers in brackets.
fn letter(index: usize) -> String {
    match (b'a'..=b'z').chain(b'A'..=b'Z').nth(index) {
        Some(byte) => char::from(byte).to_string(),
        None => format!("({})", index + 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_extremes() {
        assert_eq!(display(0, |_, _| true), Vec::<String>::new());
        assert_eq!(display(3, |_, _| false), ["a", "a", "a"]);
        assert_eq!(display(3, |_, _| true), ["a", "b", "c"]);
        assert_eq!(letter(51), "Z");
        assert_eq!(letter(52), "(53)");
    }

    /// Any symmetric relation on up to eight rows.
    fn relation() -> impl Strategy<Value = (usize, Vec<bool>)> {
        (1_usize..9).prop_flat_map(|n| (Just(n), prop::collection::vec(any::<bool>(), n * n)))
    }

    proptest! {
        #[test]
        fn rows_share_a_letter_exactly_when_tied((n, bits) in relation()) {
            let differ = |i: usize, j: usize| bits[i.min(j) * n + i.max(j)];
            let letters = display(n, differ);
            for i in 0..n {
                prop_assert!(!letters[i].is_empty());
                for j in i + 1..n {
                    let share = letters[i].chars().any(|l| letters[j].contains(l));
                    prop_assert_eq!(share, !differ(i, j));
                }
            }
            prop_assert!(letters[0].starts_with('a'));
        }

        #[test]
        fn no_letter_is_contained_in_another((n, bits) in relation()) {
            let letters = display(n, |i, j| bits[i.min(j) * n + i.max(j)]);
            let used: BTreeSet<char> = letters.iter().flat_map(|l| l.chars()).collect();
            let group = |l: char| (0..n).filter(|&i| letters[i].contains(l)).collect::<BTreeSet<_>>();
            for &l in &used {
                for &m in used.iter().filter(|&&m| m != l) {
                    prop_assert!(!group(l).is_subset(&group(m)));
                }
            }
        }
    }
}
