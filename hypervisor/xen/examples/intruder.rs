//! Makes a running device model that has given up its rights do system calls, as an intruder in it would, and
//! says which of them were refused.
//!
//! `intruder PID DOMID`, as root on a Xen host (x86-64). The calls are made in the process's first thread, with
//! its own files, and the last one ends it. The exit status is 1 if anything was not as it should be.

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

/// What calls are tried: name, number, first argument, the bytes that the second or third one points to, and
/// the answers that are right.
struct Try {
    name: &'static str,
    number: c_long,
    first: u64,
    second: Option<u64>,
    bytes: Vec<u8>,
    right: Vec<i64>,
}

fn tries(pid: pid_t, domid: u64) -> io::Result<Vec<Try>> {
    let (eperm, eacces) = (-i64::from(libc::EPERM), -i64::from(libc::EACCES));
    let (privcmd, evtchn) = (file(pid, "/dev/xen/privcmd")?, file(pid, "/dev/xen/evtchn")?);
    let ioctl = |name, file, request, bytes, right: &[i64]| Try {
        name,
        number: libc::SYS_ioctl,
        first: file,
        second: Some(request),
        bytes,
        right: right.to_vec(),
    };
    let plain = |name, number, first, second, right| Try {
        name,
        number,
        first,
        second: Some(second),
        bytes: Vec::new(),
        right: vec![right],
    };
    let open = |name, path: &[u8]| Try {
        name,
        number: libc::SYS_openat,
        first: libc::AT_FDCWD as u64,
        second: None,
        bytes: path.to_vec(),
        right: vec![eperm],
    };
    // privcmd's structures begin with the domain, MMAPBATCH_V2 with the number of pages before it.
    let pages = |domain: u64| words(&[1 | domain << 32, 0x1000, 0x1000, 0x1000]);
    // Without pages there, its own domain's mapping fails in another way.
    let own = [-i64::from(libc::EINVAL), -i64::from(libc::EFAULT)];
    let (unix, inet) = (libc::AF_UNIX as u64, libc::AF_INET as u64);
    Ok(vec![
        plain("(getpid works)", libc::SYS_getpid, 0, 0, pid.into()),
        ioctl("(pages of the own domain may be asked for)", privcmd, 0x0020_5004, pages(domid), &own),
        ioctl("pages of domain 0", privcmd, 0x0020_5004, pages(0), &[eperm]),
        ioctl("a resource of domain 0", privcmd, 0x0020_5007, words(&[0, 0, 1, 0]), &[eperm]),
        ioctl("a dm_op on domain 0", privcmd, 0x0010_5005, words(&[0, 0]), &[eperm]),
        ioctl("a hypercall", privcmd, 0x0030_5000, words(&[17, 0, 0, 0, 0, 0]), &[eperm]),
        ioctl("another restriction", privcmd, 0x0002_5006, words(&[0]), &[eperm]),
        ioctl("an event channel to domain 0", evtchn, 0x0008_4501, words(&[1 << 32]), &[eperm, eacces]),
        open("xenstore by its device", b"/dev/xen/xenbus\0"),
        open("xenstore by its socket's folder", b"/var/run/xenstored\0"),
        open("the root folder", b"/\0"),
        plain("a local socket", libc::SYS_socket, unix, libc::SOCK_STREAM as u64, eperm),
        plain("a socket to the network", libc::SYS_socket, inet, libc::SOCK_STREAM as u64, eperm),
        plain("becoming root", libc::SYS_setuid, 0, 0, eperm),
        plain("a signal to PID 1", libc::SYS_kill, 1, 0, eperm),
        Try { name: "a program", number: libc::SYS_execve, ..open("", b"/bin/sh\0") },
    ])
}

fn intrude(pid: pid_t, domid: u64) -> io::Result<u32> {
    let mut failures = 0;
    let tries = tries(pid, domid)?;
    let held = Held::new(pid)?;
    for Try { name, number, first, second, bytes, right } in tries {
        let at = held.put(&bytes)?;
        let arguments = match (number, second) {
            (libc::SYS_execve, _) => [at, 0, 0, 0],
            (_, Some(second)) => [first, second, at, 0],
            (_, None) => [first, at, 0, 0],
        };
        let outcome = held.call(number, arguments)?;
        let good = match outcome {
            Outcome::Returned(value) => right.contains(&value) && number != libc::SYS_execve,
            Outcome::Killed(signal) => number == libc::SYS_execve && signal == libc::SIGSYS,
        };
        println!("{}  {name}: {outcome:?}", if good { "ok  " } else { "FAIL" });
        failures += u32::from(!good);
        if matches!(outcome, Outcome::Killed(_)) {
            break;
        }
    }
    Ok(failures)
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let (Some(Ok(pid)), Some(Ok(domid))) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: intruder PID DOMID");
        return ExitCode::from(2);
    };
    match intrude(pid as pid_t, domid.into()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("intruder: {error}");
            ExitCode::from(2)
        }
    }
}
