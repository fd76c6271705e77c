//! Keys and values of the tokens generated so far.

use tch::{Device, Kind, Tensor};

use crate::attention::AttentionConfig;
use crate::config::StackConfig;
use crate::positions::Positions;
use crate::sequence::{Sequence, count_tokens, hidden_where};

/// Keys and values of one layer, allocated once for all tokens to come.
#[derive(Debug)]
pub(crate) struct LayerCache {
    keys: Tensor,   // [B, kv_heads, capacity, d]
    values: Tensor, // the same
    length: i64,
    /// Keys and values of another sequence.
    pub(crate) crossed: Option<(Tensor, Tensor)>,
}

impl LayerCache {
    pub(crate) fn new(
        rows: i64,
        capacity: i64,
        config: &AttentionConfig,
        kind: Kind,
        device: Device,
    ) -> Self {
        let empty = || Tensor::empty([rows, config.kv_heads, capacity, config.head_dim], (kind, device));
        Self { keys: empty(), values: empty(), length: 0, crossed: None }
    }

    /// Adds `k`, `v [B, kv_heads, T, d]` and returns all there are.
    pub(crate) fn extend(&mut self, k: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
        let count = k.size()[2];
        let add = |store: &Tensor, new: &Tensor| {
            store.narrow(2, self.length, count).copy_(new);
            store.narrow(2, 0, self.length + count)
        };
        let all = (add(&self.keys, k), add(&self.values, v));
        self.length += count;
        all
    }

    /// Keeps only `rows`, in that order.
    pub(crate) fn keep(&mut self, rows: &Tensor) {
        self.keys = self.keys.index_select(0, rows);
        self.values = self.values.index_select(0, rows);
        if let Some((keys, values)) = &mut self.crossed {
            *keys = keys.index_select(0, rows);
            *values = values.index_select(0, rows);
        }
    }
}

/// Keys and values of all layers, and where the rows' padding is.
#[derive(Debug)]
pub(crate) struct KvCache {
    layers: Vec<LayerCache>,
    length: i64,
    /// `None` if there is none.
    padding: Option<Padding>,
    options: (Kind, Device),
}

/// What padding before the rows means for each of their places.
#[derive(Debug)]
struct Padding {
    /// `[B, capacity]`, 0 where no token is, elsewhere 1.
    documents: Tensor,
    /// `[B, capacity]`, positions in the row.
    positions: Tensor,
    /// What one later token sees, `[B, 1, 1, capacity]`.
    seen: Tensor,
}

impl Padding {
    /// For `mask [B, T]` and ones up to `capacity`; `None` where no padding is.
    fn of(mask: &Tensor, capacity: i64, kind: Kind) -> Option<Self> {
        let (rows, prompt) = (mask.size()[0], mask.size()[1]);
        let later = Tensor::ones([rows, capacity - prompt], (Kind::Int64, mask.device()));
        let documents = Tensor::cat(&[mask, &later], 1);
        let absent = documents.eq(0);
        if absent.any().int64_value(&[]) == 0 {
            return None;
        }
        let positions = count_tokens(&documents);
        let seen = hidden_where(&absent.unsqueeze(1).unsqueeze(1), kind);
        Some(Self { documents, positions, seen })
    }

    fn keep(&mut self, rows: &Tensor) {
        for tensor in [&mut self.documents, &mut self.positions, &mut self.seen] {
            *tensor = tensor.index_select(0, rows);
        }
    }
}

impl KvCache {
    /// For `capacity` tokens, the first of which come as `mask [B, T]` says (1 at tokens, padding before them).
    pub(crate) fn new(
        config: &StackConfig,
        mask: &Tensor,
        capacity: i64,
        kind: Kind,
        device: Device,
    ) -> Self {
        let rows = mask.size()[0];
        let layer = |_| LayerCache::new(rows, capacity, &config.attention, kind, device);
        let mask = mask.to_device(device).to_kind(Kind::Int64);
        Self {
            layers: (0..config.layers).map(layer).collect(),
            length: 0,
            padding: Padding::of(&mask, capacity, kind),
            options: (kind, device),
        }
    }

    pub(crate) fn layers(&mut self) -> impl Iterator<Item = &mut LayerCache> {
        self.layers.iter_mut()
    }

    /// Positions and visibility of the next `count` tokens of every row, and counts them in.
    pub(crate) fn sequence(&mut self, count: i64, config: &StackConfig, positions: &Positions) -> Sequence {
        let (start, end) = (self.length, self.length + count);
        self.length = end;
        let located = match &self.padding {
            None => positions.range(start, count),
            Some(padding) => positions.at(&padding.positions.narrow(1, start, count)),
        };
        let windowed = config.window.as_ref().is_some_and(|window| window.size < end);
        match &self.padding {
            Some(padding) if count == 1 && !windowed => {
                Sequence::next(located, &padding.seen.narrow(3, 0, end))
            }
            padding => {
                let documents = padding.as_ref().map(|padding| padding.documents.narrow(1, 0, end));
                Sequence::causal(located, start, count, documents.as_ref(), config, self.options)
            }
        }
    }

    /// Keeps only `rows`, in that order.
    pub(crate) fn keep(&mut self, rows: &Tensor) {
        for layer in &mut self.layers {
            layer.keep(rows);
        }
        if let Some(padding) = &mut self.padding {
            padding.keep(rows);
        }
    }
}
