//! What passes a network, in a file that tcpdump and Wireshark read (libpcap's classic format).
//!
//! A thread of its own writes the file: whoever passes a frame on only copies it into a bounded buffer. The file always
//! ends with a whole record: one for which there is no room, on the disk or within the limit that the process has
//! (`RLIMIT_FSIZE`), ends the dump.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, SystemTime};

use hypervisor::thread_role;
use rustix::process::{Resource, getrlimit};

use super::queues::{CLOSING, lock};
use super::ring::Ring;

/// Bytes that are written in one go, but for a longer frame.
const BATCH: usize = 256 << 10;
/// Bytes of the file's header, and of a record's.
const HEAD: usize = 24;
const RECORD: usize = 16;

/// A dump that is being written, until it is dropped.
pub struct Dump {
    shared: Arc<Shared>,
    longest: usize,
    ended: Mutex<mpsc::Receiver<()>>,
}

struct Shared {
    state: Mutex<State>,
    more: Condvar,
    /// The file takes no more.
    full: AtomicBool,
}

#[derive(Default)]
struct State {
    records: Ring,
    /// Frames that came faster than they were written.
    lost: u64,
    ending: bool,
}

/// A header of the host's byte order.
fn head<const N: usize>(words: [u32; N]) -> [[u8; 4]; N] {
    words.map(u32::to_ne_bytes)
}

impl Dump {
    /// Writes an empty file, and each frame's first `longest` bytes behind; `name` is what the file is called in the log.
    pub fn start(file: File, name: String, longest: u32) -> io::Result<Dump> {
        // Magic number, version 2.4, no time zone, no accuracy, length of records, Ethernet.
        let head = head([0xa1b2_c3d4, 0x0004_0002, 0, 0, longest, 1]);
        let most = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
        if most < HEAD as u64 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        file.set_len(0)?;
        file.write_all_at(head.as_flattened(), 0)?;
        let shared =
            Arc::new(Shared { state: Mutex::default(), more: Condvar::new(), full: AtomicBool::new(false) });
        let (ending, ended) = mpsc::channel();
        let writer = Writer { file, name, at: HEAD as u64, most, shared: shared.clone() };
        std::thread::Builder::new().name("net dump".into()).spawn(move || {
            writer.run();
            drop(ending);
        })?;
        Ok(Dump { shared, longest: longest as usize, ended: Mutex::new(ended) })
    }

    /// A frame has passed.
    pub fn frame(&self, frame: &[u8]) {
        if self.shared.full.load(Ordering::Relaxed) {
            return;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let kept = &frame[..frame.len().min(self.longest)];
        // The format's seconds end in 2106.
        let head = head([now.as_secs() as u32, now.subsec_micros(), kept.len() as u32, frame.len() as u32]);
        let mut state = lock(&self.shared.state);
        let first = state.records.is_empty();
        if !state.records.push_parts([head.as_flattened(), kept]) {
            state.lost += 1;
        }
        drop(state);
        if first {
            self.shared.more.notify_one();
        }
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        lock(&self.shared.state).ending = true;
        self.shared.more.notify_one();
        // A disk that hangs is not waited for.
        let _ = lock(&self.ended).recv_timeout(CLOSING);
    }
}

struct Writer {
    file: File,
    name: String,
    at: u64,
    most: u64,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let more = self.next(&mut batch);
            if let Err(error) = self.write(&batch) {
                self.shared.full.store(true, Ordering::Relaxed);
                tracing::warn!("network: {} takes no more frames: {error}", self.name);
                return;
            }
            if !more {
                break;
            }
        }
        let lost = lock(&self.shared.state).lost;
        if lost > 0 {
            tracing::warn!("network: {} lacks {lost} frames, which came too fast", self.name);
        }
    }

    /// Waits for records and takes some. False: these are the last.
    fn next(&self, batch: &mut Vec<u8>) -> bool {
        batch.clear();
        let mut state = lock(&self.shared.state);
        while state.records.is_empty() && !state.ending {
            state = self.shared.more.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        while batch.len() < BATCH && state.records.pop(batch).is_some() {}
        !(state.ending && state.records.is_empty())
    }

    /// Writes whole records: as many as there is room for.
    fn write(&mut self, records: &[u8]) -> io::Result<()> {
        thread_role::at(thread_role::Role::Disk);
        let room = usize::try_from(self.most.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let fitting = whole(records, room);
        let written = self.file.write_all_at(&records[..fitting], self.at).and_then(|()| {
            if fitting == records.len() { Ok(()) } else { Err(io::ErrorKind::FileTooLarge.into()) }
        });
        match written {
            Ok(()) => self.at += fitting as u64,
            // What went in of it may be half a record.
            Err(_) if fitting == records.len() => self.file.set_len(self.at)?,
            Err(_) => {}
        }
        written
    }
}

/// How long the records at the begin are that fit into `room` bytes together.
fn whole(records: &[u8], room: usize) -> usize {
    let mut end = 0;
    while let Some(&[a, b, c, d]) = records.get(end + 8..end + 12) {
        let next = end + RECORD + u32::from_ne_bytes([a, b, c, d]) as usize;
        if next > room {
            break;
        }
        end = next;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_whole() {
        let record = |len: u32| [head([0, 0, len, len]).as_flattened(), &vec![7; len as usize]].concat();
        let records = [record(0), record(60), record(9)].concat();
        for (room, expected) in
            [(0, 0), (15, 0), (16, 16), (91, 16), (92, 92), (116, 92), (117, 117), (999, 117)]
        {
            assert_eq!(whole(&records, room), expected, "{room}");
        }
    }

    #[test]
    fn frames_are_in_the_file_in_their_order_and_cut() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![1; 4096]).unwrap();
        let dump = Dump::start(file.reopen().unwrap(), "a dump".into(), 100).unwrap();
        let frames: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; 60 + usize::from(n)]).collect();
        frames.iter().for_each(|frame| dump.frame(frame));
        drop(dump);
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(bytes[..HEAD], *head([0xa1b2_c3d4, 0x0004_0002, 0, 0, 100, 1]).as_flattened());
        let mut rest = &bytes[HEAD..];
        for frame in frames {
            let (record, body) = rest.split_at(RECORD);
            let kept = frame.len().min(100);
            assert_eq!(record[8..], *head([kept as u32, frame.len() as u32]).as_flattened());
            assert_eq!(body[..kept], frame[..kept]);
            rest = &body[kept..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn a_full_disk_ends_it_with_a_whole_record() {
        // A disk that is always full takes not even the header.
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert!(Dump::start(full, "a dump".into(), 100).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        let shared = Shared { state: Mutex::default(), more: Condvar::new(), full: AtomicBool::new(false) };
        let mut writer = Writer {
            file: file.reopen().unwrap(),
            name: "a dump".into(),
            at: 0,
            most: 200,
            shared: Arc::new(shared),
        };
        let record = [head([0, 0, 60, 60]).as_flattened(), &[7; 60]].concat();
        let error = writer.write(&record.repeat(3)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(std::fs::read(file.path()).unwrap(), record.repeat(2));
    }

    #[test]
    fn frames_that_come_faster_than_the_disk_takes_them_do_not_grow_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let dump = Dump::start(file.reopen().unwrap(), "a dump".into(), 65_536).unwrap();
        for _ in 0..5_000 {
            dump.frame(&[0; 60]);
        }
        let lost = lock(&dump.shared.state).lost;
        drop(dump);
        let kept = (std::fs::metadata(file.path()).unwrap().len() - HEAD as u64) / 76;
        assert_eq!(kept + lost, 5_000);
    }
}
