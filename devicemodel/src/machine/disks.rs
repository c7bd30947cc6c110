//! The disks of a configuration: images opened and put into drives.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use backends::image::{Cache, Format, Image, ImageError, ImageOptions};
use devices::storage::ide::{DriveConfig, Geometry, Ide, Translation};
use devices::timer::rtc::firmware as cmos;
use devices_core::block::{BlockBackend, Inline, Medium};
use devices_core::{Slot, Wiring};

use super::BuildError;
use super::firmware::split_ram;
use crate::config::{CacheMode, ClockMode, ConfigError, DiskConfig, DiskFormat, DiskKind, GuestConfig};

/// Geometry of each drive and how the BIOS presents it.
pub(super) type Geometries = [Option<(Geometry, Translation)>; 4];

/// The four places of the controller.
pub(super) struct Drives {
    pub(super) drives: [Option<DriveConfig>; 4],
    pub(super) geometry: Geometries,
}

/// A CD drive as the monitor sees it.
pub(super) struct CdDrive {
    /// QEMU's name of the place: `ide1-cd0`.
    pub(super) name: String,
    pub(super) medium: Medium,
    clock: ClockMode,
    wiring: Wiring,
}

impl CdDrive {
    /// Opens an image to put in.
    pub(super) fn open(&self, file: &Path) -> Result<Arc<dyn BlockBackend>, ImageError> {
        Ok(serve(Image::open(&ImageOptions::cd(file))?, self.clock, &self.wiring))
    }
}

/// The backend of an open image: threads of its own, or exact instants of guest time.
fn serve(image: Image, clock: ClockMode, wiring: &Wiring) -> Arc<dyn BlockBackend> {
    match clock {
        ClockMode::Host => image.serve(),
        ClockMode::Icount => Arc::new(Inline::new(Arc::new(image), wiring.clone())),
    }
}

/// Opens every image. Nothing is written to any.
pub(super) fn open(config: &GuestConfig, wiring: &dyn Fn() -> Wiring) -> Result<Drives, BuildError> {
    let mut all = Drives { drives: [None, None, None, None], geometry: [None; 4] };
    for disk in &config.disks {
        let place = usize::from(disk.slot.unwrap_or(0)).min(3);
        let image = disk.path.as_deref().map(|path| open_image(disk, path)).transpose()?;
        all.drives[place] = Some(match (disk.kind, image) {
            (DiskKind::Cdrom, image) => {
                let medium = image.map(|image| serve(image, config.clock, &wiring()));
                DriveConfig::Cd { medium, serial: None }
            }
            (DiskKind::Disk, Some(image)) => {
                let sectors = devices_core::block::BlockStore::info(&image).size / 512;
                let (geometry, translation) = Geometry::guess(sectors, &image.first_sector());
                all.geometry[place] = Some((geometry, translation));
                let backend = serve(image, config.clock, &wiring());
                DriveConfig::Disk { backend, geometry, serial: None }
            }
            (DiskKind::Disk, None) => {
                return Err(ConfigError::Invalid("a disk needs an image".into()).into());
            }
        });
    }
    Ok(all)
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
pub(super) fn cd_drives(config: &GuestConfig, ide: &Slot<Ide>, wiring: &Wiring) -> Vec<CdDrive> {
    let ide = ide.lock();
    let drive = |place: usize| {
        let name = format!("ide{}-cd{}", place / 2, place % 2);
        Some(CdDrive { name, medium: ide.medium(place)?, clock: config.clock, wiring: wiring.clone() })
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
    let disks = geometry.map(|disk| {
        let (Geometry { cylinders, heads, sectors }, translation) = disk?;
        let translation = match translation {
            Translation::None => cmos::Translation::None,
            Translation::Lba => cmos::Translation::Lba,
            Translation::Large => cmos::Translation::Large,
        };
        Some(cmos::Geometry { cylinders, heads, sectors, translation })
    });
    cmos::Facts { below_4g, above_4g, vcpus: config.vcpus, boot, disks, ..cmos::Facts::default() }
}
