//! Claims through the binary, and false claims in their place.

mod common;

use common::{run, text};
use harness::claims::checks::{
    Draws, capacity, orthogonality, quantization, rank_of_update, singular_values, stability,
};
use harness::claims::{CLAIMS, Verdict};
use peft_core::residual::Components;

/// Those that are theorems: a program for which one of them does not hold is wrong.
const THEOREMS: &str = "lori-orthogonality,rslora-stability,bat-rank,spectral-capacity,spectral-rotation";

#[test]
fn theorems_hold_and_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let output = run(&["claims", "--only", THEOREMS, "--out", out, "--json", "--quiet"]);
    assert!(output.status.success(), "{}", text(&output));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let kept: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("claims.json")).unwrap()).unwrap();
    assert_eq!(printed, kept);
    let rows = printed.as_array().unwrap();
    assert_eq!(rows.len(), THEOREMS.split(',').count());
    for row in rows {
        assert_eq!(row["finding"]["verdict"], "holds", "{row:#}");
        let estimate = &row["finding"]["estimates"][0];
        let [low, value, high] = ["low", "value", "high"].map(|key| estimate[key].as_f64().unwrap());
        assert!(low <= value && value <= high, "{row:#}");
    }
}

#[test]
fn a_slip_in_a_name_is_answered() {
    let output = run(&["claims", "--only", "spectral-capcity"]);
    assert!(!output.status.success());
    let said = text(&output);
    assert!(
        said.contains("unknown claim `spectral-capcity`") && said.contains("`spectral-capacity`"),
        "{said}"
    );
}

/// The opposite of each claim, planted: the method that the claim sets itself apart from stands in its place.
#[test]
fn what_does_not_hold_is_found() {
    let planted = [
        ("one A for all tasks", orthogonality("lori-d", Draws::Shared)),
        ("LoRA as rsLoRA", stability("lora")),
        ("LoRA as Spectral-A", capacity("lora")),
        ("Spectral-A as Spectral-R", singular_values("spectral-a")),
        ("Bone as Bat", rank_of_update("bone")),
    ];
    for (what, finding) in planted {
        let finding = finding.unwrap();
        assert_eq!(finding.verdict, Verdict::DoesNotHold, "{what}: {}", finding.ours);
    }
    // Keeping the smallest part out of the 4 bits brings back next to nothing.
    let [principal, minor] =
        [Components::Principal, Components::Minor].map(|part| quantization(part).unwrap());
    assert!(
        minor.estimates[0].value < 0.5 * principal.estimates[0].value,
        "{}; {}",
        principal.ours,
        minor.ours
    );
}

#[test]
fn names_are_unique_and_papers_are_those_of_methods() {
    let mut names: Vec<&str> = CLAIMS.iter().map(|claim| claim.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CLAIMS.len());
    for claim in CLAIMS {
        assert!(methods::METHODS.iter().any(|info| info.paper.arxiv == claim.arxiv), "{}", claim.name);
    }
}
