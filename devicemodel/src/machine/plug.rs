//! Devices that are no part of every PC: made from their description, and put on the PCI bus.

mod disk;
mod hot;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::firmware::locate::{Firmware, LocateError};
use backends::entropy::HostEntropy;
use devices::board::{
    Child, ChildHandles, DeviceHandles, MadeChild, MadeDevice, MakeError, NicConfig, OfferedBus,
};
use devices::models;
use devices::serial::uart16550::model::IOBASE;
use devices::storage::drive::{DRIVE, DriveImage};
use devices::storage::pflash::model as pflash;
use devices::usb::hub::model as hub;
use devices::usb::{PORT, Speed};
use devices::xen::platform;
use devices_core::audio::AudioBackend;
use devices_core::balloon::Balloon;
use devices_core::block::{BlockBackend, Tray};
use devices_core::bus::{AnyDevice, Bus};
use devices_core::chardev::CharBackend;
use devices_core::entropy::{self, Entropy, Foretold};
use devices_core::events::Observer;
use devices_core::irq::{IrqBank, IrqLine, IrqSink};
use devices_core::model::{BusType, Properties, Value};
use devices_core::net::{Nic, NullNet, Ported, format_mac, parse_mac};
use devices_core::pci::bus::{PciBus, on_bus_0};
use devices_core::pci::reg;
use devices_core::picture::DisplayAdapter;
use devices_core::power::Power;
use devices_core::vhost_user::{Needs, VhostUser};
use devices_core::vsock::VsockBackend;
use devices_core::{DeviceCell, Waker, Wiring};
use hypervisor::{GuestRam, IrqTarget, MsiTarget, Pin, RamBlock};
use ioreq::Sbdf;

use super::BuildError;
use super::back_ends;
use super::build::board::Board;
use super::build::xen;
use super::rom::{self, OptionRom};
use super::screens::Screen;
use super::vsock;
use crate::config::{ClockMode, ConfigError, DeviceSpec, bus, check_devices};
pub(super) use hot::{Ejected, plain};

/// The places of the board's own functions.
const BOARD: [(u8, &str); 4] =
    [(0, "i440FX"), (1 << 3, "PIIX3"), (1 << 3 | 1, "piix3-ide"), (1 << 3 | 3, "PIIX4_PM")];

/// The PCI pins of a hypervisor that has the interrupt router.
pub(super) struct PciPins(pub Arc<dyn IrqTarget>);

impl IrqSink for PciPins {
    fn set(&self, wire: u32, level: bool) {
        let (device, pin) = ((wire / 4) as u8, (wire & 3) as u8);
        self.0.set(Pin::Intx { device, pin }, level);
    }
}

/// What is on the PCI bus.
pub(super) struct Plugged(Mutex<Inner>);

struct Inner {
    pci: PciBus,
    devices: Vec<Device>,
    /// Taken off the bus, but something that they began has not ended.
    leaving: Vec<Leaving>,
}

/// A device that is off its bus: a function of PCI, or one that hung on another's bus.
struct Leaving {
    device: Device,
    slot: Option<AnyDevice>,
}

impl Leaving {
    fn drained(&self) -> bool {
        let slot = self.slot.as_ref().is_none_or(|slot| slot.lock().drained());
        slot && self.device.child.as_ref().is_none_or(|child| child.drained())
    }
}

/// A device that was put there.
struct Device {
    /// Its name on the bus of the machine.
    name: String,
    spec: DeviceSpec,
    /// It as a network card.
    nic: Option<Arc<DeviceCell<dyn Nic>>>,
    /// It as a memory balloon.
    balloon: Option<Arc<DeviceCell<dyn Balloon>>>,
    /// The bus that it has for others.
    bus: Option<OfferedBus>,
    /// How it is taken off another's bus.
    child: Option<Box<dyn Child>>,
    /// The hand on its tray.
    tray: Option<Tray>,
}

