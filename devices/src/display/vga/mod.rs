//! The standard VGA: an IBM VGA with Bochs' linear modes on top.
//!
//! Hardware: QEMU's `VGA`, PCI 1234:1111 revision 2, and `secondary-vga`, which has BARs alone and so can be there beside
//! another adapter. The VGA answers at ports 0x3b4-0x3da and in the
//! window at 0xa0000 whether or not its PCI function is enabled, as QEMU's does; the linear framebuffer is
//! BAR 0, mapped straight into the guest, and BAR 2 has EDID and the registers once more. It raises no
//! interrupt. The registers are in `spec`, the window's planes in `memory`, the DISPI modes in `dispi`,
//! and what comes of it all on the screen in `render`.
//!
//! Left out: the light pen, interlace, the attribute controller's 4-bit shift of 256-colour modes, border
//! colours, and doubleword or word addressing beyond what the interleaved memory layout gives for free.
//! Blinking characters and cursors are shown steady.

pub(super) mod dac;
mod dispi;
mod eye;
pub(super) mod memory;
pub mod model;
pub(super) mod registers;
pub(super) mod render;
pub(super) mod spec;
pub(super) mod state;
#[cfg(test)]
mod tests;
pub(super) mod vram;

use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window as BarWindow, reg as pci_reg};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wiring};
use hypervisor::RamBlock;

use super::Picture;
use super::edid::Monitor;
use dispi::Dispi;
pub use eye::{Adapter, Eye};
use memory::Window;
use registers::Registers;
use render::{Render, Snapshot};
use vram::Vram;

/// Smallest video memory in bytes: QEMU's lower limit.
pub const VRAM_MIN: u64 = 1 << 20;
/// Largest video memory in bytes: QEMU's upper limit.
pub const VRAM_MAX: u64 = 512 << 20;

/// How many regions there are. The last one is that of the registers in BAR 2.
pub(crate) const REGIONS: usize = 8;

/// Indices of the regions.
mod region {
    pub const CRTC_MONO: usize = 0;
    pub const STATUS_MONO: usize = 1;
    pub const VGA: usize = 2;
    pub const CRTC: usize = 3;
    pub const STATUS: usize = 4;
    pub const DISPI: usize = 5;
    pub const WINDOW: usize = 6;
    pub const MMIO: usize = 7;
}

/// The first port of a region of VGA ports.
fn first_port(region: usize) -> Option<u16> {
    let mono = spec::COLOUR_ABOVE_MONO;
    match region {
        region::CRTC_MONO => Some(spec::CRTC - mono),
        region::STATUS_MONO => Some(spec::STATUS1 - mono),
        region::VGA => Some(spec::ATTRIBUTE),
        region::CRTC => Some(spec::CRTC),
        region::STATUS => Some(spec::STATUS1),
        _ => None,
    }
}

/// The standard VGA.
pub struct Vga {
    name: String,
    model: &'static Model,
    pci: PciConfig,
    vga: Registers,
    dispi: Dispi,
    /// Pixels of more than a byte lie in memory with the high byte first.
    big_endian: bool,
    /// It has the extension registers, by which the byte order is set.
    extended: bool,
    vram: Vram,
    /// Whether the contents of the memory are part of the saved state.
    save_memory: bool,
    /// A register was written since somebody last asked.
    changed: bool,
    /// One block or two, or none.
    edid: Vec<u8>,
    regions: Vec<Region>,
    wiring: Wiring,
}

impl Vga {
    /// A VGA over `vram`, whose length is a power of two from [`VRAM_MIN`] to [`VRAM_MAX`] (16 MiB is
    /// usual).
    pub fn new(wiring: &Wiring, vram: RamBlock) -> Vga {
        let len = vram.size() as u64;
        assert!((VRAM_MIN..=VRAM_MAX).contains(&len), "the video memory has a size that QEMU allows");
        let mono = spec::COLOUR_ABOVE_MONO;
        let regions = vec![
            Region::pio("crtc mono", spec::CRTC - mono, 2),
            Region::pio("status mono", spec::STATUS1 - mono, 1),
            Region::pio("vga", spec::ATTRIBUTE, 16),
            Region::pio("crtc", spec::CRTC, 2),
            Region::pio("status", spec::STATUS1, 1),
            Region::pio("dispi", spec::dispi::PORT, 4).widest(2),
            Region::mmio("window", spec::WINDOW, spec::WINDOW_LEN).widest(8),
            Region::floating("mmio", Space::Mmio, spec::mmio::LEN),
        ];
        Vga {
            name: "vga".into(),
            model: &model::MODEL,
            pci: configuration(&vram, CLASS_VGA, region::MMIO),
            vga: Registers::default(),
            dispi: Dispi::default(),
            big_endian: false,
            extended: true,
            vram: Vram::new(vram),
            save_memory: true,
            changed: true,
            edid: Monitor { name: "Ailurus", preferred: (1280, 800) }.edid(),
            regions,
            wiring: wiring.clone(),
        }
    }

