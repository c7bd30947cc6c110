use std::sync::Mutex;

use devices_core::rig::{Rig, ms, scenario};
use devices_core::{DeviceCell, Size};

use super::*;

const PORTS: u16 = 0xc100;
const MEMORY: u64 = 0xf200_0000;

/// A host that writes down what it is asked.
#[derive(Default)]
struct Machine {
    unplugged: Mutex<Vec<Unplug>>,
    locked: Mutex<bool>,
    lines: Mutex<Vec<String>>,
    drivers: Mutex<Vec<(u16, u32)>>,
}

impl Machine {
    /// What was unplugged, in order. The rig's loads ask for the same again.
    fn unplugged(&self) -> Unplug {
        self.unplugged.lock().unwrap().iter().fold(Unplug::empty(), |all, &what| all | what)
    }
    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

fn note<T>(log: &Mutex<Vec<T>>, entry: T) {
    let mut log = log.lock().unwrap();
    if log.len() < 10_000 {
        log.push(entry);
    }
}

impl PlatformOps for Machine {
    fn unplug(&self, what: Unplug, done: Ticket) {
        note(&self.unplugged, what);
        done.complete(0);
    }
    fn lock_roms(&self, locked: bool) {
        *self.locked.lock().unwrap() = locked;
    }
    fn drivers(&self, product: u16, build: u32) -> bool {
        note(&self.drivers, (product, build));
        product != 0xbad
    }
    fn log(&self, line: &str) {
        note(&self.lines, line.to_owned());
    }
}

fn attach(rig: &mut Rig) -> (Arc<Machine>, Arc<DeviceCell<Platform>>) {
    let machine = Arc::new(Machine::default());
    let wiring = rig.wiring();
    let slot = rig.attach_pci(Platform::new(machine.clone(), &wiring), &wiring, 2, 0);
    (machine, slot)
}

/// As hvmloader leaves it.
fn map(rig: &mut Rig) {
    rig.config_write(2, 0, 0x10, Size::B4, PORTS.into());
    rig.config_write(2, 0, 0x14, Size::B4, MEMORY as u32);
    rig.config_write(2, 0, 4, Size::B2, 3);
}

#[test]
fn the_header_is_qemus() {
    scenario(|rig| {
        attach(rig);
        assert_eq!(rig.config_read(2, 0, 0, Size::B4), 0x0001_5853);
        assert_eq!(rig.config_read(2, 0, 8, Size::B4), 0xff80_0001);
        assert_eq!(rig.config_read(2, 0, 0x2c, Size::B4), 0x0001_5853);
        assert_eq!(rig.config_read(2, 0, 0x3d, Size::B1), 1);
        rig.config_write(2, 0, 0x10, Size::B4, !0);
        rig.config_write(2, 0, 0x14, Size::B4, !0);
        assert_eq!(rig.config_read(2, 0, 0x10, Size::B4), 0xffff_ff01);
        assert_eq!(rig.config_read(2, 0, 0x14, Size::B4), 0xff00_0008);
    });
}

#[test]
fn drivers_find_it_and_are_let_in() {
    scenario(|rig| {
        let (machine, _) = attach(rig);
        assert_eq!((rig.inw(0x10), rig.inb(0x12)), (0x49d2, 1));
        assert_eq!((rig.inl(0x10), rig.inb(0x11), rig.inw(0x12), rig.inb(0x1f)), (!0, 0xff, 0xffff, 0xff));
        rig.outw(0x12, 3);
        rig.outl(0x10, 0xff);
        assert_eq!(rig.inw(0x10), 0x49d2);
        assert_eq!(*machine.drivers.lock().unwrap(), [(3, 0xff)]);
        rig.outw(0x12, 0xbad);
        rig.outl(0x10, 7);
        assert_eq!(rig.inw(0x10), 0xd249, "these are not");
        rig.outl(0x10, 8);
        rig.reset();
        assert_eq!(rig.inw(0x10), 0x49d2);
        assert!(machine.unplugged().is_empty() && machine.lines().is_empty());
    });
}

#[test]
fn a_mask_unplugs() {
    for (mask, what) in [
        (0x01, Unplug::DISKS),
        (0x02, Unplug::NICS),
        (0x03, Unplug::DISKS | Unplug::NICS),
        (0x04, Unplug::AUX_DISKS),
        (0x05, Unplug::DISKS),
        (0x0c, Unplug::AUX_DISKS | Unplug::NVME),
        (0xfff0, Unplug::empty()),
    ] {
        scenario(|rig| {
            let (machine, slot) = attach(rig);
            rig.outw(0x10, mask);
            rig.inw(0x10);
            assert_eq!((machine.unplugged(), slot.lock().unplugged()), (what, what), "{mask:#x}");
            rig.reset();
            assert!(slot.lock().unplugged().is_empty(), "a machine built anew has them");
        });
    }
}

#[test]
fn a_loaded_machine_hears_what_was_unplugged() {
    let mut rig = Rig::new();
    let (machine, _) = attach(&mut rig);
    rig.outw(0x10, 3);
    let saved = rig.bus().save().unwrap();
    let mut rig = Rig::new();
    let (other, _) = attach(&mut rig);
    rig.bus().load("xen-platform", &saved[0].1).unwrap().unwrap();
    assert_eq!(other.unplugged(), machine.unplugged());
}

#[test]
fn the_guest_waits_for_the_unplug() {
    /// Answers from another thread, after a while.
    #[derive(Default)]
    struct Slow(Arc<Mutex<bool>>);
    impl PlatformOps for Slow {
        fn unplug(&self, _what: Unplug, done: Ticket) {
            let gone = self.0.clone();
            std::thread::spawn(move || {
                (0..10_000).for_each(|_| std::thread::yield_now());
                *gone.lock().unwrap() = true;
                done.complete(0);
            });
        }
        fn lock_roms(&self, _locked: bool) {}
        fn drivers(&self, _product: u16, _build: u32) -> bool {
            true
        }
        fn log(&self, _line: &str) {}
    }
    let mut rig = Rig::new();
    let slow = Arc::new(Slow::default());
    let wiring = rig.wiring();
    rig.attach_pci(Platform::new(slow.clone(), &wiring), &wiring, 2, 0);
    rig.outw(0x10, 1);
    assert!(*slow.0.lock().unwrap());
}

#[test]
fn the_old_registers_do_the_same() {
    scenario(|rig| {
        let (machine, _) = attach(rig);
        map(rig);
        assert_eq!((rig.inb(PORTS), rig.inb(PORTS + 4), rig.inl(PORTS + 8)), (0, 0xff, !0));
        rig.outb(PORTS + 8, 2);
        assert_eq!(machine.unplugged(), Unplug::NICS);
        rig.outb(PORTS + 4, 2);
        assert_eq!(machine.unplugged(), Unplug::NICS);
        rig.outl(PORTS + 4, 1);
        assert_eq!(machine.unplugged(), Unplug::NICS | Unplug::DISKS);
        for byte in *b"old\n" {
            rig.outb(PORTS + 8, byte);
        }
        assert_eq!(machine.lines().last().unwrap().chars().last(), Some('d'));
    });
}

#[test]
fn roms_are_locked_and_open_again_by_a_reset() {
    scenario(|rig| {
        let (machine, _) = attach(rig);
        map(rig);
        rig.outb(0x10, 0xff);
        assert_eq!((rig.inb(0x10), rig.inb(PORTS)), (1, 1), "one flag is there");
        assert!(*machine.locked.lock().unwrap());
        rig.outb(PORTS, 0);
        assert_eq!(rig.inb(0x10), 0);
        assert!(!*machine.locked.lock().unwrap());
        rig.outb(PORTS, 1);
        rig.reset();
        assert!(!*machine.locked.lock().unwrap());
    });
}

#[test]
fn bar_1_is_no_memory() {
    scenario(|rig| {
        attach(rig);
        map(rig);
        rig.mmio_write(MEMORY, Size::B4, 0x1234_5678);
        assert_eq!((rig.mmio_read(MEMORY, Size::B4), rig.mmio_read(MEMORY + 0xff_fff8, Size::B8)), (0, 0));
        assert!(rig.take_mappings().is_empty());
    });
}

#[test]
fn the_log_is_cut_and_its_rate_is_limited() {
    let mut rig = Rig::new();
    let (machine, _) = attach(&mut rig);
    let say = |rig: &mut Rig, text: &str| text.bytes().for_each(|byte| rig.outb(0x12, byte));
    say(&mut rig, "drivers\r\n\x1b[2J\n");
    assert_eq!(machine.lines(), ["drivers", r"\x1b[2J"]);
    say(&mut rig, &"x".repeat(2000));
    assert!(machine.lines().iter().all(|line| line.len() <= 512));
    (0..1000).for_each(|_| say(&mut rig, "spam\n"));
    let logged = machine.lines().len();
    assert!(logged < 100, "{logged} lines at once");
    rig.advance(ms(99));
    say(&mut rig, "spam\n");
    assert_eq!(machine.lines(), [] as [String; 0]);
    rig.advance(ms(1));
    say(&mut rig, "again\n");
    let lines = machine.lines();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].ends_with("lines were dropped)") && lines[1] == "again");
}

