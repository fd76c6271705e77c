//! `plan`: what a run would do, without doing it.

use std::collections::BTreeMap;

use compare::Run;
use compare::stats::power::SeedNoise;
use compare::table::{TerminalStyle, bytes, duration, listing};
use indexmap::IndexMap;
use models::{ModelConfig, ModelSource};
use peft_core::{Adaptable, ModelShape, Part, Site, Targets, device};
use tasks::{Aggregate, Encoded, Scorer, Split, Task};

use super::{print, use_threads};
use crate::cli::{PlanArgs, RunArgs};
use crate::config::{Experiment, RunOptions, resolve};
use crate::power::{Assumption, fewest_answers};
use crate::predict::{Basis, Prediction};
use crate::progress::Display;
use crate::session::Text;
use crate::solver::{self, Solver};
use crate::{Result, builtin};

const HEADER: [&str; 8] = ["task", "method", "layers", "trainable", "%", "steps", "memory ≈", "training ≈"];

pub(super) fn execute(args: &PlanArgs) -> Result<()> {
    let mut records: Vec<Run> = Vec::new();
    for path in &args.from {
        records.extend(compare::collect(path)?);
    }
    let tasks = runs(&args.run)?;
    print(&power(&tasks, &compare::latest(records).runs, args)?);
    Ok(())
}

/// What the runs do and take; the tasks that could be read.
fn runs(args: &RunArgs) -> Result<IndexMap<String, Examined>> {
    let mut examined = IndexMap::new();
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
        examined.entry(experiment.task.name.clone()).or_insert(plan.examined);
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
        return Ok(examined);
    }
    print(&format!(
        "about {} of training for {} seed{}; answering comes on top. Measured on the first one and two blocks with \
         random weights, and carried on to all.",
        duration(total * args.seed_count() as f64),
        args.seed_count(),
        if args.seed_count() == 1 { "" } else { "s" },
    ));
    Ok(examined)
}

/// What a task is scored on.
#[derive(Clone, Copy, Debug)]
struct Examined {
    /// Test items.
    items: u64,
    /// Whether its first metric is a mean over items.
    is_mean: bool,
}

/// "To tell 1 point apart you need so many items or seeds", for each task.
fn power(tasks: &IndexMap<String, Examined>, records: &[Run], args: &PlanArgs) -> Result<String> {
    let unknown = || "–".to_owned();
    let (seeds, tell) = (u32::try_from(args.run.seed_count()).unwrap_or(u32::MAX), args.tell / 100.0);
    let mut rows = Vec::new();
    for (name, examined) in tasks {
        let assumption = Assumption::of(records, name)?;
        let items = examined.items;
        let mut row = vec![name.clone(), format!("{items} × {seeds}")];
        if examined.is_mean {
            let plan = assumption.plan(seeds);
            let least = plan.detectable_difference(items).ok();
            row.push(least.map_or_else(unknown, |least| format!("{:.1} points", 100.0 * least)));
            let counts = [
                plan.items_needed(tell).ok().map(|items| (items, seeds)),
                plan.seeds_needed(tell, items).ok().map(|seeds| (items, seeds)),
                fewest_answers(&assumption, tell),
            ];
            let shown = |(items, seeds): (u64, u32)| format!("{items} × {seeds}");
            row.extend(counts.map(|count| count.map_or_else(unknown, shown)));
        } else {
            row.extend([(); 4].map(|()| unknown()));
        }
        let SeedNoise { sd, item_correlation } = assumption.noise;
        row.push(format!("{:.1} %", 100.0 * assumption.discordance));
        row.push(format!("{:.1} points, {item_correlation:.2}", 100.0 * sd));
        row.push(if examined.is_mean {
            assumption.source
        } else {
            "its first metric is no mean over items".to_owned()
        });
        rows.push(row);
    }
    if rows.is_empty() {
        return Ok(String::new());
    }
    let points = format!("{} point{}", args.tell, if args.tell == 1.0 { "" } else { "s" });
    let more_items = format!("{points}: more items");
    let header = [
        "task",
        "items × seeds",
        "tells apart",
        &more_items,
        "more seeds",
        "fewest answers",
        "disagree",
        "seed noise",
        "from",
    ];
    Ok(format!(
        "{}\nWhat two methods must differ by to be told apart on the planned items and seeds (chance 80 %, level 5 %, one \
         pair); then what would tell {points} apart: more items, more seeds, or both with the fewest answers (– where no \
         number does). It rests on the share of items on which one of the two is right, on how much a score differs between \
         seeds, and on how alike seeds see an item{}.",
        listing(&header, rows, TerminalStyle::detect()),
        if records.is_empty() { "; `--from RECORDS` estimates them from earlier runs" } else { "" },
    ))
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
    examined: Examined,
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
            return Ok(Self {
                config,
                parameters,
                head,
                sites,
                data: None,
                examined: Examined { items: 0, is_mean: false },
            });
        }
        let text = Text::load(&files)?;
        let task = Task::load_from(experiment.task.clone(), &args.tasks.place())?;
        let first = Scorer::new(&task.config().scoring).metrics().first().copied();
        let examined = Examined {
            items: task.items(Split::Test).len() as u64,
            is_mean: first.is_some_and(|metric| metric.aggregate == Aggregate::Mean),
        };
        let train = model.examples(task.config(), &text, task.require(Split::Train)?)?;
        Ok(Self { config, parameters, head, sites, data: Some((train, text.tokenizer.pad())), examined })
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
