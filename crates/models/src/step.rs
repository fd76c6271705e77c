//! New tokens of every row through a small model on the host, without a tensor between one product and the next.
//!
//! A layer of [`Stack::advance`](crate::stack::Stack::advance) calls libtorch some fifty times; for 32 rows of 160 each call
//! costs more than its work. Here a layer is four products, each with a weight that is stored as the product reads it
//! (`[in, out]`, query, key and value side by side, gate and up likewise), and what lies between them is done row by row on
//! plain slices. Rows do not know of each other, so every thread takes some of them from end to end. Measured in
//! `benchmarks/generate_with_transformers.py`.

mod attend;
mod row;

use peft_core::Result;
use tch::{Device, Kind, Tensor};

use crate::block::PlainBlock;
use crate::decoder::Decoder;
use crate::norm::PlainNorm;
use crate::positions::{PositionConfig, Positions};
use crate::rotary::RotaryConfig;
use attend::attend;
pub(crate) use row::RowKeys;

/// Models of more bytes are left to libtorch: their time goes into products, and a second copy of them is not small.
const MOST_BYTES: usize = 128 << 20;

/// Tokens of one pass, where rows are short enough: what lies between its products should not leave the cache far behind.
const MOST_TOKENS: usize = 1024;

/// Weights of a model as one token needs them, for every thread a handle.
#[derive(Debug)]
pub(crate) struct Step {
    workers: Vec<Worker>,
}

/// What one thread works with: handles to tensors do not go to several threads.
#[derive(Debug)]
struct Worker {
    /// `[V, H]`.
    tokens: Tensor,
    /// `[H, V]`.
    head: Tensor,
    layers: Vec<PlainBlock>,
    norm: PlainNorm,
    /// Cosines and sines, `[positions, half]` each.
    turns: [Vec<f32>; 2],
    half: usize,
}

impl Step {
    /// Of a decoder in f32 on the host whose blocks are those of Llama and carry no adapter but merged ones; for rows of up
    /// to `longest` tokens.
    pub(crate) fn of(decoder: &Decoder, longest: i64) -> Option<Self> {
        let stack = &decoder.shape().stack;
        if (decoder.kind(), decoder.device()) != (Kind::Float, Device::Cpu)
            || stack.window.is_some()
            || stack.embedding.scale != 1.0
            || bytes(decoder) > MOST_BYTES
        {
            return None;
        }
        let Positions::Rotary(rotary) = decoder.body.stack().positions() else { return None };
        let PositionConfig::Rotary(RotaryConfig { dim, .. }) = &stack.positions else { return None };
        let half = *dim as usize / 2;
        tch::no_grad(|| {
            let (layers, norm) = decoder.body.stack().plain(stack)?;
            let tokens = decoder.body.tokens.value().to_kind(Kind::Float).detach();
            let head = decoder.head_weight()?.to_kind(Kind::Float).tr().contiguous();
            let first = Worker { tokens, head, layers, norm, turns: rotary.tables(longest)?, half };
            let more = (1..tch::get_num_threads()).map(|_| first.share()).collect::<Vec<_>>();
            Some(Self { workers: std::iter::once(first).chain(more).collect() })
        })
    }

    /// Room for the keys and values of a row of up to `capacity` tokens.
    pub(crate) fn room(&self, capacity: usize) -> RowKeys {
        let worker = &self.workers[0];
        let PlainBlock { kv_heads, head_dim, .. } = worker.layers[0];
        RowKeys::new(worker.layers.len(), kv_heads, head_dim, capacity)
    }

    /// The logits `[B, V]` after the new tokens of each row: its prompt, or one more token.
    ///
    /// # Errors
    /// If an id is outside the vocabulary.
    pub(crate) fn advance(&mut self, rows: &mut [RowKeys], new: &[&[i64]]) -> Result<Tensor> {
        let share = rows.len().div_ceil(self.workers.len());
        if share == rows.len() {
            return self.workers[0].advance(rows, new);
        }
        let mut logits: Vec<Option<Result<Tensor>>> = self.workers.iter().map(|_| None).collect();
        let parts = rows.chunks_mut(share).zip(new.chunks(share));
        rayon::in_place_scope(|scope| {
            for ((worker, out), (rows, new)) in self.workers.iter_mut().zip(&mut logits).zip(parts) {
                scope.spawn(move |_| {
                    // The rows are what is done at the same time; a setting of this thread alone.
                    tch::set_num_threads(1);
                    *out = Some(worker.advance(rows, new));
                });
            }
        });
        // It is also what threads that are new begin with.
        tch::set_num_threads(i32::try_from(self.workers.len()).unwrap_or(i32::MAX));
        let logits: Vec<Tensor> = logits.into_iter().flatten().collect::<Result<_>>()?;
        Ok(Tensor::cat(&logits, 0))
    }
}

