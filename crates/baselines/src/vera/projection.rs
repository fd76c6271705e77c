use tch::{Device, Kind, Tensor};

use peft_core::init::Initializer;
use peft_core::{Params, Result, Saved, Site, generator};

use super::VeraConfig;

/// A `[r, max in]` and B `[max out, r]`: every site uses the first of their columns and rows.
#[derive(Debug)]
pub struct Projections {
    pub a: Tensor,
    pub b: Tensor,
}

impl Projections {
    /// Draws and registers `vera_A` and `vera_B`.
    pub fn register(config: &VeraConfig, sites: &[Site], shared: &mut Params<'_>) -> Result<Self> {
        let widest = |extent: fn(&Site) -> i64| sites.iter().map(extent).max().unwrap_or(0);
        let a_shape = [config.rank, widest(|site| site.shape.in_features)];
        let b_shape = [widest(|site| site.shape.out_features), config.rank];
        let [a, b] = match config.projection_prng_key {
            None => {
                let mut drawn = |name, shape| shared.drawn(name, Initializer::KaimingUniform, shape);
                [drawn("vera_A", &a_shape)?, drawn("vera_B", &b_shape)?]
            }
            Some(key) => {
                let saved = if config.save_projection { Saved::Adapter } else { Saved::Checkpoint };
                let [a, b] = by_key(key, a_shape, b_shape);
                [shared.buffer("vera_A", &a, saved)?, shared.buffer("vera_B", &b, saved)?]
            }
        };
        Ok(Self { a: a.tensor(), b: b.tensor() })
    }
}

/// What PEFT draws under `key`: A, then B, uniform within ±√(6/columns), from one generator of libtorch on the CPU.
///
/// The bits depend on libtorch's version; a test pins them.
fn by_key(key: u32, a: [i64; 2], b: [i64; 2]) -> [Tensor; 2] {
    let draw = |shape: [i64; 2]| {
        let bound = 3.0f64.sqrt() * (2.0f64.sqrt() / (shape[1] as f64).sqrt());
        Tensor::empty(shape, (Kind::Float, Device::Cpu)).uniform_(-bound, bound)
    };
    generator::seeded(i64::from(key), || [a, b].map(draw))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From torch 2.11 and peft 0.21.2:
    /// `g = torch.Generator("cpu").manual_seed(3)`, then `peft.tuners.vera.model._kaiming_init(shape, g)` for (4, 5) and
    /// (6, 4), the first and the last entry of each.
    #[test]
    fn a_key_gives_pefts_projections() {
        let [a, b] = by_key(3, [4, 5], [6, 4]);
        let ends = |t: &Tensor| [t.double_value(&[0, 0]) as f32, t.double_value(&[-1, -1]) as f32];
        assert_eq!((ends(&a), ends(&b)), (A_ENDS, B_ENDS));
    }

    const A_ENDS: [f32; 2] = [-1.086_104_3, 0.821_268_9];
    const B_ENDS: [f32; 2] = [0.363_284_9, -0.796_787_6];
}
