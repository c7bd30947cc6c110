//! Scenarios of the controller. Each runs twice: straight on, and with a save and load after every access.

mod atapi;
mod disk;
mod flight;
mod fuzz;
mod seabios;
mod threads;
mod unplug;

use std::sync::{Arc, LazyLock, Mutex};

use devices_core::block::{
    BlockBackend, ErrorAction, ErrorPolicy, Inline, MemoryStore, OnError, Retry, Tray,
};
use devices_core::events::{DeviceEvent, Observer};
use devices_core::pci::reg as pci_reg;
use devices_core::rig::{Rig, us};
use devices_core::{Dir, Size};

use super::{DriveConfig, Geometry, Ide, Labels};

/// Where the tests put the bus master and its tables.
const BM: u16 = 0xc000;
const TABLE: u64 = 0x1_0000;

/// Status bits that a test looks at.
const BSY: u8 = 0x80;
const DRQ: u8 = 0x08;
const READY: u8 = 0x50;

/// Contents that tell a sector from any other.
fn pattern(sectors: usize) -> Vec<u8> {
    static ALL: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..DISK_SECTORS * 512).map(|at| (at / 512 * 7 + at % 251) as u8).collect());
    ALL[..sectors * 512].to_vec()
}

/// Writes down what it is told.
#[derive(Default)]
struct Heard(Mutex<Vec<DeviceEvent>>, Mutex<Vec<Arc<dyn Retry>>>);

impl Observer for Heard {
    fn observe(&self, event: DeviceEvent) {
        self.0.lock().unwrap().push(event);
    }

    fn stops(&self, requests: Arc<dyn Retry>) -> bool {
        self.1.lock().unwrap().push(requests);
        true
    }
}

/// A controller with a disk as primary master and a CD drive as secondary master.
struct Machine {
    rig: Rig,
    disk: Arc<MemoryStore>,
    tray: Tray,
    heard: Arc<Heard>,
    /// Save and load after every access.
    save: bool,
}

#[test]
fn a_drive_says_what_it_was_given() {
    let labels = Labels {
        serial: Some("twenty characters and more".into()),
        version: Some("1.23".into()),
        model: Some("a model".into()),
        wwn: 0x5000_1111_2222_3333,
        physical_block: Some(4096),
        trim: true,
    };
    let mut rig = Machine::labelled(&labels);
    for (base, command, word106) in [(0x1f0, 0xec, 0x6003), (0x170, 0xa1, 0)] {
        rig.outb(base + 7, command);
        let words: Vec<u16> = (0..256).map(|_| rig.inw(base)).collect();
        let text =
            |words: &[u16]| String::from_utf8(words.iter().flat_map(|w| w.to_be_bytes()).collect()).unwrap();
        assert_eq!(text(&words[10..20]), "twenty characters an");
        assert_eq!(text(&words[23..27]), "1.23    ");
        assert_eq!(text(&words[27..47]).trim_end(), "a model");
        assert_eq!(words[108..112], [0x5000, 0x1111, 0x2222, 0x3333]);
        assert!(words[84] & words[87] & 1 << 8 != 0, "there is a world wide name");
        assert_eq!(words[106], word106);
    }
}

const DISK_SECTORS: usize = 2016 * 4;
const CD_FRAMES: usize = 120;

impl Machine {
    fn new(save: bool) -> Machine {
        Machine::with(save, |rig, store| Arc::new(Inline::new(store, rig.wiring())))
    }

    /// One whose disk does that about errors.
    fn on_errors(errors: ErrorPolicy) -> Machine {
        Machine::built(false, errors, |rig, store| Arc::new(Inline::new(store, rig.wiring())))
    }

    /// The same with another host side under its media.
    fn with(save: bool, serve: impl Fn(&Rig, Arc<MemoryStore>) -> Arc<dyn BlockBackend>) -> Machine {
        Machine::built(save, ErrorPolicy::REPORT, serve)
    }

