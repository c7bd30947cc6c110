//! PIIX3 IDE controller: two channels of two drives, at the PC's ports, with bus master DMA (Intel 82371SB
//! datasheet, sections 2.5 and 2.6; ATA/ATAPI-6; QEMU's `piix3-ide` where it differs).
//!
//! Left out: the timing registers have no effect, the simplex and DMA-capable bits are software's own, a
//! drive's interrupt that came while nIEN was set is lost (as in QEMU), and the bus master moves a command's
//! data as one piece: stopping it waits until that is done (as in QEMU).

mod ata;
mod busmaster;
mod channel;
mod drive;
mod identify;
mod labels;
pub mod model;
mod smart;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;
mod unplug;

use std::sync::Arc;

use devices_core::block::{BlockBackend, CompletionQueue, ErrorPolicy, Requests, Tray};
use devices_core::device::Deferred;
use devices_core::dma::Dma;
use devices_core::events::{Observer, Watch};
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window, reg as pci_reg};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wake, Wiring};
use hypervisor::GuestRam;

pub use crate::storage::geometry::{Geometry, Translation};
use crate::storage::scsi::cd::Cd;
use channel::Channel;
pub use channel::IdeBus;
use drive::Disk;
pub use drive::{Drive, Kind, READY, Work};
pub(in crate::storage) use identify::DVD_ROM;
pub use labels::Labels;
pub(in crate::storage) use labels::padded;
use smart::Smart;
use spec::{MULTIPLE, reg};
pub use unplug::Unplugged;

/// What hangs on the cable.
pub enum DriveConfig {
    /// A hard disk. Geometry: [`Geometry::guess`].
    Disk {
        /// Its medium.
        backend: Arc<dyn BlockBackend>,
        /// The geometry it claims.
        geometry: Geometry,
        /// What it says of itself.
        labels: Labels,
    },
    /// A CD drive.
    Cd {
        /// What lies in it.
        medium: Option<Arc<dyn BlockBackend>>,
        /// What it says of itself.
        labels: Labels,
    },
}

/// Wake numbers: channels' answers, then the trays of CD drives.
const WAKE_MEDIUM: u32 = 2;

/// Region numbers.
const COMMAND_0: usize = 0;
const CONTROL_0: usize = 1;
const COMMAND_1: usize = 2;
const CONTROL_1: usize = 3;
const BUS_MASTER: usize = 4;

const REGIONS: [Region; 5] = [
    Region::pio("command0", 0x1f0, 8).widest(4),
    Region::pio("control0", 0x3f6, 1),
    Region::pio("command1", 0x170, 8).widest(4),
    Region::pio("control1", 0x376, 1),
    Region::floating("busmaster", Space::Pio, 16),
];

/// IDETIM and SIDETIM.
const TIMING: u16 = 0x40;

/// The controller.
pub struct Ide {
    pub(crate) config: PciConfig,
    pub(crate) channels: [Channel; 2],
}

impl Ide {
    /// A controller with these drives: primary 0 and 1, secondary 0 and 1. `irqs` are ISA 14 and 15.
    pub fn new(wiring: &Wiring, ram: GuestRam, irqs: [IrqLine; 2], drives: [Option<DriveConfig>; 4]) -> Ide {
        let mut config = PciConfig::new(Identity {
            vendor: 0x8086,
            device: 0x7010,
            revision: 0,
            class: 0x01_01_80,
            subsystem: QEMU_SUBSYSTEM,
        });
        // DEVSEL# medium, fast back-to-back.
        config.set_u16(pci_reg::STATUS, 0x0280);
        config.allow(TIMING, &[0xff; 5]);
        config.bar(4, BarKind::Io, 16, Window::Region(BUS_MASTER));
        let dma = Dma::gated(ram, config.master());
        let mut numbered = drives.into_iter().enumerate();
        let mut drive = || {
            let (number, config) = numbered.next().unwrap_or((0, None));
            build(wiring, number as u32, config)
        };
        let [irq0, irq1] = irqs;
        let channels = [
            Channel::new([drive(), drive()], irq0, dma.clone()),
            Channel::new([drive(), drive()], irq1, dma),
        ];
        Ide { config, channels }
    }

