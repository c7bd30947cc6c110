//! Cirrus Logic's CL-GD5446, a VGA with packed pixels, a blitter and a pointer.
//!
//! Hardware: QEMU's `cirrus-vga`, PCI 1013:00b8, libxl's display where a guest names none, and the one that Windows up to
//! 2003 has a driver for. It is a VGA ([`vga`](super::vga) has its registers, planes and picture) with more registers in the
//! same files (`extended`), a 4 MiB memory that is reached through two banks at 0xa0000 or linearly, and a BitBLT engine
//! (`blit`). BAR 0 is that memory and the window of the blitter, BAR 1 the registers once more. It raises no
//! interrupt. As with QEMU, more than 4 MiB can be asked for and lie behind the first in the linear window; nothing but
//! the processor reaches them.
//!
//! The linear memory is guest memory while it is nothing but memory. While write modes 4 and 5, addresses that count 8 or
//! 16 bytes, the blitter's registers at its end or a transfer to or from the processor are on, accesses there come here.
//!
//! Unlike QEMU: raster operations 0x90 and 0xda are NOR and NAND, as X.org's driver has it; a blit that
//! leaves the memory wraps instead of being dropped; blits to the processor work; lines of bits that end at double words do;
//! the pixel mask counts; the byte-swapped apertures are there, where no memory is.
//!
//! Left out: the overlay and video windows, the feature connector, EEPROM and DDC (the monitor does not answer), the dot
//! clock's PLL (its registers are storage), planar modes of more than 64 KiB a plane, the colour compare mask (GR38, GR39).

mod blit;
mod extended;
mod memory;
pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, Placement, QEMU_SUBSYSTEM, Window as BarWindow};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wiring};
use hypervisor::RamBlock;

use super::Picture;
use super::vga::Adapter;
use super::vga::memory::Window;
use super::vga::registers::Registers;
use super::vga::render::{Cursor, Packed, Render, Snapshot};
use super::vga::spec as vga_spec;
use super::vga::spec::crtc as vga_crtc;
use super::vga::vram::Vram;
use blit::{Blit, Transfer};
use extended::Extended;
use memory::Memory;
use spec::{blt, crtc, gfx, seq};

/// Indices of the regions.
mod region {
    pub const CRTC_MONO: usize = 0;
    pub const STATUS_MONO: usize = 1;
    pub const VGA: usize = 2;
    pub const CRTC: usize = 3;
    pub const STATUS: usize = 4;
    pub const WINDOW: usize = 5;
    pub const LINEAR: usize = 6;
    pub const SWAPPED: usize = 7;
    pub const BLT: usize = 8;
    pub const MMIO: usize = 9;
}

/// The first port of a region of ports.
fn first_port(region: usize) -> Option<u16> {
    let mono = vga_spec::COLOUR_ABOVE_MONO;
    match region {
        region::CRTC_MONO => Some(vga_spec::CRTC - mono),
        region::STATUS_MONO => Some(vga_spec::STATUS1 - mono),
        region::VGA => Some(vga_spec::ATTRIBUTE),
        region::CRTC => Some(vga_spec::CRTC),
        region::STATUS => Some(vga_spec::STATUS1),
        _ => None,
    }
}

/// Sizes of the video memory that QEMU allows, in MiB.
pub const SIZES: [u64; 3] = [4, 8, 16];

/// A GD5446.
pub struct Cirrus {
    pci: PciConfig,
    vga: Registers,
    own: Extended,
    transfer: Option<Transfer>,
    /// The blitter does what it is asked for.
    blitter: bool,
    vram: Vram,
    /// Whether the contents of the memory are part of the saved state.
    save_memory: bool,
    /// A register of the picture was written since somebody last asked.
    changed: bool,
    /// Whether the linear memory was mapped when its place was last asked for.
    mapped: bool,
    regions: [Region; 10],
    wiring: Wiring,
}