impl Device {
    /// One that offers nothing.
    fn of(name: String, spec: DeviceSpec) -> Device {
        Device { name, spec, nic: None, balloon: None, bus: None, child: None, tray: None }
    }
}

/// A network card.
pub(super) struct Card {
    /// Its name on the bus of the machine.
    pub name: String,
    pub spec: DeviceSpec,
    pub nic: Arc<DeviceCell<dyn Nic>>,
}

impl Plugged {
    /// A bus with the board's own functions.
    pub(super) fn new(intx: IrqBank) -> Result<Plugged, BuildError> {
        let mut pci = PciBus::new(intx);
        for (devfn, name) in BOARD {
            pci.take(devfn, name).map_err(|error| BuildError::Inconsistent(error.to_string()))?;
        }
        Ok(Plugged(Mutex::new(Inner { pci, devices: Vec::new(), leaving: Vec::new() })))
    }

    /// The id of the device at an address, if it has one.
    pub(super) fn id_at(&self, sbdf: Sbdf) -> Option<String> {
        let inner = self.inner();
        let at = |device: &&Device| device.spec.devfn().map(on_bus_0) == Some(sbdf);
        inner.devices.iter().find(at)?.spec.id.clone()
    }

    /// The id of what hangs at that place on the bus of the device of that name, if it has one.
    pub(super) fn child_id(&self, of: &str, place: &[u64]) -> Option<String> {
        let inner = self.inner();
        let specs: Vec<DeviceSpec> = inner.devices.iter().map(|device| device.spec.clone()).collect();
        let of = inner.devices.iter().position(|device| device.name == of)?;
        let bus = bus::offered(&specs).into_iter().find(|bus| bus.of == of)?;
        let is_there = |spec: &&DeviceSpec| {
            spec.bus.as_ref() == Some(&bus.name) && spec.is_child() && spec.place().eq(place.iter().copied())
        };
        specs.iter().find(is_there)?.id.clone()
    }

    /// A device that was put in, which its name on the bus and what it is tell.
    pub(super) fn spec(&self, is: impl Fn(&str, &DeviceSpec) -> bool) -> Option<DeviceSpec> {
        let inner = self.inner();
        inner.devices.iter().find(|device| is(&device.name, &device.spec)).map(|device| device.spec.clone())
    }

    /// Sets a property of the device of that name, if all that are there allow it.
    pub(super) fn set_property(&self, name: &str, property: &str, value: Value) -> Result<(), ConfigError> {
        let mut inner = self.inner();
        let at = inner.devices.iter().position(|device| device.name == name);
        let mut specs: Vec<DeviceSpec> = inner.devices.iter().map(|device| device.spec.clone()).collect();
        let (Some(at), Some(spec)) = (at, at.and_then(|at| specs.get_mut(at))) else {
            return Err(ConfigError::Invalid(format!("Device '{name}' not found")));
        };
        spec.properties.insert(property.to_owned(), value);
        // As it is read: what means that there is none is gone.
        let read = DeviceSpec::new(spec.id.take(), &spec.properties()?);
        *spec = DeviceSpec { bus: spec.bus.take(), ..read };
        check_devices(&specs)?;
        inner.devices[at].spec = specs.swap_remove(at);
        Ok(())
    }

    /// The hand on the tray of the drive that has that image.
    pub(super) fn tray(&self, drive: &str) -> Option<Tray> {
        let inner = self.inner();
        inner.devices.iter().find(|device| device.spec.drive() == Some(drive))?.tray.clone()
    }

    /// Devices that hang on the bus of another, in their order, and how fast those of USB are.
    pub(super) fn children(&self) -> Vec<(DeviceSpec, Option<Speed>)> {
        let inner = self.inner();
        let child = |device: &Device| Some((device.spec.clone(), device.child.as_ref()?.usb_speed()));
        inner.devices.iter().filter_map(child).collect()
    }

