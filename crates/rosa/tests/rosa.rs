//! The oracles of RoSA and SpA: which entries train, when, and what files hold.

use peft_core::{
    Adaptable, AdaptedLinear, AsLoaded, Attachment, Error, Gradients, MethodInfo, Mode, Roles, SiteShape,
    StateDict, Targets, tensor_file,
};
use peft_testkit::{Tolerance, Toy, Trained, assert_close};
use rosa::{Csr, ROSA, SPA, largest};
use tch::{Kind, Tensor};

const LOW_RANK: &str = "rank = 4\nalpha = 8.0\ndensity = 0.1\n";

fn find(_: &str) -> MethodInfo {
    unreachable!("RoSA needs no other run")
}

fn attempt(info: &MethodInfo, settings: &str, steps: u64) -> Result<Trained, Error> {
    Trained::run(info, &settings.parse().unwrap(), &find, (Kind::Float, &AsLoaded), steps, 0)
}

fn run(info: &MethodInfo, settings: &str, steps: u64) -> Trained {
    attempt(info, settings, steps).unwrap()
}

fn tensor(run: &Trained, site: &str, name: &str) -> Tensor {
    run.attachment.store().find(&format!("{site}.{name}")).unwrap().tensor.detach()
}

fn entries(shape: SiteShape, density: f64) -> i64 {
    (density * (shape.out_features * shape.in_features) as f64) as i64
}

/// ∂loss/∂W of every site at the present state.
fn weight_gradients(run: &mut Trained, step: u64) -> Vec<Tensor> {
    run.toy.linears().into_iter().for_each(AdaptedLinear::start_probe);
    let probes: Vec<Tensor> = run.toy.linears().iter().map(|l| l.probe().unwrap().shallow_clone()).collect();
    let loss = run.toy.loss(64, Mode::Train { seed: step });
    let mut gradients = Gradients::default();
    let found =
        gradients.accumulate(&loss, run.attachment.store(), &probes.iter().collect::<Vec<_>>()).unwrap();
    run.toy.linears().into_iter().for_each(AdaptedLinear::end_probe);
    found
}

/// SpA collects at W itself: its mask by a sort of each site.
#[test]
fn the_mask_is_where_gradients_are_largest() {
    let mut base = run(&SPA, "density = 0.1", 0);
    let gradients = weight_gradients(&mut base, 0);
    let trained = run(&SPA, "density = 0.1", 2);
    for (site, gradient) in trained.attachment.sites().iter().zip(gradients) {
        let count = entries(site.shape, 0.1);
        let mut by_size: Vec<(f32, i64)> =
            Vec::<f32>::try_from(gradient.abs().reshape(-1)).unwrap().into_iter().zip(0..).collect();
        by_size.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut expected: Vec<i64> = by_size[..count as usize].iter().map(|(_, at)| *at).collect();
        expected.sort_unstable();
        let positions = tensor(&trained, &site.name, "rosa_spa.positions");
        assert_eq!(Vec::<i64>::try_from(positions).unwrap(), expected, "{}", site.name);
    }
}

/// Gradients that cancel count when squared and not when averaged.
#[test]
fn squares_and_means_choose_differently() {
    let gradients = [Tensor::from_slice(&[3.0f32, 1.0, 0.1]), Tensor::from_slice(&[-3.0f32, 1.0, 0.1])];
    let squares = (gradients[0].square() + gradients[1].square()) / 2.0;
    let mean = (&gradients[0] + &gradients[1]) / 2.0;
    assert_eq!(Vec::<i64>::try_from(largest(&squares, 1)).unwrap(), [0]);
    assert_eq!(Vec::<i64>::try_from(largest(&mean, 1)).unwrap(), [1]);
}

