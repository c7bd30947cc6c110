//! A line: rings between a device and the threads that serve the host's side.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use devices_core::chardev::CharBackend;
use devices_core::{Wake, Waker};
use hypervisor::thread_role;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::termios::tcgetwinsize;

use super::CharError;
use super::escape::{Escape, Filter, HELP};

/// Bytes of input that wait for the guest.
const INPUT: usize = 4096;
/// Bytes of output that wait for the host.
const OUTPUT: usize = 1 << 16;
/// Most bytes of one write.
const CHUNK: usize = 4096;
/// How long a line's threads may take to end: somewhat more than their last attempt to write.
const CLOSING: Duration = Duration::from_millis(400);
/// How long output is waited for at the end.
const LAST: Duration = Duration::from_secs(1);

/// Every line of the process, for [`flush_all`].
static LINES: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Waits until all lines have put out what they have, but not longer than a second.
pub fn flush_all() {
    let lines: Vec<_> = lock(&LINES).iter().filter_map(Weak::upgrade).collect();
    let deadline = Instant::now() + LAST;
    for line in lines {
        // Who has had this time gets no more of it when the line is closed.
        let drained = line.drain(deadline);
        line.given_up.store(!drained, Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Told of the escape key, from the line's own thread.
pub(super) type OnEscape = Box<dyn Fn(Escape) + Send + Sync>;

/// What a line's threads share with its device.
pub(super) struct Shared {
    input: Mutex<VecDeque<u8>>,
    /// There is room for input again.
    room: Condvar,
    output: Mutex<Output>,
    /// There is output, or less than there was.
    changed: Condvar,
    /// The host's end for output; none: nobody listens.
    to: Mutex<Option<Arc<OwnedFd>>>,
    /// Readable when the line ends.
    stop: OwnedFd,
    stopping: AtomicBool,
    /// Nobody took the output when it was waited for.
    given_up: AtomicBool,
    /// Columns and rows of the terminal, 16 bits each; 0: it is none.
    size: AtomicU32,
    waker: Waker,
    number: u32,
}

#[derive(Default)]
struct Output {
    ring: VecDeque<u8>,
    /// Somebody listens.
    connected: bool,
    /// Bytes that the writer has taken and not written yet.
    taken: usize,
    /// The device was told that there is no room.
    starved: bool,
    /// The writer waits.
    waiting: bool,
}

impl Shared {
    pub(super) fn new(waker: Waker, number: u32) -> Result<Arc<Shared>, CharError> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let stop = eventfd(0, flags).map_err(|e| CharError::System { what: "eventfd", source: e.into() })?;
        let shared = Arc::new(Shared {
            input: Mutex::default(),
            room: Condvar::new(),
            output: Mutex::default(),
            changed: Condvar::new(),
            to: Mutex::default(),
            stop,
            stopping: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            size: AtomicU32::new(0),
            waker,
            number,
        });
        let mut lines = lock(&LINES);
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&shared));
        Ok(shared)
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Somebody is at the other end from now on, or nobody: then output is dropped.
    pub(super) fn connect(&self, to: Option<Arc<OwnedFd>>) {
        let mut output = lock(&self.output);
        let mut news = std::mem::replace(&mut output.connected, to.is_some()) != to.is_some();
        if to.is_none() {
            output.ring.clear();
            news |= std::mem::take(&mut output.starved);
        }
        drop(output);
        *lock(&self.to) = to;
        if news {
            self.wake();
        }
    }

    /// Looks how large the terminal is. Who resizes it does not say so: it is seen when something is typed.
    pub(super) fn measure(&self, terminal: &OwnedFd) {
        let Ok(size) = tcgetwinsize(terminal) else { return };
        let size = u32::from(size.ws_col) << 16 | u32::from(size.ws_row);
        if self.size.swap(size, Ordering::AcqRel) != size {
            self.wake();
        }
    }

    fn wake(&self) {
        self.waker.wake(Wake::Backend(self.number));
    }

    /// Waits until `fd` is ready or the line ends (false).
    pub(super) fn ready(&self, fd: &OwnedFd, what: PollFlags) -> bool {
        loop {
            let mut fds = [PollFd::new(fd, what), PollFd::new(&self.stop, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => {}
                Err(_) => return false,
                Ok(_) => return fds[1].revents().is_empty() && !fds[0].revents().is_empty(),
            }
        }
    }

    /// Waits so long, or until the line ends.
    pub(super) fn pause(&self, time: Duration) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
        let _ = poll(&mut [PollFd::new(&self.stop, PollFlags::IN)], Some(&timeout));
    }

    /// Reads `fd` until it ends or the line does. With a filter, the escape key is taken out.
    pub(super) fn read_all(&self, fd: &OwnedFd, escape: Option<&OnEscape>) {
        let mut filter = Filter::default();
        while self.ready(fd, PollFlags::IN) {
            thread_role::at(thread_role::Role::Chardev);
            let mut data = vec![0; CHUNK];
            match rustix::io::read(fd, &mut data) {
                Ok(0) => return,
                Ok(len) => data.truncate(len),
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(_) => return,
            }
            if let Some(tell) = escape {
                self.measure(fd);
                for asked in filter.take(&mut data) {
                    if asked == Escape::Help {
                        self.push_output(HELP);
                    }
                    tell(asked);
                }
            }
            self.push_input(&data);
        }
    }

    /// Gives input to the device, waiting for room.
    fn push_input(&self, mut data: &[u8]) {
        while !data.is_empty() && !self.stopping() {
            let mut input = lock(&self.input);
            if input.len() >= INPUT {
                // Looks at the end of the line now and then.
                let wait = self.room.wait_timeout(input, Duration::from_millis(100));
                drop(wait.unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            let was_empty = input.is_empty();
            let (now, later) = data.split_at(data.len().min(INPUT - input.len()));
            input.extend(now);
            drop(input);
            data = later;
            if was_empty {
                self.wake();
            }
        }
    }

    fn push_output(&self, data: &[u8]) -> usize {
        let mut output = lock(&self.output);
        if !output.connected {
            return data.len();
        }
        let len = data.len().min(OUTPUT - output.ring.len());
        output.ring.extend(&data[..len]);
        output.starved |= len < data.len();
        if output.waiting && len > 0 {
            output.waiting = false;
            self.changed.notify_all();
        }
        len
    }

    /// Writes output until the line ends and all is written.
    fn write_all(&self) {
        while let Some(data) = self.next_output() {
            thread_role::at(thread_role::Role::Chardev);
            let to = lock(&self.to).clone();
            let given_up = to.is_some_and(|to| !self.put(&to, &data));
            let mut output = lock(&self.output);
            if given_up {
                output.ring.clear();
            }
            output.taken = 0;
            let starved = std::mem::take(&mut output.starved);
            drop(output);
            self.changed.notify_all();
            if starved {
                self.wake();
            }
        }
    }

    fn next_output(&self) -> Option<Vec<u8>> {
        let mut output = lock(&self.output);
        while output.ring.is_empty() {
            if self.stopping() {
                return None;
            }
            output.waiting = true;
            output = self.changed.wait(output).unwrap_or_else(PoisonError::into_inner);
        }
        let len = output.ring.len().min(CHUNK);
        let data: Vec<u8> = output.ring.drain(..len).collect();
        output.taken = len;
        Some(data)
    }

    /// Writes one piece. Somebody who has gone away gets nothing; somebody who does not read is waited
    /// for until the line ends, and then a little (false: in vain).
    fn put(&self, to: &Arc<OwnedFd>, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            // Asked first: standard output may be a pipe that blocks, which takes a piece of this size whole when it
            // is ready.
            if !self.ready(to, PollFlags::OUT) {
                // The line ends: one more chance.
                let mut fds = [PollFd::new(&**to, PollFlags::OUT)];
                let last = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
                let last = if self.given_up.load(Ordering::Acquire) { Timespec::default() } else { last };
                if !matches!(poll(&mut fds, Some(&last)), Ok(1..)) {
                    return false;
                }
            }
            match rustix::io::write(&**to, data) {
                Ok(len) => data = &data[len..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => return true,
            }
            if !lock(&self.to).as_ref().is_some_and(|now| Arc::ptr_eq(now, to)) {
                return true;
            }
        }
        true
    }

    /// Waits until everything is put out; false: not by then.
    fn drain(&self, deadline: Instant) -> bool {
        let mut output = lock(&self.output);
        while !output.ring.is_empty() || output.taken > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let wait = self.changed.wait_timeout(output, left);
            output = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // An eventfd takes a first count always.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        drop(lock(&self.output));
        self.changed.notify_all();
        self.room.notify_all();
    }
}

/// A line with its threads. Dropping it puts out what there is, within a second.
pub struct Chardev {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Held as long as the line is.
    _hold: Box<dyn std::any::Any + Send + Sync>,
}

impl Chardev {
    /// A line whose input `serve` reads. `hold` is dropped after the line.
    pub(super) fn start(
        shared: Arc<Shared>,
        serve: impl FnOnce(&Shared) + Send + 'static,
        hold: Box<dyn std::any::Any + Send + Sync>,
    ) -> Result<Chardev, CharError> {
        let (reader, writer) = (shared.clone(), shared.clone());
        let no_thread = |source| CharError::System { what: "thread", source };
        let builder = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let mut line = Chardev { shared, threads: Vec::new(), _hold: hold };
        line.threads.push(builder("line out").spawn(move || writer.write_all()).map_err(no_thread)?);
        line.threads.push(builder("line in").spawn(move || serve(&reader)).map_err(no_thread)?);
        Ok(line)
    }
}

impl CharBackend for Chardev {
    fn write(&self, data: &[u8]) -> usize {
        self.shared.push_output(data)
    }

    fn read(&self, data: &mut [u8]) -> usize {
        let mut input = lock(&self.shared.input);
        let len = data.len().min(input.len());
        let was_full = input.len() >= INPUT;
        for (to, byte) in data.iter_mut().zip(input.drain(..len)) {
            *to = byte;
        }
        drop(input);
        if was_full && len > 0 {
            self.shared.room.notify_all();
        }
        len
    }

    fn connected(&self) -> bool {
        lock(&self.shared.output).connected
    }

    fn size(&self) -> Option<(u16, u16)> {
        match self.shared.size.load(Ordering::Acquire) {
            0 => None,
            size => Some(((size >> 16) as u16, size as u16)),
        }
    }
}

impl Drop for Chardev {
    fn drop(&mut self) {
        if !self.shared.given_up.load(Ordering::Acquire) {
            self.shared.drain(Instant::now() + LAST);
        }
        self.shared.stop();
        let here = std::thread::current().id();
        let end = Instant::now() + CLOSING;
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != here) {
            while !thread.is_finished() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(1));
            }
            // One that is in a write that does not end is left to it: a file of a host that does not answer.
            if thread.is_finished() {
                let _ = thread.join();
            } else {
                tracing::warn!("a line was not closed in time");
            }
        }
    }
}
