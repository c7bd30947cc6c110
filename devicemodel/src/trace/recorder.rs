//! Writes a recording while the guest runs.
//!
//! Whatever reaches the devices goes through [`Recorder::entry`], one after the other: the order in the file is
//! the order in which it happened, whichever threads it came from. Guest time stands still for the devices while
//! an entry lasts. The bytes go to a thread of their own in pieces; when that is not quick enough, the guest
//! waits.

use std::any::Any;
use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use devices_core::{Gate, Saved, Wake};
use hypervisor::Clock;

use super::codec::Encoder;
use super::header::{Header, IO, MACHINE, MAGIC, MachineState};
use super::record::{Effect, Entry, MediumInfo};
use crate::machine::Machine;
use crate::saved::SaveError;
use crate::stream::{StreamError, Writer};
use crate::whole_file::WholeFile;

/// Bytes of a piece.
const PIECE: usize = 256 << 10;
/// Guest time after which a piece is written though it is not full: what is lost when the process is killed.
const STALE: u64 = 100_000_000;
/// Pieces that wait for the disk at most.
const WAITING: usize = 32;

thread_local! {
    /// The instant of the entry that this thread is in.
    static INSIDE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Something reaches the devices as long as this lives.
pub struct Inside<'a> {
    of: Option<(&'a Recorder, Option<MutexGuard<'a, u64>>)>,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some((recorder, gate)) = &mut self.of {
            INSIDE.set(None);
            *gate = None;
            recorder.close_buried();
        }
    }
}

/// What the disk gets: path and body of a record of the file.
type Piece = (String, Saved);

/// The bytes on their way.
#[derive(Default)]
struct Log {
    encoder: Encoder,
    piece: Vec<u8>,
    /// Guest time of the piece's first record.
    since: u64,
    to: Option<SyncSender<Piece>>,
    thread: Option<JoinHandle<Result<(), StreamError>>>,
    /// The file, until the recording begins.
    whole: Option<WholeFile>,
}

impl Log {
    /// Gives the disk something to write. Waits for it, if it has much to do.
    fn pass(&mut self, piece: Piece) {
        if self.to.as_ref().is_some_and(|to| to.send(piece).is_err()) {
            // The thread has ended and will say why; the guest goes on.
            tracing::error!("the recording stops here: its file cannot be written");
            self.to = None;
        }
    }

    fn pass_on(&mut self) {
        let body = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE + 4096));
        if !body.is_empty() {
            self.pass((IO.to_owned(), Saved { kind: IO.to_owned(), version: 0, body }));
        }
    }

    fn entry(&mut self, at: u64, entry: &Entry) {
        if self.piece.len() >= PIECE || at.saturating_sub(self.since) > STALE {
            self.pass_on();
            self.since = at;
        }
        self.encoder.entry(&mut self.piece, at, entry);
    }
}

/// Writes until nobody sends any more.
fn write(mut writer: Writer<BufWriter<File>>, from: &Receiver<Piece>) -> Result<(), StreamError> {
    while let Ok((path, saved)) = from.recv() {
        writer.record(&path, &saved)?;
    }
    let written = writer.finish()?;
    written.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(())
}

/// Records one machine.
pub struct Recorder {
    file: PathBuf,
    clock: Arc<dyn Clock>,
    /// Guest time of the last entry. Held while an entry lasts.
    gate: Mutex<u64>,
    log: Mutex<Log>,
    /// From the beginning to the end of the recording.
    running: AtomicBool,
    devices: OnceLock<HashMap<String, u32>>,
    media: Mutex<Vec<MediumInfo>>,
    /// Media whose drives have let go of them. Closing one can wait for a thread that waits for the gate.
    buried: Mutex<Vec<Box<dyn Any + Send>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// A recorder to that file of a guest whose time that is. Nothing is recorded yet, and what lies there now
    /// stays until [`begin`](Recorder::begin).
    pub fn new(file: &Path, clock: Arc<dyn Clock>) -> Result<Arc<Recorder>, SaveError> {
        let failed = |source: StreamError| SaveError::Stream { file: file.to_owned(), source };
        let whole = WholeFile::create(file).map_err(|error| failed(error.into()))?;
        let created = whole.file().try_clone().map_err(|error| failed(error.into()))?;
        let writer = Writer::with_magic(BufWriter::new(created), MAGIC).map_err(failed)?;
        let (to, from) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("recording".into());
        let thread = thread.spawn(move || write(writer, &from)).map_err(|error| failed(error.into()))?;
        Ok(Arc::new(Recorder {
            file: file.to_owned(),
            clock,
            gate: Mutex::new(0),
            log: Mutex::new(Log { to: Some(to), thread: Some(thread), whole: Some(whole), ..Log::default() }),
            running: AtomicBool::new(false),
            devices: OnceLock::new(),
            media: Mutex::default(),
            buried: Mutex::default(),
        }))
    }

