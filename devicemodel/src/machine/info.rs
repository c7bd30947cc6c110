//! What the monitor asks of a machine, and what it changes.

use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};

use chrono::{Datelike, Timelike};
use devices::storage::scsi::model::watched_name;
use devices::xen::platform;
use devices_core::Device;
use devices_core::block::Tray;
use devices_core::model::{BOOTINDEX, Kind, Properties, Property, Value, usb_port_text};
use devices_core::pci::{BarKind, reg};

use super::disks::Block;
use super::plug::{name_of, plain};
use super::{BuildError, Machine, Terminal};
use crate::config::{ClockMode, DiskKind, SerialConfig};
use crate::monitor::info::{
    BarInfo, BlockInfo, ChardevInfo, ClockInfo, CpuInfo, DeviceInfo, IoStatus, MachineInfo, NewNode,
    NodeInfo, PciInfo,
};
use crate::monitor::protocol::QmpError;
use crate::trace::Border;
use crate::trace::record::HostEvent;

impl Terminal {
    /// For `query-chardev`, in QEMU's words.
    pub(crate) fn info(&self) -> ChardevInfo {
        let filename = line_name(&self.config, self.pty.as_deref(), false);
        ChardevInfo { label: format!("serial{}", self.port), filename, frontend_open: true }
    }
}

/// A line in the words of QEMU's `query-chardev`.
pub(super) fn line_name(line: &SerialConfig, pty: Option<&Path>, connected: bool) -> String {
    match (line, pty) {
        (SerialConfig::Pty, Some(path)) => format!("pty:{}", path.display()),
        (SerialConfig::Unix(path), _) => {
            let before = if connected { "" } else { "disconnected:" };
            format!("{before}unix:{},server=on", path.display())
        }
        (SerialConfig::Connect(path), _) => format!("unix:{}", path.display()),
        (SerialConfig::Stdio, _) => "stdio".into(),
        (SerialConfig::File(_) | SerialConfig::Append(_), _) => "file".into(),
        _ => "null".into(),
    }
}

/// Name, type and value of what is set on a device or has a default; a turn to boot that nobody gave is -1.
fn values(properties: &Properties) -> Vec<(&'static str, &'static str, serde_json::Value)> {
    let value = |property: &'static Property| {
        let value = match properties.get(property.name) {
            Some(Value::Bool(on)) => on.into(),
            Some(Value::Uint(path)) if property.kind == Kind::UsbPort => usb_port_text(path).into(),
            Some(Value::Uint(number)) => number.into(),
            Some(Value::Text(text)) => text.into(),
            None if property.kind == Kind::BootIndex => (-1).into(),
            None => return None,
        };
        Some((property.name, property.kind.type_name(), value))
    };
    properties.model().all_properties().into_iter().filter_map(value).collect()
}

impl Machine {
    fn present(&self) -> MutexGuard<'_, std::collections::BTreeMap<u32, String>> {
        self.cpus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Places for vCPUs.
    pub(crate) fn cpus(&self) -> Vec<CpuInfo> {
        let present = self.present();
        let most = self.config.max_vcpus.unwrap_or(self.config.vcpus);
        let place = |index: u32| {
            let id = present.get(&index);
            let thread = std::process::id() as i32;
            let named = id.filter(|id| !id.is_empty()).cloned();
            CpuInfo { index, present: id.is_some(), id: named, thread }
        };
        (0..most).map(place).collect()
    }

    /// Tells the guest of a vCPU that is there from now on.
    pub(crate) fn plug_cpu(&self, index: u32, id: &str) {
        if self.present().insert(index, id.to_owned()).is_none() {
            let number = index as u8;
            let plug = || self.pm.iter().for_each(|pm| pm.lock().plug_cpu(number));
            self.border.host(|| HostEvent::PlugCpu(number), plug);
        }
    }

