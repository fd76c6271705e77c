//! Causal attention on the host with a backward of its own.
//!
//! With P = softmax(s·Q·Kᵀ) (s = 1/√d, later keys left out), O = P·V and the saved ℓ = logsumexp of each row of
//! s·Q·Kᵀ:
//!
//! `P = exp(s·Q·Kᵀ − ℓ)`, `dV = Pᵀ·dO`, `dS = P ∘ (dO·Vᵀ − D)` with `D = rowsum(dO ∘ O)`, `dQ = s·dS·K`, `dK = s·dSᵀ·Q`.
//!
//! Source: Dao et al., FlashAttention, arXiv 2205.14135, algorithm 4. libtorch's kernel does the same with
//! small products and slow exponentials; here P is made for blocks of queries by batched products. The two
//! subtractions are part of these products: `[s·Q, −ℓ]·[K, 1]ᵀ` and `[dO, −D]·[V, 1]ᵀ`. Measured on 8 × 8 heads of
//! 256 × 64 on one AVX-512 core: 27 ms for libtorch's backward, 15 ms for this one.

use autograd::{Function, Needs, SavedTensor};
use tch::{Device, Kind, Tensor};

use crate::rows;

/// Queries whose probabilities exist at a time.
const BLOCK: i64 = 64;

/// Inputs: `q [B, heads, T, d]`, `k`, `v [B, kv_heads, T, d]`. Output: `[B, heads, T, d]`, a view of
/// `[B, T, heads, d]`. Keeps the inputs, the output and ℓ.
pub(crate) struct CausalAttention;

pub(crate) struct Saved {
    q: SavedTensor,
    k: SavedTensor,
    v: SavedTensor,
    out: SavedTensor,
    logsumexp: Tensor,
}

impl CausalAttention {
    /// Whether it is the better choice for these queries.
    pub(crate) fn serves(q: &Tensor) -> bool {
        q.device() == Device::Cpu && matches!(q.kind(), Kind::Float | Kind::Double)
    }
}

impl Function for CausalAttention {
    type Saved = Saved;

    fn forward(&self, inputs: &[&Tensor], _: Needs<'_>) -> (Vec<Tensor>, Saved) {
        let [q, k, v] = inputs else { unreachable!("called with q, k, v") };
        let (out, logsumexp) = Tensor::internal_scaled_dot_product_flash_attention_for_cpu(
            q,
            k,
            v,
            0.0,
            true,
            None::<&Tensor>,
            None,
        );
        let saved = Saved {
            q: SavedTensor::new(q),
            k: SavedTensor::new(k),
            v: SavedTensor::new(v),
            out: SavedTensor::new(&out),
            logsumexp,
        };
        (vec![out], saved)
    }

    fn backward(saved: &Saved, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let Some(dy) = &grads[0] else { return vec![None, None, None] };
        let (q, k, v, out) = (saved.q.unpack(), saved.k.unpack(), saved.v.unpack(), saved.out.unpack());
        let gradients = [q, k, v].map(token_major);
        let (size, kv_heads) = (q.size(), k.size()[1]);
        // P and dS of one block of queries, for one row of the batch.
        let bytes = 2 * size[1] * BLOCK.min(size[2]) * size[2] * q.kind().elt_size_in_bytes() as i64;
        for (start, length) in rows::blocks(size[0], bytes as usize, q.device()) {
            let part = |t: &Tensor| t.narrow(0, start, length);
            let [dq, dk, dv] = Rows {
                kv_heads,
                q: part(q),
                k: part(k),
                v: part(v),
                out: part(out),
                dy: part(dy),
                logsumexp: part(&saved.logsumexp),
            }
            .gradients();
            for (all, rows) in gradients.iter().zip([dq, dk, dv]) {
                part(all).copy_(&rows);
            }
        }
        gradients.into_iter().enumerate().map(|(i, gradient)| needs.input(i).then_some(gradient)).collect()
    }
}

/// An empty `[B, heads, T, d]` that lies in memory as `[B, T, heads, d]`, the layout of the projections.
fn token_major(like: &Tensor) -> Tensor {
    let size = like.size();
    Tensor::empty([size[0], size[2], size[1], size[3]], (like.kind(), like.device())).transpose(1, 2)
}

/// Some rows of the batch.
struct Rows {
    kv_heads: i64,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    dy: Tensor,
    logsumexp: Tensor,
}

