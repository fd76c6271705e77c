/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{what}`: {reason}")]
pub struct Error {
    /// The repository, as a user names it.
    pub what: String,
    /// Why not.
    pub reason: String,
    /// What the user might do about it.
    pub hint: String,
}
