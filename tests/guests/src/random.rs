//! Numbers for choices that a test makes at random and prints.

use std::time::{SystemTime, UNIX_EPOCH};

/// Vigna's SplitMix64: small, and good enough to pick instants and bits.
pub struct Random(u64);

impl Random {
    /// From the variable `AILURUS_SEED`, else from the time; prints the seed.
    pub fn new() -> Random {
        let given = std::env::var("AILURUS_SEED").ok().and_then(|text| text.parse().ok());
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let seed = given.unwrap_or_else(now);
        println!("seed: AILURUS_SEED={seed}");
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, not including, `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }
}

impl Default for Random {
    fn default() -> Random {
        Random::new()
    }
}
