//! Every provided pack.

use tables::{Cell, Grade, Pack, Procedure, Scale, provided, provided_names};

fn packs() -> Vec<Pack> {
    provided_names()
        .iter()
        .map(|name| provided(name).unwrap_or_else(|error| panic!("{error} {:?}", error.hint())))
        .collect()
}

#[test]
fn they_parse_under_their_names() {
    for (name, pack) in provided_names().into_iter().zip(packs()) {
        assert_eq!(name, pack.name);
    }
}
