//! `plan`: what a run would do, without doing it.

use std::collections::BTreeMap;

use compare::table::{TerminalStyle, bytes, duration, listing, quantity};
use models::{Decoder, ModelConfig, ModelSource};
use peft_core::{ModelShape, Site, device};
use tasks::{Encoder, Split, Task};

use super::{print, use_threads};
use crate::cli::RunArgs;
use crate::config::{Experiment, resolve};
use crate::predict::{Workload, linear_values, measured_rate, predict};
use crate::session::Text;
use crate::{Result, builtin};

const HEADER: [&str; 8] =
    ["task", "method", "layers", "trainable", "%", "steps", "memory over the model ≈", "training ≥"];

pub(super) fn execute(args: &RunArgs) -> Result<()> {
    use_threads(args.model.threads);
    let device = device::parse(&args.model.device)?;
    let (mut rows, mut adapted, mut total) = (Vec::new(), BTreeMap::new(), 0.0);
    for experiment in resolve(args)? {
        let plan = Plan::new(&experiment, args)?;
        let rate = measured_rate(plan.model.config().decoder(), &plan.work, device);
        adapted.entry(experiment.task.training.model.clone()).or_insert_with(|| describe(&plan.sites));
        let seconds = plan.seconds(&experiment, args, rate)?;
        total += seconds.iter().sum::<f64>() * args.seeds as f64;
        rows.push(plan.row(&experiment, args, seconds[0])?);
    }
    for (model, layers) in adapted {
        print(&format!("{model}: {layers}"));
    }
    print(&listing(&HEADER, rows, TerminalStyle::detect()));
    print(&format!(
        "all runs with {} seed{}: at least {} of training, from counted operations at the rate measured here; \
         answering comes on top",
        args.seeds,
        if args.seeds == 1 { "" } else { "s" },
        duration(total),
    ));
    Ok(())
}

/// One run, measured out.
struct Plan {
    model: Decoder,
    sites: Vec<Site>,
    base: u64,
    linear_values: f64,
    work: Workload,
}

impl Plan {
    fn new(experiment: &Experiment, args: &RunArgs) -> Result<Self> {
        let training = &experiment.task.training;
        let files = training.model.parse::<ModelSource>()?.files(&builtin::models())?;
        let mut model = Decoder::outline(&ModelConfig::load(&files)?);
        let sites = experiment.targets().sites(&mut model, |_| true)?;
        let text = Text::load(&files)?;
        let task = Task::load(experiment.task.clone(), args.data.as_deref())?;
        let train = Encoder::new(task.config(), &text.tokenizer)?.sequences(task.items(Split::Train))?;
        let per_epoch = train.sequences.len().div_ceil(training.batch_size) as u64;
        let steps = training.total_steps(per_epoch);
        let work = Workload::new(&train, training, steps, args.micro_batch.map(|n| n as usize));
        Ok(Self {
            base: model.count_parameters(),
            linear_values: linear_values(&mut model),
            model,
            sites,
            work,
        })
    }

    fn trainable(&self, method: &crate::config::MethodConfig) -> Result<u64> {
        let shape = ModelShape { sites: &self.sites, base_parameters: self.base };
        Ok((method.info.count)(&method.settings, shape)?)
    }

    /// Of the run itself, then of the run it needs, if any.
    fn seconds(&self, experiment: &Experiment, args: &RunArgs, rate: f64) -> Result<Vec<f64>> {
        let mut all = vec![self.predict(experiment, args)?.flops * self.work.steps as f64 / rate];
        let method = (experiment.method.info.build)(experiment.method.settings.clone())?;
        let asked = |name: &str| {
            args.method.iter().any(|word| {
                methods::select(word).is_ok_and(|found| found.iter().any(|info| info.name == name))
            })
        };
        if let Some(need) = method.needs().filter(|need| !asked(need.method)) {
            let other = crate::config::sibling(args, experiment, &need)?;
            all.push(self.predict(&other, args)?.flops * self.work.steps as f64 / rate);
        }
        Ok(all)
    }

    fn predict(&self, experiment: &Experiment, args: &RunArgs) -> Result<crate::predict::Prediction> {
        let trainable = self.trainable(&experiment.method)? as f64;
        let whole =
            (experiment.method.info.build)(experiment.method.settings.clone())?.trains_base("").is_some();
        let config = self.model.config().decoder();
        Ok(predict(config, self.linear_values, trainable, whole, args.gradient_checkpointing, &self.work))
    }

    fn row(&self, experiment: &Experiment, args: &RunArgs, seconds: f64) -> Result<Vec<String>> {
        let trainable = self.trainable(&experiment.method)?;
        let percent = 100.0 * trainable as f64 / self.base as f64;
        Ok(vec![
            experiment.task.name.clone(),
            experiment.method.info.name.to_owned(),
            self.sites.len().to_string(),
            quantity(trainable),
            format!("{percent:.2}"),
            self.work.steps.to_string(),
            bytes(self.predict(experiment, args)?.bytes as u64),
            duration(seconds),
        ])
    }
}

/// "28 layers adapted: 4 × q_proj 160×160, 4 × k_proj 80×160, …"
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
