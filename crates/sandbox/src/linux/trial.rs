//! Whether walls hold: a program tries to get past them.

use super::Sandbox;
use crate::{End, Error, Limits, Need, Result};
use std::fs::{self, Permissions};
use std::io;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// Attempts one thing for each need; those that succeed are seen from outside, or printed.
const ATTEMPTS: &str = r#"
import os, socket
def attempt(what):
    try:
        what()
    except (OSError, MemoryError):
        pass
def send():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", PORT))
def write():
    open(FILE, "w").close()
def fork():
    if os.fork() == 0:
        os._exit(0)
    print("forked")
def hog():
    bytearray(MEMORY)
    print("allocated")
for what in (send, write, fork, hog):
    attempt(what)
print("done")
"#;

/// The needs that the sandbox's walls do not meet.
///
/// # Errors
/// Where the program cannot be started or does not come to its end behind them.
pub fn open_needs(sandbox: &Sandbox) -> Result<Vec<Need>> {
    let temporary = std::env::temp_dir();
    let io_error = |source: io::Error| Error::Io { path: temporary.clone(), source };
    let outside = tempfile::Builder::new().prefix("outside-").tempdir().map_err(io_error)?;
    // Whoever the program runs as, the rights of the folder alone would let it write.
    fs::set_permissions(outside.path(), Permissions::from_mode(0o777)).map_err(io_error)?;
    let file = outside.path().join("written");
    let failed = |step| move |source| Error::Start { step, source };
    let listener = UdpSocket::bind(("127.0.0.1", 0)).map_err(failed("a trial of the network"))?;
    let port = listener.local_addr().map_err(failed("a trial of the network"))?.port();
    listener.set_nonblocking(true).map_err(failed("a trial of the network"))?;

    let limits = Limits { wall_time: Duration::from_mins(1), ..Limits::default() };
    let program = ATTEMPTS
        .replace("PORT", &port.to_string())
        .replace("FILE", &format!("{:?}", file.to_string_lossy()))
        .replace("MEMORY", &(2 * limits.memory).to_string());
    let outcome = sandbox.run(&program, &limits)?;
    let printed = |line: &str| outcome.stdout.lines().any(|printed| printed == line);
    if outcome.end != End::Exited(0) || !printed("done") {
        let reason = format!("{}: {}", outcome.end, outcome.stderr.trim());
        return Err(Error::Start { step: "a trial", source: io::Error::other(reason) });
    }
    let is_open = |need: &Need| match need {
        Need::Network => listener.recv(&mut [0; 8]).is_ok(),
        Need::Files => file.exists(),
        Need::Processes => printed("forked"),
        // With a second process there is a second address space.
        Need::Memory => printed("allocated") || printed("forked"),
    };
    Ok(Need::ALL.into_iter().filter(is_open).collect())
}
