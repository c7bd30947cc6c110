//! Puts a machine together: QEMU's `pc-i440fx`, as far as the hypervisor does not bring parts itself.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use devices::chipset::debugcon::{Debugcon, LineSink};
use devices::chipset::dma8237::Dma8237;
use devices::chipset::fw_cfg::FwCfg;
use devices::chipset::i440fx::{I440fx, Shadow};
use devices::chipset::piix3::{Piix3, PirqRouter};
use devices::chipset::piix4_pm::{Options as PmOptions, Piix4Pm};
use devices::chipset::port92::Port92;
use devices::chipset::pvpanic::Pvpanic;
use devices::display::vga::Vga;
use devices::input::i8042::{I8042, Wires};
use devices::interrupt::IsaInterrupts;
use devices::interrupt::ioapic::Ioapic;
use devices::interrupt::pic::Pic;
use devices::storage::ide::Ide;
use devices::timer::hpet::Hpet;
use devices::timer::hpet::legacy::{self, Legacy};
use devices::timer::pit::Pit;
use devices::timer::rtc::Rtc;
use devices_core::bus::{Bus, Mapper};
use devices_core::dma::Dma;
use devices_core::irq::{IrqBank, IrqSink};
use devices_core::power::Power;
use devices_core::{Device, Sbdf, Slot, Wiring};
use hypervisor::{Claims, GuestRam, Hypervisor, IrqTarget, Mapping, Pin, RamBlock};
use hypervisor_soft::{ClockKind, Soft, SoftConfig};
use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::{BuildError, Machine, disks, firmware, serial};
use crate::config::{ClockMode, GuestConfig, SerialConfig};
use crate::power::Notifier;

/// Video memory, as QEMU's default.
const VRAM: u64 = 16 << 20;
/// Most bytes of the firmware's log: a guest must not fill the host's disk.
const DEBUGCON_MOST: u64 = 16 << 20;

/// The host side of a machine beyond its configuration.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Where the firmware's log goes.
    pub debugcon: Option<PathBuf>,
}

/// Memory windows of PCI devices.
struct Windows(Arc<dyn Hypervisor>);

impl Mapper for Windows {
    fn map(&self, mapping: Mapping) {
        if let Err(error) = self.0.map(mapping) {
            tracing::error!("a window cannot be mapped: {error}");
        }
    }
    fn claim(&self, claims: &Claims) {
        if let Err(error) = self.0.claim(claims) {
            tracing::error!("a window cannot be claimed: {error}");
        }
    }
}

/// One pin of the processor as an interrupt sink.
struct PinSink(Arc<dyn IrqTarget>, Pin);

impl IrqSink for PinSink {
    fn set(&self, _pin: u32, level: bool) {
        self.0.set(self.1, level);
    }
}

/// What is needed to attach devices.
struct Site<'a> {
    bus: &'a Bus,
    hypervisor: &'a dyn Hypervisor,
}

impl Site<'_> {
    fn wiring(&self) -> Wiring {
        Wiring::new(self.hypervisor.clock(), self.hypervisor.timers())
    }

    fn attach<D: Device + 'static>(&self, device: D, wiring: &Wiring) -> Result<Arc<Slot<D>>, BuildError> {
        self.attach_at(device, wiring, None)
    }

    fn attach_pci<D: Device + 'static>(
        &self,
        device: D,
        wiring: &Wiring,
        slot: u8,
        function: u8,
    ) -> Result<Arc<Slot<D>>, BuildError> {
        self.attach_at(device, wiring, Some(Sbdf::bus0(slot, function)))
    }

    fn attach_at<D: Device + 'static>(
        &self,
        device: D,
        wiring: &Wiring,
        sbdf: Option<Sbdf>,
    ) -> Result<Arc<Slot<D>>, BuildError> {
        let attached = self.bus.attach(device, wiring, sbdf);
        attached.map_err(|error| BuildError::Inconsistent(error.to_string()))
    }
}

fn hypervisor(config: &GuestConfig) -> Result<Arc<dyn Hypervisor>, BuildError> {
    let (ram_below, ram_above) = firmware::split_ram(config.memory_mib << 20);
    let clock = match config.clock {
        ClockMode::Host => ClockKind::Host,
        ClockMode::Icount => ClockKind::Icount,
    };
    Ok(Arc::new(Soft::new(SoftConfig { vcpus: config.vcpus, ram_below, ram_above, clock })?))
}

/// Where the real-time clock starts when nobody says and a run must repeat: 2026-01-01.
const REPEATABLE_START: u64 = 1_767_225_600;

/// Seconds since 1970 that the real-time clock starts with.
fn rtc_seconds(config: &GuestConfig) -> i64 {
    let host = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let start = match config.clock {
        ClockMode::Host => host(),
        ClockMode::Icount => REPEATABLE_START,
    };
    let utc = config.rtc_base.unwrap_or(start) as i64;
    let offset = if config.localtime { crate::host::utc_offset(utc) } else { 0 };
    utc.saturating_add(offset)
}

