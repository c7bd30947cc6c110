//! Disk images: raw and qcow2.
//!
//! The format is given, never guessed: a guest that writes a qcow2 header onto its raw disk must not be able
//! to name a file of the host. Backing files named in a header are refused for the same reason.

mod error;
mod file;
mod host;
mod lent;
mod memory;
mod null;
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

use devices_core::block::{BlockError, BlockInfo, BlockOp, BlockStore, Payload, SECTOR, Segment};
use vm_memory::{GuestAddress, GuestMemoryBackend};

pub use error::ImageError;
use file::{Claim, Opened};
pub use file::{Protocol, reserve};
use host::{Guest, HostFile};
pub use lent::Images;
use memory::{Source, Target};
pub use null::{NULL_SIZE, is_null, null_path};
pub use pool::Pool;
use qcow2::{Qcow2, Refusal};

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
    /// The file or block device, or none ([`is_null`]).
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

    /// Whether the file itself is written.
    fn writable(&self) -> bool {
        !self.read_only && !self.snapshot
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

/// What holds the disk's bytes.
enum Layer {
    /// The file itself. Bytes beyond its end, up to a whole sector, are zeros.
    Raw(Box<dyn HostFile>),
    /// Under a format.
    Qcow2(Box<Qcow2>),
}

impl Layer {
    fn read(&self, target: &mut Target<'_>, offset: u64) -> io::Result<()> {
        match self {
            Layer::Raw(file) => target.load(&**file, offset, 0, target.len()),
            Layer::Qcow2(image) => image.read(target, offset),
        }
    }

    /// Fills `len` bytes of a request from `skip` on: for a layer above.
    fn read_piece(&self, target: &mut Target<'_>, offset: u64, skip: usize, len: usize) -> io::Result<()> {
        match (self, target) {
            (Layer::Raw(file), target) => target.load(&**file, offset, skip, len),
            (Layer::Qcow2(image), Target::Bytes(bytes)) => {
                let piece = bytes.get_mut(skip..skip + len).ok_or(io::ErrorKind::InvalidInput)?;
                image.read(&mut Target::Bytes(piece), offset)
            }
            (Layer::Qcow2(image), Target::Guest(slices)) => {
                image.read(&mut Target::Guest(&host::cut(slices, skip, len)?), offset)
            }
        }
    }

    fn write(&self, source: &Source<'_>, offset: u64) -> io::Result<()> {
        match self {
            Layer::Raw(file) => source.store(&**file, offset, 0, source.len()),
            Layer::Qcow2(image) => image.write(source, offset),
        }
    }

    fn flush(&self) -> io::Result<()> {
        match self {
            Layer::Raw(file) => file.sync(),
            Layer::Qcow2(image) => image.flush(),
        }
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        match self {
            Layer::Raw(file) => file.punch(offset, len),
            Layer::Qcow2(image) => image.discard(offset, len),
        }
    }
}

/// An image's file, open and locked, of which nothing has been read: whoever opens it may do more than whoever reads
/// what a guest has written there.
pub struct ImageFile {
    opened: Opened,
    options: ImageOptions,
}

impl ImageFile {
    /// Opens a file, locked against other writers (and, by a writer, against anybody) as QEMU locks its images.
    pub fn open(options: &ImageOptions) -> Result<ImageFile, ImageError> {
        let opened = Opened::open(&options.path, options.writable(), options.cache == Cache::None, true)?;
        Ok(ImageFile { opened, options: options.clone() })
    }

    /// What somebody else has opened, through the page cache, to read and, if the guest writes, to write:
    /// `options.path` is only what it is called in messages.
    pub fn adopt(on: impl Into<Protocol>, options: &ImageOptions) -> Result<ImageFile, ImageError> {
        let opened = Opened::adopt(&options.path, on.into(), options.writable(), false, true)?;
        Ok(ImageFile { opened, options: options.clone() })
    }

    /// What it is called.
    pub fn name(&self) -> &Path {
        &self.options.path
    }

    /// The file's most bytes while it is used. None: that is not known.
    pub fn most(&self) -> Option<u64> {
        match (self.options.snapshot, self.options.writable(), self.options.format) {
            // The layer above it grows.
            (true, ..) | (false, true, Format::Qcow2) => None,
            (false, true, Format::Raw) => self.opened.raw_size(false).ok(),
            (false, false, _) => Some(0),
        }
    }
}

impl Image {
    /// Opens an image: see [`ImageFile::open`].
    pub fn open(options: &ImageOptions) -> Result<Image, ImageError> {
        Image::read(ImageFile::open(options)?)
    }

    /// What the medium would be, whoever uses it now.
    pub fn peek(options: &ImageOptions) -> Result<BlockInfo, ImageError> {
        Image::look(Opened::open(&options.path, false, false, false)?, options)
    }

    /// The same of a file that somebody else has opened to read.
    pub fn peek_at(file: std::fs::File, options: &ImageOptions) -> Result<BlockInfo, ImageError> {
        Image::look(Opened::adopt(&options.path, file.into(), false, false, false)?, options)
    }

    fn look(opened: Opened, options: &ImageOptions) -> Result<BlockInfo, ImageError> {
        let size = match options.format {
            Format::Raw => opened.raw_size(false)?,
            Format::Qcow2 => {
                let writable = options.writable();
                let block = opened.physical_block();
                let file = opened.into_disk()?;
                let header = qcow2::read_header(&*file, writable)
                    .map_err(|refusal| refused(&options.path, refusal))?;
                return Ok(options.info(header.disk_size(), block));
            }
        };
        Ok(options.info(size, opened.physical_block()))
    }

    /// The image in a file that is open: `options.path` is only what it is called in messages. The
    /// file goes through the page cache.
    pub fn from_file(on: impl Into<Protocol>, options: &ImageOptions) -> Result<Image, ImageError> {
        Image::read(ImageFile::adopt(on, options)?)
    }

    /// The image in a file. Only now anything of it is read.
    pub fn read(file: ImageFile) -> Result<Image, ImageError> {
        let ImageFile { opened, options } = file;
        let writable = options.writable();
        let claim = opened.claim(writable)?;
        let block = opened.physical_block();
        let path = options.path.clone();
        let refused = |refusal| refused(&path, refusal);
        let raw_size = match options.format {
            Format::Raw => Some(opened.raw_size(true)?),
            Format::Qcow2 => None,
        };
        let file = opened.into_disk()?;
        let (base, size) = match raw_size {
            Some(size) => (Layer::Raw(file), size),
            None => {
                let image = guarded_open(|| Qcow2::open(file, writable)).map_err(refused)?;
                let size = image.size();
                (Layer::Qcow2(Box::new(image)), size)
            }
        };
        let layer = if options.snapshot {
            let file = file::unnamed().map_err(|source| refused(Refusal::Io(source)))?;
            let above = guarded_open(|| Qcow2::above(Box::new(file), base, size)).map_err(refused)?;
            Layer::Qcow2(Box::new(above))
        } else {
            base
        };
        // What is thrown away need not be safe.
        let cache = if options.snapshot { Cache::Unsafe } else { options.cache };
        Ok(Image { layer, claim, info: options.info(size, block), cache, failures: AtomicU64::new(0) })
    }

    /// The first bytes of the medium, before a guest runs: for guessing a geometry.
    pub fn first_sector(&self) -> Vec<u8> {
        self.head(SECTOR as usize).unwrap_or_default()
    }

    /// The first `len` bytes of the medium, whole sectors, before a guest runs.
    ///
    /// # Errors
    /// The host cannot read them, or there are not so many.
    pub fn head(&self, len: usize) -> Result<Vec<u8>, BlockError> {
        let mut payload = Payload::Buffer(vec![0; len]);
        self.run(BlockOp::Read, 0, &mut payload)?;
        match payload {
            Payload::Buffer(buffer) => Ok(buffer),
            Payload::None | Payload::Guest(..) => Ok(Vec::new()),
        }
    }

    /// Writes all that is cached, and lets other processes use the image. Nothing is in flight.
    fn lend(&self) -> Result<(), ImageError> {
        match &self.layer {
            Layer::Qcow2(image) => guarded(|| image.lend()).map_err(|error| self.claim.failed(error))?,
            Layer::Raw(file) if !self.info.read_only => {
                file.sync().map_err(|error| self.claim.failed(error))?;
            }
            Layer::Raw(_) => {}
        }
        self.claim.lend()
    }

    /// Writes what is cached, whatever the cache mode is.
    fn flush(&self) -> io::Result<()> {
        guarded(|| self.layer.flush())
    }

    fn work(&self, op: BlockOp, offset: u64, payload: &mut Payload) -> io::Result<()> {
        match (op, payload) {
            (BlockOp::Read, Payload::Buffer(buffer)) => self.layer.read(&mut Target::Bytes(buffer), offset),
            (BlockOp::Read, Payload::Guest(ram, segments)) => {
                each_batch(segments, offset, |batch, offset| {
                    self.layer.read(&mut Target::Guest(&slices(ram, batch)?), offset)
                })
            }
            (BlockOp::Write, Payload::Buffer(buffer)) => self.layer.write(&Source::Bytes(buffer), offset),
            (BlockOp::Write, Payload::Guest(ram, segments)) => {
                each_batch(segments, offset, |batch, offset| {
                    self.layer.write(&Source::Guest(&slices(ram, batch)?), offset)
                })
            }
            (BlockOp::Flush, _) if self.cache == Cache::Unsafe || self.info.read_only => Ok(()),
            (BlockOp::Flush, _) => self.layer.flush(),
            (BlockOp::Discard(len), _) => self.layer.discard(offset, len),
            (BlockOp::Read | BlockOp::Write, Payload::None) => Ok(()),
        }?;
        if self.cache == Cache::Writethrough && op == BlockOp::Write {
            self.layer.flush()?;
        }
        Ok(())
    }
}

/// A refusal with the file's name.
fn refused(path: &Path, refusal: Refusal) -> ImageError {
    let path = path.to_owned();
    match refusal {
        Refusal::NotQcow2 => ImageError::NotQcow2(path),
        Refusal::Damaged(what) => ImageError::Header { path, what },
        Refusal::Unsupported(what) => ImageError::Unsupported { path, what },
        Refusal::Io(source) => ImageError::Format { path, source },
    }
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

/// The host's memory behind segments. It stays in place while the slices live.
fn slices<'a>(ram: &'a hypervisor::GuestRam, segments: &[Segment]) -> io::Result<Vec<Guest<'a>>> {
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

/// Likewise, while it is opened.
fn guarded_open<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    let damaged = || Refusal::Io(io::Error::other("its metadata is damaged"));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged()))
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

    fn give_up(&self) {
        if let Layer::Qcow2(image) = &self.layer {
            image.give_up();
        }
    }
}
