//! The disks of a configuration: images opened and put into drives.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use backends::image::{Cache, Format, Image, ImageOptions, Images};
use devices::storage::drive::{DriveImage, error_policy};
use devices::storage::ide::{DriveConfig, Geometry, Ide, Translation, model};
use devices::storage::pflash;
use devices::timer::rtc::firmware as cmos;
use devices_core::block::{BlockBackend, BlockStore, ErrorPolicy, Inline, Locked, Tray};
use devices_core::model::Properties;
use devices_core::{DeviceCell, Wiring};

use super::build::board::Board;
use super::counted::{Counted, Counters};
use super::firmware::split_ram;
use super::plug::Plugged;
use super::{BuildError, Preopened, media};
use crate::config::{
    CacheMode, ClockMode, ConfigError, DiskBus, DiskConfig, DiskFormat, DiskKind, GuestConfig,
};
use crate::monitor::info::{BlockStats, IoStatus, NodeInfo};
use crate::trace::record::HostEvent;
use crate::trace::{Border, Opened, medium_info};

/// Geometry of each drive and how the BIOS presents it.
pub(super) type Geometries = [Option<(Geometry, Translation)>; 4];

/// Places on the IDE controller.
pub(super) const IDE_PLACES: usize = 4;

/// The four places of the controller.
pub(super) struct Drives {
    pub(super) drives: [Option<DriveConfig>; 4],
    pub(super) geometry: Geometries,
    pub(super) errors: [ErrorPolicy; 4],
    pub(super) blocks: Vec<Arc<Block>>,
}

/// Images whose drives are not the IDE controller's, until these are made: by their names.
#[derive(Default)]
pub(super) struct DriveImages(Mutex<BTreeMap<String, Loose>>);

/// What is to go into a drive.
pub(super) enum Loose {
    Disk(DriveImage),
    /// Flash memory, with its contents.
    Flash(Arc<dyn BlockBackend>, Vec<u8>),
    /// None: the drive is empty.
    Disc(Option<Arc<dyn BlockBackend>>),
}

impl DriveImages {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Loose>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The drive of that name gets it.
    pub(super) fn put(&self, name: String, image: Loose) {
        self.locked().insert(name, image);
    }

    /// The image of the disk of that name, once.
    pub(super) fn take(&self, name: &str) -> Option<DriveImage> {
        match self.locked().remove(name)? {
            Loose::Disk(image) => Some(image),
            Loose::Disc(_) | Loose::Flash(..) => None,
        }
    }

    /// The image of the flash memory of that name and its contents, once.
    pub(super) fn take_flash(&self, name: &str) -> Option<(Arc<dyn BlockBackend>, Vec<u8>)> {
        match self.locked().remove(name)? {
            Loose::Flash(image, contents) => Some((image, contents)),
            Loose::Disk(_) | Loose::Disc(_) => None,
        }
    }

    /// What lies in the CD drive of that name, if there is such a drive.
    pub(super) fn take_disc(&self, name: &str) -> Option<Option<Arc<dyn BlockBackend>>> {
        match self.locked().remove(name)? {
            Loose::Disc(medium) => Some(medium),
            Loose::Disk(_) | Loose::Flash(..) => None,
        }
    }
}

/// A drive as the monitor's statistics know it.
pub(super) struct Block {
    pub(super) name: String,
    /// Place on the IDE controller, 0 to 3, if it is there.
    pub(super) place: Option<usize>,
    pub(super) config: DiskConfig,
    /// The drive itself: its id, and what is set on it.
    pub(super) id: Option<String>,
    pub(super) device: Properties,
    counters: Arc<Counters>,
    /// What is in it now.
    medium: Mutex<Option<NodeInfo>>,
    io_status: Mutex<IoStatus>,
    /// The image of a disk, as long as it is open.
    image: Option<Weak<Counted>>,
    /// The node of the monitor's that it was plugged with.
    pub(super) node: Option<String>,
    /// The image was taken away.
    gone: AtomicBool,
}

/// The drives of a machine; those that are no IDE drives may come and go.
pub(super) struct Blocks(RwLock<Vec<Arc<Block>>>);

impl Blocks {
    pub(super) fn new(blocks: Vec<Arc<Block>>) -> Arc<Blocks> {
        Arc::new(Blocks(RwLock::new(blocks)))
    }

    /// All, in the order in which they came.
    pub(super) fn all(&self) -> Vec<Arc<Block>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add(&self, block: Arc<Block>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(block);
    }

