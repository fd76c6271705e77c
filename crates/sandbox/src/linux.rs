//! Linux: choosing walls that hold here, and running programs behind them.

mod confine;
mod fence;
mod filter;
mod python;
mod scratch;
mod trial;
mod watch;

use crate::isolation::Wall;
use crate::{Error, Isolation, Limits, Need, Outcome, Permission, Result};
use confine::Confinement;
use python::Python;
use rustix::process::geteuid;
use scratch::Scratch;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use watch::Watched;

/// Combinations of walls, the strongest first. Every one that isolates has [`Wall::Seccomp`]; the others serve only a
/// user who has allowed to run unsafe code.
const PLANS: &[&[Wall]] = &[
    &[Wall::Seccomp, Wall::Landlock, Wall::Namespaces],
    &[Wall::Seccomp, Wall::Landlock],
    &[Wall::Seccomp, Wall::Namespaces],
    &[Wall::Landlock, Wall::Namespaces],
    &[Wall::Seccomp],
    &[Wall::Landlock],
    &[Wall::Namespaces],
];

/// Runs Python programs, each in a process and a folder of its own.
#[derive(Debug, Clone)]
pub struct Sandbox {
    python: Python,
    isolation: Isolation,
}

impl Sandbox {
    /// Finds Python and the walls of this machine. They are tried, not assumed: a program that attempts to break
    /// each of the four needs is run behind them.
    ///
    /// # Errors
    /// [`Error::NoPython`]; [`Error::NotIsolated`] where a need is not met and `permission` asks for all of them;
    /// [`Error::Io`] where no temporary folder can be made.
    pub fn new(permission: Permission) -> Result<Self> {
        let python = Python::find()?;
        let mut best = Self::limited(python.clone());
        let mut tried = Vec::new();
        for plan in PLANS {
            let mut walls = plan.to_vec();
            if geteuid().is_root() {
                walls.push(Wall::Nobody);
            }
            let mut sandbox =
                Self { python: python.clone(), isolation: Isolation { walls, open: Need::ALL.to_vec() } };
            match trial::open_needs(&sandbox) {
                Ok(open) => sandbox.isolation.open = open,
                Err(Error::Io { path, source }) => return Err(Error::Io { path, source }),
                Err(error) => {
                    tried.push(format!("{}: {error}", sandbox.walls()));
                    continue;
                }
            }
            if sandbox.isolation.open.is_empty() {
                return Ok(sandbox);
            }
            tried.push(sandbox.isolation.to_string());
            if sandbox.isolation.open.len() < best.isolation.open.len() {
                best = sandbox;
            }
        }
        match permission {
            Permission::Isolated => Err(Error::NotIsolated { needs: best.isolation.open, tried }),
            Permission::Unsafe => Ok(best),
        }
    }

    /// No walls, limits only.
    fn limited(python: Python) -> Self {
        // The limit on memory holds for one process, and nothing keeps it from starting others.
        Self { python, isolation: Isolation { walls: Vec::new(), open: Need::ALL.to_vec() } }
    }

    /// What guards programs here.
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// The interpreter: the first `python3` on `PATH` that a program's user may execute.
    pub fn python(&self) -> &Path {
        &self.python.executable
    }

    /// Runs a Python program as `__main__`, in an empty folder that is gone afterwards, and waits for its end. Nothing
    /// of the environment is handed on. Many threads may call this at a time; the program dies when the calling thread
    /// or this process does.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Start`]; whatever the program does is in the outcome.
    pub fn run(&self, program: &str, limits: &Limits) -> Result<Outcome> {
        let scratch = Scratch::new(program, self.has(Wall::Nobody))?;
        let confinement = Confinement::new(&self.isolation.walls, &self.python, &scratch, limits)?;
        let mut command = Command::new(&self.python.executable);
        command
            // Neither the user's packages nor byte code files.
            .args(["-s", "-B"])
            .arg(scratch.program())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_clear()
            .env("HOME", scratch.home())
            .env("TMPDIR", scratch.home())
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            // Sets of strings keep their order, so that a program does the same each time.
            .env("PYTHONHASHSEED", "0")
            // Libraries for linear algebra reserve memory for each thread.
            .env("OMP_NUM_THREADS", "1")
            .env("OPENBLAS_NUM_THREADS", "1");
        #[allow(unsafe_code)]
        // SAFETY: between fork and exec `apply` only makes system calls on memory prepared before; it neither
        // allocates nor takes a lock.
        unsafe {
            command.pre_exec(move || confinement.apply());
        }
        let child = command.spawn().map_err(confine::start_error)?;
        Watched::new(child)?.until_end(limits)
    }

    fn has(&self, wall: Wall) -> bool {
        self.isolation.walls.contains(&wall)
    }

    /// The walls alone, for messages.
    fn walls(&self) -> Isolation {
        Isolation { open: Vec::new(), ..self.isolation.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::End;
    use std::time::Duration;

    fn limits() -> Limits {
        Limits { wall_time: Duration::from_secs(1), ..Limits::default() }
    }

    #[test]
    fn the_trial_sees_what_is_open() {
        let Ok(python) = Python::find() else { return };
        let limited = Sandbox::limited(python.clone());
        assert_eq!(trial::open_needs(&limited).unwrap(), Need::ALL);
        for plan in PLANS {
            let mut walls = plan.to_vec();
            if geteuid().is_root() {
                walls.push(Wall::Nobody);
            }
            let sandbox =
                Sandbox { python: python.clone(), isolation: Isolation { walls, open: Vec::new() } };
            let isolates = plan.contains(&Wall::Seccomp) && plan.len() > 1;
            match trial::open_needs(&sandbox) {
                Ok(open) => assert_eq!(open.is_empty(), isolates, "{plan:?}: {open:?}"),
                Err(error) => eprintln!("skipped: {plan:?} cannot be built here: {error}"),
            }
        }
    }

    #[test]
    fn limits_hold_without_walls() {
        let Ok(python) = Python::find() else { return };
        let sandbox = Sandbox::limited(python);
        assert_eq!(sandbox.run("while True: pass", &limits()).unwrap().end, End::WallTime);
        let cpu = Limits { cpu_time: Duration::from_secs(1), ..Limits::default() };
        assert_eq!(sandbox.run("while True: pass", &cpu).unwrap().end, End::CpuTime);
        assert_eq!(sandbox.run("while True: print('x' * 1000)", &limits()).unwrap().end, End::Output);
        let hog = sandbox.run("bytearray(1 << 31)", &limits()).unwrap();
        assert!(hog.stderr.contains("MemoryError"), "{hog:?}");
        let own = sandbox.run("import os; os.kill(os.getpid(), 9)", &limits()).unwrap();
        assert_eq!(own.end, End::Signaled(9));
    }

    #[test]
    fn the_group_is_killed_without_walls() {
        let Ok(python) = Python::find() else { return };
        let sandbox = Sandbox::limited(python);
        let program = "import os, time\npid = os.fork()\nif pid == 0:\n    time.sleep(60)\nprint(pid)";
        let outcome = sandbox.run(program, &limits()).unwrap();
        assert_eq!(outcome.end, End::Exited(0), "{outcome:?}");
        let status = format!("/proc/{}/stat", outcome.stdout.trim());
        let gone = || std::fs::read_to_string(&status).map_or(true, |text| text.contains(") Z "));
        assert!((0..100).any(|_| gone() || {
            std::thread::sleep(Duration::from_millis(20));
            false
        }));
    }
}
