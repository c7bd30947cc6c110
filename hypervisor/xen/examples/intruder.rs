//! Makes a running device model that has given up its rights do system calls, as an intruder in it would, and
//! says which of them were refused.
//!
//! `intruder PID DOMID machine`, as root on a Xen host (x86-64); `intruder PID DOMID disks IMAGE` tries the process that
//! serves a restricted guest's PV disks, `intruder PID DOMID opener IMAGE` the one that opens their images. The calls are
//! made in the process's first thread, with its own files, and the last one ends it. The exit status is 1 if anything
//! was not as it should be.

use std::ffi::{c_long, c_void};
use std::io::{self, Error};
use std::process::ExitCode;
use std::{fs, ptr};

use libc::{pid_t, user_regs_struct};

/// Where arguments of calls go: below what the thread's functions use of its stack.
const BELOW: u64 = 4096;
/// `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// A thread that is held, with the registers it goes on with.
struct Held {
    thread: pid_t,
    before: user_regs_struct,
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Returned(i64),
    Killed(i32),
}

fn ptrace(request: u32, thread: pid_t, addr: u64, data: u64) -> io::Result<c_long> {
    // SAFETY: the pointers that callers pass as `data` are to a whole structure of theirs, which lives on.
    let result = unsafe { libc::ptrace(request, thread, addr as *mut c_void, data as *mut c_void) };
    if result == -1 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// The signal that stopped or ended the thread; whether it ended.
fn wait(thread: pid_t) -> io::Result<(i32, bool)> {
    let mut status = 0;
    // SAFETY: `status` is a place for the status.
    if unsafe { libc::waitpid(thread, &mut status, libc::__WALL) } == -1 {
        return Err(Error::last_os_error());
    }
    if libc::WIFSTOPPED(status) {
        Ok((libc::WSTOPSIG(status), false))
    } else {
        Ok((libc::WTERMSIG(status), true))
    }
}

impl Held {
    fn new(thread: pid_t) -> io::Result<Held> {
        ptrace(libc::PTRACE_ATTACH, thread, 0, 0)?;
        wait(thread)?;
        // SAFETY: registers are numbers, and zero is one.
        let mut before: user_regs_struct = unsafe { std::mem::zeroed() };
        ptrace(libc::PTRACE_GETREGS, thread, 0, ptr::from_mut(&mut before) as u64)?;
        let mut code = [0; 2];
        let memory = fs::File::open(format!("/proc/{thread}/mem"))?;
        std::os::unix::fs::FileExt::read_exact_at(&memory, &mut code, before.rip - 2)?;
        if code == SYSCALL {
            Ok(Held { thread, before })
        } else {
            Err(Error::other("it is not in a system call"))
        }
    }

    /// Puts an argument's bytes (at most a page) where the result says.
    fn put(&self, bytes: &[u8]) -> io::Result<u64> {
        let at = (self.before.rsp - 2 * BELOW) & !15;
        let memory = fs::File::options().write(true).open(format!("/proc/{}/mem", self.thread))?;
        std::os::unix::fs::FileExt::write_all_at(&memory, bytes, at)?;
        Ok(at)
    }

    fn call(&self, number: c_long, arguments: [u64; 4]) -> io::Result<Outcome> {
        let [rdi, rsi, rdx, r10] = arguments;
        let rip = self.before.rip - SYSCALL.len() as u64;
        let mut registers = user_regs_struct {
            rip,
            rax: number as u64,
            // The call that the thread was in is not begun anew.
            orig_rax: u64::MAX,
            rdi,
            rsi,
            rdx,
            r10,
            r8: u64::MAX,
            r9: 0,
            ..self.before
        };
        ptrace(libc::PTRACE_SETREGS, self.thread, 0, ptr::from_mut(&mut registers) as u64)?;
        ptrace(libc::PTRACE_SINGLESTEP, self.thread, 0, 0)?;
        let (signal, ended) = wait(self.thread)?;
        if ended {
            return Ok(Outcome::Killed(signal));
        }
        ptrace(libc::PTRACE_GETREGS, self.thread, 0, ptr::from_mut(&mut registers) as u64)?;
        Ok(Outcome::Returned(registers.rax as i64))
    }
}

/// The number of the process's file of that name.
fn file(pid: pid_t, name: &str) -> io::Result<u64> {
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        if fs::read_link(&path)?.to_str() == Some(name) {
            let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            return number.ok_or_else(|| Error::other("a file without a number"));
        }
    }
    Err(Error::other(format!("the process has no {name}")))
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// What answers are right.
enum Right {
    /// One of these.
    One(Vec<i64>),
    /// An open file.
    File,
    /// None: the process is ended.
    End,
}

/// An argument of a call.
#[derive(Clone, Copy)]
enum Argument {
    Value(u64),
    /// Where the call's bytes are.
    Bytes,
    /// The file that was opened last.
    Opened,
}

use Argument::{Bytes, Opened, Value};

/// A call that is tried: its number and arguments, bytes that one of these may point to, and which answers are right.
struct Try {
    name: &'static str,
    number: c_long,
    arguments: [Argument; 4],
    bytes: Vec<u8>,
    right: Right,
}

const EPERM: i64 = -(libc::EPERM as i64);
const EACCES: i64 = -(libc::EACCES as i64);
const CWD: Argument = Value(libc::AT_FDCWD as u64);
const NO: Argument = Value(0);

fn refused(name: &'static str, number: c_long, arguments: [u64; 2]) -> Try {
    let [first, second] = arguments.map(Value);
    Try {
        name,
        number,
        arguments: [first, second, NO, NO],
        bytes: Vec::new(),
        right: Right::One(vec![EPERM]),
    }
}

/// Opening a file is refused, by the filter or by landlock.
fn open(name: &'static str, path: &str, flags: i32, right: &[i64]) -> Try {
    Try {
        name,
        number: libc::SYS_openat,
        arguments: [CWD, Bytes, Value(flags as u64), NO],
        bytes: [path.as_bytes(), b"\0"].concat(),
        right: Right::One(right.to_vec()),
    }
}

fn ioctl(name: &'static str, file: u64, request: u64, bytes: Vec<u8>, right: &[i64]) -> Try {
    let arguments = [Value(file), Value(request), Bytes, NO];
    Try { name, number: libc::SYS_ioctl, arguments, bytes, right: Right::One(right.to_vec()) }
}

/// What any process gets that has given up its rights; `files` is how it is refused a file.
fn for_all(pid: pid_t, files: &[i64]) -> Vec<Try> {
    let (unix, inet, stream) = (libc::AF_UNIX as u64, libc::AF_INET as u64, libc::SOCK_STREAM as u64);
    let write = libc::O_WRONLY;
    vec![
        Try { right: Right::One(vec![pid.into()]), ..refused("(getpid works)", libc::SYS_getpid, [0, 0]) },
        open("root's table of jobs, to write", "/etc/crontab", write, files),
        open("what the kernel runs for a dead process", "/proc/sys/kernel/core_pattern", write, files),
        open("the password file", "/etc/passwd", libc::O_RDONLY, files),
        open("a new file", "/root/new", write | libc::O_CREAT, &[EPERM]),
        refused("a local socket", libc::SYS_socket, [unix, stream]),
        refused("a socket to the network", libc::SYS_socket, [inet, stream]),
        refused("becoming root", libc::SYS_setuid, [0, 0]),
        refused("a signal to PID 1", libc::SYS_kill, [1, 0]),
    ]
}

/// The last: it ends the process.
fn program() -> Try {
    Try {
        number: libc::SYS_execve,
        arguments: [Bytes, NO, NO, NO],
        right: Right::End,
        ..open("a program", "/bin/sh", 0, &[])
    }
}

fn machine(pid: pid_t, domid: u64) -> io::Result<Vec<Try>> {
    let (privcmd, evtchn) = (file(pid, "/dev/xen/privcmd")?, file(pid, "/dev/xen/evtchn")?);
    // privcmd's structures begin with the domain, MMAPBATCH_V2 with the number of pages before it.
    let pages = |domain: u64| words(&[1 | domain << 32, 0x1000, 0x1000, 0x1000]);
    // Without pages there, its own domain's mapping fails in another way.
    let own = [-i64::from(libc::EINVAL), -i64::from(libc::EFAULT)];
    let mut tries = for_all(pid, &[EPERM]);
    tries.extend([
        ioctl("(pages of the own domain may be asked for)", privcmd, 0x0020_5004, pages(domid), &own),
        ioctl("pages of domain 0", privcmd, 0x0020_5004, pages(0), &[EPERM]),
        ioctl("a resource of domain 0", privcmd, 0x0020_5007, words(&[0, 0, 1, 0]), &[EPERM]),
        ioctl("a dm_op on domain 0", privcmd, 0x0010_5005, words(&[0, 0]), &[EPERM]),
        ioctl("a hypercall", privcmd, 0x0030_5000, words(&[17, 0, 0, 0, 0, 0]), &[EPERM]),
        ioctl("another restriction", privcmd, 0x0002_5006, words(&[0]), &[EPERM]),
        ioctl("an event channel to domain 0", evtchn, 0x0008_4501, words(&[1 << 32]), &[EPERM, EACCES]),
        open("xenstore by its device", "/dev/xen/xenbus", 0, &[EPERM]),
        open("xenstore by its socket's folder", "/var/run/xenstored", 0, &[EPERM]),
        open("the root folder", "/", 0, &[EPERM]),
        program(),
    ]);
    Ok(tries)
}

/// The same of one that has a tap device: it stays with the interface that it was given.
fn machine_with_tap(pid: pid_t, domid: u64) -> io::Result<Vec<Try>> {
    const DEVICE: &str = "/dev/net/tun";
    // Linux, `linux/if_tun.h`.
    const TUNSETIFF: u64 = 0x4004_54ca;
    const TUNSETPERSIST: u64 = 0x4004_54cb;
    const TUNSETOWNER: u64 = 0x4004_54cc;
    let tap = file(pid, DEVICE)?;
    let interface = [b"xenbr0".as_slice(), &[0; 34]].concat();
    let mut tries = machine(pid, domid)?;
    let before_the_last = tries.len() - 1;
    let more = [
        ioctl("another interface", tap, TUNSETIFF, interface, &[EPERM]),
        ioctl("an interface that stays", tap, TUNSETPERSIST, words(&[1]), &[EPERM]),
        ioctl("an interface for somebody else", tap, TUNSETOWNER, words(&[0]), &[EPERM]),
        open("one more interface", DEVICE, libc::O_RDWR, &[EPERM]),
    ];
    tries.splice(before_the_last..before_the_last, more);
    Ok(tries)
}

fn disks(pid: pid_t, image: &str) -> io::Result<Vec<Try>> {
    let evtchn = file(pid, "/dev/xen/evtchn")?;
    let mut tries = for_all(pid, &[EPERM]);
    tries.extend([
        open("its own image, by name", image, libc::O_RDWR, &[EPERM]),
        open("xenstore by its device", "/dev/xen/xenbus", 0, &[EPERM]),
        open("the root folder", "/", 0, &[EPERM]),
        ioctl("an event channel to domain 0", evtchn, 0x0008_4501, words(&[1 << 32]), &[EPERM, EACCES]),
        program(),
    ]);
    Ok(tries)
}

fn opener(pid: pid_t, image: &str) -> Vec<Try> {
    let of_image = |name, number| {
        let arguments = [Opened, Bytes, Value(1), NO];
        Try { arguments, bytes: vec![0], ..refused(name, number, [0, 0]) }
    };
    let memory = [NO, Value(4096), Value(libc::PROT_READ as u64), Value(libc::MAP_SHARED as u64)];
    let mut tries = for_all(pid, &[EACCES]);
    tries.extend([
        Try { right: Right::File, ..open("(an image may be opened)", image, libc::O_RDWR, &[]) },
        of_image("bytes of an image", libc::SYS_read),
        of_image("bytes in the middle of an image", libc::SYS_pread64),
        of_image("writing an image", libc::SYS_write),
        of_image("writing in the middle of an image", libc::SYS_pwrite64),
        Try { arguments: [Opened, NO, NO, NO], ..refused("cutting an image", libc::SYS_ftruncate, [0, 0]) },
        Try { arguments: memory, ..refused("an image as memory", libc::SYS_mmap, [0, 0]) },
        refused("another number for a file", libc::SYS_dup2, [1, 0]),
        refused("closing what it is asked over", libc::SYS_close, [0, 0]),
        program(),
    ]);
    tries
}

fn intrude(pid: pid_t, tries: Vec<Try>) -> io::Result<u32> {
    let mut failures = 0;
    let held = Held::new(pid)?;
    let mut opened = u64::MAX;
    // Where the process was stopped before, the first step ends at that.
    held.call(libc::SYS_getpid, [0; 4])?;
    for Try { name, number, arguments, bytes, right } in tries {
        let at = held.put(&bytes)?;
        let outcome = held.call(
            number,
            arguments.map(|argument| match argument {
                Value(value) => value,
                Bytes => at,
                Opened => opened,
            }),
        )?;
        let good = match (&outcome, &right) {
            (Outcome::Returned(value), Right::One(right)) => right.contains(value),
            (Outcome::Returned(value), Right::File) => {
                opened = *value as u64;
                *value > 2
            }
            (Outcome::Killed(signal), Right::End) => *signal == libc::SIGSYS,
            _ => false,
        };
        println!("{}  {name}: {outcome:?}", if good { "ok  " } else { "FAIL" });
        failures += u32::from(!good);
        if matches!(outcome, Outcome::Killed(_)) {
            break;
        }
    }
    Ok(failures)
}

/// The process, and what is tried in it.
fn asked(arguments: &[String]) -> Option<io::Result<(pid_t, Vec<Try>)>> {
    let [pid, domid, rest @ ..] = arguments else { return None };
    let (pid, domid) = (pid.parse().ok()?, domid.parse().ok()?);
    let tries = match rest {
        [what] if what == "machine" => machine(pid, domid),
        [what, tap] if what == "machine" && tap == "tap" => machine_with_tap(pid, domid),
        [what, image] if what == "disks" => disks(pid, image),
        [what, image] if what == "opener" => Ok(opener(pid, image)),
        _ => return None,
    };
    Some(tries.map(|tries| (pid, tries)))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(asked) = asked(&arguments) else {
        eprintln!("usage: intruder PID DOMID machine [tap] | disks IMAGE | opener IMAGE");
        return ExitCode::from(2);
    };
    match asked.and_then(|(pid, tries)| intrude(pid, tries)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("intruder: {error}");
            ExitCode::from(2)
        }
    }
}