    /// Network cards.
    pub(super) fn cards(&self) -> Vec<Card> {
        let card = |device: &Device| {
            let nic = device.nic.clone()?;
            Some(Card { name: device.name.clone(), spec: device.spec.clone(), nic })
        };
        self.inner().devices.iter().filter_map(card).collect()
    }

    /// The memory balloon, with its name on the bus of the machine.
    pub(super) fn balloon(&self) -> Option<(String, Arc<DeviceCell<dyn Balloon>>)> {
        self.inner().devices.iter().find_map(|device| Some((device.name.clone(), device.balloon.clone()?)))
    }

    /// Takes all network cards off the bus. What they have sent is with their back ends already.
    pub(super) fn remove_cards(&self, bus: &Bus) -> Vec<Card> {
        let cards = self.cards();
        let mut inner = self.inner();
        for card in &cards {
            inner.devices.retain(|device| device.name != card.name);
            if let (Some(devfn), Some(_)) = (card.spec.devfn(), bus.detach(&card.name)) {
                inner.pci.release(devfn);
            }
        }
        cards
    }

    /// The devices as they are to be made again: with their addresses.
    pub(super) fn specs(&self) -> Vec<DeviceSpec> {
        self.inner().devices.iter().map(|device| device.spec.clone()).collect()
    }

    /// No card's cable leads to that network any more: a saved guest is made again without it.
    pub(super) fn forget_netdev(&self, id: &str) {
        for device in &mut self.inner().devices {
            let there = device.spec.properties.get("netdev");
            if there.is_some_and(|netdev| matches!(netdev, Value::Text(name) if name == id)) {
                device.spec.properties.remove("netdev");
            }
        }
    }

    /// Slots whose devices can be taken out, one bit each.
    pub(super) fn removable(&self) -> u32 {
        self.inner().removable()
    }

    /// Whether something that was taken off the bus has not ended what it began.
    pub(super) fn is_leaving(&self) -> bool {
        !self.inner().leaving.is_empty()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The bus of that name, which a device has for others.
    fn bus(&self, name: &str) -> Option<&OfferedBus> {
        let specs: Vec<DeviceSpec> = self.devices.iter().map(|device| device.spec.clone()).collect();
        let named = bus::offered(&specs).into_iter().find(|bus| bus.name == name)?;
        self.devices.get(named.of)?.bus.as_ref()
    }

    /// A network card whose address nobody chose gets the lowest of QEMU's that no other card has.
    fn name_mac(&self, spec: &mut DeviceSpec) -> Result<(), BuildError> {
        if spec.model()?.property("mac").is_none() || spec.properties.contains_key("mac") {
            return Ok(());
        }
        let taken: Vec<[u8; 6]> =
            self.devices.iter().filter_map(|device| Some(device.nic.as_ref()?.lock().mac())).collect();
        let free =
            (0x56..=0xff).map(|last| [0x52, 0x54, 0, 0x12, 0x34, last]).find(|mac| !taken.contains(mac));
        let mac = free.ok_or_else(|| refused(spec, &"no address is left"))?;
        spec.properties.insert("mac".into(), Value::Text(format_mac(mac)));
        Ok(())
    }
}

/// What of the machine a device is made with.
pub(super) struct Maker<'a> {
    pub board: &'a Board<'a>,
    /// The interrupt wires of the ISA bus.
    pub isa: &'a IrqBank,
}

