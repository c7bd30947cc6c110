//! Saved state of the VGA: registers, and the pages of video memory that are not zero.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::Vga;
use super::dispi::Dispi;
use super::registers::Registers;
use super::vram::{PAGE_BYTES, Vram, is_zero};

const KIND: &str = "vga";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    vga: Registers,
    dispi: Dispi,
    big_endian: bool,
    /// Length of the video memory in bytes.
    memory: u64,
    /// Its contents are not in here.
    #[serde(default)]
    memory_elsewhere: bool,
    /// Numbers of the pages that follow, ascending.
    pages: Vec<u32>,
    /// Their contents, one after the other.
    contents: ByteBuf,
}

pub(super) fn save(device: &Vga) -> Result<Saved, StateError> {
    // The EDID and the extension registers are properties'; the ROM is firmware; after a load everything counts as changed.
    let Vga {
        name: _,
        model: _,
        pci,
        vga,
        dispi,
        big_endian,
        extended: _,
        vram,
        save_memory,
        changed: _,
        edid: _,
        regions: _,
        wiring: _,
    } = device;
    let (pages, contents) = if *save_memory { memory_pages(vram) } else { Default::default() };
    let state = State {
        pci: pci.save(),
        vga: vga.clone(),
        dispi: dispi.clone(),
        big_endian: *big_endian,
        memory: vram.len() as u64,
        memory_elsewhere: !save_memory,
        pages,
        contents: ByteBuf::from(contents),
    };
    Saved::encode(KIND, VERSION, &state)
}

/// The pages that are not zero, by number, and their contents.
pub fn memory_pages(vram: &Vram) -> (Vec<u32>, Vec<u8>) {
    let mut pages = Vec::new();
    let mut contents = Vec::new();
    let mut page = [0; PAGE_BYTES];
    for number in 0..vram.len() / PAGE_BYTES {
        if vram.read(number * PAGE_BYTES, &mut page) && !is_zero(&page) {
            pages.push(number as u32);
            contents.extend_from_slice(&page);
        }
    }
    (pages, contents)
}

pub(super) fn load(device: &mut Vga, saved: &Saved) -> Result<(), StateError> {
    let State { pci, vga, dispi, big_endian, memory, memory_elsewhere, pages, contents } =
        saved.decode(KIND, VERSION)?;
    valid(memory == device.vram.len() as u64, "the video memory has another size")?;
    valid(vga.dac.is_valid(), "the DAC is not one")?;
    valid(!(memory_elsewhere && device.save_memory), "the video memory was saved somewhere else")?;
    valid(!big_endian || device.extended, "nothing can have set the byte order")?;
    device.pci.load(&pci)?;
    if !memory_elsewhere {
        load_memory(&device.vram, &pages, &contents)?;
    }
    device.vga = vga;
    device.dispi = dispi;
    device.dispi.settle(&device.vram);
    device.big_endian = big_endian;
    device.changed = true;
    Ok(())
}

/// Writes the pages and zeroes those between them.
pub fn load_memory(vram: &Vram, pages: &[u32], contents: &[u8]) -> Result<(), StateError> {
    valid(contents.len() == pages.len() * PAGE_BYTES, "pages and contents differ")?;
    valid(pages.is_sorted_by(|a, b| a < b), "the pages are out of order")?;
    let fits = pages.last().is_none_or(|&last| (last as usize) < vram.len() / PAGE_BYTES);
    valid(fits, "a page is beyond the video memory")?;
    let mut end = 0;
    for (&page, contents) in pages.iter().zip(contents.chunks_exact(PAGE_BYTES)) {
        let start = page as usize * PAGE_BYTES;
        vram.clear(end, start - end);
        vram.write(start, contents);
        end = start + PAGE_BYTES;
    }
    vram.clear(end, vram.len() - end);
    Ok(())
}
