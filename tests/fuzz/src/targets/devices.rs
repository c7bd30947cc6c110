//! Groups of devices on rigs, as a hostile guest reaches them; and their saved states.

use std::sync::{Arc, LazyLock};

use devices::chipset::debugcon::Debugcon;
use devices::chipset::dma8237::Dma8237;
use devices::chipset::fw_cfg::{FwCfg, Item};
use devices::chipset::i440fx::I440fx;
use devices::chipset::piix3::{Piix3, PirqRouter};
use devices::chipset::piix4_pm::{Options, Piix4Pm};
use devices::chipset::port92::Port92;
use devices::chipset::pvpanic::Pvpanic;
use devices::display::bochs::BochsDisplay;
use devices::display::cirrus::Cirrus;
use devices::display::vga::{Eye, Vga};
use devices::input::i8042::{I8042, Wires};
use devices::interrupt::IsaInterrupts;
use devices::interrupt::ioapic::Ioapic;
use devices::interrupt::pic::Pic;
use devices::serial::uart16550::{PORTS, Serial};
use devices::storage::ide::{DriveConfig, Geometry, Ide, Labels};
use devices::timer::hpet::{Hpet, legacy, legacy::Legacy};
use devices::timer::pit::Pit;
use devices::timer::rtc::Rtc;
use devices::xen::platform::{Platform, PlatformOps, Unplug};
use devices::xen::pvdevice::PvDevice;
use devices_core::block::{BlockBackend, Inline, MemoryStore};
use devices_core::chardev::Null;
use devices_core::dma::Dma;
use devices_core::picture::DisplayAdapter;
use devices_core::rig::Rig;
use devices_core::{Saved, Size, Space, Ticket};

use super::outcome;
use crate::script::{self, Window};

pub(super) const fn ports(first: u64, len: u64) -> Window {
    (Space::Pio, first, len)
}

pub(super) const fn memory(first: u64, len: u64) -> Window {
    (Space::Mmio, first, len)
}

fn chipset_rig() -> Rig {
    let mut rig = Rig::new();
    let power = rig.recorder();
    let wiring = rig.wiring();
    rig.attach_pci(I440fx::new(2 << 20, None), &wiring, 0, 0);
    let router = Arc::new(PirqRouter::new(rig.irqs().clone()));
    rig.attach_pci(Piix3::new(router, power.clone()), &wiring, 1, 0);
    let wiring = rig.wiring();
    let sci = rig.irqs().line(9);
    let pm = Piix4Pm::new(Options::default(), sci, power.clone(), Arc::new(|_| ()), &wiring);
    rig.attach_pci(pm, &wiring, 1, 3);
    rig.attach(Port92::new(rig.irqs().line(200), power.clone()), &wiring);
    rig.attach(Pvpanic::new(power), &wiring);
    rig.attach(Dma8237::new(Dma::always(rig.ram().clone())), &wiring);
    let items = vec![Item::key(5, [1, 2, 3, 4]), Item::file("etc/e820", vec![7; 5000])];
    let fw_cfg = FwCfg::new(items, Dma::always(rig.ram().clone())).expect("two items fit");
    rig.attach(fw_cfg, &wiring);
    rig.attach(Debugcon::new(Box::new(|_| ())), &wiring);
    rig
}

/// Bridges, power management, DMA, configuration device.
pub fn chipset(bytes: &[u8]) -> u64 {
    const WINDOWS: [Window; 9] = [
        ports(0xcf8, 8),
        ports(0x600, 64),
        ports(0xae00, 0x20),
        ports(0xaf00, 0x20),
        ports(0xafe0, 4),
        ports(0x510, 12),
        ports(0, 0x20),
        ports(0x80, 0x60),
        ports(0, 0x1_0000),
    ];
    script::run(&mut chipset_rig(), &WINDOWS, bytes)
}

