//! Intel 82371AB (PIIX4), function 3: power management, at 00:01.3 beside the PIIX3, with the ACPI blocks
//! that QEMU's machine adds: GPE0, PCI slot and processor hotplug.
//!
//! Datasheet: Intel 82371AB PCI-to-ISA/IDE Xcelerator, order 290562, section 7; ACPI specification 2.0,
//! chapter 4.8; QEMU documentation for the hotplug blocks.
//!
//! Left out: system management mode (firmware finds it already set up, and APM commands beside the two
//! ACPI ones do nothing), clock throttling and device monitors, general purpose inputs and outputs,
//! devices on the SMBus (QEMU has eight blank memory module ROMs there) and its interrupt, hotplug behind
//! bridges, the newer processor hotplug interface, memory hotplug.

mod acpi;
mod hotplug;
pub mod model;
mod smbus;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::pci::{Identity, PciConfig, Placement, QEMU_SUBSYSTEM, Window};
use devices_core::power::Power;
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Timer, Wake, Wiring};

use acpi::Acpi;
use hotplug::Hotplug;
use smbus::Smbus;

/// ISA interrupt of the system control interrupt.
pub const SCI_IRQ: u32 = 9;

/// Regions by index.
mod region {
    pub const EVENTS: usize = 0;
    pub const CONTROL: usize = 1;
    pub const TIMER: usize = 2;
    pub const SMBUS: usize = 3;
    pub const APM: usize = 4;
    pub const GPE: usize = 5;
    pub const PCI_HOTPLUG: usize = 6;
    pub const CPU_HOTPLUG: usize = 7;
}

/// Told of a slot of bus 0 that the guest has ejected. Called with the device's lock held: notes it.
pub type Eject = Arc<dyn Fn(u8) + Send + Sync>;

/// How the machine wants it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Reading the PCI hotplug block's first register leaves it as it is: what tables made for Xen expect,
    /// which read it once for each slot. QEMU's own tables read it once and expect it cleared.
    pub up_stays: bool,
    /// The hypervisor answers the PM1 event registers and the timer itself, buttons included. The device
    /// still decodes their ports, as QEMU does on Xen, and nothing is there.
    pub events_elsewhere: bool,
    /// COM1 and COM2 are there, for the registers that say what the chip decodes.
    pub serial: [bool; 2],
    /// LPT1 is there, likewise.
    pub parallel: bool,
}

/// The handles of the device.
struct Parts {
    sci: IrqLine,
    timer: Timer,
    power: Arc<dyn Power>,
    eject: Eject,
    wiring: Wiring,
    /// Who wants to know where the power management ports are.
    base: Arc<AtomicU16>,
}

/// The power management function.
pub struct Piix4Pm {
    pci: PciConfig,
    acpi: Acpi,
    hotplug: Hotplug,
    smbus: Smbus,
    /// APM control and status.
    apm: [u8; 2],
    events_elsewhere: bool,
    regions: [Region; 8],
    parts: Parts,
}

impl Piix4Pm {
    /// `sci` is a line to ISA interrupt 9.
    pub fn new(
        options: Options,
        sci: IrqLine,
        power: Arc<dyn Power>,
        eject: Eject,
        wiring: &Wiring,
    ) -> Piix4Pm {
        let regions = [
            Region::floating("pm events", Space::Pio, spec::EVENTS_LEN),
            Region::floating("pm control", Space::Pio, spec::CONTROL_LEN),
            Region::floating("pm timer", Space::Pio, spec::TIMER_LEN),
            Region::floating("smbus", Space::Pio, 64).widest(1),
            Region::pio("apm", spec::APM, 2),
            Region::pio("gpe", spec::GPE, 4),
            Region::pio("pci hotplug", spec::PCI_HOTPLUG, spec::PCI_HOTPLUG_LEN).widest(4),
            Region::pio("cpu hotplug", spec::CPU_HOTPLUG, spec::CPU_HOTPLUG_LEN as u64),
        ];
        let mut device = Piix4Pm {
            pci: configuration(&options),
            acpi: Acpi::default(),
            hotplug: Hotplug::new(!options.up_stays),
            smbus: Smbus::default(),
            apm: [0; 2],
            events_elsewhere: options.events_elsewhere,
            regions,
            parts: Parts {
                sci,
                timer: wiring.timer(0),
                power,
                eject,
                wiring: wiring.clone(),
                base: Arc::default(),
            },
        };
        device.follow();
        device
    }

