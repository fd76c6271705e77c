//! How far two updates get in each other's way, from their factors.

use std::collections::BTreeMap;

use peft_core::{Error, Result, linalg};
use tch::{Kind, Tensor};

use crate::Factors;

/// Two updates of one module, or of all modules together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interference {
    /// ⟨ΔW₁, ΔW₂⟩ / (‖ΔW₁‖·‖ΔW₂‖), with the inner product of Frobenius; 0 where one of them is 0.
    pub cosine: f64,
    /// ‖U₁ᵀ·U₂‖²_F / min(k₁, k₂) for orthonormal bases U of the spaces that the updates write to: 1 where one holds the
    /// other, k/out in the mean for random ones.
    pub written: f64,
    /// The same for the spaces that they read from.
    pub read: f64,
    /// Of the entries that both move, the share that they move in opposite directions; 0 where they share none.
    pub conflicts: f64,
    /// ‖ΔW₁‖_F and ‖ΔW₂‖_F.
    pub norms: [f64; 2],
}

/// Sums from which the figures of several modules together follow.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    inner: f64,
    squares: [f64; 2],
    /// Overlap and smaller dimension, of the written and the read spaces.
    spaces: [(f64, f64); 2],
    shared: f64,
    opposite: f64,
}

/// Two adapters, module by module where both have one, and together.
///
/// # Errors
/// What a decomposition returns; [`Error::Site`] if the shapes of a module differ.
pub fn interference(
    one: &BTreeMap<String, Factors>,
    other: &BTreeMap<String, Factors>,
) -> Result<(Interference, BTreeMap<String, Interference>)> {
    let (mut total, mut modules) = (Sums::default(), BTreeMap::new());
    for (module, a) in one {
        let Some(b) = other.get(module) else {
            total.squares[0] += square(a);
            continue;
        };
        let sums = Sums::of(a, b).map_err(|error| Error::site(module.as_str(), error.to_string()))?;
        modules.insert(module.clone(), sums.figures());
        total.add(&sums);
    }
    total.squares[1] +=
        other.iter().filter(|(module, _)| !one.contains_key(*module)).map(|(_, b)| square(b)).sum::<f64>();
    Ok((total.figures(), modules))
}

impl Sums {
    fn of(one: &Factors, other: &Factors) -> Result<Self> {
        let shape = |factors: &Factors| (factors.b.size()[0], factors.a.size()[1]);
        if shape(one) != shape(other) {
            return Err(Error::Unsupported {
                what: format!("comparing updates of {:?} and {:?}", shape(one), shape(other)),
                reason: "they belong to models of different sizes".to_owned(),
            });
        }
        let ([u1, v1], [u2, v2]) = (spaces(one)?, spaces(other)?);
        let overlap = |x: &Tensor, y: &Tensor| {
            let shared = x.tr().matmul(y).square().sum(Kind::Double).double_value(&[]);
            (shared, x.size()[1].min(y.size()[1]) as f64)
        };
        let (shared, opposite) = signs(one, other);
        Ok(Self {
            inner: inner(one, other),
            squares: [square(one), square(other)],
            spaces: [overlap(&u1, &u2), overlap(&v1, &v2)],
            shared,
            opposite,
        })
    }

    fn add(&mut self, more: &Self) {
        self.inner += more.inner;
        self.shared += more.shared;
        self.opposite += more.opposite;
        for i in 0..2 {
            self.squares[i] += more.squares[i];
            self.spaces[i].0 += more.spaces[i].0;
            self.spaces[i].1 += more.spaces[i].1;
        }
    }

    fn figures(&self) -> Interference {
        let share = |part: f64, all: f64| if all > 0.0 { part / all } else { 0.0 };
        let norms = self.squares.map(f64::sqrt);
        Interference {
            cosine: share(self.inner, norms[0] * norms[1]),
            written: share(self.spaces[0].0, self.spaces[0].1),
            read: share(self.spaces[1].0, self.spaces[1].1),
            conflicts: share(self.opposite, self.shared),
            norms,
        }
    }
}

/// `⟨s₁B₁A₁, s₂B₂A₂⟩ = s₁s₂·Σ (B₁ᵀB₂)∘(A₁A₂ᵀ)`, without an `[out, in]`.
fn inner(one: &Factors, other: &Factors) -> f64 {
    let double = |t: &Tensor| t.to_kind(Kind::Double);
    let up = double(&one.b).tr().matmul(&double(&other.b));
    let down = double(&one.a).matmul(&double(&other.a).tr());
    one.scaling * other.scaling * (up * down).sum(Kind::Double).double_value(&[])
}

fn square(factors: &Factors) -> f64 {
    inner(factors, factors).max(0.0)
}

/// Orthonormal bases `[out, k]` and `[in, k]` of what the update writes to and reads from, k its numerical rank.
fn spaces(factors: &Factors) -> Result<[Tensor; 2]> {
    /// Relative to the largest singular value; the factors are f32.
    const TOLERANCE: f64 = 1e-5;
    let (qb, rb) = Tensor::f_linalg_qr(&factors.b, "reduced")?;
    let (qa, ra) = Tensor::f_linalg_qr(&factors.a.tr(), "reduced")?;
    let svd = linalg::svd(&rb.matmul(&ra.tr()))?;
    let largest = if svd.is_empty() { 0.0 } else { svd.s.max().double_value(&[]) };
    let rank = svd.s.gt(TOLERANCE * largest).sum(Kind::Int64).int64_value(&[]);
    let svd = svd.slice(0, rank);
    Ok([qb.matmul(&svd.u), qa.matmul(&svd.vt.tr())])
}

/// Entries that both updates move, and those of them that they move in opposite directions.
fn signs(one: &Factors, other: &Factors) -> (f64, f64) {
    /// Rows whose updates are in memory at a time.
    const ROWS: i64 = 1024;
    let out = one.b.size()[0];
    let (mut shared, mut opposite) = (0.0, 0.0);
    for start in (0..out).step_by(ROWS as usize) {
        let rows = |f: &Factors| f.b.narrow(0, start, ROWS.min(out - start)).matmul(&f.a) * f.scaling;
        let product = rows(one).sign() * rows(other).sign();
        shared += product.ne(0.0).sum(Kind::Double).double_value(&[]);
        opposite += product.lt(0.0).sum(Kind::Double).double_value(&[]);
    }
    (shared, opposite)
}