    /// Drives, with what went through them.
    pub(crate) fn blocks(&self) -> Vec<BlockInfo> {
        let cds = self.cds();
        let info = |block: &Arc<Block>| {
            let config = &block.config;
            let tray = cds.iter().find(|cd| Arc::ptr_eq(&cd.block, block)).map(|cd| &cd.medium);
            BlockInfo {
                device: block.drive_name(),
                qdev: self.qdev(block),
                removable: config.kind == DiskKind::Cdrom,
                locked: tray.is_some_and(Tray::is_locked),
                tray_open: tray.is_some_and(Tray::is_open),
                io_status: block.io_status(),
                medium: block.medium(),
                stats: block.stats(),
            }
        };
        self.blocks.all().iter().map(info).chain(self.nodes.drives()).collect()
    }

    /// PCI functions.
    pub(crate) fn pci(&self) -> Vec<PciInfo> {
        let info = |(sbdf, _, slot): (ioreq::Sbdf, String, devices_core::bus::AnyDevice)| {
            let mut device = slot.lock();
            let config = device.pci()?;
            let window = |(index, kind, size, address): (u8, BarKind, u64, Option<u64>)| BarInfo {
                index,
                io: kind == BarKind::Io,
                prefetch: matches!(
                    kind,
                    BarKind::Mem32 { prefetch: true } | BarKind::Mem64 { prefetch: true }
                ),
                address,
                size,
            };
            Some(PciInfo {
                slot: sbdf.device(),
                function: sbdf.function(),
                id: self.plugged.id_at(sbdf).unwrap_or_default(),
                vendor: config.u16(reg::VENDOR),
                device: config.u16(reg::DEVICE),
                class: config.u16(reg::CLASS + 1),
                pin: config.u8(reg::INTERRUPT_PIN),
                irq: config.u8(reg::INTERRUPT_LINE),
                subsystem: (config.u16(reg::SUBSYSTEM_VENDOR), config.u16(reg::SUBSYSTEM)),
                bars: config.bars().map(window).collect(),
            })
        };
        self.bus.functions().into_iter().filter_map(info).collect()
    }

