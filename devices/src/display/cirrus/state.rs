//! Saved state of the GD5446: registers, a transfer that is under way, and the pages of video memory that are not zero.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::Cirrus;
use super::blit::Transfer;
use super::extended::Extended;
use crate::display::vga::registers::Registers;
use crate::display::vga::state::{load_memory, memory_pages};

const KIND: &str = "cirrus";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    vga: Registers,
    own: Extended,
    transfer: Option<Transfer>,
    /// Length of the video memory in bytes.
    memory: u64,
    /// Its contents are not in here.
    memory_elsewhere: bool,
    /// Numbers of the pages that follow, ascending.
    pages: Vec<u32>,
    /// Their contents, one after the other.
    contents: ByteBuf,
}

pub(super) fn save(device: &Cirrus) -> Result<Saved, StateError> {
    // Where the linear memory is follows from the rest; after a load everything counts as changed.
    let Cirrus {
        pci,
        vga,
        own,
        transfer,
        blitter: _,
        vram,
        save_memory,
        changed: _,
        mapped: _,
        regions: _,
        wiring: _,
    } = device;
    let (pages, contents) = if *save_memory { memory_pages(vram) } else { Default::default() };
    let state = State {
        pci: pci.save(),
        vga: vga.clone(),
        own: own.clone(),
        transfer: transfer.clone(),
        memory: vram.len() as u64,
        memory_elsewhere: !save_memory,
        pages,
        contents: ByteBuf::from(contents),
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(device: &mut Cirrus, saved: &Saved) -> Result<(), StateError> {
    let State { pci, vga, own, transfer, memory, memory_elsewhere, pages, contents } =
        saved.decode(KIND, VERSION)?;
    valid(memory == device.vram.len() as u64, "the video memory has another size")?;
    valid(vga.dac.is_valid(), "the DAC is not one")?;
    own.check()?;
    valid(transfer.as_ref().is_none_or(Transfer::is_valid), "the transfer is none of the blitter's")?;
    valid(!(memory_elsewhere && device.save_memory), "the video memory was saved somewhere else")?;
    device.pci.load(&pci)?;
    if !memory_elsewhere {
        load_memory(&device.vram, &pages, &contents)?;
    }
    device.vga = vga;
    device.own = own;
    device.transfer = transfer;
    device.changed = true;
    Ok(())
}