    /// One of that name that has BARs alone: no ports, no legacy window, no VGA's class.
    pub fn secondary(name: &str, wiring: &Wiring, vram: RamBlock) -> Vga {
        let mut vga = Vga::new(wiring, vram);
        vga.pci = configuration(vga.vram.block(), CLASS_OTHER_DISPLAY, 0);
        vga.regions.drain(..region::MMIO);
        Vga { name: name.into(), model: &model::SECONDARY, ..vga }
    }

    /// With another monitor, whose EDID it is; none is empty.
    pub fn with_edid(mut self, edid: Vec<u8>) -> Vga {
        self.edid = edid;
        self
    }

    /// Without the extension registers (QEMU's `qemu-extended-regs=off`): the adapter of QEMU before 2.2, which its
    /// revision says. Guests that are not to meet a new device have it.
    pub fn without_extension(mut self) -> Vga {
        self.extended = false;
        self.pci.set(pci_reg::REVISION, &[0]);
        self
    }

    /// Which region of [`REGIONS`] the bus means by a number.
    fn region(&self, at: At) -> usize {
        at.region + REGIONS - self.regions.len()
    }

    /// Leaves the contents of the memory out of the saved state, where somebody else saves them: on Xen
    /// they are pages of the guest.
    pub fn memory_saved_elsewhere(mut self) -> Vga {
        self.save_memory = false;
        self
    }

    /// Its video memory.
    pub(crate) fn video_memory(&self) -> RamBlock {
        self.vram.block().clone()
    }

    /// A read of the registers that BAR 2 has, in a device without an EDID there.
    pub(crate) fn read_registers(&mut self, offset: u64, data: &mut [u8]) {
        for (offset, byte) in (offset..).zip(data) {
            *byte = if spec::mmio::EDID.contains(&offset) { 0 } else { self.read_mmio(offset) };
        }
    }

    /// A write.
    pub(crate) fn write_registers(&mut self, offset: u64, data: &[u8]) {
        self.write_mmio(offset, data);
    }

    /// What the screen shows now, all of it copied. Black while it is off.
    pub fn screen(&self) -> Picture {
        Picture::of(&self.render())
    }

    /// The characters of a text mode, a line for each row without the blanks at its end. None in graphics
    /// modes and while the screen is off.
    pub fn text(&self) -> Option<String> {
        self.render().text()
    }

    fn render(&self) -> Render {
        Render::new(self.snapshot())
    }

    fn window(&mut self) -> Window<'_> {
        let (packed, bank) = (self.dispi.packed(), self.dispi.bank_offset());
        Window { vga: &mut self.vga, packed, bank, vram: &self.vram }
    }

    fn read_port(&mut self, port: u16) -> u8 {
        let status1 = self.vga.status1(self.wiring.now());
        self.vga.read(port, status1)
    }

    fn write_port(&mut self, port: u16, value: u8) {
        self.changed = true;
        self.vga.write(port, value);
        // The mode that is on holds its own against firmware that programs the VGA beneath it.
        self.dispi.impose(&mut self.vga);
    }

    fn write_dispi(&mut self, index: u16, value: u16) {
        self.changed = true;
        self.dispi.write(index, value, &self.vram);
        self.dispi.impose(&mut self.vga);
    }

    /// DISPI's ports take words only: the index, and the data at the next port or the one after it.
    fn read_dispi_port(&self, offset: u64) -> u16 {
        match offset {
            0 => self.dispi.index(),
            _ => self.dispi.read(self.dispi.index(), &self.vram),
        }
    }

    fn write_dispi_port(&mut self, offset: u64, value: u16) {
        match offset {
            0 => self.dispi.set_index(value),
            _ => self.write_dispi(self.dispi.index(), value),
        }
    }

    fn extension(&self) -> [u8; 8] {
        let order = if self.big_endian { spec::mmio::BIG } else { spec::mmio::LITTLE };
        let mut bytes = [0; 8];
        bytes[0] = 8;
        bytes[4..].copy_from_slice(&order.to_le_bytes());
        bytes
    }

    /// A byte of BAR 2; zero where nothing is, and ones where the extension registers are not.
    fn read_mmio(&mut self, offset: u64) -> u8 {
        use spec::mmio;
        let pick = |bytes: &[u8], at: u64| bytes.get(at as usize).copied().unwrap_or_default();
        if mmio::EDID.contains(&offset) {
            pick(&self.edid, offset)
        } else if mmio::PORTS.contains(&offset) {
            self.read_port(spec::ATTRIBUTE + (offset - mmio::PORTS.start) as u16)
        } else if mmio::DISPI.contains(&offset) {
            let at = offset - mmio::DISPI.start;
            pick(&self.dispi.read((at >> 1) as u16, &self.vram).to_le_bytes(), at & 1)
        } else if mmio::EXTENSION.contains(&offset) && !self.extended {
            0xff
        } else if mmio::EXTENSION.contains(&offset) {
            pick(&self.extension(), offset - mmio::EXTENSION.start)
        } else {
            0
        }
    }

    fn write_mmio(&mut self, offset: u64, data: &[u8]) {
        use spec::mmio;
        if mmio::PORTS.contains(&offset) {
            for (at, &value) in (offset..mmio::PORTS.end).zip(data) {
                self.write_port(spec::ATTRIBUTE + (at - mmio::PORTS.start) as u16, value);
            }
        } else if mmio::DISPI.contains(&offset) && offset & 1 == 0 {
            for (at, pair) in (offset..mmio::DISPI.end).step_by(2).zip(data.chunks(2)) {
                let value = u16::from_le_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]);
                self.write_dispi(((at - mmio::DISPI.start) >> 1) as u16, value);
            }
        } else if let (true, &[a, b, c, d]) = (self.extended && offset == mmio::EXTENSION.start + 4, data) {
            self.changed = true;
            match u32::from_le_bytes([a, b, c, d]) {
                mmio::LITTLE => self.big_endian = false,
                mmio::BIG => self.big_endian = true,
                _ => {}
            }
        }
    }
}