#[test]
fn the_sparse_part_waits_for_its_phase() {
    let names = |info: &MethodInfo, settings: &str| -> Vec<(&'static str, u64)> {
        let phases = run(info, settings, 0).attachment.phases(10).unwrap();
        phases.into_iter().map(|phase| (phase.name, phase.steps)).collect()
    };
    assert_eq!(
        names(&ROSA, &format!("{LOW_RANK}low_rank_steps = 3\ncollection_steps = 2")),
        [("low_rank", 3), ("low_rank+collect", 2), ("low_rank+sparse", 5)]
    );
    assert_eq!(names(&ROSA, LOW_RANK), [("low_rank+collect", 1), ("low_rank+sparse", 9)]);
    assert_eq!(names(&SPA, "density = 0.1\ncollection_steps = 0.2"), [("collect", 2), ("sparse", 8)]);

    // One step after the mask: Adam moved every value by the learning rate, or did not (a gradient of 0).
    let trained = run(&ROSA, &format!("{LOW_RANK}low_rank_steps = 2\n"), 4);
    for site in trained.attachment.sites() {
        let values = tensor(&trained, &site.name, "rosa_spa.values");
        assert_eq!(values.numel() as i64, entries(site.shape, 0.1));
        let once = values.ones_like() * 1e-2;
        assert_close(&site.name, &values.abs(), &once, Tolerance { atol: 1e-4, rtol: 0.0 });
    }
    // Collecting updates nothing in SpA.
    let losses = run(&SPA, "density = 0.1\ncollection_steps = 3", 5).losses;
    assert!(
        losses[0] == losses[1] && losses[1] == losses[2] && losses[2] == losses[3] && losses[4] < losses[3]
    );
}

#[test]
fn setting_the_mask_changes_no_output_and_masks_stay() {
    let settings = format!("{LOW_RANK}low_rank_steps = 2\n");
    let trained = run(&ROSA, &settings, 5);
    let longer = run(&ROSA, &settings, 9);
    for site in trained.attachment.sites() {
        let positions = |run: &Trained| tensor(run, &site.name, "rosa_spa.positions");
        assert_eq!(positions(&trained), positions(&longer));
    }
    // The loss of the first sparse step is that of the low-rank part alone, whatever the density.
    let dense = run(&ROSA, &settings.replace("0.1", "0.4"), 5);
    assert_eq!(trained.losses[3], dense.losses[3]);
    assert_ne!(trained.losses[4], dense.losses[4]);
}

#[test]
fn gradients_of_values_are_those_of_the_weight_at_the_mask() {
    let mut trained = run(&ROSA, LOW_RANK, 4);
    let mut ours = Gradients::default();
    ours.accumulate(&trained.toy.loss(64, Mode::Train { seed: 0 }), trained.attachment.store(), &[]).unwrap();
    let dense = weight_gradients(&mut trained, 0);
    for (site, dense) in trained.attachment.sites().iter().zip(dense) {
        let name = format!("{}.rosa_spa.values", site.name);
        let (id, _) = trained.attachment.store().trainables().find(|(_, e)| e.name == name).unwrap();
        let at_mask = dense.take(&tensor(&trained, &site.name, "rosa_spa.positions"));
        assert_close(&name, ours.of(id).unwrap(), &at_mask, Tolerance::F32_GRADIENT);
    }
}

fn load(info: &MethodInfo, settings: &str, file: &StateDict) -> Result<(Toy, Attachment), Error> {
    let mut toy = Toy::new(Kind::Float);
    let method = (info.build)(settings.parse().unwrap())?;
    let loaded =
        Attachment::load(&mut toy, "default", method, &Targets::default(), &AsLoaded, (file, "file"))?;
    toy.activate(&loaded.active());
    Ok((toy, loaded))
}

#[test]
fn files_hold_compressed_rows() {
    let trained = run(&ROSA, LOW_RANK, 4);
    let file = trained.attachment.file_tensors();
    for site in trained.attachment.sites() {
        let of = |name: &str| &file[&format!("{}.rosa_spa.{name}", site.name)];
        let nnz = entries(site.shape, 0.1);
        assert_eq!((of("col_idx").kind(), of("row_idx").kind()), (Kind::Int16, Kind::Int16));
        assert_eq!(of("row_offs").size(), [site.shape.out_features + 1]);
        assert_eq!(of("row_offs").int64_value(&[-1]), nnz);
        let positions = Csr::positions(of("row_offs"), of("col_idx"), site.shape).unwrap();
        assert_eq!(positions, tensor(&trained, &site.name, "rosa_spa.positions"));
        let counts = of("row_offs").diff(1, 0, None::<&Tensor>, None::<&Tensor>);
        let sorted = counts.index_select(0, &of("row_idx").to_kind(Kind::Int64));
        assert_eq!(sorted, counts.sort(0, true).0, "rows by descending count");
    }
    assert!(file.keys().all(|name| !name.ends_with("positions")));

    let mut damaged = file.iter().map(|(n, t)| (n.clone(), t.copy())).collect::<StateDict>();
    let (name, tensor) = damaged.iter_mut().find(|(name, _)| name.ends_with("col_idx")).unwrap();
    let site = name.trim_end_matches(".col_idx").to_owned();
    let _ = tensor.fill_(99);
    let error = load(&ROSA, LOW_RANK, &damaged).unwrap_err().to_string();
    assert!(error.contains(&site) && error.contains("outside"), "{error}");
}

