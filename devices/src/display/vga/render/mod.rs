//! From registers and memory to a picture.
//!
//! The VGA's own modes go the way of the hardware: `raster` walks the scan lines as the CRTC does, `text`
//! and `graphics` give each line's dots as attribute or DAC values, and the DAC colours them. The modes that
//! an extended VGA has beyond (`Packed`) are read straight from memory; a pointer of the hardware's lies over them.

mod cp437;
mod cursor;
mod graphics;
mod linear;
mod raster;
mod text;

use devices_core::picture::{DirtyRows, Frame};

use super::registers::Registers;
use super::spec::{attr, gfx, seq};
use super::vram::{PAGE_BYTES, Vram};
pub use cursor::Cursor;

/// Bytes of the four planes that the CRTC can address.
const PLANES_LEN: usize = 4 << 16;

/// What the registers say is on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing.
    Off,
    /// Characters.
    Text,
    /// A bit of each plane makes a pixel.
    Planar,
    /// CGA's pixels of two bits.
    Cga,
    /// A byte a pixel, every pixel two dots wide.
    Bytes,
    /// An extended mode, planar.
    ExtendedPlanar,
    /// An extended mode with packed pixels.
    Extended,
}

/// The registers at one instant, and a handle of the memory.
pub struct Snapshot {
    pub vga: Registers,
    /// The extended mode that is on.
    pub packed: Option<Packed>,
    /// The screen is off.
    pub off: bool,
    /// The DAC has 8 bits a colour.
    pub dac_8bit: bool,
    /// The hardware's pointer, if it is shown.
    pub cursor: Option<Cursor>,
    pub vram: Vram,
}

/// A mode beyond the VGA's own: lines of pixels, one after the other in memory.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Whose it is, for people.
    pub family: &'static str,
    /// Pixels of a line.
    pub width: u32,
    /// Lines on the screen.
    pub height: u32,
    /// Bits a pixel: 4 (planar), 8, 15, 16, 24 or 32.
    pub bpp: u16,
    /// Where in the memory the first pixel is.
    pub start: usize,
    /// Bytes from a line to the next.
    pub line_bytes: usize,
    /// How often each line is shown, at least once.
    pub repeat: u32,
    /// The first line of a lower part that begins at the beginning of the memory.
    pub split: Option<u32>,
    /// Pixels of more than a byte lie with the high byte first.
    pub big_endian: bool,
}

impl Packed {
    /// Where in the memory a line of the screen begins.
    fn line(&self, y: usize) -> usize {
        let repeat = self.repeat.max(1) as usize;
        match self.split {
            Some(split) if y >= split as usize => (y - split as usize) / repeat * self.line_bytes,
            _ => self.start + y / repeat * self.line_bytes,
        }
    }
}

/// A view of the device for one picture. The VGA's own modes have a copy of their planes, 256 KiB; extended modes are
/// read from the memory as they are asked for.
pub struct Render {
    vga: Registers,
    packed: Option<Packed>,
    cursor: Option<Cursor>,
    vram: Vram,
    mode: Mode,
    colours: [[u8; 3]; 256],
    planes: Planes,
    rows: Vec<raster::Row>,
}

/// The planes as they were at one instant.
struct Planes(Vec<u8>);

impl Planes {
    /// Byte `address` of all planes, plane 0 first. Addresses wrap as the CRTC's do.
    fn at(&self, address: u16) -> [u8; 4] {
        let at = usize::from(address) * 4;
        self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
    }
}

impl Render {
    /// Reads what the mode needs at once.
    pub fn new(snapshot: Snapshot) -> Render {
        let Snapshot { vga, packed, off, dac_8bit, cursor, vram } = snapshot;
        let mode = if off { Mode::Off } else { mode(&vga, packed.as_ref()) };
        let colours = vga.dac.colours(dac_8bit);
        let (mut planes, mut rows) = (Vec::new(), Vec::new());
        if matches!(mode, Mode::Text | Mode::Planar | Mode::Cga | Mode::Bytes) {
            planes.resize(PLANES_LEN, 0);
            vram.read(0, &mut planes);
            rows.extend(raster::rows(&vga));
        }
        Render { vga, packed, cursor, vram, mode, colours, planes: Planes(planes), rows }
    }

    /// Width and height of the picture in pixels: at most 16000 by 12000, and no more pixels than twice
    /// the video memory's bytes, or 8192 by 1024 in the VGA's own modes.
    pub fn size(&self) -> (u32, u32) {
        if let Some(packed) = &self.packed {
            return (packed.width, packed.height);
        }
        let text = self.vga.graphics[gfx::MISC] & gfx::GRAPHICS == 0;
        let dots = if text { self.vga.dots() } else { 8 };
        let (width, height) = ((self.vga.columns() * dots) << self.wide(), self.vga.lines());
        let tiny = width < 160 || height < 100;
        if self.mode == Mode::Off && tiny { (640, 400) } else { (width, height) }
    }

    /// 1 if every dot is two pixels wide.
    fn wide(&self) -> u32 {
        u32::from(self.vga.sequencer[seq::CLOCK] & seq::HALF_CLOCK != 0)
    }

    /// A line of the VGA's own modes.
    fn scan(&self, x: u32, row: &raster::Row, out: &mut [[u8; 3]]) {
        let mut dots = Vec::new();
        match self.mode {
            Mode::Text => self.text_line(&self.planes, row, &mut dots),
            Mode::Planar => self.planar_line(&self.planes, row, &mut dots),
            Mode::Cga => self.cga_line(&self.planes, row, &mut dots),
            _ => self.byte_line(&self.planes, row, &mut dots),
        }
        if self.mode != Mode::Bytes {
            dots.iter_mut().for_each(|dot| *dot = self.palette(*dot));
        }
        let shown = dots.get(self.pan(self.mode, row)..).unwrap_or_default();
        let shown = shown.iter().flat_map(|&dot| std::iter::repeat_n(dot, 1 << self.wide()));
        self.paint(shown.skip(x as usize), out);
    }

