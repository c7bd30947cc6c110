//! Devices that come and go while the guest runs: by ACPI's hot-plug of PCI slots, with the guest's `_EJ0`.

use std::sync::atomic::{AtomicU32, Ordering};

use devices::models;
use devices::usb::ATTACHED;
use devices_core::bus::AnyDevice;
use devices_core::model::{BusType, Plug, Value};

use super::{Device, Inner, Leaving, Maker, name_of, said};
use crate::config::{ConfigError, DeviceSpec, bus};
use crate::machine::build::board::Board;
use crate::machine::disks::DriveImages;
use crate::machine::{BuildError, Machine, Preopened};
use crate::notices::Notice;
use crate::trace::Border;

/// Slots that the guest has ejected and whose devices are still there, one bit each.
#[derive(Default)]
pub(in crate::machine) struct Ejected(AtomicU32);

impl Ejected {
    /// One more; true if there was none.
    pub(in crate::machine) fn add(&self, slot: u8) -> bool {
        self.0.fetch_or(1 << (slot & 31), Ordering::AcqRel) == 0
    }

    /// Whether a device is on its way out.
    pub(in crate::machine) fn has(&self, device: &DeviceSpec) -> bool {
        device.devfn().is_some_and(|devfn| self.0.load(Ordering::Acquire) >> (devfn >> 3) & 1 != 0)
    }
}

/// The error of that sentence, which is QEMU's.
pub(in crate::machine) fn plain(why: impl ToString) -> BuildError {
    BuildError::Config(ConfigError::Invalid(why.to_string()))
}

impl Inner {
    /// Slots whose devices can all be taken out, one bit each.
    pub(super) fn removable(&self) -> u32 {
        let in_slots = |hot: bool| {
            let of = self.devices.iter().filter(|device| device.is_hot() == hot);
            of.filter_map(|device| device.spec.devfn()).fold(0, |slots, devfn| slots | 1u32 << (devfn >> 3))
        };
        let board = super::BOARD.iter().fold(0, |slots, (devfn, _)| slots | 1u32 << (devfn >> 3));
        in_slots(true) & !in_slots(false) & !board
    }

    /// Takes out these devices, with all that is on their buses or behind them. What hangs on another comes before it.
    fn take(&mut self, is: impl Fn(&Device) -> bool) -> Vec<Device> {
        let specs: Vec<DeviceSpec> = self.devices.iter().map(|device| device.spec.clone()).collect();
        let buses = bus::offered(&specs);
        let hangs_on = |spec: &DeviceSpec, of: usize| {
            let is_its = |bus: &bus::OfferedBus| bus.of == of && Some(&bus.name) == spec.bus.as_ref();
            spec.is_child() && buses.iter().any(is_its) || spec.is_behind(&specs[of])
        };
        // How far each is from what is taken.
        let mut depths: Vec<Option<usize>> =
            self.devices.iter().map(|device| is(device).then_some(0)).collect();
        for depth in 1..=specs.len() {
            let above: Vec<usize> = (0..specs.len()).filter(|at| depths[*at] == Some(depth - 1)).collect();
            for (at, spec) in specs.iter().enumerate() {
                if depths[at].is_none() && above.iter().any(|of| hangs_on(spec, *of)) {
                    depths[at] = Some(depth);
                }
            }
        }
        let (taken, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.devices).into_iter().zip(depths).partition(|(_, depth)| depth.is_some());
        self.devices = rest.into_iter().map(|(device, _)| device).collect();
        let mut taken = taken;
        taken.sort_by_key(|(_, depth)| std::cmp::Reverse(*depth));
        taken.into_iter().map(|(device, _)| device).collect()
    }

    /// A device is off the bus of PCI, or is taken off another device's.
    fn leave(&mut self, device: Device, slot: Option<AnyDevice>) {
        device.child.iter().for_each(|child| child.unplug());
        self.leaving.push(Leaving { device, slot });
    }
}

impl Device {
    fn is_hot(&self) -> bool {
        models::find(&self.spec.model).is_some_and(|model| model.plug == Plug::Hot)
    }
    fn is_in(&self, slots: u32) -> bool {
        self.slot().is_some_and(|slot| slots >> slot & 1 != 0)
    }
    fn slot(&self) -> Option<u8> {
        self.spec.devfn().map(|devfn| devfn >> 3)
    }
    /// Its path in the tree of objects, if it has a name.
    fn path(&self) -> Option<String> {
        self.spec.id.as_ref().map(|id| format!("/machine/peripheral/{id}"))
    }
}