    /// Images that drives have or could be given.
    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        let named = self.nodes.info();
        let blocks = self.blocks.all();
        let unnamed = blocks.iter().filter_map(|block| block.medium());
        let unnamed = unnamed.filter(|medium| named.iter().all(|node| node.name != medium.name));
        unnamed.chain(named.iter().cloned()).collect()
    }

    /// The machine as a whole.
    pub(crate) fn info(&self) -> MachineInfo {
        let config = &self.config;
        // QEMU's xenfv is a PC with the platform device, and libxl's QEMU is qemu-system-i386.
        let xenfv = self.plugged.specs().iter().any(|device| device.model == platform::model::MODEL.name);
        let (kind, alias, target, cpu_type) = match xenfv {
            true => ("xenfv-4.2", "xenfv", "i386", "qemu32-i386-cpu"),
            false => ("pc-i440fx-7.2", "pc", "x86_64", "qemu64-x86_64-cpu"),
        };
        MachineInfo {
            kind,
            alias: Some(alias),
            target,
            cpu_type,
            memory: config.memory_mib << 20,
            uuid: config.uuid,
            generation: self.config.generation_id(),
            graphics: self.display.is_some(),
        }
    }

    /// Devices by their places in the object tree. Those that have no place of their own there are numbered
    /// after the processors.
    pub(crate) fn devices(&self) -> Vec<DeviceInfo> {
        self.named_devices().into_iter().map(|(device, _)| device).collect()
    }

    /// The same, each with its name on the bus, if it is there, or among those that were put in.
    fn named_devices(&self) -> Vec<(DeviceInfo, Option<String>)> {
        let mut next = self.config.vcpus;
        let mut unattached = || {
            next += 1;
            format!("/machine/unattached/device[{}]", next - 1)
        };
        let mut all = Vec::new();
        for (name, slot) in self.bus.slots() {
            let Some(model) = slot.lock().model() else { continue };
            let spec = self.plugged.spec(|device, _| device == name);
            let id = spec.as_ref().and_then(|spec| spec.id.as_ref());
            let flash = spec.as_ref().filter(|spec| spec.is_flash()).map(|_| format!("/machine/{name}"));
            let named = id.map(|id| format!("/machine/peripheral/{id}")).or(flash);
            let path = named.or_else(|| model.path.map(str::to_owned)).unwrap_or_else(&mut unattached);
            let kind = model.name;
            let set = spec.as_ref().and_then(|spec| spec.properties().ok());
            let properties = match kind {
                "ioapic" => vec![("version", "uint8", 0x20.into())],
                _ => set.as_ref().map(values).unwrap_or_default(),
            };
            let properties = properties.into_iter().chain(self.balloon_properties(&name)).collect();
            all.push((DeviceInfo { path, kind, properties, speed: None }, Some(name)));
        }
        for (spec, speed) in self.plugged.children() {
            let (Ok(model), name) = (spec.model(), name_of(&spec)) else { continue };
            let path = match &spec.id {
                Some(id) => format!("/machine/peripheral/{id}"),
                None => unattached(),
            };
            let properties = spec.properties().ok().as_ref().map(values).unwrap_or_default();
            all.push((DeviceInfo { path, kind: model.name, properties, speed }, Some(name)));
        }
        for block in self.ide_drives() {
            let path = match &block.id {
                Some(id) => format!("/machine/peripheral/{id}"),
                None => unattached(),
            };
            let mut properties = block.device.clone();
            let spec = self
                .plugged
                .spec(|_, spec| spec.drive_place().is_some_and(|at| Some(usize::from(at)) == block.place));
            // What the drive was made with; its turn may be another since.
            if let Some(spec) = &spec {
                let turn = spec.properties.get(BOOTINDEX.name).cloned();
                let _ = properties.put(BOOTINDEX.name, turn.unwrap_or_else(|| Value::Text("-1".into())));
            }
            let (kind, properties) = (properties.model().name, values(&properties));
            let device = DeviceInfo { path, kind, properties, speed: None };
            all.push((device, spec.map(|spec| name_of(&spec))));
        }
        all
    }

    /// The path in the tree of objects of the device of that name on the bus.
    pub(super) fn path_of(&self, name: &str) -> Option<String> {
        let named = self.named_devices().into_iter().find(|(_, device)| device.as_deref() == Some(name));
        named.map(|(device, _)| device.path)
    }

    /// Gives the device at a path in the tree of objects another turn when the firmware boots next.
    pub(crate) fn set_bootindex(&self, path: &str, turn: Value) -> Result<(), BuildError> {
        if matches!(self.border, Border::Recorded(..)) {
            return Err(plain("the boot order stays while a recording is made"));
        }
        let devices = self.named_devices();
        let name = devices.into_iter().find(|(device, _)| device.path == path).and_then(|(_, name)| name);
        let name = name.ok_or_else(|| plain(format!("Device '{path}' not found")))?;
        Ok(self.plugged.set_property(&name, BOOTINDEX.name, turn)?)
    }

    /// Drives on the IDE controller, which are no devices of the bus.
    fn ide_drives(&self) -> impl Iterator<Item = Arc<Block>> {
        self.blocks.all().into_iter().filter(|block| block.place.is_some())
    }

    /// A drive's own name: its id, or its path in the object tree. A virtio disk is the device behind the PCI function.
    pub(super) fn qdev(&self, block: &Block) -> String {
        if block.place.is_none() {
            let name = block.config.name();
            let spec = self.plugged.spec(|_, spec| spec.has_image() && spec.drive() == Some(&name));
            let Some(spec) = spec else { return String::new() };
            let found = self.named_devices().into_iter().find(|(_, name)| *name == Some(name_of(&spec)));
            let path = found.map_or_else(String::new, |(device, _)| device.path);
            // A drive on another's bus is what it is called, or where it is.
            return if spec.is_child() {
                spec.id.unwrap_or(path)
            } else if spec.is_flash() {
                path
            } else {
                format!("{path}/virtio-backend")
            };
        }
        let path = || {
            let index = self.ide_drives().position(|other| other.place == block.place)?;
            let devices = self.devices();
            let first = devices.len().checked_sub(self.ide_drives().count())?;
            Some(devices.get(first + index)?.path.clone())
        };
        block.id.clone().or_else(path).unwrap_or_default()
    }

    /// A drive by its place on the controller of that name on the bus, or by the name under which it is watched.
    fn drive_at(&self, controller: &str, place: u32) -> Option<Arc<Block>> {
        let watched =
            |block: &Arc<Block>| block.place.is_none() && watched_name(&block.config.name()) == controller;
        if let Some(block) = self.blocks.all().into_iter().find(watched) {
            return Some(block);
        }
        let here = self.ide.lock().name() == controller;
        self.ide_drives()
            .find(|block| here && block.place.and_then(|at| u32::try_from(at).ok()) == Some(place))
    }

    /// A drive by its place on a controller: its name, and its own name.
    pub(crate) fn drive_names(&self, controller: &str, place: u32) -> Option<(String, String)> {
        let block = self.drive_at(controller, place)?;
        Some((block.config.name(), self.qdev(&block)))
    }

    /// The guest is stopped for a drive.
    pub(crate) fn set_io_status(&self, controller: &str, place: u32, status: IoStatus) {
        if let Some(block) = self.drive_at(controller, place) {
            block.set_io_status(status);
        }
    }

    /// It goes on.
    pub(crate) fn io_status_is_ok(&self) {
        self.blocks.all().iter().for_each(|block| block.set_io_status(IoStatus::Ok));
    }

    /// The name of the image that is in a drive.
    pub(crate) fn node_in(&self, controller: &str, place: u32) -> Option<String> {
        self.drive_at(controller, place)?.medium().map(|medium| medium.name)
    }

    /// What the guest's clock shows, if it is one of ours.
    pub(crate) fn clock(&self) -> Option<ClockInfo> {
        let seconds = self.rtc.clock.as_ref()?.lock().seconds();
        let time = chrono::DateTime::from_timestamp(seconds, 0)?;
        let fields = [time.month(), time.day(), time.hour(), time.minute(), time.second()].map(i64::from);
        let [month, day, hour, minute, second] = fields;
        Some([time.year().into(), month, day, hour, minute, second])
    }

    /// How far the guest has set its clock from what it would show by itself, in seconds, when it shows
    /// `seconds` now; and the path in the object tree of the clock with that name on the bus.
    pub(crate) fn clock_set(&self, device: &str, seconds: i64) -> (i64, String) {
        let path = self.path_of(device);
        let expected = match self.config.clock {
            ClockMode::Host => crate::host::seconds().saturating_add(self.rtc.ahead),
            ClockMode::Icount => {
                let elapsed = self.hypervisor.clock().now() / 1_000_000_000;
                self.rtc.start.saturating_add_unsigned(elapsed)
            }
        };
        (seconds.saturating_sub(expected), path.unwrap_or_default())
    }

    /// Adds a node.
    pub(crate) fn add_node(&self, node: NewNode) -> Result<(), QmpError> {
        if self.nodes().iter().any(|other| other.name == node.name) {
            return Err(QmpError::generic(format!("Duplicate nodes with node-name='{}'", node.name)));
        }
        // A drive that was plugged with a node is called as that one.
        if self.blocks.all().iter().any(|block| block.config.id.as_ref() == Some(&node.name)) {
            let why = format!("node-name={} is conflicting with a device id", node.name);
            return Err(QmpError::generic(why));
        }
        self.nodes.add(node)
    }

    /// Removes one.
    pub(crate) fn remove_node(&self, name: &str) -> Result<(), QmpError> {
        self.nodes.remove(name)
    }
}
