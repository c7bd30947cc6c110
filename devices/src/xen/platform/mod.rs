//! The Xen platform device, PCI 5853:0001: by it PV drivers find Xen, tell who they are, and have the
//! emulated disks and NICs taken away before they use their own.
//!
//! Specification: Xen's `docs/misc/hvm-emulated-unplug.pandoc`; QEMU's `xen-platform` where it says more.
//! The same registers answer at fixed ports from 0x10 on and, an older way, in BAR 0. BAR 1 is a piece of
//! address space for the guest's own use: reads give zero, and there is no memory behind it.
//!
//! Left out: the interrupt pin is never driven from here (Xen itself raises it for event channels).

pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bitflags::bitflags;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, Window};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Ticket, Wiring, deferred};

use crate::lines::LineBuffer;
pub use spec::XEN_VENDOR;

bitflags! {
    /// What a guest has unplugged: the bits of the protocol.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Unplug: u8 {
        /// All emulated IDE, SATA and SCSI hard disks; CD drives stay.
        const DISKS = 1 << 0;
        /// All emulated NICs.
        const NICS = 1 << 1;
        /// IDE hard disks but the primary master. Means nothing beside `DISKS`.
        const AUX_DISKS = 1 << 2;
        /// NVMe controllers.
        const NVME = 1 << 3;
    }
}

/// What the device asks of the machine. Called with the device's lock held: notes it, never blocks, and
/// touches no other device from within the call.
pub trait PlatformOps: Send + Sync {
    /// Takes devices away, for good until the machine is built anew: disks are flushed and their images
    /// closed, NICs leave their network. Passed through devices stay. The guest's vCPU waits until `done`
    /// is completed or dropped. Also called when a state is loaded in which they had been unplugged; then
    /// nobody waits.
    fn unplug(&self, what: Unplug, done: Ticket);

    /// Makes guest memory 0xc0000-0xfffff read only, or writable again. Saying the same again does nothing.
    fn lock_roms(&self, locked: bool);

    /// Drivers tell who they are: product number and build (Xen's `docs/misc/hvm-emulated-unplug.pandoc`
    /// lists them). False refuses them: they leave the emulated devices alone.
    fn drivers(&self, product: u16, build: u32) -> bool;

    /// One line of the drivers' log, printable ASCII. Their number is limited.
    fn log(&self, line: &str);
}

/// Regions by index.
mod region {
    pub const FIXED: usize = 0;
    pub const PORTS: usize = 1;
    pub const MEMORY: usize = 2;
}

/// The platform device.
pub struct Platform {
    pci: PciConfig,
    flags: u8,
    product: u16,
    build: u32,
    /// The drivers were told not to go on.
    refused: bool,
    unplugged: Unplug,
    lines: LineBuffer,
    rate: Rate,
    regions: [Region; 3],
    host: Arc<dyn PlatformOps>,
    wiring: Wiring,
}

/// How many more lines a guest may log.
struct Rate {
    left: u32,
    /// Guest time up to which lines have been granted.
    at: u64,
    dropped: u64,
    /// Bytes that may still be logged.
    bytes: usize,
}

impl Rate {
    /// Whether a line may be logged now.
    fn take(&mut self, now: u64) -> bool {
        // After a load guest time may be an earlier one.
        self.at = self.at.min(now);
        let earned = (now - self.at) / spec::LINE_INTERVAL;
        self.at += earned * spec::LINE_INTERVAL;
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(spec::BURST);
        let granted = self.left > 0;
        if granted {
            self.left -= 1
        } else {
            self.dropped += 1
        }
        granted
    }
}

impl Platform {
    /// The device of a machine that carries out what `host` is asked.
    pub fn new(host: Arc<dyn PlatformOps>, wiring: &Wiring) -> Platform {
        let mut pci = PciConfig::new(Identity {
            vendor: XEN_VENDOR,
            device: spec::PLATFORM,
            revision: 1,
            class: 0xff_80_00,
            subsystem: (XEN_VENDOR, spec::PLATFORM),
        });
        pci.connect(1, IrqLine::unconnected());
        pci.bar(0, BarKind::Io, spec::PORTS_LEN, Window::Region(region::PORTS));
        let prefetch = BarKind::Mem32 { prefetch: true };
        pci.bar(1, prefetch, spec::MEMORY_LEN, Window::Region(region::MEMORY));
        Platform {
            pci,
            flags: 0,
            product: 0,
            build: 0,
            refused: false,
            unplugged: Unplug::empty(),
            lines: LineBuffer::default(),
            rate: Rate { left: spec::BURST, at: wiring.now(), dropped: 0, bytes: spec::LOG_MOST },
            regions: [
                Region::pio("fixed", spec::FIXED, spec::FIXED_LEN).widest(4),
                Region::floating("ports", Space::Pio, spec::PORTS_LEN).widest(1),
                Region::floating("memory", Space::Mmio, spec::MEMORY_LEN),
            ],
            host,
            wiring: wiring.clone(),
        }
    }