    /// Colours dots.
    fn paint(&self, dots: impl Iterator<Item = u8>, out: &mut [[u8; 3]]) {
        out.iter_mut().zip(dots).for_each(|(pixel, dot)| *pixel = self.colours[usize::from(dot)]);
    }

    /// The lines that pages of the memory, ascending, are on.
    pub fn lines(&self, pages: &[usize]) -> DirtyRows {
        let height = self.size().1;
        let mut lines = DirtyRows::default();
        match self.mode {
            Mode::Off => {}
            Mode::Extended | Mode::ExtendedPlanar => self.packed_lines(pages, &mut lines),
            _ if pages.first().is_some_and(|page| page * PAGE_BYTES < PLANES_LEN) => lines.push(0..height),
            _ => {}
        }
        lines
    }

    fn packed_lines(&self, pages: &[usize], lines: &mut DirtyRows) {
        let Some(packed) = &self.packed else { return };
        let height = packed.height;
        let (start, len) = (packed.start, packed.line_bytes.max(1));
        let repeat = packed.repeat.max(1);
        let beyond = start + (height.div_ceil(repeat) as usize) * len > self.vram.len();
        let pointer = self.cursor.as_ref().is_some_and(|cursor| cursor.is_on(pages));
        // Lines of a picture that begins anew at the beginning of the memory are not told apart.
        if pointer || (!pages.is_empty() && (beyond || packed.split.is_some())) {
            return lines.push(0..height);
        }
        for page in pages {
            let from = page * PAGE_BYTES;
            let Some(last) = (from + PAGE_BYTES - 1).checked_sub(start) else { continue };
            let line = |at: usize| u32::try_from(at / len).unwrap_or(u32::MAX).saturating_mul(repeat);
            let end = line(last).saturating_add(repeat).min(height);
            lines.push(line(from.saturating_sub(start)).min(height)..end);
        }
    }

    /// Dots that panning shifts out at the left.
    fn pan(&self, mode: Mode, row: &raster::Row) -> usize {
        if !row.panned {
            return 0;
        }
        let pan = usize::from(self.vga.attribute[attr::PANNING] & 0x0f);
        match mode {
            // 8 stands for no shift of 9-dot characters, 0 for one.
            Mode::Text if self.vga.dots() == 9 => (pan + 1) % 9,
            Mode::Bytes => pan & 6,
            _ => pan & 7,
        }
    }

    /// The DAC value of a 4-bit attribute.
    fn palette(&self, value: u8) -> u8 {
        let entry = self.vga.attribute[usize::from(value & 0x0f)];
        let select = self.vga.attribute[attr::SELECT];
        if self.vga.attribute[attr::MODE] & attr::SELECT_54 != 0 {
            select << 4 | (entry & 0x0f)
        } else {
            (select & 0x0c) << 4 | (entry & 0x3f)
        }
    }

    /// For people: the kind of mode and its size in its own units.
    pub fn describe(&self) -> String {
        let columns = self.vga.columns();
        match self.mode {
            Mode::Off => "off".to_owned(),
            Mode::Text => format!("text {}x{}", columns, raster::text_rows(&self.vga)),
            Mode::Planar => format!("16 colours, {}x{}", columns * 8, raster::distinct_lines(&self.vga)),
            Mode::Cga => format!("CGA, {}x{}", columns * 8, raster::distinct_lines(&self.vga)),
            Mode::Bytes => format!("256 colours, {}x{}", columns * 4, raster::distinct_lines(&self.vga)),
            Mode::ExtendedPlanar | Mode::Extended => match &self.packed {
                Some(Packed { family, width, height, bpp, .. }) => format!("{family} {width}x{height}x{bpp}"),
                None => String::new(),
            },
        }
    }
}

impl Frame for Render {
    fn size(&self) -> (u32, u32) {
        Render::size(self)
    }

    fn line(&self, x: u32, y: u32, out: &mut [[u8; 3]]) {
        out.fill([0; 3]);
        let (width, height) = self.size();
        let room = width.saturating_sub(x) as usize;
        let len = room.min(out.len());
        let Some(out) = out.get_mut(..len).filter(|out| !out.is_empty() && y < height) else { return };
        match self.mode {
            Mode::Off => {}
            Mode::Extended => self.linear(x as usize, y as usize, out),
            Mode::ExtendedPlanar => self.extended_planar(x as usize, y as usize, out),
            _ => {
                if let Some(row) = self.rows.get(y as usize) {
                    self.scan(x, row, out);
                }
            }
        }
        if let (Some(cursor), true) = (&self.cursor, !matches!(self.mode, Mode::Off | Mode::Text)) {
            cursor.draw(x, y, out);
        }
    }
}

/// What the registers say is on the screen that is on.
fn mode(vga: &Registers, packed: Option<&Packed>) -> Mode {
    let shift = vga.graphics[gfx::MODE];
    match () {
        () if packed.is_some_and(|packed| packed.bpp == 4) => Mode::ExtendedPlanar,
        () if packed.is_some() => Mode::Extended,
        () if vga.graphics[gfx::MISC] & gfx::GRAPHICS == 0 => Mode::Text,
        () if shift & gfx::SHIFT_256 != 0 => Mode::Bytes,
        () if shift & gfx::SHIFT_CGA != 0 => Mode::Cga,
        () => Mode::Planar,
    }
}
