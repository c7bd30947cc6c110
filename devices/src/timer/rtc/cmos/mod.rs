//! The clock's RAM alone, for a hypervisor that has the clock itself: Xen answers indices 0x00 to 0x0d at
//! ports 0x70 and 0x71 and hands on the rest.
//!
//! Layout of the RAM as in [`super::firmware`]; the century at 0x32 (and 0x37) is what it was when the
//! machine was built, or what the guest writes. Left out: all of the clock.

#[cfg(test)]
mod tests;

use devices_core::model::Model;
use devices_core::state::valid;
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::date::Date;
use super::spec::{BASE, CENTURY, CENTURY_PS2, D, INDEX_MASK, SIZE};

const KIND: &str = "cmos";
const VERSION: u16 = 1;
const REGIONS: [Region; 1] = [Region::pio("ports", BASE, 2)];

/// The RAM.
pub struct Cmos {
    index: u8,
    bytes: [u8; SIZE],
}

#[derive(Serialize, Deserialize)]
struct State {
    index: u8,
    bytes: ByteBuf,
}

impl Cmos {
    /// RAM of a machine built at `seconds` since 1970.
    pub fn new(seconds: i64) -> Cmos {
        let mut cmos = Cmos { index: 0, bytes: [0; SIZE] };
        let year = Date::from_seconds(seconds.clamp(0, 1 << 37)).year;
        let century = (year / 100).rem_euclid(100) as u8;
        cmos.set(CENTURY, century / 10 << 4 | century % 10);
        cmos
    }

    /// Sets a byte, 0x0e to 0x7f, as firmware of an earlier boot would have left it. Lower ones are the
    /// clock's and are not changed.
    pub fn set(&mut self, index: u8, value: u8) {
        if let Some(at) = place(index) {
            self.bytes[at] = value;
        }
    }

    /// A byte; none where the clock has its registers.
    pub fn get(&self, index: u8) -> Option<u8> {
        place(index).map(|at| self.bytes[at])
    }
}

/// Where the byte of an index is.
fn place(index: u8) -> Option<usize> {
    match index & INDEX_MASK {
        CENTURY_PS2 => Some(CENTURY.into()),
        index if index > D => Some(index.into()),
        _ => None,
    }
}

impl Device for Cmos {
    fn name(&self) -> &str {
        "cmos"
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&super::model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &REGIONS
    }
    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        match self.get(self.index) {
            Some(value) if at.offset == 1 => {
                data.fill(value);
                Io::Done
            }
            _ => Io::Unclaimed,
        }
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        let Some(&value) = data.first() else { return Io::Done };
        match at.offset {
            0 => self.index = value & INDEX_MASK,
            _ => self.set(self.index, value),
        }
        Io::Done
    }
    /// The battery keeps the RAM.
    fn reset(&mut self) {
        self.index = 0;
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        let Cmos { index, bytes } = self;
        Saved::encode(KIND, VERSION, &State { index: *index, bytes: ByteBuf::from(*bytes) })
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        let State { index, bytes } = saved.decode(KIND, VERSION)?;
        valid(bytes.len() == SIZE, "the clock's RAM has 128 bytes")?;
        self.index = index & INDEX_MASK;
        self.bytes.copy_from_slice(&bytes);
        Ok(())
    }
    fn inspect(&self, node: &mut Node) {
        node.hex("index", self.index);
        for (row, bytes) in self.bytes.chunks(16).enumerate() {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            node.value(&format!("{:02x}", row * 16), bytes.join(" "));
        }
    }
}
