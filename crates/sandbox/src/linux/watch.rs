//! Waiting for a program: its output as it comes, its end, its time.

use crate::{End, Error, Limits, Outcome, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

/// A program under way. Dropping it kills the process group.
pub struct Watched {
    /// None once its end was waited for: its number may then belong to another.
    child: Option<Child>,
    pid: Pid,
    /// Becomes readable when the process ends.
    end: OwnedFd,
    stdout: Captured<ChildStdout>,
    stderr: Captured<ChildStderr>,
    started: Instant,
}

impl Watched {
    /// `child` must lead its process group and have pipes as output.
    pub fn new(mut child: Child) -> Result<Self> {
        let started = Instant::now();
        let pid = Pid::from_child(&child);
        let stdout = Captured::new(child.stdout.take().expect("the output is piped"));
        let stderr = Captured::new(child.stderr.take().expect("the output is piped"));
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(end) => Ok(Self { child: Some(child), pid, end, stdout, stderr, started }),
            Err(errno) => {
                let _ = kill(child, pid);
                Err(watching(errno.into()))
            }
        }
    }

    /// Reads and waits until the program ends or must be ended.
    pub fn until_end(mut self, limits: &Limits) -> Result<Outcome> {
        let cut = self.read_until(self.started + limits.wall_time, limits.output)?;
        let time = self.started.elapsed();
        let child = self.child.take().expect("it is waited for once");
        let status = kill(child, self.pid).map_err(watching)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Outcome {
            end: cut.unwrap_or_else(|| end_of(status)),
            stdout: text(&self.stdout.kept),
            stderr: text(&self.stderr.kept),
            time,
        })
    }

    /// Why it must be killed; none if it ended by itself.
    fn read_until(&mut self, deadline: Instant, room: usize) -> Result<Option<End>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Ok(Some(End::WallTime));
            }
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut ready = vec![PollFd::new(&self.end, PollFlags::IN)];
            ready.extend(self.stdout.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            ready.extend(self.stderr.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            match poll(&mut ready, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(watching(errno.into())),
            }
            let ended = !ready[0].revents().is_empty();
            if !(self.stdout.read(room) && self.stderr.read(room)) {
                return Ok(Some(End::Output));
            }
            if ended {
                return Ok(None);
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            let _ = kill(child, self.pid);
        }
    }
}

/// Kills the group while its leader, which may have ended, still holds the number; then lets the leader go.
fn kill(mut child: Child, pid: Pid) -> std::io::Result<ExitStatus> {
    // Fails if nothing is left to kill.
    let _ = kill_process_group(pid, Signal::KILL);
    child.wait()
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(libc::SIGXCPU)) => End::CpuTime,
        (None, signal) => End::Signaled(signal.expect("a process ends by itself or by a signal")),
    }
}

fn watching(source: std::io::Error) -> Error {
    Error::Start { step: "watching it", source }
}

/// One stream and the beginning of what came through.
struct Captured<R> {
    pipe: Option<R>,
    kept: Vec<u8>,
}

impl<R: Read + AsFd> Captured<R> {
    fn new(pipe: R) -> Self {
        // A pipe of our own always takes the flag.
        let _ = fcntl_setfl(&pipe, OFlags::NONBLOCK);
        Self { pipe: Some(pipe), kept: Vec::new() }
    }

    /// Takes what is there; false if it is more than `room` in all.
    fn read(&mut self, room: usize) -> bool {
        let mut chunk = [0; 8192];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    let fits = count.min(room - self.kept.len());
                    self.kept.extend_from_slice(&chunk[..fits]);
                    if fits < count {
                        return false;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.pipe = None,
            }
        }
        true
    }
}
