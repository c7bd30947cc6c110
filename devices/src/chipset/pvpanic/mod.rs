//! The panic notifier: a port through which a guest's kernel tells that it crashed.
//!
//! Specification: QEMU documentation, "PVPANIC device", the ISA variant at port 0x505.
//!
//! Left out: the orderly shutdown event (bit 2), which the port does not offer. There is no state.

pub mod model;
pub(super) mod spec;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::model::Model;
use devices_core::power::{Power, PowerEvent};
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};

const KIND: &str = "pvpanic";
const VERSION: u16 = 1;

/// Carries out what a guest tells, of what `supported` lets it.
pub(super) fn tell(power: &dyn Power, event: u8, supported: u8) {
    let event = event & supported;
    // With both bits the first counts, as in QEMU.
    if event & spec::PANICKED != 0 {
        power.request(PowerEvent::Panicked);
    } else if event & spec::CRASH_LOADED != 0 {
        power.request(PowerEvent::CrashLoaded);
    }
}

/// The panic notifier.
pub struct Pvpanic {
    regions: [Region; 1],
    power: Arc<dyn Power>,
}

impl Pvpanic {
    /// A notifier at port 0x505.
    pub fn new(power: Arc<dyn Power>) -> Pvpanic {
        Pvpanic { regions: [Region::pio("event", spec::PORT, 1)], power }
    }
}

impl Device for Pvpanic {
    fn name(&self) -> &str {
        "pvpanic"
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, _at: At, data: &mut [u8]) -> Io {
        data.fill(spec::SUPPORTED);
        Io::Done
    }
    fn write(&mut self, _at: At, data: &[u8]) -> Io {
        tell(&*self.power, data.first().copied().unwrap_or(0), spec::SUPPORTED);
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
        node.hex("supported", spec::SUPPORTED);
    }
}