    /// Has `observer` told of trays that move and requests that fail, by the drive's number (0 to 3), about which `errors`
    /// says what is done.
    #[must_use]
    pub fn observed(mut self, observer: &Arc<dyn Observer>, errors: [ErrorPolicy; 4]) -> Ide {
        let drives = self.channels.iter_mut().flat_map(|channel| &mut channel.drives);
        for ((drive, number), errors) in drives.zip(0..).zip(errors) {
            let watch = Watch::new(number, observer.clone());
            if let Kind::Cd(cd) = &mut drive.kind {
                cd.watch = watch.clone();
            }
            drive.requests.on_errors(errors, watch);
        }
        self
    }

    /// Hand on the tray of CD drive `number` (0 to 3, as in [`Ide::new`]).
    pub fn medium(&self, number: usize) -> Option<Tray> {
        match &self.channels.get(number / 2)?.drives[number % 2].kind {
            Kind::Cd(cd) => Some(cd.tray()),
            Kind::Absent | Kind::Disk(_) => None,
        }
    }

    fn read_byte(&mut self, at: At) -> u8 {
        match at.region {
            COMMAND_0 => self.channels[0].read(at.offset),
            COMMAND_1 => self.channels[1].read(at.offset),
            CONTROL_0 => self.channels[0].status(),
            CONTROL_1 => self.channels[1].status(),
            _ => self.channels[usize::from(at.offset >= 8)].host.bm.read(at.offset & 7),
        }
    }

    /// Some: the answer comes later.
    fn write_byte(&mut self, at: At, value: u8) -> Option<Deferred> {
        match at.region {
            COMMAND_0 => self.channels[0].write(at.offset, value),
            COMMAND_1 => self.channels[1].write(at.offset, value),
            CONTROL_0 => self.channels[0].write_control(value),
            CONTROL_1 => self.channels[1].write_control(value),
            _ => return self.channels[usize::from(at.offset >= 8)].write_bus_master(at.offset & 7, value),
        }
        None
    }

    /// The channel whose data port this is.
    fn data_port(&mut self, at: At) -> Option<&mut Channel> {
        match (at.region, at.offset) {
            (COMMAND_0, reg::DATA) => Some(&mut self.channels[0]),
            (COMMAND_1, reg::DATA) => Some(&mut self.channels[1]),
            _ => None,
        }
    }
}

fn build(wiring: &Wiring, number: u32, config: Option<DriveConfig>) -> Drive {
    let named = |labels: Labels| {
        let serial = labels.serial.or_else(|| Some(format!("QM{:05}", number + 1)));
        Labels { serial, ..labels }
    };
    // Both drives of a channel wake it.
    let requests = Requests::new(CompletionQueue::new(wiring.waker(), number / 2));
    match config {
        None => Drive::new(Kind::Absent, Labels::default(), requests),
        Some(DriveConfig::Disk { backend, geometry, labels }) => {
            let disk = Disk {
                backend,
                native: geometry,
                geometry,
                multiple: MULTIPLE,
                write_cache: true,
                smart: Smart::default(),
            };
            Drive::new(Kind::Disk(Box::new(disk)), named(labels), requests)
        }
        Some(DriveConfig::Cd { medium, labels }) => {
            let tray = Tray::new(wiring.waker(), WAKE_MEDIUM + number);
            Drive::new(Kind::Cd(Box::new(Cd::new(medium, tray))), named(labels), requests)
        }
    }
}

/// Registers after `at` that one wide access to the task file reaches: the bytes one after the other.
fn byte_at(at: At, index: usize) -> At {
    At { region: at.region, offset: at.offset + index as u64 }
}

impl Device for Ide {
    fn name(&self) -> &str {
        "ide"
    }

    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &REGIONS
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        if let Some(channel) = self.data_port(at) {
            data.fill(0);
            channel.read_data(data.len(), data);
            return Io::Done;
        }
        for (index, byte) in data.iter_mut().enumerate() {
            *byte = self.read_byte(byte_at(at, index));
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        if let Some(channel) = self.data_port(at) {
            channel.write_data(data.len(), data);
            return Io::Done;
        }
        let mut later = None;
        for (index, &byte) in data.iter().enumerate() {
            later = self.write_byte(byte_at(at, index), byte).or(later);
        }
        later.map_or(Io::Done, Io::Defer)
    }

