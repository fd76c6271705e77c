/// Keys and values of one row in all layers.
#[derive(Debug)]
pub(crate) struct RowKeys {
    /// Keys and values of each layer, `[kv_heads, capacity, d]`.
    layers: Vec<[Vec<f32>; 2]>,
    /// Tokens there are.
    length: usize,
    capacity: usize,
    head_dim: usize,
}

impl RowKeys {
    /// Of no token, with room for `capacity`.
    pub(super) fn new(layers: usize, kv_heads: usize, head_dim: usize, capacity: usize) -> Self {
        let room = || vec![0.0; kv_heads * capacity * head_dim];
        Self { layers: (0..layers).map(|_| [room(), room()]).collect(), length: 0, capacity, head_dim }
    }

    /// Tokens there are, which is the position of the next one.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Puts `k`, `v [kv_heads·d]` of the token at `place` into one layer.
    pub(super) fn put(&mut self, layer: usize, place: usize, k: &[f32], v: &[f32]) {
        let Self { capacity, head_dim, .. } = *self;
        for (stored, new) in self.layers[layer].iter_mut().zip([k, v]) {
            for (head, new) in new.chunks_exact(head_dim).enumerate() {
                let at = (head * capacity + place) * head_dim;
                stored[at..at + head_dim].copy_from_slice(new);
            }
        }
    }

    /// Keys and values `[place + 1, d]` of one head.
    pub(super) fn up_to(&self, layer: usize, head: usize, place: usize) -> [&[f32]; 2] {
        let start = head * self.capacity * self.head_dim;
        let all = start..start + (place + 1) * self.head_dim;
        self.layers[layer].each_ref().map(|stored| &stored[all.clone()])
    }

    /// Tokens that were put into every layer are there.
    pub(super) fn count_in(&mut self, count: usize) {
        self.length += count;
    }
}
