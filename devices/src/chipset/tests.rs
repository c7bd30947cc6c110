//! What firmware does with the chipset as a whole.

use std::mem::take;
use std::sync::Arc;

use devices_core::Size;
use devices_core::irq::{IrqBank, IrqLine};
use devices_core::power::PowerEvent;
use devices_core::rig::{Rig, scenario};

use super::i440fx::I440fx;
use super::piix3::{Piix3, PirqRouter};
use super::piix4_pm::{Options, Piix4Pm, SCI_IRQ};

/// Host bridge, ISA bridge and power management, as on Xen or not, and the pins of bus 0.
fn board(mut rig: Rig, xen: bool) -> (Rig, IrqBank) {
    let router = Arc::new(PirqRouter::new(rig.irqs().clone()));
    let pins = IrqBank::new(128, router.clone());
    let wiring = rig.wiring();
    rig.attach_pci(I440fx::new(1 << 30, None), &wiring, 0, 0);
    let wiring = rig.wiring();
    rig.attach_pci(Piix3::new(router, rig.recorder()), &wiring, 1, 0);
    let wiring = rig.wiring();
    let sci: IrqLine = rig.irqs().line(SCI_IRQ);
    let options = Options { up_stays: xen, events_elsewhere: xen, ..Options::default() };
    let pm = Piix4Pm::new(options, sci, rig.recorder(), Arc::new(|_| ()), &wiring);
    rig.attach_pci(pm, &wiring, 1, 3);
    (rig, pins)
}

/// Configuration access as firmware does it.
fn select(rig: &mut Rig, device: u32, function: u32, reg: u16) -> u16 {
    rig.outl(0xcf8, 0x8000_0000 | device << 11 | function << 8 | u32::from(reg & 0xfc));
    0xcfc + (reg & 3)
}

#[test]
fn hvmloader_gets_through() {
    scenario(|rig| {
        let (mut rig, pins) = board(take(rig), true);
        for (link, irq) in (0..).zip([5, 10, 11, 5]) {
            let port = select(&mut rig, 1, 0, 0x60 + link);
            rig.outb(port, irq);
        }
        let mut found = Vec::new();
        for (device, function) in (0..32).flat_map(|device| (0..8).map(move |function| (device, function))) {
            let port = select(&mut rig, device, function, 0);
            let id = rig.inl(port);
            if id != u32::MAX {
                let port = select(&mut rig, device, function, 0x0a);
                found.push((device, function, id, rig.inw(port)));
            }
        }
        let expected =
            [(0, 0, 0x1237_8086, 0x0600), (1, 0, 0x7000_8086, 0x0601), (1, 3, 0x7113_8086, 0x0680)];
        assert_eq!(found, expected);
        for (reg, value) in [(0x20, 0u16), (0xd2, 0), (0x22, 0)] {
            let port = select(&mut rig, 1, 3, reg);
            rig.outw(port, value);
        }
        for (reg, value) in [(0x3c, 9), (0x3d, 1)] {
            let port = select(&mut rig, 1, 3, reg);
            rig.outb(port, value);
        }
        let port = select(&mut rig, 1, 3, 0x40);
        rig.outl(port, 0xb001);
        let port = select(&mut rig, 1, 3, 0x80);
        rig.outb(port, 1);
        assert_eq!(rig.inb(0xb004) & 1, 0);
        rig.outb(0xb2, 0xf1);
        assert_eq!(rig.inb(0xb004) & 1, 1);
        // BARs that are not there have no size.
        for reg in (0x10..0x28).step_by(4).chain([0x30]) {
            let port = select(&mut rig, 1, 3, reg);
            rig.outl(port, u32::MAX);
            assert_eq!(rig.inl(port), 0);
        }
        // A card in slot 3 interrupts where the links say.
        let mut intx = pins.line(3 * 4);
        intx.set(true);
        assert!(rig.irq(11));
        rig.outb(0xcf9, 6);
        assert_eq!(rig.take_power(), [PowerEvent::Reset]);
    });
}

#[test]
fn seabios_programs_power_management_elsewhere() {
    scenario(|rig| {
        let (mut rig, _) = board(take(rig), false);
        // It sets up system management mode unless DEVACTB says that this was done.
        assert_ne!(rig.config_read(1, 3, 0x58, Size::B4) & 1 << 25, 0);
        rig.config_write(1, 3, 0x3c, Size::B1, 9);
        rig.config_write(1, 3, 0x40, Size::B4, 0x601);
        rig.config_write(1, 3, 0x80, Size::B1, 1);
        rig.config_write(1, 3, 0x90, Size::B4, 0x701);
        rig.config_write(1, 3, 0xd2, Size::B1, 9);
        // Its delays count by the timer.
        let before = rig.inl(0x608);
        rig.advance(1_000_000);
        assert_eq!(rig.inl(0x608) - before, 3579);
        assert_eq!((rig.inb(0x700), rig.inb(0xb100)), (0, 0xff));
        rig.outw(0x604, 0x2000);
        assert_eq!(rig.take_power(), [PowerEvent::PowerOff]);
    });
}
