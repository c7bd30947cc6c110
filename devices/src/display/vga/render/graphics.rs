//! Graphics modes of the VGA itself, and the planar extended one.

use super::raster::Row;
use super::{Planes, Render};
use crate::display::vga::spec::{attr, crtc};

/// Eight dots of a byte of each plane.
fn planar_dots(bytes: [u8; 4], shown: u8, dots: &mut Vec<u8>) {
    for bit in (0..8).rev() {
        let dot = (0..4).fold(0, |dot, plane| dot | (bytes[plane] >> bit & 1) << plane);
        dots.push(dot & shown);
    }
}

impl Render {
    /// Planes that are shown.
    fn shown(&self) -> u8 {
        self.vga.attribute[attr::PLANES] & 0x0f
    }

    /// The bytes of a scan line, four planes each, with one more than is displayed for panning.
    ///
    /// The mode control register can put the row scan counter's low bits into the address, which gives
    /// the banks of CGA (bit 0) and Hercules (bit 1) modes.
    fn fetch<'a>(&self, planes: &'a Planes, row: &Row) -> impl Iterator<Item = [u8; 4]> + use<'a> {
        let mode = self.vga.crtc[crtc::MODE];
        let words = mode & crtc::BYTE == 0 && self.vga.crtc[crtc::UNDERLINE] & crtc::DWORD == 0;
        let bit = if words { 12 } else { 13 };
        let (mut keep, mut put) = (u16::MAX, 0);
        for scan_bit in 0..2 {
            if mode >> scan_bit & 1 == 0 {
                keep &= !(1 << (bit + scan_bit));
                put |= u16::from(row.scan >> scan_bit & 1) << (bit + scan_bit);
            }
        }
        let first = row.address;
        let columns = 0..=self.vga.columns() as u16;
        columns.map(move |column| planes.at((first.wrapping_add(column) & keep) | put))
    }

    /// 16 colours: attribute values.
    pub(super) fn planar_line(&self, planes: &Planes, row: &Row, dots: &mut Vec<u8>) {
        let shown = self.shown();
        self.fetch(planes, row).for_each(|bytes| planar_dots(bytes, shown, dots));
    }

    /// CGA's 4 colours: pairs of bits of plane 0, then of plane 1, with those of planes 2 and 3 above.
    pub(super) fn cga_line(&self, planes: &Planes, row: &Row, dots: &mut Vec<u8>) {
        let shown = self.shown();
        for [a, b, c, d] in self.fetch(planes, row) {
            for (low, high) in [(a, c), (b, d)] {
                for shift in [6, 4, 2, 0] {
                    dots.push(((low >> shift & 3) | (high >> shift & 3) << 2) & shown);
                }
            }
        }
    }

    /// 256 colours: DAC values, each two dots wide.
    pub(super) fn byte_line(&self, planes: &Planes, row: &Row, dots: &mut Vec<u8>) {
        self.fetch(planes, row).for_each(|bytes| dots.extend(bytes.into_iter().flat_map(|b| [b, b])));
    }

    /// 4 bits a pixel in an extended mode: a part of a line.
    pub(super) fn extended_planar(&self, x: usize, y: usize, out: &mut [[u8; 3]]) {
        let Some(packed) = &self.packed else { return };
        let shown = self.shown();
        let first = x / 8;
        let mut bytes = vec![0; ((x + out.len()).div_ceil(8) - first) * 4];
        let start = packed.line(y) + first * 4;
        if !self.vram.read(start, &mut bytes) {
            return;
        }
        let mut dots = Vec::with_capacity(bytes.len() * 2);
        bytes.as_chunks().0.iter().for_each(|&bytes| planar_dots(bytes, shown, &mut dots));
        self.paint(dots.iter().skip(x % 8).map(|&dot| self.palette(dot)), out);
    }
}
