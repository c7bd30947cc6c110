//! The bus: which device answers where.
//!
//! The map is an immutable snapshot that is replaced when a window moves. Every vCPU has a [`View`] of its
//! own, with the snapshot and the last window it hit, and looks at one generation counter an access: no
//! lock is shared between vCPUs that talk to different devices. Windows are mapped with no device lock
//! held.

mod map;
#[cfg(test)]
mod tests;
mod view;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use hypervisor::{Claims, GuestRam, Mapping};
use ioreq::Sbdf;

use crate::device::{Device, DeviceCell, Space};
use crate::pci::{Placement, Window};
use crate::state::{Saved, StateError};
use crate::wiring::Wiring;
use map::{Map, Range};
pub use view::View;

/// Changes what guest-physical pages are. Called with no device lock held by the bus, and by chipset
/// devices (PAM) with theirs.
pub trait Mapper: Send + Sync {
    /// Carries out one mapping; a hypervisor that cannot says so in its log.
    fn map(&self, mapping: Mapping);
    /// Takes everything that the devices answer from now on, whenever something of it moves.
    fn claim(&self, claims: &Claims);
}

/// A device of any kind behind its lock.
pub type AnyDevice = Arc<DeviceCell<dyn Device>>;

/// One device on the bus.
struct Attached {
    name: String,
    slot: Arc<DeviceCell<dyn Device>>,
    sbdf: Option<Sbdf>,
    /// Memory that its BARs have mapped into the guest: (address, length).
    mapped: Vec<(u64, u64)>,
    /// Where its regions are.
    ranges: Vec<Range>,
    /// Regions at fixed places.
    fixed: Vec<Range>,
}

/// A machine's devices and where they are mapped. Clones are handles.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    devices: Mutex<Vec<Attached>>,
    map: ArcSwap<Map>,
    generation: AtomicU64,
    /// PCI configuration mechanism 1: the latch at port 0xcf8.
    config_address: AtomicU32,
    /// Nobody waits for late answers any more.
    over: AtomicBool,
    mapper: Arc<dyn Mapper>,
    ram: GuestRam,
}

impl Bus {
    /// An empty bus. `ram` serves `rep` buffers, `mapper` takes memory BARs.
    pub fn new(ram: GuestRam, mapper: Arc<dyn Mapper>) -> Bus {
        let shared = Shared {
            devices: Mutex::default(),
            map: ArcSwap::from_pointee(Map::default()),
            generation: AtomicU64::new(1),
            config_address: AtomicU32::new(0),
            over: AtomicBool::new(false),
            mapper,
            ram,
        };
        Bus { shared: Arc::new(shared) }
    }

