//! The PHY's registers of IEEE 802.3 and those of a Marvell 88E1000 and its kin, behind MDIC at address 1 (IEEE 802.3, clause 22; chapter 13 of the
//! manual). It negotiates with a partner that can do everything, for half a second.

use super::spec::mdic;

/// Registers.
pub const REGISTERS: usize = 32;
/// How long negotiation takes.
pub const NEGOTIATION: u64 = 500_000_000;

/// Register numbers.
const BMCR: usize = 0;
const BMSR: usize = 1;
const ID1: usize = 2;
const ID2: usize = 3;
const ANAR: usize = 4;
const ANLPAR: usize = 5;
const CTRL1000: usize = 9;
const STAT1000: usize = 10;
const ESTATUS: usize = 15;
const SPECIFIC_CONTROL: usize = 16;
const SPECIFIC_STATUS: usize = 17;
const INTERRUPTS: usize = 18;
const EXTENDED_CONTROL: usize = 20;
const LEDS: usize = 24;
const PAGE: usize = 29;
const PAGED: usize = 30;

/// Control register: loopback, negotiation on, negotiation to begin, and what reads as 0.
const LOOPBACK: u16 = 1 << 14;
const AUTONEG: u16 = 1 << 12;
const RESTART: u16 = 1 << 9;
const SELF_CLEARING: u16 = 1 << 15 | RESTART | 0x3f;
/// Status register: link, negotiation complete.
const LINK: u16 = 1 << 2;
const COMPLETE: u16 = 1 << 5;
/// The partner has acknowledged.
const ACKNOWLEDGED: u16 = 1 << 14;
/// Specific status: the link is up, in real time; speed and duplex are resolved.
const REAL_TIME_LINK: u16 = 1 << 10 | 1 << 11;

/// The PHY.
pub struct Phy {
    /// What they hold.
    pub registers: [u16; REGISTERS],
    /// What they held after power-on.
    pub initial: [u16; REGISTERS],
}

/// What MDIC asks for.
pub enum Asked {
    /// A PHY that there is not.
    Nobody,
    /// Nothing.
    Nothing,
    /// A register, less than [`REGISTERS`].
    Read(usize),
    /// Likewise, with its new value.
    Write(usize, u16),
}

/// What a value of MDIC asks for.
pub fn asked(value: u32) -> Asked {
    let register = (value >> mdic::REGISTER_SHIFT & 0x1f) as usize;
    if value >> mdic::PHY_SHIFT & 0x1f != mdic::PHY {
        Asked::Nobody
    } else if value & mdic::READ != 0 {
        Asked::Read(register)
    } else if value & mdic::WRITE != 0 {
        Asked::Write(register, value as u16)
    } else {
        Asked::Nothing
    }
}

/// What a write to the PHY asks for beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    Nothing,
    /// Negotiation begins.
    Negotiate,
}

impl Phy {
    /// After power-on, with that lower half of its id; the link is up and was not negotiated.
    pub fn new(id2: u16) -> Phy {
        let mut registers = [0; REGISTERS];
        registers[BMCR] = 0x0140 | AUTONEG;
        registers[BMSR] = 0x7949 | LINK;
        registers[ID1] = 0x0141;
        registers[ID2] = id2;
        registers[ANAR] = 0x0de1;
        registers[ANLPAR] = 0x01e0;
        registers[CTRL1000] = 0x0e00;
        registers[STAT1000] = 0x3c00;
        registers[ESTATUS] = 0x3000;
        registers[SPECIFIC_CONTROL] = 0x0360;
        registers[SPECIFIC_STATUS] = 0x8000 | 0x2000 | REAL_TIME_LINK;
        registers[EXTENDED_CONTROL] = 0x0d60;
        Phy::of(registers)
    }

    /// After power-on, with these registers.
    pub fn of(initial: [u16; REGISTERS]) -> Phy {
        Phy { registers: initial, initial }
    }

    /// As after power-on.
    pub fn power_on(&mut self) {
        self.registers = self.initial;
    }

    /// What comes back when MDIC is written.
    pub fn mdic(&mut self, value: u32) -> (u32, Wish) {
        let (answer, wish) = match asked(value) {
            Asked::Nobody => (value | mdic::ERROR, Wish::Nothing),
            Asked::Nothing => (value, Wish::Nothing),
            Asked::Read(register) => (value & !0xffff | u32::from(self.registers[register]), Wish::Nothing),
            Asked::Write(register, data) => (value, self.write(register, data)),
        };
        (answer | mdic::READY, wish)
    }

    /// Software writes a register.
    pub fn write(&mut self, register: usize, value: u16) -> Wish {
        match register {
            BMCR => {
                self.registers[BMCR] = value & !SELF_CLEARING;
                if value & RESTART != 0 && self.negotiates() {
                    return Wish::Negotiate;
                }
            }
            ANAR | CTRL1000 | SPECIFIC_CONTROL | INTERRUPTS | EXTENDED_CONTROL | LEDS | PAGE | PAGED => {
                self.registers[register] = value;
            }
            _ => {}
        }
        Wish::Nothing
    }

    /// What it is sent comes back.
    pub fn loops(&self) -> bool {
        self.registers[BMCR] & LOOPBACK != 0
    }

    /// Negotiation is on.
    pub fn negotiates(&self) -> bool {
        self.registers[BMCR] & AUTONEG != 0
    }

    /// It has been done.
    pub fn negotiated(&self) -> bool {
        self.registers[BMSR] & COMPLETE != 0
    }

    /// The cable is out, or negotiation begins.
    pub fn link_down(&mut self) {
        self.registers[BMSR] &= !(LINK | COMPLETE);
        self.registers[ANLPAR] &= !ACKNOWLEDGED;
        self.registers[SPECIFIC_STATUS] &= !REAL_TIME_LINK;
    }

    /// The partner is there.
    pub fn link_up(&mut self) {
        self.registers[BMSR] |= LINK;
        self.registers[SPECIFIC_STATUS] |= REAL_TIME_LINK;
    }

    /// Negotiation is over.
    pub fn complete(&mut self) {
        self.link_up();
        self.registers[BMSR] |= COMPLETE;
        self.registers[ANLPAR] |= ACKNOWLEDGED;
    }

    /// As after power-on, with the link as it is.
    pub fn reset(&mut self) {
        let before = self.registers;
        self.power_on();
        for register in [BMSR, ANLPAR, SPECIFIC_STATUS] {
            self.registers[register] = before[register];
        }
    }
}
