use std::sync::Arc;

use devices_core::irq::{IrqBank, IrqSink};
use devices_core::rig::{Rig, scenario};
use devices_core::{DeviceCell, Size, Space};

use super::{Ioapic, IoapicHandle};
use crate::interrupt::IsaInterrupts;
use crate::interrupt::pic::Pic;

struct Board {
    ioapic: IoapicHandle,
    wires: IrqBank,
    _slot: Arc<DeviceCell<Ioapic>>,
}

fn board(rig: &mut Rig) -> Board {
    let device = Ioapic::new(rig.recorder());
    let ioapic = device.handle();
    let wires = IrqBank::new(24, Arc::new(ioapic.clone()));
    let wiring = rig.wiring();
    let _slot = rig.attach(device, &wiring);
    Board { ioapic, wires, _slot }
}

fn get(rig: &mut Rig, register: u8) -> u32 {
    rig.mmio_write(0xfec0_0000, Size::B4, register.into());
    rig.mmio_read(0xfec0_0010, Size::B4) as u32
}

fn put(rig: &mut Rig, register: u8, value: u32) {
    rig.mmio_write(0xfec0_0000, Size::B4, register.into());
    rig.mmio_write(0xfec0_0010, Size::B4, value.into());
}

#[test]
fn registers_are_those_of_a_24_pin_chip() {
    scenario(|rig| {
        board(rig);
        assert_eq!(get(rig, 1), 0x0017_0020);
        put(rig, 0, 0xffff_ffff);
        assert_eq!((get(rig, 0), get(rig, 2)), (0x0f00_0000, 0x0f00_0000));
        assert_eq!((get(rig, 0x10), get(rig, 0x3f)), (0x1_0000, 0));
        put(rig, 0x3e, 0xffff_ffff);
        put(rig, 0x3f, 0xffff_ffff);
        assert_eq!((get(rig, 0x3e), get(rig, 0x3f)), (0x1_afff, 0xff00_0000));
        assert_eq!((get(rig, 0x40), get(rig, 3)), (0, 0));
        rig.mmio_write(0xfec0_0000, Size::B1, 1);
        assert_eq!(rig.mmio_read(0xfec0_0010, Size::B1), 0, "the window is four bytes wide");
    });
}

#[test]
fn an_edge_is_one_message() {
    scenario(|rig| {
        let board = board(rig);
        let mut line = board.wires.line(4);
        line.pulse();
        assert!(rig.take_messages().is_empty(), "masked");
        put(rig, 0x19, 0x0300_0000);
        put(rig, 0x18, 0x0000_0931);
        assert!(rig.take_messages().is_empty(), "an edge at a masked pin is lost");
        line.set(true);
        assert_eq!(rig.take_messages(), [(0xfee0_3004, 0x131)], "lowest priority, logical destination 3");
        rig.mmio_write(0xfec0_0040, Size::B4, 0x31);
        line.set(false);
        assert!(rig.take_messages().is_empty());
        put(rig, 0x18, 0x0400);
        line.set(true);
        assert_eq!(rig.take_messages(), [(0xfee0_3000, 0x400)], "NMI");
        put(rig, 0x18, 0x0700);
        line.set(false);
        line.set(true);
        assert_eq!(rig.take_messages(), [(0xfee0_3000, 0x700)], "ExtINT");
    });
}

#[test]
fn a_level_is_delivered_again_after_its_end() {
    scenario(|rig| {
        let board = board(rig);
        let mut line = board.wires.line(11);
        line.set(true);
        put(rig, 0x26, 0xa055);
        assert_eq!(rig.take_messages(), [(0xfee0_0000, 0xc055)], "high when it is unmasked");
        assert_eq!(get(rig, 0x26), 0xe055, "remote IRR");
        line.set(false);
        line.set(true);
        put(rig, 0x26, 0xa055);
        assert!(rig.take_messages().is_empty(), "not ended yet");
        board.ioapic.end_of_interrupt(0x54);
        assert!(rig.take_messages().is_empty(), "another's end");
        board.ioapic.end_of_interrupt(0x55);
        assert_eq!(rig.take_messages().len(), 1);
        line.set(false);
        rig.mmio_write(0xfec0_0040, Size::B4, 0x55);
        assert!(rig.take_messages().is_empty());
        assert_eq!(get(rig, 0x26), 0xa055);
        line.set(true);
        assert_eq!(rig.take_messages().len(), 1);
        put(rig, 0x26, 0x1_2055);
        assert_eq!(get(rig, 0x26), 0x1_2055, "edge triggered clears remote IRR");
        put(rig, 0x26, 0x1_a055);
        put(rig, 0x26, 0xa055);
        assert_eq!(rig.take_messages().len(), 1);
    });
}

#[test]
fn isa_wires_lead_to_both_controllers() {
    let mut rig = Rig::new();
    let board = board(&mut rig);
    let recorder = rig.recorder();
    let pic = Pic::new(Arc::new(move |level| recorder.set(200, level)));
    let fan = IsaInterrupts::new(pic.handle(), Some(board.ioapic.clone()));
    let wires = IrqBank::new(24, Arc::new(fan));
    let wiring = rig.wiring();
    rig.attach(pic, &wiring);
    for pin in 0..24 {
        put(&mut rig, 0x10 + 2 * pin, 0x40 + u32::from(pin));
    }
    wires.line(4).pulse();
    assert_eq!(rig.take_messages(), [(0xfee0_0000, 0x44)]);
    assert!(rig.irq(200));
    let (mut timer, mut hpet) = (wires.line(0), wires.line(2));
    timer.set(true);
    hpet.set(true);
    assert_eq!(rig.take_messages(), [(0xfee0_0000, 0x42)], "one pin for both");
    timer.set(false);
    timer.set(true);
    assert!(rig.take_messages().is_empty(), "the other holds it high");
    wires.line(20).pulse();
    assert_eq!(rig.take_messages(), [(0xfee0_0000, 0x54)]);
}

#[test]
fn reset_masks_all() {
    let mut rig = Rig::new();
    let board = board(&mut rig);
    put(&mut rig, 0x18, 0x31);
    rig.reset();
    board.wires.line(4).pulse();
    assert!(rig.take_messages().is_empty());
    assert_eq!(get(&mut rig, 0x18), 0x1_0000);
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    let board = board(&mut rig);
    let mut lines: Vec<_> = (0..24).map(|pin| board.wires.line(pin)).collect();
    for seed in 0..1000 {
        rig.batter(&[(Space::Mmio, 0xfec0_0000, 1), (Space::Mmio, 0xfec0_0000, 0x48)], seed, 100);
        lines[seed as usize % 24].set(seed % 3 == 0);
        board.ioapic.end_of_interrupt(seed as u8);
        rig.take_messages();
    }
}
