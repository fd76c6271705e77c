//! Cases of kind `generate`: greedy decoding of a left-padded batch.

use std::ops::ControlFlow;

use models::{Decoder, Generation, Sampling, Watch};
use tch::{Kind, Tensor};

use super::{Case, Checks};
use crate::{Error, Result, session};

pub(super) fn run(case: &Case, checks: &mut Checks) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let given = case.tensors("batches.safetensors")?;
    let input = |name: &str| {
        given.get(name).ok_or_else(|| Error::Usage(format!("batches.safetensors holds no `{name}`")))
    };
    let (ids, mask) = (input("input_ids")?, input("attention_mask")?);
    let decoder = session::load_decoder(&case.folder.join("model"), Kind::Float, tch::Device::Cpu)?;
    let prompts = rows(ids, mask);
    let new_tokens: usize = case.field("max_new_tokens")?;
    let pad: i64 = case.field("pad_token_id")?;
    let eos: i64 = case.field("eos_token_id_for_tokens_eos")?;

    let mut logits: Vec<Vec<Tensor>> = prompts.iter().map(|_| Vec::new()).collect();
    let free = decode(&decoder, &prompts, new_tokens, Vec::new(), &mut |new| {
        logits[new.prompt].push(new.logits().copy());
        ControlFlow::Continue(())
    })?;
    let logits: Vec<Tensor> = logits.iter().map(|row| Tensor::stack(row, 0)).collect();
    checks.tensor("tokens", &padded(&free, new_tokens, pad), &expected["tokens"]);
    checks.tensor("step_logits", &Tensor::stack(&logits, 0), &expected["step_logits"]);
    let stopped = decode(&decoder, &prompts, new_tokens, vec![eos], &mut |_| ControlFlow::Continue(()))?;
    checks.tensor("tokens_eos", &padded(&stopped, new_tokens, pad), &expected["tokens_eos"]);
    // Each row alone, without padding, must go on in the same way.
    for (row, prompt) in prompts.iter().enumerate() {
        let alone = decode(&decoder, std::slice::from_ref(prompt), new_tokens, Vec::new(), &mut |_| {
            ControlFlow::Continue(())
        })?;
        let want = expected["tokens"].get(row as i64).unsqueeze(0);
        checks.tensor(&format!("tokens.row{row}_alone"), &padded(&alone, new_tokens, pad), &want);
    }
    Ok(())
}

fn decode(
    decoder: &Decoder,
    prompts: &[Vec<i64>],
    max_new_tokens: usize,
    end_tokens: Vec<i64>,
    watch: Watch<'_>,
) -> Result<Vec<Vec<i64>>> {
    let settings = Generation {
        max_new_tokens,
        sampling: Sampling::Greedy,
        end_tokens,
        stop_strings: Vec::new(),
        batch_size: prompts.len(),
    };
    let completions = decoder.generate(prompts, &settings, None, watch)?;
    Ok(completions.into_iter().map(|completion| completion.tokens).collect())
}

/// The tokens of each row where the mask is 1.
fn rows(ids: &Tensor, mask: &Tensor) -> Vec<Vec<i64>> {
    (0..ids.size()[0])
        .map(|row| {
            let kept = ids.get(row).masked_select(&mask.get(row).to_kind(Kind::Bool));
            Vec::<i64>::try_from(kept).expect("token ids")
        })
        .collect()
}

fn padded(rows: &[Vec<i64>], length: usize, pad: i64) -> Tensor {
    let mut flat = Vec::new();
    for row in rows {
        let mut ids = row.clone();
        ids.resize(length, pad);
        flat.extend(ids);
    }
    Tensor::from_slice(&flat).view([rows.len() as i64, length as i64])
}
