#![doc = include_str!("../README.md")]

mod adalora_dash;
mod dvora;

pub use adalora_dash::{ADALORA_DASH, AdaLoraDash, AdaLoraDashConfig};
pub use dvora::{DVORA, Dvora, DvoraConfig};

use peft_core::{Error, MethodInfo, Result};

/// Every method, in the order in which tables list them.
pub const METHODS: &[MethodInfo] = &[
    baselines::FULL,
    lora::LORA,
    lora::LORA_PLUS,
    rslora::RSLORA,
    baselines::LORA_FA,
    lori::LORI_D,
    lori::LORI_S,
    dora::DORA,
    pissa::PISSA,
    milora::MILORA,
    lora_dash::LORA_DASH,
    spectral_adapter::SPECTRAL_A,
    spectral_adapter::SPECTRAL_R,
    rosa::ROSA,
    rosa::SPA,
    adalora::ADALORA,
    bone::BONE,
    bone::BAT,
    baselines::OLORA,
    baselines::VERA,
    DVORA,
    ADALORA_DASH,
];

/// Variations of a method and parts of one, which `all` leaves out and `every` does not.
const VARIATIONS: [&str; 5] = ["lora-plus", "lora-fa", "spa", "dvora", "adalora-dash"];

/// The method of this exact name.
///
/// # Errors
/// [`Error::Unknown`], whose hint names the nearest.
pub fn find(name: &str) -> Result<&'static MethodInfo> {
    METHODS.iter().find(|info| info.name == name).ok_or_else(|| unknown(name))
}

/// The methods that `word` selects: `all` (without variations such as LoRA+), `every`, an exact name, or a family.
///
/// # Errors
/// [`Error::Unknown`], whose hint names the nearest.
pub fn select(word: &str) -> Result<Vec<&'static MethodInfo>> {
    match word {
        "every" => return Ok(METHODS.iter().collect()),
        "all" => return Ok(METHODS.iter().filter(|info| !VARIATIONS.contains(&info.name)).collect()),
        _ => {}
    }
    if let Ok(exact) = find(word) {
        return Ok(vec![exact]);
    }
    let family: Vec<_> = METHODS.iter().filter(|info| info.family == word).collect();
    if family.is_empty() { Err(unknown(word)) } else { Ok(family) }
}

fn unknown(name: &str) -> Error {
    let mut known: Vec<String> =
        METHODS.iter().flat_map(|info| [info.name, info.family]).map(str::to_owned).collect();
    known.dedup();
    Error::Unknown { what: "method".to_owned(), name: name.to_owned(), known }
}
