//! The oracles of Bone and Bat: block sums are tiles, Bone is LoRA with a frozen A, Bat exceeds its rank, both layouts of
//! files.

use bone::{BAT, BONE, GuidedBlocks, SharedBlock};
use peft_core::{
    Adaptable, Adapter, AsLoaded, Attachment, Delta, Error, MethodInfo, Mode, Seeds, StateDict, Targets,
    linalg,
};
use peft_testkit::{Tolerance, Toy, Trained, assert_close};
use tch::{Device, Kind, Tensor};

const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);

fn find(_: &str) -> MethodInfo {
    unreachable!("neither needs another run")
}

fn trained(info: &MethodInfo, settings: &str) -> Trained {
    Trained::run(info, &settings.parse().unwrap(), &find, (Kind::Float, &AsLoaded), 6, 0).unwrap()
}

fn attach(info: &MethodInfo, settings: &str) -> Result<Attachment, Error> {
    let method = (info.build)(settings.parse().unwrap())?;
    Attachment::new(
        &mut Toy::new(Kind::Float),
        "default",
        method,
        &Targets::default(),
        &AsLoaded,
        &Seeds::new(0),
    )
}

fn output(toy: &Toy) -> Tensor {
    toy.forward(&toy.input(64), Mode::Eval)
}

fn rank_of(matrix: &Tensor) -> i64 {
    let singular = linalg::svd(matrix).unwrap().s;
    singular.gt(singular.max().double_value(&[]) * 1e-10).sum(Kind::Int64).int64_value(&[])
}

fn shared(block: &Tensor, out_features: i64, in_features: i64) -> SharedBlock {
    SharedBlock { block: block.shallow_clone(), out_features, in_features, dropout: None }
}

/// The definition entry by entry, on a width that the block does not divide.
#[test]
fn an_entry_is_that_of_the_block() {
    tch::manual_seed(0);
    let block = Tensor::randn([5, 4], DOUBLE);
    let weight = shared(&block, 8, 22).weight();
    for (o, i) in [(0, 0), (7, 21), (3, 20), (4, 9)] {
        assert_eq!(weight.double_value(&[o, i]), block.double_value(&[i % 5, o % 4]));
    }
    let padded = weight.constant_pad_nd([0, 3]).view([8, 5, 5]);
    let x = Tensor::randn([3, 22], DOUBLE);
    let by_padding = x.constant_pad_nd([0, 3]).matmul(&padded.view([8, 25]).tr());
    let ours = shared(&block, 8, 22).apply(&x, Mode::Eval);
    assert!((ours - by_padding).abs().max().double_value(&[]) < 1e-12);
}

#[test]
fn the_update_has_the_rank_of_the_block() {
    tch::manual_seed(0);
    let update = |rank: i64, mini: i64| shared(&Tensor::randn([rank, mini], DOUBLE), 12, 10).weight();
    assert_eq!(rank_of(&update(3, 12)), 3);
    assert_eq!(rank_of(&update(5, 2)), 2, "of the mini block, the smaller side");
    assert_eq!(rank_of(&update(10, 12)), 10, "with rank = in the block is the whole update");
}

#[test]
fn a_mini_block_as_wide_as_the_output_is_the_plain_one() {
    tch::manual_seed(0);
    let block = Tensor::randn([3, 12], DOUBLE);
    let (b, a) = shared(&block, 12, 10).factors().unwrap();
    assert_eq!(b, block.tr());
    assert_eq!(b.matmul(&a), shared(&block, 12, 10).weight());
    assert_eq!(a.sum(Kind::Double).double_value(&[]), 10.0, "each input belongs to one row");
}

/// `W·D + D` by blocks, from the formula with an index for each axis.
#[test]
fn bat_is_the_einsum_and_exceeds_its_rank() {
    tch::manual_seed(0);
    let (weight, blocks) = (Tensor::randn([12, 8], DOUBLE), Tensor::randn([3, 4, 4], DOUBLE));
    let effective = GuidedBlocks { blocks: blocks.shallow_clone() }.effective_weight(&weight);
    let w = weight.view([3, 4, 2, 4]);
    let einsum = Tensor::einsum("oagc,oce->oage", &[&w, &blocks], None::<i64>) + blocks.unsqueeze(2);
    let expected = &weight + einsum.reshape([12, 8]);
    assert!((&effective - expected).abs().max().double_value(&[]) < 1e-12);
    assert_eq!(rank_of(&(effective - weight)), 8, "4 is the rank of a block, not of the update");
}

/// Bat's update depends on the weight it finds, Bone's does not: two of Bat do not commute.
#[test]
fn two_of_bat_do_not_commute() {
    tch::manual_seed(0);
    let weight = Tensor::randn([8, 8], DOUBLE);
    let bat = |seed| {
        tch::manual_seed(seed);
        GuidedBlocks { blocks: Tensor::randn([2, 4, 4], DOUBLE) }
    };
    let ab = bat(2).effective_weight(&bat(1).effective_weight(&weight));
    let ba = bat(1).effective_weight(&bat(2).effective_weight(&weight));
    assert!((ab - ba).abs().max().double_value(&[]) > 0.1);
}

/// Files under the older names load, and files are written under them on request.
#[test]
fn both_layouts_hold_the_same_adapter() {
    for (info, settings) in [(&BONE, "rank = 5"), (&BAT, "rank = 4")] {
        let run = trained(info, settings);
        let new = run.attachment.file_tensors();
        let old: StateDict = (new.iter())
            .map(|(name, t)| (name.replace("miss_block", "bone_block"), t.shallow_clone()))
            .collect();
        assert!(new.keys().all(|name| name.ends_with(".miss_block")));
        for (tensors, layout) in [(&new, "miss"), (&old, "bone")] {
            let table: toml::Table = format!("{settings}\nlayout = '{layout}'").parse().unwrap();
            let config = (info.peft.unwrap().write)(&table).unwrap();
            assert_eq!(config["peft_type"], layout.to_uppercase());
            let read = (info.peft.unwrap().read)(&config).unwrap().expect("claims its own");
            let other = if info.name == "bone" { &BAT } else { &BONE };
            assert!((other.peft.unwrap().read)(&config).unwrap().is_none(), "leaves the other's alone");

            let mut toy = Toy::new(Kind::Float);
            let method = (info.build)(read).unwrap();
            let loaded =
                Attachment::load(&mut toy, "file", method, &Targets::default(), &AsLoaded, (tensors, "file"))
                    .unwrap();
            toy.activate(&loaded.active());
            assert_close(layout, &output(&toy), &output(&run.toy), Tolerance::EXACT);
            assert!(loaded.file_tensors().keys().eq(tensors.keys()), "written as it was read");
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused_by_name() {
    let refusal = |info, settings| attach(info, settings).unwrap_err().to_string();
    assert!(refusal(&BAT, "rank = 5").contains("`rank = 5` does not divide its 16 inputs"));
    assert!(refusal(&BONE, "rank = 17").contains("`rank = 17` is more than its 16 inputs"));
    assert!(refusal(&BONE, "rank = 4\nmini_rank = 5").contains("`mini_rank = 5` does not divide"));
    assert!(refusal(&BONE, "rank = 0").contains("rank"));
    assert!(refusal(&BONE, "rank = 4\nmini_rank = 4\nlayout = 'bone'").contains("layout"));
}
