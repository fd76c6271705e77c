//! A pretrained encoder gives the embeddings that transformers gives.

mod common;

use common::shared;
use models::{Classifier, Frame, HeadSource, ModelFiles, Rows, Tokenizer};
use peft_core::{Mode, Seeds};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// Means over tokens of the last hidden states; values are of the order of 1.
const TOLERANCE: f64 = 1e-4;

#[test]
fn sentence_embeddings() {
    let Some(folder) = shared("models/all-minilm-l6-v2") else { return };
    let golden: Value = serde_json::from_str(include_str!("golden/minilm.json")).unwrap();
    let files = ModelFiles::Folder(folder);
    let tokenizer = Tokenizer::load(&files).unwrap();
    let seeds = Seeds::new(0);
    let head = HeadSource::Fresh { labels: 2, seeds: &seeds };
    let model = Classifier::load(&files, Some(Kind::Float), Device::Cpu, head).unwrap();
    let rows = golden.as_array().unwrap();
    let ids: Vec<Vec<i64>> = rows
        .iter()
        .map(|row| tokenizer.encode(row["text"].as_str().unwrap(), Frame::Added).unwrap())
        .collect();
    let longest = ids.iter().map(Vec::len).max().unwrap();
    let (mut flat, mut mask) = (Vec::new(), Vec::new());
    for (row, ids) in rows.iter().zip(&ids) {
        assert_eq!(serde_json::to_value(ids).unwrap(), row["ids"], "{}", row["text"]);
        flat.extend(ids.iter().copied().chain(std::iter::repeat_n(0, longest - ids.len())));
        mask.extend((0..longest).map(|place| i64::from(place < ids.len())));
    }
    let shape = [rows.len() as i64, longest as i64];
    let (ids, mask) = (Tensor::from_slice(&flat).view(shape), Tensor::from_slice(&mask).view(shape));
    let batch = Rows { ids: &ids, mask: Some(&mask), types: None };
    let states = tch::no_grad(|| model.hidden_states(batch, Mode::Eval)).unwrap().pop().unwrap();
    let mask = mask.unsqueeze(-1).to_kind(Kind::Float);
    let sums = (states * &mask).sum_dim_intlist(1, false, None::<Kind>);
    let means = sums / mask.sum_dim_intlist(1, false, None::<Kind>);
    for (index, row) in rows.iter().enumerate() {
        let want: Vec<f64> = serde_json::from_value(row["embedding"].clone()).unwrap();
        let difference =
            (means.get(index as i64).to_kind(Kind::Double) - Tensor::from_slice(&want)).abs().max();
        let difference = difference.double_value(&[]);
        assert!(difference < TOLERANCE, "{}: {difference:e}", row["text"]);
    }
}
