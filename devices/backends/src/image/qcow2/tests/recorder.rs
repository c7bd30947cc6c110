//! A file in memory that remembers every write, and what the guest did between them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::image::host::HostFile;

/// What happened, in order.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Bytes were written.
    Write(u64, Vec<u8>),
    /// Space was given back.
    Punch(u64, u64),
    /// Whatever was written before is durable.
    Sync,
    /// The guest begins to give sectors a value.
    Begin { first: usize, count: usize, tag: u64 },
    /// They have it.
    End { first: usize, count: usize, tag: u64 },
    /// The guest begins a flush.
    Flush(usize),
    /// It is done.
    Flushed(usize),
}

/// A call that is about to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Read(u64),
    Write(u64),
    Sync,
}

type Hook = Arc<dyn Fn(Call) + Send + Sync>;

/// The file.
#[derive(Default)]
pub(super) struct Recorder {
    hook: Mutex<Option<Hook>>,
    inner: Mutex<Inner>,
    syncs: AtomicU64,
    transfers: AtomicU64,
    sync_fails: AtomicBool,
    write_fails: AtomicBool,
    dawdles: AtomicBool,
}

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    log: Option<Vec<Event>>,
}

impl Recorder {
    /// With these bytes.
    pub(super) fn of(bytes: Vec<u8>) -> Arc<Recorder> {
        let file = Recorder::default();
        file.inner().bytes = bytes;
        Arc::new(file)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Remembers from now on.
    pub(super) fn start(&self) {
        self.inner().log = Some(Vec::new());
    }

    /// What it remembers.
    pub(super) fn log(&self) -> Vec<Event> {
        self.inner().log.take().unwrap_or_default()
    }

    /// Notes what the guest does.
    pub(super) fn note(&self, event: Event) {
        if let Some(log) = &mut self.inner().log {
            log.push(event);
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.inner().bytes.clone()
    }

    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Reads and writes so far.
    pub(super) fn transfers(&self) -> u64 {
        self.transfers.load(Ordering::Relaxed)
    }

    pub(super) fn fail_sync(&self, fails: bool) {
        self.sync_fails.store(fails, Ordering::Relaxed);
    }

    /// Now and then a transfer takes its time from now on: what others do meanwhile is to do no harm.
    pub(super) fn dawdle(&self) {
        self.dawdles.store(true, Ordering::Relaxed);
    }

    /// Has `hook` called before each call from now on, on the caller's thread.
    pub(super) fn before(&self, hook: impl Fn(Call) + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    fn begins(&self, call: Call) {
        let hook = self.hook.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(call);
        }
    }

    fn transfer(&self) {
        let number = self.transfers.fetch_add(1, Ordering::Relaxed);
        if self.dawdles.load(Ordering::Relaxed) && number.wrapping_mul(0x9e37_79b9) >> 5 & 15 == 0 {
            std::thread::sleep(Duration::from_micros(number % 7 * 300));
        }
    }

    pub(super) fn fail_writes(&self, fails: bool) {
        self.write_fails.store(fails, Ordering::Relaxed);
    }
}

/// Applies a write.
pub(super) fn apply(bytes: &mut Vec<u8>, at: u64, data: &[u8]) {
    let at = at as usize;
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

/// Applies what gives space back.
pub(super) fn punch(bytes: &mut [u8], at: u64, len: u64) {
    let end = ((at + len) as usize).min(bytes.len());
    if let Some(hole) = bytes.get_mut(at as usize..end) {
        hole.fill(0);
    }
}

/// Beyond it nothing sane is written.
const MOST: u64 = 1 << 30;

impl HostFile for Arc<Recorder> {
    fn read(&self, data: &mut [u8], at: u64) -> io::Result<()> {
        (**self).read(data, at)
    }
    fn write(&self, data: &[u8], at: u64) -> io::Result<()> {
        (**self).write(data, at)
    }
    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }
    fn len(&self) -> io::Result<u64> {
        HostFile::len(&**self)
    }
    fn grows(&self) -> bool {
        true
    }
    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        (**self).punch(at, len)
    }
}

impl HostFile for Recorder {
    fn read(&self, data: &mut [u8], at: u64) -> io::Result<()> {
        self.begins(Call::Read(at));
        self.transfer();
        let inner = self.inner();
        let from = inner.bytes.get(at as usize..).unwrap_or(&[]);
        let now = from.len().min(data.len());
        data[..now].copy_from_slice(&from[..now]);
        data[now..].fill(0);
        Ok(())
    }

    fn write(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.begins(Call::Write(at));
        self.transfer();
        if self.write_fails.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        assert!(at + (data.len() as u64) < MOST, "written far outside: {at:#x}");
        let mut inner = self.inner();
        apply(&mut inner.bytes, at, data);
        if let Some(log) = &mut inner.log {
            log.push(Event::Write(at, data.to_vec()));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.begins(Call::Sync);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if self.sync_fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.note(Event::Sync);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.inner().bytes.len() as u64)
    }

    fn grows(&self) -> bool {
        true
    }

    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        let mut inner = self.inner();
        punch(&mut inner.bytes, at, len);
        if let Some(log) = &mut inner.log {
            log.push(Event::Punch(at, len));
        }
        Ok(())
    }
}