/// PCI class of a VGA.
const CLASS_VGA: u32 = 0x03_00_00;
/// PCI class of a display controller that is none.
pub(super) const CLASS_OTHER_DISPLAY: u32 = 0x03_80_00;

/// The configuration space; the registers of BAR 2 are region `mmio`.
fn configuration(vram: &RamBlock, class: u32, mmio: usize) -> PciConfig {
    let mut pci = PciConfig::new(Identity {
        vendor: 0x1234,
        device: 0x1111,
        revision: 2,
        class,
        subsystem: QEMU_SUBSYSTEM,
    });
    let prefetch = BarKind::Mem32 { prefetch: true };
    pci.bar(0, prefetch, vram.size() as u64, BarWindow::Ram(vram.clone()));
    pci.bar(2, BarKind::Mem32 { prefetch: false }, spec::mmio::LEN, BarWindow::Region(mmio));
    pci
}

impl Adapter for Vga {
    fn vram(&self) -> &Vram {
        &self.vram
    }
    /// A DISPI mode is on whatever the sequencer says.
    fn snapshot(&self) -> Snapshot {
        let packed = self.dispi.picture(self.big_endian);
        let off = !self.vga.display_on() || (packed.is_none() && self.vga.screen_off());
        Snapshot {
            vga: self.vga.clone(),
            packed,
            off,
            dac_8bit: self.dispi.dac_8bit(),
            cursor: None,
            vram: self.vram.clone(),
        }
    }
    fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
    /// Firmware and text show nothing on one that is not the first.
    fn is_active(&self) -> bool {
        self.regions.len() == REGIONS || self.dispi.enabled()
    }
}

impl Device for Vga {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(self.model)
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        let region = self.region(at);
        if let Some(first) = first_port(region) {
            for (port, byte) in (first.wrapping_add(at.offset as u16)..).zip(data) {
                *byte = self.read_port(port);
            }
            return Io::Done;
        }
        match region {
            region::WINDOW => {
                let mut window = self.window();
                for (offset, byte) in (at.offset..).zip(data) {
                    *byte = window.read(offset);
                }
            }
            region::MMIO => {
                for (offset, byte) in (at.offset..).zip(data) {
                    *byte = self.read_mmio(offset);
                }
            }
            region::DISPI => match <&mut [u8; 2]>::try_from(data) {
                Ok(word) => *word = self.read_dispi_port(at.offset).to_le_bytes(),
                Err(_) => return Io::Unclaimed,
            },
            _ => return Io::Unclaimed,
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        let region = self.region(at);
        if let Some(first) = first_port(region) {
            for (port, &value) in (first.wrapping_add(at.offset as u16)..).zip(data) {
                self.write_port(port, value);
            }
            return Io::Done;
        }
        match region {
            region::WINDOW => {
                let mut window = self.window();
                for (offset, &value) in (at.offset..).zip(data) {
                    window.write(offset, value);
                }
            }
            region::MMIO => self.write_mmio(at.offset, data),
            region::DISPI => match data {
                &[low, high] => self.write_dispi_port(at.offset, u16::from_le_bytes([low, high])),
                _ => return Io::Unclaimed,
            },
            _ => return Io::Unclaimed,
        }
        Io::Done
    }

    /// The memory keeps its contents, as on hardware.
    fn reset(&mut self) {
        self.pci.reset();
        self.vga = Registers::default();
        self.dispi = Dispi::default();
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
        let render = self.render();
        let (width, height) = render.size();
        node.value("mode", render.describe()).value("size", format_args!("{width}x{height}"));
        if let Some(text) = render.text() {
            let screen = node.child("text");
            for (row, line) in text.lines().enumerate() {
                screen.value(&format!("{row:02}"), line);
            }
        }
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        let registers = node.child("registers");
        registers.hex("misc", self.vga.misc).value("sequencer", hex(&self.vga.sequencer));
        registers.value("graphics", hex(&self.vga.graphics)).value("attribute", hex(&self.vga.attribute));
        registers.value("crtc", hex(&self.vga.crtc)).value("dispi", self.dispi.describe());
    }
}
