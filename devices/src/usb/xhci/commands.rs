//! The command ring (4.6).

use super::Xhci;
use super::events::Event;
use super::ring::{Broken, Ring, Trb};
use super::slots::{EndpointState, Slot};
use super::spec::{ENDPOINTS, NEC_REVISION, code, control, crcr, trb};

/// Most commands of one call.
const COMMANDS: u32 = 64;
/// Addresses of contexts have so many bits here, so that what is added to them does not wrap.
const ADDRESS: u64 = ((1 << 52) - 1) & !0xf;

impl Xhci {
    /// CRCR was written: the ring begins elsewhere, or is stopped.
    pub(super) fn write_crcr(&mut self, value: u64) {
        if self.registers.crcr_running {
            if value & (crcr::STOP | crcr::ABORT) != 0 {
                // A command is over when the next access comes, so there is nothing to abort.
                self.registers.crcr_running = false;
                let at = self.registers.commands.at;
                self.tell(0, Event::new(trb::COMMAND_COMPLETION, code::RING_STOPPED, at));
            }
            return;
        }
        let cycle = value & crcr::CYCLE != 0;
        self.registers.commands = Ring { at: value & crcr::ADDRESS, cycle };
    }

    /// Doorbell 0: there are commands.
    pub(super) fn run_commands(&mut self) {
        if !self.runs() {
            return;
        }
        self.registers.crcr_running = true;
        for _ in 0..COMMANDS {
            if self.is_full(0) {
                self.held = true;
                return;
            }
            let mut ring = self.registers.commands;
            let next = ring.next(&self.dma);
            match next {
                Ok(Some(command)) => {
                    self.registers.commands = ring;
                    self.command(command);
                }
                Ok(None) => {
                    self.registers.commands = ring;
                    return;
                }
                Err(Broken::Memory | Broken::Links) => return self.fail(),
            }
            if !self.runs() || !self.registers.crcr_running {
                return;
            }
        }
        self.more = true;
    }

    fn command(&mut self, command: Trb) {
        let mut slot = command.slot();
        let mut kind = trb::COMMAND_COMPLETION;
        let mut parameter = 0;
        let result = match command.kind() {
            trb::ENABLE_SLOT => self.enable_slot().map(|number| slot = number),
            trb::NO_OP_COMMAND => Ok(()),
            trb::PORT_BANDWIDTH => self.tell_bandwidth(command.parameter & ADDRESS),
            trb::NEC_FIRMWARE if self.variant.nec => {
                (kind, parameter) = (trb::NEC_COMPLETION, NEC_REVISION);
                Ok(())
            }
            trb::DISABLE_SLOT..=trb::RESET_DEVICE => self.slot_command(slot, command),
            _ => Err(code::TRB),
        };
        let code = result.err().unwrap_or(code::SUCCESS);
        self.tell(0, Event::new(kind, code, command.at).length(parameter).of(slot, 0));
    }

    fn slot_command(&mut self, slot: u8, command: Trb) -> Result<(), u8> {
        if self.slot(slot).is_none() {
            return Err(code::SLOT);
        }
        let (input, blocked) = (command.parameter & ADDRESS, command.has(control::BLOCK));
        match command.kind() {
            trb::DISABLE_SLOT => self.disable(slot),
            trb::ADDRESS_DEVICE => self.address(slot, input, blocked),
            trb::CONFIGURE_ENDPOINT => self.configure(slot, input, blocked),
            trb::EVALUATE_CONTEXT => self.evaluate(slot, input),
            trb::RESET_DEVICE => self.reset_device(slot),
            of => self.endpoint_command(of, slot, command),
        }
    }

    fn enable_slot(&mut self) -> Result<u8, u8> {
        let most = usize::from(self.registers.config as u8).min(self.slots.len());
        let free = self.slots[..most].iter().position(Option::is_none).ok_or(code::NO_SLOTS)?;
        self.slots[free] = Some(Slot::default());
        Ok(free as u8 + 1)
    }

    fn endpoint_command(&mut self, kind: u8, slot: u8, command: Trb) -> Result<(), u8> {
        let number = command.endpoint();
        if !(1..=ENDPOINTS).contains(&number) {
            return Err(code::TRB);
        }
        let state = self.endpoint(slot, number).ok_or(code::ENDPOINT)?.state;
        match (kind, state) {
            (trb::RESET_ENDPOINT, EndpointState::Halted) => {
                self.set_state(slot, number, EndpointState::Stopped);
                Ok(())
            }
            (trb::STOP_ENDPOINT, EndpointState::Running) => {
                self.stop_transfer(slot, number);
                self.set_state(slot, number, EndpointState::Stopped);
                Ok(())
            }
            (trb::SET_DEQUEUE, EndpointState::Stopped | EndpointState::Error) => {
                let endpoint = self.endpoint(slot, number).ok_or(code::ENDPOINT)?;
                endpoint.ring = Ring::new(command.parameter & !0xe);
                endpoint.forget();
                self.set_state(slot, number, EndpointState::Stopped);
                Ok(())
            }
            _ => Err(code::CONTEXT_STATE),
        }
    }

    /// Each port has all that software may use (4.6.15).
    fn tell_bandwidth(&mut self, at: u64) -> Result<(), u8> {
        let ports = self.ports.len();
        let context: Vec<u8> = std::iter::once(0).chain(std::iter::repeat_n(80, ports)).collect();
        self.dma.write(at, &context).map_err(|_| code::PARAMETER)
    }
}
