//! What must be guarded, and what guards it.

use std::fmt;

/// What a generated program must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A network connection, to anywhere.
    Network,
    /// A write outside its folder.
    Files,
    /// A process that outlives it.
    Processes,
    /// More memory than its limit.
    Memory,
}

impl Need {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Network, Self::Files, Self::Processes, Self::Memory];

    /// What is in danger where the need is not met.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "the network",
            Self::Files => "files outside the program's folder",
            Self::Processes => "against processes that stay behind",
            Self::Memory => "the memory",
        }
    }
}

/// A means of the operating system that a program is put behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wall {
    /// A filter of system calls: no sockets, no new processes, no signals to others.
    Seccomp,
    /// Rights on files: reads below the interpreter and the system's libraries, writes below the program's folder.
    Landlock,
    /// User, mount, network, IPC and host-name namespaces: a read-only file system without other processes, the
    /// program's folder in memory, no network interface.
    Namespaces,
    /// The user `nobody`, for programs that root starts.
    Nobody,
}

/// What guards programs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// The walls in use.
    pub walls: Vec<Wall>,
    /// What nothing guards; empty unless [`Permission::Unsafe`] was given.
    pub open: Vec<Need>,
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let walls: Vec<_> = self.walls.iter().map(|wall| format!("{wall:?}").to_lowercase()).collect();
        f.write_str(if walls.is_empty() { "limits only" } else { "" })?;
        f.write_str(&walls.join(", "))?;
        if !self.open.is_empty() {
            let open: Vec<_> = self.open.iter().map(|need| need.name()).collect();
            write!(f, "; nothing guards {}", open.join(", "))?;
        }
        Ok(())
    }
}

/// What the user allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Permission {
    /// Programs run only where every [`Need`] is met.
    #[default]
    Isolated,
    /// Programs run behind the walls there are, be it none. Limits hold all the same: time, memory, output, and
    /// the process group is killed at the end.
    Unsafe,
}
