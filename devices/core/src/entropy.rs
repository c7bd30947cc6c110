//! Random numbers for a guest, as the device that gives them sees their source.

use std::sync::Arc;

use crate::port::Port;

/// A source of random bytes. Never blocks.
pub trait Entropy: Send + Sync {
    /// Fills `data`, before which the device has given `position` bytes.
    fn fill(&self, position: u64, data: &mut [u8]);
}

/// Numbers that anybody can foretell: for runs that must repeat exactly, which keep no secrets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Foretold;

impl Entropy for Foretold {
    fn fill(&self, position: u64, data: &mut [u8]) {
        for (at, byte) in (position..).zip(data) {
            // SplitMix64's finalizer of the word's number.
            let mut word = (at / 8).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = ((word ^ word >> 31) >> (at % 8 * 8)) as u8;
        }
    }
}

/// A source whose calls go over a port: `e` and how many bytes are asked for (eight bytes, the lowest first), answered by
/// the bytes.
pub struct Ported {
    port: Arc<dyn Port>,
    inner: Arc<dyn Entropy>,
}

impl Ported {
    /// `inner` is behind the port; in a replay nobody asks it.
    pub fn new(port: Arc<dyn Port>, inner: Arc<dyn Entropy>) -> Ported {
        Ported { port, inner }
    }
}

impl Entropy for Ported {
    fn fill(&self, position: u64, data: &mut [u8]) {
        let call = [b"e".as_slice(), &(data.len() as u64).to_le_bytes()].concat();
        let found = self.port.call(call, &mut || {
            let mut found = vec![0; data.len()];
            self.inner.fill(position, &mut found);
            found
        });
        for (to, from) in data.iter_mut().zip(found) {
            *to = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_foretold_is_the_same_however_it_is_asked_for() {
        let mut whole = [0; 40];
        Foretold.fill(3, &mut whole);
        let mut parts = [0; 40];
        Foretold.fill(3, &mut parts[..13]);
        Foretold.fill(16, &mut parts[13..]);
        assert_eq!(whole, parts);
        assert!(whole.chunks(8).all(|word| word != [0; 8]));
    }
}
