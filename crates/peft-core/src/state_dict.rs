//! Named tensors that must match exactly or not at all.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::{Error, Result};

/// Tensors by name.
pub type StateDict = BTreeMap<String, Tensor>;

/// Copies `source` into `target` in place. Every name must be on both sides, with equal shapes; kinds may differ
/// only among floating-point kinds.
///
/// # Errors
/// [`Error::StateDict`] naming `origin` and every difference; nothing is copied then.
pub fn copy_strictly(target: &StateDict, source: &StateDict, origin: &str) -> Result<()> {
    let missing: Vec<String> = target.keys().filter(|n| !source.contains_key(*n)).cloned().collect();
    let unexpected: Vec<String> = source.keys().filter(|n| !target.contains_key(*n)).cloned().collect();
    let mismatched: Vec<String> = target
        .iter()
        .filter_map(|(name, want)| source.get(name).and_then(|found| mismatch(name, want, found)))
        .collect();
    if !(missing.is_empty() && unexpected.is_empty() && mismatched.is_empty()) {
        return Err(Error::StateDict { origin: origin.to_owned(), missing, unexpected, mismatched });
    }
    tch::no_grad(|| {
        for (name, want) in target {
            want.shallow_clone().copy_(&source[name]);
        }
    });
    Ok(())
}

fn mismatch(name: &str, want: &Tensor, found: &Tensor) -> Option<String> {
    if want.size() != found.size() {
        return Some(format!("{name}: expected shape {:?}, found {:?}", want.size(), found.size()));
    }
    let float = |t: &Tensor| t.is_floating_point();
    (want.kind() != found.kind() && !(float(want) && float(found)))
        .then(|| format!("{name}: expected kind {:?}, found {:?}", want.kind(), found.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn dict(entries: &[(&str, &[i64], Kind)]) -> StateDict {
        entries.iter().map(|(n, s, k)| ((*n).to_owned(), Tensor::ones(*s, (*k, Device::Cpu)))).collect()
    }

    #[test]
    fn copies_when_everything_fits() {
        let target = dict(&[("a", &[2], Kind::Float), ("b", &[], Kind::Int64)]);
        let source = dict(&[("a", &[2], Kind::BFloat16), ("b", &[], Kind::Int64)]);
        let _ = target["a"].shallow_clone().zero_();
        copy_strictly(&target, &source, "test").unwrap();
        assert_eq!(Vec::<f32>::try_from(&target["a"]).unwrap(), [1.0, 1.0]);
    }

    #[test]
    fn names_every_difference_and_copies_nothing() {
        let target = dict(&[("a", &[2], Kind::Float), ("b", &[1], Kind::Float), ("c", &[3], Kind::Float)]);
        let source = dict(&[("a", &[2], Kind::Float), ("b", &[3], Kind::Float), ("d", &[3], Kind::Float)]);
        let _ = target["a"].shallow_clone().zero_();
        let error = copy_strictly(&target, &source, "file").unwrap_err();
        let Error::StateDict { missing, unexpected, mismatched, .. } = &error else { panic!("{error}") };
        assert_eq!(
            (missing.as_slice(), unexpected.as_slice()),
            (&["c".to_owned()][..], &["d".to_owned()][..])
        );
        assert!(mismatched[0].contains("expected shape [1], found [3]"), "{error}");
        assert_eq!(target["a"].sum(Kind::Float).double_value(&[]), 0.0);
    }

    #[test]
    fn integers_do_not_become_floats() {
        let error =
            copy_strictly(&dict(&[("a", &[1], Kind::Int64)]), &dict(&[("a", &[1], Kind::Float)]), "file");
        assert!(error.unwrap_err().to_string().contains("expected kind Int64, found Float"));
    }
}
