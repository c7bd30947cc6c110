//! The registers as the guest sees them: 256 bytes, read in any width, written a register at a time.
//!
//! Drivers write some registers in parts or two at once (IMR and ISR). A write of part of a register keeps the
//! rest of it; bits that are cleared by writing ones are not touched by what was not written.

use devices_core::Node;

use super::Rtl8139;
use super::spec::{
    DUMP, REVISION, RING_ALIGN, cfg9346, config, cpcr, cr, int, phy, rcr, reg, tcr, tppoll, tsd,
};

/// What the card keeps in its registers, but the PHY's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registers {
    pub idr: [u8; 6],
    pub mar: [u8; 8],
    pub tsd: [u32; 4],
    /// TSAD; in C+ mode TNPDS and THPDS.
    pub tsad: [u32; 4],
    /// In C+ mode, where TSD is.
    pub dtccr: [u32; 2],
    pub rbstart: u32,
    /// Up to where the driver has read; CAPR is 16 less.
    pub read_to: u16,
    /// Up to where the card has written.
    pub cbr: u16,
    /// RE and TE.
    pub cr: u8,
    pub imr: u16,
    pub isr: u16,
    pub tcr: u32,
    pub rcr: u32,
    /// When TCTR was zero.
    pub timer_base: u64,
    pub timer_int: u32,
    pub mpc: u32,
    pub cfg9346: u8,
    /// CONFIG 0, 1, 3, 4, 5.
    pub config: [u8; 5],
    pub mulint: u16,
    /// HLTCLK stopped the clock.
    pub halted: bool,
    pub cpcr: u16,
    /// CPCR was written: registers have their meaning of C+ mode.
    pub cplus: bool,
    pub rdsar: [u32; 2],
    pub mtps: u8,
}

impl Default for Registers {
    fn default() -> Registers {
        Registers {
            idr: [0; 6],
            mar: [0; 8],
            tsd: [tsd::OWN; 4],
            tsad: [0; 4],
            dtccr: [0; 2],
            rbstart: 0,
            read_to: 0,
            cbr: 0,
            cr: 0,
            imr: 0,
            isr: 0,
            tcr: tcr::VERSION,
            rcr: 0,
            timer_base: 0,
            timer_int: 0,
            mpc: 0,
            cfg9346: 0,
            config: [0, config::INITIAL1, config::INITIAL3, 0, 0],
            mulint: 0,
            halted: false,
            cpcr: 0,
            cplus: false,
            rdsar: [0; 2],
            mtps: 0,
        }
    }
}

/// The register that a byte belongs to: its first byte and its length.
fn register_of(offset: u8) -> (u8, u8) {
    let len = match offset {
        0x10..=0x33 | 0x40..=0x4f | 0x54..=0x57 | 0x78..=0x7f | 0xe4..=0xeb => 4,
        0x34..=0x35 | 0x38..=0x3f | 0x5c..=0x5d | 0x60..=0x77 | 0xe0..=0xe3 => 2,
        _ => 1,
    };
    (offset & !(len - 1), len)
}

impl Registers {
    /// What CR.RST sets back.
    pub fn soft_reset(&mut self) {
        let Registers { idr, mar, config, cfg9346, tsad, rbstart, .. } = *self;
        *self = Registers { idr, mar, config, cfg9346, tsad, rbstart, ..Registers::default() };
    }

    /// Bytes of the Rx ring.
    pub fn ring_len(&self) -> u32 {
        8192 << (self.rcr >> rcr::RBLEN_SHIFT & 3)
    }

    /// Bytes in the ring that the driver has not read.
    pub fn unread(&self) -> u32 {
        u32::from(self.cbr).wrapping_sub(self.read_to.into()) & (self.ring_len() - 1)
    }

    /// Whether the receiver is on.
    pub fn receives(&self) -> bool {
        self.cr & cr::RE != 0 && !self.halted
    }
    /// Whether the transmitter is on.
    pub fn transmits(&self) -> bool {
        self.cr & cr::TE != 0
    }
    /// Whether it is on and works by descriptors.
    pub fn transmits_descriptors(&self) -> bool {
        self.transmits() && self.cpcr & cpcr::TX != 0
    }