    /// Has `base` say where the power management ports were put last, which firmware chooses: SeaBIOS 0x600, OVMF 0xb000.
    #[must_use]
    pub fn telling(mut self, base: Arc<AtomicU16>) -> Piix4Pm {
        self.parts.base = base;
        self
    }

    /// The power button was pressed. Ignored by a guest that does not listen for it.
    pub fn press_power_button(&mut self) {
        self.acpi.press_power_button();
        self.follow();
    }

    /// The machine wakes from suspend to RAM. After the platform's reset, before the vCPUs go on. Does
    /// nothing where the hypervisor has the events.
    pub fn wake_up(&mut self) {
        if !self.events_elsewhere {
            self.acpi.wake_up();
            self.follow();
        }
    }

    /// Which slots of bus 0 (bit n is slot n) can be ejected. Not part of the saved state.
    pub fn set_removable_slots(&mut self, slots: u32) {
        self.hotplug.removable = slots;
    }

    /// Tells the guest that a device is in `slot` (0-31) now.
    pub fn plug_slot(&mut self, slot: u8) {
        self.hotplug.plug(slot);
        self.raise(spec::GPE_PCI);
    }

    /// Asks the guest to let go of the device in `slot` (0-31). It ejects it when it is done.
    pub fn request_unplug_slot(&mut self, slot: u8) {
        self.hotplug.request_unplug(slot);
        self.raise(spec::GPE_PCI);
    }

    /// A processor that is there from the start.
    pub fn set_cpu_present(&mut self, apic_id: u8) {
        self.hotplug.add_cpu(apic_id);
    }

    /// Tells the guest of a new processor.
    pub fn plug_cpu(&mut self, apic_id: u8) {
        if self.hotplug.add_cpu(apic_id) {
            self.raise(spec::GPE_CPU);
        }
    }

    /// Tells the guest that its VM generation id is another.
    pub fn generation_changed(&mut self) {
        self.raise(spec::GPE_GENERATION);
    }

    fn raise(&mut self, events: u16) {
        self.acpi.raise_gpe(events);
        self.follow();
    }

    /// Brings the interrupt line and the timer where the registers want them.
    fn follow(&mut self) {
        let now = self.parts.wiring.now();
        self.parts.sci.set(self.acpi.sci(now));
        match self.acpi.deadline(now) {
            Some(deadline) => self.parts.timer.arm(deadline),
            None => self.parts.timer.cancel(),
        }
    }

    /// Where the two floating windows are, if they are decoded.
    fn bases(&self) -> [Option<u16>; 2] {
        let base = |register, enable| {
            let base = self.pci.u16(register) & spec::BASE_MASK;
            (self.pci.u8(enable) & 1 != 0 && base != 0).then_some(base)
        };
        [base(spec::PMBASE, spec::PMREGMISC), base(spec::SMBBASE, spec::SMBHSTCFG)]
    }

    fn read_byte(&mut self, region: usize, offset: u64, now: u64) -> u8 {
        match region {
            region::EVENTS | region::CONTROL | region::TIMER => {
                self.acpi.read(pm_offset(region) + offset, now)
            }
            region::SMBUS => self.smbus.read(offset),
            region::APM => self.apm[offset as usize & 1],
            region::GPE => self.acpi.read_gpe(offset),
            region::CPU_HOTPLUG => self.hotplug.cpus(offset),
            _ => 0,
        }
    }

    fn write_byte(&mut self, region: usize, offset: u64, value: u8) {
        match region {
            region::EVENTS | region::CONTROL | region::TIMER => {
                let offset = pm_offset(region) + offset;
                if let Some(event) = self.acpi.write(offset, value, self.parts.wiring.now()) {
                    self.parts.power.request(event);
                }
            }
            region::SMBUS => self.smbus.write(offset, value),
            region::APM => self.write_apm(offset, value),
            region::GPE => self.acpi.write_gpe(offset, value),
            // The processor bitmap is read only.
            _ => {}
        }
    }

    /// Whether the hypervisor has what this region would show.
    fn elsewhere(&self, region: usize) -> bool {
        self.events_elsewhere && matches!(region, region::EVENTS | region::TIMER)
    }

    fn write_apm(&mut self, offset: u64, value: u8) {
        self.apm[offset as usize & 1] = value;
        match (offset, value) {
            (0, spec::ACPI_ENABLE) => self.acpi.set_acpi_mode(true),
            (0, spec::ACPI_DISABLE) => self.acpi.set_acpi_mode(false),
            _ => {}
        }
    }
}

/// Where a region of the power management ports is from their base on.
fn pm_offset(region: usize) -> u64 {
    match region {
        region::EVENTS => spec::EVENTS_AT,
        region::CONTROL => spec::CONTROL_AT,
        _ => spec::TIMER_AT,
    }
}

