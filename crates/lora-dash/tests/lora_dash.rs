//! The oracles of LoRA-Dash: when it launches, what it chooses, and what survives saving.

use lora_dash::{Choice, Directions, LORA_DASH, change_rates};
use peft_core::{
    Adaptable, AsLoaded, Attachment, Error, MethodInfo, Mode, Roles, Seeds, StateDict, Targets, init, linalg,
};
use peft_testkit::{Tolerance, Toy, Trained, assert_close};
use tch::{Device, Kind, Tensor};

const SETTINGS: &str = "rank = 4\nalpha = 8.0\ndirections = 3\nlaunch = 3\n";

fn find(_: &str) -> MethodInfo {
    unreachable!("LoRA-Dash needs no other run")
}

fn run(settings: &str, steps: u64) -> Trained {
    let settings = settings.parse().unwrap();
    Trained::run(&LORA_DASH, &settings, &find, (Kind::Float, &AsLoaded), steps, 0).unwrap()
}

fn load(file: &StateDict) -> Result<(Toy, Attachment), Error> {
    let mut toy = Toy::new(Kind::Float);
    let method = (LORA_DASH.build)(SETTINGS.parse().unwrap())?;
    let loaded =
        Attachment::load(&mut toy, "default", method, &Targets::default(), &AsLoaded, (file, "file"))?;
    toy.activate(&loaded.active());
    Ok((toy, loaded))
}

fn output(toy: &Toy) -> Tensor {
    toy.forward(&toy.input(32), Mode::Eval)
}

fn entries<'a>(run: &'a Trained, suffix: &'a str) -> impl Iterator<Item = (&'a str, Tensor)> {
    let all = run.attachment.store().entries().iter();
    all.filter_map(move |e| Some((e.name.strip_suffix(suffix)?.trim_end_matches('.'), e.tensor.detach())))
}

fn draw(name: &str, shape: &[i64]) -> Tensor {
    init::normal(shape, 1.0, &mut Seeds::new(9).child(name).rng(), Device::Cpu)
}

fn chosen(directions: &Directions) -> Vec<i64> {
    Vec::try_from(&directions.chosen).unwrap()
}

#[test]
fn the_launch_changes_no_output_and_opens_a_gradient() {
    let mut run = run(&SETTINGS.replace("launch = 3", "launch = 9"), 0);
    assert_eq!(run.attachment.phases(10).unwrap().len(), 2);
    // An update to go by.
    for (_, entry) in run.attachment.store().trainables().filter(|(_, e)| e.name.contains("lora_B")) {
        entry.tensor.detach().copy_(&draw(&entry.name, &entry.tensor.size()));
    }
    let before = output(&run.toy);
    run.attachment.enter_phase(&mut run.toy, 1, &Roles::All, false).unwrap();
    assert_close("launch", &output(&run.toy), &before, Tolerance::F32);

    let mut gradients = peft_core::Gradients::default();
    gradients.accumulate(&run.toy.loss(64, Mode::Eval), run.attachment.store(), &[]).unwrap();
    for (id, entry) in run.attachment.store().trainables().filter(|(_, e)| e.name.ends_with("index")) {
        assert!(gradients.of(id).unwrap().abs().min().double_value(&[]) > 0.0, "{}", entry.name);
    }
}

#[test]
fn it_launches_at_optimizer_step_t() {
    for launch in [2, 3] {
        // One step more than t: the coefficients have moved once, by the learning rate, as Adam's first step does.
        let run = run(&SETTINGS.replace("launch = 3", &format!("launch = {launch}")), launch + 1);
        for (module, index) in entries(&run, "lora_dash_index") {
            let once = index.ones_like() * 1e-2;
            assert_close(module, &index.abs(), &once, Tolerance { atol: 1e-5, rtol: 0.0 });
        }
    }
    let error = Trained::run(&LORA_DASH, &SETTINGS.parse().unwrap(), &find, (Kind::Float, &AsLoaded), 3, 0);
    assert!(error.unwrap_err().to_string().contains("`launch = 3`: a run of 3 steps"));
}

#[test]
fn directions_are_orthonormal_singular_vectors() {
    let mut run = run(SETTINGS, 6);
    let weights: Vec<_> = run.toy.linears().into_iter().map(|l| l.frozen().dense()).collect();
    let (us, vs): (Vec<_>, Vec<_>) =
        (entries(&run, "lora_dash_u").collect(), entries(&run, "lora_dash_v").collect());
    for (((module, u), (_, v)), weight) in us.iter().zip(&vs).zip(weights) {
        let identity = Tensor::eye(3, (Kind::Float, Device::Cpu));
        assert_close(module, &u.tr().matmul(u), &identity, Tolerance::F32);
        assert_close(module, &v.matmul(&v.tr()), &identity, Tolerance::F32);
        let core = u.tr().matmul(&weight).matmul(&v.tr());
        assert_close(module, &core, &core.diag(0).diag(0), Tolerance::F32);
    }
}

