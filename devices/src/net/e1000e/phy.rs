//! The PHY in the 82574, a Marvell 88E1149's kin: IEEE 802.3's registers on every page, its own by page (register 22).

use super::spec::mdic;
use crate::net::e1000x::phy::{self, Asked, REGISTERS, Wish};

/// The page's number; seven bits of it can be set.
const PAGE: usize = 22;
const PAGE_BITS: u16 = 0x7f;
/// OEM bits, and the one that begins negotiation.
const OEM: usize = 25;
const OEM_RESTART: u16 = 1 << 10;

/// The first register that pages have of their own, and how many are kept of pages 2 and 3.
const FIRST: usize = 16;
pub(super) const PAGED: usize = 6;
/// Which of them software can write: of page 2 those of the MAC, of page 3 those of the LEDs.
const WRITABLE: [[bool; PAGED]; 2] =
    [[true, false, true, false, false, true], [true, true, true, true, false, false]];

/// The PHY.
pub(super) struct Phy {
    /// Standard registers, and those of page 0.
    pub main: phy::Phy,
    /// Registers 16 to 21 of pages 2 and 3.
    pub paged: [[u16; PAGED]; 2],
}

impl Phy {
    /// After power-on; the link is up and was not negotiated.
    pub fn new() -> Phy {
        let mut registers = [0; REGISTERS];
        for (number, value) in [
            (0, 0x1140),
            (1, 0x794d),
            (2, 0x0141),
            (3, 0x0cb1),
            (4, 0x0de1),
            (5, 0x07e0),
            (6, 0x0004),
            (7, 0x2001),
            (9, 0x0f00),
            (10, 0x3c00),
            (15, 0x3000),
            (16, 0x3360),
            (17, 0xac08),
        ] {
            registers[number] = value;
        }
        let paged = [[0x0088, 0, 0, 0, 0, 0x1046], [0, 0, 0x4005, 0, 0, 0]];
        Phy { main: phy::Phy::of(registers), paged }
    }

    /// As after power-on, with the link as it is.
    pub fn reset(&mut self) {
        self.main.reset();
        self.paged = Phy::new().paged;
    }

    /// What comes back when MDIC is written.
    pub fn mdic(&mut self, value: u32) -> (u32, Wish) {
        let (answer, wish) = match phy::asked(value) {
            Asked::Nobody => (value | mdic::ERROR, Wish::Nothing),
            Asked::Nothing => (value, Wish::Nothing),
            Asked::Read(register) => (value & !0xffff | u32::from(self.read(register)), Wish::Nothing),
            Asked::Write(register, data) => (value, self.write(register, data)),
        };
        (answer | mdic::READY, wish)
    }

    /// The page that a register is on: 0, if it is on every one.
    fn page(&self, register: usize) -> u16 {
        if register < FIRST || register == PAGE { 0 } else { self.main.registers[PAGE] }
    }

    fn read(&self, register: usize) -> u16 {
        match self.page(register) {
            0 => self.main.registers[register],
            page @ (2 | 3) => {
                let registers = &self.paged[usize::from(page - 2)];
                registers.get(register - FIRST).copied().unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn write(&mut self, register: usize, value: u16) -> Wish {
        match (self.page(register), register) {
            (0, PAGE) => self.main.registers[PAGE] = value & PAGE_BITS,
            (0, OEM) => {
                self.main.registers[OEM] = value & !OEM_RESTART;
                if value & OEM_RESTART != 0 && self.main.negotiates() {
                    return Wish::Negotiate;
                }
            }
            (0, 7 | 26) => self.main.registers[register] = value,
            // 24 is none of this PHY's.
            (0, 24) => {}
            (0, _) => return self.main.write(register, value),
            (page @ (2 | 3), _) => {
                let (page, number) = (usize::from(page - 2), register - FIRST);
                if WRITABLE[page].get(number) == Some(&true) {
                    self.paged[page][number] = value;
                }
            }
            _ => {}
        }
        Wish::Nothing
    }
}
