//! Landlock: which files a program may read and write.

use super::python::Python;
use super::scratch::Scratch;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
use std::os::fd::OwnedFd;

/// Linux 6.2. Before, a file could be truncated without the right to write to it.
const NEEDED: ABI = ABI::V3;

/// What programs read besides the interpreter's folders: libraries, the loader's cache, the time zone, randomness.
const READ: &[&str] = &[
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
];

/// Every right on files that [`NEEDED`] knows, for the program's own folder.
pub fn all_rights() -> u64 {
    AccessFs::from_all(NEEDED).bits()
}

/// The rules for all but the program's own folder: that may become another file system, and is added by the program's
/// process.
pub fn rules(python: &Python, scratch: &Scratch) -> Result<OwnedFd, String> {
    let build = || -> Result<Option<OwnedFd>, RulesetError> {
        let null = AccessFs::ReadFile | AccessFs::WriteFile;
        let rules = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(NEEDED))?
            // More where the kernel knows more: devices, TCP, signals and sockets of other processes.
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V5))?
            .handle_access(AccessNet::from_all(ABI::V4))?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .add_rules(path_beneath_rules(READ, AccessFs::from_read(NEEDED)))?
            .add_rules(path_beneath_rules(&python.folders, AccessFs::from_read(NEEDED)))?
            .add_rules(path_beneath_rules([scratch.program()], AccessFs::from_read(NEEDED)))?;
        let rules = match PathFd::new("/dev/null") {
            Ok(file) => rules.add_rule(PathBeneath::new(file, null))?,
            Err(_) => rules,
        };
        Ok(rules.into())
    };
    build().map_err(|error| error.to_string())?.ok_or_else(|| "not in this kernel".to_owned())
}
