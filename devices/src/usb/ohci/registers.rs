//! Registers (7.1 to 7.4).

use super::spec::{
    ABSENT, ADDRESS, Bus, CLEAR_WAKE_ON_CONNECT, CommandStatus, Control, FI, FM_INTERVAL_MASK, Interrupt,
    NO_SWITCHES, REVISION, TOGGLE, TWELVE_BITS, WAKE_ON_CONNECT, hcca, reg,
};
use super::{Ohci, Registers};
use crate::usb::frames::FRAME;

impl Ohci {
    pub(super) fn read_register(&self, at: u64) -> u32 {
        let of = &self.registers;
        match at {
            reg::REVISION => REVISION,
            reg::CONTROL => of.control.bits(),
            reg::COMMAND_STATUS => of.status.bits(),
            reg::INTERRUPT_STATUS => of.interrupt.bits(),
            reg::INTERRUPT_ENABLE | reg::INTERRUPT_DISABLE => of.enable.bits(),
            reg::HCCA => of.hcca,
            // Lists are walked within a frame, so it is in none when somebody looks.
            reg::PERIOD_CURRENT | reg::RH_DESCRIPTOR_B => 0,
            reg::CONTROL_HEAD => of.control_head,
            reg::CONTROL_CURRENT => of.control_current,
            reg::BULK_HEAD => of.bulk_head,
            reg::BULK_CURRENT => of.bulk_current,
            reg::DONE_HEAD => self.done.head,
            reg::FM_INTERVAL => of.interval,
            reg::FM_REMAINING => self.remaining(),
            reg::FM_NUMBER => of.number.into(),
            reg::PERIODIC_START => of.periodic_start.into(),
            reg::LS_THRESHOLD => of.ls_threshold.into(),
            reg::RH_DESCRIPTOR_A => NO_SWITCHES | self.ports.len() as u32,
            reg::RH_STATUS => {
                if of.wake_on_connect {
                    WAKE_ON_CONNECT
                } else {
                    0
                }
            }
            _ => port_at(at).and_then(|at| self.ports.get(at)).map_or(ABSENT, |port| port.bits.bits()),
        }
    }

    /// HcFmRemaining: FRT, and how many bits of the frame are left.
    fn remaining(&self) -> u32 {
        let toggle = if self.registers.toggle { TOGGLE } else { 0 };
        if !self.runs() {
            return toggle;
        }
        let left = self.frames.due.saturating_sub(self.wiring.now());
        let passed = FRAME.saturating_sub(left) * 12 / TWELVE_BITS;
        toggle | (self.registers.interval & FI).wrapping_sub(passed as u32) & FI
    }

    pub(super) fn write_register(&mut self, at: u64, value: u32) {
        let of = &mut self.registers;
        match at {
            reg::CONTROL => self.write_control(Control::from_bits_retain(value)),
            reg::COMMAND_STATUS => {
                // Zeros do nothing.
                of.status |= CommandStatus::from_bits_truncate(value) - CommandStatus::OVERRUNS;
                if of.status.contains(CommandStatus::RESET) {
                    self.reset_by_driver();
                }
            }
            reg::INTERRUPT_STATUS => of.interrupt &= !Interrupt::from_bits_retain(value),
            reg::INTERRUPT_ENABLE => of.enable |= Interrupt::from_bits_retain(value),
            reg::INTERRUPT_DISABLE => of.enable &= !Interrupt::from_bits_retain(value),
            reg::HCCA => of.hcca = value & hcca::ADDRESS,
            reg::CONTROL_HEAD => of.control_head = value & ADDRESS,
            reg::CONTROL_CURRENT => of.control_current = value & ADDRESS,
            reg::BULK_HEAD => of.bulk_head = value & ADDRESS,
            reg::BULK_CURRENT => of.bulk_current = value & ADDRESS,
            reg::FM_INTERVAL => of.interval = value & FM_INTERVAL_MASK,
            reg::PERIODIC_START => of.periodic_start = value as u16,
            reg::LS_THRESHOLD => of.ls_threshold = value as u16,
            reg::RH_STATUS => self.write_hub(value),
            _ => {
                if let Some(port) = port_at(at) {
                    self.write_port(port, value);
                }
            }
        }
    }

    fn write_control(&mut self, control: Control) {
        let (was, is) = (self.registers.control.bus(), control.bus());
        self.registers.control = control;
        if was == is {
            return;
        }
        match is {
            Bus::Operational => {
                self.stopped = false;
                self.frames.start(self.wiring.now());
            }
            // What Linux would wait for to end.
            Bus::Suspend => self.registers.interrupt -= Interrupt::FRAME,
            Bus::Resume => {}
            Bus::Reset => self.reset_root_hub(),
        }
    }

    /// HcRhStatus is written. There is no power to switch.
    fn write_hub(&mut self, value: u32) {
        let Registers { wake_on_connect, interrupt, .. } = &mut self.registers;
        let was = *wake_on_connect;
        *wake_on_connect = (was || value & WAKE_ON_CONNECT != 0) && value & CLEAR_WAKE_ON_CONNECT == 0;
        if was != *wake_on_connect {
            *interrupt |= Interrupt::ROOT_HUB;
        }
    }
}

/// The port whose register is there.
fn port_at(at: u64) -> Option<usize> {
    usize::try_from(at.checked_sub(reg::PORTS)? / 4).ok()
}
