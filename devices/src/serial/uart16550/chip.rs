//! The chip alone: registers, FIFOs and interrupt priorities. It knows no bus, no line and no clock: guest
//! time comes with the calls, and what it sends is fetched from it.

use super::fifo::Fifo;
use super::spec::{self, reg};

/// The chip.
#[derive(Clone)]
pub(super) struct Chip {
    pub divisor: u16,
    pub enable: u8,
    /// FIFO control, the bits that are kept.
    pub fifo_control: u8,
    pub line_control: u8,
    pub modem_control: u8,
    pub overrun: bool,
    /// Modem lines as last seen, and deltas since they were last read.
    pub modem_status: u8,
    pub scratch: u8,
    /// Without FIFOs at most one byte is in either.
    pub receive: Fifo,
    pub transmit: Fifo,
    /// The byte on its way out.
    pub shift: Option<u8>,
    /// The transmitter became empty and nobody has been told by an identification read.
    pub transmit_event: bool,
    /// Data lay in the receive FIFO for four character times.
    pub timeout_event: bool,
    /// When that will be so, in nanoseconds of guest time.
    pub timeout_at: Option<u64>,
}

impl Chip {
    /// As after a reset.
    pub fn new() -> Chip {
        Chip {
            divisor: spec::DIVISOR_RESET,
            enable: 0,
            fifo_control: 0,
            line_control: 0,
            modem_control: spec::MCR_OUT2,
            overrun: false,
            modem_status: spec::MSR_CONNECTED,
            scratch: 0,
            receive: Fifo::default(),
            transmit: Fifo::default(),
            shift: None,
            transmit_event: false,
            timeout_event: false,
            timeout_at: None,
        }
    }

    fn fifos(&self) -> bool {
        self.fifo_control & spec::FCR_ENABLE != 0
    }
    fn latch_open(&self) -> bool {
        self.line_control & spec::LCR_DLAB != 0
    }
    pub fn loopback(&self) -> bool {
        self.modem_control & spec::MCR_LOOP != 0
    }

    /// Received bytes at which an interrupt comes.
    fn trigger(&self) -> usize {
        if self.fifos() { spec::TRIGGERS[usize::from(self.fifo_control >> 6)] } else { 1 }
    }

    /// Nanoseconds that a character takes on the line. A divisor of zero counts as one.
    fn character_time(&self) -> u64 {
        let lcr = self.line_control;
        let flag = |bit| u64::from(lcr & bit != 0);
        let bits = 1 + 5 + u64::from(lcr & 3) + flag(spec::LCR_PARITY) + 1 + flag(spec::LCR_STOP);
        bits * u64::from(self.divisor.max(1)) * 1_000_000_000 / spec::BAUD_BASE
    }

    /// `now` counts for the data register alone.
    pub fn read(&mut self, register: u64, now: u64) -> u8 {
        let [low, high] = self.divisor.to_le_bytes();
        match register {
            reg::DATA if self.latch_open() => low,
            reg::DATA => self.read_data(now),
            reg::IER if self.latch_open() => high,
            reg::IER => self.enable,
            reg::IIR_FCR => {
                let identification = self.identification();
                if identification == spec::IIR_TX {
                    self.transmit_event = false;
                }
                identification | if self.fifos() { spec::IIR_FIFO } else { 0 }
            }
            reg::LCR => self.line_control,
            reg::MCR => self.modem_control,
            reg::LSR => {
                let status = self.line_status();
                self.overrun = false;
                status
            }
            reg::MSR => {
                let status = self.modem_status;
                self.modem_status &= !spec::MSR_DELTAS;
                status
            }
            _ => self.scratch,
        }
    }

    pub fn write(&mut self, register: u64, value: u8) {
        let [low, high] = self.divisor.to_le_bytes();
        match register {
            reg::DATA if self.latch_open() => self.divisor = u16::from_le_bytes([value, high]),
            reg::DATA => self.write_data(value),
            reg::IER if self.latch_open() => self.divisor = u16::from_le_bytes([low, value]),
            reg::IER => self.write_enable(value & spec::IER_MASK),
            reg::IIR_FCR => self.write_fifo_control(value),
            reg::LCR => self.line_control = value,
            reg::MCR => {
                self.modem_control = value & spec::MCR_MASK;
                self.follow_modem_lines();
            }
            // The status registers are for the factory's tests.
            reg::LSR | reg::MSR => {}
            _ => self.scratch = value,
        }
    }

    fn read_data(&mut self, now: u64) -> u8 {
        let byte = self.receive.pop().unwrap_or(0);
        self.timeout_event = false;
        self.restart_timeout(now);
        byte
    }

    fn write_data(&mut self, value: u8) {
        let room = if self.fifos() { spec::FIFO } else { 1 };
        if self.transmit.len() >= room {
            // As in QEMU, the oldest gives way.
            self.transmit.pop();
        }
        self.transmit.push(value);
        self.transmit_event = false;
    }