impl Maker<'_> {
    /// Makes all, those with an address first, and puts them on the bus. Gives the displays that there are.
    pub(super) fn all(&self, specs: &[DeviceSpec], plugged: &Plugged) -> Result<Vec<Screen>, BuildError> {
        let mut inner = plugged.inner();
        for spec in specs {
            if let Some(devfn) = spec.devfn() {
                inner.pci.take(devfn, &said(spec)).map_err(|error| refused(spec, &error))?;
            }
        }
        let mut screens = Vec::new();
        let (children, others): (Vec<_>, Vec<_>) = specs.iter().cloned().partition(DeviceSpec::is_child);
        for mut spec in others {
            if spec.is_drive() || spec.is_flash() {
                // Its controller, or the board, has made it.
                inner.devices.push(Device::of(name_of(&spec), spec));
                continue;
            }
            if spec.model()?.bus == BusType::Pci && spec.devfn().is_none() {
                let devfn = inner.pci.allocate(&said(&spec)).map_err(|error| refused(&spec, &error))?;
                spec.set_devfn(devfn);
            }
            inner.name_mac(&mut spec)?;
            let (device, display) = self.one(spec, &inner)?;
            screens.extend(display.map(|adapter| Screen { id: device.spec.id.clone(), adapter }));
            inner.devices.push(device);
        }
        // What hangs on a child's bus comes after that.
        let offered = bus::offered(specs).into_iter().filter(|bus| specs[bus.of].is_child());
        let of_children: BTreeSet<String> = offered.map(|bus| bus.name).collect();
        let is_deeper = |spec: &DeviceSpec| spec.bus.as_ref().is_some_and(|bus| of_children.contains(bus));
        let (deeper, children): (Vec<_>, Vec<_>) = children.into_iter().partition(is_deeper);
        for spec in children.into_iter().chain(deeper) {
            self.child_of(spec, &mut inner)?;
        }
        Ok(screens)
    }

    /// Makes a device that hangs on another's bus, and what it needs there.
    fn child_of(&self, spec: DeviceSpec, inner: &mut Inner) -> Result<(), BuildError> {
        inner.devices.extend(self.hub_for(&spec, inner));
        let child = self.child(spec, inner)?;
        inner.devices.push(child);
        Ok(())
    }

    /// The last port of a USB bus gets a hub before a device that has not chosen its port, as with QEMU; where no hub can
    /// be, the device itself has it.
    fn hub_for(&self, spec: &DeviceSpec, inner: &Inner) -> Option<Device> {
        let OfferedBus::Usb(host) = inner.bus(spec.bus.as_deref()?)? else { return None };
        let chose = spec.model == hub::MODEL.name || spec.properties.contains_key(PORT.name);
        if chose || host.free_ports().len() != 1 {
            return None;
        }
        let hub = DeviceSpec { bus: spec.bus.clone(), ..DeviceSpec::plain(&hub::MODEL) };
        self.child(hub, inner).ok()
    }

    /// Makes a device that hangs on another's bus, and hands it to that.
    fn child(&self, mut spec: DeviceSpec, inner: &Inner) -> Result<Device, BuildError> {
        let properties = spec.properties()?;
        let make = models::child_maker(properties.model());
        let make = make.ok_or_else(|| refused(&spec, &"it is a part of another device"))?;
        let name = spec.bus.as_deref().unwrap_or_default();
        let bus = inner.bus(name).ok_or_else(|| refused(&spec, &format!("Bus '{name}' not found")))?;
        let handles = ChildHandles { id: spec.id.as_deref(), bus, board: self };
        let made = make(&properties, handles).map_err(|error| refused(&spec, &error))?;
        let MadeChild { place, child, tray, input, bus } = made;
        input.iter().for_each(|input| self.board.others.add(input));
        spec.properties.extend(place.into_iter().map(|(name, at)| (name.to_owned(), Value::Uint(at))));
        let name = name_of(&spec);
        Ok(Device { child: Some(child), tray, bus, ..Device::of(name, spec) })
    }

    /// Makes one that has its place.
    fn one(
        &self,
        spec: DeviceSpec,
        inner: &Inner,
    ) -> Result<(Device, Option<Arc<dyn DisplayAdapter>>), BuildError> {
        let properties = spec.properties()?;
        let model = properties.model();
        let make = models::maker(model).ok_or_else(|| refused(&spec, &"it is a part of every PC"))?;
        let wiring = self.board.wiring();
        let intx = |pin| spec.devfn().map_or_else(IrqLine::unconnected, |devfn| inner.pci.intx(devfn, pin));
        let master = properties.text("masterbus").map(|name| {
            inner.bus(name).ok_or_else(|| refused(&spec, &format!("USB bus '{name}' not found")))
        });
        let parts = DeviceHandles {
            name: &name_of(&spec),
            wiring: &wiring,
            intx: [0, 1, 2, 3].map(intx),
            master: master.transpose()?,
            board: self,
        };
        let MadeDevice { slot, display, nic, input, balloon, bus } =
            make(&properties, parts).map_err(|error| match error {
                MakeError::Hypervisor(error) => BuildError::Hypervisor(error),
                error => refused(&spec, &error),
            })?;
        let rom = self.option_rom(&properties).map_err(|error| refused(&spec, &error))?;
        if let Some(config) = slot.lock().pci() {
            if properties.is_on("multifunction") {
                config.multifunction();
            }
            if let Some(rom) = rom {
                let block = rom.block(config.u16(reg::VENDOR), config.u16(reg::DEVICE))?;
                config.rom(block.size() as u64, block);
            }
        }
        let name = slot.lock().name().to_owned();
        let attached = self.board.bus.attach_slot(slot, &wiring, spec.devfn().map(on_bus_0));
        attached.map_err(|error| BuildError::Inconsistent(error.to_string()))?;
        input.iter().for_each(|input| self.board.others.add(input));
        Ok((Device { nic, balloon, bus, ..Device::of(name, spec) }, display))
    }

    /// The option ROM of a device with these properties.
    fn option_rom(&self, properties: &Properties) -> Result<Option<OptionRom>, LocateError> {
        let Some(file) = rom::file_of(properties) else { return Ok(None) };
        match self.board.ahead.option_rom(&file) {
            Ok(Firmware { image, .. }) => Ok(Some(OptionRom { file, image })),
            // Only a processor runs it.
            Err(_) if self.board.hypervisor.capabilities().still => Ok(None),
            Err(error) if file.is_needed => Err(error),
            Err(error @ LocateError::Missing { .. }) => {
                tracing::debug!("{} has no option ROM: {error}", properties.model().name);
                Ok(None)
            }
            Err(error) => {
                tracing::warn!("{} has no option ROM: {error}", properties.model().name);
                Ok(None)
            }
        }
    }
}

