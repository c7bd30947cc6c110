//! The EEPROM: a 93C46 of 64 words of 16 bits (Microwire), whose words the controller reads by itself (EERD)
//! and whose wires software moves (EECD). The last word makes the sum of all 0xbaba.

use serde::{Deserialize, Serialize};

use super::spec::{eecd, eerd};

/// Words.
pub(super) const WORDS: usize = 64;
/// What all words sum up to.
const SUM: u16 = 0xbaba;
/// Bits of a command: the one that begins it, two of what to do, six of an address.
const COMMAND: u8 = 9;

/// What the card was sold with, as QEMU has it (chapter 5 of the manual tells the fields). The address, the device
/// id (words 11 and 13) and the checksum are filled in.
const SOLD: [u16; 51] = [
    0, 0, 0, 0x0000, 0xffff, 0x0000, 0x0000, 0x0000, 0x3000, 0x1000, 0x6403, 0, 0x8086, 0, 0x8086, 0x3040,
    0x0008, 0x2000, 0x7e14, 0x0048, 0x1000, 0x00d8, 0x0000, 0x2700, 0x6cc9, 0x3150, 0x0722, 0x040b, 0x0984,
    0x0000, 0xc000, 0x0706, 0x1008, 0x0000, 0x0f04, 0x7fff, 0x4d01, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff,
    0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0x0100, 0x4000, 0x121c,
];

/// What the chip is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Waits for a command's first bit.
    #[default]
    Waiting,
    /// Takes in a command: bits so far, and how many.
    Command(u16, u8),
    /// Gives words, from this bit on; of each word the highest first.
    Reading(u16),
    /// Takes in a word for this address (none: for all): bits so far, and how many.
    Writing(Option<u8>, u16, u8),
}

/// The chip and its wires.
pub(super) struct Eeprom {
    pub words: [u16; WORDS],
    /// EECD as software wrote it.
    pub wires: u32,
    pub phase: Phase,
    /// What the chip drives.
    pub out: bool,
    /// Writes are allowed.
    pub unlocked: bool,
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
        Eeprom { words, wires: 0, phase: Phase::Waiting, out: true, unlocked: false, read: 0 }
    }

    /// The wires and EERD as after power-on. The words stay.
    pub fn reset(&mut self) {
        let Eeprom { words: _, wires, phase, out, unlocked, read } = self;
        (*wires, *phase, *out, *unlocked, *read) = (0, Phase::Waiting, true, false, 0);
    }

    /// The address that it holds.
    pub fn mac(&self) -> [u8; 6] {
        let [a, b] = self.words[0].to_le_bytes();
        let [c, d] = self.words[1].to_le_bytes();
        let [e, f] = self.words[2].to_le_bytes();
        [a, b, c, d, e, f]
    }

    fn word(&self, address: usize) -> u16 {
        self.words.get(address).copied().unwrap_or(0)
    }

    /// EERD is written.
    pub fn write_eerd(&mut self, value: u32) {
        self.read = value;
        if value & eerd::START != 0 {
            let address = value >> eerd::ADDRESS_SHIFT & 0xff;
            let word = u32::from(self.word(address as usize));
            self.read = word << eerd::DATA_SHIFT | address << eerd::ADDRESS_SHIFT | eerd::DONE;
        }
    }

    /// EECD is read: the EEPROM is there, and nobody else wants it.
    pub fn read_eecd(&self) -> u32 {
        self.wires | eecd::PRES | eecd::GNT | if self.out { eecd::DO } else { 0 }
    }

    /// EECD is written.
    pub fn write_eecd(&mut self, value: u32) {
        let before = std::mem::replace(&mut self.wires, value & eecd::WRITABLE);
        if value & eecd::CS == 0 {
            self.phase = Phase::Waiting;
            self.out = true;
        } else if value & !before & eecd::SK != 0 {
            self.clock(value & eecd::DI != 0);
        }
    }

    /// A rising edge of the clock with that bit.
    fn clock(&mut self, bit: bool) {
        match self.phase {
            Phase::Waiting if bit => self.phase = Phase::Command(1, 1),
            Phase::Waiting => {}
            Phase::Command(bits, count) => {
                let bits = bits << 1 | u16::from(bit);
                self.phase = Phase::Command(bits, count + 1);
                if count + 1 == COMMAND {
                    self.command(bits);
                }
            }
            Phase::Reading(at) => {
                self.out = self.word(usize::from(at / 16)) << (at % 16) & 0x8000 != 0;
                self.phase = Phase::Reading((at + 1) % (WORDS as u16 * 16));
            }
            Phase::Writing(address, bits, 15) => {
                self.phase = Phase::Waiting;
                self.store(address, bits << 1 | u16::from(bit));
            }
            Phase::Writing(address, bits, count) => {
                self.phase = Phase::Writing(address, bits << 1 | u16::from(bit), count + 1);
            }
        }
    }

    fn command(&mut self, bits: u16) {
        let address = (bits & 0x3f) as u8;
        self.phase = match bits >> 6 & 3 {
            0b10 => {
                // A zero goes before the word.
                self.out = false;
                Phase::Reading(u16::from(address) * 16)
            }
            0b01 => Phase::Writing(Some(address), 0, 0),
            0b11 => {
                self.store(Some(address), 0xffff);
                Phase::Waiting
            }
            _ => match address >> 4 {
                0b11 => {
                    self.unlocked = true;
                    Phase::Waiting
                }
                0b00 => {
                    self.unlocked = false;
                    Phase::Waiting
                }
                0b01 => Phase::Writing(None, 0, 0),
                _ => {
                    self.store(None, 0xffff);
                    Phase::Waiting
                }
            },
        };
    }

    /// Writes a word, or all. It is done at once: the chip says "ready" ever after.
    fn store(&mut self, address: Option<u8>, value: u16) {
        self.out = true;
        if !self.unlocked {
            return;
        }
        match address {
            Some(address) => {
                if let Some(word) = self.words.get_mut(usize::from(address)) {
                    *word = value;
                }
            }
            None => self.words.fill(value),
        }
    }
}
