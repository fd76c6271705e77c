//! One training step, ready to be taken again and again: what all benchmarks time.

mod layer;

pub use layer::Layer;

use harness::part::{Part, Tokens};
use harness::solver::CausalLm;
use harness::train::Learner;
use models::Decoder;
use peft_core::{
    Active, AdamW, AdamWConfig, Adaptable, AsLoaded, Attachment, Gradients, MethodInfo, Mode, Seeds, Targets,
};
use tch::{Kind, Tensor};

/// A model with an adapter (or none) and a batch.
pub struct Contestant {
    learner: CausalLm,
    part: Part,
    trains: Option<(Attachment, AdamW)>,
}

/// What a step did.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Loss before the update.
    pub loss: f64,
    /// L2 norm of the gradients; 0 where nothing trains.
    pub grad_norm: f64,
}

/// The projections that are adapted.
pub const TARGETS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

impl Contestant {
    /// `method` is a registry name, or `floor`: forward and backward of the frozen model, to the embedding's output.
    ///
    /// # Panics
    /// If the method cannot be attached.
    pub fn new(decoder: Decoder, method: &str, rank: i64, [rows, length]: [i64; 2]) -> Self {
        let vocab = decoder.vocab_size();
        let mut learner = CausalLm::new(decoder, false);
        let ids = Tensor::arange(rows * length, (Kind::Int64, tch::Device::Cpu)).view([rows, length]);
        let ids = (ids * 7919).remainder(vocab);
        let part = Part {
            tokens: Tokens { mask: ids.ones_like(), types: None, ids: ids.shallow_clone() },
            labels: ids,
            divisor: (rows * (length - 1)) as f64,
        };
        let trains = (method != "floor").then(|| attach(&mut learner, method, rank));
        Self { learner, part, trains }
    }

    /// Values that train.
    pub fn trainable(&self) -> u64 {
        self.trains.as_ref().map_or(0, |(attachment, _)| attachment.store().count_trainable())
    }

    /// Forward, backward, update.
    ///
    /// # Panics
    /// If libtorch fails.
    pub fn step(&mut self, index: u64) -> Step {
        match &mut self.trains {
            Some((attachment, optimizer)) => {
                let loss =
                    self.learner.loss(&self.part, Mode::Train { seed: index }).expect("the batch fits");
                let objective =
                    attachment.regularizer().map_or_else(|| loss.shallow_clone(), |extra| &loss + extra);
                let mut gradients = Gradients::default();
                gradients.accumulate(&objective, attachment.store(), &[]).expect("backward works");
                gradients.apply_masks(attachment.store());
                let grad_norm = attachment.step(optimizer, &gradients, 1.0).grad_norm;
                attachment.after_step(index, index, &gradients).expect("a step ends");
                Step { loss: loss.double_value(&[]), grad_norm }
            }
            None => {
                let loss =
                    self.learner.floor(&self.part, Mode::Train { seed: index }).expect("the batch fits");
                Step { loss, grad_norm: 0.0 }
            }
        }
    }
}

/// The defaults of a method, at `rank` and α = 2·rank where it has such settings.
///
/// # Panics
/// If the defaults do not resolve.
pub fn settings(info: &MethodInfo, rank: i64) -> toml::Table {
    let mut settings = (info.resolve)(toml::Table::new()).expect("defaults resolve");
    let whole = toml::Value::Integer;
    for (key, value) in [
        ("rank", whole(rank)),
        ("initial_rank", whole(rank)),
        ("target_rank", whole(rank / 2)),
        ("alpha", toml::Value::Float(2.0 * rank as f64)),
    ] {
        if settings.contains_key(key) {
            settings.insert(key.to_owned(), value);
        }
    }
    settings
}

fn attach(learner: &mut CausalLm, method: &str, rank: i64) -> (Attachment, AdamW) {
    let info = methods::find(method).expect("a method of the registry");
    let mut method = (info.build)(settings(info, rank)).expect("settings fit");
    let targets = Targets::names(TARGETS);
    if let Some(need) = method.needs() {
        // Any B that has moved will do: a step costs the same under every mask of one density.
        let other = methods::find(need.method).expect("a method of the registry");
        let donor = (other.build)(need.settings).expect("settings fit");
        let donor =
            Attachment::new(learner, "donor", donor, &targets, &AsLoaded, &Seeds::new(1)).expect("it fits");
        for (_, entry) in donor.store().trainables() {
            let _ = tch::no_grad(|| entry.tensor.shallow_clone().normal_(0.0, 1.0));
        }
        method.provide(&donor.store().adapter_tensors()).expect("what was asked for");
        donor.detach(learner);
    }
    let mut attachment =
        Attachment::new(learner, "default", method, &targets, &AsLoaded, &Seeds::new(0)).expect("it fits");
    let phases = attachment.phases(1_000_000).expect("room for all phases");
    let last = phases.len() - 1;
    attachment.enter_phase(learner, last, &phases[last].trains, true).expect("a phase begins");
    learner.activate(&Active::None);
    learner.activate(&attachment.active());
    let mut config = AdamWConfig { lr: 1e-3, ..AdamWConfig::default() };
    attachment.configure_optimizer(&mut config);
    (attachment, AdamW::new(config))
}
