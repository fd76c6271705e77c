//! What the tensors of a family are called in its files.

/// Module paths of a stack; empty where the family has no such module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// What all names begin with, where the whole model is saved; files of the bare stack lack it.
    pub(crate) base: &'static str,
    /// Table of tokens.
    pub(crate) tokens: &'static str,
    /// Table of token types.
    pub(crate) types: &'static str,
    /// Table of learned positions.
    pub(crate) positions: &'static str,
    /// Table of relative positions and its norm.
    pub(crate) relative: [&'static str; 2],
    /// Norm of embeddings.
    pub(crate) embedding_norm: &'static str,
    /// From and to the width of the embedding.
    pub(crate) projections: [&'static str; 2],
    /// Convolution beside the first block, and its norm.
    pub(crate) convolution: [&'static str; 2],
    /// What the number of a block follows.
    pub(crate) layers: &'static str,
    /// Norm after the last block.
    pub(crate) norm: &'static str,
    /// Inside a block.
    pub(crate) block: BlockNames,
}

/// Module paths inside a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BlockNames {
    /// Self-attention.
    pub(crate) attention: AttentionNames,
    /// Attention to another sequence, and its norm.
    pub(crate) cross: Option<(AttentionNames, &'static str)>,
    /// Into the feed-forward part, the gate first where there is one.
    pub(crate) up: &'static [&'static str],
    /// Out of it.
    pub(crate) down: &'static str,
    /// The norms of the attention, in the order in which they act.
    pub(crate) attention_norms: &'static [&'static str],
    /// Those of the feed-forward part.
    pub(crate) mlp_norms: &'static [&'static str],
}

/// Module paths of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttentionNames {
    /// Query, key, value: one layer each, or one for all.
    pub(crate) qkv: QkvNames,
    /// Norms of the heads of queries and keys.
    pub(crate) head_norms: [&'static str; 2],
    /// Projections of relative positions to keys and queries.
    pub(crate) relative: [&'static str; 2],
    /// Output of attention.
    pub(crate) out: &'static str,
}

/// Query, key and value projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QkvNames {
    /// Three layers.
    Separate([&'static str; 3]),
    /// One layer whose outputs are those of query, key and value, one after the other.
    Fused(&'static str),
}

impl Names {
    /// Nothing has a name.
    pub(crate) const EMPTY: Self = Self {
        base: "",
        tokens: "",
        types: "",
        positions: "",
        relative: ["", ""],
        embedding_norm: "",
        projections: ["", ""],
        convolution: ["", ""],
        layers: "",
        norm: "",
        block: BlockNames::EMPTY,
    };
}

impl BlockNames {
    /// Nothing has a name.
    pub(crate) const EMPTY: Self = Self {
        attention: AttentionNames {
            qkv: QkvNames::Fused(""),
            head_norms: ["", ""],
            relative: ["", ""],
            out: "",
        },
        cross: None,
        up: &[],
        down: "",
        attention_norms: &[],
        mlp_norms: &[],
    };
}

impl AttentionNames {
    /// With one layer for each of query, key and value.
    pub(crate) const fn separate(qkv: [&'static str; 3], out: &'static str) -> Self {
        Self { qkv: QkvNames::Separate(qkv), out, ..BlockNames::EMPTY.attention }
    }
}