    /// Begins: what the machine is and the state of its devices are written, and from now on whatever reaches
    /// them. The vCPUs have not run yet, or not since the machine was loaded.
    pub fn begin(&self, machine: &Machine, header: Header) -> Result<(), SaveError> {
        let mut last = lock(&self.gate);
        *last = self.clock.now();
        let slots = machine.bus().slots();
        let header = Header { media: lock(&self.media).clone(), ..header };
        let state = MachineState { clock: *last, config_address: machine.bus().config_address() };
        let mut parts = vec![
            ("header".to_owned(), Saved::encode(MACHINE, 0, &header)),
            ("machine".to_owned(), Saved::encode("machine", 0, &state)),
        ];
        parts.extend(slots.iter().map(|(name, slot)| (format!("device/{name}"), slot.lock().save())));
        let mut log = lock(&self.log);
        log.encoder = Encoder::starting_at(*last);
        log.since = *last;
        for (part, saved) in parts {
            let file = self.file.clone();
            match saved {
                Ok(saved) => log.pass((part, saved)),
                Err(error) => return Err(SaveError::Part { file, part, why: error.to_string() }),
            }
        }
        // The file gets its name now: a recording that is cut later is good up to there.
        if let Some(whole) = log.whole.take() {
            let named = whole.commit();
            named.map_err(|error| SaveError::Stream { file: self.file.clone(), source: error.into() })?;
        }
        drop(log);
        // A machine begins once.
        let _ = self.devices.set(slots.into_iter().map(|(name, _)| name).zip(0..).collect());
        self.running.store(true, Ordering::Release);
        Ok(())
    }

    /// Ends the recording and waits until all of it is written.
    pub fn finish(&self) -> Result<(), SaveError> {
        let gate = lock(&self.gate);
        self.running.store(false, Ordering::Release);
        let mut log = lock(&self.log);
        log.pass_on();
        log.to = None;
        let thread = log.thread.take();
        drop((log, gate));
        self.close_buried();
        let Some(thread) = thread else { return Ok(()) };
        let written = thread.join().unwrap_or_else(|_| Err(StreamError::Damaged("its writer failed".into())));
        written.map_err(|source| SaveError::Stream { file: self.file.clone(), source })
    }

    /// Something reaches the devices, as long as the result lives. In the middle of another entry it is a part
    /// of that.
    pub fn entry(&self, entry: &Entry) -> Inside<'_> {
        if self.inside() {
            return Inside { of: None };
        }
        let mut last = lock(&self.gate);
        let at = self.clock.now().max(*last);
        *last = at;
        INSIDE.set(Some(at));
        if self.running.load(Ordering::Acquire) {
            lock(&self.log).entry(at, entry);
        }
        Inside { of: Some((self, Some(last))) }
    }

    /// A device did something.
    pub fn note(&self, effect: &Effect) {
        if INSIDE.get().is_some() && self.running.load(Ordering::Acquire) {
            let log = &mut *lock(&self.log);
            log.encoder.effect(&mut log.piece, effect);
        }
    }

    /// Guest time for the devices: it stands while something reaches them.
    pub fn now(&self) -> u64 {
        INSIDE.get().unwrap_or_else(|| self.clock.now())
    }

    /// Whether this thread is in an entry.
    pub fn inside(&self) -> bool {
        INSIDE.get().is_some()
    }

    /// Whether the machine is still being built and loaded.
    pub fn before(&self) -> bool {
        self.devices.get().is_none()
    }

    /// The number of one more medium.
    pub fn medium(&self, info: MediumInfo) -> u32 {
        let mut media = lock(&self.media);
        media.push(info);
        media.len() as u32 - 1
    }

    /// Closes a medium as soon as nobody waits for anybody.
    pub fn bury(&self, medium: Box<dyn Any + Send>) {
        if self.inside() {
            lock(&self.buried).push(medium);
        }
    }

    fn close_buried(&self) {
        let gone = std::mem::take(&mut *lock(&self.buried));
        drop(gone);
    }
}

impl Gate for Recorder {
    fn wake(&self, device: &str, why: Wake, wake: &mut dyn FnMut()) {
        let number = self.devices.get().and_then(|devices| devices.get(device));
        let _entry = self.entry(&Entry::Wake { device: number.copied().unwrap_or(u32::MAX), why });
        wake();
    }
    fn armed(&self, timer: u32, deadline: Option<u64>) {
        self.note(&Effect::Arm(timer, deadline));
    }
}
