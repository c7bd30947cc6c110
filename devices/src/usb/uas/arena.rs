//! Memory for the data of commands, between the media and the packets.

use devices_core::block::Segment;
use devices_core::dma::Dma;
use hypervisor::memory::{self, Region};

/// Bytes of it: some commands of the largest size, or many usual ones.
pub(super) const LEN: u64 = 16 << 20;

/// The memory. The host gives pages of it as they are touched.
pub(super) struct Arena(Dma);

impl Arena {
    /// A new one, with nothing in it.
    pub fn new() -> Option<Arena> {
        Arena::of(LEN)
    }
    /// One for who has no data.
    pub fn empty() -> Option<Arena> {
        Arena::of(memory::PAGE)
    }
    fn of(len: u64) -> Option<Arena> {
        let block = memory::new_block(0, len).ok()?;
        let ram = memory::ram_of(vec![Region::host(block)]).ok()?;
        Some(Arena(Dma::always(ram)))
    }

    /// It as the SCSI core sees it.
    pub fn dma(&self) -> &Dma {
        &self.0
    }
}

/// The first place between those that are taken, where so many bytes are free.
pub(super) fn place(taken: impl Iterator<Item = Segment>, len: u32) -> Option<Segment> {
    let pages = |len: u32| u64::from(len).next_multiple_of(memory::PAGE);
    let mut taken: Vec<Segment> = taken.filter(|segment| segment.len > 0).collect();
    taken.sort_by_key(|segment| segment.gpa);
    let mut gpa = 0;
    for segment in taken {
        if segment.gpa >= gpa + pages(len) {
            break;
        }
        gpa = gpa.max(segment.gpa + pages(segment.len));
    }
    (gpa + pages(len) <= LEN).then_some(Segment { gpa, len })
}
