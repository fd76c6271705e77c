//! The files that come with the program.

use crate::error::suggest;
use crate::{Error, Result, TaskConfig};

/// Task files by name, in the order of listings.
pub const PROVIDED: &[(&str, &str)] = &[
    ("nlu", include_str!("../../../configs/tasks/nlu.toml")),
    ("math", include_str!("../../../configs/tasks/math.toml")),
    ("code", include_str!("../../../configs/tasks/code.toml")),
    ("safety", include_str!("../../../configs/tasks/safety.toml")),
    ("gsm8k", include_str!("../../../configs/tasks/gsm8k.toml")),
    ("gsm8k-lori", include_str!("../../../configs/tasks/gsm8k-lori.toml")),
    ("humaneval", include_str!("../../../configs/tasks/humaneval.toml")),
    ("mbpp", include_str!("../../../configs/tasks/mbpp.toml")),
    ("viggo", include_str!("../../../configs/tasks/viggo.toml")),
    ("commonsense", include_str!("../../../configs/tasks/commonsense.toml")),
    ("boolq", include_str!("../../../configs/tasks/boolq.toml")),
    ("piqa", include_str!("../../../configs/tasks/piqa.toml")),
    ("social-iqa", include_str!("../../../configs/tasks/social-iqa.toml")),
    ("winogrande", include_str!("../../../configs/tasks/winogrande.toml")),
    ("arc-easy", include_str!("../../../configs/tasks/arc-easy.toml")),
    ("arc-challenge", include_str!("../../../configs/tasks/arc-challenge.toml")),
    ("openbookqa", include_str!("../../../configs/tasks/openbookqa.toml")),
    ("hellaswag", include_str!("../../../configs/tasks/hellaswag.toml")),
    ("arithmetic", include_str!("../../../configs/tasks/arithmetic.toml")),
    ("addsub", include_str!("../../../configs/tasks/addsub.toml")),
    ("multiarith", include_str!("../../../configs/tasks/multiarith.toml")),
    ("singleeq", include_str!("../../../configs/tasks/singleeq.toml")),
    ("svamp", include_str!("../../../configs/tasks/svamp.toml")),
    ("mawps", include_str!("../../../configs/tasks/mawps.toml")),
    ("gsm8k-adapters", include_str!("../../../configs/tasks/gsm8k-adapters.toml")),
    ("aqua", include_str!("../../../configs/tasks/aqua.toml")),
    ("math500", include_str!("../../../configs/tasks/math500.toml")),
    ("safety-tuned", include_str!("../../../configs/tasks/safety-tuned.toml")),
    ("advbench", include_str!("../../../configs/tasks/advbench.toml")),
    ("hex-phi", include_str!("../../../configs/tasks/hex-phi.toml")),
    ("physical-safety-safe", include_str!("../../../configs/tasks/physical-safety-safe.toml")),
    ("malicious-instructions", include_str!("../../../configs/tasks/malicious-instructions.toml")),
    ("xstest", include_str!("../../../configs/tasks/xstest.toml")),
    ("alpaca", include_str!("../../../configs/tasks/alpaca.toml")),
    ("code-alpaca", include_str!("../../../configs/tasks/code-alpaca.toml")),
    ("codegen-instruct", include_str!("../../../configs/tasks/codegen-instruct.toml")),
    ("cola", include_str!("../../../configs/tasks/cola.toml")),
    ("sst2", include_str!("../../../configs/tasks/sst2.toml")),
    ("mrpc", include_str!("../../../configs/tasks/mrpc.toml")),
    ("stsb", include_str!("../../../configs/tasks/stsb.toml")),
    ("qqp", include_str!("../../../configs/tasks/qqp.toml")),
    ("mnli", include_str!("../../../configs/tasks/mnli.toml")),
    ("mnli-mismatched", include_str!("../../../configs/tasks/mnli-mismatched.toml")),
    ("qnli", include_str!("../../../configs/tasks/qnli.toml")),
    ("rte", include_str!("../../../configs/tasks/rte.toml")),
    ("squad", include_str!("../../../configs/tasks/squad.toml")),
    ("squad2", include_str!("../../../configs/tasks/squad2.toml")),
    ("xquad-en", include_str!("../../../configs/tasks/xquad-en.toml")),
    ("xsum", include_str!("../../../configs/tasks/xsum.toml")),
    ("xsum-1000", include_str!("../../../configs/tasks/xsum-1000.toml")),
    ("cnn-dailymail", include_str!("../../../configs/tasks/cnn-dailymail.toml")),
    ("viggo-text", include_str!("../../../configs/tasks/viggo-text.toml")),
    ("e2e", include_str!("../../../configs/tasks/e2e.toml")),
    ("text2sql", include_str!("../../../configs/tasks/text2sql.toml")),
    ("wikitext2", include_str!("../../../configs/tasks/wikitext2.toml")),
    ("tinystories", include_str!("../../../configs/tasks/tinystories.toml")),
];

/// The built-in suite.
pub const SUITE_MINI: &str = include_str!("../../../configs/suites/mini.toml");

/// How the built-in model is made.
pub const PRETRAIN_MINI: &str = include_str!("../../../configs/pretrain/mini.toml");

/// A task file that comes with the program.
///
/// # Errors
/// [`Error::Config`] with the nearest name when there is none of this name.
pub fn provided(name: &str) -> Result<TaskConfig> {
    let Some((_, text)) = PROVIDED.iter().find(|(known, _)| *known == name) else {
        return Err(Error::Config {
            origin: "configs/tasks".to_owned(),
            line: None,
            reason: format!("no task is called `{name}`"),
            hint: suggest(name, PROVIDED.iter().map(|(known, _)| *known)),
        });
    };
    TaskConfig::parse(text, &format!("configs/tasks/{name}.toml"))
}
