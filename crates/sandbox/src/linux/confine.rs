//! What a new process does to itself between fork and exec. All `unsafe` of this but the call itself is here.
#![allow(unsafe_code, reason = "three system calls have no safe wrapper that does without allocation")]

use super::fence;
use super::filter;
use super::python::Python;
use super::scratch::{NOBODY, Scratch};
use crate::isolation::Wall;
use crate::{Error, Limits, Result};
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{
    DumpableBehavior, Gid, Pid, Resource, Rlimit, Signal, Uid, chdir, getegid, geteuid, getpid, getppid,
    getrlimit, set_dumpable_behavior, set_parent_process_death_signal, setrlimit, setsid,
};
use rustix::thread::{
    UnshareFlags, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
};
use seccompiler::BpfProgram;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Everything the steps need, prepared before the fork: afterwards nothing may be allocated.
pub struct Confinement {
    parent: Pid,
    home: CString,
    as_nobody: bool,
    namespaces: Option<Namespaces>,
    limits: Vec<(Resource, Rlimit)>,
    fence: Option<OwnedFd>,
    filter: Option<BpfProgram>,
}

/// What setting up the namespaces writes.
struct Namespaces {
    uid_map: Vec<u8>,
    gid_map: Vec<u8>,
    /// Options of the file system in memory that becomes the program's folder.
    home_options: CString,
}

/// What fails, for the message. The parent gets it above the error number (see [`start_error`]).
#[derive(Clone, Copy)]
enum Step {
    Session,
    User,
    Namespaces,
    Maps,
    ReadOnly,
    Folder,
    Limits,
    Landlock,
    Seccomp,
}

const STEPS: &[(Step, &str)] = &[
    (Step::Session, "own session"),
    (Step::User, "becoming the user `nobody`"),
    (Step::Namespaces, "own namespaces"),
    (Step::Maps, "user ids of the namespace"),
    (Step::ReadOnly, "making the file system read-only"),
    (Step::Folder, "its folder"),
    (Step::Limits, "its limits"),
    (Step::Landlock, "Landlock"),
    (Step::Seccomp, "seccomp"),
];

/// Bits of an error number.
const ERRNO_BITS: u32 = 16;

impl Confinement {
    pub fn new(walls: &[Wall], python: &Python, scratch: &Scratch, limits: &Limits) -> Result<Self> {
        let has = |wall| walls.contains(&wall);
        let missing = |step: &'static str, reason: String| Error::Start {
            step,
            source: io::Error::new(io::ErrorKind::Unsupported, reason),
        };
        let as_nobody = has(Wall::Nobody);
        let (uid, gid) = if as_nobody { (NOBODY, NOBODY) } else { (geteuid().as_raw(), getegid().as_raw()) };
        let namespaces = has(Wall::Namespaces).then(|| Namespaces {
            uid_map: format!("{uid} {uid} 1").into_bytes(),
            gid_map: format!("{gid} {gid} 1").into_bytes(),
            home_options: CString::new(format!("size={},nr_inodes=1024,mode=700", limits.file_size))
                .expect("digits and letters"),
        });
        let fence = has(Wall::Landlock).then(|| fence::rules(python, scratch)).transpose();
        let filter = has(Wall::Seccomp).then(filter::program).transpose();
        Ok(Self {
            parent: getpid(),
            home: CString::new(scratch.home().as_os_str().as_bytes()).expect("a path that exists"),
            as_nobody,
            namespaces,
            limits: resources(limits),
            fence: fence.map_err(|reason| missing("Landlock", reason))?,
            filter: filter.map_err(|error| missing("seccomp", error.to_string()))?,
        })
    }

    /// Runs in the new process. Only system calls, no allocation, no lock.
    pub fn apply(&self) -> io::Result<()> {
        setsid().at(Step::Session)?;
        if self.as_nobody {
            become_nobody().at(Step::User)?;
        }
        if let Some(namespaces) = &self.namespaces {
            namespaces.enter(&self.home)?;
        }
        // A change of user clears it, so this comes after. If the parent is already dead, nobody would send it.
        set_parent_process_death_signal(Some(Signal::KILL)).at(Step::Session)?;
        if getppid() != Some(self.parent) {
            return Err(rustix::io::Errno::SRCH).at(Step::Session);
        }
        chdir(self.home.as_c_str()).at(Step::Folder)?;
        close_others();
        for (resource, limit) in &self.limits {
            setrlimit(*resource, *limit).at(Step::Limits)?;
        }
        set_no_new_privs(true).at(Step::Seccomp)?;
        if let Some(fence) = &self.fence {
            enter_fence(fence, &self.home).at(Step::Landlock)?;
        }
        if let Some(filter) = &self.filter {
            let applied = seccompiler::apply_filter(filter);
            applied.map_err(|_| rustix::io::Errno::INVAL).at(Step::Seccomp)?;
        }
        Ok(())
    }
}

