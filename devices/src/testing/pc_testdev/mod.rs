//! QEMU's test device of the PC, which kvm-unit-tests drives: a register, memory that is reached access by access, and
//! a hand on every interrupt wire.
//!
//! Specification: QEMU's `pc-testdev`. The register lies at two places: at 0xe8 a wide access reaches it in bytes, one
//! after the other. A reset changes nothing.
//!
//! A write to 0xe4 makes QEMU unmap a page and map it again, which a guest does not see: here it does nothing.

pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};

/// Numbers of the regions.
const PORT: usize = 0;
const BYTES: usize = 2;
const IRQ: usize = 3;
const MEMORY: usize = 4;

/// The device.
pub struct PcTestdev {
    name: String,
    regions: [Region; 5],
    port: [u8; spec::PORT_LEN as usize],
    memory: Box<[u8]>,
    wires: Vec<IrqLine>,
}

impl PcTestdev {
    /// One of that name; `wires` are those of the ISA bus, from 0 on.
    pub fn new(name: &str, wires: Vec<IrqLine>) -> PcTestdev {
        PcTestdev {
            name: name.to_owned(),
            regions: [
                Region::pio("port", spec::PORT, spec::PORT_LEN).widest(4),
                Region::pio("flush", spec::FLUSH, spec::PORT_LEN).widest(4),
                Region::pio("bytes", spec::BYTES, spec::PORT_LEN),
                Region::pio("irq", spec::IRQ, spec::IRQS as u64),
                Region::mmio("memory", spec::MEMORY, spec::MEMORY_LEN as u64).widest(8),
            ],
            port: [0; spec::PORT_LEN as usize],
            memory: vec![0; spec::MEMORY_LEN].into(),
            wires,
        }
    }

    /// What an access of so many bytes reaches; none: there is nothing that keeps a value.
    fn reached(&mut self, at: At, len: usize) -> Option<&mut [u8]> {
        let from = at.offset as usize;
        match at.region {
            PORT | BYTES => self.port.get_mut(from..from + len),
            MEMORY => self.memory.get_mut(from..from + len),
            _ => None,
        }
    }
}

impl Device for PcTestdev {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        match self.reached(at, data.len()) {
            Some(bytes) => data.copy_from_slice(bytes),
            None => data.fill(0),
        }
        Io::Done
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        if at.region == IRQ {
            let high = data.iter().any(|byte| *byte != 0);
            self.wires.get_mut(at.offset as usize).into_iter().for_each(|wire| wire.set(high));
        } else if let Some(bytes) = self.reached(at, data.len()) {
            bytes.copy_from_slice(data);
        }
        Io::Done
    }
    fn reset(&mut self) {}
    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        node.hex("port", u32::from_le_bytes(self.port));
        let high = self.wires.iter().enumerate().filter(|(_, wire)| wire.level());
        let high: Vec<String> = high.map(|(pin, _)| pin.to_string()).collect();
        node.value("high wires", if high.is_empty() { "none".into() } else { high.join(" ") });
    }
}
