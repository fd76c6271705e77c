//! How much a program may use.

use std::time::Duration;

/// What one program may use. Whatever goes over ends it, or fails inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processor time; whole seconds, rounded up.
    pub cpu_time: Duration,
    /// Time on the clock.
    pub wall_time: Duration,
    /// Address space, bytes. The interpreter itself needs about 30 MB.
    pub memory: u64,
    /// The largest file it may write, bytes. Where the program's folder lies in memory, all files together.
    pub file_size: u64,
    /// Threads. (A program never gets a second process where it is isolated.) Where the program has no user namespace,
    /// all processes of the same user count.
    pub threads: u64,
    /// Bytes kept of the standard output, and of the standard error; a program that writes more is killed.
    pub output: usize,
}

impl Default for Limits {
    /// 10 s, 1 GiB of memory, files of 16 MiB, 32 threads, 1 MiB of output.
    fn default() -> Self {
        Self {
            cpu_time: Duration::from_secs(10),
            wall_time: Duration::from_secs(10),
            memory: 1 << 30,
            file_size: 16 << 20,
            threads: 32,
            output: 1 << 20,
        }
    }
}
