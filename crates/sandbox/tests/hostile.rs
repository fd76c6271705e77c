//! Programs that try to get out. Each test looks from outside at what the program would have done.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr)]

use sandbox::{End, Limits, Outcome, Permission, Sandbox, Wall};
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn sandbox() -> Option<Sandbox> {
    match Sandbox::new(Permission::Isolated) {
        Ok(sandbox) => Some(sandbox),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Enough for a program that does not waste it.
fn limits() -> Limits {
    Limits { cpu_time: Duration::from_secs(5), wall_time: Duration::from_secs(20), ..Limits::default() }
}

fn run(program: &str) -> Option<Outcome> {
    Some(sandbox()?.run(program, &limits()).unwrap())
}

/// A folder that anybody may write to, so that only the walls keep a program out.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

/// Waits for what needs a moment.
fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Processes on this machine whose command line holds `text`.
fn processes_with(text: &str) -> Vec<PathBuf> {
    let running = |path: &PathBuf| {
        fs::read(path.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    };
    fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()).filter(running).collect()
}

#[test]
fn the_end_is_told() {
    let Some(sandbox) = sandbox() else { return };
    eprintln!("{} behind {}", sandbox.python().display(), sandbox.isolation());
    let run = |program| sandbox.run(program, &limits()).unwrap();
    let fine = run("import sys\nprint('out')\nprint('err', file=sys.stderr)");
    assert_eq!((fine.end, fine.stdout.as_str(), fine.stderr.as_str()), (End::Exited(0), "out\n", "err\n"));
    assert_eq!(run("raise SystemExit(7)").end, End::Exited(7));
    let wrong = run("assert 1 == 2");
    assert_eq!(wrong.end, End::Exited(1));
    assert!(wrong.stderr.ends_with("AssertionError\n"), "{}", wrong.stderr);
    assert_eq!(run("import ctypes; ctypes.string_at(0)").end, End::Signaled(11));
}

#[test]
fn ordinary_programs_run() {
    let program = "
import asyncio, collections, dataclasses, datetime, heapq, json, math, os, random, re, tempfile, threading, time
from typing import List
seen = []
threads = [threading.Thread(target=seen.append, args=(i,)) for i in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert sorted(seen) == [0, 1, 2, 3]
async def one(): return 1
assert asyncio.run(one()) == 1
with open('own.txt', 'w') as file: file.write('text')
os.rename('own.txt', 'other.txt')
assert open('other.txt').read() == 'text' and os.listdir() == ['other.txt']
with tempfile.TemporaryDirectory() as folder: assert folder.startswith(os.environ['HOME'])
assert os.getcwd() == os.environ['HOME']
print(sorted(os.environ), list({'a', 'b', 'c', 'd'}))
";
    let Some(sandbox) = sandbox() else { return };
    let outcome = sandbox.run(program, &limits()).unwrap();
    assert_eq!(outcome.end, End::Exited(0), "{}", outcome.stderr);
    let again = sandbox.run(program, &limits()).unwrap();
    assert_eq!(outcome.stdout, again.stdout, "the order of a set does not change");
}

#[test]
fn a_fork_bomb_has_no_second_process() {
    let mark = format!("bomb-{}", std::process::id());
    let program = format!(
        "
import os, subprocess
made = 0
for _ in range(100):
    try:
        if os.fork() == 0:
            os.execv('/bin/sleep', ['{mark}', '60'])
        made += 1
    except OSError:
        pass
try:
    subprocess.Popen(['/bin/sleep', '61'])
    made += 1
except OSError:
    pass
print(made)
"
    );
    let Some(outcome) = run(&program) else { return };
    assert_eq!(outcome.stdout, "0\n", "{outcome:?}");
    assert_eq!(processes_with(&mark), Vec::<PathBuf>::new());
}

#[test]
fn native_code_has_no_second_process() {
    // fork and clone (SIGCHLD = 17) of x86-64, past Python's own functions; then the same by numbers of the x32 ABI.
    if !cfg!(target_arch = "x86_64") {
        return eprintln!("skipped: the numbers of the calls are those of x86-64");
    }
    let program = "
import ctypes, os
call = ctypes.CDLL(None, use_errno=True).syscall
parent = os.getpid()
for number in (57, 56, 1 << 30 | 57, 1 << 30 | 56):
    answer = call(ctypes.c_long(number), 17, 0, 0, 0, 0)
    if os.getpid() != parent: os._exit(0)
    print(answer, ctypes.get_errno())
";
    let Some(outcome) = run(program) else { return };
    assert_eq!(outcome.stdout, "-1 38\n".repeat(4), "ENOSYS: {outcome:?}");
}

#[test]
fn threads_are_counted() {
    let program = "
import threading, time
threading.stack_size(32768)
started = 0
try:
    for _ in range(1000):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        started += 1
except RuntimeError:
    pass
print(started, flush=True)
import os; os._exit(0)
";
    let Some(sandbox) = sandbox() else { return };
    let outcome = sandbox.run(program, &limits()).unwrap();
    let started: u64 = outcome.stdout.trim().parse().unwrap_or_else(|_| panic!("{outcome:?}"));
    assert!(started < limits().threads, "{started}");
    if sandbox.isolation().walls.contains(&Wall::Namespaces) {
        assert_eq!(started, limits().threads - 1, "only its own count");
    }
}

#[test]
fn endless_output_is_cut() {
    let Some(sandbox) = sandbox() else { return };
    for stream in ["stdout", "stderr"] {
        let program = format!("import sys\nwhile True: sys.{stream}.write('x' * 65536)");
        let limits = Limits { output: 100_000, ..limits() };
        let outcome = sandbox.run(&program, &limits).unwrap();
        assert_eq!(outcome.end, End::Output);
        assert_eq!(outcome.stdout.len() + outcome.stderr.len(), 100_000);
    }
}

#[test]
fn memory_is_limited() {
    for hog in ["bytearray(1 << 31)", "x = []\nwhile True: x.append(bytearray(1 << 20))"] {
        let Some(outcome) = run(hog) else { return };
        assert!(outcome.stderr.contains("MemoryError"), "{outcome:?}");
    }
    let program = "
import ctypes, os
libc = ctypes.CDLL(None)
try:
    print('memfd', os.memfd_create('x'))
except OSError as error:
    print('memfd', error.errno)
print('shm', libc.shmget(0, 1 << 31, 0o1600))
";
    let Some(outcome) = run(program) else { return };
    assert_eq!(outcome.stdout, "memfd 38\nshm -1\n", "{outcome:?}");
}

#[test]
fn spinning_is_limited() {
    let Some(sandbox) = sandbox() else { return };
    let limits = Limits { cpu_time: Duration::from_secs(1), ..limits() };
    assert_eq!(sandbox.run("while True: pass", &limits).unwrap().end, End::CpuTime);
    let deaf = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass";
    assert_eq!(sandbox.run(deaf, &limits).unwrap().end, End::Signaled(9));
    let raised = "import resource\ntry: resource.setrlimit(resource.RLIMIT_CPU, (99, 99))\nexcept (OSError, \
                  ValueError): pass\nwhile True: pass";
    assert_eq!(sandbox.run(raised, &limits).unwrap().end, End::CpuTime);
}

#[test]
fn sleeping_is_limited() {
    let Some(sandbox) = sandbox() else { return };
    let limits = Limits { wall_time: Duration::from_secs(1), ..limits() };
    let closing = "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(600)";
    for program in ["import time\ntime.sleep(600)", "input()\nimport time\ntime.sleep(600)", closing] {
        let outcome = sandbox.run(program, &limits).unwrap();
        if outcome.stderr.contains("EOFError") {
            continue; // there is no input to wait for
        }
        assert_eq!(outcome.end, End::WallTime);
        assert!(outcome.time >= Duration::from_secs(1) && outcome.time < Duration::from_secs(10));
    }
}

#[test]
fn nothing_is_written_outside() {
    let Some(sandbox) = sandbox() else { return };
    let folder = open_folder();
    let existing = folder.path().join("existing");
    fs::write(&existing, "before").unwrap();
    fs::set_permissions(&existing, fs::Permissions::from_mode(0o666)).unwrap();
    let mark = format!("mark-{}", std::process::id());
    let home = std::env::var("HOME").unwrap();
    let places = [
        folder.path().join(&mark),
        PathBuf::from("/tmp").join(&mark),
        PathBuf::from("/var/tmp").join(&mark),
        PathBuf::from("/dev/shm").join(&mark),
        PathBuf::from(&home).join(&mark),
        PathBuf::from("/").join(&mark),
    ];
    let program = format!(
        "
import os
def attempt(what, *arguments):
    try:
        what(*arguments)
        print(what, arguments)
    except OSError:
        pass
for place in {places:?} + ['../{mark}', '../../{mark}', '../program.py']:
    attempt(lambda place: open(place, 'w').write('x'), place)
    attempt(os.mkdir, place + '-folder')
    attempt(os.symlink, '/', place + '-link')
existing = {existing:?}
attempt(lambda: open(existing, 'a').write('x'))
attempt(os.truncate, existing, 0)
attempt(lambda: os.open(existing, os.O_RDONLY | os.O_TRUNC))
attempt(os.remove, existing)
attempt(os.rename, existing, existing + '2')
attempt(os.link, existing, 'linked')
attempt(os.chmod, existing, 0)
attempt(os.utime, existing, (0, 0))
os.symlink(os.path.dirname(existing), 'out')
attempt(lambda: open('out/{mark}', 'w').write('x'))
attempt(lambda: open('out/existing', 'w').write('x'))
"
    );
    let outcome = sandbox.run(&program, &limits()).unwrap();
    assert_eq!((outcome.end, outcome.stdout.as_str()), (End::Exited(0), ""), "{outcome:?}");
    for place in &places {
        assert!(!place.exists(), "{}", place.display());
    }
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["existing"]);
    assert_eq!(fs::read_to_string(&existing).unwrap(), "before");
    assert_eq!(fs::metadata(&existing).unwrap().permissions().mode() & 0o777, 0o666);
}

#[test]
fn huge_files_are_cut() {
    let program = "
try:
    with open('huge', 'wb') as file:
        for _ in range(100): file.write(bytes(1 << 20))
except OSError as error:
    print(error.errno)
import os
print(os.path.getsize('huge') <= 16 << 20)
";
    let Some(outcome) = run(program) else { return };
    assert!(["27\nTrue\n", "28\nTrue\n"].contains(&outcome.stdout.as_str()), "EFBIG or ENOSPC: {outcome:?}");
}

#[test]
fn nobody_is_called() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let program = format!(
        "
import ctypes, socket
try:
    socket.create_connection(('127.0.0.1', {port}), timeout=2).sendall(b'secret')
    print('connected')
except OSError:
    print('refused')
print(ctypes.CDLL(None).socket(2, 1, 0), ctypes.CDLL(None).socket(1, 1, 0))
"
    );
    let Some(outcome) = run(&program) else { return };
    let heard = listener.accept().map(|(mut stream, _)| stream.read(&mut [0; 8]).unwrap_or(0));
    assert_eq!(heard.unwrap_err().kind(), ErrorKind::WouldBlock, "nothing was received");
    assert_eq!(outcome.stdout, "refused\n-1 -1\n", "{outcome:?}");
}

#[test]
fn no_daemon_stays_behind() {
    let folder = open_folder();
    let beat = folder.path().join("beat");
    let program = format!(
        "
import os, time
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for _ in range(200):
                for place in ({beat:?}, 'beat'):
                    try:
                        with open(place, 'a') as file: file.write('x')
                    except OSError: pass
                time.sleep(0.05)
        os._exit(0)
    os.wait()
    print('daemon')
except OSError:
    print('refused')
time.sleep(0.3)
"
    );
    let before = processes_with("program.py").len();
    let Some(outcome) = run(&program) else { return };
    // Other tests run programs of their own at the same time: what is asked is that none of ours stays.
    assert_eq!(outcome.stdout, "refused\n", "{outcome:?}");
    assert!(!beat.exists());
    assert!(eventually(|| processes_with("program.py").len() <= before));
}

#[test]
fn the_parents_secrets_are_not_seen() {
    let folder = open_folder();
    let secret = folder.path().join("secret");
    fs::write(&secret, "token-in-a-file").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o666)).unwrap();
    let parent = std::process::id();
    let program = format!(
        "
import os
places = ['/proc/%s/%s' % (pid, what) for pid in ({parent}, os.getppid()) for what in ('environ', 'cmdline', 'maps')]
for place in places + [{secret:?}, '/etc/passwd']:
    try:
        print(place, open(place, 'rb').read()[:100])
    except OSError:
        pass
try:
    print(os.listdir('/proc'))
except OSError:
    pass
for name in os.environ:
    if name not in ('HOME', 'TMPDIR', 'PATH', 'LANG', 'LC_CTYPE', 'PYTHONHASHSEED', 'OMP_NUM_THREADS', \
         'OPENBLAS_NUM_THREADS'):
        print(name)
"
    );
    let Some(sandbox) = sandbox() else { return };
    if !sandbox.isolation().walls.contains(&Wall::Landlock) {
        return eprintln!("skipped: only Landlock limits what is read");
    }
    let outcome = sandbox.run(&program, &limits()).unwrap();
    assert!(outcome.stdout.is_empty() || outcome.stdout == "[]\n", "{outcome:?}");
    assert_eq!(outcome.end, End::Exited(0), "{outcome:?}");
}