impl Cirrus {
    /// One over `vram`, whose length is one of [`SIZES`].
    pub fn new(wiring: &Wiring, vram: RamBlock) -> Cirrus {
        let len = vram.size() as u64;
        assert!(SIZES.contains(&(len >> 20)), "the video memory has a size that QEMU allows");
        let mono = vga_spec::COLOUR_ABOVE_MONO;
        let regions = [
            Region::pio("crtc mono", vga_spec::CRTC - mono, 2),
            Region::pio("status mono", vga_spec::STATUS1 - mono, 1),
            Region::pio("vga", vga_spec::ATTRIBUTE, 16),
            Region::pio("crtc", vga_spec::CRTC, 2),
            Region::pio("status", vga_spec::STATUS1, 1),
            Region::mmio("window", vga_spec::WINDOW, vga_spec::WINDOW_LEN).widest(8),
            Region::floating("linear", Space::Mmio, len).widest(8),
            Region::floating("swapped", Space::Mmio, (spec::BLT_WINDOW - len).max(1)).widest(8),
            Region::floating("blt", Space::Mmio, spec::BLT_WINDOW_LEN).widest(8),
            Region::floating("mmio", Space::Mmio, spec::MMIO_LEN),
        ];
        Cirrus {
            pci: configuration(),
            vga: Registers::default(),
            own: Extended::default(),
            transfer: None,
            blitter: true,
            vram: Vram::new(vram),
            save_memory: true,
            changed: true,
            mapped: false,
            regions,
            wiring: wiring.clone(),
        }
    }

    /// Leaves the contents of the memory out of the saved state, where somebody else saves them.
    pub fn memory_saved_elsewhere(mut self) -> Cirrus {
        self.save_memory = false;
        self
    }

    /// One whose blitter does nothing.
    pub fn without_blitter(mut self) -> Cirrus {
        self.blitter = false;
        self
    }

    /// What the screen shows now, all of it copied.
    pub fn screen(&self) -> Picture {
        Picture::of(&self.render())
    }

    /// The characters of a text mode.
    pub fn text(&self) -> Option<String> {
        self.render().text()
    }

    fn render(&self) -> Render {
        Render::new(self.snapshot())
    }

    /// Whether the guest may reach the linear memory with nobody between.
    fn is_plain(&self) -> bool {
        self.transfer.is_none() && self.own.is_plain()
    }

    /// How an access ends: windows may have moved by it.
    fn done(&self) -> Io {
        if self.is_plain() == self.mapped { Io::Done } else { Io::Moved }
    }

    fn read_port(&mut self, port: u16) -> u8 {
        let Some(number) = self.vga.normal(port) else { return 0xff };
        match number {
            vga_spec::SEQUENCER_DATA if self.vga.sequencer_index() > seq::LAST_VGA => {
                return self.own.read_sequencer(self.vga.sequencer_index());
            }
            vga_spec::GRAPHICS_DATA => return self.read_graphics(self.vga.graphics_index()),
            vga_spec::CRTC_DATA if self.vga.crtc_index() >= crtc::FIRST => {
                return self.own.read_crtc(self.vga.crtc_index(), &self.vga);
            }
            vga_spec::DAC_MASK => {
                if let Some(hidden) = self.own.hidden_read() {
                    return hidden;
                }
            }
            vga_spec::DAC_READ | vga_spec::DAC_WRITE => self.own.hidden_forget(),
            vga_spec::DAC_DATA => {
                self.own.hidden_forget();
                if self.own.colours_shown() {
                    let (index, step) = self.vga.dac.next_read();
                    return self.own.colour_byte(index, step);
                }
            }
            _ => {}
        }
        let status1 = self.vga.status1(self.wiring.now());
        self.vga.read(port, status1)
    }