    fn built(
        save: bool,
        errors: ErrorPolicy,
        serve: impl Fn(&Rig, Arc<MemoryStore>) -> Arc<dyn BlockBackend>,
    ) -> Machine {
        let mut rig = Rig::new();
        let wiring = rig.wiring();
        let disk = Arc::new(MemoryStore::new(pattern(DISK_SECTORS), false));
        let cd = serve(&rig, Arc::new(MemoryStore::new(pattern(CD_FRAMES * 4), true)));
        let geometry = Geometry::guess(DISK_SECTORS as u64, &[]).0;
        let backend = serve(&rig, disk.clone());
        let drives = [
            Some(DriveConfig::Disk { backend, geometry, labels: Labels::default() }),
            None,
            Some(DriveConfig::Cd { medium: Some(cd), labels: Labels::default() }),
            None,
        ];
        let irqs = [rig.irqs().line(14), rig.irqs().line(15)];
        let heard = Arc::<Heard>::default();
        let observer: Arc<dyn Observer> = heard.clone();
        let ide = Ide::new(&wiring, rig.ram().clone(), irqs, drives).observed(&observer, [errors; 4]);
        let tray = ide.medium(2).expect("there is a CD drive");
        rig.attach_pci(ide, &wiring, 1, 1);
        rig.config_write(1, 1, pci_reg::BAR0 + 16, Size::B4, BM.into());
        rig.config_write(1, 1, pci_reg::COMMAND, Size::B2, 5);
        Machine { rig, disk, tray, heard, save }
    }

    /// Drives that say other things of themselves.
    fn labelled(labels: &Labels) -> Rig {
        let mut rig = Rig::new();
        let wiring = rig.wiring();
        let backend = Machine::medium(&rig, 4);
        let disk = DriveConfig::Disk { backend, geometry: Geometry::of_size(16), labels: labels.clone() };
        let cd = DriveConfig::Cd { medium: None, labels: labels.clone() };
        let irqs = [rig.irqs().line(14), rig.irqs().line(15)];
        let ide = Ide::new(&wiring, rig.ram().clone(), irqs, [Some(disk), None, Some(cd), None]);
        rig.attach_pci(ide, &wiring, 1, 1);
        rig
    }

    /// A disc of so many frames.
    fn medium(rig: &Rig, frames: usize) -> Arc<dyn BlockBackend> {
        Arc::new(Inline::new(Arc::new(MemoryStore::new(pattern(frames * 4), true)), rig.wiring()))
    }

    fn stop(&mut self) {
        if self.save {
            self.rig.save_load();
        }
    }

    fn out(&mut self, port: u16, value: u8) {
        self.rig.outb(port, value);
        self.stop();
    }

    fn inb(&mut self, port: u16) -> u8 {
        let value = self.rig.inb(port);
        self.stop();
        value
    }

    /// Lets the backend answer.
    fn wait(&mut self) {
        self.rig.advance(us(110));
        self.stop();
    }

    /// Writes the task file: features, count, LBA; then the command.
    fn command(&mut self, base: u16, features: u8, count: u8, lba: u32, command: u8) {
        let [low, mid, high, top] = lba.to_le_bytes();
        let registers = [features, count, low, mid, high, 0xe0 | top & 15, command];
        for (port, value) in (base + 1..).zip(registers) {
            self.out(port, value);
        }
    }

    /// Registers of a 48-bit command: the older halves go first.
    fn command_ext(&mut self, base: u16, count: u16, lba: u64, command: u8) {
        let bytes = lba.to_le_bytes();
        let [count, before] = count.to_le_bytes();
        for (port, value) in (base + 2..).zip([before, bytes[3], bytes[4], bytes[5]]) {
            self.out(port, value);
        }
        for (port, value) in (base + 2..).zip([count, bytes[0], bytes[1], bytes[2], 0x40, command]) {
            self.out(port, value);
        }
    }

    /// Reads a DRQ block of so many bytes.
    fn data(&mut self, base: u16, bytes: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < bytes {
            data.extend(self.rig.inw(base).to_le_bytes());
            if data.len() % 128 == 0 {
                self.stop();
            }
        }
        data.truncate(bytes);
        data
    }

    /// Puts a descriptor table into memory and tells the bus master of channel 0 or 1.
    fn table(&mut self, channel: u16, entries: &[(u32, u16)]) {
        for (index, &(gpa, len)) in entries.iter().enumerate() {
            let end = u32::from(index + 1 == entries.len()) << 31;
            let entry = u64::from(gpa) | u64::from(end | u32::from(len)) << 32;
            self.rig.poke(TABLE + 8 * index as u64, &entry.to_le_bytes());
        }
        self.rig.outl(BM + 8 * channel + 4, TABLE as u32);
        self.stop();
    }

    /// What whoever watches has heard since the last call.
    fn heard(&self) -> Vec<DeviceEvent> {
        std::mem::take(&mut *self.heard.0.lock().unwrap())
    }

    /// Runs a scenario both ways.
    fn both(scenario: impl Fn(&mut Machine)) {
        for save in [false, true] {
            scenario(&mut Machine::new(save));
        }
    }
}
