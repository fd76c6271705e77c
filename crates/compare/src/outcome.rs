//! What happened to each item, stored beside a record as compressed JSON lines.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// What is learned from.
    Train,
    /// What chooses.
    Validation,
    /// What is reported, and chooses nothing.
    Test,
}

/// One item, what the model made of it, and how that was scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The item's id, the same for every method and seed.
    pub id: String,
    /// Items that stand or fall together (a harmful request and its harmless twin) share a cluster.
    pub cluster: Option<String>,
    /// The split it belongs to.
    pub split: Split,
    /// What the model wrote.
    pub output: String,
    /// Score by metric, 0/1 or real, and the columns that statistics are made from; absent where the item does not count.
    pub scores: BTreeMap<String, f64>,
}

/// What a record knows about its outcomes' file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomesFile {
    /// Number of outcomes.
    pub count: u64,
    /// BLAKE3 of the uncompressed JSON lines.
    pub hash: String,
}

/// The zstd level; outcomes are written once and kept.
const LEVEL: i32 = 9;

/// Compressed JSON lines and what identifies them.
pub(crate) fn encode(outcomes: &[Outcome]) -> (Vec<u8>, OutcomesFile) {
    let mut lines = Vec::new();
    for outcome in outcomes {
        serde_json::to_writer(&mut lines, outcome).expect("an outcome is plain data");
        lines.push(b'\n');
    }
    let file = OutcomesFile { count: outcomes.len() as u64, hash: blake3::hash(&lines).to_hex().to_string() };
    (zstd::encode_all(lines.as_slice(), LEVEL).expect("memory takes all"), file)
}

/// Reads compressed JSON lines and checks that they are the ones `expected` names.
pub(crate) fn decode(path: &Path, bytes: &[u8], expected: &OutcomesFile) -> Result<Vec<Outcome>> {
    let lines = zstd::decode_all(bytes).map_err(Error::io("decompress", path))?;
    let changed = |reason| Error::OutcomesChanged { path: path.to_owned(), reason };
    let outcomes = lines
        .split_inclusive(|&byte| byte == b'\n')
        .zip(1..)
        .map(|(line, number)| {
            let origin = || format!("{}:{number}", path.display());
            serde_json::from_slice(line).map_err(|source| Error::Json {
                what: "outcome",
                origin: origin(),
                source,
            })
        })
        .collect::<Result<Vec<Outcome>>>()?;
    if outcomes.len() as u64 != expected.count {
        return Err(changed(format!("{} outcomes instead of {}", outcomes.len(), expected.count)));
    }
    if blake3::hash(&lines).to_hex().as_str() != expected.hash {
        return Err(changed("their hash differs".into()));
    }
    Ok(outcomes)
}
