//! The system calls that are left, by seccomp.
//!
//! Three filters lie on each other; the kernel takes the strictest answer. One ends the process at calls
//! that only an intruder makes, one lets through what serving a guest needs and answers EPERM to the rest,
//! and one makes the C library start threads by the call whose flags can be looked at. A thread that serves vCPUs,
//! images, viewers or serial lines gives up more when it begins to ([`narrow`]), so that what is left of the process's
//! calls is the monitor's own.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use hypervisor::thread_role::{self, Role};
use libc::{c_int, c_long};
use nix::sys::signal::{SigSet, Signal};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, apply_filter_all_threads,
};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It is a guest's machine, and opens no files.
    Machine(Reach),
    /// It is the machine of a guest that a person has started: its monitor opens and makes files, those that landlock
    /// leaves it.
    Guest(Reach),
    /// It serves PV disks: works on open images, and talks to xenstore, frontends and the machine.
    PvDisks,
}

/// Whom a machine connects to as its guest wishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Hosts of the internet: it has user networking.
    pub internet: bool,
    /// Hosts by TCP, at the ports that landlock leaves: one of its networks is a stream that is connected again.
    pub hosts: bool,
    /// Programs of this host, by Unix sockets: it has sockets that lead there. Which ones is out of a filter's sight.
    pub programs: bool,
}

/// The process is filtered.
static CONFINED: AtomicBool = AtomicBool::new(false);

/// Calls that need no look at their arguments.
const ALLOWED: &[c_long] = &[
    // Files that are open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_fallocate,
    libc::SYS_ftruncate,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_dup,
    libc::SYS_close,
    libc::SYS_pipe2,
    // Waiting.
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    // Sockets that are open or were connected to.
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    // Memory, apart from what can be executed.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    libc::SYS_getrandom,
    // Threads and signals.
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Calls that nothing of ours makes.
const NEVER: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_open_by_handle_at,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_io_uring_setup,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_reboot,
];

/// Xen's requests (Linux `include/uapi/xen/privcmd.h` and `evtchn.h`) that a restricted device model makes:
/// dm_op, mapping guest memory and ioreq pages, binding, unbinding and ringing event channels. Any other
/// hypercall is not among them.
const XEN_IOCTLS: &[u64] = &[0x0010_5005, 0x0020_5004, 0x0020_5007, 0x0008_4501, 0x0004_4503, 0x0004_4504];

/// Those that serving PV disks takes: binding, unbinding and ringing event channels, mapping, unmapping and
/// copying granted pages (`gntdev.h`).
const PV_IOCTLS: &[u64] = &[0x0008_4501, 0x0004_4503, 0x0004_4504, 0x0018_4700, 0x0010_4701, 0x0010_4708];

/// Requests to sockets: bytes to be read, blocking or not.
const NONBLOCKING: &[u64] = &[0x541b, 0x5421];

/// Requests to block devices (size, sector size, discard, zero).
const DISK_IOCTLS: &[u64] = &[0x8008_1272, 0x1268, 0x1277, 0x127f];

/// Requests to terminals.
const TERMINAL_IOCTLS: &[u64] = &[0x5401, 0x5402, 0x5403, 0x5404, 0x5413];

/// Requests to tap interfaces (header length, offload, a queue in use or not).
const TAP_IOCTLS: &[u64] = &[0x4004_54d8, 0x4004_54d0, 0x4004_54d9];

/// Calls that serving PV disks does not take.
const MACHINE_CALLS: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_socketpair,
    libc::SYS_pipe2,
    libc::SYS_epoll_create1,
    libc::SYS_timerfd_create,
];

/// Calls that only a guest's monitor makes, which opens and makes files, sockets and pseudo-terminals.
const GUEST_CALLS: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlink,
    libc::SYS_access,
    libc::SYS_bind,
    libc::SYS_listen,
];

/// Requests to pseudo-terminals (unlock, number, and both of termios2).
const PTY_IOCTLS: &[u64] = &[0x4004_5431, 0x8004_5430, 0x802c_542a, 0x402c_542b];

/// Calls that a thread of any kind makes: memory, waiting, logs, its own end.
const COMMON: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Images that are open, and threads of the same kind.
const DISK_CALLS: &[c_long] = &[
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_fallocate,
    libc::SYS_ftruncate,
    libc::SYS_fstat,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
];

/// Sockets that are open, and those who come in by them.
const SOCKET_CALLS: &[c_long] = &[
    libc::SYS_readv,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
];

/// New connections, beside the sockets.
const INTERNET_CALLS: &[c_long] = &[libc::SYS_connect, libc::SYS_bind, libc::SYS_listen];

/// Another back end of a device, its own way to us, and what its state comes and goes by.
const BACK_END_CALLS: &[c_long] = &[libc::SYS_connect, libc::SYS_socketpair, libc::SYS_pipe2];

