//! QEMU's debug exit: a port through which a test program in the guest ends the device model, with an exit status.
//!
//! Specification: QEMU's `isa-debug-exit`. What is written to the first port, value, ends it with the status
//! value << 1 | 1, of which the host keeps the low byte: never 0, which says that the guest switched itself off.
//! Reads give zeros.
//!
//! There is no state.

pub mod model;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::model::Model;
use devices_core::power::{Power, PowerEvent};
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};

const KIND: &str = "isa-debug-exit";
const VERSION: u16 = 1;

/// The device.
pub struct IsaDebugExit {
    name: String,
    regions: [Region; 1],
    power: Arc<dyn Power>,
}

impl IsaDebugExit {
    /// One of that name at so many ports from `base` on.
    pub fn new(name: &str, base: u16, len: u8, power: Arc<dyn Power>) -> IsaDebugExit {
        let regions = [Region::pio("port", base, len.into()).widest(4)];
        IsaDebugExit { name: name.to_owned(), regions, power }
    }
}

impl Device for IsaDebugExit {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, _at: At, data: &mut [u8]) -> Io {
        data.fill(0);
        Io::Done
    }
    fn write(&mut self, _at: At, data: &[u8]) -> Io {
        let value = data.first().copied().unwrap_or(0);
        self.power.request(PowerEvent::Exit(value << 1 | 1));
        Io::Done
    }
    fn reset(&mut self) {}
    fn save(&mut self) -> Result<Saved, StateError> {
        Saved::encode(KIND, VERSION, &())
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        saved.decode(KIND, VERSION)
    }
    fn inspect(&self, node: &mut Node) {
        node.hex("port", self.regions[0].home.unwrap_or(0));
    }
}
