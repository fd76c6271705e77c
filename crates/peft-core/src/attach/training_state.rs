//! An attachment in a checkpoint.

use crate::{Attachment, Checkpoint, Result};

/// Section of the tensors of the store and their masks.
const STORE: &str = "adapter";
/// Section of the random streams of the store.
const DRAWS: &str = "draws";
/// Section of what the method keeps beside the store.
const METHOD: &str = "method";

impl Attachment {
    /// Puts everything that training changes into `checkpoint`: tensors, masks, random streams, the method's own state.
    pub fn save_training_state(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put_tensors(STORE, self.store.checkpoint_tensors());
        checkpoint.put(DRAWS, &self.store.draws());
        checkpoint.put_tensors(METHOD, self.method.training_state());
    }

    /// The reverse of [`Self::save_training_state`], in an attachment made anew by the same method with the same settings.
    ///
    /// # Errors
    /// [`crate::Error::StateDict`] if the tensors are not those of this attachment, [`crate::Error::Format`] if a part is
    /// missing.
    pub fn load_training_state(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let origin = checkpoint.origin();
        self.store.load_checkpoint(&checkpoint.tensors(STORE), origin)?;
        self.store.load_draws(&checkpoint.value(DRAWS)?, origin)?;
        tch::no_grad(|| self.method.restore_training_state(&checkpoint.tensors(METHOD), origin))
    }
}