    fn write_port(&mut self, port: u16, value: u8) {
        let Some(number) = self.vga.normal(port) else { return };
        match number {
            vga_spec::SEQUENCER => return self.vga.set_sequencer_index(value),
            vga_spec::GRAPHICS => return self.vga.set_graphics_index(value),
            vga_spec::GRAPHICS_DATA => return self.write_graphics(self.vga.graphics_index(), value),
            _ => {}
        }
        self.changed = true;
        match number {
            vga_spec::SEQUENCER_DATA if self.vga.sequencer_index() > seq::LAST_VGA => {
                return self.own.write_sequencer(self.vga.sequencer_index(), value);
            }
            vga_spec::CRTC_DATA if self.vga.crtc_index() >= crtc::FIRST => {
                return self.own.write_crtc(self.vga.crtc_index(), value);
            }
            vga_spec::DAC_MASK if self.own.hidden_write(value) => return,
            vga_spec::DAC_READ | vga_spec::DAC_WRITE => self.own.hidden_forget(),
            vga_spec::DAC_DATA => {
                self.own.hidden_forget();
                if self.own.colours_shown() {
                    if let Some((index, colour)) = self.vga.dac.next_write(value) {
                        self.own.set_colour(index, colour);
                    }
                    return;
                }
            }
            _ => {}
        }
        self.vga.write(port, value);
    }

    fn read_graphics(&self, index: u8) -> u8 {
        match self.vga.graphics.get(usize::from(index)) {
            Some(&value) if !matches!(index, 0 | 1 | 5) => value,
            _ => self.own.read_graphics(index),
        }
    }

    fn write_graphics(&mut self, index: u8, value: u8) {
        if let Some(register) = self.vga.graphics.get_mut(usize::from(index)) {
            *register = value & vga_spec::gfx::WRITABLE[usize::from(index)];
            self.changed = true;
        }
        if index == gfx::START {
            return self.write_start(value);
        }
        self.own.write_graphics(index, value);
        // The last byte of the address.
        if index == gfx::TO + 2 && self.own.graphics(gfx::START) & blt::AUTOSTART != 0 {
            self.start();
        }
    }

    fn write_start(&mut self, value: u8) {
        let before = self.own.graphics(gfx::START);
        self.own.set_status(0xff, value);
        if value & blt::RESET != 0 {
            self.finish();
            self.own.set_status(0, value & blt::START);
        } else if before & blt::RESET != 0 {
            self.finish();
        } else if value & !before & blt::START != 0 {
            self.start();
        } else if self.transfer.is_some() {
            self.own.set_status(0, blt::BUSY);
        }
    }

    /// The blitter is idle again.
    fn finish(&mut self) {
        self.transfer = None;
        self.own.set_status(blt::START | blt::BUSY | blt::FIFO, 0);
    }

    /// Starts the blit that the registers describe. One between video memory and video memory is over at once.
    fn start(&mut self) {
        self.finish();
        let Some(blit) = Blit::of(&self.own).filter(|_| self.blitter) else { return };
        let memory = Memory(&self.vram);
        if blit.has_transfer() {
            self.own.set_status(0, blt::START | blt::BUSY);
            self.transfer = Some(Transfer::new(blit, memory));
        } else {
            blit.run(memory);
        }
    }

    /// The processor writes bytes for the blitter; what is beyond the last one is dropped.
    fn give(&mut self, data: &[u8]) {
        for &byte in data {
            let Some(transfer) = self.transfer.as_mut().filter(|transfer| !transfer.to_system()) else {
                return;
            };
            if transfer.give(byte, Memory(&self.vram)) {
                self.finish();
            }
        }
    }

