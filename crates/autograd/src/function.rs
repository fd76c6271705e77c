use std::ffi::CString;

use tch::Tensor;

use crate::{Error, ffi};

/// Which inputs want a gradient, by position.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a>(&'a [bool]);

impl<'a> Needs<'a> {
    pub(crate) fn new(needs: &'a [bool]) -> Self {
        Self(needs)
    }

    /// Whether input `index` wants a gradient.
    pub fn input(self, index: usize) -> bool {
        self.0[index]
    }

    /// Whether any input does; false under `no_grad`.
    pub fn any(self) -> bool {
        self.0.iter().any(|&need| need)
    }

    /// `gradient()` if input `index` wants one.
    pub fn then(self, index: usize, gradient: impl FnOnce() -> Tensor) -> Option<Tensor> {
        self.input(index).then(gradient)
    }
}

/// An operation with a backward of its own, run inside libtorch's autograd.
///
/// `self` holds what is not a tensor (a scaling, a shape); tensors come in through `inputs`.
/// Neither `forward` nor `backward` is recorded: use any operation, also in-place ones on tensors of your own.
pub trait Function: Sized {
    /// What `backward` needs. `Send`, because the backward of CUDA tensors runs on a thread of libtorch.
    type Saved: Send + 'static;

    /// Computes the outputs and what to keep. `needs` says which inputs want a gradient, so that nothing is
    /// computed or kept in vain; with `needs.any() == false` whatever is returned as saved is dropped at once.
    ///
    /// Do not change an input in place, and do not return an input as an output.
    fn forward(&self, inputs: &[&Tensor], needs: Needs<'_>) -> (Vec<Tensor>, Self::Saved);

    /// Gradients of the inputs, one entry for each, `None` where there is none or `needs` does not ask.
    ///
    /// `grads` holds one entry for each output, `None` if that output did not take part in the result.
    /// A panic in here becomes the error of `f_backward`.
    fn backward(saved: &Self::Saved, grads: &[Option<Tensor>], needs: Needs<'_>) -> Vec<Option<Tensor>>;

    /// Runs `forward` and records it, if gradients are on and some input requires one.
    ///
    /// # Errors
    /// [`Error::Alias`] and [`Error::History`] if `forward` returned an input or a recorded tensor.
    fn apply(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, Error> {
        let recording = ffi::grad_mode();
        let needs: Vec<bool> = inputs.iter().map(|input| recording && input.requires_grad()).collect();
        let needs = Needs::new(&needs);
        let (outputs, saved) = tch::no_grad(|| self.forward(inputs, needs));

        let function = std::any::type_name::<Self>();
        for (o, output) in outputs.iter().enumerate() {
            if let Some(input) = inputs.iter().position(|input| ffi::same(input, output)) {
                return Err(Error::Alias { function, output: o, input });
            }
            if output.requires_grad() {
                return Err(Error::History { function, output: o });
            }
        }
        if needs.any() {
            let name = CString::new(function).expect("type names hold no NUL");
            ffi::attach::<Self>(&name, saved, inputs, &outputs)
                .map_err(|message| Error::Attach { function, message })?;
        }
        Ok(outputs)
    }

    /// [`Function::apply`] for a function of one output.
    ///
    /// # Errors
    /// As [`Function::apply`].
    ///
    /// # Panics
    /// If `forward` returns another number of outputs.
    fn apply1(&self, inputs: &[&Tensor]) -> Result<Tensor, Error> {
        let [output] = <[Tensor; 1]>::try_from(self.apply(inputs)?)
            .unwrap_or_else(|all| panic!("apply1 on a function of {} outputs", all.len()));
        Ok(output)
    }
}
