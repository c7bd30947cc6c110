//! What a test program does with it.

use devices_core::rig::{Rig, scenario};
use devices_core::{Size, Space};

use super::*;

const SLOT: u8 = 5;
const MEMORY: u64 = 0xe000_0000;
const PORTS: u16 = 0xc000;

fn attach(rig: &mut Rig) {
    let wiring = rig.wiring();
    rig.attach_pci(PciTestdev::new("t"), &wiring, SLOT, 0);
    rig.config_write(SLOT, 0, 0x10, Size::B4, MEMORY as u32);
    rig.config_write(SLOT, 0, 0x14, Size::B4, PORTS.into());
    rig.config_write(SLOT, 0, 0x04, Size::B2, 3);
}

#[test]
fn what_the_header_asks_for_is_counted() {
    scenario(|rig| {
        attach(rig);
        assert_eq!(rig.config_read(SLOT, 0, 0, Size::B4), 0x0005_1b36);
        assert_eq!(rig.mmio_read(MEMORY, Size::B1), 0, "no test has begun");
        for (test, data, name) in [(0, 0xfa, "mmio-no-"), (1, 0xce, "mmio-wil"), (2, 0xfa, "mmio-dat")] {
            rig.mmio_write(MEMORY, Size::B1, test);
            assert_eq!(rig.mmio_read(MEMORY + 1, Size::B1), 1);
            let offset = rig.mmio_read(MEMORY + 4, Size::B4);
            assert_eq!(offset, 2048 + test);
            assert_eq!(rig.mmio_read(MEMORY + 8, Size::B4), data);
            let shown = [0, 4].map(|at| rig.mmio_read(MEMORY + 16 + at, Size::B4) as u32);
            assert_eq!(shown.map(u32::to_le_bytes).concat(), name.as_bytes());
            for value in [data, data, 0x11] {
                rig.mmio_write(MEMORY + offset, Size::B1, value);
            }
            let counted = if test == 1 { 3 } else { 2 };
            assert_eq!(rig.mmio_read(MEMORY + 12, Size::B4), counted);
        }
    });
}

#[test]
fn a_test_that_is_not_there_has_no_width() {
    scenario(|rig| {
        attach(rig);
        rig.outb(PORTS, 2);
        assert_eq!((rig.inb(PORTS + 1), rig.inl(PORTS + 4)), (1, 128 + 5));
        rig.outb(PORTS, 3);
        assert_eq!((rig.inb(PORTS + 1), rig.inl(PORTS + 4)), (0, 0));
        rig.outb(PORTS, 1);
        rig.reset();
        assert_eq!(rig.config_read(SLOT, 0, 0x14, Size::B4), 1);
    });
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    attach(&mut rig);
    rig.batter(&[(Space::Mmio, MEMORY, 4096), (Space::Pio, PORTS.into(), 256)], 1, 20_000);
}
