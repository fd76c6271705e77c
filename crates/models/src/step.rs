//! The next token of every row through a small model on the host, without a tensor between one product and the next.
//!
//! A layer of [`Stack::advance`](crate::stack::Stack::advance) calls libtorch some fifty times; for 32 rows of 160 each call
//! costs more than its work. Here a layer is four products, each with a weight that is stored as the product reads it
//! (`[in, out]`, query, key and value side by side, gate and up likewise), and what lies between them is done row by row on
//! plain slices. Measured in `benchmarks/generate_with_transformers.py`.

mod attend;
mod keys;

use peft_core::Result;
use tch::{Device, Kind, Tensor};

use crate::block::PlainBlock;
use crate::decoder::Decoder;
use crate::norm::PlainNorm;
use crate::positions::{PositionConfig, Positions};
use crate::rotary::RotaryConfig;
use attend::attend;
pub(crate) use keys::HostKeys;

/// Models of more bytes are left to libtorch: their time goes into products, and a second copy of them is not small.
const MOST_BYTES: usize = 128 << 20;

/// Weights of a model as one token needs them.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    decoder: &'a Decoder,
    layers: Vec<PlainBlock>,
    norm: PlainNorm,
    /// `[positions, half]` each.
    turns: [Vec<f32>; 2],
    half: usize,
}

impl<'a> Step<'a> {
    /// Of a decoder in f32 on the host whose blocks are those of Llama and carry no adapter but merged ones; for rows of up
    /// to `longest` tokens.
    pub(crate) fn of(decoder: &'a Decoder, longest: i64) -> Option<Self> {
        if (decoder.kind(), decoder.device()) != (Kind::Float, Device::Cpu) {
            return None;
        }
        let stack = &decoder.shape().stack;
        let Positions::Rotary(rotary) = decoder.body.stack().positions() else { return None };
        let PositionConfig::Rotary(RotaryConfig { dim, .. }) = &stack.positions else { return None };
        let turns = rotary.tables(longest)?;
        let hidden = stack.hidden_size;
        let inner = stack.mlp.intermediate_size;
        let width =
            hidden * (2 * stack.attention.heads + 2 * stack.attention.kv_heads) * stack.attention.head_dim;
        let count = stack.layers as i64 * (width + 3 * hidden * inner);
        if stack.window.is_some() || count as usize * size_of::<f32>() > MOST_BYTES {
            return None;
        }
        let (layers, norm) = tch::no_grad(|| decoder.body.stack().plain(stack))?;
        Some(Self { decoder, layers, norm, turns, half: *dim as usize / 2 })
    }

    /// The logits `[B, V]` after the tokens `ids [B, 1]`, which follow those in `keys`.
    pub(crate) fn advance(&self, ids: &Tensor, keys: &mut HostKeys) -> Result<Tensor> {
        let embedded = self.decoder.embed(ids)?;
        let mut x = host(&embedded);
        let rows = ids.size()[0];
        let places = keys.places();
        let mut normed = vec![0.0; x.len()];
        let mut scores = Vec::new();
        for (layer, block) in self.layers.iter().enumerate() {
            block.norms[0].forward(&x, &mut normed);
            let mut qkv = host(&table(&normed, rows).mm(&block.qkv));
            let PlainBlock { heads, kv_heads, head_dim, scale, .. } = *block;
            let mut mixed = vec![0.0; rows as usize * heads * head_dim];
            let per_row = qkv.chunks_exact_mut((heads + 2 * kv_heads) * head_dim);
            for (row, (qkv, mixed)) in per_row.zip(mixed.chunks_exact_mut(heads * head_dim)).enumerate() {
                let (turned, v) = qkv.split_at_mut((heads + kv_heads) * head_dim);
                self.turn(turned, head_dim, places[row]);
                let (q, k) = turned.split_at(heads * head_dim);
                for group in 0..kv_heads {
                    let own = group * head_dim..(group + 1) * head_dim;
                    let [past_keys, past_values] = keys.push(layer, row, group, &k[own.clone()], &v[own]);
                    let width = heads / kv_heads * head_dim;
                    let of_group = group * width..(group + 1) * width;
                    let queries = q[of_group.clone()].chunks_exact(head_dim);
                    for (q, out) in queries.zip(mixed[of_group].chunks_exact_mut(head_dim)) {
                        attend(q, past_keys, past_values, scale, &mut scores, out);
                    }
                }
            }
            add(&mut x, &host(&table(&mixed, rows).mm(&block.out)));
            block.norms[1].forward(&x, &mut normed);
            let halves = table(&normed, rows).mm(&block.gate_up).chunk(2, 1);
            let inner = halves[0].silu() * &halves[1];
            add(&mut x, &host(&inner.mm(&block.down)));
        }
        keys.count_in();
        self.norm.forward(&x, &mut normed);
        Ok(self.decoder.logits(&table(&normed, rows), peft_core::Mode::Eval))
    }

    /// Turns every head of `x` by the angles of position `place`.
    fn turn(&self, x: &mut [f32], head_dim: usize, place: usize) {
        let half = self.half;
        let [cos, sin] = self.turns.each_ref().map(|table| &table[place * half..(place + 1) * half]);
        for head in x.chunks_exact_mut(head_dim) {
            let (first, rest) = head.split_at_mut(half);
            for (((a, b), cos), sin) in first.iter_mut().zip(rest).zip(cos).zip(sin) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
}

fn host(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.reshape(-1)).expect("a tensor of f32")
}

fn table(values: &[f32], rows: i64) -> Tensor {
    Tensor::from_slice(values).view([rows, -1])
}

fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}
