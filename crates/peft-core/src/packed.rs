//! A compact form of adapters that are mostly zeros or mostly random: non-zeros with their positions, and draws as
//! the stream they came from.
//!
//! A tensor `name` is stored in one of three ways, whichever is exact and smallest:
//! as it is; as `name.positions` (flat, int32) and `name.values`, with its shape in the metadata under
//! `shape.name`; or only as metadata `draw.name`, for frozen random tensors.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::init::Draw;
use crate::tensor_file::Metadata;
use crate::{Entry, Error, ParamStore, Result, StateDict};

#[derive(Serialize, Deserialize)]
struct Drawn {
    shape: Vec<i64>,
    draw: Draw,
}

/// Packs the adapter's tensors.
pub fn pack(store: &ParamStore) -> (StateDict, Metadata) {
    let (mut tensors, mut metadata) = (StateDict::new(), Metadata::new());
    for entry in store.entries().iter().filter(|entry| entry.in_adapter()) {
        let (name, tensor) = (&entry.name, entry.tensor.detach());
        if let Some(draw) = repeatable(entry) {
            let drawn = Drawn { shape: tensor.size(), draw: draw.clone() };
            metadata.insert(format!("draw.{name}"), json(&drawn));
            continue;
        }
        let positions = tensor.reshape(-1).nonzero().view(-1);
        // A packed value costs its position too.
        if 2 * positions.numel() < tensor.numel() && i32::try_from(tensor.numel()).is_ok() {
            metadata.insert(format!("shape.{name}"), json(&tensor.size()));
            tensors.insert(format!("{name}.values"), tensor.reshape(-1).index_select(0, &positions));
            tensors.insert(format!("{name}.positions"), positions.to_kind(Kind::Int));
        } else {
            tensors.insert(name.clone(), tensor);
        }
    }
    (tensors, metadata)
}

/// The reverse of [`pack`].
///
/// # Errors
/// [`Error::Format`] naming `origin` if the parts do not belong together.
pub fn unpack(tensors: &StateDict, metadata: &Metadata, origin: &str) -> Result<StateDict> {
    let bad = |reason: String| Error::format(origin, reason);
    let mut all: StateDict = tensors
        .iter()
        .filter(|(name, _)| !name.ends_with(".positions") && !name.ends_with(".values"))
        .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
        .collect();
    for (key, text) in metadata {
        if let Some(name) = key.strip_prefix("draw.") {
            let drawn: Drawn = serde_json::from_str(text).map_err(|e| bad(format!("`{key}`: {e}")))?;
            all.insert(name.to_owned(), drawn.draw.values(&drawn.shape, Device::Cpu));
        } else if let Some(name) = key.strip_prefix("shape.") {
            let shape: Vec<i64> = serde_json::from_str(text).map_err(|e| bad(format!("`{key}`: {e}")))?;
            let part = |suffix: &str| {
                let part = format!("{name}.{suffix}");
                tensors.get(&part).ok_or_else(|| bad(format!("`{part}` is missing")))
            };
            let (positions, values) = (part("positions")?.to_kind(Kind::Int64), part("values")?);
            let count: i64 = shape.iter().product();
            let outside = positions.ge(count).logical_or(&positions.lt(0)).any();
            if positions.size() != values.size() || bool::try_from(outside)? {
                return Err(bad(format!("`{name}`: positions do not fit values or shape {shape:?}")));
            }
            let dense = Tensor::zeros(count, (values.kind(), values.device()));
            all.insert(
                name.to_owned(),
                dense.index_put(&[Some(positions)], values, false).view(shape.as_slice()),
            );
        }
    }
    Ok(all)
}

/// The draw of `entry`, if repeating it gives the present values (not so after loading others).
fn repeatable(entry: &Entry) -> Option<&Draw> {
    let draw = entry.draw.as_ref()?;
    (draw.values(&entry.tensor.size(), entry.tensor.device()) == entry.tensor).then_some(draw)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain values print")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Initializer;
    use crate::{Params, Role, Seeds};

    fn store() -> ParamStore {
        let mut store = ParamStore::default();
        let mut params = Params::new(&mut store, Some("m"), &Seeds::new(0), Device::Cpu);
        params.drawn("a", Initializer::KaimingUniformSqrt5, &[4, 100]).unwrap();
        let b = Tensor::zeros([50, 4], (Kind::Float, Device::Cpu));
        let _ = b.get(7).fill_(0.5);
        let _ = b.get(49).fill_(-1.0);
        params.trainable("b", Role::Up, &b).unwrap();
        params.trainable("c", Role::Up, &Tensor::ones([3, 3], (Kind::Float, Device::Cpu))).unwrap();
        store
    }

    #[test]
    fn round_trip_is_exact_and_small() {
        let store = store();
        let (tensors, metadata) = pack(&store);
        assert_eq!(
            tensors.keys().map(String::as_str).collect::<Vec<_>>(),
            ["m.b.positions", "m.b.values", "m.c"]
        );
        let stored: usize = tensors.values().map(Tensor::numel).sum();
        assert_eq!(stored, 8 + 8 + 9, "of {} values", store.count_saved());
        let back = unpack(&tensors, &metadata, "test").unwrap();
        assert_eq!(back, store.adapter_tensors());
    }

    #[test]
    fn a_draw_that_was_overwritten_is_stored() {
        let store = store();
        tch::no_grad(|| {
            let _ = store.find("m.a").unwrap().tensor.shallow_clone().fill_(1.0);
        });
        let (tensors, metadata) = pack(&store);
        assert!(tensors.contains_key("m.a"));
        assert_eq!(unpack(&tensors, &metadata, "test").unwrap(), store.adapter_tensors());
    }

    #[test]
    fn positions_outside_are_refused() {
        let (mut tensors, metadata) = pack(&store());
        tensors.insert("m.b.positions".into(), Tensor::from_slice(&[0i32, 1, 2, 3, 4, 5, 6, 200]));
        assert!(unpack(&tensors, &metadata, "test").unwrap_err().to_string().contains("do not fit"));
    }
}
