//! The oracles of PiSSA: an untouched base, files that cannot be misread, and what a lossy base gains.

use peft_core::{
    Active, Adaptable, AsLoaded, Attachment, Dense, FileTensors, FrozenWeight, MethodInfo, Mode, Result,
    Seeds, StateDict, Storage, Targets, linalg,
};
use peft_testkit::{Rounded, Tolerance, Toy, Trained, assert_close};
use pissa::PISSA;
use tch::{Kind, Tensor};

const SETTINGS: &str = "rank = 4\nalpha = 8.0\n";

fn find(_: &str) -> MethodInfo {
    unreachable!("PiSSA needs no other run")
}

fn run(settings: &str, storage: &dyn Storage, steps: u64, seed: u64) -> Result<Trained> {
    Trained::run(&PISSA, &settings.parse().unwrap(), &find, (Kind::Float, storage), steps, seed)
}

fn load(settings: &str, storage: &dyn Storage, file: FileTensors<'_>) -> Result<(Toy, Attachment)> {
    let mut toy = Toy::new(Kind::Float);
    let method = (PISSA.build)(settings.parse().unwrap()).unwrap();
    let attachment = Attachment::load(&mut toy, "default", method, &Targets::default(), storage, file)?;
    toy.activate(&attachment.active());
    Ok((toy, attachment))
}

fn output(toy: &Toy) -> Tensor {
    toy.forward(&toy.input(64), Mode::Eval)
}

/// A and B of rank r alone: what PEFT writes.
fn halves(run: &Trained) -> StateDict {
    let tensors = run.attachment.store().adapter_tensors().into_iter();
    tensors.filter(|(name, _)| !name.contains("start")).map(|(name, t)| (name, t.copy())).collect()
}

#[test]
fn at_the_start_nothing_differs_bit_by_bit() {
    for init in ["pissa", "pissa_niter_2"] {
        let mut run = run(&format!("{SETTINGS}init = '{init}'"), &AsLoaded, 0, 0).unwrap();
        for linear in run.toy.linears() {
            assert_eq!(linear.effective_weight(), linear.frozen().dense());
        }
    }
}

#[test]
fn both_factors_have_gradients_at_once_and_a_full_start_draws_nothing() {
    let [a, b] = [0, 1].map(|seed| run(SETTINGS, &AsLoaded, 1, seed).unwrap());
    let start = run(SETTINGS, &AsLoaded, 0, 0).unwrap().attachment.store().adapter_tensors();
    for (name, moved) in a.attachment.store().adapter_tensors() {
        assert_eq!(moved, b.attachment.store().adapter_tensors()[&name]);
        assert_eq!(moved == start[&name], name.contains("start"), "{name}");
    }
    let fast = format!("{SETTINGS}init = 'pissa_niter_1'");
    let draws =
        [0, 0, 1].map(|seed| run(&fast, &AsLoaded, 0, seed).unwrap().attachment.store().adapter_tensors());
    assert_eq!(draws[0], draws[1]);
    assert_ne!(draws[0], draws[2]);
}

/// The sign of a pair of singular vectors is arbitrary: turning it in B, A and their starts changes nothing.
#[test]
fn signs_do_not_matter() {
    let run = run(SETTINGS, &AsLoaded, 5, 0).unwrap();
    let flipped: StateDict = (run.attachment.store().adapter_tensors().into_iter())
        .map(|(name, t)| {
            let t = t.copy();
            let axis = i64::from(name.contains("lora_B"));
            let _ = t.select(axis, 2).neg_();
            (name, t)
        })
        .collect();
    let (toy, _) = load(SETTINGS, &AsLoaded, (&flipped, "flipped").into()).unwrap();
    assert_close("sign flip", &output(&toy), &output(&run.toy), Tolerance::F32);
}

