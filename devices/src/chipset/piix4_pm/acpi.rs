//! The ACPI fixed hardware: PM1 event and control, the timer, and general purpose events. Knows no bus
//! and no clock: guest time in nanoseconds comes with each call.

use devices_core::power::PowerEvent;
use serde::{Deserialize, Serialize};

use super::spec;

const NANOSECONDS: u128 = 1_000_000_000;

/// The registers, which are also their saved form.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Acpi {
    /// PM1 status without the timer's bit.
    status: u16,
    enable: u16,
    control: u16,
    /// Tick of the timer from which its status bit is set.
    overflow: u64,
    gpe_status: u16,
    gpe_enable: u16,
}

/// Ticks of the timer at `now`.
fn ticks(now: u64) -> u64 {
    (u128::from(now) * u128::from(spec::PM_TIMER_HZ) / NANOSECONDS) as u64
}

/// The first nanosecond of a tick.
fn start_of(tick: u64) -> u64 {
    let at = (u128::from(tick) * NANOSECONDS).div_ceil(spec::PM_TIMER_HZ.into());
    u64::try_from(at).unwrap_or(u64::MAX)
}

fn byte(word: u16, high: bool) -> u8 {
    word.to_le_bytes()[usize::from(high)]
}

/// `value` in its byte of a word, and the mask of that byte.
fn lane(value: u8, high: bool) -> (u16, u16) {
    let shift = if high { 8 } else { 0 };
    (u16::from(value) << shift, 0xff << shift)
}

impl Acpi {
    pub fn status(&self, now: u64) -> u16 {
        let timer = ticks(now) >= self.overflow;
        self.status | if timer { spec::TIMER } else { 0 }
    }

    /// PM1 control, SLP_EN always clear.
    pub fn control(&self) -> u16 {
        self.control
    }

    /// PM1 enable, GPE status and GPE enable.
    pub fn enabled(&self) -> (u16, u16, u16) {
        (self.enable, self.gpe_status, self.gpe_enable)
    }

    /// A byte of the ports at PMBASE.
    pub fn read(&self, offset: u64, now: u64) -> u8 {
        let high = offset & 1 != 0;
        match offset {
            0 | 1 => byte(self.status(now), high),
            2 | 3 => byte(self.enable, high),
            4 | 5 => byte(self.control, high),
            8..=10 => (ticks(now) >> (8 * (offset - 8))) as u8,
            _ => 0,
        }
    }

    pub fn write(&mut self, offset: u64, value: u8, now: u64) -> Option<PowerEvent> {
        let high = offset & 1 != 0;
        let (value, mask) = lane(value, high);
        match offset {
            0 | 1 => self.clear_status(value, now),
            2 | 3 => self.enable = self.enable & !mask | value,
            4 | 5 => {
                self.control = self.control & !mask | value & !spec::SLP_EN;
                return (value & spec::SLP_EN != 0).then(|| self.sleep())?;
            }
            _ => {}
        }
        None
    }

    fn clear_status(&mut self, value: u16, now: u64) {
        if self.status(now) & value & spec::TIMER != 0 {
            self.overflow = ticks(now).saturating_add(spec::PM_TIMER_HALF) & !(spec::PM_TIMER_HALF - 1);
        }
        self.status &= !value;
    }

    fn sleep(&self) -> Option<PowerEvent> {
        match self.control >> spec::SLP_TYP_SHIFT & 7 {
            spec::SLP_S5 | spec::SLP_S4 => Some(PowerEvent::PowerOff),
            spec::SLP_S3 => Some(PowerEvent::Suspend),
            _ => None,
        }
    }

    /// A byte of the GPE0 block.
    pub fn read_gpe(&self, offset: u64) -> u8 {
        let register = if offset < 2 { self.gpe_status } else { self.gpe_enable };
        byte(register, offset & 1 != 0)
    }

    pub fn write_gpe(&mut self, offset: u64, value: u8) {
        let (value, mask) = lane(value, offset & 1 != 0);
        if offset < 2 {
            self.gpe_status &= !value;
        } else {
            self.gpe_enable = self.gpe_enable & !mask | value;
        }
    }

    pub fn raise_gpe(&mut self, events: u16) {
        self.gpe_status |= events;
    }

    /// The button counts only while the system listens for it, as in QEMU.
    pub fn press_power_button(&mut self) {
        if self.enable & spec::POWER_BUTTON != 0 {
            self.status |= spec::POWER_BUTTON;
        }
    }

    pub fn wake_up(&mut self) {
        self.status |= spec::WAKE | spec::POWER_BUTTON;
    }

    /// For a state that comes from a machine whose hypervisor did not have the PM1 events.
    pub fn forget_events(&mut self) {
        (self.status, self.enable) = (0, 0);
    }

    pub fn set_acpi_mode(&mut self, on: bool) {
        self.control = self.control & !spec::SCI_EN | if on { spec::SCI_EN } else { 0 };
    }

    /// Level of the system control interrupt.
    pub fn sci(&self, now: u64) -> bool {
        self.status(now) & self.enable & spec::PM1_EVENTS != 0 || self.gpe_status & self.gpe_enable != 0
    }

    /// When the timer will interrupt, if it is to and has not yet.
    pub fn deadline(&self, now: u64) -> Option<u64> {
        let waits = self.enable & spec::TIMER != 0 && self.status(now) & spec::TIMER == 0;
        waits.then(|| start_of(self.overflow))
    }
}