#[test]
fn a_guest_that_talks_for_ever_leaves_room_in_the_log() {
    let mut rig = Rig::new();
    let (machine, _) = attach(&mut rig);
    let mut logged = 0;
    for _ in 0..2000 {
        rig.advance(ms(100));
        "spam ".repeat(80).bytes().for_each(|byte| rig.outb(0x12, byte));
        rig.outb(0x12, b'\n');
        logged += machine.lines().iter().map(String::len).sum::<usize>();
    }
    assert!((100_000..300_000).contains(&logged), "{logged} bytes");
}

#[test]
fn a_begun_line_survives_a_load() {
    let mut rig = Rig::new();
    let (machine, _) = attach(&mut rig);
    rig.outb(0x12, b'a');
    let saved = rig.bus().save().unwrap();
    let mut rig = Rig::new();
    let (other, _) = attach(&mut rig);
    rig.bus().load("xen-platform", &saved[0].1).unwrap().unwrap();
    rig.outb(0x12, b'b');
    rig.outb(0x12, b'\n');
    assert_eq!(other.lines(), ["ab"]);
    assert!(machine.lines().is_empty());
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    let (machine, slot) = attach(&mut rig);
    map(&mut rig);
    let windows = [
        (Space::Pio, 0x10, 16),
        (Space::Pio, PORTS.into(), 0x100),
        (Space::Mmio, MEMORY, 16 << 20),
        (Space::Pio, 0xcf8, 8),
    ];
    rig.batter(&windows, 7, 100_000);
    assert!(machine.lines().iter().all(|line| line.bytes().all(|b| b.is_ascii_graphic() || b == b' ')));
    let mut node = Node::default();
    slot.lock().inspect(&mut node);
}
