#![forbid(unsafe_code)]
//! The guest whose saved states are kept: a whole machine with something going on in every device.
//!
//! Its firmware and its images are made here, so that nothing of the host is needed.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use devicemodel::config::{ClockMode, DiskConfig, GuestConfig, SerialConfig};
use devicemodel::machine::{Machine, MachineHandles};
use devicemodel::notices::{Notices, notices};
use devicemodel::saved::{self, Parts};
use devices_core::bus::View;
use hypervisor::Hypervisor;
use hypervisor_soft::{ClockKind, CpuModel, Soft, SoftConfig, Tier};
use ioreq::{Request, Sbdf, Size, Target};
use vm_memory::{Bytes, GuestAddress};

/// Where the guest counts before it is saved: it says when it is done.
pub const COUNTED: u64 = 0x500;
/// How far.
pub const COUNTS: u32 = 200_000;
/// Where it counts after that, for ever.
pub const GOING_ON: u64 = 0x504;

/// Where the firmware folder is looked for, from the working directory.
const FIRMWARE: &str = "build/root/usr/share/seabios";
/// Power management ports.
const PM: u16 = 0xb000;

/// Fills `folder` with what the guest's configuration names and makes it the working directory.
pub fn enter(folder: &Path) -> Result<()> {
    let roms = folder.join(FIRMWARE);
    fs::create_dir_all(&roms)?;
    fs::write(roms.join("vgabios-stdvga.bin"), option_rom())?;
    fs::write(folder.join("bios.bin"), bios())?;
    fs::write(folder.join("disk.img"), disk())?;
    fs::write(folder.join("cd.iso"), vec![0x5a; 64 * 2048])?;
    Ok(std::env::set_current_dir(folder)?)
}

/// A disk whose every sector has its own number all over.
fn disk() -> Vec<u8> {
    (0..2048u32).flat_map(|sector| sector.to_le_bytes().repeat(128)).collect()
}

/// An option ROM that does nothing.
fn option_rom() -> Vec<u8> {
    let mut rom = vec![0; 512];
    rom[..4].copy_from_slice(&[0x55, 0xaa, 1, 0xcb]);
    let sum = rom.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    rom[511] = sum.wrapping_neg();
    rom
}

/// Counts to [`COUNTS`], reports a panic, which stops the machine, and counts on.
fn bios() -> Vec<u8> {
    let [a, b, c, d] = COUNTS.to_le_bytes();
    let code = [
        &[0x66, 0xb9, a, b, c, d][..],         // mov ecx, COUNTS
        &[0x66, 0xff, 0x06, 0x00, 0x05],       // 1: inc dword [COUNTED]
        &[0x66, 0x49, 0x75, 0xf7],             // dec ecx; jnz 1
        &[0xb0, 0x01, 0xba, 0x05, 0x05, 0xee], // out 0x505, 1
        &[0x66, 0xff, 0x06, 0x04, 0x05],       // 2: inc dword [GOING_ON]
        &[0xeb, 0xf9],                         // jmp 2
    ];
    let mut image = code.concat();
    image.resize(64 << 10, 0xff);
    // The reset vector, 16 bytes before the end: jump to the beginning of the segment.
    image[0xfff0..0xfff3].copy_from_slice(&[0xe9, 0x0d, 0x00]);
    image
}

/// The guest. Its time is the count of instructions, so that two savings of it are the same.
pub fn config() -> Result<GuestConfig> {
    let mut config = GuestConfig {
        name: "golden".into(),
        uuid: *b"golden guest uid",
        memory_mib: 2,
        vcpus: 2,
        disks: vec![DiskConfig::new("disk.img"), DiskConfig::cdrom("cd.iso")],
        firmware: Some("bios.bin".into()),
        clock: ClockMode::Icount,
        serial: vec![SerialConfig::File("com1".into()), SerialConfig::File("com2".into())],
        rtc_base: Some(1_700_000_000),
        ..GuestConfig::default()
    };
    config.check()?;
    Ok(config)
}

/// A machine and what its devices ask for.
pub struct Golden {
    /// The machine.
    pub machine: Machine,
    notices: Notices,
    view: View,
}

