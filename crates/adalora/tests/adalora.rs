//! The oracles of AdaLoRA: first gradients, the budget in the tensors, soft and settled pruning, small files.

use adalora::{ADALORA, AdaLora, Config};
use peft_core::{
    AdamW, AdamWConfig, Adaptable, AsLoaded, Attachment, Gradients, Length, MethodInfo, Mode, Seeds, Targets,
};
use peft_testkit::{Tolerance, Toy, Trained, assert_close};
use tch::{Kind, Tensor};

const SITES: i64 = 6;
const SETTINGS: &str = "initial_rank = 4\ntarget_rank = 2\nalpha = 4.0\nwarmup = 2\nfine_tuning = 3\n\
                        interval = 1\northogonality = 0.5\n";

fn find(_: &str) -> MethodInfo {
    unreachable!("AdaLoRA needs no other run")
}

fn trained(settings: &str, steps: u64) -> Trained {
    Trained::run(&ADALORA, &settings.parse().unwrap(), &find, (Kind::Float, &AsLoaded), steps, 0).unwrap()
}

fn output(toy: &Toy) -> Tensor {
    toy.forward(&toy.input(64), Mode::Eval)
}

/// E of every site, `[sites·r₀]`.
fn entries(attachment: &Attachment) -> Tensor {
    let of = |name: &str| name.ends_with(".lora_E");
    let entries = attachment.store().entries().iter().filter(|e| of(&e.name)).map(|e| e.tensor.detach());
    Tensor::cat(&entries.collect::<Vec<_>>(), 0).view(-1)
}

fn active(attachment: &Attachment) -> i64 {
    entries(attachment).count_nonzero(None).int64_value(&[])
}

/// Active triplets after every step of a run, and what telemetry says of the budget.
fn course(settings: &str, steps: u64) -> Vec<(i64, f64)> {
    let mut toy = Toy::new(Kind::Float);
    let method = (ADALORA.build)(settings.parse().unwrap()).unwrap();
    let seeds = Seeds::new(0);
    let mut attachment =
        Attachment::new(&mut toy, "default", method, &Targets::default(), &AsLoaded, &seeds).unwrap();
    toy.activate(&attachment.active());
    let mut optimizer = AdamW::new(AdamWConfig { lr: 1e-2, ..AdamWConfig::default() });
    attachment.phases(steps).unwrap();
    (0..steps)
        .map(|step| {
            let loss = toy.loss(64, Mode::Train { seed: step }) + attachment.regularizer().unwrap();
            let mut gradients = Gradients::default();
            gradients.accumulate(&loss, attachment.store(), &[]).unwrap();
            attachment.step(&mut optimizer, &gradients, 1.0);
            attachment.after_step(step, step, &gradients).unwrap();
            let telemetry = attachment.telemetry();
            let budget = telemetry.iter().find(|(name, _)| name == "budget").unwrap().1;
            (active(&attachment), budget)
        })
        .collect()
}

#[test]
fn at_first_only_e_has_a_gradient() {
    let run = trained(SETTINGS, 0);
    let mut gradients = Gradients::default();
    gradients.accumulate(&run.toy.loss(16, Mode::Eval), run.attachment.store(), &[]).unwrap();
    for (id, entry) in run.attachment.store().trainables() {
        let norm = gradients.of(id).unwrap().norm().double_value(&[]);
        assert_eq!(norm > 0.0, entry.name.ends_with("lora_E"), "{}: {norm}", entry.name);
    }
}

/// b₀ = 24, b_T = 12, t_i = 2, T - t_f = 9: peft 0.21.2's course.
#[test]
fn the_tensors_hold_the_budget_after_every_step() {
    let want = [24, 24, 19, 16, 14, 12, 12, 12, 12, 12, 12, 12];
    for (n, ((active, budget), want)) in course(SETTINGS, 12).into_iter().zip(want).enumerate() {
        assert_eq!((active, budget), (want, want as f64), "after step {}", n + 1);
    }
}

/// Between allocations a pruned triplet trains and is active again; after the last it never is.
#[test]
fn pruning_is_soft_until_it_is_settled() {
    let course = course(&SETTINGS.replace("interval = 1", "interval = 3"), 12);
    let active: Vec<i64> = course.iter().map(|(active, _)| *active).collect();
    assert_eq!(active, [24, 24, 19, 24, 24, 12, 24, 24, 12, 12, 12, 12]);
}

#[test]
fn ranks_differ_between_sites_and_files_hold_only_what_is_left() {
    let run = trained(SETTINGS, 12);
    let file = run.attachment.file_tensors();
    let ranks: Vec<i64> =
        file.iter().filter(|(name, _)| name.ends_with("lora_E")).map(|(_, e)| e.size()[0]).collect();
    assert_eq!(ranks.iter().sum::<i64>(), 2 * SITES);
    assert!(ranks.iter().any(|rank| *rank != ranks[0]), "allocated, not shared out equally: {ranks:?}");
    let patterns = run.attachment.peft_state();
    assert_eq!(patterns["total_step"], 12);
    let patterns = patterns["rank_pattern"].as_object().unwrap();
    for (name, pattern) in patterns {
        let kept = pattern.as_array().unwrap().iter().filter(|kept| **kept == true).count() as i64;
        assert_eq!(kept, file[name].size()[0], "{name}");
    }

    // Into an adapter attached for loading, and into one that was there.
    let method = || (ADALORA.build)(SETTINGS.parse().unwrap()).unwrap();
    let mut toy = Toy::new(Kind::Float);
    let loaded =
        Attachment::load(&mut toy, "file", method(), &Targets::default(), &AsLoaded, (&file, "file"))
            .unwrap();
    toy.activate(&loaded.active());
    assert_close("loaded", &output(&toy), &output(&run.toy), Tolerance::F32);
    assert_eq!(loaded.file_tensors(), file, "saved again, it is the same file");

    let mut other = trained(SETTINGS, 0);
    other.attachment.fill(&mut other.toy, (&file, "file")).unwrap();
    assert_close("filled", &output(&other.toy), &output(&run.toy), Tolerance::F32);
}

#[test]
fn a_heavy_orthogonality_makes_the_factors_orthogonal() {
    let distance = |run: &Trained| run.attachment.regularizer().unwrap().double_value(&[]);
    let settings = SETTINGS.replace("= 0.5", "= 10.0");
    let (start, end) = (distance(&trained(&settings, 0)), distance(&trained(&settings, 400)));
    assert!(end < 0.05 * start, "{start} became {end}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refusal = |text: &str| (ADALORA.build)(text.parse().unwrap()).unwrap_err().to_string();
    assert!(refusal("initial_rank = 4\ntarget_rank = 6").contains("initial_rank"));
    assert!(refusal("interval = 0").contains("interval"));
    assert!(refusal("total_step = 3").contains("total_step"));
    let phases = |config: Config, steps| {
        use peft_core::Method;
        AdaLora::new(config).unwrap().phases(steps).unwrap_err().to_string()
    };
    let late = Config { warmup: Length::Steps(8), fine_tuning: Length::Steps(2), ..Config::default() };
    assert!(phases(late, 10).contains("warmup"));
    let long = Config { total_steps: Some(100), ..Config::default() };
    let error = phases(long, 10);
    assert!(error.contains("total_steps") && error.contains("step 70"), "{error}");
}
