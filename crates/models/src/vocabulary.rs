//! More tokens than a model was made for.

use peft_core::{Adaptable, AdaptedLinear, Error, Parameter, Result};
use tch::{Kind, Tensor};

use crate::decoder::Decoder;

impl Decoder {
    /// Makes room for tokens up to `vocab_size − 1`, such as a padding token that a tokenizer has and the checkpoint has not;
    /// does nothing if the vocabulary is as large already. The new rows of the embedding and of the output head are the mean
    /// of the old ones (Hewitt, "Initializing New Word Embeddings for Pretrained Language Models", 2021).
    ///
    /// An adapter does not hold the new rows: only `modules_to_save` stores an embedding with it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model carries an adapter.
    pub fn grow_vocabulary(&mut self, vocab_size: i64) -> Result<()> {
        let more = vocab_size - self.vocab_size();
        if more <= 0 {
            return Ok(());
        }
        if self.linears().iter().any(|linear| linear.adapters().next().is_some()) {
            let reason = "the vocabulary must have its size before an adapter is attached".to_owned();
            return Err(Error::Unsupported { what: "growing a model with an adapter".to_owned(), reason });
        }
        self.body.tokens = Parameter::new(self.body.tokens.name(), &grown(self.body.tokens.frozen(), more));
        if let Some(head) = &self.head {
            let bias = head.bias().map(|bias| grown(bias.frozen(), more));
            let weight = grown(&head.frozen().dense(), more);
            let layout = head.layout();
            self.head = Some(AdaptedLinear::new(head.name(), &weight, bias.as_ref(), layout).head());
        }
        self.set_vocab_size(vocab_size);
        Ok(())
    }
}

/// `table` with `more` rows, each the mean of all.
fn grown(table: &Tensor, more: i64) -> Tensor {
    let mean = table.to_kind(Kind::Double).mean_dim([0i64].as_slice(), true, None).to_kind(table.kind());
    let mut size = table.size();
    size[0] = more;
    Tensor::cat(&[table, &mean.expand(size, false)], 0)
}