    /// Takes out the drive whose image has that name.
    pub(super) fn remove(&self, name: &str) -> Option<Arc<Block>> {
        let mut blocks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let at = blocks.iter().position(|block| block.config.name() == name)?;
        Some(blocks.remove(at))
    }

    /// The image of a path, if a disk has it open.
    pub(super) fn image_of(&self, path: &Path) -> Option<Arc<dyn BlockBackend>> {
        self.all().iter().find_map(|block| block.image_of(path))
    }
}

impl Block {
    /// A drive that nothing has gone through yet, with what is in it.
    pub(super) fn new(
        config: DiskConfig,
        id: Option<String>,
        device: Properties,
        info: Option<NodeInfo>,
    ) -> Block {
        Block {
            name: config.place_name(),
            place: config.ide_place().map(|place| usize::from(place).min(IDE_PLACES - 1)),
            config,
            id,
            device,
            counters: Arc::default(),
            medium: Mutex::new(info),
            io_status: Mutex::default(),
            image: None,
            node: None,
            gone: AtomicBool::new(false),
        }
    }

    /// The image of that path, if this disk has it open.
    fn image_of(&self, path: &Path) -> Option<Arc<dyn BlockBackend>> {
        let same = self.config.path.as_deref() == Some(path);
        let image = self.image.as_ref().filter(|_| same && !self.is_gone()).and_then(Weak::upgrade)?;
        Some(image)
    }

    /// What the monitor calls the drive: nothing, if it was plugged with a node or its image was taken away.
    pub(super) fn drive_name(&self) -> String {
        if self.node.is_some() || self.is_gone() { String::new() } else { self.config.name() }
    }

