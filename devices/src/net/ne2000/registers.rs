//! The registers of the DP8390, in their pages.

use devices_core::Node;

use super::spec::{Command, Interrupts, TSR_PTX, page0r, page0w, page1, page3, rcr};
use crate::net::group_hash;

/// What they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registers {
    pub cr: Command,
    pub pstart: u8,
    pub pstop: u8,
    pub bnry: u8,
    pub tsr: u8,
    pub tpsr: u8,
    pub tbcr: u16,
    pub isr: Interrupts,
    /// Moves on with the data port.
    pub rsar: u16,
    /// Goes down with it.
    pub rbcr: u16,
    pub rsr: u8,
    pub rcr: u8,
    pub tcr: u8,
    pub dcr: u8,
    pub imr: Interrupts,
    pub par: [u8; 6],
    pub curr: u8,
    pub mar: [u8; 8],
}

impl Default for Registers {
    /// As after power-on.
    fn default() -> Registers {
        Registers {
            cr: Command::STP | Command::NODMA,
            pstart: 0,
            pstop: 0,
            bnry: 0,
            tsr: 0,
            tpsr: 0,
            tbcr: 0,
            isr: Interrupts::RST,
            rsar: 0,
            rbcr: 0,
            rsr: 0,
            rcr: 0,
            tcr: 0,
            dcr: 0,
            imr: Interrupts::empty(),
            par: [0; 6],
            curr: 0,
            mar: [0; 8],
        }
    }
}

/// Changes the low or the high byte of a register of two.
fn set_half(register: &mut u16, high: bool, value: u8) {
    let [mut low, mut upper] = register.to_le_bytes();
    *if high { &mut upper } else { &mut low } = value;
    *register = u16::from_le_bytes([low, upper]);
}

impl Registers {
    /// A guest read of offset 0 to 15.
    pub fn read(&self, offset: u64) -> u8 {
        if offset == super::spec::CR {
            return self.cr.bits();
        }
        match self.cr.bits() >> 6 {
            0 => self.read_page0(offset),
            1 => match offset {
                page1::CURR => self.curr,
                page1::MAR.. => self.mar[(offset - page1::MAR) as usize & 7],
                _ => self.par[(offset - page1::PAR) as usize % 6],
            },
            // Bits that are not there are ones.
            2 => match offset {
                page0w::PSTART => self.pstart,
                page0w::PSTOP => self.pstop,
                page0w::TPSR => self.tpsr,
                page0w::RCR => self.rcr | 0xc0,
                page0w::TCR => self.tcr | 0xe0,
                page0w::DCR => self.dcr | 0x80,
                page0w::IMR => self.imr.bits() | 0x80,
                _ => 0,
            },
            // Full duplex, BNC off.
            _ => match offset {
                page3::CONFIG0 => 0,
                page3::CONFIG2 | page3::CONFIG3 => 0x40,
                _ => 0,
            },
        }
    }

    fn read_page0(&self, offset: u64) -> u8 {
        let [rsar_low, rsar_high] = self.rsar.to_le_bytes();
        match offset {
            page0r::CLDA0 => 0,
            page0r::CLDA1 => self.curr,
            page0r::BNRY => self.bnry,
            page0r::TSR => self.tsr,
            page0r::ISR => self.isr.bits(),
            page0r::CRDA0 => rsar_low,
            page0r::CRDA1 => rsar_high,
            page0r::ID0 => b'P',
            page0r::ID1 => b'C',
            page0r::RSR => self.rsr,
            _ => 0,
        }
    }

    /// A guest write.
    pub fn write(&mut self, offset: u64, value: u8) {
        if offset == super::spec::CR {
            return self.command(Command::from_bits_retain(value));
        }
        match self.cr.bits() >> 6 {
            0 => self.write_page0(offset, value),
            1 => match offset {
                page1::CURR => self.curr = value,
                page1::MAR.. => self.mar[(offset - page1::MAR) as usize & 7] = value,
                _ => self.par[(offset - page1::PAR) as usize % 6] = value,
            },
            _ => {}
        }
    }