    /// The C+ rings.
    pub fn tx_ring(&self) -> u64 {
        (u64::from(self.tsad[1]) << 32 | u64::from(self.tsad[0])) & !(RING_ALIGN - 1)
    }
    /// Likewise.
    pub fn rx_ring(&self) -> u64 {
        (u64::from(self.rdsar[1]) << 32 | u64::from(self.rdsar[0])) & !(RING_ALIGN - 1)
    }

    /// TSAD's summary: for each buffer, OWN, TABT, TUN and TOK, four bits each.
    fn summary(&self) -> u16 {
        let bits = [tsd::OWN, tsd::TABT, tsd::TUN, tsd::TOK];
        let place = |field: usize, buffer: usize| {
            u16::from(self.tsd[buffer] & bits[field] != 0) << (4 * field + buffer)
        };
        (0..16).fold(0, |all, bit| all | place(bit / 4, bit % 4))
    }

    /// For people.
    pub fn inspect(&self, node: &mut Node) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
        node.value("IDR", hex(&self.idr)).value("MAR", hex(&self.mar));
        node.hex("CR", self.cr).hex("IMR", self.imr).hex("ISR", self.isr);
        node.hex("TCR", self.tcr).hex("RCR", self.rcr).hex("CPCR", self.cpcr).hex("9346CR", self.cfg9346);
        for (number, (status, address)) in self.tsd.iter().zip(self.tsad).enumerate() {
            node.value(&format!("TSD{number}"), format_args!("{status:#x} at {address:#x}"));
        }
        node.hex("RBSTART", self.rbstart).hex("CBR", self.cbr).hex("read to", self.read_to);
        node.hex("Rx ring", self.rx_ring()).hex("Tx ring", self.tx_ring()).hex("TimerInt", self.timer_int);
        node.value("CONFIG", hex(&self.config)).value("halted", self.halted);
    }
}

impl Rtl8139 {
    /// A read of any width at any place.
    pub(super) fn read_registers(&mut self, offset: u8, data: &mut [u8]) {
        let offsets = (0..data.len()).map(|at| offset.wrapping_add(at as u8));
        // A driver that looks whether something came is let see what a lack of room held back.
        if self.rx.is_held() && offsets.clone().any(|offset| matches!(offset, reg::CR | reg::ISR)) {
            self.pump();
        }
        for (byte, offset) in data.iter_mut().zip(offsets) {
            let (first, _) = register_of(offset);
            *byte = (self.read_register(first) >> (8 * (offset - first))) as u8;
        }
    }

    /// A whole register, by its first byte.
    fn read_register(&self, first: u8) -> u32 {
        let r = &self.registers;
        let long = |registers: &[u32], base: u8| registers[usize::from(first - base) / 4];
        match first {
            0x00..=0x05 => r.idr[usize::from(first - reg::IDR)].into(),
            0x08..=0x0f => r.mar[usize::from(first - reg::MAR)].into(),
            0x10..=0x17 if r.cplus => long(&r.dtccr, reg::TSD),
            0x10..=0x1f => long(&r.tsd, reg::TSD),
            0x20..=0x2f => long(&r.tsad, reg::TSAD),
            reg::RBSTART => r.rbstart,
            reg::CR => u32::from(r.cr) | if r.unread() == 0 { u32::from(cr::BUFE) } else { 0 },
            reg::CAPR => r.read_to.wrapping_sub(16).into(),
            reg::CBR => r.cbr.into(),
            reg::IMR => r.imr.into(),
            reg::ISR => r.isr.into(),
            reg::TCR => r.tcr,
            reg::RCR => r.rcr,
            reg::TCTR => self.ticks(),
            reg::MPC => r.mpc,
            reg::CFG9346 => self.read_9346().into(),
            reg::CONFIG0 => r.config[0].into(),
            reg::CONFIG1 => r.config[1].into(),
            reg::CONFIG3 => r.config[2].into(),
            reg::CONFIG4 => r.config[3].into(),
            reg::CONFIG5 => r.config[4].into(),
            reg::TIMER_INT => r.timer_int,
            reg::MSR => self.phy.msr().into(),
            reg::HLTCLK => u32::from(!r.halted),
            reg::MULINT => r.mulint.into(),
            reg::RERID => REVISION.into(),
            reg::TSAD_SUMMARY => r.summary().into(),
            reg::BMCR => self.phy.bmcr.into(),
            reg::BMSR => self.phy.bmsr().into(),
            reg::ANAR => self.phy.anar.into(),
            reg::ANLPAR => phy::ABILITIES.into(),
            reg::ANER => phy::ANER.into(),
            reg::CSCR => phy::CSCR.into(),
            reg::CPCR => r.cpcr.into(),
            0xe4..=0xeb => long(&r.rdsar, reg::RDSAR),
            reg::MTPS => r.mtps.into(),
            // Early Rx, error counters, tests of the PHY: zeros, and so is what is not there.
            _ => 0,
        }
    }

