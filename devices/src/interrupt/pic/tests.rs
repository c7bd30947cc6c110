use devices_core::irq::{IrqBank, IrqSink};
use devices_core::rig::{Rig, scenario};
use devices_core::{DeviceCell, Space};
use std::sync::Arc;

use super::{Pic, PicHandle};

/// The wire on which the rig shows INTR.
const INTR: u32 = 200;

struct Board {
    pic: PicHandle,
    wires: IrqBank,
    _slot: Arc<DeviceCell<Pic>>,
}

fn board(rig: &mut Rig) -> Board {
    let recorder = rig.recorder();
    let device = Pic::new(Arc::new(move |level| recorder.set(INTR, level)));
    let pic = device.handle();
    let wires = IrqBank::new(16, Arc::new(pic.clone()));
    let wiring = rig.wiring();
    let _slot = rig.attach(device, &wiring);
    Board { pic, wires, _slot }
}

/// As a PC's firmware does it: vectors 0x08 and 0x70.
fn initialize(rig: &mut Rig, icw4: u8) {
    for (port, base, wiring) in [(0x20, 0x08, 0x04), (0xa0, 0x70, 0x02)] {
        rig.outb(port, 0x11);
        rig.outb(port + 1, base);
        rig.outb(port + 1, wiring);
        rig.outb(port + 1, icw4);
    }
}

fn isr(rig: &mut Rig, port: u16) -> u8 {
    rig.outb(port, 0x0b);
    rig.inb(port)
}

#[test]
fn an_edge_is_served_once_and_blocks_lower_ones_until_its_end() {
    scenario(|rig| {
        let board = board(rig);
        initialize(rig, 1);
        let mut line4 = board.wires.line(4);
        let (mut line3, mut line6) = (board.wires.line(3), board.wires.line(6));
        line4.set(true);
        assert!(rig.irq(INTR));
        rig.outb(0x20, 0x0a);
        assert_eq!(rig.inb(0x20), 0x10);
        assert_eq!(board.pic.acknowledge(), 0x0c);
        assert_eq!(rig.inb(0x20), 0);
        assert_eq!(isr(rig, 0x20), 0x10);
        assert!(!rig.irq(INTR));
        line6.set(true);
        assert!(!rig.irq(INTR), "6 waits for 4");
        line3.set(true);
        assert!(rig.irq(INTR), "3 does not");
        assert_eq!(board.pic.acknowledge(), 0x0b);
        rig.outb(0x20, 0x20);
        assert_eq!(isr(rig, 0x20), 0x10, "the end is of the most urgent");
        rig.outb(0x20, 0x64);
        assert_eq!(isr(rig, 0x20), 0);
        assert_eq!(board.pic.acknowledge(), 0x0e);
        rig.outb(0x20, 0x20);
        assert!(!rig.irq(INTR), "inputs that stay high make no further edge");
        line4.set(false);
        line4.set(true);
        assert!(rig.irq(INTR));
    });
}

#[test]
fn the_slave_comes_through_input_2() {
    scenario(|rig| {
        let board = board(rig);
        initialize(rig, 1);
        let (mut clock, mut disk) = (board.wires.line(8), board.wires.line(14));
        disk.set(true);
        assert_eq!(board.pic.acknowledge(), 0x76);
        assert_eq!((isr(rig, 0x20), isr(rig, 0xa0)), (0x04, 0x40));
        clock.set(true);
        assert!(!rig.irq(INTR), "fully nested: the master serves the cascade");
        rig.outb(0x20, 0x20);
        assert!(rig.irq(INTR), "8 is more urgent than 14 in the slave");
        assert_eq!(board.pic.acknowledge(), 0x70);
        rig.outb(0xa0, 0x20);
        rig.outb(0x20, 0x20);
        assert_eq!((isr(rig, 0x20), isr(rig, 0xa0)), (0, 0x40));
        board.wires.line(2).set(true);
        assert!(!rig.irq(INTR), "no wire leads to the cascade");
    });
}

#[test]
fn special_fully_nested_lets_the_slave_interrupt_itself() {
    scenario(|rig| {
        let board = board(rig);
        initialize(rig, 0x11);
        let (mut clock, mut disk) = (board.wires.line(8), board.wires.line(14));
        disk.set(true);
        assert_eq!(board.pic.acknowledge(), 0x76);
        clock.set(true);
        assert!(rig.irq(INTR));
        assert_eq!(board.pic.acknowledge(), 0x70);
    });
}

#[test]
fn spurious_vectors_leave_nothing_in_service_where_they_come_from() {
    scenario(|rig| {
        let board = board(rig);
        initialize(rig, 1);
        assert_eq!(board.pic.acknowledge(), 0x0f);
        assert_eq!(isr(rig, 0x20), 0);
        board.wires.line(14).set(true);
        rig.outb(0xa1, 0xff);
        assert_eq!(board.pic.acknowledge(), 0x77, "masked after it had asked");
        assert_eq!((isr(rig, 0x20), isr(rig, 0xa0)), (0x04, 0));
    });
}

#[test]
fn level_triggered_inputs_ask_as_long_as_they_are_high() {
    scenario(|rig| {
        let board = board(rig);
        initialize(rig, 1);
        rig.outb(0x4d0, 0xff);
        rig.outb(0x4d1, 0xff);
        assert_eq!((rig.inb(0x4d0), rig.inb(0x4d1)), (0xf8, 0xde));
        let mut line = board.wires.line(11);
        line.set(true);
        assert_eq!(board.pic.acknowledge(), 0x73);
        rig.outb(0xa0, 0x20);
        rig.outb(0x20, 0x20);
        assert!(rig.irq(INTR), "still high");
        line.set(false);
        rig.outb(0xa0, 0x0a);
        assert_eq!(rig.inb(0xa0), 0);
        let mut lower = board.wires.line(5);
        lower.set(true);
        assert!(rig.irq(INTR));
        lower.set(false);
        assert_eq!(isr(rig, 0x20), 0);
    });
}

