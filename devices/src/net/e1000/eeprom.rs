//! The EEPROM, a 93C46, whose words the controller reads by itself (EERD) and whose wires software moves (EECD).
//! The last word makes the sum of all 0xbaba.

use super::spec::{eecd, eerd};
use crate::net::eeprom93::{Eeprom93c46, WORDS};

/// What all words sum up to.
const SUM: u16 = 0xbaba;

/// What the card was sold with, as QEMU has it (chapter 5 of the manual tells the fields). The address, the device
/// id (words 11 and 13) and the checksum are filled in.
const SOLD: [u16; 51] = [
    0, 0, 0, 0x0000, 0xffff, 0x0000, 0x0000, 0x0000, 0x3000, 0x1000, 0x6403, 0, 0x8086, 0, 0x8086, 0x3040,
    0x0008, 0x2000, 0x7e14, 0x0048, 0x1000, 0x00d8, 0x0000, 0x2700, 0x6cc9, 0x3150, 0x0722, 0x040b, 0x0984,
    0x0000, 0xc000, 0x0706, 0x1008, 0x0000, 0x0f04, 0x7fff, 0x4d01, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff,
    0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0x0100, 0x4000, 0x121c,
];

/// The chip, and the controller's registers before it.
pub(super) struct Eeprom {
    pub chip: Eeprom93c46,
    /// EECD as software wrote it.
    pub wires: u32,
    /// EERD.
    pub read: u32,
}

impl Eeprom {
    /// Of a card with that address and device id.
    pub fn new(mac: [u8; 6], device: u16) -> Eeprom {
        let mut words = [0xffff; WORDS];
        words[..SOLD.len()].copy_from_slice(&SOLD);
        for (word, pair) in words.iter_mut().zip(mac.as_chunks().0) {
            *word = u16::from_le_bytes(*pair);
        }
        (words[11], words[13]) = (device, device);
        let sum = words[..WORDS - 1].iter().fold(0u16, |sum, word| sum.wrapping_add(*word));
        words[WORDS - 1] = SUM.wrapping_sub(sum);
        Eeprom { chip: Eeprom93c46::new(words), wires: 0, read: 0 }
    }

    /// The registers as after power-on: the chip is not selected. Its words stay.
    pub fn reset(&mut self) {
        self.write_eecd(0);
        self.read = 0;
    }

    /// The address that it holds.
    pub fn mac(&self) -> [u8; 6] {
        let [[a, b], [c, d], [e, f]] = [0, 1, 2].map(|at| self.chip.word(at).to_le_bytes());
        [a, b, c, d, e, f]
    }

    /// EERD is written. Beyond the chip are zeros.
    pub fn write_eerd(&mut self, value: u32) {
        self.read = value;
        if value & eerd::START != 0 {
            let address = value >> eerd::ADDRESS_SHIFT & 0xff;
            let there = (address as usize) < WORDS;
            let word = if there { self.chip.word(address as usize) } else { 0 };
            self.read = u32::from(word) << eerd::DATA_SHIFT | address << eerd::ADDRESS_SHIFT | eerd::DONE;
        }
    }

    /// EECD is read: the EEPROM is there, and nobody else wants it.
    pub fn read_eecd(&self) -> u32 {
        self.wires | eecd::PRES | eecd::GNT | if self.chip.out() { eecd::DO } else { 0 }
    }

    /// EECD is written.
    pub fn write_eecd(&mut self, value: u32) {
        self.wires = value & eecd::WRITABLE;
        let high = |wire| value & wire != 0;
        self.chip.wires(high(eecd::CS), high(eecd::SK), high(eecd::DI));
    }
}