    /// What the guest has unplugged since power-on.
    pub fn unplugged(&self) -> Unplug {
        self.unplugged
    }

    fn set_flags(&mut self, value: u8) {
        self.flags = value & spec::ROM_LOCK;
        self.host.lock_roms(self.flags & spec::ROM_LOCK != 0);
    }

    fn unplug(&mut self, mut what: Unplug) -> Io {
        if what.contains(Unplug::DISKS) {
            what.remove(Unplug::AUX_DISKS);
        }
        if what.is_empty() {
            return Io::Done;
        }
        self.unplugged |= what;
        let (done, answer) = deferred();
        self.host.unplug(what, done);
        Io::Defer(answer)
    }

    fn log(&mut self, byte: u8) {
        if let Some(line) = self.lines.put(byte) {
            self.log_line(&line);
        }
    }

    fn log_line(&mut self, line: &str) {
        if self.rate.bytes == 0 || !self.rate.take(self.wiring.now()) {
            return;
        }
        self.rate.bytes = self.rate.bytes.saturating_sub(line.len());
        if self.rate.bytes == 0 {
            self.host.log("(that is enough: nothing more of this guest is logged)");
            return;
        }
        if self.rate.dropped > 0 {
            self.host.log(&format!("({} lines were dropped)", self.rate.dropped));
            self.rate.dropped = 0;
        }
        self.host.log(line);
    }

    /// The width of an access tells which register of a port is meant.
    fn read_fixed(&self, offset: u64, data: &mut [u8]) {
        match (offset, data) {
            (spec::CONTROL, [byte]) => *byte = self.flags,
            (spec::PRODUCT, [byte]) => *byte = spec::PROTOCOL,
            (spec::CONTROL, [low, high]) => {
                let magic = if self.refused { spec::MAGIC_REFUSED } else { spec::MAGIC };
                [*low, *high] = magic.to_le_bytes();
            }
            (_, data) => data.fill(0xff),
        }
    }

    fn write_fixed(&mut self, offset: u64, data: &[u8]) -> Io {
        match (offset, data) {
            (spec::CONTROL, &[flags]) => self.set_flags(flags),
            (spec::CONTROL, &[mask, _]) => return self.unplug(Unplug::from_bits_truncate(mask)),
            (spec::CONTROL, &[a, b, c, d]) => {
                self.build = u32::from_le_bytes([a, b, c, d]);
                self.refused = !self.host.drivers(self.product, self.build);
            }
            (spec::PRODUCT, &[byte]) => self.log(byte),
            (spec::PRODUCT, &[low, high]) => self.product = u16::from_le_bytes([low, high]),
            _ => {}
        }
        Io::Done
    }

    /// The older way.
    fn write_bar(&mut self, offset: u64, value: u8) -> Io {
        match (offset, value) {
            (spec::BAR_FLAGS, flags) => self.set_flags(flags),
            (spec::BAR_UNPLUG_ALL, 1) => return self.unplug(Unplug::DISKS | Unplug::NICS),
            (spec::BAR_UNPLUG, 1) => return self.unplug(Unplug::DISKS),
            (spec::BAR_UNPLUG, 2) => return self.unplug(Unplug::NICS),
            (spec::BAR_UNPLUG, byte) => self.log(byte),
            _ => {}
        }
        Io::Done
    }
}

impl Device for Platform {
    fn name(&self) -> &str {
        "xen-platform"
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        match (at.region, at.offset) {
            (region::FIXED, offset) => self.read_fixed(offset, data),
            (region::PORTS, spec::BAR_FLAGS) => data.fill(self.flags),
            (region::PORTS, _) => data.fill(0xff),
            _ => data.fill(0),
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        match (at.region, data) {
            (region::FIXED, data) => self.write_fixed(at.offset, data),
            (region::PORTS, &[value]) => self.write_bar(at.offset, value),
            _ => Io::Done,
        }
    }

    fn reset(&mut self) {
        self.pci.reset();
        self.set_flags(0);
        (self.product, self.build, self.refused) = (0, 0, false);
        self.unplugged = Unplug::empty();
        if let Some(line) = self.lines.end() {
            self.log_line(&line);
        }
    }

    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }

    fn inspect(&self, node: &mut Node) {
        node.hex("flags", self.flags).hex("product", self.product).value("build", self.build);
        node.value("refused", self.refused).value("unplugged", format_args!("{:?}", self.unplugged));
        node.value("line", self.lines.begun().escape_ascii());
    }
}
