//! The debug console: a port that firmware writes its log to.
//!
//! Hardware: QEMU's `isa-debugcon` at port 0x402, where SeaBIOS and OVMF look for it; a read gives 0xe9,
//! by which they know that somebody listens. It has no registers beside that.
//!
//! Nothing is left out. Text is handed on in lines; a line that is too long is cut, and what is not
//! printable ASCII is shown as an escape, so that a guest cannot send a terminal control sequences.

mod spec;
mod state;
#[cfg(test)]
mod tests;

use devices_core::{At, Device, Io, Node, Region, Saved, StateError};

use crate::lines::Lines;

/// Takes one line at a time, without its end. Must not block. Whoever writes them to a file limits how
/// many: the guest can send as many as it likes.
pub type LineSink = Box<dyn FnMut(&str) + Send>;

/// The debug console.
pub struct Debugcon {
    lines: Lines,
    regions: [Region; 1],
    sink: LineSink,
}

impl Debugcon {
    /// A console at port 0x402.
    pub fn new(sink: LineSink) -> Debugcon {
        Debugcon::at(spec::PORT, sink)
    }

    /// A console at another port (0xe9 in Bochs).
    pub fn at(port: u16, sink: LineSink) -> Debugcon {
        Debugcon { lines: Lines::default(), regions: [Region::pio("console", port, 1)], sink }
    }

    fn put(&mut self, byte: u8) {
        if let Some(line) = self.lines.put(byte) {
            (self.sink)(&line);
        }
    }
}

impl Device for Debugcon {
    fn name(&self) -> &str {
        "debugcon"
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, _at: At, data: &mut [u8]) -> Io {
        data.fill(spec::PRESENT);
        Io::Done
    }
    fn write(&mut self, _at: At, data: &[u8]) -> Io {
        data.iter().for_each(|&byte| self.put(byte));
        Io::Done
    }
    fn write_run(&mut self, _at: At, size: usize, data: &[u8]) -> usize {
        if size != 1 {
            return 0;
        }
        data.iter().for_each(|&byte| self.put(byte));
        data.len()
    }
    fn reset(&mut self) {
        if let Some(line) = self.lines.end() {
            (self.sink)(&line);
        }
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        node.value("line", self.lines.begun().escape_ascii());
    }
}
