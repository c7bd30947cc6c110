//! Text modes.

use super::raster::{self, Row};
use super::{Mode, Planes, Render, cp437};
use crate::display::vga::spec::{attr, crtc, seq};

/// Scan lines that a character has in a font.
const GLYPH: u16 = 32;
/// Bytes of a font: 256 characters.
const FONT: u16 = 256 * GLYPH;

impl Render {
    /// The two fonts' places in plane 2: of characters whose attribute bit 3 is clear, and set.
    fn fonts(&self) -> [u16; 2] {
        let select = self.vga.sequencer[seq::FONT];
        let font = |high: u8, low: u8| u16::from((high & 1) | (low & 3) << 1).wrapping_mul(FONT);
        [font(select >> 4, select), font(select >> 5, select >> 2)]
    }

    /// One scan line's dots as attribute values, with a character more than is displayed for panning.
    pub(super) fn text_line(&self, planes: &Planes, row: &Row, dots: &mut Vec<u8>) {
        let fonts = self.fonts();
        let mode = self.vga.attribute[attr::MODE];
        let nine = self.vga.dots() == 9;
        let cursor = self.cursor_on(row.scan).then(|| self.vga.address(crtc::CURSOR));
        let underline = mode & attr::MONO != 0 && row.scan == self.vga.crtc[crtc::UNDERLINE] & 0x1f;
        for column in 0..=self.vga.columns() as u16 {
            let at = row.address.wrapping_add(column);
            let [character, attribute, _, _] = planes.at(at);
            let font = fonts[usize::from(attribute >> 3 & 1)];
            let glyph = font + u16::from(character) * GLYPH + u16::from(row.scan & 0x1f);
            let mut pattern = planes.at(glyph)[2];
            let mut ninth = mode & attr::LINE_GRAPHICS != 0 && (0xc0..=0xdf).contains(&character);
            ninth &= pattern & 1 != 0;
            if (underline && attribute & 0x77 == 0x01) || cursor == Some(at) {
                (pattern, ninth) = (0xff, true);
            }
            let blink = mode & attr::BLINK != 0;
            let back = attribute >> 4 & if blink { 7 } else { 15 };
            let shade = |set: bool| if set { attribute & 0x0f } else { back };
            dots.extend((0..8).rev().map(|bit| shade(pattern >> bit & 1 != 0)));
            if nine {
                dots.push(shade(ninth));
            }
        }
    }

    /// Whether the cursor covers this scan line of its row.
    fn cursor_on(&self, scan: u8) -> bool {
        let start = self.vga.crtc[crtc::CURSOR_START];
        let end = self.vga.crtc[crtc::CURSOR_END] & 0x1f;
        start & crtc::CURSOR_OFF == 0 && (start & 0x1f..=end).contains(&scan)
    }

    /// The characters on the screen.
    pub fn text(&self) -> Option<String> {
        if self.mode != Mode::Text {
            return None;
        }
        let planes = &self.planes;
        let characters = cp437::table();
        let mut text = String::new();
        for row in raster::rows(&self.vga).filter(|row| row.first) {
            let columns = 0..self.vga.columns() as u16;
            let line: String =
                columns.map(|c| characters[usize::from(planes.at(row.address.wrapping_add(c))[0])]).collect();
            text.push_str(line.trim_end());
            text.push('\n');
        }
        Some(text)
    }
}
