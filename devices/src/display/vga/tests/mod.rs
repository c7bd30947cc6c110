//! The VGA as a guest drives it.

mod dispi;
mod memory;
mod modes;
mod registers;
mod screen;

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::rig::Rig;
use hypervisor::RamBlock;
use hypervisor::memory::new_block;

use super::*;

/// A VGA with little memory, so that saving it at every step stays quick.
fn attach(rig: &mut Rig) -> Arc<DeviceCell<Vga>> {
    attach_with(rig, VRAM_MIN).0
}

/// A VGA at 00:02.0 and its memory.
fn attach_with(rig: &mut Rig, len: u64) -> (Arc<DeviceCell<Vga>>, RamBlock) {
    let block = new_block(0, len).unwrap();
    let wiring = rig.wiring();
    let vga = Vga::new(&wiring, block.clone());
    (rig.attach_pci(vga, &wiring, 2, 0), block)
}

fn pixel(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let at = (y * picture.width() + x) as usize * 3;
    picture.pixels()[at..at + 3].try_into().unwrap()
}

/// A bit string of a line: `#` where the pixel is not black.
fn shape(picture: &Picture, x: u32, y: u32, len: u32) -> String {
    (x..x + len).map(|x| if pixel(picture, x, y) == [0; 3] { '.' } else { '#' }).collect()
}
