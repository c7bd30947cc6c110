//! What a test program does with it.

use std::sync::{Arc, Mutex};

use devices_core::irq::{IrqBank, IrqSink};
use devices_core::rig::{Rig, scenario};
use devices_core::{Size, Space};

use super::*;

/// Wires that went up and down.
#[derive(Default)]
struct Log(Mutex<Vec<(u32, bool)>>);

impl IrqSink for Log {
    fn set(&self, pin: u32, level: bool) {
        self.0.lock().unwrap().push((pin, level));
    }
}

fn attach(rig: &mut Rig) -> Arc<Log> {
    let log = Arc::<Log>::default();
    let bank = IrqBank::new(spec::IRQS as u32, log.clone());
    let wiring = rig.wiring();
    rig.attach(PcTestdev::new("t", (0..spec::IRQS as u32).map(|pin| bank.line(pin)).collect()), &wiring);
    log
}

#[test]
fn the_register_is_reached_in_every_width() {
    scenario(|rig| {
        attach(rig);
        rig.outl(0xe0, 0x8765_4321);
        assert_eq!((rig.inl(0xe0), rig.inw(0xe2), rig.inb(0xe1)), (0x8765_4321, 0x8765, 0x43));
        rig.outw(0xe2, 0x8866);
        rig.outb(0xe8, 0x22);
        assert_eq!(rig.inl(0xe8), 0x8866_4322);
        // It may be wrong about a page; there is nothing to read.
        rig.outl(0xe4, 0x1000);
        assert_eq!(rig.inl(0xe4), 0);
        rig.reset();
        assert_eq!(rig.inw(0xe0), 0x4322);
    });
}

#[test]
fn memory_keeps_what_is_written() {
    scenario(|rig| {
        attach(rig);
        rig.mmio_write(0xff00_0000, Size::B4, 0x1122_3344);
        rig.mmio_write(0xff00_fff8, Size::B8, 0x0102_0304_0506_0708);
        assert_eq!(rig.mmio_read(0xff00_0001, Size::B2), 0x2233);
        assert_eq!(rig.mmio_read(0xff00_fffc, Size::B4), 0x0102_0304);
    });
}

#[test]
fn wires_go_where_they_are_put() {
    let mut rig = Rig::new();
    let log = attach(&mut rig);
    rig.outb(0x2004, 1);
    rig.outb(0x2004, 0x80);
    rig.outb(0x2017, 1);
    rig.outb(0x2004, 0);
    assert_eq!(*log.0.lock().unwrap(), [(4, true), (23, true), (4, false)]);
    rig.save_load();
    assert_eq!(rig.inb(0x2017), 0);
    rig.outb(0x2017, 0);
    assert_eq!(log.0.lock().unwrap().last(), Some(&(23, false)));
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    attach(&mut rig);
    let places = [(Space::Pio, 0xe0, 12), (Space::Pio, 0x2000, 24), (Space::Mmio, 0xff00_0000, 0x1_0000)];
    rig.batter(&places, 1, 20_000);
}
