//! The card under drivers' hands. Scenarios run twice: straight on, and with a save and a load before every access.

mod cplus;
mod hostile;
mod registers;
mod ring;

use std::sync::Arc;

use devices_core::net::{Nic, TestNet};
use devices_core::rig::{Rig, scenario};
use devices_core::{DeviceCell, Size, Wake};

use super::spec::{cr, header, int, rcr, reg, tcr, tsd};
use super::*;

const SLOT: u8 = 3;
const PORTS: u16 = 0xc000;
const MEMORY: u64 = 0xe000_0000;
const IRQ: u32 = 11;
const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const OTHER: [u8; 6] = [0x52, 0x54, 0x00, 0xab, 0xcd, 0xef];
const ALL: [u8; 6] = [0xff; 6];

/// A card on its cable.
struct Card {
    slot: Arc<DeviceCell<Rtl8139>>,
    cable: Arc<TestNet>,
}

impl Card {
    /// Put in and given its place by the firmware; bus mastering is off.
    fn new(rig: &mut Rig) -> Card {
        let cable = Arc::new(TestNet::default());
        let wiring = rig.wiring();
        let ends = NicConfig { backend: cable.clone(), mac: MAC };
        let card = Rtl8139::new("nic", &wiring, rig.ram().clone(), rig.irqs().line(IRQ), ends);
        let slot = rig.attach_pci(card, &wiring, SLOT, 0);
        rig.config_write(SLOT, 0, 0x10, Size::B4, PORTS.into());
        rig.config_write(SLOT, 0, 0x14, Size::B4, MEMORY as u32);
        rig.config_write(SLOT, 0, 0x04, Size::B2, 3);
        Card { slot, cable }
    }

    /// The same, and it may use memory.
    fn master(rig: &mut Rig) -> Card {
        let card = Card::new(rig);
        rig.config_write(SLOT, 0, 0x04, Size::B2, 7);
        card
    }

    /// A packet comes in.
    fn comes(&self, frame: &[u8]) {
        self.cable.give(frame);
        self.wake();
    }

    fn wake(&self) {
        self.slot.lock().wake(Wake::Backend(CABLE));
    }
}

fn read(rig: &mut Rig, register: u8, size: Size) -> u32 {
    let address = MEMORY + u64::from(register);
    let by_memory = rig.mmio_read(address, size) as u32;
    let port = PORTS + u16::from(register);
    let by_port = match size {
        Size::B1 => rig.inb(port).into(),
        Size::B2 => rig.inw(port).into(),
        _ => rig.inl(port),
    };
    assert_eq!(by_memory, by_port, "register {register:#x} by memory and by port");
    by_port
}

fn read8(rig: &mut Rig, register: u8) -> u8 {
    read(rig, register, Size::B1) as u8
}
fn read16(rig: &mut Rig, register: u8) -> u16 {
    read(rig, register, Size::B2) as u16
}
fn read32(rig: &mut Rig, register: u8) -> u32 {
    read(rig, register, Size::B4)
}
fn write8(rig: &mut Rig, register: u8, value: u8) {
    rig.outb(PORTS + u16::from(register), value);
}
fn write16(rig: &mut Rig, register: u8, value: u16) {
    rig.mmio_write(MEMORY + u64::from(register), Size::B2, value.into());
}
fn write32(rig: &mut Rig, register: u8, value: u32) {
    rig.outl(PORTS + u16::from(register), value);
}

/// What has happened, which is acknowledged.
fn interrupts(rig: &mut Rig) -> u16 {
    let isr = read16(rig, reg::ISR);
    write16(rig, reg::ISR, isr);
    assert!(!rig.irq(IRQ), "acknowledged");
    isr
}

/// A frame of so many bytes with contents of its own.
fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = [to, OTHER].concat();
    frame.extend([0x88, 0xb5]);
    frame.extend((frame.len()..len).map(|at| (at * 7 + len) as u8));
    frame
}

/// The Ethernet check sequence, bit by bit.
fn fcs(frame: &[u8]) -> [u8; 4] {
    let crc = frame.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (crc & 1) * 0xedb8_8320)
    });
    (!crc).to_le_bytes()
}
