//! Disk images: raw and qcow2.
//!
//! The format is given, never guessed: a guest that writes a qcow2 header onto its raw disk must not be able
//! to name a file of the host. Backing files named in a header are refused for the same reason.

mod error;
mod file;
mod lent;
mod pool;
mod qcow2;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use devices_core::block::{BlockError, BlockInfo, BlockOp, BlockStore, Payload, SECTOR, Segment};
use hypervisor::memory;
use imago::file::File;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::{FormatAccess, Storage, StorageExt};
use vm_memory::{GuestAddress, GuestMemoryBackend, VolatileSlice};

pub use error::ImageError;
use file::{Claim, Opened};
pub use lent::Images;
pub use pool::Pool;

/// Layout of an image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The disk's bytes.
    Raw,
    /// QEMU's copy-on-write format, version 2 or 3.
    Qcow2,
}

impl FromStr for Format {
    type Err = String;
    fn from_str(name: &str) -> Result<Format, String> {
        match name {
            "raw" => Ok(Format::Raw),
            "qcow2" => Ok(Format::Qcow2),
            _ => Err(format!("{name:?} is not an image format: raw or qcow2")),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        })
    }
}

/// How writes reach the host's disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// Through the host's page cache; safe after the guest's flush.
    #[default]
    Writeback,
    /// Past the page cache (`O_DIRECT`); safe after the guest's flush.
    None,
    /// Each write is safe when it is done.
    Writethrough,
    /// Flushes do nothing. For what can be made anew.
    Unsafe,
}

impl FromStr for Cache {
    type Err = String;
    fn from_str(name: &str) -> Result<Cache, String> {
        match name {
            "writeback" => Ok(Cache::Writeback),
            "none" => Ok(Cache::None),
            "writethrough" => Ok(Cache::Writethrough),
            "unsafe" => Ok(Cache::Unsafe),
            _ => Err(format!("{name:?} is not a cache mode: writeback, none, writethrough or unsafe")),
        }
    }
}

/// What to open and how.
#[derive(Clone, Debug)]
pub struct ImageOptions {
    /// The file or block device.
    pub path: PathBuf,
    /// Its layout.
    pub format: Format,
    /// The guest does not write.
    pub read_only: bool,
    /// What the guest writes goes to a temporary file and is forgotten.
    pub snapshot: bool,
    /// How writes reach the host's disk.
    pub cache: Cache,
}

impl ImageOptions {
    /// Writable, written back, kept.
    pub fn new(path: impl Into<PathBuf>, format: Format) -> ImageOptions {
        ImageOptions { path: path.into(), format, read_only: false, snapshot: false, cache: Cache::default() }
    }

    /// A CD image: raw, read-only.
    pub fn cd(path: impl Into<PathBuf>) -> ImageOptions {
        ImageOptions { read_only: true, ..ImageOptions::new(path, Format::Raw) }
    }

    fn info(&self, size: u64, physical_block: u32) -> BlockInfo {
        let read_only = self.read_only;
        BlockInfo { size, read_only, physical_block, discard: !read_only }
    }
}

/// An open image. Work on it blocks the caller: give it to a [`Pool`], or to
/// [`Inline`](devices_core::block::Inline).
pub struct Image {
    layer: Layer,
    claim: Claim,
    info: BlockInfo,
    cache: Cache,
    failures: AtomicU64,
}

enum Layer {
    /// The file itself, and a second handle on it to flush.
    Raw(File, std::fs::File),
    /// Under a format. Writers of the lock take space away, everybody else reads it.
    Format(Box<RwLock<FormatAccess<File>>>),
}

impl Image {
    /// Opens an image, locked against other writers (and, by a writer, against anybody) as QEMU locks
    /// its images.
    pub fn open(options: &ImageOptions) -> Result<Image, ImageError> {
        let writable = !options.read_only && !options.snapshot;
        let opened = Opened::open(&options.path, writable, options.cache == Cache::None, true)?;
        Image::of(opened, options)
    }

