//! The end of the process, in bounded time whatever hangs.
//!
//! A thread that does nothing else waits for the signals that end us and for the event loop to say that it is on its
//! way down. From then on there is one deadline for the whole way. When it is over, the thread says in the log what
//! did not end, and ends the process with the status that it would have had. What the guest has flushed is on the
//! disk by then: that was so when the guest heard of it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backends::chardev;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::whole_file;

/// How long the way down may take when somebody asked for it; with `LAST_WORDS` under five seconds.
pub const ASKED_FOR: Duration = Duration::from_millis(4500);
/// The same when the guest ended by itself: nobody waits, and slow disks have more time for what was not flushed.
pub const BY_ITSELF: Duration = Duration::from_secs(30);
/// How long the log and the removal of what is not whole may take: they may be what hangs.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Ends the process, with that status and those words.
type Exit = Box<dyn FnOnce(u8, &str) + Send>;

/// The watch over the way down. It is off again when it is dropped.
pub struct Ending {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Mutex<Inner>,
    /// Written when the state has changed.
    wake: UnixStream,
}

struct Inner {
    deadline: Option<Instant>,
    status: u8,
    /// What is waited for.
    stage: &'static str,
    over: bool,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ending {
    /// Watches from now on. A signal begins the way down, and makes the second of these readable.
    pub fn watch() -> io::Result<(Ending, UnixStream)> {
        let (ending, wake) = Ending::watch_with(Box::new(exit), ASKED_FOR)?;
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
            signal_hook::low_level::pipe::register(signal, wake.try_clone()?)?;
        }
        // They end the process by another way now.
        chardev::leave_signals();
        Ok((ending, read))
    }

    /// The same with another end, and no signal yet: what is written to the stream means one.
    fn watch_with(exit: Exit, patience: Duration) -> io::Result<(Ending, UnixStream)> {
        let (signals, by_signal) = UnixStream::pair()?;
        let (changes, wake) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        changes.set_nonblocking(true)?;
        let inner = Inner { deadline: None, status: 0, stage: "the event loop", over: false };
        let shared = Arc::new(Shared { inner: Mutex::new(inner), wake });
        let watched = shared.clone();
        let watch = move || watched.watch(&signals.into(), &changes.into(), exit, patience);
        std::thread::Builder::new().name("end".into()).spawn(watch)?;
        Ok((Ending { shared }, by_signal))
    }

    /// The way down begins, and ends with `status`.
    pub fn begin(&self, status: u8, patience: Duration) {
        let mut inner = self.shared.inner();
        let deadline = Instant::now() + patience;
        inner.deadline = Some(inner.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        inner.status = status;
        drop(inner);
        self.wake();
    }

    /// What is waited for now.
    pub fn stage(&self, what: &'static str) {
        self.shared.inner().stage = what;
    }

    fn wake(&self) {
        // It fails only when the thread is gone.
        let _ = rustix::io::write(&self.shared.wake, &[0]);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.inner().over = true;
        self.wake();
    }
}

impl Shared {
    fn watch(&self, signals: &OwnedFd, changes: &OwnedFd, exit: Exit, patience: Duration) {
        loop {
            let deadline = {
                let inner = self.inner();
                if inner.over {
                    return;
                }
                inner.deadline
            };
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            let timeout = left
                .map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
            let mut fds = [PollFd::new(signals, PollFlags::IN), PollFd::new(changes, PollFlags::IN)];
            let _ = poll(&mut fds, timeout.as_ref());
            let mut bytes = [0; 16];
            // Nothing there is an error too.
            let _ = rustix::io::read(changes, &mut bytes);
            if matches!(rustix::io::read(signals, &mut bytes), Ok(1..)) {
                let mut inner = self.inner();
                let deadline = Instant::now() + patience;
                inner.deadline = Some(inner.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
            }
        }
        let (status, stage) = {
            let inner = self.inner();
            (inner.status, inner.stage)
        };
        exit(status, stage);
    }
}

/// Ends the process. The log may lead to where nobody reads, and files to a disk that does not answer.
fn exit(status: u8, stage: &str) {
    chardev::restore_terminal();
    let words =
        format!("the end: {stage} did not end in time; the process ends without it, with status {status}");
    let (done, said) = channel();
    let last = move || {
        whole_file::abandon_all();
        tracing::error!("{words}");
        let _ = done.send(());
    };
    if std::thread::Builder::new().name("last words".into()).spawn(last).is_ok() {
        // In vain is as good.
        let _ = said.recv_timeout(LAST_WORDS);
    }
    std::process::exit(status.into());
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc::Receiver;

    use super::*;

    fn watched(patience: Duration) -> (Ending, UnixStream, Receiver<(u8, String)>) {
        let (send, ended) = channel();
        let exit = move |status, stage: &str| send.send((status, stage.to_owned())).unwrap();
        let (ending, signals) = Ending::watch_with(Box::new(exit), patience).unwrap();
        (ending, signals, ended)
    }

    #[test]
    fn who_hangs_is_named_and_the_status_is_what_it_would_have_been() {
        let (ending, _signals, ended) = watched(ASKED_FOR);
        ending.begin(3, Duration::from_millis(1));
        ending.stage("a disk");
        let (status, stage) = ended.recv().unwrap();
        assert_eq!(status, 3);
        assert!(stage == "a disk" || stage == "the event loop", "{stage}");
    }

    #[test]
    fn a_signal_ends_even_an_event_loop_that_hangs() {
        let (_ending, mut signals, ended) = watched(Duration::from_millis(1));
        signals.write_all(b"X").unwrap();
        assert_eq!(ended.recv().unwrap(), (0, "the event loop".into()));
    }

    #[test]
    fn a_way_down_that_has_ended_is_left_alone() {
        let (ending, _signals, ended) = watched(ASKED_FOR);
        ending.begin(0, Duration::from_secs(3600));
        drop(ending);
        assert!(ended.recv().is_err(), "the watch is off");
    }

    #[test]
    fn a_signal_makes_a_long_way_short() {
        let (ending, mut signals, ended) = watched(Duration::from_millis(1));
        ending.begin(4, Duration::from_secs(3600));
        signals.write_all(b"X").unwrap();
        assert_eq!(ended.recv().unwrap().0, 4);
    }
}
