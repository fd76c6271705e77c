//! Choosing the next token.

use peft_core::{Error, Result, Seeds};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Sampling {
    /// The likeliest.
    Greedy,
    /// Drawn from the smallest set of likeliest tokens that holds `top_p` of the probability (Holtzman et al.,
    /// arXiv 1904.09751).
    Nucleus {
        /// Logits are divided by it; above 0.
        temperature: f64,
        /// In (0, 1]; 1 leaves out nothing.
        top_p: f64,
        /// Prompt number i draws from stream i, whatever else is in its batch.
        seeds: Seeds,
    },
}

impl Sampling {
    pub(crate) fn check(&self) -> Result<()> {
        let &Self::Nucleus { temperature, top_p, .. } = self else { return Ok(()) };
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::config("temperature", temperature, "must be above 0; 0 is greedy decoding"));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(Error::config("top_p", top_p, "must be above 0 and at most 1"));
        }
        Ok(())
    }

    /// The stream of prompt number `index`, if anything is drawn.
    pub(crate) fn stream(&self, index: usize) -> Option<ChaCha8Rng> {
        match self {
            Self::Greedy => None,
            Self::Nucleus { seeds, .. } => Some(seeds.nth(index as u64).rng()),
        }
    }

    /// One token for each row of `logits [B, V]`; `streams` belong to the rows.
    pub(crate) fn choose(&self, logits: &Tensor, streams: &mut [&mut Option<ChaCha8Rng>]) -> Vec<i64> {
        let host = |t: &Tensor| t.to_device(tch::Device::Cpu);
        let &Self::Nucleus { temperature, top_p, .. } = self else {
            return likeliest(&host(logits));
        };
        let p = (logits.to_kind(Kind::Float) / temperature).softmax(-1, None);
        let (p, tokens) = if top_p < 1.0 {
            let (p, tokens) = p.sort(-1, true);
            (host(&p), Some(host(&tokens)))
        } else {
            (host(&p), None)
        };
        let rows = streams.iter_mut().enumerate().map(|(row, stream)| {
            let p: Vec<f32> = Vec::try_from(p.get(row as i64)).expect("a vector of Float");
            let uniform = stream.as_mut().expect("a stream for each row").random::<f64>();
            let place = draw(&p, top_p, uniform) as i64;
            tokens.as_ref().map_or(place, |tokens| tokens.int64_value(&[row as i64, place]))
        });
        rows.collect()
    }
}

/// The first of the largest entries of each row of `logits [B, V]`, as `argmax` does, which reads one entry at a time on the
/// host.
fn likeliest(logits: &Tensor) -> Vec<i64> {
    let vocabulary = logits.size()[1] as usize;
    let all: Vec<f32> = Vec::try_from(logits.to_kind(Kind::Float).reshape(-1)).expect("a vector of Float");
    all.chunks_exact(vocabulary)
        .map(|row| {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter().position(|logit| *logit == most).unwrap_or(0) as i64
        })
        .collect()
}

/// Inverts the distribution function of the first entries of `p` that together hold `mass`, at `uniform` in [0, 1).
fn draw(p: &[f32], mass: f64, uniform: f64) -> usize {
    let kept = if mass < 1.0 {
        let mut sum = 0.0;
        let still_short = |p: &&f32| {
            let before = sum;
            sum += f64::from(**p);
            before < mass
        };
        p.iter().take_while(still_short).count()
    } else {
        p.len()
    };
    let total: f64 = p[..kept].iter().map(|p| f64::from(*p)).sum();
    let mut left = uniform * total;
    for (index, p) in p[..kept].iter().enumerate() {
        left -= f64::from(*p);
        if left < 0.0 {
            return index;
        }
    }
    // Rounding may leave a remainder; the last entry with any probability takes it.
    p[..kept].iter().rposition(|p| *p > 0.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nucleus_by_hand() {
        let p = [0.5, 0.3, 0.15, 0.05];
        // 0.5 < 0.7 ≤ 0.8: two entries, rescaled to 0.625 and 0.375.
        assert_eq!(draw(&p, 0.7, 0.62), 0);
        assert_eq!(draw(&p, 0.7, 0.63), 1);
        assert_eq!(draw(&p, 0.7, 0.999_999), 1);
        // The likeliest token stays even if it exceeds the mass alone.
        assert_eq!(draw(&p, 0.1, 0.9), 0);
        assert_eq!(draw(&p, 1.0, 0.96), 3);
        assert_eq!(draw(&[0.0, 1.0, 0.0], 1.0, 1.0), 1);
    }

    #[test]
    fn a_row_draws_the_same_in_any_batch() {
        let sampling = Sampling::Nucleus { temperature: 0.7, top_p: 0.9, seeds: Seeds::new(5) };
        let logits = Tensor::randn([4, 50], (Kind::Float, tch::Device::Cpu));
        let mut streams: Vec<_> = (0..4).map(|i| sampling.stream(i)).collect();
        let together = sampling.choose(&logits, &mut streams.iter_mut().collect::<Vec<_>>());
        for (row, token) in together.into_iter().enumerate() {
            let mut stream = sampling.stream(row);
            let alone = sampling.choose(&logits.narrow(0, row as i64, 1), &mut [&mut stream]);
            assert_eq!(alone, [token]);
        }
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        // 2,000 draws of p = (0.6, 0.4): the count of the first is within 5 standard deviations (22 each).
        let sampling = Sampling::Nucleus { temperature: 1.0, top_p: 1.0, seeds: Seeds::new(1) };
        let logits = Tensor::from_slice(&[0.6f32, 0.4]).log().unsqueeze(0);
        let mut stream = sampling.stream(0);
        let zeros = (0..2000).filter(|_| sampling.choose(&logits, &mut [&mut stream]) == [0]).count();
        assert!((1090..1310).contains(&zeros), "{zeros}");
    }
}