    fn read_run(&mut self, at: At, size: usize, out: &mut [u8]) -> usize {
        self.data_port(at).map_or(0, |channel| channel.read_data(size, out))
    }

    fn write_run(&mut self, at: At, size: usize, data: &[u8]) -> usize {
        self.data_port(at).map_or(0, |channel| channel.write_data(size, data))
    }

    fn wake(&mut self, why: Wake) {
        let Wake::Backend(number) = why else { return };
        if let Some(channel) = self.channels.get_mut(number as usize) {
            return channel.completions();
        }
        let number = number.wrapping_sub(WAKE_MEDIUM) as usize;
        if let Some(channel) = self.channels.get_mut(number / 2) {
            channel.drives[number % 2].medium_changed();
        }
    }

    fn reset(&mut self) {
        self.config.reset();
        self.channels.iter_mut().for_each(Channel::reset);
    }

    fn drained(&self) -> bool {
        self.channels.iter().flat_map(|channel| &channel.drives).all(|drive| drive.requests.drained())
    }

    fn quiesce(&mut self) -> bool {
        self.channels.iter_mut().for_each(Channel::completions);
        self.channels.iter().flat_map(|channel| &channel.drives).all(Drive::idle)
    }

    fn config_written(&mut self) -> Vec<Deferred> {
        let mut late = Vec::new();
        for channel in &mut self.channels {
            if !channel.host.dma.enabled() {
                late.extend(channel.stop_dma());
            }
        }
        late
    }

    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.config)
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }

    fn inspect(&self, node: &mut Node) {
        for (channel, name) in self.channels.iter().zip(["primary", "secondary"]) {
            channel.inspect(node.child(name));
        }
    }
}

impl Drive {
    /// Whether no backend works for it.
    fn idle(&self) -> bool {
        let medium = match &self.kind {
            Kind::Absent => true,
            Kind::Disk(disk) => disk.backend.idle(),
            Kind::Cd(cd) => cd.idle(),
        };
        medium && self.requests.idle()
    }
}

impl Channel {
    fn inspect(&self, node: &mut Node) {
        let bm = &self.host.bm;
        node.hex("control", self.host.control.bits()).value("irq", self.host.irq.level());
        node.hex("bm_command", bm.command.bits())
            .hex("bm_status", bm.status.bits())
            .hex("bm_table", bm.table);
        for (drive, name) in self.drives.iter().zip(["master", "slave"]) {
            drive.inspect(node.child(name));
        }
    }
}

impl Drive {
    fn inspect(&self, node: &mut Node) {
        match &self.kind {
            Kind::Absent => {
                node.value("kind", if self.unplugged { "unplugged" } else { "absent" });
                return;
            }
            Kind::Disk(disk) => {
                let Geometry { cylinders, heads, sectors } = disk.geometry;
                node.value("kind", "disk").value("sectors", disk.sectors());
                node.value("geometry", format_args!("{cylinders}/{heads}/{sectors}"));
                node.value("multiple", disk.multiple).value("write_cache", disk.write_cache);
            }
            Kind::Cd(cd) => {
                node.value("kind", "cd");
                cd.inspect(node);
            }
        }
        node.value("serial", self.labels.serial()).hex("status", self.status.bits()).hex("error", self.error);
        let file: Vec<String> = (1..=5).map(|r| format!("{:02x}", self.task.get(r, false))).collect();
        node.value("registers", file.join(" ")).hex("device", self.task.device);
        node.value("in_flight", self.pending.is_some()).value("drained", self.requests.drained());
        node.value("pio", format_args!("{} of {}", self.pio.at, self.pio.buffer.len()));
        let work = match &self.work {
            Work::Idle => "idle",
            Work::Answer => "answer",
            Work::Read { .. } => "read",
            Work::Write { .. } => "write",
            Work::Dma { write: false, .. } => "read dma",
            Work::Dma { .. } => "write dma",
            Work::Flush => "flush",
            Work::TrimList { .. } | Work::Trim { .. } => "trim",
            Work::Packet => "packet",
            Work::Ignore => "parameters",
            Work::Transfer(_) => "packet data",
            Work::HardReset | Work::SoftReset | Work::Diagnostic | Work::DeviceReset => "reset",
        };
        node.value("work", work);
    }
}
