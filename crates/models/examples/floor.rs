//! The frozen floor: forward and input-gradient backward of a model without adapter. One step for each line on the
//! standard input, its seconds and its loss on the standard output. `tests/reference/floor.py` runs it in turns with
//! transformers.
#![allow(clippy::print_stdout)]

use std::io::BufRead;
use std::time::Instant;

use models::{Activations, Decoder, ModelConfig};
use peft_core::{Mode, Seeds};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), peft_core::Error> {
    peft_core::device::keep_freed_memory();

    tch::set_num_threads(std::env::var("OMP_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(2));
    let json = serde_json::json!({
        "model_type": "llama", "hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8,
        "intermediate_size": 1376, "vocab_size": 4096,
    });
    let config = ModelConfig::parse(json.as_object().expect("an object").clone())?;
    let device = Device::Cpu;
    let model = Decoder::random(&config, &Seeds::new(0), Kind::Float, device)?;
    let ids = Tensor::randint(4096, [8, 256], (Kind::Int64, device));
    let activations = match std::env::args().nth(1).as_deref() {
        Some("recompute") => Activations::Recompute { trainable: &[] },
        _ => Activations::Keep,
    };
    println!("ready");
    for _ in std::io::stdin().lock().lines() {
        let start = Instant::now();
        let embedded = model.embed(&ids)?.set_requires_grad(true);
        let hidden = model.hidden_from(&embedded, None, Mode::Train { seed: 0 }, activations)?;
        let loss = model.loss(&hidden, &ids, Mode::Train { seed: 0 })?;
        let mean = loss.sum / loss.tokens as f64;
        let gradient = &Tensor::f_run_backward(&[&mean], &[&embedded], false, false)?[0];
        let (mean, norm) = (mean.double_value(&[]), gradient.norm().double_value(&[]));
        println!("{:.4} {mean:.4} {norm:.3e}", start.elapsed().as_secs_f64());
    }
    Ok(())
}