fn clocks_rig() -> Rig {
    let mut rig = Rig::new();
    let pic = Pic::new(Arc::new(|_| ()));
    let ioapic = Ioapic::new(rig.recorder());
    let gsis = IsaInterrupts::new(pic.handle(), Some(ioapic.handle()));
    let isa = devices_core::irq::IrqBank::new(24, Arc::new(gsis));
    let wiring = rig.wiring();
    rig.attach(pic, &wiring);
    rig.attach(ioapic, &wiring);
    let legacy = Legacy::new(&isa);
    let inputs = legacy.inputs();
    let wiring = rig.wiring();
    rig.attach(Hpet::new(&wiring, isa.clone(), legacy), &wiring);
    let wiring = rig.wiring();
    rig.attach(Pit::new(&wiring, inputs.line(legacy::PIT)), &wiring);
    let wiring = rig.wiring();
    rig.attach(Rtc::new(&wiring, inputs.line(legacy::RTC), 1_700_000_000), &wiring);
    rig
}

/// Interrupt controllers and timers.
pub fn clocks(bytes: &[u8]) -> u64 {
    const WINDOWS: [Window; 8] = [
        ports(0x20, 2),
        ports(0xa0, 2),
        ports(0x4d0, 2),
        ports(0x40, 4),
        ports(0x61, 1),
        ports(0x70, 8),
        memory(0xfec0_0000, 0x44),
        memory(0xfed0_0000, 0x400),
    ];
    script::run(&mut clocks_rig(), &WINDOWS, bytes)
}

fn storage_rig() -> Rig {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let medium = |rig: &Rig, read_only| -> Arc<dyn BlockBackend> {
        let store = MemoryStore::new(vec![0x5a; 128 << 10], read_only);
        Arc::new(Inline::new(Arc::new(store), rig.wiring()))
    };
    let disk = DriveConfig::Disk {
        backend: medium(&rig, false),
        geometry: Geometry::of_size(256),
        labels: Labels::default(),
    };
    let cd = DriveConfig::Cd { medium: Some(medium(&rig, true)), labels: Labels::default() };
    let irqs = [rig.irqs().line(14), rig.irqs().line(15)];
    let ide = Ide::new(&wiring, rig.ram().clone(), irqs, [Some(disk), None, Some(cd), None]);
    rig.attach_pci(ide, &wiring, 1, 1);
    // As the firmware leaves it: the bus master has its ports and may use memory.
    rig.config_write(1, 1, 0x20, Size::B4, 0xc001);
    rig.config_write(1, 1, 4, Size::B2, 5);
    rig
}

/// Where the IDE controller's registers are.
pub const STORAGE: [Window; 6] =
    [ports(0x1f0, 8), ports(0x1f0, 8), ports(0x170, 8), ports(0x3f6, 1), ports(0x376, 1), ports(0xc000, 16)];

/// Disks and CD drives.
pub fn storage(bytes: &[u8]) -> u64 {
    script::run(&mut storage_rig(), &STORAGE, bytes)
}

fn display_rig() -> Rig {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let vram = hypervisor::memory::new_block(0, 1 << 20).expect("a MiB of video memory");
    rig.attach_pci(Vga::new(&wiring, vram), &wiring, 2, 0);
    rig.config_write(2, 0, 0x10, Size::B4, 0xe000_0000);
    rig.config_write(2, 0, 0x18, Size::B4, 0xe100_0000);
    rig.config_write(2, 0, 4, Size::B2, 3);
    rig
}

/// The VGA.
pub fn display(bytes: &[u8]) -> u64 {
    const WINDOWS: [Window; 6] = [
        ports(0x3b0, 0x30),
        ports(0x3c0, 0x10),
        ports(0x1ce, 3),
        memory(0xa_0000, 0x2_0000),
        memory(0xe000_0000, 0x10_0000),
        memory(0xe100_0000, 0x1000),
    ];
    script::run(&mut display_rig(), &WINDOWS, bytes)
}

