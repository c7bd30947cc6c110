//! The disks of a configuration: images opened and put into drives.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use backends::image::{Cache, Format, Image, ImageError, ImageOptions, Images};
use devices::storage::ide::{DriveConfig, Geometry, Ide, Translation};
use devices::timer::rtc::firmware as cmos;
use devices_core::block::{BlockBackend, BlockInfo, BlockOp, BlockRequest, Inline, Medium};
use devices_core::{Slot, Wiring};

use super::BuildError;
use super::firmware::split_ram;
use crate::config::{CacheMode, ClockMode, ConfigError, DiskConfig, DiskFormat, DiskKind, GuestConfig};
use crate::monitor::facts::BlockStats;

/// Geometry of each drive and how the BIOS presents it.
pub(super) type Geometries = [Option<(Geometry, Translation)>; 4];

/// The four places of the controller.
pub(super) struct Drives {
    pub(super) drives: [Option<DriveConfig>; 4],
    pub(super) geometry: Geometries,
    pub(super) blocks: Vec<Block>,
}

/// What went through a drive.
#[derive(Debug, Default)]
pub(super) struct Counters {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    flushes: AtomicU64,
}

/// A drive as the monitor's statistics know it.
pub(super) struct Block {
    pub(super) name: String,
    pub(super) config: DiskConfig,
    counters: Arc<Counters>,
    /// The image of a disk, as long as it is open.
    image: Option<Weak<dyn BlockBackend>>,
}

impl Block {
    /// The image of that path, if this disk has it open.
    fn image_of(&self, path: &Path) -> Option<Arc<dyn BlockBackend>> {
        let same = self.config.path.as_deref() == Some(path);
        self.image.as_ref().filter(|_| same).and_then(Weak::upgrade)
    }

    pub(super) fn stats(&self) -> BlockStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { reads, read_bytes, writes, written_bytes, flushes } = &*self.counters;
        BlockStats {
            rd_bytes: of(read_bytes),
            wr_bytes: of(written_bytes),
            rd_operations: of(reads),
            wr_operations: of(writes),
            flush_operations: of(flushes),
        }
    }
}

/// A medium whose requests are counted.
struct Counted(Arc<dyn BlockBackend>, Arc<Counters>);

impl BlockBackend for Counted {
    fn info(&self) -> BlockInfo {
        self.0.info()
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let (op, len) = (request.op, request.payload.len());
        self.0.submit(request)?;
        let add = |counter: &AtomicU64, by| counter.fetch_add(by, Ordering::Relaxed);
        match op {
            BlockOp::Read => {
                add(&self.1.reads, 1);
                add(&self.1.read_bytes, len);
            }
            BlockOp::Write => {
                add(&self.1.writes, 1);
                add(&self.1.written_bytes, len);
            }
            BlockOp::Flush => {
                add(&self.1.flushes, 1);
            }
            BlockOp::Discard(_) => {}
        }
        Ok(())
    }
    fn idle(&self) -> bool {
        self.0.idle()
    }
}

/// A CD drive as the monitor sees it.
pub(super) struct CdDrive {
    /// QEMU's name of the place: `ide1-cd0`.
    pub(super) name: String,
    /// The id that its owner gave it.
    pub(super) id: Option<String>,
    pub(super) medium: Medium,
    clock: ClockMode,
    wiring: Wiring,
    images: Images,
}

impl CdDrive {
    /// Opens an image to put in: raw, or what its owner says.
    pub(super) fn open(&self, file: &Path, format: Format) -> Result<Arc<dyn BlockBackend>, ImageError> {
        let image = Image::open(&ImageOptions { format, ..ImageOptions::cd(file) })?;
        Ok(serve(image, self.clock, &self.wiring, &self.images))
    }

    /// The same with a file that is open: a process that has given up file names has no other.
    pub(super) fn adopt(&self, file: File, format: Format) -> Result<Arc<dyn BlockBackend>, ImageError> {
        let options = ImageOptions { format, ..ImageOptions::cd("the new medium") };
        Ok(serve(Image::from_file(file, &options)?, self.clock, &self.wiring, &self.images))
    }
}

/// QEMU's name of a drive by its place: `ide0-hd0`, `ide1-cd0`.
fn place_name(disk: &DiskConfig, place: usize) -> String {
    let kind = if disk.kind == DiskKind::Cdrom { "cd" } else { "hd" };
    format!("ide{}-{kind}{}", place / 2, place % 2)
}

/// The backend of an open image: threads of its own, or exact instants of guest time.
fn serve(image: Image, clock: ClockMode, wiring: &Wiring, images: &Images) -> Arc<dyn BlockBackend> {
    match clock {
        ClockMode::Host => images.serve(image),
        ClockMode::Icount => Arc::new(Inline::new(Arc::new(image), wiring.clone())),
    }
}

