//! A file with all that a guest plays: RIFF WAVE, PCM (Microsoft and IBM, "Multimedia Programming Interface and Data
//! Specifications 1.0").
//!
//! A thread of its own writes the file, and its header anew with each block, so that the file is whole at any time. Who
//! plays only copies into a bounded buffer: what comes while that is full, because a disk hangs, is not in the file. It
//! ends where the format's lengths do (4 GiB), or the disk, or the limit that the process has (`RLIMIT_FSIZE`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::Duration;

use devices_core::audio::{Format, Sample};
use hypervisor::thread_role;
use rustix::process::{Resource, getrlimit};

use super::Sink;

/// Bytes that go to the thread together.
const BLOCK: usize = 16 << 10;
/// Most blocks that wait.
const WAITING: usize = 128;
/// Bytes of the header.
pub const HEAD: usize = 44;
/// How long the end of the file is waited for.
const CLOSING: Duration = Duration::from_secs(2);

/// Opens the file anew.
///
/// # Errors
/// It cannot be opened, or is no file on a disk.
pub fn prepare(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for its reader.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

/// The header of a file with so many bytes of frames. 8-bit samples have no sign in such files, and wider ones have one.
fn head(format: Format, bytes: u32) -> [u8; HEAD] {
    let (frame, bits) = (format.frame() as u32, 8 * format.sample().bytes() as u32);
    let mut head = [0; HEAD];
    let mut put = |at: usize, word: &[u8]| head[at..at + word.len()].copy_from_slice(word);
    put(0, b"RIFF");
    put(4, &(bytes + (HEAD - 8) as u32).to_le_bytes());
    put(8, b"WAVEfmt ");
    put(16, &16u32.to_le_bytes());
    put(20, &1u16.to_le_bytes());
    put(22, &(format.channels() as u16).to_le_bytes());
    put(24, &format.rate().to_le_bytes());
    put(28, &(format.rate() * frame).to_le_bytes());
    put(32, &(frame as u16).to_le_bytes());
    put(34, &(bits as u16).to_le_bytes());
    put(36, b"data");
    put(40, &bytes.to_le_bytes());
    head
}

/// Whether a file can have frames of that format.
pub const fn takes(format: Format) -> bool {
    !matches!(format.sample(), Sample::S8) && format.channels() <= 2
}

/// The file, until it is dropped.
pub struct Wav {
    block: Vec<u8>,
    to: Option<SyncSender<Vec<u8>>>,
    ended: Receiver<()>,
    name: String,
    lost: usize,
}

impl Wav {
    /// Writes an empty file; `name` is what it is called in the log.
    ///
    /// # Errors
    /// It cannot be written, or no thread can be started.
    pub fn start(file: File, name: String, format: Format) -> io::Result<Wav> {
        file.write_all_at(&head(format, 0), 0)?;
        let (to, blocks) = mpsc::sync_channel(WAITING);
        let (ending, ended) = mpsc::channel();
        let writer = Writer { file, name: name.clone(), format, bytes: 0, most: most(format) };
        std::thread::Builder::new().name("wav".into()).spawn(move || {
            writer.run(&blocks);
            drop(ending);
        })?;
        Ok(Wav { block: Vec::new(), to: Some(to), ended, name, lost: 0 })
    }

    fn send(&mut self) {
        let block = std::mem::take(&mut self.block);
        let len = block.len();
        if len == 0 {
            return;
        }
        // A thread that has gone has said why.
        if let Some(Err(TrySendError::Full(_))) = self.to.as_ref().map(|to| to.try_send(block)) {
            self.lost += len;
        }
    }
}

impl Sink for Wav {
    fn play(&mut self, frames: &[u8]) {
        self.block.extend_from_slice(frames);
        if self.block.len() >= BLOCK {
            self.send();
        }
    }
    fn rest(&mut self) {
        self.send();
    }
}

impl Drop for Wav {
    fn drop(&mut self) {
        self.send();
        self.to = None;
        // A disk that hangs is not waited for.
        let _ = self.ended.recv_timeout(CLOSING);
        if self.lost > 0 {
            tracing::warn!("{} lacks {} bytes of sound, which came too fast", self.name, self.lost);
        }
    }
}

/// Most bytes of frames of a file, whole frames.
fn most(format: Format) -> u32 {
    let limit = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    let most = limit.min(u32::MAX.into()).saturating_sub(HEAD as u64) as u32;
    most - most % format.frame() as u32
}

struct Writer {
    file: File,
    name: String,
    format: Format,
    bytes: u32,
    most: u32,
}

impl Writer {
    fn run(mut self, blocks: &Receiver<Vec<u8>>) {
        while let Ok(block) = blocks.recv() {
            thread_role::at(thread_role::Role::Disk);
            if let Err(error) = self.write(&block) {
                tracing::warn!("{} takes no more sound: {error}", self.name);
                return;
            }
        }
    }

    /// Writes as much as there is room for. What the header does not count is not in the file.
    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        let fitting = block.len().min((self.most - self.bytes) as usize);
        self.file.write_all_at(&block[..fitting], HEAD as u64 + u64::from(self.bytes))?;
        self.bytes += fitting as u32;
        self.file.write_all_at(&head(self.format, self.bytes), 0)?;
        if fitting < block.len() { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stereo() -> Format {
        Format::new(44_100, 2, Sample::S16).unwrap()
    }

    #[test]
    fn a_header_tells_what_the_frames_are() {
        let head = head(stereo(), 8);
        assert_eq!(head[..20], *b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0");
        assert_eq!(head[20..36], [1, 0, 2, 0, 0x44, 0xac, 0, 0, 0x10, 0xb1, 2, 0, 4, 0, 16, 0]);
        assert_eq!(head[36..], *b"data\x08\0\0\0");
    }

    #[test]
    fn a_file_is_whole_and_ends_at_its_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let name = "a file".to_owned();
        let mut writer = Writer { file: file.reopen().unwrap(), name, format: stereo(), bytes: 0, most: 12 };
        writer.write(&[7; 8]).unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), [&head(stereo(), 8)[..], &[7; 8]].concat());
        let error = writer.write(&[8; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let whole = [&head(stereo(), 12)[..], &[7; 8], &[8; 4]].concat();
        assert_eq!(std::fs::read(file.path()).unwrap(), whole);
    }

    #[test]
    fn what_was_played_is_in_the_file_when_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        std::fs::write(&path, vec![1; 4096]).unwrap();
        let mut wav = Wav::start(prepare(&path).unwrap(), "a file".into(), stereo()).unwrap();
        for byte in 0..100u8 {
            wav.play(&[byte; 1000]);
        }
        drop(wav);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[..HEAD], head(stereo(), 100_000));
        assert!(bytes[HEAD..].chunks(1000).zip(0..100u8).all(|(chunk, byte)| chunk == [byte; 1000]));
    }

    #[test]
    fn what_is_no_file_on_a_disk_is_not_opened() {
        assert!(prepare(Path::new("/dev/null")).is_err());
        assert!(prepare(Path::new("/")).is_err());
    }
}
