//! Faults planted around real methods: each is caught by a check, and the table in `results/baseline/README.md` says by which
//! comparisons. Nothing of them is in the product: a fault wraps a method where the check asks the registry's entry for one.

use clap::Parser;
use compare::gate::{Allowance, Bounds, Finding, Gate, check};
use compare::stats::Settings;
use harness::check::{Tree, measure};
use harness::cli::{Cli, Command, RunArgs};
use harness::config::{CheckPlan, Scenario, resolve};
use harness::progress::Display;
use peft_core::low_rank::{Init, ZeroStart};
use peft_core::{
    AdamWConfig, Adapter, Attached, Base, Delta, LowRank, Method, MethodInfo, Mode, Need, Params, Phase,
    PhaseContext, Place, Role, Site, StateDict, Step, linalg,
};
use tch::{Kind, Tensor, no_grad};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The wrapper alone.
    None,
    /// α is √2 times too large.
    Scale,
    /// Every entry of B trains.
    NoMask,
    /// Norms of columns instead of rows, where a layer is square and nobody notices.
    WrongAxis,
    /// Evaluation drops what training drops.
    DropoutInEvaluation,
    /// The input is copied before every layer.
    ExtraCopy,
    /// The frozen product is computed twice.
    ProductTwice,
}

/// Fault, the method it is planted in, what it is in words.
const FAULTS: [(Fault, &str, &str); 6] = [
    (Fault::Scale, "lora", "scale off by √2"),
    (Fault::NoMask, "lori-s", "mask not applied"),
    (Fault::WrongAxis, "dora", "wrong axis in the DoRA norm"),
    (Fault::DropoutInEvaluation, "lora", "dropout in evaluation"),
    (Fault::ExtraCopy, "lora", "an extra copy in the hot path"),
    (Fault::ProductTwice, "lora", "one GEMM twice"),
];

/// The check's own plan and cells, with fewer items and pairs than CI has: no fault here is left to scores or clocks.
fn setting(out: &std::path::Path) -> (RunArgs, CheckPlan) {
    let scenario = Scenario::read("check").unwrap();
    let out = out.display().to_string();
    let words = [
        "harness",
        "run",
        "--device",
        "cpu",
        "--scenario",
        "check",
        "--method",
        "lora,lori-s,dora",
        "--max-steps",
        "20",
        "--checkpoint-every",
        "0",
        "--set",
        "tasks.nlu.data.builtin.nlu.items.test=100",
        "--set",
        "tasks.nlu.data.builtin.nlu.items.validation=40",
        "--set",
        "task.training.eval_every=0",
        "--out",
        &out,
    ];
    let Some(Command::Run(args)) = Cli::try_parse_from(words).unwrap().command else { panic!("a run") };
    let mut plan = scenario.check.clone().unwrap();
    plan.pace.pairs = 20;
    tch::set_num_threads(plan.threads.cast_signed());
    let Scenario { suite, methods, tasks, seeds, .. } = &scenario;
    (args.within(suite, methods, tasks, *seeds), plan)
}

#[test]
fn every_planted_fault_is_caught() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| setting(&folder.path().join(name));
    let (args, plan) = of("baseline");
    let experiments = resolve(&args).unwrap();
    let baseline = measure(&args, &plan, &experiments, Display::Quiet).unwrap();
    assert!(baseline.measurements.failures.is_empty(), "{:?}", baseline.measurements.failures);

    let compared = |name: &str, fault: Fault| {
        let (args, plan) = of(&format!("{fault:?}-{name}"));
        let experiment = experiments.iter().find(|one| one.method.info.name == name).unwrap();
        let mut experiment = experiment.clone();
        experiment.method.info = planted(fault, experiment.method.info);
        let tree = measure(&args, &plan, &[experiment], Display::Quiet).unwrap();
        against(&baseline, &tree, name)
    };
    for name in ["lora", "lori-s", "dora"] {
        let gate = compared(name, Fault::None);
        assert!(gate.passes(), "the wrapper alone changes nothing: {:?}", gate.reasons());
    }
    let rows: Vec<String> = FAULTS
        .iter()
        .map(|(fault, method, words)| {
            let gate = compared(method, *fault);
            let caught = caught(&gate);
            assert!(!caught.is_empty(), "{words}: not caught");
            println!("{words}: {:#?}", gate.reasons());
            format!("| {words} | `{method}` | {} |", caught.join(", "))
        })
        .collect();
    let table = rows.join("\n");
    println!("{table}");
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/baseline/README.md"));
    assert!(readme.unwrap().contains(&table), "results/baseline/README.md has another table than:\n{table}");
}

