//! QEMU's `bochs-display`: a linear framebuffer with the DISPI registers in memory, and nothing of a VGA.
//!
//! Hardware: PCI 1234:1111, class "other display"; BAR 0 is the video memory, BAR 2 has EDID, DISPI registers and the byte
//! order of pixels at the standard VGA's places, so that drivers of that one (Linux's bochs-drm, OVMF's) take it as it is.
//! There are no ports, no legacy window and no text; the VGA BIOS in its option ROM draws characters. Registers are storage;
//! what they say is looked at when somebody looks at the screen, which is black while it makes no sense. Pixels have 16
//! bits, the host's order, or 32.

pub mod model;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window as BarWindow};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError};
use hypervisor::RamBlock;

use super::vga::registers::Registers;
use super::vga::render::{Packed, Render, Snapshot};
use super::vga::vram::Vram;
use super::vga::{Adapter, CLASS_OTHER_DISPLAY};

/// Smallest video memory in bytes: QEMU's lower limit.
pub const VRAM_MIN: u64 = 4 << 20;
/// Largest video memory in bytes: QEMU's upper limit.
pub const VRAM_MAX: u64 = 256 << 20;

/// The adapter.
pub struct BochsDisplay {
    name: String,
    pci: PciConfig,
    dispi: [u16; spec::COUNT],
    /// Pixels lie in memory with the high byte first.
    big_endian: bool,
    vram: Vram,
    /// Whether the contents of the memory are part of the saved state.
    save_memory: bool,
    /// A register was written since somebody last asked.
    changed: bool,
    /// One block or two, or none.
    edid: Vec<u8>,
    regions: [Region; 1],
}

impl BochsDisplay {
    /// One over `vram`, whose length is a power of two from [`VRAM_MIN`] to [`VRAM_MAX`], with a monitor's EDID.
    pub fn new(name: &str, vram: RamBlock, edid: Vec<u8>) -> BochsDisplay {
        let mut pci = PciConfig::new(Identity {
            vendor: 0x1234,
            device: 0x1111,
            revision: 2,
            class: CLASS_OTHER_DISPLAY,
            subsystem: QEMU_SUBSYSTEM,
        });
        let prefetch = BarKind::Mem32 { prefetch: true };
        pci.bar(0, prefetch, vram.size() as u64, BarWindow::Ram(vram.clone()));
        pci.bar(2, BarKind::Mem32 { prefetch: false }, spec::LEN, BarWindow::Region(0));
        BochsDisplay {
            name: name.into(),
            pci,
            dispi: [0; spec::COUNT],
            big_endian: false,
            vram: Vram::new(vram),
            save_memory: true,
            changed: true,
            edid,
            regions: [Region::floating("mmio", Space::Mmio, spec::LEN)],
        }
    }

    /// Leaves the contents of the memory out of the saved state, where somebody else saves them: on Xen they are pages of
    /// the guest.
    pub fn memory_saved_elsewhere(mut self) -> BochsDisplay {
        self.save_memory = false;
        self
    }

    fn dispi(&self, index: usize) -> u16 {
        match index {
            spec::ID => *spec::VERSIONS.end(),
            spec::VIDEO_MEMORY => u16::try_from(self.vram.len() >> 16).unwrap_or(u16::MAX),
            index => self.dispi.get(index).copied().unwrap_or(u16::MAX),
        }
    }

    fn byte_order(&self) -> u32 {
        if self.big_endian { spec::BIG } else { spec::LITTLE }
    }

    /// A byte of BAR 2; all ones where nothing is.
    fn byte(&self, offset: u64) -> u8 {
        if spec::EDID.contains(&offset) {
            self.edid.get(offset as usize).copied().unwrap_or_default()
        } else if spec::DISPI.contains(&offset) {
            let at = (offset - spec::DISPI.start) as usize;
            self.dispi(at >> 1).to_le_bytes()[at & 1]
        } else {
            0xff
        }
    }

    /// What the registers ask for, if the memory has it.
    fn mode(&self) -> Option<Packed> {
        let of = |index: usize| u32::from(self.dispi[index]);
        let bpp = self.dispi[spec::BPP];
        let (width, height) = (of(spec::XRES), of(spec::YRES));
        let on = self.dispi[spec::ENABLE] & spec::ENABLED != 0;
        if !on || !matches!(bpp, 16 | 32) || width < spec::LEAST || height < spec::LEAST {
            return None;
        }
        let pixel = usize::from(bpp) / 8;
        // None of these is wider than 16 bits: the product fits.
        let line_bytes = of(spec::VIRT_WIDTH).max(width) as usize * pixel;
        let start = of(spec::X_OFFSET) as usize * pixel + of(spec::Y_OFFSET) as usize * line_bytes;
        let fits = start + line_bytes * height as usize <= self.vram.len();
        fits.then_some(Packed {
            family: "bochs-display",
            width,
            height,
            bpp,
            start,
            line_bytes,
            repeat: 1,
            split: None,
            big_endian: self.big_endian && bpp == 32,
        })
    }
}

impl Adapter for BochsDisplay {
    fn vram(&self) -> &Vram {
        &self.vram
    }
    fn snapshot(&self) -> Snapshot {
        let packed = self.mode();
        Snapshot {
            vga: Registers::default(),
            off: packed.is_none(),
            packed,
            dac_8bit: false,
            cursor: None,
            vram: self.vram.clone(),
        }
    }
    fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
    fn is_active(&self) -> bool {
        self.mode().is_some()
    }
}

impl Device for BochsDisplay {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        let extension = match at.offset {
            spec::EXTENSION => Some(spec::EXTENSION_LEN),
            spec::BYTE_ORDER => Some(self.byte_order()),
            _ => None,
        };
        match (extension, <&mut [u8; 4]>::try_from(&mut *data)) {
            (Some(value), Ok(word)) => *word = value.to_le_bytes(),
            _ => {
                for (offset, byte) in (at.offset..).zip(data) {
                    *byte = self.byte(offset);
                }
            }
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        if let (spec::BYTE_ORDER, &[a, b, c, d]) = (at.offset, data) {
            match u32::from_le_bytes([a, b, c, d]) {
                spec::LITTLE => self.big_endian = false,
                spec::BIG => self.big_endian = true,
                _ => {}
            }
        } else if spec::DISPI.contains(&at.offset) && at.offset & 1 == 0 {
            let first = ((at.offset - spec::DISPI.start) >> 1) as usize;
            for (register, pair) in self.dispi.iter_mut().skip(first).zip(data.chunks(2)) {
                *register = u16::from_le_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]);
            }
        }
        self.changed = true;
        Io::Done
    }

    /// The memory keeps its contents, as on hardware.
    fn reset(&mut self) {
        self.pci.reset();
        self.dispi = [0; spec::COUNT];
        self.big_endian = false;
        self.changed = true;
    }

    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }

    fn inspect(&self, node: &mut Node) {
        let (width, height) = Render::new(self.snapshot()).size();
        let mode = self.mode().map_or("none", |_| "bochs-display");
        node.value("mode", mode).value("size", format_args!("{width}x{height}"));
        let words: Vec<String> = (0..spec::COUNT).map(|index| format!("{:04x}", self.dispi(index))).collect();
        node.value("dispi", words.join(" ")).hex("byte_order", self.byte_order());
    }
}
