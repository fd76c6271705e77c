//! Attaching and merging, method by method and shape by shape. Against PEFT: `attach_with_peft.py`.

use benchmarks::{Layer, settings};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use peft_core::Adaptable;

const SHAPES: [[i64; 2]; 3] = [[512, 512], [1376, 512], [512, 1376]];
const RANK: i64 = 32;

/// Methods that need no other run first.
fn methods() -> impl Iterator<Item = &'static str> {
    let alone = |info: &&'static peft_core::MethodInfo| {
        (info.build)(settings(info, RANK)).is_ok_and(|method| method.needs().is_none())
    };
    methods::METHODS.iter().filter(alone).map(|info| info.name)
}

fn of(method: &str) -> toml::Table {
    settings(methods::find(method).expect("a method of the registry"), RANK)
}

fn attach(criterion: &mut Criterion) {
    for shape in SHAPES {
        let mut group =
            criterion.benchmark_group(format!("attach to {} x {}, rank {RANK}", shape[0], shape[1]));
        group.sample_size(10);
        for method in methods() {
            group.bench_function(method, |bencher| {
                let fresh = || Layer::random(shape);
                bencher.iter_batched_ref(
                    fresh,
                    |layer| layer.attach(method, of(method)),
                    BatchSize::PerIteration,
                );
            });
        }
    }
}

fn merge(criterion: &mut Criterion) {
    for shape in SHAPES {
        let mut group =
            criterion.benchmark_group(format!("merge into {} x {}, rank {RANK}", shape[0], shape[1]));
        group.sample_size(20);
        for method in methods() {
            let mut layer = Layer::random(shape);
            let _attachment = layer.attach(method, of(method));
            group.bench_function(method, |bencher| bencher.iter(|| layer.merge()));
        }
    }
}

criterion_group!(benches, attach, merge);
criterion_main!(benches);
