//! What all layers of one pass share: positions and who may attend to whom.

use peft_core::{Error, Result};
use tch::{Device, Kind, Tensor};

use crate::config::{Direction, StackConfig};
use crate::positions::{Located, Positions};

/// Which keys a query sees.
#[derive(Debug)]
pub(crate) enum Visible {
    /// All of them.
    All,
    /// Those up to its own position.
    Causal,
    /// Those where this `[1 or B, 1, T, keys]` is 0; it is −∞ elsewhere.
    Masked(Tensor),
}

impl Clone for Visible {
    fn clone(&self) -> Self {
        match self {
            Self::All => Self::All,
            Self::Causal => Self::Causal,
            Self::Masked(mask) => Self::Masked(mask.shallow_clone()),
        }
    }
}

impl Visible {
    /// With `scores [B, heads, T, keys]` added wherever a query looks; only where all tokens see all.
    pub(crate) fn plus(&self, scores: Tensor) -> Self {
        match self {
            Self::All => Self::Masked(scores),
            Self::Masked(mask) => Self::Masked(scores + mask),
            Self::Causal => unreachable!("relative scores belong to encoders"),
        }
    }
}

/// Another sequence that a decoder attends to.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Its hidden states `[B, S, H]`.
    pub(crate) states: Tensor,
    /// Which of them every token sees.
    pub(crate) visible: Visible,
}

impl Memory {
    /// With other rows.
    pub(crate) fn map(&self, rows: impl Fn(&Tensor) -> Tensor) -> Self {
        let visible = match &self.visible {
            Visible::Masked(mask) => Visible::Masked(rows(mask)),
            other => other.clone(),
        };
        Self { states: rows(&self.states), visible }
    }
}

impl Clone for Memory {
    fn clone(&self) -> Self {
        Self { states: self.states.shallow_clone(), visible: self.visible.clone() }
    }
}

/// Positions and visibility of the tokens `[B, T]` of one pass.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) located: Located,
    /// In layers that see everything before a token.
    pub(crate) visible: Visible,
    /// In layers with a window, where that hides something.
    pub(crate) in_window: Option<Visible>,
    /// `[B, T]`, types of the tokens where the model tells them apart; 0 where `None`.
    pub(crate) token_types: Option<Tensor>,
    /// `[B, T]`, true where no token is; `None` if there is no padding that anybody could see.
    pub(crate) absent: Option<Tensor>,
    /// What decoders with an encoder attend to beside their own tokens.
    pub(crate) memory: Option<Memory>,
}

impl Clone for Sequence {
    fn clone(&self) -> Self {
        let handle = |t: &Option<Tensor>| t.as_ref().map(Tensor::shallow_clone);
        Self {
            located: self.located.clone(),
            visible: self.visible.clone(),
            in_window: self.in_window.clone(),
            token_types: handle(&self.token_types),
            absent: handle(&self.absent),
            memory: self.memory.clone(),
        }
    }
}

/// Where the padding of a batch is.
#[derive(Debug, PartialEq)]
pub(crate) enum Padding {
    /// Nowhere, or after the last token of a row: causal attention never lets a token see it.
    After,
    /// Elsewhere.
    Before,
}

impl Padding {
    /// `mask [B, T]`: 1 at tokens, 0 at padding.
    pub(crate) fn of(mask: &Tensor) -> Self {
        let descends =
            mask.narrow(1, 1, mask.size()[1] - 1).le_tensor(&mask.narrow(1, 0, mask.size()[1] - 1));
        if descends.all().int64_value(&[]) == 1 { Self::After } else { Self::Before }
    }
}

