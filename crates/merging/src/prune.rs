use rand::{Rng, RngExt};
use tch::{Kind, Tensor};

/// Which entries of a tensor take part.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Prune {
    /// All.
    #[default]
    None,
    /// The `int(density·entries)` of largest magnitude.
    Magnitude(f64),
    /// Each with the probability `density`, divided by it, so that the expectation stays (DARE).
    Random(f64),
}

impl Prune {
    /// `x` with zeros elsewhere.
    pub(crate) fn apply(self, x: &Tensor, rng: &mut impl Rng) -> Tensor {
        match self {
            Self::Magnitude(density) if density < 1.0 => largest(x, density),
            Self::Random(density) if density < 1.0 => {
                let kept: Vec<f32> =
                    (0..x.numel()).map(|_| if rng.random_bool(density) { 1.0 } else { 0.0 }).collect();
                x * Tensor::from_slice(&kept).view_as(x).to_device(x.device()) / density
            }
            _ => x.shallow_clone(),
        }
    }
}

fn largest(x: &Tensor, density: f64) -> Tensor {
    let count = (density * x.numel() as f64) as i64;
    let flat = x.reshape(-1);
    let (_, at) = flat.abs().topk(count, 0, true, false);
    let mask = flat.zeros_like().index_fill(0, &at, 1.0);
    (flat * mask).view_as(x).to_kind(Kind::Float)
}