    fn write_page0(&mut self, offset: u64, value: u8) {
        match offset {
            page0w::PSTART => self.pstart = value,
            page0w::PSTOP => self.pstop = value,
            page0w::BNRY => self.bnry = value,
            page0w::TPSR => self.tpsr = value,
            page0w::TBCR0 | page0w::TBCR1 => set_half(&mut self.tbcr, offset == page0w::TBCR1, value),
            page0w::ISR => self.isr &= !(Interrupts::from_bits_retain(value) - Interrupts::RST),
            page0w::RSAR0 | page0w::RSAR1 => set_half(&mut self.rsar, offset == page0w::RSAR1, value),
            page0w::RBCR0 | page0w::RBCR1 => set_half(&mut self.rbcr, offset == page0w::RBCR1, value),
            page0w::RCR => self.rcr = value & 0x3f,
            page0w::TCR => self.tcr = value & 0x1f,
            page0w::DCR => self.dcr = value & 0x7f,
            page0w::IMR => self.imr = Interrupts::from_bits_retain(value) - Interrupts::RST,
            _ => {}
        }
    }

    /// CR is written. A packet that is being sent goes on until it is, or the card is stopped.
    fn command(&mut self, value: Command) {
        let sending = self.cr & Command::TXP;
        self.cr = value | sending;
        if value.contains(Command::STP) {
            self.isr |= Interrupts::RST;
            self.cr -= Command::TXP;
        } else {
            self.isr -= Interrupts::RST;
        }
        let remote = value.intersects(Command::READ | Command::WRITE) && !value.contains(Command::NODMA);
        if remote && self.rbcr == 0 {
            self.isr |= Interrupts::RDC;
        }
    }

    /// The reset port.
    pub fn stop(&mut self) {
        self.cr = Command::STP | Command::NODMA;
        self.isr = Interrupts::RST;
        self.imr = Interrupts::empty();
        self.tcr &= !super::spec::TCR_LB;
    }

    /// Where the data port is now.
    pub fn remote(&self) -> u16 {
        self.rsar
    }

    /// The data port has moved so many bytes. It goes round with the receive ring.
    pub fn advance(&mut self, bytes: u16) {
        self.rsar = self.rsar.wrapping_add(bytes);
        if self.rsar == u16::from(self.pstop) << 8 {
            self.rsar = u16::from(self.pstart) << 8;
        }
        self.rbcr = self.rbcr.saturating_sub(bytes);
        if self.rbcr == 0 {
            self.isr |= Interrupts::RDC;
        }
    }

    /// A packet has been sent.
    pub fn sent(&mut self) {
        self.cr -= Command::TXP;
        self.tsr = TSR_PTX;
        self.isr |= Interrupts::PTX;
    }

    /// A packet has been received; the next goes to that page.
    pub fn received(&mut self, status: u8, next: u8) {
        self.rsr = status;
        self.curr = next;
        self.isr |= Interrupts::PRX;
    }

    /// Whether a packet to that address is let in, and then whether it is to a group.
    pub fn lets_in(&self, to: [u8; 6]) -> Option<bool> {
        let on = |bit: u8| self.rcr & bit != 0;
        let (group, lets) = if to == [0xff; 6] {
            (true, on(rcr::AB))
        } else if to[0] & 1 != 0 {
            let number = group_hash(to);
            (true, on(rcr::AM) && self.mar[usize::from(number / 8) & 7] >> (number % 8) & 1 != 0)
        } else {
            (false, on(rcr::PRO) || to == self.par)
        };
        lets.then_some(group)
    }

    /// Whether the card asks for an interrupt.
    pub fn asks(&self) -> bool {
        self.isr.intersects(self.imr)
    }

    pub fn inspect(&self, node: &mut Node) {
        let Registers { cr, pstart, pstop, bnry, tsr, tpsr, tbcr, isr, rsar, rbcr, .. } = *self;
        let Registers { rsr, rcr, tcr, dcr, imr, par, curr, mar, .. } = *self;
        node.hex("cr", cr.bits()).hex("isr", isr.bits()).hex("imr", imr.bits());
        node.hex("pstart", pstart).hex("pstop", pstop).hex("bnry", bnry).hex("curr", curr);
        node.hex("tpsr", tpsr).hex("tbcr", tbcr).hex("tsr", tsr);
        node.hex("rsar", rsar).hex("rbcr", rbcr);
        node.hex("rsr", rsr).hex("rcr", rcr).hex("tcr", tcr).hex("dcr", dcr);
        node.value("par", devices_core::net::format_mac(par));
        node.value("mar", mar.map(|byte| format!("{byte:02x}")).concat());
    }
}
