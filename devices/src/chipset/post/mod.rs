//! Two ports that swallow what is written: 0x80, where firmware says how far its self test has come (and
//! systems wait by writing), and 0xf0, where a system ends an error of the numeric coprocessor.
//!
//! QEMU's machine has both as sinks that read as ones. The last code at port 0x80 is kept for people.
//!
//! Left out: port 0xf0 has no effect, since nothing here raises IRQ 13.

#[cfg(test)]
mod tests;

use devices_core::{At, Device, Io, Node, Region, Saved, StateError};
use serde::{Deserialize, Serialize};

const KIND: &str = "post";
const VERSION: u16 = 1;
const REGIONS: [Region; 2] = [Region::pio("code", 0x80, 1), Region::pio("coprocessor", 0xf0, 1)];

/// The two ports.
#[derive(Default)]
pub struct Post {
    code: u8,
}

#[derive(Serialize, Deserialize)]
struct State {
    code: u8,
}

impl Post {
    /// The last code that firmware wrote.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl Device for Post {
    fn name(&self) -> &str {
        "post"
    }
    fn regions(&self) -> &[Region] {
        &REGIONS
    }
    fn read(&mut self, _at: At, data: &mut [u8]) -> Io {
        data.fill(0xff);
        Io::Done
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        if let (0, Some(&code)) = (at.region, data.first()) {
            self.code = code;
        }
        Io::Done
    }
    fn reset(&mut self) {
        self.code = 0;
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        let Post { code } = self;
        Saved::encode(KIND, VERSION, &State { code: *code })
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        let State { code } = saved.decode(KIND, VERSION)?;
        self.code = code;
        Ok(())
    }
    fn inspect(&self, node: &mut Node) {
        node.hex("code", self.code);
    }
}