#[test]
fn before_the_mask_files_hold_the_low_rank_part_alone() {
    let start = run(&ROSA, LOW_RANK, 0);
    let file = start.attachment.file_tensors();
    assert!(file.keys().all(|name| !name.contains("spa")) && !file.is_empty());
    load(&ROSA, LOW_RANK, &file).unwrap();
    assert!(run(&SPA, "density = 0.1", 0).attachment.file_tensors().is_empty());
}

/// An adapter with masks trains on with them; one without, and without collecting, is refused.
#[test]
fn masks_come_from_a_file_or_not_at_all() {
    let donor = run(&SPA, "density = 0.1", 3);
    let masks: StateDict = (donor.attachment.sites().iter())
        .map(|site| {
            let SiteShape { out_features, in_features } = site.shape;
            let zeros = Tensor::zeros([out_features * in_features], (Kind::Uint8, tch::Device::Cpu));
            let mask = zeros.index_fill(0, &tensor(&donor, &site.name, "rosa_spa.positions"), 1);
            (format!("mask.{}", site.name), mask.view([out_features, in_features]))
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("masks.safetensors");
    tensor_file::write(&path, &masks, &tensor_file::Metadata::new()).unwrap();
    let settings = format!("density = 0.1\nmask = '{}'", path.display());
    let given = run(&SPA, &settings, 2);
    assert_eq!(given.attachment.store().adapter_tensors(), donor.attachment.store().adapter_tensors());

    let wrong = settings.replace("0.1", "0.2");
    let error = attempt(&SPA, &wrong, 2).unwrap_err().to_string();
    assert!(error.contains("by `density`, found"), "{error}");
    let error = attempt(&SPA, "density = 0.1\ncollection_steps = 0", 2).unwrap_err().to_string();
    assert!(error.contains("has no mask"), "{error}");
}

#[test]
fn the_factors_learn_at_their_own_rate() {
    let mut config = peft_core::AdamWConfig { lr: 2e-4, ..peft_core::AdamWConfig::default() };
    run(&ROSA, &format!("{LOW_RANK}lr_ratio = 3.5"), 0).attachment.configure_optimizer(&mut config);
    let lr = |role| config.lr_of(role);
    assert!((lr(peft_core::Role::Down) - 7e-4).abs() < 1e-12);
    assert!((lr(peft_core::Role::Up) - 7e-4).abs() < 1e-12);
    assert!((lr(peft_core::Role::Sparse) - 2e-4).abs() < 1e-12);
}

#[test]
fn a_run_does_not_resume_without_what_it_collected() {
    let mut start = run(&ROSA, LOW_RANK, 0);
    start.attachment.phases(5).unwrap();
    let error = start.attachment.enter_phase(&mut start.toy, 0, &Roles::All, true).unwrap_err();
    assert!(error.to_string().contains("collect"), "{error}");
}

#[test]
fn impossible_settings_are_refused() {
    for (settings, field) in [
        ("density = -0.1", "density"),
        ("density = 1.0", "density"),
        ("lr_ratio = 0.0", "lr_ratio"),
        ("rank = 0", "rank"),
        ("mask = 'x'\nlow_rank_steps = 3", "mask"),
    ] {
        let error = (ROSA.build)(settings.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field} =")), "{error}");
    }
    let error = attempt(&SPA, "density = 0.001", 0).unwrap_err().to_string();
    assert!(error.contains("is none"), "{error}");
    let error = attempt(&ROSA, LOW_RANK, 1).unwrap_err().to_string();
    assert!(error.contains("none left for the sparse part"), "{error}");
}