/// The name on the bus of a device whose model there can be several of.
pub(super) fn name_of(spec: &DeviceSpec) -> String {
    match (&spec.id, spec.devfn()) {
        _ if spec.is_flash() => match spec.properties.get(pflash::NAME.name) {
            Some(Value::Text(name)) => name.clone(),
            _ => spec.model.clone(),
        },
        (Some(id), _) => format!("peripheral/{id}"),
        (None, None) if spec.is_child() => {
            format!("{}@{}:{}", spec.model, spec.bus.as_deref().unwrap_or_default(), spec.place_text())
        }
        (None, None) if spec.is_drive() => format!("{}@{}", spec.model, spec.drive_place().unwrap_or(0)),
        (None, Some(devfn)) => format!("{}@{:02x}.{}", spec.model, devfn >> 3, devfn & 7),
        (None, None) => {
            match (spec.model().is_ok_and(|model| model.several), spec.properties.get(IOBASE.name)) {
                (true, Some(Value::Uint(base))) => format!("{}@{base:x}", spec.model),
                _ => spec.model.clone(),
            }
        }
    }
}

/// How a message names it.
fn said(spec: &DeviceSpec) -> String {
    spec.id.as_ref().map_or_else(|| spec.model.clone(), |id| format!("{},id={id}", spec.model))
}

fn refused(spec: &DeviceSpec, why: &dyn std::fmt::Display) -> BuildError {
    BuildError::Config(crate::config::ConfigError::Invalid(format!("device {}: {why}", spec.model)))
}

