//! Settings of every method that fit the toy.

use peft_core::MethodInfo;

/// Settings that fit the toy's layers: where a method's defaults assume a large model, and where a setting changes what
/// is computed.
pub fn settings(info: &MethodInfo) -> Vec<toml::Table> {
    const RANK: &str = "rank = 4\nalpha = 8.0";
    let variants: &[&str] = match info.name {
        "full" => &[""],
        "vera" | "dvora" => &["rank = 8", "rank = 8\nprojection_prng_key = 1\nsave_projection = false"],
        "lori-s" => &["rank = 4\nalpha = 8.0\nsparsity = 0.5"],
        "dora" => &[RANK, "rank = 4\nnorm_gradient = 'full'\nmagnitude_only = ['up_proj']"],
        "pissa" => &[RANK, "rank = 4\nalpha = 4.0\ninit = 'pissa_niter_2'\nquantization_iterations = 2"],
        "milora" => &[RANK, "rank = 4\nalpha = 4.0\ncomponents = 'random'\nsvd = 'full'"],
        "lora-dash" => &["rank = 4\nalpha = 8.0\ndirections = 3", "rank = 4\nlaunch = 2\nchoice = 'random'"],
        "adalora-dash" => &[
            "initial_rank = 4\ntarget_rank = 3\nalpha = 16.0\ninterval = 1\ndirections = 3\nlaunch = 1",
            "initial_rank = 3\ntarget_rank = 3\nalpha = 16.0\ndirections = 2\ndropout = 0.1",
        ],
        "spectral-a" => &["rank = 4", "rank = 4\nstart = 2\ncounted_from = 'smallest'"],
        "spectral-r" => &["rank = 12\ntrain_scale = true", "rank = 12\nstart = 1"],
        "rosa" => &[
            "rank = 4\nalpha = 8.0\ndensity = 0.1",
            "rank = 2\ndensity = 0.2\nlow_rank_steps = 2\nscore = 'mean'\nlr_ratio = 2.0\ndropout = 0.1",
        ],
        "spa" => &["density = 0.3"],
        "adalora" => &[
            "initial_rank = 4\ntarget_rank = 2\nalpha = 16.0\ninterval = 1",
            "initial_rank = 3\ntarget_rank = 3\nalpha = 16.0\northogonality = 0.0\ndropout = 0.1",
        ],
        "bone" => &["rank = 4", "rank = 5\nmini_rank = 4", "rank = 7"],
        "bat" => &["rank = 4", "rank = 8"],
        "lora-fa" => &[RANK, "rank = 4\ngradient = 'plain'"],
        _ => &[RANK],
    };
    variants.iter().map(|text| text.parse().unwrap()).collect()
}

/// Beyond the usual settings, those that change what a run has to remember.
#[allow(dead_code, reason = "only tests of checkpoints ask for them")]
pub fn settings_with_phases(info: &MethodInfo) -> Vec<toml::Table> {
    let more: &[&str] = match info.name {
        "lora" => &["rank = 4\nalpha = 8.0\ndropout = 0.2"],
        "lori-s" => &[
            "rank = 4\nalpha = 8.0\nsparsity = 0.5\ncalibration_steps = 3\na = 'fresh'",
            "rank = 4\nalpha = 8.0\nsparsity = 0.5\ncalibration_steps = 3\na = 'same'\ndropout = 0.1",
        ],
        "rosa" => &["rank = 2\ndensity = 0.2\nlow_rank_steps = 2\ncollection_steps = 3"],
        "spa" => &["density = 0.2\ncollection_steps = 4\nscore = 'mean'"],
        _ => &[],
    };
    settings(info).into_iter().chain(more.iter().map(|text| text.parse().unwrap())).collect()
}