#[test]
fn the_file_is_the_plain_lora_of_twice_the_rank() {
    let mut trained = run(SETTINGS, &AsLoaded, 5, 0).unwrap();
    let file = trained.attachment.file_tensors();
    for linear in trained.toy.linears() {
        let of = |tensor: &str| &file[&format!("{}.{tensor}.weight", linear.name())];
        let (a, b) = (of("lora_A"), of("lora_B"));
        assert_eq!((a.size()[0], b.size()[1]), (8, 8));
        // r and α doubled: the same s.
        let plain = linear.frozen().dense() + b.matmul(a) * (16.0 / 8.0);
        assert_close(linear.name(), &plain, &linear.effective_weight(), Tolerance::F32);
    }
    assert_eq!(file.len(), 2 * trained.attachment.sites().len(), "nothing else is in it");
    let config = (PISSA.peft.unwrap().write)(&SETTINGS.parse().unwrap()).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&8.into(), &16.into()));
    assert_eq!(config["init_lora_weights"], true, "no reader may take the start from the base again");

    let back = load(SETTINGS, &AsLoaded, (&file, "file").into()).unwrap().1;
    assert_eq!(back.store().adapter_tensors(), trained.attachment.store().adapter_tensors());
}

#[test]
fn a_file_without_its_start_gets_it_from_the_base() {
    let trained = run(SETTINGS, &AsLoaded, 5, 0).unwrap();
    let file = halves(&trained);
    let (toy, _) = load(SETTINGS, &AsLoaded, (&file, "peft").into()).unwrap();
    assert_eq!(output(&toy), output(&trained.toy));
}

#[test]
fn a_randomized_start_cannot_be_guessed_but_may_be_given() {
    let settings = format!("{SETTINGS}init = 'pissa_niter_1'");
    let (start, trained) =
        (run(&settings, &AsLoaded, 0, 7).unwrap(), run(&settings, &AsLoaded, 5, 7).unwrap());
    let (start, file) = (halves(&start), halves(&trained));
    let error = load(&settings, &AsLoaded, (&file, "peft").into()).unwrap_err().to_string();
    assert!(error.contains("peft: `pissa_niter_1` without the adapter's start"), "{error}");
    let given = FileTensors { tensors: &file, start: Some(&start), origin: "peft" };
    let (toy, _) = load(&settings, &AsLoaded, given).unwrap();
    assert_eq!(output(&toy), output(&trained.toy));
}

/// Singular values that coincide leave the start open: which of their vectors it holds cannot be told.
#[test]
fn an_ambiguous_start_is_refused() {
    let trained = run(SETTINGS, &AsLoaded, 1, 0).unwrap();
    let file = halves(&trained);
    let mut toy = Toy::new(Kind::Float);
    for linear in toy.linears() {
        let _ = linear.frozen().dense().fill_(0.0).fill_diagonal_(1.0, false);
    }
    let method = (PISSA.build)(SETTINGS.parse().unwrap()).unwrap();
    let loaded =
        Attachment::load(&mut toy, "default", method, &Targets::default(), &AsLoaded, (&file, "peft"));
    let error = loaded.unwrap_err().to_string();
    assert!(error.contains("layers.0") && error.contains("singular values 4 and 5"), "{error}");
}

#[test]
fn a_file_of_another_rank_is_refused() {
    let trained = run("rank = 3\nalpha = 6.0", &AsLoaded, 1, 0).unwrap();
    let error = load(SETTINGS, &AsLoaded, (&halves(&trained), "file").into()).unwrap_err().to_string();
    assert!(error.contains("expected 4 rows, or 8 with the start, found 3"), "{error}");
}

#[test]
fn impossible_settings_are_refused_with_what_fits() {
    let error = run("rank = 17", &AsLoaded, 0, 0).unwrap_err().to_string();
    assert!(error.contains("q_proj") && error.contains("at most 16 fits"), "{error}");
    for (settings, field) in [
        ("dropout = 0.1", "dropout"),
        ("rank = 0", "rank"),
        ("quantization_iterations = 0", "quantization_iterations"),
    ] {
        let error = (PISSA.build)(settings.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field} =")), "{error}");
    }
    let error = (PISSA.build)("init = 'piza'".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("`piza` is neither `pissa` nor"), "{error}");
}

/// Eleven levels for each row: about as coarse as four bits.
#[derive(Debug)]
struct Coarse;