impl Sequence {
    /// Whole rows `[B, T]` from their first token, with `mask [B, T]` (1 at tokens) where there is
    /// padding. A decoder may read several documents in one row, where the mask numbers them 1, 2, …: none sees another,
    /// and each begins at position 0.
    ///
    /// Positions count tokens, so a row computes the same wherever its padding is. A padded position sees itself, so
    /// that what it computes is finite.
    ///
    /// # Errors
    /// If the shapes differ or the rows are longer than the context; if an encoder is given several documents in a row.
    pub(crate) fn whole(
        size: [i64; 2],
        mask: Option<&Tensor>,
        config: &StackConfig,
        positions: &Positions,
        options: (Kind, Device),
    ) -> Result<Self> {
        check(size, mask, config.context)?;
        let mask = mask.filter(|mask: &&Tensor| match config.direction {
            Direction::Causal => Padding::of(mask) == Padding::Before,
            Direction::Both => Tensor::eq(mask, 0).any().int64_value(&[]) != 0,
        });
        let packed = mask.is_some_and(|mask| mask.max().int64_value(&[]) > 1);
        let located = match mask {
            None => positions.range(0, size[1]),
            Some(mask) if packed => positions.at(&count_in_documents(mask)),
            Some(mask) => positions.at(&count_tokens(mask)),
        };
        if config.direction == Direction::Causal {
            return Ok(Self::causal(located, 0, size[1], mask, config, options));
        }
        if packed {
            let reason = "an encoder reads one document in a row";
            return Err(Error::config("attention_mask", "above 1", reason));
        }
        let absent = mask.map(|mask| mask.eq(0));
        let visible = keys(absent.as_ref(), options.0);
        Ok(Self { located, visible, in_window: None, token_types: None, absent, memory: None })
    }

    /// The queries `start..start + count` of a decoder, with all keys up to the last of them; `documents [B, keys]` is
    /// 0 where no token is, elsewhere the number of the token's document.
    pub(crate) fn causal(
        located: Located,
        start: i64,
        count: i64,
        documents: Option<&Tensor>,
        config: &StackConfig,
        options: (Kind, Device),
    ) -> Self {
        let keys = start + count;
        let window = config.window.as_ref().map(|window| window.size).filter(|&size| size < keys);
        let visible = |window| causal(start, count, documents, window, options);
        let in_window = window.map(|size| visible(Some(size)));
        Self { located, visible: visible(None), in_window, token_types: None, absent: None, memory: None }
    }

    /// One query a row that sees what `seen [B, 1, 1, keys]` is 0 for.
    pub(crate) fn next(located: Located, seen: &Tensor) -> Self {
        let visible = Visible::Masked(seen.shallow_clone());
        Self { located, visible, in_window: None, token_types: None, absent: None, memory: None }
    }

    /// For a layer with or without a window.
    pub(crate) fn visible(&self, windowed: bool) -> &Visible {
        self.in_window.as_ref().filter(|_| windowed).unwrap_or(&self.visible)
    }
}

/// Whether rows `[B, T]` with `mask` fit a model.
fn check(size: [i64; 2], mask: Option<&Tensor>, context: i64) -> Result<()> {
    if size[1] > context {
        let reason = format!("the model's context is {context} tokens");
        return Err(Error::config("tokens in a row", size[1], reason));
    }
    if let Some(mask) = mask.filter(|mask| mask.size() != size) {
        let reason = format!("the batch has the shape {size:?}");
        return Err(Error::config("attention_mask", format!("{:?}", mask.size()), reason));
    }
    Ok(())
}

/// All queries see the same keys: those where there is a token.
pub(crate) fn keys(absent: Option<&Tensor>, kind: Kind) -> Visible {
    match absent {
        None => Visible::All,
        Some(absent) => Visible::Masked(hidden_where(&absent.unsqueeze(1).unsqueeze(1), kind)),
    }
}

fn causal(
    start: i64,
    count: i64,
    documents: Option<&Tensor>,
    window: Option<i64>,
    (kind, device): (Kind, Device),
) -> Visible {
    if documents.is_none() && window.is_none() {
        return if count == 1 { Visible::All } else { Visible::Causal };
    }
    let keys = Tensor::arange(start + count, (Kind::Int64, device));
    let queries = Tensor::arange_start(start, start + count, (Kind::Int64, device)).unsqueeze(1);
    let mut hidden = keys.gt_tensor(&queries).unsqueeze(0);
    if let Some(window) = window {
        hidden = hidden.logical_or(&keys.le_tensor(&(&queries - window)));
    }
    if let Some(documents) = documents {
        let (of_queries, of_keys) = (documents.narrow(1, start, count).unsqueeze(2), documents.unsqueeze(1));
        let elsewhere = of_keys.ne_tensor(&of_queries).logical_or(&of_keys.eq(0));
        hidden = hidden.logical_or(&elsewhere.logical_and(&keys.ne_tensor(&queries)));
    }
    Visible::Masked(hidden_where(&hidden.unsqueeze(1), kind))
}

