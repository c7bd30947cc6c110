//! From registers and memory to a picture.
//!
//! The VGA's own modes go the way of the hardware: `raster` walks the scan lines as the CRTC does, `text`
//! and `graphics` give each line's dots as attribute or DAC values, and the DAC colours them. DISPI modes
//! with packed pixels (`linear`) are read straight from memory.

mod cp437;
mod graphics;
mod linear;
mod raster;
mod text;

use super::dispi::Dispi;
use super::registers::Registers;
use super::spec::{attr, gfx, seq};
use super::vram::Vram;
use crate::display::Picture;

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
    /// DISPI, planar.
    DispiPlanar,
    /// DISPI, packed pixels.
    Dispi,
}

/// A view of the device for one picture.
pub struct Render<'a> {
    vga: &'a Registers,
    dispi: &'a Dispi,
    vram: &'a Vram,
    big_endian: bool,
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

impl<'a> Render<'a> {
    pub fn new(vga: &'a Registers, dispi: &'a Dispi, vram: &'a Vram, big_endian: bool) -> Render<'a> {
        Render { vga, dispi, vram, big_endian }
    }

    fn mode(&self) -> Mode {
        let dispi = self.dispi.enabled();
        let off = !self.vga.display_on() || (!dispi && self.vga.sequencer[seq::CLOCK] & seq::OFF != 0);
        let shift = self.vga.graphics[gfx::MODE];
        match () {
            () if off => Mode::Off,
            () if self.dispi.packed() => Mode::Dispi,
            () if dispi => Mode::DispiPlanar,
            () if self.vga.graphics[gfx::MISC] & gfx::GRAPHICS == 0 => Mode::Text,
            () if shift & gfx::SHIFT_256 != 0 => Mode::Bytes,
            () if shift & gfx::SHIFT_CGA != 0 => Mode::Cga,
            () => Mode::Planar,
        }
    }

    /// Width and height of the picture in pixels: at most 16000 by 12000, and no more pixels than twice
    /// the video memory's bytes, or 8192 by 1024 in the VGA's own modes.
    pub fn size(&self) -> (u32, u32) {
        if self.dispi.enabled() {
            return (self.dispi.width(), self.dispi.height());
        }
        let text = self.vga.graphics[gfx::MISC] & gfx::GRAPHICS == 0;
        let dots = if text { self.vga.dots() } else { 8 };
        let (width, height) = ((self.vga.columns() * dots) << self.wide(), self.vga.lines());
        let tiny = width < 160 || height < 100;
        if self.mode() == Mode::Off && tiny { (640, 400) } else { (width, height) }
    }

    /// 1 if every dot is two pixels wide.
    fn wide(&self) -> u32 {
        u32::from(self.vga.sequencer[seq::CLOCK] & seq::HALF_CLOCK != 0)
    }

    /// The picture.
    pub fn picture(&self) -> Picture {
        let (width, height) = self.size();
        let mut picture = Picture::new(width, height);
        match self.mode() {
            Mode::Off => {}
            Mode::Dispi => self.linear(&mut picture),
            Mode::DispiPlanar => self.dispi_planar(&mut picture),
            mode => self.scan(mode, &mut picture),
        }
        picture
    }

    /// The VGA's own modes, line by line.
    fn scan(&self, mode: Mode, picture: &mut Picture) {
        let planes = self.planes();
        let colours = self.colours();
        let mut dots = Vec::new();
        for (y, row) in raster::rows(self.vga).enumerate() {
            dots.clear();
            match mode {
                Mode::Text => self.text_line(&planes, &row, &mut dots),
                Mode::Planar => self.planar_line(&planes, &row, &mut dots),
                Mode::Cga => self.cga_line(&planes, &row, &mut dots),
                _ => self.byte_line(&planes, &row, &mut dots),
            }
            if mode != Mode::Bytes {
                dots.iter_mut().for_each(|dot| *dot = self.palette(*dot));
            }
            let shown = dots.get(self.pan(mode, &row)..).unwrap_or_default();
            paint(picture.row_mut(y as u32), shown, self.wide(), &colours);
        }
    }

    fn planes(&self) -> Planes {
        let mut planes = vec![0; PLANES_LEN];
        self.vram.read(0, &mut planes);
        Planes(planes)
    }

    fn colours(&self) -> [[u8; 3]; 256] {
        self.vga.dac.colours(self.dispi.dac_8bit())
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
        match self.mode() {
            Mode::Off => "off".to_owned(),
            Mode::Text => format!("text {}x{}", columns, raster::text_rows(self.vga)),
            Mode::Planar => format!("16 colours, {}x{}", columns * 8, raster::distinct_lines(self.vga)),
            Mode::Cga => format!("CGA, {}x{}", columns * 8, raster::distinct_lines(self.vga)),
            Mode::Bytes => format!("256 colours, {}x{}", columns * 4, raster::distinct_lines(self.vga)),
            Mode::DispiPlanar | Mode::Dispi => format!("DISPI {}", self.dispi.describe()),
        }
    }
}

/// Colours a line: each dot one pixel, or two.
fn paint(line: &mut [u8], dots: &[u8], wide: u32, colours: &[[u8; 3]; 256]) {
    for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
        if let Some(&dot) = dots.get(x >> wide) {
            pixel.copy_from_slice(&colours[usize::from(dot)]);
        }
    }
}