    /// Turning the transmitter's interrupt on while it is empty gives one, whether or not it was told
    /// before: not in the data sheet, but on hardware, and Windows relies on it.
    fn write_enable(&mut self, value: u8) {
        let changed = self.enable ^ value;
        self.enable = value;
        if changed & spec::IER_TX != 0 {
            self.transmit_event = value & spec::IER_TX != 0 && self.transmit.is_empty();
        }
    }

    fn write_fifo_control(&mut self, value: u8) {
        let switched = (value ^ self.fifo_control) & spec::FCR_ENABLE != 0;
        self.fifo_control = value & spec::FCR_KEPT;
        if switched || value & spec::FCR_CLEAR_RX != 0 {
            self.receive.clear();
            self.timeout_event = false;
            self.timeout_at = None;
        }
        if switched || value & spec::FCR_CLEAR_TX != 0 {
            self.transmit.clear();
            self.transmit_event = true;
        }
    }

    /// In loopback the outputs are the inputs.
    fn modem_lines(&self) -> u8 {
        if !self.loopback() {
            return spec::MSR_CONNECTED;
        }
        let wires = [
            (spec::MCR_RTS, spec::MSR_CTS),
            (spec::MCR_DTR, spec::MSR_DSR),
            (spec::MCR_OUT1, spec::MSR_RI),
            (spec::MCR_OUT2, spec::MSR_DCD),
        ];
        wires.iter().filter(|wire| self.modem_control & wire.0 != 0).fold(0, |lines, wire| lines | wire.1)
    }

    fn follow_modem_lines(&mut self) {
        let (before, lines) = (self.modem_status, self.modem_lines());
        let changed = (before ^ lines) & !spec::MSR_DELTAS;
        // Of ring only the trailing edge counts.
        let deltas = (changed & !(lines & spec::MSR_RI)) >> 4;
        self.modem_status = lines | before & spec::MSR_DELTAS | deltas;
    }

    pub fn line_status(&self) -> u8 {
        let mut status = 0;
        let mut set = |bit, on| status |= if on { bit } else { 0 };
        set(spec::LSR_READY, !self.receive.is_empty());
        set(spec::LSR_OVERRUN, self.overrun);
        set(spec::LSR_THRE, self.transmit.is_empty());
        set(spec::LSR_TEMT, self.transmit.is_empty() && self.shift.is_none());
        status
    }

    /// The most urgent interrupt.
    pub fn identification(&self) -> u8 {
        let enabled = |bit| self.enable & bit != 0;
        if enabled(spec::IER_LINE) && self.overrun {
            spec::IIR_LINE
        } else if enabled(spec::IER_RX) && self.timeout_event {
            spec::IIR_TIMEOUT
        } else if enabled(spec::IER_RX) && self.receive.len() >= self.trigger() {
            spec::IIR_RX
        } else if enabled(spec::IER_TX) && self.transmit_event {
            spec::IIR_TX
        } else if enabled(spec::IER_MODEM) && self.modem_status & spec::MSR_DELTAS != 0 {
            spec::IIR_MODEM
        } else {
            spec::IIR_NONE
        }
    }

    /// Level of the interrupt pin.
    pub fn interrupts(&self) -> bool {
        self.identification() != spec::IIR_NONE
    }

    /// The next byte for the line, until [`sent`](Chip::sent) is called. In loopback bytes go round
    /// instead.
    pub fn outgoing(&mut self, now: u64) -> Option<u8> {
        loop {
            if self.shift.is_none() {
                self.shift = Some(self.transmit.pop()?);
                self.transmit_event |= self.transmit.is_empty();
            }
            if !self.loopback() {
                return self.shift;
            }
            if let Some(byte) = self.shift.take() {
                self.receive(byte, now);
            }
        }
    }

    /// The line took the byte.
    pub fn sent(&mut self) {
        self.shift = None;
    }

    /// How many bytes to fetch from the line: as far as the trigger level, so that a guest that asked for
    /// an interrupt there gets it there, and nothing in loopback.
    pub fn room(&self) -> usize {
        if self.loopback() { 0 } else { self.trigger().saturating_sub(self.receive.len()) }
    }

    /// A byte arrived.
    pub fn receive(&mut self, byte: u8, now: u64) {
        if self.fifos() {
            self.overrun |= !self.receive.push(byte);
        } else {
            // The newer byte replaces one that was not fetched.
            self.overrun |= self.receive.pop().is_some();
            self.receive.push(byte);
        }
        self.restart_timeout(now);
    }

    fn restart_timeout(&mut self, now: u64) {
        let waits = self.fifos() && !self.receive.is_empty();
        self.timeout_at = waits.then(|| now.saturating_add(4 * self.character_time()));
    }

    /// Looks whether data have been waiting for too long.
    pub fn elapse(&mut self, now: u64) {
        if self.timeout_at.is_some_and(|at| at <= now) {
            self.timeout_at = None;
            self.timeout_event = !self.receive.is_empty();
        }
    }
}