/// Limits as the kernel takes them; none above what this process may set.
fn resources(limits: &Limits) -> Vec<(Resource, Rlimit)> {
    let cpu = limits.cpu_time.as_millis().div_ceil(1000) as u64;
    let all = [
        // One second between the signal that can be caught and the one that cannot.
        (Resource::Cpu, cpu, cpu + 1),
        (Resource::As, limits.memory, limits.memory),
        (Resource::Fsize, limits.file_size, limits.file_size),
        (Resource::Nproc, limits.threads, limits.threads),
        (Resource::Nofile, 64, 64),
        (Resource::Core, 0, 0),
        (Resource::Msgqueue, 0, 0),
    ];
    let below = |limit: u64, most: Option<u64>| Some(most.map_or(limit, |most| limit.min(most)));
    let limit = |(resource, current, maximum)| {
        let most = getrlimit(resource).maximum;
        (resource, Rlimit { current: below(current, most), maximum: below(maximum, most) })
    };
    all.map(limit).to_vec()
}

fn become_nobody() -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    // The change of user has made `/proc/self` root's; the maps of user ids are written there.
    set_dumpable_behavior(DumpableBehavior::Dumpable)
}

impl Namespaces {
    fn enter(&self, home: &CStr) -> io::Result<()> {
        let flags = UnshareFlags::NEWUSER
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWNET
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS;
        // SAFETY: the process has one thread and shares no file descriptors.
        unsafe { unshare_unsafe(flags) }.at(Step::Namespaces)?;
        write(c"/proc/self/setgroups", b"deny").at(Step::Maps)?;
        write(c"/proc/self/uid_map", &self.uid_map).at(Step::Maps)?;
        write(c"/proc/self/gid_map", &self.gid_map).at(Step::Maps)?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change(c"/", private).at(Step::ReadOnly)?;
        read_only(c"/").at(Step::ReadOnly)?;
        let inert = MountFlags::NOSUID | MountFlags::NODEV;
        mount(c"tmpfs", home, c"tmpfs", inert, self.home_options.as_c_str()).at(Step::Folder)?;
        // Other processes are not to be seen, nor their environment.
        mount(c"tmpfs", c"/proc", c"tmpfs", inert | MountFlags::RDONLY, c"size=0").at(Step::ReadOnly)
    }
}

fn write(path: &CStr, text: &[u8]) -> rustix::io::Result<()> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text).map(drop)
}

/// A mount and all below it (Linux 5.12).
fn read_only(path: &CStr) -> rustix::io::Result<()> {
    /// `struct mount_attr` of `<linux/mount.h>`.
    #[repr(C)]
    struct MountAttributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    const MOUNT_ATTR_RDONLY: u64 = 1;
    const MOUNT_ATTR_NOSUID: u64 = 2;
    let set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
    let attributes = MountAttributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path ends with a zero byte and the structure has the size that is passed; the kernel only reads both.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    })
}

/// Whatever files this process has open beyond the three streams, the program does not get. Rust opens all of its own
/// so; libraries may not. Where the kernel lacks the call (before Linux 5.11) there is nothing to fall back on.
fn close_others() {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: the call has no pointers; it marks descriptors and closes none before exec.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
}

/// Adds the program's folder to the rules, and puts this process under them.
fn enter_fence(rules: &OwnedFd, home: &CStr) -> rustix::io::Result<()> {
    /// `struct landlock_path_beneath_attr` of `<linux/landlock.h>`.
    #[repr(C, packed)]
    struct PathBeneath {
        allowed_access: u64,
        parent_fd: i32,
    }
    const LANDLOCK_RULE_PATH_BENEATH: libc::c_int = 1;
    let folder = open(home, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let rule = PathBeneath { allowed_access: fence::all_rights(), parent_fd: folder.as_raw_fd() };
    let rules = rules.as_raw_fd();
    // SAFETY: the rule lives during the call, which reads it; both descriptors are open.
    checked(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &raw const rule, 0)
    })?;
    // SAFETY: the call has no pointers.
    checked(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules, 0) })
}

fn checked(answer: libc::c_long) -> rustix::io::Result<()> {
    if answer == 0 {
        return Ok(());
    }
    // The number is in a thread-local variable: reading it allocates nothing.
    let number = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
    Err(rustix::io::Errno::from_raw_os_error(number))
}

/// Says which step failed.
trait At<T> {
    fn at(self, step: Step) -> io::Result<T>;
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, step: Step) -> io::Result<T> {
        // All that comes through to the parent is one number.
        let mark = |errno: rustix::io::Errno| ((step as i32 + 1) << ERRNO_BITS) | errno.raw_os_error();
        self.map_err(|errno| io::Error::from_raw_os_error(mark(errno)))
    }
}

/// What [`Confinement::apply`], or exec itself, came back with.
pub fn start_error(error: io::Error) -> Error {
    let number = error.raw_os_error().unwrap_or(0);
    let step = STEPS.iter().find(|(step, _)| *step as i32 + 1 == number >> ERRNO_BITS);
    match step {
        Some((_, step)) => {
            Error::Start { step, source: io::Error::from_raw_os_error(number & ((1 << ERRNO_BITS) - 1)) }
        }
        None => Error::Start { step: "the interpreter", source: error },
    }
}
