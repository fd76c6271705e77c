//! `plan`: what a run would do, without doing it.

use std::collections::BTreeMap;

use compare::table::{TerminalStyle, bytes, duration, listing};
use models::{ModelConfig, ModelSource};
use peft_core::{Adaptable, ModelShape, Part, Site, Targets, device};
use tasks::{Encoded, Split, Task};

use super::{print, use_threads};
use crate::cli::RunArgs;
use crate::config::{Experiment, RunOptions, resolve};
use crate::predict::{Basis, Prediction};
use crate::progress::Display;
use crate::session::Text;
use crate::solver::{self, Solver};
use crate::{Result, builtin};

const HEADER: [&str; 8] = ["task", "method", "layers", "trainable", "%", "steps", "memory ≈", "training ≈"];

pub(super) fn execute(args: &RunArgs) -> Result<()> {
    use_threads(args.model.threads);
    let device = device::parse(&args.model.device)?;
    let options = RunOptions::new(args);
    let (mut rows, mut adapted, mut total, mut counts_only) = (Vec::new(), BTreeMap::new(), 0.0, false);
    let experiments = resolve(args)?;
    let mut progress = Display::choose(args.quiet).start("plan", experiments.len() as u64);
    for experiment in &experiments {
        let plan = Plan::new(experiment, args)?;
        adapted.entry(experiment.task.training.model.clone()).or_insert_with(|| describe(&plan.sites));
        let Some((data, pad)) = &plan.data else {
            counts_only = true;
            rows.push(plan.row(experiment, None)?);
            continue;
        };
        let (config, parameters) = (&plan.config, plan.parameters);
        let basis = Basis { config, parameters, data, pad: *pad, device };
        let prediction = basis.predict(experiment, &options)?;
        let also = |name: &str| {
            experiments.iter().any(|e| e.task.name == experiment.task.name && e.method.info.name == name)
        };
        if let Some(needed) = experiment.needed.as_deref().filter(|needed| !also(needed.method.info.name)) {
            total += basis.predict(needed, &options)?.seconds;
        }
        total += prediction.seconds;
        rows.push(plan.row(experiment, Some(&prediction))?);
        progress.step(0, experiment.method.info.name);
    }
    drop(progress);
    for (model, layers) in adapted {
        print(&format!("{model}: {layers}"));
    }
    print(&listing(&HEADER, rows, TerminalStyle::detect()));
    if counts_only {
        print("Counts only: without a tokenizer.json beside config.json there are no steps to time.");
        return Ok(());
    }
    print(&format!(
        "about {} of training for {} seed{}; answering comes on top. Measured on the first one and two blocks with \
         random weights, and carried on to all.",
        duration(total * args.seed_count() as f64),
        args.seed_count(),
        if args.seed_count() == 1 { "" } else { "s" },
    ));
    Ok(())
}

/// One run before it is run.
struct Plan {
    config: ModelConfig,
    parameters: u64,
    /// Those of the head, which trains with every method.
    head: u64,
    sites: Vec<Site>,
    /// The training split and the padding token; none where the folder holds no tokenizer.
    data: Option<(Encoded, u32)>,
}

impl Plan {
    fn new(experiment: &Experiment, args: &RunArgs) -> Result<Self> {
        let files = experiment.task.training.model.parse::<ModelSource>()?.files(&builtin::models())?;
        let config = ModelConfig::load(&files)?;
        let mut model = solver::outline(&experiment.task, &config)?;
        let sites = experiment.targets().sites(&mut model, |_| true)?;
        let parameters = model.count_parameters();
        let head = count_head(&mut model);
        if files.find("tokenizer.json")?.is_none() {
            return Ok(Self { config, parameters, head, sites, data: None });
        }
        let text = Text::load(&files)?;
        let task = Task::load_from(experiment.task.clone(), &args.tasks.place())?;
        let train = model.examples(task.config(), &text, task.require(Split::Train)?)?;
        Ok(Self { config, parameters, head, sites, data: Some((train, text.tokenizer.pad())) })
    }

    fn row(&self, experiment: &Experiment, prediction: Option<&Prediction>) -> Result<Vec<String>> {
        let method = &experiment.method;
        let shape = ModelShape { sites: &self.sites, base_parameters: self.parameters };
        let own = (method.info.count)(&method.settings, shape)?;
        let trainable = (own + self.head).min(self.parameters);
        let training = &experiment.task.training;
        let unknown = || "–".to_owned();
        let steps = |data: &Encoded| {
            training.total_steps(data.sequences.len().div_ceil(training.batch_size) as u64).to_string()
        };
        let steps_given = || training.steps.map_or_else(unknown, |steps| steps.to_string());
        Ok(vec![
            experiment.task.name.clone(),
            method.info.name.to_owned(),
            self.sites.len().to_string(),
            trainable.to_string(),
            format!("{:.2}", 100.0 * trainable as f64 / self.parameters as f64),
            self.data.as_ref().map_or_else(steps_given, |(data, _)| steps(data)),
            prediction
                .and_then(|prediction| prediction.bytes)
                .map_or_else(unknown, |count| bytes(count as u64)),
            prediction.map_or_else(unknown, |prediction| duration(prediction.seconds)),
        ])
    }
}

/// Values of the modules that no checkpoint holds.
fn count_head(model: &mut Box<dyn Solver>) -> u64 {
    let head = Targets { modules_to_save: model.fresh_modules(), ..Targets::default() };
    let count = |part: Part<'_>| match part {
        Part::Linear(linear) if head.saves(&format!("{}.weight", linear.name())).is_some() => {
            let bias = linear.bias().map_or(0, |bias| bias.frozen().numel());
            linear.frozen().dense().numel() as u64 + bias as u64
        }
        _ => 0,
    };
    model.parts().into_iter().map(count).sum()
}

/// "28 layers can be adapted: 4 of q_proj 160×160, 4 of k_proj 80×160, …"
fn describe(sites: &[Site]) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for site in sites {
        let kind = format!("{} {}×{}", site.projection(), site.shape.out_features, site.shape.in_features);
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} of {kind}")).collect();
    format!("{} layers can be adapted: {}", sites.len(), kinds.join(", "))
}