#[test]
fn the_parent_lives() {
    let program = "
import ctypes, fcntl, os, resource, signal
libc = ctypes.CDLL(None)
parent = os.getppid()
done = []
def attempt(name, what):
    try:
        what()
        done.append(name)
    except (OSError, ValueError): pass
attempt('kill', lambda: os.kill(parent, 9))
# Signal 0 asks whether one may: a failing test must not stop the machine.
attempt('killpg', lambda: os.killpg(os.getpgid(parent), 0))
attempt('all', lambda: os.kill(-1, 0))
attempt('nice', lambda: os.setpriority(os.PRIO_PROCESS, parent, 19))
attempt('limits', lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE, (3, 3)))
reader, writer = os.pipe()
attempt('owner', lambda: fcntl.fcntl(reader, fcntl.F_SETOWN, parent))
attempt('signal', lambda: fcntl.fcntl(reader, fcntl.F_SETSIG, 9))
if libc.ptrace(16, parent, 0, 0) == 0: done.append('ptrace')
if libc.prctl(1, 0, 0, 0, 0) == 0: done.append('orphan')
print(done)
";
    let files = fs::read_to_string("/proc/self/limits").unwrap();
    let Some(outcome) = run(program) else { return };
    assert_eq!(outcome.stdout, "[]\n", "{outcome:?}");
    assert_eq!(fs::read_to_string("/proc/self/limits").unwrap(), files);
}

