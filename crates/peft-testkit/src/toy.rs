use tch::{Device, Kind, Tensor};

use peft_core::{
    Active, AdamW, AdamWConfig, Adaptable, AdaptedLinear, Attachment, Continuation, Dense, FrozenWeight,
    Gradients, Layout, MethodInfo, Mode, Parameter, Part, Result, Seeds, Storage, Targets, init,
};

/// Two residual layers with projections of different shapes, one with a bias, and a norm: the smallest model in which
/// site order, shapes, biases and non-linear parameters matter.
#[derive(Debug)]
pub struct Toy {
    layers: Vec<ToyLayer>,
    norm: Parameter,
    kind: Kind,
}

#[derive(Debug)]
struct ToyLayer {
    query: AdaptedLinear,
    up: AdaptedLinear,
    down: AdaptedLinear,
}

/// Widths, all different and divisible by 4.
const HIDDEN: i64 = 16;
const QUERY: i64 = 16;
const INNER: i64 = 24;

impl Toy {
    /// The same weights at every call, rounded to `kind`.
    pub fn new(kind: Kind) -> Self {
        let seeds = Seeds::new(11);
        let draw = |name: &str, shape: &[i64]| {
            init::normal(shape, 0.3, &mut seeds.child(name).rng(), Device::Cpu).to_kind(kind)
        };
        let layers = (0..2)
            .map(|i| {
                let linear = |module: &str, projection: &str, out: i64, inp: i64, bias: bool| {
                    let name = format!("model.layers.{i}.{module}.{projection}");
                    let bias = bias.then(|| draw(&format!("{name}.bias"), &[out]));
                    AdaptedLinear::new(&name, &draw(&name, &[out, inp]), bias.as_ref(), Layout::OutIn)
                };
                ToyLayer {
                    query: linear("self_attn", "q_proj", QUERY, HIDDEN, true),
                    up: linear("mlp", "up_proj", INNER, HIDDEN, false),
                    down: linear("mlp", "down_proj", HIDDEN, INNER, false),
                }
            })
            .collect();
        let norm = Parameter::new("model.norm.weight", &Tensor::ones([HIDDEN], (kind, Device::Cpu)));
        Self { layers, norm, kind }
    }

    /// `x [.., 16] -> [.., 16]`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let mut x = x.to_kind(self.kind);
        for layer in &self.layers {
            let q = layer.query.forward(&x, mode).tanh();
            x = &x + &q;
            let inner = layer.up.forward(&x, mode).silu();
            x = &x + layer.down.forward(&inner, mode);
        }
        x * self.norm.value().to_kind(self.kind)
    }

    /// A fixed input of `rows` rows, `[rows, 16]`.
    pub fn input(&self, rows: i64) -> Tensor {
        init::normal(&[rows, HIDDEN], 1.0, &mut Seeds::new(3).rng(), Device::Cpu).to_kind(self.kind)
    }

    /// Mean squared distance from a fixed, slightly different function of the input.
    pub fn loss(&self, rows: i64, mode: Mode) -> Tensor {
        let x = self.input(rows);
        let turn = init::normal(&[HIDDEN, HIDDEN], 0.3, &mut Seeds::new(4).rng(), Device::Cpu);
        let target = tch::no_grad(|| x.to_kind(Kind::Float).matmul(&turn));
        (self.forward(&x, mode).to_kind(Kind::Float) - target).square().mean(Kind::Float)
    }

    /// Detached copies of everything the base holds, by name.
    pub fn base_bits(&mut self) -> Vec<(String, Tensor)> {
        let copy = |t: &Tensor| t.detach().copy();
        let mut all = Vec::new();
        for part in self.parts() {
            match part {
                Part::Linear(linear) => {
                    all.push((linear.name().to_owned(), copy(&linear.frozen().dense())));
                    if let Some(bias) = linear.bias() {
                        all.push((bias.name().to_owned(), copy(bias.frozen())));
                    }
                }
                Part::Parameter(parameter) => {
                    all.push((parameter.name().to_owned(), copy(parameter.frozen())));
                }
            }
        }
        all
    }
}

impl Adaptable for Toy {
    fn parts(&mut self) -> Vec<Part<'_>> {
        let linears = self.layers.iter_mut().flat_map(|l| [&mut l.query, &mut l.up, &mut l.down]);
        linears.map(Part::Linear).chain([Part::Parameter(&mut self.norm)]).collect()
    }
}