/// Position of every token in its row, 0 at padding before the first; `[B, T]`.
pub(crate) fn count_tokens(mask: &Tensor) -> Tensor {
    (mask.to_kind(Kind::Int64).cumsum(1, Kind::Int64) - 1).clamp_min(0)
}

/// Position of every token in its document, where `mask [B, T]` numbers the documents of a row; `[B, T]`.
fn count_in_documents(mask: &Tensor) -> Tensor {
    let length = mask.size()[1];
    let places = Tensor::arange(length, (Kind::Int64, mask.device())).expand_as(mask);
    let begins =
        mask.narrow(1, 1, length - 1).ne_tensor(&mask.narrow(1, 0, length - 1)).constant_pad_nd([1, 0]);
    let begin = places.masked_fill(&begins.logical_not(), 0).cummax(1).0;
    places - begin
}

/// −∞ where `hidden`, 0 elsewhere.
pub(crate) fn hidden_where(hidden: &Tensor, kind: Kind) -> Tensor {
    Tensor::zeros(hidden.size(), (kind, hidden.device())).masked_fill(hidden, f64::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn seen(visible: &Visible) -> Vec<i64> {
        let Visible::Masked(mask) = visible else { panic!("{visible:?}") };
        Vec::try_from(mask.isfinite().to_kind(Kind::Int64).view(-1)).unwrap()
    }

    #[test]
    fn padding_is_found() {
        let of = |rows: &[[i64; 4]]| Padding::of(&Tensor::from_slice2(rows));
        assert_eq!(of(&[[1, 1, 1, 1], [1, 1, 0, 0]]), Padding::After);
        assert_eq!(of(&[[1, 1, 1, 1], [0, 1, 1, 1]]), Padding::Before);
        assert_eq!(of(&[[1, 0, 1, 1]]), Padding::Before);
    }

    #[test]
    fn positions_count_tokens() {
        let mask = Tensor::from_slice2(&[[0i64, 0, 1, 1], [1, 1, 1, 0]]);
        assert_eq!(Vec::<i64>::try_from(count_tokens(&mask).view(-1)).unwrap(), [0, 0, 0, 1, 0, 1, 2, 2]);
    }

    #[test]
    fn padding_sees_only_itself() {
        let mask = Tensor::from_slice2(&[[0i64, 1, 1]]);
        assert_eq!(seen(&causal(0, 3, Some(&mask), None, OPTIONS)), [1, 0, 0, 0, 1, 0, 0, 1, 1]);
        // The last query alone, with everything before it in the cache.
        assert_eq!(seen(&causal(2, 1, Some(&mask), None, OPTIONS)), [0, 1, 1]);
    }

    #[test]
    fn documents_of_a_row_do_not_see_each_other() {
        let mask = Tensor::from_slice2(&[[1i64, 1, 2, 2, 0]]);
        let positions = Vec::<i64>::try_from(count_in_documents(&mask).view(-1)).unwrap();
        assert_eq!(positions[..4], [0, 1, 0, 1]);
        let all = seen(&causal(0, 5, Some(&mask), None, OPTIONS));
        assert_eq!(all[10..20], [0, 0, 1, 0, 0, 0, 0, 1, 1, 0]);
    }

    #[test]
    fn a_window_ends_at_the_own_token() {
        let all = seen(&causal(0, 4, None, Some(2), OPTIONS));
        assert_eq!(all, [1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1]);
        assert_eq!(seen(&causal(3, 1, None, Some(2), OPTIONS)), [0, 0, 1, 1]);
    }
}
