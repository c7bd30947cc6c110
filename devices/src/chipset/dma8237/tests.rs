use std::sync::Arc;

use devices_core::dma::Dma;
use devices_core::rig::{Rig, scenario};
use devices_core::{DeviceCell, Space};

use super::{Dma8237, Moved};

fn attach(rig: &mut Rig) -> Arc<DeviceCell<Dma8237>> {
    let wiring = rig.wiring();
    let dma = Dma8237::new(Dma::always(rig.ram().clone()));
    rig.attach(dma, &wiring)
}

/// Programs channel 2 as for a floppy: mode, address with page, bytes.
fn program(rig: &mut Rig, mode: u8, address: u32, bytes: u16) {
    rig.outb(0x0a, 0x06);
    rig.outb(0x0c, 0);
    rig.outb(0x0b, mode | 2);
    rig.outb(0x04, address as u8);
    rig.outb(0x04, (address >> 8) as u8);
    rig.outb(0x81, (address >> 16) as u8);
    rig.outb(0x05, (bytes - 1) as u8);
    rig.outb(0x05, ((bytes - 1) >> 8) as u8);
    rig.outb(0x0a, 0x02);
}

fn moved(bytes: usize, terminal: bool) -> Moved {
    Moved { bytes, terminal }
}

#[test]
fn a_device_writes_memory_until_terminal_count() {
    scenario(|rig| {
        let slot = attach(rig);
        let channel = slot.lock().channel(2).unwrap();
        assert!(!channel.ready());
        assert_eq!(channel.to_memory(&[9]), moved(0, false), "masked");
        program(rig, 0x44, 0x1_2340, 6);
        assert!(channel.ready());
        channel.request(true);
        assert_eq!(rig.inb(0x08), 0x40);
        assert_eq!(channel.to_memory(&[1, 2, 3, 4]), moved(4, false));
        assert_eq!((rig.inb(0x04), rig.inb(0x04), rig.inb(0x05), rig.inb(0x05)), (0x44, 0x23, 1, 0));
        assert_eq!(channel.from_memory(&mut [0]), moved(0, false), "the other direction");
        assert_eq!(channel.to_memory(&[5, 6, 7]), moved(2, true));
        assert_eq!(rig.peek(0x1_2340, 7), [1, 2, 3, 4, 5, 6, 0]);
        assert_eq!(rig.inb(0x08), 0x44);
        assert_eq!(rig.inb(0x08), 0x40, "reading clears the end");
        assert!(!channel.ready(), "masked at its end");
        channel.request(false);
        assert_eq!((rig.inb(0x08), rig.inb(0x0f)), (0, 0x0f));
    });
}

#[test]
fn auto_initialize_begins_anew() {
    scenario(|rig| {
        let slot = attach(rig);
        let channel = slot.lock().channel(2).unwrap();
        rig.poke(0x5000, b"abcd");
        program(rig, 0x58, 0x5000, 4);
        let mut data = [0; 6];
        assert_eq!(channel.from_memory(&mut data), moved(4, true));
        assert_eq!(&data, b"abcd\0\0");
        assert_eq!(channel.from_memory(&mut data[4..]), moved(2, false));
        assert_eq!(&data, b"abcdab");
    });
}

#[test]
fn addresses_wrap_inside_the_page_and_go_down() {
    scenario(|rig| {
        let slot = attach(rig);
        let channel = slot.lock().channel(2).unwrap();
        program(rig, 0x44, 0x1_fffe, 4);
        assert_eq!(channel.to_memory(&[1, 2, 3, 4]), moved(4, true));
        assert_eq!((rig.peek(0x1_fffe, 2), rig.peek(0x1_0000, 2)), (vec![1, 2], vec![3, 4]));
        assert_eq!(rig.peek(0x2_0000, 2), [0, 0]);
        program(rig, 0x64, 0x6003, 4);
        assert_eq!(channel.to_memory(&[1, 2, 3, 4]), moved(4, true));
        assert_eq!(rig.peek(0x6000, 4), [4, 3, 2, 1]);
    });
}

#[test]
fn verify_counts_and_moves_nothing() {
    scenario(|rig| {
        let slot = attach(rig);
        let channel = slot.lock().channel(2).unwrap();
        program(rig, 0x40, 0x7000, 2);
        assert_eq!(channel.to_memory(&[1, 2]), moved(2, true));
        assert_eq!(rig.peek(0x7000, 2), [0, 0]);
    });
}

#[test]
fn channels_5_to_7_move_words() {
    scenario(|rig| {
        let slot = attach(rig);
        assert!(slot.lock().channel(4).is_none() && slot.lock().channel(8).is_none());
        let channel = slot.lock().channel(5).unwrap();
        rig.outb(0xd8, 0);
        rig.outb(0xd6, 0x45);
        for (port, value) in [(0xc4, 0x00), (0xc4, 0x80), (0xc6, 1), (0xc6, 0), (0x8b, 0x03), (0xd4, 1)] {
            rig.outb(port, value);
        }
        assert_eq!(channel.to_memory(&[1, 2, 3]), moved(2, false), "whole words");
        assert_eq!(channel.to_memory(&[3, 4]), moved(2, true));
        assert_eq!(rig.peek(0x3_0000, 4), [1, 2, 3, 4], "bit 16 comes from the address");
    });
}

#[test]
fn masks_clears_and_scratch() {
    scenario(|rig| {
        let slot = attach(rig);
        let channel = slot.lock().channel(1).unwrap();
        rig.outb(0x0e, 0);
        assert!(channel.ready());
        rig.outb(0x08, 0x04);
        assert!(!channel.ready(), "the controller is off");
        rig.outb(0x0f, 0x05);
        assert_eq!(rig.inb(0x0f), 0x05);
        rig.outb(0x09, 0x05);
        assert_eq!(rig.inb(0x08), 0x20);
        rig.outb(0x02, 0x11);
        rig.outb(0x0d, 0);
        rig.outb(0x02, 0x22);
        rig.outb(0x0c, 0);
        assert_eq!((rig.inb(0x02), rig.inb(0x02)), (0x22, 0));
        assert_eq!((rig.inb(0x08), rig.inb(0x0f)), (0, 0x0f));
        rig.outb(0x80, 0x5a);
        rig.outb(0x8f, 0xa5);
        assert_eq!((rig.inb(0x80), rig.inb(0x8f)), (0x5a, 0xa5));
    });
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    let slot = attach(&mut rig);
    let channels = [0, 1, 2, 3, 5, 6, 7].map(|n| slot.lock().channel(n).unwrap());
    let mut data = vec![0; 0x3_0000];
    for seed in 0..1000 {
        rig.batter(&[(Space::Pio, 0, 16), (Space::Pio, 0xc0, 32), (Space::Pio, 0x80, 16)], seed, 100);
        let channel = &channels[seed as usize % 7];
        channel.to_memory(&data[..seed as usize * 190]);
        channel.from_memory(&mut data[..seed as usize * 150]);
    }
}
