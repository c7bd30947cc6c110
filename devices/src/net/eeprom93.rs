//! A 93C46: a serial EEPROM of 64 words of 16 bits, by three wires (Microwire), in which network cards keep their
//! address.
//!
//! Datasheet: Microchip's 93C46B. Data are taken at the rising clock while the chip is selected: a start bit, two
//! bits of operation, six of address. What it writes is there at once: it is ready whenever it is asked.

use devices_core::StateError;
use devices_core::state::valid;
use serde::{Deserialize, Serialize};

/// Words.
pub(super) const WORDS: usize = 64;
/// Bits of a command after its start bit.
const COMMAND_BITS: u8 = 8;

/// What the chip is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for a start bit.
    Idle,
    /// Takes operation and address.
    Command { bits: u8, value: u8 },
    /// Gives words, one after the other.
    Read { address: u8, bit: u8 },
    /// Takes a word for one place, or for all.
    Write { address: Option<u8>, bits: u8, value: u16 },
    /// Done until it is no longer selected.
    Done,
}

/// The chip.
pub(super) struct Eeprom93c46 {
    words: [u16; WORDS],
    /// EWEN was given.
    writable: bool,
    select: bool,
    clock: bool,
    out: bool,
    phase: Phase,
}

impl Eeprom93c46 {
    /// A chip that holds `words`.
    pub fn new(words: [u16; WORDS]) -> Eeprom93c46 {
        Eeprom93c46 { words, writable: false, select: false, clock: false, out: true, phase: Phase::Idle }
    }

    /// A word.
    pub fn word(&self, at: usize) -> u16 {
        self.words.get(at).copied().unwrap_or(0xffff)
    }

    /// Its data output. Nobody drives it while a command comes in: a pull-up does.
    pub fn out(&self) -> bool {
        self.out
    }

    /// Drives chip select, clock and data input.
    pub fn wires(&mut self, select: bool, clock: bool, data: bool) {
        let rises = clock && !self.clock && self.select;
        self.clock = clock;
        self.select = select;
        if !select {
            self.phase = Phase::Idle;
            self.out = true;
        } else if rises {
            self.tick(data);
        }
    }

    fn tick(&mut self, data: bool) {
        self.phase = match self.phase {
            Phase::Idle if data => Phase::Command { bits: 0, value: 0 },
            Phase::Command { bits, value } => {
                let value = value << 1 | u8::from(data);
                let whole = bits + 1 == COMMAND_BITS;
                if whole { self.command(value) } else { Phase::Command { bits: bits + 1, value } }
            }
            Phase::Read { address, bit } => {
                self.out = self.word(address.into()) >> (15 - bit) & 1 != 0;
                // The next word follows with no dummy bit before it.
                let next = (address + 1) % WORDS as u8;
                if bit == 15 {
                    Phase::Read { address: next, bit: 0 }
                } else {
                    Phase::Read { address, bit: bit + 1 }
                }
            }
            Phase::Write { address, bits, value } => {
                let value = value << 1 | u16::from(data);
                if bits == 15 {
                    self.store(address, value);
                    Phase::Done
                } else {
                    Phase::Write { address, bits: bits + 1, value }
                }
            }
            phase @ (Phase::Idle | Phase::Done) => phase,
        };
    }

    fn command(&mut self, value: u8) -> Phase {
        let address = value & 0x3f;
        match (value >> 6, address >> 4) {
            (0b10, _) => {
                // A dummy zero comes before the data.
                self.out = false;
                return Phase::Read { address, bit: 0 };
            }
            (0b01, _) => return Phase::Write { address: Some(address), bits: 0, value: 0 },
            (0b00, 0b01) => return Phase::Write { address: None, bits: 0, value: 0 },
            (0b11, _) => self.store(Some(address), 0xffff),
            (_, 0b10) => self.store(None, 0xffff),
            (_, sub) => self.writable = sub == 0b11,
        }
        Phase::Done
    }

    fn store(&mut self, address: Option<u8>, value: u16) {
        if !self.writable {
            return;
        }
        match address {
            None => self.words.fill(value),
            Some(address) => {
                if let Some(word) = self.words.get_mut(usize::from(address)) {
                    *word = value;
                }
            }
        }
    }

    /// Its state.
    pub fn save(&self) -> EepromState {
        let Eeprom93c46 { words, writable, select, clock, out, phase } = self;
        let (phase, address, bits, value) = match *phase {
            Phase::Idle => (0, 0, 0, 0),
            Phase::Command { bits, value } => (1, 0, bits, value.into()),
            Phase::Read { address, bit } => (2, address, bit, 0),
            Phase::Write { address: Some(address), bits, value } => (3, address, bits, value),
            Phase::Write { address: None, bits, value } => (4, 0, bits, value),
            Phase::Done => (5, 0, 0, 0),
        };
        let words = words.to_vec();
        EepromState {
            words,
            writable: *writable,
            select: *select,
            clock: *clock,
            out: *out,
            phase,
            address,
            bits,
            value,
        }
    }