impl Golden {
    /// Builds it, paused, in the working directory that [`enter`] prepared.
    pub fn build(config: GuestConfig) -> Result<Golden> {
        let soft = SoftConfig {
            vcpus: config.vcpus,
            ram_below: config.memory_mib << 20,
            ram_above: 0,
            clock: match config.clock {
                ClockMode::Host => ClockKind::Host,
                ClockMode::Icount => ClockKind::Icount,
            },
            tier: Tier::default(),
            cpu: CpuModel::default(),
        };
        let hypervisor: Arc<dyn Hypervisor> = Arc::new(Soft::new(soft)?);
        let (notifier, notices) = notices()?;
        let handles = MachineHandles {
            debugcon: Some("firmware.log".into()),
            ..MachineHandles::new(hypervisor, notifier)
        };
        let machine = Machine::build(config, handles)?;
        let view = machine.bus().view();
        Ok(Golden { machine, notices, view })
    }

    /// Runs until the guest reports that it has counted.
    pub fn run_to_the_report(&mut self) -> Result<()> {
        self.machine.start()?;
        self.machine.resume();
        let until = Instant::now() + Duration::from_secs(60);
        while self.notices.next().is_none() {
            ensure!(Instant::now() < until, "the guest does not come to its report");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.machine.pause();
        Ok(())
    }

    /// A word of the guest's memory.
    pub fn word(&self, at: u64) -> Result<u32> {
        let mut word = [0; 4];
        self.machine.hypervisor().memory().read_slice(&mut word, GuestAddress(at))?;
        Ok(u32::from_le_bytes(word))
    }

    /// Saves it. It is paused.
    pub fn save(&self, file: &Path) -> Result<()> {
        saved::quiesce(self.machine.bus())?;
        let parts = Parts {
            config: self.machine.config(),
            hypervisor: self.machine.hypervisor(),
            bus: self.machine.bus(),
        };
        saved::save(&parts, saved::create(file)?, &mut |_, _| true).context("saving")
    }

    /// Writes a byte to a port.
    pub fn outb(&mut self, port: u16, value: u8) {
        self.view.request(&Request::write(0, Target::Pio(port), Size::B1, value.into()));
    }
    /// Writes four bytes to a port.
    pub fn outl(&mut self, port: u16, value: u32) {
        self.view.request(&Request::write(0, Target::Pio(port), Size::B4, value.into()));
    }
    /// Reads a byte from a port.
    pub fn inb(&mut self, port: u16) -> u8 {
        self.view.request(&Request::read(0, Target::Pio(port), Size::B1)) as u8
    }
    /// Reads two bytes from a port.
    pub fn inw(&mut self, port: u16) -> u16 {
        self.view.request(&Request::read(0, Target::Pio(port), Size::B2)) as u16
    }
    /// Reads four bytes from a port.
    pub fn inl(&mut self, port: u16) -> u32 {
        self.view.request(&Request::read(0, Target::Pio(port), Size::B4)) as u32
    }
    /// Writes four bytes to a device's memory.
    pub fn mmio(&mut self, address: u64, value: u32) {
        self.view.request(&Request::write(0, Target::Mmio(address), Size::B4, value.into()));
    }
    /// Writes a function's configuration space.
    pub fn config_write(&mut self, slot: u8, function: u8, reg: u16, size: Size, value: u32) {
        let target = Target::PciConfig { sbdf: Sbdf::bus0(slot, function), reg };
        self.view.request(&Request::write(0, target, size, value.into()));
    }

    /// Sets the devices going, before the guest counts.
    pub fn begin(&mut self) {
        // Interrupt controllers: initialised, at 0x20 and 0x28, two lines open.
        for (port, value) in [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xfa)] {
            self.outb(port, value);
            self.outb(port + 0x80, if value == 0x20 { 0x28 } else { value });
        }
        self.mmio(0xfec0_0000, 0x12);
        self.mmio(0xfec0_0010, 0x0001_a931);
        // Timers: channel 0 as a rate generator, channel 2 as a square wave; HPET running, one comparator armed.
        for (port, value) in
            [(0x43, 0x34), (0x40, 0x9b), (0x40, 0x2e), (0x43, 0xb6), (0x42, 0x34), (0x42, 0x12)]
        {
            self.outb(port, value);
        }
        self.mmio(0xfed0_0108, 1 << 20);
        self.mmio(0xfed0_0100, 0x0004);
        self.mmio(0xfed0_0010, 1);
        for (register, value) in [(0x0a, 0x26), (0x0b, 0x42), (0x40, 0x77)] {
            self.outb(0x70, register);
            self.outb(0x71, value);
        }
        // Bridges and functions.
        self.config_write(0, 0, 0x59, Size::B1, 0x30);
        self.config_write(1, 0, 0x60, Size::B4, 0x0b0b_0a0a);
        self.config_write(1, 1, 0x20, Size::B4, 0xc001);
        self.config_write(1, 1, 4, Size::B2, 5);
        self.config_write(1, 3, 0x40, Size::B4, u32::from(PM) | 1);
        self.config_write(1, 3, 0x80, Size::B1, 1);
        self.outb(0xb2, 0xf1);
        self.outl(0xcf8, 0x8000_0900);
        self.screen();
        self.small_devices();
        // A disk command that goes on while the guest counts.
        for (port, value) in (0x1f2..).zip([3, 7, 0, 0, 0xe0, 0x20]) {
            self.outb(port, value);
        }
        // A packet to the CD drive, half sent.
        for (port, value) in (0x176..).zip([0xa0, 0xa0]) {
            self.outb(port, value);
        }
        for word in [0x0028u16, 0, 0] {
            self.view.request(&Request::write(0, Target::Pio(0x170), Size::B2, word.into()));
        }
    }