    /// What the medium would be, whoever uses it now.
    pub fn peek(options: &ImageOptions) -> Result<BlockInfo, ImageError> {
        let opened = Opened::open(&options.path, false, false, false)?;
        let size = match options.format {
            Format::Raw => opened.raw_size()?,
            Format::Qcow2 => qcow2::check_header(&opened, !options.read_only && !options.snapshot)?,
        };
        Ok(options.info(size, opened.physical_block()))
    }

    /// The image in a file that is open: `options.path` is only what it is called in messages. The
    /// file goes through the page cache.
    pub fn from_file(file: std::fs::File, options: &ImageOptions) -> Result<Image, ImageError> {
        let writable = !options.read_only && !options.snapshot;
        Image::of(Opened::adopt(&options.path, file, writable, false, true)?, options)
    }

    fn of(opened: Opened, options: &ImageOptions) -> Result<Image, ImageError> {
        let writable = !options.read_only && !options.snapshot;
        let claim = opened.claim(writable)?;
        let format = |source| ImageError::Format { path: options.path.clone(), source };
        let (layer, size, block) = match options.format {
            Format::Raw => {
                let size = opened.raw_size()?;
                let block = opened.physical_block();
                let Opened { file, flush, .. } = opened;
                if options.snapshot {
                    (qcow2::overlay_of_raw(file, size).map_err(format)?, size, block)
                } else {
                    (Layer::Raw(file, flush), size, block)
                }
            }
            Format::Qcow2 => {
                let size = qcow2::check_header(&opened, writable)?;
                let block = opened.physical_block();
                let base = guarded(|| qcow2::open(opened.file, writable)).map_err(format)?;
                let layer = if options.snapshot {
                    qcow2::overlay(base, size).map_err(format)?
                } else {
                    Layer::Format(Box::new(RwLock::new(base)))
                };
                (layer, size, block)
            }
        };
        let info = options.info(size, block);
        Ok(Image { layer, claim, info, cache: options.cache, failures: AtomicU64::new(0) })
    }

    /// The first bytes of the medium, before a guest runs: for guessing a geometry.
    pub fn first_sector(&self) -> Vec<u8> {
        let mut payload = Payload::Buffer(vec![0; SECTOR as usize]);
        match self.run(BlockOp::Read, 0, &mut payload) {
            Ok(()) => match payload {
                Payload::Buffer(buffer) => buffer,
                Payload::None | Payload::Guest(..) => Vec::new(),
            },
            Err(_) => Vec::new(),
        }
    }

    /// Writes all that is cached, and lets other processes use the image. Nothing is in flight.
    fn lend(&self) -> Result<(), ImageError> {
        if !self.info.read_only {
            self.run(BlockOp::Flush, 0, &mut Payload::None)
                .map_err(|error| self.claim.failed(io::Error::other(error.to_string())))?;
        }
        self.claim.lend()
    }

    fn read(&self, vector: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        match &self.layer {
            Layer::Raw(file, _) => file.readv(vector, offset),
            Layer::Format(format) => read_lock(format).readv(vector, offset),
        }
    }

    fn write(&self, vector: IoVector<'_>, offset: u64) -> io::Result<()> {
        match &self.layer {
            Layer::Raw(file, _) => file.writev(vector, offset),
            Layer::Format(format) => read_lock(format).writev(vector, offset),
        }
    }

    fn flush(&self) -> io::Result<()> {
        match &self.layer {
            Layer::Raw(_, file) => file.sync_data(),
            Layer::Format(format) => {
                let format = read_lock(format);
                format.flush()?;
                format.sync()
            }
        }
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let result = match &self.layer {
            Layer::Raw(file, _) => file.discard(offset, len),
            Layer::Format(format) => {
                format.write().unwrap_or_else(PoisonError::into_inner).discard_to_any(offset, len)
            }
        };
        // A discard is a hint.
        match result {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            other => other,
        }
    }

