//! Where in guest memory a resource's pixels are: ranges that the driver named, one behind the other. Beside a VGA they
//! may lie in its video memory.

use devices_core::dma::Dma;
use hypervisor::RamBlock;
use vm_memory::{Bytes, MemoryRegionAddress};

/// A VGA's video memory.
pub struct VideoMemory {
    /// Where the guest has it; 0: nowhere.
    pub at: u64,
    /// What is there.
    pub block: RamBlock,
}

impl VideoMemory {
    /// Whether it has all of that.
    fn has(&self, offset: u64, len: u32) -> bool {
        offset.checked_add(len.into()).is_some_and(|end| end <= self.block.size() as u64)
    }
}

/// Set in a range's address: it is an offset into the video memory. Nobody has RAM there.
const IN_VIDEO_MEMORY: u64 = 1 << 63;

/// A range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    /// Where in the whole it begins.
    start: u64,
    gpa: u64,
    len: u32,
}

/// Ranges of guest memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backing {
    ranges: Vec<Range>,
    len: u64,
}

impl Backing {
    /// Of addresses and lengths, as the driver names them. None: one is empty, or no memory is there.
    pub fn new(
        entries: impl ExactSizeIterator<Item = (u64, u32)>,
        dma: &Dma,
        video: Option<&VideoMemory>,
    ) -> Option<Backing> {
        let place = |(gpa, len): (u64, u32)| {
            let offset = video
                .filter(|video| video.at != 0)
                .and_then(|video| gpa.checked_sub(video.at).filter(|offset| video.has(*offset, len)));
            match offset {
                Some(offset) => Some((offset | IN_VIDEO_MEMORY, len)),
                None => dma.validate(gpa, len.into()).is_ok().then_some((gpa, len)),
            }
        };
        Backing::of(entries.map(place))
    }

    /// Of those that were saved.
    pub fn load(
        entries: impl ExactSizeIterator<Item = (u64, u32)>,
        dma: &Dma,
        video: Option<&VideoMemory>,
    ) -> Option<Backing> {
        let place = |(gpa, len): (u64, u32)| {
            let is_there = match gpa & IN_VIDEO_MEMORY {
                0 => dma.validate(gpa, len.into()).is_ok(),
                _ => video.is_some_and(|video| video.has(gpa & !IN_VIDEO_MEMORY, len)),
            };
            is_there.then_some((gpa, len))
        };
        Backing::of(entries.map(place))
    }

    fn of(entries: impl ExactSizeIterator<Item = Option<(u64, u32)>>) -> Option<Backing> {
        let mut backing = Backing { ranges: Vec::with_capacity(entries.len()), len: 0 };
        for entry in entries {
            let (gpa, len) = entry.filter(|(_, len)| *len > 0)?;
            backing.ranges.push(Range { start: backing.len, gpa, len });
            backing.len += u64::from(len);
        }
        Some(backing)
    }

    /// Bytes that so many entries take here.
    pub const fn cost(entries: usize) -> u64 {
        (entries * size_of::<Range>()) as u64
    }

    /// Number of the ranges.
    pub fn entries(&self) -> usize {
        self.ranges.len()
    }
    /// Bytes of all.
    pub fn len(&self) -> u64 {
        self.len
    }
    /// Addresses and lengths, as they are saved.
    pub fn all(&self) -> impl Iterator<Item = (u64, u32)> {
        self.ranges.iter().map(|range| (range.gpa, range.len))
    }

    /// Fills `data` from `offset` on, as far as there is something.
    pub fn read(&self, dma: &Dma, video: Option<&VideoMemory>, offset: u64, data: &mut [u8]) {
        let first = self.ranges.partition_point(|range| range.start + u64::from(range.len) <= offset);
        let (mut at, mut rest) = (offset, data);
        for range in self.ranges.get(first..).unwrap_or_default() {
            let skip = at - range.start;
            let now = (u64::from(range.len) - skip).min(rest.len() as u64);
            let (part, more) = std::mem::take(&mut rest).split_at_mut(now as usize);
            let from = range.gpa + skip;
            // RAM that the guest has given away since keeps what was there.
            match video.filter(|_| from & IN_VIDEO_MEMORY != 0) {
                Some(video) => {
                    let _ = video.block.read_slice(part, MemoryRegionAddress(from & !IN_VIDEO_MEMORY));
                }
                None => {
                    let _ = dma.read(from, part);
                }
            }
            rest = more;
            if rest.is_empty() {
                return;
            }
            at += now;
        }
    }
}
