//! Which accesses a device model wants to hear of.

use std::ops::RangeInclusive;

use ioreq::Sbdf;

/// Everything that the devices answer at one moment: ranges are inclusive, apart from each other and in
/// ascending order; neighbours are one range, because a hypervisor may deliver only accesses that lie
/// in one whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// I/O ports.
    pub ports: Vec<RangeInclusive<u64>>,
    /// Guest-physical bytes of MMIO.
    pub memory: Vec<RangeInclusive<u64>>,
    /// PCI functions whose configuration space is answered.
    pub functions: Vec<Sbdf>,
}

/// Joins ranges that overlap or touch.
pub fn join(mut ranges: Vec<RangeInclusive<u64>>) -> Vec<RangeInclusive<u64>> {
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut joined: Vec<RangeInclusive<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_range() {
        let joined = join(vec![0x60..=0x60, 0x3f8..=0x3ff, 0x61..=0x61, 0x3f0..=0x3fa, 0..=u64::MAX - 1]);
        assert_eq!(joined, [0..=u64::MAX - 1]);
        assert_eq!(join(vec![0x64..=0x64, 0x60..=0x61, 0x61..=0x62]), [0x60..=0x62, 0x64..=0x64]);
    }
}
