//! Names of methods, tasks and runs as names of files and folders.

use std::fmt::Write;

/// Longest component written as it is; file systems allow 255 bytes, and suffixes need room.
const LONGEST: usize = 120;

/// Device names that Windows reserves, whatever the extension.
const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];

/// One path component for any name: safe on every file system, different for different names, and unchanged for
/// names made of ASCII letters, digits, `.`, `_` and `-`.
///
/// Other bytes are percent-encoded, a component too long ends in a hash.
pub(crate) fn component(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for (position, byte) in name.bytes().enumerate() {
        let dot_at_an_end = byte == b'.' && (position == 0 || position + 1 == name.len());
        if !dot_at_an_end && (byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            safe.push(char::from(byte));
        } else {
            write!(safe, "%{byte:02X}").expect("a string takes all");
        }
    }
    let stem = safe.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = |port: &str| {
        stem.strip_prefix(port).is_some_and(|n| n.len() == 1 && n.as_bytes()[0].is_ascii_digit())
    };
    if safe.is_empty() || RESERVED.contains(&stem.as_str()) || numbered("com") || numbered("lpt") {
        safe.insert(0, '%');
    }
    if safe.len() > LONGEST {
        let hash = blake3::hash(name.as_bytes()).to_hex();
        safe.truncate(LONGEST);
        safe.push('%');
        safe.push_str(&hash[..16]);
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::component;

    #[test]
    fn plain_names_stay() {
        for name in ["lori-d", "nlu", "20251121T101500.123Z-lori-d-nlu-0", "a.b_c-D"] {
            assert_eq!(component(name), name);
        }
    }

    #[test]
    fn odd_names_cannot_leave_the_folder() {
        for (name, safe) in [
            ("", "%"),
            ("..", "%2E%2E"),
            (".hidden", "%2Ehidden"),
            ("a/b", "a%2Fb"),
            ("/etc/passwd", "%2Fetc%2Fpasswd"),
            ("a\\b", "a%5Cb"),
            ("a\0b", "a%00b"),
            ("ü x", "%C3%BC%20x"),
            ("NUL", "%NUL"),
            ("com1.json", "%com1.json"),
            ("50%", "50%25"),
            ("end.", "end%2E"),
        ] {
            assert_eq!(component(name), safe);
        }
        assert!(component(&"x".repeat(4000)).len() < 150);
        assert_ne!(component(&"x".repeat(4000)), component(&"x".repeat(4001)));
    }

    proptest! {
        #[test]
        fn always_one_component_and_never_the_same_for_two(a in any::<String>(), b in any::<String>()) {
            let safe = component(&a);
            let path = Path::new(&safe);
            prop_assert!(matches!(path.components().collect::<Vec<_>>()[..], [Component::Normal(_)]));
            prop_assert_eq!(a == b, safe == component(&b));
        }
    }
}
