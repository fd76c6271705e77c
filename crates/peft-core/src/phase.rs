use crate::Roles;

/// Whether something goes on across a phase boundary or starts anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Continuation {
    /// Goes on.
    #[default]
    Carry,
    /// Starts anew.
    Restart,
}

/// A stretch of optimizer steps with one set of rules. The phases of a run sum to its steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// For logs and records.
    pub name: &'static str,
    /// Optimizer steps.
    pub steps: u64,
    /// Base learning rate, where it is not the run's.
    pub lr: Option<f64>,
    /// Whether the learning-rate schedule starts anew, over this phase's steps.
    pub schedule: Continuation,
    /// Whether the optimizer starts anew.
    pub optimizer: Continuation,
    /// Whether the data stream starts anew.
    pub data: Continuation,
    /// What trains.
    pub trains: Roles,
    /// Whether the method wants ∂loss/∂W of every site.
    pub weight_grads: bool,
    /// Whether the optimizer steps (collection phases only look).
    pub updates: bool,
}

impl Phase {
    /// Everything trains, everything is carried over.
    pub fn new(name: &'static str, steps: u64) -> Self {
        Self {
            name,
            steps,
            lr: None,
            schedule: Continuation::Carry,
            optimizer: Continuation::Carry,
            data: Continuation::Carry,
            trains: Roles::All,
            weight_grads: false,
            updates: true,
        }
    }
}