/// Files below the folder of TFTP, which landlock leaves.
const TFTP_CALLS: &[c_long] = &[libc::SYS_openat2, libc::SYS_pread64, libc::SYS_fstat];

/// Waiting for many sockets at once.
const EPOLL_CALLS: &[c_long] =
    &[libc::SYS_epoll_ctl, libc::SYS_epoll_wait, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];

/// What is left to a kind of thread, of what is left to the process.
fn kept(kind: Role) -> io::Result<Rules> {
    let more: &[c_long] = match kind {
        Role::Vcpu => &[],
        Role::Disk => DISK_CALLS,
        Role::Viewer
        | Role::Web
        | Role::Chardev
        | Role::Network
        | Role::Frames
        | Role::Queues
        | Role::Sockets => SOCKET_CALLS,
    };
    let mut rules = plain(COMMON);
    rules.extend(plain(more));
    if kind == Role::Network {
        rules.extend(plain(EPOLL_CALLS));
        rules.extend(plain(TFTP_CALLS));
        // Comes to nothing where the process may not.
        rules.extend(internet_calls()?);
    }
    if kind == Role::Queues {
        rules.extend(plain(BACK_END_CALLS));
        // Likewise.
        rules.insert(libc::SYS_socket, vec![socket(libc::AF_UNIX, libc::SOCK_STREAM)?]);
    }
    if kind == Role::Web {
        // A page's own way to the monitor.
        rules.insert(libc::SYS_socketpair, vec![socket(libc::AF_UNIX, libc::SOCK_STREAM)?]);
    }
    if kind == Role::Sockets {
        rules.extend(plain(EPOLL_CALLS));
        // Likewise.
        programs(&mut rules)?;
    }
    memory(&mut rules)?;
    ourselves(&mut rules)?;
    let requests: &[u64] = match kind {
        Role::Vcpu | Role::Viewer | Role::Web | Role::Queues | Role::Sockets | Role::Network => &[],
        Role::Disk => DISK_IOCTLS,
        Role::Chardev => TERMINAL_IOCTLS,
        Role::Frames => TAP_IOCTLS,
    };
    // Each kind has a device raise interrupts, write to guest memory or look at what the guest drew.
    ioctls(&mut rules, &[requests, XEN_IOCTLS, NONBLOCKING])?;
    if kind != Role::Vcpu {
        open_files(&mut rules)?;
    }
    if kind == Role::Disk {
        threads(&mut rules)?;
    }
    Ok(rules)
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

fn argument(index: u8, op: Op, value: u64) -> io::Result<SeccompRule> {
    let condition = SeccompCondition::new(index, Len::Dword, op, value).map_err(broken)?;
    SeccompRule::new(vec![condition]).map_err(broken)
}

fn program(rules: Rules, matching: SeccompAction, other: SeccompAction) -> io::Result<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(broken)?;
    let filter = SeccompFilter::new(rules, other, matching, arch).map_err(broken)?;
    BpfProgram::try_from(filter).map_err(broken)
}

/// Rules without a look at arguments.
fn plain(calls: &[c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn errno(number: c_int) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

/// Memory that cannot be executed.
fn memory(rules: &mut Rules) -> io::Result<()> {
    let exec = libc::PROT_EXEC as u64;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![argument(2, Op::MaskedEq(exec), 0)?]);
    }
    Ok(())
}

/// Threads that start, and their names.
fn threads(rules: &mut Rules) -> io::Result<()> {
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![argument(0, Op::MaskedEq(thread), thread)?]);
    // Filtered by itself: it comes to nothing.
    rules.insert(libc::SYS_clone3, Vec::new());
    rules.insert(libc::SYS_prctl, vec![argument(0, Op::Eq, libc::PR_SET_NAME as u64)?]);
    Ok(())
}

/// Signals to threads of ours and to nobody else: `abort` sends one.
fn ourselves(rules: &mut Rules) -> io::Result<()> {
    rules.insert(libc::SYS_tgkill, vec![argument(0, Op::Eq, u64::from(std::process::id()))?]);
    Ok(())
}

/// The process's own limits, to be read: whoever has files to count looks at theirs.
fn limits(rules: &mut Rules) -> io::Result<()> {
    let condition = |index, len| SeccompCondition::new(index, len, Op::Eq, 0).map_err(broken);
    // Of itself, and none that is to be set.
    let read = SeccompRule::new(vec![condition(0, Len::Dword)?, condition(2, Len::Qword)?]);
    rules.insert(libc::SYS_prlimit64, vec![read.map_err(broken)?]);
    Ok(())
}