/// A Cirrus: planes, banks, linear memory, and blits of all kinds with the processor as their source.
pub fn cirrus(bytes: &[u8]) -> u64 {
    const WINDOWS: [Window; 5] = [
        ports(0x3c0, 0x20),
        ports(0x3ce, 2),
        memory(0xa_0000, 0x2_0000),
        memory(0xe000_0000, 0x40_0000),
        memory(0xe400_0000, 0x1000),
    ];
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let vram = hypervisor::memory::new_block(0, 4 << 20).expect("4 MiB of video memory");
    let cirrus = rig.attach_pci(Cirrus::new(&wiring, vram), &wiring, 2, 0);
    rig.config_write(2, 0, 0x10, Size::B4, 0xe000_0000);
    rig.config_write(2, 0, 0x14, Size::B4, 0xe400_0000);
    rig.config_write(2, 0, 4, Size::B2, 3);
    // Unlocked, eight bits a pixel, the blitter's registers in memory.
    for (index, value) in [(6, 0x12), (7, 0xf1), (0x17, 0x24), (4, 0x0e)] {
        rig.outb(0x3c4, index);
        rig.outb(0x3c5, value);
    }
    looked_at(&Eye::new(&cirrus), &mut rig, &WINDOWS, bytes)
}

/// Adapters without a VGA.
pub fn linear(bytes: &[u8]) -> u64 {
    const WINDOWS: [Window; 2] = [memory(0xe100_0500, 0x110), memory(0xe200_0400, 0x210)];
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let block = |len| hypervisor::memory::new_block(0, len).expect("video memory");
    let bochs = rig.attach_pci(BochsDisplay::new("bochs", block(4 << 20), Vec::new()), &wiring, 2, 0);
    let second = rig.attach_pci(Vga::secondary("second", &wiring, block(1 << 20)), &wiring, 3, 0);
    for (slot, memory, registers) in [(2, 0xe000_0000, 0xe100_0000), (3, 0xe300_0000, 0xe200_0000)] {
        rig.config_write(slot, 0, 0x10, Size::B4, memory);
        rig.config_write(slot, 0, 0x18, Size::B4, registers);
        rig.config_write(slot, 0, 4, Size::B2, 2);
    }
    let eye = Eye::new(&second);
    looked_at(&Eye::new(&bochs), &mut rig, &WINDOWS, bytes) ^ frame(&eye)
}

/// What somebody sees who looks: size, and the first and the last line.
fn frame(eye: &dyn DisplayAdapter) -> u64 {
    let (frame, _) = eye.look();
    let (width, height) = frame.size();
    let mut row = vec![[0; 3]; width as usize];
    for y in [0, height.saturating_sub(1)] {
        frame.line(0, y, &mut row);
    }
    outcome((width, height, row), "")
}

fn looked_at(eye: &dyn DisplayAdapter, rig: &mut Rig, windows: &[Window], bytes: &[u8]) -> u64 {
    script::run(rig, windows, bytes) ^ frame(eye)
}

fn input_rig() -> Rig {
    let mut rig = Rig::new();
    let wires = Wires {
        keyboard: rig.irqs().line(1),
        mouse: rig.irqs().line(12),
        a20: Arc::new(|_| ()),
        power: rig.recorder(),
    };
    let wiring = rig.wiring();
    rig.attach(I8042::new(wires), &wiring);
    for (index, (_, irq)) in PORTS.iter().enumerate() {
        let wiring = rig.wiring();
        let serial = Serial::new(index, rig.irqs().line(*irq), Arc::new(Null), &wiring);
        rig.attach(serial, &wiring);
    }
    rig
}

/// Keyboard, mouse, serial ports.
pub fn input(bytes: &[u8]) -> u64 {
    const WINDOWS: [Window; 4] = [ports(0x60, 5), ports(0x60, 5), ports(0x3f8, 8), ports(0x2e8, 8)];
    script::run(&mut input_rig(), &WINDOWS, bytes)
}

/// A host that does what the platform device asks at once.
struct Willing;

impl PlatformOps for Willing {
    fn unplug(&self, _what: Unplug, done: Ticket) {
        done.complete(0);
    }
    fn lock_roms(&self, _locked: bool) {}
    fn drivers(&self, product: u16, _build: u32) -> bool {
        product != 0xbad
    }
    fn log(&self, _line: &str) {}
}

