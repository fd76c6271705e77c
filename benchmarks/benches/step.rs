//! A training step of every method against the frozen floor, on a model small enough for a quick look.
//! For the figures that are reported, see `compare_with_peft.py`.

use benchmarks::Contestant;
use criterion::{Criterion, criterion_group, criterion_main};
use models::{Decoder, ModelConfig};
use peft_core::Seeds;
use serde_json::{Value, json};
use tch::{Device, Kind};

fn decoder() -> Decoder {
    let Value::Object(config) = json!({
        "model_type": "llama", "vocab_size": 1024, "hidden_size": 256, "intermediate_size": 688,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
    }) else {
        unreachable!("an object literal")
    };
    let config = ModelConfig::parse(config).expect("a Llama");
    Decoder::random(&config, &Seeds::new(0), Kind::Float, Device::Cpu).expect("a decoder")
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step of 4 x 128 tokens, hidden 256, 4 layers, rank 16");
    group.sample_size(20);
    let names = std::iter::once("floor").chain(methods::METHODS.iter().map(|info| info.name));
    for name in names {
        let mut contestant = Contestant::new(decoder(), name, 16, [4, 128]);
        let mut index = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                index += 1;
                contestant.step(index)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
