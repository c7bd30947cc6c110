//! Where in guest memory a resource's pixels are: ranges that the driver named, one behind the other.

use devices_core::dma::Dma;

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
    /// Of addresses and lengths. None: one is empty, or not in RAM.
    pub fn new(entries: impl ExactSizeIterator<Item = (u64, u32)>, dma: &Dma) -> Option<Backing> {
        let mut backing = Backing { ranges: Vec::with_capacity(entries.len()), len: 0 };
        for (gpa, len) in entries {
            if len == 0 || dma.validate(gpa, len.into()).is_err() {
                return None;
            }
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
    /// Addresses and lengths.
    pub fn all(&self) -> impl Iterator<Item = (u64, u32)> {
        self.ranges.iter().map(|range| (range.gpa, range.len))
    }

    /// Fills `data` from `offset` on, as far as there is something.
    pub fn read(&self, dma: &Dma, offset: u64, data: &mut [u8]) {
        let first = self.ranges.partition_point(|range| range.start + u64::from(range.len) <= offset);
        let (mut at, mut rest) = (offset, data);
        for range in self.ranges.get(first..).unwrap_or_default() {
            let skip = at - range.start;
            let now = (u64::from(range.len) - skip).min(rest.len() as u64);
            let (part, more) = std::mem::take(&mut rest).split_at_mut(now as usize);
            // RAM that the guest has given away since keeps what was there.
            let _ = dma.read(range.gpa + skip, part);
            rest = more;
            if rest.is_empty() {
                return;
            }
            at += now;
        }
    }
}