    fn read_9346(&self) -> u8 {
        let value = self.registers.cfg9346;
        let programming = value & cfg9346::MODE == cfg9346::PROGRAM;
        value | if programming && self.eeprom.out() { cfg9346::EEDO } else { 0 }
    }

    /// A write of any width at any place: register by register.
    pub(super) fn write_registers(&mut self, offset: u8, data: &[u8]) {
        let (mut at, mut moves) = (0, false);
        while at < data.len() {
            let offset = offset.wrapping_add(at as u8);
            let (first, len) = register_of(offset);
            let skip = usize::from(offset - first);
            let count = (usize::from(len) - skip).min(data.len() - at);
            let mut value =
                if clears_by_ones(first) { [0; 4] } else { self.read_register(first).to_le_bytes() };
            value[skip..skip + count].copy_from_slice(&data[at..at + count]);
            self.write_register(first, u32::from_le_bytes(value));
            moves |= may_move_packets(first);
            at += count;
        }
        // Only now: a packet's interrupt is not to be cleared by a write that began before it came.
        if moves {
            self.pump();
        }
    }

    fn write_register(&mut self, first: u8, value: u32) {
        match first {
            0x00..=0x05 => self.registers.idr[usize::from(first - reg::IDR)] = value as u8,
            0x08..=0x0f => self.registers.mar[usize::from(first - reg::MAR)] = value as u8,
            0x10..=0x1f => self.write_tsd(usize::from(first - reg::TSD) / 4, value),
            0x20..=0x2f => self.registers.tsad[usize::from(first - reg::TSAD) / 4] = value,
            reg::RBSTART => self.registers.rbstart = value,
            reg::CR => self.write_cr(value as u8),
            reg::CAPR => {
                let mask = (self.registers.ring_len() - 1) as u16;
                self.registers.read_to = (value as u16).wrapping_add(16) & mask;
            }
            reg::IMR => {
                self.registers.imr = value as u16 & int::ALL;
                self.update_irq();
            }
            reg::ISR => {
                self.registers.isr &= !(value as u16);
                self.update_irq();
            }
            reg::TCR => self.write_tcr(value),
            reg::RCR => self.write_rcr(value),
            reg::TCTR => {
                self.registers.timer_base = self.wiring.now();
                self.arm_timer();
            }
            reg::TIMER_INT => {
                self.registers.timer_int = value;
                self.arm_timer();
            }
            reg::MPC => self.registers.mpc = 0,
            reg::CFG9346 => self.write_9346(value as u8),
            reg::HLTCLK => match value as u8 {
                b'R' => self.registers.halted = false,
                b'H' => self.registers.halted = true,
                _ => {}
            },
            reg::MULINT => self.registers.mulint = value as u16,
            reg::BMCR => self.phy.write_bmcr(value as u16),
            reg::ANAR => self.phy.anar = value as u16,
            _ => self.write_cplus(first, value),
        }
    }

