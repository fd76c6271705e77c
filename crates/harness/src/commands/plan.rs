//! `plan`: what a run would do, without doing it.

use std::collections::BTreeMap;

use compare::table::{TerminalStyle, bytes, duration, listing, quantity};
use models::{Decoder, ModelConfig, ModelSource};
use peft_core::{ModelShape, Site, device};
use tasks::{Encoded, Encoder, Split, Task};

use super::{print, use_threads};
use crate::cli::RunArgs;
use crate::config::{Experiment, RunOptions, resolve, sibling};
use crate::predict::Basis;
use crate::progress::Display;
use crate::session::Text;
use crate::{Result, builtin};

const HEADER: [&str; 8] = ["task", "method", "layers", "trainable", "%", "steps", "memory ≈", "training ≈"];

pub(super) fn execute(args: &RunArgs) -> Result<()> {
    use_threads(args.model.threads);
    let device = device::parse(&args.model.device)?;
    let options = RunOptions::new(args);
    let (mut rows, mut adapted, mut total) = (Vec::new(), BTreeMap::new(), 0.0);
    let experiments = resolve(args)?;
    let mut progress = Display::choose(args.quiet).start("plan", experiments.len() as u64);
    for experiment in &experiments {
        let plan = Plan::new(experiment, args)?;
        let basis = Basis {
            config: &plan.config,
            parameters: plan.parameters,
            data: &plan.train,
            pad: plan.pad,
            device,
        };
        let prediction = basis.predict(experiment, &options)?;
        let method = (experiment.method.info.build)(experiment.method.settings.clone())?;
        let also = |name: &str| {
            experiments.iter().any(|e| e.task.name == experiment.task.name && e.method.info.name == name)
        };
        if let Some(need) = method.needs().filter(|need| !also(need.method)) {
            total += basis.predict(&sibling(args, experiment, &need)?, &options)?.seconds;
        }
        total += prediction.seconds;
        let memory = prediction.bytes.map_or("–".to_owned(), |count| bytes(count as u64));
        rows.push(plan.row(experiment, memory, duration(prediction.seconds))?);
        adapted.entry(experiment.task.training.model.clone()).or_insert_with(|| describe(&plan.sites));
        progress.step(0, experiment.method.info.name);
    }
    drop(progress);
    for (model, layers) in adapted {
        print(&format!("{model}: {layers}"));
    }
    print(&listing(&HEADER, rows, TerminalStyle::detect()));
    print(&format!(
        "about {} of training for {} seed{}; answering comes on top. Measured on the first one and two blocks with \
         random weights, and carried on to all.",
        duration(total * args.seeds as f64),
        args.seeds,
        if args.seeds == 1 { "" } else { "s" },
    ));
    Ok(())
}

/// One run before it is run.
struct Plan {
    config: ModelConfig,
    parameters: u64,
    sites: Vec<Site>,
    train: Encoded,
    pad: u32,
}

impl Plan {
    fn new(experiment: &Experiment, args: &RunArgs) -> Result<Self> {
        let files = experiment.task.training.model.parse::<ModelSource>()?.files(&builtin::models())?;
        let config = ModelConfig::load(&files)?;
        let mut model = Decoder::outline(&config)?;
        let sites = experiment.targets().sites(&mut model, |_| true)?;
        let text = Text::load(&files)?;
        let task = Task::load(experiment.task.clone(), args.data.as_deref())?;
        let train = Encoder::new(task.config(), &text.tokenizer)?.sequences(task.items(Split::Train))?;
        Ok(Self { parameters: model.count_parameters(), config, sites, train, pad: text.tokenizer.pad() })
    }

    fn row(&self, experiment: &Experiment, memory: String, time: String) -> Result<Vec<String>> {
        let method = &experiment.method;
        let shape = ModelShape { sites: &self.sites, base_parameters: self.parameters };
        let trainable = (method.info.count)(&method.settings, shape)?;
        let training = &experiment.task.training;
        let per_epoch = self.train.sequences.len().div_ceil(training.batch_size);
        Ok(vec![
            experiment.task.name.clone(),
            method.info.name.to_owned(),
            self.sites.len().to_string(),
            quantity(trainable),
            format!("{:.2}", 100.0 * trainable as f64 / self.parameters as f64),
            training.total_steps(per_epoch as u64).to_string(),
            memory,
            time,
        ])
    }
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