/// What is asked of files that are open: their flags, their locks, another handle, and what they are. A name beside
/// `AT_EMPTY_PATH` is out of a filter's sight; it tells whether a file is there, and nothing is opened by it.
fn open_files(rules: &mut Rules) -> io::Result<()> {
    const COMMANDS: &[c_int] = &[
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_OFD_GETLK,
        libc::F_OFD_SETLK,
    ];
    let commands = COMMANDS.iter().map(|command| argument(1, Op::Eq, *command as u64));
    rules.insert(libc::SYS_fcntl, commands.collect::<io::Result<_>>()?);
    let empty = libc::AT_EMPTY_PATH as u64;
    rules.insert(libc::SYS_newfstatat, vec![argument(3, Op::MaskedEq(empty), empty)?]);
    rules.insert(libc::SYS_statx, vec![argument(2, Op::MaskedEq(empty), empty)?]);
    Ok(())
}

/// A socket of that family and type.
fn socket(family: c_int, kind: c_int) -> io::Result<SeccompRule> {
    let condition = |index, op, value| SeccompCondition::new(index, Len::Dword, op, value);
    let conditions = [condition(0, Op::Eq, family as u64), condition(1, Op::MaskedEq(0xf), kind as u64)];
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>().map_err(broken)?).map_err(broken)
}

/// New connections to hosts of the internet: TCP, UDP, and ICMP as a user may have it.
fn internet_calls() -> io::Result<Rules> {
    let mut rules = plain(INTERNET_CALLS);
    let families = [libc::AF_INET, libc::AF_INET6];
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM];
    let sockets = families.iter().flat_map(|family| kinds.map(|kind| socket(*family, kind)));
    rules.insert(libc::SYS_socket, sockets.collect::<io::Result<_>>()?);
    Ok(rules)
}

/// New connections to hosts by TCP.
fn hosts() -> io::Result<Rules> {
    let mut rules = plain(&[libc::SYS_connect]);
    let sockets = [libc::AF_INET, libc::AF_INET6].map(|family| socket(family, libc::SOCK_STREAM));
    rules.insert(libc::SYS_socket, sockets.into_iter().collect::<io::Result<_>>()?);
    Ok(rules)
}

/// New connections to programs of this host, by streams.
fn programs(rules: &mut Rules) -> io::Result<()> {
    rules.insert(libc::SYS_connect, Vec::new());
    rules.entry(libc::SYS_socket).or_default().push(socket(libc::AF_UNIX, libc::SOCK_STREAM)?);
    Ok(())
}

fn ioctls(rules: &mut Rules, requests: &[&[u64]]) -> io::Result<()> {
    let requests = requests.iter().copied().flatten();
    let requests = requests.map(|request| argument(1, Op::Eq, *request)).collect::<io::Result<_>>()?;
    rules.insert(libc::SYS_ioctl, requests);
    Ok(())
}

fn allowed(work: Work) -> io::Result<Rules> {
    let mut rules = plain(ALLOWED);
    memory(&mut rules)?;
    threads(&mut rules)?;
    ourselves(&mut rules)?;
    limits(&mut rules)?;
    open_files(&mut rules)?;
    let requests: &[&[u64]] = match work {
        Work::Machine(_) => &[XEN_IOCTLS, DISK_IOCTLS, NONBLOCKING, TERMINAL_IOCTLS, TAP_IOCTLS],
        Work::Guest(_) => &[DISK_IOCTLS, NONBLOCKING, TERMINAL_IOCTLS, TAP_IOCTLS, PTY_IOCTLS],
        Work::PvDisks => &[PV_IOCTLS, DISK_IOCTLS, NONBLOCKING],
    };
    ioctls(&mut rules, requests)?;
    // Pairs of streams, which lead nowhere else. One of datagrams can be sent from, or connected, to any name.
    rules.insert(libc::SYS_socketpair, vec![socket(libc::AF_UNIX, libc::SOCK_STREAM)?]);
    // For `narrow`, which can only take away.
    let more = argument(0, Op::Eq, libc::PR_SET_NO_NEW_PRIVS as u64)?;
    rules.entry(libc::SYS_prctl).or_default().push(more);
    rules.insert(libc::SYS_seccomp, Vec::new());
    match work {
        Work::Machine(reach) => {
            if reach.internet {
                rules.extend(internet_calls()?);
            } else if reach.hosts {
                rules.extend(hosts()?);
            }
        }
        Work::Guest(reach) => {
            rules.extend(plain(GUEST_CALLS));
            if reach.internet {
                // Whoever can connect must have no socket that leads to a program of the host's.
                rules.extend(internet_calls()?);
                rules.extend(plain(TFTP_CALLS));
            } else if reach.hosts {
                // Likewise.
                rules.extend(hosts()?);
            } else {
                // Streams, which only say something to whom they are connected.
                rules.insert(libc::SYS_socket, vec![socket(libc::AF_UNIX, libc::SOCK_STREAM)?]);
            }
        }
        Work::PvDisks => {
            MACHINE_CALLS.iter().for_each(|call| drop(rules.remove(call)));
        }
    }
    if let Work::Machine(Reach { programs: true, .. }) | Work::Guest(Reach { programs: true, .. }) = work {
        programs(&mut rules)?;
    }
    Ok(rules)
}

