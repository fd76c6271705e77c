use crate::cache::KvCache;

/// Keys and values of all layers, `[B, kv_heads, capacity, d]` in a row, without the padding before the rows.
#[derive(Debug)]
pub(crate) struct HostKeys {
    /// Keys and values of each layer.
    layers: Vec<[Vec<f32>; 2]>,
    /// Tokens there are, padding among them.
    length: usize,
    /// Padding of every row.
    padding: Vec<usize>,
    kv_heads: usize,
    capacity: usize,
    head_dim: usize,
}

impl HostKeys {
    pub(crate) fn of(cache: &KvCache) -> Self {
        let stored: Vec<_> = cache.stored().collect();
        let size: Vec<usize> = stored[0].0.size().iter().map(|extent| *extent as usize).collect();
        let padding = cache.padding();
        let layers = stored.iter().map(|(keys, values)| [super::host(keys), super::host(values)]).collect();
        let length = cache.length();
        Self { layers, length, padding, kv_heads: size[1], capacity: size[2], head_dim: size[3] }
    }

    /// Position of the next token of every row.
    pub(crate) fn places(&self) -> Vec<usize> {
        self.padding.iter().map(|padding| self.length - padding).collect()
    }

    /// Adds `k`, `v [d]` of one head and returns all keys and all values of its row.
    pub(crate) fn push(
        &mut self,
        layer: usize,
        row: usize,
        head: usize,
        k: &[f32],
        v: &[f32],
    ) -> [&[f32]; 2] {
        let width = self.head_dim;
        let start = (row * self.kv_heads + head) * self.capacity;
        let (first, new) = (start + self.padding[row], start + self.length);
        let [keys, values] = &mut self.layers[layer];
        keys[new * width..(new + 1) * width].copy_from_slice(k);
        values[new * width..(new + 1) * width].copy_from_slice(v);
        let all = first * width..(new + 1) * width;
        [&keys[all.clone()], &values[all]]
    }

    /// The tokens that were pushed in every layer are there.
    pub(crate) fn count_in(&mut self) {
        self.length += 1;
    }

    /// Keeps only `rows`, in that order.
    pub(crate) fn keep(&mut self, rows: &[i64]) {
        let width = self.kv_heads * self.capacity * self.head_dim;
        let row = |row: &i64| *row as usize * width..(*row as usize + 1) * width;
        for store in self.layers.iter_mut().flatten() {
            *store = rows.iter().flat_map(|kept| &store[row(kept)]).copied().collect();
        }
        self.padding = rows.iter().map(|row| self.padding[*row as usize]).collect();
    }
}