#[test]
fn masks_hide_requests_and_keep_them() {
    scenario(|rig| {
        let board = board(rig);
        initialize(rig, 1);
        rig.outb(0x21, 0xfe);
        assert_eq!(rig.inb(0x21), 0xfe);
        board.wires.line(4).pulse();
        assert!(!rig.irq(INTR));
        rig.outb(0x21, 0xee);
        assert!(rig.irq(INTR));
        assert_eq!(board.pic.acknowledge(), 0x0c);
    });
}

#[test]
fn automatic_end_of_interrupt_with_rotation() {
    scenario(|rig| {
        let board = board(rig);
        initialize(rig, 3);
        rig.outb(0x20, 0x80);
        let (mut a, mut b) = (board.wires.line(1), board.wires.line(3));
        a.pulse();
        assert_eq!(board.pic.acknowledge(), 0x09);
        assert_eq!(isr(rig, 0x20), 0);
        b.pulse();
        a.pulse();
        assert_eq!(board.pic.acknowledge(), 0x0b, "1 was served and comes last now");
        // In the slave, where a second request makes no edge at the master.
        board.wires.line(9).pulse();
        board.wires.line(12).pulse();
        assert_eq!(board.pic.acknowledge(), 0x09);
        assert_eq!(board.pic.acknowledge(), 0x71);
        assert_eq!(board.pic.acknowledge(), 0x74);
        assert!(!rig.irq(INTR));
    });
}

#[test]
fn rotation_by_command() {
    scenario(|rig| {
        let board = board(rig);
        initialize(rig, 1);
        rig.outb(0x20, 0xc4);
        board.wires.line(3).pulse();
        board.wires.line(5).pulse();
        assert_eq!(board.pic.acknowledge(), 0x0d, "5 is highest after 4 was made lowest");
        rig.outb(0x20, 0xa0);
        assert_eq!(isr(rig, 0x20), 0);
        board.wires.line(5).pulse();
        assert_eq!(board.pic.acknowledge(), 0x0b);
        rig.outb(0x20, 0xe3);
        assert_eq!(board.pic.acknowledge(), 0x0d);
    });
}

#[test]
fn special_mask_mode_lets_lower_ones_in() {
    scenario(|rig| {
        let board = board(rig);
        initialize(rig, 1);
        board.wires.line(3).pulse();
        assert_eq!(board.pic.acknowledge(), 0x0b);
        board.wires.line(6).pulse();
        assert!(!rig.irq(INTR));
        rig.outb(0x21, 0x08);
        rig.outb(0x20, 0x68);
        assert!(rig.irq(INTR));
        assert_eq!(board.pic.acknowledge(), 0x0e);
        rig.outb(0x20, 0x20);
        assert_eq!(isr(rig, 0x20), 0x08, "the masked one is not ended unnamed");
        rig.outb(0x20, 0x48);
        rig.outb(0x20, 0x20);
        assert_eq!(isr(rig, 0x20), 0);
    });
}

#[test]
fn poll_command_acknowledges() {
    scenario(|rig| {
        let board = board(rig);
        initialize(rig, 1);
        rig.outb(0x20, 0x0c);
        assert_eq!(rig.inb(0x20), 0);
        board.wires.line(10).pulse();
        rig.outb(0x20, 0x0c);
        assert_eq!(rig.inb(0x20), 0x82);
        rig.outb(0xa0, 0x0c);
        assert_eq!(rig.inb(0xa1), 0x82);
        assert_eq!((isr(rig, 0x20), isr(rig, 0xa0)), (4, 4));
        assert_eq!(rig.inb(0xa1), 0, "one read only");
    });
}

#[test]
fn initialization_forgets_edges_and_words_are_counted() {
    scenario(|rig| {
        let board = board(rig);
        initialize(rig, 1);
        let mut line = board.wires.line(7);
        line.set(true);
        rig.outb(0x20, 0x12);
        assert!(!rig.irq(INTR));
        rig.outb(0x21, 0x47);
        rig.outb(0x21, 0xf0);
        assert_eq!(rig.inb(0x21), 0xf0, "single, without ICW4: the second word is the mask");
        rig.outb(0x21, 0);
        line.set(false);
        line.set(true);
        assert_eq!(board.pic.acknowledge(), 0x47);
    });
}

#[test]
fn reset_lowers_the_output_and_levels_stay_the_wires_own() {
    let mut rig = Rig::new();
    let board = board(&mut rig);
    initialize(&mut rig, 1);
    let mut line = board.wires.line(1);
    line.set(true);
    assert!(rig.irq(INTR) && board.pic.intr());
    rig.reset();
    assert!(!rig.irq(INTR));
    initialize(&mut rig, 1);
    line.set(false);
    assert!(!rig.irq(INTR));
    line.set(true);
    assert!(rig.irq(INTR));
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    let board = board(&mut rig);
    let mut lines: Vec<_> = (0..16).map(|pin| board.wires.line(pin)).collect();
    for seed in 0..1000 {
        rig.batter(&[(Space::Pio, 0x20, 2), (Space::Pio, 0xa0, 2), (Space::Pio, 0x4d0, 2)], seed, 100);
        lines[seed as usize % 16].set(seed % 3 == 0);
        board.pic.acknowledge();
    }
}
