//! System control port A, port 0x92: the quick ways to open the A20 gate and to reset.
//!
//! Datasheet: Intel 82371SB, order 290550, section 2.5.4.4. The other bits are storage, as in QEMU.
//!
//! Left out: nothing of the chip; a reset here is one of the whole platform, as in QEMU, where the chip
//! resets the processor alone.

pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::power::{Power, PowerEvent};
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};

/// The port.
pub struct Port92 {
    value: u8,
    regions: [Region; 1],
    a20: IrqLine,
    power: Arc<dyn Power>,
}

impl Port92 {
    /// `a20` is one sharer of the A20 gate; the keyboard controller is the other. The gate is open while
    /// either opens it.
    pub fn new(a20: IrqLine, power: Arc<dyn Power>) -> Port92 {
        Port92 { value: 0, regions: [Region::pio("port", spec::PORT, 1)], a20, power }
    }

    fn follow(&mut self) {
        self.a20.set(self.value & spec::A20 != 0);
    }
}

impl Device for Port92 {
    fn name(&self) -> &str {
        "port92"
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, _at: At, data: &mut [u8]) -> Io {
        data.fill(self.value);
        Io::Done
    }
    fn write(&mut self, _at: At, data: &[u8]) -> Io {
        let Some(&value) = data.first() else { return Io::Done };
        let rising = value & !self.value;
        self.value = value;
        self.follow();
        if rising & spec::RESET != 0 {
            self.power.request(PowerEvent::Reset);
        }
        Io::Done
    }
    fn reset(&mut self) {
        self.value = 0;
        self.follow();
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        node.hex("value", self.value);
    }
}
