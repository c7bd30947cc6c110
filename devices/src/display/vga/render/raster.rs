//! The walk of the CRT controller over the scan lines.

use crate::display::vga::registers::Registers;
use crate::display::vga::spec::{attr, crtc};

/// One scan line.
pub struct Row {
    /// Address of its first character or byte.
    pub address: u16,
    /// Which scan line of its row it is, 0 to 31.
    pub scan: u8,
    /// It is the first line of its row (or of the screen, where panning cuts the row).
    pub first: bool,
    /// Pixel panning applies.
    pub panned: bool,
}

/// Scan lines of a row, 1 to 32.
fn row_height(vga: &Registers) -> u32 {
    u32::from(vga.crtc[crtc::MAX_SCAN] & 0x1f) + 1
}

fn doubled(vga: &Registers) -> bool {
    vga.crtc[crtc::MAX_SCAN] & crtc::DOUBLE_SCAN != 0
}

/// Rows of characters on the screen.
pub fn text_rows(vga: &Registers) -> u32 {
    vga.lines() / row_height(vga) / if doubled(vga) { 2 } else { 1 }
}

/// Lines of a graphics mode, those shown several times counted once.
pub fn distinct_lines(vga: &Registers) -> u32 {
    let interleaved = vga.crtc[crtc::MODE] & 3 != 3;
    let repeats = if interleaved { 1 } else { row_height(vga) };
    vga.lines() / repeats / if doubled(vga) { 2 } else { 1 }
}

/// All lines that are displayed, from the top.
pub fn rows(vga: &Registers) -> impl Iterator<Item = Row> {
    let step = u16::from(vga.crtc[crtc::OFFSET]) * 2;
    let (height, doubled) = (row_height(vga), doubled(vga));
    let (split, stop_panning) = (vga.line_compare(), vga.attribute[attr::MODE] & attr::PANNING_SPLIT != 0);
    let preset = vga.crtc[crtc::PRESET];
    let mut address = vga.address(crtc::START);
    let mut byte_pan = u16::from(preset >> 5 & 3);
    let mut scan = preset & 0x1f;
    let mut panned = true;
    let mut first = true;
    let mut again = false;
    (0..vga.lines()).map(move |line| {
        let row = Row { address: address.wrapping_add(byte_pan), scan, first, panned };
        first = false;
        if line == split {
            (address, scan, first, again) = (0, 0, true, false);
            if stop_panning {
                (byte_pan, panned) = (0, false);
            }
        } else if doubled && !again {
            again = true;
        } else {
            again = false;
            scan += 1;
            if u32::from(scan) >= height {
                (scan, first) = (0, true);
                address = address.wrapping_add(step);
            }
        }
        row
    })
}