    /// CONFIG, and the registers of the 8139C+ alone.
    fn write_cplus(&mut self, first: u8, value: u32) {
        match first {
            reg::CONFIG0 => self.write_config(0, value as u8, config::WRITABLE0),
            reg::CONFIG1 => self.write_config(1, value as u8, config::WRITABLE1),
            reg::CONFIG3 => self.write_config(2, value as u8, config::WRITABLE3),
            reg::CONFIG4 => self.write_config(3, value as u8, config::WRITABLE4),
            // The only one that is not locked.
            reg::CONFIG5 => self.registers.config[4] = value as u8 & config::WRITABLE5,
            reg::TPPOLL => self.poll(value as u8),
            reg::CPCR => {
                self.registers.cpcr = value as u16 & cpcr::WRITABLE;
                self.registers.cplus = true;
            }
            0xe4..=0xeb => self.registers.rdsar[usize::from(first - reg::RDSAR) / 4] = value,
            reg::MTPS => self.registers.mtps = value as u8,
            _ => {}
        }
    }

    fn write_config(&mut self, index: usize, value: u8, writable: u8) {
        if self.registers.cfg9346 & cfg9346::MODE == cfg9346::UNLOCK {
            let byte = &mut self.registers.config[index];
            *byte = *byte & !writable | value & writable;
        }
    }

    fn write_tsd(&mut self, number: usize, value: u32) {
        if !self.registers.cplus {
            self.registers.tsd[number] = value & tsd::WRITABLE;
            return;
        }
        if let Some(word) = self.registers.dtccr.get_mut(number) {
            *word = value;
        }
        if number == 0 && value & DUMP != 0 {
            let [low, high] = self.registers.dtccr;
            self.dump_counters((u64::from(high) << 32 | u64::from(low)) & !63);
            self.registers.dtccr[0] &= !DUMP;
        }
    }

    fn write_cr(&mut self, value: u8) {
        if value & cr::RST != 0 {
            self.soft_reset();
        }
        let before = std::mem::replace(&mut self.registers.cr, value & (cr::RE | cr::TE));
        let rises = !before & self.registers.cr;
        if rises & cr::RE != 0 {
            self.rx.start();
        }
        if rises & cr::TE != 0 || self.registers.cr & cr::TE == 0 {
            self.tx.restart();
        }
    }

    /// Not taken while the transmitter is off.
    fn write_tcr(&mut self, value: u32) {
        if self.registers.transmits() {
            self.registers.tcr = tcr::VERSION | value & tcr::WRITABLE;
        }
    }

    fn write_rcr(&mut self, value: u32) {
        let before = self.registers.ring_len();
        self.registers.rcr = value & rcr::WRITABLE;
        if self.registers.ring_len() != before {
            (self.registers.cbr, self.registers.read_to) = (0, 0);
        }
    }

    fn write_9346(&mut self, value: u8) {
        let mode = value & cfg9346::MODE;
        if mode == cfg9346::LOAD {
            return self.load_eeprom();
        }
        self.registers.cfg9346 = value & cfg9346::WRITABLE;
        // Outside of its mode nobody selects the EEPROM.
        let wire = |bit: u8| mode == cfg9346::PROGRAM && value & bit != 0;
        self.eeprom.wires(wire(cfg9346::EECS), wire(cfg9346::EESK), wire(cfg9346::EEDI));
    }

    /// TPPoll.
    fn poll(&mut self, value: u8) {
        if value & tppoll::SW != 0 {
            self.raise(int::SW);
        }
        if value & tppoll::NORMAL != 0 && self.registers.transmits_descriptors() {
            self.tx.polled = true;
        }
    }
}

/// A write of it can make room, give something to be sent, or switch an engine on.
fn may_move_packets(first: u8) -> bool {
    matches!(
        first,
        0x10..=0x1f | 0xe4..=0xeb | reg::CR | reg::CAPR | reg::IMR | reg::ISR | reg::RCR | reg::HLTCLK | reg::TPPOLL
    )
}

/// Writing ones clears its bits: what is not written of it counts as zeros.
fn clears_by_ones(first: u8) -> bool {
    first == reg::ISR
}
