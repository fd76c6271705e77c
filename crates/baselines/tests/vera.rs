//! The oracles of VeRA: what is shared, what is drawn, what a file holds.

use baselines::VERA;
use peft_core::{Adaptable, AsLoaded, Attachment, Gradients, MethodInfo, Mode, Result, StateDict, Targets};
use peft_testkit::{Toy, Trained};
use tch::Kind;

fn run(settings: &str, steps: u64, seed: u64) -> Result<Trained> {
    let find = |_: &str| -> MethodInfo { unreachable!("VeRA needs no other run") };
    let settings = format!("rank = 6\n{settings}").parse().unwrap();
    Trained::run(&VERA, &settings, &find, (Kind::Float, &AsLoaded), steps, seed)
}

fn tensors(run: &Trained) -> StateDict {
    run.attachment.store().adapter_tensors()
}

#[test]
fn all_sites_share_two_matrices_that_never_move() {
    let (start, end) = (run("", 0, 0).unwrap(), run("", 8, 0).unwrap());
    let mut counts = 0;
    for (name, tensor) in tensors(&start) {
        let projection = matches!(name.as_str(), "vera_A" | "vera_B");
        counts += i32::from(projection);
        assert_eq!(tensors(&end)[&name] == tensor, projection, "{name}");
        if projection {
            let entry = start.attachment.store().find(&name).unwrap();
            assert!(entry.shared && entry.role().is_none());
        }
    }
    assert_eq!(counts, 2);
    // The widest site has 24 inputs, the widest 24 outputs.
    assert_eq!((tensors(&end)["vera_A"].size(), tensors(&end)["vera_B"].size()), (vec![6, 24], vec![24, 6]));
}

/// Sites look into the one storage: what is written to the shared tensor is seen by all.
#[test]
fn sites_hold_views_and_no_copies() {
    let mut run = run("", 4, 0).unwrap();
    let before: Vec<_> = run.toy.linears().iter().map(|l| l.effective_weight()).collect();
    tch::no_grad(|| {
        let _ = tensors(&run)["vera_A"].shallow_clone().g_mul_scalar_(2.0);
    });
    for (linear, before) in run.toy.linears().into_iter().zip(before) {
        let (weight, after) = (linear.frozen().dense(), linear.effective_weight());
        let (update, doubled) = (before - &weight, after - weight);
        assert!((doubled - update * 2.0).abs().max().double_value(&[]) < 1e-5, "{}", linear.name());
    }
}

#[test]
fn at_the_start_only_the_outer_vector_has_a_gradient() {
    let run = run("", 0, 0).unwrap();
    let mut gradients = Gradients::default();
    gradients.accumulate(&run.toy.loss(64, Mode::Eval), run.attachment.store(), &[]).unwrap();
    for (id, gradient) in gradients.iter() {
        let name = &run.attachment.store().entry(id).name;
        let moves = gradient.abs().max().double_value(&[]) > 0.0;
        assert_eq!(moves, name.ends_with("vera_lambda_b"), "{name}");
    }
}

#[test]
fn projections_come_from_the_run_or_from_the_key() {
    let projection = |settings: &str, seed| tensors(&run(settings, 0, seed).unwrap())["vera_A"].copy();
    assert_ne!(projection("", 0), projection("", 1));
    assert_eq!(projection("projection_prng_key = 3", 0), projection("projection_prng_key = 3", 1));
    assert_ne!(projection("projection_prng_key = 3", 0), projection("projection_prng_key = 4", 0));
    let bound = (6.0f64 / 24.0).sqrt();
    for settings in ["", "projection_prng_key = 3"] {
        let largest = projection(settings, 0).abs().max().double_value(&[]);
        assert!(largest <= bound && largest > 0.9 * bound, "{largest} of {bound}");
    }
}

#[test]
fn a_file_may_leave_the_projections_to_the_key() {
    let settings = "projection_prng_key = 3\nsave_projection = false";
    let trained = run(settings, 5, 0).unwrap();
    let file = trained.attachment.file_tensors();
    assert!(!file.contains_key("vera_A") && trained.attachment.store().find("vera_A").is_some());
    let load = |settings: &str| {
        let mut toy = Toy::new(Kind::Float);
        let method = (VERA.build)(format!("rank = 6\n{settings}").parse().unwrap()).unwrap();
        let attachment =
            Attachment::load(&mut toy, "a", method, &Targets::default(), &AsLoaded, (&file, "file"))?;
        toy.activate(&attachment.active());
        Ok::<_, peft_core::Error>(toy.forward(&toy.input(8), Mode::Eval))
    };
    assert_eq!(load(settings).unwrap(), trained.toy.forward(&trained.toy.input(8), Mode::Eval));
    let error = load("projection_prng_key = 3").unwrap_err().to_string();
    assert!(error.contains("missing: `vera_A`, `vera_B`"), "{error}");
    let error = run("save_projection = false", 0, 0).unwrap_err().to_string();
    assert!(error.contains("`save_projection = false`"), "{error}");
}