impl Machine {
    /// Puts a device in and tells the guest.
    pub(crate) fn add_device(&self, mut spec: DeviceSpec) -> Result<(), BuildError> {
        let no = |why: &str| Err(plain(why));
        let model = spec.model()?;
        let bus = match (model.bus, model.plug) {
            (BusType::Pci, Plug::Hot) if self.pm.is_some() => None,
            (BusType::Pci, Plug::Hot) => Some("Bus 'pci.0' does not support hotplugging"),
            (BusType::Pci, _) => return no(&format!("Device '{}' does not support hotplugging", model.name)),
            (BusType::Scsi | BusType::VirtioSerial | BusType::Usb | BusType::Hda, Plug::Hot) => None,
            (BusType::Scsi | BusType::VirtioSerial | BusType::Usb | BusType::Hda, _) => {
                return no(&format!("Device '{}' does not support hotplugging", model.name));
            }
            (BusType::Ide, _) => Some("Bus 'ide.0' does not support hotplugging"),
            (BusType::Isa | BusType::System, _) => Some("Bus 'isa.0' does not support hotplugging"),
        };
        if let Some(why) = bus {
            return no(why);
        }
        if matches!(self.border, Border::Recorded(..)) {
            return no("no device can come while a recording is made");
        }
        if model.property(ATTACHED.name).is_some() {
            // Its units come first.
            spec.properties.entry(ATTACHED.name.into()).or_insert(Value::Bool(false));
        }
        let mut all = self.plugged.specs();
        all.push(spec);
        crate::config::check_devices(&all)?;
        bus::settle(&mut all)?;
        crate::config::check_networks(&self.networks.configs(), &all)?;
        let Some(spec) = all.pop() else { return Ok(()) };
        let slot = self.put_in(spec)?;
        if let Some(pm) = &self.pm {
            let removable = self.plugged.inner().removable();
            let mut pm = pm.lock();
            pm.set_removable_slots(removable);
            slot.into_iter().for_each(|slot| pm.plug_slot(slot));
        }
        Ok(())
    }

    /// Makes the device, with the image of its node if it is a drive, and puts it on the bus. The slot that the guest
    /// is to look at.
    fn put_in(&self, mut spec: DeviceSpec) -> Result<Option<u8>, BuildError> {
        let images = DriveImages::default();
        let board = Board {
            bus: &self.bus,
            hypervisor: &self.hypervisor,
            config: &self.config,
            power: &self.power,
            border: &self.border,
            networks: &self.networks,
            chardevs: &self.chardevs,
            sounds: &self.sounds,
            others: &self.others,
            images: &images,
            notifier: &self.notifier,
            ahead: &Preopened::default(),
        };
        let block = self.open_drive(&mut spec, &board)?;
        let slot = self.put_on_bus(spec, &Maker { board: &board, isa: &self.isa });
        match (block, &slot) {
            (Some(block), Ok(_)) => self.have_drive(block, &board),
            (Some(block), Err(_)) => self.nodes.give_back(&block.name),
            (None, _) => {}
        }
        slot
    }

    fn put_on_bus(&self, mut spec: DeviceSpec, maker: &Maker<'_>) -> Result<Option<u8>, BuildError> {
        let mut inner = self.plugged.inner();
        if inner.leaving.iter().any(|leaving| leaving.device.name == name_of(&spec)) {
            return Err(plain("a device of that name is still leaving"));
        }
        if spec.is_child() {
            return maker.child_of(spec, &mut inner).map(|()| None);
        }
        inner.name_mac(&mut spec)?;
        let devfn = match spec.devfn() {
            Some(devfn) => {
                // The guest looks at a slot when its function 0 comes.
                if devfn & 7 != 0
                    && let Some(by) = inner.pci.at(devfn & !7)
                {
                    let why = format!(
                        "PCI: slot {} function 0 already occupied by {by}, new func {} cannot be exposed to guest.",
                        devfn >> 3,
                        spec.model
                    );
                    return Err(plain(why));
                }
                inner.pci.take(devfn, &said(&spec)).map(|()| devfn)
            }
            None => inner.pci.allocate(&said(&spec)),
        };
        let devfn = devfn.map_err(plain)?;
        spec.set_devfn(devfn);
        match maker.one(spec, &inner) {
            Ok((device, _)) => inner.devices.push(device),
            Err(error) => {
                inner.pci.release(devfn);
                return Err(error);
            }
        }
        Ok((devfn & 7 == 0).then_some(devfn >> 3))
    }