/// Rates without ΔW, against the diagonal of Uᵀ·ΔW·V.
#[test]
fn rates_are_those_of_the_dense_update() {
    let (weight, b, a) = (draw("w", &[12, 20]), draw("b", &[12, 4]), draw("a", &[4, 20]));
    let svd = linalg::svd(&weight).unwrap();
    let dense = svd.u.tr().matmul(&b.matmul(&a)).matmul(&svd.vt.tr()).diag(0).abs() / (&svd.s + 1e-6);
    assert_close("δ", &change_rates(&svd, &b, &a, 1e-6), &dense, Tolerance::F32);

    let choose = |b: &Tensor| {
        Directions::choose(&weight, (b, &a), 1e-6, 5, Choice::TaskSpecific, &Seeds::new(0)).unwrap()
    };
    let by_sort: Vec<i64> = Vec::try_from(dense.argsort(0, true).narrow(0, 0, 5)).unwrap();
    assert_eq!(chosen(&choose(&b)), by_sort);
    assert_eq!(chosen(&choose(&(&b * 7.5))), by_sort, "the scale does not matter");
    assert_eq!(chosen(&choose(&-&b)), by_sort, "nor does the sign");
}

#[test]
fn a_crafted_update_is_found_and_ablations_choose_by_name() {
    let weight = draw("w", &[10, 8]);
    let svd = linalg::svd(&weight).unwrap();
    let (b, a) = (svd.u.narrow(1, 5, 1) * 0.1, svd.vt.narrow(0, 5, 1));
    let choose = |choice| Directions::choose(&weight, (&b, &a), 1e-6, 3, choice, &Seeds::new(0)).unwrap();
    assert_eq!(chosen(&choose(Choice::TaskSpecific))[0], 5);
    assert_eq!(chosen(&choose(Choice::Top)), [0, 1, 2]);
    assert_eq!(chosen(&choose(Choice::Bottom)), [5, 6, 7]);
    let random = chosen(&choose(Choice::Random));
    assert_eq!(random, chosen(&choose(Choice::Random)));
    assert!(random.windows(2).all(|pair| pair[0] < pair[1]) && random[2] < 8, "{random:?}");
    let error = Directions::choose(&weight, (&(&b * 0.0), &a), 1e-6, 3, Choice::TaskSpecific, &Seeds::new(0));
    assert!(error.unwrap_err().to_string().contains("launch later"));
}

#[test]
fn before_the_launch_a_file_is_plain_lora() {
    let run = run(SETTINGS, 0);
    let file = run.attachment.file_tensors();
    assert!(file.keys().all(|name| !name.contains("dash")) && !file.is_empty());
    let (toy, _) = load(&file).unwrap();
    assert_eq!(output(&toy), output(&run.toy));
}

/// An adapter that was launched keeps its directions: resumed, loaded, or trained on.
#[test]
fn directions_survive_saving_and_resuming() {
    let trained = run(SETTINGS, 6);
    let (mut toy, mut loaded) = load(&trained.attachment.file_tensors()).unwrap();
    assert_eq!(output(&toy), output(&trained.toy));
    let before = loaded.store().adapter_tensors();
    let before: StateDict = before.into_iter().map(|(name, t)| (name, t.copy())).collect();
    loaded.phases(6).unwrap();
    loaded.enter_phase(&mut toy, 1, &Roles::All, false).unwrap();
    assert_eq!(loaded.store().adapter_tensors(), before);

    let mut resumed = run(SETTINGS, 0);
    let checkpoint = trained.attachment.store().checkpoint_tensors();
    resumed.attachment.store_mut().load_checkpoint(&checkpoint, "checkpoint").unwrap();
    resumed.attachment.phases(6).unwrap();
    resumed.attachment.enter_phase(&mut resumed.toy, 1, &Roles::All, true).unwrap();
    assert_eq!(resumed.attachment.store().checkpoint_tensors(), checkpoint);
    assert_eq!(output(&resumed.toy), output(&trained.toy));
}

#[test]
fn impossible_settings_are_refused() {
    for (settings, field) in
        [("directions = 0", "directions"), ("epsilon = 0.0", "epsilon"), ("rank = 0", "rank")]
    {
        let error = (LORA_DASH.build)(settings.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field} =")), "{error}");
    }
    let settings = "directions = 17".parse().unwrap();
    let error = Trained::run(&LORA_DASH, &settings, &find, (Kind::Float, &AsLoaded), 0, 0).unwrap_err();
    assert!(error.to_string().contains("at most 16 fit"), "{error}");
}