/// Of the weights of all layers.
fn bytes(decoder: &Decoder) -> usize {
    let stack = &decoder.shape().stack;
    let attention = &stack.attention;
    let width = 2 * (attention.heads + attention.kv_heads) * attention.head_dim;
    let count = stack.layers as i64 * stack.hidden_size * (width + 3 * stack.mlp.intermediate_size);
    count as usize * size_of::<f32>()
}

impl Worker {
    fn share(&self) -> Self {
        Self {
            tokens: self.tokens.shallow_clone(),
            head: self.head.shallow_clone(),
            layers: self.layers.iter().map(PlainBlock::share).collect(),
            norm: self.norm.clone(),
            turns: self.turns.clone(),
            half: self.half,
        }
    }

    /// As [`Step::advance`], some rows at a time.
    fn advance(&self, mut rows: &mut [RowKeys], mut new: &[&[i64]]) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let mut logits = Vec::new();
        while !new.is_empty() {
            let mut tokens = 0;
            let fits = |row: &&&[i64]| {
                tokens += row.len();
                tokens <= MOST_TOKENS
            };
            let count = new.iter().take_while(fits).count().max(1);
            let (now, later) = std::mem::take(&mut rows).split_at_mut(count);
            logits.push(self.pass(now, &new[..count])?);
            (rows, new) = (later, &new[count..]);
        }
        Ok(Tensor::cat(&logits, 0))
    }

    fn pass(&self, rows: &mut [RowKeys], new: &[&[i64]]) -> Result<Tensor> {
        let tokens = new.concat();
        let count = tokens.len() as i64;
        let mut x = host(&self.tokens.f_index_select(0, &Tensor::from_slice(&tokens))?);
        let mut normed = vec![0.0; x.len()];
        let mut scores = Vec::new();
        for (layer, block) in self.layers.iter().enumerate() {
            block.norms[0].forward(&x, &mut normed);
            let mut qkv = host(&table(&normed, count).mm(&block.qkv));
            let widths = [block.heads * block.head_dim, block.kv_heads * block.head_dim];
            let mut mixed = vec![0.0; tokens.len() * widths[0]];
            let mut of_token =
                qkv.chunks_exact_mut(widths[0] + 2 * widths[1]).zip(mixed.chunks_exact_mut(widths[0]));
            for (row, new) in rows.iter_mut().zip(new) {
                for (place, (qkv, mixed)) in (row.length()..).zip(of_token.by_ref().take(new.len())) {
                    let (turned, v) = qkv.split_at_mut(widths[0] + widths[1]);
                    self.turn(turned, block.head_dim, place);
                    let (q, k) = turned.split_at(widths[0]);
                    row.put(layer, place, k, v);
                    let group = widths[0] / block.kv_heads;
                    let groups = q.chunks_exact(group).zip(mixed.chunks_exact_mut(group));
                    for (head, (q, mixed)) in groups.enumerate() {
                        let [keys, values] = row.up_to(layer, head, place);
                        let each = q.chunks_exact(block.head_dim).zip(mixed.chunks_exact_mut(block.head_dim));
                        each.for_each(|(q, out)| attend(q, keys, values, block.scale, &mut scores, out));
                    }
                }
            }
            add(&mut x, &host(&table(&mixed, count).mm(&block.out)));
            block.norms[1].forward(&x, &mut normed);
            let halves = table(&normed, count).mm(&block.gate_up).chunk(2, 1);
            let inner = halves[0].silu().g_mul_(&halves[1]);
            add(&mut x, &host(&inner.mm(&block.down)));
        }
        let hidden = x.len() / tokens.len();
        let mut end = 0;
        let mut last = Vec::new();
        for (row, new) in rows.iter_mut().zip(new) {
            row.count_in(new.len());
            end += new.len();
            last.extend_from_slice(&x[(end - 1) * hidden..end * hidden]);
        }
        let mut normed = vec![0.0; last.len()];
        self.norm.forward(&last, &mut normed);
        Ok(table(&normed, rows.len() as i64).mm(&self.head))
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
