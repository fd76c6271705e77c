//! What the first block of a stack sees.

use peft_core::{AdaptedLinear, Mode, Parameter, Part};
use tch::{Device, Kind, Tensor};

use crate::config::StackConfig;
use crate::norm::Norm;
use crate::positions::Positions;
use crate::sequence::Sequence;
use crate::weights::{Init, Weights};

/// `norm(W·e + t + p)` with e the embedding of a token, t that of its type, p that of its position; each where the
/// model has it.
#[derive(Debug)]
pub(crate) struct Embedding {
    /// From the width of the embedding to H.
    projection: Option<AdaptedLinear>,
    types: Option<Parameter>,
    pub(crate) positions: Positions,
    norm: Option<Norm>,
}

impl Embedding {
    pub(crate) fn new(config: &StackConfig, weights: &mut dyn Weights, kind: Kind, device: Device) -> Self {
        let (hidden, names) = (config.hidden_size, config.names);
        let projection = (hidden != config.embedding.size).then(|| {
            weights.linear(names.projections[0], config.linear(hidden, config.embedding.size, false))
        });
        let types = (config.embedding.token_types > 0).then(|| {
            let name = format!("{}.weight", names.types);
            let value = weights.tensor(&name, &[config.embedding.token_types, hidden], Init::Normal);
            Parameter::new(name, &value)
        });
        let positions = Positions::new(config, weights, kind, device);
        let norm =
            config.embedding.norm.then(|| Norm::new(names.embedding_norm, hidden, config.norm, weights));
        Self { projection, types, positions, norm }
    }

    /// From `embedded [B, T, E]`, the table's rows, to `[B, T, H]`.
    pub(crate) fn forward(&self, embedded: &Tensor, sequence: &Sequence, mode: Mode) -> Tensor {
        let mut x = match &self.projection {
            Some(projection) => projection.forward(embedded, mode),
            None => embedded.shallow_clone(),
        };
        if let Some(types) = &self.types {
            let table = types.value().to_kind(x.kind());
            x = match &sequence.token_types {
                Some(types) => x + Tensor::embedding(&table, types, -1, false, false),
                None => x + table.get(0),
            };
        }
        let x = self.positions.add(x, &sequence.located);
        self.norm.as_ref().map_or(x.shallow_clone(), |norm| norm.forward(&x))
    }

    /// Whether it leaves the rows of the table as they are.
    pub(crate) fn is_plain(&self) -> bool {
        let Self { projection, types, positions, norm } = self;
        projection.is_none() && types.is_none() && norm.is_none() && matches!(positions, Positions::Rotary(_))
    }

    pub(crate) fn parts(&mut self) -> Vec<Part<'_>> {
        let Self { projection, types, positions, norm } = self;
        let projection = projection.iter_mut().map(Part::Linear);
        let types = types.iter_mut().map(Part::Parameter);
        projection
            .chain(types)
            .chain(positions.parts())
            .chain(norm.iter_mut().flat_map(Norm::parts))
            .collect()
    }
}
