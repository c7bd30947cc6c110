//! Frames that wait, in one bounded buffer that is made once.

use std::collections::VecDeque;

use devices_core::net::Offload;

/// Most frames that wait in one direction.
pub(super) const FRAMES: usize = 256;
/// Most bytes of them.
pub(super) const BYTES: usize = 1 << 20;

/// Frames in the order in which they came.
#[derive(Default)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    /// Its length, and what is left to be done to it.
    lengths: VecDeque<(usize, Offload)>,
}

impl Ring {
    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Whether a frame of that length fits.
    pub(super) fn fits(&self, len: usize) -> bool {
        self.lengths.len() < FRAMES && self.bytes.len() + len <= BYTES
    }

    /// At most half full: who was told that it is full may try again.
    pub(super) fn has_ease(&self) -> bool {
        self.lengths.len() <= FRAMES / 2 && self.bytes.len() <= BYTES / 2
    }

    /// Puts a frame behind the others. False: it does not fit.
    pub(super) fn push(&mut self, frame: &[u8], left: Offload) -> bool {
        self.fits(frame.len()) && self.append([frame], frame.len(), left)
    }

    /// The same with one that is in parts.
    pub(super) fn push_parts<const PARTS: usize>(&mut self, frame: [&[u8]; PARTS]) -> bool {
        let len = frame.iter().map(|part| part.len()).sum();
        self.fits(len) && self.append(frame, len, Offload::default())
    }

    /// The same up to twice the bounds.
    pub(super) fn push_beyond(&mut self, frame: &[u8], left: Offload) -> bool {
        let fits = self.lengths.len() < 2 * FRAMES && self.bytes.len() + frame.len() <= 2 * BYTES;
        fits && self.append([frame], frame.len(), left)
    }

    fn append<const PARTS: usize>(&mut self, frame: [&[u8]; PARTS], len: usize, left: Offload) -> bool {
        frame.iter().for_each(|part| self.bytes.extend(*part));
        self.lengths.push_back((len, left));
        true
    }

    /// The length of the first frame.
    pub(super) fn first(&self) -> Option<usize> {
        self.lengths.front().map(|(len, _)| *len)
    }

    /// Takes the first frame away and appends it to `to`. None: there is none.
    pub(super) fn pop(&mut self, to: &mut Vec<u8>) -> Option<Offload> {
        let (len, left) = self.lengths.pop_front()?;
        let (front, back) = self.bytes.as_slices();
        let split = len.min(front.len());
        to.extend_from_slice(&front[..split]);
        to.extend_from_slice(&back[..len - split]);
        self.bytes.drain(..len);
        Some(left)
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut ring = Ring::default();
        let left = |number: u8| Offload { gso_size: number.into(), ..Offload::default() };
        let (mut to, mut next) = (Vec::new(), 0u8);
        // Around the buffer's end many times.
        for round in 0..2000usize {
            for _ in 0..3 {
                assert!(ring.push(&vec![next; 1 + round * 7 % 1500], left(next)));
                next = next.wrapping_add(1);
            }
            for n in (0..3u8).rev() {
                to.clear();
                assert_eq!(ring.first(), Some(1 + round * 7 % 1500));
                assert_eq!(ring.pop(&mut to), Some(left(next.wrapping_sub(n + 1))));
                assert_eq!(to, vec![next.wrapping_sub(n + 1); 1 + round * 7 % 1500]);
            }
        }
        assert!(ring.pop(&mut to).is_none() && ring.is_empty());
    }

    #[test]
    fn neither_many_frames_nor_large_ones_go_over_the_limit() {
        let mut ring = Ring::default();
        let small = (0..10_000).filter(|_| ring.push(&[0; 60], Offload::default())).count();
        assert_eq!(small, FRAMES);
        assert!(!ring.has_ease());
        ring.clear();
        let large = (0..10_000).filter(|_| ring.push(&[0; 65_536], Offload::default())).count();
        assert_eq!(large, BYTES / 65_536);
    }
}
