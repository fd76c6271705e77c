//! `plan`: what a run would do, without doing it.
pub(super) fn execute(_args: &crate::cli::RunArgs) -> crate::Result<()> { todo!() }