/// Opens every image. Nothing is written to any.
pub(super) fn open(
    config: &GuestConfig,
    wiring: &dyn Fn() -> Wiring,
    images: &Images,
) -> Result<Drives, BuildError> {
    let mut all = Drives { drives: [None, None, None, None], geometry: [None; 4], blocks: Vec::new() };
    for disk in &config.disks {
        let place = usize::from(disk.slot.unwrap_or(0)).min(3);
        let image = disk.path.as_deref().map(|path| open_image(disk, path)).transpose()?;
        let counters = Arc::<Counters>::default();
        let mut block = Block {
            name: place_name(disk, place),
            config: disk.clone(),
            counters: counters.clone(),
            image: None,
        };
        let serve = |image| -> Arc<dyn BlockBackend> {
            Arc::new(Counted(serve(image, config.clock, &wiring(), images), counters))
        };
        all.drives[place] = Some(match (disk.kind, image) {
            (DiskKind::Cdrom, image) => {
                let medium = image.map(serve);
                DriveConfig::Cd { medium, serial: None }
            }
            (DiskKind::Disk, Some(image)) => {
                let sectors = devices_core::block::BlockStore::info(&image).size / 512;
                let (geometry, translation) = Geometry::guess(sectors, &image.first_sector());
                all.geometry[place] = Some((geometry, translation));
                let backend = serve(image);
                block.image = Some(Arc::downgrade(&backend));
                DriveConfig::Disk { backend, geometry, serial: None }
            }
            (DiskKind::Disk, None) => {
                return Err(ConfigError::Invalid("a disk needs an image".into()).into());
            }
        });
        all.blocks.push(block);
    }
    Ok(all)
}

/// Finds the image of a path among those that disks have open.
pub(super) fn image_of(blocks: &[Block], path: &Path) -> Option<Arc<dyn BlockBackend>> {
    blocks.iter().find_map(|block| block.image_of(path))
}

fn open_image(disk: &DiskConfig, path: &Path) -> Result<Image, BuildError> {
    if disk.format.is_none() {
        refuse_other_formats(path)?;
    }
    let format = match disk.format.unwrap_or_default() {
        DiskFormat::Raw => Format::Raw,
        DiskFormat::Qcow2 => Format::Qcow2,
    };
    let cache = match disk.cache {
        CacheMode::Writeback => Cache::Writeback,
        CacheMode::None => Cache::None,
        CacheMode::Writethrough => Cache::Writethrough,
        CacheMode::Unsafe => Cache::Unsafe,
    };
    let options = ImageOptions {
        read_only: disk.readonly,
        snapshot: disk.snapshot,
        cache,
        ..ImageOptions::new(path, format)
    };
    Ok(Image::open(&options)?)
}

/// An image whose format was not said is raw. One that looks like qcow2 was meant otherwise: the person
/// must say which, since the guest could have written those bytes itself.
fn refuse_other_formats(path: &Path) -> Result<(), BuildError> {
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    if read.is_ok() && magic == *b"QFI\xfb" {
        let path = path.display();
        let text =
            format!("disk image {path} looks like qcow2: say format=qcow2 (or format=raw, if you mean that)");
        return Err(ConfigError::Invalid(text).into());
    }
    // What cannot be read is reported when it is opened.
    Ok(())
}

/// The drives that the monitor can open.
pub(super) fn cd_drives(
    config: &GuestConfig,
    ide: &Slot<Ide>,
    wiring: &Wiring,
    images: &Images,
) -> Vec<CdDrive> {
    let ide = ide.lock();
    let drive = |place: usize| {
        let disk = config.disks.iter().find(|disk| disk.slot.map(usize::from) == Some(place))?;
        Some(CdDrive {
            name: place_name(disk, place),
            id: disk.id.clone(),
            medium: ide.medium(place)?,
            clock: config.clock,
            wiring: wiring.clone(),
            images: images.clone(),
        })
    };
    (0..4).filter_map(drive).collect()
}

/// What SeaBIOS finds in the clock's RAM.
pub(super) fn cmos_facts(config: &GuestConfig, geometry: Geometries) -> cmos::Facts {
    let (below_4g, above_4g) = split_ram(config.memory_mib << 20);
    let mut boot = [cmos::Boot::None; 3];
    for (place, letter) in boot.iter_mut().zip(config.boot.chars()) {
        *place = match letter {
            'a' => cmos::Boot::Floppy,
            'c' => cmos::Boot::Disk,
            'd' => cmos::Boot::Cd,
            _ => cmos::Boot::Network,
        };
    }
    cmos::Facts { below_4g, above_4g, vcpus: config.vcpus, boot, disks: geometry, ..cmos::Facts::default() }
}
