use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use peft_core::init::Initializer;
use peft_core::low_rank::{Dropout, LoraFields, Ranks, Scaling};
use peft_core::{
    Attached, Capabilities, LowRank, Method, MethodInfo, Paper, Param, ParamId, Params, PeftFormat,
    PhaseContext, Place, Result, Role, Site, parse_settings, resolve_settings,
};

/// The registry entry.
pub const LORA_FA: MethodInfo = MethodInfo {
    name: "lora-fa",
    family: "lora-fa",
    variant: "",
    folder: "baselines",
    paper: Paper {
        title: "LoRA-FA: Memory-Efficient Low-Rank Adaptation for Large Language Models Fine-Tuning",
        arxiv: "2308.03303",
    },
    build: |table| Ok(Box::new(LoraFa::new(parse_settings("lora-fa", table)?)?)),
    resolve: |table| resolve_settings::<LoraFaConfig>("lora-fa", table),
    count: |table, model| {
        Ok(parse_settings::<LoraFaConfig>("lora-fa", table.clone())?.ranks()?.count_up(model.sites))
    },
    count_formula: "r·out",
    capabilities: Capabilities {
        merge: true,
        quantized_base: true,
        lora_export: true,
        identity_at_start: true,
    },
    peft: Some(PeftFormat {
        peft_type: "LORA",
        write: write_peft,
        // A file of LoRA-FA is a file of LoRA: nothing in it says how it was trained.
        read: |_| Ok(None),
    }),
};

/// Settings of LoRA-FA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraFaConfig {
    /// r ≥ 1.
    pub rank: i64,
    /// α > 0; s = α/r.
    pub alpha: f64,
    /// Probability of zeroing an entry of the branch's input while training, in [0, 1).
    pub dropout: f64,
    /// What the optimizer takes for the gradient of B.
    pub gradient: GradientOfB,
    /// r by module name.
    pub rank_pattern: IndexMap<String, i64>,
    /// α by module name.
    pub alpha_pattern: IndexMap<String, f64>,
}

/// What the optimizer takes for the gradient of B.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GradientOfB {
    /// `s⁻²·∂L/∂B·(A·Aᵀ + δI)⁻¹`: the step of B whose `s·B·A` comes closest to a step along ∂L/∂W (PEFT's LoRA-FA
    /// optimizer).
    #[default]
    Projected,
    /// `∂L/∂B` itself.
    Plain,
}

impl Default for LoraFaConfig {
    /// PEFT's rank and α.
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 8.0,
            dropout: 0.0,
            gradient: GradientOfB::default(),
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
        }
    }
}

impl LoraFaConfig {
    fn ranks(&self) -> Result<Ranks> {
        Ranks::new(Scaling::AlphaOverRank, self.rank, self.alpha, &self.rank_pattern, &self.alpha_pattern)
    }
}

/// `W_eff = W + s·B·A` with a frozen random A.
#[derive(Debug)]
pub struct LoraFa {
    config: LoraFaConfig,
    ranks: Ranks,
    placed: Vec<Placed>,
    /// `s⁻²·(A·Aᵀ + δI)⁻¹ [r, r]` of each B.
    solutions: BTreeMap<ParamId, Tensor>,
}

#[derive(Debug)]
struct Placed {
    a: Param,
    b: ParamId,
    scaling: f64,
}

impl LoraFa {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`peft_core::Error::Config`].
    pub fn new(config: LoraFaConfig) -> Result<Self> {
        Ok(Self { ranks: config.ranks()?, config, placed: Vec::new(), solutions: BTreeMap::new() })
    }
}

impl Method for LoraFa {
    fn begin(&mut self, sites: &[Site], _shared: &mut Params<'_>) -> Result<()> {
        self.ranks.check(sites)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> Result<Attached> {
        let (rank, scaling) = (self.ranks.rank(place.site), self.ranks.scaling(place.site));
        let shape = place.site.shape;
        let a =
            params.drawn("lora_A.weight", Initializer::KaimingUniformSqrt5, &[rank, shape.in_features])?;
        let zeros = Tensor::zeros([shape.out_features, rank], (Kind::Float, params.device()));
        let b = params.trainable("lora_B.weight", Role::Up, &zeros)?;
        let dropout = Dropout::new(self.config.dropout, params.seeds())?;
        let update = LowRank { dropout, ..LowRank::new(a.tensor(), b.tensor(), scaling) };
        self.placed.push(Placed { a, b: b.id(), scaling });
        Ok(Attached::new(update))
    }

    /// A is final here, drawn or loaded, and never moves: its Gram matrix is inverted once.
    fn enter_phase(&mut self, _index: usize, _context: &mut PhaseContext<'_>) -> Result<()> {
        if self.config.gradient == GradientOfB::Projected {
            let solution =
                |placed: &Placed| Ok((placed.b, inverse_gram(&placed.a)? / placed.scaling.powi(2)));
            self.solutions = self.placed.iter().map(solution).collect::<Result<_>>()?;
        }
        Ok(())
    }

    fn precondition(&self, id: ParamId, gradient: Tensor) -> Tensor {
        match self.solutions.get(&id) {
            Some(solution) => gradient.mm(solution),
            None => gradient,
        }
    }
}

/// `(A·Aᵀ + δI)⁻¹` for `A [r, in]`; the pseudoinverse, so that r > in is legal.
fn inverse_gram(a: &Tensor) -> Result<Tensor> {
    /// As the reference code.
    const DELTA: f64 = 1e-8;
    let rank = a.size()[0];
    let identity = Tensor::eye(rank, (a.kind(), a.device()));
    // `torch.linalg.pinv` takes r·ε for the ratio of singular values below which one counts as 0.
    Ok((a.mm(&a.tr()) + identity * DELTA).f_linalg_pinv(rank as f64 * f64::from(f32::EPSILON), true)?)
}

fn write_peft(table: &toml::Table) -> Result<Map<String, Value>> {
    let LoraFaConfig { rank, alpha, dropout, rank_pattern, alpha_pattern, .. } =
        parse_settings("lora-fa", table.clone())?;
    Ok(LoraFields { rank, alpha, dropout, rank_pattern, alpha_pattern }.write())
}