fn configuration(options: &Options) -> PciConfig {
    let mut pci = PciConfig::new(Identity {
        vendor: 0x8086,
        device: 0x7113,
        revision: 3,
        class: 0x06_80_00,
        subsystem: QEMU_SUBSYSTEM,
    });
    pci.allow(0x40, &[0xff; 0xc0]);
    // Status: fast back-to-back, medium DEVSEL.
    pci.set(0x06, &[0x80, 0x02]);
    pci.set(devices_core::pci::reg::INTERRUPT_PIN, &[1]);
    pci.set(spec::PMBASE, &[1]);
    pci.set(spec::DEVACTB3, &[spec::APMC_EN]);
    pci.set_u16(spec::SMBBASE, spec::SMBBASE_RESET | 1);
    pci.set(spec::SMBHSTCFG, &[0x09]);
    let flag = |on, bits| if on { bits } else { 0 };
    pci.set(spec::DEVRESB3, &[0x10 | flag(options.parallel, 0x80)]);
    pci.set(spec::DEVRESC3, &[0x60]);
    let [com1, com2] = options.serial;
    pci.set(spec::DEVRESD3, &[flag(com1, 0x08) | flag(com2, 0x90)]);
    pci
}

impl Device for Piix4Pm {
    fn name(&self) -> &str {
        "piix4-pm"
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        if at.region == region::PCI_HOTPLUG {
            // Narrower reads see their part of the register.
            let value = self.hotplug.read_pci(at.offset & !3).to_le_bytes();
            for (byte, from) in data.iter_mut().zip(value.iter().skip(at.offset as usize & 3)) {
                *byte = *from;
            }
            return Io::Done;
        }
        if self.elsewhere(at.region) {
            return Io::Unclaimed;
        }
        // One instant for the whole access: a counter put together from two would run backwards afterwards, which
        // SeaBIOS takes for a wrap of the timer, 4.7 s each time.
        let now = self.parts.wiring.now();
        for (offset, byte) in (at.offset..).zip(data) {
            *byte = self.read_byte(at.region, offset, now);
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        if at.region == region::PCI_HOTPLUG {
            if let &[a, b, c, d] = data
                && let Some(slot) = self.hotplug.write_pci(at.offset, u32::from_le_bytes([a, b, c, d]))
            {
                (self.parts.eject)(slot);
            }
            return Io::Done;
        }
        if self.elsewhere(at.region) {
            return Io::Unclaimed;
        }
        for (offset, &byte) in (at.offset..).zip(data) {
            self.write_byte(at.region, offset, byte);
        }
        self.follow();
        Io::Done
    }

    fn wake(&mut self, _why: Wake) {
        self.follow();
    }

    fn reset(&mut self) {
        self.pci.reset();
        self.acpi = Acpi::default();
        // What the guest was asked to let go of goes now.
        for slot in self.hotplug.reset() {
            (self.parts.eject)(slot);
        }
        self.smbus = Smbus::default();
        self.apm = [0; 2];
        self.follow();
    }

    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }

    fn config_write(&mut self, reg: u16, data: &[u8]) -> bool {
        let before = self.bases();
        self.pci.write(reg, data);
        self.bases() != before
    }

    fn placements(&mut self) -> Vec<Placement> {
        let [pm, smbus] = self.bases();
        pm.iter().for_each(|&base| self.parts.base.store(base, Ordering::Relaxed));
        let window = |region, address| Placement { window: Window::Region(region), address };
        let pm = pm.into_iter().flat_map(|base| {
            [region::EVENTS, region::CONTROL, region::TIMER]
                .map(|region| window(region, u64::from(base) + pm_offset(region)))
        });
        pm.chain(smbus.map(|base| window(region::SMBUS, base.into()))).collect()
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }

    fn inspect(&self, node: &mut Node) {
        let now = self.parts.wiring.now();
        let (enable, gpe_status, gpe_enable) = self.acpi.enabled();
        node.hex("pm1 status", self.acpi.status(now)).hex("pm1 enable", enable);
        node.hex("pm1 control", self.acpi.control());
        node.hex("gpe status", gpe_status).hex("gpe enable", gpe_enable);
        for (base, name) in self.bases().into_iter().zip(["pm base", "smbus base"]) {
            match base {
                Some(base) => node.hex(name, base),
                None => node.value(name, "not decoded"),
            };
        }
        node.value("sci", self.parts.sci.level()).value("events elsewhere", self.events_elsewhere);
    }
}