    /// A chip in a saved state.
    pub fn load(state: &EepromState) -> Result<Eeprom93c46, StateError> {
        let EepromState { words, writable, select, clock, out, phase, address, bits, value } = state;
        let (address, bits) = (*address, *bits);
        valid(usize::from(address) < WORDS && bits < 16, "an EEPROM has 64 words of 16 bits")?;
        let phase = match phase {
            0 => Phase::Idle,
            1 => {
                valid(bits < COMMAND_BITS && *value <= 0xff, "a command of an EEPROM has 8 bits")?;
                Phase::Command { bits, value: *value as u8 }
            }
            2 => Phase::Read { address, bit: bits },
            3 => Phase::Write { address: Some(address), bits, value: *value },
            4 => Phase::Write { address: None, bits, value: *value },
            5 => Phase::Done,
            _ => return Err(StateError::Invalid("an EEPROM has no such phase".into())),
        };
        let words = words.as_slice().try_into();
        let words = words.map_err(|_| StateError::Invalid("an EEPROM has 64 words".into()))?;
        let (writable, select, clock, out) = (*writable, *select, *clock, *out);
        Ok(Eeprom93c46 { words, writable, select, clock, out, phase })
    }
}

/// Saved form.
#[derive(Serialize, Deserialize)]
pub(super) struct EepromState {
    words: Vec<u16>,
    writable: bool,
    select: bool,
    clock: bool,
    out: bool,
    /// Idle, command, read, write, write all, done.
    phase: u8,
    address: u8,
    bits: u8,
    value: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chip in a programmer, which saves and loads it between any two clocks.
    struct Programmer(Eeprom93c46);

    impl Programmer {
        fn clock(&mut self, bit: bool) -> bool {
            for clock in [false, true] {
                self.0.wires(true, clock, bit);
                self.0 = Eeprom93c46::load(&self.0.save()).unwrap();
            }
            self.0.out()
        }
        /// Clocks in the low `count` bits of `bits`, high ones first; what came out meanwhile.
        fn shift(&mut self, bits: u32, count: u32) -> u32 {
            (0..count).rev().fold(0, |seen, bit| seen << 1 | u32::from(self.clock(bits >> bit & 1 != 0)))
        }
        fn deselect(&mut self) {
            self.0.wires(false, false, false);
            self.0.wires(true, false, false);
        }
        fn read(&mut self, address: u32) -> u32 {
            self.deselect();
            self.shift(0b110 << 6 | address, 9);
            assert!(!self.0.out(), "the dummy bit");
            self.shift(0, 16)
        }
        fn write(&mut self, command: u32, value: u32) {
            self.deselect();
            self.shift(0b1 << 8 | command, 9);
            self.shift(value, 16);
            self.deselect();
            assert!(self.0.out(), "ready");
        }
    }

    fn programmer() -> Programmer {
        Programmer(Eeprom93c46::new(std::array::from_fn(|at| at as u16 * 0x0101)))
    }

    #[test]
    fn words_are_read_one_or_many() {
        let mut chip = programmer();
        chip.deselect();
        // Zeros before the start bit mean nothing.
        chip.shift(0, 5);
        chip.shift(0b110 << 6 | 0x3f, 9);
        assert_eq!(chip.shift(0, 16), 0x3f3f);
        assert_eq!(chip.shift(0, 16), 0, "the first follows the last");
        assert_eq!(chip.read(7), 0x0707);
    }

    #[test]
    fn it_is_written_only_when_that_was_allowed() {
        let mut chip = programmer();
        let (ewen, ewds, write, erase, wral, eral) = (0x30, 0, 0x40, 0xc0, 0x10, 0x20);
        chip.write(write | 5, 0x1234);
        assert_eq!(chip.read(5), 0x0505);
        chip.write(ewen, 0);
        chip.write(write | 5, 0x1234);
        assert_eq!((chip.read(5), chip.read(6)), (0x1234, 0x0606));
        chip.write(erase | 6, 0);
        assert_eq!(chip.read(6), 0xffff);
        chip.write(wral, 0xa55a);
        assert_eq!((chip.read(0), chip.read(63)), (0xa55a, 0xa55a));
        chip.write(ewds, 0);
        chip.write(eral, 0);
        assert_eq!(chip.read(0), 0xa55a);
        chip.write(ewen, 0);
        chip.write(eral, 0);
        assert_eq!(chip.read(0), 0xffff);
    }

    #[test]
    fn states_that_cannot_be_are_refused() {
        let good = programmer().0.save();
        for bad in [
            EepromState { phase: 6, ..programmer().0.save() },
            EepromState { bits: 16, ..programmer().0.save() },
            EepromState { phase: 1, bits: 8, ..programmer().0.save() },
            EepromState { phase: 1, value: 256, ..programmer().0.save() },
            EepromState { phase: 2, address: 64, ..programmer().0.save() },
            EepromState { words: vec![0; 63], ..programmer().0.save() },
        ] {
            assert!(Eeprom93c46::load(&bad).is_err());
        }
        Eeprom93c46::load(&good).unwrap();
    }
}
