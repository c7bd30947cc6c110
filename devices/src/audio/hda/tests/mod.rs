//! A driver's side of the controller, and what the others have in common.

mod hostile;
mod registers;
mod start;
mod streams;

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::audio::TestAudio;
use devices_core::rig::{Rig, ms};
use ioreq::Size;

use super::codec::{Codec, Kind};
use super::model::VARIANTS;
use super::spec::reg;
use super::{Hda, HdaBus, Messages};

const SLOT: u8 = 4;
const BAR: u64 = 0xf000_0000;
const IRQ: u32 = 11;
const CORB: u64 = 0x1000;
const RIRB: u64 = 0x1800;
const LIST: u64 = 0x2000;
const POSITIONS: u64 = 0x2800;
/// The ring of the first output stream, and of the first input stream.
const BUFFER: u64 = 0x1_0000;
const HEARD: u64 = 0x2_0000;
/// Descriptors of the first input and output stream.
const IN: u64 = 0x80;
const OUT: u64 = 0x100;

/// A controller with a codec as the firmware leaves it, and where its sound goes.
fn attach(rig: &mut Rig, kind: Kind) -> Arc<TestAudio> {
    let wiring = rig.wiring();
    let messages = Messages { at: 0x60, target: rig.recorder() };
    let line = rig.irqs().line(IRQ);
    let hda = Hda::new("intel-hda", &VARIANTS[0], rig.ram().clone(), line, Some(messages), &wiring);
    let cell: Arc<DeviceCell<Hda>> = rig.attach_pci(hda, &wiring, SLOT, 0);
    let audio = Arc::<TestAudio>::default();
    let bus = HdaBus::new(cell, "intel-hda");
    let address = bus.address(None).unwrap();
    bus.plug(address, Codec::new(kind, true, audio.clone()));
    rig.config_write(SLOT, 0, 0x10, Size::B4, BAR as u32);
    rig.config_write(SLOT, 0, 0x04, Size::B2, 6);
    audio
}

fn read(rig: &mut Rig, at: u64, size: Size) -> u32 {
    rig.mmio_read(BAR + at, size) as u32
}
fn r8(rig: &mut Rig, at: usize) -> u32 {
    read(rig, at as u64, Size::B1)
}
fn r16(rig: &mut Rig, at: usize) -> u32 {
    read(rig, at as u64, Size::B2)
}
fn r32(rig: &mut Rig, at: usize) -> u32 {
    read(rig, at as u64, Size::B4)
}
fn w8(rig: &mut Rig, at: u64, value: u64) {
    rig.mmio_write(BAR + at, Size::B1, value);
}
fn w16(rig: &mut Rig, at: u64, value: u64) {
    rig.mmio_write(BAR + at, Size::B2, value);
}
fn w32(rig: &mut Rig, at: u64, value: u64) {
    rig.mmio_write(BAR + at, Size::B4, value);
}

/// Out of its reset, with both rings running and no interrupts yet.
fn begin(rig: &mut Rig) {
    w32(rig, reg::GCTL as u64, 0);
    w32(rig, reg::GCTL as u64, 1);
    rig.advance(ms(1));
    w32(rig, reg::CORBLBASE as u64, CORB);
    w32(rig, reg::RIRBLBASE as u64, RIRB);
    w16(rig, reg::RINTCNT as u64, 1);
    w8(rig, reg::CORBCTL as u64, 2);
    w8(rig, reg::RIRBCTL as u64, 3);
}

/// Puts a command to codec 0 into the ring, and takes the response out.
fn ask(rig: &mut Rig, node: u32, command: u32) -> u32 {
    let write = (r16(rig, reg::CORBWP) + 1) & 0xff;
    let verb = node << 20 | command;
    rig.poke(CORB + 4 * u64::from(write), &verb.to_le_bytes());
    w16(rig, reg::CORBWP as u64, write.into());
    let at = r16(rig, reg::RIRBWP);
    let entry = rig.peek(RIRB + 8 * u64::from(at), 8);
    assert_eq!(r8(rig, reg::RIRBSTS), 1, "it is told of");
    w8(rig, reg::RIRBSTS as u64, 5);
    assert_eq!(entry[4..], [0; 4], "solicited, of codec 0");
    u32::from_le_bytes(entry[..4].try_into().unwrap())
}

/// A buffer descriptor list of equal buffers, each with an interrupt.
fn list(rig: &Rig, at: u64, first: u64, buffers: u64, len: u64) {
    for n in 0..buffers {
        let words = [first + n * len, len | 1 << 32];
        rig.poke(at + 16 * n, words.map(u64::to_le_bytes).as_flattened());
    }
}

/// Stream 1 of two channels of 16 bits at 48 kHz is set up on a descriptor, in a ring of so many equal buffers.
fn set_up(rig: &mut Rig, descriptor: u64, first: u64, buffers: u64, len: u64) {
    let at = LIST + (descriptor - IN) * 2;
    list(rig, at, first, buffers, len);
    w8(rig, descriptor, 1);
    w8(rig, descriptor, 0);
    w8(rig, descriptor + 2, 0x10);
    w32(rig, descriptor + 0x08, buffers * len);
    w16(rig, descriptor + 0x12, 0x11);
    w16(rig, descriptor + 0x0c, buffers - 1);
    w32(rig, descriptor + 0x18, at);
}

/// The converter of the codec has stream 1.
fn route(rig: &mut Rig, node: u32) {
    assert_eq!(ask(rig, node, 0x2_0011), 0);
    assert_eq!(ask(rig, node, 0x7_0610), 0);
}

/// Frames that each tell their place.
fn counted(first: u32, count: u32) -> Vec<u8> {
    (first..first + count).flat_map(u32::to_le_bytes).collect()
}
