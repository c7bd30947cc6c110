//! The video memory.
//!
//! The four planes are interleaved: byte `4 * n + p` is byte `n` of plane `p`, so that the linear
//! framebuffer, chain 4 and the planes are one memory, as in QEMU. Addresses beyond the end read as
//! nothing and swallow writes.

use hypervisor::RamBlock;
use hypervisor::memory::{DirtyLog, PAGE};
use vm_memory::{Bytes, MemoryRegionAddress};

/// Bytes of a page.
pub const PAGE_BYTES: usize = PAGE as usize;

/// Whether at most a page of bytes is all zero; much faster than byte by byte.
pub fn is_zero(bytes: &[u8]) -> bool {
    const ZERO: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
    ZERO.get(..bytes.len()) == Some(bytes)
}

/// The video memory, a handle of it. All writes land in the block's dirty logs.
#[derive(Clone)]
pub struct Vram(RamBlock);

fn at(offset: usize) -> MemoryRegionAddress {
    MemoryRegionAddress(offset as u64)
}

impl Vram {
    pub fn new(block: RamBlock) -> Vram {
        Vram(block)
    }
    /// It as memory that a guest can have in a BAR.
    pub fn block(&self) -> &RamBlock {
        &self.0
    }
    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.size()
    }
    pub fn byte(&self, offset: usize) -> Option<u8> {
        self.0.read_obj(at(offset)).ok()
    }
    pub fn set_byte(&self, offset: usize, value: u8) {
        let _ = self.0.write_obj(value, at(offset));
    }
    /// Byte `index` of all four planes, plane 0 in the low byte.
    pub fn planes(&self, index: usize) -> Option<u32> {
        self.0.read_obj(at(index.checked_mul(4)?)).ok().map(u32::from_le)
    }
    pub fn set_planes(&self, index: usize, value: u32) {
        if let Some(offset) = index.checked_mul(4) {
            let _ = self.0.write_obj(value.to_le(), at(offset));
        }
    }
    /// Fills `out` from `offset`; false if it does not lie in the memory.
    pub fn read(&self, offset: usize, out: &mut [u8]) -> bool {
        self.0.read_slice(out, at(offset)).is_ok()
    }
    pub fn write(&self, offset: usize, data: &[u8]) {
        let _ = self.0.write_slice(data, at(offset));
    }
    /// The pages that were written since last asked, by whatever the dirty log knows of.
    pub fn take_changed(&self) -> Vec<usize> {
        (**self.0).bitmap().fetch_dirty(DirtyLog::Display)
    }
    /// Zeroes a range, touching only pages that are not zero yet: the host gives memory for no other.
    pub fn clear(&self, offset: usize, len: usize) {
        let end = offset.saturating_add(len).min(self.len());
        let mut page = [0; PAGE_BYTES];
        for start in (offset..end).step_by(PAGE_BYTES) {
            let Some(part) = page.get_mut(..PAGE_BYTES.min(end - start)) else { return };
            if self.read(start, part) && !is_zero(part) {
                part.fill(0);
                self.write(start, part);
            }
        }
    }
}
