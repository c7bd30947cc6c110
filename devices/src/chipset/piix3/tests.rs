use std::mem::take;

use devices_core::Size;
use devices_core::irq::IrqBank;
use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};

use super::*;

/// The bridge, and the wires of bus 0.
fn board(mut rig: Rig) -> (Rig, IrqBank) {
    let router = Arc::new(PirqRouter::new(rig.irqs().clone()));
    let pins = IrqBank::new(128, router.clone());
    let wiring = rig.wiring();
    rig.attach_pci(Piix3::new(router, rig.recorder()), &wiring, 1, 0);
    (rig, pins)
}

#[test]
fn the_header_and_reset_values_are_qemus() {
    let (mut rig, _) = board(Rig::new());
    assert_eq!(rig.config_read(1, 0, 0, Size::B4), 0x7000_8086);
    assert_eq!(rig.config_read(1, 0, 4, Size::B4), 0x0200_0007);
    assert_eq!(rig.config_read(1, 0, 8, Size::B4), 0x0601_0000);
    assert_eq!(rig.config_read(1, 0, 0xc, Size::B4), 0x0080_0000);
    assert_eq!(rig.config_read(1, 0, 0x4c, Size::B4), 0x0003_004d);
    assert_eq!(rig.config_read(1, 0, 0x60, Size::B4), 0x8080_8080);
    assert_eq!(rig.config_read(1, 0, 0x76, Size::B4), 0x0002_0c0c);
    assert_eq!(rig.config_read(1, 0, 0x40, Size::B4), 0);
}

#[test]
fn pins_swizzle_onto_links_and_share_them() {
    scenario(|rig| {
        let (mut rig, pins) = board(take(rig));
        // Pin A of device 3 is link 2, and so is pin B of device 2.
        rig.config_write(1, 0, 0x62, Size::B1, 11);
        let (mut a, mut b, mut other) = (pins.line(3 * 4), pins.line(2 * 4 + 1), pins.line(3 * 4 + 1));
        a.set(true);
        assert!(rig.irq(11));
        b.set(true);
        a.set(false);
        assert!(rig.irq(11));
        other.set(true);
        b.set(false);
        assert!(!rig.irq(11));
        rig.config_write(1, 0, 0x63, Size::B1, 10);
        assert!(rig.irq(10) && !rig.irq(11));
    });
}

#[test]
fn a_level_moves_with_its_route() {
    scenario(|rig| {
        let (mut rig, pins) = board(take(rig));
        let mut line = pins.line(4 * 4);
        line.set(true);
        assert!(rig.take_edges().is_empty());
        rig.config_write(1, 0, 0x60, Size::B4, 0x0a0a_0a0a);
        assert!(rig.irq(10));
        rig.config_write(1, 0, 0x63, Size::B1, 5);
        assert!(!rig.irq(10) && rig.irq(5));
        rig.config_write(1, 0, 0x63, Size::B1, 0x85);
        assert!(!rig.irq(5));
        line.set(false);
        rig.config_write(1, 0, 0x63, Size::B1, 5);
        assert!(!rig.irq(5));
    });
}

#[test]
fn two_links_share_an_isa_interrupt() {
    let (mut rig, pins) = board(Rig::new());
    rig.config_write(1, 0, 0x60, Size::B2, 0x0b0b);
    let (mut a, mut b) = (pins.line(4), pins.line(5));
    a.set(true);
    b.set(true);
    rig.config_write(1, 0, 0x60, Size::B1, 0x80);
    assert!(rig.irq(11));
    b.set(false);
    assert!(!rig.irq(11));
}

#[test]
fn port_cf9_resets() {
    scenario(|rig| {
        let (mut rig, _) = board(take(rig));
        rig.outb(0xcf9, 0x02);
        assert_eq!(rig.inb(0xcf9), 0x02);
        assert!(rig.take_power().is_empty());
        rig.outb(0xcf9, 0x06);
        assert_eq!(rig.take_power(), [PowerEvent::Reset]);
        rig.reset();
        assert_eq!(rig.inb(0xcf9), 0);
        // The configuration latch next to it is its own.
        rig.outl(0xcf8, 0x8000_0800);
        assert_eq!((rig.inl(0xcf8), rig.inl(0xcfc)), (0x8000_0800, 0x7000_8086));
    });
}

#[test]
fn fuzzed() {
    let build = || {
        let (rig, pins) = board(Rig::new());
        (rig, (0..128).map(|wire| pins.line(wire)).collect::<Vec<_>>())
    };
    let places = [FuzzRange::Config(1, 0), FuzzRange::Ports(0xcf8, 8)];
    let (rig, lines) =
        fuzz(build, 2, &places, |(_, lines), what| lines[what as usize / 2].set(what & 1 != 0));
    drop(lines);
    assert!((0..16).all(|irq| !rig.irq(irq)), "no wire is left high");
}
