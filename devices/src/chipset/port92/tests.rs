use std::mem::take;

use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};

use super::*;

const A20: u32 = 200;

fn board(mut rig: Rig) -> Rig {
    let device = Port92::new(rig.irqs().line(A20), rig.recorder());
    let wiring = rig.wiring();
    rig.attach(device, &wiring);
    rig
}

#[test]
fn bit_1_opens_the_gate() {
    scenario(|rig| {
        let mut rig = board(take(rig));
        assert_eq!((rig.inb(0x92), rig.irq(A20)), (0, false));
        rig.outb(0x92, 0x02);
        assert_eq!((rig.inb(0x92), rig.irq(A20)), (2, true));
        rig.outb(0x92, 0x80);
        assert_eq!((rig.inb(0x92), rig.irq(A20)), (0x80, false));
        assert!(rig.take_power().is_empty());
    });
}

#[test]
fn a_rising_bit_0_resets() {
    scenario(|rig| {
        let mut rig = board(take(rig));
        rig.outb(0x92, 0x03);
        assert_eq!(rig.take_power(), [PowerEvent::Reset]);
        rig.outb(0x92, 0x01);
        assert!(rig.take_power().is_empty());
        rig.outb(0x92, 0x00);
        rig.outb(0x92, 0x01);
        assert_eq!(rig.take_power(), [PowerEvent::Reset]);
        rig.reset();
        assert_eq!(rig.inb(0x92), 0);
    });
}

#[test]
fn fuzzed() {
    fuzz(|| board(Rig::new()), 8, &[FuzzRange::Ports(0x90, 5)], |_, _| {});
}
