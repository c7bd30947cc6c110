//! Saved state of `bochs-display`: registers, and the pages of video memory that are not zero.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{BochsDisplay, spec};
use crate::display::vga::state::{load_memory, memory_pages};

const KIND: &str = "bochs-display";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    dispi: [u16; spec::COUNT],
    big_endian: bool,
    /// Length of the video memory in bytes.
    memory: u64,
    /// Its contents are not in here.
    memory_elsewhere: bool,
    /// Numbers of the pages that follow, ascending.
    pages: Vec<u32>,
    /// Their contents, one after the other.
    contents: ByteBuf,
}

pub(super) fn save(device: &BochsDisplay) -> Result<Saved, StateError> {
    // Name, EDID and regions are what it is made of; after a load everything counts as changed.
    let BochsDisplay { name: _, pci, dispi, big_endian, vram, save_memory, changed: _, edid: _, regions: _ } =
        device;
    let (pages, contents) = if *save_memory { memory_pages(vram) } else { Default::default() };
    let state = State {
        pci: pci.save(),
        dispi: *dispi,
        big_endian: *big_endian,
        memory: vram.len() as u64,
        memory_elsewhere: !save_memory,
        pages,
        contents: ByteBuf::from(contents),
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(device: &mut BochsDisplay, saved: &Saved) -> Result<(), StateError> {
    let State { pci, dispi, big_endian, memory, memory_elsewhere, pages, contents } =
        saved.decode(KIND, VERSION)?;
    valid(memory == device.vram.len() as u64, "the video memory has another size")?;
    valid(!(memory_elsewhere && device.save_memory), "the video memory was saved somewhere else")?;
    device.pci.load(&pci)?;
    if !memory_elsewhere {
        load_memory(&device.vram, &pages, &contents)?;
    }
    (device.dispi, device.big_endian, device.changed) = (dispi, big_endian, true);
    Ok(())
}