impl Storage for Coarse {
    fn freeze(&self, weight: &Tensor) -> Box<dyn FrozenWeight> {
        let step = weight.abs().amax([1].as_slice(), true) / 5.0;
        Box::new(Dense::new(&((weight / &step).round() * step)))
    }

    fn is_lossy(&self) -> bool {
        true
    }
}

/// Nuclear norm, the measure of the paper.
fn nuclear(error: &Tensor) -> f64 {
    linalg::svd(error).unwrap().s.sum(None).double_value(&[])
}

/// Sum over the sites of the nuclear norm of what is lost at the start.
fn lost(storage: &dyn Storage, iterations: u32) -> f64 {
    let settings = format!("{SETTINGS}quantization_iterations = {iterations}");
    let mut run = run(&settings, storage, 0, 0).unwrap();
    let mut original = Toy::new(Kind::Float);
    let pairs = run.toy.linears().into_iter().zip(original.linears());
    pairs.map(|(now, then)| nuclear(&(now.effective_weight() - then.frozen().dense()))).sum()
}

#[test]
fn a_quantized_base_loses_less_than_without_pissa() {
    let qlora: f64 = (Toy::new(Kind::Float).linears().into_iter())
        .map(|linear| linear.frozen().dense())
        .map(|weight| nuclear(&(Coarse.round_trip(&weight) - weight)))
        .sum();
    let (once, five) = (lost(&Coarse, 1), lost(&Coarse, 5));
    assert!(once < qlora, "the residual has smaller entries: {once} against {qlora}");
    assert!(five < once, "iterating helps: {five} against {once}");
}

#[test]
fn a_stored_residual_keeps_the_base_and_refuses_company() {
    let mut run = run(SETTINGS, &Coarse, 3, 0).unwrap();
    run.toy.activate(&Active::None);
    let base = output(&run.toy);
    for linear in run.toy.linears() {
        let tensors = run.attachment.store().adapter_tensors();
        let of = |tensor: &str| &tensors[&format!("{}.{tensor}.weight", linear.name())];
        let start = of("lora_B_start").matmul(of("lora_A_start")) * 2.0;
        let original = Toy::new(Kind::Float)
            .linears()
            .into_iter()
            .find(|l| l.name() == linear.name())
            .unwrap()
            .frozen()
            .dense();
        assert_eq!(linear.frozen().dense(), Coarse.round_trip(&(original - &start)));
        assert_close("base", &linear.effective_weight(), &(linear.frozen().dense() + start), Tolerance::F32);
    }
    let method = (PISSA.build)(SETTINGS.parse().unwrap()).unwrap();
    let second =
        Attachment::new(&mut run.toy, "second", method, &Targets::default(), &Coarse, &Seeds::new(0));
    assert!(second.unwrap_err().to_string().contains("must be the only adapter"));
    run.attachment.detach(&mut run.toy);
    assert_eq!(output(&run.toy), base, "the base outlives its residual's adapter");
}

/// Another start over a residual that is stored already would be silently wrong.
#[test]
fn a_stored_residual_takes_no_other_start() {
    let other = run(&format!("{SETTINGS}init = 'pissa_niter_0'"), &AsLoaded, 1, 3).unwrap();
    let mut run = run(SETTINGS, &Rounded, 1, 0).unwrap();
    let file = other.attachment.file_tensors();
    let error = run.attachment.fill(&mut run.toy, (&file, "file")).unwrap_err().to_string();
    assert!(error.contains("another start over a quantized residual"), "{error}");
    let own = run.attachment.file_tensors();
    run.attachment.fill(&mut run.toy, (&own, "own")).unwrap();
}

#[test]
fn the_residual_is_narrower_than_the_weight() {
    let trained = run(SETTINGS, &AsLoaded, 0, 0).unwrap();
    let mut toy = Toy::new(Kind::Float);
    let tensors = trained.attachment.store().adapter_tensors();
    for linear in toy.linears() {
        let of = |tensor: &str| &tensors[&format!("{}.{tensor}.weight", linear.name())];
        let weight = linear.frozen().dense();
        let residual = &weight - of("lora_B_start").matmul(of("lora_A_start")) * 2.0;
        assert!(residual.std(true).double_value(&[]) < weight.std(true).double_value(&[]));
    }
}