/// The environment variable that turns [`a_killed_parent_takes_its_program_along`] into that parent.
const PARENT: &str = "SANDBOX_TEST_PARENT";

#[test]
fn a_killed_parent_takes_its_program_along() {
    let Some(sandbox) = sandbox() else { return };
    let mark = "import time\nwhile True: time.sleep(60)";
    if std::env::var_os(PARENT).is_some() {
        let limits = Limits { wall_time: Duration::from_mins(1), ..limits() };
        sandbox.run(mark, &limits).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().to_string_lossy().into_owned();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_parent_takes_its_program_along", "--nocapture"])
        .env(PARENT, "1")
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // The trial of the walls also runs a program in that folder: only one that lasts is ours.
    let started = eventually(|| {
        let first = processes_with(&text);
        std::thread::sleep(Duration::from_millis(700));
        !first.is_empty() && processes_with(&text) == first
    });
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(started, "the program runs");
    assert!(eventually(|| processes_with(&text).is_empty()), "it died with its parent");
}

#[test]
fn many_run_at_a_time() {
    use rayon::prelude::*;
    let Some(sandbox) = sandbox() else { return };
    let outputs: Vec<_> = (0..40)
        .into_par_iter()
        .map(|i| sandbox.run(&format!("open('own', 'x').write('x')\nprint({i} * 2)"), &limits()).unwrap())
        .collect();
    for (i, outcome) in outputs.iter().enumerate() {
        assert_eq!((outcome.end, outcome.stdout.trim().parse()), (End::Exited(0), Ok(i * 2)), "{outcome:?}");
    }
}

#[test]
fn nothing_stays_in_the_temporary_folder() {
    let Some(outcome) = run("import os\nos.makedirs('a/b/c')\nprint(os.getcwd())") else { return };
    assert_eq!(outcome.end, End::Exited(0), "{outcome:?}");
    let folder = Path::new(outcome.stdout.trim()).parent().unwrap();
    assert!(folder.file_name().unwrap().to_string_lossy().starts_with("program-") && !folder.exists());
}
