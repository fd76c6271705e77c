//! Cross entropy of the next token without keeping logits.
//!
//! With h `[N, H]` the hidden states of the scored positions, W `[V, H]` the head and y the labels:
//!
//! `L = Σᵢ (logsumexp(zᵢ) − zᵢ[yᵢ])`, `z = h·Wᵀ`, `∂L/∂z = softmax(z) − onehot(y) = g`, `∂L/∂h = g·W`, `∂L/∂W = gᵀ·h`.
//!
//! All of it is computed in the forward pass, chunk of rows by chunk of rows, so that the logits of one chunk are all
//! there ever are of them; kept are `∂L/∂h` and, if the head trains, `∂L/∂W`. Idea: Hsu et al., Liger Kernel,
//! arXiv 2410.10989, section 3.2.

use autograd::{Function, Needs};
use peft_core::{Error, Mode, Result};
use tch::{IndexOp, Kind, Tensor};

use crate::Decoder;

/// Label of a position that is not scored.
pub const IGNORED: i64 = -100;

/// Cross entropy over the scored positions of a batch.
#[derive(Debug)]
pub struct Loss {
    /// Sum over these positions, nats, a scalar of kind Float (or Double).
    pub sum: Tensor,
    /// How many there are.
    pub tokens: i64,
}

impl Decoder {
    /// `Σ −log p(labels[t + 1])` with p from `hidden[t]`, over all positions whose label is not [`IGNORED`];
    /// `hidden [B, T, H]`, `labels [B, T]`.
    ///
    /// # Errors
    /// If the shapes differ or a label is outside the vocabulary.
    pub fn loss(&self, hidden: &Tensor, labels: &Tensor, mode: Mode) -> Result<Loss> {
        let scored = Scored::find(hidden, labels, self.vocab_size())?;
        let tokens = scored.tokens();
        let sum = match self.head_weight() {
            Some(weight) => {
                let weight = weight.to_kind(hidden.kind());
                LinearCrossEntropy { scored }.apply1(&[hidden, &weight])?
            }
            None => {
                let logits = self.logits(&scored.rows_of(hidden), mode);
                negative_log_likelihood(&logits, &scored.labels).sum(None)
            }
        };
        Ok(Loss { sum, tokens })
    }

    /// `−log p(labels[t + 1])` for every t, 0 where it is not scored; `[B, T - 1]`, kind Float, without gradient.
    ///
    /// # Errors
    /// As [`Self::loss`].
    pub fn token_losses(&self, hidden: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let scored = Scored::find(hidden, labels, self.vocab_size())?;
        let size = labels.size();
        tch::no_grad(|| {
            let losses = Tensor::zeros([size[0] * size[1]], (wide(hidden.kind()), hidden.device()));
            let chunk = chunk_rows(hidden, self.vocab_size());
            for part in scored.chunks(chunk) {
                let logits = self.logits(&part.rows_of(hidden), Mode::Eval);
                let nll = negative_log_likelihood(&logits, &part.labels);
                let _ = losses.shallow_clone().index_copy_(0, &part.positions, &nll);
            }
            Ok(losses.view(size.as_slice()).i((.., ..size[1] - 1)))
        })
    }
}

/// The positions of a batch that are scored, as indices into its `B·T` rows, and their labels.
#[derive(Debug)]
struct Scored {
    positions: Tensor,
    labels: Tensor,
}

impl Scored {
    fn find(hidden: &Tensor, labels: &Tensor, vocab_size: i64) -> Result<Self> {
        let (size, hidden_size) = (labels.size(), hidden.size());
        if size.len() != 2 || hidden_size[..2] != size[..] {
            let reason = format!("the hidden states have the shape {hidden_size:?}");
            return Err(Error::config("labels", format!("{size:?}"), reason));
        }
        // labels[t + 1] is scored at t; nothing is scored at the last position.
        let labels = labels.to_device(hidden.device());
        let next = labels.roll([-1], [1]);
        let _ = next.i((.., size[1] - 1)).fill_(IGNORED);
        let next = next.view(-1);
        let positions = next.ne(IGNORED).nonzero().view(-1);
        let labels = next.index_select(0, &positions);
        let outside = labels.lt(0).logical_or(&labels.ge(vocab_size)).any().int64_value(&[]) != 0;
        if outside {
            let reason = format!("must be {IGNORED} or in 0..{vocab_size}");
            return Err(Error::config("labels", labels.max().int64_value(&[]), reason));
        }
        Ok(Self { positions, labels })
    }