/// One cell against its like in the baseline; times are another test's affair.
fn against(baseline: &Tree, new: &Tree, method: &str) -> Gate {
    let mut before = baseline.clone();
    before.runs.retain(|run| run.record.method == method);
    before.measurements.cells.retain(|cell| cell.method == method);
    let settings = Settings { confidence: 0.99, ..Settings::default() };
    let allowance = Allowance { here: f64::INFINITY, elsewhere: f64::INFINITY };
    check(before.side(), new.side(), &Bounds { settings, slowdown: None }, allowance).unwrap()
}

/// What failed, in the order of the table.
fn caught(gate: &Gate) -> Vec<String> {
    gate.failures()
        .map(|check| match &check.finding {
            Finding::Quantity(change) => change.quantity.label().to_owned(),
            Finding::Nothing => "the run refuses".to_owned(),
            Finding::Score(_) | Finding::Speed { .. } => "score".to_owned(),
        })
        .collect()
}

/// The entry of `info` with `fault` in what it builds.
fn planted(fault: Fault, info: &'static MethodInfo) -> &'static MethodInfo {
    macro_rules! build {
        ($($fault:ident),*) => {
            match (fault, info.name) {
                $((Fault::$fault, "lora") => |table| plant(Fault::$fault, "lora", table),
                (Fault::$fault, "lori-s") => |table| plant(Fault::$fault, "lori-s", table),
                (Fault::$fault, "dora") => |table| plant(Fault::$fault, "dora", table),)*
                (_, name) => panic!("nothing is planted in {name}"),
            }
        };
    }
    let build: fn(toml::Table) -> peft_core::Result<Box<dyn Method>> =
        build!(None, Scale, NoMask, WrongAxis, DropoutInEvaluation, ExtraCopy, ProductTwice);
    Box::leak(Box::new(MethodInfo { build, ..*info }))
}

fn plant(fault: Fault, name: &str, mut table: toml::Table) -> peft_core::Result<Box<dyn Method>> {
    if fault == Fault::Scale {
        let alpha = table["alpha"].as_float().expect("a number");
        table.insert("alpha".to_owned(), toml::Value::Float(alpha * std::f64::consts::SQRT_2));
    }
    let rank = table["rank"].as_integer().expect("a number");
    let scaling = table["alpha"].as_float().expect("a number") / rank as f64;
    let inner = (methods::find(name)?.build)(table)?;
    Ok(Box::new(Planted { inner, fault, rank, scaling }))
}

/// A method with a fault.
#[derive(Debug)]
struct Planted {
    inner: Box<dyn Method>,
    fault: Fault,
    rank: i64,
    scaling: f64,
}

impl Method for Planted {
    fn needs(&self) -> Option<Need> {
        self.inner.needs()
    }

    fn provide(&mut self, adapter: &StateDict) -> peft_core::Result<()> {
        self.inner.provide(adapter)
    }

    fn begin(&mut self, sites: &[Site], shared: &mut Params<'_>) -> peft_core::Result<()> {
        self.inner.begin(sites, shared)
    }

    fn attach(&mut self, place: Place<'_>, params: &mut Params<'_>) -> peft_core::Result<Attached> {
        let shape = place.site.shape;
        if self.fault == Fault::WrongAxis && shape.in_features == shape.out_features {
            let start =
                ZeroStart { rank: self.rank, scaling: self.scaling, init: Init::default(), dropout: 0.0 };
            let update = start.attach(place.site, params)?;
            let norms = linalg::row_norms(&place.weight.tr()).to_kind(Kind::Float);
            let m = params.trainable("lora_magnitude_vector", Role::Magnitude, &norms)?;
            return Ok(Attached::new(WrongAxis { update, magnitude: m.tensor() }));
        }
        let attached = self.inner.attach(place, params)?;
        Ok(Attached { adapter: Box::new(Faulty { inner: attached.adapter, fault: self.fault }), ..attached })
    }

    fn configure_optimizer(&self, config: &mut AdamWConfig) {
        self.inner.configure_optimizer(config);
    }

    fn phases(&mut self, steps: u64) -> peft_core::Result<Vec<Phase>> {
        self.inner.phases(steps)
    }

    fn enter_phase(&mut self, index: usize, context: &mut PhaseContext<'_>) -> peft_core::Result<()> {
        self.inner.enter_phase(index, context)?;
        if self.fault == Fault::NoMask {
            let all: Vec<_> = context
                .store
                .trainables()
                .filter(|(_, entry)| entry.mask().is_some())
                .map(|(id, entry)| (id, entry.tensor.ones_like()))
                .collect();
            for (id, mask) in all {
                context.store.set_mask(id, &mask)?;
            }
        }
        Ok(())
    }

    fn after_step(&mut self, step: Step<'_>) -> peft_core::Result<()> {
        self.inner.after_step(step)
    }

    fn export(&self, tensors: StateDict) -> StateDict {
        self.inner.export(tensors)
    }
}

/// An adapter with a fault in its forward pass.
#[derive(Debug)]
struct Faulty {
    inner: Box<dyn Adapter>,
    fault: Fault,
}

impl Adapter for Faulty {
    fn effective_weight(&self, frozen: &Tensor) -> Tensor {
        self.inner.effective_weight(frozen)
    }

    fn forward(&self, x: &Tensor, base: Base<'_>, mode: Mode) -> Tensor {
        match (self.fault, mode) {
            (Fault::DropoutInEvaluation, Mode::Eval) => self.inner.forward(x, base, Mode::Train { seed: 0 }),
            (Fault::ExtraCopy, _) => self.inner.forward(&x.copy(), base, mode),
            (Fault::ProductTwice, _) => {
                let _ = no_grad(|| base.linear(x));
                self.inner.forward(x, base, mode)
            }
            _ => self.inner.forward(x, base, mode),
        }
    }

    fn as_delta(&self) -> Option<&dyn Delta> {
        self.inner.as_delta()
    }
}

/// `W_eff = V·diag(m/n)`, n the norms of the *columns* of `V = W + ΔW`.
#[derive(Debug)]
struct WrongAxis {
    update: LowRank,
    magnitude: Tensor,
}

impl Adapter for WrongAxis {
    fn effective_weight(&self, frozen: &Tensor) -> Tensor {
        let v = frozen + Delta::weight(&self.update);
        let n = linalg::row_norms(&v.detach().tr()).to_kind(v.kind());
        v * (&self.magnitude / n).unsqueeze(0)
    }

    fn forward(&self, x: &Tensor, base: Base<'_>, _mode: Mode) -> Tensor {
        x.linear(&self.effective_weight(&base.weight.dense()), base.bias)
    }
}

/// Steps that do not learn have no speed.
#[test]
fn no_speed_is_published_of_steps_that_do_not_learn() {
    let folder = tempfile::tempdir().unwrap();
    let (args, plan) = setting(folder.path());
    let experiment = resolve(&args).unwrap().remove(0);
    let rate = |lr: f64| {
        let mut experiment = experiment.clone();
        experiment.method.optimizer.lr = lr;
        let tree = measure(&args, &plan, &[experiment], Display::Quiet).unwrap();
        tree.measurements.cells[0].pace.refused.clone()
    };
    assert_eq!(rate(experiment.method.optimizer.lr), None);
    assert!(rate(0.0).unwrap().starts_with("the loss did not fall"));
}