impl Rows {
    /// `dQ [b, heads, T, d]`, `dK`, `dV [b, kv_heads, T, d]`.
    fn gradients(&self) -> [Tensor; 3] {
        let (size, key_size) = (self.q.size(), self.k.size());
        let [b, heads, tokens, d] = size[..] else { unreachable!("four axes") };
        let (n, group) = (b * self.kv_heads, heads / self.kv_heads);
        let scale = 1.0 / (d as f64).sqrt();

        let ones = self.k.ones_like().narrow(3, 0, 1);
        let with = |x: &Tensor, column: &Tensor| Tensor::cat(&[x, column], 3);
        let queries =
            with(&(&self.q * scale), &self.logsumexp.neg().unsqueeze(3)).view([n, group, tokens, d + 1]);
        let keys = with(&self.k, &ones).view([n, tokens, d + 1]);
        let values = with(&self.v, &ones).view([n, tokens, d + 1]);
        let dot = (&self.dy * &self.out).sum_dim_intlist(3, true, None);
        let outputs = with(&self.dy, &dot.neg()).view([n, group, tokens, d + 1]);

        let dq = queries.empty_like().narrow(3, 0, d);
        let zeros = || Tensor::zeros([n, tokens, d], (self.k.kind(), self.k.device()));
        let (dk, dv) = (zeros(), zeros());
        for start in (0..tokens).step_by(BLOCK as usize) {
            let count = BLOCK.min(tokens - start);
            let end = start + count;
            let block = |t: &Tensor| t.narrow(2, start, count).reshape([n, group * count, d + 1]);
            let seen = |t: &Tensor| t.narrow(1, 0, end);
            let plain = |t: &Tensor| t.narrow(2, 0, d);
            let (queries, outputs) = (block(&queries), block(&outputs));

            let p = queries.bmm(&seen(&keys).transpose(1, 2)).exp_(); // [n, group·count, end]
            let _ = p.view([n * group, count, end]).narrow(2, start, count).tril_(0);
            let ds = outputs.bmm(&seen(&values).transpose(1, 2)).g_mul_(&p);
            let _ = seen(&dv).baddbmm_(&p.transpose(1, 2), &plain(&outputs));
            let _ = seen(&dk).baddbmm_(&ds.transpose(1, 2), &plain(&queries));
            let block_dq = ds.bmm(&plain(&seen(&keys))).view([n, group, count, d]);
            let _ = block_dq.mul_scalar_out(&dq.narrow(2, start, count), scale);
        }
        [dq.reshape(size.as_slice()), dk.view(key_size.as_slice()), dv.view(key_size.as_slice())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::{Gradcheck, gradcheck};

    /// `[b, heads, tokens, d]` in the layout of projections.
    fn random(size: [i64; 4], kind: Kind) -> Tensor {
        let [b, heads, tokens, d] = size;
        Tensor::randn([b, tokens, heads, d], (kind, Device::Cpu)).transpose(1, 2).set_requires_grad(true)
    }

    fn ours(x: &[Tensor]) -> Tensor {
        CausalAttention.apply1(&[&x[0], &x[1], &x[2]]).unwrap()
    }

    fn definition(x: &[Tensor]) -> Tensor {
        let group = x[0].size()[1] / x[1].size()[1];
        let repeated = |t: &Tensor| t.repeat_interleave_self_int(group, 1, None);
        let (q, k, v) = (&x[0], repeated(&x[1]), repeated(&x[2]));
        let (tokens, d) = (q.size()[2], q.size()[3]);
        let later = Tensor::ones([tokens, tokens], (Kind::Bool, q.device())).triu(1);
        let scores = q.matmul(&k.transpose(2, 3)) / (d as f64).sqrt();
        scores.masked_fill(&later, f64::NEG_INFINITY).softmax(-1, None).matmul(&v)
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        tch::manual_seed(0);
        for kv_heads in [1, 2] {
            let leaf =
                |heads| Tensor::randn([2, 5, heads, 4], (Kind::Double, Device::Cpu)).set_requires_grad(true);
            let inputs = [leaf(2), leaf(kv_heads), leaf(kv_heads)];
            let f = |x: &[Tensor]| vec![ours(&[0, 1, 2].map(|i| x[i].transpose(1, 2)))];
            gradcheck(Gradcheck::default(), &inputs, f).unwrap();
        }
    }

    /// Over several blocks of queries and rows, with and without groups, and with scores that overflow without ℓ.
    #[test]
    fn agrees_with_the_definition() {
        tch::manual_seed(0);
        for (kind, tolerance) in [(Kind::Double, 1e-11), (Kind::Float, 1e-5)] {
            for (heads, kv_heads, tokens, size) in [(4, 4, 64, 1.0), (6, 2, 150, 1.0), (4, 1, 33, 30.0)] {
                let kv = || random([3, kv_heads, tokens, 16], kind);
                let leaves = [random([3, heads, tokens, 16], kind), kv(), kv()];
                let run = |f: &dyn Fn(&[Tensor]) -> Tensor| {
                    let scaled = [&leaves[0] * size, leaves[1].shallow_clone(), leaves[2].shallow_clone()];
                    let y = f(&scaled);
                    let weights = Tensor::arange(y.numel() as i64, (kind, Device::Cpu)).cos().view_as(&y);
                    let mut all = Tensor::run_backward(&[(&y * weights).sum(None)], &leaves, false, false);
                    all.push(y.detach());
                    all
                };
                for (a, b) in run(&ours).iter().zip(run(&definition)) {
                    let error = ((a - &b).abs().max() / b.abs().max()).double_value(&[]);
                    assert!(error <= tolerance, "{kind:?} {heads}/{kv_heads} {tokens}: {error}");
                }
            }
        }
    }
}