    fn tokens(&self) -> i64 {
        self.labels.size()[0]
    }

    fn rows_of(&self, hidden: &Tensor) -> Tensor {
        hidden.reshape([-1, hidden.size()[2]]).index_select(0, &self.positions)
    }

    fn chunks(&self, rows: i64) -> impl Iterator<Item = Self> {
        let cut = move |t: &Tensor| t.split(rows, 0);
        let parts = cut(&self.positions).into_iter().zip(cut(&self.labels));
        parts.map(|(positions, labels)| Self { positions, labels })
    }
}

/// Rows whose logits take as much room as the hidden states of the batch, but enough of them for a fast product.
fn chunk_rows(hidden: &Tensor, vocab_size: i64) -> i64 {
    const FEWEST: i64 = 128;
    (hidden.numel() as i64 / vocab_size).max(FEWEST)
}

/// Softmax in bf16 would lose the loss itself.
fn wide(kind: Kind) -> Kind {
    if kind == Kind::Double { Kind::Double } else { Kind::Float }
}

/// `[N, V]`, `[N]` to `[N]`.
fn negative_log_likelihood(logits: &Tensor, labels: &Tensor) -> Tensor {
    let log_p = logits.log_softmax(-1, wide(logits.kind()));
    -log_p.gather(1, &labels.unsqueeze(1), false).squeeze_dim(1)
}

/// Inputs: hidden `[B, T, H]`, head weight `[V, H]`. Output: the sum.
struct LinearCrossEntropy {
    scored: Scored,
}

struct Saved {
    hidden_gradient: Option<Tensor>,
    weight_gradient: Option<Tensor>,
}

impl Function for LinearCrossEntropy {
    type Saved = Saved;

    fn forward(&self, inputs: &[&Tensor], needs: Needs<'_>) -> (Vec<Tensor>, Saved) {
        let [hidden, weight] = inputs else { unreachable!("called with hidden, weight") };
        let wide = wide(hidden.kind());
        let sum = Tensor::zeros([], (wide, hidden.device()));
        let mut hidden_gradient = needs.then(0, || hidden.zeros_like());
        let mut weight_gradient = needs.then(1, || weight.to_kind(wide).zeros_like());
        for part in self.scored.chunks(chunk_rows(hidden, weight.size()[0])) {
            let rows = part.rows_of(hidden);
            let labels = part.labels.unsqueeze(1);
            // Step by step and in place: libtorch's softmax takes five times as long for its exponentials.
            let mut z = rows.mm(&weight.tr()).to_kind(wide);
            z -= z.amax(-1, true);
            let chosen = z.gather(1, &labels, false);
            let mut e = z.exp_();
            let total = e.sum_dim_intlist(-1, true, None);
            let _ = sum.shallow_clone().g_add_(&(total.log() - chosen).sum(None));
            if !needs.any() {
                continue;
            }
            e /= total;
            let g = e.scatter_add_(1, &labels, &labels.ones_like().to_kind(wide).neg());
            let g = g.to_kind(hidden.kind());
            if let Some(all) = &mut hidden_gradient {
                let all = all.view([-1, weight.size()[1]]);
                let _ = all.shallow_clone().index_copy_(0, &part.positions, &g.mm(weight));
            }
            if let Some(all) = &mut weight_gradient {
                *all += g.tr().mm(&rows);
            }
        }
        (vec![sum], Saved { hidden_gradient, weight_gradient })
    }

    fn backward(saved: &Saved, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>> {
        let Some(scale) = &grads[0] else { return vec![None, None] };
        let scaled = |index, gradient: &Option<Tensor>| {
            let gradient = gradient.as_ref().filter(|_| needs.input(index))?;
            Some(gradient * scale.to_kind(gradient.kind()))
        };
        vec![scaled(0, &saved.hidden_gradient), scaled(1, &saved.weight_gradient)]
    }
}
