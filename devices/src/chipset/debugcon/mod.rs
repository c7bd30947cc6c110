//! The debug console: a port that firmware writes its log to.
//!
//! Hardware: QEMU's `isa-debugcon` at port 0x402, where SeaBIOS and OVMF look for it; a read gives 0xe9,
//! by which they know that somebody listens. It has no registers beside that.
//!
//! Nothing is left out. Bytes are handed on as they come, each at once: whoever shows them on a terminal
//! shows what the guest wrote, control sequences too.

pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use devices_core::model::Model;
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};

/// Takes the bytes. Must not block. Whoever writes them to a file limits how many: the guest can send as
/// many as it likes.
pub type ByteSink = Box<dyn FnMut(&[u8]) + Send>;

/// The debug console.
pub struct Debugcon {
    name: String,
    regions: [Region; 1],
    /// What is read.
    present: u8,
    sink: ByteSink,
}

impl Debugcon {
    /// A console at port 0x402.
    pub fn new(sink: ByteSink) -> Debugcon {
        Debugcon::named("debugcon", spec::PORT, spec::PRESENT, sink)
    }

    /// One of that name, of which is read that somebody is `present`.
    pub fn named(name: &str, port: u16, present: u8, sink: ByteSink) -> Debugcon {
        Debugcon { name: name.to_owned(), regions: [Region::pio("console", port, 1)], present, sink }
    }
}

impl Device for Debugcon {
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
        data.fill(self.present);
        Io::Done
    }
    fn write(&mut self, _at: At, data: &[u8]) -> Io {
        (self.sink)(data);
        Io::Done
    }
    fn write_run(&mut self, _at: At, size: usize, data: &[u8]) -> usize {
        if size != 1 {
            return 0;
        }
        (self.sink)(data);
        data.len()
    }
    fn reset(&mut self) {}
    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        node.value("read", format_args!("{:#x}", self.present));
    }
}