    /// Puts the device at a path in the tree of objects on its port, where a port is kept for it.
    pub(crate) fn set_attached(&self, path: &str, attached: bool) -> Result<(), BuildError> {
        if matches!(self.border, Border::Recorded(..)) {
            return Err(plain("no device can come while a recording is made"));
        }
        let mut inner = self.plugged.inner();
        let device = inner.devices.iter_mut().find(|device| device.path().as_deref() == Some(path));
        let device = device.ok_or_else(|| plain(format!("Device '{path}' not found")))?;
        let is = device.spec.properties()?.is_on(ATTACHED.name);
        match (is, attached, &device.child) {
            (false, true, Some(child)) => {
                child.attach().map_err(plain)?;
                device.spec.properties.insert(ATTACHED.name.into(), Value::Bool(true));
                Ok(())
            }
            (true, false, _) => Err(plain("it leaves its port for good, by device_del")),
            _ => Ok(()),
        }
    }

    /// Asks the guest to let a device go. It ejects it when it is done, all functions of its slot with it. What hangs on
    /// another device's bus goes at once.
    /// `name` is its id or its path. None: there is no such device.
    pub(crate) fn request_unplug(&self, name: &str) -> Option<Result<(), BuildError>> {
        let mut inner = self.plugged.inner();
        let called = |device: &Device| {
            device.spec.id.as_deref() == Some(name) || device.path().as_deref() == Some(name)
        };
        let at = inner.devices.iter().position(called)?;
        let device = inner.devices.get(at)?;
        if device.child.is_some() && device.is_hot() {
            if matches!(self.border, Border::Recorded(..)) {
                return Some(Err(plain("no device can go while a recording is made")));
            }
            // What hangs on it goes with it.
            let name = device.name.clone();
            for device in inner.take(|other| other.name == name) {
                inner.leave(device, None);
            }
            // Who asked hears of it when it is gone.
            self.notifier.notify(Notice::Device);
            return Some(Ok(()));
        }
        // What shares its slot with a part of the board stays, as that does.
        let slot = device.slot().filter(|slot| inner.removable() >> slot & 1 != 0);
        let (Some(pm), Some(slot), true) = (&self.pm, slot, device.is_hot()) else {
            let why = match &device.spec.bus {
                Some(bus) => format!("Bus '{bus}' does not support hotplugging"),
                None => format!("Device '{}' does not support hotplugging", device.spec.model),
            };
            return Some(Err(plain(why)));
        };
        drop(inner);
        pm.lock().request_unplug_slot(slot);
        Some(Ok(()))
    }

    /// Takes out what the guest has ejected. What is gone now: id, if it had one, and path.
    pub(crate) fn take_ejected(&self) -> Vec<(Option<String>, String)> {
        let slots = self.ejected.0.swap(0, Ordering::AcqRel);
        let mut inner = self.plugged.inner();
        if slots != 0 {
            for device in inner.take(|device| device.is_in(slots)) {
                if device.child.is_some() {
                    inner.leave(device, None);
                } else if let (Some(devfn), Some(slot)) = (device.spec.devfn(), self.bus.detach(&device.name))
                {
                    inner.pci.release(devfn);
                    inner.leave(device, Some(slot));
                }
            }
            let removable = inner.removable();
            self.pm.iter().for_each(|pm| pm.lock().set_removable_slots(removable));
        }
        let gone: Vec<Leaving> = inner.leaving.extract_if(.., |leaving| leaving.drained()).collect();
        drop(inner);
        let told = |Leaving { device, slot }: Leaving| {
            // Its image is closed before somebody else may have it.
            drop(slot);
            self.forget_drive(&device.spec);
            let path = device.path().unwrap_or_else(|| format!("/machine/peripheral-anon/{}", device.name));
            (device.spec.id, path)
        };
        gone.into_iter().map(told).collect()
    }
}