    /// Whether its image was taken away for good.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Takes the image away for good: the guest gets errors from now on, by timers of `wiring`.
    pub(super) fn take_away(&self, wiring: &Wiring) {
        self.gone.store(true, Ordering::Release);
        self.set_medium(None);
        if let Some(image) = self.image.as_ref().and_then(Weak::upgrade) {
            image.take_away(wiring);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Option<NodeInfo>> {
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in it.
    pub(super) fn medium(&self) -> Option<NodeInfo> {
        self.locked().clone()
    }

    /// Whether the guest was stopped for it.
    pub(super) fn io_status(&self) -> IoStatus {
        *self.io_status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_io_status(&self, status: IoStatus) {
        *self.io_status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Something else is in it.
    pub(super) fn set_medium(&self, medium: Option<NodeInfo>) {
        *self.locked() = medium;
    }

    /// A medium for it, whose requests count as the drive's.
    pub(super) fn counted(&self, backend: Arc<dyn BlockBackend>) -> Arc<dyn BlockBackend> {
        Arc::new(Counted::new(backend, self.counters.clone()))
    }

    pub(super) fn stats(&self) -> BlockStats {
        self.counters.stats()
    }
}

/// A CD drive as the monitor sees it.
pub(super) struct CdDrive {
    /// QEMU's name of the place: `ide1-cd0`.
    pub(super) name: String,
    /// Which of the machine's blocks it is.
    pub(super) block: Arc<Block>,
    pub(super) medium: Tray,
    /// Its number among all: 0 to 3 on the IDE controller, above that the others.
    pub(super) place: usize,
    clock: ClockMode,
    wiring: Wiring,
    images: Images,
    border: Border,
}

impl CdDrive {
    pub(super) fn new(
        board: &Board<'_>,
        block: Arc<Block>,
        place: usize,
        medium: Tray,
        images: &Images,
    ) -> CdDrive {
        CdDrive {
            name: block.name.clone(),
            block,
            medium,
            place,
            clock: board.config.clock,
            wiring: board.wiring(),
            images: images.clone(),
            border: board.border.clone(),
        }
    }

    /// The backend of an image that goes in.
    pub(super) fn serve(&self, image: Image) -> Arc<dyn BlockBackend> {
        let serve = || serve(image, self.clock, &self.wiring, &self.images);
        let Ok(opened) =
            self.border.medium(|| Ok::<_, Infallible>(Opened { backend: serve(), first_sector: Vec::new() }));
        opened.backend
    }

    /// Something else lies in the tray, or nothing.
    pub(super) fn place(&self, backend: Option<Arc<dyn BlockBackend>>) {
        let info = backend.as_ref().map(|backend| medium_info(&**backend, Vec::new()));
        self.border.host(|| HostEvent::Place(self.place, info), || self.medium.place(backend));
    }

    /// Opens the tray; by force, if it is locked.
    pub(super) fn open_tray(&self, force: bool) -> Result<(), Locked> {
        self.border.host(|| HostEvent::OpenTray(self.place, force), || self.medium.open_tray(force))
    }

    /// Closes it.
    pub(super) fn close_tray(&self) {
        self.border.host(|| HostEvent::CloseTray(self.place), || self.medium.close_tray());
    }
}

/// The backend of an open image: threads of its own, or exact instants of guest time.
pub(super) fn serve(
    image: Image,
    clock: ClockMode,
    wiring: &Wiring,
    images: &Images,
) -> Arc<dyn BlockBackend> {
    match clock {
        ClockMode::Host => images.serve(image),
        ClockMode::Icount => Arc::new(Inline::new(images.hold(image), wiring.clone())),
    }
}

/// Opens every image. Nothing is written to any.
pub(super) fn open(board: &Board<'_>, images: &Images) -> Result<Drives, BuildError> {
    let config = board.config;
    let (drives, errors) = ([None, None, None, None], [ErrorPolicy::default(); 4]);
    let mut all = Drives { drives, geometry: [None; 4], errors, blocks: Vec::new() };
    for disk in &config.disks {
        let place = disk.ide_place().map(|place| usize::from(place).min(3));
        let spec = config.drive_of(disk);
        let device = match spec {
            Some(spec) => spec.properties()?,
            None => Properties::new(if disk.kind == DiskKind::Cdrom { &model::CD } else { &model::DISK }),
        };
        let mut info = None;
        let mut open = |path: &Path| {
            board.border.medium(|| {
                let image = open_image(disk, path, board.ahead)?;
                info = Some(node_info(disk, &image));
                let first_sector = match (disk.bus, disk.kind) {
                    (DiskBus::Flash, _) => flash_contents(disk, &image)?,
                    (_, DiskKind::Disk) => image.first_sector(),
                    (_, DiskKind::Cdrom) => Vec::new(),
                };
                let backend = serve(image, config.clock, &board.wiring(), images);
                Ok::<_, BuildError>(Opened { backend, first_sector })
            })
        };
        let opened = disk.path.as_deref().map(&mut open).transpose()?;
        let id = spec.and_then(|spec| spec.id.clone());
        let mut block = Block::new(disk.clone(), id, device.clone(), info);
        if let Some(place) = place {
            all.errors[place] = error_policy(&device);
        }
        match (disk.kind, opened, place) {
            (DiskKind::Cdrom, opened, Some(place)) => {
                let medium = opened.map(|opened| block.counted(opened.backend));
                all.drives[place] = Some(DriveConfig::Cd { medium, labels: model::labels(&device) });
            }
            (DiskKind::Disk, Some(opened), _) if disk.bus == DiskBus::Flash => {
                let contents = opened.first_sector.clone();
                let DriveImage { backend, .. } = disk_image(&mut block, opened);
                board.images.put(disk.name(), Loose::Flash(backend, contents));
            }
            (DiskKind::Disk, Some(opened), place) => {
                let DriveImage { backend, geometry, translation } = disk_image(&mut block, opened);
                let Some(place) = place else {
                    let image = DriveImage { backend, geometry, translation };
                    board.images.put(disk.name(), Loose::Disk(image));
                    all.blocks.push(Arc::new(block));
                    continue;
                };
                let (geometry, translation) = model::geometry(&device, (geometry, translation));
                all.geometry[place] = Some((geometry, translation));
                all.drives[place] =
                    Some(DriveConfig::Disk { backend, geometry, labels: model::labels(&device) });
            }
            (DiskKind::Cdrom, opened, None) => {
                let medium = opened.map(|opened| block.counted(opened.backend));
                board.images.put(disk.name(), Loose::Disc(medium));
            }
            (DiskKind::Disk, None, _) => {
                return Err(ConfigError::Invalid("a disk needs an image".into()).into());
            }
        }
        all.blocks.push(Arc::new(block));
    }
    Ok(all)
}

/// All that is in the image of a chip of flash memory.
fn flash_contents(disk: &DiskConfig, image: &Image) -> Result<Vec<u8>, BuildError> {
    let size = BlockStore::info(image).size;
    let path = disk.path.as_deref().unwrap_or(Path::new("")).display();
    if size == 0 || size > pflash::MOST || !size.is_multiple_of(pflash::spec::BLOCK as u64) {
        let why = format!("flash memory {path}: {size} bytes are no multiple of 4096 up to 8 MiB");
        return Err(ConfigError::Invalid(why).into());
    }
    let contents = image.head(size as usize);
    contents.map_err(|error| ConfigError::Invalid(format!("flash memory {path}: {error}")).into())
}

/// The image of a disk, whose requests count as the drive's.
pub(super) fn disk_image(block: &mut Block, opened: Opened) -> DriveImage {
    let Opened { backend, first_sector } = opened;
    let (geometry, translation) = Geometry::guess(backend.info().size / 512, &first_sector);
    let backend = Arc::new(Counted::new(backend, block.counters.clone()));
    block.image = Some(Arc::downgrade(&backend));
    DriveImage { backend, geometry, translation }
}

/// An image that is in a drive from the start.
fn node_info(disk: &DiskConfig, image: &Image) -> NodeInfo {
    NodeInfo {
        name: media::new_name(),
        file: disk.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        driver: match disk.format.unwrap_or_default() {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        },
        readonly: disk.readonly,
        size: BlockStore::info(image).size,
        direct: disk.cache == CacheMode::None,
        no_flush: disk.cache == CacheMode::Unsafe,
    }
}

/// What the image in a drive is opened as.
pub(super) fn image_options(disk: &DiskConfig, path: &Path) -> ImageOptions {
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
    ImageOptions {
        read_only: disk.readonly,
        snapshot: disk.snapshot,
        cache,
        ..ImageOptions::new(path, format)
    }
}

fn open_image(disk: &DiskConfig, path: &Path, ahead: &Preopened) -> Result<Image, BuildError> {
    let image = Image::read(ahead.image(&image_options(disk, path))?)?;
    if disk.format.is_none() {
        refuse_other_formats(&image, path)?;
    }
    Ok(image)
}

/// An image whose format was not said is raw. One that looks like qcow2 was meant otherwise: the person
/// must say which, since the guest could have written those bytes itself.
fn refuse_other_formats(image: &Image, path: &Path) -> Result<(), BuildError> {
    if image.first_sector().starts_with(b"QFI\xfb") {
        let path = path.display();
        let text =
            format!("disk image {path} looks like qcow2: say format=qcow2 (or format=raw, if you mean that)");
        return Err(ConfigError::Invalid(text).into());
    }
    Ok(())
}

/// The drives that the monitor can open.
pub(super) fn cd_drives(
    board: &Board<'_>,
    blocks: &[Arc<Block>],
    ide: &DeviceCell<Ide>,
    plugged: &Plugged,
    images: &Images,
) -> Vec<Arc<CdDrive>> {
    let ide = ide.lock();
    let drive = |(index, block): (usize, &Arc<Block>)| {
        let medium = match block.place {
            Some(place) => ide.medium(place)?,
            None => plugged.tray(&block.config.name())?,
        };
        let place = block.place.unwrap_or(IDE_PLACES + index);
        Some(Arc::new(CdDrive::new(board, block.clone(), place, medium, images)))
    };
    blocks.iter().enumerate().filter_map(drive).collect()
}

/// What SeaBIOS finds in the clock's RAM.
pub(super) fn cmos_info(config: &GuestConfig, geometry: Geometries) -> cmos::CmosInfo {
    let (below_4g, above_4g) = split_ram(config.memory_mib << 20);
    let boot = boot_places(config.boot_options.once.as_ref().unwrap_or(&config.boot));
    let boot_any_floppy = !config.features.floppy_check;
    let info = cmos::CmosInfo { below_4g, above_4g, boot, boot_any_floppy, ..cmos::CmosInfo::default() };
    cmos::CmosInfo { vcpus: config.vcpus, disks: geometry, ..info }
}

/// The bytes of the clock's RAM that say what to boot from, for another order than that of the start.
pub(super) fn boot_bytes(config: &GuestConfig, order: &str) -> impl Iterator<Item = (u8, u8)> {
    let boot_any_floppy = !config.features.floppy_check;
    let info = cmos::CmosInfo { boot: boot_places(order), boot_any_floppy, ..cmos::CmosInfo::default() };
    info.bytes().into_iter().filter(|(at, _)| matches!(at, 0x38 | 0x3d))
}

fn boot_places(order: &str) -> [cmos::Boot; 3] {
    let mut boot = [cmos::Boot::None; 3];
    for (place, letter) in boot.iter_mut().zip(order.chars()) {
        *place = match letter {
            'a' => cmos::Boot::Floppy,
            'c' => cmos::Boot::Disk,
            'd' => cmos::Boot::Cd,
            _ => cmos::Boot::Network,
        };
    }
    boot
}