impl devices::board::DeviceContext for Maker<'_> {
    fn ram(&self) -> GuestRam {
        self.board.hypervisor.memory()
    }
    fn isa_irq(&self, pin: u32) -> IrqLine {
        self.isa.line(pin)
    }
    fn msi(&self) -> Arc<dyn MsiTarget> {
        self.board.hypervisor.msi()
    }
    fn power(&self) -> Arc<dyn Power> {
        self.board.power.clone()
    }
    fn add_ram(&self, name: &str, len: u64) -> Result<RamBlock, MakeError> {
        Ok(self.board.hypervisor.add_ram(name, len)?)
    }
    fn network(&self, properties: &Properties, wiring: &Wiring, number: u32) -> Result<NicConfig, MakeError> {
        let mac = properties.text("mac").and_then(parse_mac);
        let mac = mac.ok_or_else(|| MakeError::Other("it has no address".into()))?;
        let Some(id) = properties.text("netdev") else {
            return Ok(NicConfig { backend: Arc::new(NullNet), mac });
        };
        let cable = self.board.networks.plug(id, wiring.waker(), number);
        let cable = cable.ok_or_else(|| properties.invalid("netdev", format!("can't find value '{id}'")))?;
        let backend = match self.board.border.port(&format!("netdev/{id}")) {
            Some(port) => Arc::new(Ported::new(port, cable)),
            None => cable,
        };
        Ok(NicConfig { backend, mac })
    }
    fn drive(&self, properties: &Properties) -> Result<DriveImage, MakeError> {
        let name = properties.text(DRIVE.name).unwrap_or_default();
        let image = self.board.images.take(name);
        image.ok_or_else(|| properties.invalid(DRIVE.name, format!("can't find value '{name}'")).into())
    }
    fn chardev(
        &self,
        properties: &Properties,
        waker: Waker,
        number: u32,
    ) -> Result<Option<Arc<dyn CharBackend>>, MakeError> {
        self.board.chardevs.take(self.board, properties, waker, number)
    }
    fn medium(&self, properties: &Properties) -> Result<Option<Arc<dyn BlockBackend>>, MakeError> {
        let name = properties.text(DRIVE.name).unwrap_or_default();
        let disc = self.board.images.take_disc(name);
        disc.ok_or_else(|| properties.invalid(DRIVE.name, format!("can't find value '{name}'")).into())
    }
    fn entropy(&self, name: &str) -> Arc<dyn Entropy> {
        let source: Arc<dyn Entropy> = match self.board.config.clock {
            ClockMode::Host => Arc::new(HostEntropy),
            // A run repeats exactly.
            ClockMode::Icount => Arc::new(Foretold),
        };
        match self.board.border.port(&format!("entropy/{name}")) {
            Some(port) => Arc::new(entropy::Ported::new(port, source)),
            None => source,
        }
    }
    fn observer(&self, name: &str) -> Arc<dyn Observer> {
        self.board.notifier.observer(name)
    }
    fn vhost_user(
        &self,
        properties: &Properties,
        wiring: &Wiring,
        number: u32,
        needs: Needs,
    ) -> Result<Arc<dyn VhostUser>, MakeError> {
        back_ends::connect(self.board, properties, (wiring, number), needs)
    }
    fn vsock(
        &self,
        properties: &Properties,
        wiring: &Wiring,
        number: u32,
    ) -> Result<Arc<dyn VsockBackend>, MakeError> {
        vsock::connect(self.board, properties, wiring, number)
    }
    fn audio(&self, properties: &Properties, name: &str) -> Result<Arc<dyn AudioBackend>, MakeError> {
        self.board.sounds.connect(self.board, properties, name)
    }
    fn vcpus(&self) -> u32 {
        self.board.config.vcpus
    }
    fn saves_device_memory(&self) -> bool {
        self.board.hypervisor.capabilities().saves_vram
    }
    fn xen_platform(&self) -> Option<Arc<dyn platform::PlatformOps>> {
        let hypervisor = self.board.hypervisor;
        hypervisor.capabilities().pvhvm.then(|| xen::requests(hypervisor, self.board.notifier))
    }
}