    /// A graphics mode, its colours, a few bytes of its memory.
    fn screen(&mut self) {
        self.config_write(2, 0, 0x10, Size::B4, 0xe000_0000);
        self.config_write(2, 0, 0x18, Size::B4, 0xe100_0000);
        self.config_write(2, 0, 4, Size::B2, 3);
        for (index, value) in [(4, 0), (1, 640), (2, 480), (3, 32), (4, 0x41)] {
            for (port, value) in [(0x1ce, index), (0x1d0, value)] {
                self.view.request(&Request::write(0, Target::Pio(port), Size::B2, value));
            }
        }
        for (port, value) in
            [(0x3c8, 5), (0x3c9, 1), (0x3c9, 2), (0x3c9, 3), (0x3c2, 0x67), (0x3c4, 2), (0x3c5, 5)]
        {
            self.outb(port, value);
        }
    }

    /// Serial ports, keyboard, DMA, configuration device, A20.
    fn small_devices(&mut self) {
        for (port, value) in [(0x3fb, 0x83), (0x3f8, 1), (0x3fb, 0x03), (0x3fa, 0x07), (0x3f9, 0x02)] {
            self.outb(port, value);
            self.outb(port - 0x100, value);
        }
        self.outb(0x3f8, b'A');
        self.outb(0x3ff, 0x42);
        for (port, value) in [(0x64, 0x60), (0x60, 0x47), (0x60, 0xf2), (0x64, 0xd4), (0x60, 0xf4)] {
            self.outb(port, value);
        }
        for (port, value) in [(0x0c, 0), (0x04, 0x34), (0x04, 0x12), (0x05, 0xff), (0x0b, 0x46), (0x81, 0x07)]
        {
            self.outb(port, value);
        }
        self.view.request(&Request::write(0, Target::Pio(0x510), Size::B2, 0));
        self.inb(0x511);
        self.outb(0x92, 0x02);
        for byte in *b"half a li" {
            self.outb(0x402, byte);
        }
    }

    /// What is done last, when the guest stands: a part of the disk's data is read.
    pub fn end(&mut self) {
        for _ in 0..20 {
            self.inw(0x1f0);
        }
    }
}

impl Drop for Golden {
    fn drop(&mut self) {
        self.machine.shut_down();
    }
}

/// Makes the guest, runs it to its report, and saves it to `file`.
pub fn make(file: &Path) -> Result<()> {
    let mut golden = Golden::build(config()?)?;
    golden.begin();
    golden.run_to_the_report()?;
    ensure!(golden.word(COUNTED)? == COUNTS, "the guest has not counted");
    golden.end();
    golden.save(file)
}
