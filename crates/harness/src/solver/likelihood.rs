//! Answers that nobody writes: which of some texts a decoder finds likeliest, and how likely it finds a given one.

use models::Activations;
use peft_core::Mode;
use tasks::{Batch, Encoder, IGNORED, Item, Normalize, Sequence, Target, Template};
use tch::Kind;

use super::{Answers, CausalLm, Exam};
use crate::part::Part;
use crate::progress::Progress;
use crate::{Error, Result, interrupt};

/// One of the texts an item chooses from.
struct Choice {
    item: usize,
    text: String,
    /// What its log-likelihood is divided by.
    divisor: f64,
}

/// The likeliest of the texts that `options` make of each item, after its prompt.
pub(super) fn choose(
    model: &CausalLm,
    exam: &Exam<'_>,
    items: &[Item],
    options: &[Template],
    normalize: Normalize,
    progress: &mut Progress,
) -> Result<Answers> {
    let (mut choices, mut endings) = (Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        for option in options {
            let text = option.render(&item.fields).expect("options are checked when the file is parsed");
            let tokens = exam.text.tokenizer.encode(&text)?;
            if text.trim().is_empty() || tokens.is_empty() {
                continue;
            }
            let divisor = match normalize {
                Normalize::None => 1,
                Normalize::Tokens => tokens.len(),
                Normalize::Characters => text.trim().chars().count(),
            };
            choices.push(Choice { item: index, text: text.trim().to_owned(), divisor: divisor as f64 });
            endings.push(tokens);
        }
    }
    let longest = endings.iter().map(Vec::len).max().unwrap_or(0);
    let encoder = Encoder::new(exam.task, &exam.text.tokenizer)?;
    let prompts = encoder.prompts(items, longest, model.decoder.context() as usize)?;
    let sequence = |(choice, ending): (&Choice, &Vec<u32>)| {
        let prompt = &prompts.prompts[choice.item];
        let mut labels = vec![IGNORED; prompt.len()];
        labels.extend(ending.iter().map(|&token| i64::from(token)));
        let tokens: Vec<u32> = prompt.iter().chain(ending).copied().collect();
        Sequence { tokens, types: Vec::new(), target: Target::Tokens(labels) }
    };
    let sequences: Vec<Sequence> = choices.iter().zip(&endings).map(sequence).collect();
    let nats = surprise(model, exam, &sequences, &mut |index| {
        if index == 0 || choices[index].item != choices[index - 1].item {
            progress.step(sequences[index].tokens.len() as u64, "");
        }
    })?;
    let mut best: Vec<Option<(f64, usize)>> = vec![None; items.len()];
    for (index, (choice, nats)) in choices.iter().zip(nats).enumerate() {
        let score = -nats / choice.divisor;
        let slot = &mut best[choice.item];
        if slot.is_none_or(|(known, _)| score > known) {
            *slot = Some((score, index));
        }
    }
    let text =
        |best: Option<(f64, usize)>| vec![best.map_or(String::new(), |(_, i)| choices[i].text.clone())];
    Ok(Answers { texts: best.into_iter().map(text).collect(), cut: prompts.truncated.cut })
}

/// How likely each item's own response is, as a sentence: `12.5 nats, 30 tokens, 124 characters`.
///
/// What does not fit the context is read through windows, each of which begins with the last token of the one before.
pub(super) fn read(
    model: &CausalLm,
    exam: &Exam<'_>,
    items: &[Item],
    progress: &mut Progress,
) -> Result<Answers> {
    let encoder = Encoder::new(exam.task, &exam.text.tokenizer)?;
    let context = model.decoder.context() as usize;
    let (mut windows, mut owners) = (Vec::new(), Vec::new());
    let mut characters = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let (tokens, labels) = encoder.whole(item)?;
        let scored =
            labels.iter().zip(&tokens).filter(|(label, _)| **label != IGNORED).map(|(_, &token)| token);
        let text = exam.text.tokenizer.decode(&scored.collect::<Vec<u32>>())?;
        characters.push(text.chars().count());
        let mut start = 0;
        while start + 1 < tokens.len() {
            let end = (start + context).min(tokens.len());
            let mut target = labels[start..end].to_vec();
            target[0] = IGNORED;
            windows.push(Sequence {
                tokens: tokens[start..end].to_vec(),
                types: Vec::new(),
                target: Target::Tokens(target),
            });
            owners.push(index);
            start = end - 1;
        }
    }
    let nats = surprise(model, exam, &windows, &mut |index| {
        if index == 0 || owners[index] != owners[index - 1] {
            progress.step(windows[index].tokens.len() as u64, "");
        }
    })?;
    let mut sums = vec![(0.0, 0); items.len()];
    for ((window, &owner), nats) in windows.iter().zip(&owners).zip(nats) {
        sums[owner].0 += nats;
        sums[owner].1 += window.scored();
    }
    let sentence = |((nats, tokens), characters): ((f64, usize), usize)| {
        vec![format!("{nats} nats, {tokens} tokens, {characters} characters")]
    };
    Ok(Answers { texts: sums.into_iter().zip(characters).map(sentence).collect(), cut: 0 })
}

/// `Σ −log p` over the scored tokens of each sequence, in nats.
fn surprise(
    model: &CausalLm,
    exam: &Exam<'_>,
    sequences: &[Sequence],
    done: &mut dyn FnMut(usize),
) -> Result<Vec<f64>> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(sequences[index].tokens.len()));
    let mut sums = vec![0.0; sequences.len()];
    for indices in order.chunks(exam.batch_size.max(1)) {
        if interrupt::asked() {
            return Err(Error::Interrupted);
        }
        let rows: Vec<&Sequence> = indices.iter().map(|&index| &sequences[index]).collect();
        let batch = Batch::new(&rows, exam.text.tokenizer.pad());
        for (&index, nats) in indices.iter().zip(tch::no_grad(|| of_rows(model, &batch))?) {
            sums[index] = nats;
            done(index);
        }
    }
    Ok(sums)
}

fn of_rows(model: &CausalLm, batch: &Batch) -> Result<Vec<f64>> {
    let part = Part::new(batch, 1.0);
    let tokens = &part.tokens;
    let hidden = model.decoder.hidden(&tokens.ids, Some(&tokens.mask), Mode::Eval, Activations::Keep)?;
    let losses = model.decoder.token_losses(&hidden, &part.labels)?.to_kind(Kind::Double);
    Ok(Vec::try_from(losses.sum_dim_intlist(1, false, None::<Kind>))?)
}
