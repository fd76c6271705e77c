//! Disentangled attention: scores from content and relative position apart.
//!
//! With `q`, `k` the queries and keys of content, `q̂`, `k̂` those of the embeddings of relative positions, and δ(i, j) the
//! row of token j seen from token i:
//!
//! `s(i, j) = (qᵢ·kⱼ + qᵢ·k̂[δ(i, j)] + kⱼ·q̂[δ(j, i)]) / √(3·d)`.
//!
//! Source: He et al., DeBERTa, arXiv 2006.03654, section 3.1; logarithmic buckets and shared projections: He et al.,
//! DeBERTaV3, arXiv 2111.09543.

use peft_core::{AdaptedLinear, Mode, Parameter, Part};
use tch::{Kind, Tensor};

use crate::config::StackConfig;
use crate::norm::Norm;
use crate::weights::{Init, Weights};

/// Settings of relative positions.
#[derive(Clone, Debug, PartialEq)]
pub struct RelativeConfig {
    /// Distances told apart in each direction; the table has twice as many rows.
    pub span: i64,
    /// Beyond half the span, distances up to this one share buckets on a logarithmic scale.
    pub buckets_up_to: Option<i64>,
    /// Whether the table is projected by the layers of queries and keys, and not by layers of its own.
    pub shared: bool,
    /// Whether the table is normalized.
    pub norm: bool,
}

/// The table of relative positions of a stack.
#[derive(Debug)]
pub(crate) struct RelativeTable {
    config: RelativeConfig,
    table: Parameter,
    norm: Option<Norm>,
}

/// The table as the layers of a pass read it.
#[derive(Debug)]
pub(crate) struct Relative {
    /// `[2·span, H]`.
    table: Tensor,
    /// δ(i, j), `[T, T]`.
    rows: Tensor,
    /// δ(j, i).
    mirrored: Tensor,
}

impl Clone for Relative {
    fn clone(&self) -> Self {
        let Self { table, rows, mirrored } = self;
        Self { table: table.shallow_clone(), rows: rows.shallow_clone(), mirrored: mirrored.shallow_clone() }
    }
}

impl RelativeTable {
    pub(crate) fn new(config: &StackConfig, own: &RelativeConfig, weights: &mut dyn Weights) -> Self {
        let [table, norm] = config.names.relative;
        let name = format!("{table}.weight");
        let value = weights.tensor(&name, &[2 * own.span, config.hidden_size], Init::Normal);
        let norm = own.norm.then(|| Norm::new(norm, config.hidden_size, config.norm, weights));
        Self { config: own.clone(), table: Parameter::new(name, &value), norm }
    }

    /// For rows of `length` tokens.
    pub(crate) fn at(&self, length: i64) -> Relative {
        let table = self.table.value();
        let table = self.norm.as_ref().map_or(table.shallow_clone(), |norm| norm.forward(&table));
        let span = self.config.span;
        let places = Tensor::arange(length, (Kind::Int64, table.device()));
        let distance = places.unsqueeze(1) - places.unsqueeze(0);
        let distance = match self.config.buckets_up_to {
            Some(furthest) => log_buckets(&distance, span, furthest),
            None => distance,
        };
        let row = |distance: &Tensor| (distance + span).clamp(0, 2 * span - 1);
        Relative { table, rows: row(&distance), mirrored: row(&distance.neg()) }
    }

    pub(crate) fn parts(&mut self) -> Vec<Part<'_>> {
        let norm = self.norm.iter_mut().flat_map(Norm::parts);
        std::iter::once(Part::Parameter(&mut self.table)).chain(norm).collect()
    }
}

/// Distances below half of `span` as they are, those up to `furthest` on a logarithmic scale; rounded where transformers
/// rounds.
fn log_buckets(distance: &Tensor, span: i64, furthest: i64) -> Tensor {
    let half = span / 2;
    let near = distance.abs().lt(half);
    let size = distance.abs().masked_fill(&near, half - 1);
    let widest = Tensor::from(((furthest - 1) as f64 / half as f64) as f32).log();
    let log =
        ((size.to_kind(Kind::Float) / half as f64).log() / widest * (half - 1) as f64).ceil() + half as f64;
    let far = log.to_kind(Kind::Int64) * distance.sign();
    distance.where_self(&size.le(half), &far)
}

/// The position projections of one layer, where it has its own: keys, then queries.
#[derive(Debug)]
pub(crate) struct Disentangled {
    own: Option<[AdaptedLinear; 2]>,
}

impl Disentangled {
    /// Of the block called `name`.
    pub(crate) fn new(name: &str, config: &StackConfig, shared: bool, weights: &mut dyn Weights) -> Self {
        let width = config.attention.heads * config.attention.head_dim;
        let own = (!shared).then(|| {
            config.names.block.attention.relative.map(|leaf| {
                weights.linear(&format!("{name}.{leaf}"), config.linear(width, config.hidden_size, true))
            })
        });
        Self { own }
    }

    /// What is added to the scores of content: `[B, heads, T, T]`, for `q`, `k [B, heads, T, d]`; `query` and `key` are the
    /// layers of content.
    pub(crate) fn scores(
        &self,
        [q, k]: [&Tensor; 2],
        [query, key]: [&AdaptedLinear; 2],
        relative: &Relative,
        mode: Mode,
    ) -> Tensor {
        let [position_key, position_query] = match &self.own {
            Some([key, query]) => [key, query],
            None => [key, query],
        };
        let size = q.size();
        let (heads, d) = (size[1], size[3]);
        let project = |layer: &AdaptedLinear| {
            layer.forward(&relative.table, mode).view([-1, heads, d]).permute([1, 2, 0])
        }; // [heads, d, 2·span]
        let pick = |of: &Tensor, layer: &AdaptedLinear, rows: &Tensor| {
            let rows = rows.expand([size[0], heads, -1, -1], false);
            of.matmul(&project(layer)).gather(-1, &rows, false)
        };
        let to_position = pick(q, position_key, &relative.rows);
        let to_content = pick(k, position_query, &relative.mirrored);
        (to_position + to_content.transpose(2, 3)) * scale(d)
    }

    pub(crate) fn parts(&mut self) -> impl Iterator<Item = Part<'_>> {
        self.own.iter_mut().flatten().map(Part::Linear)
    }
}

/// On every one of the three scores.
pub(crate) fn scale(head_dim: i64) -> f64 {
    (3.0 * head_dim as f64).powf(-0.5)
}