    /// The processor reads bytes of the blitter's.
    fn take(&mut self, data: &mut [u8]) {
        for byte in data {
            let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.to_system()) else {
                return;
            };
            let (given, over) = transfer.take(Memory(&self.vram));
            *byte = given;
            if over {
                self.finish();
            }
        }
    }

    fn takes(&self) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| !transfer.to_system())
    }
    fn gives(&self) -> bool {
        self.transfer.as_ref().is_some_and(Transfer::to_system)
    }

    /// The graphics register that is at an offset among the blitter's in memory.
    fn blt_register(offset: u64) -> Option<u8> {
        // Background, then foreground colour; the rest in the order of the registers, with gaps.
        const COLOURS: [u8; 8] = [0x00, 0x10, 0x12, 0x14, 0x01, 0x11, 0x13, 0x15];
        match offset as u8 {
            at @ 0x00..=0x07 => COLOURS.get(usize::from(at)).copied(),
            at @ (0x08..=0x12 | 0x14..=0x18) => Some(at + 0x18),
            at @ (0x1a..=0x1d) => Some(at + 0x18),
            at @ (0x20 | 0x21) => Some(at + 0x18),
            0x40 => Some(gfx::START),
            _ => None,
        }
    }

    fn read_blt(&self, offset: u64) -> u8 {
        Cirrus::blt_register(offset).map_or(0xff, |index| self.read_graphics(index))
    }
    fn write_blt(&mut self, offset: u64, value: u8) {
        if let Some(index) = Cirrus::blt_register(offset) {
            self.write_graphics(index, value);
        }
    }

    fn window(&mut self) -> Window<'_> {
        Window { vga: &mut self.vga, packed: false, bank: 0, vram: &self.vram }
    }

    /// Whether an offset in the VGA's window is a register of the blitter's.
    fn is_window_register(&self, offset: u64) -> bool {
        let registers = spec::WINDOW_BLT..spec::WINDOW_BLT + spec::BLT_REGISTERS;
        self.own.registers_in_window() && registers.contains(&offset)
    }

    /// Where in the memory an offset in the VGA's window is in packed modes.
    fn banked(&self, offset: u64) -> Option<i64> {
        if offset >= spec::WINDOW_MEMORY {
            return None;
        }
        let upper = offset >= spec::BANK_LEN;
        let at = self.own.bank(upper) + (offset % spec::BANK_LEN) as usize;
        (at < spec::MEMORY).then_some((at as i64) << self.own.address_shift())
    }

    fn read_window(&mut self, offset: u64) -> u8 {
        if self.is_window_register(offset) {
            return self.read_blt(offset - spec::WINDOW_BLT);
        }
        if !self.own.is_packed() {
            return self.window().read(offset);
        }
        self.banked(offset).map_or(0xff, |at| Memory(&self.vram).byte(at))
    }

    fn write_window(&mut self, offset: u64, value: u8) {
        if self.is_window_register(offset) {
            self.write_blt(offset - spec::WINDOW_BLT, value);
        } else if !self.own.is_packed() {
            self.window().write(offset, value);
        } else if let Some(at) = self.banked(offset) {
            self.store(at, value);
        }
    }

    /// A byte that the processor writes to the memory: itself, or eight pixels.
    fn store(&mut self, at: i64, value: u8) {
        let memory = Memory(&self.vram);
        let Some((depth, draws_background)) = self.own.expansion() else { return memory.set_byte(at, value) };
        let (foreground, background) = (self.own.fill_colour(1), self.own.fill_colour(0));
        for pixel in 0..8 {
            let colour = match value >> (7 - pixel) & 1 != 0 {
                true => foreground,
                false if draws_background => background,
                false => continue,
            };
            let at = at + (pixel * depth) as i64;
            (at..).zip(colour).take(depth).for_each(|(at, byte)| memory.set_byte(at, byte));
        }
    }

    /// Whether an offset in the linear window is a register of the blitter's.
    fn is_linear_register(&self, offset: u64) -> bool {
        let end = spec::MEMORY as u64;
        self.own.registers_in_linear() && (end - spec::BLT_REGISTERS..end).contains(&offset)
    }

    /// Where in the memory an offset in the linear window is; none beyond what the chip addresses.
    fn linear(&self, offset: u64) -> Option<i64> {
        (offset < spec::MEMORY as u64).then_some((offset as i64) << self.own.address_shift())
    }

    fn read_linear(&self, offset: u64) -> u8 {
        match self.linear(offset) {
            _ if self.is_linear_register(offset) => self.read_blt(offset % spec::BLT_REGISTERS),
            Some(at) => Memory(&self.vram).byte(at),
            None => self.vram.byte(offset as usize).unwrap_or(0xff),
        }
    }

    fn write_linear(&mut self, offset: u64, value: u8) {
        match self.linear(offset) {
            _ if self.is_linear_register(offset) => self.write_blt(offset % spec::BLT_REGISTERS, value),
            Some(at) => self.store(at, value),
            None => self.vram.set_byte(offset as usize, value),
        }
    }

    /// Where an offset from the end of the memory on is in the apertures that swap bytes: the second 4 MiB those of
    /// words, the third those of double words.
    fn swapped(&self, offset: u64) -> Option<u64> {
        let address = offset + self.vram.len() as u64;
        let inside = address % spec::MEMORY as u64;
        match address / spec::MEMORY as u64 {
            1 => Some(inside ^ 1),
            2 => Some(inside ^ 3),
            _ => None,
        }
    }

    /// A byte of BAR 1; zero where no register is.
    fn read_mmio(&mut self, offset: u64) -> u8 {
        match offset {
            0..0x20 => self.read_port(vga_spec::ATTRIBUTE + offset as u16),
            spec::MMIO_BLT.. => self.read_blt_page(offset - spec::MMIO_BLT),
            _ => 0,
        }
    }

    fn read_blt_page(&self, offset: u64) -> u8 {
        if offset < spec::BLT_REGISTERS { self.read_blt(offset) } else { 0xff }
    }

    fn write_mmio(&mut self, offset: u64, value: u8) {
        match offset {
            0..0x20 => self.write_port(vga_spec::ATTRIBUTE + offset as u16, value),
            spec::MMIO_BLT.. if offset - spec::MMIO_BLT < spec::BLT_REGISTERS => {
                self.write_blt(offset - spec::MMIO_BLT, value);
            }
            _ => {}
        }
    }

    /// Whether bytes at that place are the blitter's while a transfer is on.
    fn is_transfer_place(&self, at: At) -> bool {
        match at.region {
            region::WINDOW => at.offset < spec::WINDOW_MEMORY,
            region::LINEAR => !self.is_linear_register(at.offset),
            region::SWAPPED | region::BLT => true,
            _ => false,
        }
    }

    fn read_byte(&mut self, region: usize, offset: u64) -> u8 {
        match region {
            region::WINDOW => self.read_window(offset),
            region::LINEAR => self.read_linear(offset),
            region::SWAPPED => self.swapped(offset).map_or(0xff, |at| self.read_linear(at)),
            region::MMIO => self.read_mmio(offset),
            // The blitter has nothing to give.
            _ => 0xff,
        }
    }

    fn write_byte(&mut self, region: usize, offset: u64, value: u8) {
        match region {
            region::WINDOW => self.write_window(offset, value),
            region::LINEAR => self.write_linear(offset, value),
            region::SWAPPED => {
                if let Some(at) = self.swapped(offset) {
                    self.write_linear(at, value);
                }
            }
            region::MMIO => self.write_mmio(offset, value),
            _ => {}
        }
    }

    /// The packed mode that is on.
    fn packed(&self) -> Option<Packed> {
        let vga = &self.vga;
        let rows = u32::from(vga.crtc[vga_crtc::MAX_SCAN] & 0x1f) + 1;
        let double = vga.crtc[vga_crtc::MAX_SCAN] & vga_crtc::DOUBLE_SCAN != 0;
        let interlaced = self.own.crtc(crtc::MISC) & crtc::INTERLACED != 0;
        let height = vga.lines() << u32::from(interlaced);
        let split = vga.line_compare() + 1;
        self.own.is_packed().then(|| Packed {
            family: "GD5446",
            width: vga.columns() * 8,
            height,
            bpp: self.own.depth(),
            start: self.own.start(vga),
            line_bytes: self.own.line_bytes(vga),
            repeat: rows << u32::from(double),
            split: (split < height).then_some(split),
            big_endian: false,
        })
    }

    /// The pointer, if it is shown: its pattern is one of those at the end of the memory.
    fn cursor(&self) -> Option<Cursor> {
        let attributes = self.own.sequencer(seq::CURSOR);
        if attributes & seq::SHOW == 0 {
            return None;
        }
        let which = usize::from(self.own.sequencer(seq::PATTERN));
        // A large one's planes alternate, 8 bytes each; a small one's lie one after the other.
        let (size, first, len) = match attributes & seq::LARGE != 0 {
            true => (64, (which & 0x3c) * 256, 1024),
            false => (32, (which & 0x3f) * 256, 256),
        };
        let start = spec::MEMORY - spec::PATTERNS + first;
        let mut pattern = vec![0; len];
        Memory(&self.vram).read(start as i64, &mut pattern);
        let stripe = if size == 64 { 8 } else { 128 };
        let plane = |number: usize| {
            let stripes = pattern.chunks_exact(stripe).skip(number).step_by(2);
            stripes.flatten().copied().collect()
        };
        Some(Cursor {
            x: self.own.cursor.0.into(),
            y: self.own.cursor.1.into(),
            size,
            planes: [plane(0), plane(1)],
            colours: [self.own.colour(0), self.own.colour(15)],
            bytes: start..start + len,
        })
    }
}