fn xen_rig() -> Rig {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    rig.attach_pci(Platform::new(Arc::new(Willing), &wiring), &wiring, 2, 0);
    let wiring = rig.wiring();
    rig.attach_pci(PvDevice::new(0xc000), &wiring, 3, 0);
    rig.config_write(2, 0, 0x10, Size::B4, 0xc101);
    rig.config_write(2, 0, 0x14, Size::B4, 0xf200_0008);
    rig.config_write(2, 0, 4, Size::B2, 3);
    rig
}

/// Xen's platform device and PV device.
pub fn xen(bytes: &[u8]) -> u64 {
    const WINDOWS: [Window; 3] = [ports(0x10, 16), ports(0xc100, 0x100), memory(0xf200_0000, 0x100_0000)];
    script::run(&mut xen_rig(), &WINDOWS, bytes)
}

/// A few scripts: writes of every register in turn, with reads, time and a save between.
pub fn script_seeds() -> Vec<Vec<u8>> {
    let write = |window: u8, offset: u8, value: u8| vec![0, window, offset, 0, value];
    let mut seeds = Vec::new();
    for window in 0..8 {
        let mut script = Vec::new();
        for offset in 0..16 {
            script.extend(write(window, offset, offset.wrapping_mul(37)));
            script.extend([6, window, offset, 0]);
            script.extend([12, 14 + offset % 8]);
        }
        script.push(14);
        seeds.push(script);
    }
    // A disk command by PIO, and one by DMA with its table.
    let mut disk = Vec::new();
    for (offset, value) in [(2, 3), (3, 1), (4, 0), (5, 0), (6, 0xe0), (7, 0x20)] {
        disk.extend(write(0, offset, value));
    }
    disk.extend([12, 20, 9, 0, 0, 1, 0xff, 1, 0, 0]);
    disk.extend([13, 0, 0, 0, 0, 2, 0, 0, 6, 0, 0x80]);
    disk.extend([0, 5, 4, 2, 0, 0, 1, 0]);
    for (offset, value) in [(2, 3), (3, 1), (6, 0xe0), (7, 0xc8)] {
        disk.extend(write(0, offset, value));
    }
    disk.extend(write(5, 0, 9));
    disk.extend([12, 20]);
    seeds.push(disk);
    seeds
}

/// Rigs whose devices' states are fuzzed.
const RIGS: [fn() -> Rig; 11] = [
    chipset_rig,
    clocks_rig,
    storage_rig,
    display_rig,
    input_rig,
    xen_rig,
    super::nic::e1000_rig,
    super::nic::e1000e_rig,
    super::nic::rtl8139_rig,
    super::nic::virtio_net_rig,
    super::virtio::rig,
];

/// Every device: its rig, its name, and its state at the start.
fn states() -> &'static [(usize, String, Saved)] {
    static ALL: LazyLock<Vec<(usize, String, Saved)>> = LazyLock::new(|| {
        let saved = |rig: usize| {
            RIGS[rig]().bus().save().unwrap_or_default().into_iter().map(move |s| (rig, s.0, s.1))
        };
        (0..RIGS.len()).flat_map(saved).collect()
    });
    &ALL
}

/// The saved state of a device: the first byte says of which, the rest is its body. A device that takes it is then
/// used, saved and loaded.
pub fn state(bytes: &[u8]) -> u64 {
    let Some((&which, body)) = bytes.split_first() else { return 0 };
    let which = usize::from(which) % states().len();
    let (rig, name, saved) = &states()[which];
    let mut rig = RIGS[*rig]();
    let saved = Saved { body: body.to_vec(), ..saved.clone() };
    match rig.bus().load(name, &saved).unwrap_or(Ok(())) {
        Ok(()) => {
            rig.bus().remap_all();
            for offset in 0..1024 {
                rig.inb(offset);
            }
            for scale in [10, 20, 24] {
                rig.advance(1 << scale);
            }
            rig.save_load();
            outcome(which, "")
        }
        Err(error) => outcome(which, &error.to_string()),
    }
}

pub fn state_seeds() -> Vec<Vec<u8>> {
    let with_number = |(number, (_, _, saved)): (usize, &(usize, String, Saved))| {
        [&[number as u8][..], &saved.body].concat()
    };
    states().iter().enumerate().map(with_number).collect()
}
