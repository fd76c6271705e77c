use tch::{Kind, Tensor};

/// How far the predictions of one model are from those of another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Drift {
    /// Largest |Δ| of a logit.
    pub largest: f64,
    sum: f64,
    logits: f64,
    divergence: f64,
    changed: f64,
    tokens: f64,
    /// `‖W' − W_eff‖_F / ‖W_eff − W‖_F` over the adapted layers: 1 is as far as the adapter itself.
    pub weights: f64,
}

impl Drift {
    /// Adds logits `[T, V]` that should be `expected`.
    pub fn add(&mut self, expected: &Tensor, found: &Tensor) {
        let (expected, found) = (expected.to_kind(Kind::Double), found.to_kind(Kind::Double));
        let difference = (&expected - &found).abs();
        self.largest = self.largest.max(difference.max().double_value(&[]));
        self.sum += difference.sum(Kind::Double).double_value(&[]);
        self.logits += difference.numel() as f64;
        let (p, q) = (expected.log_softmax(-1, Kind::Double), found.log_softmax(-1, Kind::Double));
        self.divergence += (p.exp() * (&p - &q)).sum(Kind::Double).double_value(&[]);
        let changed = expected.argmax(-1, false).ne_tensor(&found.argmax(-1, false));
        self.changed += changed.sum(Kind::Double).double_value(&[]);
        self.tokens += expected.size()[0] as f64;
    }

    /// Mean |Δ| of a logit.
    pub fn mean(&self) -> f64 {
        self.sum / self.logits
    }

    /// Mean KL(expected ‖ found) of the next token, in nats.
    pub fn divergence(&self) -> f64 {
        (self.divergence / self.tokens).max(0.0)
    }

    /// Share of the positions at which another token is likeliest.
    pub fn changed(&self) -> f64 {
        self.changed / self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_tokens() {
        let rows = |values: [f64; 4]| Tensor::from_slice(&values).view([2, 2]);
        let mut drift = Drift::default();
        // The first position keeps its distribution (a shift of all logits), the second turns 3:1 into 1:3.
        drift.add(&rows([0.0, 0.0, 3.0_f64.ln(), 0.0]), &rows([1.0, 1.0, 0.0, 3.0_f64.ln()]));
        let ln3 = 3.0_f64.ln();
        assert!((drift.largest - ln3).abs() < 1e-12);
        assert!((drift.mean() - (2.0 + 2.0 * ln3) / 4.0).abs() < 1e-12);
        // KL of (3/4, 1/4) from (1/4, 3/4) is ½·ln 3; the mean over both positions is half of it.
        assert!((drift.divergence() - ln3 / 4.0).abs() < 1e-12, "{}", drift.divergence());
        assert!((drift.changed() - 0.5).abs() < 1e-12);
    }
}