fn configuration() -> PciConfig {
    let mut pci = PciConfig::new(Identity {
        vendor: 0x1013,
        device: 0x00b8,
        revision: 0,
        class: 0x03_00_00,
        subsystem: QEMU_SUBSYSTEM,
    });
    let prefetch = BarKind::Mem32 { prefetch: true };
    pci.bar(0, prefetch, spec::APERTURE_LEN, BarWindow::Region(region::LINEAR));
    pci.bar(1, BarKind::Mem32 { prefetch: false }, spec::MMIO_LEN, BarWindow::Region(region::MMIO));
    pci
}

impl Adapter for Cirrus {
    fn vram(&self) -> &Vram {
        &self.vram
    }
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            vga: self.vga.clone(),
            packed: self.packed(),
            // SR1 bit 5 does not count: the VGA BIOS leaves it set in all of its packed modes.
            off: !self.vga.display_on(),
            dac_8bit: false,
            cursor: self.cursor(),
            vram: self.vram.clone(),
        }
    }
    fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl Device for Cirrus {
    fn name(&self) -> &str {
        "cirrus"
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        if let Some(first) = first_port(at.region) {
            for (port, byte) in (first.wrapping_add(at.offset as u16)..).zip(data) {
                *byte = self.read_port(port);
            }
        } else if self.gives() && self.is_transfer_place(at) {
            self.take(data);
        } else {
            for (offset, byte) in (at.offset..).zip(data) {
                *byte = self.read_byte(at.region, offset);
            }
        }
        self.done()
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        if let Some(first) = first_port(at.region) {
            for (port, &value) in (first.wrapping_add(at.offset as u16)..).zip(data) {
                self.write_port(port, value);
            }
        } else if self.takes() && self.is_transfer_place(at) {
            self.give(data);
        } else {
            for (offset, &value) in (at.offset..).zip(data) {
                self.write_byte(at.region, offset, value);
            }
        }
        self.done()
    }

    /// The memory keeps its contents, as on hardware.
    fn reset(&mut self) {
        self.pci.reset();
        self.vga = Registers::default();
        self.own = Extended::default();
        self.transfer = None;
        self.changed = true;
    }

    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }

    /// BAR 0 is several windows.
    fn placements(&mut self) -> Vec<Placement> {
        self.mapped = self.is_plain();
        let mut placements = Vec::new();
        for placement in self.pci.placements() {
            let BarWindow::Region(region::LINEAR) = placement.window else {
                placements.push(placement);
                continue;
            };
            let address = placement.address;
            let linear = match self.mapped {
                true => BarWindow::Ram(self.vram.block().clone()),
                false => BarWindow::Region(region::LINEAR),
            };
            placements.push(Placement { window: linear, address });
            let len = self.vram.len() as u64;
            if len < spec::BLT_WINDOW {
                placements
                    .push(Placement { window: BarWindow::Region(region::SWAPPED), address: address + len });
            }
            let window = BarWindow::Region(region::BLT);
            placements.push(Placement { window, address: address + spec::BLT_WINDOW });
        }
        placements
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
        node.value("linear memory", if self.is_plain() { "mapped" } else { "trapped" });
        node.value("blitter", self.own.describe_blit());
        if let Some(transfer) = &self.transfer {
            node.value("transfer", format_args!("{transfer:?}"));
        }
        if self.own.sequencer(seq::CURSOR) & seq::SHOW != 0 {
            node.value("pointer", format_args!("{},{}", self.own.cursor.0, self.own.cursor.1));
        }
        let registers = node.child("registers");
        registers.hex("misc", self.vga.misc).hex("hidden dac", self.own.hidden_dac);
        for (name, bytes) in self.own.dump() {
            registers.value(name, bytes);
        }
    }
}
