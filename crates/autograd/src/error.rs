use tch::TchError;

/// What can go wrong outside the body of a [`Function`](crate::Function).
///
/// A failure *inside* `backward` (a panic, a wrong number of gradients, a second run) travels through
/// libtorch and comes back as the [`TchError`] of `Tensor::f_backward`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `forward` handed an input back as an output; the graph would loop through it.
    #[error("`{function}`: output {output} is input {input} itself; return a new tensor")]
    Alias {
        /// Type name of the function.
        function: &'static str,
        /// Position among the outputs.
        output: usize,
        /// Position among the inputs.
        input: usize,
    },
    /// `forward` returned a tensor that already belongs to a graph.
    #[error("`{function}`: output {output} already has a history; detach it in `forward`")]
    History {
        /// Type name of the function.
        function: &'static str,
        /// Position among the outputs.
        output: usize,
    },
    /// libtorch refused to build the node.
    #[error("`{function}`: {message}")]
    Attach {
        /// Type name of the function.
        function: &'static str,
        /// What libtorch said.
        message: String,
    },
    /// [`gradcheck`](crate::gradcheck) needs double precision.
    #[error("gradcheck needs inputs of kind Double, input {input} is {kind:?}")]
    GradcheckKind {
        /// Position among the inputs.
        input: usize,
        /// The kind found.
        kind: tch::Kind,
    },
    /// Analytic and numeric gradient differ.
    #[error(
        "gradient of input {input} at flat index {index}: backward says {analytic:e}, finite differences say {numeric:e}"
    )]
    GradcheckMismatch {
        /// Position among the inputs.
        input: usize,
        /// Position in the flattened input.
        index: i64,
        /// From `backward`.
        analytic: f64,
        /// From central differences.
        numeric: f64,
    },
    /// Any other failure of libtorch.
    #[error(transparent)]
    Tch(#[from] TchError),
}
