//! The memory as the chip addresses it: 4 MiB that begin anew after their end.

use super::spec::MEMORY;
use crate::display::vga::vram::Vram;

/// The memory under the chip's address mask. No address is outside of it.
#[derive(Clone, Copy)]
pub struct Memory<'a>(pub &'a Vram);

/// The address that a sum or difference of addresses stands for.
pub fn wrap(address: i64) -> usize {
    address.rem_euclid(MEMORY as i64) as usize
}

impl Memory<'_> {
    pub fn byte(&self, address: i64) -> u8 {
        self.0.byte(wrap(address)).unwrap_or_default()
    }
    pub fn set_byte(&self, address: i64, value: u8) {
        self.0.set_byte(wrap(address), value);
    }
    /// Fills `out`, at most the memory's length, from there on.
    pub fn read(&self, address: i64, out: &mut [u8]) {
        let start = wrap(address);
        let (first, rest) = out.split_at_mut((MEMORY - start).min(out.len()));
        self.0.read(start, first);
        if !rest.is_empty() {
            self.0.read(0, rest);
        }
    }
    /// Writes `data`, at most the memory's length, from there on.
    pub fn write(&self, address: i64, data: &[u8]) {
        let start = wrap(address);
        let (first, rest) = data.split_at((MEMORY - start).min(data.len()));
        self.0.write(start, first);
        if !rest.is_empty() {
            self.0.write(0, rest);
        }
    }
}