/// Calls of a process that opens images, beside those on its own streams.
const OPENER_CALLS: &[c_long] = &[
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_restart_syscall,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_sched_yield,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What is left to a process that opens images and must not read them. Files are told apart by their numbers, so that
/// those of its streams and links are never closed: no image can get one.
fn opening(streams: &[RawFd], links: &[RawFd]) -> io::Result<Rules> {
    let on = |files: &[RawFd]| {
        files.iter().map(|fd| argument(0, Op::Eq, *fd as u64)).collect::<io::Result<Vec<_>>>()
    };
    let condition = |index, op, value| SeccompCondition::new(index, Len::Dword, op, value).map_err(broken);
    let all = |conditions| SeccompRule::new(conditions).map_err(broken);
    let mut rules = plain(OPENER_CALLS);
    ourselves(&mut rules)?;
    rules.insert(libc::SYS_read, on(streams)?);
    rules.insert(libc::SYS_write, on(&[streams, &[libc::STDERR_FILENO]].concat())?);
    for call in [libc::SYS_recvmsg, libc::SYS_sendmsg] {
        rules.insert(call, on(links)?);
    }
    let standard = [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO];
    let kept = [streams, links, &standard].concat();
    let others = kept.iter().map(|fd| condition(0, Op::Ne, *fd as u64)).collect::<io::Result<_>>()?;
    rules.insert(libc::SYS_close, vec![all(others)?]);
    // Images that are there already.
    let making = (libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE & !libc::O_DIRECTORY) as u64;
    rules.insert(libc::SYS_openat, vec![argument(2, Op::MaskedEq(making), 0)?]);
    // Memory, and no file as memory.
    let (exec, anonymous) = (libc::PROT_EXEC as u64, libc::MAP_ANONYMOUS as u64);
    let no_code = condition(2, Op::MaskedEq(exec), 0)?;
    let no_file = condition(3, Op::MaskedEq(anonymous), anonymous)?;
    rules.insert(libc::SYS_mmap, vec![all(vec![no_code, no_file])?]);
    rules.insert(libc::SYS_mprotect, vec![argument(2, Op::MaskedEq(exec), 0)?]);
    Ok(rules)
}

/// Filters a process that opens images, and has one thread.
pub fn opener(streams: &[RawFd], links: &[RawFd]) -> io::Result<()> {
    apply(opening(streams, links)?)?;
    CONFINED.store(true, Ordering::Release);
    Ok(())
}

/// Filters every thread that there is and every one that will be.
pub fn all_threads(work: Work) -> io::Result<()> {
    apply(allowed(work)?)?;
    CONFINED.store(true, Ordering::Release);
    thread_role::confine(narrow);
    Ok(())
}

fn apply(allowed: Rules) -> io::Result<()> {
    let filters = [
        program(plain(NEVER), SeccompAction::KillProcess, SeccompAction::Allow)?,
        // The flags of clone3 are in memory, out of a filter's sight; told that it does not exist, the C
        // library falls back to clone.
        program(plain(&[libc::SYS_clone3]), errno(libc::ENOSYS), SeccompAction::Allow)?,
        // Last: it need not leave what filters are made by.
        program(allowed, SeccompAction::Allow, errno(libc::EPERM))?,
    ];
    filters.iter().try_for_each(|filter| apply_filter_all_threads(filter).map_err(broken))
}

/// Whether the process is confined.
pub fn is_on() -> bool {
    CONFINED.load(Ordering::Acquire)
}

/// Filters the calling thread further, if the process is filtered. Only then: a thread with a filter of its
/// own could not be reached by [`all_threads`] any more, which would fail.
pub fn narrow(kind: Role) {
    if !is_on() {
        return;
    }
    // What their handlers do is left to the threads that are not narrowed: a kind of thread may have no calls for it.
    let mut told = SigSet::empty();
    told.extend([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT]);
    if let Err(error) = told.thread_block() {
        tracing::error!("a {kind:?} thread takes signals: {error}");
    }
    let filter = kept(kind).and_then(|kept| program(kept, SeccompAction::Allow, errno(libc::EPERM)));
    if let Err(error) = filter.and_then(|filter| apply_filter(&filter).map_err(broken)) {
        // The process's filter holds all the same.
        tracing::error!("a {kind:?} thread keeps system calls that it does not need: {error}");
    }
}
