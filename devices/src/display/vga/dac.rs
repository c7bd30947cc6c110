//! The DAC: 256 colours of 6 or 8 bits each (an INMOS IMS G171 and its 8-bit successors).

use serde::{Deserialize, Serialize};

/// Palette and index registers.
#[derive(Clone, Serialize, Deserialize)]
pub struct Dac {
    /// Red, green, blue of each colour, as written.
    #[serde(with = "serde_bytes")]
    palette: Vec<u8>,
    write_index: u8,
    read_index: u8,
    /// Which of the three bytes of a colour is next.
    step: u8,
    /// The bytes of a colour that is being written; it takes effect with the third.
    begun: [u8; 3],
    reading: bool,
    pub mask: u8,
}

/// A component of 6 bits, widened to 8.
pub fn six_bits(value: u8) -> u8 {
    (value & 0x3f) << 2 | (value & 0x3f) >> 4
}

impl Default for Dac {
    fn default() -> Dac {
        Dac {
            palette: vec![0; 768],
            write_index: 0,
            read_index: 0,
            step: 0,
            begun: [0; 3],
            reading: false,
            mask: 0xff,
        }
    }
}

impl Dac {
    /// Whether a loaded DAC is one.
    pub fn is_valid(&self) -> bool {
        self.palette.len() == 768 && self.step < 3
    }

    pub fn set_read_index(&mut self, index: u8) {
        (self.read_index, self.step, self.reading) = (index, 0, true);
    }
    pub fn set_write_index(&mut self, index: u8) {
        (self.write_index, self.step, self.reading) = (index, 0, false);
    }
    pub fn write_index(&self) -> u8 {
        self.write_index
    }
    /// 3 after the read index was set, 0 after the write index was.
    pub fn state(&self) -> u8 {
        if self.reading { 3 } else { 0 }
    }

    /// Which colour is read next, and which of its bytes; steps on.
    pub fn next_read(&mut self) -> (u8, u8) {
        let now = (self.read_index, self.step);
        self.step += 1;
        if self.step >= 3 {
            self.step = 0;
            self.read_index = self.read_index.wrapping_add(1);
        }
        now
    }

    pub fn read(&mut self) -> u8 {
        let (index, step) = self.next_read();
        self.palette.get(usize::from(index) * 3 + usize::from(step)).copied().unwrap_or_default()
    }

    /// Takes a byte of a colour; with the third the colour is whole: its index, and red, green and blue.
    pub fn next_write(&mut self, value: u8) -> Option<(u8, [u8; 3])> {
        if let Some(byte) = self.begun.get_mut(usize::from(self.step)) {
            *byte = value;
        }
        self.step += 1;
        if self.step < 3 {
            return None;
        }
        let index = self.write_index;
        self.step = 0;
        self.write_index = index.wrapping_add(1);
        Some((index, self.begun))
    }

    pub fn write(&mut self, value: u8) {
        if let Some((index, whole)) = self.next_write(value) {
            let at = usize::from(index) * 3;
            if let Some(colour) = self.palette.get_mut(at..at + 3) {
                colour.copy_from_slice(&whole);
            }
        }
    }

    /// What each pixel value looks like, the pixel mask applied.
    pub fn colours(&self, eight_bits: bool) -> [[u8; 3]; 256] {
        let shade = |value: u8| if eight_bits { value } else { six_bits(value) };
        let mut colours = [[0; 3]; 256];
        for (index, colour) in colours.iter_mut().enumerate() {
            let at = (index & usize::from(self.mask)) * 3;
            if let Some(&[r, g, b]) = self.palette.get(at..at + 3) {
                *colour = [r, g, b].map(shade);
            }
        }
        colours
    }
}
