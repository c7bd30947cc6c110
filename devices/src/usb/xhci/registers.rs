//! Registers (chapter 5). Each is a word; a byte or two of one read so, and are not written.

use devices_core::device::{At, Io};

use super::Xhci;
use super::spec::{
    CAPABILITIES, Command, DOORBELLS, INTERRUPTER_LEN, INTERRUPTERS, MICROFRAME, MICROFRAMES, OPERATIONAL,
    PARAMS2, PENDING, PORT_LEN, PORTS, RUNTIME, Status, VERSION, cap, crcr, int, op,
};

/// "USB ", the name of a protocol.
const USB: u32 = u32::from_le_bytes(*b"USB ");

/// Where a register is.
enum Of {
    Capability(u64),
    Operational(u64),
    Port(usize, u64),
    Runtime(u64),
    Interrupter(usize, u64),
    Doorbell(u8),
    Nothing,
}

/// Halves of a register of 64 bits.
fn set_low(whole: &mut u64, low: u32) {
    *whole = *whole & !0xffff_ffff | u64::from(low);
}
fn set_high(whole: &mut u64, high: u32) {
    *whole = *whole & 0xffff_ffff | u64::from(high) << 32;
}

impl Xhci {
    fn find(&self, at: u64) -> Of {
        let ports = PORTS + PORT_LEN * self.ports.len() as u64;
        let interrupters = INTERRUPTERS + INTERRUPTER_LEN * self.interrupters.len() as u64;
        let doorbells = DOORBELLS + 4 * (1 + self.slots.len() as u64);
        let part = |from: u64, len: u64| (((at - from) / len) as usize, (at - from) % len);
        match at {
            _ if at < OPERATIONAL => Of::Capability(at),
            _ if at < PORTS => Of::Operational(at - OPERATIONAL),
            _ if at < ports => {
                let (port, at) = part(PORTS, PORT_LEN);
                Of::Port(port, at)
            }
            _ if (RUNTIME..INTERRUPTERS).contains(&at) => Of::Runtime(at - RUNTIME),
            _ if (INTERRUPTERS..interrupters).contains(&at) => {
                let (interrupter, at) = part(INTERRUPTERS, INTERRUPTER_LEN);
                Of::Interrupter(interrupter, at)
            }
            _ if (DOORBELLS..doorbells).contains(&at) => Of::Doorbell(((at - DOORBELLS) / 4) as u8),
            _ => Of::Nothing,
        }
    }

    pub(super) fn read_bar(&mut self, at: At, data: &mut [u8]) -> Io {
        if self.pci.msix_read(super::spec::BAR as u8, at.offset, data) {
            return Io::Done;
        }
        let word = self.read_register(at.offset & !3).to_le_bytes();
        for (byte, from) in data.iter_mut().zip(word.iter().skip((at.offset & 3) as usize)) {
            *byte = *from;
        }
        Io::Done
    }

    pub(super) fn write_bar(&mut self, at: At, data: &[u8]) {
        if self.pci.msix_write(super::spec::BAR as u8, at.offset, data) {
            return;
        }
        if let (Ok(bytes), true) = (<[u8; 4]>::try_from(data), at.offset.is_multiple_of(4)) {
            self.write_register(at.offset, u32::from_le_bytes(bytes));
        }
    }

    fn read_register(&mut self, at: u64) -> u32 {
        match self.find(at) {
            Of::Capability(at) => self.capability(at),
            Of::Operational(at) => self.operational(at),
            Of::Port(port, 0) => self.read_port(port),
            Of::Runtime(0) => self.microframe(),
            Of::Interrupter(number, at) => self.read_interrupter(number, at),
            Of::Port(..) | Of::Runtime(_) | Of::Doorbell(_) | Of::Nothing => 0,
        }
    }

    fn capability(&self, at: u64) -> u32 {
        let (supers, others) = (self.supers as u32, (self.ports.len() - self.supers) as u32);
        match at {
            cap::LENGTH => VERSION << 16 | OPERATIONAL as u32,
            cap::HCSPARAMS1 => {
                let (slots, interrupters) = (self.slots.len() as u32, self.interrupters.len() as u32);
                (supers + others) << 24 | interrupters << 8 | slots
            }
            cap::HCSPARAMS2 => PARAMS2,
            cap::HCCPARAMS1 => CAPABILITIES,
            cap::DBOFF => DOORBELLS as u32,
            cap::RTSOFF => RUNTIME as u32,
            // Supported protocols (7.2): USB 2.0 and USB 3.0.
            0x20 => 0x0200_0402,
            0x30 => 0x0300_0002,
            0x24 | 0x34 => USB,
            0x28 => others << 8 | (supers + 1),
            0x38 => supers << 8 | 1,
            _ => 0,
        }
    }