impl Machine {
    /// Builds a machine. Nothing of the host is changed when it fails.
    pub fn build(config: GuestConfig, host: &Host, notifier: Notifier) -> Result<Machine, BuildError> {
        // What can be wrong with files first, before memory is taken.
        let items = firmware::items(&config)?;
        let hypervisor = hypervisor(&config)?;
        notifier.bind(&hypervisor);
        let power: Arc<dyn Power> = Arc::new(notifier.clone());
        let mapper: Arc<dyn Mapper> = Arc::new(Windows(hypervisor.clone()));
        let ram = hypervisor.memory();
        let bus = Bus::new(ram.clone(), mapper.clone());
        let site = Site { bus: &bus, hypervisor: &*hypervisor };
        let low = low_ram(&ram).ok_or_else(|| BuildError::Inconsistent("no RAM at address 0".into()))?;

        // Interrupts: the 8259 pair and the IOAPIC behind one bank of ISA wires.
        let target = hypervisor.irq();
        let intr = target.clone();
        let pic = Pic::new(Arc::new(move |level| intr.set(Pin::Intr, level)));
        let ioapic = Ioapic::new(hypervisor.msi());
        let (pic_handle, ioapic_handle) = (pic.handle(), ioapic.handle());
        let gsis = IsaInterrupts::new(pic_handle.clone(), Some(ioapic_handle.clone()));
        let isa = IrqBank::new(24, Arc::new(gsis));
        let a20 = IrqBank::new(1, Arc::new(PinSink(target, Pin::A20)));
        site.attach(pic, &site.wiring())?;
        site.attach(ioapic, &site.wiring())?;

        // The bridges.
        let bios = firmware::load(&*hypervisor, config.firmware.as_deref())?;
        let shadow = Shadow { ram: low, firmware: Some(bios), mapper };
        site.attach_pci(I440fx::new(config.memory_mib << 20, Some(shadow)), &site.wiring(), 0, 0)?;
        let router = Arc::new(PirqRouter::new(isa.clone()));
        site.attach_pci(Piix3::new(router, power.clone()), &site.wiring(), 1, 0)?;

        // Disks.
        let wiring = site.wiring();
        let drives = disks::open(&config, &|| site.wiring())?;
        let ide = Ide::new(&wiring, ram.clone(), [isa.line(14), isa.line(15)], drives.drives);
        let geometry = drives.geometry;
        let ide = site.attach_pci(ide, &wiring, 1, 1)?;
        let cds = disks::cd_drives(&config, &ide, &site.wiring());

        // Power management.
        let wiring = site.wiring();
        let pm = Piix4Pm::new(pm_options(&config), isa.line(9), power.clone(), Arc::new(|_| ()), &wiring);
        let pm = site.attach_pci(pm, &wiring, 1, 3)?;
        (0..config.vcpus).for_each(|cpu| pm.lock().set_cpu_present(cpu as u8));

        // The screen.
        let wiring = site.wiring();
        let vram = hypervisor.add_ram("vram", VRAM)?;
        let rom = ::firmware::locate::option_rom(::firmware::locate::VGA_BIOS)?;
        let rom_len = (rom.image.len() as u64).next_power_of_two().max(64 << 10);
        let mut image = rom.image;
        image.resize(rom_len as usize, 0xff);
        let rom = firmware::rom_block(&*hypervisor, "vgabios", &image, rom_len)?;
        let vga = site.attach_pci(Vga::new(&wiring, vram, Some(rom)), &wiring, 2, 0)?;

        // Clocks.
        // The HPET first: a load must know who drives IRQ 0 and 8 before the others raise their lines.
        let legacy = Legacy::new(&isa);
        let inputs = legacy.inputs();
        let wiring = site.wiring();
        site.attach(Hpet::new(&wiring, isa.clone(), legacy), &wiring)?;
        let wiring = site.wiring();
        site.attach(Pit::new(&wiring, inputs.line(legacy::PIT)), &wiring)?;
        let wiring = site.wiring();
        let mut clock = Rtc::new(&wiring, inputs.line(legacy::RTC), rtc_seconds(&config));
        disks::fill_cmos(&mut clock, &config, geometry);
        site.attach(clock, &wiring)?;

        // The small things on the ISA bus.
        let gate = Mutex::new(a20.line(0));
        let wires = Wires {
            keyboard: isa.line(1),
            mouse: isa.line(12),
            a20: Arc::new(move |open| gate.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).set(open)),
            power: power.clone(),
        };
        let keyboard = site.attach(I8042::new(wires), &site.wiring())?;
        site.attach(Port92::new(a20.line(0), power.clone()), &site.wiring())?;
        site.attach(Pvpanic::new(power), &site.wiring())?;
        site.attach(Dma8237::new(Dma::always(ram.clone())), &site.wiring())?;
        let fw_cfg = FwCfg::new(items, Dma::always(ram));
        let fw_cfg = fw_cfg.map_err(|error| BuildError::Inconsistent(error.to_string()))?;
        site.attach(fw_cfg, &site.wiring())?;
        if let Some(path) = &host.debugcon {
            site.attach(Debugcon::new(log_to(path)?), &site.wiring())?;
        }
        let announcements = serial::attach(&config, &isa, &bus, &|| site.wiring(), &notifier)?;
        bus.remap_all();
        Ok(Machine {
            config,
            hypervisor,
            bus,
            pic: pic_handle,
            ioapic: ioapic_handle,
            pm,
            keyboard,
            vga,
            cds,
            announcements,
            notifier,
            thread: None,
        })
    }
}

fn pm_options(config: &GuestConfig) -> PmOptions {
    let there = |port: usize| config.serial.get(port).is_some_and(|serial| *serial != SerialConfig::None);
    PmOptions { serial: [there(0), there(1)], ..PmOptions::default() }
}

/// The block of RAM at address 0.
fn low_ram(ram: &GuestRam) -> Option<RamBlock> {
    ram.find_region(GuestAddress(0)).map(|region| region.block().clone())
}

/// A sink that writes lines to a file, up to a bound.
fn log_to(path: &Path) -> Result<LineSink, BuildError> {
    let file_error = |source| BuildError::File { path: path.to_owned(), source };
    let mut file = File::create(path).map_err(file_error)?;
    let mut left = DEBUGCON_MOST;
    Ok(Box::new(move |line| {
        let len = line.len() as u64 + 1;
        if len <= left {
            left -= len;
            // The log is a help; a full disk must not stop the guest.
            let _ = writeln!(file, "{line}");
        }
    }))
}