    fn work(&self, op: BlockOp, offset: u64, payload: &mut Payload) -> io::Result<()> {
        match (op, payload) {
            (BlockOp::Read, Payload::Buffer(buffer)) => self.read(buffer.as_mut_slice().into(), offset),
            (BlockOp::Read, Payload::Guest(ram, segments)) => {
                each_batch(segments, offset, |batch, offset| {
                    let slices = slices(ram, batch)?;
                    let (vector, _guard) = IoVectorMut::from_volatile_slice(slices.as_slice());
                    self.read(vector, offset)
                })
            }
            (BlockOp::Write, Payload::Buffer(buffer)) => self.write(buffer.as_slice().into(), offset),
            (BlockOp::Write, Payload::Guest(ram, segments)) => {
                each_batch(segments, offset, |batch, offset| {
                    let slices = slices(ram, batch)?;
                    let (vector, _guard) = IoVector::from_volatile_slice(slices.as_slice());
                    self.write(vector, offset)
                })
            }
            (BlockOp::Flush, _) if self.cache == Cache::Unsafe || self.info.read_only => Ok(()),
            (BlockOp::Flush, _) => self.flush(),
            (BlockOp::Discard(len), _) => self.discard(offset, len),
            (BlockOp::Read | BlockOp::Write, Payload::None) => Ok(()),
        }?;
        if self.cache == Cache::Writethrough && op == BlockOp::Write {
            self.flush()?;
        }
        Ok(())
    }
}

fn read_lock(format: &RwLock<FormatAccess<File>>) -> std::sync::RwLockReadGuard<'_, FormatAccess<File>> {
    format.read().unwrap_or_else(PoisonError::into_inner)
}

/// Segments that one system call takes: half of IOV_MAX, since a segment may lie in two regions.
const BATCH: usize = 512;

fn each_batch(
    segments: &[Segment],
    offset: u64,
    mut work: impl FnMut(&[Segment], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut offset = offset;
    for batch in segments.chunks(BATCH) {
        work(batch, offset)?;
        offset += batch.iter().map(|segment| u64::from(segment.len)).sum::<u64>();
    }
    Ok(())
}

type Track<'a> = vm_memory::bitmap::BS<'a, memory::Region>;

/// The host's memory behind segments. It stays in place while the slices live.
fn slices<'a>(
    ram: &'a hypervisor::GuestRam,
    segments: &[Segment],
) -> io::Result<Vec<VolatileSlice<'a, Track<'a>>>> {
    let mut found = Vec::with_capacity(segments.len());
    for segment in segments {
        let pieces = GuestMemoryBackend::get_slices(ram, GuestAddress(segment.gpa), segment.len as usize);
        for piece in pieces {
            found.push(piece.map_err(|_| io::Error::other("the guest gave its memory away"))?);
        }
    }
    Ok(found)
}

/// Runs code that reads a hostile file. A panic in it is an error of the file.
fn guarded<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(io::Error::other("its metadata is damaged")))
}

impl BlockStore for Image {
    fn info(&self) -> BlockInfo {
        self.info
    }

    fn run(&self, op: BlockOp, offset: u64, payload: &mut Payload) -> Result<(), BlockError> {
        devices_core::block::check(&self.info, op, offset, payload).or_else(|error| match (op, error) {
            // A read-only medium has nothing to flush.
            (BlockOp::Flush, BlockError::ReadOnly) => Ok(()),
            (_, error) => Err(error),
        })?;
        guarded(|| self.work(op, offset, payload)).map_err(|error| {
            // A guest can ask for the same bad sector for ever: fewer and fewer of its failures are told.
            let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            if failures.is_power_of_two() {
                tracing::warn!(%error, ?op, offset, failures, "disk image");
            }
            if error.kind() == io::ErrorKind::StorageFull { BlockError::NoSpace } else { BlockError::Io }
        })
    }
}

/// Size in bytes that a file has, for messages and tests.
fn size_of(file: &File, path: &Path) -> Result<u64, ImageError> {
    file.size().map_err(|source| ImageError::Open { path: path.to_owned(), source })
}
