//! Registers (2.2, 2.3). Each is a double word; bytes that an access does not write stay, or clear nothing.

use super::Ehci;
use super::spec::{Command, FRAME, INDEX_MASK, MICROFRAME, PORTS, PortBits, Status, cap, link, reg};

impl Ehci {
    pub(super) fn read_register(&mut self, at: u64) -> u32 {
        let Some(at) = at.checked_sub(cap::LEN) else { return self.capability(at) };
        match at {
            reg::USBCMD => self.registers.command.bits(),
            reg::USBSTS => {
                self.catch_up();
                self.settle();
                self.status().bits()
            }
            reg::USBINTR => self.registers.enable.bits(),
            reg::FRINDEX => {
                self.catch_up();
                self.settle();
                self.index().into()
            }
            reg::PERIODICLISTBASE => self.registers.periodic,
            reg::ASYNCLISTADDR => self.registers.next,
            reg::CONFIGFLAG => self.registers.configured.into(),
            _ => port_at(at).map_or(0, |port| self.read_port(port).bits()),
        }
    }

    fn capability(&self, at: u64) -> u32 {
        let (companions, each) = self.companions;
        match at {
            0 => cap::LENGTH_VERSION,
            cap::PARAMS => PORTS as u32 | u32::from(each) << 8 | u32::from(companions) << 12,
            cap::CAPABILITIES => cap::CAPABILITIES_VALUE,
            _ => 0,
        }
    }

    /// USBSTS, with the bits that follow from the command.
    fn status(&self) -> Status {
        let mut status = self.registers.status;
        status.set(Status::HALTED, !self.runs());
        status.set(Status::PERIODIC, self.is_on(Command::PERIODIC));
        status.set(Status::ASYNC, self.is_on(Command::ASYNC));
        status
    }

    /// An access of any width: what it does not write of a register is as it was.
    pub(super) fn write_bytes(&mut self, at: u64, data: &[u8]) {
        let first = at & !3;
        let old = match first.checked_sub(cap::LEN) {
            // A one clears, and zeros do not.
            None | Some(reg::USBSTS) => 0,
            Some(of) => match port_at(of) {
                Some(port) => (self.read_port(port) & !PortBits::CHANGES).bits(),
                None => self.read_register(first),
            },
        };
        let mut bytes = old.to_le_bytes();
        for (byte, from) in bytes.iter_mut().skip((at & 3) as usize).zip(data) {
            *byte = *from;
        }
        if let Some(of) = first.checked_sub(cap::LEN) {
            self.write_register(of, u32::from_le_bytes(bytes));
        }
    }

    fn write_register(&mut self, at: u64, value: u32) {
        match at {
            reg::USBCMD => self.write_command(Command::from_bits_truncate(value)),
            reg::USBSTS => self.registers.status &= !(Status::from_bits_truncate(value) & Status::CLEARED),
            reg::USBINTR => self.registers.enable = Status::from_bits_truncate(value) & Status::CLEARED,
            reg::FRINDEX if !self.runs() => self.registers.index = value as u16 & INDEX_MASK,
            reg::PERIODICLISTBASE => self.registers.periodic = value & !0xfff,
            reg::ASYNCLISTADDR => self.registers.next = value & link::ADDRESS,
            reg::CONFIGFLAG => self.configure(value & 1 != 0),
            _ => {
                if let Some(port) = port_at(at) {
                    self.write_port(port, PortBits::from_bits_truncate(value));
                }
            }
        }
    }

    fn write_command(&mut self, command: Command) {
        if command.contains(Command::RESET) {
            return self.reset_controller();
        }
        let ran = self.runs();
        // The doorbell is rung by a one, and falls silent by itself.
        let rung = self.registers.command & Command::DOORBELL;
        let index = self.index();
        let was_async = self.is_on(Command::ASYNC);
        self.registers.command = command | rung;
        let now = self.wiring.now();
        match (ran, self.runs()) {
            (false, true) => {
                self.frame = index >> 3;
                self.due = now.saturating_add(FRAME - u64::from(index & 7) * MICROFRAME);
            }
            (true, false) => {
                self.registers.index = index;
                self.registers.status |= std::mem::take(&mut self.pending);
            }
            _ => {}
        }
        if !was_async && self.is_on(Command::ASYNC) {
            self.due_async = now.saturating_add(MICROFRAME);
        }
    }
}

/// The port whose register is there.
fn port_at(at: u64) -> Option<usize> {
    let port = usize::try_from(at.checked_sub(reg::PORTSC)? / 4).ok()?;
    (port < PORTS).then_some(port)
}
