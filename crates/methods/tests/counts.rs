//! Trainable counts that papers, logs and result files print, from shapes alone.

use methods::find;
use peft_core::{ModelShape, Site, SiteShape};

/// One projection of every layer: name, `[out, in]`.
type Projection = (&'static str, i64, i64);

/// Llama-3-8B and Mistral-7B-v0.1, which are the same for adapters.
const LLAMA_3_8B: [Projection; 7] = shapes(4096, 1024, 14336);
/// LLaMA-7B and Llama-2-7B.
const LLAMA_7B: [Projection; 7] = shapes(4096, 4096, 11008);
/// Llama-3.2-3B.
const LLAMA_3_2_3B: [Projection; 7] = shapes(3072, 1024, 8192);

const fn shapes(hidden: i64, key_value: i64, inner: i64) -> [Projection; 7] {
    [
        ("q_proj", hidden, hidden),
        ("k_proj", key_value, hidden),
        ("v_proj", key_value, hidden),
        ("o_proj", hidden, hidden),
        ("gate_proj", inner, hidden),
        ("up_proj", inner, hidden),
        ("down_proj", hidden, inner),
    ]
}

const ALL: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
/// The five of LLM-Adapters, on which DoRA and MiLoRA were run.
const FIVE: [&str; 5] = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"];

fn count(method: &str, settings: &str, layers: i64, shapes: &[Projection], targets: &[&str]) -> u64 {
    let sites: Vec<Site> = (0..layers)
        .flat_map(|layer| shapes.iter().map(move |shape| (layer, shape)))
        .filter(|(_, (name, ..))| targets.contains(name))
        .enumerate()
        .map(|(index, (layer, &(name, out_features, in_features)))| Site {
            index,
            name: format!("model.layers.{layer}.{name}"),
            shape: SiteShape { out_features, in_features },
        })
        .collect();
    let model = ModelShape { sites: &sites, base_parameters: 0 };
    (find(method).unwrap().count)(&settings.parse().unwrap(), model).unwrap()
}

#[test]
fn counts_that_others_print() {
    let rank = |r: i64| format!("rank = {r}");
    // A training log of LoRI's code.
    assert_eq!(count("lora", &rank(32), 32, &LLAMA_3_8B, &ALL), 83_886_080);
    assert_eq!(count("lori-d", &rank(32), 32, &LLAMA_3_8B, &ALL), 44_040_192);
    assert_eq!(count("lora-fa", &rank(32), 32, &LLAMA_3_8B, &ALL), 44_040_192);
    // The percentages of DoRA's table 1.
    assert_eq!(count("lora", &rank(32), 32, &LLAMA_7B, &FIVE), 56_098_816);
    assert_eq!(count("milora", &rank(32), 32, &LLAMA_7B, &FIVE), 56_098_816);
    assert_eq!(count("dora", &rank(32), 32, &LLAMA_7B, &FIVE), 56_975_360);
    // PiSSA's setting.
    assert_eq!(count("pissa", &rank(128), 32, &LLAMA_7B, &ALL), 319_815_680);
    // VeRA's table 4: 1.6 M.
    assert_eq!(count("vera", &rank(1024), 32, &LLAMA_7B, &ALL), 1_589_248);
    // MiSS's table 5.
    assert_eq!(count("bone", &rank(64), 32, &LLAMA_7B, &ALL), 87_031_808);
    // Result files of PEFT's method comparison.
    let pair = ["q_proj", "v_proj"];
    assert_eq!(count("bone", &rank(64), 28, &LLAMA_3_2_3B, &pair), 7_340_032);
    assert_eq!(count("bat", &rank(64), 28, &LLAMA_3_2_3B, &pair), 7_340_032);
    assert_eq!(count("bone", "rank = 64\nmini_rank = 64", 28, &LLAMA_3_2_3B, &pair), 229_376);
    assert_eq!(count("adalora", "initial_rank = 64\ntarget_rank = 32", 28, &LLAMA_3_2_3B, &pair), 18_353_664);
    assert_eq!(count("lora", &rank(32), 28, &LLAMA_3_2_3B, &pair), 9_175_040);
    assert_eq!(count("rslora", &rank(64), 28, &LLAMA_3_2_3B, &pair), 18_350_080);
    assert_eq!(count("dora", &rank(32), 28, &LLAMA_3_2_3B, &pair), 9_289_728);
    assert_eq!(count("vera", &rank(256), 28, &LLAMA_3_2_3B, &pair), 129_024);
}

/// Magnitudes alone on o, gate, up and down, all of DoRA on q, k and v: 0.39 % of 6.7 G (DoRA's table 6).
#[test]
fn magnitude_only_modules_count_their_outputs() {
    let settings = "rank = 16\nmagnitude_only = ['o_proj', 'gate_proj', 'up_proj', 'down_proj']";
    let counted = count("dora", settings, 32, &LLAMA_7B, &ALL);
    let per_layer = 3 * (16 * 8192 + 4096) + (4096 + 11008 + 11008 + 4096);
    assert_eq!(counted, 32 * per_layer);
}