    /// Attaches a device: binds its waker, maps its fixed regions and whatever it decodes by itself.
    /// `sbdf` for a PCI function. The typed slot is for the machine. Fails on a name that is taken.
    pub fn attach<D: Device + 'static>(
        &self,
        device: D,
        wiring: &Wiring,
        sbdf: Option<Sbdf>,
    ) -> Result<Arc<DeviceCell<D>>, AttachError> {
        let typed = Arc::new(DeviceCell::new(device));
        self.attach_slot(typed.clone(), wiring, sbdf)?;
        Ok(typed)
    }

    /// The same for a device that is behind its lock already.
    pub fn attach_slot(
        &self,
        slot: AnyDevice,
        wiring: &Wiring,
        sbdf: Option<Sbdf>,
    ) -> Result<(), AttachError> {
        let name = slot.lock().name().to_owned();
        wiring.waker().bind(&slot);
        let mut devices = self.devices();
        if devices.iter().any(|other| other.name == name) {
            return Err(AttachError::Name(name));
        }
        if let Some(taken) = devices.iter().find(|other| sbdf.is_some() && other.sbdf == sbdf) {
            return Err(AttachError::Function(name, taken.name.clone()));
        }
        let fixed = {
            let device = slot.lock();
            let homes = device.regions().iter().enumerate();
            homes.filter_map(|(index, region)| Some(Range::new(&slot, index, region, region.home?))).collect()
        };
        devices.push(Attached { name, slot, sbdf, mapped: Vec::new(), ranges: Vec::new(), fixed });
        let last = devices.len() - 1;
        self.place(&mut devices[last]);
        self.publish(&devices);
        Ok(())
    }

    /// Takes a device off the bus: nothing of it answers from now on, and its memory leaves the guest. What it
    /// had begun ends as by a reset; ask the device whether it is [`drained`](Device::drained). None: there is
    /// no such device.
    pub fn detach(&self, name: &str) -> Option<AnyDevice> {
        let attached = {
            let mut devices = self.devices();
            let at = devices.iter().position(|device| device.name == name)?;
            let attached = devices.remove(at);
            self.publish(&devices);
            attached
        };
        for (gpa, len) in attached.mapped {
            self.shared.mapper.map(Mapping::none(gpa, len));
        }
        // A view may keep the device alive until its next access: its lines must be low now.
        attached.slot.lock().reset();
        Some(attached.slot)
    }

    /// A view for one vCPU (or for whoever else makes accesses).
    pub fn view(&self) -> View {
        View::new(self.shared.clone())
    }

    /// Resets every device, in order of attachment. The vCPUs stand still.
    pub fn reset(&self) {
        self.shared.config_address.store(0, Ordering::Release);
        for slot in self.slots() {
            slot.1.lock().reset();
        }
        self.remap_all();
    }

    /// Whether nothing moves any more for what was begun before a reset: see [`Device::drained`].
    pub fn drained(&self) -> bool {
        self.slots().iter().all(|(_, slot)| slot.lock().drained())
    }

    /// The machine ends: a vCPU that waits for a late answer goes on without it, within a tenth of a second.
    pub fn let_go(&self) {
        self.shared.over.store(true, Ordering::Release);
    }

    /// Every device by name, in order of attachment.
    pub fn slots(&self) -> Vec<(String, Arc<DeviceCell<dyn Device>>)> {
        self.devices().iter().map(|d| (d.name.clone(), d.slot.clone())).collect()
    }

    /// Who answers at a port or address now: the device's name, the region's, and the offset in it.
    pub fn answerer(&self, space: Space, address: u64) -> Option<(String, &'static str, u64)> {
        let map = self.shared.map.load();
        let (range, ..) = map.find(space, address)?;
        let device = range.slot.lock();
        let region = device.regions().get(range.region).map_or("", |region| region.name);
        Some((device.name().to_owned(), region, address - range.start))
    }

    /// Every PCI function, by name, in order of attachment.
    pub fn functions(&self) -> Vec<(Sbdf, String, AnyDevice)> {
        let devices = self.devices();
        let function = |d: &Attached| Some((d.sbdf?, d.name.clone(), d.slot.clone()));
        devices.iter().filter_map(function).collect()
    }

    /// Saves every device, by name, in order of attachment.
    pub fn save(&self) -> Result<Vec<(String, Saved)>, (String, StateError)> {
        let slots = self.slots().into_iter();
        slots
            .map(|(name, slot)| match slot.lock().save() {
                Ok(saved) => Ok((name, saved)),
                Err(error) => Err((name, error)),
            })
            .collect()
    }

    /// Loads one device; [`remap_all`](Bus::remap_all) when all are done. None: no such device.
    pub fn load(&self, name: &str, saved: &Saved) -> Option<Result<(), StateError>> {
        let slot = self.devices().iter().find(|d| d.name == name).map(|d| d.slot.clone())?;
        Some(slot.lock().load(saved))
    }

    /// The latch at port 0xcf8, for the saved state.
    pub fn config_address(&self) -> u32 {
        self.shared.config_address.load(Ordering::Acquire)
    }

    /// Restores the latch at port 0xcf8.
    pub fn set_config_address(&self, value: u32) {
        self.shared.config_address.store(value, Ordering::Release);
    }

    /// Asks every device where it is now.
    pub fn remap_all(&self) {
        let mut devices = self.devices();
        for attached in devices.iter_mut() {
            self.place(attached);
        }
        self.publish(&devices);
    }

    /// Asks one device where it is now. Its lock must not be held.
    pub(crate) fn remap(&self, slot: &Arc<DeviceCell<dyn Device>>) {
        let mut devices = self.devices();
        if let Some(attached) = devices.iter_mut().find(|d| Arc::ptr_eq(&d.slot, slot)) {
            self.place(attached);
        }
        self.publish(&devices);
    }

    pub(crate) fn from_shared(shared: Arc<Shared>) -> Bus {
        Bus { shared }
    }

    fn devices(&self) -> MutexGuard<'_, Vec<Attached>> {
        self.shared.devices.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn place(&self, attached: &mut Attached) {
        let (placements, regions) = {
            let mut device = attached.slot.lock();
            let placements = device.placements();
            let regions: Vec<_> = device.regions().to_vec();
            (placements, regions)
        };
        attached.ranges = attached.fixed.clone();
        let mut mappings = Vec::new();
        for Placement { window, address } in placements {
            match window {
                Window::Region(index) => {
                    let Some(region) = regions.get(index) else { continue };
                    attached.ranges.push(Range::new(&attached.slot, index, region, address));
                }
                Window::Ram(block) => mappings.push(Mapping::ram(address, block_len(&block), &block, 0)),
                Window::Rom(block) => mappings.push(Mapping::rom(address, block_len(&block), &block, 0)),
            }
        }
        mappings.retain(|mapping| !self.over_ram(mapping.gpa, mapping.len));
        let wanted: Vec<(u64, u64)> = mappings.iter().map(|m| (m.gpa, m.len)).collect();
        if wanted == attached.mapped {
            return;
        }
        for (gpa, len) in std::mem::replace(&mut attached.mapped, wanted) {
            self.shared.mapper.map(Mapping::none(gpa, len));
        }
        for mapping in mappings {
            self.shared.mapper.map(mapping);
        }
    }

    /// Whether a memory window would cover RAM or the chipset's space at the top of 4 GiB. Real chipsets
    /// decode those first; here such a window is not mapped.
    fn over_ram(&self, gpa: u64, len: u64) -> bool {
        use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};
        let overlaps =
            |start: u64, size: u64| gpa < start.saturating_add(size) && start < gpa.saturating_add(len);
        overlaps(0xfec0_0000, 0x140_0000)
            || overlaps(0, 1 << 20)
            || self.shared.ram.iter().any(|region| overlaps(region.start_addr().0, region.len()))
    }

    fn publish(&self, devices: &[Attached]) {
        let mut map = Map::default();
        for attached in devices {
            map.add(&attached.ranges);
            if let Some(sbdf) = attached.sbdf {
                map.add_function(sbdf, &attached.slot);
            }
        }
        map.finish();
        let claims = map.claims();
        self.shared.map.store(Arc::new(map));
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
        self.shared.mapper.claim(&claims);
    }
}

fn block_len(block: &hypervisor::RamBlock) -> u64 {
    block.size() as u64
}

/// Why a device was not attached.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AttachError {
    /// The name is taken.
    #[error("there are two devices named {0}")]
    Name(String),
    /// The PCI function is taken.
    #[error("{0} and {1} are at the same PCI address")]
    Function(String, String),
}