    fn operational(&self, at: u64) -> u32 {
        let registers = &self.registers;
        match at {
            op::USBCMD => self.command.bits(),
            op::USBSTS => self.status.bits(),
            op::PAGESIZE => 1,
            op::DNCTRL => registers.dnctrl,
            // The pointer reads as zeros (5.4.5).
            op::CRCR => u32::from(registers.crcr_running) << 3,
            op::DCBAAP => registers.dcbaap as u32,
            op::DCBAAP_HIGH => (registers.dcbaap >> 32) as u32,
            op::CONFIG => registers.config,
            _ => 0,
        }
    }

    fn read_interrupter(&self, number: usize, at: u64) -> u32 {
        let Some(of) = self.interrupters.get(number) else { return 0 };
        match at {
            int::IMAN => of.iman,
            int::IMOD => of.imod,
            int::ERSTSZ => of.erstsz,
            int::ERSTBA => of.erstba as u32,
            int::ERSTBA_HIGH => (of.erstba >> 32) as u32,
            int::ERDP => of.erdp as u32,
            int::ERDP_HIGH => (of.erdp >> 32) as u32,
            _ => 0,
        }
    }

    /// MFINDEX, which counts while the controller runs.
    fn microframe(&self) -> u32 {
        if !self.runs() {
            return 0;
        }
        (self.wiring.now().saturating_sub(self.started) / MICROFRAME % MICROFRAMES) as u32
    }

    fn write_register(&mut self, at: u64, value: u32) {
        match self.find(at) {
            Of::Operational(at) => self.write_operational(at, value),
            Of::Port(port, 0) => self.write_port(port, value),
            Of::Interrupter(number, at) => self.write_interrupter(number, at, value),
            Of::Doorbell(0) if value & 0xff == 0 => self.run_commands(),
            Of::Doorbell(0) => {}
            Of::Doorbell(slot) => self.ring_endpoint(slot, value as u8),
            Of::Capability(_) | Of::Port(..) | Of::Runtime(_) | Of::Nothing => {}
        }
    }

    fn write_operational(&mut self, at: u64, value: u32) {
        let registers = &mut self.registers;
        match at {
            op::USBCMD => self.write_command(value),
            op::USBSTS => {
                let before = self.status;
                self.status &= !(Status::from_bits_truncate(value) & Status::CLEARED);
                if before != self.status {
                    self.settle_interrupt(0);
                }
            }
            op::DNCTRL => registers.dnctrl = value & 0xffff,
            op::CRCR => {
                // The halves of an address come one after the other, the lower first.
                registers.crcr_low = value;
                let high = registers.commands.at & !0xffff_ffff;
                self.write_crcr(high | u64::from(value));
            }
            // A ring that is stopped stays where it is.
            op::CRCR_HIGH if u64::from(registers.crcr_low) & (crcr::STOP | crcr::ABORT) == 0 => {
                let low = u64::from(registers.crcr_low);
                self.write_crcr(u64::from(value) << 32 | low);
            }
            op::DCBAAP => set_low(&mut registers.dcbaap, value & !0x3f),
            op::DCBAAP_HIGH => set_high(&mut registers.dcbaap, value),
            op::CONFIG => registers.config = value & 0xff,
            _ => {}
        }
    }

    fn write_command(&mut self, value: u32) {
        let command = Command::from_bits_truncate(value);
        if command.contains(Command::RESET) {
            return self.reset_controller();
        }
        let (runs, ran) = (command.contains(Command::RUN), self.runs());
        if command.contains(Command::RESTORE) {
            // Nothing is kept in RAM: drivers set up all of it anew (4.23.2).
            self.status |= Status::RESTORE_ERROR;
        } else if command.contains(Command::SAVE) {
            self.status -= Status::RESTORE_ERROR;
        }
        self.command = command & Command::KEPT;
        self.status.set(Status::HALTED, !runs);
        if runs && !ran {
            self.started = self.wiring.now();
        }
        if !runs {
            self.registers.crcr_running = false;
        }
        self.settle_interrupt(0);
    }

    fn write_interrupter(&mut self, number: usize, at: u64, value: u32) {
        let Some(of) = self.interrupters.get_mut(number) else { return };
        match at {
            int::IMAN => {
                of.iman = of.iman & PENDING & !value | value & 2;
                self.settle_interrupt(number);
            }
            int::IMOD => of.imod = value,
            int::ERSTSZ => of.erstsz = value & 0xffff,
            int::ERSTBA => set_low(&mut of.erstba, value & !0x3f),
            int::ERSTBA_HIGH => {
                set_high(&mut of.erstba, value);
                self.begin_events(number);
            }
            int::ERDP => {
                self.dequeued(number, value);
                self.go_on();
            }
            int::ERDP_HIGH => set_high(&mut of.erdp, value),
            _ => {}
        }
    }
}
