//! The NVM: 64 words that the controller reads for software (EERD) and writes for it (EEWR). The last word makes the
//! sum of all 0xbaba.

use super::spec::{DEVICE, eecd, eerd};

/// Words.
pub(super) const WORDS: usize = 64;
/// What all words sum up to.
const SUM: u16 = 0xbaba;

/// What the card was sold with, as QEMU has it (chapter 6 tells the fields). The address, the device id and the
/// checksum are filled in.
const SOLD: [(usize, &[u16]); 3] = [
    (3, &[0x0420, 0xf746, 0x2010]),
    (
        8,
        &[
            0x0000, 0x0000, 0x026b, 0x0000, 0x8086, 0x0000, 0x0000, 0x8058, 0x0000, 0x2001, 0x7e7c, 0xffff,
            0x1000, 0x00c8, 0x0000, 0x2704, 0x6cc9, 0x3150, 0x070e, 0x460b, 0x2d84, 0x0100, 0xf000, 0x0706,
            0x6000, 0x0080, 0x0f04, 0x7fff, 0x4f01, 0xc600, 0x0000, 0x20ff, 0x0028, 0x0003, 0x0000, 0x0000,
            0x0000, 0x0003, 0x0000, 0xffff, 0x0100, 0xc000, 0x121c, 0xc007,
        ],
    ),
    (60, &[0x0000, 0x0120]),
];

/// The words, and the registers before them.
pub(super) struct Nvm {
    pub words: [u16; WORDS],
    /// EECD as software wrote it.
    pub control: u32,
    /// EERD.
    pub read: u32,
}

impl Nvm {
    /// Of a card with that address.
    pub fn new(mac: [u8; 6]) -> Nvm {
        let mut words = [0xffff; WORDS];
        for (first, values) in SOLD {
            words[first..first + values.len()].copy_from_slice(values);
        }
        for (word, pair) in words.iter_mut().zip(mac.as_chunks().0) {
            *word = u16::from_le_bytes(*pair);
        }
        (words[11], words[13]) = (DEVICE, DEVICE);
        let sum = words[..WORDS - 1].iter().fold(0u16, |sum, word| sum.wrapping_add(*word));
        words[WORDS - 1] = SUM.wrapping_sub(sum);
        Nvm { words, control: 0, read: eerd::DONE }
    }

    /// The registers as after power-on. The words stay.
    pub fn reset(&mut self) {
        self.control = 0;
        self.read = eerd::DONE;
    }

    /// The address that it holds.
    pub fn mac(&self) -> [u8; 6] {
        let [[a, b], [c, d], [e, f]] = [0, 1, 2].map(|at| self.words[at].to_le_bytes());
        [a, b, c, d, e, f]
    }

    /// EERD is written. A word that there is not is never done.
    pub fn write_eerd(&mut self, value: u32) {
        let address = value >> eerd::ADDRESS_SHIFT & 0x3fff;
        let word = self.words.get(address as usize).filter(|_| value & eerd::START != 0);
        let found = word.map_or(0, |word| u32::from(*word) << eerd::DATA_SHIFT | eerd::DONE);
        self.read = found | address << eerd::ADDRESS_SHIFT;
    }

    /// EEWR is.
    pub fn write_eewr(&mut self, value: u32) {
        let address = value >> eerd::ADDRESS_SHIFT & 0x3fff;
        let word = self.words.get_mut(address as usize).filter(|_| value & eerd::START != 0);
        if let Some(word) = word {
            *word = (value >> eerd::DATA_SHIFT) as u16;
        }
    }

    /// EECD is read: the NVM is there, was read, and nobody else wants it.
    pub fn read_eecd(&self) -> u32 {
        let granted = if self.control & eecd::REQ != 0 { eecd::GNT } else { 0 };
        self.control | eecd::PRES | eecd::AUTO_RD | granted
    }

    /// EECD is written.
    pub fn write_eecd(&mut self, value: u32) {
        self.control = value & !eecd::READ_ONLY;
    }
}
