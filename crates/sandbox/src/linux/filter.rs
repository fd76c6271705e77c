//! The system calls a program does not have.
//!
//! To the program the kernel lacks them: each answers `ENOSYS`, which C libraries know how to live with (`clone3` then
//! becomes `clone`, whose flags a filter can read). The evaluation scripts of HumanEval take the same functions away
//! inside Python (`os.fork`, `os.kill`, `os.chmod`, `subprocess.Popen`, ...); here they are gone for native code, too.

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use std::collections::BTreeMap;

/// Never allowed.
const CALLS: &[&[c_long]] = &[
    // Other processes: no second one (threads come through `clone`), and nothing done to those there are.
    &[libc::SYS_clone3, libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo],
    &[libc::SYS_rt_tgsigqueueinfo, libc::SYS_pidfd_open, libc::SYS_pidfd_getfd, libc::SYS_pidfd_send_signal],
    &[libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_process_madvise],
    &[libc::SYS_kcmp, libc::SYS_setpriority, libc::SYS_ioprio_set, libc::SYS_sched_setaffinity],
    &[libc::SYS_sched_setscheduler, libc::SYS_sched_setparam, libc::SYS_sched_setattr],
    &[libc::SYS_migrate_pages, libc::SYS_move_pages],
    // Sockets. `socketpair` stays: both ends are the program's own. `io_uring` would open sockets past this filter.
    &[libc::SYS_socket, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register],
    // Memory that the limit on address space does not count, some of which outlives a process.
    &[libc::SYS_memfd_create, libc::SYS_memfd_secret, libc::SYS_shmget, libc::SYS_msgget, libc::SYS_semget],
    &[libc::SYS_mq_open],
    // Owners, rights and dates of files, which Landlock leaves alone. The last four are newer than `libc`:
    // setxattrat, removexattrat, file_setattr, and open_tree_attr, whose numbers are the same everywhere.
    &[libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchmodat2, libc::SYS_fchown, libc::SYS_fchownat],
    &[libc::SYS_utimensat, libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr],
    &[libc::SYS_removexattr, libc::SYS_lremovexattr, libc::SYS_fremovexattr, 463, 466, 469, 467],
    // Namespaces and mounts, and doors of the kernel that no exercise needs.
    &[libc::SYS_unshare, libc::SYS_setns, libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root],
    &[libc::SYS_chroot, libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick],
    &[libc::SYS_open_tree, libc::SYS_move_mount, libc::SYS_mount_setattr, libc::SYS_open_by_handle_at],
    &[libc::SYS_name_to_handle_at, libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd],
    &[libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key],
];

/// Older names for the same, which only this architecture has.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[c_long] = &[];

/// Not allowed where an argument (by its place) has a value. The kernel reads 32 bits of each of them.
const ARGUMENTS: &[(c_long, u8, SeccompCmpOp, u64)] = &[
    // A new process; a thread has the flag.
    (libc::SYS_clone, 0, SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64), 0),
    // Living on when the parent dies.
    (libc::SYS_prctl, 0, SeccompCmpOp::Eq, libc::PR_SET_PDEATHSIG as u64),
    // Limits of another process.
    (libc::SYS_prlimit64, 0, SeccompCmpOp::Ne, 0),
    // Signals to another process when a file is ready.
    (libc::SYS_fcntl, 1, SeccompCmpOp::Eq, libc::F_SETOWN as u64),
    (libc::SYS_fcntl, 1, SeccompCmpOp::Eq, F_SETSIG),
    (libc::SYS_fcntl, 1, SeccompCmpOp::Eq, F_SETOWN_EX),
    (libc::SYS_ioctl, 1, SeccompCmpOp::Eq, FIOSETOWN),
    (libc::SYS_ioctl, 1, SeccompCmpOp::Eq, SIOCSPGRP),
    // Input to a terminal.
    (libc::SYS_ioctl, 1, SeccompCmpOp::Eq, TIOCSTI),
];

// <asm-generic/fcntl.h>, <asm-generic/sockios.h> and <asm-generic/ioctls.h>.
const F_SETSIG: u64 = 10;
const F_SETOWN_EX: u64 = 15;
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;
const TIOCSTI: u64 = 0x5412;

/// The filter as the kernel takes it.
///
/// # Errors
/// On an architecture that has no compiler of filters.
pub fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS
        .iter()
        .flat_map(|group| group.iter())
        .chain(OLD_CALLS)
        .map(|call| (*call, Vec::new()))
        .collect();
    for (call, argument, comparison, value) in ARGUMENTS {
        let condition =
            SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, comparison.clone(), *value)?;
        rules.entry(*call).or_default().push(SeccompRule::new(vec![condition])?);
    }
    let refused = SeccompAction::Errno(libc::ENOSYS as u32);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let listed: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, refused.clone(), arch)?.try_into()?;
    Ok(numbers_of_x32_refused(refused).into_iter().chain(listed).collect())
}

/// On x86-64 the same calls exist a second time, 2³⁰ higher, in the list of the x32 ABI.
fn numbers_of_x32_refused(refused: SeccompAction) -> [sock_filter; 3] {
    let line = |code: u32, jump_else: u8, k: u32| sock_filter { code: code as u16, jt: 0, jf: jump_else, k };
    [
        // The number of the call is the first word of `struct seccomp_data`.
        line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        line(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, 1 << 30),
        line(libc::BPF_RET | libc::BPF_K, 0, refused.into()),
    ]
}
