//! The GD5446 as guests drive it.

mod blit;
mod hostile;
mod registers;
mod start;

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::rig::Rig;
use hypervisor::RamBlock;
use hypervisor::memory::new_block;

use super::*;

/// Where the tests have BAR 0 and BAR 1.
const BAR0: u64 = 0xf000_0000;
const BAR1: u64 = 0xf300_0000;

/// A GD5446 of 4 MiB at 00:02.0 whose BARs decode, and its memory.
fn attach(rig: &mut Rig) -> (Arc<DeviceCell<Cirrus>>, RamBlock) {
    let block = new_block(0, 4 << 20).unwrap();
    let wiring = rig.wiring();
    let cirrus = rig.attach_pci(Cirrus::new(&wiring, block.clone()), &wiring, 2, 0);
    decode(rig);
    (cirrus, block)
}

/// Puts the BARs where the tests have them.
fn decode(rig: &mut Rig) {
    use devices_core::Size;
    rig.config_write(2, 0, 0x10, Size::B4, BAR0 as u32);
    rig.config_write(2, 0, 0x14, Size::B4, BAR1 as u32);
    rig.config_write(2, 0, 4, Size::B2, 3);
    // The CRT controller is at the colour addresses.
    rig.outb(0x3c2, 1);
}

fn seq_write(rig: &mut Rig, index: u8, value: u8) {
    rig.outw(0x3c4, u16::from(value) << 8 | u16::from(index));
}
fn gfx_write(rig: &mut Rig, index: u8, value: u8) {
    rig.outw(0x3ce, u16::from(value) << 8 | u16::from(index));
}
fn crtc_write(rig: &mut Rig, index: u8, value: u8) {
    rig.outw(0x3d4, u16::from(value) << 8 | u16::from(index));
}
fn indexed(rig: &mut Rig, port: u16, index: u8) -> u8 {
    rig.outb(port, index);
    rig.inb(port + 1)
}

/// Writes the hidden DAC register: four reads of the pixel mask come first.
fn hidden_dac(rig: &mut Rig, value: u8) {
    for _ in 0..4 {
        rig.inb(0x3c6);
    }
    rig.outb(0x3c6, value);
}

/// Turns the display on.
fn display_on(rig: &mut Rig) {
    rig.inb(0x3da);
    rig.outb(0x3c0, 0x20);
}

fn pixel(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let at = (y * picture.width() + x) as usize * 3;
    picture.pixels()[at..at + 3].try_into().unwrap()
}