/// Weights keep eight bits of their fraction, in the kind they had: the simplest storage that loses something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rounded;

impl Storage for Rounded {
    fn freeze(&self, weight: &Tensor) -> Box<dyn FrozenWeight> {
        Box::new(Dense::new(&weight.to_kind(Kind::BFloat16).to_kind(weight.kind())))
    }

    fn is_lossy(&self) -> bool {
        true
    }
}

/// A toy with an adapter that has trained for some steps.
#[derive(Debug)]
pub struct Trained {
    /// The model; the adapter is active.
    pub toy: Toy,
    /// The adapter.
    pub attachment: Attachment,
    /// Loss before each step.
    pub losses: Vec<f64>,
}

impl Trained {
    /// Attaches `info` with `settings` to all linear layers and trains for `steps` (0: only attaches), first doing
    /// the run it needs, if any.
    ///
    /// # Errors
    /// Whatever the method refuses.
    pub fn run(
        info: &MethodInfo,
        settings: &toml::Table,
        find: &dyn Fn(&str) -> MethodInfo,
        (kind, storage): (Kind, &dyn Storage),
        steps: u64,
        seed: u64,
    ) -> Result<Self> {
        let mut toy = Toy::new(kind);
        let mut method = (info.build)(settings.clone())?;
        if let Some(need) = method.needs() {
            // At least one step, or there is nothing to take over.
            let other = find(need.method);
            let run = Self::run(&other, &need.settings, find, (kind, storage), steps.max(2), seed)?;
            method.provide(&run.attachment.store().adapter_tensors())?;
        }
        let targets = Targets::default();
        let seeds = Seeds::new(seed).child(info.name);
        let attachment = Attachment::new(&mut toy, "default", method, &targets, storage, &seeds)?;
        toy.activate(&attachment.active());
        let mut trained = Self { toy, attachment, losses: Vec::new() };
        if steps > 0 {
            trained.train(steps)?;
        }
        Ok(trained)
    }

    /// Trains for `steps` more, with a fresh optimizer.
    ///
    /// # Errors
    /// Whatever the method refuses.
    pub fn train(&mut self, steps: u64) -> Result<()> {
        let losses = train(&mut self.toy, &mut self.attachment, steps)?;
        self.losses.extend(losses);
        Ok(())
    }
}

/// The loop of the harness in miniature.
fn train(toy: &mut Toy, attachment: &mut Attachment, steps: u64) -> Result<Vec<f64>> {
    let mut config = AdamWConfig { lr: 1e-2, ..AdamWConfig::default() };
    attachment.configure_optimizer(&mut config);
    let mut optimizer = AdamW::new(config.clone());
    let mut losses = Vec::new();
    for (index, phase) in attachment.phases(steps)?.into_iter().enumerate() {
        attachment.enter_phase(toy, index, &phase.trains, false)?;
        if phase.optimizer == Continuation::Restart {
            optimizer = AdamW::new(config.clone());
        }
        for phase_index in 0..phase.steps {
            let step = losses.len() as u64;
            if phase.weight_grads {
                toy.linears().into_iter().for_each(AdaptedLinear::start_probe);
            }
            let loss = toy.loss(64, Mode::Train { seed: step });
            losses.push(loss.double_value(&[]));
            let objective =
                attachment.regularizer().map_or_else(|| loss.shallow_clone(), |extra| &loss + extra);
            let probes: Vec<Tensor> =
                toy.linears().iter().filter_map(|l| l.probe().map(Tensor::shallow_clone)).collect();
            let mut gradients = Gradients::default();
            let of_weights =
                gradients.accumulate(&objective, attachment.store(), &probes.iter().collect::<Vec<_>>())?;
            for (site, gradient) in of_weights.iter().enumerate() {
                attachment.observe_weight_grad(site, gradient, 1.0)?;
            }
            toy.linears().into_iter().for_each(AdaptedLinear::end_probe);
            if phase.updates {
                attachment.step(&mut optimizer, &gradients, 1.0);
            }
            attachment.after_step(step, phase_index, &gradients)?;
        }
    }
    toy.activate(&Active::None);
    toy.activate(&attachment.active());
    Ok(losses)
}
